//! Owns how evenly picks were shared, beside how they should be.

use evenkeel_balance::snapshot::BackendSnapshot;

/// Jain's index of what each backend got for each part that it should get: the square of the sum over the number times the sum of squares
/// (Jain, Chiu, Hawe: DEC-TR-301, 1984). Who should get nothing now is left out.
pub(super) fn fairness(backends: &[BackendSnapshot]) -> Option<f64> {
    let all = backends.iter();
    index(all.map(|backend| (backend.share_wanted, backend.share_got)))
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
    use super::*;

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
