//! Backends that report their load, through the shipped binary: nginx with a field of its own, pages that are asked for, and what goes
//! over at an upgrade.

use std::collections::BTreeMap;

use crate::process::{Evenkeel, Folder, Server};
use crate::rules_actions::echo::Client;
use crate::upgrade::Line;

const IDS: [&str; 3] = ["one", "two", "three"];

/// Three of nginx, each of which says its name on every page, and what its part of `server` says besides.
fn backends(folder: &Folder, server: impl Fn(usize) -> String) -> Vec<Server> {
    let one = |(at, id): (usize, &&str)| {
        let besides = server(at);
        let text = format!("{besides} location / {{ return 200 \"{id}\\n\"; }}");
        Server::nginx(folder, &text)
    };
    IDS.iter().enumerate().map(one).collect()
}

/// As able as 1, 2 and 3.
fn field(at: usize) -> String {
    let rps = (at + 1) * 100;
    format!(
        "add_header Endpoint-Load-Metrics \"TEXT application_utilization=0.5,rps_fractional={rps}\" always;"
    )
}

fn file(folder: &Folder, backends: &[Server], policy: &str) -> String {
    let rows: Vec<String> = IDS
        .iter()
        .zip(backends)
        .map(|(id, server)| format!("{{ id: {id}, address: \"{}\" }}", server.address))
        .collect();
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices:\n  api:\n    {policy}\n    backends: [{}]\n",
        rows.join(", ")
    );
    let file = folder.write("keel.yaml", &text);
    file.to_str().unwrap().to_owned()
}

/// The value of a backend's metric, if it has one.
fn metric(page: &str, name: &str, id: &str) -> Option<f64> {
    let begin = format!("evenkeel_{name}{{service=\"api\",backend=\"{id}\"}} ");
    let row = page.lines().find_map(|line| line.strip_prefix(&begin))?;
    Some(row.parse().unwrap())
}

/// Asks until these are the factors; each round asks all of them.
fn until(keel: &Evenkeel, factors: [f64; 3]) {
    let mut client = Client::to(keel.address);
    // Each page is a connection and a process: minutes.
    for _ in 0..10_000 {
        for _ in 0..6 {
            assert_eq!(client.get("/", "").status(), 200);
        }
        let page = keel.page("/metrics");
        let near = |(id, factor): (&&str, &f64)| {
            let got = metric(&page, "backend_load_factor", id);
            got.is_some_and(|got| (got - factor).abs() <= factor * 0.03)
        };
        if IDS.iter().zip(&factors).all(near) {
            return;
        }
    }
    panic!("{}", keel.page("/metrics"));
}

/// Who answers 600 requests of one connection; no answer has a field of load.
fn shares(keel: &Evenkeel) -> [usize; 3] {
    let mut client = Client::to(keel.address);
    let mut counts = BTreeMap::<String, usize>::new();
    for _ in 0..600 {
        let got = client.get("/", "");
        assert!(got.all("endpoint-load-metrics").is_empty(), "{}", got.head);
        *counts.entry(got.body.trim().to_owned()).or_default() += 1;
    }
    IDS.map(|id| counts.get(id).copied().unwrap_or_default())
}

#[track_caller]
fn near(got: [usize; 3], expect: [usize; 3]) {
    let off = got
        .iter()
        .zip(&expect)
        .map(|(one, other)| one.abs_diff(*other));
    assert!(off.max() <= Some(24), "{got:?}, not {expect:?}");
}

#[test]
fn shares_follow_a_field_that_no_client_sees() {
    let folder = Folder::new("loads-field");
    let servers = backends(&folder, field);
    let policy = "policy: client_side_weighted_round_robin\n    load: { blackout: 0s }";
    let keel = Evenkeel::run(&["-c", &file(&folder, &servers, policy)]);
    until(&keel, [0.5, 1.0, 1.5]);
    near(shares(&keel), [100, 200, 300]);
    let page = keel.page("/metrics");
    let of = |name: &str, id: &str| metric(&page, name, id).unwrap();
    for id in IDS {
        assert!((of("backend_load_utilization", id) - 0.5).abs() < 1e-6);
        assert!((0.0..180.0).contains(&of("backend_load_report_age_seconds", id)));
    }
    assert!((of("backend_load_share", "three") - 0.5).abs() < 0.02);
    let read = "evenkeel_load_reports_total{service=\"api\",result=\"read\"} ";
    let count = page.lines().find_map(|line| line.strip_prefix(read));
    assert!(count.unwrap().parse::<u64>().unwrap() > 600, "{page}");
    let status = keel.page("/v1/status");
    for part in ["\"utilization\":0.5", "\"reason\":\"reported\""] {
        assert_eq!(status.matches(part).count(), 3, "{status}");
    }
    // What one says that is none counts as nothing, and does not go on either.
    assert!(!keel.curl(&["--include"], "/").contains("ndpoint-"));
}

