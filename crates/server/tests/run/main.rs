//! The shipped binary as its users run it: real servers behind, curl in front, signals from outside.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

mod access;
mod adjusted;
mod affinity;
mod browser;
mod checks;
mod commands;
mod contract;
mod crowd;
mod dashboard;
mod decisions;
mod demo;
mod deploy;
mod dns;
mod drains;
mod events;
mod explain;
mod explained;
mod explained_live;
mod failed;
mod grpc;
mod hedge;
mod http2;
mod kept;
mod limit;
mod loads;
mod logs;
mod looks;
mod manual;
mod message_balancer;
mod metrics;
mod monitoring;
mod operate;
mod pages;
mod postgres;
mod price;
mod privileges;
mod process;
mod prometheus;
mod proxy_protocol;
mod queue;
mod rates;
mod recommended;
mod recorded;
mod reloads;
mod rules_actions;
mod rules_conditions;
mod tcp;
mod tiers;
mod tls;
mod traces;
mod upgrade;
mod webhooks;
mod websockets;
mod writes;
mod zone;

use std::process::Command;

use process::{Evenkeel, Folder, Server, hold, rest, until};
use tls::metric;

#[test]
fn two_pythons_without_a_file() {
    let folder = Folder::new("pythons");
    folder.write("one/who", "one\n");
    folder.write("two/who", "two\n");
    let one = Server::python(&folder.path().join("one"));
    let two = Server::python(&folder.path().join("two"));
    // As the README has it, but for the ports.
    let command = include_str!("../../../../README.md")
        .lines()
        .find_map(|line| line.strip_prefix("cargo run --release -p evenkeel-server -- run "))
        .unwrap();
    let (one_address, two_address) = (one.address.to_string(), two.address.to_string());
    let ported = command.split(' ').map(|word| match word {
        ":8080" => "127.0.0.1:0",
        "127.0.0.1:9001" => &one_address,
        "127.0.0.1:9002" => &two_address,
        other => other,
    });
    let words: Vec<&str> = ["--admin", "127.0.0.1:0"]
        .into_iter()
        .chain(ported)
        .collect();
    let keel = Evenkeel::run(&words);
    // Which of them serves is the policy's to choose: under load one of them may look slow, and rest.
    for _ in 0..20 {
        let answer = keel.curl(&[], "/who");
        assert!(matches!(&*answer, "one\n" | "two\n"), "{answer}");
    }
    assert!(
        keel.curl(&["--include"], "/none")
            .starts_with("HTTP/1.1 404 File not found\r\n")
    );
    // One of them dies: nobody notices.
    drop(one);
    for _ in 0..20 {
        assert_eq!(keel.curl(&[], "/who"), "two\n");
    }
}

