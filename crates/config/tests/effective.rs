//! What holds, and where it comes from: shown, read again, compared.
#![expect(clippy::panic, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;

use evenkeel_config::effective::{Entry, Kind, Origin, differences, effective};
use evenkeel_config::plan::CheckPlan;
use evenkeel_config::{Plan, Source, load, render};

fn sources(texts: &[&str]) -> Vec<Source> {
    let source = |(number, text): (usize, &&str)| Source {
        name: format!("{number}.yaml"),
        text: (*text).into(),
    };
    texts.iter().enumerate().map(source).collect()
}

fn environment() -> BTreeMap<String, String> {
    let pairs = [
        ("PORT", "9000"),
        ("PASSWORD", "Hunter2"),
        ("EVERY", "700ms"),
    ];
    pairs
        .map(|(name, value)| (name.into(), value.into()))
        .into()
}

#[track_caller]
fn show(texts: &[&str]) -> (Entry, String) {
    let sources = sources(texts);
    let loaded = load(&sources, &environment());
    match effective(&loaded, &sources, &environment()) {
        Some(entry) => {
            let text = entry.text(&sources);
            (entry, text)
        }
        None => panic!("{}", render(&loaded.problems, &sources)),
    }
}

#[track_caller]
fn plan(text: &str) -> Plan {
    let sources = sources(&[text]);
    let loaded = load(&sources, &environment());
    let mut plan = loaded
        .plan
        .unwrap_or_else(|| panic!("{text}\n{}", render(&loaded.problems, &sources)));
    for health in plan
        .services
        .iter_mut()
        .filter_map(|one| one.health.as_mut())
    {
        if let CheckPlan::Http(http) = &mut health.check {
            // They are veiled.
            http.headers.clear();
        }
    }
    plan
}

const SMALL: &str =
    "listeners: { web: { bind: 127.0.0.1:8080 } }\nservices: { api: { backends: [10.0.0.1:1] } }\n";

/// Every default of the table is the one that the readers take: written out, it changes nothing.
#[test]
fn what_is_shown_means_the_same() {
    let rows = [
        SMALL,
        include_str!("files/today.yaml"),
        include_str!("files/actions.yaml"),
        "listeners: { web: { bind: 127.0.0.1:1 } }\nservices: { api: { policy: hash, breaker: off, backends: { address: a:1, id: \"x #: y\" }, health: { tcp: , interval: 30s } } }\n",
        "listeners: { web: { bind: 127.0.0.1:1 } }\nservices: { api: { policy: { hash: {} }, breaker: on, backends: [a:1], health: { http: {}, interval: 500ms, interval_down: 1s } } }\n",
        "listeners: { web: { bind: 127.0.0.1:1 } }\nservices: { api: { backends: [a:1], retry: { per_try: 2s, budget: { floor: 5/s } } }, next: { backends: [a:1], retry: off, timeouts: { per_try: 3s } } }\nrules: { forward: api }\n",
        "listeners: { web: { bind: 127.0.0.1:1 } }\nservices:\n  api:\n    backends:\n    - 10.0.0.1:${PORT}\n    - \"unix:/run/${PORT}\"\n    - 10.0.0.2:${OTHER:-77}\n    health:\n      tcp: {}\n      interval: ${EVERY}\nrules:\n- forward: api\n- { when: { method: GET }, priority: 3, respond: { body: \"a\\n\\\"b\\\" ü\\e\" } }\n- { when: { path: [{ exact: / }, /a*] }, priority: 2, redirect: { host: x } }\n",
    ];
    for row in rows {
        let (_, text) = show(&[row]);
        assert_eq!(
            format!("{:?}", plan(&text)),
            format!("{:?}", plan(row)),
            "{text}"
        );
        // And again: nothing is left to say.
        let (again, _) = show(&[&text]);
        let (once, _) = show(&[row]);
        let without = |text: &str| !text.contains("headers");
        let rest: Vec<_> = differences(&once, &again)
            .into_iter()
            .filter(|one| without(&one.path))
            .collect();
        assert_eq!(rest, [], "{text}");
    }
}

