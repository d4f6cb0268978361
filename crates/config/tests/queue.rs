//! How much a service takes at once and who waits beyond, as it is written and as it is planned.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use evenkeel_config::plan::Plan;
use evenkeel_config::{Loaded, Source, load};

fn read(listener: &str, service: &str, rule: &str) -> Loaded {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080{listener} }} }}\n\
         services: {{ api: {{ backends: [{{ address: 10.0.0.1:1{service} }} }}\n\
         rules: [{{ forward: api{rule} }}]\n"
    );
    let source = Source {
        name: "f.yaml".into(),
        text,
    };
    load(&[source], &BTreeMap::new())
}

fn plan(listener: &str, service: &str, rule: &str) -> Plan {
    let loaded = read(listener, service, rule);
    assert_eq!(loaded.problems.len(), 0, "{:?}", loaded.problems);
    loaded.plan.unwrap()
}

/// A service's limit and its queue, or none.
#[track_caller]
fn check(service: &str, most: Option<u32>, queue: Option<(u32, u64)>) {
    let plan = plan("", service, "");
    let settings = &plan.services[0].settings;
    assert_eq!(settings.max_in_flight, most.and_then(NonZeroU32::new));
    let got = settings.queue.map(|queue| (queue.length, queue.timeout));
    let queue = queue.map(|(length, millis)| (length, Duration::from_millis(millis)));
    assert_eq!(got, queue, "{service}");
}

#[test]
fn limits_of_a_service() {
    check("}]", None, None);
    check("}], limits: { max_in_flight: 10000 }", Some(10_000), None);
    let queue = "limits: { max_in_flight: 10000, queue: { length: 1000, timeout: 1s } }";
    check(&format!("}}], {queue}"), Some(10_000), Some((1000, 1000)));
    let queue = "limits: { max_in_flight: 1, queue: { length: 7 } }";
    check(&format!("}}], {queue}"), Some(1), Some((7, 1000)));
    // Its backends' limits are enough to wait for.
    let queue = ", max_in_flight: 5 }], limits: { queue: { timeout: 50ms } }";
    check(queue, None, Some((1000, 50)));
}

/// Its ends, where it begins, and how much longer answers may take.
#[track_caller]
fn check_adaptive(limits: &str, expect: Option<(u32, u32, u32, f64)>) {
    let plan = plan("", &format!("}}], limits: {{ {limits} }}"), "");
    let got = plan.services[0].settings.adaptive_limit;
    let got = got.map(|one| {
        let [min, max, start] = [one.min, one.max, one.start].map(NonZeroU32::get);
        (min, max, start, one.tolerance)
    });
    assert_eq!(got, expect, "{limits}");
}

#[test]
fn a_limit_may_be_found() {
    check_adaptive("", None);
    check_adaptive("adaptive: off", None);
    check_adaptive("adaptive: on", Some((10, 1000, 20, 0.5)));
    check_adaptive("adaptive: {}", Some((10, 1000, 20, 0.5)));
    let all = "{ min: 2, max: 60, start: 4, tolerance: 25% }";
    check_adaptive(&format!("adaptive: {all}"), Some((2, 60, 4, 0.25)));
    check_adaptive("adaptive: { max: 10 }", Some((10, 10, 20, 0.5)));
    check_adaptive("adaptive: { tolerance: 100% }", Some((10, 1000, 20, 1.0)));
    // It is enough to wait for.
    check_adaptive(
        "adaptive: on, queue: { length: 5 }",
        Some((10, 1000, 20, 0.5)),
    );
    let same = |one: &str, other: &str| {
        let of = |limits: &str| plan("", &format!("}}], limits: {{ {limits} }}"), "");
        let (one, other) = (of(one), of(other));
        one.services[0].same_but_backends(&other.services[0])
    };
    assert!(same("adaptive: on", "adaptive: { min: 10 }"));
    assert!(!same("adaptive: on", "adaptive: off"));
    assert!(!same("adaptive: on", "adaptive: { min: 9 }"));
}

#[test]
fn limits_of_an_address_and_classes_of_rules() {
    let plan = plan(
        ", limits: { connections_per_address: 200 }",
        "}]",
        ", limits: { class: 3, body: 1KiB }",
    );
    let limits = &plan.listeners[0].limits;
    assert_eq!(limits.connections_per_address, NonZeroUsize::new(200));
    assert_eq!((plan.rules[0].class, plan.rules[0].body), (3, Some(1024)));
    assert_eq!(self::plan("", "}]", "").rules[0].class, 100);
}

#[test]
fn what_cannot_be_is_told() {
    for (listener, service, rule, expect) in [
        ("", "}], limits: { max_in_flight: 0 }", "", "range"),
        (
            "",
            "}], limits: { max_in_flight: 1, queue: { length: 0 } }",
            "",
            "range",
        ),
        (
            "",
            "}], limits: { max_in_flight: 1, queue: { lenght: 1 } }",
            "",
            "unknown_key",
        ),
        ("", "}], limits: { queue: { length: 1 } }", "", "queue"),
        ("", "}], limits: { adaptive: maybe }", "", "value"),
        ("", "}], limits: { adaptive: { min: 0 } }", "", "range"),
        ("", "}], limits: { adaptive: { max: 9 } }", "", "range"),
        (
            "",
            "}], limits: { adaptive: { min: 30, max: 20 } }",
            "",
            "range",
        ),
        (
            "",
            "}], limits: { adaptive: { tolerance: 1% } }",
            "",
            "range",
        ),
        (
            "",
            "}], limits: { adaptive: { tolerance: 101% } }",
            "",
            "percentage",
        ),
        (
            "",
            "}], limits: { adaptive: { least: 1 } }",
            "",
            "unknown_key",
        ),
        (
            ", limits: { connections_per_address: 0 }",
            "}]",
            "",
            "range",
        ),
        ("", "}]", ", limits: { class: 70000 }", "range"),
    ] {
        let words: Vec<_> = read(listener, service, rule)
            .problems
            .iter()
            .map(|problem| problem.word)
            .collect();
        assert_eq!(words, [expect], "{listener} {service} {rule}");
    }
}
