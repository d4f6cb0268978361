//! Owns the streams of a connection, each at a place that is used again.

use std::collections::VecDeque;
use std::error::Error;
use std::task::{Context, Waker};
use std::{fmt, io};

use evenkeel_wire::{Malformed, RequestHead, ResponseHead};

use super::window::{Inward, Outward};

/// What is kept of a stream's buffers when its place is used again.
const KEPT: usize = 1024;

/// The most places that are passed on to another connection.
const FEW: usize = 256;

/// Why nothing more comes or goes on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The peer took it back, with this error.
    TakenBack(u32),
    /// The peer goes, and has not seen it.
    Unseen,
    /// The peer broke the rules.
    Wrong,
    /// We took it back, or its connection has ended.
    Gone,
}

/// A peer took a stream back, with this error.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct TakenBack(pub(in super::super) u32);

impl fmt::Display for TakenBack {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "the stream was taken back, error {}", self.0)
    }
}

impl Error for TakenBack {}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// The request's head that came, until it is taken, or what is wrong with it.
    pub(super) head: Option<Result<Box<RequestHead>, Malformed>>,
    /// Heads of the answer that came, interim ones first, until they are taken; the last may be wrong.
    pub(super) heads: VecDeque<Result<Box<ResponseHead>, Malformed>>,
    /// The last head of the answer came.
    pub(super) begun: bool,
    /// It asks for a head alone.
    pub(super) to_head: bool,
    /// What came of its body and was not taken: from `taken` on.
    pub(super) body: Vec<u8>,
    pub(super) taken: usize,
    /// Of a body whose length was said: what is still to come.
    pub(super) missing: Option<u64>,
    /// The peer's direction has ended.
    pub(super) ended: bool,
    /// What came behind its body, as lines of text.
    pub(super) trailers: Vec<u8>,
    pub(super) inward: Inward,
    pub(super) outward: Outward,
    /// Our head went out.
    pub(super) answered: bool,
    /// Our direction has ended.
    pub(super) over: bool,
    /// Where the last frame stands, if it can still be made to end our direction.
    pub(super) last: Option<u64>,
    pub(super) broken: Option<Broken>,
    /// It counts among those that are under way.
    pub(super) open: bool,
    /// It waits for room to write.
    pub(super) waits: bool,
    waker: Option<Waker>,
}

impl Stream {
    /// Has whoever polls woken when anything about it changes.
    pub(super) fn heed(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Bytes of its body that wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.body.len() - self.taken
    }

    /// Takes what came, as much as there is room for.
    pub(super) fn take(&mut self, into: &mut [u8]) -> usize {
        let rest = self.body.get(self.taken..).unwrap_or_default();
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        if self.taken == self.body.len() {
            self.taken = 0;
            self.body.clear();
        }
        length
    }

    /// Puts what came behind what waits.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        // What was taken makes room before more is asked for.
        if self.taken > 0 && self.body.len() + bytes.len() > self.body.capacity() {
            self.body.drain(..self.taken);
            self.taken = 0;
        }
        self.body.extend_from_slice(bytes);
    }

    /// Why nothing more comes or goes, as an error of a connection.
    pub(super) fn error(&self) -> io::Error {
        match self.broken {
            Some(Broken::TakenBack(code)) => {
                io::Error::new(io::ErrorKind::ConnectionReset, TakenBack(code))
            }
            _ => io::ErrorKind::ConnectionReset.into(),
        }
    }

    /// Whether both directions have ended, one way or another.
    pub(super) const fn is_closed(&self) -> bool {
        self.broken.is_some() || self.ended && self.over
    }
}

/// Those of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    all: Vec<Stream>,
    free: Vec<usize>,
    /// Numbers and places, in their order: a peer's only grow.
    ids: Vec<(u32, usize)>,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn find(&self, id: u32) -> Option<usize> {
        let at = self.ids.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        self.ids.get(at).map(|&(_, place)| place)
    }

    /// One more, whose number is above all others.
    pub(super) fn add(&mut self, id: u32, inward: u32, outward: u32) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.all.push(Stream {
                id: 0,
                head: None,
                heads: VecDeque::new(),
                begun: false,
                to_head: false,
                body: Vec::new(),
                taken: 0,
                missing: None,
                ended: false,
                trailers: Vec::new(),
                inward: Inward::new(0),
                outward: Outward::new(0),
                answered: false,
                over: false,
                last: None,
                broken: None,
                open: false,
                waits: false,
                waker: None,
            });
            self.all.len() - 1
        });
        let stream = &mut self.all[place];
        *stream = Stream {
            id,
            head: None,
            heads: std::mem::take(&mut stream.heads),
            begun: false,
            to_head: false,
            body: std::mem::take(&mut stream.body),
            taken: 0,
            missing: None,
            ended: false,
            trailers: std::mem::take(&mut stream.trailers),
            inward: Inward::new(inward),
            outward: Outward::new(outward),
            answered: false,
            over: false,
            last: None,
            broken: None,
            open: true,
            waits: false,
            // Streams are served by tasks that are used again, often by the same.
            waker: stream.waker.take(),
        };
        self.ids.push((id, place));
        place
    }

    /// Nobody holds it any more.
    pub(super) fn remove(&mut self, place: usize) {
        let stream = &mut self.all[place];
        stream.heads.clear();
        stream.body.clear();
        stream.trailers.clear();
        for kept in [&mut stream.body, &mut stream.trailers] {
            if kept.capacity() > KEPT {
                *kept = Vec::new();
            }
        }
        let id = stream.id;
        if let Ok(at) = self.ids.binary_search_by_key(&id, |&(id, _)| id) {
            self.ids.remove(at);
            self.free.push(place);
        }
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Stream {
        &mut self.all[place]
    }

    pub(super) fn get(&self, place: usize) -> &Stream {
        &self.all[place]
    }

    /// The places of those whose numbers are above this one.
    pub(super) fn above(&self, id: u32) -> Vec<usize> {
        let from = self.ids.partition_point(|&(other, _)| other <= id);
        let above = self.ids.get(from..).unwrap_or_default();
        above.iter().map(|&(_, place)| place).collect()
    }

    /// All that are held.
    pub(super) fn each(&mut self, mut of: impl FnMut(&mut Stream)) {
        for &(_, place) in &self.ids {
            of(&mut self.all[place]);
        }
    }

    /// Whether it is worth keeping: what many streams need is not kept for few.
    pub(super) const fn is_few(&self) -> bool {
        self.all.capacity() <= FEW
    }

    /// Whether none could be held without asking for memory.
    pub(super) const fn is_bare(&self) -> bool {
        self.all.capacity() == 0
    }
}
