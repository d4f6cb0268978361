//! Owns how evenly picks were shared, beside how they should be.

use evenkeel_balance::snapshot::BackendSnapshot;

/// Jain's index of what each backend got for each part that it should get, since members joined or were configured otherwise: the square of
/// the sum over the number times the sum of squares (Jain, Chiu, Hawe: DEC-TR-301, 1984). Who should get nothing now is left out.
#[expect(
    clippy::cast_precision_loss,
    reason = "shares of 53 bits are fine enough"
)]
pub(super) fn fairness(backends: &[BackendSnapshot]) -> Option<f64> {
    let all = backends.iter();
    index(all.map(|backend| (backend.share_wanted, backend.picked_since as f64)))
}

fn index(shares: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (wanted, got) in shares.filter(|(wanted, _)| *wanted > 0.0) {
        let served = got / wanted;
        count += 1.0;
        sum += served;
        squares += served * served;
    }
    (squares > 0.0).then(|| sum * sum / (count * squares))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_balance::ask::Ask;
    use evenkeel_balance::backend::BackendSpec;
    use evenkeel_balance::service::Service;
    use evenkeel_balance::settings::{PolicyChoice, ServiceSettings};
    use evenkeel_balance::time::Instant;

    use super::*;

    /// One that joins late is served as the others are, from there on: nobody is unfairly served.
    #[test]
    fn who_joins_late_does_not_look_unfairly_served() {
        let now = Instant::ZERO;
        let settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin)
            .slow_start(std::time::Duration::ZERO);
        let members = ["a", "b"].map(BackendSpec::new).into();
        let service = Service::new("api", settings, members, Arc::new(()), now).unwrap();
        let picked = |times: u64| {
            for chance in 0..times {
                drop(service.pick(&Ask::new(chance), now).unwrap());
            }
            fairness(&service.snapshot(now).backends)
        };
        assert_eq!(picked(0), None);
        assert_eq!(picked(1000), Some(1.0));
        service.add(BackendSpec::new("c"), now).unwrap();
        assert_eq!(picked(0), None);
        assert_eq!(picked(30), Some(1.0));
    }

    #[test]
    fn jains_index_is_one_where_all_have_their_part_and_one_nth_where_one_has_all() {
        let check = |shares: &[(f64, f64)], expect: Option<f64>| {
            let index = index(shares.iter().copied());
            let off = index.unwrap_or(-1.0) - expect.unwrap_or(-1.0);
            assert!(off.abs() < 1e-12, "{shares:?}: {index:?}");
        };
        check(&[], None);
        check(&[(0.5, 0.0), (0.5, 0.0)], None);
        check(&[(0.0, 1.0)], None);
        check(&[(0.75, 0.75), (0.25, 0.25)], Some(1.0));
        check(
            &[(0.25, 1.0), (0.25, 0.0), (0.25, 0.0), (0.25, 0.0)],
            Some(0.25),
        );
        // 1.5 and 0.5 of their parts: 2 * 2 / (2 * 2.5).
        check(&[(0.5, 0.75), (0.5, 0.25)], Some(0.8));
        // Who should have nothing now has no part in it.
        check(&[(0.5, 0.3), (0.5, 0.3), (0.0, 0.4)], Some(1.0));
    }
}
