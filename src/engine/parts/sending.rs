//! Parcels to other cores: sent, refused, given up; leases that go back to their owners.

use super::Parts;
use crate::command::{LeaseId, Refusal};
use crate::engine::host::Host;
use crate::forward::Waiter;
use crate::limits::RELEASES_PER_PARCEL_MAX;
use crate::metrics::BackpressureReason;
use crate::parcel::{Parcel, Work};
use crate::routing::ShardId;
use crate::time::Now;
use smallvec::SmallVec;

impl Parts {
    /// Puts `parcel` on its way to `to` for `waiter`.
    ///
    /// # Errors
    /// What was full; the parcel comes back, so that what it carries is not lost.
    pub fn send(
        &mut self,
        host: &mut impl Host,
        now: Now,
        mut parcel: Box<Parcel>,
        to: ShardId,
        waiter: Waiter,
    ) -> Result<(), (Box<Parcel>, BackpressureReason)> {
        assert!(to != self.me, "a core does not write letters to itself");
        let is_commands = parcel.work.is_commands();
        if !self.forward.has_room_for(&parcel.work) {
            let full = if is_commands { BackpressureReason::MaxInflight } else { BackpressureReason::ControlLaneFull };
            return Err((parcel, full));
        }
        parcel.sent = now.mono();
        parcel.deadline = now.mono().plus_millis(self.settings.request_timeout_ms);
        self.forward.enter(&mut parcel, to, waiter);
        match host.send(parcel) {
            Ok(()) => {
                self.metrics.forwarded += u64::from(is_commands);
                Ok(())
            }
            Err(parcel) => {
                self.forward.leave(&parcel);
                let reason =
                    if is_commands { BackpressureReason::LaneFull } else { BackpressureReason::ControlLaneFull };
                Err((parcel, reason))
            }
        }
    }

    /// Releases a lease: at once if it is of this shard, else with the next parcel that goes there.
    pub fn release(&mut self, owner: ShardId, lease: LeaseId) {
        if owner == self.me { self.shard.release(lease) } else { self.to_release.push((owner, lease)) }
    }

    /// Sends off what is to be released, one parcel for each owner. What finds a full lane waits for the next tick.
    pub fn send_releases(&mut self, host: &mut impl Host, now: Now) {
        if self.releases_wait {
            return;
        }
        let mut busy: SmallVec<[ShardId; 4]> = SmallVec::new();
        while let Some(&(owner, _)) = self.to_release.iter().find(|(owner, _)| !busy.contains(owner)) {
            let mut parcel = self.forward.blank();
            let of_owner = self.to_release.extract_if(.., |(of, _)| *of == owner).map(|(_, lease)| lease);
            parcel.work = Work::Release(of_owner.take(RELEASES_PER_PARCEL_MAX).collect());
            if let Err((mut parcel, reason)) = self.send(host, now, parcel, owner, Waiter::Nobody) {
                self.metrics.backpressure(reason);
                self.releases_wait = true;
                if let Work::Release(leases) = &mut parcel.work {
                    self.to_release.extend(leases.drain(..).map(|lease| (owner, lease)));
                }
                self.forward.recycle(parcel);
                busy.push(owner);
            }
        }
    }

    /// Allows releases to be tried again.
    pub const fn retry_releases(&mut self) {
        self.releases_wait = false;
    }

    /// Fills in the outcomes of a parcel that could not be sent, and counts why. Long values in it are freed in slices.
    pub fn refuse(&mut self, parcel: &mut Parcel, reason: BackpressureReason) {
        self.metrics.backpressure(reason);
        let shard = &mut self.shard;
        parcel.apply(|command, sink| {
            command.into_blob().into_iter().for_each(|blob| shard.discard(blob));
            sink.refuse(Refusal::Busy);
        });
    }

    /// Takes back a parcel that nobody waits for any more.
    pub fn discard(&mut self, parcel: Box<Parcel>) {
        for lease in parcel.leases() {
            self.release(parcel.to, lease);
        }
        self.forward.recycle(parcel);
    }
}