#[test]
fn who_does_not_go_by_it_passes_it_on() {
    let folder = Folder::new("loads-passed");
    let servers = backends(&folder, field);
    for (policy, passes) in [
        ("policy: round_robin", true),
        ("policy: weighted_by_load\n    load: { field: keep }", true),
        ("policy: weighted_by_load", false),
    ] {
        let keel = Evenkeel::run(&["-c", &file(&folder, &servers, policy)]);
        let got = keel.curl(&["--include"], "/");
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
        let has = got.contains("Endpoint-Load-Metrics: TEXT application");
        assert_eq!(has, passes, "{policy}: {got}");
    }
}

#[test]
fn shares_follow_pages_that_are_asked_for() {
    let folder = Folder::new("loads-pages");
    let servers = backends(&folder, |at| {
        let rps = [100, 300, 0][at];
        let page =
            format!("{{ \\\"applicationUtilization\\\": 0.5, \\\"rps_fractional\\\": {rps} }}");
        // The last one has no such page.
        let status = if at == 2 { 500 } else { 200 };
        format!("location = /orca {{ return {status} \"{page}\"; }}")
    });
    let policy = "policy: weighted_by_load\n    load: { blackout: 0s, report: { http: { path: /orca, interval: 200ms } } }";
    let keel = Evenkeel::run(&["-c", &file(&folder, &servers, policy)]);
    // Beside the lower one: 1 and 3; of whom nothing is known, the mean of the two.
    until(&keel, [1.0, 3.0, 2.0]);
    near(shares(&keel), [100, 300, 200]);
    let page = keel.page("/metrics");
    let up = "evenkeel_backend_up{service=\"api\",backend=\"three\"} 1";
    assert!(page.lines().any(|line| line == up), "{page}");
    for word in ["read", "unanswered"] {
        let begin = format!("evenkeel_load_reports_total{{service=\"api\",result=\"{word}\"}} ");
        let count = page.lines().find_map(|line| line.strip_prefix(&begin));
        assert!(count.unwrap().parse::<u64>().unwrap() > 3, "{page}");
    }
    assert!(
        keel.page("/v1/status")
            .contains("\"reason\":\"unreported\"")
    );
}

/// A process that takes over, and a plan that is read again, go on with the same shares: nobody begins evenly, and nothing waits.
#[test]
fn shares_go_over() {
    let folder = Folder::new("loads-upgrade");
    let servers = backends(&folder, field);
    let policy = "policy: weighted_by_load\n    load: { blackout: 0s }";
    let mut keel = Evenkeel::run(&["-c", &file(&folder, &servers, policy)]);
    let mut line = Line::default();
    until(&keel, [0.5, 1.0, 1.5]);
    let three = |keel: &Evenkeel| metric(&keel.page("/metrics"), "backend_load_factor", "three");
    // With as long a blackout as there is: what follows is not learned anew.
    let strict = "policy: weighted_by_load\n    load: { blackout: 2m, expiry: 1h }";
    file(&folder, &servers, strict);
    keel.signal("-HUP");
    keel.until_any("reloaded");
    let after = three(&keel).unwrap();
    assert!((after - 1.5).abs() < 0.05, "{after} after a reload");
    file(&folder, &servers, policy);
    line.upgrade(&mut keel, &[]);
    let after = three(&keel).unwrap();
    assert!((after - 1.5).abs() < 0.05, "{after} after an upgrade");
    near(shares(&keel), [100, 200, 300]);
}

/// At a start nothing is known, and it is said so.
#[test]
fn an_explanation_says_why() {
    let folder = Folder::new("loads-explained");
    let text = "listeners: { web: { bind: \"127.0.0.1:8080\" } }\nservices: { api: { policy: orca, backends: [\"10.0.0.1:1\", \"10.0.0.2:1\"] } }\n";
    let file = folder.write("keel.yaml", text);
    let file = file.to_str().unwrap();
    let url = "http://a:8080/";
    let (code, out, said) = crate::evenkeel(&["explain", "GET", url, "-c", file]);
    assert_eq!(code, Some(0), "{said}");
    assert!(out.contains("by weighted_by_load\n"), "{out}");
    assert_eq!(out.matches("1 (unreported)").count(), 2, "{out}");
    let (_, out, _) = crate::evenkeel(&["explain", "GET", url, "-c", file, "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    let one = &rows["explanations"][0]["services"][0]["candidates"][0]["load"];
    assert_eq!(one["reason"], "unreported", "{out}");
}
