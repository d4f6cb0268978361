use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_balance::backend::Admin;
use evenkeel_balance::breaker::Gate;
use evenkeel_balance::event::{EventKind, Withheld};
use evenkeel_balance::health::{CheckFault, CheckReport, CheckResult};
use evenkeel_balance::settings::{
    ActiveSettings, BreakerSettings, OnAllDown, PolicyChoice, ServiceSettings,
};
use evenkeel_balance::standing::{Reason, Standing};
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};

use crate::stage::{Stage, id, plain};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A stage on which `a` was ejected just now.
fn ejected(settings: ServiceSettings) -> Stage {
    let mut stage = Stage::new(settings, &NAMES);
    stage.serve(20, &["a"], &[]);
    stage.service.tick(stage.now);
    assert_eq!(stage.standing("a"), Standing::Ejected);
    stage.heard();
    stage
}

#[test]
fn five_failures_in_a_row_open_and_ask_for_a_tick_at_once() {
    let mut stage = Stage::new(plain(), &NAMES);
    stage.serve(16, &["a"], &[]);
    assert_eq!(stage.ticks_wanted(), 0);
    stage.serve(4, &["a"], &[]);
    assert_eq!(stage.ticks_wanted(), 1, "the fifth asks, once");
    assert_eq!(
        stage.standing("a"),
        Standing::Serving,
        "a pick never changes a standing"
    );
    stage.service.tick(stage.now);
    let told: Vec<EventKind> = stage.heard();
    let until = stage.now + Duration::from_secs(1);
    assert_eq!(
        told,
        [
            EventKind::BreakerOpened {
                backend: id("a"),
                reason: Reason::Consecutive,
                failures: 5,
                until
            },
            EventKind::StandingChanged {
                backend: id("a"),
                from: Standing::Serving,
                to: Standing::Ejected,
                reason: Reason::Consecutive
            },
        ]
    );
    assert_eq!(stage.serve(100, &[], &NAMES)[0], 0);
}

#[test]
fn a_rate_opens_and_a_row_is_not_needed() {
    let settings = plain().breaker(BreakerSettings::default().consecutive(0));
    let mut stage = Stage::new(settings, &NAMES);
    for round in 0..30 {
        let bad: &[&str] = if round % 2 == 0 { &["a"] } else { &[] };
        stage.serve(4, bad, &[]);
    }
    stage.pass(0.1);
    assert_eq!(
        (stage.standing("a"), stage.backend("a").reason),
        (Standing::Ejected, Reason::FailureRate)
    );
}

#[test]
fn slow_successes_open_where_slow_is_set() {
    let breaker = BreakerSettings::default().slow(Duration::from_millis(5));
    let mut stage = Stage::new(plain().breaker(breaker), &NAMES);
    for _ in 0..100 {
        let mut pick = stage.pick().unwrap();
        let slow = *pick.backend().id() == id("a");
        let later = stage.now + Duration::from_millis(if slow { 6 } else { 1 });
        pick.answered(Verdict::Success, later);
        pick.finish(Outcome::Completed, later);
    }
    stage.pass(0.1);
    assert_eq!(stage.backend("a").reason, Reason::SlowRate);
    assert_eq!(stage.standing("b"), Standing::Serving);
}

#[test]
fn one_trial_runs_while_the_peers_are_healthy_and_its_success_closes() {
    let mut stage = ejected(plain());
    stage.pass(0.9);
    assert_eq!(stage.standing("a"), Standing::Ejected);
    stage.pass(0.1);
    assert_eq!(stage.standing("a"), Standing::Probing);
    let trial = stage.pick().unwrap();
    assert!(
        trial.is_trial() && *trial.backend().id() == id("a"),
        "the first pick is the trial"
    );
    let others = stage.serve(60, &[], &NAMES);
    assert_eq!(others, [0, 20, 20, 20], "one trial at a time");
    stage.well(trial);
    assert_eq!(stage.standing("a"), Standing::Probing, "the tick decides");
    stage.service.tick(stage.now);
    assert_eq!(stage.standing("a"), Standing::Serving);
    assert_eq!(stage.serve(40, &[], &NAMES), [10; 4]);
    let told: Vec<_> = stage.heard();
    assert!(told.contains(&EventKind::BreakerHalfOpened {
        backend: id("a"),
        trials: 1
    }));
    assert!(told.contains(&EventKind::BreakerClosed { backend: id("a") }));
}

