//! How many requests pass, as it is written and as it is planned.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use evenkeel_config::plan::{RateBy, RatePlan};
use evenkeel_config::{Loaded, Source, load};

fn read(listener: &str, rule: &str) -> Loaded {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080{listener} }} }}\n\
         services: {{ api: {{ backends: [10.0.0.1:1] }} }}\n\
         rules: [{{ forward: api{rule} }}]\n"
    );
    let source = Source {
        name: "f.yaml".into(),
        text,
    };
    load(&[source], &BTreeMap::new())
}

/// A limit in words: name, by what, allowance, burst, keys, prefix, and what is on.
fn shown(rate: &RatePlan) -> String {
    let mut out = format!("{}:", rate.name);
    for by in &rate.per {
        let _ = match by {
            RateBy::Client => write!(out, " client"),
            RateBy::Header(name) => write!(out, " header={name}"),
            RateBy::Cookie(name) => write!(out, " cookie={name}"),
            RateBy::Path(None) => write!(out, " path"),
            RateBy::Path(Some(segments)) => write!(out, " path={segments}"),
        };
    }
    let (settings, prefix) = (&rate.settings, rate.ipv6_prefix);
    let (burst, keys) = (settings.burst, settings.keys);
    let _ = write!(out, " {} {burst} {keys} /{prefix}", rate.allowance());
    for (on, word) in [(rate.shadow, " shadow"), (rate.fields, " fields")] {
        out.push_str(if on { word } else { "" });
    }
    out
}

#[track_caller]
fn check(rate: &str, expect: &[&str]) {
    let loaded = read("", &format!(", limits: {{ rate: {rate} }}"));
    assert_eq!(loaded.problems.len(), 0, "{:?}", loaded.problems);
    let plan = loaded.plan.unwrap();
    let rates = plan.rules[0].rates.as_deref().unwrap();
    let got: Vec<_> = rates.iter().map(shown).collect();
    assert_eq!(got, expect, "{rate}");
}

#[test]
fn what_is_written_is_what_is_planned() {
    check("{ allow: 100/s }", &["client: client 100/s 100 100000 /64"]);
    check(
        "{ per: client, allow: 100/s, burst: 200 }",
        &["client: client 100/s 200 100000 /64"],
    );
    check("{ per: rule, allow: 7/h }", &["rule: 7/h 1 1 /64"]);
    check(
        "{ per: { header: X-Api-Key }, allow: 600/min, keys: 50, fields: true }",
        &["header: header=x-api-key 600/min 10 50 /64 fields"],
    );
    check(
        "{ per: [client, { cookie: Id }, { path: 2 }], allow: 30/min, shadow: true, ipv6_prefix: 56 }",
        &["client+cookie+path: client cookie=Id path=2 30/min 1 100000 /56 shadow"],
    );
    check(
        "[{ allow: 10/s }, { allow: 1000/h, burst: 100 }, { per: path, allow: 5/s }, { per: { path: 1 }, allow: 5/s }]",
        &[
            "client: client 10/s 10 100000 /64",
            "client 2: client 1000/h 100 100000 /64",
            "path: path 5/s 5 100000 /64",
            "path 2: path=1 5/s 5 100000 /64",
        ],
    );
    check("[]", &[]);
}

#[test]
fn a_listener_has_its_own_and_a_rule_says_nothing_or_something_else() {
    let loaded = read(", limits: { rate: { per: [listener], allow: 9/s } }", "");
    let plan = loaded.plan.unwrap();
    assert_eq!(shown(&plan.listeners[0].rates[0]), "listener: 9/s 9 1 /64");
    assert_eq!(plan.rules[0].rates, None);
    let tcp = ", protocol: tcp, forward: api, limits: { rate: { per: client, allow: 2/s } }";
    let text = format!(
        "listeners: {{ db: {{ bind: 127.0.0.1:8080{tcp} }} }}\nservices: {{ api: {{ backends: [10.0.0.1:1] }} }}\n"
    );
    let source = Source {
        name: "f.yaml".into(),
        text,
    };
    let loaded = load(&[source], &BTreeMap::new());
    assert_eq!(loaded.problems.len(), 0, "{:?}", loaded.problems);
    let plan = loaded.plan.unwrap();
    assert_eq!(
        shown(&plan.listeners[0].rates[0]),
        "client: client 2/s 2 100000 /64"
    );
}

