use std::io::IoSlice;
use std::task::{Context, Waker};

use evenkeel_wire::forward::{self, Forwardable, Forwarding};
use evenkeel_wire::http1::HeadEnd;
use evenkeel_wire::http1::request::parse;
use evenkeel_wire::http2::frame::{FrameHeader, code, flag, kind};
use evenkeel_wire::sniff::HTTP2_PREFACE;

use evenkeel_balance::time::Instant;
use evenkeel_wire::RequestHead;

use super::*;
use crate::http2::watch::Budgets;

/// A GET for `/` of host `a`.
const GET: &[u8] = b"\x82\x84\x86\x41\x01a";

const TERMS: Terms = Terms {
    streams: 3,
    head: 4096,
    stream_window: 100_000,
    window: 150_000,
};

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_header(&mut out, payload.len(), kind, flags, id);
    out.extend_from_slice(payload);
    out
}

fn get(id: u32) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, id, GET)
}

/// A request whose body is to come.
fn begin(id: u32) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS, id, GET)
}

fn data(id: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, id, payload)
}

fn reset(id: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, id, &[0, 0, 0, 8])
}

fn window(id: u32, by: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, id, &by.to_be_bytes())
}

/// A client's connection and the places of its streams.
struct Server {
    mux: Rc<Mux>,
    opened: Vec<usize>,
}

impl Server {
    /// One whose peer has said what every connection begins with.
    fn new() -> Self {
        let mux = Mux::of_client(TERMS, Rc::default(), Rc::new(Watch::default()));
        let mut server = Self {
            mux,
            opened: Vec::new(),
        };
        server.came(HTTP2_PREFACE);
        server.came(&frame(kind::SETTINGS, 0, 0, b""));
        server.wrote();
        server
    }

    fn came(&mut self, bytes: &[u8]) {
        let reading = Reading {
            bounds: HeadLimits::default(),
            form: PathForm::default(),
        };
        self.mux.came(bytes, &reading, &mut self.opened);
    }

    /// What was written since: kind, flags, stream and payload of each frame.
    fn wrote(&self) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let inner = &mut *self.mux.0.borrow_mut();
        let mut all = inner.output.waiting().to_vec();
        inner.output.wrote(all.len());
        let mut frames = Vec::new();
        while let Some(header) = all.first_chunk() {
            let header = FrameHeader::parse(header);
            let rest = all.split_off(9 + header.length);
            frames.push((header.kind, header.flags, header.stream, all.split_off(9)));
            all = rest;
        }
        frames
    }

    /// How the peer was answered: what was taken back, and the last word.
    fn said(&self) -> Vec<(u32, u32)> {
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        let frames = self.wrote().into_iter();
        frames
            .filter_map(|(kind, _, id, payload)| match kind {
                kind::RST_STREAM => Some((id, number(&payload))),
                kind::GOAWAY => Some((0, number(&payload[4..8]))),
                _ => None,
            })
            .collect()
    }

    fn take(&self, at: usize, most: usize) -> Poll<Option<Vec<u8>>> {
        let mut into = vec![0; most];
        let cx = Context::from_waker(Waker::noop());
        self.mux.poll_take(at, &cx, &mut into).map(|taken| {
            into.truncate(taken.ok()?);
            Some(into)
        })
    }

    fn leave(&self, at: usize, bytes: &[u8]) -> Poll<Option<usize>> {
        let cx = Context::from_waker(Waker::noop());
        let left = self.mux.poll_leave(at, &cx, &[IoSlice::new(bytes)]);
        left.map(Result::ok)
    }
}

