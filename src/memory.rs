//! Memory that does not come from the allocator: mappings that go back to the kernel as a whole.

use crate::limits::{BLOB_CHUNK_BYTES, CHUNKS_KEPT_PER_THREAD, CHUNKS_KEPT_SHARE_DIVISOR};
#[cfg(not(miri))]
use memmap2::MmapMut as Inner;
use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};

/// Miri knows no mappings.
#[cfg(miri)]
type Inner = Box<[u8]>;

/// The kernel refuses to map more: a limit on the process's address space or on its mappings is reached, or all memory is
/// promised to somebody already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel gives this process no more memory")]
pub struct NoMemory;

/// Memory in an anonymous mapping of its own. It takes up RAM page by page as it is written, and none once it is dropped,
/// whatever else the process has allocated: that is what an allocator does not promise.
#[derive(Debug)]
pub struct Region(Inner);

/// A region of whole pages of this size asks for them: to find the small page of one entry among many takes longer than
/// to read the entry.
const HUGE_PAGE_BYTES: usize = 2 * 1024 * 1024;

impl Region {
    /// A region of `len` bytes, a multiple of 4096 above 0, all of them 0.
    ///
    /// # Errors
    /// If the kernel refuses. What is asked for here is large, and asked for by somebody who can be refused in turn;
    /// where the allocator has no more memory for something short, the process ends.
    pub fn new(len: usize) -> Result<Self, NoMemory> {
        debug_assert!(len > 0 && len.is_multiple_of(4096));
        #[cfg(not(miri))]
        let mapped = Inner::map_anon(len).map_err(|_| NoMemory)?;
        #[cfg(not(miri))]
        if len.is_multiple_of(HUGE_PAGE_BYTES) {
            // A kernel that has none goes on with small ones.
            let _ = mapped.advise(memmap2::Advice::HugePage);
        }
        #[cfg(miri)]
        let mapped = vec![0; len].into_boxed_slice();
        Ok(Self(mapped))
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Has the processor fetch the cache line of `what` while something else is done: it will be read soon. Changes nothing.
#[inline]
pub fn prefetch<T>(what: &T) {
    prefetch_at(std::ptr::from_ref(what).cast());
}

#[inline]
fn prefetch_at(place: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing that the program could see, and takes any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = place;
}

/// What processors fetch at a time, in bytes.
pub const CACHE_LINE_BYTES: usize = 64;

/// The same for all of `what`, which is small.
pub fn prefetch_all<T>(what: &T) {
    let start = std::ptr::from_ref(what).cast::<u8>();
    (0..size_of::<T>()).step_by(CACHE_LINE_BYTES).for_each(|at| prefetch_at(start.wrapping_add(at)));
}

thread_local! {
    /// Chunks that this thread has freed: to map a chunk, fault in its pages and unmap it again takes longer than to fill it.
    static KEPT: RefCell<Vec<Region>> = const { RefCell::new(Vec::new()) };
    static KEPT_MAX: Cell<usize> = const { Cell::new(CHUNKS_KEPT_PER_THREAD) };
}

/// A region of [`BLOB_CHUNK_BYTES`], which may hold anything: one that this thread has freed if there is one.
///
/// # Errors
/// See [`Region::new`].
pub fn chunk() -> Result<Region, NoMemory> {
    KEPT.with_borrow_mut(Vec::pop).map_or_else(|| Region::new(BLOB_CHUNK_BYTES), Ok)
}

/// Frees a region that [`chunk`] gave out, on whichever thread. A few are kept for this one's use.
pub fn free_chunk(region: Region) {
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MAX.get() {
            kept.push(region);
        }
    });
}

/// Has this thread keep no more than is right for a shard that may use `limit` bytes: what is kept counts in its budget,
/// and in a small one would leave room for nothing else.
pub fn keep_for(limit: u64) {
    let chunks = limit / CHUNKS_KEPT_SHARE_DIVISOR / BLOB_CHUNK_BYTES as u64;
    let chunks = usize::try_from(chunks).unwrap_or(usize::MAX).min(CHUNKS_KEPT_PER_THREAD);
    KEPT_MAX.set(chunks);
    KEPT.with_borrow_mut(|kept| kept.truncate(chunks));
}

/// What is kept for this thread's use, in bytes.
#[must_use]
pub fn kept_bytes() -> u64 {
    KEPT.with_borrow(|kept| (kept.len() * BLOB_CHUNK_BYTES) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_chunks_are_used_again_and_few_are_kept() {
        let before = kept_bytes();
        let chunks: Vec<Region> = (0..CHUNKS_KEPT_PER_THREAD + 3).map(|_| chunk().expect("memory")).collect();
        let addresses: Vec<*const u8> = chunks.iter().map(|chunk| chunk.as_ptr()).collect();
        chunks.into_iter().for_each(free_chunk);
        assert_eq!(kept_bytes(), (CHUNKS_KEPT_PER_THREAD * BLOB_CHUNK_BYTES) as u64);
        assert!(addresses.contains(&chunk().expect("memory").as_ptr()) && before == 0);
    }

    #[test]
    fn for_a_small_shard_few_chunks_are_kept_or_none() {
        let keep = |limit: u64| {
            keep_for(limit);
            let chunks: Vec<Region> = (0..CHUNKS_KEPT_PER_THREAD).map(|_| chunk().expect("memory")).collect();
            chunks.into_iter().for_each(free_chunk);
            kept_bytes() / BLOB_CHUNK_BYTES as u64
        };
        assert_eq!([u64::MAX, 64 << 20, 32 << 20, 16 << 20, 15 << 20, 1 << 20].map(keep), [4, 4, 2, 1, 0, 0]);
    }
}
