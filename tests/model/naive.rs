//! The model: the same cache, so simple that it can be seen to be right. Lists, searched from end to end.
//!
//! *When* an entry must go depends on how records lie in the shard's blocks, which a model cannot know; it is told after
//! each step which keys are left. *Who* goes it knows itself: each key that is gone must be the one that its own policy
//! names next.

use cache_service::command::{Conditions, NumberText, Outcome, Refusal, ValueKind, Version, VersionSet};
use cache_service::limits::INLINE_VALUE_BYTES_MAX;
use cache_service::routing::KeyHash;
use cache_service::shard::{EvictionPolicy, PATIENCE};
use cache_service::time::{Now, Ttl};
use std::fmt;

/// What is asked of a key.
#[derive(Clone, Debug)]
pub enum Ask {
    Get { unless: Option<VersionSet>, with_value: bool },
    Put { kind: ValueKind, bytes: Vec<u8>, raw_len: u64, media: Vec<u8>, ttl: Ttl, conditions: Conditions },
    Delete { conditions: Conditions },
    Incr { delta: i64, ttl: Option<Ttl> },
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { kind, bytes, media, ttl, conditions, .. } => {
                let (len, media) = (bytes.len(), String::from_utf8_lossy(media));
                write!(f, "Put of {len} bytes, {kind:?} {media:?}, {ttl:?}, {conditions:?}")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Vec<u8>,
    pub hash: KeyHash,
    pub kind: ValueKind,
    pub bytes: Vec<u8>,
    pub raw_len: u64,
    pub media: Vec<u8>,
    pub version: Version,
    pub created_ms: u64,
    pub updated_ms: u64,
    pub deadline_ms: Option<u64>,
    pub weight: u64,
    pub uses: u8,
}

impl Entry {
    fn expired(&self, now: Now) -> bool {
        self.deadline_ms.is_some_and(|deadline| deadline <= now.mono().as_millis())
    }
}

/// A key that was evicted, and how many bytes had been evicted with it by then.
#[derive(Debug)]
struct Ghost {
    hash: KeyHash,
    at_bytes: u64,
    /// The budget has changed since, and with it the measure that the shard counts by.
    is_blurred: bool,
}

/// What a new entry's key is to the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    No,
    Yes,
    /// So long ago that the shard, which counts more coarsely, may see it either way.
    Perhaps,
}

/// The shard counts evicted bytes in ticks, of which 4096 make a window and whose length is rounded down; this is more
/// than what both make in all, under the largest budget.
const TICKS_BYTES: u64 = 8_000;

/// A cache that does what a shard must do. `main` alone holds all entries under LRU. Both lists begin with the next victim.
#[derive(Debug)]
pub struct Naive {
    policy: EvictionPolicy,
    pub small: Vec<Entry>,
    pub main: Vec<Entry>,
    ghosts: Vec<Ghost>,
    evicted_bytes: u64,
    pub evictions: u64,
    pub recalled: u64,
}

impl Naive {
    pub fn new(policy: EvictionPolicy) -> Self {
        let (small, main, ghosts) = (Vec::new(), Vec::new(), Vec::new());
        Self { policy, small, main, ghosts, evicted_bytes: 0, evictions: 0, recalled: 0 }
    }

