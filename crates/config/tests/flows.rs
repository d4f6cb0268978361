//! TCP listeners: where their flows go, and what is said of those that say it wrong.
#![expect(clippy::panic, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_config::plan::{FlowPlan, SidePlan, Unknown};
use evenkeel_config::{Loaded, Plan, Source, load, render};

/// One TCP listener with this, one of HTTP, and three services.
fn text(listener: &str, rest: &str) -> String {
    format!(
        "listeners:\n  db: {{ bind: 127.0.0.1:1, {listener} }}\n  web: {{ bind: 127.0.0.1:2 }}\nservices: {{ api: {{ backends: [a:1] }}, one: {{ backends: [b:1] }}, two: {{ backends: [c:1] }} }}\n{rest}"
    )
}

const RULES: &str =
    "rules: [{ forward: { api: 1, one: 1, two: 1 }, listeners: web, when: { path: /a } }]\n";

fn read(text: &str) -> (Loaded, [Source; 1]) {
    let sources = [Source {
        name: "f.yaml".into(),
        text: text.into(),
    }];
    (load(&sources, &BTreeMap::new()), sources)
}

#[track_caller]
fn plan(listener: &str) -> Plan {
    let (loaded, sources) = read(&text(listener, RULES));
    let shown = render(&loaded.problems, &sources);
    loaded.plan.unwrap_or_else(|| panic!("{shown}"))
}

/// Each problem: where in the text it points, and its word.
#[track_caller]
fn wrong_text(text: &str, expect: &[(&str, &str)]) {
    let (loaded, sources) = read(text);
    let lines: Vec<&str> = text.lines().collect();
    let got: Vec<_> = loaded
        .problems
        .iter()
        .map(|one| (&lines[one.at.line - 1][one.at.column - 1..], one.word))
        .collect();
    let same = got.len() == expect.len()
        && got
            .iter()
            .zip(expect)
            .all(|(got, expect)| got.0.starts_with(expect.0) && got.1 == expect.1);
    assert!(same, "{got:?}\n{}", render(&loaded.problems, &sources));
}

#[track_caller]
fn wrong(listener: &str, expect: &[(&str, &str)]) {
    wrong_text(&text(listener, RULES), expect);
}

fn side(service: usize, weight: u16) -> SidePlan {
    SidePlan { service, weight }
}

#[test]
fn flows_go_to_a_service_or_a_split() {
    let flows = |listener: &str| plan(listener).listeners[0].flows.clone().unwrap();
    let all = |sides: &[SidePlan]| FlowPlan::All(sides.into());
    assert_eq!(flows("protocol: tcp, forward: one"), all(&[side(1, 1)]));
    assert_eq!(
        flows("protocol: tcp, forward: { two: 9, one: 1 }"),
        all(&[side(2, 9), side(1, 1)])
    );
    let plain = plan("protocol: http");
    assert_eq!(plain.listeners[0].flows, None);
    let idle = plan("protocol: tcp, forward: one, timeouts: { idle: 5m, handshake: 3s }");
    assert_eq!(idle.listeners[0].limits.idle, Duration::from_secs(300));
    assert_eq!(plain.listeners[0].limits.idle, Duration::from_secs(3600));
}

#[test]
fn names_and_protocols_find_their_service() {
    let plan = plan(
        "protocol: tcp, sni: { DB.example.com: one, \"*.example.com\": { alpn: { h2: two, http/1.1: { one: 1 } }, forward: api }, odd.example.com: { alpn: { h2: two } }, default: api }",
    );
    let Some(FlowPlan::Hello(hello)) = &plan.listeners[0].flows else {
        panic!("by hello");
    };
    for (name, offered, expect) in [
        (Some("db.example.com"), &[][..], Ok(1)),
        (Some("DB.Example.com"), &["h2"], Ok(1)),
        (Some("db.example.com."), &[], Ok(1)),
        (Some("A.example.com."), &["h2"], Ok(2)),
        // Two dots are another name, and an address is none.
        (Some("db.example.com.."), &[], Ok(0)),
        (Some("127.0.0.1"), &[], Ok(0)),
        (Some("a.example.com"), &[], Ok(0)),
        (Some("a.example.com"), &["h3", "h2"], Ok(2)),
        // What the client likes better.
        (Some("a.example.com"), &["http/1.1", "h2"], Ok(1)),
        (Some("a.example.com"), &["h3"], Ok(0)),
        (Some("odd.example.com"), &["h2"], Ok(2)),
        (Some("odd.example.com"), &["h3"], Err(Unknown::Protocol)),
        // One label, as certificates have it.
        (Some("a.b.example.com"), &["h2"], Ok(0)),
        (Some("example.com"), &[], Ok(0)),
        (None, &[], Ok(0)),
    ] {
        let offered = offered.iter().map(|one: &&str| one.as_bytes());
        let found = hello.find(name, offered).map(|sides| sides[0].service);
        assert_eq!(found, expect, "{name:?}");
    }
    let bare = self::plan("protocol: tcp, sni: { a.b: one }");
    let Some(FlowPlan::Hello(hello)) = &bare.listeners[0].flows else {
        panic!("by hello");
    };
    assert_eq!(hello.find(None, []), Err(Unknown::Name));
    assert_eq!(hello.find(Some("b.b"), []), Err(Unknown::Name));
}

