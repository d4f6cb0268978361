use std::time::Duration;

use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::event::EventKind;
use evenkeel_balance::retry::{Attempt, Decision, Progress, Reason};
use evenkeel_balance::verdict::Fault;

use crate::stage::{Stage, id, plain};

fn attempt() -> Attempt {
    Attempt::new(Fault::Connect)
        .idempotent(true)
        .progress(Progress::Unsent)
}

/// What a retry that is paid for is granted by.
const GRANTED: Decision = Decision::Again {
    after: Duration::ZERO,
    excused: false,
};

fn granted(stage: &Stage, asked: usize) -> usize {
    (0..asked)
        .filter(|_| matches!(stage.service.retry(&attempt(), 1), Decision::Again { .. }))
        .count()
}

#[test]
fn the_budget_is_a_fifth_of_the_exchanges_and_three_a_second() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    assert_eq!(
        granted(&stage, 100),
        30,
        "a new service has ten seconds of the floor"
    );
    stage.pass(1.0);
    assert_eq!(granted(&stage, 100), 3);
    let (mut all, mut again) = (0, 3);
    for _ in 0..10 {
        // A retry is a pick too, and earns nothing.
        stage.serve(100 + again, &[], &[]);
        stage.pass(0.1);
        again = granted(&stage, 1000);
        all += again;
    }
    assert!(
        (195..=206).contains(&all),
        "a fifth of 1000 and 3, not {all}"
    );
    // What nobody asks for is not kept for an outage: ten seconds of the floor, and one of a fifth.
    stage.serve(again, &[], &[]);
    for _ in 0..600 {
        stage.serve(100, &[], &[]);
        stage.pass(0.1);
    }
    let kept = granted(&stage, 1000);
    assert!(
        (225..=255).contains(&kept),
        "a fifth of 1000 and 30, not {kept}"
    );
}

#[test]
fn a_spent_budget_is_told_and_a_retry_not_made_is_given_back() {
    let mut stage = Stage::new(plain(), &["a"]);
    assert_eq!(granted(&stage, 30), 30);
    assert_eq!(
        stage.service.retry(&attempt(), 1),
        Decision::No(Reason::BudgetExhausted)
    );
    assert_eq!(
        stage.service.retry(&attempt(), 1),
        Decision::No(Reason::BudgetExhausted)
    );
    stage.service.retry_not_made(GRANTED);
    assert_eq!(granted(&stage, 1), 1);
    stage.pass(0.1);
    assert_eq!(stage.heard(), [EventKind::RetryBudgetSpent { refused: 2 }]);
}

#[test]
fn no_more_is_given_back_than_was_granted() {
    let mut stage = Stage::new(plain(), &["a"]);
    for _ in 0..1000 {
        stage.service.retry_not_made(GRANTED);
    }
    assert_eq!(granted(&stage, 100), 30);
    for _ in 0..1000 {
        stage.service.retry_not_made(GRANTED);
    }
    assert_eq!(granted(&stage, 100), 30);
    // A retry that was given back is no retry: the exchanges picked meanwhile all earn.
    for _ in 0..30 {
        stage.service.retry_not_made(GRANTED);
    }
    stage.serve(100, &[], &[]);
    stage.service.tick(stage.now);
    assert_eq!(stage.service.snapshot(stage.now).retry_budget, 30 + 20);
    assert_eq!(granted(&stage, 10), 10);
    stage.serve(10, &[], &[]);
    stage.service.tick(stage.now);
    for _ in 0..10 {
        stage.service.retry_not_made(GRANTED);
    }
    stage.serve(100, &[], &[]);
    stage.service.tick(stage.now);
    assert_eq!(stage.service.snapshot(stage.now).retry_budget, 50 + 22);
}

