//! What the command line shows of a running instance: tables for people, JSON for programs, words for shells.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::commands::listed;
use crate::process::{Evenkeel, Folder, Server};
use crate::tls::Authority;

/// Exit code, answer and what is said beside it, of a command that finds the instance by its environment.
fn cli(admin: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(arguments)
        .env("EVENKEEL_ADMIN", admin)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// One line, its cells by single spaces.
#[track_caller]
fn has(out: &str, row: &str) {
    let cells = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(out.lines().any(|line| cells(line) == row), "{row}: {out}");
}

#[test]
fn each_look_is_a_table_and_json() {
    let (folder, files) = (Folder::new("looks"), Folder::new("looks-files"));
    files.write("who", "one\n");
    let server = Server::nginx(&files, "");
    Authority::new(&folder, "authority").make("site", &["site.test", "*.site.test"]);
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
listeners:
  web: {{ bind: \"127.0.0.1:0\" }}
  websafe: {{ bind: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: site.pem, key: site.key }}] }} }}
services: {{ api: {{ policy: round_robin, backends: [{{ id: one, address: \"{}\", zone: a }}, {{ id: two, address: \"127.0.0.1:1\", state: disabled }}] }} }}
rules: [{{ forward: api }}]
",
        server.address
    );
    let file = folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    assert_eq!(keel.curl(&[], "/who"), "one\n");
    let url = format!("http://{}/", keel.admin);
    let shown = |arguments: &[&str]| {
        let (code, out, said) = cli(&url, arguments);
        assert_eq!((code, &*said), (Some(0), ""), "{arguments:?}: {out}");
        out
    };
    let json = |arguments: &[&str]| -> Value {
        let out = shown(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{arguments:?}: {out}"))
    };
    let status = shown(&["status"]);
    assert!(status.starts_with("evenkeel "), "{status}");
    has(&status, "websafe 0 0");
    has(&status, "api round_robin proven 1/2 0 1 1");
    assert!(status.contains("api      two      disabled"), "{status}");
    assert_eq!(json(&["status"])["process"], keel.id());
    let services = shown(&["services", "list"]);
    assert!(services.contains("api      round_robin  proven  1/2"));
    assert_eq!(json(&["services", "list"])[0]["answers"]["2xx"], 1);
    let one = shown(&["backends", "show", "api", "one"]);
    has(&one, "attempts finished 1");
    has(&one, "zone a");
    let two = json(&["backends", "show", "api", "two"]);
    assert_eq!(two["wanted"], "disabled");
    let certs = shown(&["certs"]);
    assert!(certs.contains("site.test *.site.test"), "{certs}");
    assert_eq!(json(&["certs"])[0]["listener"], "websafe");
    let top = shown(&["top", "--once", "--every", "1"]);
    has(&top, "api round_robin proven 0.0 0.0");
    assert!(top.contains("picks/s"), "{top}");
    // Who is told another address asks there.
    let (code, _, said) = cli("127.0.0.1:1", &["services", "list"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("127.0.0.1:1 cannot be asked"), "{said}");
    let (code, _, said) = cli("here", &["status"]);
    assert_eq!(code, Some(2), "{said}");
    let (code, _, said) = cli(&url, &["backends", "show", "api", "tow"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("did you mean `two`?"), "{said}");
}

/// A child that is not left behind.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_operator_changes_and_goes_back_and_reads_along() {
    let (folder, files) = (Folder::new("steered"), Folder::new("steered-files"));
    files.write("who", "one\n");
    let server = Server::nginx(&files, "");
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services: {{ api: {{ policy: round_robin, health: {{ tcp: {{}} }}, backends: [{{ id: one, address: \"{}\" }}] }}, lost: {{ backends: [127.0.0.1:1] }} }}
rules: [{{ when: {{ path: {{ prefix: /lost }} }}, forward: lost }}, {{ name: rest, forward: api }}]
",
        server.address
    );
    let file = folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let admin = keel.admin.to_string();
    let done = |arguments: &[&str]| {
        let (code, out, said) = cli(&admin, arguments);
        assert_eq!((code, &*said), (Some(0), ""), "{arguments:?}: {out}");
        out
    };
    let json = |arguments: &[&str]| -> Value {
        let out = done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{arguments:?}: {out}"))
    };
    let refused = |arguments: &[&str], why: &str| {
        let (code, out, said) = cli(&admin, arguments);
        assert_eq!((code, &*out), (Some(1), ""), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
    };
    let follow = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args([
            "events",
            "--follow",
            "--kind",
            "configuration_changed,commanded",
            "--admin",
            &admin,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut follow = Following(follow);
    let mut told = BufReader::new(follow.0.stdout.take().unwrap()).lines();
    let other = server.address.to_string();
    assert!(
        done(&[
            "backends", "add", "api", &other, "--id", "two", "--weight", "3"
        ])
        .starts_with("revision 2-")
    );
    assert_eq!(json(&["backends", "show", "api", "two"])["weight"], 3);
    done(&["backends", "weight", "api", "two", "5"]);
    assert_eq!(json(&["backends", "show", "api", "two"])["weight"], 5);
    refused(
        &["backends", "weight", "api", "tow", "5"],
        "did you mean `two`?",
    );
    assert_eq!(
        done(&["backends", "verdict", "api", "two", "down", "--for", "10m"]),
        "backend two of api is held to be down\n"
    );
    assert_eq!(
        json(&["backends", "show", "api", "two"])["standing"],
        "down"
    );
    done(&["backends", "verdict", "api", "two", "withdrawn"]);
    assert_eq!(
        done(&["services", "check", "api"]),
        "2 backends are checked\n"
    );
    refused(&["services", "check", "lost"], "has no checks");
    // What was seen is told as it came, in its order.
    for row in [
        "configuration_changed",
        "configuration_changed",
        "commanded api two down",
        "commanded api two withdrawn",
        "commanded api checked",
    ] {
        let line = told.next().unwrap().unwrap();
        let cells: Vec<_> = line.split_whitespace().skip(2).collect();
        assert!(cells.join(" ").starts_with(row), "{row}: {line}");
    }
    let between = done(&["config", "diff", "--from", "1"]);
    assert!(
        between.contains("+ services.api.backends[two].weight: 5"),
        "{between}"
    );
    has(
        &done(&["config", "diff", "--from", "2", "--to", "3"]),
        "~ services.api.backends[two].weight: 3 -> 5",
    );
    assert!(done(&["config", "rollback", "1"]).contains("as in revision 1"));
    refused(
        &["backends", "show", "api", "two"],
        "there is no backend `two`",
    );
    refused(&["config", "rollback", "99"], "99");
    let history = json(&["config", "history"]);
    let numbers: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["number"].as_u64())
        .collect();
    assert_eq!(numbers, [4, 3, 2, 1].map(Some));
    assert!(
        done(&["config", "history"])
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("*  4")
    );
    done(&["backends", "add", "api", &other, "--id", "two"]);
    done(&["backends", "remove", "api", "two"]);
    refused(
        &["backends", "show", "api", "two"],
        "there is no backend `two`",
    );
    // A reload reads the file, and one that is wrong changes nothing.
    folder.write("keel.yaml", "nonsense: true\n");
    refused(&["config", "reload"], "nonsense");
    folder.write(
        "keel.yaml",
        &text.replace("tcp: {}", "tcp: {}, interval: 9s"),
    );
    assert!(done(&["config", "reload"]).starts_with("revision 7-"));
    // Of a request that failed: what it was, and what became of its attempts.
    keel.curl(&[], "/lost/x");
    let listed = done(&["requests", "--failed"]);
    assert!(
        listed.contains("GET 127.0.0.1/lost/x  502     connect_failed  3"),
        "{listed}"
    );
    let found = json(&["requests", "--service", "lost"]);
    let known = found["items"][0]["request_id"].as_str().unwrap();
    assert_eq!(
        json(&["requests", "--service", "api"])["items"],
        Value::Array(Vec::new())
    );
    let one = done(&["requests", known]);
    has(&one, "service lost");
    assert!(one.contains("127.0.0.1:1"), "{one}");
    refused(&["requests", "of-yours"], "no request of this name");
    // What would be done with one, by what the instance knows.
    let explained = done(&["explain", "GET", "http://a.test/lost/x"]);
    assert!(explained.contains("lost"), "{explained}");
    assert!(json(&["explain", "GET", "http://a.test/who"])["explanations"][0].is_object());
    let (code, out, _) = cli(&admin, &["events", "-n", "3"]);
    assert_eq!((code, out.lines().count()), (Some(0), 3), "{out}");
    let (code, _, said) = cli(&admin, &["events", "--kind", "nonsense"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no kind `nonsense`"), "{said}");
}

/// Bash itself, with what it would be given after a tab.
#[test]
fn a_shell_completes_commands_and_flags() {
    let (code, script, _) = cli("", &["completions", "bash"]);
    assert_eq!(code, Some(0));
    let complete = |words: &[&str]| -> Vec<String> {
        let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let last = words.len() - 1;
        let run = format!(
            "{script}\nCOMP_WORDS=({})\nCOMP_CWORD={last}\n_evenkeel\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" ")
        );
        let output = Command::new("bash").args(["-c", &run]).output().unwrap();
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(wrong.is_empty(), "{wrong}");
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().map(str::to_owned).collect()
    };
    let verbs = complete(&["evenkeel", ""]);
    for verb in listed(&[], true) {
        assert!(verbs.contains(&verb), "{verb}: {verbs:?}");
    }
    assert_eq!(complete(&["evenkeel", "back"]), ["backends"]);
    let below = complete(&["evenkeel", "backends", "dr"]);
    assert_eq!(below, ["drain"]);
    let flags = complete(&["evenkeel", "backends", "drain", "api", "one", "--w"]);
    assert_eq!(flags, ["--wait"]);
    for shell in ["zsh", "fish"] {
        let (code, script, _) = cli("", &["completions", shell]);
        assert_eq!(code, Some(0));
        for verb in listed(&[], true) {
            assert!(script.contains(&verb), "{shell}: {verb}");
        }
    }
    assert_eq!(cli("", &["completions", "csh"]).0, Some(2));
}
