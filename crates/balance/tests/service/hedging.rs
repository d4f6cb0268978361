use std::num::NonZeroU32;
use std::time::Duration;

use evenkeel_balance::ask::{Ask, Tried};
use evenkeel_balance::backend::{Backend, BackendSpec};
use evenkeel_balance::hedge::{HedgeAt, HedgeSettings, NoHedge, Quantile, Slow};
use evenkeel_balance::pick::Pick;
use evenkeel_balance::queue::Entry;
use evenkeel_balance::settings::{
    AdaptiveLimit, PolicyChoice, QueueSettings, ServiceSettings, ZoneSettings,
};
use evenkeel_balance::verdict::{Outcome, Verdict};
use evenkeel_balance::zone::Zone;

use crate::stage::{Stage, id, plain};

const SLOW: Slow = Slow {
    idempotent: true,
    replayable: true,
    made: 1,
    excused: 0,
    deadline_left: None,
    keeps: false,
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn hedged(most_permille: u32) -> ServiceSettings {
    let at = HedgeAt::After(ms(10));
    plain().hedge(HedgeSettings::at(at).most_permille(most_permille))
}

/// A stage on which a hundred exchanges were served and counted.
fn warm(settings: ServiceSettings, names: &[&str]) -> Stage {
    let mut stage = Stage::new(settings, names);
    stage.serve(100, &[], &[]);
    stage.service.tick(stage.now);
    stage
}

/// A second pick beside one that is under way.
fn hedge(stage: &mut Stage, first: &Pick) -> Result<Pick, NoHedge> {
    let mut tried = Tried::default();
    tried.insert(first.backend());
    let ask = stage.ask();
    let ask = Ask::new(ask.chance).tried(&tried);
    stage.service.hedge(&SLOW, &ask, stage.now)
}

#[test]
fn a_second_pick_is_of_another_backend_and_is_paid_for_twice() {
    let mut stage = warm(hedged(20), &["a", "b"]);
    let before = stage.service.snapshot(stage.now);
    assert_eq!((before.hedge_budget, before.retry_budget), (Some(2), 50));
    let first = stage.pick().unwrap();
    let second = hedge(&mut stage, &first).unwrap();
    assert_ne!(first.backend().id(), second.backend().id());
    let after = stage.service.snapshot(stage.now);
    assert_eq!((after.hedge_budget, after.retry_budget), (Some(1), 49));
    second.finish(Outcome::Outrun, stage.now);
    let third = hedge(&mut stage, &first).unwrap();
    assert_eq!(
        hedge(&mut stage, &first).err(),
        Some(NoHedge::BudgetExhausted)
    );
    drop((first, third));
    stage.service.laws().unwrap();
}

/// Hedges are picks that no exchange asked for: they earn nothing.
#[test]
fn hedges_earn_neither_hedges_nor_retries() {
    let mut stage = warm(hedged(1000), &["a", "b"]);
    let earned = |stage: &Stage| {
        let now = stage.service.snapshot(stage.now);
        (now.hedge_budget.unwrap(), now.retry_budget)
    };
    for _ in 0..40 {
        let first = stage.pick().unwrap();
        let second = hedge(&mut stage, &first).unwrap();
        stage.well(second);
        first.finish(Outcome::Outrun, stage.now);
    }
    assert_eq!(earned(&stage), (60, 10));
    stage.service.tick(stage.now);
    assert_eq!(
        earned(&stage),
        (100, 18),
        "forty exchanges, and a fifth of them"
    );
}

#[test]
fn nobody_else_costs_nothing() {
    let mut stage = warm(hedged(20), &["a"]);
    let first = stage.pick().unwrap();
    assert_eq!(hedge(&mut stage, &first).err(), Some(NoHedge::NoOther));
    let now = stage.service.snapshot(stage.now);
    assert_eq!((now.hedge_budget, now.retry_budget), (Some(2), 50));
    // It is no pick that was refused.
    assert_eq!(
        stage
            .service
            .refusals(evenkeel_balance::pick::Refusal::AllTried),
        0
    );
    drop(first);
    // And earns no less: what was given back was none. Fifty exchanges are as few as earn one.
    stage.serve(49, &[], &[]);
    stage.service.tick(stage.now);
    let now = stage.service.snapshot(stage.now);
    assert_eq!(now.hedge_budget, Some(3));
}

/// A client that is to be kept where it is answered is not taken to a lower tier, or to another zone, for being slow once: neither by a
/// service nor by a worker's handle. Whoever is kept nowhere is.
#[test]
fn who_is_to_be_kept_is_hedged_where_it_belongs() {
    let of = |tier: u16, zone: &'static str, id: &'static str| {
        let spec = BackendSpec::new(id).tier(tier);
        if zone.is_empty() {
            spec
        } else {
            spec.zone(zone)
        }
    };
    // The third is where the first belongs.
    let tiers = [of(0, "", "a"), of(1, "", "b"), of(0, "", "c")];
    let zones = [("here", "a"), ("there", "b"), ("here", "c")];
    let zones = zones.map(|(zone, id)| of(0, zone, id));
    let near = ZoneSettings::default().local(Zone::from("here"));
    for (settings, backends) in [
        (hedged(1000), &tiers),
        (hedged(1000).zones(near.clone()), &zones),
    ] {
        for beside in [None, Some("c")] {
            let count = 2 + usize::from(beside.is_some());
            let mut stage = Stage::of(settings.clone(), backends[..count].to_vec());
            stage.serve(100, &[], &[]);
            stage.service.tick(stage.now);
            let earned = |stage: &Stage| {
                let now = stage.service.snapshot(stage.now);
                (now.hedge_budget, now.retry_budget)
            };
            let first = stage.pick_of("a");
            let mut tried = Tried::default();
            tried.insert(first.backend());
            let ask = Ask::new(stage.ask().chance).tried(&tried);
            let slow = Slow {
                keeps: true,
                ..SLOW
            };
            let (before, worker) = (earned(&stage), stage.service.handle(7));
            let name = |backend: &Backend| backend.id().as_str().to_owned();
            let expect = beside.map(str::to_owned).ok_or(NoHedge::NoOther);
            let second = stage.service.hedge(&slow, &ask, stage.now);
            assert_eq!(second.map(|pick| name(pick.backend())), expect);
            let second = worker.hedge(&slow, &ask, stage.now);
            assert_eq!(second.map(|pick| name(pick.backend())), expect);
            if beside.is_none() {
                assert_eq!(earned(&stage), before, "it costs nothing");
                let second = worker.hedge(&SLOW, &ask, stage.now).unwrap();
                assert_eq!(name(second.backend()), "b");
            }
        }
    }
}

#[test]
fn where_there_is_much_to_do_there_is_none() {
    let mut limited = hedged(1000)
        .max_in_flight(10)
        .queue(QueueSettings::default());
    let mut stage = warm(limited.clone(), &["a", "b"]);
    let mut held: Vec<Pick> = (0..7).map(|_| stage.pick().unwrap()).collect();
    drop(hedge(&mut stage, &held[0]).unwrap());
    held.push(stage.pick().unwrap());
    assert_eq!(
        hedge(&mut stage, &held[0]).err(),
        Some(NoHedge::Overloaded),
        "four of five"
    );
    drop(held);
    // The same where backends have limits, or limits are found: the tick says it.
    limited.max_in_flight = None;
    let five = NonZeroU32::new(5).unwrap();
    let found = AdaptiveLimit::DEFAULT.min(five).max(five).start(five);
    let set = ["a", "b"].map(|id| BackendSpec::new(id).max_in_flight(5));
    let free = ["a", "b"].map(BackendSpec::new);
    for (settings, backends) in [
        (limited.clone(), set),
        (limited.clone().adaptive_limit(found), free),
    ] {
        let mut stage = Stage::of(settings, backends.into());
        stage.serve(100, &[], &[]);
        stage.pass(0.1);
        let held: Vec<Pick> = (0..8).map(|_| stage.pick().unwrap()).collect();
        drop(hedge(&mut stage, &held[0]).unwrap());
        stage.service.tick(stage.now);
        assert_eq!(hedge(&mut stage, &held[0]).err(), Some(NoHedge::Overloaded));
        drop(held);
        stage.service.tick(stage.now);
        let first = stage.pick().unwrap();
        drop(hedge(&mut stage, &first).unwrap());
    }
}

#[test]
fn where_most_fail_there_is_none() {
    let names = ["a", "b", "c", "d"];
    let settings = hedged(1000).breaker(None);
    let mut stage = warm(settings, &names);
    for (bad, expect) in [(&names[..2], None), (&names[..3], Some(NoHedge::Failing))] {
        stage.serve(12, bad, &[]);
        stage.service.tick(stage.now);
        let first = stage.pick().unwrap();
        assert_eq!(hedge(&mut stage, &first).err(), expect, "{bad:?}");
    }
    stage.serve(12, &[], &[]);
    stage.service.tick(stage.now);
    let first = stage.pick().unwrap();
    assert!(hedge(&mut stage, &first).is_ok());
}

#[test]
fn what_waits_comes_first() {
    let settings = hedged(1000).queue(QueueSettings::default());
    let backends = ["a", "b"].map(|id| BackendSpec::new(id).max_in_flight(1));
    let mut stage = Stage::of(settings, backends.into());
    stage.serve(100, &[], &[]);
    stage.pass(0.1);
    let held = [stage.pick().unwrap(), stage.pick().unwrap()];
    let (ask, until) = (stage.ask(), stage.now + ms(500));
    let waiting = stage.service.pick_or_wait(&ask, until, stage.now).unwrap();
    assert_eq!(hedge(&mut stage, &held[0]).err(), Some(NoHedge::Overloaded));
    drop((waiting, held));
    stage.service.laws().unwrap();
    // Also where there is room that is of no use to who waits.
    let first = stage.pick_of("a");
    let (ask, until, only) = (stage.ask(), stage.now + ms(500), [id("a")]);
    let ask = ask.subset(&only);
    let entry = stage.service.pick_or_wait(&ask, until, stage.now).unwrap();
    assert!(matches!(entry, Entry::Waiting(_)));
    assert_eq!(hedge(&mut stage, &first).err(), Some(NoHedge::Overloaded));
    drop(entry);
    assert!(hedge(&mut stage, &first).is_ok(), "nobody waits any more");
}

/// What is measured is what answers take, of one class at a time, and what was given up late.
#[test]
fn a_delay_is_a_quantile_of_answers() {
    let quantile = Quantile::new(900).unwrap();
    let settings = plain()
        .hedge(HedgeSettings::at(HedgeAt::Quantile(quantile)))
        .breaker(None);
    let mut stage = Stage::new(settings.clone(), &["a", "b"]);
    let class = evenkeel_balance::ask::ClassId(0);
    let answer = |stage: &mut Stage, millis: u64, verdict: Verdict| {
        let mut pick = stage.pick().unwrap();
        pick.answered(verdict, stage.now + ms(millis));
        pick.finish(Outcome::Completed, stage.now + ms(millis));
    };
    let near = |stage: &Stage, expect: u64| {
        let after = stage.service.hedge_after(class).unwrap();
        assert!(after.abs_diff(ms(expect)) <= ms(expect) / 32, "{after:?}");
    };
    answer(&mut stage, 1, Verdict::Success);
    stage.pass(1.1);
    for millis in 1..=200 {
        answer(&mut stage, millis, Verdict::Success);
        // What fails fast, and what a client asked wrongly, is no answer to measure by.
        let fault = evenkeel_balance::verdict::Fault::Status(500);
        answer(&mut stage, 0, Verdict::Failure(fault));
        answer(&mut stage, 0, Verdict::Neutral);
    }
    assert_eq!(stage.service.hedge_after(class), None);
    stage.pass(1.1);
    near(&stage, 180);
    // Off, and on again: measured anew. Another quantile is of the same answers.
    let half = HedgeSettings::at(HedgeAt::Quantile(Quantile::new(500).unwrap()));
    let other = settings.clone().hedge(half);
    stage.service.set_settings(other, stage.now);
    stage.pass(1.1);
    near(&stage, 100);
    // For so long that the window has moved on: counts that begin anew are not to be held against those at its beginning.
    for _ in 0..2 {
        (0..200).for_each(|_| answer(&mut stage, 100, Verdict::Success));
        stage.pass(11.0);
    }
    stage.service.set_settings(plain(), stage.now);
    assert_eq!(stage.service.hedge_after(class), None);
    stage.service.set_settings(settings, stage.now);
    stage.pass(1.1);
    assert_eq!(stage.service.hedge_after(class), None);
    (0..200).for_each(|_| answer(&mut stage, 50, Verdict::Success));
    stage.pass(2.2);
    near(&stage, 50);
    let carried = stage.service.carried(stage.now);
    assert_eq!(carried.hedges.iter().flatten().count(), 1);
}

/// Of a backend that is given up each time nothing is known but that it is slow. It must neither look fast, nor like its peers, nor failing.
#[test]
fn who_is_always_outrun_looks_slow() {
    for policy in [
        PolicyChoice::Adaptive,
        PolicyChoice::PeakEwma,
        PolicyChoice::LeastTime,
    ] {
        let settings = hedged(1000).policy(policy);
        let mut stage = warm(settings, &["a", "b", "c"]);
        let before = stage.backend("a");
        let mut outrun = 0;
        for _ in 0..300 {
            let pick = stage.pick().unwrap();
            let later = stage.now + ms(10);
            if pick.backend().id().as_str() == "a" {
                outrun += 1;
                pick.finish(Outcome::Outrun, later + ms(20));
            } else {
                let mut pick = pick;
                pick.answered(Verdict::Success, later);
                pick.finish(Outcome::Completed, later);
            }
            stage.pass(0.01);
        }
        let after = stage.backend("a");
        assert_eq!(after.counts.failed, before.counts.failed);
        assert_eq!(after.counts.succeeded, before.counts.succeeded);
        assert_eq!(after.counts.finished, before.counts.finished + outrun);
        assert!(after.latency >= before.latency, "{:?}", after.latency);
        assert!(outrun < 60, "{outrun} of 300 went to who never answers");
        assert_eq!(after.learned.failing, 0.0);
        stage.service.laws().unwrap();
    }
}

/// A trial that was given up is no proof either way, and is tried again.
#[test]
fn a_trial_that_is_outrun_is_given_back() {
    let mut stage = warm(hedged(1000), &["a", "b"]);
    for _ in 0..5 {
        let pick = stage.pick_of("a");
        stage.badly(pick);
    }
    stage.service.tick(stage.now);
    stage.pass(1.1);
    let trial = stage.pick().unwrap();
    assert!(trial.is_trial());
    trial.finish(Outcome::Outrun, stage.now);
    let again = stage.pick().unwrap();
    assert!(again.is_trial());
    stage.well(again);
}
