//! Owns whether more fails than it should: a one-sided CUSUM of counts (Poisson; Lucas 1985), not of rates.
//!
//! A rate of few requests is noise that a detector of levels must wait out, a failure where there were none is evidence at once. The sum
//! grows by the likelihood of what failed under a surge against that under the reference. A surge is three times the reference, and at
//! least 0.3 % more. What is found how soon is bounded by the traffic: a step of 0.5 % above 0.1 % needs about 2600 requests.

use crate::bytes::{Reader, Unreadable, Writer};
use crate::condition::Reading;
use crate::time::Moment;

/// No reference is lower: one in ten thousand is as good as none.
const LEAST_RATE: f64 = 1e-4;
/// And from this one on more is no news.
const MOST_RATE: f64 = 0.5;
/// A surge is so many times the reference more.
const TIMES: f64 = 2.0;
/// And at least so much more.
const LEAST_MORE: f64 = 0.003;
/// The bound, to which the logarithm of the number of sums is added that one alarm would come of.
const BOUND: f64 = 15.0;
/// One tick counts for at most such a part of the bound: failures that come all at once, as of one connection that broke, are one event.
const PART_OF_A_TICK: f64 = 1.0 / 3.0;
/// What counts as now: about so many ticks back.
pub(crate) const LATELY_TICKS: f64 = 30.0;
/// And the baseline of one's own past.
pub(crate) const LONG_TICKS: f64 = 1800.0;
/// Ticks before one's own past says anything, and requests.
const WARM_TICKS: u32 = 300;
const WARM_REQUESTS: f64 = 1000.0;
/// What has lasted so long is how it is, in milliseconds.
const ACCEPTED_MS: u64 = 3_600_000;
/// No decayed count that is read from outside is larger.
const MOST_COUNT: f64 = 1e14;

/// Requests and failures of which older ones count less.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faded {
    requests: f64,
    errors: f64,
}

impl Faded {
    /// Takes in a tick, and forgets as if it were one of `ticks`.
    pub fn add(&mut self, requests: f64, errors: f64, ticks: f64) {
        self.requests += requests - self.requests / ticks;
        self.errors += errors - self.errors / ticks;
    }

    /// The share that failed, where a little is taken to have failed before anything came: a first failure is no certainty.
    #[must_use]
    pub fn rate(&self) -> f64 {
        (self.errors + 0.5) / (self.requests + 500.0)
    }

    /// The same where a usual rate is known: ten requests of it are added, so that one failure of few is not half of them.
    #[must_use]
    pub fn towards(&self, usual: f64) -> f64 {
        (self.errors + 10.0 * usual) / (self.requests + 10.0)
    }

    /// Both together.
    pub fn join(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
    }

    /// What is left of all without one of them.
    #[must_use]
    pub fn without(&self, one: Self) -> Self {
        let requests = (self.requests - one.requests).max(0.0);
        Self {
            requests,
            errors: (self.errors - one.errors).clamp(0.0, requests),
        }
    }

    /// Less than one request is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests < 1.0
    }

    fn plain(&self) -> f64 {
        if self.requests > 0.0 {
            self.errors / self.requests
        } else {
            0.0
        }
    }

    pub(crate) fn write(self, to: &mut Writer) {
        to.number(self.requests);
        to.number(self.errors);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let requests = from.number(0.0, MOST_COUNT, "a count of requests")?;
        Ok(Self {
            requests,
            errors: from.number(0.0, requests, "a count of errors")?,
        })
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Since when, as well as can be told.
    pub since: Moment,
    /// The rate that it is measured by.
    pub reference: f64,
    found: Moment,
}

/// A sum over the failures of one service or backend. 72 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Surge {
    sum: f64,
    began: Moment,
    lately: Faded,
    found: Option<Found>,
}

