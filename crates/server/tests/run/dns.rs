//! Members that DNS tells: join, leave, fail and come back, as an operator sees it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};

use hickory_resolver::proto::op::ResponseCode;

use crate::evenkeel;
use crate::process::{Evenkeel, Folder, PATIENCE, hold, rest};
use crate::zone::{Answer, Zone, address, addresses, srv};

/// Looks at a page so often at most: each look is a process of its own.
const LOOKS: usize = 5_000;

/// Backends at one port of several addresses of this machine. Each says its address, and keeps who asks for `/held` waiting.
struct Farm {
    port: u16,
    held: Receiver<TcpStream>,
}

impl Farm {
    fn new(addresses: &[&str]) -> Self {
        let (sender, held) = sync_channel(100);
        let listeners = std::iter::repeat_with(|| {
            let first = TcpListener::bind((addresses[0], 0)).unwrap();
            let port = first.local_addr().unwrap().port();
            let rest = addresses[1..].iter();
            let rest: Result<Vec<_>, _> = rest.map(|ip| TcpListener::bind((*ip, port))).collect();
            rest.ok()
                .map(|rest| (port, std::iter::once(first).chain(rest)))
        });
        let (port, listeners) = listeners.take(100).flatten().next().unwrap();
        for listener in listeners {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let ip = listener.local_addr().unwrap().ip();
                for stream in listener.incoming().flatten() {
                    let sender = sender.clone();
                    std::thread::spawn(move || serve(stream, ip, &sender));
                }
            });
        }
        Self { port, held }
    }
}

fn serve(mut stream: TcpStream, ip: IpAddr, held: &std::sync::mpsc::SyncSender<TcpStream>) {
    let mut came = Vec::new();
    let mut byte = [0];
    while !came.ends_with(b"\r\n\r\n") {
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        came.push(byte[0]);
    }
    if came.starts_with(b"GET /held ") {
        let _ = held.send(stream);
        return;
    }
    let _ = stream.write_all(&answer(&ip.to_string()));
}

fn answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into()
}

/// One listener, these services, and a resolver that asks the zone; `api` serves everything.
fn text(zone: &Zone, services: &str, resolver: &str) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nresolver: {{ servers: \"{}\", ttl_floor: 50ms, timeout: 5s, {resolver} }}\nservices: {{ {services} }}\nrules: [{{ forward: api }}]\n",
        zone.address
    )
}

struct Story {
    zone: Zone,
    folder: Folder,
    keel: Evenkeel,
}

impl Story {
    fn new(name: &str, zone: Zone, services: &str, resolver: &str) -> Self {
        let folder = Folder::new(name);
        let file = folder.write("keel.yaml", &text(&zone, services, resolver));
        let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
        Self { zone, folder, keel }
    }

    /// Waits until a page of the instance is so.
    #[track_caller]
    fn page_until(&self, path: &str, is: impl Fn(&str) -> bool) -> String {
        let mut page = String::new();
        for _ in 0..LOOKS {
            page = self.keel.page(path);
            if is(&page) {
                return page;
            }
        }
        panic!("{page}");
    }

    /// Waits until the backends of the first service are these.
    #[track_caller]
    fn members(&self, expect: &[String]) {
        self.page_until("/v1/status", |page| ids(page) == expect);
    }

    /// Waits until a row of the metrics is so.
    #[track_caller]
    fn metric(&self, row: &str) {
        let row = format!("evenkeel_{row}\n");
        self.page_until("/metrics", |page| page.contains(&row));
    }

    /// Asks until each of these has answered, and nobody else.
    #[track_caller]
    fn answered_by(&self, expect: &[&str]) {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..LOOKS {
            let body = self.keel.curl(&[], "/");
            assert!(expect.contains(&&*body), "{body}");
            seen.insert(body);
            if seen.len() == expect.len() {
                return;
            }
        }
        panic!("{seen:?}");
    }
}

