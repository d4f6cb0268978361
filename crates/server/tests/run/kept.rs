//! What is changed of a running configuration and goes on without its process: over upgrades, and in a file that may be broken.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::evenkeel;
use crate::process::Evenkeel;
use crate::upgrade::{Line, script};
use crate::writes::{ONE, Site, answering, asked, done, page, seen, until};

const TWO: &str = "/v1/services/api/backends/two";
const THREE: &str = "/v1/services/api/backends/three";

/// Changes a backend, brings one, and a rule.
fn change(keel: &Evenkeel, site: &Site) {
    let three = json!({ "address": site.address(2) }).to_string();
    done(keel, "PUT", THREE, &three);
    done(keel, "PATCH", TWO, "{\"weight\": 5}");
    let ping = json!({ "priority": 1, "when": { "path": "/ping" }, "respond": { "body": "pong" } });
    done(keel, "PUT", "/v1/rules/ping", &ping.to_string());
    done(keel, "POST", &format!("{ONE}/drain"), "");
}

/// All of that holds.
#[track_caller]
fn is_changed(keel: &Evenkeel) {
    assert_eq!(answering(keel), "three two");
    assert_eq!(page(keel, TWO)["weight"], 5);
    assert_eq!(page(keel, ONE)["wanted"], "draining");
    assert_eq!(keel.curl(&[], "/ping"), "pong");
}

/// Twice, so that what was taken over is handed over too; with no directory it is kept nowhere else.
#[test]
fn what_is_changed_goes_over_upgrades() {
    let site = Site::new("kept-upgrade");
    let state = site.folder.path().join("state");
    fs::create_dir_all(&state).unwrap();
    let flags = ["--state-dir", state.to_str().unwrap()];
    for flags in [&[][..], &flags] {
        let mut keel = site.run(flags);
        let mut line = Line::default();
        change(&keel, &site);
        let before = seen(&keel);
        for _ in 0..2 {
            line.upgrade(&mut keel, &[]);
            is_changed(&keel);
        }
        // A revision of a process before is none of this one.
        let (status, _, problem) = asked(&keel, "PATCH", TWO, &[&before], "{\"weight\": 6}");
        assert_eq!((status, &problem["reason"]), (412, &"stale".into()));
        // It is changed on, and taken back.
        done(&keel, "DELETE", "/v1/rules/ping", "");
        done(&keel, "DELETE", THREE, "");
        let answer = done(&keel, "PATCH", TWO, "{\"weight\": 7}");
        let kept = if flags.is_empty() { "memory" } else { "disk" };
        assert_eq!(answer["kept"], kept);
        line.upgrade(&mut keel, &[]);
        assert_eq!(page(&keel, TWO)["weight"], 7);
        assert!(!keel.curl(&[], "/ping").contains("pong"));
        assert_eq!(answering(&keel), "two");
        // The one before left it to the one that serves.
        until("it is kept", || {
            page(&keel, "/v1/version");
            let kept = fs::read_to_string(state.join("overlay.json"));
            flags.is_empty() || kept.is_ok_and(|kept| kept.contains("\"text\":\"7\""))
        });
    }
    let keel = site.run(&flags);
    assert_eq!(page(&keel, TWO)["weight"], 7);
    assert_eq!(answering(&keel), "two");
}

/// The new process was told what is wanted before: each write is refused until it serves or does not, and then taken.
#[test]
fn a_write_within_an_upgrade_is_refused_whole() {
    let site = Site::new("kept-within");
    let mut keel = site.run(&[]);
    done(&keel, "PATCH", TWO, "{\"weight\": 3}");
    let mark = site.folder.path().join("child");
    let waits = script(
        &site.folder,
        "waits",
        &format!(
            "#!/bin/sh\necho $$ >{0}.new && mv {0}.new {0}\nexec sleep 600\n",
            mark.display()
        ),
    );
    let mut upgrade = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["upgrade", "--admin", &keel.admin.to_string(), "--binary"])
        .arg(&waits)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    keel.until_any("upgrade: ");
    let before = seen(&keel);
    let rule = json!({ "priority": 1, "when": { "path": "/ping" }, "deny": true }).to_string();
    let rows = [
        ("PATCH", TWO.to_owned(), "{\"weight\": 4}"),
        ("PUT", "/v1/rules/ping".to_owned(), &*rule),
        ("DELETE", TWO.to_owned(), ""),
        ("POST", format!("{ONE}/disable"), ""),
        ("POST", "/v1/revisions/1/rollback".to_owned(), ""),
        ("POST", "/v1/reload".to_owned(), ""),
    ];
    for (method, path, body) in &rows {
        let (status, _, problem) = asked(&keel, method, path, &[&before], body);
        let reason = &problem["reason"];
        assert_eq!((status, reason), (503, &"upgrading".into()), "{path}");
    }
    assert_eq!(seen(&keel), before);
    assert_eq!(page(&keel, "/v1/revisions")["total"], 2);
    until("it has begun", || {
        page(&keel, "/v1/version");
        mark.exists()
    });
    let child = fs::read_to_string(&mark).unwrap();
    let ended = Command::new("kill").args(["-KILL", child.trim()]).status();
    assert!(ended.unwrap().success());
    keel.until_any("; this process goes on");
    assert_eq!(upgrade.wait().unwrap().code(), Some(1));
    // As if nobody had asked: what was seen before still runs.
    let (method, path, body) = &rows[0];
    let (status, ..) = asked(&keel, method, path, &[&before], body);
    assert_eq!((status, &page(&keel, TWO)["weight"]), (200, &4.into()));
    assert_eq!(answering(&keel), "one two");
}