    pub fn len(&self) -> usize {
        self.small.len() + self.main.len()
    }

    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.small.iter().chain(&self.main)
    }

    pub fn find(&self, key: &[u8]) -> Option<&Entry> {
        self.all().find(|entry| entry.key == key)
    }

    fn find_mut(&mut self, key: &[u8]) -> Option<&mut Entry> {
        self.small.iter_mut().chain(&mut self.main).find(|entry| entry.key == key)
    }

    /// Takes an entry out; says whether it was in the small queue.
    pub fn take(&mut self, key: &[u8]) -> Option<(Entry, bool)> {
        if let Some(at) = self.small.iter().position(|entry| entry.key == key) {
            return Some((self.small.remove(at), true));
        }
        let at = self.main.iter().position(|entry| entry.key == key)?;
        Some((self.main.remove(at), false))
    }

    /// Removes what has expired; returns the keys.
    pub fn expire(&mut self, now: Now) -> Vec<Vec<u8>> {
        let gone: Vec<Vec<u8>> = self.all().filter(|entry| entry.expired(now)).map(|entry| entry.key.clone()).collect();
        gone.iter().for_each(|key| drop(self.take(key)));
        gone
    }

    /// Gives an entry another value.
    pub fn rewrite(&mut self, new: Entry) {
        let entry = self.find_mut(&new.key).expect("what is rewritten is there");
        *entry = Entry { uses: entry.uses, created_ms: entry.created_ms, ..new };
    }

    /// Counts a use.
    pub fn touch(&mut self, key: &[u8]) {
        if self.policy == EvictionPolicy::Lru {
            let (entry, _) = self.take(key).expect("what is used is there");
            self.main.push(entry);
        } else {
            let entry = self.find_mut(key).expect("what is used is there");
            entry.uses = (entry.uses + 1).min(3);
        }
    }

    /// Puts an entry where one was that has just been taken out.
    pub fn put_again(&mut self, mut entry: Entry, was_small: bool) {
        entry.uses = (entry.uses + 1).min(3);
        if was_small { self.small.push(entry) } else { self.main.push(entry) }
    }

    /// Puts a new entry, which comes again if `is_known`.
    pub fn put_new(&mut self, entry: Entry, is_known: bool) {
        if is_known {
            self.recalled += 1;
            let at = self.ghosts.iter().position(|ghost| ghost.hash == entry.hash);
            self.ghosts.remove(at.expect("what comes again has been here before"));
            // If there are more, it may have been another one.
            self.ghosts.iter_mut().filter(|ghost| ghost.hash == entry.hash).for_each(|ghost| ghost.is_blurred = true);
        }
        if is_known || self.policy == EvictionPolicy::Lru { self.main.push(entry) } else { self.small.push(entry) }
    }

    /// Whether a key was evicted lately, from a cache that may use `limit` bytes.
    pub fn known(&self, hash: KeyHash, limit: u64) -> Known {
        let ghosts: Vec<&Ghost> = self.ghosts.iter().filter(|ghost| ghost.hash == hash).collect();
        match ghosts[..] {
            [] => Known::No,
            [ghost] if !ghost.is_blurred && self.evicted_bytes - ghost.at_bytes + TICKS_BYTES < limit / 10 * 9 => {
                Known::Yes
            }
            _ => Known::Perhaps,
        }
    }

    /// From now on the shard counts the age of ghosts by another measure.
    pub fn blur_ghosts(&mut self) {
        self.ghosts.iter_mut().for_each(|ghost| ghost.is_blurred = true);
    }

    fn bytes(queue: &[Entry]) -> u64 {
        queue.iter().map(|entry| entry.weight).sum()
    }

    /// Evicts as many entries as `missing` names, in the order of the policy: they must be the same.
    pub fn evict_all(&mut self, mut missing: Vec<Vec<u8>>, trace: &str) {
        let mut patience = PATIENCE;
        while !missing.is_empty() {
            let (victim, was_small) = self.next_victim(&mut patience);
            let at = missing.iter().position(|key| *key == victim.key);
            let names: Vec<_> = missing.iter().map(|key| String::from_utf8_lossy(key)).collect();
            let at = at.unwrap_or_else(|| panic!("{trace}: {:?} should go before {names:?}", victim.key));
            missing.swap_remove(at);
            self.evictions += 1;
            if was_small && self.policy == EvictionPolicy::S3Fifo {
                self.evicted_bytes += victim.weight;
                let (hash, at_bytes) = (victim.hash, self.evicted_bytes);
                self.ghosts.push(Ghost { hash, at_bytes, is_blurred: false });
            }
        }
    }

    fn next_victim(&mut self, patience: &mut u32) -> (Entry, bool) {
        if self.policy == EvictionPolicy::Lru {
            return (self.main.remove(0), false);
        }
        loop {
            let is_main_full = Self::bytes(&self.main) > 9 * Self::bytes(&self.small);
            let from_small = !self.small.is_empty() && (!is_main_full || self.main.is_empty());
            let mut entry = if from_small { self.small.remove(0) } else { self.main.remove(0) };
            let stays = if from_small { entry.uses >= 2 } else { entry.uses >= 1 };
            if !stays || *patience == 0 {
                return (entry, from_small);
            }
            *patience -= 1;
            entry.uses = if from_small { 0 } else { entry.uses - 1 };
            self.main.push(entry);
        }
    }
}

/// What an Incr of `old` makes.
pub fn sum(old: Option<&Entry>, delta: i64) -> Result<String, Refusal> {
    let text = match old {
        None => return Ok(delta.to_string()),
        Some(old) if old.kind != ValueKind::Number => return Err(Refusal::NotANumber),
        Some(old) if old.bytes.len() > INLINE_VALUE_BYTES_MAX => return Err(Refusal::Overflow),
        Some(old) => std::str::from_utf8(&old.bytes).expect("a number is ASCII"),
    };
    if !text.contains(['.', 'e']) {
        let integer = text.parse::<i128>().map_err(|_| Refusal::Overflow)? + i128::from(delta);
        let in_range = text.parse::<i64>().is_ok() && i64::try_from(integer).is_ok();
        return if in_range { Ok(integer.to_string()) } else { Err(Refusal::Overflow) };
    }
    let float = text.parse::<f64>().expect("a number") + delta as f64;
    if float.is_finite() { Ok(format!("{float:?}")) } else { Err(Refusal::Overflow) }
}

/// The outcome of an Incr.
pub fn counted(text: &str, version: Version) -> Outcome<Vec<u8>> {
    Outcome::Counted { value: NumberText::from_slice(text.as_bytes()), version }
}