#[test]
fn every_value_has_its_origin() {
    let (_, text) = show(&[
        "drain: ${DRAIN:-20s}\nlisteners: { web: { bind: 127.0.0.1:8080, limits: { head: 16KiB } } }\n",
        "services:\n  api:\n    backends:\n    - 10.0.0.1:${PORT}\n    health: { http: { headers: { Authorization: Basic abc } } }\n",
    ]);
    for (mark, origin) in [
        ("workers: auto", "default"),
        ("within: 20s", "0.yaml:1:8"),
        ("- 127.0.0.1:8080", "0.yaml:2:27"),
        ("head: 16KiB", "0.yaml:2:59"),
        ("connections: 50000", "default"),
        ("# body: no limit", "default"),
        (
            "- address: 10.0.0.1:${PORT}",
            "1.yaml:4:7, environment PORT",
        ),
        ("id: 10.0.0.1:${PORT}", "default"),
        ("interval_unsure: 1s", "default"),
        ("Authorization: \"(veiled)\"", "1.yaml:5:49"),
        ("- name: default", "default"),
        ("forward: api", "default"),
    ] {
        let found = text.lines().any(|line| {
            line.rsplit_once(" # ")
                .is_some_and(|(left, right)| left.trim() == mark && right == origin)
        });
        assert!(found, "{mark} # {origin} in\n{text}");
    }
    assert!(!text.contains("9000") && !text.contains("abc"), "{text}");
}

#[test]
fn rules_are_shown_in_the_order_in_which_they_are_tried() {
    let (entry, _) = show(&[&format!(
        "{SMALL}rules:\n- {{ forward: api }}\n- {{ name: second, priority: 9, when: {{ host: a }}, forward: {{ api: 1 }} }}\n- {{ priority: 3, when: {{ host: b }}, forward: api }}\n"
    )]);
    let rows = entry.rows();
    let names = rows.iter().filter(|row| row.path.ends_with("].name"));
    let names: Vec<_> = names.map(|row| row.leaf.text()).collect();
    assert_eq!(names, ["rule-3", "second", "rule-1"]);
    let row = rows
        .iter()
        .find(|row| row.path == "rules[second].forward")
        .unwrap();
    assert_eq!((row.leaf.text(), row.leaf.kind), ("api", Kind::Text));
    assert!(
        matches!(&row.leaf.origin, Origin::Text(at, names) if at.line == 5 && names.is_empty())
    );
}

#[test]
fn what_is_wrong_has_no_effect() {
    let sources = sources(&["listeners: { web: { bnd: 1 } }\n"]);
    let loaded = load(&sources, &environment());
    assert!(effective(&loaded, &sources, &environment()).is_none());
}

#[test]
fn differences_are_of_values() {
    let before = "drain: 60s\nlisteners: { web: { bind: 127.0.0.1:1 } }\nservices:\n  a.b:\n    backends:\n    - address: a:${PORT}\n      weight: 2\n    - b:1\n    health: { http: { headers: { x: one } } }\n";
    let after = "drain: 1m\nlisteners: { web: { bind: [127.0.0.1:1, 127.0.0.1:2] } }\nservices:\n  a.b:\n    backends:\n    - c:1\n    - a:${PORT}\n    health: { http: { headers: { x: two } } }\n    policy: random\n";
    let (before, after) = (show(&[before]).0, show(&[after]).0);
    let all = differences(&before, &after);
    let said: Vec<_> = all
        .iter()
        .filter(|one| !one.path.contains("[b:1].") && !one.path.contains("[c:1]."))
        .map(|one| {
            let show = |side: &Option<String>| side.clone().unwrap_or_default();
            let (from, to) = (show(&one.from), show(&one.to));
            format!("{}: {} {from} -> {to}", one.part.join("/"), one.path)
        })
        .collect();
    assert_eq!(
        said,
        [
            "listeners/web: listeners.web.bind [127.0.0.1:1] -> [127.0.0.1:1, 127.0.0.1:2]",
            "services/a.b/backends/a:9000: services.a.b.backends[a:${PORT}].weight 2 -> 1",
            "services/a.b: services.a.b.health.http.headers.x (veiled) -> (veiled)",
            "services/a.b: services.a.b.policy adaptive -> random",
        ]
    );
    let whole = all.iter().filter(|one| one.path.contains("[c:1]."));
    assert!(whole.clone().count() > 3 && whole.clone().all(|one| one.from.is_none()));
    assert_eq!(differences(&before, &before), []);
}
