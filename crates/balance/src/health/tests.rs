//! Rows: what checks and verdicts by hand make of the active fact.

use super::*;

const PASS: CheckResult = CheckResult::Passed;
const TIMEOUT: CheckResult = CheckResult::Failed(CheckFault::Timeout);
const REFUSED: CheckResult = CheckResult::Failed(CheckFault::Refused);
const STATUS: CheckResult = CheckResult::Failed(CheckFault::Status(404));

/// The check that began `second` seconds after the start.
fn report(second: u64, result: CheckResult) -> CheckReport {
    CheckReport {
        began: at(second),
        latency: Duration::from_millis(1),
        result,
        status: None,
    }
}

fn at(second: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(second)
}

/// Feeds checks, one a second from 1 on, and compares the fact after each.
fn check(rise: u32, fall: u32, results: &[CheckResult], expected: &[Active]) {
    let mut health = Health::joining(true);
    for (number, (result, expected)) in results.iter().zip(expected).enumerate() {
        let second = number as u64 + 1;
        health.report(report(second, *result), ActiveSettings { rise, fall }, None);
        assert_eq!(
            health.active(),
            *expected,
            "rise {rise}, fall {fall}, {results:?}, after check {second}"
        );
    }
}

#[test]
fn rise_and_fall() {
    use Active::{Down, Unproven, Up};
    // One success is enough for the unproven, whatever rise is.
    check(5, 3, &[PASS], &[Up]);
    check(2, 3, &[REFUSED, PASS], &[Unproven, Up]);
    // Both readings of the five systems: one failure, or three in a row.
    check(1, 1, &[PASS, REFUSED, PASS], &[Up, Down, Up]);
    check(1, 3, &[PASS, STATUS, STATUS, STATUS], &[Up, Up, Up, Down]);
    // A success between them starts the row anew.
    check(
        1,
        3,
        &[PASS, STATUS, STATUS, PASS, STATUS, STATUS],
        &[Up; 6],
    );
    // Down needs rise successes in a row.
    check(
        2,
        1,
        &[PASS, REFUSED, PASS, REFUSED, PASS, PASS],
        &[Up, Down, Down, Down, Down, Up],
    );
    // The unproven fall too, so that nobody waits for them for ever.
    check(1, 2, &[REFUSED, REFUSED], &[Unproven, Down]);
    // Nonsense settings are read as one.
    check(0, 0, &[PASS, REFUSED, PASS], &[Up, Down, Up]);
}

/// A backend that is down by `faults` at seconds 10, 11, ..., with a success picked at `success`.
fn outvoted(faults: &[CheckResult], success: Option<u64>) -> bool {
    let mut health = Health::joining(true);
    let settings = ActiveSettings { rise: 1, fall: 2 };
    health.report(report(1, PASS), settings, None);
    for (number, fault) in faults.iter().enumerate() {
        health.report(report(10 + number as u64, *fault), settings, None);
    }
    assert_eq!(health.active(), Active::Down, "{faults:?}");
    let reason = health.outvoted(success.map(at));
    assert_eq!(reason.is_some(), health.active() == Active::Up);
    health.active() == Active::Up
}

#[test]
fn live_success_outvotes_timeouts_and_nothing_else() {
    assert!(
        outvoted(&[TIMEOUT, TIMEOUT], Some(11)),
        "picked as the last check began"
    );
    assert!(outvoted(&[TIMEOUT, TIMEOUT], Some(60)));
    assert!(
        !outvoted(&[TIMEOUT, TIMEOUT], Some(10)),
        "picked before the last failed check began"
    );
    assert!(!outvoted(&[TIMEOUT, TIMEOUT], None), "nobody was asked");
    assert!(!outvoted(&[REFUSED, REFUSED], Some(60)), "a refusal stands");
    assert!(
        !outvoted(&[STATUS, STATUS], Some(60)),
        "a wrong status stands"
    );
    assert!(
        !outvoted(&[TIMEOUT, STATUS], Some(60)),
        "not all were timeouts"
    );
    assert!(
        !outvoted(&[STATUS, TIMEOUT], Some(60)),
        "not all were timeouts"
    );
}

#[test]
fn a_timeout_that_traffic_contradicts_is_not_counted() {
    let settings = ActiveSettings { rise: 1, fall: 1 };
    let mut health = Health::joining(true);
    health.report(report(1, PASS), settings, None);
    health.report(report(10, TIMEOUT), settings, Some(at(10)));
    assert_eq!((health.active(), health.failures), (Active::Up, 0));
    health.report(report(20, TIMEOUT), settings, Some(at(19)));
    assert_eq!(
        health.active(),
        Active::Down,
        "that success set out before the check"
    );
}

#[test]
fn a_verdict_by_hand_is_held_against_checks_and_traffic() {
    let settings = ActiveSettings { rise: 1, fall: 1 };
    let mut health = Health::joining(true);
    health.mark(Some(false), None);
    assert_eq!(health.active(), Active::Down);
    health.report(report(1, PASS), settings, None);
    assert_eq!(
        health.active(),
        Active::Down,
        "zlayer's next TCP success undid it within 5 s"
    );
    assert!(health.outvoted(Some(at(99))).is_none());
    assert!(!health.expire(at(1_000_000)), "without an end it stands");
    health.mark(Some(true), None);
    assert_eq!((health.active(), health.failures), (Active::Up, 0));
    health.report(report(2, REFUSED), settings, None);
    assert_eq!(
        health.active(),
        Active::Down,
        "a verdict of health without an end clears, it does not hold"
    );
}

#[test]
fn a_verdict_by_hand_ends_at_its_time_or_when_it_is_withdrawn() {
    let settings = ActiveSettings { rise: 1, fall: 1 };
    for healthy in [true, false] {
        let held = if healthy { Active::Up } else { Active::Down };
        let mut health = Health::joining(true);
        health.mark(Some(healthy), Some(at(30)));
        health.report(
            report(1, if healthy { REFUSED } else { PASS }),
            settings,
            None,
        );
        assert_eq!(health.active(), held);
        assert!(!health.expire(at(29)) && health.active() == held);
        assert!(
            health.expire(at(30)) && health.active() != held,
            "the checks are believed again"
        );
        health.mark(Some(healthy), Some(at(90)));
        health.report(
            report(31, if healthy { REFUSED } else { PASS }),
            settings,
            None,
        );
        health.mark(None, None);
        assert_ne!(health.active(), held, "withdrawn");
    }
}

#[test]
fn switching_checks_off_believes_everybody_and_on_doubts_nobody_who_serves() {
    let mut health = Health::joining(true);
    health.checks_switched(false);
    assert_eq!(health.active(), Active::Up);
    health.checks_switched(true);
    assert_eq!(health.active(), Active::Up);
}
