//! What an operator changes of a running instance: by curl, by the command line, under load, over reloads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use crate::process::{Evenkeel, Folder, PATIENCE, Server, hold, nobodys, rest, until};
use crate::upgrade::Line;

const ASKS: &str = "GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Two backends that answer with their names.
struct Pair {
    folder: Folder,
    servers: [Server; 2],
    _folders: [Folder; 2],
}

impl Pair {
    fn new(name: &str) -> Self {
        let folders = ["one", "two"].map(|one| Folder::new(&format!("{name}-{one}")));
        let servers = [0, 1].map(|at| {
            let text = if at == 0 { "one\n" } else { "two\n" };
            folders[at].write("who", text);
            Server::nginx(&folders[at], "keepalive_requests 1000000;")
        });
        Self {
            folder: Folder::new(name),
            servers,
            _folders: folders,
        }
    }

    /// One service, `api`, of both, `one` with this beside its address.
    fn text(&self, one: &str, service: &str, more: &str) -> String {
        let [first, second] = [0, 1].map(|at| self.servers[at].address);
        format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 2\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices:\n  api: {{ policy: round_robin, slow_start: 0, backends: [{{ id: one, address: \"{first}\" {one} }}, {{ id: two, address: \"{second}\" }}] {service} }}\n{more}"
        )
    }

    fn run(&self, text: &str) -> Evenkeel {
        let file = self.folder.write("keel.yaml", text);
        Evenkeel::run(&["-c", file.to_str().unwrap()])
    }

    fn reload(&self, keel: &mut Evenkeel, text: &str) {
        self.folder.write("keel.yaml", text);
        keel.signal("-HUP");
        keel.until_any("reloaded: ");
    }
}

/// Status and body of a request to the admin address.
fn asked(keel: &Evenkeel, method: &str, path: &str, fields: &[&str]) -> (u16, Value) {
    let arguments = [&["-X", method, "-w", "\n%{http_code}"][..]];
    let mut arguments: Vec<_> = arguments.concat();
    // Meant whichever revision runs.
    arguments.extend(["-H", "If-Match: *"]);
    for field in fields {
        arguments.extend(["-H", field]);
    }
    let out = keel.asked(&arguments, path);
    let (body, status) = out.rsplit_once('\n').unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    (status.parse().unwrap(), body)
}

fn post(keel: &Evenkeel, path: &str) -> Value {
    let (status, body) = asked(keel, "POST", path, &["X-Evenkeel: 1"]);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// Exit code and what is said by the command line.
fn cli(keel: &Evenkeel, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(arguments)
        .args(["--admin", &keel.admin.to_string()])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = text(&output.stdout) + &text(&output.stderr);
    (output.status.code(), all)
}

/// The names of those who answer ten requests, each once.
fn answering(keel: &Evenkeel) -> String {
    let mut names: Vec<_> = (0..10).map(|_| keel.curl(&[], "/who")).collect();
    names.sort_unstable();
    names.dedup();
    names.concat().replace('\n', " ").trim().to_owned()
}

const ONE: &str = "/v1/services/api/backends/one";

#[test]
fn what_is_asked_wrongly_is_refused_in_words_and_changes_nothing() {
    let pair = Pair::new("operate-refused");
    let keel = pair.run(&pair.text("", "", ""));
    let own = "X-Evenkeel: 1";
    let json = "Content-Type: application/json";
    let drain = format!("{ONE}/drain");
    let rows: &[(&str, &str, &[&str], u16, &str)] = &[
        ("GET", &drain, &[], 405, "method"),
        ("DELETE", &drain, &[own], 405, "method"),
        ("POST", &drain, &[], 415, "not_meant"),
        (
            "POST",
            &drain,
            &["Content-Type: text/plain"],
            415,
            "not_meant",
        ),
        (
            "POST",
            &drain,
            &[own, "Origin: http://a.test"],
            403,
            "cross_site",
        ),
        (
            "POST",
            &drain,
            &[json, "Sec-Fetch-Site: cross-site"],
            403,
            "cross_site",
        ),
        (
            "POST",
            "/v1/services/aip/drain",
            &[own],
            404,
            "unknown_service",
        ),
        (
            "POST",
            "/v1/services/api/backends/onee/drain",
            &[json],
            404,
            "unknown_backend",
        ),
        (
            "POST",
            "/v1/services/api/backends/zzzzzzzzzz/drain",
            &[json],
            404,
            "unknown_backend",
        ),
        (
            "POST",
            "/v1/listeners/wep/drain",
            &[own],
            404,
            "unknown_listener",
        ),
        ("POST", "/v1/services/api/disable", &[own], 404, "no_page"),
    ];
    for (method, path, fields, status, word) in rows {
        let (got, body) = asked(&keel, method, path, fields);
        assert_eq!(
            (got, body["reason"].as_str()),
            (*status, Some(*word)),
            "{method} {path} {fields:?} {body}"
        );
        assert_eq!(body["status"], *status);
    }
    let (_, body) = asked(&keel, "POST", rows[6].1, &[own]);
    assert_eq!(body["did_you_mean"], "api");
    let (_, body) = asked(&keel, "POST", rows[8].1, &[own]);
    assert_eq!(body["did_you_mean"], Value::Null);
    // By a name that was bound to this address.
    for host in ["Host: evil.test", "Host: keel"] {
        let (status, body) = asked(&keel, "POST", &drain, &[own, host]);
        assert_eq!((status, &body["reason"]), (421, &"not_your_host".into()));
    }
    let kind = keel.asked(&["-X", "POST", "-w", "%{content_type}"], &drain);
    assert!(kind.ends_with("application/problem+json"), "{kind}");
    // What is refused before it is looked at is told in the same form.
    let (small, large) = ("{\"for\":1}", "x".repeat(2000));
    for (arguments, path, status, word) in [
        (&["-d", small][..], &*drain, 400, "body"),
        (&["-d", &large], &*drain, 413, "body_too_large"),
        (&["-X", "POST"], "/v1/services/a%FF/drain", 400, "path"),
        (&["-X", "POST"], "/v1/status", 405, "method"),
        (&["-X", "POST"], &*format!("{drain}?for=1"), 400, "query"),
    ] {
        let arguments = [
            arguments,
            &[
                "-H",
                own,
                "-H",
                "If-Match: *",
                "-w",
                "\n%{content_type} %{http_code}",
            ],
        ]
        .concat();
        let said = keel.asked(&arguments, path);
        let (body, rest) = said.rsplit_once('\n').unwrap();
        assert_eq!(rest, format!("application/problem+json {status}"), "{said}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&body["reason"], &body["status"]),
            (&word.into(), &status.into())
        );
    }
    assert_eq!(answering(&keel), "one two");
}

#[test]
fn a_unix_socket_changes_what_loopback_does() {
    let pair = Pair::new("operate-unix");
    let path = pair.folder.path().join("admin.sock");
    let to = format!("unix:{}", path.display());
    let keel = pair.run(&pair.text("", "", "").replacen("127.0.0.1:0", &to, 1));
    let drains = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["backends", "drain", "api", "two", "--admin", &to])
        .output()
        .unwrap();
    assert!(drains.status.success(), "{drains:?}");
    assert_eq!(answering(&keel), "one");
    // So does whoever only asks, or has it upgraded.
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(arguments)
            .args(["--admin", &to])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let process = || -> Value {
        let status: Value = serde_json::from_str(&run(&["status", "--json"])).unwrap();
        status["process"].clone()
    };
    assert_eq!(process(), keel.id());
    let said = run(&["upgrade"]);
    let now = process();
    let _line = Line::of(u32::try_from(now.as_u64().unwrap()).unwrap());
    let before = keel.id();
    assert_eq!(
        said,
        format!("upgraded: process {now} serves, process {before} drains\n")
    );
}

#[test]
fn backends_are_drained_disabled_and_enabled_and_listed() {
    let pair = Pair::new("operate-backends");
    let keel = pair.run(&pair.text("", ", drain: 20s", ""));
    let done = post(&keel, &format!("{ONE}/drain"));
    assert_eq!(
        (&done["changed"], &done["state"]),
        (&true.into(), &"draining".into())
    );
    let left = done["cut_after_seconds"].as_f64().unwrap();
    assert!((19.0..=20.0).contains(&left), "{left}");
    assert_eq!(answering(&keel), "two");
    assert_eq!(post(&keel, &format!("{ONE}/drain"))["changed"], false);
    let done = post(&keel, &format!("{ONE}/enable"));
    assert_eq!(
        (&done["state"], &done["cut_after_seconds"]),
        (&"enabled".into(), &Value::Null)
    );
    assert_eq!(answering(&keel), "one two");
    let (code, said) = cli(&keel, &["backends", "disable", "api", "one", "--wait"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("backend one of api is disabled, 0 in flight"),
        "{said}"
    );
    assert_eq!(answering(&keel), "two");
    let (code, list) = cli(&keel, &["backends", "list"]);
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(code, Some(0), "{list}");
    assert!(
        lines[0].starts_with("service  backend  standing  why"),
        "{list}"
    );
    assert!(
        lines[1].starts_with("api      one      disabled  operator"),
        "{list}"
    );
    assert!(
        lines[2].starts_with("api      two      serving   joined"),
        "{list}"
    );
    let (_, json) = cli(&keel, &["backends", "list", "api", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["backends"][0]["standing"], "disabled");
    // A service that drains, whatever its backends are wanted to do.
    assert_eq!(cli(&keel, &["services", "drain", "api"]).0, Some(0));
    // Once more says what is left of it, not how long it was.
    let said = |path: &str| post(&keel, path)["cut_after_seconds"].as_f64().unwrap();
    let again = said("/v1/services/api/drain");
    assert!(again < 20.0, "{again}");
    assert!(said("/v1/services/api/drain") < again, "{again}");
    assert_eq!(
        post(&keel, "/v1/services/api/backends/two/enable")["state"],
        "draining"
    );
    let status = keel.curl(&["-o", "/dev/null", "-w", "%{http_code}"], "/who");
    assert_eq!(status, "503");
    assert_eq!(cli(&keel, &["services", "enable", "api"]).0, Some(0));
    assert_eq!(answering(&keel), "two");
    assert_eq!(cli(&keel, &["backends", "enable", "api", "one"]).0, Some(0));
    assert_eq!(answering(&keel), "one two");
    for (arguments, code, says) in [
        (
            &["backends", "drain", "apy", "one"][..],
            1,
            "there is no service `apy`; did you mean `api`?",
        ),
        (
            &["backends", "drain", "api", "tow"],
            1,
            "there is no backend `tow`; did you mean `two`?",
        ),
        (
            &["backends", "list", "apy"],
            1,
            "there is no service `apy`; did you mean `api`?",
        ),
        (
            &["listeners", "drain", "wep"],
            1,
            "there is no listener `wep`; did you mean `web`?",
        ),
        (&["backends", "drain", "api"], 2, "<BACKEND>"),
        (&["backends", "drian", "api", "one"], 2, "drain"),
    ] {
        let (got, said) = cli(&keel, arguments);
        assert_eq!(got, Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    }
    let asks = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["backends", "list", "--admin", &nobodys().to_string()])
        .output()
        .unwrap();
    assert_eq!(asks.status.code(), Some(1));
}

#[test]
fn what_an_operator_wants_outlives_reloads_until_the_entry_changes_or_goes() {
    let pair = Pair::new("operate-reload");
    let mut keel = pair.run(&pair.text("", "", ""));
    let drain = format!("{ONE}/drain");
    let other = "  other: { backends: [\"127.0.0.1:1\"] }\n";
    let rule = "rules: [{ forward: api }]\n";
    post(&keel, &drain);
    // Everything but the backend's own entry may change.
    for text in [
        pair.text("", "", &format!("{other}{rule}")),
        pair.text(
            "",
            ", drain: 1s, on_all_down: fail_closed",
            &format!("{other}{rule}"),
        ),
        pair.text("", "", ""),
    ] {
        pair.reload(&mut keel, &text);
        assert_eq!(answering(&keel), "two", "{text}");
    }
    // Its entry says something else now: that counts.
    pair.reload(
        &mut keel,
        &pair.text(", weight: 1, labels: { a: b }", "", ""),
    );
    assert_eq!(answering(&keel), "one two");
    post(&keel, &drain);
    let gone = pair.text("", "", "").replace("id: one", "id: three");
    pair.reload(&mut keel, &gone);
    assert_eq!(answering(&keel), "one two");
    pair.reload(&mut keel, &pair.text("", "", ""));
    assert_eq!(
        answering(&keel),
        "one two",
        "it has left, and returns as its entry says"
    );
    // Enabled against the file, a backend serves until the file says something new.
    let draining = pair.text(", state: draining", "", "");
    pair.reload(&mut keel, &draining);
    assert_eq!(answering(&keel), "two");
    post(&keel, &format!("{ONE}/enable"));
    pair.reload(&mut keel, &format!("{draining}{rule}"));
    assert_eq!(answering(&keel), "one two");
    // A service goes on draining with other backends.
    post(&keel, "/v1/services/api/drain");
    pair.reload(&mut keel, &gone);
    assert!(keel.curl(&[], "/who").contains("all_down"));
    post(&keel, "/v1/services/api/enable");
    assert_eq!(answering(&keel), "one two");
}

/// Clients that ask all the time, each over connections that it keeps; how many answers they had, and what was no answer.
fn under_load(address: SocketAddr, done: impl FnOnce(&AtomicU64)) -> (u64, Vec<String>) {
    let (over, answers) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let clients = (0..8).map(|_| {
        let (over, answers) = (over.clone(), answers.clone());
        std::thread::spawn(move || {
            let mut failed = Vec::new();
            let connect = || {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream
            };
            let mut stream = connect();
            while !over.load(Ordering::Relaxed) {
                let answer = exchange(&mut stream);
                match answer {
                    Ok(head) if head.starts_with("HTTP/1.1 200 ") => {
                        answers.fetch_add(1, Ordering::Relaxed);
                        if head.contains("Connection: close") || head.contains("connection: close")
                        {
                            stream = connect();
                        }
                    }
                    Ok(head) => failed.push(head),
                    Err(error) => {
                        failed.push(error.to_string());
                        stream = connect();
                    }
                }
            }
            failed
        })
    });
    let clients: Vec<_> = clients.collect();
    done(&answers);
    over.store(true, Ordering::Relaxed);
    let failed = clients
        .into_iter()
        .flat_map(|one| one.join().unwrap())
        .collect();
    (answers.load(Ordering::Relaxed), failed)
}

/// One request, and the head of its answer.
fn exchange(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut come = Vec::new();
    while !come.ends_with(b"one\n") && !come.ends_with(b"two\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        come.push(byte[0]);
        if come.len() > 4096 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&come).into_owned())
}

#[test]
fn drains_under_load_fail_nobody() {
    let pair = Pair::new("operate-load");
    let mut keel = pair.run(&pair.text("", "", ""));
    let more = |answers: &AtomicU64| {
        let until = answers.load(Ordering::Relaxed) + 200;
        while answers.load(Ordering::Relaxed) < until {
            std::thread::yield_now();
        }
    };
    let (answered, failed) = under_load(keel.address, |answers| {
        for round in 0..3 {
            for (backend, other) in [("one", "two"), ("two", "one")] {
                let path = format!("/v1/services/api/backends/{backend}");
                more(answers);
                post(&keel, &format!("{path}/drain"));
                more(answers);
                assert_eq!(answering(&keel), other);
                let more_rules = format!("rules: [{{ priority: {}, forward: api }}]\n", round + 1);
                pair.folder
                    .write("keel.yaml", &pair.text("", "", &more_rules));
                keel.signal("-HUP");
                more(answers);
                post(&keel, &format!("{path}/enable"));
                more(answers);
                post(&keel, &format!("{path}/disable"));
                more(answers);
                post(&keel, &format!("{path}/enable"));
            }
        }
    });
    assert!(failed.is_empty(), "{failed:?}");
    assert!(answered > 3_000, "{answered}");
    keel.until_any("reloaded: ");
}

/// A backend that takes connections for the test to answer.
fn own() -> (TcpListener, SocketAddr) {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = backend.local_addr().unwrap();
    (backend, address)
}

fn over(folder: &Folder, backend: SocketAddr, how: &str) -> Evenkeel {
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\naccess_log: {{ to: ./access.log }}\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" {how} }} }}\nservices: {{ api: {{ drain: 500ms, timeouts: {{ per_try: 10m, exchange: 10m, idle_body: 10m }}, backends: [{{ id: one, address: \"{backend}\" }}] }} }}\n"
    );
    let file = folder.write("keel.yaml", &text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// What is under way on a backend that drains, or that has left, is cut when its time is over, and said to be.
#[test]
fn what_outstays_a_drain_is_cut() {
    type Begun = fn(&mut TcpStream, &mut TcpStream);
    let body: Begun = |_, server| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
        server.write_all(head).unwrap();
    };
    let tunnel: Begun = |_, server| {
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc";
        server.write_all(head).unwrap();
    };
    let nothing: Begun = |_, _| ();
    let flow: Begun = |_, server| server.write_all(b"abc").unwrap();
    let get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let put = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let tcp = ", protocol: tcp, forward: api";
    for (name, how, request, begun, mark, end, status) in [
        ("head", "", get, nothing, "", "backend_drained\n", "503"),
        ("upload", "", put, nothing, "", "backend_drained\n", "503"),
        ("body", "", get, body, "\r\n\r\nabc", "", "200"),
        ("tunnel", "", upgrade, tunnel, "\r\n\r\nabc", "", "101"),
        ("flow", tcp, "abc", flow, "abc", "", "null"),
    ] {
        for way in ["drain", "disable", "leave"] {
            let folder = Folder::new(&format!("operate-cut-{name}-{way}"));
            let (backend, address) = own();
            let mut keel = over(&folder, address, how);
            let mut client = hold(keel.address, request);
            let (mut server, _) = backend.accept().unwrap();
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut heard = [0; 3];
            server.read_exact(&mut heard).unwrap();
            begun(&mut client, &mut server);
            until(&mut client, mark);
            match way {
                "leave" => {
                    let text = std::fs::read_to_string(folder.path().join("keel.yaml")).unwrap();
                    folder.write("keel.yaml", &text.replace("id: one", "id: two"));
                    keel.signal("-HUP");
                }
                way => drop(post(&keel, &format!("{ONE}/{way}"))),
            }
            keel.until_any("the drain's deadline has passed");
            let mut left = Vec::new();
            let _ = client.read_to_end(&mut left);
            let left = String::from_utf8_lossy(&left);
            assert!(left.ends_with(end), "{name} {way}: {left}");
            let mut left = Vec::new();
            let _ = server.read_to_end(&mut left);
            let row = logged(&folder, "\"reason\":\"backend_drained\"");
            assert!(
                row.contains(&format!("\"status\":{status}")),
                "{name} {way}: {row}"
            );
        }
    }
}

/// The row of the access log that holds this.
fn logged(folder: &Folder, mark: &str) -> String {
    for _ in 0..5_000_000 {
        let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap_or_default();
        if let Some(row) = log.lines().find(|row| row.contains(mark)) {
            return row.to_owned();
        }
        std::thread::yield_now();
    }
    panic!("no row has {mark}")
}

#[test]
fn the_command_line_waits_for_a_drain_and_says_how_it_ended() {
    let folder = Folder::new("operate-wait");
    let (backend, address) = own();
    let keel = over(&folder, address, "");
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let client = hold(keel.address, request);
    let (mut server, _) = backend.accept().unwrap();
    until(&mut server, "\r\n\r\n");
    let (code, said) = cli(&keel, &["backends", "drain", "api", "one", "--wait"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.starts_with("backend one of api is draining, 1 in flight; what is left is cut in "),
        "{said}"
    );
    assert!(said.ends_with("what was left has been cut\n"), "{said}");
    drop(rest(client));
    assert_eq!(cli(&keel, &["backends", "enable", "api", "one"]).0, Some(0));
    // One whose answer comes in time: the command ends with it.
    let client = hold(keel.address, request);
    let (mut server, _) = backend.accept().unwrap();
    until(&mut server, "\r\n\r\n");
    let slow = folder.path().join("keel.yaml");
    let text = std::fs::read_to_string(&slow)
        .unwrap()
        .replace("500ms", "10m");
    folder.write("keel.yaml", &text);
    let mut keel = keel;
    keel.signal("-HUP");
    keel.until_any("reloaded: ");
    let waits = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args([
            "services",
            "drain",
            "api",
            "--wait",
            "--admin",
            &keel.admin.to_string(),
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    keel.until_any("operator: service");
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
        .unwrap();
    assert!(rest(client).ends_with("yes"));
    let waited = waits.wait_with_output().unwrap();
    assert_eq!(waited.status.code(), Some(0), "{waited:?}");
    let said = String::from_utf8_lossy(&waited.stdout).into_owned();
    assert!(said.ends_with("nothing is in flight\n"), "{said}");
}

/// What serves again, or has left, is not said to be empty; whoever waits for it is told so, and does not wait for ever.
#[test]
fn a_wait_ends_with_what_it_waits_for() {
    let folder = Folder::new("operate-gone");
    let (backend, address) = own();
    let mut keel = over(&folder, address, "");
    let file = folder.path().join("keel.yaml");
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace("500ms", "10m");
    folder.write("keel.yaml", &text);
    keel.signal("-HUP");
    keel.until_any("reloaded: ");
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let client = hold(keel.address, request);
    let (mut server, _) = backend.accept().unwrap();
    until(&mut server, "\r\n\r\n");
    let without = text.replace("id: one", "id: other");
    assert_ne!(text, without);
    for (words, said, end, expect) in [
        (
            &["backends", "drain", "api", "one"][..],
            "operator: backend",
            Some(&["backends", "enable", "api", "one"][..]),
            "backend one of api serves again",
        ),
        (
            &["services", "drain", "api"],
            "operator: service",
            Some(&["services", "enable", "api"]),
            "service api serves again",
        ),
        (
            &["listeners", "drain", "web"],
            "operator: listener",
            Some(&["listeners", "enable", "web"]),
            "listener web serves again",
        ),
        (
            &["backends", "drain", "api", "one"],
            "operator: backend",
            None,
            "backend one of api has left the configuration",
        ),
    ] {
        let waits = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(words)
            .args(["--wait", "--admin", &keel.admin.to_string()])
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        keel.until_any(said);
        match end {
            Some(end) => assert_eq!(cli(&keel, end).0, Some(0)),
            None => {
                folder.write("keel.yaml", &without);
                keel.signal("-HUP");
            }
        }
        let waited = waits.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&waited.stderr).into_owned();
        assert_eq!(waited.status.code(), Some(1), "{words:?}: {told}");
        assert!(told.contains(expect), "{told}");
    }
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
        .unwrap();
    assert!(rest(client).ends_with("yes"));
}

/// What an upgraded process still has under way is under way, though the one that is asked does not count it.
#[test]
fn a_drain_waits_for_the_process_before_the_upgrade() {
    let folder = Folder::new("operate-upgraded");
    let (backend, address) = own();
    let mut keel = over(&folder, address, "");
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let client = hold(keel.address, request);
    let (mut server, _) = backend.accept().unwrap();
    until(&mut server, "\r\n\r\n");
    let mut line = Line::default();
    // Twice: the last of the line knows of the first, though the one between has ended.
    for _ in 0..2 {
        line.upgrade(&mut keel, &[]);
    }
    keel.until_any(" drained\n");
    let predecessors = || {
        let status: Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
        status["predecessors"].as_u64().unwrap()
    };
    while predecessors() > 1 {
        std::thread::yield_now();
    }
    let mut waits = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["backends", "drain", "api", "one", "--wait", "--admin"])
        .arg(keel.admin.to_string())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(waits.stdout.take().unwrap());
    let mut lines = String::new();
    while lines.lines().count() < 2 {
        assert!(said.read_line(&mut lines).unwrap() > 0, "{lines}");
    }
    assert!(lines.contains("is draining, 0 in flight; "), "{lines}");
    let more = "a process that drains since an upgrade may have more there\n";
    assert!(lines.ends_with(more), "{lines}");
    // As often as it would have looked twice.
    for _ in 0..20 {
        assert_eq!(predecessors(), 1);
        assert!(waits.try_wait().unwrap().is_none(), "it does not wait");
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";
    server.write_all(answer).unwrap();
    assert!(rest(client).ends_with("yes"));
    said.read_to_string(&mut lines).unwrap();
    assert!(lines.ends_with("\nnothing is in flight\n"), "{lines}");
    assert_eq!(waits.wait().unwrap().code(), Some(0));
    assert_eq!(predecessors(), 0);
}

#[test]
fn clients_are_steered_away_from_a_listener_and_back() {
    let pair = Pair::new("operate-listener");
    let path = pair.folder.path().join("keel.sock");
    let own = format!(
        "listeners: {{ side: {{ bind: \"unix:{}\" }}, ",
        path.display()
    );
    let drain = "drain: { within: 4s }\nlisteners: { ";
    let text = |more: &str| {
        let text = pair.text("", "", more).replace("listeners: { ", drain);
        text.replace("listeners: { ", &own)
    };
    let mut keel = pair.run(&text(""));
    let kept = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mut come = Vec::new();
        while !come.ends_with(b"one\n") && !come.ends_with(b"two\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            come.push(byte[0]);
        }
        stream
    };
    let mut idle = kept();
    let mut asks = kept();
    // One whose request is half there: it is answered, and told that the connection ends.
    let mut half = kept();
    half.write_all(b"GET /who HTTP/1.1\r\n").unwrap();
    let mut whole = TcpStream::connect(keel.address).unwrap();
    whole.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(exchange(&mut whole).unwrap().starts_with("HTTP/1.1 200"));
    let done = post(&keel, "/v1/listeners/side/drain");
    assert_eq!(
        (&done["state"], &done["changed"]),
        (&"draining".into(), &true.into())
    );
    asks.write_all(ASKS.replace("Connection: close\r\n", "").as_bytes())
        .unwrap();
    let mut answer = String::new();
    asks.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("Connection: close"), "{answer}");
    let mut end = [0];
    assert_eq!(idle.read(&mut end).unwrap(), 0, "it rests on, and ends");
    half.write_all(b"Host: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).unwrap();
    assert!(
        answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    assert!(UnixStream::connect(&path).is_err());
    // The other listener is not touched, and reloads change nothing of it.
    assert!(exchange(&mut whole).unwrap().starts_with("HTTP/1.1 200"));
    pair.reload(&mut keel, &text("rules: [{ forward: api }]\n"));
    assert!(UnixStream::connect(&path).is_err());
    let page: Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
    let drains = page["listeners"].as_array().unwrap().iter();
    let drains: Vec<_> = drains
        .map(|one| (&one["name"], one["draining"] == true))
        .collect();
    assert_eq!(drains, [(&"side".into(), true), (&"web".into(), false)]);
    assert_eq!(post(&keel, "/v1/listeners/side/enable")["state"], "enabled");
    kept();
    // Somebody else has it meanwhile.
    post(&keel, "/v1/listeners/side/drain");
    while path.exists() {
        std::thread::yield_now();
    }
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (status, body) = asked(
        &keel,
        "POST",
        "/v1/listeners/side/enable",
        &["X-Evenkeel: 1"],
    );
    assert_eq!(
        (status, body["reason"].as_str()),
        (409, Some("bind")),
        "{body}"
    );
    assert!(exchange(&mut whole).unwrap().starts_with("HTTP/1.1 200"));
    drop(whole);
    let answer = rest(hold(keel.address, ASKS));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn another_tier_takes_over_and_gives_back_while_it_is_asked() {
    let pair = Pair::new("operate-tiers");
    let text = pair.text(", tier: 1", "", "");
    let mut keel = pair.run(&text);
    assert_eq!(answering(&keel), "two");
    let metric = |keel: &Evenkeel| {
        keel.page("/metrics")
            .contains("evenkeel_service_tier{service=\"api\"} 1.0\n")
    };
    assert!(!metric(&keel));
    post(&keel, "/v1/services/api/backends/two/drain");
    keel.until_any("another tier of the service serves");
    assert_eq!(answering(&keel), "one");
    assert!(metric(&keel));
    let page: Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
    assert_eq!(page["services"][0]["tier"], 1);
    post(&keel, "/v1/services/api/backends/two/enable");
    keel.until_any("another tier of the service serves");
    assert_eq!(answering(&keel), "two");
}

/// A tier that is taken out takes nobody's request with it, nor does one that comes back.
#[test]
fn tiers_change_under_load_and_fail_nobody() {
    let pair = Pair::new("operate-tiers-load");
    let keel = pair.run(&pair.text(", tier: 1", "", ""));
    let more = |answers: &AtomicU64| {
        let until = answers.load(Ordering::Relaxed) + 200;
        while answers.load(Ordering::Relaxed) < until {
            std::thread::yield_now();
        }
    };
    let (answered, failed) = under_load(keel.address, |answers| {
        for verb in ["drain", "disable", "drain", "disable"] {
            more(answers);
            assert_eq!(answering(&keel), "two");
            post(&keel, &format!("/v1/services/api/backends/two/{verb}"));
            more(answers);
            assert_eq!(answering(&keel), "one");
            post(&keel, "/v1/services/api/backends/two/enable");
        }
    });
    assert!(failed.is_empty(), "{failed:?}");
    assert!(answered > 1_500, "{answered}");
}
