//! What is written of exchanges, and what is said: rows per kind of ending, rotation, readers that do not read, full disks.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use serde_json::Value;

use crate::evenkeel;
use crate::process::{Evenkeel, Folder, PATIENCE, Server, hold, rest, until};

/// The rows of a file.
fn rows(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "a row is torn");
    let row = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    text.lines().map(row).collect()
}

/// What a metric without labels reads.
fn metric(keel: &Evenkeel, name: &str) -> u64 {
    let page = keel.page("/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}"))
        .trim()
        .parse()
        .unwrap()
}

fn written(keel: &Evenkeel) -> u64 {
    metric(keel, "evenkeel_access_log_written_total ")
}

/// A backend of these answers, one connection each: what it reads of each request, and what it answers. None: it resets.
fn backend(answers: Vec<Option<&'static str>>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, heard) = mpsc::sync_channel(answers.len());
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = until(&mut stream, "\r\n\r\n");
            heads.send(head).unwrap();
            match answer {
                Some("") => drop(stream.read(&mut [0])),
                Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                None => {}
            }
        }
    });
    (address, heard)
}

const SERVED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";

#[test]
fn every_kind_of_ending_has_its_row() {
    let folder = Folder::new("endings");
    let log = folder.path().join("access.log");
    // A request without an answer that waits, one that is cut, one that is served; what comes in between is answered here.
    let (api, heard) = backend(vec![Some(SERVED), None, Some(""), Some("")]);
    let file = folder.write(
        "keel.yaml",
        &format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
access_log: {{ to: ./access.log }}
listeners: {{ web: {{ bind: \"127.0.0.1:0\", limits: {{ body: 4B }} }} }}
services: {{ api: {{ backends: [\"{api}\"], breaker: off, timeouts: {{ per_try: 1s }} }}, gone: {{ backends: [\"127.0.0.1:1\"] }} }}
rules:
  - {{ name: ping, when: {{ path: /ping }}, respond: {{ body: pong }} }}
  - {{ name: old, when: {{ path: /old }}, redirect: {{ path: /new }} }}
  - {{ name: gone, when: {{ path: /gone }}, forward: gone }}
  - {{ name: api, when: {{ path: /api* }}, forward: api }}
"
        ),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let ask = |head: &str| {
        rest(hold(
            keel.address,
            &format!("{head}Connection: close\r\n\r\n"),
        ))
    };
    ask(
        "GET /api?token=hush&page=2 HTTP/1.1\r\nHost: a\r\nAuthorization: Basic aHVzaA==\r\nCookie: id=hush\r\n",
    );
    let sent = heard.recv_timeout(PATIENCE).unwrap();
    ask("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n");
    heard.recv_timeout(PATIENCE).unwrap();
    // Its backend keeps silent until the deadline.
    ask("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n");
    heard.recv_timeout(PATIENCE).unwrap();
    let left = hold(keel.address, "GET /api/left HTTP/1.1\r\nHost: a\r\n\r\n");
    heard.recv_timeout(PATIENCE).unwrap();
    drop(left);
    ask("GET /ping HTTP/1.1\r\nHost: a\r\n");
    ask("GET /old HTTP/1.1\r\nHost: a\r\n");
    ask("GET /none HTTP/1.1\r\nHost: a\r\n");
    ask("GET /gone HTTP/1.1\r\nHost: a\r\n");
    ask("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n");
    ask("GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n");
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert!(status.success(), "{said}");
    let all = rows(&log);
    let seen: BTreeSet<(String, u64)> = all
        .iter()
        .map(|row| {
            let reason = row["reason"].as_str().unwrap();
            (reason.to_owned(), row["status"].as_u64().unwrap())
        })
        .collect();
    let expect = [
        ("backend_reset", 502),
        ("backend_timeout", 504),
        ("body_too_large", 413),
        ("client_gone", 499),
        ("connect_failed", 502),
        ("host_repeated", 400),
        ("no_rule", 404),
        ("rule", 200),
        ("rule", 302),
        ("served", 200),
    ];
    let expect = expect.map(|(reason, status)| (reason.to_owned(), status));
    assert_eq!(seen, BTreeSet::from(expect), "{all:#?}");
    assert_eq!(all.len(), 10);
    let of = |reason: &str| all.iter().find(|row| row["reason"] == reason).unwrap();
    let served = of("served");
    // What the backend was told and what is written are the same.
    for (field, key) in [
        ("X-Request-Id: ", "request_id"),
        ("traceparent: 00-", "trace_id"),
    ] {
        let id = sent.split_once(field).unwrap().1;
        assert!(
            id.starts_with(served[key].as_str().unwrap()),
            "{sent} {served}"
        );
    }
    assert_eq!(served["query"], "token=***&page=2");
    assert_eq!(
        (&served["service"], &served["rule"]),
        (&"api".into(), &"api".into())
    );
    assert_eq!(served["backend"], api.to_string());
    assert_eq!(
        (&served["sent_bytes"], &served["attempts"]),
        (&2.into(), &1.into())
    );
    assert!(served["connect_ms"].is_number() && served["head_ms"].is_number());
    assert_eq!(
        (
            &of("host_repeated")["path"],
            &of("host_repeated")["listener"]
        ),
        (&Value::Null, &"web".into())
    );
    assert!(of("backend_timeout")["total_ms"].as_f64().unwrap() >= 1_000.0);
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("hush") && !text.contains("aHVzaA"), "{text}");
    assert_eq!(
        fs::metadata(&log).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

/// A peer that is trusted names the request and the trace. The row says what the backend heard. It says too what the client asked
/// where a rule rewrites, and why a service refused that another stood in for.
#[test]
fn a_row_and_its_backend_know_the_same_trace() {
    let folder = Folder::new("trace");
    let log = folder.path().join("access.log");
    let (api, heard) = backend(vec![Some(SERVED), Some(SERVED)]);
    let file = folder.write(
        "keel.yaml",
        &format!(
            "admin: {{ bind: off }}
workers: 1
trusted_proxies: [127.0.0.1]
access_log: {{ to: ./access.log }}
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  api: {{ backends: [\"{api}\"] }}
  none: {{ backends: [{{ address: \"127.0.0.1:1\", state: disabled }}] }}
rules:
  - name: old
    when: {{ path: /old* }}
    rewrite: {{ prefix: {{ from: /old, to: /new }} }}
    forward: none
    fallback: {{ forward: api }}
  - {{ name: api, forward: api }}
"
        ),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let fields = format!("X-Request-Id: abc-1\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n");
    let mut sent = Vec::new();
    for (path, fields) in [("/old/x", &*fields), ("/x", "traceparent: 00-x\r\n")] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
        rest(hold(keel.address, &head));
        sent.push(heard.recv_timeout(PATIENCE).unwrap());
    }
    keel.signal("-TERM");
    assert!(keel.wait().0.success());
    let rows = rows(&log);
    assert_eq!(rows.len(), 2);
    for (sent, row) in sent.iter().zip(&rows) {
        for (field, key) in [
            ("X-Request-Id: ", "request_id"),
            ("traceparent: 00-", "trace_id"),
        ] {
            let id = sent.split_once(field).unwrap().1;
            let id = id.split(['-', '\r']).next().unwrap();
            assert!(row[key].as_str().unwrap().starts_with(id), "{sent} {row}");
        }
    }
    assert_eq!(
        (&rows[0]["request_id"], &rows[0]["trace_id"]),
        (&"abc-1".into(), &TRACE.into())
    );
    assert!(
        sent[0].starts_with("GET /new/x HTTP/1.1\r\n"),
        "{}",
        sent[0]
    );
    assert_eq!(
        (&rows[0]["path"], &rows[0]["service"]),
        (&"/old/x".into(), &"api".into())
    );
    assert_eq!(
        (&rows[0]["refused"], &rows[1]["refused"]),
        (&"all_down".into(), &Value::Null)
    );
    assert_eq!(rows[1]["trace_id"].as_str().unwrap().len(), 32);
}

/// A plan that answers itself, and writes rows there.
fn answering(folder: &Folder, to: &str) -> std::path::PathBuf {
    folder.write(
        "keel.yaml",
        &format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 2
access_log: {{ to: \"{to}\" }}
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
rules: [{{ respond: {{ body: pong }} }}]
"
        ),
    )
}

/// Asks so often, on one connection, and reads each answer.
fn ask(address: SocketAddr, times: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..times {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        until(&mut stream, "pong");
    }
}

/// Rows that clients may be ahead of the file: a disk that stalls longer than their room lasts is not what is tried.
const AHEAD: u64 = 2000;

#[test]
fn rotation_under_traffic_loses_no_row() {
    let folder = Folder::new("rotation");
    let path = |name: &str| folder.path().join(name);
    let file = answering(&folder, "./access.log");
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let address = keel.address;
    let over = Arc::new(AtomicBool::new(false));
    let [asked, seen] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (over, asked, seen) = (over.clone(), asked.clone(), seen.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if asked.load(Ordering::Relaxed) > seen.load(Ordering::Relaxed) + AHEAD {
                        std::thread::yield_now();
                        continue;
                    }
                    asked.fetch_add(50, Ordering::Relaxed);
                    ask(address, 50);
                }
            })
        })
        .collect();
    let look = |keel: &Evenkeel| {
        let written = written(keel);
        seen.store(written, Ordering::Relaxed);
        written
    };
    for turn in 0..5 {
        // Rows are on their way.
        let before = look(&keel);
        while look(&keel) < before + 100 {}
        fs::rename(path("access.log"), path(&format!("access.log.{turn}"))).unwrap();
        keel.signal("-USR1");
        keel.until("/access.log\n");
        assert!(keel.said.ends_with("/access.log\n") && keel.said.contains("reopened"));
    }
    over.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|one| one.join().unwrap());
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert!(status.success(), "{said}");
    let mut found = rows(&path("access.log")).len();
    for turn in 0..5 {
        let turned = rows(&path(&format!("access.log.{turn}"))).len();
        assert!(turned > 0, "nothing in file {turn}");
        found += turned;
    }
    assert_eq!(found as u64, asked.load(Ordering::Relaxed), "{said}");
}

#[test]
fn a_file_that_cannot_be_opened_again_goes_on_and_a_reload_takes_another() {
    let folder = Folder::new("reopen");
    let file = answering(&folder, "./logs/access.log");
    fs::create_dir(folder.path().join("logs")).unwrap();
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    ask(keel.address, 3);
    let gone = folder.path().join("gone");
    fs::rename(folder.path().join("logs"), &gone).unwrap();
    keel.signal("-USR1");
    keel.until("No such file or directory (os error 2)\"\n");
    assert!(
        keel.said.contains("rows go on to the file that is open"),
        "{}",
        keel.said
    );
    ask(keel.address, 4);
    while written(&keel) < 7 {}
    assert_eq!(rows(&gone.join("access.log")).len(), 7);
    // What cannot be opened is not taken.
    answering(&folder, "./logs/other.log");
    keel.signal("-HUP");
    keel.until("the old configuration goes on\n");
    assert!(
        keel.said.contains("cannot write the access log to "),
        "{}",
        keel.said
    );
    answering(&folder, "./other.log");
    keel.signal("-HUP");
    keel.until("reloaded: access_log changes\n");
    ask(keel.address, 5);
    while written(&keel) < 12 {}
    let other = folder.path().join("other.log");
    keel.signal("-TERM");
    assert!(keel.wait().0.success());
    assert_eq!(
        rows(&gone.join("access.log")).len() + rows(&other).len(),
        12
    );
    assert!(rows(&other).len() >= 5);
}

#[test]
fn a_reader_that_does_not_read_holds_nobody_up() {
    let folder = Folder::new("reader");
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    // Open for reading and writing waits for nobody; nothing is read from it yet.
    let mut reader = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let file = answering(&folder, pipe.to_str().unwrap());
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let dropped = |keel: &Evenkeel| metric(keel, "evenkeel_access_log_dropped_total ");
    let mut asked = 0;
    while dropped(&keel) == 0 {
        // Each is answered although no row finds room.
        ask(keel.address, 1_000);
        asked += 1_000;
        assert!(asked < 200_000, "rows are kept without limit");
    }
    let lost = "WARN the access log is slower than the exchanges: rows are dropped rows=";
    while !keel.said.contains(lost) {
        keel.until("\n");
    }
    let lines = std::thread::spawn(move || {
        let mut lines = 0;
        let mut from = BufReader::new(&mut reader);
        let mut line = String::new();
        while from.read_line(&mut line).unwrap() > 0 {
            if line == "end\n" {
                break;
            }
            let _: Value = serde_json::from_str(&line).unwrap();
            lines += 1;
            line.clear();
        }
        lines
    });
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert!(status.success(), "{said}");
    let mut last = OpenOptions::new().write(true).open(&pipe).unwrap();
    last.write_all(b"end\n").unwrap();
    assert!(lines.join().unwrap() < asked);
}

#[test]
fn a_pipe_without_a_reader_holds_nobody_up() {
    let folder = Folder::new("no-reader");
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let file = answering(&folder, "./access.log");
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    // Nor does a pipe that took the file's place when it is opened anew.
    fs::rename(&pipe, folder.path().join("access.log")).unwrap();
    keel.signal("-USR1");
    keel.until("nobody reads this pipe\"\n");
    fs::rename(folder.path().join("access.log"), &pipe).unwrap();
    answering(&folder, "./pipe");
    keel.signal("-HUP");
    keel.until("the old configuration goes on\n");
    assert!(
        keel.said.contains("pipe: nobody reads this pipe"),
        "{}",
        keel.said
    );
    ask(keel.address, 1);
    keel.signal("-TERM");
    assert!(keel.wait().0.success());
    let (code, _, said) = evenkeel(&["run", file.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nobody reads this pipe"), "{said}");
}

#[test]
fn a_full_disk_is_counted_and_serving_goes_on() {
    let folder = Folder::new("full");
    let file = answering(&folder, "/dev/full");
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    ask(keel.address, 10);
    keel.until("No space left on device (os error 28)\"\n");
    ask(keel.address, 10);
    assert!(metric(&keel, "evenkeel_access_log_failures_total ") > 0);
    assert_eq!(written(&keel), 0);
    // There is room elsewhere: what waited is written there.
    answering(&folder, "./access.log");
    keel.signal("-HUP");
    keel.until("reloaded: access_log changes\n");
    while written(&keel) < 20 {}
    assert_eq!(rows(&folder.path().join("access.log")).len(), 20);
}

#[test]
fn standard_output_is_a_place_too() {
    let folder = Folder::new("stdout");
    let file = answering(&folder, "stdout");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace(
            "to: \"stdout\"",
            "to: stdout, format: combined, client: truncated",
        ),
    )
    .unwrap();
    let to = folder.path().join("out");
    let keel = Evenkeel::run_to(
        Stdio::from(fs::File::create(&to).unwrap()),
        &["-c", file.to_str().unwrap()],
    );
    keel.curl(&["-A", "a \"b\"", "-e", "http://me:pw@a/?key=hush"], "/x?y");
    keel.signal("-TERM");
    assert!(keel.wait().0.success());
    let row = fs::read_to_string(&to).unwrap();
    assert!(row.starts_with("127.0.0.0 - - ["), "{row}");
    let end = "] \"GET /x?y HTTP/1.1\" 200 4 \"http://a/?key=***\" \"a \\\"b\\\"\"\n";
    assert!(row.ends_with(end), "{row}");
}

#[test]
fn the_log_is_json_for_programs() {
    let folder = Folder::new("json-log");
    let file = folder.write("keel.yaml", "listeners: { web: { bnd: 1 } }\n");
    let path = file.to_str().unwrap();
    let (code, out, said) = evenkeel(&["run", "--log-format", "json", path]);
    assert_eq!((code, &*out), (Some(1), ""));
    let records: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let typo = records.iter().find(|one| one["problem"] == "unknown_key");
    let typo = typo.unwrap();
    assert_eq!(typo["level"], "error");
    assert_eq!(
        (&typo["file"], &typo["line"], &typo["column"]),
        (&path.into(), &1.into(), &21.into())
    );
    let last = records.last().unwrap();
    assert_eq!(last["message"], "not started: the configuration has errors");
    assert!(last["time"].as_str().unwrap().ends_with('Z'));
    let (code, _, said) = evenkeel(&["run", "--log-level", "info,x=loud", path]);
    assert_eq!(code, Some(2), "{said}");
    let (_, _, said) = evenkeel(&["run", "--log-level", "off", "--log-format", "json", path]);
    assert_eq!(said, "");
    // Not a terminal: no colours, with or without NO_COLOR.
    let (_, _, said) = evenkeel(&["run", path]);
    assert!(
        !said.contains('\u{1b}') && said.contains("did you mean `bind`?"),
        "{said}"
    );
}

#[test]
fn a_backend_that_goes_down_is_said_with_its_fields() {
    let folder = Folder::new("standing");
    let server = Server::python(folder.path());
    let file = folder.write(
        "keel.yaml",
        &format!(
            "admin: {{ bind: off }}\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"{}\"], health: {{ tcp: {{}}, interval: 50ms }} }} }}\n",
            server.address
        ),
    );
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let address = server.address;
    keel.until(&format!(
        "service=api backend={address} from=unproven standing=serving reason=checks_passed\n"
    ));
    drop(server);
    keel.until(&format!("WARN backend is out service=api backend={address} from=serving standing=down reason=\"checks_failed: refused\"\n"));
}

#[test]
fn a_file_made_as_root_can_be_reopened_by_whom_the_process_becomes() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    const NOBODY: u32 = 65_534;
    let folder = Folder::shared("log-owner");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = answering(&folder, "./access.log");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("user: {NOBODY}\ngroup: {NOBODY}\n{text}")).unwrap();
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let log = folder.path().join("access.log");
    assert_eq!(fs::metadata(&log).unwrap().uid(), NOBODY);
    keel.signal("-USR1");
    keel.until("/access.log\n");
    assert!(
        keel.said.contains("the access log is reopened"),
        "{}",
        keel.said
    );
    // Only root may make a file here: rows go on to the one that is open, and the log says why.
    let old = folder.path().join("old.log");
    fs::rename(&log, &old).unwrap();
    keel.signal("-USR1");
    keel.until("Permission denied (os error 13)\"\n");
    ask(keel.address, 2);
    while written(&keel) < 2 {}
    assert_eq!(rows(&old).len(), 2);
}