/// What a peer does wrong, and what it is told (RFC 9113 sections 4 to 6). However its bytes come.
#[test]
fn what_is_against_the_rules_ends_a_stream_or_the_connection() {
    let connection = |code: u32| vec![(0, code)];
    let settings = |payload: &[u8]| frame(kind::SETTINGS, 0, 0, payload);
    for (what, frames, expect) in [
        ("nothing is wrong", vec![get(1), get(3)], vec![]),
        (
            "DATA on no stream",
            vec![data(0, 0, b"a")],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "DATA on a stream that was not opened",
            vec![data(1, 0, b"a")],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "DATA behind the end",
            vec![get(1), data(1, 0, b"a")],
            vec![(1, code::STREAM_CLOSED)],
        ),
        (
            "DATA behind its own end",
            vec![begin(1), data(1, 1, b""), data(1, 1, b"")],
            vec![(1, code::STREAM_CLOSED)],
        ),
        (
            "padding longer than the payload",
            vec![begin(1), data(1, flag::PADDED, b"\x05abc")],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "padding",
            vec![begin(1), data(1, flag::PADDED, b"\x02abc")],
            vec![],
        ),
        (
            "more than the stream's window",
            vec![begin(1), data(1, 0, &[0; 16_384]).repeat(7)],
            vec![(1, code::FLOW_CONTROL_ERROR)],
        ),
        (
            "more than the connection's window",
            vec![
                begin(1),
                begin(3),
                data(1, 0, &[0; 16_384]).repeat(6),
                data(3, 0, &[0; 16_384]).repeat(4),
            ],
            connection(code::FLOW_CONTROL_ERROR),
        ),
        (
            "a frame too long",
            vec![frame(kind::HEADERS, 4, 1, &[0; 16_385])],
            connection(code::FRAME_SIZE_ERROR),
        ),
        (
            "a head on no stream",
            vec![get(0)],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "a head on a stream of ours",
            vec![get(2)],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "a stream below another",
            vec![get(3), get(1)],
            connection(code::STREAM_CLOSED),
        ),
        (
            "a block that is none",
            vec![frame(kind::HEADERS, 5, 1, b"\xff")],
            connection(code::COMPRESSION_ERROR),
        ),
        (
            "a second head",
            vec![begin(1), begin(1)],
            vec![(1, code::PROTOCOL_ERROR)],
        ),
        (
            "trailers",
            vec![begin(1), frame(kind::HEADERS, 5, 1, b"\x40\x01a\x01b")],
            vec![],
        ),
        (
            "trailers with a path",
            vec![begin(1), get(1)],
            vec![(1, code::PROTOCOL_ERROR)],
        ),
        (
            "trailers behind the end",
            vec![get(1), frame(kind::HEADERS, 5, 1, b"")],
            vec![(1, code::STREAM_CLOSED)],
        ),
        (
            "streams over the limit",
            vec![get(1), get(3), get(5), get(7)],
            vec![(7, code::REFUSED_STREAM)],
        ),
        (
            "a block broken into by another stream",
            vec![frame(kind::HEADERS, 1, 1, b"\x82"), get(3)],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "a block broken into by PING",
            vec![
                frame(kind::HEADERS, 1, 1, b"\x82"),
                frame(kind::PING, 0, 0, &[0; 8]),
            ],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "the rest of no block",
            vec![frame(kind::CONTINUATION, 4, 1, b"\x82")],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "a block without end",
            vec![
                frame(kind::HEADERS, 1, 1, b""),
                frame(kind::CONTINUATION, 0, 1, b"\x82").repeat(65),
            ],
            connection(code::ENHANCE_YOUR_CALM),
        ),
        (
            "a block larger than any head",
            vec![
                frame(kind::HEADERS, 1, 1, b""),
                frame(kind::CONTINUATION, 0, 1, &[0x82; 16_384]).repeat(5),
            ],
            connection(code::ENHANCE_YOUR_CALM),
        ),
        (
            "PRIORITY of a wrong length",
            vec![begin(1), frame(kind::PRIORITY, 0, 1, b"1234")],
            vec![(1, code::FRAME_SIZE_ERROR)],
        ),
        (
            "PRIORITY ahead",
            vec![frame(kind::PRIORITY, 0, 9, b"12345"), get(1)],
            vec![],
        ),
        (
            "a reset ahead",
            vec![reset(1)],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "a reset of a wrong length",
            vec![begin(1), frame(kind::RST_STREAM, 0, 1, b"123")],
            connection(code::FRAME_SIZE_ERROR),
        ),
        (
            "settings of a wrong length",
            vec![settings(b"12345")],
            connection(code::FRAME_SIZE_ERROR),
        ),
        (
            "settings on a stream",
            vec![frame(kind::SETTINGS, 0, 1, b"")],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "settings' answer with a payload",
            vec![frame(kind::SETTINGS, 1, 0, &[0; 6])],
            connection(code::FRAME_SIZE_ERROR),
        ),
        (
            "a window that is none",
            vec![settings(b"\0\x04\x80\0\0\0")],
            connection(code::FLOW_CONTROL_ERROR),
        ),
        (
            "a window over the most by settings",
            vec![
                get(1),
                window(1, 0x7fff_ffff - 65_535),
                settings(b"\0\x04\0\x01\0\0"),
            ],
            connection(code::FLOW_CONTROL_ERROR),
        ),
        (
            "PING of a wrong length",
            vec![frame(kind::PING, 0, 0, b"1")],
            connection(code::FRAME_SIZE_ERROR),
        ),
        (
            "a promise",
            vec![frame(kind::PUSH_PROMISE, 4, 1, b"\0\0\0\x02")],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "no wider",
            vec![window(0, 0)],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "no wider on a stream",
            vec![get(1), window(1, 0)],
            vec![(1, code::PROTOCOL_ERROR)],
        ),
        (
            "too wide",
            vec![window(0, 0x7fff_ffff)],
            connection(code::FLOW_CONTROL_ERROR),
        ),
        (
            "too wide on a stream",
            vec![get(1), window(1, 0x7fff_ffff)],
            vec![(1, code::FLOW_CONTROL_ERROR)],
        ),
        (
            "wider ahead",
            vec![window(1, 1)],
            connection(code::PROTOCOL_ERROR),
        ),
        (
            "a kind that nobody knows",
            vec![frame(0x77, 0xff, 9, b"text"), get(1)],
            vec![],
        ),
    ] {
        let all = frames.concat();
        for size in [1, 7, 16 * 1024, all.len()] {
            let mut server = Server::new();
            for piece in all.chunks(size) {
                server.came(piece);
            }
            assert_eq!(server.said(), expect, "{what}, in pieces of {size}");
        }
    }
}

