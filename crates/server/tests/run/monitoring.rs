//! What a running instance sees of itself, by the API alone: health, figures over windows, how requests were spread, alerts.

use serde_json::Value;

use crate::process::{Evenkeel, Folder, Server, nobodys};
use crate::upgrade::Line;

pub(crate) fn page(keel: &Evenkeel, path: &str) -> Value {
    let out = keel.page(path);
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{path}: {out}"))
}

/// A write by who has seen what runs: the status, and what is answered.
pub(crate) fn write(keel: &Evenkeel, method: &str, path: &str, body: &str) -> (u16, Value) {
    let version = page(keel, "/v1/version");
    let revision = version["configuration"]["revision"].as_str().unwrap();
    let seen = format!("If-Match: \"{revision}\"");
    let asks = [
        "-X",
        method,
        "-H",
        "X-Evenkeel: 1",
        "-H",
        &seen,
        "-d",
        body,
        "-w",
        "\n%{http_code}",
    ];
    let out = keel.asked(&asks, path);
    let (body, status) = out.rsplit_once('\n').unwrap();
    let told = serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {out}"));
    (status.parse().unwrap(), told)
}

/// Asks for a page until it is as it should be: a look is curl's start, so that this is a minute or more.
pub(crate) fn until(keel: &Evenkeel, path: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..10_000 {
        last = page(keel, path);
        if is(&last) {
            return last;
        }
    }
    panic!("{path}: {last}");
}

/// A service with two backends that answer, and one whose only backend nobody is at.
fn instance(folder: &Folder, one: &Server) -> Evenkeel {
    instance_with(folder, one, &[])
}

