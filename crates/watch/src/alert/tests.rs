use std::time::Duration;

use super::*;
use crate::metric::Unit;

const NOW: Moment = Moment::from_secs(1_795_305_600);

fn change(backend: Option<&str>, kind: Kind, raised: bool, at: Moment) -> Change {
    let evidence = Evidence {
        value: 0.25,
        limit: 0.1,
        unit: Unit::Seconds,
        requests: 600,
        seconds: 60,
    };
    Change {
        backend: backend.map(str::to_owned),
        kind,
        turn: if raised {
            Turn::Raised {
                since: at,
                flapping: false,
            }
        } else {
            Turn::Cleared { since: at }
        },
        severity: Severity::Warning,
        evidence: raised.then_some(evidence),
    }
}

fn silence(service: Option<&str>, backend: Option<&str>, kind: Option<Kind>, secs: u64) -> Silence {
    Silence {
        service: service.map(str::to_owned),
        backend: backend.map(str::to_owned),
        kind,
        until: NOW + Duration::from_secs(secs),
        by: "anna".to_owned(),
        why: "the disk is being replaced".to_owned(),
    }
}

const SLOW: Kind = Kind::SlowerThanPeers;

#[test]
fn an_alert_is_told_once_each_way() {
    let mut alerts = Alerts::default();
    let raised = change(Some("a"), SLOW, true, NOW);
    let notice = |cleared| {
        Ok(Some(Notice {
            number: 1,
            cleared,
            silenced: false,
        }))
    };
    assert_eq!(alerts.take("api", &raised, NOW), notice(false));
    assert_eq!(alerts.take("api", &raised, NOW), Ok(None));
    let later = NOW + Duration::from_secs(60);
    let cleared = change(Some("a"), SLOW, false, later);
    assert_eq!(alerts.take("api", &cleared, later), notice(true));
    assert_eq!(alerts.take("api", &cleared, later), Ok(None));
    assert_eq!(
        (alerts.raised().count(), alerts.all()[0].cleared),
        (0, Some(later))
    );
    // Another time is another alert.
    assert_eq!(
        alerts.take("api", &raised, later).unwrap().unwrap().number,
        2
    );
}

#[test]
fn alerts_of_others_are_others() {
    let mut alerts = Alerts::default();
    let others = [
        ("api", Some("a"), SLOW),
        ("api", Some("b"), SLOW),
        ("web", Some("a"), SLOW),
        ("api", Some("a"), Kind::Down),
        ("api", None, SLOW),
    ];
    for (service, backend, kind) in others {
        assert!(
            alerts
                .take(service, &change(backend, kind, true, NOW), NOW)
                .unwrap()
                .is_some(),
            "{service} {backend:?} {kind:?}"
        );
    }
    assert_eq!(alerts.raised().count(), others.len());
}

#[test]
fn who_has_taken_note_is_known_until_it_clears() {
    let mut alerts = Alerts::default();
    alerts
        .take("api", &change(None, Kind::Down, true, NOW), NOW)
        .unwrap();
    assert_eq!(alerts.acknowledge(7, "anna", NOW), Err(Refused::Unknown));
    assert_eq!(alerts.acknowledge(1, "anna", NOW), Ok(()));
    assert_eq!(alerts.all()[0].acknowledged, Some(("anna".to_owned(), NOW)));
    alerts
        .take("api", &change(None, Kind::Down, false, NOW), NOW)
        .unwrap();
    assert_eq!(alerts.acknowledge(1, "ben", NOW), Err(Refused::Cleared));
}

