use std::time::Duration;

use evenkeel_balance::backend::{BackendSpec, Weight};
use evenkeel_balance::load::{LoadReason, LoadReport};
use evenkeel_balance::membership::MembershipError;
use evenkeel_balance::settings::{LoadSettings, PolicyChoice, ServiceSettings};
use evenkeel_balance::verdict::{Outcome, Verdict};

use crate::stage::{Stage, id, plain};

const ALL: [&str; 4] = ["a", "b", "c", "d"];

fn settings() -> ServiceSettings {
    plain().policy(PolicyChoice::WeightedByLoad).breaker(None)
}

fn stage() -> Stage {
    Stage::new(settings(), &ALL)
}

fn load(utilization: f64, rps: f64) -> LoadReport {
    LoadReport {
        application: Some(utilization),
        rps: Some(rps),
        ..LoadReport::default()
    }
}

/// So many seconds, in each of which those that say something say this.
fn seconds(stage: &mut Stage, count: u32, says: &[(&str, LoadReport)]) {
    for _ in 0..count {
        for (name, report) in says {
            let told = stage.service.report_load(&id(name), report, stage.now);
            assert_eq!(told, Ok(()));
        }
        stage.pass(1.0);
    }
}

/// Shares in hundredths, rounded, and why they are so.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 100"
)]
fn shares(stage: &Stage) -> Vec<(u32, LoadReason)> {
    let seen = stage.service.snapshot(stage.now).backends;
    let of = |one: &evenkeel_balance::snapshot::BackendSnapshot| {
        let share = one.share_wanted * 100.0;
        (share.round() as u32, one.load.unwrap().share.reason)
    };
    seen.iter().map(of).collect()
}

fn all(reason: LoadReason, shares: [u32; 4]) -> Vec<(u32, LoadReason)> {
    shares.into_iter().map(|share| (share, reason)).collect()
}

/// Each at half of what it can do, at 100, 200, 300 and 400 a second.
const UNLIKE: [(&str, f64); 4] = [("a", 100.0), ("b", 200.0), ("c", 300.0), ("d", 400.0)];

fn unlike() -> Vec<(&'static str, LoadReport)> {
    UNLIKE
        .iter()
        .map(|(name, rps)| (*name, load(0.5, *rps)))
        .collect()
}

#[test]
fn shares_follow_what_backends_can_do() {
    let mut stage = stage();
    assert_eq!(shares(&stage), all(LoadReason::Unreported, [25; 4]));
    seconds(&mut stage, 9, &unlike());
    assert_eq!(shares(&stage), all(LoadReason::Blackout, [25; 4]));
    seconds(&mut stage, 30, &unlike());
    let told = shares(&stage);
    for ((share, reason), expect) in told.iter().zip([10, 20, 30, 40]) {
        assert!(share.abs_diff(expect) <= 1, "{told:?}");
        assert_eq!(*reason, LoadReason::Reported);
    }
    // By what is picked, in smooth turns.
    let counts = stage.serve(1_000, &[], &ALL);
    for (count, expect) in counts.iter().zip([100_usize, 200, 300, 400]) {
        assert!(count.abs_diff(expect) <= 15, "{counts:?}");
    }
    // Explaining has the same shares, and why.
    let ask = stage.ask();
    let explained = stage.service.explain(&ask, stage.now);
    let last = explained.candidates.last().unwrap();
    assert_eq!(last.load.unwrap().reason, LoadReason::Reported);
    assert_eq!(last.load.unwrap().factor.to_bits(), last.share.to_bits());
    let seen = stage.backend("d").load.unwrap();
    assert_eq!((seen.utilization, seen.rps), (Some(0.5), Some(400.0)));
    assert_eq!((seen.reports, seen.capacity), (39, Some(800.0)));
    assert!(seen.age.unwrap() <= Duration::from_secs(1));
}

/// Nobody goes from one share to another at once.
#[test]
fn shares_move_step_by_step() {
    let mut stage = stage();
    seconds(&mut stage, 10, &unlike());
    let mut before = stage.backend("d").share_wanted;
    for _ in 0..20 {
        seconds(&mut stage, 1, &unlike());
        let now = stage.backend("d").share_wanted;
        // Those that have not moved by enough to be shown move it a little.
        let range = before * 0.97..=before * 1.3;
        assert!(range.contains(&now), "{before} to {now}");
        before = now;
    }
}

