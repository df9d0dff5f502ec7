//! The buffers that the kernel receives into: it takes one when there is something to receive, and gets it back when the
//! bytes have been used. So connections that are silent hold none.

use crate::limits::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS};
use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use memmap2::MmapMut;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// The one group of buffers of a ring.
pub const GROUP: u16 = 0;

/// A buffer with bytes in it, ours until it is given back.
#[derive(Debug)]
#[must_use = "a buffer that is not given back is lost"]
pub struct Filled {
    number: u16,
    len: usize,
}

impl Filled {
    /// The buffer `number`, which the kernel has filled with `len` bytes.
    pub(super) const fn new(number: u16, len: usize) -> Self {
        Self { number, len }
    }

    /// Whether nothing is in it: the peer sends no more.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The buffers of one core, and the ring of entries by which the kernel gets them. Both live as long as the core.
#[derive(Debug)]
pub struct Buffers {
    entries: MmapMut,
    bytes: MmapMut,
    /// How many entries have been handed over, ever.
    tail: u16,
}

impl Buffers {
    /// Buffers that the kernel does not know yet.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new() -> io::Result<Self> {
        // Mappings begin at a page, as the kernel demands of the entries.
        let entries = MmapMut::map_anon(usize::from(RECEIVE_BUFFERS) * size_of::<BufRingEntry>())?;
        let bytes = MmapMut::map_anon(usize::from(RECEIVE_BUFFERS) * RECEIVE_BUFFER_BYTES)?;
        let mut buffers = Self { entries, bytes, tail: 0 };
        (0..RECEIVE_BUFFERS).for_each(|number| buffers.hand_over(number));
        Ok(buffers)
    }

    /// Tells the kernel where they are.
    ///
    /// # Errors
    /// If it has no such rings.
    ///
    /// # Safety
    /// They must live as long as the ring of `submitter`.
    pub unsafe fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        // SAFETY: the entries are a mapping of that many entries, and the caller promises that they live long enough.
        unsafe { submitter.register_buf_ring_with_flags(self.entries.as_ptr() as u64, RECEIVE_BUFFERS, GROUP, 0) }
    }

    /// What the kernel has put into a buffer.
    #[must_use]
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        &self.bytes[usize::from(filled.number) * RECEIVE_BUFFER_BYTES..][..filled.len]
    }

    /// Lets the kernel have a buffer again.
    #[expect(clippy::needless_pass_by_value, reason = "who has given a buffer back has it no more")]
    pub fn give_back(&mut self, filled: Filled) {
        self.hand_over(filled.number);
    }

    fn hand_over(&mut self, number: u16) {
        let place = usize::from(self.tail & (RECEIVE_BUFFERS - 1));
        let address = self.bytes[usize::from(number) * RECEIVE_BUFFER_BYTES..].as_ptr() as u64;
        let base = self.entries.as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: the place is one of as many as the mapping has room for, and the kernel does not read it before the tail
        // has passed it. At most as many buffers as there are places are with the kernel, so none is overwritten.
        let entry = unsafe { &mut *base.add(place) };
        entry.set_addr(address);
        entry.set_len(RECEIVE_BUFFER_BYTES as u32);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in a part of the first entry that is not used otherwise, lives as long as the mapping, is
        // aligned as an entry is, and is written by this thread alone, always as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs under Miri as well: `cargo +nightly miri test ring::buffers`.
    #[test]
    fn buffers_are_handed_over_in_the_order_in_which_they_come_back() {
        let mut buffers = Buffers::new().expect("memory");
        assert_eq!(buffers.tail, RECEIVE_BUFFERS);
        for number in [7, 3] {
            buffers.give_back(Filled::new(number, 1));
        }
        let base = buffers.entries.as_ptr().cast::<BufRingEntry>();
        // SAFETY: two of the entries that the mapping has room for; nobody else has them in this test.
        let (first, second) = unsafe { (&*base, &*base.add(1)) };
        assert_eq!((first.bid(), second.bid()), (7, 3));
        assert_eq!(second.addr(), buffers.bytes(&Filled::new(3, 5)).as_ptr() as u64);
        assert_eq!(second.len(), RECEIVE_BUFFER_BYTES as u32);
        assert_eq!(buffers.bytes(&Filled::new(3, 5)).len(), 5);
    }
}
