use std::time::Duration;

use evenkeel_balance::affinity::identity;
use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::eligibility::{Bar, Rung};
use evenkeel_balance::event::EventKind;
use evenkeel_balance::health::CheckResult;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::settings::{
    ActiveSettings, AffinitySettings, BreakerSettings, MinHealthy, OnAllDown, ServiceSettings,
};

use crate::stage::{Stage, id, plain};

const ALL: [&str; 4] = ["a", "b", "c", "d"];

fn least(count: u32, share: f64) -> MinHealthy {
    MinHealthy::default().count(count).share(share)
}

fn open(least: MinHealthy) -> ServiceSettings {
    plain().on_all_down(OnAllDown::FailOpen).min_healthy(least)
}

fn closed(least: MinHealthy) -> ServiceSettings {
    open(least).on_all_down(OnAllDown::FailClosed)
}

/// What is done to whom: `x` down, `o` out of weight, `d` draining, `n` disabled.
fn done(stage: &Stage, to: &str) {
    for (name, what) in ALL.iter().zip(to.chars()) {
        let (id, now) = (id(name), stage.now);
        match what {
            'x' => stage.mark(name, false),
            'o' => stage.service.set_weight(&id, Weight::ZERO, now).unwrap(),
            'd' => stage.service.set_admin(&id, Admin::Draining, now).unwrap(),
            'n' => stage.service.set_admin(&id, Admin::Disabled, now).unwrap(),
            _ => {}
        }
    }
}

/// Of four: where the service stands, and who serves how many of twelve, in order. None: it refuses.
#[track_caller]
fn check(settings: ServiceSettings, to: &str, rung: Rung, expect: Option<[usize; 4]>) {
    let mut stage = Stage::new(settings, &ALL);
    done(&stage, to);
    assert_eq!(stage.service.snapshot(stage.now).rung, rung, "{to}");
    match expect {
        Some(expect) => assert_eq!(stage.serve(12, &[], &ALL), expect, "{to}"),
        None => assert_eq!(stage.pick().unwrap_err(), Refusal::AllDown, "{to}"),
    }
    stage.service.laws().unwrap();
}

#[test]
fn with_too_few_healthy_it_is_as_with_none() {
    use Rung::{AllDown, FailOpen, Proven};
    // So many, or a share.
    for least in [least(2, 0.0), least(1, 0.5), least(2, 0.5)] {
        check(open(least), "....", Proven, Some([3, 3, 3, 3]));
        check(open(least), "xx..", Proven, Some([0, 0, 6, 6]));
        check(open(least), "xxx.", FailOpen, Some([3, 3, 3, 3]));
        check(open(least), "xxxx", FailOpen, Some([3, 3, 3, 3]));
        check(closed(least), "xx..", Proven, Some([0, 0, 6, 6]));
        check(closed(least), "xxx.", AllDown, None);
        check(closed(least), "xxxx", AllDown, None);
    }
    // One is enough where nothing else is said.
    let none = MinHealthy::default();
    check(open(none), "xxx.", Proven, Some([0, 0, 0, 12]));
    check(closed(none), "xxx.", Proven, Some([0, 0, 0, 12]));
    // Who is out because somebody said so is missed by no share, and fails open to nobody.
    check(open(least(1, 0.5)), "xnd.", Proven, Some([0, 0, 0, 12]));
    check(open(least(1, 0.6)), "xnd.", FailOpen, Some([6, 0, 0, 6]));
    check(open(least(1, 0.6)), "xo..", Proven, Some([0, 0, 6, 6]));
    // Too few, and nobody more to serve through: that is no failing open. Who refuses does so all the same.
    check(open(least(3, 0.0)), "nn..", Proven, Some([0, 0, 6, 6]));
    check(closed(least(3, 0.0)), "nn..", AllDown, None);
}

