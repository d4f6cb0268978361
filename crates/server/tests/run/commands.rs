//! Commands that look at configurations: what they print, for people and for programs, and how they end.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::crowd::nginx;
use crate::evenkeel;
use crate::process::{Evenkeel, Folder};

const GOOD: &str = "listeners: { web: { bind: 127.0.0.1:8080 } }\nservices:\n  api:\n    backends:\n    - 10.0.0.1:${BACKEND_PORT:-7}\n";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn show_prints_what_holds_and_where_it_comes_from() {
    let folder = Folder::new("show");
    folder.write("conf/1.yaml", GOOD);
    folder.write("conf/2.yaml", "drain: 5s\n");
    let directory = folder.path().join("conf");
    let directory = directory.to_str().unwrap();
    let (code, out, said) = evenkeel(&["config", "show", directory]);
    assert_eq!((code, &*said), (Some(0), ""));
    let has = |out: &str, value: &str, origin: &str| {
        out.lines().any(|line| {
            line.split_once(" # ")
                .is_some_and(|(left, right)| left.trim() == value && right.ends_with(origin))
        })
    };
    for (value, origin) in [
        ("within: 5s", "conf/2.yaml:1:8"),
        ("- address: 10.0.0.1:7", "conf/1.yaml:5:7"),
        ("connect: 3s", "default"),
    ] {
        assert!(has(&out, value, origin), "{value} {origin}\n{out}");
    }
    // What it prints is a configuration that means the same.
    let again = folder.write("again.yaml", &out);
    let (_, same, _) = evenkeel(&["config", "diff", directory, again.to_str().unwrap()]);
    assert_eq!(same, "nothing changes\n");
    let secret = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["config", "show", directory])
        .env("BACKEND_PORT", "4711")
        .output()
        .unwrap();
    let out = String::from_utf8(secret.stdout).unwrap();
    assert!(!out.contains("4711"), "{out}");
    let origin = "conf/1.yaml:5:7, environment BACKEND_PORT";
    assert!(
        has(&out, "- address: 10.0.0.1:${BACKEND_PORT}", origin),
        "{out}"
    );
}

#[test]
fn show_for_programs() {
    let folder = Folder::new("show-json");
    let file = folder.write("keel.yaml", GOOD);
    let file = file.to_str().unwrap();
    let (code, out, _) = evenkeel(&["config", "show", "--json", file]);
    assert_eq!(code, Some(0));
    let rows = json(&out);
    let row = |path: &str| {
        let rows = rows.as_array().unwrap();
        let found = rows.iter().find(|row| row["path"] == path);
        found.unwrap_or_else(|| panic!("{path} in {out}")).clone()
    };
    let bind = row("listeners.web.bind[0]");
    assert_eq!(bind["value"], "127.0.0.1:8080");
    assert_eq!(
        bind["origin"],
        serde_json::json!({ "from": "file", "file": file, "line": 1, "column": 27, "environment": [] })
    );
    let weight = row("services.api.backends[10.0.0.1:7].weight");
    assert_eq!(weight["value"], 1);
    assert_eq!(weight["origin"]["from"], "default");
    assert_eq!(row("listeners.web.limits.body")["value"], Value::Null);
    let bad = folder.write("bad.yaml", "listeners: { web: { bnd: 1 } }\n");
    let (code, out, said) = evenkeel(&["config", "show", bad.to_str().unwrap()]);
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(said.contains("did you mean `bind`?"), "{said}");
    assert_eq!(evenkeel(&["config", "show"]).0, Some(2));
}

