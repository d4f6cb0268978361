//! Owns how far a backend is trusted with its share beside its peers, for the `health_based` policy.
//!
//! Judged once a second by what the window holds: who fails clearly more than its peers together has its share halved, down to a
//! 64th; who does not gets a fifth more of it, up to all. What lowered a backend once does not lower it again, and one that nobody
//! hears of rises, until enough is heard of it. Failures that all have alike lower nobody. The breaker goes on beside it, and takes out who fails entirely. After the anomaly mitigation of AWS's
//! application load balancers, whose steps are not published.

use std::time::Duration;

use crate::learn::window::Tally;
use crate::time::Instant;

/// Between two judgements: a step can be seen in what follows before the next one.
const EVERY: Duration = Duration::from_secs(1);
/// Steps from full trust to the least, each down to a quarter octave's share of the one before: 2^-6 in all.
const LEAST: u8 = 24;
/// Steps at once when it is lowered: a half.
const DOWN: u8 = 4;
/// A ratio of failures is believed from so many attempts in the window, its own and of its peers each.
const ATTEMPTS: u64 = 10;
/// Worse by less than this is alike, whatever the numbers.
const MARGIN: f64 = 0.01;
/// Worse by less than so many standard deviations is chance: of a hundred equal backends, one is wronged in about ten minutes.
const DEVIATIONS: f64 = 4.0;

/// How far one backend is trusted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trust {
    /// Steps below all.
    steps: u8,
    /// Its totals when it was lowered last.
    served: Tally,
}

impl Trust {
    /// The part of its share that it gets, above 0 and at most 1.
    pub(crate) fn part(self) -> f32 {
        (-f32::from(self.steps) / 4.0).exp2()
    }

    /// The part, as long as it is not all.
    pub(crate) fn carried(self) -> Option<f32> {
        (self.steps > 0).then(|| self.part())
    }

    /// As another process trusted it; a part that cannot be is all. `totals` are those of the process that it serves from now on.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 24; what is no number is 0"
    )]
    pub(crate) fn carried_in(part: f32, totals: Tally) -> Self {
        let steps = (-4.0 * part.log2()).round();
        Self {
            steps: steps.clamp(0.0, f32::from(LEAST)) as u8,
            served: totals,
        }
    }

    /// Judges by what the window holds of it and of its peers; `totals` are its own since the start. Says whether that changed anything.
    pub(crate) fn judge(&mut self, window: Tally, peers: Tally, totals: Tally) -> bool {
        let (before, served) = (self.steps, self.served);
        let own = Tally {
            succeeded: (window.succeeded).min(totals.succeeded.saturating_sub(served.succeeded)),
            failed: (window.failed).min(totals.failed.saturating_sub(served.failed)),
            slow: 0,
        };
        if fails_more(own, peers) {
            self.steps = (self.steps + DOWN).min(LEAST);
            self.served = totals;
        } else {
            self.steps = self.steps.saturating_sub(1);
        }
        self.steps != before
    }
}

/// When a service is judged next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Court(Instant);

impl Court {
    /// Whether it is time; then the next time is a second on.
    pub(crate) fn sits(&mut self, now: Instant) -> bool {
        let due = now >= self.0;
        if due {
            self.0 = now + EVERY;
        }
        due
    }
}

/// Whether the ratios of failures differ by more than chance: the test of two proportions.
#[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
fn fails_more(own: Tally, peers: Tally) -> bool {
    let (Some(one), Some(other)) = (own.failure_ratio(), peers.failure_ratio()) else {
        return false;
    };
    let (count, others) = (own.total(), peers.total());
    if count < ATTEMPTS || others < ATTEMPTS {
        return false;
    }
    let both = (own.failed + peers.failed) as f64 / (count + others) as f64;
    let deviation = (both * (1.0 - both) * (1.0 / count as f64 + 1.0 / others as f64)).sqrt();
    one - other > MARGIN + DEVIATIONS * deviation
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn tally(failed: u64, of: u64) -> Tally {
        Tally {
            succeeded: of - failed,
            failed,
            slow: 0,
        }
    }

    #[test]
    fn who_fails_more() {
        let check = |own: (u64, u64), peers: (u64, u64), expect: bool| {
            let got = fails_more(tally(own.0, own.1), tally(peers.0, peers.1));
            assert_eq!(got, expect, "{own:?} beside {peers:?}");
        };
        check((100, 100), (0, 1_900), true);
        check((20, 100), (0, 1_900), true);
        check((10, 100), (10, 1_900), true);
        check((100, 100), (1_000, 1_900), true);
        // Alike, by chance, or too little to say.
        check((0, 100), (0, 1_900), false);
        check((100, 100), (1_900, 1_900), false);
        check((20, 100), (380, 1_900), false);
        check((1, 100), (10, 1_900), false);
        check((4, 10), (500, 1_900), false);
        check((9, 9), (0, 1_900), false);
        check((100, 100), (0, 9), false);
        check((5, 1_000), (0, 100_000), false); // half a percent is not worth it
        check((0, 0), (0, 0), false);
        // The better one of two.
        check((0, 100), (100, 100), false);
    }

    /// Judged as told, letter by letter: f, it fails; w, it is well; n, nothing is heard.
    #[test]
    fn stepwise_down_and_slowly_up() {
        let check = |story: &str, expect: f32| {
            let (mut trust, mut window, mut totals) = (Trust::default(), tally(0, 0), tally(0, 0));
            for letter in story.chars() {
                let heard = match letter {
                    'f' => tally(50, 100),
                    'w' => tally(0, 100),
                    _ => tally(0, 0),
                };
                for sum in [&mut window, &mut totals] {
                    sum.succeeded += heard.succeeded;
                    sum.failed += heard.failed;
                }
                trust.judge(window, tally(0, 1_000), totals);
            }
            let got = trust.part();
            assert!((got - expect).abs() < 1e-3, "{story}: {got}, not {expect}");
        };
        check("", 1.0);
        check("w", 1.0);
        check("f", 0.5);
        check("ff", 0.25);
        check("fffffffff", 1.0 / 64.0);
        check("fw", 0.5946);
        check("fn", 0.5946);
        check("fwwww", 1.0);
        check("fffffffffwwwwwwwwwwwwwwwwwwwwwwww", 1.0);
        check("fffffffffwwwwf", 1.0 / 64.0);
    }

    #[test]
    fn what_went_over_is_what_it_was() {
        let check = |part: f32, expect: f32| {
            let got = Trust::carried_in(part, tally(0, 0)).part();
            assert!((got - expect).abs() < 1e-6, "{part}: {got}, not {expect}");
        };
        for steps in 0..=LEAST {
            let part = (-f32::from(steps) / 4.0).exp2();
            check(part, part);
        }
        for odd in [f32::NAN, f32::INFINITY, -1.0, 2.0] {
            check(odd, 1.0);
        }
        for small in [0.0, 1e-9] {
            check(small, 1.0 / 64.0);
        }
        assert_eq!(Trust::default().carried(), None);
    }
}
