//! Clients that stay on their backends, through the shipped binary: by a cookie of ours, one of the application, and the address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::process::{Evenkeel, Folder, nobodys, until};
use crate::rules_actions::echo::{Client, Echo, Gate, Message};
use crate::upgrade::Line;

/// By cookies of the application, and ours beside them.
mod followed;

/// Cookies that go no further.
mod stripped;

const LOGGED: &str = "access_log: { to: access.log }\n";

struct Scene {
    folder: Folder,
    backends: Vec<Echo>,
    affinity: &'static str,
    top: &'static str,
}

impl Scene {
    fn new(name: &str, affinity: &'static str) -> Self {
        Self {
            folder: Folder::new(name),
            backends: ["one", "two", "three"].map(Echo::start).into(),
            affinity,
            top: "",
        }
    }

    fn text(&self) -> String {
        let ids = ["one", "two", "three"];
        let backends = ids.iter().zip(&self.backends);
        let backends: Vec<String> = backends
            .map(|(id, echo)| format!("{{ id: {id}, address: \"{}\" }}", echo.address))
            .collect();
        format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 2\n{}listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices:\n  api:\n    policy: random\n    backends: [{}]\n    affinity: {}\n",
            self.top,
            backends.join(", "),
            self.affinity
        )
    }

    fn write(&self) -> String {
        let file = self.folder.write("keel.yaml", &self.text());
        file.to_str().unwrap().to_owned()
    }

    fn run(&self, more: &[&str]) -> Evenkeel {
        let file = self.write();
        let folder = self.folder.path().to_str().unwrap();
        let more: Vec<String> = more.iter().map(|one| one.replace('@', folder)).collect();
        let mut arguments = vec!["-c", &*file];
        arguments.extend(more.iter().map(|one| &**one));
        Evenkeel::run(&arguments)
    }

    /// Rows of the access log that hold all of these.
    fn logged(&self, marks: &[&str]) -> usize {
        let text = std::fs::read_to_string(self.folder.path().join("access.log"));
        let text = text.unwrap_or_default();
        text.lines()
            .filter(|row| marks.iter().all(|mark| row.contains(mark)))
            .count()
    }
}

/// Who answered.
fn name(answer: &Message) -> String {
    assert_eq!(answer.status(), 200, "{}", answer.head);
    answer.body.lines().next().unwrap().to_owned()
}

/// The cookie of ours that an answer sets, as a client shows it.
fn ours(answer: &Message) -> Option<String> {
    let all = answer.all("set-cookie");
    assert!(all.iter().filter(|line| line.starts_with("keel")).count() < 2);
    let line = all.iter().find(|line| line.starts_with("keel"))?;
    Some(line.split(';').next().unwrap().to_owned())
}

fn shown(cookie: &str) -> String {
    format!("Cookie: {cookie}\r\n")
}

/// Asks as a client that shows this cookie: the same backend serves it each time, and says nothing new.
fn stays(address: SocketAddr, cookie: &str, expect: &str) {
    let mut client = Client::to(address);
    for _ in 0..20 {
        let got = client.get("/", &shown(cookie));
        assert_eq!((name(&got), ours(&got)), (expect.to_owned(), None));
    }
}

fn drawn(address: SocketAddr) -> (String, String) {
    let got = Client::to(address).get("/", "");
    (name(&got), ours(&got).unwrap())
}

fn post(keel: &Evenkeel, path: &str) {
    let said = keel.asked(
        &["-X", "POST", "-H", "X-Evenkeel: 1", "-H", "If-Match: *"],
        &format!("/v1/services/api/backends/{path}"),
    );
    assert!(said.contains("\"state\""), "{said}");
}

#[track_caller]
/// An exchange is counted once its answer is sent, and so a moment after that has come.
fn metric(keel: &Evenkeel, row: &str) {
    crate::queue::until(keel, &format!("{row}\n"));
}

