//! Owns one end of a connection of HTTP/2: its streams, what they may send and take, and what is to be written for them.
//!
//! One task reads and writes the connection ([`Mux::came`], [`Mux::poll_write`]); the tasks of its streams take and leave bytes
//! here between its turns, so that what many streams have to say goes out in one write. Nothing here is shared between threads.
//!
//! Memory: what came on a stream waits here up to its window, one buffer for each stream whatever the frames were. What is written
//! waits here up to [`FULL`]; a stream that has more to say waits for room, and for windows. While a peer does not take what is owed
//! to it, nothing more is read from it ([`STOP`]).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use evenkeel_wire::http1::HeadLimits;
use evenkeel_wire::http1::request::PathForm;
use evenkeel_wire::http2::frame::{self, code, setting};
use evenkeel_wire::http2::hpack::{Decoder, Encoder};
use evenkeel_wire::sniff::HTTP2_PREFACE;

use self::ends::Abandoned;
use self::output::Output;
use self::stock::Stock;
use self::streams::{Broken, Streams};
use self::window::{Inward, Outward};
use super::TABLE;
use super::watch::Watch;
use crate::sock::Sock;

/// What both ends do with a stream.
mod bodies;

/// The end that takes requests.
mod answering;

/// The end that makes them.
pub(crate) mod asking;

/// What frames change.
mod changes;

/// How streams end.
mod ends;

/// Frames as they come.
mod incoming;

/// What is to be written.
mod output;

/// What connections pass on to each other.
pub(crate) mod stock;

/// The streams.
mod streams;

/// Flow control.
mod window;

#[cfg(test)]
mod tests;

use incoming::Incoming;

/// What streams may have written that is not on its way.
const FULL: usize = 64 * 1024;

/// What may wait to be written before nothing more is read: answers to what was read come on top of [`FULL`].
const STOP: usize = 2 * FULL;

/// The largest payload of DATA: what everybody takes, so that no stream holds up the others for longer.
const PAYLOAD: usize = frame::PAYLOAD_LEAST as usize;

/// What is kept of the room where heads are encoded.
const BLOCK: usize = 1024;

/// Streams that are woken at a time when there is room to write.
const WOKEN: usize = 16;

/// What waits of the connection's window before a peer has said anything (RFC 9113 section 6.9.2).
const WINDOW: u32 = 65_535;

/// What a connection takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Streams at once.
    pub(super) streams: usize,
    /// Bytes of a head.
    pub(super) head: usize,
    /// Bytes on one stream.
    pub(super) stream_window: u32,
    /// Bytes on all of them.
    pub(super) window: u32,
}

/// Which end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It takes requests.
    Answers,
    /// It makes them.
    Asks,
}

/// How heads are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) bounds: HeadLimits,
    pub(super) form: PathForm,
}

/// Why a connection ends by our doing: the error's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fatal(pub(super) u32);

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The peer has closed it, or it broke.
    ByPeer,
    /// The last word went out.
    ByUs(u32),
}

/// One end of a connection.
pub(super) struct Mux(RefCell<Inner>);

struct Inner {
    role: Role,
    terms: Terms,
    decoder: Decoder,
    encoder: Encoder,
    /// Where heads are encoded.
    block: Vec<u8>,
    stock: Rc<Stock>,
    incoming: Incoming,
    output: Output,
    streams: Streams,
    /// Streams that are under way.
    open: usize,
    inward: Inward,
    outward: Outward,
    /// What new streams may carry to the peer at once.
    initial: u32,
    /// Streams at once that the peer takes. None: it has not said.
    takes: Option<u32>,
    /// It takes tunnels.
    tunnels: bool,
    /// The highest stream that was opened.
    highest: u32,
    /// What was said to be the last that is looked at.
    last: Option<u32>,
    /// The last of them that we took back: what was on its way for them is no fault.
    taken_back: VecDeque<Abandoned>,
    /// Streams that were opened since the peer was told to go, while it does not say that it has heard.
    unheard: usize,
    /// Those that answered what the peer did wrong.
    faults: usize,
    /// The last word was said.
    over: Option<u32>,
    /// Streams that wait for room to write, longest first.
    waiting: VecDeque<usize>,
    /// The task is to look.
    stirred: bool,
    waker: Option<Waker>,
    watch: Rc<Watch>,
}

impl Mux {
    /// The end that takes requests.
    pub(super) fn of_client(terms: Terms, stock: Rc<Stock>, watch: Rc<Watch>) -> Rc<Self> {
        let mut output = Output::default();
        frame::put_settings(
            output.frames(),
            &[
                (setting::MAX_CONCURRENT_STREAMS, number(terms.streams)),
                (setting::INITIAL_WINDOW_SIZE, terms.stream_window),
                (setting::MAX_HEADER_LIST_SIZE, number(terms.head)),
                (setting::ENABLE_CONNECT_PROTOCOL, 1),
            ],
        );
        Self::new(Role::Answers, terms, output, (stock, watch))
    }

