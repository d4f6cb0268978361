//! Owns whether a backend is slower than its peers in the same seconds: common trouble moves all of them, and no one stands out.
//!
//! Logarithms of latencies against the median of the others, measured by the median deviation of the others (which few bad ones cannot
//! move) and by what chance does to the backend's own mean.

use crate::condition::Reading;
use crate::latencies::Logarithms;
use crate::number::median;

/// Of fewer answers nothing is said.
pub const FEWEST_ANSWERS: f64 = 30.0;
/// Fewer others are no peers: of two who differ nobody can say which is wrong.
pub const FEWEST_OTHERS: usize = 2;
/// A median deviation of a normal distribution is so much smaller than its standard one.
const DEVIATIONS: f64 = 1.4826;
/// So many deviations off, and at least half as slow again, is bad.
const BAD: (f64, f64) = (4.0, 1.5);
/// So few, or hardly slower, is good.
const GOOD: (f64, f64) = (2.0, 1.25);

/// How a backend stands among its peers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beside {
    /// Is it slower.
    pub reading: Reading,
    /// How many times as slow as the median of the others.
    pub times: f64,
    /// The median of the others, a logarithm of seconds.
    pub median: f64,
}

/// Of so many, each is compared with the others; of more, with all: one in so many moves no median, and the cost would be their square.
const EACH: usize = 64;

/// How each stands; none where it or its peers have answered too little. Cost: n log n, of few their square.
#[must_use]
pub fn each_beside(all: &[Option<Logarithms>]) -> Vec<Option<Beside>> {
    let enough = |one: &Option<Logarithms>| one.filter(|one| one.count >= FEWEST_ANSWERS);
    let all: Vec<_> = all.iter().map(enough).collect();
    let crowd = (all.len() > EACH).then(|| Middle::of(all.iter().flatten()));
    let others = |at: usize| {
        Middle::of(
            all.iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
                .filter_map(|(_, one)| one.as_ref()),
        )
    };
    let stands = |(at, one): (usize, &Option<Logarithms>)| {
        Some(crowd.unwrap_or_else(|| others(at))?.beside((*one)?))
    };
    all.iter().enumerate().map(stands).collect()
}

/// The middle of some, and how far they are from it.
#[derive(Clone, Copy, Debug)]
struct Middle {
    median: f64,
    spread: f64,
}

impl Middle {
    fn of<'a>(some: impl Iterator<Item = &'a Logarithms>) -> Option<Self> {
        let mut means: Vec<f64> = some.map(|one| one.mean).collect();
        if means.len() < FEWEST_OTHERS {
            return None;
        }
        let middle = median(&mut means)?;
        for mean in &mut means {
            *mean = (*mean - middle).abs();
        }
        Some(Self {
            median: middle,
            spread: DEVIATIONS * median(&mut means)?,
        })
    }

    fn beside(&self, own: Logarithms) -> Beside {
        let chance = own.variance / own.count;
        let off = own.mean - self.median;
        let (deviations, times) = (off / (self.spread * self.spread + chance).sqrt(), off.exp());
        let reading = if deviations >= BAD.0 && times >= BAD.1 {
            Reading::Bad
        } else if deviations < GOOD.0 || times < GOOD.1 {
            Reading::Good
        } else {
            Reading::Between
        };
        Beside {
            reading,
            times,
            median: self.median,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(millis: f64) -> Option<Logarithms> {
        Some(Logarithms {
            count: 100.0,
            mean: (millis / 1e3).ln(),
            variance: 0.3,
        })
    }

    #[test]
    fn who_stands_out_is_slower() {
        let check = |millis: &[f64], expect: Option<Reading>| {
            let all: Vec<_> = millis.iter().map(|millis| one(*millis)).collect();
            let found = each_beside(&all)[0];
            assert_eq!(
                found.map(|found| found.reading),
                expect,
                "{millis:?}: {found:?}"
            );
        };
        check(&[20.0, 10.0, 10.0, 10.0], Some(Reading::Bad));
        check(&[14.0, 10.0, 10.0, 10.0], Some(Reading::Between));
        check(&[11.0, 10.0, 10.0, 10.0], Some(Reading::Good));
        check(&[5.0, 10.0, 10.0, 10.0], Some(Reading::Good));
        // Another bad one hides nothing.
        check(&[20.0, 900.0, 10.0, 10.0, 10.0], Some(Reading::Bad));
        // All are slow, or all differ.
        check(&[900.0, 900.0, 901.0, 899.0], Some(Reading::Good));
        check(&[40.0, 5.0, 80.0, 10.0, 20.0], Some(Reading::Good));
        // No peers.
        check(&[20.0, 10.0], None);
    }

    #[test]
    fn few_answers_say_nothing() {
        let few = Some(Logarithms {
            count: 29.0,
            mean: 0.0,
            variance: 0.3,
        });
        let all = [one(100.0), few, few, None];
        assert_eq!(each_beside(&all), [None; 4]);
        assert_eq!(each_beside(&[few, one(1.0), one(1.0), one(1.0)])[0], None);
    }

    #[test]
    fn of_many_the_few_slow_ones_stand_out() {
        let all: Vec<_> = (0..1000)
            .map(|at| {
                one(if at % 100 == 7 {
                    30.0
                } else {
                    10.0 + f64::from(at % 3)
                })
            })
            .collect();
        let slow: Vec<_> = each_beside(&all)
            .iter()
            .map(|found| found.unwrap().reading == Reading::Bad)
            .collect();
        assert_eq!(slow, (0..1000).map(|at| at % 100 == 7).collect::<Vec<_>>());
    }
}