#[test]
fn a_cookie_keeps_a_client_on_its_backend() {
    let scene = Scene::new("affinity-cookie", "{ cookie: { name: keel, ttl: 1h } }");
    let keel = scene.run(&[]);
    let mut all = BTreeSet::new();
    for _ in 0..12 {
        let got = Client::to(keel.address).get("/", "Cookie: a=1; b=2\r\n");
        let (backend, cookie) = (name(&got), ours(&got).unwrap());
        let lines = got.all("set-cookie");
        assert_eq!(lines[0], "own=1");
        let (pair, attributes) = lines[1].split_once("; ").unwrap();
        assert_eq!(attributes, "Max-Age=3600; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(got.all("cache-control"), ["private"]);
        // Nobody reads from it where it leads.
        let value = pair.strip_prefix("keel=").unwrap();
        assert!(
            value.len() == 44
                && value
                    .bytes()
                    .all(|one| one.is_ascii_alphanumeric() || b"-_".contains(&one)),
            "{value}"
        );
        stays(keel.address, &cookie, &backend);
        stays(keel.address, &format!("a=1; {cookie}; b=2"), &backend);
        all.insert(cookie);
    }
    // A backend is asked without it, and with all others.
    let cookie = all.first().unwrap();
    let got = Client::to(keel.address).get("/", &shown(&format!("a=1; {cookie}; b=2")));
    assert!(
        got.body.contains("\nCookie: a=1; b=2\r\n") && !got.body.contains("keel="),
        "{}",
        got.body
    );
    assert!(got.all("cache-control").is_empty());
    let got = Client::to(keel.address).get("/", &shown(cookie));
    assert!(!got.body.to_lowercase().contains("cookie"), "{}", got.body);
    metric(
        &keel,
        "evenkeel_affinity_total{service=\"api\",client=\"new\"} 12",
    );
}

/// What is none of ours counts as nothing, and is no error.
#[test]
fn hostile_values_are_nothing() {
    let scene = Scene::new("affinity-hostile", "{ cookie: { name: keel } }");
    let keel = scene.run(&[]);
    let (_, good) = drawn(keel.address);
    let value = good.strip_prefix("keel=").unwrap();
    let mut flipped = value.to_owned().into_bytes();
    flipped[20] ^= 1;
    let bad = [
        String::new(),
        "=".into(),
        "\"".into(),
        value[1..].into(),
        format!("{value}A"),
        value.to_uppercase(),
        value.chars().rev().collect(),
        String::from_utf8(flipped).unwrap(),
        format!("1{}", "A".repeat(43)),
        "A".repeat(8000),
        "../../etc/passwd".into(),
        "%00".into(),
    ];
    let mut client = Client::to(keel.address);
    for bad in &bad {
        let got = client.get("/", &shown(&format!("keel={bad}")));
        assert!(ours(&got).is_some(), "{bad}");
        assert!(!got.body.contains("keel="), "{}", got.body);
    }
    let row = "evenkeel_affinity_ignored_total{service=\"api\",reason=\"invalid\"}";
    metric(&keel, &format!("{row} {}", bad.len()));
    // Beside a wrong one the right one counts.
    let (backend, good) = drawn(keel.address);
    stays(keel.address, &format!("keel={}; {good}", bad[8]), &backend);
}

#[test]
fn a_client_moves_once_where_its_backend_is_lost() {
    let mut scene = Scene::new("affinity-lost", "{ cookie: { name: keel, ttl: 0s } }");
    let logged = LOGGED.replace(
        "access.log",
        scene.folder.path().join("access.log").to_str().unwrap(),
    );
    scene.top = logged.leak();
    let keel = scene.run(&[]);
    let (backend, cookie) = drawn(keel.address);
    // One that drains keeps those that it has, and gets no others.
    post(&keel, &format!("{backend}/drain"));
    stays(keel.address, &cookie, &backend);
    for _ in 0..20 {
        assert_ne!(drawn(keel.address).0, backend);
    }
    post(&keel, &format!("{backend}/disable"));
    let got = Client::to(keel.address).get("/", &shown(&cookie));
    let (next, moved) = (name(&got), ours(&got).unwrap());
    assert_ne!(next, backend);
    let told = got.all("set-cookie").pop().unwrap();
    assert_eq!(
        told.split_once("; ").unwrap().1,
        "Path=/; HttpOnly; SameSite=Lax"
    );
    stays(keel.address, &moved, &next);
    // It does not go back.
    post(&keel, &format!("{backend}/enable"));
    stays(keel.address, &moved, &next);
    metric(
        &keel,
        "evenkeel_affinity_moves_total{service=\"api\",reason=\"disabled\"} 1",
    );
    let (status, _) = keel_ends(keel);
    assert!(status);
    assert_eq!(
        scene.logged(&["\"affinity\":\"moved\"", "\"affinity_lost\":\"disabled\""]),
        1
    );
    assert_eq!(
        scene.logged(&["\"affinity\":\"kept\"", "\"affinity_lost\":null"]),
        60
    );
    assert_eq!(scene.logged(&["\"affinity\":\"new\""]), 21);
}

fn keel_ends(keel: Evenkeel) -> (bool, String) {
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    (status.success(), said)
}

/// The answer of another attempt says where the client is from now on.
#[test]
fn a_retry_moves_its_client_where_the_answer_came_from() {
    let mut scene = Scene::new(
        "affinity-retry",
        "{ cookie: { name: keel } }\n    breaker: off",
    );
    let keel = scene.run(&[]);
    let (backend, cookie) = drawn(keel.address);
    let at = ["one", "two", "three"]
        .iter()
        .position(|one| *one == backend)
        .unwrap();
    // Nobody listens where it is now; who it is has not changed.
    scene.backends[at].address = nobodys();
    let mut keel = keel;
    scene.write();
    keel.signal("-HUP");
    keel.until("changes\n");
    let got = Client::to(keel.address).get("/", &shown(&cookie));
    let (next, moved) = (name(&got), ours(&got).unwrap());
    assert_ne!(next, backend);
    stays(keel.address, &moved, &next);
    metric(
        &keel,
        "evenkeel_affinity_moves_total{service=\"api\",reason=\"tried\"} 1",
    );
}

/// A key that is named is everybody's who has it; another one in front of it signs from then on.
#[test]
fn keys_of_a_file_hold_everywhere() {
    let mut scene = Scene::new("affinity-keys", "{ cookie: { name: keel } }");
    scene.top = "affinity_keys: cookies.key\n";
    let (old, new) = (
        "12345678901234567890123456789012",
        "abcdefghijklmnopqrstuvwxyz012345",
    );
    scene.folder.write("cookies.key", old);
    let (keel, other) = (scene.run(&[]), scene.run(&[]));
    let (backend, cookie) = drawn(keel.address);
    stays(keel.address, &cookie, &backend);
    stays(other.address, &cookie, &backend);
    drop(keel);
    let mut keel = scene.run(&[]);
    stays(keel.address, &cookie, &backend);
    scene.folder.write("cookies.key", &format!("{new}{old}"));
    keel.signal("-HUP");
    keel.until("affinity_keys changes\n");
    let got = Client::to(keel.address).get("/", &shown(&cookie));
    assert_eq!(name(&got), backend);
    let signed_anew = ours(&got).unwrap();
    scene.folder.write("cookies.key", new);
    keel.signal("-HUP");
    keel.until_any("affinity_keys changes\n");
    stays(keel.address, &signed_anew, &backend);
    // What the old one signed is nobody's any more.
    let got = Client::to(keel.address).get("/", &shown(&cookie));
    assert!(ours(&got).is_some());
}

#[test]
fn the_own_key_lasts_as_long_as_it_can() {
    let scene = Scene::new("affinity-own", "{ cookie: { name: keel } }");
    let state = ["--state-dir", "@/state"];
    std::fs::create_dir(scene.folder.path().join("state")).unwrap();
    let mut keel = scene.run(&state);
    let (backend, cookie) = drawn(keel.address);
    keel.signal("-HUP");
    keel.until_any("nothing changes");
    stays(keel.address, &cookie, &backend);
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    stays(keel.address, &cookie, &backend);
    drop((line, keel));
    let keel = scene.run(&state);
    stays(keel.address, &cookie, &backend);
    drop(keel);
    // Without the directory a start has a key of its own, and upgrades keep that too.
    let mut keel = scene.run(&[]);
    let got = Client::to(keel.address).get("/", &shown(&cookie));
    let (backend, cookie) = (name(&got), ours(&got).unwrap());
    let mut line = Line::default();
    for _ in 0..2 {
        line.upgrade(&mut keel, &[]);
        stays(keel.address, &cookie, &backend);
    }
}

#[test]
fn an_address_is_kept() {
    let mut scene = Scene::new("affinity-source", "{ source: { clients: 1000, ttl: 1h } }");
    scene.top = "trusted_proxies: 127.0.0.1\n";
    let mut keel = scene.run(&[]);
    // Every other one by IPv6, whose address within its network is another one each time.
    let of = |keel: &Evenkeel, client: u8| {
        let mut asks = Client::to(keel.address);
        let fields = |nth: u8| match client % 2 {
            0 => format!("X-Forwarded-For: 192.0.2.{client}\r\n"),
            _ => format!("X-Forwarded-For: 2001:db8:0:{client:x}::{nth:x}\r\n"),
        };
        let first = name(&asks.get("/", &fields(0)));
        for nth in 1..6 {
            let got = asks.get("/", &fields(nth));
            assert_eq!((name(&got), ours(&got)), (first.clone(), None));
        }
        first
    };
    let before: Vec<_> = (0..40).map(|client| of(&keel, client)).collect();
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3);
    metric(&keel, "evenkeel_affinity_clients{service=\"api\"} 40");
    // Another that comes moves nobody, nor does a process that takes over.
    scene.backends.push(Echo::start("four"));
    let text = scene.text();
    let at = text.find("]\n    affinity").unwrap();
    let four = format!(
        ", {{ id: four, address: \"{}\" }}",
        scene.backends[3].address
    );
    let text = format!("{}{four}{}", &text[..at], &text[at..]);
    scene.folder.write("keel.yaml", &text);
    keel.signal("-HUP");
    keel.until_any("backend four is added");
    let after: Vec<_> = (0..40).map(|client| of(&keel, client)).collect();
    assert_eq!(after, before);
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    let after: Vec<_> = (0..40).map(|client| of(&keel, client)).collect();
    assert_eq!(after, before);
    metric(&keel, "evenkeel_affinity_clients{service=\"api\"} 40");
    metric(
        &keel,
        "evenkeel_affinity_clients_limit{service=\"api\"} 1000",
    );
}

