use std::collections::BTreeMap;

use evenkeel_config::{Source, load};

use super::*;

fn plan(services: &str) -> Plan {
    let source = Source {
        name: "f.yaml".into(),
        text: format!(
            "listeners: {{ web: {{ bind: \"127.0.0.1:1\" }} }}\nservices: {{ {services} }}\n"
        ),
    };
    load(&[source], &BTreeMap::new()).plan.unwrap()
}

/// What was wanted in one process goes over as data, and lies over the plan of another.
#[track_caller]
fn check(before: &str, id: &str, after: &str, stays: bool) {
    let plan_before = plan(before);
    let mut overlay = Overlay::default();
    let service = &plan_before.services[0];
    let mut member = service.backends.first().cloned().unwrap_or_else(|| {
        let address = id.parse().unwrap();
        service.names[0].backend(address, None, 0)
    });
    member.spec.id = id.into();
    overlay.wish(service, &member, Admin::Disabled).unwrap();
    let (wanted, version) = overlay.wanted();
    assert_eq!((wanted.backends(), version), (1, 1));
    let mut next = Overlay::from(wanted.clone());
    next.follow(&plan(after));
    assert_eq!(next.wanted().0.backends() == 1, stays, "{before} {after}");
    assert_eq!(next.wanted().1 == 0, stays, "a change has its number");
    overlay.follow(&plan(after));
    assert_eq!(
        overlay.wanted().0,
        next.wanted().0,
        "a reload says the same"
    );
}

#[test]
fn a_wish_holds_as_long_as_its_entry_says_the_same() {
    let one = |backend: &str| format!("api: {{ backends: [b:1, {{ id: a, {backend} }}] }}");
    let first = |backend: &str| format!("api: {{ backends: [{{ id: a, {backend} }}, b:1] }}");
    let full = "address: a:1, weight: 2, max_in_flight: 3, max_connections: 4, tier: 1, state: draining, labels: { rack: x }, zone: z";
    check(&first(full), "a", &one(full), true);
    for (from, to) in [
        ("address: a:1", "address: a:2"),
        ("address: a:1", "address: \"unix:/a\""),
        ("weight: 2", "weight: 3"),
        ("weight: 2, ", ""),
        ("max_in_flight: 3", "max_in_flight: 4"),
        ("max_connections: 4, ", ""),
        ("tier: 1", "tier: 0"),
        ("state: draining", "state: enabled"),
        ("rack: x", "rack: y"),
        ("rack: x", "tack: x"),
        ("zone: z", "zone: y"),
    ] {
        check(&first(full), "a", &one(&full.replace(from, to)), false);
    }
    // What is unsaid is as its default says.
    check(
        &first("address: a:1"),
        "a",
        &one("address: a:1, weight: 1, state: enabled, tier: 0"),
        true,
    );
    check(&first(full), "a", "api: { backends: [b:1] }", false);
    check(&first(full), "a", "other: { backends: [b:1] }", false);
    // Behind a name it may be away.
    let named = |name: &str| format!("api: {{ backends: [{{ {name} }}] }}");
    let (name, id) = ("dns: a:1, weight: 2", "127.0.0.1:1");
    check(&named(name), id, &named(name), true);
    check(&named(name), id, &named("dns: b:1, weight: 2"), false);
    check(&named(name), id, &named("dns: a:1"), false);
}

/// Another version must come to the same number, or an upgrade forgets what operators want.
#[test]
fn pinned_for_other_versions() {
    let check = |service: &str, id: &str, expect: u64| {
        let plan = plan(&format!("api: {{ backends: [{service}] }}"));
        let entry = entry::Entries::of(&plan.services[0]).of_id(id);
        assert_eq!(entry, expect, "{service}: {entry:#018x}");
    };
    check("127.0.0.1:1", "127.0.0.1:1", 0x9f19_05a8_e0e7_f6e8);
    check(
        "{ id: a, address: a:1, weight: 2, max_in_flight: 3, max_connections: 4, tier: 1, state: draining, labels: { rack: x }, zone: z }",
        "a",
        0x1512_42e7_1a3d_8ab3,
    );
    check(
        "{ dns: a:1, id: b, refresh: 30s }",
        "b@127.0.0.1:1",
        0x69c2_edec_d985_cc4b,
    );
}
