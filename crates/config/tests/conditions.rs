//! The conditions of rules beyond host, path and method: what a text means, and what is said of one that means nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use evenkeel_config::plan::{Conditions, Further, TextPattern};
use evenkeel_config::{Loaded, Source, load, render};

fn read(when: &str) -> (Loaded, [Source; 1]) {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices: {{ api: {{ backends: [10.0.0.1:1] }} }}\nrules:\n- forward: api\n  when: {when}\n"
    );
    let sources = [Source {
        name: "f.yaml".into(),
        text,
    }];
    (load(&sources, &BTreeMap::new()), sources)
}

fn pattern(pattern: &TextPattern) -> String {
    match pattern {
        TextPattern::Present => "present".into(),
        TextPattern::Absent => "absent".into(),
        TextPattern::Exact(text) => format!("={text}"),
        TextPattern::AnyCase(text) => format!("i={text}"),
        TextPattern::Wildcard(pattern) => format!("*{}", pattern.as_str()),
        TextPattern::WildcardAnyCase(pattern) => format!("i*{}", pattern.as_str()),
        TextPattern::Regex(regex) => format!("~{}", regex.as_str()),
    }
}

fn patterns(all: &[TextPattern]) -> String {
    all.iter().map(pattern).collect::<Vec<_>>().join("|")
}

/// What was read, in one line.
fn spoken(when: &Conditions) -> String {
    let mut out = String::new();
    for host in &when.hosts {
        let _ = write!(out, "{host:?} ");
    }
    for method in &when.methods {
        let _ = write!(out, "{method} ");
    }
    for one in when.further.iter() {
        let _ = match one {
            Further::Hosts(map) => write!(out, "hosts {map:?} "),
            Further::Peer(networks) => write!(out, "peer {networks:?} "),
            Further::Client(networks) => write!(out, "client {networks:?} "),
            Further::Header(field) => {
                write!(out, "header {} {} ", field.name, patterns(&field.values))
            }
            Further::Cookie(cookie) => {
                write!(out, "cookie {} {} ", cookie.name, patterns(&cookie.values))
            }
            Further::Certificate(certified) => write!(
                out,
                "certificate {:?} {} ",
                certified.part,
                patterns(&certified.values)
            ),
            Further::Query(any) => {
                let list = |all: &Vec<_>| {
                    let one = |one: &evenkeel_config::plan::Parameter| {
                        format!("{} {}", pattern(&one.key), patterns(&one.values))
                    };
                    all.iter().map(one).collect::<Vec<_>>().join(" & ")
                };
                let any: Vec<_> = any.iter().map(list).collect();
                write!(out, "query {} ", any.join(" or "))
            }
            Further::Not(none) => {
                let none: Vec<_> = none.iter().map(spoken).collect();
                write!(out, "not ({}) ", none.join("; "))
            }
        };
    }
    out.trim_end().to_owned()
}

