use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::Backend;
use evenkeel_balance::event::EventKind;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::policy::{Candidates, Policy};
use evenkeel_balance::settings::{PolicyChoice, ServiceSettings};
use evenkeel_balance::verdict::{Outcome, Verdict};

use crate::stage::{Stage, plain};

/// Always the last candidate; misbehaves as told from its tenth choice on.
#[derive(Default)]
struct Last {
    misbehave: Option<Misbehave>,
    choices: AtomicU32,
    hooks: [AtomicU32; 3],
}

#[derive(Clone, Copy, PartialEq)]
enum Misbehave {
    Panic,
    OutOfRange,
    Barred,
    PanicInHook,
}

impl Policy for Last {
    fn name(&self) -> &'static str {
        "last"
    }

    fn choose(&self, view: &Candidates<'_>, _ask: &Ask<'_>) -> Option<usize> {
        let late = self.choices.fetch_add(1, Ordering::Relaxed) >= 10;
        match self.misbehave.filter(|_| late) {
            Some(Misbehave::Panic) => unreachable!("on purpose"),
            Some(Misbehave::OutOfRange) => Some(view.len()),
            Some(Misbehave::Barred) => (0..view.len()).find(|&index| !view.may(index)),
            Some(Misbehave::PanicInHook) | None => view.iter().last(),
        }
    }

    fn picked(&self, _backend: &Backend, _ask: &Ask<'_>) {
        self.hooks[0].fetch_add(1, Ordering::Relaxed);
    }

    fn answered(&self, _backend: &Backend, _verdict: Verdict, _latency: Duration) {
        self.hooks[1].fetch_add(1, Ordering::Relaxed);
        assert!(self.misbehave != Some(Misbehave::PanicInHook), "on purpose");
    }

    fn finished(&self, _backend: &Backend, _outcome: Option<Outcome>) {
        self.hooks[2].fetch_add(1, Ordering::Relaxed);
    }
}

fn stage(policy: Last) -> (Stage, Arc<Last>) {
    let policy = Arc::new(policy);
    let stage = Stage::new(
        plain().policy(PolicyChoice::Custom(policy.clone())),
        &["a", "b", "c"],
    );
    (stage, policy)
}

fn last_failed() -> EventKind {
    EventKind::PolicyFailed {
        policy: "last".into(),
    }
}

#[test]
fn it_chooses_and_its_hooks_hear_everything() {
    let (mut stage, policy) = stage(Last::default());
    assert_eq!(stage.serve(30, &[], &["a", "b", "c"]), [0, 0, 30]);
    drop(stage.pick().unwrap());
    assert_eq!(
        policy
            .hooks
            .each_ref()
            .map(|hook| hook.load(Ordering::Relaxed)),
        [31, 30, 31]
    );
    assert_eq!(&*stage.service.snapshot(stage.now).policy, "last");
    assert_eq!(stage.heard(), []);
}

#[test]
fn one_that_misbehaves_is_replaced_by_round_robin_and_reported_once() {
    for misbehave in [Misbehave::Panic, Misbehave::OutOfRange] {
        let (mut stage, _) = stage(Last {
            misbehave: Some(misbehave),
            ..Last::default()
        });
        assert_eq!(stage.serve(10, &[], &["a", "b", "c"]), [0, 0, 10]);
        assert_eq!(
            stage.serve(30, &[], &["a", "b", "c"]),
            [10, 10, 10],
            "no exchange is lost"
        );
        stage.pass(1.0);
        assert_eq!(stage.heard(), [last_failed()]);
        stage.service.laws().unwrap();
    }
}

#[test]
fn one_that_names_a_barred_backend_is_replaced_too() {
    let (mut stage, _) = stage(Last {
        misbehave: Some(Misbehave::Barred),
        ..Last::default()
    });
    stage.serve(9, &[], &[]);
    let mut tried = evenkeel_balance::ask::Tried::default();
    let first = stage.pick_of("c");
    tried.insert(first.backend());
    let ask = stage.ask();
    let pick = stage.service.pick(&ask.tried(&tried), stage.now).unwrap();
    assert_ne!(pick.backend().id().as_str(), "c");
    assert_eq!(stage.heard(), [last_failed()]);
}

