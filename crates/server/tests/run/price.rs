//! What the program costs by itself: memory at rest, work until it is ready, its size. Figures are what was reached, and what strays from them
//! fails in both directions; where a change is worth its price, the row says the new one. docs/coverage-guards.md has them all, and what turned some of them red.
//!
//! The gate builds the program as it is shipped (`cargo xtask shipped`), and these look at that one. Without the gate they look at the one
//! that is built with them, whose limits are wide: other settings of the compiler have other figures.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::http2::frames::Connection;
use crate::http2::known::secure;
use crate::process::{Evenkeel, Folder, PATIENCE};
use crate::tls::{Authority, SITE};

/// Connections whose memory is compared, and, of theirs, those of before that have what the process needs anyway.
const MANY: (usize, usize) = (800, 200);
const SOME: (usize, usize) = (160, 40);

/// Where the gate says the shipped program is.
const SHIPPED: &str = "EVENKEEL_SHIPPED";

/// The compiler whose figures these are; what another one makes is given more room.
const COMPILER: &str = "rustc version 1.95.0";

/// What may be looked at.
struct Program {
    path: PathBuf,
    shipped: bool,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the gate says where the shipped program is, and has no other way to"
)]
fn program() -> Program {
    match std::env::var_os(SHIPPED) {
        Some(path) => Program {
            path: path.into(),
            shipped: true,
        },
        None => Program {
            path: env!("CARGO_BIN_EXE_evenkeel").into(),
            shipped: false,
        },
    }
}

impl Program {
    /// Does it hold this text? Names of functions are such.
    fn holds(&self, text: &str) -> bool {
        let mut grep = Command::new("grep");
        grep.args(["-q", "-a", "-F", text]).arg(&self.path);
        grep.status().unwrap().success()
    }

    /// `evenkeel run` with this file, by a program that runs programs if there is one.
    fn run(&self, below: &[&str], file: &Path) -> Evenkeel {
        let mut command = match below {
            [] => Command::new(&self.path),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.path);
                command
            }
        };
        // What stands in the environment is read, and would be counted.
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.args(["run", "-c"]).arg(file);
        Evenkeel::started(command)
    }
}

/// What a price came to.
struct Reached {
    /// By the program that is shipped.
    shipped: u64,
    /// How far it may stray from that.
    percent: u64,
    /// The most that the one built with the tests may come to.
    tests: u64,
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "figures for who writes them down")]
fn check(found: u64, reached: &Reached, what: &str) {
    let program = program();
    // For docs/coverage-guards.md, and for who is about to write a new figure.
    println!("{found} {what}");
    if !program.shipped {
        // Half of what it may come to would be a limit that holds nothing any more.
        let most = reached.tests;
        assert!(
            (most / 2..=most).contains(&found),
            "{found} {what} in the tests' build, not {most} at most"
        );
        return;
    }
    let percent = if program.holds(COMPILER) {
        reached.percent
    } else {
        15
    };
    let figure = reached.shipped;
    assert!(
        found.abs_diff(figure) * 100 <= figure * percent,
        "{found} {what}, not {figure} within {percent} %"
    );
}

/// An answer of its own, so that no backend is in it; with TLS or without.
struct Scene {
    folder: Folder,
    file: PathBuf,
    ca: PathBuf,
}

fn scene(name: &str, tls: bool) -> Scene {
    let folder = Folder::new(name);
    let mut listener = String::new();
    let mut ca = PathBuf::new();
    if tls {
        let authority = Authority::new(&folder, "authority");
        authority.make("site", &["localhost"]);
        listener = format!("tls: {{ {SITE} }}");
        ca.clone_from(&authority.ca);
    }
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\", {listener} }} }}\nrules: [{{ name: all, respond: {{ body: pong }} }}]\n"
    );
    let file = folder.write("keel.yaml", &text);
    Scene { folder, file, ca }
}