#[test]
fn a_failed_trial_opens_again_for_twice_as_long() {
    let mut stage = ejected(plain());
    for seconds in [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
        while stage.standing("a") != Standing::Probing {
            stage.pass(0.1);
        }
        let trial = stage.pick().unwrap();
        assert!(trial.is_trial());
        stage.badly(trial);
        assert!(
            !stage.pick().unwrap().is_trial(),
            "nothing more starts after a failed trial"
        );
        stage.service.tick(stage.now);
        assert_eq!(
            (stage.standing("a"), stage.backend("a").reason),
            (Standing::Ejected, Reason::TrialFailed)
        );
        let until = stage.backend("a").open_until.unwrap();
        assert_eq!(until, stage.now + Duration::from_secs_f64(seconds));
    }
}

#[test]
fn trials_are_bounded_and_all_must_pass() {
    let breaker = BreakerSettings::default().trials(3);
    let mut stage = ejected(plain().breaker(breaker));
    stage.pass(10.0);
    let mut trials: Vec<_> = (0..3).map(|_| stage.pick().unwrap()).collect();
    assert!(trials.iter().all(|pick| pick.is_trial()));
    assert!(!stage.pick().unwrap().is_trial(), "three at once");
    stage.well(trials.pop().unwrap());
    stage.well(trials.pop().unwrap());
    stage.pass(0.1);
    assert_eq!(stage.standing("a"), Standing::Probing, "two of three");
    drop(trials.pop());
    let again = stage.pick().unwrap();
    assert!(
        again.is_trial(),
        "a trial that was abandoned says nothing and is tried again"
    );
    let mut again = again;
    again.answered(Verdict::Neutral, stage.now);
    again.finish(Outcome::ClientLeft, stage.now);
    let last = stage.pick().unwrap();
    assert!(last.is_trial(), "a client that leaves says nothing either");
    stage.well(last);
    stage.pass(0.1);
    assert_eq!(stage.standing("a"), Standing::Serving);
}

#[test]
fn what_was_sent_before_the_breaker_opened_neither_closes_nor_keeps_it_open() {
    let mut stage = Stage::new(plain(), &NAMES);
    let early = stage.pick_of("a");
    let also = stage.pick_of("a");
    stage.serve(40, &["a"], &[]);
    stage.pass(0.1);
    assert_eq!(stage.standing("a"), Standing::Ejected);
    stage.pass(10.0);
    assert_eq!(stage.backend("a").gate, Gate::HalfOpen);
    stage.well(early);
    stage.badly(also);
    stage.pass(0.1);
    assert_eq!(
        stage.backend("a").gate,
        Gate::HalfOpen,
        "only trials decide"
    );
}

#[test]
fn a_trial_whose_body_breaks_has_failed() {
    let mut stage = ejected(plain());
    stage.pass(10.0);
    let mut trial = stage.pick().unwrap();
    trial.answered(Verdict::Success, stage.now);
    trial.finish(Outcome::Broken(Fault::Reset), stage.now);
    stage.service.tick(stage.now);
    assert_eq!(stage.backend("a").reason, Reason::TrialFailed);
}

/// A backend that begins its answers well and breaks them: so many of twenty, with so many under way at a time. Says how many it broke
/// until it was ejected, and why.
fn breaks_bodies(of_twenty: usize, under_way: usize) -> (usize, Reason) {
    let mut stage = Stage::new(plain(), &NAMES);
    let (mut bodies, mut begun, mut broken) = (VecDeque::new(), 0, 0);
    while stage.standing("a") != Standing::Ejected {
        let mut pick = stage.pick_of("a");
        pick.answered(Verdict::Success, stage.now);
        begun += 1;
        bodies.push_back((pick, begun % 20 < of_twenty));
        stage.pass(0.01);
        if bodies.len() < under_way {
            continue;
        }
        let Some((pick, breaks)) = bodies.pop_front() else {
            unreachable!("one was begun")
        };
        let outcome = match breaks {
            true => Outcome::Broken(Fault::Reset),
            false => Outcome::Completed,
        };
        pick.finish(outcome, stage.now);
        broken += usize::from(breaks);
        assert!(broken < 200, "{of_twenty} of 20, {under_way} under way");
        stage.service.tick(stage.now);
    }
    (broken, stage.backend("a").reason)
}