/// Whoever is answered that something is done finds it in the process that serves then.
#[test]
fn no_write_beside_an_upgrade_is_lost() {
    let site = Site::new("kept-beside");
    let mut keel = site.run(&[]);
    let mut line = Line::default();
    let (mut taken, mut refused) = (Vec::new(), 0);
    for round in 0..3 {
        let mut upgrade = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["upgrade", "--admin", &keel.admin.to_string()])
            .spawn()
            .unwrap();
        let mut is_over = false;
        for at in 0.. {
            let last = is_over;
            let name = format!("r{round}-{at}");
            let rule = json!({ "when": { "path": format!("/{name}") }, "priority": round * 1000 + at + 1, "respond": { "body": name } });
            let path = format!("/v1/rules/{name}");
            let (status, _, answer) =
                asked(&keel, "PUT", &path, &[&seen(&keel)], &rule.to_string());
            match status {
                201 => taken.push(name),
                // Between a look and a write another process has come.
                412 | 503 => refused += 1,
                _ => panic!("{status} {answer}"),
            }
            if last {
                break;
            }
            is_over = upgrade.try_wait().unwrap().is_some();
        }
        assert!(upgrade.wait().unwrap().success(), "{}", keel.said);
        line.follow(&mut keel);
    }
    let rules = page(&keel, "/v1/rules?limit=1000");
    let rules: Vec<&Value> = rules["items"].as_array().unwrap().iter().collect();
    assert!(taken.len() >= 3, "{taken:?} {refused}");
    for name in &taken {
        assert!(
            rules.iter().any(|one| one["name"] == **name),
            "{name} is lost"
        );
        assert_eq!(keel.curl(&[], &format!("/{name}")), **name);
    }
    assert_eq!(rules.len(), taken.len() + 1);
}

/// Who starts without it would have clients sent to backends that were disabled: it says which file it is, and leaves it as it is.
#[test]
fn a_file_that_is_not_understood_refuses_the_start_and_stays() {
    let site = Site::new("kept-broken");
    let state = site.folder.path().join("state");
    fs::create_dir_all(&state).unwrap();
    let flags = ["--state-dir", state.to_str().unwrap()];
    let file = state.join("overlay.json");
    let keel = site.run(&flags);
    change(&keel, &site);
    keel.signal("-TERM");
    assert_eq!(keel.wait().0.code(), Some(0));
    let good = fs::read_to_string(&file).unwrap();
    let configuration = site.folder.path().join("keel.yaml");
    let configuration = configuration.to_str().unwrap();
    for (text, why) in [
        ("", "EOF while parsing"),
        (&good[..good.len() - 1], "EOF while parsing"),
        (&good[..good.len() / 2], "it is not understood"),
        ("[1, 2]", "it is not understood"),
        (
            "{\"version\":1,\"wanted\":{\"services\":7}}",
            "invalid type",
        ),
        ("{\"version\":9,\"wanted\":{}}", "it is of version 9"),
        ("services: {}\n", "expected value"),
    ] {
        fs::write(&file, text).unwrap();
        let run = [&["run", "-c", configuration], &flags[..]].concat();
        let (code, _, said) = evenkeel(&run);
        assert_eq!(code, Some(1), "{text}: {said}");
        let named = format!("not started: {}: ", file.display());
        assert!(
            said.contains(&named) && said.contains(why),
            "{text}: {said}"
        );
        assert!(
            said.contains("; mend or remove it, or start with --no-overlay"),
            "{said}"
        );
        let check = [&["check", configuration], &flags[..]].concat();
        let (code, out, said) = evenkeel(&check);
        let said = out + &said;
        assert!(code != Some(0) && said.contains(why), "{text}: {said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        let files = fs::read_dir(&state).unwrap();
        let names = files.map(|one| one.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "watched.bin").collect();
        assert_eq!(names.pop().as_deref(), Some("overlay.json"), "{text}");
        assert!(names.is_empty(), "{names:?}");
    }
    // Without it nothing is written there either.
    let keel = site.run(&[&flags[..], &["--no-overlay"]].concat());
    assert_eq!(answering(&keel), "one two");
    assert_eq!(
        done(&keel, "PATCH", TWO, "{\"weight\": 6}")["kept"],
        "memory"
    );
    keel.signal("-TERM");
    assert_eq!(keel.wait().0.code(), Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), "services: {}\n");
    fs::write(&file, &good).unwrap();
    is_changed(&site.run(&flags));
}
