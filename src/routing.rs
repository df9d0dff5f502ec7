//! Whose key is it? The only place that asks.

use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;

/// The name of the hash, as clients know it.
pub const HASH_NAME: &str = "siphash-1-3";
/// What [`Router::owner`] computes, for clients that send each request to the core that owns its key.
pub const OWNER_RULE: &str = "((hash >> 32) * shards) >> 32";

/// The number of a core, and of the one shard that it owns: 0 up to one less than the number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard's place in a slice that has one element for each shard.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The keyed hash of a key: its high half picks the shard, its low half the place in that shard's index.
/// Computed once, where the request is parsed, and carried along from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash(pub u64);

/// Hashes keys. Every core of a process has an equal copy.
///
/// SipHash-1-3 (Aumasson and Bernstein) under a secret that is drawn at start: a client that knows this code still
/// cannot choose keys that pile up on one shard or in one place of its index.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    sip: SipHasher13,
    mask: u64,
}

impl KeyHasher {
    /// A hasher under the secret `seed`.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        Self { sip: SipHasher13::new_with_keys(seed[0], seed[1]), mask: u64::MAX }
    }

    /// Keeps only the bits of `mask`: few bits make the hashes of different keys equal, for tests.
    #[doc(hidden)]
    #[must_use]
    pub const fn masked(self, mask: u64) -> Self {
        Self { mask, ..self }
    }

    /// The hash of `key`.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        let mut sip = self.sip;
        sip.write(key);
        KeyHash(sip.finish() & self.mask)
    }
}

/// Hashes keys and names their owners. Every core of a process has an equal copy.
#[derive(Clone, Copy, Debug)]
pub struct Router {
    hasher: KeyHasher,
    shards: u16,
    seed: [u64; 2],
}

impl Router {
    /// A router over `shards` shards (at least 1) under the secret `seed`.
    ///
    /// # Panics
    /// If `shards` is 0.
    #[must_use]
    pub fn new(shards: u16, seed: [u64; 2]) -> Self {
        assert!(shards > 0, "a cache has at least one shard");
        Self { hasher: KeyHasher::new(seed), shards, seed }
    }

    /// What it hashes with; the shards that it routes to must have the same.
    #[must_use]
    pub const fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// The secret. Whoever is told it can choose keys that pile up on one shard.
    #[must_use]
    pub const fn seed(&self) -> [u64; 2] {
        self.seed
    }

    /// The hash of `key`, under this process's secret.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        self.hasher.hash(key)
    }

    /// The shard that owns every key with this hash: the high half of the hash, scaled to the number of shards
    /// (Lemire, "Fast random integer generation in an interval", 2019), which spares a division.
    #[must_use]
    pub const fn owner(&self, hash: KeyHash) -> ShardId {
        ShardId((((hash.0 >> 32) * self.shards as u64) >> 32) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_gets_its_part() {
        let router = Router::new(7, [1, 2]);
        let mut keys_of = [0_u32; 7];
        for n in 0..70_000_u32 {
            keys_of[router.owner(router.hash(&n.to_le_bytes())).index()] += 1;
        }
        assert!(keys_of.iter().all(|&keys| (9_500..10_500).contains(&keys)), "{keys_of:?}");
    }

    #[test]
    fn the_secret_decides_the_placement() {
        let (one, other) = (Router::new(64, [1, 2]), Router::new(64, [3, 4]));
        let moved =
            (0..1_000_u32).map(u32::to_le_bytes).filter(|k| one.owner(one.hash(k)) != other.owner(other.hash(k)));
        assert!(moved.count() > 900);
    }
}
