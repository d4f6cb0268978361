//! Calls as a backend of HTTP/2 sees them, frame by frame: who leaves is told of at once, and what is told of a time is less than
//! was given.

use super::backends::{Between, OK, asked};
use super::frames::*;
use super::hpack::value;
use super::{Connection, Scene, metric};

const CALL: &[(&str, &str)] = &[("content-type", "application/grpc"), ("te", "trailers")];

/// Nothing is under way there.
fn rests(between: &Between) {
    let id = between.behind.local_addr().unwrap();
    metric(
        &between.keel,
        &format!("evenkeel_backend_in_flight{{service=\"api\",backend=\"{id}\"}} 0"),
    );
}

/// A client that leaves while its backend takes no more of its body: nothing of it is read, and it is noticed all the same.
#[test]
fn who_leaves_an_upload_that_is_stuck_is_told_of() {
    let between = Between::new(
        "stuck-upload",
        "timeouts: { per_try: 1h, exchange: 1h, idle_body: 1h }",
    );
    for (answers, closes) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut client = between.client();
        let stream = client.ask(0, &asks("POST", "/a.B/C", CALL));
        let mut behind = between.accept(&[]);
        behind.feeds = false;
        let own = asked(&mut behind, 1)[0];
        if answers {
            behind.write(&headers(own, 0, OK));
            assert!(client.until(|own| own.streams.contains_key(&stream)));
        }
        client.send(stream, &[0; 200 * 1024], false);
        // All that its window has.
        assert!(behind.until(|all| all.streams[&own].body.len() == 65_535));
        match closes {
            true => drop(client),
            false => client.write(&reset(stream, CANCEL)),
        }
        assert!(behind.until(|all| all.streams[&own].reset == Some(CANCEL)));
        rests(&between);
    }
}

/// A call on its way; its stream here and there.
fn call(client: &mut Connection, behind: &mut Connection, more: &[(&str, &str)]) -> (u32, u32) {
    let before = behind.streams.len();
    let fields = [CALL, more].concat();
    let stream = client.ask(END_STREAM, &asks("POST", "/a.B/C", &fields));
    let own = asked(behind, before + 1);
    (stream, own[before])
}

/// What the backend was told of the call's time, in milliseconds.
fn told(behind: &Connection, own: u32) -> Option<u64> {
    let said = value(behind.streams[&own].head()?, "grpc-timeout")?;
    let (digits, unit) = said.split_at(said.len() - 1);
    let digits: u64 = digits.parse().unwrap();
    Some(match unit {
        "H" => digits * 3_600_000,
        "M" => digits * 60_000,
        "S" => digits * 1_000,
        "m" => digits,
        "u" => digits / 1_000,
        "n" => digits / 1_000_000,
        unit => panic!("{unit}"),
    })
}

#[test]
fn times_and_their_ends_reach_the_backend() {
    let between = Between::new("call-times", "breaker: off");
    let mut client = between.client();
    client.ask(END_STREAM, &asks("GET", "/warm", &[]));
    let mut behind = between.accept(&[]);
    asked(&mut behind, 1);
    // Longer than an attempt may take where nobody gives a time.
    let (stream, own) = call(&mut client, &mut behind, &[("grpc-timeout", "50S")]);
    let left = told(&behind, own).unwrap();
    assert!((40_000..50_000).contains(&left), "{left}");
    client.write(&reset(stream, CANCEL));
    assert!(behind.until(|all| all.streams[&own].reset == Some(CANCEL)));
    // Who says nothing gives no time.
    let (stream, own) = call(&mut client, &mut behind, &[]);
    assert_eq!(told(&behind, own), None);
    behind.write(&headers(
        own,
        END_STREAM,
        &[(":status", "200"), ("grpc-status", "0")],
    ));
    assert_eq!(client.answer(stream).status(), 200);
    // Its end.
    let (stream, own) = call(&mut client, &mut behind, &[("grpc-timeout", "300m")]);
    assert!(told(&behind, own).unwrap() <= 300);
    assert!(behind.until(|all| all.streams[&own].reset == Some(CANCEL)));
    let got = client.answer(stream);
    assert_eq!(value(got.head().unwrap(), "grpc-status"), Some("4"));
}

