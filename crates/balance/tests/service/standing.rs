use std::time::Duration;

use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::eligibility::Rung;
use evenkeel_balance::event::EventKind;
use evenkeel_balance::health::{CheckFault, CheckReport, CheckResult};
use evenkeel_balance::membership::MembershipError;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::settings::{ActiveSettings, OnAllDown, ServiceSettings};
use evenkeel_balance::snapshot::BackendSnapshot;
use evenkeel_balance::standing::{Reason, Standing};

use crate::stage::{Stage, id, plain};

const PASS: CheckResult = CheckResult::Passed;
const REFUSED: CheckResult = CheckResult::Failed(CheckFault::Refused);
const TIMEOUT: CheckResult = CheckResult::Failed(CheckFault::Timeout);

fn checked() -> ServiceSettings {
    plain().health(ActiveSettings::default().rise(2).fall(3))
}

fn open() -> ServiceSettings {
    plain().on_all_down(OnAllDown::FailOpen)
}

#[test]
fn the_unproven_serve_only_while_nobody_is_proven() {
    let mut stage = Stage::new(checked(), &["a", "b"]);
    assert_eq!(stage.service.snapshot(stage.now).rung, Rung::Unproven);
    assert_eq!(stage.serve(20, &[], &["a", "b"]), [10, 10]);
    stage.check("a", PASS);
    assert_eq!(
        (stage.standing("a"), stage.standing("b")),
        (Standing::Serving, Standing::Unproven)
    );
    assert_eq!(stage.serve(20, &[], &["a", "b"]), [20, 0]);
    stage.check("b", PASS);
    assert_eq!(stage.serve(20, &[], &["a", "b"]), [10, 10]);
}

#[test]
fn without_checks_a_new_backend_serves_at_once() {
    let mut stage = Stage::new(plain(), &["a"]);
    stage.service.add(BackendSpec::new("b"), stage.now).unwrap();
    assert_eq!(stage.serve(20, &[], &["a", "b"]), [10, 10]);
}

#[test]
fn checks_take_out_and_bring_back_and_each_change_is_told_once() {
    let mut stage = Stage::new(checked(), &["a", "b"]);
    ["a", "b"].iter().for_each(|name| stage.check(name, PASS));
    stage.heard();
    (0..2).for_each(|_| stage.check("a", REFUSED));
    assert_eq!(stage.standing("a"), Standing::Serving, "two are not three");
    (0..3).for_each(|_| stage.check("a", REFUSED));
    assert_eq!(stage.serve(20, &[], &["a", "b"]), [0, 20]);
    stage.check("a", PASS);
    assert_eq!(stage.standing("a"), Standing::Down, "one is not two");
    (0..4).for_each(|_| stage.check("a", PASS));
    assert_eq!(stage.serve(20, &[], &["a", "b"]), [10, 10]);
    let changes: Vec<_> = stage
        .heard()
        .into_iter()
        .filter(|kind| matches!(kind, EventKind::StandingChanged { .. }))
        .collect();
    let change = |from, to, reason| EventKind::StandingChanged {
        backend: id("a"),
        from,
        to,
        reason,
    };
    assert_eq!(
        changes,
        [
            change(
                Standing::Serving,
                Standing::Down,
                Reason::ChecksFailed(CheckFault::Refused)
            ),
            change(Standing::Down, Standing::Serving, Reason::ChecksPassed),
        ]
    );
}

