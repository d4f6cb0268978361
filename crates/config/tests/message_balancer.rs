//! What the documents of the message balancer become.
#![expect(clippy::panic, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_balance::backend::Admin;
use evenkeel_balance::settings::{OnAllDown, PolicyChoice, ServiceSettings};
use evenkeel_config::effective::effective;
use evenkeel_config::plan::{AdjustPlan, CheckPlan, Metric, MonitoringPlan, ServicePlan};
use evenkeel_config::{Loaded, Plan, Severity, Source, load, quick, render};

const BASIC: &str = include_str!("files/message-balancer-basic.yaml");
const ADVANCED: &str = include_str!("files/message-balancer-advanced.yaml");

fn sources(texts: &[&str]) -> Vec<Source> {
    let source = |(number, text): (usize, &&str)| Source {
        name: format!("{number}.yaml"),
        text: (*text).into(),
    };
    texts.iter().enumerate().map(source).collect()
}

fn read(texts: &[&str]) -> (Loaded, Vec<Source>) {
    let sources = sources(texts);
    let loaded = load(&sources, &BTreeMap::new());
    (loaded, sources)
}

#[track_caller]
fn plan(texts: &[&str]) -> Plan {
    let (loaded, sources) = read(texts);
    loaded
        .plan
        .unwrap_or_else(|| panic!("{}", render(&loaded.problems, &sources)))
}

/// A service, and a backend behind it.
const SERVICE: &str = "listeners: { web: { bind: \"127.0.0.1:0\" } }\nservices: { api: { backends: [\"10.0.0.1:1\", { address: \"10.0.0.2:1\", tier: 1 }] } }\n";

/// The only service of a document.
#[track_caller]
fn service(document: &str) -> ServicePlan {
    plan(&[document, SERVICE]).services.remove(0)
}

/// What a service says beside a document of these keys.
#[track_caller]
fn beside(document: &str, own: &str) -> ServicePlan {
    let text = format!(
        "load_balancer: {document}\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"10.0.0.1:1\"], {own} }} }}\n"
    );
    plan(&[&text]).services.remove(0)
}

/// Errors and warnings of a document of these keys, as `severity line:column word`.
#[track_caller]
fn check(document: &str, expect: &[&str]) {
    let text = format!("load_balancer:\n{document}");
    let (loaded, sources) = read(&[&text, SERVICE]);
    let word = |severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let all = loaded.problems.iter().map(|one| {
        let (at, severity) = (one.at, word(one.severity));
        format!("{severity} {}:{} {}", at.line, at.column, one.word)
    });
    let got: Vec<_> = all.collect();
    assert_eq!(got, expect, "\n{}", render(&loaded.problems, &sources));
}

#[test]
fn the_basic_document() {
    let got = service(BASIC);
    assert!(matches!(got.settings.policy, PolicyChoice::RoundRobin));
    let health = got.health.expect("it is checked");
    assert_eq!(health.check, CheckPlan::Tcp);
    assert_eq!(health.interval, Duration::from_secs(30));
    assert_eq!(health.timeout, Duration::from_secs(5));
    let active = got.settings.health.expect("it is checked");
    assert_eq!((active.fall, active.rise), (3, 2));
    assert_eq!((got.monitoring, got.adjust), (None, None));
    assert_eq!(got.limits.exchange, Duration::from_secs(5));
    assert_eq!(got.limits.per_try, Duration::from_secs(5));
    // Failover is what a service does anyway.
    let native = ServiceSettings::default();
    assert!(got.settings.breaker == native.breaker && got.settings.retry.attempts > 1);
    assert_eq!(got.settings.on_all_down, OnAllDown::FailOpen);
    assert!(
        got.backends
            .iter()
            .all(|one| one.spec.admin == Admin::Enabled)
    );
}

