//! Owns what is drawn: configurations with every condition and every action, and requests that meet them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use evenkeel_config::{Plan, Source, files, load_with};
use fastrand::Rng;

use crate::process::Folder;

pub(super) const RULES: usize = 80;
pub(super) const SERVICES: usize = 40;

/// Services of which no backend may be picked: the first ones.
const REFUSING: usize = 6;

/// Who connects.
pub(super) const SOURCES: [&str; 4] = ["127.0.0.1", "127.0.0.2", "127.0.0.5", "127.0.0.9"];

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "OPTIONS", "PURGE"];

fn of<'a>(random: &mut Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(..from.len())]
}

/// One to three of these, as a list.
fn some(random: &mut Rng, from: &[&str]) -> String {
    let list: Vec<_> = (0..random.usize(1..4)).map(|_| of(random, from)).collect();
    format!("[{}]", list.join(", "))
}

const HOSTS: [&str; 8] = [
    "a.test",
    "b.test",
    "\"*.a.test\"",
    "x*y.test",
    "\"[::1]\"",
    "10.0.0.1",
    "\"*.y.x.a.test\"",
    "\"1?.*\"",
];
const WIDE_HOSTS: [&str; 3] = ["\"?.test\"", "\"*st\"", "\"*\""];
const PATHS: [&str; 17] = [
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
const WIDE_PATHS: [&str; 6] = [
    "\"/*\"",
    "\"/a/*\"",
    "\"*/b\"",
    "{ prefix: / }",
    "{ prefix: /a }",
    "{ regex: \"a\" }",
];
const FURTHER: [&str; 23] = [
    "header: { X-Tier: gold }",
    "header: { x-tier: [silver, \"g*\"] }",
    "header: { x-tier: { exact: Gold } }",
    "header: { x-tier: { regex: ^s } }",
    "header: { x-tier: { present: true } }",
    "header: { x-tier: { present: false } }",
    "header: { x-tier: gold, x-user: { present: true } }",
    "cookie: { tier: a }",
    "cookie: { tier: [\"a*\", b] }",
    "cookie: { tier: { regex: ^b } }",
    "cookie: { tier: { present: true }, user: { present: true } }",
    "query: { a: b }",
    "query: { \"?\": \"*b\" }",
    "query: B",
    "query: [{ a: b }, { c: \"d e\" }]",
    "query: { a: { present: false } }",
    "source: 127.0.0.2",
    "source: [127.0.0.4/30, 127.0.0.9]",
    "source: 127.0.0.0/30",
    "source: { client: 1.2.3.4 }",
    "source: { client: [2.0.0.0/8, \"2001:db8::/32\", 127.0.0.5] }",
    "source: { client: 1.0.0.0/8, peer: 127.0.0.0/30 }",
    "source: { peer: [127.0.0.1, 127.0.0.5] }",
];

/// Conditions beyond host, path and method, of kinds of their own.
fn further(random: &mut Rng, kinds: &mut Vec<String>) {
    let mut all = BTreeMap::new();
    for _ in 0..random.usize(1..3) {
        let (key, value) = of(random, &FURTHER).split_once(": ").unwrap();
        all.insert(key, value);
    }
    kinds.extend(all.iter().map(|(key, value)| format!("{key}: {value}")));
}

/// What must not hold, with a `not` within now and then.
fn not(random: &mut Rng, deep: usize) -> String {
    let part = |random: &mut Rng| {
        let mut kinds = Vec::new();
        match random.u8(..5) {
            0 => kinds.push(format!("host: {}", some(random, &HOSTS))),
            1 => kinds.push(format!("path: {}", some(random, &PATHS))),
            2 => kinds.push(format!("method: {}", of(random, &METHODS))),
            _ => further(random, &mut kinds),
        }
        if deep > 0 && random.bool() {
            kinds.push(not(random, deep - 1));
        }
        format!("{{ {} }}", kinds.join(", "))
    };
    let parts: Vec<_> = (0..random.usize(1..3)).map(|_| part(random)).collect();
    format!("not: [{}]", parts.join(", "))
}

/// A rule's conditions: each kind stands there now and then. What holds for nearly all is rare, or nothing would come behind it.
fn when(random: &mut Rng, path: Option<&str>) -> String {
    let mut kinds = Vec::new();
    let wide = random.u8(..8) == 0;
    if random.u8(..10) < 6 {
        let hosts: &[&str] = if wide { &WIDE_HOSTS } else { &HOSTS };
        kinds.push(format!("host: {}", some(random, hosts)));
    }
    match path {
        Some(path) => kinds.push(format!("path: {path}")),
        None if random.u8(..10) < 7 => {
            let paths: &[&str] = if wide { &WIDE_PATHS } else { &PATHS };
            kinds.push(format!("path: {}", some(random, paths)));
        }
        None => {}
    }
    if random.u8(..10) < 3 {
        kinds.push(format!("method: {}", some(random, &METHODS)));
    }
    if random.u8(..10) < 6 || wide || kinds.len() < 2 {
        further(random, &mut kinds);
    }
    if random.u8(..10) < 2 || kinds.len() < 2 {
        kinds.push(not(random, 2));
    }
    format!("{{ {} }}", kinds.join(", "))
}

/// Part of a redirect, with places for the request.
const REDIRECTS: [&str; 9] = [
    "path: /to",
    "host: to.test",
    "scheme: https",
    "port: 81",
    "path: '/to/#{path}'",
    "host: 'x.#{host}'",
    "port: '#{port}'",
    "scheme: '#{protocol}'",
    "path: '/of/#{client}/#{port}'",
];

/// Another query alone leads back to the rule, and is refused; so do these.
const ALONE: usize = 6;

fn redirect(random: &mut Rng, captures: bool) -> String {
    let captured: &[&str] = match captures {
        true => &["path: '/$2/$1'", "host: '$1.test'", "path: '/$0/$$'"],
        false => &REDIRECTS[..ALONE],
    };
    let queries = ["query: to", "query: '#{query}&a=1'", "query: ''"];
    let beside = [REDIRECTS.as_slice(), &queries].concat();
    let to: BTreeMap<_, _> = [of(random, &beside), of(random, captured)]
        .map(|to| to.split_once(": ").unwrap())
        .into();
    let to: Vec<_> = to
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    let status = of(random, &["301", "302", "303", "307", "308"]);
    format!("redirect: {{ status: {status}, {} }}", to.join(", "))
}

/// Any service; mostly one that serves.
fn service(random: &mut Rng) -> usize {
    match random.u8(..4) {
        0 => random.usize(..REFUSING),
        _ => random.usize(REFUSING..SERVICES),
    }
}

/// Two to four services, a weight of 0 among them now and then.
fn split(random: &mut Rng, at: usize) -> String {
    let mut sides = BTreeMap::from([(service(random), random.u16(1..999))]);
    while sides.len() < 2 + at % 3 {
        let weight = if random.u8(..3) == 0 {
            0
        } else {
            random.u16(..999)
        };
        sides.entry(service(random)).or_insert(weight);
    }
    let sides: Vec<_> = sides
        .iter()
        .map(|(service, weight)| format!("s{service}: {weight}"))
        .collect();
    let sides = sides.join(", ");
    match random.u8(..4) {
        0 => format!("forward: {{ {sides} }}"),
        1 => format!("forward: {{ to: {{ {sides} }}, affinity: {{ source: true }} }}"),
        // A name of its own, or the one that all such rules share.
        kind => {
            let name = if kind == 2 {
                format!("side-{at}")
            } else {
                "side".into()
            };
            format!("forward: {{ to: {{ {sides} }}, affinity: {{ cookie: {{ name: {name} }} }} }}")
        }
    }
}

/// A file of hosts.
fn map(random: &mut Rng, name: &str, folder: &Folder) {
    let hosts = [
        "a.test", "b.test", "*.a.test", "xy.test", "[::1]", "10.0.0.1",
    ];
    let mut lines = BTreeMap::new();
    for _ in 0..random.usize(2..5) {
        lines.insert(of(random, &hosts), service(random));
    }
    let lines: String = lines
        .iter()
        .map(|(host, service)| format!("{host} s{service}\n"))
        .collect();
    folder.write(name, &lines);
}

/// What goes with a rule that forwards.
fn beside(random: &mut Rng, at: usize, own: Option<usize>) -> String {
    let mut beside = String::new();
    if random.u8(..10) < 6 {
        beside += &match random.u8(..3) {
            0 => {
                let other = service(random);
                // A service is no fallback for itself.
                let other = (other + usize::from(Some(other) == own)) % SERVICES;
                format!(", fallback: {{ forward: s{other} }}")
            }
            1 => format!(", fallback: {{ respond: {{ status: 203, body: f{at} }} }}"),
            _ => format!(", fallback: {{ {} }}", redirect(random, false)),
        };
    }
    if random.u8(..12) == 0 {
        beside += ", limits: { body: 3B }";
    }
    beside
}

/// What is rewritten on the way to a backend.
fn rewritten(random: &mut Rng) -> Vec<String> {
    let mut parts = Vec::new();
    match random.u8(..4) {
        0 => parts.push(format!(
            "prefix: {}",
            of(
                random,
                &[
                    "{ from: /a, to: /z }",
                    "{ from: /b, to: / }",
                    "{ from: /, to: /under }",
                ]
            )
        )),
        // The last two make paths now and then that are none.
        1 => parts.push(format!(
            "regex: {}",
            of(
                random,
                &[
                    "{ match: '^/a/([^/]*)', to: '/r/$1?was=#{query}' }",
                    "{ match: '^/(.)', to: '/#{host}/$1' }",
                    "{ match: '$', to: '?' }",
                    "{ match: 'b', to: '..' }",
                    "{ match: '/a', to: '' }",
                ]
            )
        )),
        _ => {}
    }
    if random.u8(..3) == 0 {
        let host = of(
            random,
            &[
                "inner.test:81",
                "'#{host}'",
                "{ match: '^x', to: 'y' }",
                "{ match: '^a', to: '' }",
            ],
        );
        parts.push(format!("host: {host}"));
    }
    if random.u8(..3) == 0 {
        let fields = of(
            random,
            &[
                "{ set: { x-tier: \"#{client}\" } }",
                "{ set: { x-user: gold }, add: { x-more: \"#{protocol} #{path}\" } }",
                "{ remove: [x-user, cookie] }",
                "{ add: { x-more: \"#{query}\" }, remove: x-tier }",
                "{ add: { x-tier: \"of #{host}\" } }",
            ],
        );
        parts.push(format!("request_headers: {fields}"));
    }
    parts
}

/// A rule but for its name: its conditions, and what is done.
fn rule(random: &mut Rng, at: usize, folder: &Folder, name: &str) -> String {
    let (mut path, mut own, mut parts, mut forwards) = (None, None, Vec::new(), true);
    let action = match random.u8(..20) {
        0..3 => {
            forwards = false;
            format!(
                "respond: {{ status: {}, body: r{at} }}",
                random.u16(200..204)
            )
        }
        3..6 => {
            forwards = false;
            let captures = random.bool();
            path = captures.then_some("{ regex: \"^/([a-z]*)/?([^/]*)\" }");
            redirect(random, captures)
        }
        6 => {
            forwards = false;
            let deny = ["true", "{ status: 451 }", "{ status: 503 }"];
            format!("deny: {}", of(random, &deny))
        }
        7..9 => {
            let file = format!("{name}-{at}.map");
            map(random, &file, folder);
            format!("host_map: {{ file: {file} }}")
        }
        9..14 => split(random, at),
        _ => {
            let service = service(random);
            own = Some(service);
            format!("forward: s{service}")
        }
    };
    let when = when(random, path);
    let mut more = String::new();
    if forwards {
        more = beside(random, at, own);
        parts = rewritten(random);
    }
    // Who answered is seen from outside; where nothing is altered, the other way through the proxy is taken.
    if random.u8(..5) > 0 {
        let remove = of(random, &["", ", remove: [server, content-type]"]);
        parts.push(format!(
            "response_headers: {{ set: {{ x-rule: r{at} }}{remove} }}"
        ));
    }
    if !parts.is_empty() {
        let _ = write!(more, ", rewrite: {{ {} }}", parts.join(", "));
    }
    format!("when: {when}, {action}{more}")
}

/// Services of one to three backends; of the first ones none may be picked.
fn services(random: &mut Rng, mut left: impl Iterator<Item = SocketAddr>) -> String {
    let mut services = String::new();
    for at in 0..SERVICES {
        let state = match at {
            0..REFUSING => of(random, &["weight: 0", "state: draining", "state: disabled"]),
            _ => "weight: 1",
        };
        let member = |address| format!("{{ address: \"{address}\", {state} }}");
        let several = 1 + random.usize(..3);
        let mut members: Vec<_> = left.by_ref().take(several).map(member).collect();
        // One who may not be picked beside others.
        if at % 7 == 0
            && let Some(address) = left.next()
        {
            members.push(format!("{{ address: \"{address}\", weight: 0 }}"));
        }
        let keys = [
            "source",
            "path",
            "uri",
            "{ header: X-User }",
            "{ cookie: user }",
        ];
        let methods = [
            "maglev",
            "ring",
            "rendezvous",
            // Wide: an exchange before may be in flight for a moment after its client has its answer.
            "maglev, bounded: 8",
            "rendezvous, bounded: 12",
        ];
        let policy = match random.bool() {
            true => format!(
                "{{ hash: {{ key: {}, method: {} }} }}",
                of(random, &keys),
                of(random, &methods)
            ),
            false => {
                let names = [
                    "adaptive",
                    "RoundRobin",
                    "leastconn",
                    "least_time",
                    "peak_ewma",
                ];
                of(random, &names).to_owned()
            }
        };
        let _ = writeln!(
            services,
            "  s{at}: {{ policy: {policy}, backends: [{}] }}",
            members.join(", ")
        );
    }
    services
}

/// A configuration; a rule stands on a line.
pub(super) fn configuration(
    random: &mut Rng,
    backends: &[SocketAddr],
    folder: &Folder,
    name: &str,
) -> String {
    let form = of(random, &["normalize", "refuse", "as_is"]);
    let services = services(random, backends.iter().copied());
    let mut rules = String::new();
    for at in 0..RULES {
        let listeners = ["", "", "", "listeners: one, ", "listeners: [two], "];
        let listeners = of(random, &listeners);
        let rule = rule(random, at, folder, name);
        // With ties.
        let priority = random.u8(1..100);
        let _ = writeln!(
            rules,
            "- {{ name: r{at}, priority: {priority}, {listeners}{rule} }}"
        );
    }
    let trusted = of(
        random,
        &[
            "127.0.0.0/8",
            "[127.0.0.1, 127.0.0.5, 10.0.0.0/8]",
            "10.0.0.0/8",
        ],
    );
    format!(
        "admin: {{ bind: off }}\nworkers: 2\ntrusted_proxies: {trusted}\nlisteners:\n  one: {{ bind: \"127.0.0.1:0\", path: {form} }}\n  two: {{ bind: \"127.0.0.1:0\", limits: {{ body: 5B, head: 4KiB }} }}\nservices:\n{services}rules:\n{rules}"
    )
}

/// A plan of a text whose rules stand on a line each, without the rules that can hold for nothing or are never reached; and that
/// text.
pub(super) fn planned(text: String, file: &str) -> (Plan, String) {
    let read = |text: String| {
        let sources = [Source {
            name: file.into(),
            text,
        }];
        let environment = BTreeMap::new();
        let maps = files(&sources, &environment).into_iter();
        let maps = maps.map(|path| {
            (
                path.clone(),
                std::fs::read(&path).map_err(|e| e.to_string()),
            )
        });
        let loaded = load_with(&sources, &environment, maps.collect());
        let [source] = sources;
        (loaded, source.text)
    };
    let (mut loaded, mut text) = read(text);
    // What stands behind a rule that goes may be reached then; what goes is told at once.
    while loaded.plan.is_none() {
        let drops = |line: usize| {
            let mut problems = loaded.problems.iter();
            problems.any(|problem| {
                ["unreachable_rule", "never_holds"].contains(&problem.word)
                    && problem.at.line == line
            })
        };
        let lines: Vec<_> = text
            .lines()
            .enumerate()
            .filter(|(at, _)| !drops(at + 1))
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        assert!(
            lines.len() < text.lines().count(),
            "{text}\n{:#?}",
            loaded.problems
        );
        (loaded, text) = read(lines.concat());
    }
    (loaded.plan.unwrap(), text)
}

#[derive(Clone)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) fields: Vec<(&'static str, String)>,
}

