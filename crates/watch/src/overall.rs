//! Owns what is said of a service as a whole: how healthy it is, how well it does, and whether requests went where they were to go.

use crate::alert::{Alert, Kind};
use crate::number::{float, length};
use crate::series::Summary;

/// How healthy a service or a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Nothing is wrong.
    Healthy,
    /// It serves, but something is.
    Degraded,
    /// It does not serve.
    Unhealthy,
}

/// A backend's, or with none the service's own, of what is raised. A service of which a backend is not healthy is degraded: it serves
/// with less than it was given.
#[must_use]
pub fn health<'a>(
    raised: impl Iterator<Item = &'a Alert>,
    service: &str,
    backend: Option<&str>,
) -> Health {
    let worst = raised
        .filter(|alert| alert.service == service && alert.cleared.is_none())
        .filter_map(|alert| {
            let is_own = alert.backend.as_deref() == backend;
            match (is_own, alert.kind) {
                (true, Kind::Down) => Some(Health::Unhealthy),
                (true, _) => Some(Health::Degraded),
                (false, _) => backend.is_none().then_some(Health::Degraded),
            }
        });
    worst.max().unwrap_or(Health::Healthy)
}

/// How well a service does, 0 to 1: the share that succeeded, and of that the part that its 95th percentile leaves of a target in
/// seconds (1 where it is no longer, a half where it is twice as long). None where nothing ended. What experiments are judged by.
#[must_use]
pub fn score(seen: &Summary, target: Option<f64>) -> Option<f64> {
    let succeeded = 1.0 - seen.error_rate()?;
    let near = target.zip(seen.p95).map_or(1.0, |(target, p95)| {
        (target / p95.max(1e-9)).clamp(0.0, 1.0)
    });
    Some(succeeded * near)
}

/// What a backend got beside what it was to get.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Who.
    pub backend: String,
    /// Its requests.
    pub requests: u64,
    /// What it was to get, in per cent.
    pub wanted: f64,
    /// What it got, in per cent.
    pub got: f64,
}

/// How requests were spread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Each backend's; both sides sum to 100, or to 0 where there is nothing.
    pub shares: Vec<Share>,
    /// The most that one is off, in points of per cent.
    pub most_off: f64,
    /// Jain's index of what each got for its weight: 1 where all got the same, 1/n where one got all.
    pub fairness: f64,
}

