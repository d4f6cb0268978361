use evenkeel_watch::alert::Kind;
use evenkeel_watch::time::Moment;

use super::*;

fn plan(name: &str) -> WebhookPlan {
    WebhookPlan {
        name: name.into(),
        to: BackendAddress::Tcp("127.0.0.1:1".parse().unwrap()),
        tls: None,
        path: "/secret".into(),
        secret: None,
        headers: Vec::new(),
        events: AlertTurn::ALL.into(),
        severity: AlertSeverity::Info,
        timeout: Duration::from_secs(1),
        attempts: 2,
    }
}

fn alert(number: u64, severity: Severity, cleared: bool) -> Alert {
    Alert {
        number,
        service: "api".into(),
        backend: Some("a".into()),
        kind: Kind::Down,
        severity,
        since: Moment::from_millis(1_500),
        flapping: false,
        evidence: None,
        acknowledged: None,
        cleared: cleared.then(|| Moment::from_millis(3_000)),
    }
}

fn tell(hooks: &Hooks, number: u64) {
    hooks.tell(&alert(number, Severity::Critical, false), false);
}

fn told(hooks: &Hooks, whose: &Arc<Notify>) -> Option<(u64, u32)> {
    match hooks.next(whose) {
        Next::Tell(_, message, tries) => Some((message.alert, tries)),
        Next::Wait | Next::End => None,
    }
}

fn one(plans: &[WebhookPlan]) -> (Hooks, Arc<Notify>) {
    let hooks = Hooks::default();
    let mut fresh = hooks.follow(plans);
    let (_, whose) = fresh.swap_remove(0);
    (hooks, whose)
}

#[test]
fn who_is_told_of_what() {
    let check = |plan: WebhookPlan, expect: &[u64]| {
        let (hooks, whose) = one(&[plan]);
        hooks.tell(&alert(1, Severity::Info, false), false);
        hooks.tell(&alert(2, Severity::Warning, true), false);
        hooks.tell(&alert(3, Severity::Critical, false), false);
        let each = std::iter::from_fn(|| {
            let (number, _) = told(&hooks, &whose)?;
            hooks.delivered(&whose);
            Some(number)
        });
        assert_eq!(each.collect::<Vec<_>>(), expect);
    };
    check(plan("a"), &[1, 2, 3]);
    let severity = AlertSeverity::Warning;
    check(
        WebhookPlan {
            severity,
            ..plan("a")
        },
        &[2, 3],
    );
    let events = vec![AlertTurn::Raised];
    check(
        WebhookPlan {
            events,
            ..plan("a")
        },
        &[1, 3],
    );
}

/// What is under way stays first, the oldest that waits goes, and of dead letters the oldest.
#[test]
fn lines_are_bounded_and_nothing_goes_unsaid() {
    let (hooks, whose) = one(&[plan("a")]);
    tell(&hooks, 0);
    assert_eq!(told(&hooks, &whose), Some((0, 1)));
    let all = (WAITING_MOST + DEAD_MOST + 3) as u64;
    for number in 1..=all {
        tell(&hooks, number);
    }
    assert_eq!(told(&hooks, &whose), Some((0, 2)));
    let (parts, letters) = hooks.parts();
    assert_eq!(parts[0].waiting, WAITING_MOST + 1);
    assert_eq!(parts[0].dead, DEAD_MOST);
    assert_eq!(parts[0].counts.crowded, DEAD_MOST as u64 + 3);
    assert_eq!(parts[0].counts.forgotten, 3);
    assert_eq!(parts[0].to, "http://127.0.0.1:1");
    assert_eq!((letters[0].alert, &*letters[0].why), (4, "too many wait"));
    assert_eq!(letters[0].number, 4);
    // One that is told again is the last of its line, and its line has to have room.
    assert_eq!(hooks.again(letters[0].number), Err(Refused::Busy));
    hooks.delivered(&whose);
    assert_eq!(told(&hooks, &whose), Some((DEAD_MOST as u64 + 4, 1)));
    assert_eq!(hooks.again(letters[0].number), Ok(()));
    assert!(matches!(
        hooks.again(letters[0].number),
        Err(Refused::Unknown { .. })
    ));
    let desk = hooks.desk();
    assert_eq!(desk.lines[0].waiting.back().map(|one| one.alert), Some(4));
    assert_eq!(
        desk.lines[0].waiting.back().map(|one| one.id.clone()),
        Some(letters[0].id.clone())
    );
}

