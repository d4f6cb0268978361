//! What systemd is told, and the sockets that it passes: a socket of the test's own for the one, `systemd-socket-activate`
//! or a few lines of Python for the other.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use super::{ASKS, Line, WEB, nginx, script, text};
use crate::process::{Evenkeel, Folder, PATIENCE, hold, nobodys, rest};

/// What a manager of services would hear.
struct Manager {
    heard: Receiver<String>,
}

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        let (sender, heard) = sync_channel(1000);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self { heard }
    }

    /// The next that is not the watchdog's.
    fn hears(&self) -> String {
        loop {
            let text = self.heard.recv_timeout(PATIENCE).unwrap();
            if text != "WATCHDOG=1\n" {
                return text;
            }
        }
    }
}

#[test]
fn the_manager_hears_each_turn_of_its_life() {
    let folder = Folder::new("notify");
    let server = nginx(&folder);
    let path = folder.path().join("notify");
    let manager = Manager::listen(&path);
    let file = folder.write("keel.yaml", &text("workers: 1", WEB, server.address));
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command
        .args(["run", "-c"])
        .arg(&file)
        .env("NOTIFY_SOCKET", &path);
    let mut keel = Evenkeel::started(command);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=serves\n");
    for (configuration, says) in [("", "reloaded: "), ("more: 1\n", "not reloaded: ")] {
        let good = text("workers: 1", WEB, server.address);
        folder.write("keel.yaml", &format!("{good}{configuration}"));
        keel.signal("-HUP");
        let told = manager.hears();
        let usec = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let usec = usec.and_then(|rest| rest.split_once("\nSTATUS=")).unwrap();
        assert!(usec.0.parse::<u64>().unwrap() > 0, "{told}");
        assert_eq!(manager.hears(), "READY=1\nSTATUS=serves\n");
        keel.until_any(says);
    }
    folder.write("keel.yaml", &text("workers: 1", WEB, server.address));
    let mut line = Line::default();
    // The old one is whom the manager hears: it names the new one, and that one is ready then.
    for _ in 0..2 {
        let process = line.upgrade(&mut keel, &[]);
        assert_eq!(manager.hears(), format!("MAINPID={process}\n"));
        assert_eq!(manager.hears(), "READY=1\nSTATUS=serves\n");
    }
    line.signal("-TERM");
    assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=drains\n");
    keel.wait();
}

#[test]
fn a_watchdog_is_fed_by_whoever_serves() {
    let folder = Folder::new("watchdog");
    let server = nginx(&folder);
    let path = folder.path().join("notify");
    let manager = Manager::listen(&path);
    let file = folder.write("keel.yaml", &text("workers: 1", WEB, server.address));
    let mut command = Command::new("sh");
    // Its own number is one that only it knows.
    command
        .args([
            "-c",
            "WATCHDOG_PID=$$ exec \"$0\" run -c \"$1\"",
            env!("CARGO_BIN_EXE_evenkeel"),
        ])
        .arg(&file)
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000");
    let mut keel = Evenkeel::started(command);
    let mut line = Line::default();
    let fed = || {
        while manager.heard.recv_timeout(PATIENCE).unwrap() != "WATCHDOG=1\n" {}
    };
    fed();
    let process = line.upgrade(&mut keel, &[]);
    while manager.hears() != format!("MAINPID={process}\n") {}
    for _ in 0..3 {
        fed();
    }
}

/// Passes sockets as systemd does: bound, listening, from number 3. Ports are free ones, and stand where the configuration has `PORT0` and so
/// on: nobody else can have taken them meanwhile.
const PASSES: &str = r#"
import os, socket, sys
sockets = []
for at in sys.argv[1].split(","):
    if at.startswith("/"):
        one = socket.socket(socket.AF_UNIX)
        one.bind(at)
    else:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", 0))
    one.listen(64)
    sockets.append(one)
text = open(sys.argv[-1]).read()
for at, one in enumerate(sockets):
    if one.family == socket.AF_INET:
        text = text.replace("PORT%d" % at, str(one.getsockname()[1]))
open(sys.argv[-1], "w").write(text)
held = [os.dup(one.fileno()) for one in sockets]
high = [os.dup2(one, 100 + at) for at, one in enumerate(held)]
for at, one in enumerate(high):
    os.dup2(one, 3 + at)
os.closerange(3 + len(high), 200)
os.environ["LISTEN_FDS"] = str(len(high))
os.environ["LISTEN_PID"] = str(os.getpid() if sys.argv[2] == "own" else 1)
os.environ["LISTEN_FDNAMES"] = ":".join("abcdef"[: len(high)])
os.execv(sys.argv[3], sys.argv[3:])
"#;

#[test]
fn sockets_that_are_passed_are_used_and_go_over_at_an_upgrade() {
    let folder = Folder::new("activation");
    let server = nginx(&folder);
    let path = folder.path().join("web");
    let bind = format!(
        "web: {{ bind: [\"127.0.0.1:PORT0\", \"unix:{}\"] }}",
        path.display()
    );
    let text = text("workers: 2", &bind, server.address).replace("127.0.0.1:0", "127.0.0.1:PORT2");
    let file = folder.write("keel.yaml", &text);
    let mut command = Command::new("python3");
    command
        .args([
            "-c",
            PASSES,
            &format!("tcp,{},tcp,tcp", path.display()),
            "own",
        ])
        .args([env!("CARGO_BIN_EXE_evenkeel"), "run", "-c"])
        .arg(&file);
    let mut keel = Evenkeel::started(command);
    let (_, unused) = keel.said.split_once(" is at 127.0.0.1:").unwrap();
    let (_, said) = unused.split_once(',').unwrap();
    assert!(
        said.starts_with(" where nothing listens: it is closed\n"),
        "{}",
        keel.said
    );
    let served = |keel: &Evenkeel| {
        for _ in 0..10 {
            assert!(rest(hold(keel.address, ASKS)).ends_with("here\n"));
            let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
            stream.write_all(ASKS.as_bytes()).unwrap();
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
            assert!(answer.ends_with("here\n"), "{answer}");
        }
        assert_eq!(keel.page("/livez"), "alive\n");
    };
    served(&keel);
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    served(&keel);
    line.signal("-TERM");
    keel.wait();
    assert!(path.exists(), "the manager's file stays");
}