    /// The end that makes requests.
    pub(super) fn to_backend(terms: Terms, stock: Rc<Stock>, watch: Rc<Watch>) -> Rc<Self> {
        let mut output = Output::default();
        output.frames().extend_from_slice(HTTP2_PREFACE);
        frame::put_settings(
            output.frames(),
            &[
                (setting::ENABLE_PUSH, 0),
                (setting::INITIAL_WINDOW_SIZE, terms.stream_window),
                (setting::MAX_HEADER_LIST_SIZE, number(terms.head)),
            ],
        );
        Self::new(Role::Asks, terms, output, (stock, watch))
    }

    fn new(
        role: Role,
        terms: Terms,
        mut output: Output,
        (stock, watch): (Rc<Stock>, Rc<Watch>),
    ) -> Rc<Self> {
        let mut inward = Inward::new(WINDOW);
        if let Some(more) = inward.resize(terms.window) {
            frame::put_window_update(output.frames(), 0, more);
        }
        Rc::new(Self(RefCell::new(Inner {
            role,
            terms,
            decoder: Decoder::new(TABLE as usize),
            encoder: Encoder::new(),
            block: Vec::new(),
            stock,
            incoming: Incoming::of(role),
            output,
            streams: Streams::default(),
            open: 0,
            inward,
            outward: Outward::new(WINDOW),
            initial: WINDOW,
            takes: None,
            tunnels: false,
            highest: 0,
            last: None,
            taken_back: VecDeque::new(),
            unheard: 0,
            faults: 0,
            over: None,
            waiting: VecDeque::new(),
            stirred: false,
            waker: None,
            watch,
        })))
    }

