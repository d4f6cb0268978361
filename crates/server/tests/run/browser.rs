//! The dashboard in Chromium: each story of `web/browser` against a running instance, with what a person there would see and press. What a story
//! cannot do from a browser it asks for on its standard output.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::access::create;
use crate::process::{Evenkeel, Folder, Server, curl, nobodys};
use crate::tls::{Authority, SITE};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Tells a story, and does what it asks for.
fn tell(
    name: &str,
    (admin, web): (SocketAddr, SocketAddr),
    told: &[(&str, &str)],
    mut does: impl FnMut(&str),
) {
    let page = curl(admin, &["--compressed"], "/");
    assert!(
        page.contains("/assets/"),
        "the program has no page: `cargo xtask web`, and build it again"
    );
    let shots = root().join("target/dashboard");
    std::fs::create_dir_all(&shots).unwrap();
    let mut child = Command::new(root().join("target/python/bin/node"))
        .arg(root().join(format!("web/browser/{name}.ts")))
        .env("EVENKEEL_ADMIN", format!("http://{admin}"))
        .env("EVENKEEL_WEB", format!("http://{web}"))
        .env("EVENKEEL_SHOTS", shots)
        .envs(told.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("`cargo xtask setup`? node: {error}"));
    let mut answers = child.stdin.take().unwrap();
    let says = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    for line in says.lines().map(Result::unwrap) {
        if let Some(what) = line.strip_prefix("> ") {
            does(what);
            answers.write_all(b"done\n").unwrap();
        }
        said += &format!("{line}\n");
    }
    let output = child.wait_with_output().unwrap();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}{wrong}");
    let _ = writeln!(std::io::stderr(), "{said}");
}

fn nothing(what: &str) {
    panic!("nobody can {what}");
}

/// Three who say their names.
struct Site {
    folder: Folder,
    servers: Vec<Server>,
    _folders: Vec<Folder>,
}

impl Site {
    fn new(name: &str) -> Self {
        let names = ["one", "two", "three"];
        let folders: Vec<_> = names
            .map(|one| Folder::new(&format!("{name}-{one}")))
            .into();
        let servers = names.iter().zip(&folders).map(|(name, folder)| {
            folder.write("who", &format!("{name}\n"));
            Server::nginx(folder, "keepalive_requests 1000000;")
        });
        Self {
            folder: Folder::new(name),
            servers: servers.collect(),
            _folders: folders,
        }
    }

    fn api(&self, more: &str) -> String {
        format!(
            "  api: {{ policy: round_robin, slow_start: 0, {more}backends: [{{ id: one, address: \"{}\" }}, {{ id: two, address: \"{}\" }}] }}\n",
            self.servers[0].address, self.servers[1].address
        )
    }

    fn run(&self, admin: &str, listeners: &str, services: &str) -> Evenkeel {
        let text = format!(
            "admin: {{ {admin} }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }}{listeners} }}\nservices:\n{services}"
        );
        let file = self.folder.write("keel.yaml", &text);
        let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
        keel.address = keel.addresses_of("web");
        keel
    }
}

const ADMIN: &str = "bind: \"127.0.0.1:0\"";

const ALL: &str = "rules: [{ name: all, forward: api }]\n";

#[test]
fn each_view_shows_what_goes_on() {
    let site = Site::new("browser-views");
    let authority = Authority::new(&site.folder, "authority");
    authority.make("site", &["a.example"]);
    let bad = format!(
        "  bad: {{ backends: [{{ id: dead, address: \"127.0.0.1:1\" }}, {{ id: fine, address: \"{}\" }}, {{ id: gone, address: \"127.0.0.1:2\", state: disabled }}], retry: {{ attempts: 1 }}, breaker: {{ consecutive: 2, open: 1h, open_max: 1h }} }}
rules:
  - {{ name: bad ones, priority: 1, when: {{ path: {{ prefix: /bad }} }}, forward: bad }}
  - {{ name: all the rest, priority: 2, forward: api }}
",
        site.servers[0].address
    );
    let services = site.api("") + &bad;
    let secure = format!(", secure: {{ bind: \"127.0.0.1:0\", tls: {{ {SITE} }} }}");
    let admin = format!("{ADMIN}, records: {{ share: 100% }}");
    let keel = site.run(&admin, &secure, &services);
    tell("views", (keel.admin, keel.address), &[], nothing);
}

