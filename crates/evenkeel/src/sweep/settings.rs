//! Owns what a health checker may be told, with ranges, defaults and reasons.

use std::fmt;
use std::time::Duration;

/// The shortest interval: below it a check is a load of its own.
pub const INTERVAL_LEAST: Duration = Duration::from_millis(10);

/// The longest interval and timeout: a day.
pub const INTERVAL_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// The most probes at once.
pub const AT_ONCE_MOST: usize = 4096;

/// How often and how hard to look. What follows from a check stands in the service's own settings
/// ([`ActiveSettings`](evenkeel_balance::settings::ActiveSettings)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckerSettings {
    /// From the begin of one check of a backend to the begin of its next, however long the check takes. 10 ms to a day.
    pub interval: Duration,
    /// A check without an end by then has failed; it begins with the check, not while waiting for its turn. 1 ms to a
    /// day. Longer than the interval is allowed: a check that still runs when the next is due takes its place.
    pub timeout: Duration,
    /// So many checks run at once, over all services; 1 to 4096.
    pub at_once: usize,
    /// The interval while a backend is unproven, or has failed or passed a check against its standing. None: as ever.
    pub interval_unsure: Option<Duration>,
    /// The interval while a backend is down and its checks fail. None: as ever. Where standing lengthens the interval,
    /// the first check comes at some time within it, so that backends which fell together are not checked together.
    pub interval_down: Option<Duration>,
    /// Only services of these names. None: all.
    pub services: Option<Vec<String>>,
    /// Where the spread over the interval begins. Two instances with different seeds do not check in step.
    pub seed: u64,
}

impl Default for CheckerSettings {
    /// Every 5 s, timeout 2 s, at most 64 at once.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            at_once: 64,
            interval_unsure: None,
            interval_down: None,
            services: None,
            seed: 0,
        }
    }
}

impl CheckerSettings {
    /// The same with another interval; 10 ms to a day.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// The same with another timeout; 1 ms to a day.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same with so many checks at once; 1 to 4096.
    #[must_use]
    pub fn at_once(self, at_once: usize) -> Self {
        Self { at_once, ..self }
    }

    /// The same with another interval while a backend is unproven or its standing is in question, or with none.
    #[must_use]
    pub fn interval_unsure(self, interval: impl Into<Option<Duration>>) -> Self {
        Self {
            interval_unsure: interval.into(),
            ..self
        }
    }

    /// The same with another interval while a backend is down, or with none.
    #[must_use]
    pub fn interval_down(self, interval: impl Into<Option<Duration>>) -> Self {
        Self {
            interval_down: interval.into(),
            ..self
        }
    }

    /// The same for services of these names alone.
    #[must_use]
    pub fn services(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(Into::into);
        Self {
            services: Some(names.collect()),
            ..self
        }
    }

    /// The same, spread by another seed.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

/// Why a health checker does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckerError {
    /// An interval below 10 ms or above a day.
    Interval(Duration),
    /// A timeout below 1 ms or above a day.
    Timeout(Duration),
    /// None at once, or more than 4096.
    AtOnce(usize),
    /// Outside a tokio runtime.
    NoRuntime,
}

impl fmt::Display for CheckerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interval(interval) => write!(
                f,
                "an interval between checks must lie between 10 ms and a day, not {interval:?}"
            ),
            Self::Timeout(timeout) => write!(
                f,
                "the timeout of a check must lie between 1 ms and a day, not {timeout:?}"
            ),
            Self::AtOnce(at_once) => write!(
                f,
                "between 1 and {AT_ONCE_MOST} checks can run at once, not {at_once}"
            ),
            Self::NoRuntime => {
                f.write_str("no tokio runtime here: start the health checker inside one")
            }
        }
    }
}

impl std::error::Error for CheckerError {}

impl CheckerSettings {
    pub(crate) fn validate(&self) -> Result<(), CheckerError> {
        let intervals = [
            Some(self.interval),
            self.interval_unsure,
            self.interval_down,
        ];
        for interval in intervals.into_iter().flatten() {
            if !(INTERVAL_LEAST..=INTERVAL_MOST).contains(&interval) {
                return Err(CheckerError::Interval(interval));
            }
        }
        if !(Duration::from_millis(1)..=INTERVAL_MOST).contains(&self.timeout) {
            return Err(CheckerError::Timeout(self.timeout));
        }
        if !(1..=AT_ONCE_MOST).contains(&self.at_once) {
            return Err(CheckerError::AtOnce(self.at_once));
        }
        Ok(())
    }

    /// Whether services of this name are checked.
    pub(crate) fn wants(&self, service: &str) -> bool {
        self.services
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == service))
    }
}
