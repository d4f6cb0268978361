//! Owns how many retries a service may afford: a share of its requests and a small floor.
//!
//! Deposits come with the tick and withdrawals with each retry, so a request that does not fail pays nothing. A retry that fails
//! earns no deposit, which is what keeps an outage from feeding on itself. In thousandths of a retry throughout.
//! After Finagle's retry budget; figures of `design.md` section 8.

use std::time::Duration;

use crate::setters::setters;
use crate::sync::{AtomicU64, Ordering};

/// One retry, in the unit of the balance.
const RETRY: u64 = 1_000;

/// How much a service may spend on retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetSettings {
    /// Retries earned by a thousand requests, 0..=1000 (more counts as more). 200 is 20 %.
    pub ratio_permille: u32,
    /// Retries per second that are earned without any request, so that a quiet service can retry at all.
    pub floor_per_second: u32,
    /// Deposits of the floor older than this are lost.
    pub keep: Duration,
    /// Deposits of requests older than about this are lost: what a peace has earned must not pay for an outage.
    pub keep_earned: Duration,
}

impl Default for BudgetSettings {
    /// 20 %, kept for 1 s, and 3 per second, kept for 10 s.
    fn default() -> Self {
        Self {
            ratio_permille: 200,
            floor_per_second: 3,
            keep: Duration::from_secs(10),
            keep_earned: Duration::from_secs(1),
        }
    }
}

setters!(BudgetSettings {
    ratio_permille: u32,
    floor_per_second: u32,
    keep: Duration,
    keep_earned: Duration,
    ;
});

/// The retries that a service has left. Shared by all workers; refilled by its one tick.
///
/// Over any time with `r` requests and `t` seconds, at most `ratio * r + floor * t` retries are granted, and what was kept before: `floor * keep`
/// and `ratio` of the requests of the last `keep_earned`. By default a service that fails altogether is asked at most 1.2 times as often, 3 times
/// a second, and once 30 times and a fifth of a second's requests. A new budget is as full as the floor alone makes it. Beginning with less
/// would cost the first exchanges of a process behind which a backend is dead: its breaker opens after more failures than one second of
/// the floor pays for. Keeping more of what requests earn would cost an outage that comes after peace: with ten seconds of it, backends that
/// failed for 30 s were asked 1.26 times per request.
#[derive(Debug)]
pub struct Budget {
    /// Thousandths of a retry.
    balance: AtomicU64,
    /// What the requests of the last `keep_earned` earned, fading. The bits of an `f64`; only the tick writes it.
    earned: AtomicU64,
    /// Nanoseconds times floor that did not make a whole thousandth yet. Only the tick writes it.
    rest: AtomicU64,
}

impl Budget {
    /// A budget that starts with what the floor earns in `keep`: 30 retries by default.
    #[must_use]
    pub fn new(settings: &BudgetSettings) -> Self {
        let floor = f64::from(settings.floor_per_second) * RETRY as f64;
        Self {
            balance: AtomicU64::new(whole(floor * settings.keep.as_secs_f64())),
            earned: AtomicU64::new(0),
            rest: AtomicU64::new(0),
        }
    }

    /// Deposits for `requests` (exchanges, not attempts) and `elapsed`, both since the last call. By one caller at a time: the tick.
    ///
    /// The balance is capped at `keep` of deposits of the floor, and `keep_earned` of those of requests, as they faded over that time: a missed
    /// tick changes nothing.
    pub fn refill(&self, requests: u64, elapsed: Duration, settings: &BudgetSettings) {
        self.refill_to(requests, elapsed, settings, 0);
    }

    /// The same, where one may be saved up for, however few the requests are.
    pub(crate) fn refill_to_one_at_least(
        &self,
        requests: u64,
        elapsed: Duration,
        settings: &BudgetSettings,
    ) {
        self.refill_to(requests, elapsed, settings, RETRY);
    }

    fn refill_to(&self, requests: u64, elapsed: Duration, settings: &BudgetSettings, least: u64) {
        let by_requests = requests.saturating_mul(settings.ratio_permille.into());
        let deposit = by_requests.saturating_add(self.floor(elapsed, settings));
        let cap = self.cap(by_requests, elapsed, settings).max(least);
        // Ordering: only the number matters. Nothing else is published by it.
        let mut balance = self.balance.load(Ordering::Relaxed);
        while let Err(now) = self.balance.compare_exchange_weak(
            balance,
            balance.saturating_add(deposit).min(cap),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            balance = now;
        }
    }

