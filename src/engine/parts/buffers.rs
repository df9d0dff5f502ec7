//! What the buffers of connections take, and those that no connection has now.

use super::Parts;
use crate::limits::{BUFFER_KEEP_BYTES, BUFFERS_SHARE_DIVISOR, EVEN_SHARE_BYTES_MIN, SPARE_OUTPUTS_MAX};
use crate::memory;

/// Empty buffers for answers; the one that was used last is given first.
#[derive(Debug, Default)]
pub(crate) struct SpareOutputs(Vec<Vec<u8>>);

impl SpareOutputs {
    /// An empty buffer.
    pub(crate) fn pop(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next one who needs it, unless it has grown large or there are enough.
    pub(crate) fn keep(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= BUFFER_KEEP_BYTES && self.0.len() < SPARE_OUTPUTS_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }

    /// The memory that they take, in bytes.
    fn bytes(&self) -> u64 {
        self.0.iter().map(|buffer| buffer.capacity() as u64).sum()
    }
}

impl Parts {
    /// Takes note that the buffers of a connection took `before` bytes and take `after` now.
    pub(crate) fn buffers_changed(&mut self, before: u64, after: u64) {
        self.buffer_bytes = self.buffer_bytes - before + after;
    }

    /// What the buffers of all connections take, in bytes. For tests.
    #[doc(hidden)]
    #[must_use]
    pub const fn buffer_bytes(&self) -> u64 {
        self.buffer_bytes
    }

    /// Tells the shard of what has changed in this wake-up.
    pub(crate) fn count_buffers_if_changed(&mut self) {
        if self.buffer_bytes != self.buffer_bytes_told {
            self.count_buffers();
        }
    }

    /// Tells the shard what must fit into the budget beside its entries.
    pub(crate) fn count_buffers(&mut self) {
        self.buffer_bytes_told = self.buffer_bytes;
        let spare = self.forward.spare_bytes() + self.spare_outputs.bytes();
        let kept = spare + memory::kept_bytes() + self.insight_bytes;
        self.shard.set_buffers(self.buffer_bytes + kept);
    }

    /// Whether the buffers of the connections take so much that who has not taken its answers must wait with further
    /// requests: clients that do not read must not evict what all others have stored.
    #[must_use]
    pub fn are_buffers_full(&self) -> bool {
        self.buffer_bytes > self.shard.limit() / BUFFERS_SHARE_DIVISOR
    }

    /// How much of the room for buffers each of the connections has, in bytes, if all have the same; never less than a few
    /// requests take.
    #[must_use]
    pub fn even_share_of_buffers(&self) -> u64 {
        (self.shard.limit() / BUFFERS_SHARE_DIVISOR / self.metrics.connections.max(1)).max(EVEN_SHARE_BYTES_MIN)
    }
}
