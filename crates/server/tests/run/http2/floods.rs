//! Floods (H1 to H4, H11 of the list of attacks): each from a connection of its own, while another client goes on.

use std::io::Write;

use super::frames::*;
use super::hpack::block;
use super::{Connection, Scene, used};

/// More than anybody would take.
const ROUNDS: u32 = 300_000;

/// The most requests that one connection may bring to a backend before it ends.
const REQUESTS: usize = 3_000;

/// Ticks of a processor (some 10 ms each) that a flood may take until its connection ends, what others ask beside it included.
const TICKS: u64 = 20;

/// So many KiB of memory a flood may take, and keep.
const MEMORY: u64 = 48 * 1024;

/// A flood: what it begins with, what each round adds, given its number, and the codes that may end it.
struct Flood {
    first: fn() -> Vec<u8>,
    round: fn(u32) -> Vec<u8>,
    codes: &'static [u32],
}

/// A stream of a round of its own, behind those of `first`.
fn stream(round: u32) -> u32 {
    2 * round + 101
}

fn none() -> Vec<u8> {
    Vec::new()
}

fn open(path: &str) -> Vec<u8> {
    headers(1, 0, &asks("POST", path, &[]))
}

fn check(name: &str, flood: &Flood) {
    let scene = Scene::new(&format!("flood-{name}"), "", "");
    let mut other = scene.client();
    assert_eq!(other.get("/").status(), 200);
    let (_, memory) = used(&scene.keel);
    let calm = quiet(&scene);
    let mut told = false;
    // A connection that is cut while it writes may not read the last word: what was said once holds for all.
    for turn in 0..5 {
        let before = scene.backend.heads();
        let (ticks, _) = used(&scene.keel);
        let end = flooded(&scene, flood, &mut other);
        let ticks = used(&scene.keel).0 - ticks;
        assert!(ticks < TICKS, "{name}: {ticks} ticks");
        let requests = scene.backend.heads() - before;
        assert!(
            requests < REQUESTS,
            "{name}: {requests} requests reached the backend"
        );
        if let Some((_, code)) = end {
            assert!(flood.codes.contains(&code), "{name}: it ends with {code}");
            told = true;
        }
        if told && turn > 0 {
            break;
        }
    }
    assert!(told, "{name}: the connection ends, and no GOAWAY says why");
    assert_eq!(scene.get("/").status(), 200, "{name}");
    scene.rests();
    let (_, after) = used(&scene.keel);
    assert!(
        after < memory + MEMORY,
        "{name}: {memory} KiB before, {after} after"
    );
    let later = quiet(&scene);
    assert!(
        later < calm + 20,
        "{name}: {calm} ticks at rest before, {later} after"
    );
    let page = scene.keel.page("/metrics");
    assert!(
        page.contains("evenkeel_contained_panics_total 0\n"),
        "{page}"
    );
}

/// One flood, until its connection ends. What its GOAWAY said.
fn flooded(scene: &Scene, flood: &Flood, other: &mut Connection) -> Option<(u32, u32)> {
    let mut own = scene.client();
    own.feeds = false;
    let mut writer = own.writer();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut bytes = (flood.first)();
            for round in 0..ROUNDS {
                bytes.extend((flood.round)(round));
                if bytes.len() > 16_384 {
                    if writer.write_all(&bytes).is_err() {
                        return;
                    }
                    bytes.clear();
                }
            }
            bytes.extend(frame(PING, 0, 0, b"the last"));
            let _ = writer.write_all(&bytes);
        });
        let others = scope.spawn(move || {
            for _ in 0..50 {
                assert_eq!(other.get("/").status(), 200, "others are answered");
            }
        });
        let survived = own.until(|own| own.pongs.last().is_some_and(|pong| pong == b"the last"));
        // Whoever writes ends, whatever the other side does.
        let _ = own.writer().shutdown(std::net::Shutdown::Both);
        others.join().unwrap();
        assert!(!survived, "all of it was taken");
    });
    own.goaway
}

/// Ticks that the process takes while it is asked for the same pages: who spins takes all the time that this lasts.
fn quiet(scene: &Scene) -> u64 {
    let (before, _) = used(&scene.keel);
    for _ in 0..40 {
        scene.keel.page("/livez");
    }
    used(&scene.keel).0 - before
}

macro_rules! floods {
    ($($name:ident: $first:expr, $round:expr, $codes:expr;)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name), &Flood { first: $first, round: $round, codes: &$codes });
            }
        )*
    };
}

fn asked(round: u32, path: &str) -> Vec<u8> {
    headers(stream(round), END_STREAM, &asks("GET", path, &[]))
}

