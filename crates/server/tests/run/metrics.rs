//! The metrics of a running instance as an operator reads them: what a story leaves in them, what names the dashboard and the alerts
//! have, what a thousand backends take of a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};

use evenkeel_balance::retry::Reason;
use evenkeel_proxy::clock::Clock;

use crate::process::{Evenkeel, Folder, hold};
use crate::tls::{Authority, SITE};

/// A backend that answers each connection's one request. Ends with the test's process.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let (mut line, mut body) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
                let lower = line.to_ascii_lowercase();
                if let Some(length) = lower.strip_prefix("content-length: ") {
                    body = length.trim().parse().unwrap();
                }
                line.clear();
            }
            // What is not read when a connection ends takes the answer with it.
            let _ = reader.read_exact(&mut vec![0; body]);
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            // Who checks ends the connection without having asked.
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    address
}

/// The rows of a page that are not told as text, by name and labels.
struct Page(BTreeMap<String, f64>);

impl Page {
    fn of(keel: &Evenkeel) -> Self {
        let page = keel.page("/metrics");
        let rows = page.lines().filter(|line| !line.starts_with('#'));
        let mut all = BTreeMap::new();
        for (row, value) in rows.map(|line| line.rsplit_once(' ').unwrap()) {
            let earlier = all.insert(row.to_owned(), value.parse().unwrap());
            assert_eq!(earlier, None, "{row} stands there twice");
        }
        Self(all)
    }

    /// Waits for a page of which this holds.
    fn until(keel: &Evenkeel, holds: impl Fn(&Self) -> bool) -> Self {
        for _ in 0..3_000 {
            let page = Self::of(keel);
            if holds(&page) {
                return page;
            }
        }
        panic!("it never comes: {}", keel.page("/metrics"));
    }

    /// None: there is no such row. Without the prefix.
    fn get(&self, row: &str) -> Option<f64> {
        self.0.get(&format!("evenkeel_{row}")).copied()
    }

    /// The same of a row that there must be.
    fn read(&self, row: &str) -> f64 {
        let value = self.get(row);
        assert!(value.is_some(), "{row} is not in {:#?}", self.0.keys());
        value.unwrap_or_default()
    }
}