#[test]
fn fail_closed_refuses_and_fail_open_serves_through_all_that_can() {
    for (settings, fail_open) in [(plain(), false), (open(), true)] {
        let mut stage = Stage::new(settings, &["a", "b", "c", "d"]);
        stage
            .service
            .set_admin(&id("c"), Admin::Draining, stage.now)
            .unwrap();
        stage
            .service
            .set_admin(&id("d"), Admin::Disabled, stage.now)
            .unwrap();
        stage.heard();
        stage.mark("a", false);
        stage.mark("b", false);
        stage.pass(3.0);
        if fail_open {
            assert_eq!(stage.serve(20, &[], &["a", "b", "c", "d"]), [10, 10, 0, 0]);
        } else {
            assert_eq!(stage.pick().unwrap_err(), Refusal::AllDown);
        }
        stage.mark("a", true);
        let told = stage.heard();
        let all_down: Vec<_> = told
            .iter()
            .filter(|kind| matches!(kind, EventKind::AllDown { .. }))
            .collect();
        assert_eq!(
            all_down,
            [&EventKind::AllDown {
                fail_open,
                healthy: 0,
                members: 4
            }],
            "once per episode"
        );
        assert!(
            told.contains(&EventKind::Recovered {
                after: Duration::from_secs(3)
            }),
            "{told:?}"
        );
        assert_eq!(stage.serve(20, &[], &["a", "b"]), [20, 0]);
    }
}

#[test]
fn who_returns_to_an_empty_house_is_needed_at_once() {
    let settings = plain().slow_start(Duration::from_secs(30));
    let mut stage = Stage::new(settings, &["a", "b"]);
    stage.mark("a", false);
    stage.mark("b", false);
    stage.mark("a", true);
    assert!((stage.backend("a").ramp - 1.0).abs() < 1e-6);
    stage.mark("b", true);
    assert!(
        (stage.backend("b").ramp - 0.1).abs() < 1e-6,
        "the second one warms up beside the first"
    );
    assert!(stage.serve(110, &[], &["a", "b"])[1] <= 12);
}

#[test]
fn traffic_outvotes_a_timed_out_check_and_no_other() {
    for (fault, expected) in [(TIMEOUT, Standing::Serving), (REFUSED, Standing::Down)] {
        let settings = plain().health(ActiveSettings::default().rise(2).fall(1));
        let mut stage = Stage::new(settings, &["a", "b"]);
        ["a", "b"].iter().for_each(|name| stage.check(name, PASS));
        let before = stage.pick_of("a");
        stage.pass(1.0);
        let began = stage.now;
        let during = stage.pick_of("a");
        stage.check("a", fault);
        assert_eq!(stage.standing("a"), Standing::Down);
        stage.well(before);
        stage.pass(0.1);
        assert_eq!(
            stage.standing("a"),
            Standing::Down,
            "that one set out before the check began"
        );
        assert!(during.at() >= began);
        stage.well(during);
        stage.pass(0.1);
        assert_eq!(stage.standing("a"), expected, "{fault:?}");
    }
}

#[test]
fn a_drain_ends_in_an_event_and_takes_nothing_new() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    let held = stage.pick_of("a");
    stage
        .service
        .set_admin(&id("a"), Admin::Draining, stage.now)
        .unwrap();
    stage.pass(5.0);
    assert_eq!(stage.serve(20, &[], &["a", "b"]), [0, 20]);
    let drained = EventKind::Drained { backend: id("a") };
    assert!(!stage.heard().contains(&drained));
    stage.well(held);
    stage.pass(5.0);
    let told = |stage: &Stage| {
        let heard = stage.heard();
        heard.iter().filter(|kind| **kind == drained).count()
    };
    assert_eq!(told(&stage), 1);
    let weight = Weight::new(2).unwrap();
    stage
        .service
        .set_weight(&id("a"), weight, stage.now)
        .unwrap();
    stage.pass(5.0);
    assert_eq!(told(&stage), 0, "the same drain");
    for admin in [Admin::Enabled, Admin::Draining] {
        stage.service.set_admin(&id("a"), admin, stage.now).unwrap();
    }
    stage.pass(5.0);
    assert_eq!(told(&stage), 1, "another one");
    stage
        .service
        .set_admin(&id("a"), Admin::Enabled, stage.now)
        .unwrap();
    assert_eq!(stage.serve(30, &[], &["a", "b"]), [20, 10]);
}

