//! Owns what is measured: its name, its unit, and which way is bad.

use crate::series::Summary;

/// A figure of a [`Summary`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The mean time to the response head.
    Mean,
    /// What half of the answers took at most.
    P50,
    /// What 95 % of the answers took at most.
    P95,
    /// What 99 % of the answers took at most.
    P99,
    /// What ended in a second.
    Throughput,
    /// The share of what ended that failed.
    ErrorRate,
    /// The share of the time in which it could be picked.
    Availability,
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// So many in a second.
    PerSecond,
    /// A share, 0 to 1.
    Share,
}

/// Which way a figure is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Above its limit.
    Above,
    /// Below its limit.
    Below,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Mean,
        Self::P50,
        Self::P95,
        Self::P99,
        Self::Throughput,
        Self::ErrorRate,
        Self::Availability,
    ];

    /// Its name, as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Throughput => "throughput",
            Self::ErrorRate => "error_rate",
            Self::Availability => "availability",
        }
    }

    /// The one of this name. `response_time` is another name of `p95`: what most requests wait, and what few outliers do not move.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name == "response_time" {
            return Some(Self::P95);
        }
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// What it is counted in.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::Mean | Self::P50 | Self::P95 | Self::P99 => Unit::Seconds,
            Self::Throughput => Unit::PerSecond,
            Self::ErrorRate | Self::Availability => Unit::Share,
        }
    }

    /// Which way it is bad.
    #[must_use]
    pub const fn bad(self) -> Bad {
        match self {
            Self::Throughput | Self::Availability => Bad::Below,
            _ => Bad::Above,
        }
    }

    /// It, of a summary; none where nothing was measured.
    #[must_use]
    pub fn of(self, summary: &Summary) -> Option<f64> {
        match self {
            Self::Mean => summary.mean,
            Self::P50 => summary.p50,
            Self::P95 => summary.p95,
            Self::P99 => summary.p99,
            Self::Throughput => summary.throughput(),
            Self::ErrorRate => summary.error_rate(),
            Self::Availability => summary.availability(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_name_and_no_other_has() {
        for metric in Metric::ALL {
            assert_eq!(Metric::named(metric.name()), Some(metric));
        }
        assert_eq!(Metric::named("response_time"), Some(Metric::P95));
        assert_eq!(Metric::named("latency"), None);
    }

    #[test]
    fn more_is_bad_but_of_what_is_wanted() {
        let below: Vec<_> = Metric::ALL
            .into_iter()
            .filter(|metric| metric.bad() == Bad::Below)
            .collect();
        assert_eq!(below, [Metric::Throughput, Metric::Availability]);
    }
}
