//! What is changed of a running configuration goes over to the process that takes its place, and nothing that was answered is lost
//! while it does.

use std::process::Command;

use serde_json::Value;

use super::{Line, script};
use crate::process::Evenkeel;
use crate::writes::{ONE, Site, answering, done, page, write};

fn weight(keel: &Evenkeel) -> Value {
    page(keel, ONE)["weight"].clone()
}

fn heavier(weight: u64) -> String {
    format!("{{\"weight\": {weight}}}")
}

#[test]
fn what_is_changed_goes_over() {
    let site = Site::new("upgrade-changed");
    let state = site.folder.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let mut keel = site.run(&["--state-dir", state.to_str().unwrap()]);
    let three = format!("{{\"address\": \"{}\"}}", site.address(2));
    done(&keel, "PUT", "/v1/services/api/backends/three", &three);
    done(&keel, "PATCH", ONE, &heavier(7));
    done(&keel, "PUT", "/v1/services/api/policy", "\"random\"");
    let rule = "{\"priority\": 1, \"when\": {\"path\": \"/gone\"}, \"respond\": {\"status\": 410}}";
    done(&keel, "PUT", "/v1/rules/gone", rule);
    let holds = |keel: &Evenkeel| {
        assert_eq!(weight(keel), 7);
        let three = page(keel, "/v1/services/api/backends/three");
        assert_eq!(three["address"], site.address(2));
        assert_eq!(page(keel, "/v1/services/api")["policy"], "random");
        assert!(keel.curl(&["-i"], "/gone").contains(" 410 "));
    };
    holds(&keel);
    let mut line = Line::default();
    for round in 1..3 {
        line.upgrade(&mut keel, &[]);
        holds(&keel);
        // The one that serves now is written to as the one before was.
        done(&keel, "PATCH", ONE, &heavier(20 + round));
        assert_eq!(weight(&keel), 20 + round);
        done(&keel, "PATCH", ONE, &heavier(7));
    }
    // And the file is that of whoever serves.
    line.signal("-TERM");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    let file = site.folder.path().join("keel.yaml");
    let kept = state.join("overlay.json");
    let again = [
        "-c",
        file.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let keel = Evenkeel::run(&again);
    assert!(kept.is_file());
    holds(&keel);
}

/// The other process knows what was answered until it was told, and what comes then is refused until it serves.
#[test]
fn what_is_written_meanwhile_is_done_or_refused() {
    let site = Site::new("upgrade-meanwhile");
    let mut keel = site.run(&[]);
    let gate = site.folder.path().join("gate");
    let made = Command::new("mkfifo").arg(&gate).status().unwrap();
    assert!(made.success());
    let waits = script(
        &site.folder,
        "waits",
        &format!(
            "#!/bin/sh\nread go < {}\nexec {} \"$@\"\n",
            gate.display(),
            env!("CARGO_BIN_EXE_evenkeel")
        ),
    );
    let mut upgrading = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args([
            "upgrade",
            "--admin",
            &keel.admin.to_string(),
            "--within",
            "600",
        ])
        .args(["--binary", waits.to_str().unwrap()])
        .spawn()
        .unwrap();
    // Those that come before it is begun are done.
    let mut last = 0;
    let refusal = (1..5_000).find_map(|weight| {
        let (status, answer) = write(&keel, "PATCH", ONE, &heavier(weight));
        match status {
            200 => {
                last = weight;
                None
            }
            _ => Some((status, answer["reason"].clone())),
        }
    });
    assert_eq!(refusal, Some((503, "upgrading".into())), "{}", keel.said);
    assert_ne!(last, 4_999);
    let expected = if last == 0 { 1 } else { last };
    assert_eq!(weight(&keel), expected);
    // Reads and traffic go on.
    assert_eq!(answering(&keel), "one two");
    std::fs::write(&gate, "go\n").unwrap();
    let mut line = Line::default();
    line.follow(&mut keel);
    assert!(upgrading.wait().unwrap().success());
    assert_eq!(weight(&keel), expected);
    done(&keel, "PATCH", ONE, &heavier(last + 1));
    assert_eq!(
        (weight(&keel), answering(&keel)),
        ((last + 1).into(), "one two".into())
    );
}
