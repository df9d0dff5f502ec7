//! How much memory the shard may use, and what of it others have taken.

/// The shard's part of the memory budget, and what is set aside of it.
#[derive(Debug)]
pub struct Budget {
    /// What the shard may use according to the configuration.
    wanted: u64,
    /// The same, or less if the kernel has less.
    limit: u64,
    reserved: u64,
    buffers: u64,
}

impl Budget {
    /// A budget of `limit` bytes; `u64::MAX` for no limit.
    pub const fn new(limit: u64) -> Self {
        Self { wanted: limit, limit, reserved: 0, buffers: 0 }
    }

    /// Takes another limit from the configuration.
    pub const fn want(&mut self, bytes: u64) {
        (self.wanted, self.limit) = (bytes, bytes);
    }

    /// What the configuration allows, in bytes.
    pub const fn wanted(&self) -> u64 {
        self.wanted
    }

    /// What the configuration allows, in bytes, and the limit does not.
    pub const fn denied(&self) -> u64 {
        self.wanted - self.limit
    }

    /// The same as operators see it: where no budget is set, none of it is missing.
    pub const fn missing(&self) -> u64 {
        if self.wanted == u64::MAX { 0 } else { self.denied() }
    }

    /// Changes the limit, which is never above what the configuration allows.
    pub const fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// What the shard may use, in bytes.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes set aside for values that are being received.
    pub const fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Sets bytes aside.
    pub const fn reserve(&mut self, bytes: u64) {
        self.reserved += bytes;
    }

    /// Gives bytes back.
    ///
    /// # Panics
    /// If more than was set aside.
    pub const fn unreserve(&mut self, bytes: u64) {
        assert!(bytes <= self.reserved, "only what was reserved is given back");
        self.reserved -= bytes;
    }

    /// Bytes that the buffers of the core's connections take.
    pub const fn buffers(&self) -> u64 {
        self.buffers
    }

    /// Takes note of what the buffers of the core's connections take.
    pub const fn set_buffers(&mut self, bytes: u64) {
        self.buffers = bytes;
    }
}
