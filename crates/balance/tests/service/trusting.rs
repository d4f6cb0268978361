use std::time::Duration;

use evenkeel_balance::settings::PolicyChoice;

use crate::stage::{Stage, plain};

const ALL: [&str; 4] = ["a", "b", "c", "d"];

fn stage() -> Stage {
    let settings = plain().policy(PolicyChoice::HealthBased).breaker(None);
    Stage::new(settings, &ALL)
}

/// A second of traffic, in which those of `bad` fail half of what they get. Says how many of the 400 went to `a`.
fn second(stage: &mut Stage, bad: &[&str]) -> usize {
    let mut to_a = 0;
    for _ in 0..10 {
        to_a += stage.serve(20, bad, &ALL)[0];
        to_a += stage.serve(20, &[], &ALL)[0];
        stage.pass(0.1);
    }
    to_a
}

/// What `a` gets of its even share after so many seconds of failing and then of being well.
#[test]
fn a_share_goes_down_step_by_step_and_slowly_up() {
    let mut stage = stage();
    let share = |stage: &mut Stage| stage.backend("a").share_wanted;
    second(&mut stage, &[]);
    assert!((share(&mut stage) - 0.25).abs() < 1e-6);
    // It is judged a tick after each second began: of the first one, little is heard by then.
    second(&mut stage, &["a"]);
    let mut before = share(&mut stage);
    for step in 1..=3 {
        second(&mut stage, &["a"]);
        let now = share(&mut stage);
        assert!(now < before * 0.65, "step {step}: {before} to {now}");
        before = now;
    }
    for _ in 0..20 {
        second(&mut stage, &["a"]);
    }
    let least = second(&mut stage, &["a"]);
    assert!(least <= 16, "{least} of 400 while it fails");
    let (mut before, mut seconds) = (share(&mut stage), 0);
    while share(&mut stage) < 0.249 {
        second(&mut stage, &[]);
        let now = share(&mut stage);
        assert!(now <= before * 1.3, "{before} to {now} in a second");
        (before, seconds) = (now, seconds + 1);
        assert!(seconds < 40, "it never comes back");
    }
    assert!(seconds > 10, "back after {seconds} s");
    // What explaining shows is what holds: the mean share over its own.
    let ask = stage.ask();
    for one in stage.service.explain(&ask, stage.now).candidates {
        assert!(
            (one.score.unwrap() - 1.0).abs() < 0.01,
            "{}: {:?}",
            one.id,
            one.score
        );
    }
}

#[test]
fn failures_that_all_have_alike_lower_nobody() {
    let mut stage = stage();
    for _ in 0..20 {
        second(&mut stage, &ALL);
        for name in ALL {
            let share = stage.backend(name).share_wanted;
            assert!((share - 0.25).abs() < 0.08, "{name}: {share}");
        }
    }
}

/// It is this policy's, and leaves others as they are; who was lowered before is so again when it returns.
#[test]
fn another_policy_asks_for_no_trust() {
    let mut stage = stage();
    for _ in 0..3 {
        second(&mut stage, &["a"]);
    }
    let mut by = |policy: PolicyChoice| {
        let settings = stage
            .service
            .settings()
            .policy(policy)
            .slow_start(Duration::ZERO);
        stage.service.set_settings(settings, stage.now);
        stage.serve(400, &[], &ALL)[0]
    };
    assert!(by(PolicyChoice::Random) > 60);
    assert!(by(PolicyChoice::HealthBased) < 40);
}

/// What was learned slowly is not lost at an upgrade, and is seen.
#[test]
fn trust_goes_over_to_another_process() {
    let mut before = stage();
    for _ in 0..4 {
        second(&mut before, &["a"]);
    }
    let trust = |stage: &Stage, name| stage.backend(name).trust.unwrap();
    assert!(trust(&before, "a") < 0.5 && trust(&before, "b") > 0.99);
    let next = stage();
    let carried = before.service.carried(before.now);
    next.service.take_over(&carried, next.now);
    for name in ALL {
        let (was, is) = (trust(&before, name), trust(&next, name));
        assert!((was - is).abs() < 1e-6, "{name}: {was}, now {is}");
    }
    assert!(next.backend("a").share_wanted < 0.15);
    // Under another policy nobody is trusted, or not.
    let other = Stage::new(plain(), &ALL);
    other.service.take_over(&carried, other.now);
    assert_eq!(other.backend("a").trust, None);
    assert!((other.backend("a").share_wanted - 0.25).abs() < 1e-6);
}