impl Surge {
    /// Takes in a tick's requests and failures against the share that should fail. `among` is how many sums are watched where one
    /// alarm is meant to be rare.
    pub fn learn(
        &mut self,
        requests: u32,
        errors: u32,
        reference: f64,
        now: Moment,
        among: f64,
    ) -> Reading {
        let (requests, errors) = (f64::from(requests), f64::from(errors.min(requests)));
        if requests == 0.0 {
            return Reading::Unknown;
        }
        self.lately.add(requests, errors, LATELY_TICKS);
        if reference >= MOST_RATE {
            // Nobody stands out by failing where the others do.
            return self.over();
        }
        let reference = reference.max(LEAST_RATE);
        let more = LEAST_MORE.max(TIMES * reference).min(1.0 - reference);
        if let Some(found) = self.found {
            let least = LEAST_MORE.max(TIMES * found.reference.max(reference));
            return if self.lately.plain() - found.reference.max(reference) < least / 2.0 {
                self.over()
            } else {
                Reading::Bad
            };
        }
        let bound = BOUND + among.max(1.0).ln();
        if self.sum <= 0.0 {
            self.began = now;
        }
        let evidence = errors * (1.0 + more / reference).ln() - requests * more;
        self.sum = (self.sum + evidence.min(bound * PART_OF_A_TICK)).max(0.0);
        if self.sum < bound {
            return Reading::Good;
        }
        (self.found, self.sum) = (
            Some(Found {
                since: self.began,
                reference,
                found: now,
            }),
            0.0,
        );
        Reading::Bad
    }

    /// What was found, while it lasts.
    #[must_use]
    pub const fn found(&self) -> Option<Found> {
        self.found
    }

    /// The share that fails now.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.lately.plain()
    }

    fn over(&mut self) -> Reading {
        (self.found, self.sum) = (None, 0.0);
        Reading::Good
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.number(self.sum);
        to.moment(self.began);
        self.lately.write(to);
        to.maybe(self.found, |to, found| {
            to.moment(found.since);
            to.number(found.reference);
            to.moment(found.found);
        });
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let sum = from.number(0.0, 1e3, "a sum")?;
        let began = from.moment()?;
        let lately = Faded::read(from)?;
        let found = from.maybe(|from| {
            let since = from.moment()?;
            let reference = from.number(0.0, 1.0, "a rate")?;
            Ok(Found {
                since,
                reference,
                found: from.moment()?,
            })
        })?;
        Ok(Self {
            sum,
            began,
            lately,
            found,
        })
    }
}

/// A surge above one's own past.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnSurge {
    surge: Surge,
    long: Faded,
    ticks: u32,
}

impl OwnSurge {
    /// Takes in a tick.
    pub fn learn(&mut self, requests: u32, errors: u32, now: Moment, among: f64) -> Reading {
        let usual = self.long.rate();
        let is_warm = self.ticks >= WARM_TICKS && self.long.requests >= WARM_REQUESTS;
        let mut reading = Reading::Unknown;
        if is_warm {
            reading = self.surge.learn(requests, errors, usual, now, among);
        }
        match self.surge.found {
            Some(found) if now.millis_since(found.found) >= ACCEPTED_MS => {
                // How it is now.
                *self = Self::default();
                reading = Reading::Good;
            }
            // What is wrong is not to become usual.
            Some(_) => {}
            None => {
                self.ticks = (self.ticks + 1).min(WARM_TICKS);
                self.long.add(
                    f64::from(requests),
                    f64::from(errors.min(requests)),
                    LONG_TICKS,
                );
            }
        }
        reading
    }

    /// The sum.
    #[must_use]
    pub const fn surge(&self) -> &Surge {
        &self.surge
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        self.surge.write(to);
        self.long.write(to);
        to.count(u64::from(self.ticks));
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let (surge, long) = (Surge::read(from)?, Faded::read(from)?);
        let ticks = from.up_to(u64::from(WARM_TICKS), "a count of ticks")?;
        Ok(Self {
            surge,
            long,
            ticks: u32::try_from(ticks).unwrap_or(WARM_TICKS),
        })
    }
}

