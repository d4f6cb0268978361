//! Whom the process becomes: shown where the test itself runs as root, and refused where nobody may.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::evenkeel;
use crate::process::{Evenkeel, Folder, Server};

/// A number without an entry anywhere is enough for the kernel.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        // Said, so that a green run is not taken for more than it shows.
        let _ = writeln!(
            std::io::stderr(),
            "not root: only that privileges are refused is shown"
        );
    }
    root
}

fn text(rest: &str) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 2\nuser: {NOBODY}\ngroup: {NOBODY}\nservices: {{ api: {{ backends: [\"127.0.0.1:1\"] }} }}\n{rest}"
    )
}

#[test]
fn privileges_are_dropped_once_everything_is_bound() {
    let folder = Folder::shared("privileges");
    let private = folder.path().join("private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let socket = |name: &str| format!("\"unix:{}\"", private.join(name).display());
    let web = |more: &str| {
        format!(
            "listeners: {{ web: {{ bind: [\"127.0.0.1:0\", {}{more}] }} }}\n",
            socket("one")
        )
    };
    let file = folder.write("keel.yaml", &text(&web("")));
    let file = file.to_str().unwrap();
    if !is_root() {
        let (code, _, said) = evenkeel(&["run", "-c", file]);
        assert_eq!(code, Some(1));
        assert!(said.contains("only root can become user"), "{said}");
        return;
    }
    let mut keel = Evenkeel::run(&["-c", file]);
    assert!(
        keel.said.contains(&format!("runs as user {NOBODY}\n")),
        "{}",
        keel.said
    );
    // A socket where only root may make one is there, and every thread is nobody's.
    assert!(private.join("one").exists());
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", keel.id())).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let is = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            line.unwrap_or_else(|| panic!("{field} in {status}"))
                .split_whitespace()
                .collect::<Vec<_>>()
        };
        let four = [
            NOBODY.to_string(),
            NOBODY.to_string(),
            NOBODY.to_string(),
            NOBODY.to_string(),
        ];
        assert_eq!(is("Uid:"), four);
        assert_eq!(is("Gid:"), four);
        assert_eq!(is("Groups:"), Vec::<&str>::new());
        assert_eq!(is("CapEff:"), ["0000000000000000"]);
        assert_eq!(is("CapPrm:"), ["0000000000000000"]);
        threads += 1;
    }
    assert!(threads >= 3, "{threads} threads");
    assert!(keel.curl(&["--include"], "/").starts_with("HTTP/1.1 502 "));
    // What only root may bind cannot come by a reload, and says so; all else can.
    folder.write("keel.yaml", &text(&web(&format!(", {}", socket("two")))));
    keel.signal("-HUP");
    keel.until(&format!("Permission denied (os error 13) to user {NOBODY}, which this process has become: only a new start, as root, can bind it; the old configuration goes on\n"));
    let server = Server::python(folder.path());
    let moved = text(&web("")).replace("127.0.0.1:1\"", &format!("{}\"", server.address));
    folder.write("keel.yaml", &moved);
    keel.signal("-HUP");
    keel.until(" is removed\n");
    assert!(keel.curl(&["--include"], "/").starts_with("HTTP/1.1 200 "));
}

#[test]
fn users_that_nobody_can_become() {
    let folder = Folder::shared("users");
    let unknown = folder.write(
        "unknown.yaml",
        "user: nobody-is-called-so\nlisteners: { web: { bind: \"127.0.0.1:0\" } }\nservices: { api: { backends: [\"127.0.0.1:1\"] } }\n",
    );
    let (code, _, said) = evenkeel(&["run", "-c", unknown.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("not started: there is no user nobody-is-called-so in /etc/passwd\n"),
        "{said}"
    );
    let known = folder.write(
        "known.yaml",
        &text("listeners: { web: { bind: \"127.0.0.1:0\" } }\n"),
    );
    // A copy, where others can reach it.
    let binary = folder.path().join("evenkeel");
    fs::copy(env!("CARGO_BIN_EXE_evenkeel"), &binary).unwrap();
    let mut command = Command::new(&binary);
    command.env("EVENKEEL_LOG_FORMAT", "human");
    command.args(["run", "-c", known.to_str().unwrap()]);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    // What another thread forked while the copy was written holds it open for writing until it has become something else.
    let output = loop {
        match command.output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            output => break output.unwrap(),
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!(
            "not started: only root can become user {NOBODY}: start as root, or leave `user` out\n"
        )),
        "{said}"
    );
}
