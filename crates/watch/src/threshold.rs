//! Owns limits that an operator sets, and how fast an error budget may be spent.
//!
//! The windows of budgets are those of the SRE workbook (chapter 5, table 5-8), but for the slowest, whose three days are not kept:
//! a day and two hours stand for it.

use crate::condition::Reading;
use crate::metric::{Bad, Metric, Unit};
use crate::number::float;
use crate::series::{Series, Span, Summary};

/// How loud an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// To know.
    Info,
    /// To look at in working hours.
    Warning,
    /// To wake somebody.
    Critical,
}

impl Severity {
    /// Its name, as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The figures by which an alert was raised or cleared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// What was measured.
    pub value: f64,
    /// What it is measured by: the limit, what the peers have, what was before.
    pub limit: f64,
    /// What both are counted in.
    pub unit: Unit,
    /// Out of so many requests.
    pub requests: u64,
    /// Over so many seconds.
    pub seconds: u64,
}

/// A limit of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Of what.
    pub metric: Metric,
    /// Beyond it is bad: which way, the metric says.
    pub limit: f64,
    /// Over how long it is looked at.
    pub span: Span,
    /// How loud.
    pub severity: Severity,
    /// Of fewer requests nothing is said. Of availability, which needs none, it is not asked.
    pub least_requests: u64,
}

/// It is good again this much of the limit on the other side; of a share that must not fall, of what is left to all.
const SLACK: f64 = 0.1;

impl Threshold {
    /// A limit over a minute, a warning, of twenty requests at least.
    #[must_use]
    pub const fn new(metric: Metric, limit: f64) -> Self {
        Self {
            metric,
            limit,
            span: Span::Minute,
            severity: Severity::Warning,
            least_requests: 20,
        }
    }

    /// What a summary of its span says. Half the span must have been seen. Throughput is bad only where there is demand: where
    /// requests come at all, but fewer.
    #[must_use]
    pub fn read(&self, summary: &Summary) -> (Reading, Option<Evidence>) {
        let few = summary.requests < self.least_requests && self.metric != Metric::Availability;
        if few || summary.seconds < float(self.span.secs()) / 2.0 {
            return (Reading::Unknown, None);
        }
        let Some(value) = self.metric.of(summary) else {
            return (Reading::Unknown, None);
        };
        let reading = match self.metric.bad() {
            Bad::Above => between(value, self.limit * (1.0 - SLACK), self.limit),
            Bad::Below => between(-value, -self.good(), -self.limit),
        };
        let (unit, requests) = (self.metric.unit(), summary.requests);
        (
            reading,
            Some(Evidence {
                value,
                limit: self.limit,
                unit,
                requests,
                seconds: self.span.secs(),
            }),
        )
    }

    /// Where what may not fall is good again.
    fn good(&self) -> f64 {
        match self.metric.unit() {
            Unit::Share => self.limit + (1.0 - self.limit) * SLACK,
            _ => self.limit * (1.0 + SLACK),
        }
    }
}

fn between(value: f64, good: f64, bad: f64) -> Reading {
    if value > bad {
        Reading::Bad
    } else if value <= good {
        Reading::Good
    } else {
        Reading::Between
    }
}

/// How fast the budget of an objective is spent, against how fast it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Burn {
    /// 14.4 times: a month's budget within two days.
    Fast,
    /// Six times: within five days.
    Slow,
    /// As fast as it lasts a month.
    Steady,
}

/// Fewer failures than this in the long window say nothing: one of ten requests at night is no outage.
const FEWEST_ERRORS: u64 = 10;

impl Burn {
    /// All of them, the loudest first.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Slow, Self::Steady];

    /// How many times as fast as it may be; the long window, over which it must have been so; the short, over which it must still be.
    #[must_use]
    pub const fn windows(self) -> (f64, Span, Span) {
        match self {
            Self::Fast => (14.4, Span::Hour, Span::FiveMinutes),
            Self::Slow => (6.0, Span::SixHours, Span::HalfHour),
            Self::Steady => (1.0, Span::Day, Span::TwoHours),
        }
    }

