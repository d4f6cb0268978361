#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small positive numbers of a model"
)]

use std::num::NonZeroU32;
use std::time::Duration;

use evenkeel_balance::ask::Tried;
use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::eligibility::Bar;
use evenkeel_balance::event::{EventKind, LimitEnd};
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::queue::Entry;
use evenkeel_balance::settings::{AdaptiveLimit, PolicyChoice, QueueSettings, ServiceSettings};
use evenkeel_balance::standing::Standing;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};

use crate::stage::{Stage, id, plain};

fn limits(min: u32, start: u32, max: u32) -> AdaptiveLimit {
    let count = |number| NonZeroU32::new(number).unwrap();
    AdaptiveLimit::DEFAULT
        .min(count(min))
        .max(count(max))
        .start(count(start))
}

fn limited(min: u32, start: u32, max: u32) -> ServiceSettings {
    plain()
        .adaptive_limit(limits(min, start, max))
        .breaker(None)
}

fn limit(stage: &Stage, name: &str) -> u32 {
    stage.backend(name).limit.unwrap().in_use
}

/// So many seconds in which as many are under way as may be, up to `at_once`. Each of `a` takes 50 ms for as many as `knee`, and its part
/// of that for more; each of the others 50 ms. Says how many were refused.
fn crowd(stage: &mut Stage, seconds: f64, at_once: usize, knee: f64) -> usize {
    impatient_crowd(stage, seconds, at_once, knee, f64::INFINITY)
}

/// The same, where what takes more than so many times 50 ms is outrun then.
fn impatient_crowd(
    stage: &mut Stage,
    seconds: f64,
    at_once: usize,
    knee: f64,
    given_up: f64,
) -> usize {
    let mut refused = 0;
    // Of this tick and the last one; what takes longer than a tick is told by its times alone.
    for _ in 0..(seconds * 10.0) as usize {
        for _ in 0..2 {
            let mut picks: Vec<Pick> = Vec::new();
            for _ in 0..at_once {
                match stage.pick() {
                    Ok(pick) => picks.push(pick),
                    Err(refusal) => {
                        assert_eq!(refusal, Refusal::AllFull);
                        refused += 1;
                    }
                }
            }
            let of_a = picks.iter().filter(|one| *one.backend().id() == id("a"));
            let slow = (of_a.count() as f64 / knee).max(1.0);
            for (mut pick, apart) in picks.into_iter().zip(0..) {
                let times = match *pick.backend().id() == id("a") {
                    true => slow,
                    false => 1.0,
                };
                // Each at another time: by that it is told who teaches the mean of his class.
                let then = stage.now + Duration::from_secs_f64(0.05 * times.min(given_up));
                let then = then + Duration::from_nanos(apart);
                if times > given_up {
                    pick.finish(Outcome::Outrun, then);
                } else {
                    pick.answered(Verdict::Success, then);
                    pick.finish(Outcome::Completed, then);
                }
            }
        }
        stage.pass(0.1);
    }
    refused
}

/// What one backend takes no more of is the others', and nobody is refused.
#[test]
fn what_is_over_the_limit_goes_to_others() {
    let mut stage = Stage::new(limited(2, 20, 100), &["a", "b", "c"]);
    crowd(&mut stage, 2.0, 30, 1e9);
    let before = stage.backend("a").counts.picked;
    let refused = crowd(&mut stage, 30.0, 60, 5.0);
    let (a, b) = (limit(&stage, "a"), limit(&stage, "b"));
    assert!((5..=14).contains(&a), "{a} of a knee of 5");
    assert!(b > 20, "{b} where nothing is slow");
    let more = stage.backend("a").counts.picked - before;
    let others = stage.backend("b").counts.picked;
    assert!(more < others, "{more} and {others}");
    assert!(refused < 60, "{refused} were refused");
    stage.service.laws().unwrap();
}

/// What was given up for another's answer is none, but it took long: left out, a backend of which all that is late is given up would look as
/// if it had room.
#[test]
fn a_limit_hears_of_what_was_outrun() {
    let mut stage = Stage::new(limited(2, 20, 100), &["a", "b", "c"]);
    crowd(&mut stage, 2.0, 30, 1e9);
    impatient_crowd(&mut stage, 30.0, 60, 5.0, 2.0);
    let (a, b) = (limit(&stage, "a"), limit(&stage, "b"));
    assert!((4..=14).contains(&a), "{a} of a knee of 5");
    assert!(b > 20, "{b} where nothing is slow");
    assert_eq!(stage.backend("a").counts.failed, 0);
    stage.service.laws().unwrap();
}

