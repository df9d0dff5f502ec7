//! The model: the same cache, so simple that it can be seen to be right. A list in the order of use, searched from
//! end to end; what has expired goes before anything else happens.

use cache_service::command::{
    Conditions, Expires, Meta, NumberText, Outcome, Refusal, Value, ValueKind, Version, VersionSet,
};
use cache_service::limits::INLINE_VALUE_BYTES_MAX;
use cache_service::shard::Shard;
use cache_service::shard::stats::ShardStats;
use cache_service::time::{Now, Ttl, UnixMillis};
use std::collections::BTreeMap;

/// What is asked of a key.
#[derive(Clone, Debug)]
pub enum Ask {
    Get { unless: Option<VersionSet>, with_value: bool },
    Put { kind: ValueKind, bytes: Vec<u8>, raw_len: u64, media: Vec<u8>, ttl: Ttl, conditions: Conditions },
    Delete { conditions: Conditions },
    Incr { delta: i64, ttl: Option<Ttl> },
}

/// Names a value: each write makes a new one.
type ValueId = u64;

#[derive(Clone, Debug)]
struct Entry {
    key: Vec<u8>,
    id: ValueId,
    kind: ValueKind,
    bytes: Vec<u8>,
    raw_len: u64,
    media: Vec<u8>,
    version: Version,
    created_at: UnixMillis,
    updated_at: UnixMillis,
    deadline_ms: Option<u64>,
}

impl Entry {
    fn footprint(&self) -> u64 {
        Shard::entry_footprint(self.key.len(), self.media.len(), self.bytes.len() as u64)
    }

    /// The part of the footprint that a lease keeps.
    fn blob_footprint(&self) -> u64 {
        if self.bytes.len() <= INLINE_VALUE_BYTES_MAX {
            return 0;
        }
        self.footprint() - Shard::entry_footprint(self.key.len(), self.media.len(), 0)
    }
}

#[derive(Debug)]
struct Leased {
    bytes: u64,
    leases: u32,
}

/// A cache that does what a shard must do.
#[derive(Debug)]
pub struct Naive {
    /// The next victim first.
    entries: Vec<Entry>,
    leased: BTreeMap<ValueId, Leased>,
    limit: u64,
    ceiling: u64,
    pub reserved: u64,
    next_version: u64,
    pub stats: ShardStats,
    /// Bytes of long values that died since they were last known to be freed: the most that may lie unfreed.
    pub dead_bytes_max: u64,
}

impl Naive {
    pub fn new(limit: Option<u64>, first_version: u64) -> Self {
        let limit = limit.unwrap_or(u64::MAX);
        Self {
            entries: Vec::new(),
            leased: BTreeMap::new(),
            limit,
            ceiling: limit,
            reserved: 0,
            next_version: first_version,
            stats: ShardStats::default(),
            dead_bytes_max: 0,
        }
    }