#[test]
fn what_is_wrong_is_said_at_its_place() {
    wrong("protocol: tcp", &[("db:", "missing")]);
    wrong(
        "protocol: tcp, forward: one, sni: { a.b: one }",
        &[("sni", "protocol")],
    );
    wrong("forward: one", &[("forward", "protocol")]);
    wrong("sni: { a.b: one }", &[("sni", "protocol")]);
    wrong(
        "protocol: tcp, forward: none",
        &[("none", "unknown_service")],
    );
    wrong(
        "protocol: tcp, forward: { one: 0 }",
        &[("{ one", "weights")],
    );
    wrong(
        "protocol: tcp, sni: { \"a?\": one, \"a b\": one, a.b: one, A.B: two, c: {}, d: { alpn: { \"\": one } }, e: { forwrd: one } }",
        &[
            ("\"a?\"", "name"),
            ("\"a b\"", "name"),
            ("A.B", "duplicate_name"),
            ("{}", "missing"),
            ("\"\"", "name"),
            ("{ forwrd", "missing"),
            ("forwrd", "unknown_key"),
        ],
    );
    wrong("protocol: tcp, sni: {}", &[("{}", "empty")]);
    wrong(
        "protocol: tcp, forward: one, tls: { alpn: [\"\"], certificates: [] }",
        &[("\"\"]", "name"), ("[] }", "missing")],
    );
    for key in ["head: 1s", "tunnel: 1s", "keep_alive: 1s"] {
        let listener = format!("protocol: tcp, forward: one, timeouts: {{ {key} }}");
        wrong(&listener, &[(key, "no_effect")]);
    }
    for key in ["streams: 9", "head: 1KiB", "body: 1KiB", "requests: 9"] {
        let listener = format!("protocol: tcp, forward: one, limits: {{ {key} }}");
        wrong(&listener, &[(key, "no_effect")]);
    }
    for key in ["path: as_is", "via: a", "real_ip: true", "half_close: true"] {
        let listener = format!("protocol: tcp, forward: one, {key}");
        wrong(&listener, &[(key, "protocol")]);
    }
    let fine = "protocol: tcp, forward: one, path: normalize, real_ip: false";
    plan(fine);
}

#[test]
fn rules_and_tcp_listeners_have_nothing_to_do_with_each_other() {
    let tcp = "protocol: tcp, forward: one";
    wrong_text(
        &text(
            tcp,
            "rules: [{ forward: { api: 1, two: 1 }, listeners: [web, db] }]\n",
        ),
        &[("db]", "protocol")],
    );
    // A rule for all listeners is covered by one for all that speak HTTP.
    wrong_text(
        &text(
            tcp,
            "rules: [{ name: a, forward: { api: 1, two: 1 }, listeners: web }, { name: b, forward: api }]\n",
        ),
        &[("{ name: b", "unreachable_rule")],
    );
    // Nobody needs rules, and a service is used by a listener alone.
    let alone = "listeners: { db: { bind: 127.0.0.1:1, protocol: tcp, forward: one } }\nservices: { one: { backends: [b:1] } }\n";
    wrong_text(alone, &[]);
    assert!(read(alone).0.plan.unwrap().rules.is_empty());
    wrong_text(
        &format!("{alone}rules: [{{ forward: one }}]\n"),
        &[("{ forward", "unreachable_rule")],
    );
}
