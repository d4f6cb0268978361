//! What to do about what was seen: each code brought about through the binary by counts, none in an instance with which all is well, and what is
//! said done as a revision.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use rcgen::PKCS_ECDSA_P256_SHA256;
use serde_json::{Value, json};

use crate::monitoring::{page, until, write};
use crate::process::{Evenkeel, Folder, Server, hold, nobodys, until as until_mark};
use crate::tls::Authority;

const ALL: &str = "/v1/recommendations";

fn codes(seen: &Value) -> Vec<&str> {
    let all = seen["items"].as_array().unwrap().iter();
    all.map(|one| one["code"].as_str().unwrap()).collect()
}

/// What is said by this code, once it is said.
fn advice(keel: &Evenkeel, code: &str) -> Value {
    let seen = until(keel, ALL, |seen| codes(seen).contains(&code));
    let mut all = seen["items"].as_array().unwrap().iter();
    all.find(|one| one["code"] == code).unwrap().clone()
}

fn figure(advice: &Value, name: &str) -> f64 {
    let mut all = advice["figures"].as_array().unwrap().iter();
    let found = all.find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {advice}"))["value"]
        .as_f64()
        .unwrap()
}

fn run(folder: &Folder, workers: usize, listener: &str, service: &str) -> Evenkeel {
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: {workers}
listeners: {{ web: {{ bind: \"127.0.0.1:0\"{listener} }} }}
services: {{ api: {{ {service} }} }}
"
    );
    let file = folder.write("keel.yaml", &text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// A backend that takes as many milliseconds as the path says, and for ever where that says nothing.
fn late() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answers(stream));
        }
    });
    address
}