/// What an operator wants is marked: as the instance keeps it, and only as far as it holds over this text.
#[test]
fn show_marks_what_is_not_from_the_file() {
    let folder = Folder::new("show-operator");
    let server = nginx(&folder);
    let backends = |more: &str| {
        let address = server.address;
        format!(
            "[{{ id: a, address: \"{address}\" }}, {{ id: b, address: \"{address}\"{more} }}, {{ dns: localhost:9 }}]"
        )
    };
    let text = |b: &str| {
        format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }}, more: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: {} }}, rest: {{ backends: {} }} }}\nrules: [{{ forward: api }}]\n",
            backends(b),
            backends(", state: disabled")
        )
    };
    let file = folder.write("keel.yaml", &text(""));
    let (file, kept) = (file.to_str().unwrap(), folder.path().join("kept"));
    let kept = kept.to_str().unwrap();
    let show = |more: &[&str]| evenkeel(&[&["config", "show", file], more].concat());
    let at = ["--state-dir", kept];
    let (code, out, said) = show(&at);
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(said.contains("kept: there is no such directory"), "{said}");
    std::fs::create_dir(kept).unwrap();
    assert_eq!(show(&at), show(&[]), "nothing is kept there");
    let keel = Evenkeel::run(&["-c", file, "--state-dir", kept]);
    let asks = ["-X", "POST", "-H", "X-Evenkeel: 1", "-H", "If-Match: *"];
    let behind = keel.page("/v1/status");
    let behind = json(&behind)["services"][0]["backends"][2]["id"].clone();
    let behind = behind.as_str().unwrap();
    for path in [
        "services/api/backends/a/drain",
        "services/api/backends/b/disable",
        &format!("services/api/backends/{behind}/drain"),
        "services/rest/drain",
        "services/rest/backends/b/enable",
        "listeners/more/drain",
    ] {
        let done = keel.asked(&asks, &format!("/v1/{path}"));
        assert!(done.contains("\"changed\":true"), "{path}: {done}");
    }
    keel.signal("-TERM");
    assert!(keel.wait().0.success());
    let place = format!("operator, {kept}/overlay.json");
    let marked = |out: &str| {
        let lines = out.lines().filter_map(|line| line.rsplit_once(" # "));
        let lines = lines.filter(|(_, origin)| *origin == place);
        let lines: Vec<_> = lines.map(|(line, _)| line.trim().to_owned()).collect();
        lines.join("; ")
    };
    let (code, out, _) = show(&at);
    assert_eq!(code, Some(0));
    let remark = format!("# \"backends[{behind}].state\": draining");
    let rest = "state: draining; state: draining; # state: draining";
    assert_eq!(
        marked(&out),
        format!("# state: draining; state: draining; state: disabled; {remark}; {rest}")
    );
    let again = folder.write("again.yaml", &out);
    assert_eq!(evenkeel(&["check", again.to_str().unwrap()]).0, Some(0));
    let (_, out, _) = show(&[&at[..], &["--json"]].concat());
    let rows = json(&out);
    let mut rows = rows.as_array().unwrap().iter();
    let row = rows.find(|row| row["path"] == "services.api.backends[b].state");
    let row = row.unwrap();
    assert_eq!(row["value"], "disabled");
    assert_eq!(
        row["origin"],
        serde_json::json!({ "from": "operator", "file": format!("{kept}/overlay.json") })
    );
    // An entry that was changed since says what holds.
    folder.write("keel.yaml", &text(", weight: 2"));
    let (_, out, _) = show(&at);
    assert_eq!(
        marked(&out),
        format!("# state: draining; state: draining; {remark}; {rest}")
    );
    std::fs::write(format!("{kept}/overlay.json"), "{").unwrap();
    let (code, out, said) = show(&at);
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(
        said.contains("overlay.json: it is not understood"),
        "{said}"
    );
}

#[test]
fn the_schema_is_json() {
    let (code, out, said) = evenkeel(&["schema"]);
    assert_eq!((code, &*said), (Some(0), ""));
    let schema = json(&out);
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let drain = &schema["properties"]["drain"];
    let within = &drain["anyOf"][1]["properties"]["within"];
    assert_eq!(within["default"], "30s", "{drain}");
}

