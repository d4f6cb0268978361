//! What is explained is what is done: 10,000 random requests over random rules, asked of `explain` and of the running proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use evenkeel_balance::event::Listener;
use evenkeel_balance::time::Instant;
use evenkeel_config::{Plan, Source, load};
use evenkeel_proxy::explain::{Done, Explained};
use evenkeel_proxy::live::Live;
use fastrand::Rng;

use crate::evenkeel;
use crate::process::{Evenkeel, Folder, PATIENCE};

/// What all is drawn from. Another one is another test.
const SEED: u64 = 20_261_121;

const PLANS: usize = 10;
const REQUESTS: usize = 10_000;
const RULES: usize = 80;

/// Each so many requests, one is asked of the command too.
const BY_COMMAND: usize = 200;

/// Backends that name themselves and what they got, for as long as the test runs.
fn backends(count: usize) -> Vec<SocketAddr> {
    let one = |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || serve(&stream.unwrap(), address));
            }
        });
        address
    };
    (0..count).map(one).collect()
}

fn serve(stream: &TcpStream, address: SocketAddr) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut writer = stream;
    while let Some(first) = lines.next() {
        // Nobody sends a body here.
        while lines.next().is_some_and(|line| !line.is_empty()) {}
        let body = format!("{address} {first}");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn of<'a>(random: &mut Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(..from.len())]
}

/// One to three of these, as a list.
fn some(random: &mut Rng, from: &[&str]) -> String {
    let list: Vec<_> = (0..random.usize(1..4)).map(|_| of(random, from)).collect();
    format!("[{}]", list.join(", "))
}

/// A rule's conditions: each kind stands there now and then. What holds for nearly all is rare, or nothing would come behind it.
fn when(random: &mut Rng) -> String {
    let hosts = [
        "a.test",
        "b.test",
        "\"*.a.test\"",
        "x*y.test",
        "\"[::1]\"",
        "10.0.0.1",
        "\"*.y.x.a.test\"",
        "\"1?.*\"",
    ];
    let wide_hosts = ["\"?.test\"", "\"*st\"", "\"*\""];
    let paths = [
        "/a",
        "/a/b",
        "/A",
        "/b",
        "/a%2Fb",
        "/a/a",
        "\"/?\"",
        "\"/a?b*\"",
        "\"*c/b\"",
        "{ prefix: /a/b }",
        "{ prefix: /b/a }",
        "{ prefix: /A }",
        "{ exact: / }",
        "{ exact: /b/ }",
        "{ regex: \"^/a[b-c/]*$\" }",
        "{ regex: \"b;?b$\" }",
        "{ regex: \"(?i)^/A/c\" }",
    ];
    let wide_paths = [
        "\"/*\"",
        "\"/a/*\"",
        "\"*/b\"",
        "{ prefix: / }",
        "{ prefix: /a }",
        "{ regex: \"a\" }",
    ];
    let mut kinds = Vec::new();
    let wide = random.u8(..8) == 0;
    if random.u8(..10) < 7 {
        kinds.push(format!(
            "host: {}",
            some(random, if wide { &wide_hosts } else { &hosts })
        ));
    }
    if random.u8(..10) < 8 || kinds.is_empty() {
        kinds.push(format!(
            "path: {}",
            some(random, if wide { &wide_paths } else { &paths })
        ));
    }
    if random.u8(..10) < 4 || wide {
        kinds.push(format!("method: {}", some(random, &METHODS)));
    }
    format!("{{ {} }}", kinds.join(", "))
}

/// A plan of a text whose rules stand on a line each, without the rules that `check` finds never reached; and that text.
fn planned(text: String, file: &str) -> (Plan, String) {
    let read = |text: String| {
        let source = Source {
            name: file.into(),
            text,
        };
        (
            load(std::slice::from_ref(&source), &BTreeMap::new()),
            source.text,
        )
    };
    let (loaded, text) = read(text);
    let unreached = |line: usize| {
        let mut problems = loaded.problems.iter();
        problems.any(|problem| problem.word == "unreachable_rule" && problem.at.line == line)
    };
    let lines = text
        .lines()
        .enumerate()
        .filter(|(at, _)| !unreached(at + 1));
    let (loaded, text) = read(lines.map(|(_, line)| format!("{line}\n")).collect());
    let plan = loaded
        .plan
        .unwrap_or_else(|| panic!("{:#?}\n{text}", loaded.problems));
    (plan, text)
}

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "OPTIONS", "PURGE"];