/// All full is what it always was: a refusal, or a place in the queue; who waits goes when a limit rises.
#[test]
fn who_finds_all_full_is_refused_or_waits() {
    let mut stage = Stage::new(limited(2, 3, 3), &["a", "b"]);
    let held: Vec<_> = (0..6).map(|_| stage.pick().unwrap()).collect();
    assert_eq!(stage.pick().unwrap_err(), Refusal::AllFull);
    let ask = stage.ask();
    let explained = stage.service.explain(&ask, stage.now);
    for one in &explained.candidates {
        assert_eq!((one.bar, one.adaptive_limit), (Some(Bar::Full), Some(3)));
    }
    let settings = limited(2, 3, 3).queue(QueueSettings::default());
    stage.service.set_settings(settings.clone(), stage.now);
    let until = stage.now + Duration::from_secs(1);
    let entry = stage.service.pick_or_wait(&ask, until, stage.now).unwrap();
    let Entry::Waiting(mut waiting) = entry else {
        unreachable!("there was no room");
    };
    // Other ends hold from the next tick on, for who waits as well.
    let wider = settings.adaptive_limit(limits(4, 4, 4));
    stage.service.set_settings(wider, stage.now);
    stage.pass(0.1);
    let waker = std::task::Waker::noop();
    let polled = waiting.poll(waker, stage.now);
    assert!(
        matches!(polled, std::task::Poll::Ready(Ok(_))),
        "{polled:?}"
    );
    drop((held, polled));
    stage.service.laws().unwrap();
}

/// The lower of the two holds, and who explains says which.
#[test]
fn a_backends_own_limit_stays_above_it() {
    let backends = vec![
        BackendSpec::new("a").max_in_flight(2),
        BackendSpec::new("b").max_in_flight(200),
    ];
    let mut stage = Stage::of(limited(5, 5, 100), backends);
    let held: Vec<_> = (0..7).map(|_| stage.pick().unwrap()).collect();
    assert_eq!(stage.pick().unwrap_err(), Refusal::AllFull);
    assert_eq!((limit(&stage, "a"), limit(&stage, "b")), (2, 5));
    let ask = stage.ask();
    let candidates = stage.service.explain(&ask, stage.now).candidates;
    let told: Vec<_> = candidates.iter().map(|one| one.adaptive_limit).collect();
    assert_eq!(told, [None, Some(5)]);
    drop(held);
}

/// Expensive routes are no reason: each is held against what its own kind took.
#[test]
fn more_of_an_expensive_class_lower_nothing() {
    use evenkeel_balance::ask::ClassId;
    let mut stage = Stage::new(limited(2, 20, 100), &["a"]);
    let serve = |stage: &mut Stage, seconds: usize, dear: u16| {
        for _ in 0..seconds * 10 {
            let mut picks = Vec::new();
            for at in 0..20 {
                let class = ClassId(u16::from(at % 10 < dear));
                let ask = stage.ask().class(class);
                picks.push((class.0, stage.service.pick(&ask, stage.now).unwrap()));
            }
            for (class, mut pick) in picks {
                let millis = if class == 0 { 5 } else { 500 };
                let then = stage.now + Duration::from_millis(millis);
                pick.answered(Verdict::Success, then);
                pick.finish(Outcome::Completed, then);
            }
            stage.pass(0.1);
        }
        stage.backend("a").limit.unwrap().wanted
    };
    let before = serve(&mut stage, 10, 1);
    let after = serve(&mut stage, 10, 9);
    assert!(after >= before && before >= 20.0, "{before}, then {after}");
}

/// Once at each end, and again only when it has been elsewhere.
#[test]
fn the_ends_are_told_once() {
    let mut stage = Stage::new(limited(8, 20, 40), &["a"]);
    crowd(&mut stage, 5.0, 40, 1e9);
    let told = |stage: &Stage| -> Vec<(LimitEnd, u32)> {
        let heard = stage.heard().into_iter();
        let ends = heard.filter_map(|kind| match kind {
            EventKind::LimitReached {
                backend,
                end,
                limit,
            } => {
                assert_eq!(backend, id("a"));
                Some((end, limit))
            }
            _ => None,
        });
        ends.collect()
    };
    assert_eq!(told(&stage), [(LimitEnd::Most, 40)]);
    crowd(&mut stage, 5.0, 40, 1e9);
    assert_eq!(told(&stage), []);
    // What is lost one by one is not lost for being many.
    for _ in 0..1000 {
        let mut pick = stage.pick().unwrap();
        pick.answered(Verdict::Failure(Fault::Timeout), stage.now);
        drop(pick);
        stage.pass(0.01);
    }
    assert_eq!((limit(&stage, "a"), told(&stage)), (40, vec![]));
    // Nobody answers any more, and all there may be wait for it: down it goes.
    let lose = |stage: &mut Stage| {
        let mut picks: Vec<_> = std::iter::from_fn(|| stage.pick().ok()).collect();
        for pick in &mut picks {
            pick.answered(Verdict::Failure(Fault::Timeout), stage.now);
        }
        drop(picks);
        stage.pass(0.1);
    };
    for _ in 0..100 {
        lose(&mut stage);
    }
    assert_eq!(told(&stage), [(LimitEnd::Least, 8)]);
}