fn answers(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    let (_nobody, silent) = sync_channel::<()>(0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line != "\r\n" {
            lines.push(line);
            continue;
        }
        let asked = lines[0].split(['/', '?', ' ']).nth(2).unwrap().parse();
        lines.clear();
        match asked {
            // How long it takes is what is measured: nobody says anything meanwhile.
            Ok(millis) => drop(silent.recv_timeout(Duration::from_millis(millis))),
            Err(_) => continue,
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// So many requests, many at once.
fn many(keel: &Evenkeel, path: &str, count: usize) -> String {
    let often = format!("{path}?[1-{count}]");
    keel.curl(&["-Z", "--parallel-max", "50"], &often)
}

fn backends(name: &str) -> (Folder, Server) {
    let files = Folder::new(&format!("recommended-{name}-files"));
    let server = Server::nginx(&files, "location / { return 200 \"well\\n\"; }");
    (Folder::new(&format!("recommended-{name}")), server)
}

/// An address and a socket are two places to whoever knows no more.
#[test]
fn of_an_instance_that_is_well_nothing_is_said() {
    let files = Folder::new("recommended-well-files");
    let folder = Folder::new("recommended-well");
    let socket = files.path().join("well.sock").display().to_string();
    let also = format!("; listen unix:{socket}");
    let server = Server::nginx_listening(&files, &also, "location / { return 200 \"well\\n\"; }");
    let service = format!(
        "timeouts: {{ per_try: 1s }}, backends: [\"{}\", \"unix:{socket}\"]",
        server.address
    );
    let keel = run(&folder, 1, "", &service);
    many(&keel, "/", 1200);
    let path = "/v1/services/api/performance";
    until(&keel, path, |seen| {
        seen["service"]["windows"][3]["requests"] == 1200
    });
    assert_eq!(page(&keel, ALL), json!({ "items": [] }));
    let own = "/v1/services/api/recommendations";
    assert_eq!(page(&keel, own), json!({ "items": [] }));
    let (said, _) = cli(&keel, &["recommendations"]);
    assert_eq!(said, "nothing is recommended\n");
    let unknown = keel.page("/v1/services/apy/recommendations");
    assert!(unknown.contains("unknown_service"), "{unknown}");
}

/// What `evenkeel` says with these words, and its code.
fn cli(keel: &Evenkeel, words: &[&str]) -> (String, Option<i32>) {
    let admin = keel.admin.to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(words)
        .args(["--admin", &admin])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    (said, output.status.code())
}

/// A deadline that is far from what answers take: said with its figures, done by the command, and taken back.
#[test]
fn what_is_recommended_is_done_as_a_revision_and_taken_back() {
    let (folder, server) = backends("done");
    let keel = run(
        &folder,
        1,
        "",
        &format!("backends: [\"{}\"]", server.address),
    );
    many(&keel, "/", 1000);
    let seen = advice(&keel, "deadline_too_long");
    assert_eq!(seen["severity"], "info", "{seen}");
    assert_eq!(
        (&seen["subject"], &seen["service"]),
        (&"services.api".into(), &"api".into())
    );
    assert_eq!(figure(&seen, "per_try"), 10.0);
    assert!(figure(&seen, "p99") > 0.0);
    assert_eq!(seen["patch"][0]["path"], "services.api.timeouts.per_try");
    let wanted = seen["patch"][0]["value"].clone();
    let apply = &seen["apply"];
    assert_eq!(
        (&apply["method"], &apply["path"], &apply["body"]),
        (
            &"PATCH".into(),
            &"/v1/services/api".into(),
            &json!({ "timeouts": { "per_try": wanted } })
        )
    );
    let id = seen["id"].as_str().unwrap();
    let (said, code) = cli(&keel, &["recommendations"]);
    assert_eq!(code, Some(0), "{said}");
    let command = format!("evenkeel recommendations --apply '{id}'");
    assert!(said.contains(&command), "{said}");
    let (said, code) = cli(&keel, &["recommendations", "--apply", "no_such:thing"]);
    assert_eq!(code, Some(1), "{said}");
    let holds = |keel: &Evenkeel| {
        let all = page(keel, "/v1/configuration?limit=1000");
        let mut all = all["items"].as_array().unwrap().iter();
        let one = all.find(|one| one["path"] == "services.api.timeouts.per_try");
        one.unwrap().clone()
    };
    let before = holds(&keel);
    assert_eq!(before["from"], "default", "{before}");
    let revision = page(&keel, "/v1/revisions")["items"][0]["number"].clone();
    let (said, code) = cli(&keel, &["recommendations", "--apply", id]);
    assert_eq!(code, Some(0), "{said}");
    let after = holds(&keel);
    assert_eq!(
        (&after["value"], &after["from"]),
        (&wanted, &"operator".into()),
        "{after}"
    );
    // What is done is not said again, and what was is there again.
    assert!(!codes(&page(&keel, ALL)).contains(&"deadline_too_long"));
    let back = format!("/v1/revisions/{revision}/rollback");
    assert_eq!(write(&keel, "POST", &back, "").0, 200);
    assert_eq!(holds(&keel), before);
    assert!(codes(&page(&keel, ALL)).contains(&"deadline_too_long"));
    // One backend is all there is: that is for somebody to do who has another.
    let single = advice(&keel, "single_point_of_failure");
    assert_eq!(single["patch"], json!([]));
    let (said, code) = cli(
        &keel,
        &["recommendations", "--apply", single["id"].as_str().unwrap()],
    );
    assert_eq!(code, Some(1), "{said}");
    // Who does not want advice is given none.
    let (status, said) = write(
        &keel,
        "PATCH",
        "/v1/services/api",
        "{\"monitoring\": {\"recommendations\": false}}",
    );
    assert_eq!(status, 200, "{said}");
    assert_eq!(page(&keel, ALL), json!({ "items": [] }));
}

#[test]
fn wrong_weights_are_said_and_all_of_them_set_at_once() {
    let (folder, server) = backends("weights");
    let (fast, slow) = (server.address, late());
    let service = format!(
        "policy: round_robin, backends: [{{ id: one, address: \"{fast}\" }}, {{ id: two, address: \"{fast}\" }}, {{ id: slow, address: \"{slow}\" }}]"
    );
    let keel = run(&folder, 1, "", &service);
    many(&keel, "/60", 1590);
    let seen = advice(&keel, "wrong_weights");
    assert_eq!(seen["backend"], "slow", "{seen}");
    assert_eq!(seen["patch"].as_array().unwrap().len(), 3);
    let (said, code) = cli(
        &keel,
        &["recommendations", "--apply", seen["id"].as_str().unwrap()],
    );
    assert_eq!(code, Some(0), "{said}");
    let weights = page(&keel, "/v1/services/api/backends");
    let weights: Vec<_> = (weights["items"].as_array().unwrap().iter())
        .map(|one| one["weight"].as_u64().unwrap())
        .collect();
    assert!(
        weights[0].max(weights[1]) == 100 && weights[2] < 67,
        "{weights:?}"
    );
}

#[test]
fn a_pool_that_would_not_bear_a_loss_and_a_limit_that_is_near() {
    let folder = Folder::new("recommended-pool");
    let slow = late();
    let service = format!(
        "breaker: off, retry: off, limits: {{ max_in_flight: 4 }}, backends: [{{ id: one, address: \"{slow}\", max_in_flight: 2 }}, {{ id: two, address: \"{slow}\", max_in_flight: 2 }}]"
    );
    let keel = run(&folder, 1, ", limits: { connections: 5 }", &service);
    // From its first exchange on it is watched.
    assert_eq!(keel.curl(&[], "/0"), "ok\n");
    let ask = "GET /never HTTP/1.1\r\nHost: a\r\n\r\n";
    let held: Vec<_> = (0..4).map(|_| hold(keel.address, ask)).collect();
    let seen = advice(&keel, "pool_too_small");
    assert_eq!(figure(&seen, "peak_in_flight"), 4.0, "{seen}");
    assert_eq!(figure(&seen, "room_without_one"), 2.0, "{seen}");
    // Four of five connections, and of four attempts all.
    let seen = until(&keel, ALL, |seen| {
        let near = codes(seen).into_iter().filter(|code| *code == "limit_near");
        near.count() == 2
    });
    let all = seen["items"].as_array().unwrap().iter();
    let mut near: Vec<_> = all.filter(|one| one["code"] == "limit_near").collect();
    near.sort_by_key(|one| one["subject"].to_string());
    assert_eq!(near[0]["subject"], "listeners.web.limits.connections");
    assert!(near[0]["apply"].is_null(), "{seen}");
    assert_eq!(near[1]["subject"], "services.api.limits.max_in_flight");
    let body = json!({ "limits": { "max_in_flight": 10 } });
    assert_eq!(near[1]["apply"]["body"], body, "{seen}");
    drop(held);
}

#[test]
fn deadlines_that_answers_miss() {
    let folder = Folder::new("recommended-short");
    let slow = late();
    let service =
        format!("retry: off, breaker: off, timeouts: {{ per_try: 245ms }}, backends: [\"{slow}\"]");
    let keel = run(&folder, 1, "", &service);
    many(&keel, "/200", 1000);
    assert!(many(&keel, "/never", 5).contains("504"));
    let seen = until(&keel, ALL, |seen| {
        let mut all = seen["items"].as_array().unwrap().iter();
        all.any(|one| one["code"] == "deadline_too_short" && figure(one, "missed") > 0.0045)
    });
    let mut all = seen["items"].as_array().unwrap().iter();
    let seen = all.find(|one| one["code"] == "deadline_too_short");
    let seen = seen.unwrap();
    assert_eq!(figure(seen, "per_try"), 0.245, "{seen}");
    assert_eq!(seen["patch"][0]["value"], "490ms");
}

#[test]
fn checks_that_find_out_late() {
    let (folder, server) = backends("checks");
    let gone = nobodys();
    let service = format!(
        "policy: round_robin, retry: off, breaker: off, health: {{ tcp: {{}}, interval: 1d, interval_unsure: 1d, fall: 1 }}, backends: [{{ id: gone, address: \"{gone}\" }}, {{ id: one, address: \"{}\" }}]",
        server.address
    );
    // It is there until it was checked once.
    let there = TcpListener::bind(gone).unwrap();
    let keel = run(&folder, 1, "", &service);
    until(&keel, "/v1/services/api/backends", |seen| {
        let mut all = seen["items"].as_array().unwrap().iter();
        all.all(|one| one["standing"] == "serving")
    });
    drop(there);
    many(&keel, "/", 60);
    let path = "/v1/services/api/performance";
    until(&keel, path, |seen| {
        seen["service"]["windows"][2]["requests"] == 60
    });
    assert_eq!(write(&keel, "POST", "/v1/services/api/check", "").0, 200);
    let seen = advice(&keel, "checks_too_slow");
    assert!(figure(&seen, "failed_before") >= 25.0, "{seen}");
    assert_eq!(seen["patch"][0]["path"], "services.api.health.interval");
}

#[test]
fn checks_that_give_up_on_answers_that_come() {
    let folder = Folder::new("recommended-timeouts");
    let slow = late();
    let all: Vec<_> = (0..60)
        .map(|at| format!("{{ id: b{at}, address: \"{slow}\" }}"))
        .collect();
    let service = format!(
        "health: {{ http: {{ path: /200 }}, interval: 1s, timeout: 245ms, fall: 100 }}, backends: [{}]",
        all.join(", ")
    );
    let keel = run(&folder, 1, "", &service);
    // Who is watched has had something to do.
    many(&keel, "/0", 600);
    let seen = advice(&keel, "check_timeout_too_short");
    assert!(figure(&seen, "p99") > 0.19, "{seen}");
    let paths: Vec<_> = (seen["patch"].as_array().unwrap().iter())
        .map(|one| one["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["services.api.health.timeout"]);
}

/// Each fall is seen by a look, and the return by the next.
#[test]
fn a_backend_that_goes_and_comes() {
    let (folder, server) = backends("flapping");
    let service = format!(
        "health: {{ tcp: {{}} }}, backends: [{{ id: one, address: \"{0}\" }}, {{ id: two, address: \"{0}\" }}]",
        server.address
    );
    let keel = run(&folder, 1, "", &service);
    many(&keel, "/", 20);
    let looks = || {
        let all = keel.page("/metrics");
        let mut lines = all.lines();
        let line = lines.find_map(|line| line.strip_prefix("evenkeel_monitoring_looks_total "));
        line.unwrap().parse::<f64>().unwrap()
    };
    let verdict = "/v1/services/api/backends/one/verdict";
    let mut left = 6;
    while left > 0 {
        for word in ["up", "down"] {
            let body = format!("{{\"verdict\": \"{word}\"}}");
            assert_eq!(write(&keel, "POST", verdict, &body).0, 200);
            let now = looks();
            while looks() < now + 1.0 {}
        }
        left -= 1;
    }
    let seen = advice(&keel, "flapping");
    assert_eq!(seen["backend"], "one", "{seen}");
    assert_eq!(figure(&seen, "falls"), 6.0, "{seen}");
    assert_eq!(seen["apply"]["body"], json!({ "health": { "rise": 4 } }));
}

#[test]
fn retries_that_there_is_no_budget_for() {
    let folders = ["recommended-retries", "recommended-retries-files"].map(Folder::new);
    let bad = Server::nginx(
        &folders[1],
        "location / { if ($request_id ~ \"^[0-1]\") { return 503; } return 200 \"well\\n\"; }",
    );
    let service = format!(
        "breaker: off, retry: {{ budget: {{ ratio: 1%, floor: 0/s }} }}, backends: [{{ id: one, address: \"{0}\" }}, {{ id: two, address: \"{0}\" }}]",
        bad.address
    );
    let keel = run(&folders[0], 1, "", &service);
    // An eighth of them fails: how many that is, is drawn, and 4,000 have enough.
    many(&keel, "/", 4_000);
    let seen = advice(&keel, "retry_budget_spent");
    assert!(figure(&seen, "denied") >= 20.0, "{seen}");
    assert_eq!(figure(&seen, "ratio"), 0.01, "{seen}");
}

#[test]
fn a_worker_that_has_it_all_and_a_client_that_stays() {
    let (folder, server) = backends("skew");
    let service = format!(
        "affinity: {{ source: {{}} }}, timeouts: {{ per_try: 1s }}, backends: [{{ id: one, address: \"{0}\" }}, {{ id: two, address: \"{0}\" }}]",
        server.address
    );
    let keel = run(&folder, 4, "", &service);
    // One connection carries them all, of one client.
    let mut client = TcpStream::connect(keel.address).unwrap();
    client.set_nodelay(true).unwrap();
    for _ in 0..4_400 {
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        until_mark(&mut client, "well\n");
    }
    let seen = advice(&keel, "worker_skew");
    assert_eq!(figure(&seen, "most"), 4_400.0, "{seen}");
    assert_eq!(seen["subject"], "", "{seen}");
    let seen = advice(&keel, "affinity_unbalances");
    assert!(figure(&seen, "share") > 0.99, "{seen}");
    assert!(figure(&seen, "kept") > 0.99, "{seen}");
}

#[test]
fn a_certificate_that_ends_soon() {
    let (folder, server) = backends("certificate");
    let authority = Authority::new(&folder, "ca");
    let now = std::time::UNIX_EPOCH + evenkeel_control::since_1970();
    let days = now + Duration::from_secs(10 * 86_400 + 3_600);
    authority.make_with("soon", &["a.example"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = days.into();
    });
    let tls = ", tls: { certificates: [{ cert: soon.pem, key: soon.key }] }";
    let service = format!("backends: [\"{}\"]", server.address);
    let keel = run(&folder, 1, tls, &service);
    let seen = advice(&keel, "certificate_expires");
    assert_eq!(seen["reason"], "it ends in 10 days", "{seen}");
    assert_eq!(seen["subject"], "certificates.web: a.example");
}

/// A rule that nothing reaches is no advice: it does not come to run.
#[test]
fn a_rule_that_nothing_reaches_is_refused() {
    let (folder, server) = backends("rule");
    let keel = run(
        &folder,
        1,
        "",
        &format!("backends: [\"{}\"]", server.address),
    );
    let deny = |name: &str, priority: u32, prefix: &str| {
        let path = format!("/v1/rules/{name}");
        let rule =
            json!({ "priority": priority, "when": { "path": { "prefix": prefix } }, "deny": true });
        write(&keel, "PUT", &path, &rule.to_string())
    };
    assert_eq!(deny("wide", 5, "/x").0, 201);
    let (status, said) = deny("never", 6, "/x/y");
    assert_eq!(status, 422, "{said}");
    assert!(said.to_string().contains("unreachable_rule"), "{said}");
}