/// What a backend says by taking its stream back is what the client is told, before an answer and within one.
#[test]
fn errors_of_streams_are_statuses() {
    let between = Between::new("call-errors", "breaker: off, retry: off");
    let mut client = between.client();
    client.ask(END_STREAM, &asks("GET", "/warm", &[]));
    let mut behind = between.accept(&[]);
    asked(&mut behind, 1);
    for (error, status) in [
        (PROTOCOL_ERROR, "13"),
        (2, "13"),
        (REFUSED_STREAM, "14"),
        (CANCEL, "1"),
        (ENHANCE_YOUR_CALM, "8"),
        (12, "7"),
        (99, "2"),
    ] {
        let (stream, own) = call(&mut client, &mut behind, &[]);
        behind.write(&reset(own, error));
        let got = client.answer(stream);
        assert_eq!(
            value(got.head().unwrap(), "grpc-status"),
            Some(status),
            "{error}"
        );
        let (stream, own) = call(&mut client, &mut behind, &[]);
        behind.write(&headers(own, 0, OK));
        assert!(client.until(|all| all.streams.contains_key(&stream)));
        behind.write(&reset(own, error));
        let got = client.answer(stream);
        assert_eq!(
            value(got.trailers().unwrap(), "grpc-status"),
            Some(status),
            "{error}"
        );
    }
}

/// A client that takes nothing hears all the same that its backend has gone.
#[test]
fn a_backend_that_goes_under_a_shut_window_is_noticed() {
    let between = Between::new("call-shut", "");
    let mut client = Connection::to(between.keel.address, &[(INITIAL_WINDOW, 0)]);
    client.feeds = false;
    client.ask(END_STREAM, &asks("GET", "/warm", &[]));
    let mut behind = between.accept(&[]);
    asked(&mut behind, 1);
    let (stream, own) = call(&mut client, &mut behind, &[]);
    behind.write(&headers(own, 0, OK));
    behind.write(&frame(DATA, 0, own, &[0; 5]));
    assert!(client.until(|all| all.streams.contains_key(&stream)));
    behind.write(&reset(own, 2));
    let got = client.answer(stream);
    assert_eq!(value(got.trailers().unwrap(), "grpc-status"), Some("13"));
}

/// An honest client takes calls back when their time is over, as many as there are: its connection and what else is on it go on.
#[test]
fn calls_that_had_their_time_are_no_flood() {
    for (name, witness, more) in [
        ("in-time", "900m", CALL_OF_A_SECOND),
        ("long", "1100m", &[] as &[(&str, &str)]),
    ] {
        let scene = Scene::new(&format!("no-flood-{name}"), "", "breaker: off");
        let mut client = scene.client();
        for round in 0..4 {
            let fields = asks("POST", "/hold", more);
            let streams: Vec<u32> = (0..99).map(|_| client.ask(END_STREAM, &fields)).collect();
            // It began last, and its time is over: the others have had theirs.
            let fields = [CALL, &[("grpc-timeout", witness)]].concat();
            let last = client.ask(END_STREAM, &asks("POST", "/hold", &fields));
            let got = client.answer(last);
            assert_eq!(got.status(), 200, "{name} {round}: {:?}", client.goaway);
            for stream in streams {
                client.write(&reset(stream, CANCEL));
            }
            assert!(client.settled(), "{name} {round}: {:?}", client.goaway);
        }
        assert_eq!(client.get("/").status(), 200);
        assert_eq!(client.goaway, None, "{name}");
    }
}

const CALL_OF_A_SECOND: &[(&str, &str)] =
    &[("content-type", "application/grpc"), ("grpc-timeout", "1S")];

/// Bodies that one service does not take leave room for another's, on the connection of both.
#[test]
fn uploads_that_are_stuck_hold_up_no_others() {
    let stuck = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let good = super::Recorder::start();
    let folder = crate::process::Folder::new("stuck-beside");
    let file = folder.write("keel.yaml", &format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ stuck: {{ backends: [\"{}\"], upstream: {{ protocol: http2 }} }}, good: {{ backends: [\"{}\"] }} }}\nrules: [{{ when: {{ path: /stuck }}, forward: stuck }}, {{ forward: good }}]\n",
        stuck.local_addr().unwrap(), good.address
    ));
    let keel = crate::process::Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut client = Connection::to(keel.address, &[]);
    assert!(client.settled());
    // More than the connection's window has, though each stays within its own.
    for _ in 0..12 {
        let stream = client.ask(0, &asks("POST", "/stuck", &[]));
        client.send(stream, &[0; 256 * 1024], false);
    }
    let stream = client.ask(0, &asks("POST", "/echo", &[]));
    client.send(stream, &[1; 300_000], true);
    assert_eq!(client.answer(stream).body.len(), 300_000);
}
