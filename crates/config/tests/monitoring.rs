//! How services are watched, how their weights follow, and who is told of alerts.
#![expect(clippy::panic, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_config::plan::{
    AdjustPlan, AlertSeverity, AlertTurn, BackendAddress, Metric, MonitoringPlan, ServicePlan,
    TrialPlan, WebhookPlan,
};
use evenkeel_config::{Files, Loaded, Source, load_with, render};

fn loaded(service: &str, top: &str) -> (Loaded, [Source; 1]) {
    let text = format!(
        "services: {{ api: {{ backends: [\"127.0.0.1:1\"], {service} }} }}\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\n{top}\n"
    );
    let sources = [Source {
        name: "keel.yaml".into(),
        text,
    }];
    let files: Files = [
        ("ca.pem".into(), Ok(b"-----".to_vec())),
        ("secret".into(), Ok(b"0123456789abcdef\n".to_vec())),
        ("short".into(), Ok(b"0123456789abcde\r\n".to_vec())),
    ]
    .into();
    (load_with(&sources, &BTreeMap::new(), files), sources)
}

#[track_caller]
fn service(text: &str) -> ServicePlan {
    let (loaded, sources) = loaded(text, "");
    let plan = loaded
        .plan
        .unwrap_or_else(|| panic!("{}", render(&loaded.problems, &sources)));
    plan.services.into_iter().next().expect("a service")
}

/// What is wrong with a service's keys, or with those at the top.
#[track_caller]
fn check((service, top): (&str, &str), expect: &str, said: &str) {
    let (loaded, sources) = loaded(service, top);
    let text = render(&loaded.problems, &sources);
    let words: Vec<_> = loaded.problems.iter().map(|one| one.word).collect();
    assert_eq!(words, [expect], "\n{text}");
    assert!(text.contains(said) && loaded.plan.is_none(), "{text}");
}

#[test]
fn a_service_is_watched_and_not_adjusted() {
    let got = service("");
    assert_eq!(got.monitoring, Some(MonitoringPlan::default()));
    assert_eq!(got.adjust, None);
    let default = MonitoringPlan::default();
    assert_eq!(default.metrics, Metric::ALL);
    assert!(default.thresholds.is_empty() && default.objective.is_none());
    assert!(default.anomalies && default.alerting && default.recommendations);
    assert_eq!(service("monitoring: on").monitoring, Some(default));
    assert_eq!(service("monitoring: off").monitoring, None);
    assert_eq!(service("adjust: off").adjust, None);
    for on in ["adjust: on", "adjust: {}"] {
        assert_eq!(service(on).adjust, Some(AdjustPlan::default()));
    }
}

#[test]
fn limits_of_what_is_measured() {
    let got = service(
        "monitoring: { metrics: [availability, response_time, throughput, error_rate], thresholds: { availability: 99.9%, response_time: 100ms, throughput: 1000/s, error_rate: 1% }, objective: 99.9%, anomalies: false, alerting: false, recommendations: false }",
    );
    let got = got.monitoring.expect("it is watched");
    let limits: Vec<_> = got
        .thresholds
        .iter()
        .map(|one| format!("{} {}", one.metric.name(), one.limit))
        .collect();
    assert_eq!(
        limits,
        [
            "response_time 0.1",
            "throughput 1000",
            "error_rate 0.01",
            "availability 0.9990000000000001"
        ]
    );
    assert_eq!(got.metrics, Metric::ALL);
    assert!(
        got.objective
            .is_some_and(|share| share < 1.0 && share > 0.998)
    );
    assert!(!got.anomalies && !got.alerting && !got.recommendations);
    let one = service("monitoring: { metrics: throughput }").monitoring;
    assert_eq!(one.expect("it is watched").metrics, [Metric::Throughput]);
}