#[test]
fn the_advanced_document_whose_keys_stand_twice() {
    let got = service(ADVANCED);
    assert!(matches!(
        got.settings.policy,
        PolicyChoice::LeastConnections
    ));
    let health = got.health.expect("it is checked");
    assert_eq!(health.interval, Duration::from_secs(15));
    assert_eq!(health.timeout, Duration::from_secs(3));
    let active = got.settings.health.expect("it is checked");
    assert_eq!((active.fall, active.rise), (2, 1));
    let native = ServiceSettings::default();
    assert_eq!(got.settings.slow_start, native.slow_start);
    let watched = got.monitoring.expect("it is watched");
    let limits: Vec<_> = watched
        .thresholds
        .iter()
        .map(|one| (one.metric, one.limit))
        .collect();
    assert_eq!(
        limits,
        [
            (Metric::ResponseTime, 0.1),
            (Metric::Throughput, 1000.0),
            (Metric::ErrorRate, 0.01),
            (Metric::Availability, 99.9 / 100.0),
        ]
    );
    let rest = MonitoringPlan {
        thresholds: Vec::new(),
        ..watched
    };
    assert_eq!(rest, MonitoringPlan::default());
    assert_eq!(got.adjust, Some(AdjustPlan::default()));
    assert_eq!(got.limits.exchange, Duration::from_secs(10));
    assert_eq!(got.limits.per_try, Duration::from_secs(10));
}

/// What cannot be switched is said, each key by its name and place; nothing else is.
#[test]
fn the_documents_warn_of_what_they_cannot_switch() {
    let named = |document: &str| {
        let (loaded, _) = read(&[document, SERVICE]);
        let words: Vec<_> = loaded
            .problems
            .iter()
            .map(|one| {
                assert_eq!((one.severity, one.word), (Severity::Warning, "no_switch"));
                one.message.split('`').nth(1).unwrap_or_default().to_owned()
            })
            .collect();
        words.join(" ")
    };
    assert_eq!(
        named(BASIC),
        "caching parallel_processing error_recovery quality_metrics"
    );
    assert_eq!(
        named(ADVANCED),
        "caching parallel_processing optimization error_recovery quality_metrics learning"
    );
}

#[test]
fn beside_a_command_line() {
    let line = quick::source(&[":8080".into()], &["10.0.0.1:1".into()], None);
    for document in [BASIC, ADVANCED] {
        let mut all = sources(&[document]);
        all.push(line.clone());
        let loaded = load(&all, &BTreeMap::new());
        let plan = loaded.plan.expect("a plan");
        assert!(plan.services[0].health.is_some());
    }
}

/// What is shown has native keys alone, and loads to the same plan.
#[test]
fn what_is_shown_of_them_means_the_same() {
    let no_failover = "load_balancer: { algorithm: p2c, failover: false, health_checking: false, performance_monitoring: false, dynamic_adjustment: { learning: false } }";
    for document in [BASIC, ADVANCED, no_failover] {
        let (loaded, sources) = read(&[document, SERVICE]);
        let shown = effective(&loaded, &sources, &BTreeMap::new()).expect("a plan");
        let text = shown.text(&sources);
        assert!(!text.contains("load_balancer"), "{text}");
        let (again, before) = (plan(&[&text]), loaded.plan.expect("a plan"));
        let (one, other) = (&before.services[0], &again.services[0]);
        assert!(one.same_but_backends(other), "{text}\n{one:?}\n{other:?}");
        assert_eq!(one.backends, other.backends);
    }
    let (loaded, sources) = read(&[BASIC, SERVICE]);
    let shown = effective(&loaded, &sources, &BTreeMap::new()).expect("a plan");
    let rows = shown.rows();
    let row = |path: &str| {
        let found = rows.iter().find(|row| row.path == path);
        let row = found.unwrap_or_else(|| panic!("no row {path}"));
        (row.leaf.text(), row.leaf.origin.words(&sources))
    };
    let place = |words: &str| words.to_owned();
    assert_eq!(
        row("services.api.policy"),
        ("round_robin", place("0.yaml:2:14"))
    );
    assert_eq!(
        row("services.api.health.fall"),
        ("3", place("0.yaml:10:24"))
    );
    assert_eq!(
        row("services.api.monitoring"),
        ("off", place("0.yaml:6:27"))
    );
    assert_eq!(
        row("services.api.timeouts.exchange"),
        ("5s", place("0.yaml:13:14"))
    );
}