#[test]
fn too_few_are_told_once_and_seen() {
    let mut stage = Stage::new(open(least(3, 0.0)), &ALL);
    done(&stage, "xx..");
    stage.pass(2.0);
    done(&stage, "xxx.");
    stage.pass(1.0);
    let snapshot = stage.service.snapshot(stage.now);
    assert_eq!((snapshot.rung, snapshot.tier), (Rung::FailOpen, None));
    assert_eq!((snapshot.healthy(), stage.service.census()), (1, (4, 1)));
    assert!(snapshot.down_since.is_some());
    // It goes by nobody's share, as when none is healthy.
    let wanted = |one: &evenkeel_balance::snapshot::BackendSnapshot| one.share_wanted;
    assert!(snapshot.backends.iter().map(wanted).sum::<f64>() <= 0.0);
    stage.mark("a", true);
    assert_eq!(stage.service.snapshot(stage.now).rung, Rung::FailOpen);
    stage.mark("b", true);
    let mut told = stage.heard();
    told.retain(|kind| !matches!(kind, EventKind::StandingChanged { .. }));
    let all_down = EventKind::AllDown {
        fail_open: true,
        healthy: 2,
        members: 4,
    };
    let after = Duration::from_secs(3);
    assert_eq!(told, [all_down, EventKind::Recovered { after }]);
    // By a reload, too.
    let now = stage.now;
    stage.service.set_settings(open(least(4, 0.0)), now);
    assert_eq!(stage.service.snapshot(now).rung, Rung::FailOpen);
    stage.service.set_settings(open(least(3, 0.0)), now);
    assert_eq!(stage.service.snapshot(now).rung, Rung::Proven);
}

/// It is an outage from the beginning, and ends as one.
#[test]
fn who_begins_with_too_few_says_so() {
    let mut stage = Stage::new(closed(least(3, 0.0)), &["a", "b"]);
    let down = |stage: &Stage| stage.service.snapshot(stage.now).down_since;
    assert_eq!(down(&stage), Some(stage.now));
    stage.pass(2.0);
    let specs = |names: &[&str]| names.iter().map(|&name| BackendSpec::new(name)).collect();
    let replaced = stage.service.replace(specs(&["a", "b", "c"]), stage.now);
    replaced.unwrap();
    assert_eq!(down(&stage), None);
    let after = Duration::from_secs(2);
    assert!(stage.heard().contains(&EventKind::Recovered { after }));
    // Nobody at all is no outage of backends; two that come then are.
    let mut stage = Stage::new(closed(least(3, 0.0)), &[]);
    stage.pass(1.0);
    assert_eq!(down(&stage), None);
    let replaced = stage.service.replace(specs(&["a", "b"]), stage.now);
    replaced.unwrap();
    assert_eq!(down(&stage), Some(stage.now));
    let all_down = EventKind::AllDown {
        fail_open: false,
        healthy: 2,
        members: 2,
    };
    assert!(stage.heard().contains(&all_down));
}

/// Nothing bad is known of who waits for a first check: a start is no outage.
#[test]
fn who_waits_for_a_check_is_not_missed() {
    for settings in [open(least(3, 0.75)), closed(least(3, 0.75))] {
        let settings = settings.health(ActiveSettings::default().fall(1));
        let mut stage = Stage::new(settings, &ALL);
        let rung = |stage: &Stage| stage.service.snapshot(stage.now).rung;
        assert_eq!(rung(&stage), Rung::Unproven);
        stage.check("a", CheckResult::Passed);
        assert_eq!(rung(&stage), Rung::Proven);
        assert_eq!(stage.serve(12, &[], &ALL), [12, 0, 0, 0]);
        for name in ["b", "c", "d"] {
            stage.check(name, CheckResult::Passed);
        }
        let told = stage.heard();
        assert!(
            !told
                .iter()
                .any(|kind| matches!(kind, EventKind::AllDown { .. })),
            "{told:?}"
        );
    }
}