#[test]
fn check_for_programs() {
    let folder = Folder::new("check-json");
    let path = |name: &str, text: &str| folder.write(name, text).display().to_string();
    let good = path("good.yaml", GOOD);
    let (code, out, said) = evenkeel(&["check", "--json", &good]);
    assert_eq!((code, &*said), (Some(0), ""));
    assert_eq!(
        json(&out),
        serde_json::json!({ "errors": 0, "warnings": 0, "listeners": 1, "rules": 1, "services": 1, "problems": [] })
    );
    let bad = path(
        "bad.yaml",
        &format!(
            "{GOOD}rules:\n- {{ name: a, forward: api }}\n- {{ name: a, when: {{ host: b }}, forward: apj }}\n"
        ),
    );
    let (code, out, said) = evenkeel(&["check", "--json", &bad]);
    assert_eq!((code, &*said), (Some(1), ""));
    let answer = json(&out);
    assert_eq!(answer["errors"], 3);
    let problem = &answer["problems"][0];
    assert_eq!(problem["code"], "duplicate_name");
    assert_eq!(problem["severity"], "error");
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&8.into(), &3.into())
    );
    assert_eq!(problem["file"], *bad);
    assert_eq!(problem["also"]["line"], 7);
    assert!(problem["message"].as_str().unwrap().contains("`a`"));
    let (code, out, _) = evenkeel(&["check", "--json", "/nowhere.yaml"]);
    assert_eq!(code, Some(1));
    assert_eq!(json(&out)["problems"][0]["code"], "unreadable");
}

#[test]
fn diff_for_programs() {
    let folder = Folder::new("diff-json");
    let path = |name: &str, text: &str| folder.write(name, text).display().to_string();
    let before = path("before.yaml", &format!("{GOOD}workers: 2\ndrain: 60s\n"));
    let after = path(
        "after.yaml",
        &format!("{GOOD}    - b:1\n    policy: random\nworkers: 3\ndrain: 1m\n"),
    );
    let (code, out, said) = evenkeel(&["config", "diff", "--json", &before, &after]);
    assert_eq!((code, &*said), (Some(0), ""));
    let answer = json(&out);
    let rows = answer["changes"].as_array().unwrap();
    let row = |path: &str| {
        let found = rows.iter().find(|row| row["path"] == path);
        found.unwrap_or_else(|| panic!("{path} in {out}")).clone()
    };
    assert_eq!(
        row("services.api.policy"),
        serde_json::json!({ "path": "services.api.policy", "from": "adaptive", "to": "random", "effect": "changed", "at": "reload", "part": ["services", "api"] })
    );
    let workers = row("workers");
    assert_eq!(
        (&workers["from"], &workers["to"]),
        (&"2".into(), &"3".into())
    );
    assert_eq!(workers["at"], "start");
    let added = row("services.api.backends[b:1].address");
    assert_eq!(
        (&added["from"], &added["effect"]),
        (&Value::Null, &"added".into())
    );
    assert!(rows.iter().all(|row| row["path"] != "drain"), "{out}");
    let (_, words, _) = evenkeel(&["config", "diff", &before, &after]);
    assert_eq!(
        words,
        "workers changes at the next start\n  workers: 2 -> 3\nservice api changes\n  services.api.policy: adaptive -> random\nservice api: backend b:1 is added\n"
    );
    let bad = path("bad.yaml", "listeners: { web: { bnd: 1 } }\n");
    let (code, out, said) = evenkeel(&["config", "diff", "--json", &before, &bad]);
    assert_eq!((code, &*said), (Some(1), ""));
    assert!(
        json(&out)["problems"][0]["file"]
            .as_str()
            .unwrap()
            .ends_with("bad.yaml")
    );
    assert_eq!(evenkeel(&["config", "diff", &before]).0, Some(2));
}

