//! Rows: what opens a breaker, for how long, and how many may be out.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> BreakerSettings {
    BreakerSettings {
        slow: Some(SECOND),
        ..BreakerSettings::default()
    }
}

fn at(second: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(second)
}

#[test]
fn triggers() {
    let check = |consecutive, succeeded, failed, slow, expected| {
        let window = Tally {
            succeeded,
            failed,
            slow,
        };
        let charges = Charges {
            consecutive,
            window,
        };
        assert_eq!(charges.trigger(&settings()), expected, "{charges:?}");
    };
    check(0, 0, 0, 0, None);
    check(4, 0, 4, 0, None);
    check(5, 0, 5, 0, Some(Reason::Consecutive));
    // k-msg opened on five failures spread among 500 successes.
    check(1, 500, 5, 0, None);
    check(1, 10, 9, 0, None);
    check(1, 9, 10, 0, None);
    check(1, 10, 10, 0, Some(Reason::FailureRate));
    check(1, 11, 10, 0, None);
    check(0, 20, 0, 15, None);
    check(0, 20, 0, 16, Some(Reason::SlowRate));
    check(0, 19, 0, 19, None);
    check(0, 16, 4, 0, None);
    // What comes first is told.
    check(5, 0, 20, 20, Some(Reason::Consecutive));
}

#[test]
fn triggers_can_be_switched_off_one_by_one() {
    let all = Charges {
        consecutive: 1000,
        window: Tally {
            succeeded: 1000,
            failed: 1000,
            slow: 1000,
        },
    };
    let off = BreakerSettings {
        consecutive: 0,
        failure_rate: 1.1,
        slow: None,
        ..settings()
    };
    assert_eq!(all.trigger(&off), None);
    assert_eq!(
        all.trigger(&BreakerSettings {
            failure_rate: 0.5,
            ..off
        }),
        Some(Reason::FailureRate)
    );
    assert_eq!(
        all.trigger(&BreakerSettings {
            slow: Some(SECOND),
            slow_rate: 0.5,
            ..off
        }),
        Some(Reason::SlowRate)
    );
}

#[test]
fn the_open_time_doubles_up_to_its_most_and_peace_forgives() {
    let settings = settings();
    let mut breaker = Breaker::default();
    let mut now = 0;
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        breaker.open(&settings, at(now));
        assert_eq!(breaker.until(), Some(at(now + expected)));
        assert!(
            !breaker.half_open(true, &settings, at(now + expected - 1)),
            "not before its time"
        );
        assert!(breaker.half_open(true, &settings, at(now + expected)));
        now += expected;
    }
    breaker.close(peace(&settings), at(now));
    for step in 1..=8 {
        breaker.forgive(&settings, at(now + 10 * step - 1));
        breaker.forgive(&settings, at(now + 10 * step));
    }
    breaker.open(&settings, at(now + 100));
    assert_eq!(
        breaker.until(),
        Some(at(now + 101)),
        "eight times in peace forgive eight openings"
    );
}

#[test]
fn one_period_of_peace_forgives_one_opening() {
    let settings = settings();
    let mut breaker = Breaker::default();
    breaker.open(&settings, at(0));
    breaker.open(&settings, at(0));
    assert!(breaker.half_open(true, &settings, at(20)));
    breaker.close(peace(&settings), at(20));
    breaker.forgive(&settings, at(29));
    breaker.forgive(&settings, at(30));
    breaker.open(&settings, at(31));
    assert_eq!(breaker.until(), Some(at(31 + 2)));
    // A window, but no less than an open time.
    let [open, window] = [30, 10].map(Duration::from_secs);
    assert_eq!(
        peace(&BreakerSettings {
            open,
            window,
            ..settings
        }),
        open
    );
    assert_eq!(peace(&settings), window);
}

#[test]
fn trials_decide_only_when_half_open() {
    let settings = BreakerSettings {
        trials: 2,
        ..settings()
    };
    let check = |gate, passed, failed, expected| {
        let breaker = Breaker {
            gate,
            ..Breaker::default()
        };
        assert_eq!(
            breaker.verdict(Results { passed, failed }, &settings),
            expected,
            "{gate:?} {passed} {failed}"
        );
    };
    check(Gate::HalfOpen, 0, false, None);
    check(Gate::HalfOpen, 1, false, None);
    check(Gate::HalfOpen, 2, false, Some(true));
    check(Gate::HalfOpen, 1, true, Some(false));
    check(Gate::HalfOpen, 2, true, Some(false));
    check(Gate::Closed, 2, true, None);
    check(Gate::Open, 2, true, None);
}

#[test]
fn how_many_may_be_out() {
    for (enabled, expected) in [
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 1),
        (4, 2),
        (5, 2),
        (20, 10),
        (21, 10),
        (10_001, 5000),
    ] {
        assert_eq!(cap(enabled, &settings()), expected, "of {enabled}");
    }
    let rounded = BreakerSettings {
        cap: 0.29,
        ..settings()
    };
    assert_eq!(cap(100, &rounded), 29);
    let tenth = BreakerSettings {
        cap: 0.1,
        ..settings()
    };
    assert_eq!(
        [2, 9, 10, 29, 30].map(|enabled| cap(enabled, &tenth)),
        [1, 1, 1, 2, 3]
    );
}
