use std::sync::Arc;

use evenkeel_balance::ask::{Ask, Tried};
use evenkeel_balance::backend::{Admin, BackendId, BackendSpec, Weight};
use evenkeel_balance::eligibility::Bar;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::policy::{Candidates, Policy};
use evenkeel_balance::settings::PolicyChoice;
use evenkeel_balance::standing::Standing;

use crate::stage::{Stage, id, plain};

#[test]
fn it_names_whom_the_pick_takes_and_changes_nothing() {
    for policy in PolicyChoice::BUILT_IN {
        let name = policy.name().to_owned();
        let specs = (0..100).map(|at| {
            BackendSpec::new(format!("backend-{at}"))
                .weight(Weight::new(at % 4).unwrap())
                .max_in_flight(at)
        });
        let mut stage = Stage::of(plain().policy(policy), specs.collect());
        stage.mark("backend-7", false);
        let mut held = Vec::new();
        for round in 0..1000 {
            let ask = stage.ask();
            let [first, second] = [(); 2].map(|()| stage.service.explain(&ask, stage.now));
            assert_eq!(
                first.result, second.result,
                "{name}: explaining turns nothing"
            );
            let pick = stage.service.pick(&ask, stage.now);
            assert_eq!(
                first.result,
                pick.as_ref()
                    .map(|pick| pick.backend().id().clone())
                    .map_err(|refusal| *refusal),
                "{name}, ask {round}"
            );
            held.extend(pick);
            if round % 3 == 0 && !held.is_empty() {
                let done = held.swap_remove(round % held.len());
                stage.well(done);
            }
        }
    }
}

/// A worker's own turns are not those of others; and of many it looks at some, among them who is picked.
#[test]
fn a_worker_explains_its_own_next_pick() {
    for policy in PolicyChoice::BUILT_IN {
        let name = policy.name().to_owned();
        let specs = (0..100).map(|at| {
            BackendSpec::new(format!("backend-{at}")).weight(Weight::new(1 + at % 3).unwrap())
        });
        let mut stage = Stage::of(plain().policy(policy), specs.collect());
        let handles = [3, 40].map(|seed| stage.service.handle(seed));
        let mut held = Vec::new();
        for round in 0..300 {
            let handle = &handles[round % 2];
            let ask = stage.ask();
            let most = [usize::MAX, 100, 16, 1][round % 4];
            let explained = handle.explain(&ask, most, stage.now);
            let pick = handle.pick(&ask, stage.now).unwrap();
            let id = pick.backend().id();
            assert_eq!(explained.result.as_ref(), Ok(id), "{name}, ask {round}");
            assert_eq!(explained.members, 100);
            let shown: Vec<_> = explained.candidates.iter().map(|one| &one.id).collect();
            assert_eq!(shown.len(), most.min(100));
            assert!(shown.contains(&id), "{name}: {id} of {shown:?}");
            held.push(pick);
        }
    }
}

#[test]
fn everybody_who_is_passed_over_has_a_reason() {
    let specs = vec![
        BackendSpec::new("down"),
        BackendSpec::new("draining").admin(Admin::Draining),
        BackendSpec::new("disabled").admin(Admin::Disabled),
        BackendSpec::new("weightless").weight(Weight::ZERO),
        BackendSpec::new("full").max_in_flight(1),
        BackendSpec::new("outside"),
        BackendSpec::new("tried"),
        BackendSpec::new("free"),
    ];
    let mut stage = Stage::of(plain(), specs);
    stage.mark("down", false);
    let full = stage.pick_of("full");
    let tried = stage.pick_of("tried");
    let mut seen = Tried::default();
    seen.insert(tried.backend());
    let subset = [
        "down",
        "draining",
        "disabled",
        "weightless",
        "full",
        "tried",
        "free",
    ]
    .map(id);
    let ask = stage.ask();
    let explanation = stage
        .service
        .explain(&ask.tried(&seen).subset(&subset), stage.now);
    let bars: Vec<_> = explanation
        .candidates
        .iter()
        .map(|candidate| candidate.bar)
        .collect();
    let expected = [
        Some(Bar::Standing(Standing::Down)),
        Some(Bar::Standing(Standing::Draining)),
        Some(Bar::Standing(Standing::Disabled)),
        Some(Bar::ZeroWeight),
        Some(Bar::Full),
        Some(Bar::NotInSubset),
        Some(Bar::Tried),
        None,
    ];
    assert_eq!(bars, expected);
    assert_eq!(explanation.result, Ok(id("free")));
    assert_eq!(&*explanation.policy, "round_robin");
    drop((full, tried));
}