#[test]
fn what_adjusts() {
    let got = service(
        "adjust: { interval: 30s, performance_threshold: 70%, health_threshold: 95%, learning: false, policy: { try: [p2c, round-robin], threshold: 60%, patience: 3, lasts: 4, gain: 10%, rest: 20, most: 2 } }",
    );
    let got = got.adjust.expect("it is adjusted");
    assert_eq!(got.interval, Duration::from_secs(30));
    let thresholds = (got.performance_threshold, got.health_threshold);
    assert_eq!(thresholds, (0.7, 0.95));
    assert!(!got.learning);
    let trial = got.policy.expect("others are tried");
    let names: Vec<_> = trial.policies.iter().map(|one| one.name()).collect();
    assert_eq!(names, ["power_of_two", "round_robin"]);
    let counts = (trial.patience, trial.lasts, trial.rest, trial.most);
    assert_eq!(counts, (3, 4, 20, 2));
    assert_eq!((trial.threshold, trial.gain), (0.6, 0.1));
    let on = service("adjust: { policy: on }").adjust;
    assert_eq!(
        on.expect("it is adjusted").policy,
        Some(TrialPlan::default())
    );
}

#[test]
fn what_is_wrong_is_said() {
    let rows = [
        ("monitoring: true", "value", "`on`"),
        (
            "monitoring: { metrics: [respons_time] }",
            "metric",
            "did you mean `response_time`",
        ),
        (
            "monitoring: { metrics: [throughput, throughput] }",
            "duplicate_name",
            "twice",
        ),
        ("monitoring: { metrics: [] }", "range", "monitoring: off"),
        ("monitoring: { threshold: {} }", "unknown_key", "thresholds"),
        (
            "monitoring: { thresholds: { response_time: 100 } }",
            "duration",
            "no unit",
        ),
        (
            "monitoring: { thresholds: { response_time: 0s } }",
            "range",
            "zero",
        ),
        (
            "monitoring: { thresholds: { throughput: 0/s } }",
            "range",
            "never reached",
        ),
        (
            "monitoring: { thresholds: { throughput: 10 } }",
            "rate",
            "3/s",
        ),
        (
            "monitoring: { thresholds: { error_rate: 100% } }",
            "range",
            "never reached",
        ),
        (
            "monitoring: { thresholds: { availability: 0% } }",
            "range",
            "never reached",
        ),
        (
            "monitoring: { metrics: [throughput], thresholds: { error_rate: 1% } }",
            "metric",
            "nobody measures it",
        ),
        ("monitoring: { objective: 100% }", "range", "budget"),
        ("monitoring: { objective: 0.99 }", "percentage", "50%"),
        ("adjust: { interval: 500ms }", "range", "1s to 1h"),
        ("adjust: { interval: 2h }", "range", "1s to 1h"),
        (
            "adjust: { performance_threshold: 0.8 }",
            "percentage",
            "50%",
        ),
        (
            "adjust: { policy: { try: [leest_time] } }",
            "policy",
            "did you mean `least_time`",
        ),
        (
            "adjust: { policy: { try: [maglev] } }",
            "policy",
            "is not tried",
        ),
        (
            "adjust: { policy: { try: [random, random] } }",
            "duplicate_name",
            "twice",
        ),
        ("adjust: { policy: { try: [] } }", "range", "policy: off"),
        ("adjust: { policy: { most: 0 } }", "range", "between 1 and"),
        (
            "policy: hash, adjust: { policy: on }",
            "policy",
            "they would go elsewhere",
        ),
        ("tiers: frist", "value", "`first`"),
    ];
    for (service, word, said) in rows {
        check((service, ""), word, said);
    }
}

/// The first webhook of these keys.
#[track_caller]
fn webhook(keys: &str) -> WebhookPlan {
    let (loaded, sources) = loaded("", &format!("alerts: {{ webhooks: [{{ {keys} }}] }}"));
    let plan = loaded
        .plan
        .unwrap_or_else(|| panic!("{}", render(&loaded.problems, &sources)));
    plan.alerts.webhooks.into_iter().next().expect("a webhook")
}

