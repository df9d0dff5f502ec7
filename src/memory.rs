//! Memory that goes straight back to the kernel when it is dropped.

#[cfg(not(miri))]
use memmap2::MmapMut as Inner;
use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut};

/// Miri knows no mappings.
#[cfg(miri)]
type Inner = Box<[u8]>;

/// Zeroed memory in an anonymous mapping of its own. It takes up RAM page by page as it is written, and none once it is
/// dropped, whatever else the process has allocated: that is what an allocator does not promise.
#[derive(Debug)]
pub struct Region(Inner);

impl Region {
    /// A region of `len` bytes, a multiple of 4096 above 0.
    ///
    /// Ends the process if the kernel refuses, as Rust does for every allocation: the limits on a process's memory and
    /// mappings are far above what its budget asks for.
    #[must_use]
    pub fn new(len: usize) -> Self {
        debug_assert!(len > 0 && len.is_multiple_of(4096));
        #[cfg(not(miri))]
        let mapped = Inner::map_anon(len).ok();
        #[cfg(miri)]
        let mapped = Some(vec![0; len].into_boxed_slice());
        Self(mapped.unwrap_or_else(|| handle_alloc_error(Layout::array::<u8>(len).unwrap_or(Layout::new::<u8>()))))
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
