//! Time as the pure half sees it: values that somebody else read from a clock and handed in.

/// Nanoseconds of the machine's monotonic clock, counted from an epoch that all cores of the process share, so that a
/// deadline set by one core means the same to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    /// A point on the monotonic clock, in nanoseconds since the shared epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A point on the monotonic clock, in milliseconds since the shared epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the shared epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the shared epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This point, `millis` later; saturates at the end of time.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1_000_000)))
    }

    /// Nanoseconds from `earlier` to this point, 0 if `earlier` is later.
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, for people and headers; nothing is ever scheduled by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// The moment of a wake-up, read once by the runtime and passed to everything that happens in it.
///
/// Deadlines live on the monotonic clock, so a step of the wall clock expires nothing; wall times shown to clients are
/// the monotonic time plus an offset that the runtime corrects only when the wall clock was stepped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    mono: Mono,
    wall_offset_ms: u64,
}

impl Now {
    /// The moment `mono`, when the wall clock is `wall_offset_ms` ahead of the monotonic one.
    #[must_use]
    pub const fn new(mono: Mono, wall_offset_ms: u64) -> Self {
        Self { mono, wall_offset_ms }
    }

    /// The moment on the monotonic clock.
    #[must_use]
    pub const fn mono(self) -> Mono {
        self.mono
    }

    /// This moment, or the moment `mono` if that is later.
    #[must_use]
    pub fn no_earlier_than(self, mono: Mono) -> Self {
        Self { mono: self.mono.max(mono), ..self }
    }

    /// The moment on the wall clock.
    #[must_use]
    pub const fn unix(self) -> UnixMillis {
        self.wall_time_of(self.mono.as_millis())
    }

    /// What the wall clock shows when the monotonic one shows `mono_ms`.
    #[must_use]
    pub const fn wall_time_of(self, mono_ms: u64) -> UnixMillis {
        UnixMillis(mono_ms.saturating_add(self.wall_offset_ms))
    }
}

/// How long an entry may live, in whole seconds from its write: 0…2,147,483,647, where 0 means for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ttl(u32);

impl Ttl {
    /// No expiry.
    pub const NONE: Self = Self(0);
    /// The longest time to live, in seconds.
    pub const SECS_MAX: u32 = i32::MAX as u32;

    /// A time to live of `secs` seconds, or `None` if that is more than [`Ttl::SECS_MAX`].
    #[must_use]
    pub const fn from_secs(secs: u64) -> Option<Self> {
        if secs <= Self::SECS_MAX as u64 { Some(Self(secs as u32)) } else { None }
    }

    /// Seconds to live, 0 for ever.
    #[must_use]
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// The monotonic millisecond at which an entry written at `now` expires, `None` if it never does.
    #[must_use]
    pub const fn deadline_ms(self, now: Now) -> Option<u64> {
        if self.0 == 0 { None } else { Some(now.mono.as_millis() + self.0 as u64 * 1_000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_moves_no_deadline() {
        let before = Now::new(Mono::from_millis(1_000), 5_000);
        let after_step = Now::new(Mono::from_millis(1_000), 900_000);
        let ttl = Ttl::from_secs(2).unwrap();
        assert_eq!(ttl.deadline_ms(before), ttl.deadline_ms(after_step));
        assert_eq!(before.unix(), UnixMillis(6_000));
        assert_eq!(after_step.unix(), UnixMillis(901_000));
    }

    #[test]
    fn ttl_ends_at_its_documented_limit() {
        assert_eq!(Ttl::from_secs(2_147_483_647).map(Ttl::as_secs), Some(2_147_483_647));
        assert_eq!(Ttl::from_secs(2_147_483_648), None);
        assert_eq!(Ttl::NONE.deadline_ms(Now::default()), None);
    }
}