#[test]
fn who_is_told() {
    let plain = webhook("name: ops, to: \"http://127.0.0.1:9000\"");
    assert_eq!(plain.to, BackendAddress::Tcp(([127, 0, 0, 1], 9000).into()));
    assert_eq!((&*plain.name, &*plain.path), ("ops", "/"));
    assert!(plain.tls.is_none() && plain.key().is_none() && plain.headers.is_empty());
    assert_eq!(plain.events, AlertTurn::ALL);
    assert_eq!(plain.severity, AlertSeverity::Info);
    assert_eq!((plain.timeout, plain.attempts), (Duration::from_secs(5), 5));
    let whole = webhook(
        "name: ops, to: \"https://hooks.example:443/T0/alerts?x=1\", secret: secret, ca: ca.pem, events: [raised], severity: critical, headers: { x-token: a }, timeout: 1s, attempts: 2",
    );
    assert_eq!(&*whole.path, "/T0/alerts?x=1");
    // Without the line end that editors put behind it.
    assert_eq!(whole.key(), Some(&b"0123456789abcdef"[..]));
    assert!(whole.tls.as_ref().is_some_and(|tls| tls.ca.is_some()));
    assert_eq!(whole.events, [AlertTurn::Raised]);
    assert_eq!(whole.severity, AlertSeverity::Critical);
    assert_eq!((whole.timeout, whole.attempts), (Duration::from_secs(1), 2));
    // A path and a field may be secrets.
    let shown = format!("{whole:?}");
    assert!(
        !shown.contains("T0") && !shown.contains("x-token"),
        "{shown}"
    );
}

#[test]
fn files_of_webhooks_are_read_again() {
    let text =
        "alerts: { webhooks: [{ name: ops, to: \"https://a:1\", secret: secret, ca: ca.pem }] }";
    let mut plan = loaded("", text).0.plan.expect("a plan");
    let names = |all: Vec<&evenkeel_config::plan::tls::Material>| {
        let names = all.iter().map(|one| one.path.display().to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(plan.materials()), ["secret", "ca.pem"]);
    assert_eq!(names(plan.keys()), ["secret"]);
    assert_eq!(plan.materials_mut().len(), 2);
}

#[test]
fn what_is_no_webhook_is_said() {
    let many = "{ name: a, to: \"http://a:1\" }, ".repeat(17);
    let rows = [
        ("{}", "missing", "`webhooks` is missing"),
        (
            "{ webhooks: [{ name: a, to: \"ftp://a:1\" }] }",
            "address",
            "a webhook is written like",
        ),
        (
            "{ webhooks: [{ name: a, to: \"http://a:1\", ca: ca.pem }] }",
            "ca",
            "https://",
        ),
        (
            "{ webhooks: [{ name: a, to: \"http://a:1\", secret: short }] }",
            "secret",
            "not 15",
        ),
        (
            "{ webhooks: [{ name: a, to: \"http://a:1\", events: [rased] }] }",
            "value",
            "`raised`",
        ),
        (
            "{ webhooks: [{ name: a, to: \"http://a:1\", events: [] }] }",
            "range",
            "told of nothing",
        ),
        (
            "{ webhooks: [{ name: a, to: \"http://a:1\", timeout: 2m }] }",
            "range",
            "at most 1m",
        ),
        (
            "{ webhooks: [{ name: a, to: \"http://a:1\", attempts: 21 }] }",
            "range",
            "between 1 and 20",
        ),
        (
            "{ webhooks: [{ name: \"a b\", to: \"http://a:1\" }] }",
            "name",
            "is no name",
        ),
        (
            "{ webhooks: [{ name: a, to: \"http://a:1\", headers: { \"a b\": c } }] }",
            "header",
            "no field",
        ),
        (
            "{ webhooks: [{ name: a, to: \"http://a:1\" }, { name: a, to: \"http://b:1\" }] }",
            "duplicate_name",
            "another webhook",
        ),
    ];
    for (alerts, word, said) in rows {
        check(("", &format!("alerts: {alerts}")), word, said);
    }
    let (loaded, _) = loaded("", &format!("alerts: {{ webhooks: [{many}] }}"));
    let words: Vec<_> = loaded.problems.iter().map(|one| one.word).collect();
    assert!(
        loaded.plan.is_none() && words.contains(&"too_many"),
        "{words:?}"
    );
}
