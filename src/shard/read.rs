//! Reading an entry.

use super::record::{Entry, Stored};
use super::versions::written_ms;
use super::{Shard, Spot};
use crate::command::{Expires, Meta, Outcome, Value, ValueKind, Version, VersionSet};
use crate::routing::KeyHash;
use crate::time::Now;

/// What [`Shard::glance`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance<'s> {
    /// No entry.
    Missing,
    /// An entry with a short value.
    Found {
        /// Its type, which is not [`ValueKind::Bytes`].
        kind: ValueKind,
        /// Its version.
        version: Version,
        /// Its value in JSON.
        value: &'s [u8],
    },
}

impl Shard {
    pub(super) fn get(
        &mut self,
        now: Now,
        key: &[u8],
        hash: KeyHash,
        unless: Option<&VersionSet>,
        with_value: bool,
    ) -> Outcome<&[u8]> {
        let Some(loc) = self.find_live(now, hash, key) else {
            self.stats.misses += 1;
            return Outcome::Missing;
        };
        self.stats.hits += 1;
        self.order.touch(&mut self.log, loc);
        let entry = Entry(self.log.at(loc));
        let version = self.versions.version(entry.counter());
        if unless.is_some_and(|versions| versions.contains(Some(version))) {
            return Outcome::NotModified { version };
        }
        let stored = entry.stored();
        let meta = self.meta(now, entry, stored);
        let media = self.media.text(entry.media());
        if !with_value {
            return Outcome::Found { meta, media, value: Value::Omitted };
        }
        self.stats.bytes_read[meta.kind as usize] += meta.len;
        let value = match stored {
            Stored::Inline(bytes) => Value::Inline(bytes),
            Stored::Held(held) => {
                self.values.lease(&self.log, held);
                Value::Leased(self.leases.grant(held))
            }
        };
        Outcome::Found { meta, media, value }
    }

    /// The same for a read without conditions, if its answer is near at hand: there is no such entry, or its value lies in the
    /// record and is JSON there. `None` if not; then nothing has been done. `spot` is where the entry may lie.
    ///
    /// # Panics
    /// See [`Shard::apply`].
    pub fn glance(&mut self, now: Now, key: &[u8], hash: KeyHash, spot: Spot) -> Option<Glance<'_>> {
        debug_assert_eq!(hash, self.hasher.hash(key), "keys are hashed as the shard hashes them");
        let now = self.observe(now);
        let Some(loc) = self.find_at(spot, hash, key) else {
            self.stats.misses += 1;
            return Some(Glance::Missing);
        };
        let entry = Entry(self.log.at(loc));
        let kind = entry.kind();
        if kind == ValueKind::Bytes || entry.is_long() || entry.expired(self.since_ms(now)) {
            return None;
        }
        let (value_at, version) = (entry.value_at(), self.versions.version(entry.counter()));
        if self.order.notices(loc, entry.mark()) {
            self.order.touch(&mut self.log, loc);
        }
        self.stats.hits += 1;
        self.stats.bytes_read[kind as usize] += value_at.len() as u64;
        Some(Glance::Found { kind, version, value: &self.log.at(loc)[value_at] })
    }

    fn meta(&self, now: Now, entry: Entry<'_>, stored: Stored<'_>) -> Meta {
        let counter = entry.counter();
        let (began_ms, updated_ms) = (self.began_ms(), written_ms(counter));
        let wall = |ms: u64| now.wall_time_of(began_ms + ms);
        let left_ms = |deadline_ms: u64| deadline_ms.saturating_sub(self.since_ms(now));
        let (len, raw_len) = match stored {
            Stored::Inline(bytes) => (bytes.len() as u64, entry.raw_len()),
            Stored::Held(value) => self.values.lens(value),
        };
        Meta {
            kind: entry.kind(),
            version: self.versions.version(counter),
            created_at: wall(entry.created_ms().unwrap_or(updated_ms)),
            updated_at: wall(updated_ms),
            expires: entry.deadline_ms().map(|deadline_ms| Expires {
                at: wall(deadline_ms),
                ttl_secs: u32::try_from(left_ms(deadline_ms) / 1_000).unwrap_or(u32::MAX),
            }),
            len,
            raw_len,
        }
    }
}