#[test]
fn a_connection_begins_as_it_should() {
    for (what, bytes, expect) in [
        (
            "another preface",
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(),
            code::PROTOCOL_ERROR,
        ),
        (
            "no settings",
            [&HTTP2_PREFACE[..], &get(1)].concat(),
            code::PROTOCOL_ERROR,
        ),
        (
            "an answer first",
            [&HTTP2_PREFACE[..], &frame(kind::SETTINGS, 1, 0, b"")].concat(),
            code::PROTOCOL_ERROR,
        ),
    ] {
        for size in [1, bytes.len()] {
            let mux = Mux::of_client(TERMS, Rc::default(), Rc::new(Watch::default()));
            let mut server = Server {
                mux,
                opened: Vec::new(),
            };
            for piece in bytes.chunks(size) {
                server.came(piece);
            }
            assert_eq!(server.said(), [(0, expect)], "{what}");
            assert!(server.opened.is_empty() && !server.mux.may_read(), "{what}");
        }
    }
}

#[test]
fn what_was_taken_back_may_still_come() {
    let mut server = Server::new();
    server.came(&begin(1));
    let at = server.opened[0];
    server.mux.let_go(at);
    assert_eq!(server.said(), [(1, code::CANCEL)]);
    server.came(&[data(1, 0, &[0; 16_384]).repeat(5), data(1, 1, b"x")].concat());
    assert_eq!(
        server.wrote(),
        [(kind::WINDOW_UPDATE, 0, 0, 81_920_u32.to_be_bytes().to_vec())],
        "the connection's window opens again"
    );
    server.came(&[get(3), data(1, 0, b"x")].concat());
    assert_eq!(server.opened.len(), 2);
    // A place that is used again has nothing of who had it.
    assert_eq!(server.take(server.opened[1], 9), Poll::Ready(Some(vec![])));
}

