//! Owns the counters of hedges: second attempts that were begun, those that were answered first, and those that were not begun, by why.

use evenkeel_balance::hedge::NoHedge;

use super::Count;

/// One worker's counters of one service's hedges.
#[derive(Debug, Default)]
pub struct HedgeCounters {
    sent: Count,
    won: Count,
    refused: [Count; NoHedge::ALL.len()],
}

impl HedgeCounters {
    pub(crate) fn sent(&self) {
        self.sent.add(1);
    }

    pub(crate) fn won(&self) {
        self.won.add(1);
    }

    pub(crate) fn refused(&self, no: NoHedge) {
        self.refused[no as usize].add(1);
    }
}

/// Hedges of all workers that were begun, and those of them that were answered first.
#[must_use]
pub fn hedges<'c>(workers: impl Iterator<Item = &'c HedgeCounters>) -> (u64, u64) {
    workers.fold((0, 0), |(sent, won), one| {
        (sent + one.sent.get(), won + one.won.get())
    })
}

/// Attempts of all workers that were slow and had no other beside them, by why; what never was is left out.
#[must_use]
pub fn refused_hedges<'c>(
    workers: impl Iterator<Item = &'c HedgeCounters>,
) -> Vec<(&'static str, u64)> {
    let mut sums = NoHedge::ALL.map(|no| (no.word(), 0));
    for one in workers {
        for ((_, sum), count) in sums.iter_mut().zip(&one.refused) {
            *sum += count.get();
        }
    }
    sums.into_iter().filter(|(_, sum)| *sum > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_row_of_its_own() {
        let (one, other) = (HedgeCounters::default(), HedgeCounters::default());
        let mut expect = Vec::new();
        for (no, times) in NoHedge::ALL.into_iter().zip(1..) {
            for _ in 0..times {
                one.refused(no);
                other.refused(no);
            }
            expect.push((no.word(), 2 * times));
        }
        one.sent();
        other.sent();
        other.won();
        let both = || [&one, &other].into_iter();
        assert_eq!(refused_hedges(both()), expect);
        assert_eq!(hedges(both()), (2, 1));
    }
}