#[test]
fn what_counts_the_same_goes_on_with_it() {
    let of = |rate: &str| {
        let loaded = read("", &format!(", limits: {{ rate: {rate} }}"));
        loaded.plan.unwrap().rules[0].rates.as_deref().unwrap()[0].clone()
    };
    let one = of("{ allow: 100/s }");
    for (other, expect) in [
        ("{ allow: 5/h, burst: 3, shadow: true, fields: true }", true),
        ("{ allow: 100/s, keys: 7 }", false),
        ("{ allow: 100/s, ipv6_prefix: 48 }", false),
        ("{ allow: 100/s, per: path }", false),
    ] {
        assert_eq!(one.counts_as(&of(other)), expect, "{other}");
    }
}

#[test]
fn what_cannot_be_is_told() {
    let tcp = ", protocol: tcp, forward: api, limits: { rate: ";
    for (rate, expect) in [
        ("{ allow: 0/s }", "rate"),
        ("{ allow: 100 }", "rate"),
        ("{ allow: 100/m }", "rate"),
        ("{ allow: 1000001/s }", "rate"),
        ("{ per: client }", "missing"),
        ("{ allow: 1/s, burst: 0 }", "range"),
        ("{ allow: 1/s, burst: 1000001 }", "range"),
        ("{ allow: 1/h, burst: 10000 }", "range"),
        ("{ allow: 1/s, keys: 0 }", "range"),
        ("{ allow: 1/s, keys: 10000001 }", "range"),
        ("{ per: rule, allow: 1/s, keys: 5 }", "keys"),
        ("{ allow: 1/s, ipv6_prefix: 0 }", "range"),
        ("{ allow: 1/s, ipv6_prefix: 129 }", "range"),
        ("{ per: clients, allow: 1/s }", "value"),
        ("{ per: listener, allow: 1/s }", "per"),
        ("{ per: [], allow: 1/s }", "empty"),
        ("{ per: [client, client], allow: 1/s }", "per"),
        ("{ per: [client, rule], allow: 1/s }", "per"),
        ("{ per: {}, allow: 1/s }", "per"),
        ("{ per: { header: a, cookie: b }, allow: 1/s }", "per"),
        ("{ per: { header: \"a b\" }, allow: 1/s }", "name"),
        ("{ per: { path: 0 }, allow: 1/s }", "range"),
        ("{ per: { path: 17 }, allow: 1/s }", "range"),
        ("{ per: { haeder: a }, allow: 1/s }", "unknown_key"),
        ("{ allow: 1/s, bust: 1 }", "unknown_key"),
        ("{ allow: 1/s, shadow: maybe }", "type"),
        ("fast", "type"),
    ] {
        let words = told("", &format!(", limits: {{ rate: {rate} }}"));
        assert!(words.contains(&expect), "{rate}: {words:?}");
    }
    let nine = "{ allow: 1/s }, ".repeat(9);
    assert_eq!(
        told("", &format!(", limits: {{ rate: [{nine}] }}")),
        ["too_many"]
    );
    assert_eq!(
        told(", limits: { rate: { per: rule, allow: 1/s } }", ""),
        ["per"]
    );
    for rate in [
        "per: path, ",
        "per: { header: a }, ",
        "fields: true, ",
        "per: rule, ",
    ] {
        let listener = format!("{tcp}{{ {rate}allow: 1/s }} }}");
        let words = told(&listener, "");
        let expect = if rate == "per: rule, " {
            "per"
        } else {
            "protocol"
        };
        assert!(words.contains(&expect), "{rate}: {words:?}");
    }
}

fn told(listener: &str, rule: &str) -> Vec<&'static str> {
    let problems = read(listener, rule).problems;
    problems.iter().map(|problem| problem.word).collect()
}

/// What is taken when the configuration is must not be more than a machine has.
#[test]
fn all_keys_together_are_bounded() {
    let rates = |keys: usize, times: usize| {
        let one = format!("{{ allow: 1/s, keys: {keys} }}, ");
        let one = one.repeat(times);
        told("", &format!(", limits: {{ rate: [{one}] }}"))
    };
    assert_eq!(rates(5_000_000, 2), [""; 0]);
    assert_eq!(rates(5_000_001, 2), ["too_many_keys"]);
    assert_eq!(rates(10_000_000, 2), ["too_many_keys"]);
    assert_eq!(rates(10_000_000, 8), ["too_many_keys"]);
}
