#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ask::Ask;
use crate::backend::{BackendId, BackendSpec};
use crate::health::{CheckFault, CheckReport, CheckResult};
use crate::settings::{ActiveSettings, BreakerSettings, ServiceSettings};
use crate::standing::Standing;
use crate::verdict::{Outcome, Verdict};

fn service(now: Instant) -> Service {
    let settings = ServiceSettings {
        health: Some(ActiveSettings::default()),
        ..ServiceSettings::default()
    };
    let backends = ["a", "b", "c", "d"].map(BackendSpec::new).into();
    Service::new("s", settings, backends, Arc::new(()), now).unwrap()
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

/// One that failed (a), one marked down for ten seconds (b), one whose checks fail (c), and a good one (d).
fn worn() -> Service {
    let service = service(at(0));
    let id = BackendId::from;
    let report = |result| CheckReport {
        began: at(1),
        latency: Duration::from_millis(1),
        result,
        status: None,
    };
    for one in ["a", "b", "c", "d"] {
        let passed = report(CheckResult::Passed);
        service.check(&id(one), passed, at(1)).unwrap();
    }
    for _ in 0..10 {
        let failed = report(CheckResult::Failed(CheckFault::Refused));
        service.check(&id("c"), failed, at(1)).unwrap();
    }
    service
        .mark(&id("b"), Some(false), Some(at(12)), at(2))
        .unwrap();
    for chance in 0..200 {
        let mut pick = service.pick(&Ask::new(chance), at(2)).unwrap();
        let bad = pick.backend().id().as_str() == "a";
        let later = Instant::from_nanos(at(2).as_nanos() + 20_000_000);
        let verdict = if bad {
            Verdict::Failure(crate::verdict::Fault::Reset)
        } else {
            Verdict::Success
        };
        pick.answered(verdict, later);
        pick.finish(Outcome::Completed, later);
    }
    service.tick(at(2));
    service
}

fn standings(service: &Service, now: Instant) -> Vec<(Standing, Reason)> {
    let seen = service.snapshot(now);
    seen.backends
        .iter()
        .map(|one| (one.standing, one.reason))
        .collect()
}

#[test]
fn what_stood_stands_and_ends_when_it_was_to_end() {
    let before = worn();
    let next = service(at(0));
    assert_eq!(next.take_over(&before.carried(at(2)), at(0)), 4);
    assert_eq!(standings(&next, at(0)), standings(&before, at(2)));
    let means = |service: &Service, now| {
        let seen = service.snapshot(now).backends.into_iter();
        seen.map(|one| (one.latency.map(|mean| mean.as_micros()), one.learned))
            .collect::<Vec<_>>()
    };
    assert_eq!(means(&next, at(0)), means(&before, at(2)));
    assert_eq!(means(&next, at(0))[3].0, Some(20_000));
    assert_eq!(next.carried(at(0)).classes, before.carried(at(2)).classes);
    // Ten seconds of another clock: a verdict by hand ends.
    next.tick(at(9));
    assert_eq!(standings(&next, at(9))[1].0, Standing::Down);
    next.tick(at(10));
    assert_eq!(standings(&next, at(10))[1].0, Standing::Serving);
}

#[test]
fn an_open_breaker_stays_open_and_tries_in_time() {
    let before = service(at(0));
    let mut carried = before.carried(at(0));
    for one in &mut carried.backends {
        one.checked = Active::Up;
    }
    carried.backends[0].gate = Gate::Open;
    carried.backends[0].next = Duration::from_secs(5);
    carried.backends[0].reason = Reason::Consecutive;
    let next = service(at(0));
    next.take_over(&carried, at(1));
    let first = |now| standings(&next, now)[0];
    assert_eq!(first(at(1)), (Standing::Ejected, Reason::Consecutive));
    next.tick(at(5));
    assert_eq!(first(at(5)).0, Standing::Ejected);
    next.tick(at(6));
    assert_eq!(first(at(6)).0, Standing::Probing);
    // A half-open one goes over with trials of its own.
    let third = service(at(0));
    third.take_over(&next.carried(at(6)), at(0));
    assert_eq!(standings(&third, at(0))[0].0, Standing::Probing);
    let picked = (0..20).map(|chance| third.pick(&Ask::new(chance), at(0)).unwrap());
    let picked: Vec<_> = picked.collect();
    assert!(
        picked
            .iter()
            .any(|pick| pick.backend().id().as_str() == "a")
    );
}

/// Who was out when it went over may have begun anew meanwhile: it returns as cold as one that could not be connected to. Without checks
/// it is taken for one that serves until what is carried is read.
#[test]
fn who_goes_over_while_out_returns_cold() {
    let check = |gate| {
        let settings = ServiceSettings::default();
        assert_eq!(settings.health, None);
        let backends = ["a", "b", "c", "d"].map(BackendSpec::new).into();
        let next = Service::new("s", settings, backends, Arc::new(()), at(100)).unwrap();
        let mut carried = next.carried(at(100));
        carried.backends[0].gate = gate;
        next.take_over(&carried, at(100));
        assert_ne!(standings(&next, at(100))[0].0, Standing::Serving);
        next.tick(at(101));
        for chance in 0..100 {
            let mut pick = next.pick(&Ask::new(chance), at(102)).unwrap();
            pick.answered(Verdict::Success, at(102));
            pick.finish(Outcome::Completed, at(102));
        }
        next.tick(at(102));
        let seen = &next.snapshot(at(102)).backends[0];
        assert_eq!(seen.standing, Standing::Serving, "{gate:?}");
        assert!((seen.ramp - 0.1).abs() < 1e-6, "{gate:?}: {}", seen.ramp);
    };
    check(Gate::Open);
    check(Gate::HalfOpen);
}

/// What lasts began when it began, and goes on as if nothing had come in between: a ramp, the time of a standing, an open breaker, a
/// verdict by hand.
#[test]
fn times_go_over_and_go_on() {
    let seconds = Duration::from_secs;
    let ramped = || {
        let settings = ServiceSettings {
            slow_start: seconds(100),
            breaker: Some(BreakerSettings::default()),
            ..ServiceSettings::default()
        };
        let backends = ["a", "b"].map(BackendSpec::new).into();
        Service::new("s", settings, backends, Arc::new(()), at(1000)).unwrap()
    };
    let seen = |service: &Service, now| {
        let seen = service.snapshot(now).backends;
        (
            seen[1].ramp,
            [0, 1].map(|at| now.since(seen[at].since).as_secs()),
        )
    };
    let check = |warm_for: u64, passed: u64, ramp: f32| {
        let before = ramped();
        before.add(BackendSpec::new("c"), at(1000)).unwrap();
        before.remove(&"b".into(), at(1000)).unwrap();
        let then = at(1000 + warm_for);
        assert_eq!(seen(&before, then).1, [warm_for; 2]);
        let carried = before.carried(then).later(seconds(passed));
        let settings = before.settings();
        let backends = ["a", "c"].map(BackendSpec::new).into();
        let next = Service::new("s", settings, backends, Arc::new(()), at(2000)).unwrap();
        next.take_over(&carried, at(2000));
        let all = warm_for + passed;
        assert_eq!(seen(&next, at(2000)), (ramp, [all; 2]), "{all} s");
        let rest = 100_u64.saturating_sub(all);
        let end = |left: u64| seen(&next, at(2000 + rest - left.min(rest))).0;
        assert!(end(0) >= 1.0 && (rest == 0 || end(1) < 1.0), "{all} s");
    };
    check(0, 0, 0.1);
    check(20, 0, 0.2);
    check(20, 30, 0.5);
    check(60, 0, 0.6);
    check(60, 30, 0.9);
    check(60, 40, 1.0);
    check(99, 1000, 1.0);
    // Times that are left.
    let mut carried = ramped().carried(at(1000));
    carried.backends[0].gate = Gate::Open;
    carried.backends[0].next = seconds(10);
    carried.backends[1].hand = Some((false, Some(seconds(10))));
    for (passed, left) in [(0, 10), (4, 6), (10, 0), (u64::MAX, 0)] {
        let later = carried.clone().later(seconds(passed));
        assert_eq!(later.backends[0].next, seconds(left), "{passed}");
        assert_eq!(later.backends[1].hand, Some((false, Some(seconds(left)))));
    }
}

#[test]
fn what_is_no_number_or_out_of_range_is_left_out() {
    let whole = worn().carried(at(2));
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 1e30] {
        let mut carried = whole.clone();
        carried.classes = vec![Some(poison); 9];
        for one in &mut carried.backends {
            one.latency = Some(poison);
            one.learned = Learned {
                slowness: poison,
                failing: poison,
            };
            one.next = Duration::MAX;
            one.load = Some(CarriedLoad {
                capacity: Some(poison),
                factor: poison,
                reporting: Duration::MAX,
                age: Duration::ZERO,
            });
            one.openings = u32::MAX;
            one.since = Duration::MAX;
            one.warming = Some(Duration::MAX);
        }
        carried.backends.push(CarriedBackend {
            id: "who".into(),
            ..carried.backends[0].clone()
        });
        let next = service(at(0));
        assert_eq!(next.take_over(&carried, at(3)), 4, "one is nobody's");
        let seen = next.carried(at(3));
        assert!(seen.classes.iter().all(Option::is_none), "{poison}");
        for one in &seen.backends {
            assert_eq!(one.latency, None, "{poison}");
            assert_eq!((one.learned.slowness, one.learned.failing), (1.0, 0.0));
            let factor = one.load.unwrap().factor;
            assert!((0.1..=10.001).contains(&factor), "{poison}: {factor}");
        }
        next.tick(at(4));
        assert!(next.pick(&Ask::new(1), at(4)).is_ok());
    }
}