/// The real launcher, where there is one: it waits for the first client, and then starts the process.
#[test]
fn the_first_client_starts_it() {
    let launcher = "/usr/bin/systemd-socket-activate";
    if !Path::new(launcher).exists() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {launcher} is not installed");
        return;
    }
    let folder = Folder::new("activated");
    let server = nginx(&folder);
    let web = nobodys();
    let bind = format!("web: {{ bind: \"{web}\" }}");
    let file = folder.write("keel.yaml", &text("workers: 2", &bind, server.address));
    let mut command = Command::new(launcher);
    command
        .args([
            "-l",
            &web.to_string(),
            "--fdname=web",
            "-E",
            "EVENKEEL_LOG_FORMAT=human",
            env!("CARGO_BIN_EXE_evenkeel"),
            "run",
            "-c",
        ])
        .arg(&file);
    // It is ready when somebody has come, who waits in the queue of the socket until then.
    let first = std::thread::spawn(move || {
        loop {
            if let Ok(mut stream) = std::net::TcpStream::connect(web) {
                stream.write_all(ASKS.as_bytes()).unwrap();
                return rest(stream);
            }
            std::thread::yield_now();
        }
    });
    let keel = Evenkeel::started(command);
    assert!(first.join().unwrap().ends_with("here\n"));
    assert!(rest(hold(keel.address, ASKS)).ends_with("here\n"));
}

/// Sockets that are for another process are not touched.
#[test]
fn sockets_of_another_process_are_not_its_own() {
    let folder = Folder::new("not-activated");
    let server = nginx(&folder);
    let bind = "web: { bind: \"127.0.0.1:PORT0\" }";
    let file = folder.write("keel.yaml", &text("workers: 1", bind, server.address));
    let output = Command::new("python3")
        .args(["-c", PASSES, "tcp", "other"])
        .args([env!("CARGO_BIN_EXE_evenkeel"), "run", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot listen on 127.0.0.1:"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}

/// What is to be read while another process begins is read by whoever serves then, and the manager hears both ends of that.
#[test]
fn a_reload_within_an_upgrade_is_done_by_whoever_serves_then() {
    let folder = Folder::new("reload-upgrade");
    let server = nginx(&folder);
    let path = folder.path().join("notify");
    let manager = Manager::listen(&path);
    let file = folder.write("keel.yaml", &text("workers: 1", WEB, server.address));
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command
        .args(["run", "-c"])
        .arg(&file)
        .env("NOTIFY_SOCKET", &path);
    let mut keel = Evenkeel::started(command);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=serves\n");
    let go = folder.path().join("go");
    let made = Command::new("mkfifo").arg(&go).status().unwrap();
    assert!(made.success());
    for (end, outcome) in [
        ("exit 1", "not upgraded: "),
        ("exec \"$KEEL\" \"$@\"", "upgraded: process "),
    ] {
        let text = format!(
            "#!/bin/sh\nread go <{}\nKEEL={}\n{end}\n",
            go.display(),
            env!("CARGO_BIN_EXE_evenkeel")
        );
        let waits = script(&folder, "waits", &text);
        let mut asks = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["upgrade", "--admin", &keel.admin.to_string(), "--binary"])
            .arg(&waits)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        keel.until_any(" is started");
        keel.signal("-HUP");
        keel.until_any("reloads when the upgrade is over");
        assert!(manager.hears().starts_with("RELOADING=1\n"));
        // Whoever begins reads what goes.
        std::fs::write(&go, "go\n").unwrap();
        keel.until_any(outcome);
        let failed = outcome.starts_with("not ");
        if !failed {
            keel.until_any(" drained\n");
            assert!(manager.hears().starts_with("MAINPID="));
        }
        assert_eq!(asks.wait().unwrap().success(), !failed);
        // A new process may hear of the reload before it hears that it is alone.
        let said: Vec<_> = (0..if failed { 2 } else { 3 })
            .map(|_| manager.hears())
            .collect();
        let reloads = said.iter().filter(|said| said.starts_with("RELOADING=1\n"));
        assert_eq!(reloads.count(), 1, "{said:?}");
        let serves = said
            .iter()
            .filter(|said| *said == "READY=1\nSTATUS=serves\n");
        assert_eq!(serves.count(), said.len() - 1, "{said:?}");
        assert!(
            said.last()
                .is_some_and(|said| said.starts_with("READY=1\n")),
            "{said:?}"
        );
        assert_eq!(keel.page("/livez"), "alive\n");
    }
    let status: serde_json::Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
    let process = status["process"].as_u64().unwrap();
    let _line = Line(vec![process.try_into().unwrap()]);
    assert_eq!(keel.said.matches("reloaded: ").count(), 2, "{}", keel.said);
}