    /// A turn of the connection's task begins: it is woken when there is something to do.
    pub(super) fn begin_turn(&self, cx: &Context<'_>) {
        let inner = &mut *self.0.borrow_mut();
        inner.stirred = false;
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Takes in what came; the places of streams that are new are left in `opened`.
    pub(super) fn came(&self, bytes: &[u8], reading: &Reading, opened: &mut Vec<usize>) {
        let inner = &mut *self.0.borrow_mut();
        if inner.over.is_some() {
            return;
        }
        inner.busy();
        let mut incoming = std::mem::take(&mut inner.incoming);
        if let Err(Fatal(code)) = incoming.came(bytes, inner, reading, opened) {
            inner.break_all(Broken::Wrong);
            inner.end(code);
        }
        inner.incoming = incoming;
    }

    /// Whether more may be read.
    pub(super) fn may_read(&self) -> bool {
        let inner = self.0.borrow();
        inner.over.is_none() && inner.output.len() < STOP
    }

    /// Writes what waits, and wakes who waits for room. Ready: nothing more is written.
    pub(super) fn poll_write<S: Sock>(&self, cx: &mut Context<'_>, sock: &mut S) -> Poll<Ended> {
        let inner = &mut *self.0.borrow_mut();
        let stopped = inner.output.len() >= STOP;
        let written = inner.poll_output(cx, sock);
        if written.is_ready() {
            return written;
        }
        if stopped && inner.output.len() < STOP {
            // What came meanwhile has been told already.
            cx.waker().wake_by_ref();
        }
        if !inner.waiting.is_empty() && inner.outward.open() > 0 && inner.output.len() < FULL / 2 {
            for at in inner.waiting.drain(..WOKEN.min(inner.waiting.len())) {
                let stream = inner.streams.at(at);
                stream.waits = false;
                stream.wake();
            }
            // The rest have their turn behind those.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether what waits to be written is all that may: nothing is asked before some of it is on its way.
    pub(super) fn is_full(&self) -> bool {
        self.0.borrow().output.len() >= FULL
    }

    /// Bytes that were written so far. None: nothing waits to be.
    pub(super) fn stuck_at(&self) -> Option<u64> {
        let inner = self.0.borrow();
        (!inner.output.is_empty()).then(|| inner.output.written())
    }

    /// Nothing more comes or goes.
    pub(super) fn gone(&self) {
        let inner = &mut *self.0.borrow_mut();
        inner.over.get_or_insert(code::NO_ERROR);
        inner.break_all(Broken::Gone);
    }

    /// Says that it ends with this error; what is under way is cut.
    pub(super) fn end(&self, code: u32) {
        self.0.borrow_mut().end(code);
    }

    /// Says that it is to end: the peer is to open no more streams, and what it opens before it has heard that is served.
    pub(super) fn go(&self) {
        let inner = &mut *self.0.borrow_mut();
        if inner.over.is_none() && inner.last.is_none() {
            inner.last = Some(frame::MOST_31);
            let out = inner.output.frames();
            frame::put_goaway(out, frame::MOST_31, code::NO_ERROR, b"");
            frame::put_ping(out, FAREWELL, false);
        }
    }

    /// Bytes that came on streams and were not taken; and with them those that the peer may still send.
    pub(super) fn unread(&self) -> (u32, u32) {
        let inner = self.0.borrow();
        (inner.inward.unread(), inner.inward.held())
    }

    /// Has the connection's window be so large.
    pub(super) fn resize(&self, window: u32) {
        let inner = &mut *self.0.borrow_mut();
        if let Some(more) = inner.inward.resize(window) {
            frame::put_window_update(inner.output.frames(), 0, more);
        }
    }

    /// Whether anything waits to be written, or is under way.
    pub(super) fn owes(&self) -> bool {
        let inner = self.0.borrow();
        inner.streams.len() > 0 || !inner.output.is_empty()
    }

    /// Whether its peer has heard that it is to end, and what it asked before is served; or has said the same itself.
    pub(super) fn is_done(&self) -> bool {
        let inner = self.0.borrow();
        let heard = inner.last.is_some_and(|last| last < frame::MOST_31);
        (heard || inner.incoming.peer_goes()) && inner.streams.len() == 0
    }

    /// Whether the peer has said what every connection begins with.
    pub(super) fn has_begun(&self) -> bool {
        self.0.borrow().incoming.has_begun()
    }

    /// Changes a stream, and has the task look if there is something to write now.
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let inner = &mut *self.0.borrow_mut();
        let idle = inner.output.is_empty();
        let changed = change(inner);
        if idle && !inner.output.is_empty() {
            inner.stir();
        }
        changed
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// What is said to a peer when a connection is to end, to be heard once it comes back.
const FAREWELL: [u8; 8] = *b"farewell";

impl Inner {
    /// Has the task look.
    fn stir(&mut self) {
        if !std::mem::replace(&mut self.stirred, true)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    fn poll_output<S: Sock>(&mut self, cx: &mut Context<'_>, sock: &mut S) -> Poll<Ended> {
        while !self.output.is_empty() {
            match ready!(sock.poll_write(cx, self.output.waiting())) {
                Ok(length) if length > 0 => {
                    self.output.wrote(length);
                    self.watch.wrote(length);
                }
                _ => return Poll::Ready(Ended::ByPeer),
            }
        }
        if ready!(sock.poll_flush(cx)).is_err() {
            return Poll::Ready(Ended::ByPeer);
        }
        if let Some(code) = self.over {
            return Poll::Ready(Ended::ByUs(code));
        }
        if self.streams.len() == 0 {
            self.rest();
        }
        Poll::Pending
    }

    fn may_send(&self, at: usize) -> io::Result<()> {
        let stream = self.streams.get(at);
        if stream.broken.is_some() {
            return Err(stream.error());
        }
        if stream.over {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// Puts what was encoded.
    fn put_block(&mut self, at: usize, ends: bool) {
        let stream = self.streams.at(at);
        stream.last = None;
        let id = stream.id;
        frame::put_block(self.output.frames(), id, &self.block, ends, PAYLOAD);
    }

    /// So much of a stream's body was taken: the peer may send as much again.
    fn was_taken(&mut self, at: usize, length: usize) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let stream = self.streams.at(at);
        let more = stream.inward.taken(length).filter(|_| !stream.ended);
        let (id, ended) = (stream.id, stream.is_closed());
        if let Some(more) = more.filter(|_| !ended) {
            frame::put_window_update(self.output.frames(), id, more);
        }
        self.give_back(length);
    }

    /// So much of what came on the connection is out of the way.
    fn give_back(&mut self, length: u32) {
        if let Some(more) = self.inward.taken_of_many(length) {
            frame::put_window_update(self.output.frames(), 0, more);
        }
    }

    /// Takes up what others have put down.
    fn busy(&mut self) {
        if self.streams.is_bare()
            && let Some(streams) = self.stock.streams.take()
        {
            self.streams = streams;
        }
        if self.output.is_bare()
            && let Some(bytes) = self.stock.outputs.take()
        {
            self.output.lend(bytes);
        }
    }

    /// Puts down what a connection without streams does not need.
    fn rest(&mut self) {
        if !self.streams.is_bare() {
            let streams = std::mem::take(&mut self.streams);
            if streams.is_few() {
                self.stock.streams.give(streams);
            }
        }
        if let Some(bytes) = self.output.rest()
            && bytes.capacity() <= 2 * STOP
        {
            self.stock.outputs.give(bytes);
        }
        self.incoming.rest();
        if self.block.capacity() > BLOCK {
            self.block = Vec::new();
        }
        if self.taken_back.capacity() > 8 && self.taken_back.is_empty() {
            self.taken_back = VecDeque::new();
        }
    }
}
