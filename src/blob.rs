//! Long values: bytes in chunks of one size, so that no single allocation, copy or release takes long.

use crate::limits::BLOB_CHUNK_BYTES;

/// A byte string in chunks of [`BLOB_CHUNK_BYTES`], all full but the last. It moves between cores by its pointers
/// and belongs to one core at a time.
#[derive(Debug, Default)]
pub struct Blob {
    chunks: Vec<Vec<u8>>,
    len: u64,
}

impl Blob {
    /// An empty byte string.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    /// How many bytes it holds.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory that it takes, in bytes, whole chunks counted.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.capacity() as u64).sum()
    }

    /// Adds `bytes` at the end.
    pub fn extend_from_slice(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = self.chunks.last().map_or(0, |chunk| BLOB_CHUNK_BYTES - chunk.len());
            if room == 0 {
                self.chunks.push(Vec::with_capacity(BLOB_CHUNK_BYTES));
                continue;
            }
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            if let Some(chunk) = self.chunks.last_mut() {
                chunk.extend_from_slice(now);
            }
            bytes = rest;
        }
    }

    /// Gives back what the last chunk has reserved beyond its bytes.
    pub fn shrink(&mut self) {
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.shrink_to_fit();
        }
        self.chunks.shrink_to_fit();
    }

    /// The bytes from `offset` to the end of the chunk that holds it; empty at the end of the value and beyond.
    #[must_use]
    pub fn slice_from(&self, offset: u64) -> &[u8] {
        if offset >= self.len {
            return &[];
        }
        let (chunk, within) = (offset / BLOB_CHUNK_BYTES as u64, offset % BLOB_CHUNK_BYTES as u64);
        &self.chunks[chunk as usize][within as usize..]
    }

    /// All chunks in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(Vec::as_slice)
    }

    /// Drops the last chunk; false if there was none left. Lets a large value be freed in slices.
    pub fn drop_last_chunk(&mut self) -> bool {
        let last = self.chunks.pop();
        self.len -= last.as_ref().map_or(0, |chunk| chunk.len() as u64);
        last.is_some()
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
            bytes.chunks(piece).for_each(|part| blob.extend_from_slice(part));
            assert_eq!(blob.len(), bytes.len() as u64);
            let mut read = Vec::new();
            while !blob.slice_from(read.len() as u64).is_empty() {
                read.extend_from_slice(blob.slice_from(read.len() as u64));
            }
            assert!(read == bytes);
            while blob.drop_last_chunk() {}
            assert!(blob.is_empty());
        }
    }
}