#[test]
fn who_breaks_bodies_goes_as_who_answers_badly_does() {
    let in_a_row = (5, Reason::Consecutive);
    assert_eq!(breaks_bodies(20, 1), in_a_row, "each");
    assert_eq!(breaks_bodies(20, 10), in_a_row, "each, ten under way");
    assert_eq!(breaks_bodies(19, 1), in_a_row, "nearly each");
    assert_eq!(
        breaks_bodies(19, 10),
        in_a_row,
        "nearly each, ten under way"
    );
    // Every other one: bodies under way are no successes.
    for under_way in [1, 10] {
        let settings = BreakerSettings::default().consecutive(0);
        let mut stage = Stage::new(plain().breaker(settings), &NAMES);
        let mut bodies = VecDeque::new();
        for turn in 0..20 + under_way {
            let mut pick = stage.pick_of("a");
            pick.answered(Verdict::Success, stage.now);
            bodies.push_back(pick);
            if turn < under_way {
                continue;
            }
            stage.pass(0.01);
            assert_eq!(stage.standing("a"), Standing::Serving, "{turn}");
            let outcome = match turn % 2 {
                0 => Outcome::Completed,
                _ => Outcome::Broken(Fault::Reset),
            };
            bodies.pop_front().unwrap().finish(outcome, stage.now);
        }
        stage.pass(0.1);
        assert_eq!(stage.backend("a").reason, Reason::FailureRate);
    }
}

#[test]
fn never_more_than_half_are_out_and_the_worst_go_first() {
    let mut stage = Stage::new(plain(), &["a", "b", "c", "d", "e", "f", "g", "h"]);
    stage.mark("h", false);
    // a and b fail always, c and d in fives of six; f and g are fine: the median is healthy.
    for round in 0..12 {
        let bad: &[&str] = if round % 6 == 0 {
            &["a", "b"]
        } else {
            &["a", "b", "c"]
        };
        stage.serve(7, bad, &[]);
    }
    stage.pass(0.1);
    assert_eq!(
        [
            stage.standing("a"),
            stage.standing("b"),
            stage.standing("c")
        ],
        [Standing::Ejected; 3],
        "with h, that is half"
    );
    stage.heard();
    stage.serve(40, &["d"], &[]);
    stage.pass(1.0);
    assert_eq!(
        stage.standing("d"),
        Standing::Serving,
        "down and open ones both count"
    );
    let withheld: Vec<_> = stage
        .heard()
        .into_iter()
        .filter(|kind| matches!(kind, EventKind::BreakerWithheld { .. }))
        .collect();
    assert_eq!(
        withheld,
        [EventKind::BreakerWithheld {
            backend: id("d"),
            why: Withheld::Cap
        }],
        "told once"
    );
}

#[test]
fn one_of_two_may_go_and_one_of_one_may_not() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage.serve(20, &["a"], &[]);
    stage.pass(0.1);
    assert_eq!(
        (stage.standing("a"), stage.standing("b")),
        (Standing::Ejected, Standing::Serving)
    );
    stage.serve(20, &["b"], &[]);
    stage.pass(0.1);
    assert_eq!(stage.standing("b"), Standing::Serving);

    let mut alone = Stage::new(plain(), &["a"]);
    alone.serve(100, &["a"], &[]);
    alone.pass(0.1);
    assert_eq!(alone.standing("a"), Standing::Serving);
}