/// An address begins at the same backend on every instance, and after a start that remembers nobody; whatever the policy draws.
#[test]
fn an_address_begins_where_it_does_elsewhere() {
    let mut scene = Scene::new("affinity-begins", "{ source: true }");
    scene.top = "trusted_proxies: 127.0.0.1\n";
    let served = |keel: &Evenkeel, clients: &[u8]| -> BTreeMap<u8, String> {
        let mut asks = Client::to(keel.address);
        let mut of = |client: u8| {
            let fields = format!("X-Forwarded-For: 192.0.2.{client}\r\n");
            name(&asks.get("/", &fields))
        };
        clients.iter().map(|&client| (client, of(client))).collect()
    };
    let mut clients: Vec<u8> = (0..60).collect();
    let (keel, other) = (scene.run(&[]), scene.run(&[]));
    let began = served(&keel, &clients);
    for backend in ["one", "two", "three"] {
        let count = began.values().filter(|one| *one == backend).count();
        assert!((10..=30).contains(&count), "{backend} {count}");
    }
    // Who comes when says nothing.
    clients.reverse();
    assert_eq!(served(&other, &clients), began);
    drop(keel);
    let keel = scene.run(&[]);
    assert_eq!(served(&keel, &clients), began);
    metric(
        &keel,
        "evenkeel_affinity_total{service=\"api\",client=\"new\"} 60",
    );
    // Who is gone moves its own, on both to the same.
    for keel in [&keel, &other] {
        post(keel, "one/disable");
    }
    let moved = served(&keel, &clients);
    assert_eq!(served(&other, &clients), moved);
    for (client, backend) in &began {
        assert!(backend == "one" || moved[client] == *backend);
    }
    // And so does who has seen neither.
    let third = scene.run(&[]);
    post(&third, "one/disable");
    assert_eq!(served(&third, &clients), moved);
}