/// How requests were spread over backends of id, weight and requests. A weight that is no number, or below nought, counts as none.
#[must_use]
pub fn distribution(backends: &[(&str, f64, u64)]) -> Distribution {
    let sane = |weight: f64| {
        if weight.is_finite() {
            weight.max(0.0)
        } else {
            0.0
        }
    };
    let weights: f64 = backends.iter().map(|(_, weight, _)| sane(*weight)).sum();
    let requests: u64 = backends
        .iter()
        .map(|(.., requests)| *requests)
        .fold(0, u64::saturating_add);
    let part = |one: f64, all: f64| if all > 0.0 { 100.0 * one / all } else { 0.0 };
    let shares: Vec<Share> = backends
        .iter()
        .map(|(id, weight, got)| Share {
            backend: (*id).to_owned(),
            requests: *got,
            wanted: part(sane(*weight), weights),
            got: part(float(*got), float(requests)),
        })
        .collect();
    let most_off = shares
        .iter()
        .map(|share| (share.got - share.wanted).abs())
        .fold(0.0, f64::max);
    let each: Vec<f64> = shares
        .iter()
        .filter(|share| share.wanted > 0.0)
        .map(|share| share.got / share.wanted)
        .collect();
    let (sum, squares) = (
        each.iter().sum::<f64>(),
        each.iter().map(|one| one * one).sum::<f64>(),
    );
    let fairness = if squares > 0.0 {
        sum * sum / (length(each.len()) * squares)
    } else {
        1.0
    };
    Distribution {
        shares,
        most_off,
        fairness,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Alerts, Change};
    use crate::condition::Turn;
    use crate::threshold::Severity;
    use crate::time::Moment;

    #[test]
    fn who_is_down_is_unhealthy_and_what_is_wrong_degrades() {
        let now = Moment::from_secs(1000);
        let check = |raised: &[(Option<&str>, Kind)], expect: [Health; 3]| {
            let mut alerts = Alerts::default();
            for (backend, kind) in raised {
                let (backend, turn) = (
                    backend.map(str::to_owned),
                    Turn::Raised {
                        since: now,
                        flapping: false,
                    },
                );
                let change = Change {
                    backend,
                    kind: *kind,
                    turn,
                    severity: Severity::Warning,
                    evidence: None,
                };
                alerts.take("api", &change, now).unwrap();
            }
            let found =
                [None, Some("a"), Some("b")].map(|backend| health(alerts.raised(), "api", backend));
            assert_eq!(found, expect, "{raised:?}");
            assert_eq!(health(alerts.raised(), "web", None), Healthy);
        };
        use Health::{Degraded, Healthy, Unhealthy};
        check(&[], [Healthy, Healthy, Healthy]);
        check(&[(Some("a"), Kind::Down)], [Degraded, Unhealthy, Healthy]);
        check(
            &[(Some("a"), Kind::SlowerThanPeers)],
            [Degraded, Degraded, Healthy],
        );
        check(
            &[(None, Kind::Down), (Some("a"), Kind::Down)],
            [Unhealthy, Unhealthy, Healthy],
        );
        check(
            &[(None, Kind::FailsMoreThanBefore)],
            [Degraded, Healthy, Healthy],
        );
    }

    #[test]
    fn a_score_falls_with_failures_and_with_waiting() {
        let seen = |errors, p95| Summary {
            seconds: 60.0,
            requests: 100,
            errors,
            p95,
            ..Summary::default()
        };
        let check = |seen: Summary, target, expect: Option<f64>| {
            let found = score(&seen, target);
            assert!(
                found
                    .zip(expect)
                    .map_or(found == expect, |(left, right)| (left - right).abs() < 1e-9),
                "{seen:?}: {found:?}"
            );
        };
        check(seen(0, Some(0.05)), Some(0.1), Some(1.0));
        check(seen(0, Some(0.2)), Some(0.1), Some(0.5));
        check(seen(10, Some(0.2)), Some(0.1), Some(0.45));
        check(seen(10, Some(0.2)), None, Some(0.9));
        check(seen(100, None), Some(0.1), Some(0.0));
        check(Summary::default(), Some(0.1), None);
    }

    #[test]
    fn shares_sum_to_a_hundred() {
        let found = distribution(&[("a", 3.0, 290), ("b", 1.0, 110)]);
        assert!((found.shares.iter().map(|share| share.wanted).sum::<f64>() - 100.0).abs() < 1e-9);
        assert!((found.shares.iter().map(|share| share.got).sum::<f64>() - 100.0).abs() < 1e-9);
        assert_eq!(
            (found.shares[0].wanted, found.shares[0].got, found.most_off),
            (75.0, 72.5, 2.5)
        );
        assert!(found.fairness > 0.99, "{found:?}");
    }

    #[test]
    fn fairness_is_one_where_all_get_theirs_and_a_part_where_one_gets_all() {
        assert!((distribution(&[("a", 2.0, 200), ("b", 1.0, 100)]).fairness - 1.0).abs() < 1e-9);
        assert!((distribution(&[("a", 1.0, 50), ("b", 1.0, 0)]).fairness - 0.5).abs() < 1e-9);
    }

    #[test]
    fn of_nothing_there_is_no_share() {
        assert_eq!(
            distribution(&[]),
            Distribution {
                fairness: 1.0,
                ..Distribution::default()
            }
        );
        let none = distribution(&[("a", f64::NAN, 0), ("b", -1.0, 0)]);
        assert_eq!(
            (
                none.shares[0].wanted,
                none.shares[1].got,
                none.most_off,
                none.fairness
            ),
            (0.0, 0.0, 0.0, 1.0)
        );
    }
}