#[test]
fn when_everybody_fails_nobody_is_ejected() {
    for policy in [
        PolicyChoice::RoundRobin,
        PolicyChoice::Adaptive,
        PolicyChoice::PowerOfTwo,
    ] {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let mut stage = Stage::new(plain().policy(policy), &names);
        stage.serve(1000, &[], &[]);
        stage.pass(1.0);
        let mut ejected = 0;
        for _ in 0..50 {
            let before = stage.ticks_wanted();
            stage.serve(10, &names, &[]);
            if stage.ticks_wanted() > before {
                stage.service.tick(stage.now);
            }
            stage.pass(0.1);
            ejected = names
                .iter()
                .filter(|name| stage.standing(name) == Standing::Ejected)
                .count();
        }
        assert!(
            ejected <= 2,
            "{ejected} of 10 are ejected in an outage of what they all depend on"
        );
    }
}

#[test]
fn a_backend_that_returns_warms_up() {
    let mut stage = ejected(plain().slow_start(Duration::from_secs(10)));
    stage.pass(10.0);
    let trial = stage.pick().unwrap();
    stage.well(trial);
    stage.service.tick(stage.now);
    assert!((stage.backend("a").ramp - 0.1).abs() < 1e-6);
    let share = stage.serve(310, &[], &NAMES)[0];
    assert!(
        (8..=12).contains(&share),
        "a tenth of a share of 100, not {share}"
    );
    stage.pass(5.0);
    let share = stage.serve(350, &[], &NAMES)[0];
    assert!(
        (48..=52).contains(&share),
        "half of a share of 100, not {share}"
    );
    stage.pass(5.1);
    assert_eq!(stage.serve(400, &[], &NAMES), [100; 4]);
}

/// Who was away for less than slow start lasts has lost no more of it, unless it could not be connected to: it may have begun anew.
#[test]
fn who_was_away_for_a_moment_is_warm() {
    let ramp = |faults: &[Fault], away: f64| {
        let mut stage = Stage::new(plain().slow_start(Duration::from_secs(10)), &NAMES);
        stage.pass(60.0);
        stage.serve(40, &[], &NAMES);
        for fault in faults {
            let mut pick = stage.pick_of("a");
            pick.answered(Verdict::Failure(*fault), stage.now);
            drop(pick);
        }
        stage.pass(0.1);
        assert_eq!(stage.standing("a"), Standing::Ejected);
        stage.pass(away);
        let trial = stage.pick().unwrap();
        assert!(trial.is_trial());
        stage.well(trial);
        stage.service.tick(stage.now);
        stage.backend("a").ramp
    };
    for (away, expected) in [(1.0, 0.9), (4.0, 0.6), (9.0, 0.1), (60.0, 0.1)] {
        let began = ramp(&[Fault::Timeout; 5], away);
        assert!((began - expected).abs() < 0.02, "{away}: {began}");
        let anew = [&[Fault::Connect] as &[Fault], &[Fault::Timeout; 4]].concat();
        let began = ramp(&anew, away);
        assert!(
            (began - 0.1).abs() < 0.02,
            "{away}, not connected to: {began}"
        );
    }
}

/// The same of who checks have out; by what a check was refused it may have begun anew, too, and what is said by hand may be maintenance.
#[test]
fn who_checks_had_out_for_a_moment_is_warm() {
    let ramp = |fault: CheckFault, by_hand: bool| {
        let mut stage = Stage::new(
            plain()
                .slow_start(Duration::from_secs(10))
                .health(ActiveSettings::default().rise(1).fall(1)),
            &NAMES,
        );
        let check = |stage: &Stage, name: &str, result| {
            let report = CheckReport::new(result, stage.now);
            stage.service.check(&id(name), report, stage.now).unwrap();
        };
        for name in NAMES {
            check(&stage, name, CheckResult::Passed);
        }
        stage.pass(60.0);
        match by_hand {
            true => stage.mark("a", false),
            false => check(&stage, "a", CheckResult::Failed(fault)),
        }
        assert_eq!(stage.standing("a"), Standing::Down);
        stage.pass(2.0);
        match by_hand {
            true => stage.mark("a", true),
            false => check(&stage, "a", CheckResult::Passed),
        }
        assert_eq!(stage.standing("a"), Standing::Serving);
        stage.backend("a").ramp
    };
    for (fault, by_hand, expected) in [
        (CheckFault::Status(503), false, 0.8),
        (CheckFault::Timeout, false, 0.8),
        (CheckFault::Refused, false, 0.1),
        (CheckFault::Timeout, true, 0.1),
    ] {
        let began = ramp(fault, by_hand);
        assert!(
            (began - expected).abs() < 0.02,
            "{fault:?} {by_hand}: {began}"
        );
    }
}