/// A cookie that came by TLS goes back by TLS only; a trusted peer says what it was.
#[test]
fn attributes_follow_the_scheme() {
    let mut scene = Scene::new(
        "affinity-secure",
        "{ cookie: { name: keel, domain: example.com, path: /shop, same_site: strict } }",
    );
    scene.top = "trusted_proxies: 127.0.0.1\n";
    let keel = scene.run(&[]);
    let told = |fields: &str| {
        let got = Client::to(keel.address).get("/", fields);
        let line = got.all("set-cookie").pop().unwrap();
        line.split_once("; ").unwrap().1.to_owned()
    };
    let plain = "Max-Age=86400; Path=/shop; Domain=example.com; HttpOnly; SameSite=Strict";
    assert_eq!(told(""), plain);
    assert_eq!(
        told("X-Forwarded-Proto: https\r\n"),
        format!("{plain}; Secure")
    );
}

/// curl with its jar, by both versions.
#[test]
fn a_jar_of_cookies_works() {
    let scene = Scene::new("affinity-jar", "{ cookie: {} }");
    let keel = scene.run(&[]);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let jar = scene.folder.path().join(format!("jar{version}"));
        let jar = jar.to_str().unwrap();
        let asked = || {
            let said = keel.curl(&[version, "-b", jar, "-c", jar], "/");
            said.lines().next().unwrap().to_owned()
        };
        let first = asked();
        assert!((0..20).all(|_| asked() == first), "{version}");
    }
}

