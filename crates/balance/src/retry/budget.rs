//! Owns how many retries a service may afford: a share of its requests and a small floor.
//!
//! Deposits come with the tick and withdrawals with each retry, so a request that does not fail pays nothing. A retry that fails
//! earns no deposit, which is what keeps an outage from feeding on itself. In thousandths of a retry throughout.
//! After Finagle's retry budget; figures of `design.md` section 8.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// One retry, in the unit of the balance.
const RETRY: u64 = 1_000;

/// How much a service may spend on retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Retries earned by a thousand requests, 0..=1000 (more counts as more). 200 is 20 %.
    pub ratio_permille: u32,
    /// Retries per second that are earned without any request, so that a quiet service can retry at all.
    pub floor_per_second: u32,
    /// Deposits older than about this are lost: an hour of peace must not pay for an outage.
    pub keep: Duration,
}

impl Default for BudgetSettings {
    /// 20 % and 3 per second, kept for 10 s.
    fn default() -> Self {
        Self {
            ratio_permille: 200,
            floor_per_second: 3,
            keep: Duration::from_secs(10),
        }
    }
}

/// The retries that a service has left. Shared by all workers; refilled by its one tick.
///
/// Over any time with `r` requests and `t` seconds, at most `ratio * r + floor * t` retries plus what was kept before are granted; a new
/// budget is as full as the floor alone makes it. So a service that fails altogether is asked at most 1.2 times as often, and 3 times a
/// second. Beginning with less would cost the first exchanges of a process behind which a backend is dead: its breaker opens after
/// more failures than one second of the floor pays for.
#[derive(Debug)]
pub struct Budget {
    /// Thousandths of a retry.
    balance: AtomicU64,
    /// What the requests of the last `keep` earned, fading. The bits of an `f64`; only the tick writes it.
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
    /// The balance is capped at `keep` of deposits: of the floor, and of the requests as they faded over that time, so a
    /// missed tick changes nothing.
    pub fn refill(&self, requests: u64, elapsed: Duration, settings: &BudgetSettings) {
        let by_requests = requests.saturating_mul(settings.ratio_permille.into());
        let deposit = by_requests.saturating_add(self.floor(elapsed, settings));
        let cap = self.cap(by_requests, elapsed, settings);
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

    /// `keep` of deposits. The sum of a steady rate r under exp(-age / keep) is r x keep, in one tick or in many.
    fn cap(&self, by_requests: u64, elapsed: Duration, settings: &BudgetSettings) -> u64 {
        let keep = settings.keep.as_secs_f64();
        let ratio = elapsed.as_secs_f64() / keep.max(1e-9);
        // The mean of exp(-age) over an age of 0..ratio; 1 in the limit of none.
        let fresh = if ratio > 1e-9 {
            -(-ratio).exp_m1() / ratio
        } else {
            1.0
        };
        let before = f64::from_bits(self.earned.load(Ordering::Relaxed));
        let earned = before * (-ratio).exp() + by_requests as f64 * fresh;
        self.earned.store(earned.to_bits(), Ordering::Relaxed);
        whole(earned + f64::from(settings.floor_per_second) * RETRY as f64 * keep)
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
    fn the_cap_is_ten_seconds_of_deposits() {
        check(&[(0, 3_600_000)], 30); // of the floor
        check(&[(0, 100); 36_000], 30);
        check(&[(100, 1_000); 600], 30 + 200); // of 100 requests per second
        check(&[(60_000, 600_000)], 30 + 200); // the same in one tick
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

    /// Everything fails and everything asks for two retries: sent <= 1.2 x requests + 3/s + the start.
    #[test]
    fn amplification_is_bounded_in_total_failure() {
        let check = |peace: u64, per_tick: u64, ticks: u64| {
            let settings = BudgetSettings::default();
            let budget = Budget::new(&settings);
            for _ in 0..peace {
                budget.refill(per_tick, TICK, &settings);
            }
            let kept = budget.left();
            let mut retries = 0_u64;
            for _ in 0..ticks {
                for _ in 0..per_tick {
                    retries += (0..2).take_while(|_| budget.withdraw()).count() as u64;
                }
                budget.refill(per_tick, TICK, &settings);
            }
            let requests = per_tick * ticks;
            let bound = requests / 5 + 3 * ticks / 10 + kept + 1;
            assert!(
                retries <= bound,
                "{retries} retries of {requests} requests; the bound is {bound}"
            );
            let earned = (requests / 5 + 3 * ticks / 10).min(2 * requests);
            assert!(
                retries + 2 * per_tick.max(20) >= earned,
                "{retries} retries granted of {earned} earned"
            );
            let most_kept = 10 * (per_tick * 10 / 5 + 3) + per_tick / 5 + 1;
            assert!(
                kept <= most_kept,
                "kept {kept} of a long peace; ten seconds are {most_kept}"
            );
        };
        check(0, 100, 600); // 1000/s for a minute
        check(0, 1, 600); // 10/s
        check(0, 10_000, 50); // 100 000/s
        check(36_000, 100, 600); // after an hour of peace
        check(0, 0, 600);
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