#[test]
fn a_verdict_by_hand_ends_in_its_time() {
    let stage = &mut Stage::new(plain(), &["a", "b"]);
    stage.pass(1.0);
    let began = stage.now;
    let until = began + Duration::from_secs(5);
    stage
        .service
        .mark(&id("a"), Some(false), Some(until), stage.now)
        .unwrap();
    stage.pass(4.9);
    assert_eq!(
        (stage.standing("a"), stage.backend("a").reason),
        (Standing::Down, Reason::ByHand)
    );
    assert_eq!(stage.backend("a").since, began);
    stage.pass(0.1);
    assert_eq!(stage.standing("a"), Standing::Serving);
    assert_eq!(stage.backend("a").since, until);
}

#[test]
fn checks_that_are_switched_off_believe_everybody() {
    let stage = Stage::new(checked(), &["a", "b"]);
    (0..3).for_each(|_| stage.check("a", REFUSED));
    assert_eq!(stage.standing("a"), Standing::Down);
    stage.service.set_settings(plain(), stage.now);
    assert_eq!(
        (stage.standing("a"), stage.standing("b")),
        (Standing::Serving, Standing::Serving)
    );
}

#[test]
fn a_check_of_a_former_member_says_nothing_of_the_present_one() {
    let mut stage = Stage::new(checked(), &["a", "b"]);
    let former = CheckReport::new(PASS, stage.now).latency(Duration::from_secs(1));
    stage.pass(1.0);
    stage.service.remove(&id("a"), stage.now).unwrap();
    stage.service.add(BackendSpec::new("a"), stage.now).unwrap();
    let unknown = Err(MembershipError::Unknown(id("a")));
    assert_eq!(stage.service.check(&id("a"), former, stage.now), unknown);
    assert_eq!(stage.standing("a"), Standing::Unproven);
}

#[test]
fn many_checks_are_one_change() {
    let stage = Stage::new(checked(), &["a", "b", "c"]);
    let names = ["a", "x", "c"].map(id);
    let report = CheckReport::new(PASS, stage.now).latency(Duration::from_millis(1));
    let reports = names.iter().map(|name| (name, report));
    assert_eq!(
        stage.service.check_many(reports, stage.now),
        2,
        "x is no member"
    );
    assert_eq!(
        ["a", "b", "c"].map(|name| stage.standing(name)),
        [Standing::Serving, Standing::Unproven, Standing::Serving]
    );
}

#[test]
fn in_a_large_service_a_check_is_published_by_a_tick_and_a_loss_asks_for_one() {
    let specs: Vec<_> = (0..257)
        .map(|at| BackendSpec::new(format!("backend-{at}")))
        .collect();
    let settings = plain().health(ActiveSettings::default().rise(1).fall(1));
    let mut stage = Stage::of(settings, specs);
    stage.check("backend-7", PASS);
    assert_eq!(
        (stage.standing("backend-7"), stage.ticks_wanted()),
        (Standing::Serving, 0),
        "whoever is proven waits for a tick that comes anyway"
    );
    assert!(
        stage.serve(257, &[], &["backend-7"])[0] <= 1,
        "pickers have the table of before"
    );
    stage.check("backend-8", PASS);
    stage.check("backend-9", PASS);
    stage.service.tick(stage.now);
    assert_eq!(
        stage.serve(30, &[], &["backend-7", "backend-8", "backend-9"]),
        [10, 10, 10],
        "only the proven serve"
    );
    // Nobody goes there but those who are proven: who never was is no loss.
    stage.check("backend-1", REFUSED);
    assert_eq!(stage.ticks_wanted(), 0);
    stage.check("backend-7", REFUSED);
    assert_eq!(stage.ticks_wanted(), 1);
    stage.check("backend-8", REFUSED);
    assert_eq!(stage.ticks_wanted(), 1, "one tick for many checks");
    stage.service.tick(stage.now);
    assert_eq!(stage.serve(20, &[], &["backend-9"]), [20]);
}

