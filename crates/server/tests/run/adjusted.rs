//! Weights that follow what backends do, by real connections: one of three fails a third of what it is asked, and loses share by that.

use serde_json::Value;

use crate::process::{Evenkeel, Folder, Server, nobodys};
use crate::upgrade::Line;

fn page(keel: &Evenkeel, path: &str) -> Value {
    let out = keel.page(path);
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{path}: {out}"))
}

const PATH: &str = "/v1/services/api/adjustments";

fn configuration(adjust: &str, [gray, well]: [&Server; 2]) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  api:
    policy: round_robin
    breaker: off
    retry: off
    adjust: {adjust}
    backends: [{{ id: gray, address: \"{0}\" }}, {{ id: one, address: \"{1}\" }}, {{ id: two, address: \"{1}\" }}]
rules: [{{ forward: api }}]
",
        gray.address, well.address
    )
}

/// Three hundred requests by one connection: how many of them each word answered.
fn served(keel: &Evenkeel) -> [usize; 3] {
    let out = keel.curl(&[], "/[1-300]");
    ["gray\n", "well\n", "<h1>500"].map(|word| out.matches(word).count())
}

fn reload(keel: &Evenkeel) {
    let fields = [
        "-X",
        "POST",
        "-H",
        "X-Evenkeel: 1",
        "-H",
        "If-Match: *",
        "-d",
        "",
    ];
    let answer = keel.asked(&fields, "/v1/reload");
    assert!(answer.contains("revision"), "{answer}");
}

fn factor(seen: &Value, at: usize) -> f64 {
    seen["backends"]["items"][at]["factor"].as_f64().unwrap()
}

#[test]
fn who_fails_more_than_its_peers_loses_share() {
    let folders = ["adjusted", "adjusted-gray", "adjusted-well"].map(Folder::new);
    // By an identity that nginx draws for each request.
    let gray =
        "location / { if ($request_id ~ \"^[0-4]\") { return 500; } return 200 \"gray\\n\"; }";
    let servers = [
        Server::nginx(&folders[1], gray),
        Server::nginx(&folders[2], "location / { return 200 \"well\\n\"; }"),
    ];
    let both = [&servers[0], &servers[1]];
    let write = |adjust: &str| folders[0].write("keel.yaml", &configuration(adjust, both));
    let file = write("{ interval: 1s }");
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let seen = page(&keel, PATH);
    assert_eq!(
        (&seen["mode"], &seen["interval_seconds"]),
        (&"acts".into(), &1.0.into())
    );
    let [gray, well, failed] = served(&keel);
    assert!(
        (99..=101).contains(&(gray + failed)) && well >= 199,
        "{gray} {well} {failed}"
    );

    // Steps come once a second; how many there were by then says the answer, and no clock here.
    let mut seen = Value::Null;
    for _ in 0..10_000 {
        served(&keel);
        seen = page(&keel, PATH);
        if factor(&seen, 0) < 0.7 {
            break;
        }
    }
    let lowered = factor(&seen, 0);
    assert!((0.25..0.7).contains(&lowered), "{seen}");
    let steps = seen["steps"].as_array().unwrap();
    assert!(steps.len() >= 4, "a tenth each: {seen}");
    // What those do that are well is chance.
    let of_gray = |step: &Value| {
        let weights = step["weights"].as_array().unwrap();
        weights.iter().find(|one| one["backend"] == "gray").cloned()
    };
    let first = steps.iter().rev().find_map(of_gray).unwrap();
    assert_eq!(first["reason"], "fails_more", "{seen}");
    assert_eq!(
        (&first["old"], &first["applied"]),
        (&1.0.into(), &true.into())
    );
    // What became of one on a machine that does other work too is for that machine to say; that it is known is not.
    let judged = |one: &Value| one["effect"]["kept"].is_boolean();
    assert!(steps.iter().any(judged), "{seen}");
    let model = &seen["backends"]["items"][0];
    assert!(model["samples"].as_u64().unwrap() >= 50, "{seen}");
    let events = page(&keel, "/v1/events?kind=adjusted");
    let told = events["items"].as_array().unwrap();
    let told = told.iter().find(|one| one["backend"] == "gray").unwrap();
    assert_eq!(told["from"], "1.000", "{events}");

    // With an interval of an hour nothing moves of itself, and a reload keeps what is.
    write("{ interval: 1h }");
    reload(&keel);
    let seen = page(&keel, PATH);
    assert_eq!(seen["interval_seconds"], 3600.0);
    let now = factor(&seen, 0);
    assert!(now <= lowered, "{seen}");
    let [gray, well, failed] = served(&keel);
    let expect = 300.0 * now / (2.0 + now);
    let got = f64::from(u32::try_from(gray + failed).unwrap());
    assert!(
        (got - expect).abs() <= 3.0,
        "{got} of 300, {expect} by its weight; {well}"
    );
    let row = "evenkeel_backend_weight_factor{service=\"api\",backend=\"gray\"} 0.";
    assert!(keel.page("/metrics").contains(row));

    // Off puts all back.
    write("off");
    reload(&keel);
    let mut seen = Value::Null;
    for _ in 0..10_000 {
        seen = page(&keel, "/v1/services/api/backends/gray");
        if (seen["share_wanted"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-6 {
            break;
        }
    }
    assert!(
        (seen["share_wanted"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-6,
        "{seen}"
    );
    assert!(!keel.page("/metrics").contains(row));
}

/// What was learned of a backend, and the part of its weight that it has by that, go over a restart and an upgrade, where there is a place for it.
#[test]
fn what_was_learned_outlives_the_process() {
    let folders = ["adjusted-kept", "adjusted-kept-gray", "adjusted-kept-well"].map(Folder::new);
    let gray =
        "location / { if ($request_id ~ \"^[0-4]\") { return 500; } return 200 \"gray\\n\"; }";
    let servers = [
        Server::nginx(&folders[1], gray),
        Server::nginx(&folders[2], "location / { return 200 \"well\\n\"; }"),
    ];
    let state = folders[0].path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let admin = format!("admin: {{ bind: \"{}\" }}", nobodys());
    let run = |adjust: &str| {
        let text = configuration(adjust, [&servers[0], &servers[1]]);
        let text = text.replace("admin: { bind: \"127.0.0.1:0\" }", &admin);
        let file = folders[0].write("keel.yaml", &text);
        let state = state.to_str().unwrap();
        Evenkeel::run(&["-c", file.to_str().unwrap(), "--state-dir", state])
    };
    let keel = run("{ interval: 1s }");
    let mut seen = Value::Null;
    for _ in 0..10_000 {
        served(&keel);
        seen = page(&keel, PATH);
        if factor(&seen, 0) < 0.85 {
            break;
        }
    }
    // From here on nothing moves, so that what is there afterwards was there before.
    let text = configuration("{ interval: 1h }", [&servers[0], &servers[1]]);
    folders[0].write(
        "keel.yaml",
        &text.replace("admin: { bind: \"127.0.0.1:0\" }", &admin),
    );
    reload(&keel);
    let lowered = factor(&page(&keel, PATH), 0);
    assert!(lowered < 0.85, "{seen}");
    let learned = |keel: &Evenkeel| {
        let seen = page(keel, PATH);
        let one = &seen["backends"]["items"][0];
        (one["factor"].clone(), one["samples"].clone())
    };
    let before = learned(&keel);
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert!(status.success(), "{said}");
    let mut keel = run("{ interval: 1h }");
    assert!(
        keel.said.contains("what was learned of the weights of 1"),
        "{}",
        keel.said
    );
    assert_eq!(learned(&keel), before);
    // The share follows at once.
    let share = page(&keel, "/v1/services/api/backends/gray")["share_wanted"].clone();
    let expect = lowered / (2.0 + lowered);
    assert!((share.as_f64().unwrap() - expect).abs() < 0.01, "{share}");
    // What an upgrade goes by is written when it begins.
    std::fs::remove_file(state.join("watched.bin")).unwrap();
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    assert_eq!(learned(&keel), before);
}

/// A step may be had ahead of its time, once, and is refused where there is none to be had.
#[test]
fn a_step_is_made_when_it_is_asked_for() {
    let folders = ["adjusted-now", "adjusted-now-well"].map(Folder::new);
    let well = Server::nginx(&folders[1], "location / { return 200 \"well\\n\"; }");
    let text = configuration("{ interval: 1h }", [&well, &well]);
    let file = folders[0].write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let ask = || {
        let asks = [
            "-i",
            "-X",
            "POST",
            "-H",
            "X-Evenkeel: 1",
            "-H",
            "If-Match: *",
            "-d",
            "",
        ];
        keel.asked(&asks, PATH)
    };
    let first = ask();
    assert!(
        first.contains(" 200 OK") && first.contains("\"frozen\":\"membership\""),
        "{first}"
    );
    let again = ask().to_lowercase();
    assert!(
        again.contains(" 409 ") && again.contains("too_soon"),
        "{again}"
    );
    assert!(again.contains("retry-after: 3"), "{again}");
    let seen = page(&keel, PATH);
    assert!(
        seen["ahead_in_seconds"].as_f64().unwrap() > 3000.0,
        "{seen}"
    );
    folders[0].write("keel.yaml", &configuration("off", [&well, &well]));
    reload(&keel);
    let refused = ask();
    assert!(refused.contains("not_of_these"), "{refused}");
    assert_eq!(page(&keel, PATH)["mode"], "off");
}

/// Another policy is tried as a revision like any other, and what was comes back, here by the end of the process at the latest.
#[test]
fn another_policy_is_tried_as_a_revision() {
    let folders = ["adjusted-trial", "adjusted-trial-gray"].map(Folder::new);
    let gray =
        "location / { if ($request_id ~ \"^[0-4]\") { return 500; } return 200 \"gray\\n\"; }";
    let gray = Server::nginx(&folders[1], gray);
    let adjust = "{ interval: 1s, policy: { try: [random], threshold: 99%, patience: 1, lasts: 1, gain: 90%, rest: 1000, most: 1 } }";
    let text = configuration(adjust, [&gray, &gray]);
    let file = folders[0].write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut seen = Value::Null;
    for _ in 0..10_000 {
        served(&keel);
        seen = page(&keel, "/v1/events?kind=policy_put_back");
        if !seen["items"].as_array().unwrap().is_empty() {
            break;
        }
    }
    assert_eq!(seen["items"][0]["to"], "round_robin", "{seen}");
    let tried = page(&keel, "/v1/events?kind=policy_tried");
    assert_eq!(tried["items"][0]["to"], "random", "{tried}");
    let revisions = page(&keel, "/v1/revisions");
    let rows = revisions["items"].as_array().unwrap().iter();
    assert_eq!(
        rows.filter(|one| one["by"] == "adjust").count(),
        2,
        "{revisions}"
    );
    assert_eq!(page(&keel, "/v1/services/api")["policy"], "round_robin");
}
