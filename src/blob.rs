//! Long values on their way into a shard: no single allocation, copy or release takes long.

use crate::limits::{BLOB_CHUNK_BYTES, RECEIVE_STEP_BYTES};
use crate::memory::{self, NoMemory, Region};

/// A byte string of whole chunks of [`BLOB_CHUNK_BYTES`] and a rest. It moves between cores by its pointers and belongs
/// to one core at a time.
#[derive(Debug, Default)]
pub struct Blob {
    chunks: Vec<Region>,
    rest: Rest,
}

/// What comes behind the whole chunks: in memory of the allocator as long as it is short, then in a chunk that is not full.
#[derive(Debug)]
pub enum Rest {
    /// At most [`RECEIVE_STEP_BYTES`].
    Short(Vec<u8>),
    /// So many bytes of a chunk, fewer than all.
    Chunk(Region, usize),
}

/// A rest that is no longer than this is no reason to take a chunk.
const SHORT_REST_BYTES_MAX: usize = RECEIVE_STEP_BYTES;

impl Default for Rest {
    fn default() -> Self {
        Self::Short(Vec::new())
    }
}

impl Rest {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Chunk(chunk, len) => &chunk[..*len],
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::Short(bytes) => bytes.len(),
            Self::Chunk(_, len) => *len,
        }
    }

    /// The chunk, if it takes one.
    #[must_use]
    pub fn into_chunk(self) -> Option<Region> {
        if let Self::Chunk(chunk, _) = self { Some(chunk) } else { None }
    }

    /// Adds bytes for which there is room in a chunk; returns the chunk if it is full.
    fn extend(&mut self, bytes: &[u8]) -> Result<Option<Region>, NoMemory> {
        match self {
            Self::Short(short) if short.len() + bytes.len() <= SHORT_REST_BYTES_MAX => short.extend_from_slice(bytes),
            Self::Short(short) => {
                let mut chunk = memory::chunk()?;
                chunk[..short.len()].copy_from_slice(short);
                *self = Self::Chunk(chunk, short.len());
                return self.extend(bytes);
            }
            Self::Chunk(chunk, len) => {
                chunk[*len..*len + bytes.len()].copy_from_slice(bytes);
                *len += bytes.len();
            }
        }
        Ok(if self.len() == BLOB_CHUNK_BYTES { std::mem::take(self).into_chunk() } else { None })
    }
}

impl Blob {
    /// An empty byte string.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), rest: Rest::Short(Vec::new()) }
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

    /// The memory that it takes, in bytes. Of a chunk that is not full, what has been written is counted: the rest of it
    /// is in RAM only if the chunk was used before.
    #[must_use]
    pub const fn footprint(&self) -> u64 {
        let rest = match &self.rest {
            Rest::Short(bytes) => bytes.capacity(),
            Rest::Chunk(_, len) => *len,
        };
        (self.chunks.len() * BLOB_CHUNK_BYTES + rest) as u64
    }

    /// Adds `bytes` at the end.
    ///
    /// # Errors
    /// If there is no memory for all of them; some may have been added then.
    pub fn extend_from_slice(&mut self, mut bytes: &[u8]) -> Result<(), NoMemory> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOB_CHUNK_BYTES - self.rest.len()));
            self.chunks.extend(self.rest.extend(now)?);
            bytes = later;
        }
        Ok(())
    }

    /// Gives back what the rest has reserved beyond its bytes.
    pub fn shrink(&mut self) {
        if let Rest::Short(bytes) = &mut self.rest {
            bytes.shrink_to_fit();
        }
    }

    /// The whole chunks, and the rest, which is shorter than one.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Region>, Rest) {
        (self.chunks, self.rest)
    }
}

#[cfg(test)]
impl Blob {
    /// All bytes.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).chain(self.rest.bytes()).copied().collect()
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
            bytes.chunks(piece).for_each(|part| blob.extend_from_slice(part).expect("memory"));
            assert_eq!(blob.len(), bytes.len() as u64);
            assert!(blob.footprint() >= blob.len());
            assert!(blob.to_vec() == bytes);
        }
    }
}
