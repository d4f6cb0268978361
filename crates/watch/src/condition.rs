//! Owns when something that is measured counts as wrong: after it was bad for a while, until it was good for a while.
//!
//! ```text
//!   quiet --bad--> rising --bad for `raise`--> raised --good--> clearing --good for `clear`--> quiet
//!     ^---good-------'                            ^----bad---------'
//! ```
//!
//! One turn is told for each way into `raised` and out of it. Who comes back too often is flapping: it then stays raised until it was
//! good for as long as flaps are looked for, so that one alert stands where dozens would come and go.

use crate::bytes::{Reader, Unreadable, Writer};
use crate::time::Moment;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Wrong.
    Bad,
    /// Fine.
    Good,
    /// Neither: between the limit and where it is good again. What was, goes on.
    Between,
    /// Too little was seen to say.
    Unknown,
}

/// How long is waited, in milliseconds, and what flapping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Bad for so long is wrong. A look that cannot say does not count.
    pub raise_ms: u64,
    /// Good for so long is right again.
    pub clear_ms: u64,
    /// Three times wrong within so long is flapping; it ends when it was good for so long.
    pub flap_ms: u64,
}

impl Default for Patience {
    /// 10 s, a minute, a quarter of an hour: shorter than an operator looks, longer than one restart.
    fn default() -> Self {
        Self {
            raise_ms: 10_000,
            clear_ms: 60_000,
            flap_ms: 900_000,
        }
    }
}

/// Nobody can say any more whether it is wrong: then it is taken to be right, in milliseconds.
const STALE_MS: u64 = 3_600_000;
/// So many times wrong is flapping.
const FLAPS: usize = 3;

/// A change that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is wrong.
    Raised {
        /// Since then: when it was bad first.
        since: Moment,
        /// Not for the first time in a while.
        flapping: bool,
    },
    /// It is right again.
    Cleared {
        /// Since then: when it was good first.
        since: Moment,
    },
}

/// One thing that may be wrong. 64 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    phase: Phase,
    seen: Moment,
    raised: [Moment; FLAPS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Quiet,
    Rising(Moment),
    Raised,
    Clearing(Moment),
}

impl Condition {
    /// Takes in a look, and says when that turned it.
    pub fn learn(&mut self, reading: Reading, now: Moment, patience: &Patience) -> Option<Turn> {
        if reading != Reading::Unknown {
            self.seen = now;
        }
        match (self.phase, reading) {
            (Phase::Quiet, Reading::Bad) => self.rising(now, now, patience),
            (Phase::Rising(since), Reading::Bad) => self.rising(since, now, patience),
            (Phase::Rising(_), Reading::Good) => self.to(Phase::Quiet),
            (Phase::Raised, Reading::Good) => self.clearing(now, now, patience),
            (Phase::Clearing(since), Reading::Good | Reading::Between) => {
                self.clearing(since, now, patience)
            }
            (Phase::Clearing(_), Reading::Bad) => self.to(Phase::Raised),
            (Phase::Raised | Phase::Clearing(_), Reading::Unknown)
                if now.millis_since(self.seen) >= STALE_MS =>
            {
                self.phase = Phase::Quiet;
                Some(Turn::Cleared { since: now })
            }
            _ => None,
        }
    }

    /// Is it wrong.
    #[must_use]
    pub const fn is_raised(&self) -> bool {
        matches!(self.phase, Phase::Raised | Phase::Clearing(_))
    }

    fn to(&mut self, phase: Phase) -> Option<Turn> {
        self.phase = phase;
        None
    }

    fn rising(&mut self, since: Moment, now: Moment, patience: &Patience) -> Option<Turn> {
        if now.millis_since(since) < patience.raise_ms {
            return self.to(Phase::Rising(since));
        }
        self.phase = Phase::Raised;
        self.raised.rotate_left(1);
        self.raised[FLAPS - 1] = now;
        Some(Turn::Raised {
            since,
            flapping: self.flapping(now, patience),
        })
    }

    fn clearing(&mut self, since: Moment, now: Moment, patience: &Patience) -> Option<Turn> {
        let last = self.raised[FLAPS - 1];
        let wanted = if self.flapping(last, patience) {
            patience.flap_ms
        } else {
            patience.clear_ms
        };
        if now.millis_since(since) < wanted {
            return self.to(Phase::Clearing(since));
        }
        self.phase = Phase::Quiet;
        Some(Turn::Cleared { since })
    }