/// What is answered before its body has come (a refusal at its head): the answer, whole, and behind it that the rest is not wanted, which is
/// no error (RFC 9113 section 8.1), and no word of the connection's end. What still comes is no fault, and other streams are served.
#[test]
fn who_is_answered_early_is_told_so_behind_the_answer() {
    let mut server = Server::new();
    server.came(&[begin(1), data(1, 0, b"some")].concat());
    let at = server.opened[0];
    let head = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\n";
    server.mux.send_head(at, head, false, false).unwrap();
    assert_eq!(server.leave(at, b"busy"), Poll::Ready(Some(4)));
    server.mux.end_body(at, b"").unwrap();
    server.mux.let_go(at);
    let frames: Vec<_> = server
        .wrote()
        .into_iter()
        .map(|(kind, flags, id, payload)| (kind, flags & flag::END_STREAM, id, payload))
        .collect();
    let [(kind::HEADERS, 0, 1, _), behind @ ..] = &frames[..] else {
        panic!("{frames:?}");
    };
    assert_eq!(
        behind,
        [
            (kind::DATA, flag::END_STREAM, 1, b"busy".to_vec()),
            (
                kind::RST_STREAM,
                0,
                1,
                code::NO_ERROR.to_be_bytes().to_vec()
            ),
        ]
    );
    // All in its head, as a call of gRPC is refused.
    server.came(&begin(3));
    let at = server.opened[1];
    let head = b"HTTP/1.1 200 OK\r\ngrpc-status: 8\r\n\r\n";
    server.mux.send_head(at, head, true, false).unwrap();
    server.mux.let_go(at);
    let wrote: Vec<_> = server
        .wrote()
        .into_iter()
        .map(|(kind, flags, id, _)| (kind, flags & flag::END_STREAM, id))
        .collect();
    assert_eq!(
        wrote,
        [
            (kind::HEADERS, flag::END_STREAM, 3),
            (kind::RST_STREAM, 0, 3)
        ]
    );
    server.came(&[data(1, 0, b"more"), data(3, 1, b"all"), data(1, 1, b"")].concat());
    assert!(server.said().is_empty());
    server.came(&get(5));
    assert!(server.opened.len() == 3 && server.said().is_empty());
}

/// As many as a client may have open can be refused at once, with their bodies on the way.
#[test]
fn all_that_may_be_open_may_be_refused_with_their_bodies_under_way() {
    const MANY: u32 = 1000;
    let mut server = Server::new();
    server.mux.0.borrow_mut().terms.streams = MANY as usize;
    let ids = || (0..MANY).map(|number| 2 * number + 1);
    server.came(&ids().flat_map(begin).collect::<Vec<u8>>());
    for at in std::mem::take(&mut server.opened) {
        server.mux.let_go(at);
    }
    assert_eq!(server.said().len(), MANY as usize);
    let late: Vec<u8> = ids().flat_map(|id| data(id, 1, b"late")).collect();
    server.came(&late);
    assert!(server.said().is_empty());
}

/// What was on its way to a stream that nobody wants costs its client nothing, as far as it was allowed to send it.
#[test]
fn what_was_allowed_before_a_stream_was_taken_back_is_no_flood() {
    let mut server = Server::new();
    let watch = server.mux.0.borrow().watch.clone();
    let now = Instant::from_nanos(1);
    let mut budgets = Budgets::new(now);
    let mut costs = |server: &mut Server, bytes: &[u8]| {
        budgets.charge(&watch, now, 0).unwrap();
        server.came(bytes);
        assert!(server.said().is_empty());
        budgets.is_due(&watch)
    };
    server.came(&[begin(1), data(1, 0, &[7; 10_000])].concat());
    server.mux.let_go(server.opened[0]);
    assert_eq!(server.said(), [(1, code::CANCEL)]);
    for _ in 0..9 {
        assert!(!costs(&mut server, &data(1, 0, &[7; 10_000])));
    }
    assert!(costs(&mut server, &data(1, 0, b"x")), "beyond its window");
    assert!(costs(&mut server, &data(1, 1, b"")), "nothing at all");
    // One that was refused for there were too many.
    for id in [3, 5, 7] {
        server.came(&begin(id));
    }
    server.came(&begin(9));
    assert_eq!(server.said(), [(9, code::REFUSED_STREAM)]);
    assert!(!costs(&mut server, &data(9, 0, &[7; 16_384])));
}

#[test]
fn faults_have_an_end() {
    let mut server = Server::new();
    for id in 0..200 {
        server.came(&[begin(2 * id + 1), begin(2 * id + 1)].concat());
        let at = server.opened.pop().unwrap();
        server.mux.let_go(at);
        assert_eq!(server.said(), [(2 * id + 1, code::PROTOCOL_ERROR)]);
    }
    server.came(&[begin(401), begin(401)].concat());
    assert_eq!(server.said(), [(0, code::ENHANCE_YOUR_CALM)]);
}

