//! What a process knew is known to the one that takes its place, as it would have been known to itself by now.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use super::{Line, WEB, run, text, texts};
use crate::crowd::nginx;
use crate::process::{Evenkeel, Folder};
use crate::zone::{Zone, addresses};

fn status(keel: &Evenkeel) -> Value {
    serde_json::from_str(&keel.page("/v1/status")).unwrap()
}

/// Identity and standing of each backend of the first service.
fn standings(keel: &Evenkeel) -> Vec<(String, String)> {
    let status = status(keel);
    let backends = status["services"][0]["backends"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    backends
        .map(|one| (text(&one["id"]), text(&one["standing"])))
        .collect()
}

fn standing(keel: &Evenkeel, id: &str) -> Option<String> {
    let mut all = standings(keel).into_iter();
    all.find_map(|(one, standing)| (one == id).then_some(standing))
}

fn order(keel: &Evenkeel, path: &str) {
    let ask = [
        "-f",
        "-X",
        "POST",
        "-H",
        "X-Evenkeel: 1",
        "-H",
        "If-Match: *",
    ];
    let said = keel.asked(&ask, path);
    assert!(said.contains("\"changed\":true"), "{path}: {said}");
}

/// As over a reload: a wish is the operator's until the entry that it was about is written anew.
#[test]
fn what_operators_want_holds_until_its_entry_changes() {
    let folder = Folder::new("upgrade-wishes");
    let server = nginx(&folder);
    let backends = |of_b: &str, of_c: &str| {
        let one = |id: &str, more: &str| {
            let address = server.address;
            format!("{{ id: {id}, address: \"{address}\"{more} }}")
        };
        let all = [one("a", ""), one("b", of_b), one("c", of_c), one("d", "")];
        let text = text("workers: 1", WEB, server.address);
        text.replace(&format!("\"{}\"", server.address), &all.join(", "))
    };
    let mut keel = run(&folder, &backends("", ", state: disabled"));
    for (id, verb) in [("b", "disable"), ("c", "enable"), ("d", "drain")] {
        order(&keel, &format!("/v1/services/api/backends/{id}/{verb}"));
    }
    let stands = |keel: &Evenkeel| {
        let all = standings(keel).into_iter().map(|(_, standing)| standing);
        all.collect::<Vec<_>>().join(" ")
    };
    let mut line = Line::default();
    for (of_b, of_c, expect) in [
        ("", ", state: disabled", "serving disabled serving draining"),
        (
            ", weight: 2",
            ", state: disabled",
            "serving serving serving draining",
        ),
        // It changed back: what was wanted of the earlier one is forgotten.
        (
            "",
            ", weight: 1, state: disabled",
            "serving serving serving draining",
        ),
        (
            "",
            ", tier: 1, state: disabled",
            "serving serving disabled draining",
        ),
    ] {
        folder.write("keel.yaml", &backends(of_b, of_c));
        line.upgrade(&mut keel, &[]);
        assert_eq!(stands(&keel), expect, "{of_b} {of_c}");
    }
}

/// It is away when another process comes, and returns to what was wanted of it.
#[test]
fn who_is_away_from_dns_returns_as_operators_want_it() {
    let folder = Folder::new("upgrade-away");
    let zone = Zone::new();
    let port = SocketAddr::from(([127, 0, 0, 1], 9)).port();
    zone.set("api.test", addresses(0, &["127.0.0.1", "127.0.0.2"]));
    let keyed = format!(
        "workers: 1\nresolver: {{ servers: \"{}\", ttl_floor: 50ms, timeout: 5s }}",
        zone.address
    );
    let text = text(&keyed, WEB, zone.address).replace(
        &format!("backends: [\"{}\"]", zone.address),
        &format!("backends: [{{ dns: api.test:{port} }}]"),
    );
    let mut keel = run(&folder, &text);
    let (stays, goes) = (format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}"));
    let until = |keel: &Evenkeel, id: &str, is: Option<&str>| {
        while standing(keel, id).as_deref() != is {
            std::thread::yield_now();
        }
    };
    until(&keel, &goes, Some("serving"));
    order(&keel, &format!("/v1/services/api/backends/{goes}/disable"));
    zone.set("api.test", addresses(0, &["127.0.0.1"]));
    until(&keel, &goes, None);
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    until(&keel, &stays, Some("serving"));
    assert_eq!(standing(&keel, &goes), None);
    zone.set("api.test", addresses(0, &["127.0.0.1", "127.0.0.2"]));
    until(&keel, &goes, Some("disabled"));
}

/// Over a crash, an end, an upgrade; until its entry changes, or nobody is to know.
#[test]
fn what_operators_want_outlives_the_process() {
    let folder = Folder::new("overlay-file");
    let server = nginx(&folder);
    let place = folder
        .write("state/overlay.json.77", "left")
        .with_file_name("");
    let file = place.join("overlay.json");
    let configured = |more: &str| {
        let one = |id: &str| format!("{{ id: {id}, address: \"{}\"{more} }}", server.address);
        let text = text("workers: 1", WEB, server.address);
        let all = [one("a"), one("b")].join(", ");
        text.replace(&format!("\"{}\"", server.address), &all)
    };
    let configuration = folder.write("keel.yaml", &configured(""));
    let configuration = configuration.to_str().unwrap();
    let start = |more: &[&str]| {
        let kept = place.to_str().unwrap();
        let always = ["-c", configuration, "--state-dir", kept];
        Evenkeel::run(&[&always, more].concat())
    };
    let says = |part: &str| {
        while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains(part)) {
            std::thread::yield_now();
        }
    };
    let end = |keel: Evenkeel, signal: &str| {
        keel.signal(signal);
        keel.wait().1
    };
    let keel = start(&[]);
    assert!(!place.join("overlay.json.77").exists());
    order(&keel, "/v1/services/api/backends/b/disable");
    says("disabled");
    end(keel, "-KILL");
    let keel = start(&[]);
    let said = "says what operators want of 1 backends, 0 services and 0 listeners";
    assert!(keel.said.contains(said), "{}", keel.said);
    assert_eq!(standing(&keel, "b").unwrap(), "disabled");
    let why = status(&keel)["services"][0]["backends"][1]["reason"].clone();
    assert_eq!(why, "operator", "it has not just joined");
    // What was said last is written before it ends.
    order(&keel, "/v1/services/api/backends/a/drain");
    end(keel, "-TERM");
    let mut keel = start(&[]);
    assert_eq!(standing(&keel, "a").unwrap(), "draining");
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    order(&keel, "/v1/services/api/backends/a/enable");
    order(&keel, "/v1/services/api/drain");
    says("\"drains\":true");
    order(&keel, "/v1/services/api/enable");
    says("\"drains\":false");
    line.signal("-KILL");
    keel.wait();
    let keel = start(&["--no-overlay"]);
    assert_eq!(standing(&keel, "b").unwrap(), "serving");
    order(&keel, "/v1/services/api/backends/a/drain");
    end(keel, "-TERM");
    let keel = start(&[]);
    let now = ["a", "b"].map(|id| standing(&keel, id).unwrap());
    assert_eq!(now, ["serving", "disabled"]);
    end(keel, "-TERM");
    folder.write("keel.yaml", &configured(", weight: 2"));
    let keel = start(&[]);
    assert_eq!(standing(&keel, "b").unwrap(), "serving");
    // It is forgotten there too.
    says("\"services\":{}");
    std::fs::remove_dir_all(&place).unwrap();
    order(&keel, "/v1/services/api/backends/a/drain");
    let said = end(keel, "-TERM");
    let lost = "what operators want is not kept in";
    assert_eq!(said.matches(lost).count(), 1, "{said}");
    folder.write("state/overlay.json", "{\"version\":1");
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    let command = command.args(["run", configuration]);
    let output = command.env("STATE_DIRECTORY", &place).output().unwrap();
    let (_, said) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let why = "state/overlay.json: it is not understood: EOF while parsing an object at line 1 column 12; mend or remove it, or start with --no-overlay";
    assert!(said.contains(why), "{said}");
}