#[test]
fn what_a_text_means() {
    let digits = "ab".repeat(32);
    let colons = ["AB"; 32].join(":");
    let certificate = format!(
        "{{ client_certificate: {{ subject: [CN=Bob, \"CN=eve*\"], fingerprint: \"{colons}\", san: [\"DNS:A.b\", \"DNS:*.C\", \"URI:spiffe://K/*\", {{ regex: x }}] }} }}"
    );
    for (when, expect) in [
        ("{ header: { X-Canary: \"1\" } }", "header x-canary i=1"),
        (
            "{ header: { user-agent: [\"*Chrome*\", { regex: \"^curl/\" }, { exact: Lynx }], a: { present: false } } }",
            "header user-agent i**chrome*|~^curl/|=Lynx header a absent",
        ),
        (
            "{ cookie: { Beta: [Yes, \"a*\"], seen: { present: true } } }",
            "cookie Beta =Yes|*a* cookie seen present",
        ),
        ("{ query: { Version: V1 } }", "query i=version i=v1"),
        (
            "{ query: { a: [1, 2], \"b*\": \"x?\" } }",
            "query i=a i=1|i=2 & i*b* i*x?",
        ),
        (
            "{ query: [{ a: 1 }, debug, { b: { exact: X } }] }",
            "query i=a i=1 or present i=debug or i=b =X",
        ),
        (
            "{ source: [10.0.0.0/9, 10.128.0.0/9, 192.0.2.7, \"2001:db8::/32\", \"::ffff:198.51.100.0/120\"] }",
            "peer Networks { v4: [10.0.0.0/8, 192.0.2.7/32, 198.51.100.0/24], v6: [2001:db8::/32] }",
        ),
        (
            "{ source: { client: 10.1.2.3/8, peer: \"::1\" } }",
            "peer Networks { v4: [], v6: [::1/128] } client Networks { v4: [10.0.0.0/8], v6: [] }",
        ),
        ("{ client_certificate: any }", "certificate Whole present"),
        ("{ client_certificate: none }", "certificate Whole absent"),
        (
            &certificate,
            &format!(
                "certificate Fingerprint ={digits} certificate Subject =CN=Bob|*CN=eve* certificate San i=dns:a.b|i*dns:*.c|*URI:spiffe://K/*|~x"
            ),
        ),
        (
            "{ not: { method: GET, host: a.b } }",
            "not (Exact(\"a.b\") GET)",
        ),
        (
            "{ not: [{ method: GET }, { not: { header: { a: b } } }] }",
            "not (GET; not (header a i=b))",
        ),
        (
            "{ query: { a: 1 }, not: { method: PUT }, cookie: { a: b }, header: { c: d }, source: 10.0.0.1 }",
            "peer Networks { v4: [10.0.0.1/32], v6: [] } header c i=d cookie a =b query i=a i=1 not (PUT)",
        ),
    ] {
        let (loaded, sources) = read(when);
        let plan = loaded
            .plan
            .unwrap_or_else(|| panic!("{}", render(&loaded.problems, &sources)));
        assert_eq!(spoken(&plan.rules[0].when), expect, "{when}");
    }
}