/// A half-open backend gets its trial whatever hangs there, and however low its limit is.
#[test]
fn a_trial_is_not_the_limits_matter() {
    let settings = limited(1, 1, 100).breaker(ServiceSettings::default().breaker);
    let mut stage = Stage::new(settings, &["a", "b"]);
    while stage.standing("a") != Standing::Ejected {
        let mut pick = stage.pick_of("a");
        pick.answered(Verdict::Failure(Fault::Reset), stage.now);
        drop(pick);
        stage.pass(0.1);
        // One that hangs, as long as it may be had.
    }
    let open = stage.backend("a").open_until.unwrap();
    stage.pass(open.since(stage.now).as_secs_f64() + 0.1);
    assert_eq!(stage.standing("a"), Standing::Probing);
    let trial = stage.pick_of("a");
    assert!(trial.is_trial());
    stage.well(trial);
    stage.pass(0.1);
    assert_eq!(stage.standing("a"), Standing::Serving);
}

/// A retry that finds the rest full says so, and who is alone is never locked out: one is always allowed.
#[test]
fn one_is_always_allowed() {
    let mut stage = Stage::new(limited(1, 1, 1), &["a", "b"]);
    let first = stage.pick().unwrap();
    let mut tried = Tried::default();
    tried.insert(first.backend());
    let ask = stage.ask();
    let second = stage.service.pick(&ask.tried(&tried), stage.now).unwrap();
    assert_ne!(first.backend().id(), second.backend().id());
    let refusal = stage.service.pick(&ask.tried(&tried), stage.now);
    assert_eq!(refusal.unwrap_err(), Refusal::AllFull);
    drop((first, second));
    assert!(stage.pick().is_ok());
}

/// All are held up alike, and so want to look at the same time: a quarter of them does, that the rest has room for what they take less.
#[test]
fn a_quarter_looks_at_a_time() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut stage = Stage::new(limited(2, 20, 20), &names);
    let (mut most, mut looked) = (0, std::collections::BTreeSet::new());
    for _ in 0..300 {
        crowd(&mut stage, 0.1, 170, 1e9);
        let look = names.into_iter().filter(|name| limit(&stage, name) < 20);
        let look: Vec<_> = look.collect();
        most = most.max(look.len());
        looked.extend(look);
    }
    assert_eq!((most, looked.len()), (2, 8));
}

/// Kept over a reload of anything else; begun anew where it was off; gone where it is off.
#[test]
fn it_outlives_other_changes() {
    let mut stage = Stage::new(limited(2, 20, 100), &["a", "b"]);
    crowd(&mut stage, 2.0, 8, 5.0);
    crowd(&mut stage, 10.0, 60, 5.0);
    let learned = limit(&stage, "a");
    assert!(learned < 20, "{learned}");
    let settings = limited(2, 20, 100).policy(PolicyChoice::LeastConnections);
    stage.service.set_settings(settings, stage.now);
    let backends = ["a", "b", "c"].map(BackendSpec::new).into();
    stage.service.replace(backends, stage.now).unwrap();
    assert_eq!((limit(&stage, "a"), limit(&stage, "c")), (learned, 20));
    stage.service.set_settings(plain(), stage.now);
    assert_eq!(stage.backend("a").limit, None);
    let held: Vec<_> = (0..300).map(|_| stage.pick().unwrap()).collect();
    drop(held);
    stage.service.set_settings(limited(2, 20, 100), stage.now);
    assert_eq!(limit(&stage, "a"), 20);
}

/// What is learned goes over to another process, as is what the `health_based` policy knows.
#[test]
fn it_goes_over() {
    let mut before = Stage::new(limited(2, 20, 100), &["a", "b"]);
    crowd(&mut before, 2.0, 8, 5.0);
    crowd(&mut before, 10.0, 60, 5.0);
    let next = Stage::new(limited(2, 20, 100), &["a", "b"]);
    let carried = before.service.carried(before.now);
    next.service.take_over(&carried, next.now);
    for name in ["a", "b"] {
        let (was, is) = (before.backend(name).limit, next.backend(name).limit);
        let (was, is) = (was.unwrap().wanted, is.unwrap().wanted);
        assert!((was - is).abs() < 1e-9, "{name}: {was}, now {is}");
    }
    assert_eq!(
        next.service.carried(next.now).first_classes,
        carried.first_classes
    );
    assert!(carried.first_classes[0].is_some());
    // It goes on as if nothing had been: overloaded it stays low.
    let mut next = next;
    crowd(&mut next, 5.0, 60, 5.0);
    let after = limit(&next, "a");
    assert!(after < 20, "{after}");
}

/// Where it is off nothing is counted for it.
#[test]
fn off_it_hears_nothing() {
    let mut stage = Stage::new(plain(), &["a"]);
    stage.serve(100, &[], &["a"]);
    stage.pass(1.0);
    assert_eq!(stage.backend("a").limit, None);
    assert_eq!(stage.service.carried(stage.now).first_classes[0], None);
    let held: Vec<_> = (0..5000).map(|_| stage.pick().unwrap()).collect();
    drop(held);
}