/// Where all were down and served all the same, each failed long before its checks passed again: none is ejected for that as it returns.
#[test]
fn who_checks_bring_back_is_judged_anew() {
    let mut stage = Stage::new(
        plain()
            .health(ActiveSettings::default().rise(1).fall(1))
            .on_all_down(OnAllDown::FailOpen),
        &NAMES,
    );
    let check = |stage: &Stage, name: &str, result| {
        let report = CheckReport::new(result, stage.now);
        stage.service.check(&id(name), report, stage.now).unwrap();
    };
    for name in NAMES {
        check(&stage, name, CheckResult::Passed);
    }
    for name in NAMES {
        check(&stage, name, CheckResult::Failed(CheckFault::Refused));
    }
    stage.serve(80, &NAMES, &[]);
    for _ in 0..110 {
        stage.pass(0.1);
    }
    for (at, name) in NAMES.iter().enumerate() {
        check(&stage, name, CheckResult::Passed);
        stage.pass(0.1);
        for back in &NAMES[..=at] {
            assert_eq!(
                stage.standing(back),
                Standing::Serving,
                "{back}, with {name}"
            );
        }
        stage.serve(20, &[], &[]);
    }
}

#[test]
fn switched_off_it_lets_everybody_go() {
    let mut stage = ejected(plain());
    stage.service.set_settings(plain().breaker(None), stage.now);
    assert_eq!(stage.standing("a"), Standing::Serving);
    stage.serve(100, &["a"], &[]);
    stage.pass(1.0);
    assert_eq!(stage.standing("a"), Standing::Serving);
}

#[test]
fn too_much_to_do_counts_for_the_rate_and_not_as_a_row() {
    let mut stage = Stage::new(plain(), &NAMES);
    let overload = |stage: &mut Stage| {
        for _ in 0..40 {
            let mut pick = stage.pick().unwrap();
            let verdict = if *pick.backend().id() == id("a") {
                Verdict::Failure(Fault::Overloaded { retry_after: None })
            } else {
                Verdict::Success
            };
            pick.answered(verdict, stage.now);
            pick.finish(Outcome::Completed, stage.now);
        }
        stage.pass(0.1);
    };
    overload(&mut stage);
    assert_eq!(
        (stage.backend("a").consecutive_failures, stage.standing("a")),
        (0, Standing::Serving),
        "10 are too few for a rate"
    );
    overload(&mut stage);
    assert_eq!(stage.backend("a").reason, Reason::FailureRate);
}

/// A backend that may not be ejected is told of once for each time that it fails, not once in its life.
#[test]
fn what_is_withheld_is_told_again_in_the_next_episode() {
    let mut stage = Stage::new(plain(), &["a"]);
    let withheld = |stage: &Stage| {
        let told = |kind: &EventKind| matches!(kind, EventKind::BreakerWithheld { .. });
        stage.heard().iter().filter(|kind| told(kind)).count()
    };
    for _ in 0..3 {
        stage.serve(10, &["a"], &[]);
        stage.pass(1.0);
        stage.serve(5, &["a"], &[]);
        stage.pass(1.0);
        assert_eq!(withheld(&stage), 1);
        stage.serve(100, &[], &[]);
        stage.pass(100.0);
        assert_eq!(withheld(&stage), 0);
    }
}