    pub fn apply(&mut self, now: Now, key: &[u8], ask: Ask) -> Outcome<Vec<u8>> {
        self.expire(now);
        match ask {
            Ask::Get { unless, with_value } => self.get(now, key, unless.as_ref(), with_value),
            Ask::Put { kind, bytes, raw_len, media, ttl, conditions } => {
                let actual = self.version(key);
                let id = self.next_version;
                let (version, updated_at, created_at) = (Version(id), now.unix(), now.unix());
                let deadline_ms = ttl.deadline_ms(now);
                let key = key.to_vec();
                let entry =
                    Entry { key, id, kind, bytes, raw_len, media, version, created_at, updated_at, deadline_ms };
                if !conditions.hold_for(actual) {
                    self.stats.put_conflicts += 1;
                    self.dead_bytes_max += entry.blob_footprint();
                    return Outcome::Conflict { actual };
                }
                let expires_at = deadline_ms.map(|deadline_ms| now.wall_time_of(deadline_ms));
                match self.write(entry) {
                    Ok(version) => Outcome::Written { created: actual.is_none(), version, expires_at },
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
            Ask::Delete { conditions } => self.delete(key, &conditions),
            Ask::Incr { delta, ttl } => self.incr(now, key, delta, ttl).unwrap_or_else(Outcome::Refused),
        }
    }

    pub fn version(&self, key: &[u8]) -> Option<Version> {
        self.position(key).map(|at| self.entries[at].version)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Removes what has expired.
    pub fn expire(&mut self, now: Now) {
        let expired = |entry: &Entry| entry.deadline_ms.is_some_and(|deadline| deadline <= now.mono().as_millis());
        while let Some(at) = self.entries.iter().position(expired) {
            self.remove(at);
            self.stats.expirations += 1;
        }
    }

    /// Takes a lease on the value of `key`.
    pub fn lease(&mut self, key: &[u8]) -> ValueId {
        let entry = &self.entries[self.position(key).expect("what is leased is there")];
        let fresh = Leased { bytes: entry.blob_footprint(), leases: 0 };
        let id = entry.id;
        self.leased.entry(id).or_insert(fresh).leases += 1;
        id
    }

    pub fn release(&mut self, id: ValueId) {
        let leased = self.leased.get_mut(&id).expect("a lease is released once");
        leased.leases -= 1;
        if leased.leases == 0 {
            let bytes = leased.bytes;
            self.leased.remove(&id);
            if self.entries.iter().all(|entry| entry.id != id) {
                self.dead_bytes_max += bytes;
            }
        }
    }

    pub fn reserve(&mut self, now: Now, bytes: u64) -> bool {
        self.expire(now);
        if !self.fits(bytes) {
            return false;
        }
        while self.in_use() + bytes > self.ceiling {
            self.evict();
        }
        self.reserved += bytes;
        true
    }

    pub fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit.unwrap_or(u64::MAX);
        self.ceiling = self.limit.max(self.in_use());
    }

    pub fn tick(&mut self, now: Now) {
        self.expire(now);
        while self.in_use() > self.limit && !self.entries.is_empty() {
            self.evict();
        }
        self.ceiling = self.ceiling.min(self.limit.max(self.in_use()));
    }

    /// What counts against the budget.
    pub fn in_use(&self) -> u64 {
        let orphaned = self.leased.iter().filter(|&(&id, _)| self.entries.iter().all(|entry| entry.id != id));
        self.live_bytes() + self.reserved + orphaned.map(|(_, leased)| leased.bytes).sum::<u64>()
    }

    fn live_bytes(&self) -> u64 {
        self.entries.iter().map(Entry::footprint).sum()
    }

    fn fits(&self, bytes: u64) -> bool {
        let leased: u64 = self.leased.values().map(|leased| leased.bytes).sum();
        self.reserved + leased + bytes <= self.limit
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == key)
    }

    fn remove(&mut self, at: usize) -> Entry {
        let entry = self.entries.remove(at);
        if !self.leased.contains_key(&entry.id) {
            self.dead_bytes_max += entry.blob_footprint();
        }
        entry
    }

    fn evict(&mut self) {
        self.remove(0);
        self.stats.evictions += 1;
    }

    fn get(&mut self, now: Now, key: &[u8], unless: Option<&VersionSet>, with_value: bool) -> Outcome<Vec<u8>> {
        let Some(at) = self.position(key) else {
            self.stats.misses += 1;
            return Outcome::Missing;
        };
        self.stats.hits += 1;
        let entry = self.entries.remove(at);
        self.entries.push(entry.clone());
        if unless.is_some_and(|versions| versions.contains(Some(entry.version))) {
            return Outcome::NotModified { version: entry.version };
        }
        let meta = Meta {
            kind: entry.kind,
            version: entry.version,
            created_at: entry.created_at,
            updated_at: entry.updated_at,
            expires: entry.deadline_ms.map(|deadline_ms| Expires {
                at: now.wall_time_of(deadline_ms),
                ttl_secs: ((deadline_ms - now.mono().as_millis()) / 1_000) as u32,
            }),
            len: entry.bytes.len() as u64,
            raw_len: entry.raw_len,
        };
        let media = entry.media;
        if !with_value {
            return Outcome::Found { meta, media, value: Value::Omitted };
        }
        self.stats.bytes_read[entry.kind as usize] += meta.len;
        Outcome::Found { meta, media, value: Value::Inline(entry.bytes) }
    }

    fn delete(&mut self, key: &[u8], conditions: &Conditions) -> Outcome<Vec<u8>> {
        let actual = self.version(key);
        if !conditions.hold_for(actual) {
            self.stats.delete_conflicts += 1;
            return Outcome::Conflict { actual };
        }
        let Some(at) = self.position(key) else { return Outcome::Missing };
        self.remove(at);
        self.stats.deletes += 1;
        Outcome::Deleted
    }

    fn incr(&mut self, now: Now, key: &[u8], delta: i64, ttl: Option<Ttl>) -> Result<Outcome<Vec<u8>>, Refusal> {
        let old = self.position(key).map(|at| self.entries[at].clone());
        let text = match &old {
            None => delta.to_string(),
            Some(old) if old.kind != ValueKind::Number => return Err(Refusal::NotANumber),
            Some(old) if old.bytes.len() > INLINE_VALUE_BYTES_MAX => return Err(Refusal::Overflow),
            Some(old) => sum(std::str::from_utf8(&old.bytes).expect("a number is ASCII"), delta)?,
        };
        let kept = old.and_then(|old| old.deadline_ms);
        let version = self.write(Entry {
            key: key.to_vec(),
            id: self.next_version,
            kind: ValueKind::Number,
            raw_len: text.len() as u64,
            bytes: text.clone().into_bytes(),
            media: Vec::new(),
            version: Version(self.next_version),
            created_at: now.unix(),
            updated_at: now.unix(),
            deadline_ms: ttl.map_or(kept, |ttl| ttl.deadline_ms(now)),
        })?;
        Ok(Outcome::Counted { value: NumberText::from_slice(text.as_bytes()), version })
    }

    fn write(&mut self, mut entry: Entry) -> Result<Version, Refusal> {
        if !self.fits(entry.footprint()) {
            self.dead_bytes_max += entry.blob_footprint();
            let never = entry.footprint() > self.limit;
            return Err(if never { Refusal::OverBudget } else { Refusal::NoRoom });
        }
        if let Some(at) = self.position(&entry.key) {
            entry.created_at = self.remove(at).created_at;
        }
        while self.in_use() + entry.footprint() > self.ceiling {
            self.evict();
        }
        self.stats.sets += 1;
        self.stats.bytes_written[entry.kind as usize] += entry.bytes.len() as u64;
        let version = entry.version;
        self.next_version = self.next_version.wrapping_add(1);
        self.entries.push(entry);
        Ok(version)
    }
}

fn sum(text: &str, delta: i64) -> Result<String, Refusal> {
    if !text.contains(['.', 'e']) {
        let integer = text.parse::<i128>().map_err(|_| Refusal::Overflow)? + i128::from(delta);
        let in_range = text.parse::<i64>().is_ok() && i64::try_from(integer).is_ok();
        return if in_range { Ok(integer.to_string()) } else { Err(Refusal::Overflow) };
    }
    let float = text.parse::<f64>().expect("a number") + delta as f64;
    if float.is_finite() { Ok(format!("{float:?}")) } else { Err(Refusal::Overflow) }
}
