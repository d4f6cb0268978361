//! Owns this crate's idea of time: milliseconds since the Unix epoch, which the caller brings.
//!
//! Not the core's `Instant`: what is kept here outlives the process, whose start nobody knows later.

use std::ops::Add;
use std::time::Duration;

/// Milliseconds since the Unix epoch. Going backwards is harmless: what is fed then counts into the last moment that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

/// No moment that is read from outside is later: the year 9999. Sums of moments and lengths then never wrap.
pub(crate) const LATEST_MS: u64 = 253_402_300_799_999;

impl Moment {
    /// So many milliseconds after the Unix epoch, at most the end of the year 9999.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis < LATEST_MS {
            millis
        } else {
            LATEST_MS
        })
    }

    /// So many seconds after the Unix epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// So long after the Unix epoch, as a clock of dates tells it.
    #[must_use]
    pub fn since_1970(since: Duration) -> Self {
        Self::default() + since
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Milliseconds from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, rest: Duration) -> Self {
        let millis = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }
}