/// Its trouble begins once with a second failure in a row, or with the first that is for good, and ends once.
#[test]
fn trouble_is_told_when_it_begins_and_ends() {
    let (hooks, whose) = one(&[plan("a")]);
    (0..4).for_each(|number| tell(&hooks, number));
    let fails = |why: &str| Some(News::Fails(why.into()));
    assert_eq!(told(&hooks, &whose), Some((0, 1)));
    assert_eq!(hooks.failed(&whose, "late", None), None);
    assert_eq!(told(&hooks, &whose), Some((0, 2)));
    assert_eq!(
        hooks.failed(&whose, "late", Some(Ends::GivenUp)),
        fails("late")
    );
    assert_eq!(told(&hooks, &whose), Some((1, 1)));
    assert_eq!(hooks.failed(&whose, "404", Some(Ends::Refused)), None);
    assert_eq!(told(&hooks, &whose), Some((2, 1)));
    assert_eq!(hooks.delivered(&whose), Some(News::Mended));
    assert_eq!(told(&hooks, &whose), Some((3, 1)));
    assert_eq!(hooks.delivered(&whose), None);
    let (parts, letters) = hooks.parts();
    let counts = HookCounts {
        delivered: 2,
        again: 1,
        refused: 1,
        given_up: 1,
        ..HookCounts::default()
    };
    assert_eq!(parts[0].counts, counts);
    let each: Vec<_> = letters
        .iter()
        .map(|one| (one.alert, one.attempts))
        .collect();
    assert_eq!(each, [(0, 2), (1, 1)]);
}

/// Who stays keeps what waits, wherever it is now; who is gone ends; who comes back under a name is somebody else.
#[test]
fn a_reload_keeps_what_waits() {
    let (hooks, whose) = one(&[plan("a"), plan("b")]);
    tell(&hooks, 7);
    assert_eq!(told(&hooks, &whose), Some((7, 1)));
    let path = "/other".into();
    assert!(
        hooks
            .follow(&[WebhookPlan { path, ..plan("a") }])
            .is_empty()
    );
    let Next::Tell(plan_now, message, 2) = hooks.next(&whose) else {
        panic!("it goes on");
    };
    assert_eq!((&*plan_now.path, message.alert), ("/other", 7));
    assert!(hooks.follow(&[]).is_empty());
    assert!(hooks.is_over(&whose));
    assert!(matches!(hooks.next(&whose), Next::End));
    let fresh = hooks.follow(&[plan("a")]);
    assert!(matches!(hooks.next(&fresh[0].1), Next::Wait));
    assert_eq!(hooks.delivered(&whose), None);
    assert_eq!(hooks.parts().0[0].counts, HookCounts::default());
}

#[test]
fn a_message_says_what_alerts_are() {
    let seen = alert(7, Severity::Critical, true);
    let message = Message::of(&seen, true, "id".into(), Duration::from_millis(2_500));
    let text: serde_json::Value = serde_json::from_slice(&message.text).unwrap();
    let expect = serde_json::json!({
        "type": "alert_cleared", "id": "id", "at_seconds": 2.5,
        "alert": {
            "number": 7, "service": "api", "backend": "a", "kind": "down", "severity": "critical", "state": "cleared",
            "since_seconds": 1.5, "cleared_seconds": 3.0, "flapping": false, "silenced": true,
        },
    });
    assert_eq!(text, expect);
    let names = |key: Option<&[u8]>| {
        let fields = message.fields(key, Duration::from_secs(9));
        fields.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["webhook-id", "webhook-timestamp"]);
    assert_eq!(names(Some(b"0123456789abcdef")).len(), 3);
}
