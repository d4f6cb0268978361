//! Upgrades as their users meet them: clients that do not stop meanwhile, binaries that do not serve, and managers of services.

pub(crate) mod clients;
mod killed;
mod known;
mod systemd;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use clients::{Crowd, Tunnels};

use crate::crowd::{ASKS, all_answered, holding, nginx};
use crate::process::{Evenkeel, Folder, Server, hold, nobodys, rest, until};
use crate::tls::{self, Authority};

/// Processes that took over; each ends with its test.
#[derive(Default)]
pub(crate) struct Line(Vec<u32>);

impl Line {
    pub(crate) fn of(process: u32) -> Self {
        Self(vec![process])
    }

    /// Upgrades, and says which process serves now.
    pub(crate) fn upgrade(&mut self, keel: &mut Evenkeel, arguments: &[&str]) -> u32 {
        let output = upgrade(keel, arguments);
        let (out, said) = texts(&output);
        assert!(output.status.success(), "{out}{said} {}", keel.said);
        self.follow(keel)
    }

    /// Waits until an upgrade is done.
    pub(crate) fn follow(&mut self, keel: &mut Evenkeel) -> u32 {
        keel.until_any("upgraded: process ");
        let line = keel
            .said
            .lines()
            .rfind(|line| line.contains("upgraded: process "));
        let process = line.unwrap().split("upgraded: process ").nth(1).unwrap();
        let process = process.split(' ').next().unwrap().parse().unwrap();
        self.0.push(process);
        process
    }

    /// Sends it to the process that serves now.
    pub(crate) fn signal(&self, signal: &str) {
        send(signal, *self.0.last().unwrap());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for process in &self.0 {
            send("-KILL", *process);
        }
    }
}

/// One that has ended hears nothing.
fn send(signal: &str, process: u32) {
    let mut kill = Command::new("kill");
    kill.args([signal, &process.to_string()])
        .stderr(Stdio::null());
    kill.status().unwrap();
}