    /// How loud.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Fast | Self::Slow => Severity::Critical,
            Self::Steady => Severity::Warning,
        }
    }

    /// What a series says, for an objective (the share that must succeed, below 1). The time of the long window that was not seen
    /// counts as if nothing had failed in it, so a minute after the start nobody is woken for one bad second. Cost: both windows.
    #[must_use]
    pub fn read(self, series: &Series, objective: f64) -> (Reading, Option<Evidence>) {
        let (factor, long, short) = self.windows();
        let (over, lately) = (series.over(long), series.over(short));
        let budget = 1.0 - objective;
        let (Some(rate), Some(lately)) = (over.error_rate(), lately.error_rate()) else {
            return (Reading::Unknown, None);
        };
        if budget.is_nan() || budget <= 0.0 {
            return (Reading::Unknown, None);
        }
        let seen = (over.seconds / float(long.secs())).min(1.0);
        let (burnt, burning) = (rate * seen / budget, lately / budget);
        let reading = if burning < factor * (1.0 - SLACK) {
            Reading::Good
        } else if burnt >= factor && burning >= factor && over.errors >= FEWEST_ERRORS {
            Reading::Bad
        } else {
            Reading::Between
        };
        let limit = (budget * factor).min(1.0);
        let evidence = Evidence {
            value: rate,
            limit,
            unit: Unit::Share,
            requests: over.requests,
            seconds: long.secs(),
        };
        (reading, Some(evidence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interval::Interval;
    use crate::latencies::Latencies;
    use crate::time::Moment;

    fn minute(requests: u64, errors: u64, p95: f64, up: f64) -> Summary {
        Summary {
            seconds: 60.0,
            seconds_up: up * 60.0,
            requests,
            errors,
            p95: Some(p95),
            ..Summary::default()
        }
    }

    #[test]
    fn each_figure_is_bad_its_own_way() {
        let check = |metric: Metric, limit: f64, summary: Summary, expect: Reading| {
            let (found, _) = Threshold::new(metric, limit).read(&summary);
            assert_eq!(found, expect, "{metric:?} {limit}: {summary:?}");
        };
        for (p95, expect) in [
            (0.101, Reading::Bad),
            (0.095, Reading::Between),
            (0.09, Reading::Good),
        ] {
            check(Metric::P95, 0.1, minute(100, 0, p95, 1.0), expect);
        }
        for (errors, expect) in [
            (11, Reading::Bad),
            (10, Reading::Between),
            (9, Reading::Good),
        ] {
            check(
                Metric::ErrorRate,
                0.01,
                minute(1000, errors, 0.1, 1.0),
                expect,
            );
        }
        for (requests, expect) in [
            (59_000, Reading::Bad),
            (60_000, Reading::Between),
            (66_000, Reading::Good),
        ] {
            check(
                Metric::Throughput,
                1000.0,
                minute(requests, 0, 0.1, 1.0),
                expect,
            );
        }
        for (up, expect) in [
            (0.99, Reading::Bad),
            (0.99905, Reading::Between),
            (0.9995, Reading::Good),
        ] {
            check(Metric::Availability, 0.999, minute(0, 0, 0.1, up), expect);
        }
        // No demand, too little of it, too short a time.
        check(
            Metric::Throughput,
            1000.0,
            minute(0, 0, 0.1, 1.0),
            Reading::Unknown,
        );
        check(
            Metric::ErrorRate,
            0.01,
            minute(19, 19, 0.1, 1.0),
            Reading::Unknown,
        );
        check(
            Metric::ErrorRate,
            0.01,
            Summary {
                seconds: 20.0,
                ..minute(900, 90, 0.1, 1.0)
            },
            Reading::Unknown,
        );
        check(
            Metric::P99,
            0.1,
            minute(900, 90, 0.1, 1.0),
            Reading::Unknown,
        );
    }

    /// Seconds after `before` hours at which a share of errors begins, until the burn is bad; none within `within`.
    fn found(burn: Burn, before: u64, per_mille: u32, within: u64) -> Option<u64> {
        let mut series = Series::default();
        let start = 1_795_305_600;
        let tick = |errors| Interval {
            millis: 1000,
            requests: 1000,
            errors,
            latencies: Latencies::default(),
            up: true,
        };
        for at in 0..before * 3600 {
            series.feed(Moment::from_secs(start + at), &tick(0));
        }
        (0..within).step_by(10).find(|at| {
            for second in 0..10 {
                series.feed(
                    Moment::from_secs(start + before * 3600 + at + second),
                    &tick(per_mille),
                );
            }
            burn.read(&series, 0.999).0 == Reading::Bad
        })
    }

    #[test]
    fn budgets_burn_as_the_workbook_has_it() {
        // 14.4 times .1 % over an hour: an outage within a minute, 5 % failing within 20, 1.5 % within the hour, 1 % never.
        assert!((40..=60).contains(&found(Burn::Fast, 6, 1000, 600).unwrap()));
        assert!((900..=1200).contains(&found(Burn::Fast, 6, 50, 3600).unwrap()));
        assert!((3300..=4300).contains(&found(Burn::Fast, 6, 15, 7200).unwrap()));
        assert_eq!(found(Burn::Fast, 6, 10, 7200), None);
        assert!((12_000..=16_000).contains(&found(Burn::Slow, 6, 10, 20_000).unwrap()));
        assert_eq!(found(Burn::Slow, 6, 5, 20_000), None);
    }

    #[test]
    fn a_start_wakes_nobody_for_one_bad_second_but_for_an_outage() {
        assert!((40..=60).contains(&found(Burn::Fast, 0, 1000, 600).unwrap()));
        let mut series = Series::default();
        let tick = Interval {
            millis: 1000,
            requests: 1000,
            errors: 500,
            latencies: Latencies::default(),
            up: true,
        };
        series.feed(Moment::from_secs(1000), &tick);
        assert_ne!(Burn::Fast.read(&series, 0.999).0, Reading::Bad);
    }

    #[test]
    fn without_a_budget_nothing_burns() {
        let mut series = Series::default();
        assert_eq!(Burn::Fast.read(&series, 0.999), (Reading::Unknown, None));
        let tick = Interval {
            millis: 1000,
            requests: 9,
            errors: 9,
            latencies: Latencies::default(),
            up: true,
        };
        series.feed(Moment::from_secs(1000), &tick);
        for objective in [1.0, f64::NAN, 2.0] {
            assert_eq!(
                Burn::Fast.read(&series, objective),
                (Reading::Unknown, None)
            );
        }
    }
}