/// The worst go first where not all may: the longest row, then the highest rate.
#[test]
fn where_one_may_go_it_is_the_worst() {
    let one_of_four = BreakerSettings::default().cap(0.25);
    let by_rate = one_of_four.consecutive(0);
    let row = |name: &'static str, well: usize, badly: usize| (name, well, badly);
    let cases = [
        (one_of_four, [row("a", 0, 6), row("b", 0, 9)], "b"),
        (one_of_four, [row("a", 0, 9), row("b", 0, 6)], "a"),
        (by_rate, [row("a", 19, 21), row("b", 1, 21)], "b"),
        (by_rate, [row("a", 1, 21), row("b", 19, 21)], "a"),
    ];
    for (breaker, rows, worst) in cases {
        let breaker = Some(breaker);
        let mut stage = Stage::new(plain().breaker(breaker), &NAMES);
        for (name, well, badly) in rows {
            for turn in 0..well + badly {
                let subset = [id(name)];
                let ask = stage.ask().subset(&subset);
                let pick = stage.service.pick(&ask, stage.now).unwrap();
                if turn < well {
                    stage.well(pick);
                } else {
                    stage.badly(pick);
                }
            }
        }
        stage.pass(0.1);
        for name in NAMES {
            let out = stage.standing(name) == Standing::Ejected;
            assert_eq!(out, name == worst, "{rows:?}: {name}");
        }
    }
}

/// Nobody may wait for ever for an answer that does not come; one that does come still counts. Each is somebody's request: for a window
/// there is one.
#[test]
fn a_trial_that_hangs_is_made_again_after_a_window() {
    let mut stage = ejected(plain());
    stage.pass(1.0);
    let hanging = stage.pick_of("a");
    assert!(hanging.is_trial());
    stage.pass(9.9);
    assert_eq!(stage.serve(30, &[], &NAMES)[0], 0);
    stage.pass(0.1);
    let second = stage.pick_of("a");
    assert!(second.is_trial());
    assert_eq!(stage.serve(30, &[], &NAMES)[0], 0, "one more, not many");
    stage.well(hanging);
    stage.pass(0.1);
    assert_eq!(stage.standing("a"), Standing::Serving);
    stage.badly(second);
    stage.pass(0.1);
    assert_eq!(stage.standing("a"), Standing::Serving, "it came too late");
}

/// Waiting for traffic is not hanging: however long nobody came, the trials are as many as before.
#[test]
fn trials_that_nobody_took_do_not_add_up() {
    let mut stage = ejected(plain());
    for _ in 0..20 {
        stage.pass(10.0);
    }
    assert_eq!(stage.standing("a"), Standing::Probing);
    let trial = stage.pick_of("a");
    assert_eq!(stage.serve(30, &[], &NAMES)[0], 0, "one at a time");
    // Each that hangs is waited for twice as long as the one before.
    let mut asked = 0;
    let mut hanging = vec![trial];
    for _ in 0..3600 {
        stage.pass(1.0);
        for pick in [0; 4].map(|_| stage.pick().unwrap()) {
            if pick.is_trial() {
                asked += 1;
                hanging.push(pick);
            } else {
                stage.well(pick);
            }
        }
    }
    assert!(
        (50..=70).contains(&asked),
        "{asked} trials in an hour, one in `open_max` in the end"
    );
}

/// A verdict by hand and a backend that comes back from maintenance start anew: nothing of before counts.
#[test]
fn a_breaker_closes_by_hand() {
    let mark = |stage: &mut Stage| stage.mark("a", true);
    let repair = |stage: &mut Stage| {
        for admin in [Admin::Disabled, Admin::Enabled] {
            stage.service.set_admin(&id("a"), admin, stage.now).unwrap();
        }
    };
    let by_hand: [fn(&mut Stage); 2] = [mark, repair];
    for close in by_hand {
        let mut stage = ejected(plain());
        stage.pass(3.0);
        close(&mut stage);
        assert_eq!(stage.standing("a"), Standing::Serving);
        let closed = EventKind::BreakerClosed { backend: id("a") };
        assert!(stage.heard().contains(&closed));
        // Neither the row of five is held against it, nor the window, with which these would be 20 verdicts.
        for _ in 0..3 {
            for _ in 0..4 {
                let pick = stage.pick_of("a");
                stage.badly(pick);
            }
            stage.pass(0.1);
            assert_eq!(stage.standing("a"), Standing::Serving);
            let pick = stage.pick_of("a");
            stage.well(pick);
        }
        stage.pass(0.1);
        assert_eq!(stage.standing("a"), Standing::Serving);
        stage.pass(60.0);
        assert_eq!(stage.standing("a"), Standing::Serving, "no trials either");
    }
}