#[test]
fn configured_weights_multiply() {
    let specs = ALL.map(|name| {
        let weight = if name == "a" { 4 } else { 1 };
        BackendSpec::new(name).weight(Weight::new(weight).unwrap())
    });
    let mut stage = Stage::of(settings(), specs.into());
    seconds(&mut stage, 60, &unlike());
    // 4, 2, 3 and 4 parts.
    let got: Vec<_> = shares(&stage).into_iter().map(|(share, _)| share).collect();
    for (share, expect) in got.iter().zip([31_u32, 15, 23, 31]) {
        assert!(share.abs_diff(expect) <= 1, "{got:?}");
    }
}

/// With less than two that are known there is nothing to compare; of whom nothing is known, it is as the others in the mean.
#[test]
fn who_says_nothing() {
    let rows: [(&[&str], [u32; 4], [LoadReason; 4]); 4] = {
        use LoadReason::{Alone, Reported, Unreported};
        [
            (&[], [25; 4], [Unreported; 4]),
            (&["d"], [25; 4], [Unreported, Unreported, Unreported, Alone]),
            // 1 and 4 parts; the others have the mean of what these count for.
            (
                &["a", "d"],
                [10, 25, 25, 40],
                [Reported, Unreported, Unreported, Reported],
            ),
            (&ALL, [10, 20, 30, 40], [Reported; 4]),
        ]
    };
    for (who, expect, reasons) in rows {
        let mut stage = stage();
        let says: Vec<_> = unlike()
            .into_iter()
            .filter(|(name, _)| who.contains(name))
            .collect();
        seconds(&mut stage, 60, &says);
        let got = shares(&stage);
        for ((share, reason), (expect, why)) in got.iter().zip(expect.iter().zip(reasons)) {
            assert!(share.abs_diff(*expect) <= 1, "{who:?}: {got:?}");
            assert_eq!(*reason, why, "{who:?}: {got:?}");
        }
    }
}

/// One of four says what cannot be, or nothing any more: the others keep their proportions, and it is within the bound.
#[test]
fn lies_and_silence() {
    let none = LoadReport::default;
    let of = |application: f64, rps: f64| LoadReport {
        application: Some(application),
        rps: Some(rps),
        ..none()
    };
    let rows = [
        ("says zero", Some(of(0.0, 0.0)), LoadReason::Unsaid),
        (
            "says no number",
            Some(of(f64::NAN, f64::NAN)),
            LoadReason::Unsaid,
        ),
        (
            "says nothing in its reports",
            Some(none()),
            LoadReason::Unsaid,
        ),
        ("falls silent", None, LoadReason::Expired),
        (
            "has no load at all",
            Some(of(1e-9, 1e9)),
            LoadReason::Reported,
        ),
        (
            "has more than there is",
            Some(of(1e9, 1e-9)),
            LoadReason::Reported,
        ),
        (
            "says less than nothing",
            Some(of(-1.0, -1.0)),
            LoadReason::Unsaid,
        ),
    ];
    for (lie, report, expect) in rows {
        let mut stage = stage();
        let alike: Vec<_> = ALL.iter().map(|name| (*name, load(0.5, 100.0))).collect();
        seconds(&mut stage, 30, &alike);
        let mut says = alike.clone();
        says.pop();
        says.extend(report.map(|report| ("d", report)));
        seconds(&mut stage, 240, &says);
        let seen = stage.service.snapshot(stage.now).backends;
        let share: Vec<_> = seen.iter().map(|one| one.share_wanted).collect();
        for pair in share[..3].windows(2) {
            assert!((pair[0] / pair[1] - 1.0).abs() < 0.05, "{lie}: {share:?}");
        }
        let against = share[3] / share[0];
        assert!((0.09..=10.3).contains(&against), "{lie}: {share:?}");
        let load = seen[3].load.unwrap();
        assert_eq!(load.share.reason, expect, "{lie}");
        if expect != LoadReason::Reported {
            assert!((against - 1.0).abs() < 0.05, "{lie}: {share:?}");
        }
        // And it is picked, and picking goes on.
        let counts = stage.serve(400, &[], &ALL);
        assert!(counts.iter().all(|count| *count > 0), "{lie}: {counts:?}");
        stage.service.laws().unwrap();
    }
}

