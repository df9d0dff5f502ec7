//! How much memory the shard may use.

/// The shard's part of the memory budget, and what is set aside of it.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    /// What admission keeps to: the limit, or what was in use when the limit was lowered. It comes down as upkeep
    /// evicts, so that no single write has to evict all that a smaller budget costs.
    ceiling: u64,
    reserved: u64,
}

impl Budget {
    /// A budget of `limit` bytes, `None` for no limit.
    pub fn new(limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or(u64::MAX);
        Self { limit, ceiling: limit, reserved: 0 }
    }

    /// Changes the limit while `in_use` bytes are in use.
    pub fn set_limit(&mut self, limit: Option<u64>, in_use: u64) {
        self.limit = limit.unwrap_or(u64::MAX);
        self.ceiling = self.limit.max(in_use);
    }

    /// Lowers the ceiling to what is still in use.
    pub fn lower_ceiling(&mut self, in_use: u64) {
        self.ceiling = self.ceiling.min(self.limit.max(in_use));
    }

    /// What the shard may use, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What admission keeps to, in bytes; never below the limit.
    pub fn ceiling(&self) -> u64 {
        self.ceiling
    }

    /// Bytes set aside for values that are being received.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Sets bytes aside.
    pub fn reserve(&mut self, bytes: u64) {
        self.reserved += bytes;
    }

    /// Gives bytes back.
    ///
    /// # Panics
    /// If more than was set aside.
    pub fn unreserve(&mut self, bytes: u64) {
        assert!(bytes <= self.reserved, "only what was reserved is given back");
        self.reserved -= bytes;
    }
}
