//! Owns whether another policy is tried while performance stays under its threshold: off unless somebody says so, bounded, reversible.
//!
//! ```text
//!   watching --under for `patience` intervals--> trying(next) --better after `lasts` intervals--> watching, kept
//!      ^                                             |
//!      '------ not better: back, and rest <----------'
//! ```
//!
//! It says what to do; whoever owns the service does it, as a revision like any other. Better is measured by the same score, beside
//! what it was when the experiment began, so that one at a quiet hour is not taken for a good policy.

/// When another policy is tried, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExperimentSettings {
    /// A score (0 to 1) under this is too low.
    pub threshold: f64,
    /// For so many intervals in a row.
    pub patience: u32,
    /// An experiment lasts so many intervals.
    pub lasts: u32,
    /// And is kept where the score rose by so much.
    pub gain: f64,
    /// After one that was not, so many intervals nothing is tried; twice as many after each.
    pub rest: u32,
    /// So many in all, until somebody resets it.
    pub most: u32,
}

impl Default for ExperimentSettings {
    fn default() -> Self {
        Self {
            threshold: 0.8,
            patience: 5,
            lasts: 5,
            gain: 0.05,
            rest: 30,
            most: 6,
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Try the policy of this number.
    Try(usize),
    /// It helped: it stays, from this score to that.
    Keep(f64, f64),
    /// It did not: back to the policy of this number.
    Back(usize),
}

/// Those of one service. Policies are numbers of a list that its owner keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Experiments {
    state: State,
    made: u32,
    failed: u32,
    next: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Watching {
        under: u32,
        sum: f64,
    },
    Trying {
        from: usize,
        before: f64,
        intervals: u32,
        sum: f64,
    },
    Resting {
        left: u32,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Watching { under: 0, sum: 0.0 }
    }
}

impl Experiments {
    /// Takes in an interval's score, of the policy `current` of so many; none where too little was seen, which counts as no interval.
    pub fn learn(
        &mut self,
        score: Option<f64>,
        current: usize,
        policies: usize,
        settings: &ExperimentSettings,
    ) -> Option<Decision> {
        let score = score.filter(|score| score.is_finite())?;
        match self.state {
            State::Resting { left } if left > 1 => {
                self.state = State::Resting { left: left - 1 };
                None
            }
            State::Resting { .. } => {
                self.state = State::default();
                None
            }
            State::Watching { .. } if score >= settings.threshold => {
                self.state = State::default();
                None
            }
            State::Watching { under, sum } => {
                self.under(under + 1, sum + score, current, policies, settings)
            }
            State::Trying {
                from,
                before,
                intervals,
                sum,
            } => {
                let (intervals, sum) = (intervals + 1, sum + score);
                if intervals < settings.lasts.max(1) {
                    self.state = State::Trying {
                        from,
                        before,
                        intervals,
                        sum,
                    };
                    return None;
                }
                let after = sum / f64::from(intervals);
                if after >= before + settings.gain {
                    (self.state, self.failed) = (State::default(), 0);
                    return Some(Decision::Keep(before, after));
                }
                self.failed = (self.failed + 1).min(8);
                self.state = State::Resting {
                    left: settings.rest.saturating_mul(1 << (self.failed - 1)),
                };
                Some(Decision::Back(from))
            }
        }
    }

    /// Somebody chose a policy by hand, or wants them anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// How many were made.
    #[must_use]
    pub const fn made(&self) -> u32 {
        self.made
    }

    fn under(
        &mut self,
        under: u32,
        sum: f64,
        current: usize,
        policies: usize,
        settings: &ExperimentSettings,
    ) -> Option<Decision> {
        self.state = State::Watching { under, sum };
        if under < settings.patience.max(1) || self.made >= settings.most || policies < 2 {
            return None;
        }
        // The next in the list that is not the one that runs.
        let next = (0..policies)
            .map(|more| (self.next + more) % policies)
            .find(|one| *one != current)?;
        self.next = (next + 1) % policies;
        self.made += 1;
        self.state = State::Trying {
            from: current,
            before: sum / f64::from(under),
            intervals: 0,
            sum: 0.0,
        };
        Some(Decision::Try(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ExperimentSettings = ExperimentSettings {
        threshold: 0.8,
        patience: 3,
        lasts: 2,
        gain: 0.05,
        rest: 4,
        most: 3,
    };

    /// Intervals of a service whose policy of each number scores so; what was decided, and when.
    fn decided(scores: &[f64], start: usize, intervals: u32) -> Vec<(u32, Decision)> {
        let (mut experiments, mut current, mut all) = (Experiments::default(), start, Vec::new());
        for at in 1..=intervals {
            let Some(decision) =
                experiments.learn(Some(scores[current]), current, scores.len(), &SETTINGS)
            else {
                continue;
            };
            if let Decision::Try(to) | Decision::Back(to) = decision {
                current = to;
            }
            all.push((at, decision));
        }
        all
    }

    #[test]
    fn a_better_one_is_kept() {
        let expect = [(3, Decision::Try(1)), (5, Decision::Keep(0.5, 0.9))];
        assert_eq!(decided(&[0.5, 0.9], 0, 100), expect);
    }

    #[test]
    fn one_that_is_no_better_goes_back_and_rests_twice_as_long_each_time() {
        let expect = [
            (3, Decision::Try(1)),
            (5, Decision::Back(0)),
            (12, Decision::Try(2)),
            (14, Decision::Back(0)),
            (25, Decision::Try(1)),
            (27, Decision::Back(0)),
        ];
        assert_eq!(
            decided(&[0.5, 0.52, 0.3], 0, 500),
            expect,
            "and no more than so many"
        );
    }

    #[test]
    fn what_does_well_is_left_alone() {
        assert_eq!(decided(&[0.8, 1.0], 0, 100), []);
        assert_eq!(decided(&[0.1], 0, 100), [], "there is no other");
        let mut experiments = Experiments::default();
        for score in [
            Some(0.1),
            Some(0.1),
            None,
            Some(f64::NAN),
            Some(0.9),
            Some(0.1),
            Some(0.1),
        ] {
            assert_eq!(
                experiments.learn(score, 0, 2, &SETTINGS),
                None,
                "never three in a row"
            );
        }
        assert_eq!(
            experiments.learn(Some(0.1), 0, 2, &SETTINGS),
            Some(Decision::Try(1))
        );
        experiments.reset();
        assert_eq!(experiments.made(), 0);
    }
}
