//! What the command line shows of a running instance: tables for people, JSON for programs, words for shells.

use std::process::Command;

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
