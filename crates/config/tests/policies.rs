//! `policy:` of a service: names in every spelling, settings, a program's own, and what is said of those that are none.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::policy::named::{self, Policies};
use evenkeel_balance::policy::{Candidates, Policy};
use evenkeel_config::effective::{differences, effective};
use evenkeel_config::plan::{HashKey, ServicePlan};
use evenkeel_config::{Files, Loaded, Source, load_for, load_with, render};

struct Own;

impl Policy for Own {
    fn name(&self) -> &'static str {
        "zigzag"
    }

    fn choose(&self, view: &Candidates<'_>, _: &Ask<'_>) -> Option<usize> {
        view.iter().next()
    }
}

fn source(policy: &str) -> Source {
    Source {
        name: "keel.yaml".into(),
        text: format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices:\n  api:\n    policy: {policy}\n    backends: [10.0.0.1:1]\n"
        ),
    }
}

fn read(policy: &str, own: &[&str]) -> (Loaded, [Source; 1]) {
    let mut policies = Policies::default();
    for name in own {
        policies.register(name, || Arc::new(Own)).unwrap();
    }
    let sources = [source(policy)];
    let loaded = load_for(&sources, &BTreeMap::new(), Files::new(), &policies);
    (loaded, sources)
}

fn service(policy: &str) -> ServicePlan {
    let (loaded, sources) = read(policy, &["zigzag"]);
    let problems = render(&loaded.problems, &sources);
    let plan = loaded.plan.unwrap_or_else(|| panic!("{problems}"));
    plan.services.first().unwrap().clone()
}

/// The policy that a text means, with what it hashes.
#[test]
fn policies() {
    let check = |written: &str, name: &str, bound: Option<f64>, key: Option<HashKey>| {
        let service = service(written);
        let policy = &service.settings.policy;
        let got = policy.bound().map(|bound| bound.factor());
        assert_eq!((policy.name(), got), (name, bound), "{written}");
        assert_eq!(service.key, key, "{written}");
    };
    let source = || Some(HashKey::Source);
    check("adaptive", "adaptive", None, None);
    check("RoundRobin", "round_robin", None, None);
    check(
        "weighted_least_connections",
        "least_connections",
        None,
        None,
    );
    check("response_time", "least_time", None, None);
    check("health_based", "health_based", None, None);
    check(
        "least_outstanding_requests",
        "least_connections",
        None,
        None,
    );
    check("hash", "maglev", None, source());
    check("ip-hash", "maglev", None, source());
    check("RING_HASH", "ring", None, source());
    check("maglev_bounded", "maglev_bounded", Some(1.25), source());
    check("{ hash: {} }", "maglev", None, source());
    check(
        "{ hash: { method: ring, key: path } }",
        "ring",
        None,
        Some(HashKey::Path),
    );
    check("{ hash: { bounded: off } }", "maglev", None, source());
    check(
        "{ hash: { bounded: on } }",
        "maglev_bounded",
        Some(1.25),
        source(),
    );
    check(
        "{ hash: { method: ring, bounded: 2 } }",
        "ring_bounded",
        Some(2.0),
        source(),
    );
    check(
        "{ hash: { method: rendezvous, bounded: 1.05 } }",
        "rendezvous_bounded",
        Some(1.05),
        source(),
    );
    check("{ custom: zigzag }", "zigzag", None, None);
    check("${POLICY:-Least-Time}", "least_time", None, None);
    // Every name there is.
    for name in named::names() {
        let service = service(name);
        let expect = named::built_in(name).unwrap();
        assert!(service.settings.policy.is_same(&expect), "{name}");
    }
}

/// What is said of a text, from its caret on.
#[test]
fn what_is_none() {
    let check = |written: &str, own: &[&str], expect: &str| {
        let (loaded, sources) = read(written, own);
        let said = render(&loaded.problems, &sources);
        assert!(said.contains(expect), "{written}:\n{said}");
        assert!(loaded.plan.is_none(), "{written}");
        let caret = said
            .lines()
            .any(|line| line.trim_start_matches([' ', '|']).starts_with('^'));
        assert!(caret, "{said}");
    };
    check(
        "rond-robin",
        &[],
        "`rond-robin` is no policy; did you mean `round_robin`? There are `adaptive`, `peak_ewma`, `least_time`,",
    );
    check("LeastConection", &[], "did you mean `least_connections`?");
    check(
        "qqqqqqqq",
        &[],
        "`qqqqqqqq` is no policy. There are `adaptive`",
    );
    check("custom", &[], "is written `{ custom: name }`");
    check(
        "{ custom: zigzag }",
        &[],
        "`zigzag` is no policy: this program has none of its own",
    );
    check(
        "{ custom: zigzg }",
        &["sawtooth", "zigzag"],
        "`zigzg` is no policy of this program; did you mean `zigzag`? It has `sawtooth`, `zigzag`",
    );
    check("{ custom: round_robin }", &["zigzag"], "It has `zigzag`");
    check("zigzag", &["zigzag"], "`zigzag` is no policy");
    check("{}", &[], "a policy with settings is");
    check(
        "{ custom: zigzag, hash: {} }",
        &["zigzag"],
        "a policy with settings is",
    );
    check(
        "{ hash: { method: jump } }",
        &[],
        "one of `maglev`, `ring`, `rendezvous`",
    );
    let number = "`on`, `off` or a number from 1.05 to 100 is expected";
    for wrong in [
        "1", "1.04", "101", "-2", "nan", "inf", "yes", "1e1", "1.25x",
    ] {
        check(&format!("{{ hash: {{ bounded: {wrong} }} }}"), &[], number);
    }
}

/// What is warned of a name that is read.
#[test]
fn what_means_something_else_elsewhere() {
    let check = |written: &str, expect: bool| {
        let (loaded, sources) = read(written, &[]);
        let said = render(&loaded.problems, &sources);
        assert_eq!(
            said.contains("none is where ketama has it"),
            expect,
            "{written}:\n{said}"
        );
        assert!(loaded.plan.is_some(), "{written}");
    };
    check("ketama", true);
    check("Ketama", true);
    check("${POLICY:-ketama}", true);
    check("ring", false);
    check("ring_hash", false);
    check("{ hash: { method: ring } }", false);
}

/// Two texts whose plans, and effective configurations, say the same or not.
#[test]
fn spellings_change_nothing() {
    let check = |one: &str, other: &str, same: bool| {
        assert_eq!(
            service(one).same_but_backends(&service(other)),
            same,
            "{one}, {other}"
        );
        let entry = |policy: &str| {
            let sources = [source(policy)];
            let loaded = load_with(&sources, &BTreeMap::new(), Files::new());
            effective(&loaded, &sources, &BTreeMap::new()).unwrap()
        };
        let differ = differences(&entry(one), &entry(other));
        assert_eq!(differ.is_empty(), same, "{one}, {other}: {differ:?}");
    };
    check("round_robin", "Round-Robin", true);
    check("hash", "ip_hash", true);
    check("maglev", "{ hash: {} }", true);
    check(
        "{ hash: { bounded: on } }",
        "{ hash: { bounded: 1.250 } }",
        true,
    );
    check(
        "{ hash: { bounded: on } }",
        "{ hash: { bounded: 1.3 } }",
        false,
    );
    check("{ hash: { bounded: off } }", "hash", true);
    check("{ hash: { method: ring } }", "hash", false);
    check("round_robin", "random", false);
}
