use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_balance::ask::{Ask, ClassId};
use evenkeel_balance::backend::{BackendId, BackendSpec, Weight};
use evenkeel_balance::hashing::mix;
use evenkeel_balance::pick::Pick;
use evenkeel_balance::settings::{BreakerSettings, PolicyChoice};
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};

use crate::stage::{Stage, id, plain};

/// One exchange of `class` on one of `subset`, answered after `millis`.
fn exchange(stage: &mut Stage, class: u16, subset: &[BackendId], millis: u64) {
    let ask = stage.ask();
    let mut pick = stage
        .service
        .pick(&ask.class(ClassId(class)).subset(subset), stage.now)
        .unwrap();
    let later = stage.now + Duration::from_millis(millis);
    pick.answered(Verdict::Success, later);
    pick.finish(Outcome::Completed, later);
}

/// Backend `a` serves the expensive class alone, `b` the cheap one, `c` both. Nobody is slow for that.
#[test]
fn latency_is_judged_against_its_class() {
    let mut stage = Stage::new(plain().policy(PolicyChoice::Adaptive), &["a", "b", "c"]);
    for _ in 0..2000 {
        exchange(&mut stage, 1, &[id("a")], 500);
        exchange(&mut stage, 2, &[id("b")], 5);
        exchange(&mut stage, 1, &[id("c")], 500);
        exchange(&mut stage, 2, &[id("c")], 5);
        stage.pass(0.01);
    }
    for name in ["a", "b", "c"] {
        let slowness = stage.backend(name).learned.slowness;
        assert!(
            (slowness - 1.0).abs() < 0.05,
            "{name} looks {slowness} times as slow as its class"
        );
    }
}

#[test]
fn who_is_slow_within_a_class_is_known_in_a_second() {
    use PolicyChoice::{Adaptive, LeastTime, PeakEwma};
    [Adaptive, LeastTime, PeakEwma]
        .into_iter()
        .for_each(is_known_in_a_second);
}

fn is_known_in_a_second(policy: PolicyChoice) {
    let alone = !matches!(policy, PolicyChoice::Adaptive);
    let mut stage = Stage::new(plain().policy(policy), &["a", "b"]);
    for _ in 0..200 {
        exchange(&mut stage, 0, &[id("a")], 30);
        exchange(&mut stage, 0, &[id("b")], 10);
        stage.pass(0.01);
    }
    let [slow, fast] = ["a", "b"].map(|name| stage.backend(name).learned.slowness);
    assert!(slow / fast > 2.0, "{slow} against {fast}");
    let counts = stage.serve(100, &[], &["a", "b"]);
    assert!(counts[1] > 90, "{counts:?}");
    // Three times as fast with one in flight is not better than idle: what is counted weighs more than what is guessed.
    // Without the square, that takes more of them.
    let held: Vec<_> = (0..if alone { 8 } else { 1 })
        .map(|_| {
            stage
                .service
                .pick(&Ask::new(1).subset(&[id("b")]), stage.now)
                .unwrap()
        })
        .collect();
    let counts = stage.serve(100, &[], &["a", "b"]);
    assert!(counts[0] > 50, "{counts:?}");
    held.into_iter().for_each(|pick| stage.well(pick));
}