    /// Were the last three within the time that flapping is looked for; none is at the epoch.
    fn flapping(&self, now: Moment, patience: &Patience) -> bool {
        let first = self.raised[0];
        first > Moment::default() && now.millis_since(first) <= patience.flap_ms
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        let (phase, since) = match self.phase {
            Phase::Quiet => (0, Moment::default()),
            Phase::Rising(since) => (1, since),
            Phase::Raised => (2, Moment::default()),
            Phase::Clearing(since) => (3, since),
        };
        to.count(phase);
        for moment in [since, self.seen].into_iter().chain(self.raised) {
            to.moment(moment);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let phase = from.up_to(3, "a phase")?;
        let since = from.moment()?;
        let phase = match phase {
            0 => Phase::Quiet,
            1 => Phase::Rising(since),
            2 => Phase::Raised,
            _ => Phase::Clearing(since),
        };
        let seen = from.moment()?;
        let mut raised = [Moment::default(); FLAPS];
        for moment in &mut raised {
            *moment = from.moment()?;
        }
        Ok(Self {
            phase,
            seen,
            raised,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        raise_ms: 3000,
        clear_ms: 5000,
        flap_ms: 100_000,
    };

    /// A look a second, a letter each: the seconds at which turns were told, `+` raised, `!` raised and flapping, `-` cleared.
    fn told(looks: &str) -> String {
        let mut condition = Condition::default();
        let mut all = String::new();
        for (at, look) in (1000..).zip(looks.chars()) {
            let reading = match look {
                'b' => Reading::Bad,
                'g' => Reading::Good,
                '=' => Reading::Between,
                _ => Reading::Unknown,
            };
            let sign = match condition.learn(reading, Moment::from_secs(at), &PATIENCE) {
                None => continue,
                Some(Turn::Raised {
                    flapping: false, ..
                }) => '+',
                Some(Turn::Raised { flapping: true, .. }) => '!',
                Some(Turn::Cleared { .. }) => '-',
            };
            all += &format!("{sign}{} ", at - 1000);
        }
        all
    }

    #[test]
    fn turns() {
        let check = |looks: &str, expect: &str| assert_eq!(told(looks).trim(), expect, "{looks}");
        check("gggggg", "");
        check("gbbbbbb", "+4");
        // Bad for a moment is nothing, good for a moment does not end it.
        check("bbgbbgbbg", "");
        check("bbbbggggbggggg", "+3");
        check("bbbbggggggg", "+3 -9");
        // Between the limits, what was goes on.
        check("bb=b==", "+3");
        check("bbbbg=====", "+3 -9");
        check("======", "");
        // Who cannot say changes nothing.
        check("b??b", "+3");
        check("bbbb??????????gggggg", "+3 -19");
    }

    #[test]
    fn the_third_time_is_flapping_and_then_it_takes_long() {
        let once = "bbbbgggggg";
        assert_eq!(
            told(&format!("{once}{once}{once}")).trim(),
            "+3 -9 +13 -19 !23"
        );
        let long = "g".repeat(110);
        assert_eq!(
            told(&format!("{once}{once}bbbb{long}")).trim(),
            "+3 -9 +13 -19 !23 -124"
        );
        // Later, it is not flapping any more.
        assert_eq!(
            told(&format!("{once}{once}{long}bbbb")).trim(),
            "+3 -9 +13 -19 +133"
        );
    }

    #[test]
    fn what_nobody_can_say_for_an_hour_is_over() {
        let mut condition = Condition::default();
        condition.learn(Reading::Bad, Moment::from_secs(1000), &PATIENCE);
        condition.learn(Reading::Bad, Moment::from_secs(1003), &PATIENCE);
        assert!(condition.is_raised());
        assert_eq!(
            condition.learn(Reading::Unknown, Moment::from_secs(4602), &PATIENCE),
            None
        );
        assert!(
            condition
                .learn(Reading::Unknown, Moment::from_secs(4603), &PATIENCE)
                .is_some()
        );
    }

    #[test]
    fn since_is_when_it_was_bad_first() {
        let mut condition = Condition::default();
        condition.learn(Reading::Bad, Moment::from_secs(7), &PATIENCE);
        let turn = condition.learn(Reading::Bad, Moment::from_secs(10), &PATIENCE);
        assert_eq!(
            turn,
            Some(Turn::Raised {
                since: Moment::from_secs(7),
                flapping: false
            })
        );
    }
}
