//! Zones, regions and overprovisioning, as they are written and as they are planned.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use evenkeel_balance::settings::Overprovision;
use evenkeel_balance::zone::ZoneId;
use evenkeel_config::limits::REGION_NETWORKS;
use evenkeel_config::plan::{Plan, Prefer, zones};
use evenkeel_config::problem::At;
use evenkeel_config::{Loaded, Severity, Source, load, render};

fn text(top: &str, service: &str) -> String {
    format!(
        "{top}listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\n\
         services: {{ api: {{ backends: [{{ address: 10.0.0.1:1, zone: eu }}, {{ dns: a:2, zone: us }}, 10.0.0.3:1]{service} }} }}\n"
    )
}

fn read(top: &str, service: &str) -> (Loaded, [Source; 1]) {
    let sources = [Source {
        name: "f.yaml".into(),
        text: text(top, service),
    }];
    (load(&sources, &BTreeMap::new()), sources)
}

#[track_caller]
fn plan(top: &str, service: &str) -> Plan {
    let (loaded, sources) = read(top, service);
    let shown = render(&loaded.problems, &sources);
    assert_eq!(loaded.problems.len(), 0, "{shown}");
    loaded.plan.unwrap()
}

/// The factor, and of zones whether they are off, whose come first, the instance's own, and the least.
#[track_caller]
fn check(top: &str, service: &str, factor: f64, expect: Option<(Prefer, Option<&str>, u32)>) {
    let plan = plan(top, service);
    let service = &plan.services[0];
    let settings = &service.settings;
    assert_eq!(settings.overprovision, Overprovision::new(factor).unwrap());
    let zones = settings.zones.as_ref().map(|zones| {
        let local = zones.local.as_ref().map(|zone| zone.name());
        (service.prefer, local, zones.min_backends)
    });
    assert_eq!(zones, expect);
    let stand = [
        service.backends[0].spec.zone.as_ref(),
        service.names[0].spec.zone.as_ref(),
        service.backends[1].spec.zone.as_ref(),
    ];
    let stand = stand.map(|zone| zone.map(|zone| zone.name()));
    assert_eq!(stand, [Some("eu"), Some("us"), None]);
}

const REGIONS: &str = "regions: { eu: [10.0.0.0/8, \"2001:db8::/32\"], us: 10.1.0.0/16 }\n";

#[test]
fn what_is_preferred() {
    check("", "", 1.4, None);
    check("", ", overprovision: 1", 1.0, None);
    check("", ", overprovision: 2.50, zones: off", 2.5, None);
    let local = Some((Prefer::Local, Some("eu"), 1));
    check("zone: eu\n", ", zones: local", 1.4, local);
    check("zone: eu\n", ", zones: {}", 1.4, local);
    check(
        "zone: eu\n",
        ", zones: { prefer: local, min_backends: 6 }",
        1.4,
        Some((Prefer::Local, Some("eu"), 6)),
    );
    check(
        "zone: ${ZONE:-us}\n",
        ", zones: local",
        1.4,
        Some((Prefer::Local, Some("us"), 1)),
    );
    check(
        REGIONS,
        ", zones: client",
        1.4,
        Some((Prefer::Client, None, 1)),
    );
    let both = format!("zone: us\n{REGIONS}");
    check(
        &both,
        ", zones: { prefer: client, min_backends: 2 }",
        1.4,
        Some((Prefer::Client, Some("us"), 2)),
    );
}

/// How few healthy backends are as good as none.
#[test]
fn what_is_enough() {
    let check = |written: &str, count: u32, share: f64| {
        let plan = plan("", written);
        let least = plan.services[0].settings.min_healthy;
        assert_eq!((least.count, least.share), (count, share), "{written}");
    };
    check("", 1, 0.0);
    check(", min_healthy: {}", 1, 0.0);
    check(", min_healthy: { count: 2 }", 2, 0.0);
    check(", min_healthy: { share: 30% }", 1, 0.3);
    // Of a name there may be any number.
    check(", min_healthy: { count: 40, share: 100% }", 40, 1.0);
    let same = |one: &str, other: &str| {
        let [one, other] = [one, other].map(|written| plan("", written));
        one.services[0].same_but_backends(&other.services[0])
    };
    assert!(same("", ", min_healthy: { count: 1, share: 0% }"));
    assert!(!same("", ", min_healthy: { share: 1% }"));
    assert!(!same("", ", min_healthy: { count: 2 }"));
}

/// Where all backends are written, more than there are is never reached.
#[test]
fn more_than_there_are_is_told() {
    let check = |count: u32, closed: bool, expect: Option<&str>| {
        let action = if closed { "fail_closed" } else { "fail_open" };
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices: {{ api: {{ backends: [a:1, b:1], on_all_down: {action}, min_healthy: {{ count: {count} }} }} }}\n"
        );
        let name = "f.yaml".into();
        let loaded = load(&[Source { name, text }], &BTreeMap::new());
        assert!(loaded.plan.is_some());
        let said = loaded.problems.iter();
        let said: Vec<_> = said
            .map(|one| (one.word, one.severity, &*one.message))
            .collect();
        let expect = expect.map(|message| ("min_healthy", Severity::Warning, message));
        assert_eq!(said, expect.into_iter().collect::<Vec<_>>());
    };
    check(2, true, None);
    let open =
        "`count` is 3, and the service has 2 backends that may serve: its health is never believed";
    check(3, false, Some(open));
    let closed =
        "`count` is 3, and the service has 2 backends that may serve: it refuses everything";
    check(3, true, Some(closed));
}