/// How many requests a step from one share of failures to another needs until it is found, about: the bound by what one request
/// tells. For whoever wants to know what traffic an objective needs.
#[must_use]
pub fn requests_to_find(from: f64, to: f64) -> Option<u64> {
    let reference = from.clamp(LEAST_RATE, MOST_RATE);
    let more = LEAST_MORE.max(TIMES * reference).min(1.0 - reference);
    let told = to * (1.0 + more / reference).ln() - more;
    (told > 0.0).then(|| crate::number::whole(BOUND / told))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `requests` fail where each does with a chance of `rate`.
    fn failed(chance: &mut fastrand::Rng, requests: u32, rate: f64) -> u32 {
        (0..requests).map(|_| u32::from(chance.f64() < rate)).sum()
    }

    /// Seconds until a step from one rate to another is found, at so many requests a second, after half an hour.
    fn found_after(seed: u64, requests: u32, from: f64, to: f64) -> Option<u64> {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut own = OwnSurge::default();
        for at in 0..1800 {
            let reading = own.learn(
                requests,
                failed(&mut chance, requests, from),
                Moment::from_secs(at),
                1.0,
            );
            assert_ne!(reading, Reading::Bad, "seed {seed}: a false alarm at {at}");
        }
        (1..900).find(|at| {
            let errors = failed(&mut chance, requests, to);
            own.learn(requests, errors, Moment::from_secs(1800 + at), 1.0) == Reading::Bad
        })
    }

    #[test]
    fn half_a_per_cent_is_found_within_a_minute() {
        for seed in 1..=20 {
            println!("seed {seed}");
            for (requests, from, to) in [
                (100, 0.001, 0.006),
                (100, 0.0, 0.005),
                (50, 0.0, 0.01),
                (300, 0.005, 0.015),
                (20, 0.001, 0.03),
            ] {
                let after = found_after(seed, requests, from, to);
                assert!(
                    after.is_some_and(|after| after <= 60),
                    "{requests}/s from {from} to {to}: {after:?}"
                );
            }
            assert_eq!(
                found_after(seed, 100, 0.002, 0.003),
                None,
                "a tenth of a per cent is no surge"
            );
        }
    }

    #[test]
    fn what_traffic_it_takes_is_known() {
        let found = requests_to_find(0.001, 0.006).unwrap();
        assert!((2300..=2900).contains(&found), "{found}");
        assert_eq!(requests_to_find(0.001, 0.001), None);
    }

    #[test]
    fn one_burst_is_one_event() {
        let mut own = OwnSurge::default();
        for at in 0..4000 {
            let errors = if at % 500 == 499 { 80 } else { 0 };
            assert_ne!(
                own.learn(100, errors, Moment::from_secs(at), 1.0),
                Reading::Bad,
                "at {at}"
            );
        }
    }

    #[test]
    fn where_half_fails_nobody_stands_out() {
        let mut surge = Surge::default();
        let mut learn = |second: u64, errors: u32, reference: f64| {
            let now = Moment::from_secs(1_000 + second);
            surge.learn(20, errors, reference, now, 4.0)
        };
        for second in 0..100 {
            assert_eq!(learn(second, 0, 0.0), Reading::Good);
        }
        // All of them fail at once, so that the reference is as high.
        for second in 100..200 {
            assert_eq!(learn(second, 20, 1.0), Reading::Good, "{second}");
        }
        // The others are well again, and it is not.
        let found = (200..210).find(|second| learn(*second, 20, 0.0) == Reading::Bad);
        assert!(found.is_some());
        // And what they do is what it does, again: then it is theirs as well.
        assert_eq!(learn(220, 20, 0.9), Reading::Good);
    }

    #[test]
    fn it_ends_when_it_is_as_before_and_is_usual_after_an_hour() {
        let mut own = OwnSurge::default();
        let mut at = 0;
        let mut feed = |own: &mut OwnSurge, seconds: u64, errors: u32| {
            let mut last = Reading::Unknown;
            for _ in 0..seconds {
                at += 1;
                last = own.learn(100, errors, Moment::from_secs(at), 1.0);
            }
            last
        };
        feed(&mut own, 600, 0);
        assert_eq!(feed(&mut own, 60, 2), Reading::Bad);
        assert_eq!(
            own.surge().found().map(|found| found.since),
            Some(Moment::from_secs(601))
        );
        let mut healed = own;
        assert_eq!(feed(&mut healed, 120, 0), Reading::Good);
        feed(&mut own, 3600, 2);
        assert_eq!(feed(&mut own, 600, 2), Reading::Good);
        assert_eq!(own.surge().found(), None);
    }
}