fn upgrade(keel: &Evenkeel, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["upgrade", "--admin", &keel.admin.to_string()])
        .args(arguments)
        .output()
        .unwrap()
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn text(top: &str, listeners: &str, backend: SocketAddr) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\n{top}\nlisteners: {{ {listeners} }}\nservices: {{ api: {{ backends: [\"{backend}\"] }} }}\n"
    )
}

fn run(folder: &Folder, text: &str) -> Evenkeel {
    let file = folder.write("keel.yaml", text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

const WEB: &str = "web: { bind: \"127.0.0.1:0\" }";

/// Five in a row, under everything that clients do: no request fails, a tunnel and a flow of before go on.
#[test]
fn five_in_a_row_and_nobody_notices() {
    let folder = Folder::new("upgrade-five");
    let server = nginx(&folder);
    let tunnels = Tunnels::start();
    let (backend, socket, flow) = (server.address, tunnels.switching, tunnels.echo);
    let file = folder.write(
        "keel.yaml",
        &format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 2
listeners:
  web: {{ bind: \"127.0.0.1:0\" }}
  flow: {{ bind: \"127.0.0.1:0\", protocol: tcp, forward: flow }}
services: {{ api: {{ backends: [\"{backend}\"] }}, switching: {{ backends: [\"{socket}\"] }}, flow: {{ backends: [\"{flow}\"] }} }}
rules:
  - {{ name: socket, priority: 1, when: {{ path: /socket }}, forward: switching }}
  - {{ name: rest, forward: api }}
"
        ),
    );
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let at = |name: &str| {
        let mark = format!("listener {name} listens on ");
        let line = keel.said.lines().find_map(|line| line.split(&*mark).nth(1));
        line.unwrap().parse::<SocketAddr>().unwrap()
    };
    let (web, flow) = (at("web"), at("flow"));
    let mut open = [tunnels.socket(web), tunnels.flow(flow)];
    let crowd = Crowd::begin(web);
    let mut line = Line::default();
    for round in 0..5 {
        crowd.until_each_is_served();
        match round % 2 {
            0 => line.upgrade(&mut keel, &[]),
            _ => {
                match line.0.last() {
                    Some(_) => line.signal("-USR2"),
                    None => keel.signal("-USR2"),
                }
                line.follow(&mut keel)
            }
        };
        for one in &mut open {
            one.echoes();
        }
        assert_eq!(keel.page("/livez"), "alive\n");
    }
    crowd.until_each_is_served();
    let served = crowd.end();
    assert!(served.iter().all(|(_, count)| *count > 5), "{served:?}");
    // The first process waits for nothing but what is open there; each of the others is drained already, or soon.
    drop(open);
    while keel.said.matches(" drained\n").count() < 5 {
        keel.until_any("");
    }
    line.signal("-TERM");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("panic"), "{said}");
}

pub(crate) fn script(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let path = folder.write(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A new process that does not serve: the old one goes on, says why, and nothing is left of the new one.
#[test]
fn one_that_does_not_serve_changes_nothing() {
    let folder = Folder::new("upgrade-bad");
    let server = nginx(&folder);
    let path = folder.path().join("web");
    let any = format!(
        "web: {{ bind: [\"127.0.0.1:0\", \"unix:{}\"] }}",
        path.display()
    );
    let good = text("workers: 1", &any, server.address);
    let mut keel = run(&folder, &good);
    let kept = "GET /who HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut held = hold(keel.address, kept);
    until(&mut held, "here\n");
    let sleeps = script(&folder, "sleeps", "#!/bin/sh\nexec sleep 600\n");
    let other = script(
        &folder,
        "other",
        "#!/bin/sh\nprintf 'what\\n' >&0\nexec cat >/dev/null\n",
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let bound = good.replace("\"unix:", &format!("\"{address}\", \"unix:"));
    let later = good.replace("\"] }", &format!("\", \"{address}\"] }}"));
    for (configuration, binary, within, why) in [
        (
            &*good,
            Some("/bin/false"),
            "30",
            "ended without a word: exit status: 1",
        ),
        (
            &*good,
            Some("/nowhere/evenkeel"),
            "30",
            "/nowhere/evenkeel cannot be started: No such file",
        ),
        (
            &*good,
            Some("/etc/passwd"),
            "30",
            "cannot be started: Permission denied",
        ),
        (
            &*good,
            Some(sleeps.to_str().unwrap()),
            "1",
            "does not serve after 1s, and was ended",
        ),
        (
            &*good,
            Some(other.to_str().unwrap()),
            "30",
            "says what is not understood",
        ),
        (
            "listeners: { web: { bnd: 1 } }\n",
            None,
            "30",
            "the configuration has errors",
        ),
        (&*bound, None, "30", "cannot listen on"),
        (&*later, None, "30", "cannot listen on"),
    ] {
        folder.write("keel.yaml", configuration);
        let mut arguments = vec!["--within", within];
        arguments.extend(binary.map(|_| "--binary"));
        arguments.extend(binary);
        let output = upgrade(&keel, &arguments);
        let (_, said) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{binary:?} {said}");
        assert!(
            said.starts_with("evenkeel: not upgraded: ") && said.contains(why),
            "{binary:?} {said}"
        );
        keel.until_any("; this process goes on\n");
        held.write_all(kept.as_bytes()).unwrap();
        until(&mut held, "here\n");
        assert!(rest(hold(keel.address, ASKS)).ends_with("here\n"));
        assert_eq!(keel.page("/readyz"), "ready\n");
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.write_all(ASKS.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.ends_with("here\n"), "{binary:?} {answer}");
    }
    // And then one that does.
    folder.write("keel.yaml", &good);
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    assert!(rest(hold(keel.address, ASKS)).ends_with("here\n"));
}

#[test]
fn one_at_a_time_and_none_outlives_who_began_it() {
    let folder = Folder::new("upgrade-one");
    let server = nginx(&folder);
    let mut keel = run(&folder, &text("workers: 1", WEB, server.address));
    let mark = folder.path().join("child");
    let mark = mark.display();
    let sleeps = script(
        &folder,
        "sleeps",
        &format!("#!/bin/sh\necho $$ >{mark}.new && mv {mark}.new {mark}\nexec sleep 600\n"),
    );
    let mut first = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["upgrade", "--admin", &keel.admin.to_string(), "--binary"])
        .arg(&sleeps)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    keel.until_any("upgrade: ");
    let output = upgrade(&keel, &[]);
    let (_, said) = texts(&output);
    assert!(said.contains("another upgrade is under way"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    keel.signal("-HUP");
    keel.until_any("reloads when the upgrade is over\n");
    // The new process was told what is wanted: what is asked for now would be lost.
    let asks = [
        "-X",
        "POST",
        "-H",
        "X-Evenkeel: 1",
        "-H",
        "If-Match: *",
        "-w",
        " %{http_code}",
    ];
    let refused = keel.asked(&asks, "/v1/services/api/drain");
    assert!(
        refused.contains("upgrading") && refused.ends_with(" 503"),
        "{refused}"
    );
    while !folder.path().join("child").exists() {
        std::thread::yield_now();
    }
    let child = std::fs::read_to_string(folder.path().join("child")).unwrap();
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(first.wait().unwrap().code(), Some(1));
    let gone = std::path::Path::new("/proc").join(child.trim());
    assert!(!gone.exists(), "{} lives", gone.display());
}

/// The kernel's queues are full of clients when another process comes, with more workers or fewer, a listener less and one more.
#[test]
fn who_waits_in_the_queue_is_served_by_whoever_has_it() {
    let folder = Folder::new("upgrade-queue");
    let server = nginx(&folder);
    let limited =
        |name: &str| format!("{name}: {{ bind: \"127.0.0.1:0\", limits: {{ connections: 1 }} }}");
    let two = format!("{}, {}", limited("stays"), limited("gone"));
    let mut keel = run(&folder, &text("workers: 2", &two, server.address));
    let at = |said: &str, name: &str| {
        let mark = format!("listener {name} listens on ");
        let line = said
            .lines()
            .rev()
            .find_map(|line| line.split(&*mark).nth(1));
        line.unwrap().parse::<SocketAddr>().unwrap()
    };
    let mut line = Line::default();
    for workers in [4, 1, 3] {
        folder.write(
            "keel.yaml",
            &text(&format!("workers: {workers}"), &two, server.address),
        );
        let stays = at(&keel.said, "stays");
        let holding = holding(stays);
        let crowd: Vec<_> = (0..40).map(|_| hold(stays, ASKS)).collect();
        line.upgrade(&mut keel, &[]);
        all_answered(holding, crowd);
        let crowd = (0..40).map(|_| hold(stays, ASKS)).collect();
        all_answered(crate::crowd::holding(stays), crowd);
    }
    let (stays, gone) = (at(&keel.said, "stays"), at(&keel.said, "gone"));
    let holding = holding(gone);
    let crowd: Vec<_> = (0..40).map(|_| hold(gone, ASKS)).collect();
    let other = format!("{}, {}", limited("stays"), limited("comes"));
    folder.write("keel.yaml", &text("workers: 2", &other, server.address));
    line.upgrade(&mut keel, &[]);
    all_answered(holding, crowd);
    assert!(TcpStream::connect(gone).is_err(), "nobody listens there");
    let comes = at(&keel.said, "comes");
    for address in [stays, comes] {
        assert!(rest(hold(address, ASKS)).ends_with("here\n"));
    }
}

/// Files of Unix sockets stay with whoever serves, and go with the last.
#[test]
fn unix_sockets_go_over_with_their_files() {
    let folder = Folder::new("upgrade-unix");
    let server = nginx(&folder);
    let [web, admin] = ["web", "admin"].map(|name| folder.path().join(name));
    let listeners = format!(
        "web: {{ bind: [\"127.0.0.1:0\", \"unix:{}\"] }}",
        web.display()
    );
    let text = text("workers: 2", &listeners, server.address);
    let metrics = format!("metrics: \"unix:{}\"", admin.display());
    let text = text.replace("admin: { ", &format!("admin: {{ {metrics}, "));
    let mut keel = run(&folder, &text);
    let mut line = Line::default();
    for _ in 0..3 {
        line.upgrade(&mut keel, &[]);
        for (path, page, expect) in [(&web, "/who", "here\n"), (&admin, "/livez", "alive\n")] {
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            let ask = format!("GET {page} HTTP/1.0\r\nHost: localhost\r\n\r\n");
            stream.write_all(ask.as_bytes()).unwrap();
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
            assert!(answer.ends_with(expect), "{answer}");
        }
    }
    line.signal("-TERM");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!web.exists() && !admin.exists(), "{said}");
}

/// Who has a pid of before asks the one that drains to reload: the one that serves does.
#[test]
fn a_reload_reaches_who_serves() {
    let folder = Folder::new("upgrade-reload");
    let server = nginx(&folder);
    let before = text("workers: 1", WEB, server.address);
    let mut keel = run(&folder, &before);
    // It drains for as long as somebody asks something.
    let _half = hold(keel.address, "GET /who HTTP/1.1\r\n");
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    folder.write("keel.yaml", &format!("drain: 31s\n{before}"));
    keel.signal("-HUP");
    keel.until_any("not reloaded: the process that serves is asked to");
    keel.until_any("INFO reloaded: ");
    // Which of two would be upgraded is for who asks to say.
    keel.signal("-USR2");
    keel.until_any("not upgraded: this process ends");
}

/// What an operator wants of a running instance is wanted of the one that takes its place, over its reloads too.
#[test]
fn what_is_drained_stays_so() {
    let folder = Folder::new("upgrade-overlay");
    let (server, other) = (nginx(&folder), nginx(&folder));
    let listeners = format!("{WEB}, side: {{ bind: \"127.0.0.1:0\" }}");
    let rest = format!(
        "services: {{ rest: {{ backends: [\"{0}\", {{ id: out, address: \"{0}\" }}] }}, ",
        other.address
    );
    let text = text("rules: [{ forward: api }]", &listeners, server.address);
    let text = text.replace("services: { ", &rest);
    let mut keel = run(&folder, &text);
    for command in [
        "services/api/drain",
        "services/rest/backends/out/disable",
        "listeners/side/drain",
    ] {
        keel.asked(
            &[
                "-f",
                "-X",
                "POST",
                "-H",
                "X-Evenkeel: 1",
                "-H",
                "If-Match: *",
            ],
            &format!("/v1/{command}"),
        );
    }
    let stands = |keel: &Evenkeel| {
        let status: serde_json::Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
        let services = status["services"].as_array().unwrap().clone();
        let backends = services
            .iter()
            .flat_map(|one| one["backends"].as_array().unwrap());
        let standing: Vec<_> = backends.map(|one| one["standing"].to_string()).collect();
        let listeners = status["listeners"].as_array().unwrap();
        let away = listeners.iter().filter(|one| one["draining"] == true);
        (standing.join(" "), away.count())
    };
    let all = ("\"serving\" \"disabled\" \"draining\"".to_owned(), 1);
    assert_eq!(stands(&keel), all);
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    assert_eq!(stands(&keel), all);
    folder.write(
        "keel.yaml",
        &format!("{text}rules: [{{ forward: rest }}]\n"),
    );
    line.signal("-HUP");
    keel.until_any("reloaded: ");
    assert_eq!(stands(&keel), all);
}

/// A breaker that is open stays open, and says since when and why; what the policy learned is there.
#[test]
fn what_was_learned_goes_over() {
    let folder = Folder::new("upgrade-state");
    let server = nginx(&folder);
    let bad = Server::nginx(&folder, "location / { return 503; }");
    let text = text("workers: 2", WEB, server.address).replace(
        "backends: [",
        &format!(
            "policy: round_robin, breaker: {{ open: 300s }}, backends: [\"{}\", ",
            bad.address
        ),
    );
    let mut keel = run(&folder, &text);
    let of_bad = |keel: &Evenkeel| {
        let status: serde_json::Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
        status["services"][0]["backends"][0].clone()
    };
    while of_bad(&keel)["standing"] != "ejected" {
        let _ = keel.curl(&[], "/who");
    }
    let before = of_bad(&keel);
    let mut line = Line::default();
    let process = line.upgrade(&mut keel, &[]);
    let status: serde_json::Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
    assert_eq!(status["process"], process);
    let after = of_bad(&keel);
    for key in ["standing", "reason", "id"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert!(
        status["services"][0]["backends"][1]["latency_ms"].is_number(),
        "{status}"
    );
    for _ in 0..20 {
        assert_eq!(keel.curl(&[], "/who"), "here\n");
    }
    assert_eq!(of_bad(&keel)["picked"], 0, "nobody tried it");
}

#[test]
fn clients_come_back_by_tickets_of_the_process_before() {
    let folder = Folder::new("upgrade-tickets");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let server = nginx(&folder);
    let mut keel = run(
        &folder,
        &tls::text(tls::SITE, "", &server.address.to_string(), ""),
    );
    let kept = folder.path().join("kept");
    let kept = kept.to_str().unwrap();
    let said = tls::openssl(&keel, &["-tls1_3", "-sess_out", kept]);
    assert!(said.contains("\nNew, TLSv1."), "{said}");
    let mut line = Line::default();
    for _ in 0..2 {
        line.upgrade(&mut keel, &[]);
        let said = tls::openssl(&keel, &["-tls1_3", "-sess_in", kept]);
        assert!(said.contains("\nReused, TLSv1."), "{said}");
    }
}

/// Nobody but root and its own user has a process upgraded.
#[test]
fn another_user_may_not() {
    if !may_become_others() {
        return;
    }
    let folder = Folder::shared("upgrade-user");
    let server = nginx(&folder);
    let keel = run(&folder, &text("workers: 1", WEB, server.address));
    let binary = folder.path().join("evenkeel");
    std::fs::copy(env!("CARGO_BIN_EXE_evenkeel"), &binary).unwrap();
    let mut command = Command::new(&binary);
    command.args(["upgrade", "--admin", &keel.admin.to_string()]);
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    std::os::unix::process::CommandExt::gid(&mut command, 65_534);
    let output = command.output().unwrap();
    let (_, said) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let why = "only root and the user of the process may upgrade it";
    assert!(said.contains(why), "{said}");
}

/// Said if not, so that a green run is not taken for more than it shows.
fn may_become_others() -> bool {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        let why = "SKIPPED: only root can become somebody else";
        let _ = writeln!(std::io::stderr(), "{why}");
    }
    root
}

/// One that has become another user is replaced by a process of that user.
#[test]
fn privileges_stay_dropped() {
    let folder = Folder::shared("upgrade-dropped");
    let server = nginx(&folder);
    let top = "workers: 2\nuser: 65534\ngroup: 65534";
    let file = folder.write("keel.yaml", &text(top, WEB, server.address));
    if !may_become_others() {
        return;
    }
    let binary = folder.path().join("evenkeel");
    std::fs::copy(env!("CARGO_BIN_EXE_evenkeel"), &binary).unwrap();
    let mut command = Command::new(&binary);
    command.args(["run", "-c"]).arg(&file);
    let mut keel = Evenkeel::started(command);
    let mut line = Line::default();
    for _ in 0..2 {
        let process = line.upgrade(&mut keel, &[]);
        let place = std::path::Path::new("/proc").join(process.to_string());
        let status = std::fs::read_to_string(place.join("status")).unwrap();
        assert!(
            status.contains("\nUid:\t65534\t65534\t65534\t65534\n"),
            "{status}"
        );
        assert!(rest(hold(keel.address, ASKS)).ends_with("here\n"));
    }
}

/// More sockets than a message between processes takes, or a line of commands once did: each listens, before and after. Where
/// descriptors are too few that is said, at the start and by the upgrade.
#[test]
fn thousands_of_sockets_go_over() {
    let folder = Folder::new("upgrade-many");
    let server = nginx(&folder);
    let port = nobodys().port();
    let address = |at: u16| {
        let [high, low] = (at + 2).to_be_bytes();
        SocketAddr::from(([127, 1, high, low], port))
    };
    // 4,150 sockets: two descriptors each, and three on the way.
    let all: Vec<_> = (0..830).map(address).collect();
    let binds: Vec<_> = all.iter().map(|one| format!("\"{one}\"")).collect();
    let web = format!("web: {{ bind: [{}] }}", binds.join(", "));
    let file = folder.write("keel.yaml", &text("workers: 5", &web, server.address));
    let arguments = ["-c", file.to_str().unwrap()];
    // Each of five sockets of an address gets one of these, most probably.
    let each_answers = || {
        for one in &all {
            let asking: Vec<_> = (0..4).map(|_| hold(*one, ASKS)).collect();
            for one in asking {
                assert!(rest(one).ends_with("here\n"));
            }
        }
    };
    let limit = Command::new("sh")
        .args(["-c", "ulimit -n"])
        .output()
        .unwrap();
    let limit: usize = texts(&limit).0.trim().parse().unwrap_or(usize::MAX);
    if limit < 13_000 {
        let why = format!("SKIPPED: {limit} open files are too few");
        let _ = writeln!(std::io::stderr(), "{why}");
        return;
    }
    let mut keel = Evenkeel::run(&arguments);
    each_answers();
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    each_answers();
    assert!(!keel.said.contains("an upgrade takes"), "{}", keel.said);
    line.signal("-TERM");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");

    let keel = Evenkeel::run_limited("-n 10000", &arguments);
    let warned = "an upgrade takes 12554 descriptors, three for each address and worker, and 10000 open files are allowed";
    assert!(keel.said.contains(warned), "{}", keel.said);
    let (_, said) = texts(&upgrade(&keel, &[]));
    let why =
        "handing over takes a descriptor for each socket, and of 10000 open files none is left";
    assert!(said.contains(why), "{said}");
    each_answers();
    drop(keel);

    let limited = "ulimit -n 8000 && exec \"$0\" run \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_evenkeel")]);
    let (_, said) = texts(&command.args(arguments).output().unwrap());
    let why = "the sockets take 8404 descriptors, two for each address and worker, and 8000 open files are allowed";
    assert!(said.contains(why), "{said}");
}