/// What was learned of a backend while it was out, or before, does not make it look faster than the others when it returns: it has
/// no more than twice the mean in flight, though it never warms up.
#[test]
fn who_was_away_for_a_while_is_not_flooded() {
    use PolicyChoice::{Adaptive, LeastTime, PeakEwma};
    for policy in [Adaptive, LeastTime, PeakEwma] {
        for seconds in [1, 40] {
            for slow_before in [false, true] {
                is_not_flooded(policy.clone(), Away::Out, seconds, slow_before);
            }
        }
        is_not_flooded(policy.clone(), Away::Gone, 5, false);
        is_not_flooded(policy, Away::Weightless, 40, false);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Away {
    Out,
    Gone,
    Weightless,
}

impl Away {
    /// Goes, or comes back.
    fn set(self, away: bool, stage: &Stage) {
        let (a, service) = (id("0"), &stage.service);
        let weight = |weight| Weight::new(weight).unwrap();
        match (self, away) {
            (Self::Out, _) => stage.mark("0", !away),
            (Self::Gone, true) => service.remove(&a, stage.now).unwrap(),
            (Self::Gone, false) => service.add(BackendSpec::new("0"), stage.now).unwrap(),
            (Self::Weightless, _) => {
                service
                    .set_weight(&a, weight(u32::from(!away)), stage.now)
                    .unwrap();
            }
        }
    }
}

fn is_not_flooded(policy: PolicyChoice, away: Away, seconds: u64, slow_before: bool) {
    let case = format!(
        "{} {away:?} for {seconds} s, slow before: {slow_before}",
        policy.name()
    );
    let mut stage = Stage::new(
        plain().policy(policy),
        &["0", "1", "2", "3", "4", "5", "6", "7"],
    );
    // When each ends, in steps of a millisecond.
    let mut ends = BTreeMap::<u64, Vec<Pick>>::new();
    let leaves = 10_000;
    let returns = leaves + 1000 * seconds;
    let mut most = 0.0_f64;
    for step in 0..returns + 2000 {
        match step {
            _ if step == leaves => away.set(true, &stage),
            _ if step == returns => away.set(false, &stage),
            _ => {}
        }
        stage.now = stage.now + Duration::from_millis(1);
        if step % 100 == 0 {
            stage.service.tick(stage.now);
        }
        for mut pick in ends.remove(&step).into_iter().flatten() {
            pick.answered(Verdict::Success, stage.now);
            pick.finish(Outcome::Completed, stage.now);
        }
        for of_step in 0..4 {
            let pick = stage.pick().unwrap();
            // Exponential, 20 ms in the mean.
            let unit = (mix(step, of_step) >> 11) as f64 / (1_u64 << 53) as f64;
            let slow = slow_before && step < leaves && *pick.backend().id() == id("0");
            let takes = Duration::from_secs_f64(-(1.0 - unit).ln() * if slow { 0.1 } else { 0.02 });
            let in_flight = pick.backend().in_flight();
            if step > returns && *pick.backend().id() == id("0") {
                let all = 1 + ends.values().map(Vec::len).sum::<usize>();
                most = most.max(f64::from(in_flight) * 8.0 / all as f64);
            }
            let end = step + 1 + u64::try_from(takes.as_millis()).unwrap();
            ends.entry(end).or_default().push(pick);
        }
    }
    assert!(
        (0.8..=2.0).contains(&most),
        "{case}: {most:.2} times the mean in flight"
    );
}

/// The window, the throughput and the mean that a snapshot tells.
#[test]
fn a_snapshot_tells_rates_of_the_last_seconds() {
    let mut stage = Stage::new(plain().histograms(true).breaker(None), &["a"]);
    for _ in 0..100 {
        stage.serve(9, &[], &[]);
        stage.serve(1, &["a"], &[]);
        stage.pass(0.1);
    }
    let seen = stage.backend("a");
    assert!(
        (90..=100).contains(&seen.window.failed) && (810..=900).contains(&seen.window.succeeded),
        "{:?}",
        seen.window
    );
    assert!((seen.per_second - 100.0).abs() < 3.0, "{}", seen.per_second);
    assert_eq!(seen.latency.unwrap().as_millis(), 10);
    let latencies = seen.latencies.unwrap();
    assert_eq!(latencies.count(), 900);
    let median = latencies.quantile(0.5).unwrap();
    assert!(
        (9.5..10.5).contains(&(median.as_secs_f64() * 1000.0)),
        "{median:?}"
    );
}

#[test]
fn a_row_of_failures_ends_where_success_shows() {
    let mut stage = Stage::new(plain(), &["a"]);
    for (head, outcome, expect) in [
        (true, Outcome::Broken(Fault::Grpc(14)), 1),
        (true, Outcome::Broken(Fault::Reset), 2),
        (true, Outcome::ClientLeft, 2),
        (false, Outcome::Broken(Fault::Reset), 3),
        (false, Outcome::Broken(Fault::Connect), 4),
        // Reached again; whether its bodies are whole is not yet known.
        (true, Outcome::ClientLeft, 2),
        (true, Outcome::Completed, 0),
        (true, Outcome::Broken(Fault::Reset), 1),
        (false, Outcome::Completed, 0),
    ] {
        let mut pick = stage.pick().unwrap();
        if head {
            pick.answered(Verdict::Success, stage.now);
        }
        pick.finish(outcome, stage.now);
        assert_eq!(
            stage.backend("a").consecutive_failures,
            expect,
            "{outcome:?}"
        );
    }
}

/// One attempt is one success or one failure, or neither, however it ends.
#[test]
fn each_attempt_is_counted_once() {
    let check = |head: Option<Verdict>, end: Option<Outcome>, expect: (u64, u64, u64)| {
        let settings = plain().breaker(BreakerSettings::default().slow(Duration::from_millis(5)));
        let mut stage = Stage::new(settings, &["a"]);
        let mut pick = stage.pick().unwrap();
        let later = stage.now + Duration::from_millis(6);
        if let Some(verdict) = head {
            pick.answered(verdict, later);
        }
        let before = stage.backend("a").counts;
        assert_eq!((before.succeeded, before.slow), (0, 0), "it may yet break");
        match end {
            Some(outcome) => pick.finish(outcome, later),
            None => drop(pick),
        }
        let counts = stage.backend("a").counts;
        let got = (counts.succeeded, counts.failed, counts.slow);
        assert_eq!(got, expect, "{head:?} {end:?}");
    };
    let (well, badly, neither) = ((1, 0, 1), (0, 1, 0), (0, 0, 0));
    let broken = Some(Outcome::Broken(Fault::Reset));
    let good = Some(Verdict::Success);
    check(good, Some(Outcome::Completed), well);
    check(good, Some(Outcome::ClientLeft), well);
    check(good, None, well);
    check(good, broken, badly);
    let bad = Some(Verdict::Failure(Fault::Status(500)));
    for end in [
        Some(Outcome::Completed),
        Some(Outcome::ClientLeft),
        None,
        broken,
    ] {
        check(bad, end, badly);
    }
    check(Some(Verdict::Neutral), Some(Outcome::Completed), neither);
    check(Some(Verdict::Neutral), None, neither);
    check(Some(Verdict::Neutral), broken, badly);
    check(None, Some(Outcome::Completed), well);
    check(None, Some(Outcome::ClientLeft), neither);
    check(None, None, neither);
    check(None, broken, badly);
}

/// Good heads do not hide from a policy that what follows them breaks.
#[test]
fn whose_bodies_all_break_fails_entirely() {
    let mut stage = Stage::new(plain(), &["a"]);
    for _ in 0..200 {
        let mut pick = stage.pick().unwrap();
        pick.answered(Verdict::Success, stage.now);
        pick.finish(Outcome::Broken(Fault::Reset), stage.now);
    }
    stage.pass(0.1);
    let seen = stage.backend("a");
    assert!(seen.learned.failing > 0.99, "{:?}", seen.learned);
    assert_eq!(seen.window.success_ratio(), Some(0.0));
}

#[test]
fn what_is_usual_is_what_successes_took() {
    let mut stage = Stage::new(plain(), &["a"]);
    let later = stage.now + Duration::from_millis(20);
    for (verdict, expect) in [
        (Verdict::Failure(Fault::Timeout), None),
        (Verdict::Success, Some(20.0)),
    ] {
        let mut pick = stage.pick().unwrap();
        pick.answered(verdict, later);
        let usual = pick
            .usual()
            .map(|usual| (usual.as_secs_f64() * 1000.0).round());
        assert_eq!(usual, expect, "{verdict:?}");
        pick.finish(Outcome::Completed, later);
    }
}

/// A fifth of what is new and four fifths of what was, as k-msg has it.
#[test]
fn a_mean_follows_by_a_fifth() {
    let mut stage = Stage::new(plain(), &["a"]);
    for (took, expect) in [(10, 10.0), (20, 12.0), (20, 13.6)] {
        exchange(&mut stage, 0, &[id("a")], took);
        let mean = stage.backend("a").latency.unwrap().as_secs_f64() * 1000.0;
        assert!((mean - expect).abs() < 1e-3, "{mean}, not {expect}");
    }
}

#[test]
fn a_failure_teaches_no_latency() {
    let mut stage = Stage::new(plain(), &["a"]);
    let mut pick = stage.pick().unwrap();
    pick.answered(
        Verdict::Failure(Fault::Timeout),
        stage.now + Duration::from_secs(5),
    );
    pick.finish(
        Outcome::Broken(Fault::Timeout),
        stage.now + Duration::from_secs(5),
    );
    let seen = stage.backend("a");
    assert_eq!(
        (seen.latency, seen.consecutive_failures, seen.counts.failed),
        (None, 1, 1)
    );
    assert!((seen.learned.slowness - 1.0).abs() < 1e-6 && seen.learned.failing > 0.04);
}