#[test]
fn nginx_behind_a_file_with_rules() {
    let folder = Folder::new("nginx");
    folder.write("small", "small\n");
    folder.write("large", &"x".repeat(3_000_000));
    let nginx = Server::nginx(&folder, "location = /echo { return 200 \"$http_host $http_x_forwarded_for $http_x_forwarded_proto $request_uri\\n\"; }
        location /up { client_max_body_size 10m; dav_methods PUT; }");
    let file = folder.write(
        "keel.yaml",
        &format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 2
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services: {{ api: {{ policy: least_connections, backends: [{}], health: {{ http: {{ path: /small, expect: 200, body: {{ regex: \"^smal+\\\\n$\" }} }}, interval: 100ms }} }} }}
rules:
  - {{ name: ping, priority: 1, when: {{ path: /ping }}, respond: {{ body: pong }} }}
  - {{ name: old, priority: 2, when: {{ path: {{ prefix: /old }} }}, redirect: {{ path: /new, status: 301 }} }}
  - {{ name: rest, when: {{ host: 127.0.0.1 }}, forward: api }}
",
            nginx.address
        ),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let here = keel.address;
    assert_eq!(keel.curl(&[], "/ping"), "pong");
    let answers = keel.page("/metrics");
    let line = "evenkeel_local_answers_total{listener=\"web\",reason=\"rule\"} 1\n";
    assert!(answers.contains(line), "{answers}");
    assert_eq!(keel.curl(&[], "/small"), "small\n");
    assert_eq!(keel.curl(&[], "/large").len(), 3_000_000);
    assert_eq!(
        keel.curl(&[], "/echo/../echo?a=%20b"),
        format!("{here} 127.0.0.1 http /echo?a=%20b\n")
    );
    let redirected = keel.curl(&["--include"], "/old/x?q=1");
    assert!(
        redirected.starts_with("HTTP/1.1 301 Moved Permanently\r\n"),
        "{redirected}"
    );
    assert!(
        redirected.contains(&format!("\r\nLocation: http://{here}/new?q=1\r\n")),
        "{redirected}"
    );
    let put = folder.write("body", &"y".repeat(1_000_000));
    let put = format!("@{}", put.display());
    let stored = keel.curl(&["--include", "-X", "PUT", "--data-binary", &put], "/up-1");
    assert!(stored.contains("HTTP/1.1 201 Created\r\n"), "{stored}");
    assert_eq!(
        std::fs::read(folder.path().join("up-1")).unwrap().len(),
        1_000_000
    );
    let head = keel.curl(&["--head"], "/large");
    assert!(head.contains("Content-Length: 3000000\r\n"), "{head}");
    let ranged = keel.curl(&["--range", "0-4"], "/large");
    assert_eq!(ranged, "xxxxx");
    let unknown = keel.curl(&["--include", "-H", "Host: other"], "/small");
    assert!(
        unknown.starts_with("HTTP/1.1 404 Not Found\r\n") && unknown.ends_with("no_rule\n"),
        "{unknown}"
    );
}

#[test]
fn a_reload_takes_what_is_right_and_nothing_of_what_is_wrong() {
    let folder = Folder::new("reload");
    folder.write("one/who", "one\n");
    folder.write("two/who", "two\n");
    let one = Server::python(&folder.path().join("one"));
    let two = Server::python(&folder.path().join("two"));
    let text = |backend: &dyn std::fmt::Display| {
        format!(
            "admin: {{ bind: off }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"{backend}\"] }} }}\n"
        )
    };
    let file = folder.write("keel.yaml", &text(&one.address));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    assert_eq!(keel.curl(&[], "/who"), "one\n");
    let kept = hold(keel.address, "GET /who HTTP/1.1\r\nHost: a\r\n\r\n");
    folder.write("keel.yaml", "listeners: { web: { bnd: 1 } }\n");
    keel.signal("-HUP");
    keel.until("not reloaded: the configuration has errors; the old one goes on\n");
    assert!(keel.said.contains("did you mean `bind`?"), "{}", keel.said);
    assert_eq!(keel.curl(&[], "/who"), "one\n");
    folder.write("keel.yaml", &text(&two.address));
    keel.signal("-HUP");
    keel.until(&format!(
        "service api: backend {} is added; service api: backend {} is removed\n",
        two.address, one.address
    ));
    assert_eq!(keel.curl(&[], "/who"), "two\n");
    // The connection of before the reload goes on, and is served by the plan of after it.
    let mut kept = kept;
    std::io::Write::write_all(
        &mut kept,
        b"GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    let answers = rest(kept);
    assert!(
        answers.contains("\r\n\r\none\n") && answers.ends_with("\r\n\r\ntwo\n"),
        "{answers}"
    );
}

/// A backend without its check's page answers 404 and is out of service, with the reason; the page comes, and it is in after one
/// success.
#[test]
fn a_backend_comes_in_when_its_check_passes() {
    let folder = Folder::new("health");
    folder.write("one/who", "one\n");
    folder.write("two/who", "two\n");
    folder.write("two/health", "ok\n");
    let one = Server::python(&folder.path().join("one"));
    let two = Server::python(&folder.path().join("two"));
    let file = folder.write(
        "keel.yaml",
        &format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services: {{ api: {{ backends: [{}, {}], slow_start: 0s, health: {{ http: {{ path: /health }}, interval: 50ms }} }} }}
",
            one.address, two.address
        ),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let of = |status: &str, backend: std::net::SocketAddr| {
        let id = format!("{{\"id\":\"{backend}\",");
        let found = status
            .split(&id)
            .nth(1)
            .and_then(|rest| rest.split("\"weight\"").next());
        found
            .unwrap_or_else(|| panic!("no {backend} in {status}"))
            .to_owned()
    };
    // Each look is a connection and a process: some twenty seconds, where a check comes each twentieth of one.
    let until = |backend: std::net::SocketAddr, marks: &[&str]| {
        let mut status = String::new();
        for _ in 0..3_000 {
            status = of(&keel.page("/v1/status"), backend);
            if marks.iter().all(|mark| status.contains(mark)) {
                return;
            }
        }
        let missing: Vec<_> = marks
            .iter()
            .filter(|mark| !status.contains(**mark))
            .collect();
        panic!("{backend} never had {missing:?}: {status}");
    };
    until(
        one.address,
        &[
            "\"state\":\"OutOfService\"",
            "\"state_reason\":\"Target.ResponseCodeMismatch\"",
            "checks_failed: status 404",
        ],
    );
    until(two.address, &["\"state\":\"InService\"", "\"passed\":true"]);
    for _ in 0..10 {
        assert_eq!(keel.curl(&[], "/who"), "two\n");
    }
    folder.write("one/health", "ok\n");
    until(
        one.address,
        &["\"state\":\"InService\"", "\"reason\":\"checks_passed\""],
    );
    // It takes its share, sooner or later: the other one is made to rest.
    drop(two);
    let mut said = String::new();
    let comes = (0..1_000).any(|_| {
        said = keel.curl(&[], "/who");
        said == "one\n"
    });
    assert!(comes, "it was never asked; the last answer: {said}");
    let metrics = keel.page("/metrics");
    let up = format!(
        "evenkeel_backend_up{{service=\"api\",backend=\"{}\"}} 1\n",
        one.address
    );
    assert!(metrics.contains(&up), "{metrics}");
    let checks_are_no_traffic = format!(
        "evenkeel_backend_picks_total{{service=\"api\",backend=\"{}\"}} 1\n",
        one.address
    );
    assert!(metrics.contains(&checks_are_no_traffic), "{metrics}");
    let of = |word: &str, count: u32| {
        let labels = format!("service=\"api\",backend=\"{}\"", one.address);
        metric(
            &keel,
            &format!("evenkeel_backend_{word}{{{labels}}} {count}"),
        );
    };
    of("finished_total", 1);
    of("abandoned_total", 0);
    of("in_flight", 0);
    assert!(
        metrics.contains("evenkeel_contained_panics_total 0\n"),
        "{metrics}"
    );
    assert_eq!(
        (keel.page("/livez"), keel.page("/readyz")),
        ("alive\n".into(), "ready\n".into())
    );
    let (code, out, said) = evenkeel(&["status", "--json", "--admin", &keel.admin.to_string()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(out.contains("\"contained_panics\":0"), "{out}");
}

/// More clients than descriptors, all idle: who comes is served, by backends that nothing is held against, and the pages answer.
#[test]
fn clients_do_not_take_the_last_descriptor() {
    let folder = Folder::new("files");
    folder.write("who", "here\n");
    let nginx = Server::nginx(&folder, "keepalive_timeout 0;");
    let file = folder.write(
        "keel.yaml",
        &format!("admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 2\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"{}\"] }} }}\n", nginx.address),
    );
    let keel = Evenkeel::run_limited("-n 120", &["-c", file.to_str().unwrap()]);
    let warned = "but 120 open files allow 30 connections of clients";
    assert!(keel.said.contains(warned), "{}", keel.said);
    let crowd: Vec<_> = (0..150).map(|_| hold(keel.address, "")).collect();
    for _ in 0..10 {
        assert_eq!(keel.curl(&[], "/who"), "here\n");
    }
    let page = keel.page("/metrics");
    let id = nginx.address;
    for row in [
        "evenkeel_listener_accept_failures_total{listener=\"web\"} 0\n".to_owned(),
        "evenkeel_requests_total{service=\"api\",code=\"2xx\"} 10\n".to_owned(),
        "evenkeel_requests_total{service=\"api\",code=\"5xx\"} 0\n".to_owned(),
        format!("evenkeel_backend_failures_total{{service=\"api\",backend=\"{id}\"}} 0\n"),
        "evenkeel_contained_panics_total 0\n".to_owned(),
    ] {
        assert!(page.contains(&row), "{row} {page}");
    }
    drop(crowd);
    assert_eq!(keel.curl(&[], "/who"), "here\n");
}

#[test]
fn a_start_takes_as_many_open_files_as_it_may_have() {
    let words = [
        "--admin",
        "off",
        "--listen",
        "127.0.0.1:0",
        "--to",
        "127.0.0.1:1",
    ];
    let keel = Evenkeel::run_limited("-n 900 && ulimit -S -n 60", &words);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", keel.id())).unwrap();
    let row = limits
        .lines()
        .find_map(|row| row.strip_prefix("Max open files"))
        .unwrap();
    let row: Vec<_> = row.split_whitespace().collect();
    assert_eq!(row, ["900", "900", "files"]);
}

/// Half a request each, on an address of pages: the rest are told so, and a place that is free again is given again.
#[test]
fn pages_have_so_many_guests_and_no_more() {
    let folder = Folder::new("guests");
    let path = folder.path().join("admin");
    let text = |bind: &str| {
        format!(
            "admin: {{ bind: \"{bind}\", metrics: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"127.0.0.1:1\"] }} }}\n"
        )
    };
    let half = "GET /metrics HTTP/1.1\r\nHo";
    let file = folder.write("tcp.yaml", &text("127.0.0.1:0"));
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut crowd: Vec<_> = (0..64).map(|_| hold(keel.admin, half)).collect();
    for _ in 0..3 {
        let told = rest(hold(keel.admin, ""));
        assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
        assert!(told.ends_with("\r\n\r\ntoo_many_connections\n"), "{told}");
    }
    // One of the crowd goes on, and sees what was counted.
    let mut one = crowd.remove(0);
    std::io::Write::write_all(&mut one, b"st: localhost\r\n\r\n").unwrap();
    let page = until(&mut one, "# EOF\n");
    let row = "evenkeel_admin_connections_refused_total 3\n";
    assert!(page.contains(row), "{page}");
    drop((one, crowd));
    let file = folder.write("unix.yaml", &text(&format!("unix:{}", path.display())));
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let enter = || std::os::unix::net::UnixStream::connect(&path).unwrap();
    let _crowd: Vec<_> = (0..64).map(|_| enter()).collect();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut enter(), &mut told).unwrap();
    assert!(told.ends_with("\r\n\r\ntoo_many_connections\n"), "{told}");
    drop(keel);
}

/// Without an admin address nothing else tells a second instance from the first.
#[test]
fn a_second_instance_does_not_share_a_port_and_sockets_go_with_the_process() {
    let folder = Folder::new("second");
    let (web, admin) = (folder.path().join("web"), folder.path().join("admin"));
    let keel = Evenkeel::run(&[
        "--admin",
        "off",
        "--listen",
        "127.0.0.1:0",
        "--to",
        "127.0.0.1:1",
    ]);
    let address = keel.address.to_string();
    let mut second = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args([
            "run",
            "--admin",
            "off",
            "--listen",
            &address,
            "--to",
            "127.0.0.1:1",
        ])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut says = std::io::BufReader::new(second.stderr.take().unwrap());
    let mut said = String::new();
    while std::io::BufRead::read_line(&mut says, &mut said).unwrap() > 0 {
        if said.ends_with("ready\n") {
            second.kill().unwrap();
        }
    }
    let status = second.wait().unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("another instance, listens there"), "{said}");
    // A clean exit leaves no files.
    let file = folder.write("keel.yaml", &format!(
        "admin: {{ bind: \"unix:{}\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: [\"unix:{}\", \"127.0.0.1:0\"] }} }}\nservices: {{ api: {{ backends: [\"127.0.0.1:1\"] }} }}\n",
        admin.display(), web.display()
    ));
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    assert!(web.exists() && admin.exists());
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert!(status.success(), "{said}");
    assert!(!web.exists() && !admin.exists());
}

#[test]
fn a_drain_lets_exchanges_end() {
    let folder = Folder::new("drain");
    let upload = Server::nginx(
        &folder,
        "location / { client_max_body_size 1m; dav_methods PUT; }",
    );
    let mut keel = Evenkeel::run(&[
        "--admin",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &upload.address.to_string(),
    ]);
    let mut sending = hold(
        keel.address,
        "PUT /late HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab",
    );
    let idle = hold(keel.address, "");
    // The proxy has this connection when it has answered on one that came after it.
    assert!(keel.curl(&["--include"], "/").starts_with("HTTP/1.1 "));
    keel.signal("-TERM");
    keel.until("draining, at most 30s\n");
    assert_eq!(rest(idle), "", "who waits for nothing is let go");
    std::io::Write::write_all(&mut sending, b"cd").unwrap();
    let answer = rest(sending);
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(std::fs::read(folder.path().join("late")).unwrap(), b"abcd");
}

/// A test that waits in vain says what came instead.
#[test]
#[should_panic(expected = "INFO ready\n")]
fn waiting_in_vain_ends() {
    let mut keel = Evenkeel::run(&["--admin", "off", "--listen", "127.0.0.1:0", "--to", "a:1"]);
    keel.until_within("never said\n", std::time::Duration::ZERO);
}

#[test]
#[should_panic(expected = "INFO drained\n")]
fn waiting_for_what_has_ended_ends() {
    let mut keel = Evenkeel::run(&["--admin", "off", "--listen", "127.0.0.1:0", "--to", "a:1"]);
    keel.signal("-TERM");
    keel.said.clear();
    keel.until("never said\n");
}

/// What is not done by the deadline is cut, and the exit code says so.
#[test]
fn a_drain_ends_at_its_deadline() {
    let backend = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = Folder::new("deadline");
    let file = folder.write(
        "keel.yaml",
        &format!(
            "admin: {{ bind: off }}\ndrain: 0\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"{}\"], timeouts: {{ per_try: 1h, exchange: 1h }} }} }}\n",
            backend.local_addr().unwrap()
        ),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let held = hold(keel.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // The exchange is under way when its backend has it, which never answers.
    let silent = backend.accept().unwrap();
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(3), "{said}");
    let cut = "1 connections are cut: the drain's deadline has passed\n";
    assert!(said.ends_with(cut), "{said}");
    drop((held, silent));
}

pub(crate) fn evenkeel(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .env("EVENKEEL_LOG_FORMAT", "human")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// More connections than a process started so could have: said with the figures, where they are asked for, and no fault of the text.
#[test]
fn check_says_where_descriptors_are_too_few() {
    let folder = Folder::new("check-files");
    for (limits, files, expect) in [
        ("{}", 900, None),
        ("{ connections: 322 }", 900, None),
        (
            "{ connections: 323 }",
            900,
            Some("323 together, but 900 open files allow 322 connections"),
        ),
        ("{ connections: 300 }", 856, None),
        (
            "{ connections: 301 }",
            856,
            Some("301 together, but 856 open files allow 300 connections"),
        ),
    ] {
        let text = format!(
            "listeners: {{ web: {{ bind: \"127.0.0.1:8080\", limits: {limits} }} }}\nrules: [{{ respond: {{}} }}]\n"
        );
        let file = folder.write("keel.yaml", &text);
        let check = |more: &str| {
            let limited = format!("ulimit -n {files} && exec \"$0\" check \"$1\" {more}");
            let mut command = Command::new("sh");
            command.args(["-c", &limited, env!("CARGO_BIN_EXE_evenkeel")]);
            command.arg(&file).output().unwrap()
        };
        let [output, json] = ["", "--json"].map(check);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(output.stdout.ends_with(b" 0 warnings\n"), "{said}");
        assert_eq!(said.is_empty(), expect.is_none(), "{limits}: {said}");
        assert!(said.contains(expect.unwrap_or_default()), "{said}");
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        let here = json["here"].as_str().unwrap_or_default();
        assert_eq!(here.is_empty(), expect.is_none(), "{json}");
        assert!(here.contains(expect.unwrap_or_default()), "{json}");
    }
}

#[test]
fn check_and_diff_say_what_they_see() {
    let folder = Folder::new("check");
    let path = |name: &str, text: &str| folder.write(name, text).display().to_string();
    let good = path(
        "good.yaml",
        "listeners: { web: { bind: \"127.0.0.1:8080\" } }\nservices: { api: { backends: [\"10.0.0.1:1\"] } }\n",
    );
    let other = path(
        "other.yaml",
        "listeners: { web: { bind: \"127.0.0.1:8081\" } }\nservices: { api: { backends: [\"10.0.0.1:1\"], policy: random } }\n",
    );
    let bad = path("bad.yaml", "listeners: { web: { bnd: 1 } }\n");
    assert_eq!(
        evenkeel(&["check", &good]),
        (
            Some(0),
            "fine: 1 listeners, 1 rules, 1 services, 0 warnings\n".into(),
            String::new()
        )
    );
    let (code, out, problems) = evenkeel(&["check", &bad]);
    assert_eq!(code, Some(1));
    assert_eq!(out, "3 errors, 0 warnings\n", "{problems}");
    assert!(
        problems.contains(
            "bad.yaml:1:21: error: `bnd` is not a key here; did you mean `bind`? [unknown_key]\n"
        ),
        "{problems}"
    );
    assert_eq!(evenkeel(&["check"]).0, Some(2));
    assert_eq!(evenkeel(&["run", "-c", &bad]).0, Some(1));
    assert_eq!(evenkeel(&["run"]).0, Some(2));
    assert_eq!(evenkeel(&["check", "/nowhere.yaml"]).0, Some(1));
    assert_eq!(
        evenkeel(&["config", "diff", &good, &other]),
        (
            Some(0),
            "listener web changes\n  listeners.web.bind: [127.0.0.1:8080] -> [127.0.0.1:8081]\nservice api changes\n  services.api.policy: adaptive -> random\n".into(),
            String::new()
        )
    );
    assert_eq!(
        evenkeel(&["config", "diff", &good, &good]).1,
        "nothing changes\n"
    );
    let directory = folder.path().join("conf");
    folder.write(
        "conf/1.yaml",
        "listeners: { web: { bind: \"127.0.0.1:8080\" } }\n",
    );
    folder.write(
        "conf/2.yml",
        "services: { api: { backends: [\"10.0.0.1:1\"] } }\n",
    );
    folder.write("conf/3.txt", "not read");
    assert_eq!(evenkeel(&["check", directory.to_str().unwrap()]).0, Some(0));
}

#[test]
fn the_configuration_of_the_readme_is_fine() {
    let readme = include_str!("../../../../README.md");
    let block = readme
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let folder = Folder::new("readme");
    let file = folder.write("keel.yaml", block.unwrap());
    assert_eq!(
        evenkeel(&["check", file.to_str().unwrap()]),
        (
            Some(0),
            "fine: 1 listeners, 2 rules, 1 services, 0 warnings\n".into(),
            String::new()
        )
    );
}

#[test]
fn an_address_in_use_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, said) = evenkeel(&[
        "run",
        "--admin",
        "off",
        "--listen",
        &address,
        "--to",
        "127.0.0.1:1",
    ]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&format!(
            "not started: cannot listen on {address}: Address already in use"
        )),
        "{said}"
    );
}