/// Whoever looked at all members before is told of those that changed since, and of nobody else.
#[test]
fn who_changed_since_a_look_is_told_by_name_where_that_is_known() {
    let mut stage = Stage::new(checked(), &["a", "b", "c"]);
    let mut since = stage.service.changes();
    let mut told = |stage: &Stage| {
        let changed = stage.service.changed(since, stage.now);
        since = stage.service.changes();
        let name = |one: BackendSnapshot| one.id.as_str().to_owned();
        changed.map(|changed| changed.into_iter().map(name).collect::<Vec<_>>())
    };
    assert_eq!(told(&stage).unwrap(), [""; 0]);
    stage.check("b", PASS);
    assert_eq!(told(&stage).unwrap(), ["b"]);
    stage.check("c", REFUSED);
    stage.check("a", PASS);
    assert_eq!(told(&stage).unwrap(), ["a", "c"]);
    assert_eq!(told(&stage).unwrap(), [""; 0]);
    // One more of the same says nothing new.
    stage.check("c", REFUSED);
    assert_eq!(told(&stage).unwrap(), [""; 0]);
    // What traffic finds is a tick's.
    for _ in 0..10 {
        let pick = stage.pick_of("b");
        stage.badly(pick);
    }
    stage.pass(0.1);
    assert_eq!(stage.standing("b"), Standing::Ejected);
    assert_eq!(told(&stage).unwrap(), ["b"]);
    // Changes that name nobody, and of who is a member.
    stage.mark("a", false);
    assert_eq!(told(&stage), None);
    assert_eq!(told(&stage).unwrap(), [""; 0]);
    stage.service.remove(&id("c"), stage.now).unwrap();
    assert_eq!(told(&stage), None);
    // What another service said, and a service that has not come so far.
    let other = Stage::new(checked(), &["a", "b", "c"]);
    let of_another = stage.service.changed(other.service.changes(), stage.now);
    assert!(of_another.is_none());
}

/// Members that begin together are proven one after another: the first of them is no better than the last.
#[test]
fn first_proofs_warm_nobody_up() {
    let settings = plain()
        .health(ActiveSettings::default())
        .slow_start(Duration::from_secs(10));
    let mut stage = Stage::new(settings, &["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        stage.check(name, CheckResult::Passed);
    }
    for name in ["a", "b", "c"] {
        assert_eq!(
            stage.backend(name).ramp.to_bits(),
            1.0_f32.to_bits(),
            "{name}"
        );
    }
    assert_eq!(stage.serve(30, &[], &["a", "b", "c"]), [10, 10, 10]);
    // One after another into an empty service, and all proven after that: the same.
    let settings = stage.service.settings();
    let mut grown = Stage::new(settings, &[]);
    let disabled = BackendSpec::new("d").admin(Admin::Disabled);
    grown.service.add(disabled, grown.now).unwrap();
    for name in ["a", "b", "c"] {
        grown
            .service
            .add(BackendSpec::new(name), grown.now)
            .unwrap();
    }
    for name in ["a", "b", "c"] {
        grown.check(name, CheckResult::Passed);
    }
    assert_eq!(grown.serve(30, &[], &["a", "b", "c"]), [10, 10, 10]);
    // Who was in maintenance from the beginning returns when it is enabled.
    grown
        .service
        .set_admin(&id("d"), Admin::Enabled, grown.now)
        .unwrap();
    grown.check("d", CheckResult::Passed);
    assert!(grown.backend("d").ramp < 0.5);
    // Who comes later warms up, and so does who was down.
    stage.service.add(BackendSpec::new("d"), stage.now).unwrap();
    stage.check("d", CheckResult::Passed);
    for _ in 0..3 {
        stage.check("a", CheckResult::Failed(CheckFault::Refused));
    }
    assert_eq!(stage.standing("a"), Standing::Down);
    stage.check("a", CheckResult::Passed);
    stage.check("a", CheckResult::Passed);
    stage.pass(0.1);
    for name in ["a", "d"] {
        let ramp = stage.backend(name).ramp;
        assert!(ramp < 0.5, "{name} begins at {ramp}");
    }
}