impl Request {
    pub(super) fn draw(random: &mut Rng) -> Self {
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
            &["", "", "?", "?a=b", "?/a", "?A=%42&x", "?x=b&c=d+e"],
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
        request.beside(random);
        if random.u8(..12) == 0 {
            request.spoil(random);
        }
        request
    }

    /// Fields that rules and policies ask for.
    fn beside(&mut self, random: &mut Rng) {
        if random.bool() {
            let many = [
                "1.2.3.4",
                "2.3.4.5",
                "1.2.3.4, 10.1.1.1",
                "nobody",
                "2001:db8::1",
            ];
            self.fields
                .push(("X-Forwarded-For", of(random, &many).into()));
        }
        if random.u8(..4) == 0 {
            let scheme = of(random, &["https", "http", "ftp"]);
            self.fields.push(("X-Forwarded-Proto", scheme.into()));
        }
        if random.bool() {
            self.fields.push(("X-User", random.u8(..).to_string()));
        }
        for _ in 0..random.usize(..3) {
            let tier = of(random, &["gold", "Gold", "silver", "none"]);
            self.fields.push(("X-Tier", tier.into()));
        }
        if random.bool() {
            let tier = of(random, &["a", "ab", "b", "\"a\""]);
            let user = match random.u8(..4) {
                0 => String::new(),
                _ => format!("user={}; ", random.u8(..)),
            };
            self.fields
                .push(("Cookie", format!("x=y; {user}tier={tier}")));
        }
        if random.u8(..6) == 0 {
            // Of nobody, and of no form.
            let side = of(random, &["side=0123456789abcdef", "side=x; side=y"]);
            self.fields.push(("Cookie", side.into()));
        }
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
                of(random, &["0", "x", "6", "6", "6", "99999999999999999999"]).into(),
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

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        (text + "\r\n").into_bytes()
    }
}