/// A configuration whose every rule can be told by what it does.
fn configuration(random: &mut Rng, backends: &[SocketAddr]) -> String {
    let form = of(random, &["normalize", "refuse", "as_is"]);
    let mut services = String::new();
    let mut rules = String::new();
    let mut left = backends.iter();
    for at in 0..RULES {
        let listeners = of(
            random,
            &["", "", "", "listeners: one, ", "listeners: [two], "],
        );
        let action = match random.u8(..10) {
            0..3 => format!(
                "respond: {{ status: {}, body: r{at} }}",
                random.u16(200..204)
            ),
            3..5 => {
                // Another query alone leads back to the rule, and is refused.
                let to = [
                    "path: /to",
                    "host: to.test",
                    "scheme: https",
                    "port: 81",
                    "path: '/to/#{path}'",
                    "host: 'x.#{host}'",
                ];
                let beside = [to.as_slice(), &["query: to", "query: '#{query}&a=1'"]].concat();
                let to: BTreeMap<_, _> = [of(random, &beside), of(random, &to)]
                    .map(|to| to.split_once(": ").unwrap())
                    .into();
                let to: Vec<_> = to
                    .iter()
                    .map(|(key, value)| format!("{key}: {value}"))
                    .collect();
                // Its status tells the rule where two lead to one place.
                format!(
                    "redirect: {{ status: {}, {} }}",
                    of(random, &["301", "302", "307"]),
                    to.join(", ")
                )
            }
            _ => {
                let several = left.len() > RULES + 3;
                let members: Vec<_> = left
                    .by_ref()
                    .take(if several { random.usize(1..4) } else { 1 })
                    .map(|one| format!("\"{one}\""))
                    .collect();
                let keys = [
                    "source",
                    "path",
                    "uri",
                    "{ header: X-User }",
                    "{ cookie: user }",
                ];
                let policy = match random.bool() {
                    true => format!(
                        "{{ hash: {{ key: {}, method: {} }} }}",
                        of(random, &keys),
                        of(random, &["maglev", "rendezvous"])
                    ),
                    false => {
                        of(random, &["adaptive", "round_robin", "least_connections"]).to_owned()
                    }
                };
                let _ = writeln!(
                    services,
                    "  s{at}: {{ policy: {policy}, backends: [{}] }}",
                    members.join(", ")
                );
                format!("forward: s{at}")
            }
        };
        let _ = writeln!(
            rules,
            "- {{ name: r{at}, priority: {}, {listeners}when: {}, {action} }}",
            // With ties.
            random.u8(1..100),
            when(random),
        );
    }
    let trusted = of(
        random,
        &["127.0.0.0/8", "[127.0.0.1, 10.0.0.0/8]", "10.0.0.0/8"],
    );
    format!(
        "admin: {{ bind: off }}\nworkers: 2\ntrusted_proxies: {trusted}\nlisteners:\n  one: {{ bind: \"127.0.0.1:0\", path: {form} }}\n  two: {{ bind: \"127.0.0.1:0\", limits: {{ body: 5B, head: 4KiB }} }}\nservices:\n{services}rules:\n{rules}"
    )
}

struct Request {
    method: &'static str,
    target: String,
    fields: Vec<(&'static str, String)>,
}

impl Request {
    fn draw(random: &mut Rng) -> Self {
        let hosts = [
            "a.test",
            "b.test",
            "A.test:80",
            "x.a.test",
            "y.x.a.test.",
            "xy.test",
            "xzy.test:8080",
            "[0::1]",
            "10.0.0.1",
            "other",
        ];
        let pieces = [
            "/", "/a", "/b", "a", "/A", "/./", "//", "/..", "%2f", "%61", ";", "/c", "/a%2Fb",
        ];
        let mut target = String::from(of(random, &["/", "/a", "/a/b", "/b"]));
        for _ in 0..random.usize(..4) {
            target.push_str(of(random, &pieces));
        }
        target.push_str(of(
            random,
            &["", "", "?", "?a=b", "?/a#".trim_end_matches('#')],
        ));
        let host = of(random, &hosts).to_owned();
        if random.u8(..20) == 0 {
            target = format!("http://{host}{target}");
        }
        let mut request = Self {
            method: of(random, &METHODS),
            target,
            fields: vec![("Host", host)],
        };
        if random.bool() {
            let many = of(
                random,
                &[
                    "1.2.3.4",
                    "2.3.4.5",
                    "1.2.3.4, 10.1.1.1",
                    "nobody",
                    "2001:db8::1",
                ],
            );
            request.fields.push(("X-Forwarded-For", many.into()));
        }
        if random.bool() {
            request.fields.push(("X-User", random.u8(..).to_string()));
        }
        if random.bool() {
            request
                .fields
                .push(("Cookie", format!("a=b; user={}", random.u8(..))));
        }
        if random.u8(..12) == 0 {
            request.spoil(random);
        }
        request
    }