#[test]
fn a_trial_is_told_and_not_taken() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage.serve(20, &["a"], &[]);
    stage.pass(10.2);
    assert_eq!(stage.standing("a"), Standing::Probing);
    for _ in 0..3 {
        let ask = stage.ask();
        let explanation = stage.service.explain(&ask, stage.now);
        assert_eq!((explanation.result, explanation.trial), (Ok(id("a")), true));
    }
    let trial = stage.pick().unwrap();
    let ask = stage.ask();
    let explanation = stage.service.explain(&ask, stage.now);
    assert_eq!(explanation.result, Ok(id("b")));
    assert_eq!(explanation.candidates[0].bar, Some(Bar::NoTrialLeft));
    stage.well(trial);
}

/// Chooses whom it is told to, or nobody.
struct Only(Option<usize>);

impl Policy for Only {
    fn name(&self) -> &'static str {
        "only"
    }

    fn choose(&self, _: &Candidates<'_>, _: &Ask<'_>) -> Option<usize> {
        self.0
    }
}

#[test]
fn a_refusal_is_explained_like_a_pick() {
    #[track_caller]
    fn check(stage: &mut Stage, tried: &Tried, subset: &[BackendId], expect: Refusal) {
        let ask = stage.ask().tried(tried).subset(subset);
        let counted = |stage: &Stage| Refusal::ALL.map(|no| stage.service.refusals(no));
        let before = counted(stage);
        let explained = stage.service.explain(&ask, stage.now).result;
        assert_eq!(explained, Err(expect));
        assert_eq!(counted(stage), before, "explaining counts nothing");
        let picked = stage.service.pick(&ask, stage.now);
        assert_eq!(picked.unwrap_err(), expect);
    }
    let custom = |only| plain().policy(PolicyChoice::Custom(Arc::new(Only(only))));
    let (both, nobody) = ([id("a"), id("b")], Tried::default());
    let names = ["a", "b"];

    let mut stage = Stage::new(plain(), &[]);
    check(&mut stage, &nobody, &both, Refusal::NoBackends);
    let mut stage = Stage::new(plain(), &names);
    check(&mut stage, &nobody, &[id("c")], Refusal::NoBackends);

    let mut tried = Tried::default();
    let picks = [stage.pick().unwrap(), stage.pick().unwrap()];
    picks.iter().for_each(|pick| tried.insert(pick.backend()));
    check(&mut stage, &tried, &both, Refusal::AllTried);
    drop(picks);

    names.iter().for_each(|name| stage.mark(name, false));
    check(&mut stage, &nobody, &both, Refusal::AllDown);

    let limited = names.map(|name| BackendSpec::new(name).max_in_flight(1));
    let mut stage = Stage::of(plain(), limited.into());
    let picks = [stage.pick().unwrap(), stage.pick().unwrap()];
    check(&mut stage, &nobody, &both, Refusal::AllFull);
    drop(picks);

    // Of the program's own policy: nobody is its choice, unless there is no room for a choice of it.
    let mut stage = Stage::new(custom(None), &names);
    check(&mut stage, &nobody, &both, Refusal::Declined);
    let mut stage = Stage::new(custom(Some(0)).max_in_flight(1), &names);
    let _held = stage.pick().unwrap();
    check(&mut stage, &nobody, &both, Refusal::AllFull);
}