#[test]
fn windows_open_as_bodies_are_taken() {
    let mut server = Server::new();
    server.came(&[begin(1), data(1, 0, &[7; 16_384]).repeat(6)].concat());
    let at = server.opened[0];
    assert_eq!(server.mux.unread(), (6 * 16_384, 150_000));
    assert_eq!(server.take(at, 49_999), Poll::Ready(Some(vec![7; 49_999])));
    assert_eq!(server.wrote(), []);
    assert_eq!(server.take(at, 1), Poll::Ready(Some(vec![7])));
    let wider = |id, by: u32| (kind::WINDOW_UPDATE, 0, id, by.to_be_bytes().to_vec());
    assert_eq!(server.wrote(), [wider(1, 50_000)]);
    assert_eq!(
        server.take(at, 100_000).map(|taken| taken.unwrap().len()),
        Poll::Ready(48_304)
    );
    assert_eq!(
        server.wrote(),
        [wider(0, 98_304)],
        "half of the connection's"
    );
    assert_eq!(server.take(at, 1), Poll::Pending);
    server.came(&data(1, 1, b"end"));
    assert_eq!(server.take(at, 9), Poll::Ready(Some(b"end".to_vec())));
    assert_eq!(server.take(at, 9), Poll::Ready(Some(vec![])));
    server.mux.resize(200_000);
    assert_eq!(
        server.wrote(),
        [wider(0, 50_003)],
        "and what was taken since"
    );
}

#[test]
fn what_is_sent_keeps_to_windows_and_to_what_waits() {
    let mut server = Server::new();
    server.came(&[get(1), get(3), window(1, 100_000)].concat());
    let (one, other) = (server.opened[0], server.opened[1]);
    for at in [one, other] {
        let sent = server
            .mux
            .send_head(at, b"HTTP/1.1 200 OK\r\n\r\n", false, false);
        assert!(sent.is_ok());
    }
    server.wrote();
    let full = [0; 50_000];
    let mut sent = 0;
    while let Poll::Ready(Some(length)) = server.leave(one, &full) {
        sent += length;
        server.wrote();
    }
    assert_eq!(sent, 65_535, "what the connection takes");
    assert_eq!(server.leave(other, b"a"), Poll::Pending);
    server.came(&window(0, 200_000));
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut ours, _theirs) = crate::sock::pipe::Pipe::pair(1 << 20);
    assert!(server.mux.poll_write(cx, &mut ours).is_pending());
    assert!(
        !server.mux.0.borrow().streams.get(other).waits,
        "it was woken"
    );
    let mut sent = 0;
    while let Poll::Ready(Some(length)) = server.leave(other, &full) {
        sent += length;
    }
    assert!(
        (FULL - PAYLOAD..=FULL).contains(&sent),
        "{sent}: what may wait"
    );
    server.wrote();
    assert!(server.leave(other, b"a").is_ready());
    server.came(&reset(1));
    assert_eq!(server.leave(one, b"a"), Poll::Ready(None));
    assert!(server.mux.end_body(one, b"").is_err());
}

#[test]
fn an_end_goes_with_what_was_sent_last() {
    let mut server = Server::new();
    server.came(&[get(1), get(3), get(5)].concat());
    let opened = std::mem::take(&mut server.opened);
    for &at in &opened {
        server
            .mux
            .send_head(at, b"HTTP/1.1 200 OK\r\n\r\n", false, false)
            .unwrap();
    }
    assert!(server.leave(opened[0], b"one").is_ready());
    assert!(server.leave(opened[1], b"two").is_ready());
    server.mux.end_body(opened[0], b"").unwrap();
    server.mux.end_body(opened[1], b"").unwrap();
    let ended = |id, body: &[u8]| (kind::DATA, flag::END_STREAM, id, body.to_vec());
    assert_eq!(server.wrote()[3..], [ended(1, b"one"), ended(3, b"two")]);
    assert!(server.leave(opened[2], b"three").is_ready());
    server.wrote();
    server.mux.end_body(opened[2], b"").unwrap();
    assert_eq!(server.wrote(), [ended(5, b"")], "it was on its way");
    assert_eq!(server.mux.0.borrow().open, 0);
    for at in opened {
        server.mux.let_go(at);
    }
    assert_eq!(server.wrote(), []);
    assert!(!server.mux.owes());
}