    /// Something that is refused, most times.
    fn spoil(&mut self, random: &mut Rng) {
        match random.u8(..12) {
            0 => self.fields.clear(),
            1 => self.fields.push(("host", "a.test".into())),
            2 => self.fields[0].1 = of(random, &["a..b", "a b", "a@b", "", "[::1", "a:0"]).into(),
            3 => self.target = "*".into(),
            4 => self
                .target
                .push_str(of(random, &["%00", "%", "\\", " x", "\u{fc}"])),
            5 => self.method = "CONNECT",
            6 => self.fields.push(("X ", "y".into())),
            7 => self.fields.push(("X", "\u{1}".into())),
            8 => self.fields.push(("Expect", "more".into())),
            9 => self.fields.push((
                "Content-Length",
                of(random, &["0", "x", "6", "99999999999999999999"]).into(),
            )),
            10 => self.fields.push((
                "Transfer-Encoding",
                of(random, &["gzip", "chunked, chunked"]).into(),
            )),
            _ => self
                .fields
                .push(("X-Long", "x".repeat(random.usize(3_000..5_000)))),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        (text + "\r\n").into_bytes()
    }
}

/// A client's connection, made anew when the proxy has ended it.
struct Client {
    to: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// Status, `Location` and body.
    fn ask(&mut self, request: &[u8]) -> (u16, Option<String>, String) {
        let stream = self.stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(self.to).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            BufReader::new(stream)
        });
        stream.get_mut().write_all(request).unwrap();
        let (mut status, mut location, mut length, mut closes) = (0, None, 0, false);
        loop {
            let mut line = String::new();
            assert!(stream.read_line(&mut line).unwrap() > 0, "no answer");
            match line.trim_end() {
                "" => break,
                first if status == 0 => status = first[9..12].parse().unwrap(),
                line => match line.split_once(": ").unwrap() {
                    ("Content-Length", value) => length = value.parse().unwrap(),
                    ("Location", value) => location = Some(value.to_owned()),
                    ("Connection", value) => closes = value == "close",
                    _ => {}
                },
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        if closes {
            self.stream = None;
        }
        (status, location, String::from_utf8(body).unwrap())
    }
}

/// What is seen of what is done, from outside.
#[derive(Debug, PartialEq)]
enum Seen {
    Refused(u16, String),
    Answered(u16, String),
    Redirected(u16, String),
    /// A backend, and what it got.
    Served(String, String),
}

/// What an explanation says will be seen; the other backends that may be, where a policy draws.
fn expected(explained: &Explained<'_>) -> (Seen, Vec<String>) {
    let seen = match explained.done() {
        Done::Refused { status, reason } => Seen::Refused(status, reason.word().into()),
        Done::Respond(answer) => Seen::Answered(
            answer.status,
            String::from_utf8(answer.body.to_vec()).unwrap(),
        ),
        Done::Redirect { status, location } => {
            Seen::Redirected(status, String::from_utf8(location).unwrap())
        }
        Done::Forward(forwarded) => {
            let [routed] = &forwarded.services[..] else {
                panic!("a split")
            };
            let told = routed.explanation(0, Instant::ZERO);
            let head = explained.head().unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let query = forwarded
                .query
                .as_deref()
                .map(|query| format!("?{}", text(query)));
            let line = format!(
                "{} {}{}",
                text(head.method()),
                text(&forwarded.path),
                query.unwrap_or_default()
            );
            let free = told.candidates.iter().filter(|one| one.bar.is_none());
            let others = match routed.key {
                Some(_) => Vec::new(),
                None => free.map(|one| one.id.as_str().to_owned()).collect(),
            };
            return (
                Seen::Served(told.result.unwrap().as_str().into(), line),
                others,
            );
        }
    };
    (seen, Vec::new())
}

fn seen(answer: (u16, Option<String>, String)) -> Seen {
    match answer {
        (status, Some(location), _) => Seen::Redirected(status, location),
        (status, None, body) if status >= 400 => {
            let word = body.trim_end().rsplit_once(": ").unwrap().1.to_owned();
            Seen::Refused(status, word)
        }
        (status, None, body) => match body.split_once(' ') {
            Some((backend, line)) => {
                let line = line.strip_suffix(" HTTP/1.1").unwrap();
                Seen::Served(backend.into(), line.into())
            }
            None => Seen::Answered(status, body),
        },
    }
}

/// The command says the same as the function that it calls.
fn by_command(
    file: &str,
    listener: &str,
    request: &Request,
    explained: &Explained<'_>,
    live: &Live,
) {
    let fields: Vec<_> = request
        .fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let mut arguments = vec![
        "explain",
        "--json",
        "-c",
        file,
        "--listener",
        listener,
        request.method,
        &request.target,
    ];
    arguments.extend(fields.iter().flat_map(|field| ["-H", field]));
    let (code, out, said) = evenkeel(&arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
    let out: serde_json::Value = serde_json::from_str(&out).unwrap();
    let row = &out["explanations"][0];
    let rule = explained.rule().map(|at| &*live.plan.rules[at].name);
    assert_eq!(row["rule"]["name"].as_str(), rule, "{arguments:?}: {row:#}");
    assert_eq!(row["passed_all"], explained.passed().len(), "{arguments:?}");
    match explained.done() {
        Done::Refused { reason, .. } => assert_eq!(row["reason"], reason.word(), "{arguments:?}"),
        Done::Respond(answer) => assert_eq!(row["status"], answer.status, "{arguments:?}"),
        Done::Redirect { location, .. } => assert_eq!(
            row["location"].as_str().unwrap().as_bytes(),
            location,
            "{arguments:?}"
        ),
        Done::Forward(forwarded) => {
            let services = forwarded.services;
            assert_eq!(
                row["services"][0]["service"], *services[0].service.plan.name,
                "{arguments:?}"
            );
            if services[0].key.is_some() {
                let backend = services[0].explanation(0, Instant::ZERO).result.unwrap();
                assert_eq!(
                    row["services"][0]["backend"],
                    backend.as_str(),
                    "{arguments:?}"
                );
            }
        }
    }
}

#[test]
fn ten_thousand_requests_are_done_as_explained() {
    println!("seed {SEED}");
    let mut random = Rng::with_seed(SEED);
    let backends = backends(RULES + RULES / 2);
    let folder = Folder::new("explained");
    let (mut kinds, mut failed, mut rules) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for plan in 0..PLANS {
        let text = configuration(&mut random, &backends);
        let name = format!("{plan}.yaml");
        let (checked, text) = planned(text, &name);
        let file = folder.write(&name, &text);
        let file = file.to_str().unwrap();
        let events: Arc<dyn Listener> = Arc::new(());
        let live = Live::join(checked, None, 1, &events, Instant::ZERO);
        let keel = Evenkeel::run(&["-c", file]);
        let mut clients = ["one", "two"].map(|name| {
            let mark = format!("listener {name} listens on ");
            let line = keel.said.lines().find_map(|line| line.rsplit_once(&*mark));
            Client {
                to: line.unwrap().1.parse().unwrap(),
                stream: None,
            }
        });
        for number in 0..REQUESTS / PLANS {
            let request = Request::draw(&mut random);
            let bytes = request.bytes();
            let listener = random.usize(..2);
            let explained = Explained::of(&live, listener, IpAddr::V4(Ipv4Addr::LOCALHOST), &bytes);
            let passed = explained.passed();
            if let Some(rule) = explained.rule() {
                rules.insert((plan, rule));
                assert_eq!(
                    passed.len(),
                    rule,
                    "a rule before it holds: seed {SEED}, plan {plan}"
                );
            }
            failed.extend(passed.iter().map(|one| one.reached));
            let (expect, others) = expected(&explained);
            let got = seen(clients[listener].ask(&bytes));
            let same = match (&expect, &got) {
                (Seen::Served(_, expected), Seen::Served(backend, line)) if !others.is_empty() => {
                    expected == line && others.contains(backend)
                }
                _ => expect == got,
            };
            let shown = String::from_utf8_lossy(&bytes);
            assert!(
                same,
                "seed {SEED}, plan {plan}, request {number} at listener {listener}\n{shown}explained {expect:?}, others {others:?}\ndone      {got:?}\n{text}"
            );
            *kinds.entry(kind(&got)).or_insert(0_usize) += 1;
            // The command would make an absolute URL a path and a field.
            if number % BY_COMMAND == 0 && request.target.starts_with(['/', '*']) {
                by_command(file, ["one", "two"][listener], &request, &explained, &live);
            }
        }
    }
    println!("{kinds:?}, {} rules met, {failed:?} failed", rules.len());
    assert!(kinds.len() > 15 && rules.len() > 150, "{kinds:?} {rules:?}");
    assert!(
        ["answered", "redirected", "served", "no_rule"]
            .iter()
            .all(|kind| kinds[*kind] > 100),
        "{kinds:?}"
    );
    assert_eq!(failed.len(), 4, "a condition that never fails: {failed:?}");
}

fn kind(seen: &Seen) -> String {
    match seen {
        Seen::Refused(_, word) => word.clone(),
        Seen::Answered(..) => "answered".into(),
        Seen::Redirected(..) => "redirected".into(),
        Seen::Served(..) => "served".into(),
    }
}
