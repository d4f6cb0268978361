//! Tiers that share, tiers and zones that spill, and clients that are served near by, through the shipped binary.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::evenkeel;
use crate::process::{Evenkeel, Folder};
use crate::rules_actions::echo::{Client, Echo, Gate};
use crate::tls::metric;

/// A configuration of these backends: name, address, and what more is said of them.
fn text(top: &str, backends: &[(&Echo, &str)], service: &str) -> String {
    let all: Vec<_> = backends
        .iter()
        .map(|(echo, more)| format!("{{ address: \"{}\", {more} }}", echo.address))
        .collect();
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 2\ntrusted_proxies: 127.0.0.1\n{top}listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices:\n  api:\n    slow_start: 0s\n    {service}\n    backends: [{}]\n",
        all.join(", ")
    )
}

fn run(folder: &Folder, text: &str) -> Evenkeel {
    let file = folder.write("keel.yaml", text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

fn reload(folder: &Folder, keel: &mut Evenkeel, text: &str) {
    folder.write("keel.yaml", text);
    keel.signal("-HUP");
    keel.until_any("reloaded: ");
}

/// Who answers so many requests with these fields, and how often.
fn answers(keel: &Evenkeel, fields: &str, count: usize) -> BTreeMap<String, usize> {
    let mut client = Client::to(keel.address);
    let mut all = BTreeMap::new();
    for _ in 0..count {
        let got = client.get("/", fields);
        assert_eq!(got.status(), 200, "{}", got.head);
        let name = got.body.lines().next().unwrap().to_owned();
        *all.entry(name).or_default() += 1;
    }
    all
}

#[track_caller]
fn only(keel: &Evenkeel, fields: &str, expect: &str) {
    let got = answers(keel, fields, 40);
    assert_eq!(got, BTreeMap::from([(expect.to_owned(), 40)]), "{fields}");
}

fn post(keel: &Evenkeel, echo: &Echo, verb: &str) {
    let path = format!("/v1/services/api/backends/{}/{verb}", echo.address);
    let said = keel.asked(
        &["-X", "POST", "-H", "X-Evenkeel: 1", "-H", "If-Match: *"],
        &path,
    );
    assert!(said.contains("\"state\""), "{said}");
}

fn service(keel: &Evenkeel) -> Value {
    let page: Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
    page["services"][0].clone()
}

/// Two of three fail their checks and serve all the same: with fewer than must be healthy that is not believed, or all is refused.
#[test]
fn too_few_healthy_are_as_good_as_none() {
    let folder = Folder::new("few-healthy");
    let echoes = ["one", "two", "three"].map(Echo::start);
    let backends = echoes.each_ref().map(|echo| (echo, ""));
    let written = |more: &str| {
        let health = "{ http: { path: /, body: one }, interval: 100ms, fall: 1 }";
        let service = format!("policy: round_robin\n    health: {health}\n    {more}");
        text("", &backends, &service)
    };
    let mut keel = run(&folder, &written("min_healthy: { share: 50% }"));
    keel.until_any("too few backends of the service are healthy");
    assert_eq!(answers(&keel, "", 40).len(), 3);
    metric(&keel, "evenkeel_service_fail_open{service=\"api\"} 1");
    assert_eq!(service(&keel)["rung"], "fail_open");
    let closed = "min_healthy: { count: 2 }\n    on_all_down: fail_closed";
    reload(&folder, &mut keel, &written(closed));
    let refused = Client::to(keel.address).get("/", "");
    assert_eq!(refused.status(), 503, "{}", refused.head);
    assert_eq!(service(&keel)["rung"], "all_down");
    reload(
        &folder,
        &mut keel,
        &written("min_healthy: { count: 1, share: 30% }"),
    );
    only(&keel, "", "one");
    metric(&keel, "evenkeel_service_fail_open{service=\"api\"} 0");
}

#[test]
fn a_tier_shares_what_it_cannot_carry() {
    let folder = Folder::new("tiers-share");
    let [one, two, three] = ["one", "two", "three"].map(Echo::start);
    let backends = [(&one, ""), (&two, ""), (&three, "tier: 1")];
    let shared = text("", &backends, "policy: round_robin");
    let mut keel = run(&folder, &shared);
    assert!(!answers(&keel, "", 40).contains_key("three"));
    assert_eq!(service(&keel)["tiers"][1]["share"], 0.0);
    post(&keel, &two, "disable");
    let got = answers(&keel, "", 400);
    // Seven of ten; six standard deviations.
    let first = got["one"];
    assert!((225..335).contains(&first), "{got:?}");
    assert_eq!(first + got["three"], 400, "{got:?}");
    metric(
        &keel,
        "evenkeel_service_tier_share{service=\"api\",tier=\"0\"} 0.7",
    );
    let behind = got["three"];
    metric(
        &keel,
        &format!("evenkeel_service_tier_picks_total{{service=\"api\",tier=\"1\"}} {behind}"),
    );
    metric(
        &keel,
        &format!("evenkeel_service_tier_spilled_total{{service=\"api\",why=\"health\"}} {behind}"),
    );
    let seen = service(&keel);
    assert_eq!(
        (&seen["tier"], &seen["tiers"][0]["share"]),
        (&json!(0), &json!(0.7))
    );
    // Another factor, by a reload: what is wanted of the backend stays.
    let whole = text(
        "",
        &backends,
        "policy: round_robin\n    overprovision: 1000",
    );
    reload(&folder, &mut keel, &whole);
    only(&keel, "", "one");
    reload(&folder, &mut keel, &shared);
    assert_eq!(answers(&keel, "", 200).len(), 2);
    post(&keel, &two, "enable");
    assert!(!answers(&keel, "", 40).contains_key("three"));
}

#[test]
fn a_tier_that_is_full_spills_and_nobody_waits() {
    let folder = Folder::new("tiers-full");
    let gate = Gate::default();
    let (one, two) = (Echo::gated("one", gate.clone()), Echo::start("two"));
    let backends = [(&one, "max_in_flight: 1"), (&two, "tier: 1")];
    let queued = "limits: { queue: { length: 10, timeout: 20s } }";
    let keel = run(&folder, &text("", &backends, queued));
    let mut held = Client::to(keel.address);
    held.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    gate.reached();
    only(&keel, "", "two");
    metric(
        &keel,
        "evenkeel_service_tier_spilled_total{service=\"api\",why=\"full\"} 40",
    );
    let page = keel.page("/metrics");
    assert!(
        page.contains("evenkeel_queue_entered_total{service=\"api\"} 0\n"),
        "{page}"
    );
    gate.open();
    assert!(held.read().body.starts_with("one\n"));
}

#[test]
fn who_is_near_the_instance_comes_first() {
    let folder = Folder::new("zones-local");
    let [east, west, far] = ["east", "west", "far"].map(Echo::start);
    let backends = [
        (&west, "zone: west"),
        (&east, "zone: east"),
        (&far, "zone: east, tier: 1"),
    ];
    let of = |zone: &str| {
        text(
            &format!("zone: {zone}\n"),
            &backends,
            "zones: local\n    overprovision: 1000",
        )
    };
    let mut keel = run(&folder, &of("east"));
    only(&keel, "", "east");
    metric(
        &keel,
        "evenkeel_service_zone_picks_total{service=\"api\",zone=\"kept\"} 40",
    );
    let seen = service(&keel);
    assert_eq!(seen["backends"][1]["zone"], "east");
    assert_eq!(seen["zone_picks"]["kept"], 40);
    // Its own tier before its own zone.
    post(&keel, &east, "drain");
    only(&keel, "", "west");
    metric(
        &keel,
        "evenkeel_service_zone_picks_total{service=\"api\",zone=\"nobody\"} 40",
    );
    post(&keel, &east, "enable");
    only(&keel, "", "east");
    reload(&folder, &mut keel, &of("west"));
    only(&keel, "", "west");
    reload(
        &folder,
        &mut keel,
        &text("", &backends, "policy: round_robin"),
    );
    assert_eq!(
        answers(&keel, "", 40),
        BTreeMap::from([("east".into(), 20), ("west".into(), 20)])
    );
}

const REGIONS: &str =
    "zone: asia\nregions: { eu: [10.0.0.0/8, \"2001:db8::/32\"], us: 10.1.0.0/16 }\n";

#[test]
fn a_client_is_served_near_by_its_address() {
    let folder = Folder::new("zones-client");
    let [eu, us, asia] = ["eu", "us", "asia"].map(Echo::start);
    let backends = [(&eu, "zone: eu"), (&us, "zone: us"), (&asia, "zone: asia")];
    let keel = run(
        &folder,
        // By turns: by latency, one that was slow a moment ago may have nobody of sixty.
        &text(
            REGIONS,
            &backends,
            "zones: { prefer: client }\n    policy: round_robin",
        ),
    );
    let of = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    only(&keel, &of("10.9.8.7"), "eu");
    only(&keel, &of("10.1.8.7"), "us");
    only(&keel, &of("2001:db8::7"), "eu");
    only(&keel, &of("192.0.2.7"), "asia");
    only(&keel, "", "asia");
    // Nobody is believed who is not trusted: the last hop is the client.
    only(&keel, &of("10.9.8.7, 10.1.8.7"), "us");
    post(&keel, &us, "disable");
    let got = answers(&keel, &of("10.1.8.7"), 60);
    assert!(!got.contains_key("us") && got.len() == 2, "{got:?}");
}

/// A flow shows no field: its peer says where it is.
#[test]
fn a_flow_is_served_near_its_peer() {
    let folder = Folder::new("zones-flow");
    let [eu, us] = ["eu", "us"].map(Echo::start);
    let backends = [(&eu, "zone: eu"), (&us, "zone: us")];
    let regions = "regions: { eu: 127.0.0.0/8, us: 127.0.0.2 }\n";
    let flows = text(regions, &backends, "zones: client").replace(
        "bind: \"127.0.0.1:0\" } }",
        "bind: \"127.0.0.1:0\", protocol: tcp, forward: api } }",
    );
    let keel = run(&folder, &flows);
    for _ in 0..10 {
        assert!(keel.curl(&[], "/").starts_with("eu\n"));
        let from = ["--interface", "127.0.0.2"];
        assert!(keel.curl(&from, "/").starts_with("us\n"));
    }
}

#[test]
fn explaining_says_which_tier_and_zone_and_why() {
    let folder = Folder::new("zones-explained");
    let file = folder.write(
        "keel.yaml",
        "zone: asia
trusted_proxies: 10.0.0.0/8
regions: { eu: [192.0.2.0/24], us: 198.51.100.0/24 }
listeners: { web: { bind: \"127.0.0.1:8080\" } }
services:
  api:
    zones: client
    backends:
      - { address: \"10.0.0.1:1\", zone: eu }
      - { address: \"10.0.0.2:1\", zone: asia }
      - { address: \"10.0.0.3:1\", zone: us, state: disabled }
      - { address: \"10.0.0.4:1\", zone: eu, tier: 3 }
",
    );
    let file = file.to_str().unwrap();
    let of = |from: &str, json: bool| {
        let mut words = vec!["explain", "-c", file, "GET", "http://a/", "--from", from];
        words.extend(json.then_some("--json"));
        let (code, out, said) = evenkeel(&words);
        assert_eq!((code, &*said), (Some(0), ""));
        out
    };
    let row = |from: &str| -> Value {
        let all: Value = serde_json::from_str(&of(from, true)).unwrap();
        all["explanations"][0]["services"][0].clone()
    };
    let near = row("192.0.2.7");
    assert_eq!(near["backend"], "10.0.0.1:1");
    assert_eq!(near["tiers"].as_array().unwrap().len(), 2);
    let place = json!({ "tier": 0, "tier_spilled": null, "zone": "eu", "zone_keeps": 1.0, "zone_served": "kept" });
    assert_eq!(near["place"], place);
    assert_eq!(near["candidates"][0]["zone"], "eu");
    assert_eq!(near["candidates"][3]["tier"], 3);
    let nobody = row("198.51.100.7");
    let place = json!({ "tier": 0, "tier_spilled": null, "zone": "us", "zone_keeps": null, "zone_served": "nobody" });
    assert_eq!(nobody["place"], place);
    assert_eq!(row("203.0.113.1")["place"]["zone"], "asia");
    assert_eq!(row("203.0.113.1")["backend"], "10.0.0.2:1");
    let told = of("192.0.2.7", false);
    for line in [
        "\ntier 0; of all requests get tier 0 93.3 %, tier 3 6.7 %\n",
        "\nzone eu, the client's, is preferred: it serves, and keeps 100.0 % of its requests\n",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    let told = of("203.0.113.1", false);
    let line = "\nzone asia, the instance's own, is preferred: it serves";
    assert!(told.contains(line), "{told}");
    let told = of("198.51.100.7", false);
    assert!(
        told.contains("is preferred: it has no backend that serves in this tier\n"),
        "{told}"
    );
}

#[test]
fn a_check_says_what_helps_nobody_and_where_a_network_stands_twice() {
    let folder = Folder::new("zones-check");
    let check = |top: &str, service: &str| {
        let text = format!(
            "{top}\nlisteners: {{ web: {{ bind: \"127.0.0.1:8080\" }} }}\nservices: {{ api: {{ backends: [{{ address: \"10.0.0.1:1\", zone: eu }}], {service} }} }}\n"
        );
        let file = folder.write("keel.yaml", &text);
        let (code, out, said) = evenkeel(&["check", file.to_str().unwrap()]);
        (code, out + &said)
    };
    let (code, told) = check("zone: mars", "zones: local");
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("no backend of `api` stands in zone `mars`"),
        "{told}"
    );
    let (code, told) = check(
        "regions: { eu: 10.0.0.0/8, mars: 11.0.0.0/8 }",
        "zones: client",
    );
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("stands in zone `mars`") && told.contains("1:28"),
        "{told}"
    );
    let (code, told) = check(
        "regions: { eu: 10.0.0.0/8, us: 10.0.0.0/8 }",
        "zones: client",
    );
    assert_eq!(code, Some(1), "{told}");
    let caret = "regions: { eu: 10.0.0.0/8, us: 10.0.0.0/8 }\n";
    assert!(
        told.contains("`10.0.0.0/8` is in `eu` already")
            && told.contains(caret)
            && told.contains('^'),
        "{told}"
    );
}
