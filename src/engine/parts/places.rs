//! Places for requests in progress: how many there are, who may have which, who waits for one.

use super::Parts;
use crate::limits::PLACES_KEPT_DIVISOR;
use crate::session::ConnId;

/// A connection whose next request waits for a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Which.
    pub conn: ConnId,
    /// Whether that request may have one of the places that are kept: see [`Parts::are_places_kept`].
    pub is_modest: bool,
}

impl Parts {
    /// Whether as many requests are in progress as may be. An answer that only waits for its reader keeps nobody else from
    /// being served: it takes memory, which is counted as such.
    #[must_use]
    pub const fn is_at_work_enough(&self) -> bool {
        self.at_work() >= self.settings.inflight_max as u64
    }

    /// Whether the places that are left are kept: for a request that is there as a whole, on a connection that waits for
    /// nothing else. Who pipelines, or takes his time with a body, has the other places, and cannot take these.
    #[must_use]
    pub const fn are_places_kept(&self) -> bool {
        self.at_work() >= self.places_not_kept()
    }

    /// Whether a request may have to wait for a place.
    #[must_use]
    pub(crate) fn are_places_contested(&self) -> bool {
        self.are_places_kept() || !self.waiting.is_empty()
    }

    /// Whether as many bodies are on their way in as may be: half of the places, so that neither pipelines nor whole requests
    /// are kept out by those who take their time.
    #[must_use]
    pub const fn are_bodies_enough(&self) -> bool {
        self.bodies_coming >= self.settings.inflight_max.div_ceil(2) as u64
    }

    /// Whether there is a place for who waits.
    pub(crate) const fn has_place_for(&self, waiting: Waiting) -> bool {
        if waiting.is_modest { !self.is_at_work_enough() } else { !self.are_places_kept() }
    }

    /// Whether one more connection may wait for a place: no more than there are places, so that a turn comes soon.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.waiting.len() < self.settings.inflight_max
    }

    /// Requests in progress, without those whose answers only wait to be taken.
    #[must_use]
    pub const fn at_work(&self) -> u64 {
        self.metrics.active_requests - self.answers_untaken
    }

    const fn places_not_kept(&self) -> u64 {
        let places = self.settings.inflight_max;
        (places - places / PLACES_KEPT_DIVISOR) as u64
    }
}
