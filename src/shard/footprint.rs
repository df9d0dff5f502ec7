//! What an allocation really takes.

use crate::limits::BLOB_CHUNK_BYTES;

/// What the system's allocator keeps beside each allocation, in bytes.
const ALLOCATION_HEADER_BYTES: u64 = 8;
/// Allocations are multiples of this, in bytes.
const ALLOCATION_STEP_BYTES: u64 = 16;
/// The smallest allocation, in bytes.
const ALLOCATION_BYTES_MIN: u64 = 32;

/// The memory that an allocation of `bytes` takes, in bytes. None is made for 0.
pub const fn allocation(bytes: u64) -> u64 {
    if bytes == 0 {
        return 0;
    }
    let rounded = (bytes + ALLOCATION_HEADER_BYTES).next_multiple_of(ALLOCATION_STEP_BYTES);
    if rounded < ALLOCATION_BYTES_MIN { ALLOCATION_BYTES_MIN } else { rounded }
}

/// The memory that a shrunk [`crate::blob::Blob`] of `len` bytes takes, in bytes: its chunks, the table of them, and
/// its place among the shard's blobs.
pub const fn blob(len: u64) -> u64 {
    let chunk = BLOB_CHUNK_BYTES as u64;
    let table = len.div_ceil(chunk) * size_of::<Vec<u8>>() as u64;
    len / chunk * allocation(chunk) + allocation(len % chunk) + allocation(table) + super::blobs::BYTES_PER_BLOB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_takes_what_the_allocator_rounds_it_to() {
        let taken = [(0, 0), (1, 32), (24, 32), (25, 48), (40, 48), (41, 64)];
        taken.iter().for_each(|&(bytes, expected)| assert_eq!(allocation(bytes), expected, "{bytes}"));
    }

    #[test]
    fn a_blob_takes_more_than_its_bytes_but_not_much() {
        for len in [16_385_u64, 65_536, 65_537, 10_000_000] {
            assert!((len..len + len / 100 + 200).contains(&blob(len)), "{len}: {}", blob(len));
        }
    }
}