#[test]
fn whose_client_is_near() {
    let plan = plan(REGIONS, ", zones: client");
    let table = zones::table(&plan.regions);
    let check = |client: &str, zone: Option<&str>| {
        let client: IpAddr = client.parse().unwrap();
        assert_eq!(
            zones::zone_of(&table, client),
            zone.map(ZoneId::named),
            "{client}"
        );
    };
    check("10.2.3.4", Some("eu"));
    check("10.1.3.4", Some("us"));
    check("::ffff:10.1.3.4", Some("us"));
    check("2001:db8::1", Some("eu"));
    check("2001:db9::1", None);
    check("11.0.0.1", None);
}

/// What is said, in order, as the text that it is said of and its word; a warning has a mark, and an earlier place its text.
#[track_caller]
fn said(top: &str, service: &str, expect: &[&str]) {
    let (loaded, sources) = read(top, service);
    let of = |at: At| {
        let line = sources[0].text.lines().nth(at.line - 1).unwrap();
        let of: String = line.chars().skip(at.column - 1).take(at.length).collect();
        format!("{} {of}", at.line)
    };
    let each = loaded.problems.iter().map(|one| {
        let warns = one.severity == Severity::Warning;
        let mark = if warns { "?" } else { "" };
        let also = one.also.map(|at| format!(", {}", of(at)));
        format!(
            "{} {}{mark}{}",
            of(one.at),
            one.word,
            also.unwrap_or_default()
        )
    });
    let got: Vec<_> = each.collect();
    assert_eq!(got, expect, "\n{}", render(&loaded.problems, &sources));
}

#[test]
fn what_is_wrong_has_its_place() {
    let no_map = ["2 30% type"];
    said("", ", min_healthy: 30%", &no_map);
    said("", ", min_healthy: { count: 0 }", &["2 0 range"]);
    let above = ", min_healthy: { share: 101% }";
    said("", above, &["2 101% percentage"]);
    said("", ", overprovision: 0.9", &["2 0.9 overprovision"]);
    said("", ", overprovision: 1001", &["2 1001 overprovision"]);
    said("", ", overprovision: -1.4", &["2 -1.4 overprovision"]);
    said("", ", overprovision: 1e2", &["2 1e2 overprovision"]);
    said("", ", zones: near", &["2 near value"]);
    let both = ["3 near value"];
    said("zone: eu\n", ", zones: { prefer: near }", &both);
    let range = ["3 0 range"];
    said("zone: eu\n", ", zones: { min_backends: 0 }", &range);
    said(
        "zone: eu\n",
        ", zones: { least: 2 }",
        &["3 least unknown_key"],
    );
    said("zone: \"\"\n", "", &["1 \"\" zone"]);
    said("", ", zones: local", &["2 api zone"]);
    let twice = "regions: { eu: [10.0.0.0/8], us: [10.9.9.9/8] }\n";
    let expect = ["1 10.9.9.9/8 duplicate_network, 1 10.0.0.0/8"];
    said(twice, ", zones: client", &expect);
    let twice = "regions: { us: [10.0.0.0/8, 10.0.0.0/8] }\n";
    let expect = ["1 10.0.0.0/8 duplicate_network, 1 10.0.0.0/8"];
    said(twice, ", zones: client", &expect);
    // One of IPv4 in one of IPv6 is the same.
    let twice = "regions: { eu: [10.0.0.0/8], us: [\"::ffff:10.0.0.0/104\"] }\n";
    let expect = ["1 \"::ffff:10.0.0.0/104\" duplicate_network, 1 10.0.0.0/8"];
    said(twice, ", zones: client", &expect);
    let wrong = "regions: { eu: [10.0.0.0/33] }\n";
    said(wrong, ", zones: client", &["1 10.0.0.0/33 address"]);
    said("regions: [10.0.0.0/8]\n", "", &["1 [ type"]);
}

#[test]
fn what_helps_nobody_is_warned_of() {
    said("zone: asia\n", ", zones: local", &["3 api zone?"]);
    said("zone: asia\n", "", &[]);
    said(REGIONS, "", &["1 eu region?", "1 us region?"]);
    said("zone: eu\n", ", zones: client", &["3 api zone?"]);
    let asia = "regions: { eu: [10.0.0.0/8], asia: [10.1.0.0/16] }\n";
    said(asia, ", zones: client", &["1 asia region?"]);
    said("regions: { eu: [] }\n", ", zones: client", &["1 eu empty?"]);
}

/// As many networks as may be are fine; one more is told, where it stands.
#[test]
fn regions_are_bounded() {
    let networks = |count: usize| {
        let lines = (0..count).fold(String::new(), |mut text, at| {
            let _ = writeln!(text, "    - 10.{}.{}.0/24", at / 250, at % 250);
            text
        });
        format!("regions:\n  us: [11.0.0.0/8]\n  eu:\n{lines}")
    };
    said(&networks(REGION_NETWORKS - 1), ", zones: client", &[]);
    let last = (REGION_NETWORKS - 1) / 250;
    let line = format!("{} 10.{last}.249.0/24 too_many", REGION_NETWORKS + 3);
    said(&networks(REGION_NETWORKS), ", zones: client", &[&line]);
}
