//! Processes that are killed in the middle of an upgrade: somebody serves, or nobody has the sockets any more.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use super::{Line, WEB, run, script, send, text};
use crate::crowd::{ASKS, nginx};
use crate::process::{Evenkeel, Folder, Server, hold, rest};
use crate::zone::{Zone, addresses};

/// The process that this one has started.
fn child(of: u32) -> Option<u32> {
    let parent = format!("\nPPid:\t{of}\n");
    let mut all = fs::read_dir("/proc").unwrap().flatten();
    all.find_map(|one| {
        let process = one.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(one.path().join("status")).ok()?;
        status.contains(&parent).then_some(process)
    })
}

/// One that runs, and another that has everything and waits for a name before it serves.
struct Half {
    folder: Folder,
    _server: Server,
    zone: Zone,
    keel: Evenkeel,
    fresh: u32,
    asking: Child,
    settled: String,
}

impl Half {
    fn way(name: &str) -> Self {
        let folder = Folder::new(name);
        let server = nginx(&folder);
        let zone = Zone::new();
        zone.set("late.test", addresses(0, &["127.0.0.1"]));
        zone.hold();
        let top = format!(
            "workers: 2\nrules: [{{ forward: api }}]\nresolver: {{ servers: \"{}\", timeout: 5s }}",
            zone.address
        );
        let settled = text(&top, WEB, server.address);
        let keel = run(&folder, &settled);
        let named = "services: { late: { backends: [{ dns: late.test:9 }] }, ";
        folder.write("keel.yaml", &settled.replace("services: { ", named));
        let asking = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["upgrade", "--admin", &keel.admin.to_string()])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        zone.waiting(1);
        let fresh = child(keel.id()).unwrap();
        Self {
            folder,
            _server: server,
            zone,
            keel,
            fresh,
            asking,
            settled,
        }
    }
}

#[test]
fn the_new_one() {
    let mut half = Half::way("killed-new");
    send("-KILL", half.fresh);
    let why = "not upgraded: the new process ended without a word: signal: 9 (SIGKILL); this process goes on\n";
    half.keel.until_any(why);
    let output = half.asking.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(rest(hold(half.keel.address, ASKS)).ends_with("here\n"));
    assert_eq!(half.keel.page("/readyz"), "ready\n");
    half.zone.release();
    half.folder.write("keel.yaml", &half.settled);
    let mut line = Line::default();
    line.upgrade(&mut half.keel, &[]);
    assert!(rest(hold(half.keel.address, ASKS)).ends_with("here\n"));
}

/// Then nobody has the sockets: it is said, and whoever restarts what has failed is told so by the one that drains.
#[test]
fn the_new_one_when_it_serves() {
    let folder = Folder::new("killed-late");
    let server = nginx(&folder);
    let mut keel = run(&folder, &text("workers: 1", WEB, server.address));
    let half = hold(keel.address, "GET /who HTTP/1.1\r\n");
    let fresh = Line::default().upgrade(&mut keel, &[]);
    send("-KILL", fresh);
    keel.until_any("the process that took over has ended: signal: 9 (SIGKILL)");
    drop(half);
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.ends_with(" drained\n"), "{said}");
}

/// Clients that come meanwhile wait in the queue of a socket that is still there.
#[test]
fn the_old_one() {
    let mut half = Half::way("killed-old");
    let _line = Line(vec![half.fresh]);
    half.keel.signal("-KILL");
    let waits = hold(half.keel.address, ASKS);
    half.zone.release();
    half.keel
        .until_any("the process before this one has ended meanwhile");
    assert!(rest(waits).ends_with("here\n"));
    for _ in 0..10 {
        assert!(rest(hold(half.keel.address, ASKS)).ends_with("here\n"));
    }
    assert_eq!(half.keel.page("/readyz"), "ready\n");
    let output = half.asking.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "who asked is told so");
    send("-TERM", half.fresh);
    let (_, said) = half.keel.wait();
    assert!(said.contains(" drained\n"), "{said}");
}

/// Before the new one has anything, or with half of it: it has all and serves, or has nothing and says so.
#[test]
fn the_old_one_as_soon_as_it_begins() {
    let folder = Folder::new("killed-early");
    let server = nginx(&folder);
    let mut keel = run(&folder, &text("workers: 2", WEB, server.address));
    let binary = env!("CARGO_BIN_EXE_evenkeel");
    let kills = format!(
        "#!/bin/sh\necho $$ >{0}.new && mv {0}.new {0}\nkill -KILL $PPID\nwhile [ -d /proc/$PPID/fd/0 ]; do :; done\nexec {binary} \"$@\"\n",
        folder.path().join("child").display()
    );
    let kills = script(&folder, "kills", &kills);
    let output = super::upgrade(&keel, &["--binary", kills.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let fresh = fs::read_to_string(folder.path().join("child")).unwrap();
    let _line = Line(vec![fresh.trim().parse().unwrap()]);
    let mark = "nothing is handed over: ";
    loop {
        keel.until_any("");
        let said = keel.said.matches(" ready\n").count();
        if said == 2 {
            assert!(rest(hold(keel.address, ASKS)).ends_with("here\n"));
            return;
        }
        if keel.said.contains(mark) {
            break;
        }
    }
    let address = keel.address;
    let (_, said) = keel.wait();
    let why = said.split(mark).nth(1).unwrap();
    assert!(why.len() > 5, "{said}");
    TcpListener::bind(address).unwrap();
}
