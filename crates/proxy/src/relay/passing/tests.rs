#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream as Far};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use evenkeel_config::limits::REPLAY_BYTES;
use evenkeel_wire::Framing;
use tokio::net::TcpStream;

use crate::buffers::{Buffers, Input};
use crate::relay::{Break, Pump};
use crate::room::Room;
use crate::sock::Sock;
use crate::sock::os::OsSock;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A socket that counts what is read into memory, and may be none that bytes pass.
struct Counted {
    sock: OsSock,
    bare: bool,
    read: usize,
}

impl Sock for Counted {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let polled = self.sock.poll_read(cx, into);
        if let Poll::Ready(Ok(length)) = polled {
            self.read += length;
        }
        polled
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.sock.poll_write(cx, from)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sock.poll_write_vectored(cx, from)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sock.poll_shutdown(cx)
    }

    fn has_input(&mut self) -> bool {
        self.sock.has_input()
    }

    async fn broken(&self) {
        self.sock.broken().await;
    }

    async fn ended(&self) {
        self.sock.ended().await;
    }

    fn cut(&mut self) {
        self.sock.cut();
    }

    fn bare(&mut self) -> Option<&mut OsSock> {
        self.sock.bare().filter(|_| self.bare)
    }
}

fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(what)
}

/// A socket of a pump's, and its far end, which blocks.
fn pair(bare: bool) -> (Counted, Far) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = Far::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    let sock = OsSock::Tcp(TcpStream::from_std(near).unwrap());
    let read = 0;
    (Counted { sock, bare, read }, far)
}

fn bytes(length: usize) -> Vec<u8> {
    // No two pieces of it are alike.
    let words = (0..=length / 8).map(|at| (at * 0x9e37_79b9 + 7).to_le_bytes());
    let mut all: Vec<u8> = words.flatten().collect();
    all.truncate(length);
    all
}

/// One direction, and the buffers that it works with.
struct Scene {
    pump: Pump,
    from: Counted,
    to: Counted,
    input: Input,
    buffers: Buffers,
    room: Arc<Room>,
}

impl Scene {
    fn new(pump: Pump, places: usize, bare: [bool; 2]) -> (Self, Far, Far) {
        let room = Room::new(places);
        let ((from, sends), (to, gets)) = (pair(bare[0]), pair(bare[1]));
        let scene = Self {
            pump,
            from,
            to,
            input: Input::default(),
            buffers: Buffers::new(room.clone()),
            room,
        };
        (scene, sends, gets)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        let (from, to) = (&mut self.from, &mut self.to);
        let polled = (self.pump).poll(cx, &mut self.input, from, to, &self.buffers);
        if self.pump.take_paused() {
            cx.waker().wake_by_ref();
        }
        polled
    }

    /// Moves until the end, or it breaks.
    async fn go(&mut self) -> Result<(), Break> {
        let moved = poll_fn(|cx| self.poll(cx)).await;
        if moved.is_ok() {
            poll_fn(|cx| self.to.poll_shutdown(cx)).await.unwrap();
        }
        moved
    }

    fn spliced(&self) -> usize {
        usize::try_from(self.room.spliced_bytes()).unwrap()
    }
}

/// A body or a tunnel of these pieces, each sent when the one before it has arrived.
struct Goes {
    pump: fn() -> Pump,
    pieces: &'static [usize],
    places: usize,
    bare: [bool; 2],
}

const TUNNEL: Goes = Goes {
    pump: Pump::both_ways,
    pieces: &[16 * MIB],
    places: 1024,
    bare: [true; 2],
};

fn exact(length: usize) -> Pump {
    Pump::new(Framing::Exact(length as u64), || unreachable!())
}

#[derive(Debug)]
enum How {
    /// All of it came to us.
    Copied,
    /// Three quarters and more did not.
    Passed,
    /// All of it did, for want of a pipe.
    Wanted,
}

