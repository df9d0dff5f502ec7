//! The versions of writes, which tell their times as well.

use super::record::COUNTER_MAX;
use crate::command::Version;

/// A counter moves on by so many bits in a millisecond: more than 512 writes in one borrow from the next.
const BITS_PER_MS: u32 = 9;
/// After so many milliseconds, some nine years, counters do not follow the time any more, so that enough are left.
const FOLLOWED_MS_MAX: u64 = COUNTER_MAX >> (BITS_PER_MS + 1);

/// Gives every write of a shard a counter of its own: a hybrid logical clock (Kulkarni et al., 2014) whose high bits are
/// the milliseconds since the shard began, so that an entry need not keep both. Clients see it added to a first version
/// that differs from process to process.
#[derive(Debug)]
pub struct Versions {
    first: u64,
    next: u64,
}

impl Versions {
    /// Counters from 0, versions from `first` on.
    pub const fn new(first: u64) -> Self {
        Self { first, next: 0 }
    }

    /// The counter that a write would have that takes place now.
    pub fn peek(&self, now_ms: u64) -> u64 {
        self.next.max(now_ms.min(FOLLOWED_MS_MAX) << BITS_PER_MS)
    }

    /// The counter of a write that takes place now.
    ///
    /// # Panics
    /// When there are none left, after 2^47 writes and more.
    pub fn take(&mut self, now_ms: u64) -> u64 {
        let counter = self.peek(now_ms);
        assert!(counter <= COUNTER_MAX, "no version is given twice");
        self.next = counter + 1;
        counter
    }

    /// What clients see.
    pub const fn version(&self, counter: u64) -> Version {
        Version(self.first.wrapping_add(counter))
    }
}

/// When a write took place, in milliseconds since the shard began.
pub const fn written_ms(counter: u64) -> u64 {
    counter >> BITS_PER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_never_repeat_and_follow_the_time() {
        let mut versions = Versions::new(u64::MAX);
        let (mut last, mut now_ms) = (None, 0);
        for millisecond in 0..100_u64 {
            now_ms += 1;
            let is_burst = millisecond % 20 == 0;
            for _ in 0..if is_burst { 3_000 } else { 200 } {
                let counter = versions.take(now_ms);
                assert!(last.is_none_or(|last| last < counter));
                last = Some(counter);
            }
            let ahead_ms = last.map_or(0, written_ms) - now_ms;
            assert!(ahead_ms <= 5 && (ahead_ms == 0 || millisecond % 20 < 10), "what a burst borrows is given back");
        }
        assert_eq!(Versions::new(u64::MAX).version(0), Version(u64::MAX));
        assert_eq!(Versions::new(u64::MAX).version(1), Version(0));
    }

    #[test]
    fn there_are_versions_left_when_the_time_is_not_followed_any_more() {
        let mut versions = Versions::new(0);
        let counter = versions.take(u64::MAX);
        assert!(counter < COUNTER_MAX / 2 + 1 && versions.take(u64::MAX) == counter + 1);
    }
}