floods! {
    // H1, CVE-2023-44487.
    rapid_reset: none, |round| [asked(round, "/hold"), reset(stream(round), CANCEL)].concat(), [ENHANCE_YOUR_CALM];
    rapid_reset_of_bodies: none,
        |round| [headers(stream(round), 0, &asks("POST", "/hold", &[])), frame(DATA, 0, stream(round), b"x"), reset(stream(round), CANCEL)].concat(),
        [ENHANCE_YOUR_CALM];

    // H2, CVE-2024-27316 and kin. A head that is over its limit may end the connection by that.
    continuation_empty: || frame(HEADERS, END_STREAM, 1, &block(&asks("GET", "/", &[]))),
        |_| frame(CONTINUATION, 0, 1, b""), [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];
    continuation_of_fields: || frame(HEADERS, END_STREAM, 1, &block(&asks("GET", "/", &[]))),
        |round| frame(CONTINUATION, 0, 1, &block(&[(format!("x-{round}"), "y")])), [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];
    continuation_large: || frame(HEADERS, END_STREAM, 1, &block(&asks("GET", "/", &[]))),
        |_| frame(CONTINUATION, 0, 1, &block(&[("x", "y".repeat(8_000))])), [ENHANCE_YOUR_CALM, PROTOCOL_ERROR, COMPRESSION_ERROR];
    continuation_behind_empty_headers: || frame(HEADERS, 0, 1, b""),
        |_| frame(CONTINUATION, 0, 1, b""), [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];

    // H3, CVE-2025-8671: made to reset, in six ways.
    made_to_reset_by_no_window: none,
        |round| [asked(round, "/hold"), window_update(stream(round), 0)].concat(), [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];
    made_to_reset_by_too_large_a_window: none,
        |round| [asked(round, "/hold"), window_update(stream(round), 0x7fff_ffff)].concat(), [ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR];
    made_to_reset_by_a_short_priority: none,
        |round| [asked(round, "/hold"), frame(PRIORITY, 0, stream(round), b"abcd")].concat(), [ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, PROTOCOL_ERROR];
    made_to_reset_by_its_own_dependency: none,
        |round| [asked(round, "/hold"), frame(PRIORITY, 0, stream(round), &[&stream(round).to_be_bytes()[..], b"\x10"].concat())].concat(),
        [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];
    made_to_reset_by_data_after_the_end: none,
        |round| [asked(round, "/hold"), frame(DATA, 0, stream(round), b"x")].concat(), [ENHANCE_YOUR_CALM, STREAM_CLOSED, PROTOCOL_ERROR];
    made_to_reset_by_headers_after_the_end: none,
        |round| [asked(round, "/hold"), headers(stream(round), END_STREAM, &[("x", "y")])].concat(), [ENHANCE_YOUR_CALM, STREAM_CLOSED, PROTOCOL_ERROR];
    // Further ones that cost a reset: heads that are no requests, and bodies that are not what their length says.
    made_to_reset_by_malformed_heads: none,
        |round| headers(stream(round), END_STREAM, &[(":method", "GET")]), [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];
    made_to_reset_by_short_bodies: none,
        |round| [headers(stream(round), 0, &asks("POST", "/hold", &[("content-length", "9")])), frame(DATA, END_STREAM, stream(round), b"x")].concat(),
        [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];

    // H4, CVE-2019-9511 to 9518 and frames that mean nothing.
    pings: none, |round| frame(PING, 0, 0, &u64::from(round).to_be_bytes()), [ENHANCE_YOUR_CALM];
    answers_to_no_ping: none, |round| frame(PING, ACK, 0, &u64::from(round).to_be_bytes()), [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];
    settings_empty: none, |_| settings(&[]), [ENHANCE_YOUR_CALM];
    settings_changing: none, |round| settings(&[(INITIAL_WINDOW, round % 60_000), (TABLE_SIZE, round % 4_096)]), [ENHANCE_YOUR_CALM];
    settings_acknowledged: none, |_| frame(SETTINGS, ACK, 0, b""), [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];
    priorities: none, |round| frame(PRIORITY, 0, stream(round), b"\0\0\0\0\x10"), [ENHANCE_YOUR_CALM];
    priorities_of_one_stream: || open("/hold"), |round| frame(PRIORITY, 0, 1, &[&[0, 0, 0, 101], &round.to_be_bytes()[3..]].concat()), [ENHANCE_YOUR_CALM];
    windows_of_the_connection: none, |_| window_update(0, 1), [ENHANCE_YOUR_CALM];
    windows_of_a_stream: || open("/hold"), |_| window_update(1, 1), [ENHANCE_YOUR_CALM];
    data_empty: || open("/hold"), |_| frame(DATA, 0, 1, b""), [ENHANCE_YOUR_CALM];
    data_of_padding: || open("/hold"), |_| frame(DATA, PADDED, 1, b"\x04abcd"), [ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR];
    headers_empty: none, |round| frame(HEADERS, END_HEADERS, stream(round), b""), [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];
    headers_with_empty_names: none, |round| headers(stream(round), END_STREAM, &asks("GET", "/", &[("", "")])), [ENHANCE_YOUR_CALM, PROTOCOL_ERROR];
    resets_of_one_stream: || open("/hold"), |_| reset(1, CANCEL), [ENHANCE_YOUR_CALM, STREAM_CLOSED];
    unknown_frames: none, |_| frame(0x42, 0xff, 0, b""), [ENHANCE_YOUR_CALM];
    unknown_frames_of_a_stream: || open("/hold"), |_| frame(0x42, 0xff, 1, b"abc"), [ENHANCE_YOUR_CALM];
    pushes: none, |round| frame(PUSH_PROMISE, END_HEADERS, 1, &(2 * round + 2).to_be_bytes()), [PROTOCOL_ERROR, ENHANCE_YOUR_CALM];
}