#[test]
fn a_silence_covers_what_it_names_until_it_ends() {
    let check = |silence: Silence, expect: bool| {
        let mut alerts = Alerts::default();
        alerts.silence(silence.clone(), NOW).unwrap();
        let notice = alerts
            .take("api", &change(Some("a"), SLOW, true, NOW), NOW)
            .unwrap()
            .unwrap();
        assert_eq!(notice.silenced, expect, "{silence:?}");
        let after = silence.until;
        assert!(!alerts.is_silenced(&alerts.all()[0], after));
    };
    check(silence(None, None, None, 60), true);
    check(silence(Some("api"), Some("a"), Some(SLOW), 60), true);
    check(silence(Some("web"), None, None, 60), false);
    check(silence(Some("api"), Some("b"), None, 60), false);
    check(silence(None, None, Some(Kind::Down), 60), false);
}

#[test]
fn silences_end_are_lifted_and_are_bounded() {
    let mut alerts = Alerts::default();
    assert_eq!(
        alerts.silence(silence(None, None, None, 0), NOW),
        Err(Refused::Past)
    );
    for _ in 0..MOST_SILENCES {
        alerts.silence(silence(None, None, None, 60), NOW).unwrap();
    }
    assert_eq!(
        alerts.silence(silence(None, None, None, 60), NOW),
        Err(Refused::Full)
    );
    assert_eq!(
        (alerts.lift(1), alerts.lift(1)),
        (Ok(()), Err(Refused::Unknown))
    );
    assert!(alerts.silence(silence(None, None, None, 60), NOW).is_ok());
    // Those that have ended make room.
    let later = NOW + Duration::from_secs(60);
    assert!(
        alerts
            .silence(silence(None, None, None, 120), later)
            .is_ok()
    );
    assert_eq!(alerts.silences().len(), 1);
}

#[test]
fn the_table_is_bounded_and_what_is_raised_stays() {
    let mut alerts = Alerts::default();
    let of = |at: usize, raised| change(Some(&at.to_string()), SLOW, raised, NOW);
    for at in 0..MOST_ALERTS {
        alerts.take("api", &of(at, true), NOW).unwrap();
    }
    assert_eq!(
        alerts.take("api", &of(MOST_ALERTS, true), NOW),
        Err(Refused::Full)
    );
    assert_eq!(alerts.refused(), 1);
    alerts.take("api", &of(3, false), NOW).unwrap();
    assert!(
        alerts
            .take("api", &of(MOST_ALERTS, true), NOW)
            .unwrap()
            .is_some()
    );
    assert_eq!(
        (alerts.all().len(), alerts.raised().count()),
        (MOST_ALERTS, MOST_ALERTS)
    );
}

#[test]
fn what_is_gone_is_cleared_and_what_is_old_is_forgotten() {
    let mut alerts = Alerts::default();
    for backend in ["a", "b"] {
        alerts
            .take("api", &change(Some(backend), SLOW, true, NOW), NOW)
            .unwrap();
    }
    let told = alerts.gone(|_, backend| backend != Some("a"), NOW);
    assert_eq!(
        told,
        [Notice {
            number: 1,
            cleared: true,
            silenced: false
        }]
    );
    alerts.expire(NOW + Duration::from_hours(24 * 7));
    assert_eq!(
        alerts
            .all()
            .iter()
            .map(|alert| alert.number)
            .collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn they_come_back_as_they_were() {
    let mut alerts = Alerts::default();
    for (at, kind) in [
        Kind::Down,
        SLOW,
        Kind::Burn(Burn::Steady),
        Kind::Threshold(Metric::Availability),
    ]
    .into_iter()
    .enumerate()
    {
        alerts
            .take(
                "api",
                &change((at % 2 == 0).then_some("a"), kind, true, NOW),
                NOW,
            )
            .unwrap();
    }
    alerts.acknowledge(2, "anna", NOW).unwrap();
    alerts
        .take("api", &change(Some("a"), Kind::Down, false, NOW), NOW)
        .unwrap();
    alerts
        .silence(silence(Some("api"), None, Some(SLOW), 60), NOW)
        .unwrap();
    let bytes = alerts.to_bytes();
    assert_eq!(Alerts::from_bytes(&bytes), Ok(alerts));
    for cut in 0..bytes.len() {
        assert!(Alerts::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}