/// A ramp goes on where it was, and a standing has lasted as long as it has.
#[test]
fn what_lasts_has_begun_when_it_began() {
    let folder = Folder::new("upgrade-times");
    let server = nginx(&folder);
    let text = text("workers: 1", WEB, server.address);
    let two = format!(
        "slow_start: 20s, backends: [{{ id: warm, address: \"{0}\" }}, {{ id: cold, address: \"{0}\" }}]",
        server.address
    );
    let text = text.replace(&format!("backends: [\"{}\"]", server.address), &two);
    let mut keel = run(&folder, &text);
    let seen = |keel: &Evenkeel| {
        let backends = status(keel)["services"][0]["backends"].clone();
        let since = [0, 1].map(|at| backends[at]["since_seconds"].as_f64().unwrap());
        (backends[1]["ramp"].as_f64().unwrap_or(1.0), since)
    };
    for verb in ["disable", "enable"] {
        order(&keel, &format!("/v1/services/api/backends/cold/{verb}"));
    }
    assert!(seen(&keel).0 < 1.0);
    let mut line = Line::default();
    for _ in 0..2 {
        // A beginning would read a tenth again.
        let mut before = seen(&keel);
        while before.0 < 0.12 {
            before = seen(&keel);
        }
        line.upgrade(&mut keel, &[]);
        let after = seen(&keel);
        assert!(after.0 >= before.0, "{before:?} {after:?}");
        for at in [0, 1] {
            assert!(after.1[at] >= before.1[at], "{before:?} {after:?}");
        }
    }
}
