//! Reading an entry.

use super::Shard;
use super::store::Handle;
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
        let Some(handle) = self.find_live(now, hash, key) else {
            self.stats.misses += 1;
            return Outcome::Missing;
        };
        self.stats.hits += 1;
        self.order.touch(handle);
        let version = self.store.facts(handle).version;
        if unless.is_some_and(|versions| versions.contains(Some(version))) {
            return Outcome::NotModified { version };
        }
        let meta = self.meta(now, handle);
        let value = with_value.then(|| self.hand_out(handle, meta));
        let (media, inline) = self.store.media_and_inline(handle);
        let value = match value {
            None => Value::Omitted,
            Some(None) => Value::Inline(inline),
            Some(Some(lease)) => Value::Leased(lease),
        };
        Outcome::Found { meta, media, value }
    }

    /// Counts that the value is read, and leases it if it is long.
    fn hand_out(&mut self, handle: Handle, meta: Meta) -> Option<LeaseId> {
        self.stats.bytes_read[meta.kind as usize] += meta.len;
        let blob = self.store.blob(handle)?;
        self.store.blobs.lease(blob);
        Some(self.leases.grant(blob))
    }

    fn meta(&self, now: Now, handle: Handle) -> Meta {
        let facts = self.store.facts(handle);
        let left_ms = |deadline_ms: u64| deadline_ms.saturating_sub(now.mono().as_millis());
        Meta {
            kind: facts.kind,
            version: facts.version,
            created_at: facts.created_at,
            updated_at: facts.updated_at,
            expires: facts.deadline_ms.map(|deadline_ms| Expires {
                at: now.wall_time_of(deadline_ms),
                ttl_secs: u32::try_from(left_ms(deadline_ms) / 1_000).unwrap_or(u32::MAX),
            }),
            len: self.store.value_len(handle),
            raw_len: facts.raw_len,
        }
    }
}