#[test]
fn the_other_switches() {
    let got = service(
        "load_balancer: { health_checking: false, health_monitoring: { check_interval: 1s } }",
    );
    assert!(
        got.health.is_none() && got.settings.health.is_none() && got.settings.breaker.is_none()
    );
    let got = service("load_balancer: { failover: false }");
    assert_eq!(got.settings.retry.attempts, 1);
    assert_eq!(got.settings.on_all_down, OnAllDown::FailClosed);
    let admins: Vec<_> = got.backends.iter().map(|one| one.spec.admin).collect();
    assert_eq!(admins, [Admin::Enabled, Admin::Disabled]);
    let got = service("load_balancer: { quality: { failover_support: false } }");
    assert_eq!(got.settings.retry.attempts, 1);
    let got = service("load_balancer: { dynamic_adjustment: true }");
    assert_eq!(got.adjust, Some(AdjustPlan::default()));
    let got = service("load_balancer: { health_checking: true }");
    assert!(
        got.health
            .is_some_and(|health| health.check == CheckPlan::Tcp)
    );
    let got = service("load_balancer: { health_monitoring: { recovery_management: false } }");
    assert_eq!(got.settings.slow_start, Duration::ZERO);
    // Whose health alone is watched.
    let got = service(
        "load_balancer: { performance_monitoring: false, health_monitoring: { alerting: true } }",
    );
    let watched = got.monitoring.expect("its health is watched");
    assert_eq!(watched.metrics, [Metric::Availability]);
    assert!(watched.alerting && !watched.anomalies && !watched.recommendations);
    // Off, its settings aside, whichever stands first.
    for document in [
        "load_balancer:\n  performance_monitoring: false\n  performance_monitoring: { alerting: true }\n",
        "load_balancer:\n  performance_monitoring: { alerting: true }\n  performance_monitoring: false\n",
    ] {
        assert_eq!(service(document).monitoring, None);
    }
}

/// Milliseconds, and limits in a list, as programs of that system have them.
#[test]
fn numbers_and_lists() {
    let got = service(
        "load_balancer: { health_monitoring: { check_interval: 30000, timeout: 250 }, performance: { timeout: 1500 }, dynamic_adjustment: { adjustment_interval: 90000, performance_threshold: 70%, health_threshold: 1 }, performance_monitoring: { metrics: [error_rate, response_time, throughput], thresholds: [{ metric: response_time, value: 100 }, { metric: error_rate, value: 0.07 }, { throughput: 5 }] } }",
    );
    let health = got.health.expect("it is checked");
    assert_eq!(health.interval, Duration::from_secs(30));
    assert_eq!(health.timeout, Duration::from_millis(250));
    assert_eq!(got.limits.exchange, Duration::from_millis(1500));
    let adjust = got.adjust.expect("it is adjusted");
    assert_eq!(adjust.interval, Duration::from_secs(90));
    let got_thresholds = (adjust.performance_threshold, adjust.health_threshold);
    assert_eq!(got_thresholds, (0.7, 1.0));
    let watched = got.monitoring.expect("it is watched");
    let limits: Vec<_> = watched
        .thresholds
        .iter()
        .map(|one| format!("{} {}", one.metric.name(), one.limit))
        .collect();
    assert_eq!(
        limits,
        ["response_time 0.1", "throughput 5", "error_rate 0.07"]
    );
    assert_eq!(watched.metrics.len(), 3);
}

