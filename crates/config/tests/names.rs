//! Names whose backends DNS tells, as they are configured.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use evenkeel_balance::backend::Weight;
use evenkeel_config::effective::{differences, effective};
use evenkeel_config::{Source, limits, load, render};

fn source(text: &str) -> [Source; 1] {
    [Source {
        name: "f.yaml".into(),
        text: text.into(),
    }]
}

#[test]
fn everything_of_names_that_works_today() {
    let plan = load(&source(include_str!("files/today.yaml")), &BTreeMap::new())
        .plan
        .unwrap();
    let service = &plan.services[0];
    let asked = service.names.iter().map(|name| name.question.to_string());
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [
            "dns api.internal",
            "dns other.internal.",
            "srv _http._tcp.api.internal"
        ]
    );
    let refresh = service.names.iter().map(|name| name.refresh.as_secs());
    assert_eq!(
        refresh.collect::<Vec<_>>(),
        [10, 60, 60],
        "the ceiling holds"
    );
    let address = ([10, 0, 0, 7], 9000).into();
    let backend = service.names[0].backend(address, None, 0);
    assert_eq!(backend.spec.id.as_str(), "by-name@10.0.0.7:9000");
    assert_eq!(backend.spec.weight.get(), 3);
    assert_eq!(backend.spec.zone, Some("a".into()));
    let backend = service.names[2].backend(address, Weight::new(7).ok(), 2);
    assert_eq!(backend.spec.id.as_str(), "10.0.0.7:9000");
    assert_eq!(backend.spec.weight.get(), 14, "twice the record's");
    assert_eq!(backend.spec.max_in_flight, NonZeroU32::new(5));
    assert_eq!(backend.spec.tier, 5, "behind the name's own");
    let last = service.names[2].backend(address, None, u16::MAX);
    assert_eq!(last.spec.tier, u16::MAX, "there is none behind it");
    let resolver = &plan.resolver;
    assert_eq!(resolver.servers[0], ([127, 0, 0, 1], 5353).into());
    assert_eq!(resolver.servers[1], ([10, 0, 0, 53], 53).into());
    assert_eq!((resolver.attempts, resolver.timeout.as_secs()), (3, 1));
}

/// All problems of a service with these backends and a resolver, as `line:column word`.
#[track_caller]
fn check(backends: &str, resolver: &str, expect: &[&str]) {
    let sources = source(&whole(backends, resolver));
    let loaded = load(&sources, &BTreeMap::new());
    let problems = loaded.problems.iter();
    let got: Vec<_> = problems
        .map(|problem| format!("{}:{} {}", problem.at.line, problem.at.column, problem.word))
        .collect();
    assert_eq!(got, expect, "\n{}", render(&loaded.problems, &sources));
}

fn whole(backends: &str, resolver: &str) -> String {
    format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices: {{ api: {{ backends: [{backends}] }} }}\nresolver: {{ {resolver} }}\n"
    )
}

#[test]
fn rows() {
    let name = "{ dns: a:1 }";
    check(name, "", &[]);
    check(name, "servers: \"::1\", ttl_floor: 5s", &[]);
    check("{ srv: a }, { srv: b, id: x }", "", &[]);
    check("{ dns: a:1 }, { dns: a:2 }, { dns: a:1, id: x }", "", &[]);
    check(
        "{ dns: a:1 }, { dns: a:1 }",
        "",
        &["2:45 duplicate_backend"],
    );
    check("{ dns: 10.0.0.1:1 }", "", &["2:38 address"]);
    check("{ dns: \"unix:/a\" }", "", &["2:38 address"]);
    check("{ dns: a }", "", &["2:38 address"]);
    check("{ dns: \"*.a:1\" }", "", &["2:38 address"]);
    check("{ srv: a:1 }", "", &["2:38 address"]);
    check("{ srv: 10.0.0.1 }", "", &["2:38 address"]);
    check("{ dns: a:1, srv: b }", "", &["2:48 backend"]);
    check("{ srv: a, weight: 2 }", "", &[]);
    check("{ address: a:1, refresh: 2s }", "", &["2:56 refresh"]);
    check("{ dns: a:1, refresh: 0 }", "", &["2:52 range"]);
    check("{ dns: a:1, refresh: 10 }", "", &["2:52 duration"]);
    check("{ dns: a:1, refrsh: 1s }", "", &["2:43 unknown_key"]);
    check("{ dns: a:1, refresh: 500ms }", "", &["2:13 refresh"]);
    check("{ dns: a:1, weight: 0 }, { srv: b }", "", &[]);
    check("{ dns: a:1, weight: 0 }", "", &["2:13 weights"]);
    check(name, "servers: []", &["3:22 empty"]);
    check(name, "servers: [a]", &["3:23 address"]);
    check(name, "servers: [0.0.0.0]", &["3:23 address"]);
    check(name, "servers: [\"127.0.0.1:0\"]", &["3:23 address"]);
    check(name, "attempts: 0", &["3:23 range"]);
    check(name, "timeout: 0", &["3:22 range"]);
    check(name, "ttl_floor: 1m, ttl_ceiling: 1s", &["3:11 range"]);
    let servers = ["127.0.0.1"; limits::NAME_SERVERS + 1].join(", ");
    check(name, &format!("servers: [{servers}]"), &["3:111 too_many"]);
}

#[test]
fn the_page_about_names_has_a_configuration_that_is_fine() {
    let page = include_str!("../../../docs/dns.md");
    let block = page.split("```yaml\n").nth(1).unwrap();
    let sources = source(block.split("```").next().unwrap());
    let loaded = load(&sources, &BTreeMap::new());
    assert_eq!(render(&loaded.problems, &sources), "");
    assert_eq!(loaded.plan.unwrap().services[0].names.len(), 2);
}

#[test]
fn names_are_as_many_as_can_be_asked_for() {
    let names = |count: usize| {
        let names: Vec<_> = (0..count).map(|at| format!("{{ dns: a{at}:1 }}")).collect();
        names.join(", ")
    };
    check(&names(limits::NAMES), "", &[]);
    check(&names(limits::NAMES + 1), "", &["2:13 too_many"]);
}

/// As written, not as found: nothing is asked to show and to compare.
#[test]
fn what_is_shown_and_compared_is_what_is_written() {
    let shown = |text: &str| {
        let sources = source(text);
        let loaded = load(&sources, &BTreeMap::new());
        let entry = effective(&loaded, &sources, &BTreeMap::new()).unwrap();
        (entry.text(&sources), entry)
    };
    let (text, one) = shown(&whole("{ dns: Api.internal:9000, refresh: 10s }", ""));
    assert!(text.contains("- dns: Api.internal:9000 "), "{text}");
    assert!(text.contains("  refresh: 10s "), "{text}");
    assert!(text.contains("  ttl_ceiling: 5m "), "{text}");
    let (_, other) = shown(&whole(
        "{ dns: Api.internal:9000, refresh: 20s }",
        "timeout: 1s",
    ));
    let all = differences(&one, &other);
    let paths: Vec<_> = all.iter().map(|one| &*one.path).collect();
    assert_eq!(
        paths,
        [
            "resolver.timeout",
            "services.api.backends[Api.internal:9000].refresh"
        ]
    );
    assert_eq!(
        all[1].part,
        ["services", "api", "backends", "Api.internal:9000"]
    );
}