/// Identities of the backends of the first service on the status page.
fn ids(page: &str) -> Vec<String> {
    let service = page.split("\"backends\":[").nth(1).unwrap_or_default();
    let service = service.split("]}").next().unwrap_or_default();
    let ids = service.split("{\"id\":\"").skip(1);
    ids.map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

fn at(port: u16, all: &[&str]) -> Vec<String> {
    let one = |ip: &&str| SocketAddr::new(ip.parse().unwrap(), port).to_string();
    all.iter().map(one).collect()
}

fn dns(port: u16) -> String {
    format!("api: {{ policy: round_robin, backends: [{{ dns: Api.test:{port} }}] }}")
}

#[test]
fn every_address_is_a_backend_and_comes_and_goes_without_a_reload() {
    let farm = Farm::new(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let zone = Zone::new();
    zone.hold();
    let senseless = [
        "127.0.0.2",
        "0.0.0.0",
        "255.255.255.255",
        "127.0.0.1",
        "ff02::1",
    ];
    zone.set("api.test", addresses(0, &senseless));
    let mut story = Story::new("dns-moves", zone, &dns(farm.port), "");
    // Nothing is known yet: it runs, serves nobody, and says so.
    story.zone.waiting(2);
    let refused = story.keel.curl(&["--include"], "/");
    assert!(
        refused.starts_with("HTTP/1.1 503 ") && refused.ends_with("no_backends\n"),
        "{refused}"
    );
    story.zone.release();
    story
        .keel
        .until("name=\"dns api.test\" all=2 joined=2 left=0\n");
    assert_eq!(story.keel.page("/readyz"), "ready\n");
    let two = at(farm.port, &["127.0.0.1", "127.0.0.2"]);
    story.members(&two);
    story.answered_by(&["127.0.0.1", "127.0.0.2"]);
    // Another order, and one of them twice: nothing happens, which shows in that the next that is said is what comes after it.
    let again = ["127.0.0.1", "127.0.0.2", "127.0.0.1"];
    story.zone.set("api.test", addresses(0, &again));
    story.zone.asked_again("api.test", 6);
    let picks = |page: &str| page.matches("\"picked\":0,").count();
    assert_eq!(
        picks(&story.keel.page("/v1/status")),
        0,
        "their state stayed"
    );
    let before = story.keel.said.len();
    story
        .zone
        .set("api.test", addresses(0, &["127.0.0.3", "127.0.0.2", "::1"]));
    story
        .keel
        .until("name=\"dns api.test\" all=3 joined=2 left=1\n");
    // Two join, one leaves, and the name that tells of it; who stays is not told of.
    assert_eq!(story.keel.said[before..].lines().count(), 4);
    story.members(&at(farm.port, &["127.0.0.2", "127.0.0.3", "::1"]));
    story.zone.set("api.test", addresses(0, &["127.0.0.3"]));
    story.members(&at(farm.port, &["127.0.0.3"]));
    story.answered_by(&["127.0.0.3"]);
    for row in [
        "dns_addresses{name=\"api.test\",kind=\"dns\"} 1",
        "dns_failing{name=\"api.test\",kind=\"dns\"} 0",
        "contained_panics_total 0",
    ] {
        story.metric(row);
    }
    let left_out = "evenkeel_dns_addresses_left_out_total{name=\"api.test\",kind=\"dns\"} ";
    let page = story.keel.page("/metrics");
    let (_, count) = page.split_once(left_out).unwrap();
    assert!(!count.starts_with('0'), "{page}");
}

/// The intervals are too long to be waited for: who joins is checked because it joins.
#[test]
fn who_joins_is_checked_at_once() {
    let farm = Farm::new(&["127.0.0.1", "127.0.0.2"]);
    let zone = Zone::new();
    zone.set("api.test", addresses(0, &["127.0.0.1"]));
    let backends = format!("backends: [{{ dns: api.test:{} }}]", farm.port);
    let services = format!(
        "api: {{ {backends}, health: {{ tcp: {{}}, interval: 1000s, interval_unsure: 1000s, rise: 1 }} }}"
    );
    let story = Story::new("dns-checked", zone, &services, "");
    for ips in [&["127.0.0.1"][..], &["127.0.0.1", "127.0.0.2"]] {
        story.zone.set("api.test", addresses(0, ips));
        for id in at(farm.port, ips) {
            story.metric(&format!(
                "backend_checks_total{{service=\"api\",backend=\"{id}\",result=\"passed\"}} 1"
            ));
        }
    }
    story.answered_by(&["127.0.0.1", "127.0.0.2"]);
}

#[test]
fn not_ready_before_each_name_was_looked_up_once() {
    let zone = Zone::new();
    zone.hold();
    let services = dns(1).replace("round_robin", "hash");
    let story = Story::new("dns-ready", zone, &services, "");
    assert_eq!(story.keel.page("/readyz"), "looking names up\n");
    // That it does not exist is an answer too.
    story.zone.release();
    story.page_until("/readyz", |page| page == "ready\n");
    assert!(story.keel.curl(&[], "/").ends_with("no_backends\n"));
    story.metric("contained_panics_total 0");
}

#[test]
fn who_leaves_ends_what_runs_and_comes_back_as_who_it_was() {
    let farm = Farm::new(&["127.0.0.1", "127.0.0.2"]);
    let zone = Zone::new();
    zone.set("api.test", addresses(0, &["127.0.0.1"]));
    let mut story = Story::new("dns-leaves", zone, &dns(farm.port), "");
    story.keel.until("joined=1 left=0\n");
    let asks = "GET /held HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let client = hold(story.keel.address, asks);
    let mut held = farm.held.recv_timeout(PATIENCE).unwrap();
    story.zone.set("api.test", addresses(0, &["127.0.0.2"]));
    story.members(&at(farm.port, &["127.0.0.2"]));
    story.answered_by(&["127.0.0.2"]);
    // It comes back while its exchange runs, and is charged with it.
    story.zone.set("api.test", addresses(0, &["127.0.0.1"]));
    story.members(&at(farm.port, &["127.0.0.1"]));
    let id = &at(farm.port, &["127.0.0.1"])[0];
    story.metric(&format!(
        "backend_in_flight{{service=\"api\",backend=\"{id}\"}} 1"
    ));
    story.zone.set("api.test", addresses(0, &["127.0.0.2"]));
    story.members(&at(farm.port, &["127.0.0.2"]));
    held.write_all(&answer("late")).unwrap();
    let whole = rest(client);
    assert!(whole.ends_with("\r\n\r\nlate"), "{whole}");
}

#[test]
fn a_look_up_that_fails_keeps_the_last_good_answer_and_says_so() {
    let farm = Farm::new(&["127.0.0.1", "127.0.0.2"]);
    let zone = Zone::new();
    let good = addresses(0, &["127.0.0.1", "127.0.0.2"]);
    zone.set("api.test", good.clone());
    let resolver = "attempts: 1, ttl_ceiling: 200ms";
    let mut story = Story::new("dns-fails", zone, &dns(farm.port), resolver);
    story.keel.until("joined=2 left=0\n");
    let both = at(farm.port, &["127.0.0.1", "127.0.0.2"]);
    let code = |code| Some(Answer::Code(code));
    for (bad, word) in [
        (code(ResponseCode::ServFail), "servfail"),
        (code(ResponseCode::Refused), "refused"),
        (None, "nxdomain"),
        (Some(addresses(0, &[])), "empty"),
        (Some(addresses(0, &["0.0.0.0"])), "empty"),
    ] {
        match bad {
            Some(bad) => story.zone.set("api.test", bad),
            None => story.zone.remove("api.test"),
        }
        let said = format!("name=\"dns api.test\" reason={word} kept=2\n");
        story.keel.until(&said);
        let shown = r#""name":"api.test","kind":"dns","addresses":2,"age_seconds":"#;
        let page = story.page_until("/v1/status", |page| {
            page.contains(&format!(",\"fault\":\"{word}\"}}"))
        });
        assert!(page.contains(shown), "{page}");
        assert_eq!(ids(&page), both);
        story.answered_by(&["127.0.0.1", "127.0.0.2"]);
        story.metric("dns_failing{name=\"api.test\",kind=\"dns\"} 1");
        let failed = format!(
            "evenkeel_dns_lookups_total{{name=\"api.test\",kind=\"dns\",result=\"{word}\"}} "
        );
        assert!(story.keel.page("/metrics").contains(&failed));
        story.zone.set("api.test", good.clone());
        story
            .keel
            .until("name is looked up again name=\"dns api.test\"\n");
    }
    story.members(&both);
}

#[test]
fn silence_is_a_failure_after_a_while_and_a_reload_under_it_keeps_what_was_known() {
    let farm = Farm::new(&["127.0.0.1"]);
    let zone = Zone::new();
    zone.set("api.test", addresses(0, &["127.0.0.1"]));
    let services = dns(farm.port);
    let impatient = "attempts: 1, ttl_ceiling: 200ms";
    let mut story = Story::new("dns-silence", zone, &services, impatient);
    story.keel.until("joined=1 left=0\n");
    story.zone.set("api.test", Answer::Silence);
    let short = text(&story.zone, &services, impatient).replace("timeout: 5s", "timeout: 300ms");
    story.folder.write("keel.yaml", &short);
    story.keel.signal("-HUP");
    story.keel.until("reloaded: resolver changes\n");
    story.keel.until("reason=timeout kept=1\n");
    // What is known outlives the plan, of a name that another service asks for too.
    let more = format!(
        "{}, more: {{ backends: [{{ dns: api.test:1 }}] }}",
        services.replace("round_robin", "random")
    );
    let next = text(&story.zone, &more, impatient).replace("timeout: 5s", "timeout: 300ms");
    story.folder.write("keel.yaml", &next);
    story.keel.signal("-HUP");
    story
        .keel
        .until("service api changes; service more is added\n");
    assert_eq!(story.keel.curl(&[], "/"), "127.0.0.1");
    let page = story.keel.page("/v1/status");
    assert_eq!(ids(&page), at(farm.port, &["127.0.0.1"]));
    assert!(page.contains("{\"id\":\"127.0.0.1:1\","), "{page}");
    story.zone.set("api.test", addresses(0, &["127.0.0.1"]));
    story
        .keel
        .until("name is looked up again name=\"dns api.test\"\n");
}

#[test]
fn records_of_srv_bring_ports_and_weights() {
    let (one, two) = (Farm::new(&["127.0.0.1"]), Farm::new(&["127.0.0.2"]));
    let zone = Zone::new();
    let records = vec![
        srv(5, 30, one.port, "One.test."),
        srv(5, 10, two.port, "the_two.test."),
        srv(5, 10, 9, "gone.test."),
        srv(9, 10, 9, "later.test."),
    ];
    zone.set("_http._tcp.test", Answer::Records(0, records));
    zone.set("one.test", addresses(0, &["127.0.0.1"]));
    zone.set("the_two.test", addresses(0, &["127.0.0.2"]));
    zone.set("later.test", addresses(0, &["127.0.0.3"]));
    let services = "api: { backends: [{ srv: _http._tcp.test, id: s, weight: 2 }] }";
    let mut story = Story::new("dns-srv", zone, services, "");
    story
        .keel
        .until("name=\"srv _http._tcp.test\" all=3 joined=3 left=0\n");
    let named = |port, ip| format!("s@{}", at(port, &[ip])[0]);
    story.members(&[
        named(one.port, "127.0.0.1"),
        named(two.port, "127.0.0.2"),
        named(9, "127.0.0.3"),
    ]);
    let page = story.keel.page("/v1/status");
    assert!(
        page.contains("\"weight\":60,\"tier\":0,") && page.contains("\"weight\":20,\"tier\":0,"),
        "{page}"
    );
    // Another priority stands by.
    assert!(page.contains("\"weight\":20,\"tier\":1,"), "{page}");
    story.answered_by(&["127.0.0.1", "127.0.0.2"]);
    // One target is not told for now: the others are followed, and it stays.
    story
        .zone
        .set("one.test", Answer::Code(ResponseCode::ServFail));
    story.keel.until("reason=servfail kept=3\n");
    let records = vec![
        srv(5, 7, one.port, "one.test."),
        srv(5, 7, 9, "later.test."),
    ];
    story
        .zone
        .set("_http._tcp.test", Answer::Records(0, records));
    story.members(&[named(one.port, "127.0.0.1"), named(9, "127.0.0.3")]);
}

#[test]
fn what_does_not_fit_a_datagram_is_asked_for_over_tcp() {
    let zone = Zone::new();
    let ips: Vec<_> = (0..1_000)
        .map(|at| format!("10.1.{}.{}", at / 250, at % 250 + 1))
        .collect();
    let mut all: Vec<_> = ips.iter().map(|ip| address(ip)).collect();
    zone.set("api.test", Answer::Long(0, all.clone()));
    let mut story = Story::new("dns-long", zone, &dns(1), "");
    story
        .keel
        .until("name=\"dns api.test\" all=1000 joined=1000 left=0\n");
    assert!(story.zone.asked("api.test")[1] > 0);
    // And no more than that.
    all.push(address("10.0.0.1"));
    story.zone.set("api.test", Answer::Long(0, all));
    story
        .keel
        .until("name=\"dns api.test\" all=1000 joined=1 left=1\n");
    story.keel.until("reason=too_many kept=1000\n");
}

/// A second is counted by a name that is asked for all the time: each of its questions comes after the one before was answered.
#[test]
fn a_name_is_asked_once_for_all_services_and_no_sooner_than_its_records_say() {
    let zone = Zone::new();
    zone.set("slow.test", addresses(3_600, &["127.0.0.1"]));
    zone.set("other.test", addresses(3_600, &["127.0.0.1", "::1"]));
    zone.set("a_quick.test", addresses(0, &["127.0.0.1"]));
    let one = |name: &str| {
        format!("{name}: {{ backends: [{{ dns: slow.test:1 }}, {{ dns: Slow.test:2 }}] }}")
    };
    let services = format!(
        "{}, {}, {}, api: {{ backends: [{{ dns: a_quick.test:1 }}, {{ dns: other.test:2, refresh: 100ms }}] }}",
        one("a"),
        one("b"),
        one("c")
    );
    let story = Story::new("dns-ttl", zone, &services, "ttl_ceiling: 1d");
    story.zone.asked_again("a_quick.test", 40);
    let looked_up = |name: &str, count: u64| {
        format!("dns_lookups_total{{name=\"{name}\",kind=\"dns\",result=\"ok\"}} {count}")
    };
    story.metric(&looked_up("slow.test", 1));
    // Its `refresh` asks sooner than its records want.
    assert!(story.zone.asked("other.test")[0] >= 8);
    let page = story.keel.page("/v1/status");
    assert_eq!(
        page.matches("{\"id\":\"127.0.0.1:1\",").count(),
        4,
        "{page}"
    );
}

#[test]
fn hundreds_of_names_are_asked_for_a_few_at_a_time() {
    let zone = Zone::new();
    zone.hold();
    let names: Vec<_> = (0..300).map(|at| format!("n{at}.test")).collect();
    for name in &names {
        zone.set(name, addresses(3_600, &["127.0.0.1"]));
    }
    let backends: Vec<_> = (0..300)
        .map(|at| format!("{{ dns: n{at}.test:{} }}", at + 1))
        .collect();
    let services = format!("api: {{ backends: [{}] }}", backends.join(", "));
    let mut story = Story::new("dns-many", zone, &services, "ttl_ceiling: 1d");
    assert_eq!(story.zone.waiting(64), 64);
    // A question is sent again after a third of a second, some turns of the control plane later: no other has begun.
    story.zone.asked_again("n0.test", 2);
    assert_eq!(story.zone.waiting(64), 64);
    story.zone.release();
    story.page_until("/v1/status", |page| ids(page).len() == 300);
    // So many lines of one moment, and no more.
    story
        .keel
        .until_any("more happened to names; see the metrics more=");
}

#[test]
fn to_check_and_to_show_is_not_to_look_up() {
    let zone = Zone::new();
    let folder = Folder::new("dns-check");
    let file = folder.write("keel.yaml", &text(&zone, &dns(1), ""));
    let file = file.to_str().unwrap();
    assert_eq!(evenkeel(&["check", file]).0, Some(0));
    let (code, shown, _) = evenkeel(&["config", "show", file]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("dns: Api.test:1 "), "{shown}");
    assert_eq!(evenkeel(&["config", "diff", file, file]).0, Some(0));
    assert_eq!(zone.all_asked(), 0);
}