fn connected(keel: &Evenkeel) -> TcpStream {
    let client = TcpStream::connect(keel.address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Asks once and hears the answer to its end.
fn ask<C: Read + Write>(mut client: C) -> C {
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
    client
}

/// Memory of its own that a process has, in KiB: without pages of files, which the system shares and takes back.
fn anonymous(keel: &Evenkeel) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", keel.id())).unwrap();
    let row = status
        .lines()
        .find_map(|row| row.strip_prefix("RssAnon:"))
        .unwrap();
    row.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Memory of one that has asked once and rests, in bytes.
#[track_caller]
fn rests<C>(
    keel: &Evenkeel,
    open: impl Fn() -> C,
    (count, before): (usize, usize),
    reached: &Reached,
) {
    let before: Vec<_> = (0..before).map(|_| open()).collect();
    let first = anonymous(keel);
    let measured: Vec<_> = (0..count).map(|_| open()).collect();
    let last = anonymous(keel);
    let each = last.saturating_sub(first) * 1024 / count as u64;
    check(each, reached, "bytes for a connection");
    drop((before, measured));
}

#[test]
fn a_connection_that_rests_takes_what_was_reached() {
    let scene = scene("rests-plain", false);
    let keel = program().run(&[], &scene.file);
    let reached = Reached {
        shipped: 1_520,
        percent: 5,
        tests: 1_600,
    };
    rests(&keel, || ask(connected(&keel)), MANY, &reached);
}

#[test]
fn one_over_tls_takes_what_was_reached() {
    let scene = scene("rests-tls1", true);
    let keel = program().run(&[], &scene.file);
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&scene.ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let open = || {
        let name = "localhost".try_into().unwrap();
        let client = rustls::ClientConnection::new(config.clone(), name).unwrap();
        ask(rustls::StreamOwned::new(client, connected(&keel)))
    };
    let reached = Reached {
        shipped: 9_580,
        percent: 5,
        tests: 9_900,
    };
    rests(&keel, open, SOME, &reached);
}

#[test]
fn one_of_http2_takes_what_was_reached() {
    let scene = scene("rests-http2", false);
    let keel = program().run(&[], &scene.file);
    let open = || {
        let mut client = Connection::to(keel.address, &[]);
        assert_eq!(client.get("/").status(), 200);
        client
    };
    let reached = Reached {
        shipped: 5_120,
        percent: 5,
        tests: 5_300,
    };
    rests(&keel, open, MANY, &reached);
}

#[test]
fn one_of_http2_over_tls_takes_what_was_reached() {
    let scene = scene("rests-tls", true);
    let keel = program().run(&[], &scene.file);
    let open = || {
        let mut client = secure(keel.address, &scene.ca, "localhost");
        assert_eq!(client.get("/").status(), 200);
        client
    };
    let reached = Reached {
        shipped: 13_184,
        percent: 5,
        tests: 13_800,
    };
    rests(&keel, open, SOME, &reached);
}

/// Else a worker stands for 10 to 30 ms each time that the kernel doubles the table beside other threads.
#[test]
fn the_table_of_descriptors_has_grown_before_the_first_worker() {
    let scene = scene("descriptors", false);
    let keel = program().run(&[], &scene.file);
    let row = |of: &str, name: &str| {
        let text = std::fs::read_to_string(format!("/proc/{}/{of}", keel.id())).unwrap();
        let row = text.lines().find(|row| row.starts_with(name)).unwrap();
        let mut numbers = row.split_whitespace().map(str::parse::<u64>);
        numbers.find_map(Result::ok).unwrap()
    };
    let may = row("limits", "Max open files");
    assert!(row("status", "FDSize:") >= may.min(65_536), "of {may}");
}

#[test]
fn a_process_that_nobody_asks_takes_what_was_reached() {
    let rests = |name: &str, tls: bool, reached: Reached| {
        let scene = scene(name, tls);
        let keel = program().run(&[], &scene.file);
        let what = format!("KiB of a process at rest, TLS {tls}");
        check(anonymous(&keel), &reached, &what);
    };
    rests(
        "nobody",
        false,
        Reached {
            shipped: 1_232,
            percent: 15,
            tests: 1_700,
        },
    );
    rests(
        "nobody-tls",
        true,
        Reached {
            shipped: 1_280,
            percent: 15,
            tests: 1_850,
        },
    );
}

/// Calls whose number is the machine's or chance's: waiting, saying for what, and being woken, looking at a clock, what a map of the process is
/// read in, how the allocator cuts its share, who was first at a lock.
const NOT_COUNTED: [&str; 10] = [
    "clock_gettime",
    "epoll_ctl",
    "epoll_wait",
    "futex",
    "munmap",
    "ppoll",
    "prlimit64",
    "read",
    "recvfrom",
    "write",
];

/// The calls of the first thread in a trace, or in a part of one, by name: how far a worker is at any time is chance.
fn called(trace: &str) -> impl Iterator<Item = &str> {
    // Threads may share a line of the trace.
    let calls = trace.split("SYSCALL[").skip(1);
    calls.filter_map(|call| {
        let (thread, called) = call.split_once(") sys_")?;
        let end = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
        called.split(end).next().filter(|_| thread.contains(",1]("))
    })
}

/// The calls of a trace from the first of the program's own, which is Rust's look at its standard streams (those of before find libraries), to
/// the last of so many lines that it says.
fn calls(trace: &str, lines: usize) -> u64 {
    let (_, own) = trace.split_once("sys_poll ").unwrap();
    let own = own.split("sys_write ( 2,").take(lines);
    let names = own.flat_map(called);
    names.filter(|name| !NOT_COUNTED.contains(name)).count() as u64
}

/// Instructions from its start to a clean end right after it was ready, and calls of the system until it was.
fn started(name: &str, tls: bool) -> (u64, u64) {
    let scene = scene(name, tls);
    let file = |name: &str| scene.folder.path().join(name).display().to_string();
    let (counted, traced) = (file("counted"), file("traced"));
    let below = [
        "valgrind",
        "--tool=callgrind",
        "--trace-syscalls=yes",
        &format!("--callgrind-out-file={counted}"),
        &format!("--log-file={traced}"),
    ];
    let keel = program().run(&below, &scene.file);
    let lines = keel.said.lines().count();
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert!(status.success(), "{said}");
    let text = std::fs::read_to_string(counted).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals:"));
    let total = total.unwrap().trim().parse().unwrap();
    let trace = std::fs::read_to_string(traced).unwrap();
    // `F_DUPFD_CLOEXEC`: the table of descriptors grows while there is one thread, and nobody waits for it.
    let (alone, _) = trace.split_once("sys_clone").unwrap();
    assert!(alone.contains("( 2, 1030, "), "{alone}");
    (total, calls(&trace, lines))
}

/// Counted, as a time would be the machine's.
#[test]
fn a_start_takes_what_was_reached() {
    let (instructions, calls) = started("starts", false);
    check(
        instructions,
        &Reached {
            shipped: 2_340_000,
            percent: 5,
            tests: 3_700_000,
        },
        "instructions of a start",
    );
    check(
        calls,
        &Reached {
            shipped: 79,
            percent: 2,
            tests: 90,
        },
        "calls until it is ready",
    );
}

#[test]
fn a_start_with_tls_takes_what_was_reached() {
    let (instructions, calls) = started("starts-tls", true);
    check(
        instructions,
        &Reached {
            shipped: 3_487_000,
            percent: 5,
            tests: 5_000_000,
        },
        "instructions of a start with TLS",
    );
    check(
        calls,
        &Reached {
            shipped: 94,
            percent: 2,
            tests: 105,
        },
        "calls until it is ready with TLS",
    );
}

/// Calls of the thread that checks which are none of a check's, or whose number is chance's: waiting and being woken, clocks, memory, the log.
const NOT_OF_A_CHECK: [&str; 10] = [
    "brk",
    "clock_gettime",
    "epoll_wait",
    "futex",
    "madvise",
    "mmap",
    "munmap",
    "ppoll",
    "read",
    "write",
];

/// Hears so many checks out, one after another, and says when the last of them has closed its connection.
fn hear(listener: &TcpListener, many: usize, done: &SyncSender<()>) {
    for client in listener.incoming().take(many) {
        let mut client = client.unwrap();
        let (mut asked, mut room) = (Vec::new(), [0; 4096]);
        // What is over may say so by a reset: an answer needs not be read to its end.
        while let Ok(read @ 1..) = client.read(&mut room) {
            asked.extend_from_slice(&room[..read]);
            if asked.ends_with(b"\r\n\r\n") {
                client
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .unwrap();
            }
        }
    }
    done.send(()).unwrap();
}

/// The calls of a whole run in which each of so many backends is checked once, and the connections that it made. No check is given up: one of a busy
/// machine would make fewer.
fn run_with_checks((name, how): (&str, &str), many: usize) -> (u64, u64) {
    let folder = Folder::new(&format!("checks-{name}-{many}"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (done, all_done) = sync_channel(1);
    std::thread::spawn(move || hear(&listener, many, &done));
    let backends: String = (0..many)
        .map(|at| format!("{{ id: b{at}, address: \"{address}\" }}, "))
        .collect();
    let file = folder.write(
        "keel.yaml",
        &format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nrules: [{{ forward: api }}]\n\
             services: {{ api: {{ backends: [{backends}], health: {{ {how}, interval: 1d, interval_unsure: 1d, timeout: 1h }} }} }}\n"
        ),
    );
    let traced = folder.path().join("traced").display().to_string();
    let below = [
        "valgrind",
        "--tool=none",
        "--trace-syscalls=yes",
        &format!("--log-file={traced}"),
    ];
    let keel = program().run(&below, &file);
    all_done.recv_timeout(PATIENCE).unwrap();
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert!(status.success(), "{said}");
    let trace = std::fs::read_to_string(traced).unwrap();
    let of_a_check = called(&trace).filter(|name| !NOT_OF_A_CHECK.contains(name));
    let made = called(&trace).filter(|name| *name == "connect");
    (of_a_check.count() as u64, made.count() as u64)
}

/// What more checks call than few: start and end cancel.
#[track_caller]
fn checks_call(how: (&str, &str), reached: &Reached) {
    let (few, many) = (run_with_checks(how, 20), run_with_checks(how, 120));
    let (calls, made) = (many.0 - few.0, many.1 - few.1);
    check(calls * 100 / made, reached, "calls of 100 checks");
}

/// `socket`, `connect`, what it came to, being told and being told no more, to ask, to hear, and `close`.
#[test]
fn a_check_over_http_makes_as_many_calls() {
    let reached = Reached {
        shipped: 800,
        percent: 1,
        tests: 915,
    };
    checks_call(("http", "http: { path: /health }"), &reached);
}

/// The same without asking and hearing.
#[test]
fn a_check_over_tcp_makes_as_many_calls() {
    let reached = Reached {
        shipped: 600,
        percent: 1,
        tests: 715,
    };
    checks_call(("tcp", "tcp: {}"), &reached);
}

/// What the processor is given to run, without what only a debugger reads.
#[test]
fn the_binary_is_as_large_as_it_was() {
    let output = Command::new("size").arg("-A").arg(program().path).output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    let sections = [".text", ".rodata", ".eh_frame", ".data.rel.ro"];
    let size = |line: &str| {
        let mut words = line.split_whitespace();
        let of = words.next().filter(|name| sections.contains(name))?;
        words.next()?.parse::<u64>().ok().filter(|_| !of.is_empty())
    };
    let reached = Reached {
        shipped: 17_644_176,
        percent: 2,
        tests: 23_000_000,
    };
    check(said.lines().filter_map(size).sum(), &reached, "bytes");
}

/// Seeds come from the system: a library of cryptography that first watches a clock jitter holds the first request up for tens of
/// milliseconds (`docs/decisions/0039-seeds-of-the-system.md`). Whether it does is settled when it is built, so the names in the binary tell,
/// of a library too that was built before it was told: cargo runs its build again, and that compiles nothing anew.
#[test]
fn no_start_waits_for_a_clock_to_jitter() {
    let program = program();
    assert!(
        program.holds("CRYPTO_sysrand"),
        "the program has no names: nothing can be told from it"
    );
    let profile = if program.shipped { "--release " } else { "" };
    assert!(
        !program.holds("jent_"),
        "its library of cryptography measures jitter: it was built without .cargo/config.toml, or before that said so. \
         Build it from nothing: cargo clean {profile}-p aws-lc-sys"
    );
}