/// Each row: conditions, and the column and case of each problem.
#[test]
fn what_means_nothing() {
    let long = "a".repeat(129);
    let many = format!("[{}]", vec!["a"; 257].join(", "));
    let shared = format!(
        "{{ header: {{ a: [{}] }}, not: {{ method: GET }} }}",
        vec!["a"; 256].join(", ")
    );
    let rows = [
        ("{ header: {} }", "19 empty"),
        ("{ header: [] }", "19 empty"),
        ("{ header: { a: [] } }", "24 empty"),
        ("{ header: x }", "19 type"),
        ("{ header: { \"a b\": c } }", "21 name"),
        ("{ header: { \"\": c } }", "21 name"),
        ("{ header: { Host: c } }", "21 name"),
        ("{ header: { cookie: c } }", "21 name"),
        ("{ header: { a: b, A: c } }", "27 duplicate_key"),
        ("{ header: { a: \" b\" } }", "24 value"),
        ("{ header: { a: \"b\\n\" } }", "24 value"),
        ("{ header: { a: \"*?*?*?\" } }", "24 value"),
        ("{ header: { a: {} } }", "24 one_pattern"),
        (
            "{ header: { a: { exact: b, present: true } } }",
            "24 one_pattern",
        ),
        (
            "{ header: { a: { exat: b } } }",
            "24 one_pattern 26 unknown_key",
        ),
        ("{ header: { a: { present: yes } } }", "35 type"),
        ("{ header: { a: { regex: \"(\" } } }", "33 regex"),
        ("{ header: { a: ~ } }", "24 type"),
        ("{ cookie: { \"a;b\": c } }", "21 name"),
        ("{ cookie: { a: \"b;\" } }", "24 value"),
        ("{ query: {} }", "18 empty"),
        ("{ query: [{}] }", "19 empty"),
        ("{ query: { \"*?*?*?\": a } }", "20 name"),
        (
            "{ query: { a: { b: 1 } } }",
            "23 one_pattern 25 unknown_key",
        ),
        ("{ source: [] }", "19 empty"),
        ("{ source: {} }", "19 empty"),
        ("{ source: { client: [] } }", "29 empty"),
        ("{ source: { peers: 10.0.0.1 } }", "21 unknown_key"),
        ("{ source: 10.0.0 }", "19 address"),
        ("{ source: [10.0.0.1, 10.0.0.0/33] }", "30 address"),
        ("{ client_certificate: {} }", "31 empty"),
        ("{ client_certificate: maybe }", "31 value"),
        ("{ client_certificate: { subject: [] } }", "42 empty"),
        ("{ client_certificate: { subject: é } }", "42 value"),
        ("{ client_certificate: { subjekt: a } }", "33 unknown_key"),
        ("{ client_certificate: { fingerprint: [] } }", "46 empty"),
        ("{ client_certificate: { fingerprint: ab } }", "46 value"),
        (
            "{ client_certificate: { san: \"DNS:a,DNS:b\" } }",
            "38 value",
        ),
        ("{ not: {} }", "16 empty"),
        ("{ not: [] }", "16 empty"),
        ("{ not: [{}] }", "17 empty"),
        ("{ not: x }", "16 type"),
        ("{ not: { hots: a } }", "18 unknown_key"),
        ("{ not: { path: /a//b } }", "24 path"),
        (
            "{ not: { not: { not: { not: { not: { method: GET } } } } } }",
            "44 too_deep",
        ),
        (&format!("{{ header: {{ a: \"*{long}\" }} }}"), "24 value"),
        (&format!("{{ header: {{ a: {many} }} }}"), "793 too_many"),
        (
            &format!("{{ query: {{ a: {many}, b: {many} }} }}"),
            "792 too_many",
        ),
        (&shared, "801 too_many"),
    ];
    for (when, expect) in rows {
        let (loaded, sources) = read(when);
        let said: Vec<_> = loaded
            .problems
            .iter()
            .map(|problem| {
                assert_eq!(problem.at.line, 5, "{problem:?}");
                format!("{} {}", problem.at.column, problem.word)
            })
            .collect();
        let shown = render(&loaded.problems, &sources);
        assert_eq!(said.join(" "), expect, "{when}\n{shown}");
        assert!(loaded.plan.is_none());
    }
    // And as many as there may be.
    let most = format!("{{ header: {{ a: [{}] }} }}", vec!["a"; 256].join(", "));
    assert!(read(&most).0.plan.is_some());
    let deep = "{ not: { not: { not: { not: { method: GET } } } } }";
    assert!(read(deep).0.plan.is_some());
}

#[test]
fn networks_are_looked_up_by_halves() {
    let (loaded, _) =
        read("{ source: [10.0.0.0/8, 192.0.2.0/25, 192.0.2.200, \"2001:db8::/32\", \"fe80::1\"] }");
    let plan = loaded.plan.unwrap();
    let Further::Peer(networks) = &plan.rules[0].when.further[0] else {
        panic!("{plan:?}")
    };
    for (address, expect) in [
        ("10.255.255.255", true),
        ("11.0.0.0", false),
        ("9.255.255.255", false),
        ("192.0.2.127", true),
        ("192.0.2.128", false),
        ("192.0.2.200", true),
        ("192.0.2.201", false),
        ("0.0.0.0", false),
        ("255.255.255.255", false),
        ("::ffff:10.1.1.1", true),
        ("::ffff:11.1.1.1", false),
        ("2001:db8:ffff::1", true),
        ("2001:db9::", false),
        ("fe80::1", true),
        ("fe80::2", false),
        ("::", false),
    ] {
        assert_eq!(
            networks.contains(address.parse().unwrap()),
            expect,
            "{address}"
        );
    }
}