fn instance_with(folder: &Folder, one: &Server, flags: &[&str]) -> Evenkeel {
    let admin = nobodys();
    let text = format!(
        "admin: {{ bind: \"{admin}\" }}
workers: 1
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  api: {{ policy: round_robin, backends: [{{ id: a, address: \"{0}\" }}, {{ id: b, address: \"{0}\" }}] }}
  gone: {{ health: {{ tcp: {{}}, interval: 1h, interval_unsure: 1h, fall: 1 }}, backends: [{{ id: dead, address: \"127.0.0.1:1\" }}] }}
rules: [{{ forward: api }}]
",
        one.address
    );
    let file = folder.write("keel.yaml", &text);
    Evenkeel::run(&[&["-c", file.to_str().unwrap()], flags].concat())
}

#[test]
fn figures_health_and_shares_are_told_of_services_and_backends() {
    let (folder, files) = (Folder::new("monitoring"), Folder::new("monitoring-files"));
    let server = Server::nginx(&files, "location / { return 200 \"well\"; }");
    let keel = instance(&folder, &server);
    let before = page(&keel, "/v1/services/api/performance");
    assert_eq!(before["service"]["windows"].as_array().unwrap().len(), 0);
    for _ in 0..40 {
        assert!(keel.curl(&[], "/").contains("well"));
    }
    let path = "/v1/services/api/performance";
    let seen = until(&keel, path, |seen| {
        seen["service"]["windows"][1]["requests"] == 40
    });
    let windows = seen["service"]["windows"].as_array().unwrap();
    let lengths: Vec<_> = windows
        .iter()
        .map(|one| one["window_seconds"].as_u64().unwrap())
        .collect();
    assert_eq!(lengths, [10, 60, 600, 3600, 86400]);
    let minute = &windows[1];
    assert_eq!(minute["errors"], 0, "{minute}");
    assert_eq!(minute["error_rate"], 0.0, "{minute}");
    assert_eq!(minute["availability"], 1.0, "{minute}");
    for key in ["mean_ms", "p50_ms", "p95_ms", "p99_ms", "throughput"] {
        assert!(minute[key].as_f64().unwrap() > 0.0, "{key}: {minute}");
    }
    let backends = seen["backends"]["items"].as_array().unwrap();
    let each: Vec<_> = backends
        .iter()
        .map(|one| (&one["name"], &one["windows"][1]["requests"]))
        .collect();
    assert_eq!(
        format!("{each:?}"),
        "[(String(\"a\"), Number(20)), (String(\"b\"), Number(20))]"
    );

    let spread = page(&keel, "/v1/services/api/distribution");
    let sum = |key: &str| -> f64 {
        let rows = spread["backends"].as_array().unwrap().iter();
        rows.map(|one| one[key].as_f64().unwrap()).sum()
    };
    assert!((sum("wanted_percent") - 100.0).abs() < 1e-6, "{spread}");
    assert!((sum("got_percent") - 100.0).abs() < 1e-6, "{spread}");
    assert_eq!(spread["most_off_percent"], 0.0, "{spread}");

    // Who is out is unhealthy at once; one of two services serves.
    let health = until(&keel, "/v1/health", |health| {
        health["services"]["items"][1]["health"] == "unhealthy"
    });
    assert_eq!(health["health"], "degraded", "{health}");
    assert_eq!(health["services"]["items"][0]["health"], "healthy");
    let gone = page(&keel, "/v1/services/gone/health");
    assert_eq!(gone["members"]["items"][0]["backend"], "dead");
    assert_eq!(gone["members"]["items"][0]["health"], "unhealthy");

    let all = page(&keel, "/v1/performance?limit=1");
    assert_eq!((&all["total"], &all["next"]), (&2.into(), &"api".into()));
}

#[test]
fn an_alert_is_told_once_noted_and_silenced() {
    let (folder, files) = (Folder::new("alerts"), Folder::new("alerts-files"));
    let server = Server::nginx(&files, "location / { return 200 \"well\"; }");
    let keel = instance(&folder, &server);
    // The service and its backend, each once it has lasted.
    let open = |seen: &Value| seen["open"].as_u64() == Some(2);
    let seen = until(&keel, "/v1/alerts?state=open&service=gone", open);
    let rows = seen["items"].as_array().unwrap();
    assert!(rows.iter().all(|one| one["kind"] == "down"), "{seen}");
    let critical = |one: &&Value| one["severity"] == "critical" && one["backend"].is_null();
    assert_eq!(rows.iter().filter(critical).count(), 1, "{seen}");
    let number = rows[0]["number"].as_u64().unwrap();

    let (status, _) = write(
        &keel,
        "POST",
        &format!("/v1/alerts/{number}/acknowledge"),
        "",
    );
    assert_eq!(status, 200);
    let (status, refused) = write(&keel, "POST", "/v1/alerts/4711/acknowledge", "");
    assert_eq!((status, &refused["reason"]), (404, &"unknown_alert".into()));
    for (wish, why) in [
        (
            "{\"service\": \"gnoe\", \"for_seconds\": 60, \"why\": \"x\"}",
            "unknown_service",
        ),
        (
            "{\"service\": \"gone\", \"backend\": \"daed\", \"for_seconds\": 60, \"why\": \"x\"}",
            "unknown_backend",
        ),
    ] {
        let (status, refused) = write(&keel, "POST", "/v1/silences", wish);
        assert_eq!(
            (status, &refused["reason"]),
            (404, &why.into()),
            "{refused}"
        );
    }
    let wish = "{\"service\": \"gone\", \"for_seconds\": 3600, \"why\": \"planned work\"}";
    let (status, silence) = write(&keel, "POST", "/v1/silences", wish);
    assert_eq!(status, 200, "{silence}");
    let seen = page(&keel, "/v1/alerts?service=gone");
    let rows = seen["items"].as_array().unwrap();
    assert!(rows.iter().all(|one| one["silenced"] == true), "{seen}");
    let noted = rows.iter().find(|one| one["number"] == number).unwrap();
    assert_eq!(noted["acknowledged"]["by"], "loopback", "{seen}");
    let silences = page(&keel, "/v1/silences");
    assert_eq!(silences[0]["why"], "planned work");
    let path = format!("/v1/silences/{}", silence["number"]);
    assert_eq!(write(&keel, "DELETE", &path, "").0, 200);
    let (status, refused) = write(&keel, "DELETE", &path, "");
    assert_eq!(
        (status, &refused["reason"]),
        (404, &"unknown_silence".into())
    );

    // Told once each, in events and in numbers.
    let events = page(&keel, "/v1/events?kind=alert_raised");
    let told = events["items"].as_array().unwrap();
    assert_eq!(told.len(), 2, "{events}");
    assert!(told.iter().all(|one| one["reason"] == "down"), "{events}");
    let metrics = keel.page("/metrics");
    let row = "evenkeel_alerts{service=\"gone\",kind=\"down\",severity=\"critical\"} 1";
    assert!(metrics.contains(row), "{metrics}");
    // A second opinion brings it back, and the alert clears.
    let (status, _) = write(
        &keel,
        "POST",
        "/v1/services/gone/backends/dead/verdict",
        "{\"verdict\": \"up\"}",
    );
    assert_eq!(status, 200);
    until(&keel, "/v1/services/gone/health", |seen| {
        seen["members"]["items"][0]["standing"] == "serving"
    });
}

/// Alerts, who knows of them, silences and numbers go on over a restart and an upgrade; a file that broke keeps nobody from starting.
#[test]
fn what_is_seen_outlives_the_process() {
    let (folder, files) = (Folder::new("outlives"), Folder::new("outlives-files"));
    let server = Server::nginx(&files, "location / { return 200 \"well\"; }");
    let state = folder.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let run = || instance_with(&folder, &server, &["--state-dir", state.to_str().unwrap()]);
    let keel = run();
    assert!(keel.curl(&[], "/").contains("well"));
    let open = |seen: &Value| seen["open"].as_u64() == Some(2);
    let seen = until(&keel, "/v1/alerts?service=gone", open);
    let number = seen["items"][0]["number"].as_u64().unwrap();
    let note = format!("/v1/alerts/{number}/acknowledge");
    assert_eq!(write(&keel, "POST", &note, "").0, 200);
    let wish = "{\"service\": \"gone\", \"for_seconds\": 3600, \"why\": \"planned work\"}";
    let (_, silence) = write(&keel, "POST", "/v1/silences", wish);
    let before = page(&keel, "/v1/alerts?service=gone");
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert!(status.success(), "{said}");
    let keel_again = run();
    assert_eq!(page(&keel_again, "/v1/alerts?service=gone"), before);
    assert_eq!(
        page(&keel_again, "/v1/silences")[0]["number"],
        silence["number"]
    );
    let path = "/v1/services/api/performance";
    until(&keel_again, path, |seen| {
        seen["service"]["windows"][3]["requests"] == 1
    });
    // It is told of nothing twice: what was raised is.
    let looks = |keel: &Evenkeel| {
        let metrics = keel.page("/metrics");
        let mut rows = metrics.lines();
        let row = rows.find_map(|row| row.strip_prefix("evenkeel_monitoring_looks_total "));
        row.unwrap().parse::<u64>().unwrap()
    };
    assert!((0..10_000).any(|_| looks(&keel_again) > 11));
    let events = page(&keel_again, "/v1/events?kind=alert_raised,alert_cleared");
    assert_eq!(events["items"].as_array().unwrap().len(), 0, "{events}");
    assert_eq!(page(&keel_again, "/v1/alerts?service=gone"), before);
    // What an upgrade goes by is written when it begins.
    let mut keel_again = keel_again;
    std::fs::remove_file(state.join("watched.bin")).unwrap();
    let mut line = Line::default();
    line.upgrade(&mut keel_again, &[]);
    assert_eq!(page(&keel_again, "/v1/alerts?service=gone"), before);
    line.signal("-TERM");
    drop(keel_again);
    std::fs::write(state.join("watched.bin"), "ekwatch\u{1}\u{1}\u{ff}").unwrap();
    let keel = run();
    assert!(
        keel.said.contains("what is watched begins anew"),
        "{}",
        keel.said
    );
    assert_eq!(page(&keel, "/v1/alerts")["open"], 0);
}
