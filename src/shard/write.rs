//! Writing and deleting entries.

use super::Shard;
use super::store::{Facts, Handle, Record, entry_footprint, payload_len};
use crate::command::{Conditions, Outcome, Payload, Put, Refusal, ValueKind, Version};
use crate::routing::KeyHash;
use crate::time::Now;

/// A value that takes the place of an entry's old one, or makes an entry.
#[derive(Debug)]
pub struct NewValue<'a> {
    /// The entry as it is, alive, if there is one.
    pub existing: Option<Handle>,
    /// The type of the value.
    pub kind: ValueKind,
    /// The value.
    pub payload: Payload<&'a [u8]>,
    /// How many bytes it has when it is sent raw.
    pub raw_len: u64,
    /// The media type, or nothing.
    pub media: &'a [u8],
    /// The monotonic millisecond at which it expires.
    pub deadline_ms: Option<u64>,
}

impl Shard {
    pub(super) fn put(&mut self, now: Now, key: &[u8], hash: KeyHash, put: Put<&[u8]>) -> Outcome<&'static [u8]> {
        let Put { kind, payload, raw_len, media, ttl, conditions } = put;
        let existing = self.find_live(now, hash, key);
        let actual = existing.map(|handle| self.store.facts(handle).version);
        if !conditions.hold_for(actual) {
            self.stats.put_conflicts += 1;
            self.bury(payload);
            return Outcome::Conflict { actual };
        }
        let deadline_ms = ttl.deadline_ms(now);
        match self.write(now, key, hash, NewValue { existing, kind, payload, raw_len, media, deadline_ms }) {
            Ok(version) => Outcome::Written {
                created: existing.is_none(),
                version,
                expires_at: deadline_ms.map(|deadline_ms| now.wall_time_of(deadline_ms)),
            },
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// Makes room and then stores a value. All that can go wrong goes wrong before anything is changed.
    pub(super) fn write(&mut self, now: Now, key: &[u8], hash: KeyHash, new: NewValue<'_>) -> Result<Version, Refusal> {
        let NewValue { existing, kind, payload, raw_len, media, deadline_ms } = new;
        let len = payload_len(&payload);
        let footprint = entry_footprint(key.len(), media.len(), len);
        if !self.admit(now, existing, footprint) {
            self.bury(payload);
            return Err(if self.could_hold(footprint) { Refusal::NoRoom } else { Refusal::OverBudget });
        }
        let version = self.take_version();
        let created_at = existing.map_or(now.unix(), |handle| self.store.facts(handle).created_at);
        let facts = Facts { hash, kind, version, created_at, updated_at: now.unix(), deadline_ms, raw_len };
        self.place(existing, Record { key, media, payload, facts });
        self.stats.sets += 1;
        self.stats.bytes_written[kind as usize] += len;
        self.refresh_gauges();
        Ok(version)
    }

    /// Puts the record where it belongs, everywhere.
    fn place(&mut self, existing: Option<Handle>, record: Record<'_>) {
        let Facts { hash, deadline_ms, .. } = record.facts;
        let handle = if let Some(handle) = existing {
            self.deadlines.remove(handle);
            self.store.replace(handle, record);
            self.order.touch(handle);
            handle
        } else {
            let handle = self.store.insert(record);
            self.index.insert(hash, handle);
            self.order.insert(handle);
            handle
        };
        if let Some(deadline_ms) = deadline_ms {
            self.deadlines.insert(handle, deadline_ms);
        }
    }

    /// A long value that was refused is freed in slices like any other.
    fn bury(&mut self, payload: Payload<&[u8]>) {
        if let Payload::Blob(blob) = payload {
            self.discard(blob);
        }
    }

    pub(super) fn delete(
        &mut self,
        now: Now,
        key: &[u8],
        hash: KeyHash,
        conditions: &Conditions,
    ) -> Outcome<&'static [u8]> {
        let existing = self.find_live(now, hash, key);
        let actual = existing.map(|handle| self.store.facts(handle).version);
        if !conditions.hold_for(actual) {
            self.stats.delete_conflicts += 1;
            return Outcome::Conflict { actual };
        }
        let Some(handle) = existing else { return Outcome::Missing };
        self.remove(handle);
        self.stats.deletes += 1;
        Outcome::Deleted
    }
}