/// Who reached nobody is sent on without a price, and is a retry all the same: it earns nothing either.
#[test]
fn what_reached_nobody_costs_nothing_and_earns_nothing() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    assert_eq!(granted(&stage, 100), 30);
    let nobody = attempt().progress(Progress::Unreached);
    let further = Decision::Again {
        after: Duration::ZERO,
        excused: true,
    };
    for _ in 0..100 {
        assert_eq!(stage.service.retry(&nobody, 1), further);
    }
    stage.serve(200, &[], &[]);
    stage.service.tick(stage.now);
    assert_eq!(stage.service.snapshot(stage.now).retry_budget, 14);
    // Given back it is an exchange less that failed, and no money.
    for _ in 0..100 {
        assert_eq!(stage.service.retry(&nobody, 1), further);
        stage.service.retry_not_made(further);
    }
    assert_eq!(stage.service.snapshot(stage.now).retry_budget, 14);
}

#[test]
fn what_is_not_safe_costs_nothing() {
    let stage = Stage::new(plain(), &["a"]);
    let unsafe_one = attempt().idempotent(false).progress(Progress::Sent);
    assert_eq!(
        stage.service.retry(&unsafe_one, 1),
        Decision::No(Reason::NotSafe)
    );
    assert_eq!(stage.service.snapshot(stage.now).retry_budget, 30);
}

/// With every attempt failing and each exchange asking for two more, the backends see at most 1.2 times the exchanges,
/// and the floor.
#[test]
fn amplification_is_bounded_when_everything_fails() {
    let mut stage = Stage::new(plain(), &["a", "b", "c"]);
    let (mut exchanges, mut attempts) = (0, 0);
    for _ in 0..300 {
        for _ in 0..50 {
            exchanges += 1;
            for made in 1..=3 {
                let pick = stage.pick().unwrap();
                stage.badly(pick);
                attempts += 1;
                if !matches!(
                    stage.service.retry(&attempt().made(made), 1),
                    Decision::Again { .. }
                ) {
                    break;
                }
            }
        }
        stage.pass(0.1);
    }
    let floor = 30 + 3 * 30;
    assert!(
        attempts <= exchanges * 12 / 10 + floor,
        "{attempts} attempts for {exchanges} exchanges"
    );
    assert!(
        attempts > exchanges * 11 / 10,
        "retries must have been tried: {attempts} of {exchanges}"
    );
}

/// Counters of members that left are not those of members that came: a fleet that was renewed earns as before.
#[test]
fn a_renewed_fleet_earns_its_retries() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage.serve(1000, &[], &[]);
    stage.pass(0.1);
    assert!(granted(&stage, 10_000) >= 200);
    let fresh = ["c", "d"].map(BackendSpec::new).to_vec();
    stage.service.replace(fresh, stage.now).unwrap();
    stage.pass(0.1);
    granted(&stage, 10_000);
    stage.serve(1000, &[], &[]);
    stage.pass(0.1);
    let earned = granted(&stage, 10_000);
    assert!(
        (199..=202).contains(&earned),
        "a fifth of 1000, not {earned}"
    );
}

/// A member that leaves and returns with its counters earns nothing for exchanges that were counted before.
#[test]
fn a_member_that_returns_earns_nothing_twice() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage.serve(10_000, &[], &[]);
    stage.pass(0.1);
    granted(&stage, 100_000);
    let held = stage.pick_of("a");
    for _ in 0..5 {
        stage.service.remove(&id("a"), stage.now).unwrap();
        stage.pass(0.1);
        stage.service.add(BackendSpec::new("a"), stage.now).unwrap();
        stage.pass(0.1);
    }
    let earned = granted(&stage, 100_000);
    assert!(
        earned <= 5,
        "the floor of a second and one exchange, not {earned}"
    );
    stage.well(held);
}

/// A clock that goes back and forth pays the floor once.
#[test]
fn time_that_comes_again_earns_nothing_twice() {
    let mut stage = Stage::new(plain(), &["a"]);
    let before = stage.now;
    stage.pass(1.0);
    granted(&stage, 100);
    for _ in 0..10 {
        stage.service.tick(before);
        stage.service.tick(stage.now);
    }
    assert_eq!(granted(&stage, 100), 0);
}