/// All arrives as it was sent, in this way.
#[track_caller]
fn check(goes: &Goes, how: &How) {
    let total = goes.pieces.iter().sum::<usize>();
    let (copied, spliced, refused) = run(async {
        let (mut scene, mut sends, mut gets) = Scene::new((goes.pump)(), goes.places, goes.bare);
        let mut writer = sends.try_clone().unwrap();
        let (arrived, arrives) = std::sync::mpsc::sync_channel(1);
        let pieces = goes.pieces;
        let sending = std::thread::spawn(move || {
            let mut left = &bytes(total)[..];
            for &piece in pieces {
                writer.write_all(&left[..piece]).unwrap();
                left = &left[piece..];
                arrives.recv().unwrap();
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let getting = std::thread::spawn(move || {
            let mut all = vec![0; total];
            let mut left = &mut all[..];
            for &piece in pieces {
                gets.read_exact(&mut left[..piece]).unwrap();
                left = &mut left[piece..];
                arrived.send(()).unwrap();
            }
            assert_eq!(gets.read(&mut [0]).unwrap(), 0, "more than was sent");
            all
        });
        scene.go().await.unwrap();
        sending.join().unwrap();
        assert!(getting.join().unwrap() == bytes(total), "other bytes");
        assert_eq!(scene.pump.came(), total as u64);
        assert!(!scene.pump.has_output() && scene.pump.has_written());
        sends.set_nonblocking(true).unwrap();
        assert_eq!(
            sends.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        scene.buffers.conduits.sweep();
        scene.buffers.conduits.sweep();
        assert_eq!(scene.room.pipes(), 0, "a pipe is kept");
        (scene.from.read, scene.spliced(), scene.room.pipe_refusals())
    });
    assert_eq!(copied + spliced, total, "neither copied nor passed");
    let as_told = match how {
        How::Copied => (copied, refused) == (total, 0),
        How::Passed => copied <= total / 4 && refused == 0,
        How::Wanted => copied == total && refused > 0,
    };
    assert!(
        as_told,
        "{copied} of {total} copied, {refused} refused, not {how:?}"
    );
}

#[test]
fn large_pieces_between_bare_sockets_do_not_come_to_us() {
    check(&TUNNEL, &How::Passed);
    let pump = || exact(16 * MIB);
    check(&Goes { pump, ..TUNNEL }, &How::Passed);
    let pump = || {
        exact(16 * MIB)
            .before(Vec::new())
            .at_most(Some(16 * 1024 * 1024))
    };
    check(&Goes { pump, ..TUNNEL }, &How::Passed);
    let pump = || Pump::new(Framing::UntilClose, || unreachable!());
    check(&Goes { pump, ..TUNNEL }, &How::Passed);
}

#[test]
fn small_ones_are_copied() {
    let pieces = &[2 * KIB; 300];
    check(&Goes { pieces, ..TUNNEL }, &How::Copied);
    let (pump, pieces): (fn() -> Pump, _) = (|| exact(60 * KIB), &[30 * KIB; 2]);
    check(
        &Goes {
            pump,
            pieces,
            ..TUNNEL
        },
        &How::Copied,
    );
}

#[test]
fn what_is_not_bare_at_both_ends_is_copied() {
    for bare in [[true, false], [false, true], [false, false]] {
        check(&Goes { bare, ..TUNNEL }, &How::Copied);
    }
}

#[test]
fn who_gets_no_pipe_copies() {
    // A sixteenth of these is none.
    check(
        &Goes {
            places: 15,
            ..TUNNEL
        },
        &How::Wanted,
    );
}

/// What may have to be sent again is copied; what is too long for that is let go of, and the rest of it passes within the kernel.
#[test]
fn what_is_kept_comes_to_us() {
    for (length, stays) in [(REPLAY_BYTES, true), (4 * MIB, false)] {
        run(async {
            let (mut scene, mut sends, mut gets) = Scene::new(exact(length), 1024, [true; 2]);
            scene.pump = exact(length).keeping(&scene.buffers);
            let sending = std::thread::spawn(move || sends.write_all(&bytes(length)).unwrap());
            let getting = std::thread::spawn(move || {
                let mut all = Vec::new();
                gets.read_to_end(&mut all).unwrap();
                all
            });
            scene.go().await.unwrap();
            sending.join().unwrap();
            assert_eq!(scene.pump.is_kept(), stays);
            let (copied, spliced) = (scene.from.read, scene.spliced());
            assert_eq!(copied + spliced, length);
            assert!(
                copied >= REPLAY_BYTES && (spliced == 0) == stays,
                "{copied}"
            );
            if stays {
                let again = scene.pump.again(b"head", false, &mut scene.input);
                assert!(again.before == [b"head", &bytes(length)[..]].concat());
            }
            drop((scene.to, scene.from));
            assert!(getting.join().unwrap() == bytes(length), "other bytes");
        });
    }
}

/// A scene whose backend has sent more than goes through, to a client that takes nothing: polled until nothing moves.
async fn stalled() -> (Scene, Far, Far) {
    let (mut scene, mut sends, gets) = Scene::new(Pump::both_ways(), 1024, [true; 2]);
    sends.set_nonblocking(true).unwrap();
    let piece = vec![b'x'; MIB];
    let mut full = 0;
    // What was sent may be on its way for a moment; it is full when it stays so.
    while full < 100 {
        let wrote = sends.write(&piece).is_ok();
        let polled = poll_fn(|cx| Poll::Ready(scene.poll(cx))).await;
        assert!(polled.is_pending());
        let moved = scene.pump.take_moved();
        full = if wrote || moved { 0 } else { full + 1 };
        tokio::task::yield_now().await;
    }
    (scene, sends, gets)
}

#[test]
fn who_takes_nothing_holds_one_pipe_until_it_ends() {
    run(async {
        let (mut scene, _sends, gets) = stalled().await;
        assert!(scene.pump.has_output(), "nothing waits");
        assert_eq!(scene.room.pipes(), 1);
        scene.buffers.conduits.sweep();
        assert_eq!(scene.room.pipes(), 1);
        // What it held goes with it: nobody else gets these bytes.
        drop(scene.pump);
        assert_eq!(scene.room.pipes(), 0);
        scene.pump = Pump::both_ways();
        drop(gets);
    });
}

#[test]
fn who_has_gone_is_noticed_with_bytes_in_the_pipe() {
    run(async {
        let (mut scene, _sends, gets) = stalled().await;
        // What it has not read makes its closing a reset.
        drop(gets);
        let broke = scene.go().await.unwrap_err();
        assert!(!broke.by_sender(), "{broke:?}");
    });
}

#[test]
fn what_came_before_a_reset_is_given_before_it() {
    run(async {
        let (mut scene, sends, mut gets) = stalled().await;
        let inside = scene.pump.came();
        socket2::SockRef::from(&sends)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        drop(sends);
        let getting = std::thread::spawn(move || {
            let mut all = Vec::new();
            gets.read_to_end(&mut all).unwrap();
            all.len() as u64
        });
        let broke = scene.go().await.unwrap_err();
        assert!(broke.by_sender(), "{broke:?}");
        // The kernel tells the reset behind what it had received.
        let came = scene.pump.came();
        assert!(came >= inside);
        drop(scene);
        assert_eq!(getting.join().unwrap(), came);
    });
}

#[test]
fn nothing_beyond_a_limit_or_an_end_is_passed() {
    run(async {
        // What stands behind a body is the next message.
        let (mut scene, mut sends, gets) = Scene::new(exact(MIB), 1024, [true; 2]);
        let sending = std::thread::spawn(move || {
            sends.write_all(&bytes(MIB + 5)).unwrap();
            sends
        });
        let reading = std::thread::spawn(move || {
            let mut gets = gets;
            let mut all = Vec::new();
            gets.read_to_end(&mut all).unwrap();
            all
        });
        scene.go().await.unwrap();
        assert!(reading.join().unwrap() == bytes(MIB));
        assert!(scene.spliced() > 0);
        let sends = sending.join().unwrap();
        let mut behind = scene.input.data().to_vec();
        let mut buffer = [0; 16];
        while behind.len() < 5 {
            let read = poll_fn(|cx| scene.from.poll_read(cx, &mut buffer)).await;
            behind.extend_from_slice(&buffer[..read.unwrap()]);
        }
        assert_eq!(behind, &bytes(MIB + 5)[MIB..]);
        drop(sends);
        // A body that ends with its connection, over its limit.
        let pump = Pump::both_ways().at_most(Some(2 * 1024 * 1024));
        let (mut scene, mut sends, mut gets) = Scene::new(pump, 1024, [true; 2]);
        let sending = std::thread::spawn(move || {
            let _ = sends.write_all(&bytes(16 * MIB));
        });
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            gets.read_to_end(&mut all).unwrap();
            all.len()
        });
        let broke = scene.go().await.unwrap_err();
        assert!(matches!(broke, Break::TooLarge), "{broke:?}");
        assert_eq!(scene.room.pipes(), 1);
        drop(scene);
        assert!(reading.join().unwrap() <= 2 * MIB);
        sending.join().unwrap();
    });
}

/// A pipe that nobody needs any more is no reason to wake.
#[test]
fn a_direction_at_rest_holds_neither_pipe_nor_buffer() {
    run(async {
        let (mut scene, sends, gets) = Scene::new(Pump::both_ways(), 1024, [true; 2]);
        let mut writer = sends.try_clone().unwrap();
        let sending = std::thread::spawn(move || writer.write_all(&bytes(4 * MIB)).unwrap());
        let getting = std::thread::spawn(move || {
            let mut gets = gets;
            gets.read_exact(&mut vec![0; 4 * MIB]).unwrap();
            gets
        });
        poll_fn(|cx| match scene.poll(cx) {
            Poll::Pending if scene.pump.came() == 4 * 1024 * 1024 && !scene.pump.has_output() => {
                Poll::Ready(())
            }
            polled => polled.map(|_| panic!("an end")),
        })
        .await;
        sending.join().unwrap();
        drop(getting.join().unwrap());
        assert!(scene.spliced() > 0);
        assert!(!scene.pump.has_output());
        assert!(scene.input.is_empty() && scene.input.data().is_empty());
        let cx = &mut Context::from_waker(Waker::noop());
        drop(sends);
        let _ = scene.poll(cx);
        scene.buffers.conduits.sweep();
        scene.buffers.conduits.sweep();
        assert_eq!(scene.room.pipes(), 0);
    });
}

/// So many bytes that are there at once, to somebody who takes all.
struct Much(usize);

impl Sock for Much {
    fn poll_read(&mut self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let length = into.len().min(self.0);
        self.0 -= length;
        Poll::Ready(Ok(length))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(from.len()))
    }

    fn poll_write_vectored(
        &mut self,
        _: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(from.iter().map(|part| part.len()).sum()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn has_input(&mut self) -> bool {
        self.0 > 0
    }

    async fn broken(&self) {}

    async fn ended(&self) {}

    fn cut(&mut self) {}
}

/// Others of its worker are not kept waiting by one that always has more.
#[test]
fn a_turn_moves_so_much_and_no_more() {
    let exact = || Pump::new(Framing::Exact(16 * MIB as u64), || unreachable!());
    for mut pump in [Pump::both_ways(), exact()] {
        let buffers = Buffers::new(Room::new(0));
        let (mut from, mut to) = (Much(16 * MIB), Much(0));
        let mut input = Input::default();
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut turns, mut before) = (0, 0);
        while pump
            .poll(cx, &mut input, &mut from, &mut to, &buffers)
            .is_pending()
        {
            assert!(pump.take_paused(), "nobody would ask it again");
            let moved = pump.came() - before;
            assert!((512 * 1024..=768 * 1024).contains(&moved), "{moved}");
            (turns, before) = (turns + 1, pump.came());
        }
        assert_eq!(pump.came(), 16 * MIB as u64);
        assert!(turns >= 16, "{turns}");
        assert!(!pump.has_output());
    }
}
