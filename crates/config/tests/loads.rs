//! `load:` of a service: what it means, and what is said of what means nothing.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_balance::settings::LoadSettings;
use evenkeel_config::plan::{LoadPage, LoadPlan, LoadSource, ServicePlan};
use evenkeel_config::{Loaded, Source, load, render};

fn read(policy: &str, written: &str) -> (Loaded, String) {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices:\n  api:\n    policy: {policy}\n    backends: [10.0.0.1:1]\n    {written}\n"
    );
    let sources = [Source {
        name: "keel.yaml".into(),
        text,
    }];
    let loaded = load(&sources, &BTreeMap::new());
    let shown = render(&loaded.problems, &sources);
    (loaded, shown)
}

fn service(policy: &str, written: &str) -> ServicePlan {
    let (loaded, shown) = read(policy, written);
    let plan = loaded.plan.unwrap_or_else(|| panic!("{shown}"));
    plan.services.first().unwrap().clone()
}

#[test]
fn what_it_means() {
    let absent = service("weighted_by_load", "");
    let header = LoadPlan {
        from: LoadSource::Header,
        keeps: false,
        metrics: [].into(),
    };
    assert_eq!(absent.load, Some(header.clone()));
    assert_eq!(absent.settings.load, LoadSettings::default());
    for same in [
        "load: {}",
        "load: { report: header, field: remove, bound: 10 }",
    ] {
        let other = service("orca", same);
        assert!(other.same_but_backends(&absent), "{same}");
    }
    let all = service(
        "weighted_by_load",
        "load: { field: keep, metrics: [named_metrics.queue, mem_utilization], blackout: 0s, expiry: 1m, penalty: 50%, bound: 3 }",
    );
    let plan = all.load.clone().unwrap();
    assert!(plan.keeps && plan.from == LoadSource::Header);
    let metrics: Vec<_> = plan.metrics.iter().map(|name| &**name).collect();
    assert_eq!(metrics, ["named_metrics.queue", "mem_utilization"]);
    let settings = LoadSettings::default()
        .blackout(Duration::ZERO)
        .expiry(Duration::from_secs(60))
        .penalty(0.5)
        .bound(3.0);
    assert_eq!(all.settings.load, settings);
    assert!(!all.same_but_backends(&absent));
    let one = service("weighted_by_load", "load: { metrics: cpu_utilization }");
    assert_eq!(one.load.unwrap().metrics.len(), 1);
    assert_eq!(service("adaptive", "").load, None);
}

#[test]
fn pages() {
    let check = |written: &str, expect: LoadPage| {
        let got = service(
            "weighted_by_load",
            &format!("load: {{ report: {written} }}"),
        );
        assert_eq!(
            got.load.unwrap().from,
            LoadSource::Page(expect),
            "{written}"
        );
    };
    let page = LoadPage {
        path: "/load".into(),
        host: None,
        port: None,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
    };
    check("{ http: {} }", page.clone());
    check(
        "{ http: { path: /orca, host: a.internal, port: 9100, interval: 5s, timeout: 2s } }",
        LoadPage {
            path: "/orca".into(),
            host: Some("a.internal".into()),
            port: std::num::NonZeroU16::new(9100),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
        },
    );
    let often = Duration::from_millis(200);
    check(
        "{ http: { interval: 200ms } }",
        LoadPage {
            interval: often,
            timeout: often,
            ..page
        },
    );
}

/// Each problem with its place, as an operator sees it.
#[test]
fn what_means_nothing() {
    let check = |policy: &str, written: &str, expect: &str| {
        let (loaded, shown) = read(policy, written);
        assert!(loaded.plan.is_none(), "{written}: {shown}");
        assert!(shown.contains(expect), "{written}: {shown}");
        assert!(shown.contains("keel.yaml:6:"), "{written}: {shown}");
    };
    let by_load = |written: &str, expect: &str| check("weighted_by_load", written, expect);
    by_load("load: { report: trailer }", "one of `header` is expected");
    by_load("load: { report: {} }", "`{ http: { path: /load } }`");
    by_load("load: { reports: header }", "did you mean `report`?");
    by_load(
        "load: { report: { http: { path: load } } }",
        "begins with a slash",
    );
    by_load(
        "load: { report: { http: { interval: 50ms } } }",
        "100ms and 1m",
    );
    by_load(
        "load: { report: { http: { interval: 2m } } }",
        "100ms and 1m",
    );
    by_load("load: { report: { http: { port: 0 } } }", "port");
    by_load("load: { metrics: [queue] }", "`queue` is no metric");
    by_load("load: { metrics: [named_metrics.] }", "is no metric");
    by_load("load: { metrics: [\"named_metrics.a b\"] }", "is no metric");
    let many = vec!["named_metrics.a"; 17].join(", ");
    by_load(
        &format!("load: {{ metrics: [{many}] }}"),
        "more than 16 metrics",
    );
    by_load("load: { blackout: 3m }", "no report ever counts");
    by_load("load: { expiry: 5s }", "no report ever counts");
    by_load(
        "load: { blackout: 0s, expiry: 1s, report: { http: {} } }",
        "no report lasts until the next",
    );
    by_load("load: { penalty: 1.0 }", "percentage");
    by_load("load: { bound: 0 }", "1");
    by_load("load: { bound: 101 }", "100");
}

#[test]
fn what_is_only_warned_of() {
    let check = |policy: &str, written: &str, expect: &str| {
        let (loaded, shown) = read(policy, written);
        assert!(loaded.plan.is_some(), "{shown}");
        assert!(shown.contains(expect), "{written}: {shown}");
    };
    check("adaptive", "load: {}", "nobody goes by `load`");
    check(
        "weighted_by_load",
        "load: { report: { http: { timeout: 2s } } }",
        "reports come less often",
    );
}

/// A service that has flows only hears of no load by a field of answers.
#[test]
fn flows_carry_no_field() {
    let check = |written: &str, rules: &str, warned: bool| {
        let text = format!(
            "listeners:\n  raw: {{ bind: 127.0.0.1:8080, protocol: tcp, forward: api }}\n  web: {{ bind: 127.0.0.1:8081 }}\n\
             rules: [{rules}]\n\
             services: {{ api: {{ policy: weighted_by_load, backends: [10.0.0.1:1]{written} }} }}\n"
        );
        let sources = [Source {
            name: "keel.yaml".into(),
            text,
        }];
        let loaded = load(&sources, &BTreeMap::new());
        let shown = render(&loaded.problems, &sources);
        assert!(loaded.plan.is_some(), "{shown}");
        let told = shown.contains("keel.yaml:2:") && shown.contains("which TCP has not");
        assert_eq!(told, warned, "{written} {rules}: {shown}");
    };
    let other = "{ respond: { body: x } }";
    check("", other, true);
    check(", load: { bound: 5 }", other, true);
    check(", load: { report: { http: {} } }", other, false);
    check("", "{ forward: api }", false);
}