/// Names and values from files and the environment: none steers a terminal, and none of the environment is shown, however
/// short it is.
#[test]
fn what_commands_print_is_plain_and_veiled() {
    let folder = Folder::new("plain");
    let path = |name: &str, text: &str| folder.write(name, text).display().to_string();
    let before = path("before.yaml", GOOD);
    let after = path(
        "after.yaml",
        &format!(
            "{GOOD}    - {{ id: \"\\e[2J\", address: a:1 }}\n    - id: x${{SHORT}}\n      address: b:1\nrules:\n- name: r${{SHORT}}\n  forward: api\n"
        ),
    );
    let bad = path("bad\u{1b}[2J.yaml", "drain: \"\\e[2J\"\n");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(arguments)
            .env("SHORT", "e")
            .output()
            .unwrap();
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8(all).unwrap();
        let steers = |char: char| char.is_control() && char != '\n';
        assert!(!all.contains(steers), "{arguments:?} {all:?}");
        all
    };
    let words = run(&["config", "diff", &before, &after]);
    for expect in [
        "rule default is removed\n",
        "rule r${SHORT} is added\n",
        "service api: backend \\u{1b}[2J is added\n",
        "service api: backend x${SHORT} is added\n",
    ] {
        assert!(words.contains(expect), "{words}");
    }
    let rows = run(&["config", "diff", "--json", &before, &after]);
    let answer = json(&rows);
    let parts: Vec<_> = answer["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["part"].to_string())
        .collect();
    assert!(
        parts.contains(&r#"["services","api","backends","x${SHORT}"]"#.into()),
        "{parts:?}"
    );
    assert!(
        !rows.contains("\"xe\"") && !rows.contains("\"re\""),
        "{rows}"
    );
    run(&["config", "show", &after]);
    run(&["config", "show", "--json", &after]);
    assert!(run(&["check", &bad]).contains("bad\\u{1b}[2J.yaml:1:8: error: "));
    run(&["check", "--json", &bad]);
    run(&["check", "/no\u{1b}where"]);
}

/// Every exit code that there is: 0 fine, 1 not, 2 wrong usage. Of `run`, 0 and 3 stand with the drains.
#[test]
fn exit_codes() {
    let folder = Folder::new("codes");
    let path = |name: &str, text: &str| folder.write(name, text).display().to_string();
    let (good, bad) = (path("good.yaml", GOOD), path("bad.yaml", "drain: 1\n"));
    let warned = path(
        "warned.yaml",
        &format!("{GOOD}  other: {{ backends: [a:1] }}\nrules: [{{ forward: api }}]\n"),
    );
    let (good, bad, warned, none) = (&*good, &*bad, &*warned, "/nowhere.yaml");
    for (code, arguments) in [
        (0, &["check", good][..]),
        (0, &["check", warned]),
        (0, &["check", "--json", good]),
        (1, &["check", bad]),
        (1, &["check", "--json", bad]),
        (1, &["check", good, good]),
        (1, &["check", none]),
        (2, &["check"]),
        (2, &["check", "--yaml", good]),
        (0, &["config", "show", good]),
        (1, &["config", "show", bad]),
        (1, &["config", "show", none]),
        (2, &["config", "show"]),
        (0, &["config", "diff", good, good]),
        (0, &["config", "diff", good, warned]),
        (1, &["config", "diff", good, bad]),
        (1, &["config", "diff", none, good]),
        (2, &["config", "diff", good]),
        (2, &["config"]),
        (1, &["run", "--config", bad]),
        (1, &["run", "--config", none]),
        (1, &["run", "--listen", "x", "--to", "a:1"]),
        (2, &["run"]),
        (2, &["run", "--listen", ":0"]),
        (2, &["run", "--to", "a:1"]),
        (2, &["run", "--config", good, "--admin", "off"]),
        (1, &["status", "--admin", "127.0.0.1:1"]),
        (2, &["status", "--admin", "x"]),
        (1, &["top", "--once", "--admin", "127.0.0.1:1"]),
        (2, &["top", "--every", "0"]),
        (1, &["services", "list", "--admin", "127.0.0.1:1"]),
        (1, &["backends", "show", "a", "b", "--admin", "127.0.0.1:1"]),
        (2, &["backends", "show", "a"]),
        (1, &["certs", "--admin", "127.0.0.1:1"]),
        (0, &["completions", "bash"]),
        (2, &["completions"]),
        (0, &["schema"]),
        (2, &["schema", good]),
        (0, &["version"]),
        (0, &["--version"]),
        (0, &["--help"]),
        (2, &[]),
        (2, &["serve"]),
    ] {
        let (got, out, said) = evenkeel(arguments);
        assert_eq!(got, Some(code), "{arguments:?}: {out}{said}");
    }
}

/// Three typos, three carets, each under what is meant.
#[test]
fn a_newcomer_sees_all_typos_at_once() {
    let folder = Folder::new("typos");
    let file = folder.write(
        "keel.yaml",
        "listeners:\n  web: { bind: 127.0.0.1:8080 }\nservices:\n  api:\n    backend: [10.0.0.1:9000]\n    backends: [10.0.0.1:9000]\n    polcy: random\ndrain: 30\n",
    );
    let (code, out, said) = evenkeel(&["check", file.to_str().unwrap()]);
    assert_eq!((code, &*out), (Some(1), "3 errors, 0 warnings\n"));
    let said = said.replace(&file.display().to_string(), "keel.yaml");
    assert_eq!(
        said,
        "keel.yaml:5:5: error: `backend` is not a key here; did you mean `backends`? [unknown_key]
    5 |     backend: [10.0.0.1:9000]
      |     ^^^^^^^
keel.yaml:7:5: error: `polcy` is not a key here; did you mean `policy`? [unknown_key]
    7 |     polcy: random
      |     ^^^^^
keel.yaml:8:8: error: `30` has no unit; write `30s` or `30ms` [duration]
    8 | drain: 30
      |        ^^
"
    );
}

/// What the help lists: the verbs below a command, or its flags.
pub(crate) fn listed(arguments: &[&str], verbs: bool) -> Vec<String> {
    let (code, out, said) = evenkeel(&[arguments, &["--help"]].concat());
    assert_eq!((code, &*said), (Some(0), ""), "{arguments:?}");
    let words = out.lines().filter_map(|line| {
        let word = match verbs {
            true => line
                .strip_prefix("  ")
                .filter(|line| !line.starts_with([' ', '-', '<']))?,
            false => {
                &line[line
                    .find("--")
                    .filter(|_| line.trim_start().starts_with('-'))?..]
            }
        };
        word.split([' ', ',']).next().map(str::to_owned)
    });
    words
        .filter(|word| !matches!(&**word, "help" | "--help" | "--version"))
        .filter(|word| !word.starts_with('['))
        .collect()
}

/// Every verb has a row in the README, with every flag that it takes.
#[test]
fn the_readme_lists_every_verb_and_flag() {
    let readme = include_str!("../../../../README.md");
    let mut rows = 0;
    for verb in listed(&[], true) {
        let below = listed(&[&verb], true);
        let below: Vec<Vec<&str>> = match below.is_empty() {
            true => vec![vec![&verb]],
            false => below.iter().map(|one| vec![&*verb, one]).collect(),
        };
        for verb in below {
            let begin = format!("| `evenkeel {}", verb.join(" "));
            let row = readme.lines().find(|line| {
                let rest = line.strip_prefix(&*begin);
                rest.is_some_and(|rest| rest.starts_with([' ', '`']))
            });
            let row = row.unwrap_or_else(|| panic!("no row begins with {begin}"));
            for flag in listed(&verb, false) {
                // How an admin address is asked is said once, of all that ask it.
                let place = match flag.starts_with("--admin-") && row.contains("--admin") {
                    true => readme,
                    false => row,
                };
                assert!(place.contains(&flag), "{flag} is not in: {place}");
            }
            rows += 1;
        }
    }
    let all = readme
        .lines()
        .filter(|line| line.starts_with("| `evenkeel "));
    assert_eq!(all.count(), rows, "a row whose verb is gone");
    assert!(rows >= 8, "{rows}");
}

/// The README's way to install it, from what this test was built from, into a folder of its own.
#[test]
fn the_readme_installs_it() {
    let readme = include_str!("../../../../README.md");
    let command = readme
        .lines()
        .find(|line| line.starts_with("cargo install "));
    let words = command.unwrap().split(' ').skip(1);
    let folder = Folder::new("install");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let output = Command::new(env!("CARGO"))
        .args(words)
        .args(["--offline", "--profile", "test", "--target-dir"])
        .arg(target)
        .arg("--root")
        .arg(folder.path())
        .current_dir(root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let installed = Command::new(folder.path().join("bin/evenkeel"))
        .arg("version")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&installed.stdout).starts_with("evenkeel "));
}