/// Kept clients too: what it refuses, it refuses to all.
#[test]
fn who_refuses_says_that_too_few_are_healthy() {
    let settings = closed(least(2, 0.0)).affinity(AffinitySettings::default());
    let mut stage = Stage::new(settings, &ALL);
    done(&stage, "xxx.");
    let ask = stage.ask().kept(identity(&id("d")));
    assert_eq!(
        stage.service.pick(&ask, stage.now).unwrap_err(),
        Refusal::AllDown
    );
    let explained = stage.service.explain(&ask, stage.now);
    assert_eq!(explained.result, Err(Refusal::AllDown));
    let bars: Vec<_> = explained.candidates.iter().map(|one| one.bar).collect();
    assert_eq!(bars[3], Some(Bar::FewHealthy));
    assert_eq!(bars[3].map(Bar::word), Some("few_healthy"));
    stage.mark("a", true);
    let pick = stage.service.pick(&ask, stage.now).unwrap();
    assert_eq!(*pick.backend().id(), id("d"));
    stage.well(pick);
}

/// What traffic took out comes back by its trials, though nobody else is served.
#[test]
fn who_refuses_has_its_trials() {
    let breaker = BreakerSettings::default().consecutive(3).cap(0.5);
    let settings = closed(least(1, 0.75)).breaker(breaker);
    let mut stage = Stage::new(settings, &ALL);
    for _ in 0..100 {
        match stage.pick() {
            Ok(pick) if ["a", "b"].contains(&pick.backend().id().as_str()) => stage.badly(pick),
            Ok(pick) => stage.well(pick),
            Err(refusal) => assert_eq!(refusal, Refusal::AllDown),
        }
        stage.pass(0.1);
        if stage.service.snapshot(stage.now).rung == Rung::AllDown {
            break;
        }
    }
    assert_eq!(stage.pick().unwrap_err(), Refusal::AllDown);
    stage.pass(1.5);
    for _ in 0..2 {
        let pick = stage.pick().unwrap();
        assert!(pick.is_trial());
        stage.well(pick);
    }
    stage.pass(0.2);
    assert_eq!(stage.serve(12, &[], &ALL), [3, 3, 3, 3]);
}

/// A share is of any one tier, a count of all; who fails open asks for no tier.
#[test]
fn a_tier_that_is_whole_is_enough() {
    let tiered = || {
        let tiers = [("a", 0), ("b", 0), ("c", 1), ("d", 1)];
        let backends = tiers.map(|(name, tier)| BackendSpec::new(name).tier(tier));
        backends.into()
    };
    let check = |least: MinHealthy, to: &str, rung: Rung, serve: [bool; 4]| {
        let mut stage = Stage::of(open(least), tiered());
        done(&stage, to);
        let snapshot = stage.service.snapshot(stage.now);
        assert_eq!(snapshot.rung, rung, "{to}");
        let shares: f64 = snapshot.tiers.iter().map(|one| one.share).sum();
        let shared = f64::from(u8::from(rung == Rung::Proven));
        assert!((shares - shared).abs() < 1e-9, "{to} {shares}");
        let counts = stage.serve(400, &[], &ALL);
        let served: [bool; 4] = std::array::from_fn(|at| counts[at] > 0);
        assert_eq!(served, serve, "{to}");
    };
    let all = [true; 4];
    check(
        least(1, 1.0),
        "....",
        Rung::Proven,
        [true, true, false, false],
    );
    check(
        least(1, 1.0),
        "xx..",
        Rung::Proven,
        [false, false, true, true],
    );
    check(
        least(1, 1.0),
        "x...",
        Rung::Proven,
        [false, true, true, true],
    );
    check(least(1, 1.0), "x.x.", Rung::FailOpen, all);
    check(
        least(2, 0.5),
        "x.x.",
        Rung::Proven,
        [false, true, false, true],
    );
    check(least(3, 0.5), "x.x.", Rung::FailOpen, all);
}