/// Two backends that take one at a time, and let it go when they are told to.
struct Narrow {
    keel: Evenkeel,
    gates: [Gate; 2],
    _scene: Scene,
}

impl Narrow {
    fn new(name: &str, affinity: &'static str) -> Self {
        let mut scene = Scene::new(name, affinity);
        let gates = [Gate::default(), Gate::default()];
        let names = ["one", "two"].into_iter().zip(&gates);
        scene.backends = names
            .map(|(name, gate)| Echo::gated(name, gate.clone()))
            .collect();
        let limits = "policy: round_robin\n    limits: { queue: { length: 8, timeout: 1h } }\n    timeouts: { exchange: 2h, per_try: 1h }";
        let text = scene.text().replace("policy: random", limits);
        let text = text.replace("workers: 2", "workers: 1");
        let text = text.replace("\" }, {", "\", max_in_flight: 1 }, {");
        let text = text.replace("\" }]", "\", max_in_flight: 1 }]");
        let file = scene.folder.write("keel.yaml", &text);
        Self {
            keel: Evenkeel::run(&["-c", file.to_str().unwrap()]),
            gates,
            _scene: scene,
        }
    }

    fn ask(&self, cookie: &str) -> std::thread::JoinHandle<Message> {
        let (address, fields) = (self.keel.address, shown(cookie));
        std::thread::spawn(move || Client::to(address).get("/", &fields))
    }

    /// Asks, and waits until it waits as one of so many.
    fn waits(&self, cookie: &str, waiting: usize) -> std::thread::JoinHandle<Message> {
        let asked = self.ask(cookie);
        let row = format!("evenkeel_queue_waiting{{service=\"api\"}} {waiting}\n");
        crate::queue::until(&self.keel, &row);
        asked
    }

    /// The cookie of a client that this backend serves, since the other does not.
    fn cookie_of(&self, at: usize) -> String {
        let other = ["two", "one"][at];
        post(&self.keel, &format!("{other}/disable"));
        let first = self.ask("a=1");
        self.gates[at].reached();
        self.gates[at].open();
        let first = first.join().unwrap();
        post(&self.keel, &format!("{other}/enable"));
        assert_eq!(name(&first), ["one", "two"][at]);
        ours(&first).unwrap_or_else(|| "a=1".into())
    }

    /// Who answers once this backend lets it go, and what it tells.
    fn served(
        &self,
        at: usize,
        asked: std::thread::JoinHandle<Message>,
    ) -> (String, Option<String>) {
        self.gates[at].open();
        let got = asked.join().unwrap();
        (name(&got), ours(&got))
    }
}

