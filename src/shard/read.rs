//! Reading an entry.

use super::Shard;
use super::log::Loc;
use super::record::{Entry, Stored};
use super::versions::written_ms;
use crate::command::{Expires, LeaseId, Meta, Outcome, Value, VersionSet};
use crate::routing::KeyHash;
use crate::time::Now;

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
        let version = self.versions.version(Entry(self.log.at(loc)).counter());
        if unless.is_some_and(|versions| versions.contains(Some(version))) {
            return Outcome::NotModified { version };
        }
        let meta = self.meta(now, loc);
        let lease = if with_value { self.hand_out(loc, meta) } else { None };
        let entry = Entry(self.log.at(loc));
        let value = match (with_value, lease, entry.stored()) {
            (true, Some(lease), _) => Value::Leased(lease),
            (true, None, Stored::Inline(bytes)) => Value::Inline(bytes),
            _ => Value::Omitted,
        };
        Outcome::Found { meta, media: self.media.text(entry.media()), value }
    }

    /// Counts that the value is read, and leases it if it is long.
    fn hand_out(&mut self, loc: Loc, meta: Meta) -> Option<LeaseId> {
        self.stats.bytes_read[meta.kind as usize] += meta.len;
        let value = Entry(self.log.at(loc)).held()?;
        self.values.lease(&self.log, value);
        Some(self.leases.grant(value))
    }

    fn meta(&self, now: Now, loc: Loc) -> Meta {
        let entry = Entry(self.log.at(loc));
        let updated_ms = written_ms(entry.counter());
        let wall = |ms: u64| now.wall_time_of(self.began_ms() + ms);
        let left_ms = |deadline_ms: u64| deadline_ms.saturating_sub(self.since_ms(now));
        let (len, raw_len) = match entry.stored() {
            Stored::Inline(bytes) => (bytes.len() as u64, entry.raw_len()),
            Stored::Held(value) => self.values.lens(value),
        };
        Meta {
            kind: entry.kind(),
            version: self.versions.version(entry.counter()),
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
