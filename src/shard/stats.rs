//! What a shard counts.

/// The numbers of one shard since the start of the process. Plain integers: they belong to one core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Reads that found an entry.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Successful writes, counters included.
    pub sets: u64,
    /// Entries deleted by request.
    pub deletes: u64,
    /// Entries removed to stay within the budget.
    pub evictions: u64,
    /// How often the kernel had no memory for what the budget allows.
    pub blocks_denied: u64,
    /// Entries removed because their time had come.
    pub expirations: u64,
    /// Entries now.
    pub entries: u64,
    /// Bytes in use now.
    pub memory_bytes: u64,
    /// Bytes of the budget that the shard goes without now, because the kernel had no memory.
    pub denied_bytes: u64,
    /// For how long, in milliseconds, an entry has been expired that is not freed yet; as of the last tick.
    pub expiry_lag_ms: u64,
    /// Conditions that did not hold, on a Put.
    pub put_conflicts: u64,
    /// Conditions that did not hold, on a Delete.
    pub delete_conflicts: u64,
    /// Payload bytes read, by [`crate::command::ValueKind::ALL`].
    pub bytes_read: [u64; 5],
    /// Payload bytes written, by [`crate::command::ValueKind::ALL`].
    pub bytes_written: [u64; 5],
}