#[test]
fn who_is_told_to_go_is_served_until_it_has_heard() {
    let mut server = Server::new();
    server.came(&get(1));
    server.mux.go();
    let said = server.wrote();
    let farewell = (kind::PING, 0, 0, FAREWELL.to_vec());
    let goes = |last: u32| (kind::GOAWAY, 0, 0, [last.to_be_bytes(), [0; 4]].concat());
    assert_eq!(said, [goes(0x7fff_ffff), farewell]);
    server.came(&get(3));
    assert_eq!(server.opened.len(), 2, "it had not heard");
    server.came(&frame(kind::PING, flag::ACK, 0, &FAREWELL));
    assert_eq!(server.wrote(), [goes(3)]);
    server.came(&get(5));
    assert_eq!((server.opened.len(), server.wrote()), (2, vec![]));
    assert!(!server.mux.is_done());
    for at in std::mem::take(&mut server.opened) {
        server.mux.let_go(at);
    }
    assert!(server.mux.is_done());
}

#[test]
fn who_does_not_say_that_it_has_heard_is_told_the_last() {
    let mut server = Server::new();
    server.mux.go();
    server.wrote();
    for id in [1, 3, 5, 7, 9, 11] {
        server.came(&get(id));
        for at in std::mem::take(&mut server.opened) {
            server
                .mux
                .send_head(at, b"HTTP/1.1 200 OK\r\n\r\n", true, false)
                .unwrap();
            server.mux.let_go(at);
        }
    }
    let said = server.wrote();
    let last = said.iter().filter(|(kind, ..)| *kind == kind::GOAWAY);
    let last: Vec<_> = last.map(|(.., payload)| payload[..4].to_vec()).collect();
    assert_eq!(
        last,
        [11_u32.to_be_bytes()],
        "twice as many as at once, and no more"
    );
    assert!(server.mux.is_done());
}

/// Nobody is woken for what came while too much was owed: that is read as soon as less is.
#[test]
fn reading_goes_on_when_less_is_owed() {
    struct Woken(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let woken = std::sync::Arc::new(Woken(0.into()));
    let waker = Waker::from(woken.clone());
    let cx = &mut Context::from_waker(&waker);
    let mut server = Server::new();
    server.came(&frame(kind::PING, 0, 0, &[0; 8]).repeat(STOP / 17 + 1));
    assert!(!server.mux.may_read());
    let (mut ours, _theirs) = crate::sock::pipe::Pipe::pair(1 << 20);
    assert!(server.mux.poll_write(cx, &mut ours).is_pending());
    assert!(server.mux.may_read());
    assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert!(server.mux.poll_write(cx, &mut ours).is_pending());
    assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// A request that goes on to a backend.
fn forwardable() -> Forwardable {
    let text = b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n";
    let mut head = RequestHead::new();
    let read = parse(
        text,
        &mut HeadEnd::default(),
        &HeadLimits::default(),
        PathForm::default(),
        &mut head,
    );
    assert_eq!(read, Ok(Some(text.len())));
    let mut out = Forwardable::empty();
    let peer = [127, 0, 0, 1].into();
    let forwarding = Forwarding {
        peer,
        trusted: false,
        client: peer,
        scheme: "http",
        port: 80,
        via: None,
        identity: b"",
        real_ip: false,
        chance: [1, 2, 3, 4],
        span: None,
        altered: None,
    };
    forward::request(&head, &forwarding, &mut out);
    out
}

/// A backend that takes nothing is asked no more, however many go away again.
#[test]
fn what_waits_for_a_backend_has_a_bound() {
    let mux = Mux::to_backend(TERMS, Rc::default(), Rc::new(Watch::default()));
    let how = asking::How {
        secure: false,
        ends: true,
        tunnel: None,
        to_head: false,
    };
    let mut asked = 0;
    while let Some(at) = mux.ask(&forwardable(), &how).unwrap() {
        mux.let_go(at);
        asked += 1;
        assert!(asked < 10_000);
    }
    assert!(mux.is_full() && mux.takes_more());
    let waits = mux.0.borrow().output.len();
    assert!((FULL..FULL + 1024).contains(&waits), "{waits}");
    assert_eq!(mux.stuck_at(), Some(0));
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut ours, _theirs) = crate::sock::pipe::Pipe::pair(1 << 20);
    assert!(mux.poll_write(cx, &mut ours).is_pending());
    assert_eq!(mux.stuck_at(), None);
    assert!(mux.ask(&forwardable(), &how).unwrap().is_some());
}