/// Two backends of which one takes no connections, though its checks, which go elsewhere, pass.
fn run(folder: &Folder, live: SocketAddr, listeners: &str) -> Evenkeel {
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 2
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }}{listeners} }}
rules:
  - {{ name: posts, when: {{ path: {{ prefix: /posts }} }}, forward: api }}
  - {{ name: \"a\\\"b\\\\c\\nd\", when: {{ path: /odd }}, forward: api }}
  - {{ name: rest, forward: api }}
services:
  api:
    policy: round_robin
    backends: [{{ id: dead, address: \"127.0.0.1:1\" }}, {{ id: live, address: \"{live}\" }}]
    health: {{ tcp: {{}}, port: {}, interval: 20ms }}
",
        live.port()
    );
    let file = folder.write("keel.yaml", &text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

#[test]
fn a_backend_that_fails_is_seen_from_its_first_failure_to_its_ejection() {
    let (folder, live) = (Folder::new("metrics-story"), backend());
    let keel = run(&folder, live, "");
    let healthy = "service_backends_healthy{service=\"api\"}";
    Page::until(&keel, |page| page.get(healthy) == Some(2.0));
    let begun = Page::of(&keel);
    for row in [
        "failovers_total{service=\"api\",result=\"served\"}",
        "breakers_opened_total{service=\"api\",reason=\"consecutive_failures\"}",
        "backends_lost_total{service=\"api\",standing=\"ejected\"}",
        "rule_hits_total{rule=\"posts\"}",
        "head_duration_seconds_count{service=\"api\"}",
        "backend_breaker{service=\"api\",backend=\"dead\",state=\"open\"}",
        "service_check_disagreements{service=\"api\",check=\"passed\"}",
    ] {
        assert_eq!(begun.read(row), 0.0, "{row}");
    }
    // Whatever a rule is called, its row is one.
    assert_eq!(begun.read(r#"rule_hits_total{rule="a\"b\\c\nd"}"#), 0.0);
    let lost = "backends_lost_total{service=\"api\",standing=\"ejected\"}";
    let mut asked = 0_u32;
    while Page::of(&keel).read(lost) < 1.0 {
        assert_eq!(keel.curl(&["--data", "12345"], "/posts/1"), "ok");
        assert_eq!(keel.curl(&[], "/"), "ok");
        asked += 1;
        assert!(asked < 100, "it is not ejected");
    }
    let each = f64::from(asked);
    let hits = "rule_hits_total{rule=\"rest\"}";
    let heads = "head_duration_seconds_count{service=\"api\"}";
    // What an exchange counts last; a page that is begun then has all of it.
    let sent = "response_body_bytes_total{service=\"api\"}";
    Page::until(&keel, |page| page.read(sent) >= 4.0 * each);
    let page = Page::of(&keel);
    // Every request was served, some of them by the second backend that they were sent to.
    assert_eq!((page.read(heads), page.read(hits)), (2.0 * each, each));
    assert_eq!(page.read("rule_hits_total{rule=\"posts\"}"), each);
    assert_eq!(
        page.read("request_body_bytes_total{service=\"api\"}"),
        5.0 * each
    );
    assert_eq!(
        page.read("response_body_bytes_total{service=\"api\"}"),
        4.0 * each
    );
    let over = page.read("failovers_total{service=\"api\",result=\"served\"}");
    assert!(over >= 1.0 && over <= page.read("attempts_total{service=\"api\"}") - 2.0 * each);
    assert_eq!(
        page.read("failovers_total{service=\"api\",result=\"failed\"}"),
        0.0
    );
    assert_eq!(
        page.read("failover_duration_seconds_count{service=\"api\"}"),
        over
    );
    assert!(page.read("connect_duration_seconds_count{service=\"api\"}") >= 1.0);
    // Of the backend that answered, and of no other.
    let of = |id: &str| {
        format!("backend_head_duration_seconds_count{{service=\"api\",backend=\"{id}\"}}")
    };
    assert_eq!(
        (page.get(&of("live")), page.get(&of("dead"))),
        (Some(2.0 * each), None)
    );
    assert!(page.read("check_duration_seconds_count{service=\"api\"}") >= 2.0);
    // It is out; its checks go on passing, as they go elsewhere.
    let opened = "breakers_opened_total{service=\"api\",reason=\"consecutive_failures\"}";
    assert_eq!(page.read(opened), 1.0);
    let out = "service_check_disagreements{service=\"api\",check=\"passed\"}";
    let page = Page::until(&keel, |page| page.read(out) == 1.0);
    let gates = |state: &str| {
        page.read(&format!(
            "backend_breaker{{service=\"api\",backend=\"dead\",state=\"{state}\"}}"
        ))
    };
    assert_eq!(gates("open") + gates("half_open"), 1.0);
    assert_eq!(page.read("service_backends{service=\"api\"}"), 2.0);
    assert!(page.read("service_fairness{service=\"api\"}") <= 1.0);
    let got = |id: &str| {
        page.read(&format!(
            "backend_share_got{{service=\"api\",backend=\"{id}\"}}"
        ))
    };
    assert!((got("live") + got("dead") - 1.0).abs() < 1e-9);
    for worker in 0..2 {
        page.read(&format!("worker_connections{{worker=\"{worker}\"}}"));
    }
    #[cfg(target_os = "linux")]
    {
        let cpu = |row: &str| page.0.get(row).copied().unwrap();
        let workers = (0..2)
            .map(|worker| page.read(&format!("worker_cpu_seconds_total{{worker=\"{worker}\"}}")));
        // Read one after the other, and counted in hundredths.
        assert!(workers.sum::<f64>() <= cpu("process_cpu_seconds_total") + 0.05);
        assert!(cpu("process_resident_memory_bytes") > 1e6);
        assert!(cpu("process_open_fds") < cpu("process_max_fds"));
        assert!(cpu("process_start_time_seconds") > 1.7e9);
    }
}

/// Every name in what is deployed beside it, with what it makes of it.
fn names(text: &str) -> Vec<&str> {
    let all =
        text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c)));
    all.filter(|name| name.starts_with("evenkeel_") || name.starts_with("process_"))
        .collect()
}

/// Every word that they ask for: of which metric, by which label.
fn words(text: &str) -> Vec<(&str, &str, &str)> {
    let mut all = Vec::new();
    for (at, _) in text.match_indices('{') {
        let (before, behind) = (&text[..at], &text[at + 1..]);
        let name = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let name = name.take(1).find(|name| name.starts_with("evenkeel_"));
        let Some((name, end)) = name.zip(behind.find('}')) else {
            continue;
        };
        for matcher in behind[..end].split(',') {
            let (label, words) = matcher.split_once('"').unwrap();
            let words = words.trim_end_matches('"');
            let label = label.trim_end_matches(['=', '~', '!']);
            if !words.starts_with('$') {
                all.extend(words.split('|').map(|word| (name, label, word)));
            }
        }
    }
    all
}

#[test]
fn what_the_dashboard_and_the_alerts_name_is_in_a_scrape() {
    let folder = Folder::new("metrics-deployed");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let secure = format!(", secure: {{ bind: \"127.0.0.1:0\", tls: {{ {SITE} }} }}");
    let mut keel = run(&folder, backend(), &secure);
    keel.address = keel.addresses_of("web");
    assert_eq!(keel.curl(&[], "/"), "ok");
    let served = "exchanges_total{service=\"api\",reason=\"served\"}";
    Page::until(&keel, |page| page.get(served) == Some(1.0));
    let page = keel.page("/metrics");
    let kinds: BTreeMap<_, _> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    assert!(
        page.contains("\nevenkeel_tls_certificate_days_left{listener=\"secure\","),
        "{page}"
    );
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
    let read = |name: &str| std::fs::read_to_string(format!("{deploy}/{name}")).unwrap();
    let dashboard = read("grafana/evenkeel.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 20);
    for (file, text, least, asks) in [
        ("the dashboard", dashboard.replace("\\\"", "\""), 40, 3),
        ("the rules", read("prometheus/evenkeel.rules.yml"), 16, 9),
    ] {
        let asked = words(&text);
        assert_eq!(asked.len(), asks, "{file} asks for {asked:?}");
        for (name, label, word) in asked {
            let mut rows = page.lines().filter(|row| row.starts_with(name));
            // Why retries were refused has no rows of what never was.
            if name == "evenkeel_retries_refused_total" {
                let reasons = Reason::ALL.map(Reason::word);
                assert!(reasons.contains(&word), "{file} asks {name} for {word}");
                continue;
            }
            let told = format!("{label}=\"{word}\"");
            assert!(
                rows.any(|row| row.contains(&told)),
                "{file} asks {name} for {told}"
            );
        }
        let named = names(&text);
        assert!(named.len() >= least, "{file} names {}", named.len());
        for name in named {
            let (family, kind) = match name {
                name if name.ends_with("_total") => (name.strip_suffix("_total"), "counter"),
                name if name.ends_with("_bucket") => (name.strip_suffix("_bucket"), "histogram"),
                name => (Some(name), "gauge"),
            };
            let is = family.and_then(|family| kinds.get(family));
            assert_eq!(is, Some(&kind), "{file} names {name}");
        }
    }
}

/// Rows of one backend that has answered, and is checked by nobody.
const ROWS: usize = 34;

/// Bytes of a page for each backend, at most; 2,570 were reached.
const BYTES: usize = 2_700;

/// A page's price follows its rows, which are counted; what it takes on this machine is said, and decides nothing.
#[test]
fn a_thousand_backends_have_a_page_of_known_size() {
    const MANY: usize = 1_000;
    let (folder, live) = (Folder::new("metrics-many"), backend());
    let mut text = String::from(
        "admin: { bind: \"127.0.0.1:0\" }\nworkers: 1\nlisteners: { web: { bind: \"127.0.0.1:0\" } }\nservices:\n  api:\n    policy: round_robin\n    backends:\n",
    );
    for at in 0..MANY {
        let _ = writeln!(text, "      - {{ id: b{at}, address: \"{live}\" }}");
    }
    let file = folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut client = BufReader::new(hold(keel.address, ""));
    // In turn, and twice: one that was answered by the next is asked once more.
    for _ in 0..2 * MANY {
        client
            .get_mut()
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mut line = String::new();
        while client.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        let mut body = [0; 2];
        client.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"ok");
    }
    let answered = |page: &str| {
        page.matches("evenkeel_backend_head_duration_seconds_count{")
            .count()
    };
    let mut page = keel.page("/metrics");
    for _ in 0..100 {
        if answered(&page) == MANY {
            break;
        }
        page = keel.page("/metrics");
    }
    assert_eq!(answered(&page), MANY, "backends that have answered");
    let clock = Clock::start();
    let began = clock.now();
    let pages = 5;
    for _ in 0..pages {
        page = keel.page("/metrics");
    }
    let each = clock.now().since(began) / pages;
    let of_one = page.lines().filter(|line| line.contains("backend=\"b17\""));
    let bytes = page.len() / MANY;
    let _ = writeln!(
        std::io::stderr(),
        "{MANY} backends: {bytes} bytes each, {each:?} for a page with curl's own start"
    );
    assert_eq!(of_one.count(), ROWS, "rows of a backend");
    assert!(
        bytes <= BYTES,
        "{bytes} bytes for each backend, {BYTES} at most"
    );
}