/// H11: ten thousand messages of one byte, as an honest client of gRPC sends them, are no flood.
#[test]
fn tiny_messages_are_no_flood() {
    let scene = Scene::new("tiny", "", "");
    let mut client = scene.client();
    let stream = client.ask(0, &asks("POST", "/echo", &[("te", "trailers")]));
    let mut sent = Vec::new();
    for number in 0..10_000_u32 {
        let byte = number.to_be_bytes()[3];
        client.send(stream, &[byte], false);
        sent.push(byte);
    }
    client.send(stream, b"", true);
    let got = client.answer(stream);
    assert_eq!(
        (got.status(), got.reset),
        (200, None),
        "{:?}",
        client.goaway
    );
    assert!(got.body == sent);
    // What a connection is busy with for long is no flood either: a stream in turn, each ended before the next.
    for _ in 0..2_000 {
        assert_eq!(client.get("/").status(), 200);
    }
    // Nor is one whose client changes its mind now and then.
    for turn in 0..200 {
        let stream = client.ask(END_STREAM, &asks("GET", "/hold", &[]));
        client.write(&reset(stream, CANCEL));
        for _ in 0..10 {
            assert_eq!(client.get("/").status(), 200, "{turn}: {:?}", client.goaway);
        }
    }
    assert_eq!(client.goaway, None);
    scene.rests();
}

/// H1: what the backend does for a stream that is reset ends at once.
#[test]
fn what_is_reset_is_cancelled_behind() {
    let scene = Scene::new("cancelled", "", "timeouts: { per_try: 1h, exchange: 1h }");
    let mut client = scene.client();
    let id = scene.backend.address;
    let busy = |number: u32| {
        let row =
            format!("evenkeel_backend_in_flight{{service=\"api\",backend=\"{id}\"}} {number}");
        super::metric(&scene.keel, &row);
    };
    let streams: Vec<u32> = (0..10)
        .map(|_| client.ask(END_STREAM, &asks("GET", "/hold", &[])))
        .collect();
    busy(10);
    for stream in &streams[..5] {
        client.write(&reset(*stream, CANCEL));
    }
    busy(5);
    // Who leaves takes the rest along.
    drop(client);
    busy(0);
    while scene
        .backend
        .told
        .left
        .load(std::sync::atomic::Ordering::SeqCst)
        < 10
    {
        std::thread::yield_now();
    }
    assert_eq!(scene.backend.requests(), 10);
}

/// CVE-2026-26311: what comes for a stream that was reset, in one write with it, reaches nobody.
#[test]
fn data_behind_a_reset_reaches_nobody() {
    let scene = Scene::new("zombie", "", "");
    let mut client = scene.client();
    assert_eq!(client.get("/").status(), 200);
    let stream = client.stream();
    let batch = [
        headers(
            stream,
            0,
            &asks("POST", "/echo", &[("content-length", "4")]),
        ),
        reset(stream, CANCEL),
        frame(DATA, END_STREAM, stream, b"late"),
    ];
    client.write(&batch.concat());
    assert!(client.settled() || client.goaway.is_some());
    scene.rests();
    assert!(
        scene
            .backend
            .recorded()
            .iter()
            .all(|one| one.body.is_empty())
    );
    assert_eq!(scene.get("/").status(), 200);
}
