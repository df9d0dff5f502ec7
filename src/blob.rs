//! Long values on their way into a shard: no single allocation, copy or release takes long.

use crate::limits::{BLOB_CHUNK_BYTES, RECEIVE_STEP_BYTES};
use crate::memory::Region;

/// A byte string of whole chunks of [`BLOB_CHUNK_BYTES`] and a rest. It moves between cores by its pointers and belongs
/// to one core at a time.
#[derive(Debug, Default)]
pub struct Blob {
    chunks: Vec<Region>,
    rest: Vec<u8>,
}

impl Blob {
    /// An empty byte string.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), rest: Vec::new() }
    }

    /// How many bytes it holds.
    #[must_use]
    pub const fn len(&self) -> u64 {
        (self.chunks.len() * BLOB_CHUNK_BYTES + self.rest.len()) as u64
    }

    /// Whether it holds no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub const fn footprint(&self) -> u64 {
        (self.chunks.len() * BLOB_CHUNK_BYTES + self.rest.capacity()) as u64
    }

    /// Adds `bytes` at the end.
    pub fn extend_from_slice(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOB_CHUNK_BYTES - self.rest.len()));
            let needed = (self.rest.len() + now.len()).next_multiple_of(RECEIVE_STEP_BYTES);
            // In even steps, as room is made for it; and once it is as long as a chunk it stays so.
            self.rest.reserve_exact(needed - self.rest.len());
            self.rest.extend_from_slice(now);
            if self.rest.len() == BLOB_CHUNK_BYTES {
                let mut chunk = Region::new(BLOB_CHUNK_BYTES);
                chunk.copy_from_slice(&self.rest);
                self.chunks.push(chunk);
                self.rest.clear();
            }
            bytes = later;
        }
    }

    /// Gives back what the rest has reserved beyond its bytes.
    pub fn shrink(&mut self) {
        self.rest.shrink_to_fit();
    }

    /// The whole chunks, and the rest, which is shorter than one.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Region>, Vec<u8>) {
        (self.chunks, self.rest)
    }
}

#[cfg(test)]
impl Blob {
    /// All bytes.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).chain(&self.rest).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whatever_pieces_they_came_in() {
        let bytes: Vec<u8> = (0..BLOB_CHUNK_BYTES * 2 + 77).map(|n| (n % 251) as u8).collect();
        for piece in [1_000, BLOB_CHUNK_BYTES, bytes.len()] {
            let mut blob = Blob::new();
            assert!(blob.is_empty());
            bytes.chunks(piece).for_each(|part| blob.extend_from_slice(part));
            assert_eq!(blob.len(), bytes.len() as u64);
            assert!(blob.footprint() >= blob.len());
            assert!(blob.to_vec() == bytes);
        }
    }
}
