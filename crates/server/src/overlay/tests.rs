use std::os::unix::fs::{PermissionsExt, symlink};

use evenkeel_control::command::Admin;
use evenkeel_control::control::handover::{WantedBackend, WantedService};

use evenkeel_config::edits::{Edit, Place};

use super::*;

/// A folder of one test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("evenkeel-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn wanted() -> Wanted {
    let one = |admin, entry| WantedBackend { admin, entry };
    let backends = [
        ("a", one(Admin::Draining, 1)),
        ("b", one(Admin::Enabled, u64::MAX)),
    ];
    let backends = backends.map(|(id, one)| (id.to_owned(), one)).into();
    let service = |drains, backends| WantedService { drains, backends };
    let services = [
        ("api", service(false, backends)),
        ("rest", service(true, [].into())),
    ];
    Wanted {
        services: services.map(|(name, one)| (name.to_owned(), one)).into(),
        away: ["web".to_owned()].into(),
        ..Wanted::default()
    }
}

#[test]
fn what_is_changed_beside_the_texts_is_kept() {
    let folder = Folder::new("overlay-changed");
    let place = folder.0.join(NAME);
    let of =
        |parts: &[&str]| Place::of(parts.iter().map(|one| (*one).to_owned()).collect()).unwrap();
    let edit = |text: Option<&str>, over| Edit::new(text.map(Into::into), over);
    let edits = [
        (of(&["rules", "a"]), edit(Some("{\"deny\": true}"), None)),
        (
            of(&["services", "api", "backends", "b"]),
            edit(None, Some(7)),
        ),
    ];
    let one = Wanted {
        edits: edits.into_iter().collect(),
        ..wanted()
    };
    write(&place, &one, &mine()).unwrap();
    assert_eq!(read(&place), Ok(one));
    // Pinned: another version reads it.
    let text = fs::read_to_string(&place).unwrap();
    assert!(text.starts_with("{\"version\":2,"), "{text}");
    let changed = r#""changed":[{"place":["rules","a"],"text":"{\"deny\": true}","over":null},{"place":["services","api","backends","b"],"text":null,"over":"0000000000000007"}]"#;
    assert!(text.contains(changed), "{text}");
    for (from, to) in [
        ("\"b\"]", "\"b\", \"weight\", \"more\"]"),
        ("0000000000000007", "seven"),
        ("\"rules\"", "\"listeners\""),
    ] {
        fs::write(&place, text.replace(from, to)).unwrap();
        assert!(read(&place).is_err(), "{to}");
    }
}

#[test]
fn what_is_written_is_read_and_nothing_else_is_left() {
    let folder = Folder::new("overlay-written");
    let place = folder.0.join(NAME);
    assert_eq!(read(&place), Ok(Wanted::default()), "none yet");
    for one in [wanted(), Wanted::default(), wanted()] {
        write(&place, &one, &mine()).unwrap();
        assert_eq!(read(&place), Ok(one));
    }
    let mode = fs::metadata(&place).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    // Pinned: another version reads it.
    assert_eq!(
        fs::read_to_string(&place).unwrap(),
        r#"{"version":1,"wanted":{"services":{"api":{"drains":false,"backends":{"a":{"state":"draining","entry":"0000000000000001"},"b":{"state":"enabled","entry":"ffffffffffffffff"}}},"rest":{"drains":true,"backends":{}}},"listeners_drained":["web"]}}"#
    );
    let nowhere = folder.0.join("none").join(NAME);
    assert!(write(&nowhere, &wanted(), &mine()).is_err());
    fs::create_dir(folder.0.join("taken")).unwrap();
    assert!(write(&folder.0.join("taken"), &wanted(), &mine()).is_err());
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2);
}

/// It would lie over what the other process wrote.
#[test]
fn what_comes_late_lies_over_nobody_elses() {
    let folder = Folder::new("overlay-late");
    let place = folder.0.join(NAME);
    write(&place, &wanted(), &mine()).unwrap();
    let anothers = Arc::new(Mutex::new(false));
    let late = write(&place, &Wanted::default(), &anothers);
    assert_eq!(late, Err(ANOTHERS.to_owned()));
    assert_eq!(read(&place), Ok(wanted()));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    // What was asked for meanwhile is not known to be there.
    let flags = Flags {
        state_dir: Some(folder.0.clone()),
        no_overlay: false,
    };
    let mut kept = flags.keep(false);
    assert_eq!(kept.written, Some(0));
    kept.hold(true);
    assert!(kept.is_held() && kept.written.is_none());
    kept.wrote(1, Err(ANOTHERS.to_owned()));
    assert!(kept.written.is_none() && !kept.failed);
    kept.hold(false);
    assert!(!kept.is_held());
}

/// Whatever stands there: what operators want, or a word that says what is wrong.
#[test]
fn what_is_not_understood_is_refused() {
    let folder = Folder::new("overlay-hostile");
    let place = folder.0.join(NAME);
    let good = serde_json::to_string(&Document {
        version: VERSIONS[0],
        wanted: (&wanted()).into(),
    });
    let good = good.unwrap();
    let check = |text: &str, why: &str| {
        fs::write(&place, text).unwrap();
        let refused = read(&place).unwrap_err();
        assert!(refused.contains(why), "{text}: {refused}");
    };
    check("", "EOF while parsing");
    check(&good[..good.len() - 1], "EOF while parsing");
    check("\0\0\0", "expected value at line 1");
    check("{}", "missing field `version`");
    check("{\"version\":1}", "missing field `wanted`");
    check("{\"version\":-1}", "invalid value");
    check(
        "{\"version\":3,\"wishes\":[]}",
        "it is of version 3, and this binary knows 2",
    );
    check(
        &good.replace("draining", "resting"),
        "state of backend a of service api is \"resting\"",
    );
    check(
        &good.replace("ffffffffffffffff", "g"),
        "entry of backend b of service api is \"g\"",
    );
    check(&good.replace("drains", "drain"), "unknown field `drain`");
    check(&format!("{good}{good}"), "trailing characters");
    let deep = "[".repeat(100_000);
    check(&format!("{{\"version\":{deep}"), "it is not understood");
    let many: Vec<_> = (0..=evenkeel_config::limits::BACKENDS)
        .map(|at| format!("\"{at}\":{{\"state\":\"enabled\",\"entry\":\"0\"}}"))
        .collect();
    let many = many.join(",");
    check(
        &format!(
            "{{\"version\":1,\"wanted\":{{\"services\":{{\"a\":{{\"backends\":{{{many}}}}}}}}}}}"
        ),
        "100001 backends, of at most 100000",
    );
    let long = File::create(&place).unwrap();
    long.set_len(OVERLAY_BYTES as u64 + 1).unwrap();
    assert!(
        read(&place)
            .unwrap_err()
            .contains("more than 67108864 bytes")
    );
    let other = folder.0.join("other");
    fs::write(&other, &good).unwrap();
    fs::remove_file(&place).unwrap();
    symlink(&other, &place).unwrap();
    assert!(read(&place).unwrap_err().contains("symbolic links"));
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    assert_eq!(read(&place).unwrap_err(), "it is no file");
    fs::remove_dir(&place).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&place).status();
    assert!(made.unwrap().success());
    assert_eq!(read(&place).unwrap_err(), "it is no file");
}
