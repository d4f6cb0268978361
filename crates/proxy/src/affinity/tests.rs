use evenkeel_config::plan::AffinityPlan;
use evenkeel_wire::http1::request::PathForm;
use evenkeel_wire::http1::{HeadEnd, HeadLimits, request};

use super::*;

const TTL: u64 = 1000;
const NOW: u64 = 1_000_000;

fn affinity(ttl: u64) -> Affinity {
    let plan = AffinityPlan {
        by: AffinityBy::Cookie(CookiePlan {
            name: "keel".into(),
            ttl: Duration::from_secs(ttl),
            attributes: "; Path=/".into(),
            everywhere: false,
        }),
        clients: Default::default(),
    };
    Affinity::new(&plan, &"api".into(), &Rings::new(Arc::default(), None))
}

fn told(affinity: &Affinity, values: &[String], today: u64) -> Stay {
    let AffinityBy::Cookie(plan) = &affinity.plan.by else {
        unreachable!("it is one by cookie")
    };
    let pairs: Vec<_> = values.iter().map(|value| format!("keel={value}")).collect();
    let text = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n",
        pairs.join("; ")
    );
    let bounds = HeadLimits {
        bytes: 10_000,
        fields: 10,
        target: 100,
    };
    let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
    let read = request::parse(
        text.as_bytes(),
        &mut end,
        &bounds,
        PathForm::Normalize,
        &mut head,
    );
    assert_eq!(read, Ok(Some(text.len())));
    affinity.told(plan, &head, Duration::from_secs(today))
}

/// A cookie of this age says where its client is, until its time is over; it is told anew when a tenth of that is.
#[test]
fn a_cookie_has_its_time() {
    let check = |ttl: u64, issued: u64, home: Option<u64>, renew: bool| {
        let affinity = affinity(ttl);
        let sealed = affinity
            .sealer
            .seal(7, u32::try_from(issued).unwrap())
            .unwrap();
        let stay = told(&affinity, &[sealed], NOW);
        let ignored = home.is_none().then_some(Ignored::Expired);
        assert_eq!(
            (stay.home, stay.renew, stay.ignored),
            (home, renew, ignored),
            "{issued}"
        );
        let today = Duration::from_secs(NOW);
        let set = affinity.to_tell(&stay, 7, today, false);
        assert_eq!(set.is_some(), renew || home.is_none(), "{issued}");
        // What is set says it from now on.
        if let Some((name, value, attributes)) = set {
            let age = if ttl > 0 { "; Max-Age=1000" } else { "" };
            assert_eq!((name, attributes), ("keel", format!("{age}; Path=/")));
            let anew = told(&affinity, &[value], NOW + ttl.saturating_sub(1));
            assert_eq!(anew.home, Some(7));
        }
        // Elsewhere it is always told.
        assert!(affinity.to_tell(&stay, 8, today, false).is_some());
    };
    check(TTL, NOW, Some(7), false);
    check(TTL, NOW - 99, Some(7), false);
    check(TTL, NOW - 100, Some(7), true);
    check(TTL, NOW - TTL, Some(7), true);
    check(TTL, NOW - TTL - 1, None, false);
    // By a clock that is ahead of ours.
    check(TTL, NOW + 5000, Some(7), false);
    // Until the browser is closed.
    check(0, NOW - 100, Some(7), false);
    check(0, 0, Some(7), false);
}

/// So many are looked into: the one that says something may stand behind three that do not, and texts that cannot be ours cost nothing.
#[test]
fn few_cookies_are_looked_into() {
    let affinity = affinity(TTL);
    let sealed = affinity
        .sealer
        .seal(7, u32::try_from(NOW).unwrap())
        .unwrap();
    let check = |wrong: &str, before: usize, home: Option<u64>| {
        let mut values = vec![wrong.to_owned(); before];
        values.push(sealed.clone());
        let stay = told(&affinity, &values, NOW);
        assert_eq!(stay.home, home, "{wrong} {before}");
        assert_eq!(stay.ignored, home.is_none().then_some(Ignored::Invalid));
    };
    let other = sealed.replace(|letter| letter != 'A', "A");
    check(&other, 0, Some(7));
    check(&other, AFFINITY_TOLD - 1, Some(7));
    check(&other, AFFINITY_TOLD, None);
    check(&other, 100, None);
    check("short", 100, Some(7));
}