/// A liar that is not believed has whoever says nothing sent no more either.
#[test]
fn a_doubted_claim_is_no_part_of_the_mean() {
    let mut stage = stage();
    let says = [
        ("a", load(0.5, 100.0)),
        ("b", load(0.5, 100.0)),
        ("d", load(0.001, 100.0)),
    ];
    for _ in 0..120 {
        for _ in 0..40 {
            let mut pick = stage.pick().unwrap();
            let slow = *pick.backend().id() == id("d");
            let end = stage.now + Duration::from_millis(if slow { 500 } else { 10 });
            pick.answered(Verdict::Success, end);
            pick.finish(Outcome::Completed, end);
        }
        seconds(&mut stage, 1, &says);
    }
    let seen = |name: &str| {
        let one = stage.backend(name);
        (one.share_wanted, one.load.unwrap().share.reason)
    };
    let ((honest, _), (silent, why), (_, doubted)) = (seen("a"), seen("c"), seen("d"));
    assert_eq!(
        (why, doubted),
        (LoadReason::Unreported, LoadReason::Doubted)
    );
    let against = silent / honest;
    assert!((0.9..1.5).contains(&against), "{against}");
}

/// Fails in no time, and has little load: what is seen of it counts, though it says nothing of errors.
#[test]
fn who_fails_fast_gets_no_more_for_it() {
    let mut stage = stage();
    for _ in 0..60 {
        stage.serve(40, &["d"], &ALL);
        let idle = |name: &&str| load(if **name == *"d" { 0.1 } else { 0.5 }, 10.0);
        let says: Vec<_> = ALL.iter().map(|name| (*name, idle(name))).collect();
        seconds(&mut stage, 1, &says);
    }
    let share = stage.backend("d").share_wanted;
    assert!(share < 0.2, "{share}");
}

#[test]
fn settings_decide() {
    let row = |change: &dyn Fn(&mut LoadSettings), expect: [u32; 4]| {
        let mut with = settings();
        change(&mut with.load);
        let mut stage = Stage::new(with, &ALL);
        seconds(&mut stage, 60, &unlike());
        let got: Vec<_> = shares(&stage).into_iter().map(|(share, _)| share).collect();
        for (share, expect) in got.iter().zip(expect) {
            assert!(share.abs_diff(expect) <= 1, "{got:?}, not {expect:?}");
        }
    };
    row(&|_| {}, [10, 20, 30, 40]);
    row(&|load| load.bound = 1.0, [25; 4]);
    row(&|load| load.bound = f32::NAN, [25; 4]);
    row(&|load| load.blackout = Duration::from_secs(100), [25; 4]);
    // The middle one is the lower of two, 200: 100 to 240.
    row(&|load| load.bound = 1.2, [20, 24, 28, 28]);
}

#[test]
fn another_policy_goes_by_no_reports() {
    let mut stage = stage();
    seconds(&mut stage, 60, &unlike());
    let mut by = |policy: PolicyChoice| {
        let settings = stage.service.settings().policy(policy);
        stage.service.set_settings(settings, stage.now);
        stage.serve(400, &[], &ALL)[3]
    };
    assert_eq!(by(PolicyChoice::RoundRobin), 100);
    assert!(by(PolicyChoice::WeightedByLoad) > 150);
    assert!(by(PolicyChoice::RoundRobin) == 100 && stage.backend("d").load.is_none());
}

#[test]
fn a_stranger_reports_in_vain() {
    let stage = stage();
    let told = stage
        .service
        .report_load(&id("who"), &load(0.5, 1.0), stage.now);
    assert_eq!(told, Err(MembershipError::Unknown(id("who"))));
}

/// Another process goes on where this one was: nobody starts from even shares.
#[test]
fn shares_go_over() {
    let mut before = stage();
    seconds(&mut before, 60, &unlike());
    let carried = before.service.carried(before.now);
    let mut after = stage();
    after.service.take_over(&carried, after.now);
    assert_eq!(shares(&after), shares(&before));
    seconds(&mut after, 5, &unlike());
    assert_eq!(shares(&after), shares(&before));
    // One that no longer reports there is known for as long as reports hold.
    seconds(&mut after, 100, &[]);
    assert_eq!(shares(&after), shares(&before));
    seconds(&mut after, 200, &[]);
    for (share, reason) in shares(&after) {
        assert!(share.abs_diff(25) <= 1 && reason == LoadReason::Expired);
    }
}
