//! What the shipped binary costs by itself: memory of connections that rest, work until it is ready, its size. Limits are what was reached
//! and a little more, so that what makes it dearer is seen; where a change is worth its price, the row says the new one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::http2::frames::Connection;
use crate::http2::known::secure;
use crate::http2::used;
use crate::process::{Evenkeel, Folder, PATIENCE};
use crate::tls::{Authority, SITE};

/// Connections whose memory is compared, and, of theirs, those of before that have what the process needs anyway.
const MANY: (usize, usize) = (800, 200);
const SOME: (usize, usize) = (160, 40);

/// An answer of its own, so that no backend is in it.
fn file(folder: &Folder, listener: &str) -> String {
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\", {listener} }} }}\nrules: [{{ name: all, respond: {{ body: pong }} }}]\n"
    );
    let file = folder.write("keel.yaml", &text);
    file.to_str().unwrap().to_owned()
}

fn scene(name: &str) -> Evenkeel {
    Evenkeel::run(&["-c", &file(&Folder::new(name), "")])
}

fn plain(keel: &Evenkeel) -> TcpStream {
    let mut client = TcpStream::connect(keel.address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(&mut client);
    client
}

/// Asks once and hears the answer to its end.
fn ask(client: &mut (impl Read + Write)) {
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"pong") {
        let mut room = [0; 4096];
        let read = client.read(&mut room).unwrap();
        assert!(read > 0, "it ended");
        answer.extend_from_slice(&room[..read]);
    }
}

/// Memory of one that has asked once and rests, in bytes; `most` is what it may come to.
#[track_caller]
fn check<C>(keel: &Evenkeel, open: impl Fn() -> C, (count, before): (usize, usize), most: u64) {
    let before: Vec<_> = (0..before).map(|_| open()).collect();
    let (_, first) = used(keel);
    let measured: Vec<_> = (0..count).map(|_| open()).collect();
    let (_, last) = used(keel);
    let each = last.saturating_sub(first) * 1024 / count as u64;
    within(each, most, "bytes for a connection");
    drop((before, measured));
}

/// Half of what it may come to would be a limit that holds nothing any more.
#[track_caller]
fn within(found: u64, most: u64, what: &str) {
    assert!(
        (most / 2..=most).contains(&found),
        "{found} {what}, not {most} at most"
    );
}

#[test]
fn a_connection_that_rests_takes_what_was_reached() {
    let keel = scene("rests-plain");
    check(&keel, || plain(&keel), MANY, 1_660);
}

#[test]
fn one_of_http2_takes_what_was_reached() {
    let keel = scene("rests-http2");
    let open = || {
        let mut client = Connection::to(keel.address, &[]);
        assert_eq!(client.get("/").status(), 200);
        client
    };
    check(&keel, open, MANY, 5_500);
}

#[test]
fn one_of_http2_over_tls_takes_what_was_reached() {
    let folder = Folder::new("rests-tls");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["localhost"]);
    let keel = Evenkeel::run(&["-c", &file(&folder, &format!("tls: {{ {SITE} }}"))]);
    let open = || {
        let mut client = secure(keel.address, &authority.ca, "localhost");
        assert_eq!(client.get("/").status(), 200);
        client
    };
    check(&keel, open, SOME, 14_300);
}

/// Pages that it has asked for until it is ready, which is what it reads, makes and looks at: counted, as a time would be the machine's.
/// (Under callgrind the binary does not run, so that instructions cannot be.)
#[test]
fn a_start_takes_what_was_reached() {
    let keel = scene("starts");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", keel.id())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    // The tenth and the twelfth of all: without a disk, and with one.
    let faults = |at: usize| {
        fields
            .split_whitespace()
            .nth(at)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    within(faults(7) + faults(9), 550, "pages");
}

/// What the processor is given to run, without what only a debugger reads.
#[test]
fn the_binary_is_as_large_as_it_was() {
    let output = Command::new("size")
        .args(["-A", env!("CARGO_BIN_EXE_evenkeel")])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let sections = [".text", ".rodata", ".eh_frame", ".data.rel.ro"];
    let size = |line: &str| {
        let mut words = line.split_whitespace();
        let of = words.next().filter(|name| sections.contains(name))?;
        words.next()?.parse::<u64>().ok().filter(|_| !of.is_empty())
    };
    within(said.lines().filter_map(size).sum(), 18_400_000, "bytes");
}

/// Seeds come from the system: a library of cryptography that first watches a clock jitter holds the first request up for tens of
/// milliseconds (`docs/decisions/0039-seeds-of-the-system.md`). Whether it does is settled when it is built, so the names in the binary tell.
#[test]
fn no_start_waits_for_a_clock_to_jitter() {
    let named = |name| {
        let mut grep = Command::new("grep");
        grep.args(["-q", "-a", name, env!("CARGO_BIN_EXE_evenkeel")]);
        grep.status().unwrap().success()
    };
    assert!(named("CRYPTO_sysrand"), "the binary has no names");
    assert!(!named("jent_read_entropy"), "it measures jitter");
}