#[test]
fn a_hook_that_panics_is_the_end_of_the_policy_and_of_no_pick() {
    let (mut stage, _) = stage(Last {
        misbehave: Some(Misbehave::PanicInHook),
        ..Last::default()
    });
    assert_eq!(stage.serve(31, &[], &["a", "b", "c"]), [10, 10, 11]);
    assert_eq!(stage.heard(), [last_failed()]);
    stage.service.laws().unwrap();
}

#[test]
fn new_settings_give_it_another_chance() {
    let (mut stage, policy) = stage(Last {
        misbehave: Some(Misbehave::Panic),
        ..Last::default()
    });
    stage.serve(20, &[], &[]);
    policy.choices.store(0, Ordering::Relaxed);
    let settings = stage.service.settings();
    stage.service.set_settings(settings, stage.now);
    assert_eq!(stage.serve(10, &[], &["a", "b", "c"]), [0, 0, 10]);
}

/// Its name is its own code too: a panic there goes no further than one in a hook.
#[test]
fn a_name_that_panics_reaches_nobody_who_finishes_a_pick() {
    #[derive(Default)]
    struct Nameless(AtomicU32);
    impl Policy for Nameless {
        fn name(&self) -> &str {
            // It is asked once when the service begins.
            assert_eq!(self.0.load(Ordering::Relaxed), 0, "a name that panics");
            "nameless"
        }
        fn choose(&self, _: &Candidates<'_>, _: &Ask<'_>) -> Option<usize> {
            Some(0)
        }
        fn finished(&self, _: &Backend, _: Option<Outcome>) {
            self.0.store(1, Ordering::Relaxed);
            assert_eq!(self.0.load(Ordering::Relaxed), 0, "a hook that panics");
        }
    }
    let settings =
        ServiceSettings::with_policy(PolicyChoice::Custom(Arc::new(Nameless::default())));
    let mut stage = Stage::new(settings, &["a", "b"]);
    let pick = stage.pick().unwrap();
    stage.well(pick);
    let failed = EventKind::PolicyFailed {
        policy: "custom".into(),
    };
    assert_eq!(stage.heard(), [failed]);
    stage.service.laws().unwrap();
}

/// Explaining reports nothing and takes nothing away: the next pick does, when it finds the same.
#[test]
fn explaining_ends_no_policy() {
    let (mut stage, policy) = stage(Last {
        misbehave: Some(Misbehave::Panic),
        ..Last::default()
    });
    policy.choices.store(100, Ordering::Relaxed);
    let ask = stage.ask();
    let explained = stage.service.explain(&ask, stage.now);
    assert!(explained.result.is_ok(), "the stand-in's choice");
    assert_eq!(stage.heard(), []);
    policy.choices.store(0, Ordering::Relaxed);
    assert_eq!(stage.serve(5, &[], &["a", "b", "c"]), [0, 0, 5]);
}

/// A policy may refuse; who asks is told that it was the policy, as long as somebody may be picked.
#[test]
fn one_that_chooses_nobody_declines() {
    struct Nobody;
    impl Policy for Nobody {
        fn name(&self) -> &'static str {
            "nobody"
        }
        fn choose(&self, _: &Candidates<'_>, _: &Ask<'_>) -> Option<usize> {
            None
        }
    }
    let settings = ServiceSettings::with_policy(PolicyChoice::Custom(Arc::new(Nobody)));
    let mut stage = Stage::new(settings, &["a", "b"]);
    assert_eq!(stage.pick().unwrap_err(), Refusal::Declined);
    stage.mark("a", false);
    stage.mark("b", false);
    assert_eq!(stage.pick().unwrap_err(), Refusal::AllDown);
    assert_eq!(stage.service.refusals(Refusal::Declined), 1);
}