    /// Takes one retry; false when there is none left. Exact under threads.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        let mut balance = self.balance.load(Ordering::Relaxed);
        while let Some(less) = balance.checked_sub(RETRY) {
            match self.balance.compare_exchange_weak(
                balance,
                less,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => balance = now,
            }
        }
        false
    }

    /// Gives back a retry that was taken and not made.
    pub fn refund(&self) {
        self.balance.fetch_add(RETRY, Ordering::Relaxed);
    }

    /// Whole retries left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.balance.load(Ordering::Relaxed) / RETRY
    }

    /// What the floor earns in `elapsed`. Fractions are carried over: a tick each 100 us must not starve it.
    fn floor(&self, elapsed: Duration, settings: &BudgetSettings) -> u64 {
        const SECOND: u128 = 1_000_000_000;
        let earned = elapsed
            .as_nanos()
            .saturating_mul(u128::from(settings.floor_per_second) * u128::from(RETRY));
        let sum = earned.saturating_add(self.rest.load(Ordering::Relaxed).into());
        self.rest
            .store(u64::try_from(sum % SECOND).unwrap_or(0), Ordering::Relaxed);
        u64::try_from(sum / SECOND).unwrap_or(u64::MAX)
    }

    /// What may be kept. The sum of a steady rate r under exp(-age / keep) is r x keep, in one tick or in many.
    fn cap(&self, by_requests: u64, elapsed: Duration, settings: &BudgetSettings) -> u64 {
        let ratio = elapsed.as_secs_f64() / settings.keep_earned.as_secs_f64().max(1e-9);
        // The mean of exp(-age) over an age of 0..ratio; 1 in the limit of none.
        let fresh = if ratio > 1e-9 {
            -(-ratio).exp_m1() / ratio
        } else {
            1.0
        };
        let before = f64::from_bits(self.earned.load(Ordering::Relaxed));
        let earned = before * (-ratio).exp() + by_requests as f64 * fresh;
        self.earned.store(earned.to_bits(), Ordering::Relaxed);
        let floor = f64::from(settings.floor_per_second) * RETRY as f64;
        whole(earned + floor * settings.keep.as_secs_f64())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative; `as` saturates"
)]
fn whole(milli: f64) -> u64 {
    milli.ceil() as u64
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn drain(budget: &Budget) -> u64 {
        (0..).find(|_| !budget.withdraw()).unwrap_or(u64::MAX)
    }

    fn spent(settings: &BudgetSettings) -> Budget {
        let budget = Budget::new(settings);
        drain(&budget);
        budget
    }

    /// Retries left after refills of (requests, ms) of a budget that was spent, by default settings.
    fn check(refills: &[(u64, u64)], expect: u64) {
        let settings = BudgetSettings::default();
        let budget = spent(&settings);
        for &(requests, ms) in refills {
            budget.refill(requests, Duration::from_millis(ms), &settings);
        }
        assert_eq!(
            (budget.left(), drain(&budget)),
            (expect, expect),
            "after {refills:?}"
        );
    }

    #[test]
    fn a_new_one_pays_for_more_than_a_breaker_takes_to_open() {
        let budget = Budget::new(&BudgetSettings::default());
        assert_eq!((budget.left(), drain(&budget)), (30, 30));
        let none = BudgetSettings {
            floor_per_second: 0,
            ..BudgetSettings::default()
        };
        assert_eq!(drain(&Budget::new(&none)), 0);
    }

    #[test]
    fn deposits() {
        check(&[], 0);
        check(&[(0, 1_000)], 3);
        check(&[(10, 0)], 2);
        check(&[(4, 0)], 0); // not a whole retry yet
        check(&[(4, 0), (1, 0)], 1);
        check(&[(0, 100); 10], 3);
        check(&[(0, 1); 1_000], 3);
    }

    #[test]
    fn the_cap_is_ten_seconds_of_the_floor_and_one_of_requests() {
        check(&[(0, 3_600_000)], 30);
        check(&[(0, 100); 36_000], 30);
        check(&[(10, 100); 6_000], 30 + 20); // 100 requests per second
        check(&[(60_000, 600_000)], 30 + 20); // the same in one tick
        check(&[(100, 1_000), (0, 3_600_000)], 30); // traffic that is over
        check(&[(1_000_000, 0)], 200_000); // never cuts what has just come in
    }

    #[test]
    fn fractions_of_a_deposit_are_carried() {
        let settings = BudgetSettings::default();
        let budget = spent(&settings);
        for _ in 0..10_000 {
            budget.refill(0, Duration::from_micros(100), &settings);
        }
        assert_eq!(budget.left(), 3);
    }

    #[test]
    fn refunds() {
        let budget = spent(&BudgetSettings::default());
        budget.refund();
        assert_eq!((budget.withdraw(), budget.withdraw()), (true, false));
    }

    /// Everything fails and everything asks for two retries; phases of (ticks, requests in a tick, whether it fails). Over any time, retries
    /// are at most a fifth of the requests, 3 per second, 30, and a fifth of the requests of the second before.
    fn check_all_times(phases: &[(usize, u64, bool)]) {
        let settings = BudgetSettings::default();
        let budget = Budget::new(&settings);
        let mut ticks: Vec<(u64, u64)> = Vec::new();
        for &(length, requests, fails) in phases {
            for _ in 0..length {
                let asked = if fails { 2 * requests } else { 0 };
                let granted = (0..asked).take_while(|_| budget.withdraw()).count() as u64;
                budget.refill(requests, TICK, &settings);
                ticks.push((requests, granted));
            }
        }
        for from in 0..ticks.len() {
            let faded = |(at, (requests, _)): (usize, &(u64, u64))| {
                *requests as f64 * (-((from - 1 - at) as f64) / 10.0).exp()
            };
            let before: f64 = ticks[..from].iter().enumerate().map(faded).sum();
            let mut bound = 30.0 + before / 5.0;
            let mut granted = 0;
            for (at, (requests, retries)) in ticks.iter().enumerate().skip(from) {
                (bound, granted) = (bound + *requests as f64 / 5.0 + 0.3, granted + retries);
                assert!(
                    granted as f64 <= bound + 1.0,
                    "{granted} retries from tick {from} to {at}; the bound is {bound} in {phases:?}"
                );
            }
        }
        let (requests, granted) = ticks.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        if phases.iter().all(|(_, _, fails)| *fails) {
            let earned = (requests / 5 + 3 * ticks.len() as u64 / 10).min(2 * requests);
            let tick = phases.iter().map(|(_, requests, _)| *requests).max();
            assert!(
                granted + 2 * tick.unwrap_or(0).max(20) >= earned,
                "{granted} retries granted of {earned} earned in {phases:?}"
            );
        }
    }

    #[test]
    fn amplification_is_bounded_in_total_failure() {
        check_all_times(&[(600, 100, true)]); // 1000/s for a minute
        check_all_times(&[(600, 1, true)]); // 10/s
        check_all_times(&[(50, 10_000, true)]); // 100 000/s
        check_all_times(&[(600, 0, true)]);
        check_all_times(&[(300, 20, false), (300, 20, true)]); // 200/s, after peace
        check_all_times(&[(300, 100, false), (20, 0, false), (300, 1, true)]); // calmer than before
        check_all_times(&[
            (100, 20, false),
            (5, 20, true),
            (100, 20, false),
            (100, 20, true),
        ]); // again and again
        check_all_times(&[(100, 1, false), (1, 10_000, false), (100, 50, true)]); // after a burst
    }

    #[test]
    fn exact_under_threads() {
        let settings = BudgetSettings::default();
        let budget = Budget::new(&settings);
        budget.refill(50_000, Duration::ZERO, &settings);
        let granted: usize = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..5_000).filter(|_| budget.withdraw()).count()))
                .collect();
            takers
                .into_iter()
                .map(|taker| taker.join().expect("takers do not panic"))
                .sum()
        });
        assert_eq!(granted, 10_030);
    }
}

#[cfg(all(test, shuttle))]
mod tests {
    use super::*;
    use crate::sync::Arc;
    use shuttle::thread;

    /// Three takers and one refill: never more granted than was there, and none lost.
    fn takers_and_a_tick() {
        let settings = BudgetSettings {
            floor_per_second: 2,
            keep: Duration::from_secs(1),
            ..BudgetSettings::default()
        };
        let budget = Arc::new(Budget::new(&settings));
        let takers: Vec<_> = (0..3)
            .map(|_| {
                let budget = Arc::clone(&budget);
                thread::spawn(move || u64::from(budget.withdraw()) + u64::from(budget.withdraw()))
            })
            .collect();
        budget.refill(10, Duration::ZERO, &settings);
        let granted: u64 = takers
            .into_iter()
            .map(|taker| taker.join().expect("takers do not panic"))
            .sum();
        assert_eq!(granted + budget.left(), 4);
    }

    #[test]
    fn grants_exactly_what_is_there() {
        shuttle::check_random(takers_and_a_tick, 2_000);
        shuttle::check_pct(takers_and_a_tick, 2_000, 3);
    }
}