#[test]
fn what_a_service_says_wins() {
    let got = beside(
        "{ algorithm: round_robin, health_monitoring: { check_interval: 30s, timeout: 5s } }",
        "policy: random, health: { http: { path: /up }, timeout: 2s }",
    );
    assert!(matches!(got.settings.policy, PolicyChoice::Random));
    let health = got.health.expect("it is checked");
    assert!(matches!(health.check, CheckPlan::Http(_)));
    assert_eq!(health.interval, Duration::from_secs(30));
    assert_eq!(health.timeout, Duration::from_secs(2));
    let got = beside(
        "{ failover: false, performance: { timeout: 2s }, dynamic_adjustment: { learning: false } }",
        "retry: { attempts: 4, per_try: 1s }, on_all_down: fail_open, adjust: off",
    );
    assert_eq!(got.settings.retry.attempts, 4);
    assert_eq!(got.settings.on_all_down, OnAllDown::FailOpen);
    assert_eq!(got.limits.per_try, Duration::from_secs(1));
    assert_eq!(got.adjust, None);
    let got = beside(
        "{ performance_monitoring: { metrics: [response_time], thresholds: { response_time: 1s } } }",
        "monitoring: { thresholds: { error_rate: 5% } }",
    );
    let watched = got.monitoring.expect("it is watched");
    let limits: Vec<_> = watched.thresholds.iter().map(|one| one.metric).collect();
    assert_eq!(limits, [Metric::ResponseTime, Metric::ErrorRate]);
    assert_eq!(watched.metrics.len(), 4);
    let got = beside(
        "{ performance_monitoring: false }",
        "monitoring: { anomalies: false }",
    );
    assert!(got.monitoring.is_some());
}

#[test]
fn what_is_wrong_is_told_where_it_stands() {
    check("  algoritm: round_robin\n", &["error 2:3 unknown_key"]);
    check("  algorithm: rond_robin\n", &["error 2:14 policy"]);
    check(
        "  failover: true\n  quality: { failover_support: false }\n",
        &["error 3:32 failover"],
    );
    check(
        "  health_monitoring: { check_interval: 5 }\n",
        &["error 2:40 range"],
    );
    check(
        "  health_monitoring: { timeout: 0 }\n",
        &["error 2:33 duration"],
    );
    check(
        "  performance_monitoring: { metrics: [respons_time] }\n",
        &["error 2:39 metric"],
    );
    check(
        "  performance_monitoring: { metrics: [] }\n",
        &["error 2:38 range"],
    );
    check(
        "  performance_monitoring: { metrics: [throughput], thresholds: { error_rate: 1% } }\n",
        &["error 2:78 metric"],
    );
    check(
        "  performance_monitoring: { thresholds: [{ metric: throughput }] }\n",
        &["error 2:42 missing"],
    );
    check(
        "  dynamic_adjustment: { performance_threshold: 1.5 }\n",
        &["error 2:48 percentage"],
    );
    check(
        "  health_checking: false\n  health_monitoring: { check_interval: 1s }\n",
        &["warning 3:22 health_checking"],
    );
    // A switch stands twice, or its settings do: one of each may.
    check(
        "  failover: true\n  failover: true\n",
        &["error 3:3 duplicate_key"],
    );
    check(
        "  dynamic_adjustment: true\n  dynamic_adjustment: {}\n  dynamic_adjustment: true\n",
        &["error 4:3 duplicate_key"],
    );
    check(
        "  performance_monitoring:\n    alerting: true\n    alerting: { a: 1 }\n",
        &["error 4:5 duplicate_key"],
    );
    check("  failover: {}\n  failover: true\n", &["error 2:13 type"]);
}

/// Elsewhere a key that stands twice is an error, as ever.
#[test]
fn a_switch_and_its_settings_elsewhere() {
    let text = "services:\n  api:\n    monitoring: true\n    monitoring: { alerting: true }\n    backends: [\"10.0.0.1:1\"]\n";
    let (loaded, _) = read(&[text]);
    let words: Vec<_> = loaded.problems.iter().map(|one| one.word).collect();
    assert!(words.contains(&"duplicate_key"), "{words:?}");
    let twice = [BASIC, ADVANCED, SERVICE];
    let (loaded, _) = read(&twice);
    let words: Vec<_> = loaded.problems.iter().map(|one| one.word).collect();
    assert!(
        loaded.plan.is_none() && words.contains(&"set_twice"),
        "{words:?}"
    );
}