fn untold(backend: &str) -> (String, Option<String>) {
    (backend.to_owned(), None)
}

/// A backend that is full has another serve its client, who goes back as soon as there is room: also one that waited in the queue.
#[test]
fn a_client_of_a_full_backend_spills() {
    for affinity in ["{ cookie: { name: keel } }", "{ source: true }"] {
        let narrow = Narrow::new("affinity-full", affinity);
        let [one, two] = &narrow.gates;
        let cookie = narrow.cookie_of(0);
        let held = narrow.ask(&cookie);
        one.reached();
        let spilled = narrow.ask(&cookie);
        two.reached();
        // Both are full, and the other one is free first: nobody else waits for it.
        let waits = narrow.waits(&cookie, 1);
        assert_eq!(narrow.served(1, spilled), untold("two"));
        two.reached();
        assert_eq!(narrow.served(1, waits), untold("two"));
        assert_eq!(narrow.served(0, held), untold("one"));
        let back = narrow.ask(&cookie);
        one.reached();
        assert_eq!(narrow.served(0, back), untold("one"));
        metric(
            &narrow.keel,
            "evenkeel_affinity_total{service=\"api\",client=\"spilled\"} 2",
        );
    }
}

/// Who waits while all is full goes to its own backend when that has room, before those who came earlier for another.
#[test]
fn who_waits_goes_home() {
    let narrow = Narrow::new("affinity-waits", "{ cookie: { name: keel } }");
    let [one, two] = &narrow.gates;
    let cookies = [narrow.cookie_of(0), narrow.cookie_of(1)];
    let held = [0, 1].map(|at| {
        let asked = narrow.ask(&cookies[at]);
        narrow.gates[at].reached();
        asked
    });
    let (first, stranger) = (narrow.waits(&cookies[1], 1), narrow.waits("a=1", 2));
    let second = narrow.waits(&cookies[0], 3);
    let [of_one, of_two] = held;
    assert_eq!(narrow.served(0, of_one), untold("one"));
    one.reached();
    assert_eq!(narrow.served(0, second), untold("one"));
    // Nobody else waits for it: whoever came first is served.
    one.reached();
    assert_eq!(narrow.served(0, first), untold("one"));
    one.reached();
    let (stranger, told) = narrow.served(0, stranger);
    assert!(stranger == "one" && told.is_some());
    assert_eq!(narrow.served(1, of_two), untold("two"));
    let back = narrow.ask(&cookies[1]);
    two.reached();
    assert_eq!(narrow.served(1, back), untold("two"));
}

/// What a client asks at once when its backend is lost goes to one place, by any worker and by every instance that has the key.
#[test]
fn a_client_that_asks_at_once_moves_to_one_place() {
    let mut scene = Scene::new("affinity-at-once", "{ cookie: { name: keel } }");
    scene.top = "affinity_keys: cookies.key\n";
    scene
        .folder
        .write("cookies.key", "12345678901234567890123456789012");
    let instances = [scene.run(&[]), scene.run(&[])];
    let cookies: Vec<_> = std::iter::repeat_with(|| drawn(instances[0].address))
        .filter(|(backend, _)| backend == "one")
        .take(12)
        .collect();
    instances.iter().for_each(|keel| post(keel, "one/disable"));
    let mut seen = BTreeSet::new();
    for (_, cookie) in &cookies {
        let asks = |keel: &Evenkeel| {
            let (address, fields) = (keel.address, shown(cookie));
            std::thread::spawn(move || name(&Client::to(address).get("/", &fields)))
        };
        let asked: Vec<_> = (0..6).map(|nth| asks(&instances[nth % 2])).collect();
        let next: BTreeSet<_> = asked.into_iter().map(|one| one.join().unwrap()).collect();
        assert_eq!(next.len(), 1, "{next:?}");
        seen.extend(next);
    }
    assert!(!seen.contains("one"));
}

