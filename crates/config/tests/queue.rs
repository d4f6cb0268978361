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
