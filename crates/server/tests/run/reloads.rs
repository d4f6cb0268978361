//! What a reload and a drain do to those who come at that very moment: nothing that they notice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use crate::crowd::{ASKS, CROWD, all_answered, holding, nginx};
use crate::http2::frames::Connection;
use crate::process::{Evenkeel, Folder, PATIENCE, hold, rest, until};
use crate::tls::metric;
use crate::upgrade::clients::Crowd;

fn text(listeners: &str, backend: SocketAddr) -> String {
    format!(
        "admin: {{ bind: off }}\nworkers: 1\nlisteners: {{ {listeners} }}\nservices: {{ api: {{ backends: [\"{backend}\"] }} }}\n"
    )
}

#[test]
fn who_has_connected_is_answered_by_a_drain() {
    let folder = Folder::new("drain-crowd");
    let server = nginx(&folder);
    let listeners = "web: { bind: \"127.0.0.1:0\", limits: { connections: 1 } }";
    let file = folder.write("keel.yaml", &text(listeners, server.address));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let holding = holding(keel.address);
    let crowd = (0..CROWD).map(|_| hold(keel.address, ASKS)).collect();
    keel.signal("-TERM");
    keel.until("draining, at most 30s\n");
    all_answered(holding, crowd);
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn who_has_connected_is_answered_when_the_listener_is_removed() {
    let folder = Folder::new("removed-crowd");
    let server = nginx(&folder);
    let gone = "gone: { bind: \"127.0.0.1:0\", limits: { connections: 1 } }";
    let file = folder.write("keel.yaml", &text(gone, server.address));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let holding = holding(keel.address);
    let crowd = (0..CROWD).map(|_| hold(keel.address, ASKS)).collect();
    let stays = folder.path().join("stays");
    let stays = format!("stays: {{ bind: \"unix:{}\" }}", stays.display());
    folder.write("keel.yaml", &text(&stays, server.address));
    keel.signal("-HUP");
    keel.until("listener gone is removed\n");
    all_answered(holding, crowd);
}

#[test]
fn a_renamed_listener_keeps_its_sockets_and_connections() {
    let folder = Folder::new("renamed");
    let server = nginx(&folder);
    let path = folder.path().join("keel.sock");
    let named = |name: &str| {
        let path = path.display();
        let listener = format!("{name}: {{ bind: [\"127.0.0.1:0\", \"unix:{path}\"] }}");
        text(&listener, server.address).replace("bind: off", "bind: \"127.0.0.1:0\"")
    };
    let file = folder.write("keel.yaml", &named("web"));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let asks = ASKS.replace("Connection: close\r\n", "");
    let mut kept = hold(keel.address, &asks);
    until(&mut kept, "here\n");
    folder.write("keel.yaml", &named("site"));
    keel.signal("-HUP");
    keel.until("listener site is added; listener web is removed\n");
    // The sockets are the same: port 0 would be another port, and a Unix socket in use cannot be bound again.
    assert_eq!(keel.curl(&[], "/who"), "here\n");
    let mut unix = UnixStream::connect(&path).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    unix.write_all(ASKS.as_bytes()).unwrap();
    let mut answer = String::new();
    unix.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nhere\n"), "{answer}");
    kept.write_all(ASKS.as_bytes()).unwrap();
    let answer = rest(kept);
    assert!(answer.ends_with("\r\n\r\nhere\n"), "{answer}");
    // What was counted under the old name is counted on under the new one.
    let metrics = keel.page("/metrics");
    for word in ["accepted", "admitted"] {
        let line = format!("evenkeel_listener_connections_{word}_total{{listener=\"site\"}} 3\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    // All have ended by now, or will.
    metric(
        &keel,
        "evenkeel_listener_connections_closed_total{listener=\"site\"} 3",
    );
    metric(&keel, "evenkeel_listener_connections{listener=\"site\"} 0");
}

/// A backend of the test's own.
fn own() -> (TcpListener, SocketAddr) {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = backend.local_addr().unwrap();
    (backend, address)
}

fn taken(backend: &TcpListener) -> TcpStream {
    let (stream, _) = backend.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything that is open or known is there after reloads of everything else: listeners that come, move and go, rules, services.
#[test]
fn what_stays_goes_on_whatever_else_changes() {
    let folder = Folder::new("reload-all-else");
    let server = nginx(&folder);
    let ((held, holds), (flows, flow), (_, refuses)) = (own(), own(), own());
    let site = server.address;
    let text = |side: &str, more: &str| {
        format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners:\n  web: {{ bind: \"127.0.0.1:0\" }}\n  zdb: {{ bind: \"unix:{}\", protocol: tcp, forward: flows }}\n{side}services:\n  api: {{ backends: [\"{site}\"] }}\n  held: {{ backends: [\"{holds}\"] }}\n  flows: {{ backends: [\"{flow}\"] }}\n  bad: {{ policy: round_robin, slow_start: 10m, breaker: {{ open: 10m, open_max: 10m }}, backends: [\"{site}\", {{ id: out, address: \"{refuses}\" }}, {{ id: slow, address: \"{holds}\" }}] }}\n{more}",
            folder.path().join("db.sock").display()
        )
    };
    let rules = |more: &str| {
        format!(
            "rules:\n  - {{ name: held, priority: 1, when: {{ path: /held* }}, forward: held }}\n  - {{ name: bad, priority: 2, when: {{ path: /bad/* }}, rewrite: {{ prefix: {{ from: /bad, to: / }} }}, forward: bad }}\n{more}  - {{ name: rest, priority: 9, forward: api }}\n"
        )
    };
    let side = |address: &str| format!("  side: {{ bind: \"{address}\" }}\n");
    let file = folder.write("keel.yaml", &text(&side("127.0.0.2:0"), &rules("")));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let web = keel.addresses_of("web");
    keel.address = web;
    let own = "X-Evenkeel: 1";
    let order = |keel: &Evenkeel, path: &str| {
        let said = keel.asked(&["-X", "POST", "-H", own, "-H", "If-Match: *"], path);
        assert!(said.contains("\"changed\":true"), "{said}");
    };
    // One that has returned and warms up, and one whose breaker opens.
    order(&keel, "/v1/services/bad/backends/slow/disable");
    order(&keel, "/v1/services/bad/backends/slow/enable");
    order(&keel, "/v1/services/bad/backends/slow/drain");
    let status = |keel: &Evenkeel| -> serde_json::Value {
        serde_json::from_str(&keel.page("/v1/status")).unwrap()
    };
    let bad = |keel: &Evenkeel| status(keel)["services"][3]["backends"].clone();
    while bad(&keel)[1]["standing"] != "ejected" {
        keel.curl(&[], "/bad/who");
    }
    let asks = ASKS.replace("Connection: close\r\n", "");
    let mut idle = hold(web, &asks);
    until(&mut idle, "here\n");
    let mut streams = Connection::to(web, &[]);
    assert_eq!(streams.get("/who").status(), 200);
    let mut post = hold(
        web,
        "POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf",
    );
    let mut posted = taken(&held);
    until(&mut posted, "half");
    let upgrade = "GET /held-open HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let mut tunnel = hold(web, upgrade);
    let mut behind = taken(&held);
    until(&mut behind, "\r\n\r\n");
    let switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    behind.write_all(switched).unwrap();
    until(&mut tunnel, "\r\n\r\n");
    let mut client = UnixStream::connect(folder.path().join("db.sock")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"ping").unwrap();
    let mut served = taken(&flows);
    until(&mut served, "ping");
    let known = |keel: &Evenkeel| {
        let status = status(keel);
        let services = status["services"].as_array().unwrap().iter();
        let named = services.filter(|one| one["name"] != "more");
        let keys = [
            "id",
            "standing",
            "reason",
            "in_flight",
            "picked",
            "failed",
            "weight",
        ];
        let backends = named.flat_map(|one| one["backends"].as_array().unwrap().clone());
        let known = backends.map(|one| keys.map(|key| one[key].to_string()).join(" "));
        known.collect::<Vec<_>>()
    };
    let since = |keel: &Evenkeel| bad(keel)[1]["since_seconds"].as_f64().unwrap();
    let (before, out) = (known(&keel), since(&keel));
    assert!(
        before[1].contains(" 2 2 0 "),
        "both are in flight: {before:?}"
    );
    for (round, next) in [
        // A listener moves, a rule and a service come.
        text(
            &side("127.0.0.3:0"),
            "  more: { backends: [\"127.0.0.1:9\"] }\n",
        ) + &rules("  - { name: more, priority: 3, when: { path: /more }, forward: more }\n"),
        // A listener, a rule and a service go.
        text("", "") + &rules(""),
        // One comes; rules change places.
        text(&side("127.0.0.2:0"), "") + &rules("").replace("priority: 9", "priority: 5"),
    ]
    .iter()
    .enumerate()
    {
        folder.write("keel.yaml", next);
        keel.signal("-HUP");
        keel.until_any("reloaded: ");
        assert_eq!(known(&keel), before, "round {round}");
        assert!(since(&keel) >= out, "its breaker is open since then");
        tunnel.write_all(b"ping").unwrap();
        until(&mut behind, "ping");
        behind.write_all(b"pong").unwrap();
        until(&mut tunnel, "pong");
        client.write_all(b"ping").unwrap();
        until(&mut served, "ping");
        served.write_all(b"pong").unwrap();
        let mut pong = [0; 4];
        client.read_exact(&mut pong).unwrap();
    }
    idle.write_all(asks.as_bytes()).unwrap();
    until(&mut idle, "here\n");
    assert_eq!(streams.get("/who").status(), 200);
    post.write_all(b"over").unwrap();
    until(&mut posted, "over");
    posted
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    until(&mut post, "\r\n\r\nok");
    // Slow start goes on where it was.
    order(&keel, "/v1/services/bad/backends/slow/enable");
    let ramp = |keel: &Evenkeel| bad(keel)[2]["ramp"].as_f64().unwrap_or(1.0);
    let warming = ramp(&keel);
    assert!(warming < 1.0, "{warming}");
    folder.write("keel.yaml", &(text("", "") + &rules("")));
    keel.signal("-HUP");
    keel.until_any("reloaded: ");
    assert!((warming..1.0).contains(&ramp(&keel)), "{warming}");
}

/// Tiers that change under load: who asks is answered, by those who serve now and nobody else; counters of those who stay, stay.
#[test]
fn tiers_change_under_load() {
    let folder = Folder::new("reload-tiers");
    let (one, two) = (nginx(&folder), nginx(&folder));
    let text = |tiers: [Option<u16>; 2]| {
        let all = [("one", one.address), ("two", two.address)];
        let some = all.iter().zip(tiers).filter_map(|((id, address), tier)| {
            Some(format!(
                "{{ id: {id}, address: \"{address}\", tier: {} }}",
                tier?
            ))
        });
        let some: Vec<_> = some.collect();
        let site = text("web: { bind: \"127.0.0.1:0\" }", one.address);
        site.replace("bind: off", "bind: \"127.0.0.1:0\"")
            .replace("workers: 1", "workers: 2")
            .replace(&format!("\"{}\"", one.address), &some.join(", "))
    };
    let file = folder.write("keel.yaml", &text([Some(0), Some(1)]));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let service = |keel: &Evenkeel| -> serde_json::Value {
        let status: serde_json::Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
        status["services"][0].clone()
    };
    // Picked and in flight, by identity.
    let of = |service: &serde_json::Value, id: &str| {
        let mut all = service["backends"].as_array().unwrap().iter();
        let found = all.find(|one| one["id"] == id);
        let number = |key: &str| found.map(|one| one[key].as_u64().unwrap());
        (number("picked"), number("in_flight"))
    };
    let crowd = Crowd::begin(keel.address);
    for (tiers, tier, serve, stand_by) in [
        ([Some(0), Some(1)], 0, "one", "two"),
        ([Some(1), Some(0)], 0, "two", "one"),
        ([Some(2), Some(3)], 2, "one", "two"),
        ([Some(3), Some(2)], 2, "two", "one"),
        ([None, Some(9)], 9, "two", "one"),
        ([Some(1), Some(9)], 1, "one", "two"),
        ([Some(9), Some(1)], 1, "two", "one"),
    ] {
        let earlier = of(&service(&keel), serve).0;
        folder.write("keel.yaml", &text(tiers));
        keel.signal("-HUP");
        keel.until_any("reloaded: ");
        crowd.until_each_is_served();
        // What was under way there ends.
        while of(&service(&keel), stand_by).1.unwrap_or(0) > 0 {}
        let before = service(&keel);
        assert_eq!(before["tier"], tier, "{tiers:?}");
        crowd.until_each_is_served();
        let after = service(&keel);
        assert_eq!(of(&after, stand_by), of(&before, stand_by), "{tiers:?}");
        assert!(of(&after, serve).0 > of(&before, serve).0, "{tiers:?}");
        assert!(of(&before, serve).0 >= earlier, "{tiers:?}");
    }
    let served = crowd.end();
    assert!(served.iter().all(|(_, count)| *count > 20), "{served:?}");
}