/// What it asks at once moves it once, where the instance remembers it: that is what is said and counted.
#[test]
fn a_client_that_asks_at_once_moves_once() {
    let mut scene = Scene::new("affinity-moves-once", "{ source: true }");
    let gates = [Gate::default(), Gate::default()];
    let names = ["one", "two"].into_iter().zip(&gates);
    scene.backends = names
        .map(|(name, gate)| Echo::gated(name, gate.clone()))
        .collect();
    let keel = scene.run(&[]);
    let ask = || {
        let address = keel.address;
        std::thread::spawn(move || name(&Client::to(address).get("/", "")))
    };
    post(&keel, "two/disable");
    let first = ask();
    gates[0].reached();
    gates[0].open();
    assert_eq!(first.join().unwrap(), "one");
    post(&keel, "two/enable");
    post(&keel, "one/disable");
    let asked = [ask(), ask(), ask()];
    asked.iter().for_each(|_| gates[1].reached());
    asked.iter().for_each(|_| gates[1].open());
    for one in asked {
        assert_eq!(one.join().unwrap(), "two");
    }
    metric(
        &keel,
        "evenkeel_affinity_total{service=\"api\",client=\"kept\"} 2",
    );
    metric(
        &keel,
        "evenkeel_affinity_moves_total{service=\"api\",reason=\"disabled\"} 1",
    );
}

/// Each side of a split keeps its clients beside the split's own cookie.
#[test]
fn a_split_and_its_services_keep_their_own() {
    let scene = Scene::new("affinity-split", "{ cookie: { name: keel } }");
    let next = Echo::start("next");
    let text = format!(
        "{}  other: {{ backends: [\"{}\"], affinity: {{ cookie: {{ name: keel }} }} }}\nrules:\n  - forward: {{ to: {{ api: 1, other: 1 }}, affinity: {{ cookie: {{ name: side }} }} }}\n",
        scene.text(),
        next.address
    );
    let file = scene.folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut seen = BTreeSet::new();
    while seen.len() < 4 {
        let got = Client::to(keel.address).get("/", "");
        let lines = got.all("set-cookie");
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(got.all("cache-control"), ["private"]);
        let pairs: Vec<_> = lines
            .iter()
            .map(|line| line.split(';').next().unwrap())
            .collect();
        assert!(
            pairs[1].starts_with("side=") && pairs[2].starts_with("keel="),
            "{pairs:?}"
        );
        let backend = name(&got);
        stays_beside(keel.address, &pairs[1..].join("; "), &backend);
        seen.insert(backend);
    }
}

fn stays_beside(address: SocketAddr, cookies: &str, expect: &str) {
    let mut client = Client::to(address);
    for _ in 0..10 {
        let got = client.get("/", &shown(cookies));
        assert_eq!((name(&got), ours(&got)), (expect.to_owned(), None));
    }
}

/// A flow is kept by its address.
#[test]
fn flows_are_kept_by_address() {
    let scene = Scene::new("affinity-tcp", "{ source: true }");
    let text = scene.text().replace(
        "web: { bind: \"127.0.0.1:0\" }",
        "web: { bind: \"127.0.0.1:0\", protocol: tcp, forward: api }",
    );
    let file = scene.folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let asked = || name(&Client::to(keel.address).get("/", ""));
    let first = asked();
    assert!((0..20).all(|_| asked() == first));
    post(&keel, &format!("{first}/disable"));
    let next = asked();
    assert_ne!(next, first);
    post(&keel, &format!("{first}/enable"));
    assert!((0..20).all(|_| asked() == next));
}

/// A change of protocol says where its client is kept, too.
#[test]
fn a_tunnel_says_it() {
    let scene = Scene::new("affinity-tunnel", "{ cookie: { name: keel } }");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"{}\"], affinity: {{ cookie: {{ name: keel }} }} }} }}\n",
        listener.local_addr().unwrap()
    );
    let file = scene.folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        until(&mut stream, "\r\n\r\n");
        let answer =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        std::io::Write::write_all(&mut stream, answer).unwrap();
        until(&mut stream, "bye");
    });
    let mut client = Client::to(keel.address);
    let got = client.get("/", "Connection: upgrade\r\nUpgrade: echo\r\n");
    assert_eq!(got.status(), 101);
    assert!(ours(&got).is_some(), "{}", got.head);
}