#[test]
fn what_is_done_there_is_done() {
    let site = Site::new("browser-drain");
    let keel = site.run(ADMIN, "", &(site.api("") + ALL));
    let third = site.servers[2].address.to_string();
    tell(
        "drain",
        (keel.admin, keel.address),
        &[("EVENKEEL_THIRD", &third)],
        nothing,
    );
}

#[test]
fn a_fault_shows_by_its_event() {
    let mut site = Site::new("browser-fault");
    let checked = "health: { tcp: {}, interval: 100ms, timeout: 100ms, fall: 1 }, ";
    let keel = site.run(ADMIN, "", &(site.api(checked) + ALL));
    tell("fault", (keel.admin, keel.address), &[], |what| {
        assert_eq!(what, "stop one");
        drop(site.servers.remove(0));
    });
}

#[test]
fn who_may_only_look_is_offered_nothing() {
    let site = Site::new("browser-token");
    let (viewer, first) = create(&["--name", "eyes", "--scope", "viewer"]);
    let (operator, second) = create(&["--name", "hands", "--scope", "operator"]);
    let tokens = first.trim_end().to_owned() + "\n" + &second;
    site.folder.write("tokens.yaml", &tokens);
    let admin = format!("{ADMIN}, tokens: tokens.yaml");
    let mut keel = site.run(&admin, "", &(site.api("") + ALL));
    let told = [
        ("EVENKEEL_VIEWER", &*viewer),
        ("EVENKEEL_OPERATOR", &*operator),
    ];
    let places = (keel.admin, keel.address);
    tell("token", places, &told, |what| {
        assert_eq!(what, "narrow");
        let fewer = tokens.replace("operator", "viewer");
        assert_ne!(fewer, tokens);
        site.folder.write("tokens.yaml", &fewer);
        keel.signal("-HUP");
        keel.until_any("reloaded: admin changes");
    });
}

#[test]
fn the_page_outlives_the_process() {
    let site = Site::new("browser-restart");
    let admin = format!("bind: \"{}\"", nobodys());
    let run = || site.run(&admin, "", &(site.api("") + ALL));
    let mut keel = Some(run());
    let places = keel.as_ref().map(|keel| (keel.admin, keel.address));
    tell("restart", places.unwrap(), &[], |what| match what {
        "kill" => drop(keel.take()),
        "start" => keel = Some(run()),
        what => nothing(what),
    });
}

#[test]
fn what_is_wrong_is_told_noted_and_mended() {
    let site = Site::new("browser-alerts");
    let files = Folder::new("browser-alerts-files");
    files.write("who", "one\n");
    let server = Server::nginx(
        &files,
        "keepalive_requests 1000000; location /boom { return 500; }",
    );
    let text = format!(
        "admin: {{ {ADMIN} }}
workers: 1
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
alerts: {{ webhooks: [{{ name: ops, to: \"http://{}/alerts\", attempts: 1 }}] }}
services:
  api:
    policy: round_robin
    breaker: off
    retry: off
    adjust: {{ interval: 1h }}
    monitoring: {{ thresholds: {{ error_rate: 5% }} }}
    backends: [{{ id: one, address: \"{1}\" }}, {{ id: two, address: \"{1}\" }}]
",
        nobodys(),
        server.address
    );
    let file = site.folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    tell("alerts", (keel.admin, keel.address), &[], nothing);
}

#[test]
fn a_thousand_backends_are_no_burden() {
    let site = Site::new("browser-crowd");
    let mut services = String::new();
    for service in 0..100 {
        let backends: Vec<_> = (0..10)
            .map(|at| format!("{{ id: b{at}, address: \"{}\" }}", site.servers[0].address))
            .collect();
        services += &format!("  s{service}: {{ backends: [{}] }}\n", backends.join(", "));
    }
    let keel = site.run(
        ADMIN,
        "",
        &(services + "rules: [{ name: all, forward: s0 }]\n"),
    );
    tell("crowd", (keel.admin, keel.address), &[], nothing);
}
