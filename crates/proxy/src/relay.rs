//! Owns bodies and tunnels on their way: one pump per direction, polled by whoever holds both connections.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use evenkeel_wire::chunked::{ChunkLine, Chunked, Keep, LAST_CHUNK};
use evenkeel_wire::{Framing, Malformed};

use crate::buffers::{Buffers, Input, Kept};
use crate::conduits::Lent;
use crate::sock::Sock;
use trailers::Trailers;

/// Bytes that do not come to us.
mod passing;

/// A body that may have to be sent again.
mod replay;

/// What stands behind a body.
mod trailers;

/// Both directions at once, without a protocol.
pub(crate) mod tunnel;

/// Up to here, bytes behind a head are copied to it rather than written beside it.
const COPIED_MOST: usize = 4096;

/// From here on, a body is read into the larger buffer.
const LONG_FROM: u64 = 64 * 1024;

/// What one direction may move before the others of its worker have their turns: some 0.1 ms. What is small beside it waits for as
/// many of these as there are large ones.
const TURN: u64 = 512 * 1024;

/// Why a body did not arrive whole.
#[derive(Debug)]
pub(crate) enum Break {
    /// Reading failed.
    Read(io::Error),
    /// The sender closed before the end.
    Early,
    /// What came is no body.
    Malformed(Malformed),
    /// The body is over its limit.
    TooLarge,
    /// Writing failed.
    Write(io::Error),
}

impl Break {
    /// Whether the reading side is to blame.
    pub(crate) const fn by_sender(&self) -> bool {
        !matches!(self, Self::Write(_))
    }

    /// Whether the writing side had ended its own direction and then closed: it takes nothing more, and what it sent before is
    /// good.
    pub(crate) fn is_close(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// More came than was stated.
const OVER: Break = Break::Malformed(Malformed::Http2);

#[derive(Debug)]
enum Source {
    Exact(u64),
    Chunked(Box<Chunked>),
    /// Until what carries it ends, which a stream says: then so many bytes must have come, if their number was stated.
    UntilEnd(Option<u64>),
}

/// One direction of an exchange: what is to be written first, then a body.
#[derive(Debug)]
pub(crate) struct Pump {
    /// A head, or what stands before the next piece of the body.
    before: Vec<u8>,
    /// Bytes at the begin of the input that are to be written now.
    piece: usize,
    /// Bytes behind them that are used up with them.
    dropped: usize,
    /// What stands behind the piece.
    after: Vec<u8>,
    /// Lines for whoever takes them apart from the bytes.
    trailers: Trailers,
    /// The end is said.
    ended: bool,
    /// Of all three, what is written.
    written: usize,
    source: Option<Source>,
    /// The body goes on in chunks that are made here.
    wrap: bool,
    /// The most bytes of a body.
    most: u64,
    /// Bytes of the body that came.
    came: u64,
    moved: bool,
    wrote: bool,
    /// Some of the body was taken from its sender.
    begun: bool,
    /// The writing side still holds some of what was written.
    held: bool,
    /// What came at once last was large; a body of stated length is until it shows otherwise.
    large: bool,
    /// A pipe that holds bytes which are to be written.
    conduit: Option<Box<Lent>>,
    /// All of the body that came, for as long as it may have to be sent again.
    kept: Option<Box<Kept>>,
    /// It is not kept any more because others are.
    crowded: bool,
    /// An end that its sender did not say is passed on like that; none: it is a break.
    unsaid: Option<bool>,
    /// It has had its turn, and more may be there.
    paused: bool,
    /// The connection ends with it.
    last: bool,
}

impl Pump {
    /// A body that goes on as it came (`Chunked`: checked and cleaned).
    pub(crate) fn new(framing: Framing, chunked: impl FnOnce() -> Chunked) -> Self {
        let source = match framing {
            Framing::Empty => None,
            Framing::Exact(length) => Some(Source::Exact(length)),
            Framing::Chunked => Some(Source::Chunked(Box::new(chunked()))),
            Framing::UntilClose => Some(Source::UntilEnd(None)),
        };
        Self::of(source)
    }

    /// The same of a stream, whose end is said whatever is stated of its length.
    pub(crate) fn of_stream(framing: Framing) -> Self {
        Self::of(match framing {
            Framing::Empty => None,
            Framing::Exact(length) => Some(Source::UntilEnd(Some(length))),
            Framing::Chunked | Framing::UntilClose => Some(Source::UntilEnd(None)),
        })
    }

    fn of(source: Option<Source>) -> Self {
        Self {
            before: Vec::new(),
            piece: 0,
            dropped: 0,
            after: Vec::new(),
            trailers: Trailers::default(),
            ended: false,
            written: 0,
            source,
            wrap: false,
            most: u64::MAX,
            came: 0,
            moved: false,
            wrote: false,
            begun: false,
            held: false,
            large: true,
            conduit: None,
            kept: None,
            crowded: false,
            unsaid: None,
            paused: false,
            last: false,
        }
    }

    /// No body, and no text before it.
    pub(crate) fn nothing() -> Self {
        Self::of(None)
    }

    /// A direction of a tunnel, or of a flow: who ends it need not say so.
    pub(crate) fn both_ways() -> Self {
        Self {
            unsaid: Some(false),
            ..Self::of(Some(Source::UntilEnd(None)))
        }
    }

    /// Whether its end was said, where such is said.
    pub(crate) fn was_meant(&self) -> bool {
        self.unsaid != Some(true)
    }

    /// Whether it has had its turn and is to be asked again once the others had theirs; asked once.
    pub(crate) fn take_paused(&mut self) -> bool {
        std::mem::take(&mut self.paused)
    }

    /// The same with this text before the body; `before` is the recycled buffer that holds it.
    pub(crate) fn before(self, before: Vec<u8>) -> Self {
        Self { before, ..self }
    }

    /// The same, wrapping what comes into chunks.
    pub(crate) fn wrapping(self, wrap: bool) -> Self {
        Self { wrap, ..self }
    }

    /// The same, behind which the connection ends if so: the end goes with the last bytes, and not in a packet of its own.
    pub(crate) fn ending(self, last: bool) -> Self {
        Self { last, ..self }
    }

    /// The same, which keeps from its reader what trailers say of load, if so.
    pub(crate) fn hiding_load(mut self, hides_load: bool) -> Self {
        self.trailers.hides_load = hides_load;
        self
    }

    /// The same with a limit on the body.
    pub(crate) fn at_most(self, most: Option<u64>) -> Self {
        Self {
            most: most.unwrap_or(u64::MAX),
            ..self
        }
    }

    /// The buffer that held the head, for its owner.
    pub(crate) fn into_buffer(mut self, buffers: &Buffers) -> Vec<u8> {
        self.forget(buffers);
        self.before.clear();
        self.before
    }

    /// Bytes of the body that came so far.
    pub(crate) const fn came(&self) -> u64 {
        self.came
    }

    /// The trailers that came behind the body, as lines, where they were taken apart from its bytes; and those that are hidden.
    pub(crate) fn trailers(&self) -> &[u8] {
        self.trailers.all()
    }

    /// Gives the memory of a head back that was written.
    pub(crate) fn rest(&mut self) {
        if self.before.is_empty() && self.before.capacity() > 0 {
            self.before = Vec::new();
        }
    }

    /// Whether everything has been written.
    pub(crate) fn is_done(&self) -> bool {
        self.source.is_none() && !self.has_output()
    }

    /// Whether anything was written at all.
    pub(crate) const fn has_written(&self) -> bool {
        self.wrote
    }

    /// Whether any of the body, or its end, was taken from its sender. Until then another can begin with it, whatever was written.
    pub(crate) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether anything moved since the last time this was asked.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether something waits to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.held || self.conduit.is_some() || self.has_text()
    }

    fn has_text(&self) -> bool {
        self.before.len() + self.piece + self.after.len() > 0
    }

    /// Moves what can be moved. Ready: all is written, or it broke. Who is told to wait asks whether it is only
    /// [paused](Self::take_paused), of which nobody is woken.
    pub(crate) fn poll<R: Sock, W: Sock>(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Input,
        from: &mut R,
        to: &mut W,
        buffers: &Buffers,
    ) -> Poll<Result<(), Break>> {
        let until = self.came.saturating_add(TURN);
        loop {
            if self.conduit.is_some() {
                ready!(self.poll_give(cx, to, buffers))?;
            }
            if self.piece == 0
                && !input.is_empty()
                && self.source.is_some()
                && self.after.is_empty()
            {
                self.take_piece(input, buffers)?;
            }
            if self.has_text() {
                ready!(self.poll_write(cx, input, to))?;
                continue;
            }
            if self.source.is_none() {
                self.end(to)?;
            }
            let flushed = to.poll_flush(cx);
            self.held = flushed.is_pending();
            ready!(flushed).map_err(Break::Write)?;
            let long = match &self.source {
                None => return Poll::Ready(Ok(())),
                Some(Source::Exact(left)) => *left >= LONG_FROM,
                Some(_) => self.came >= LONG_FROM,
            };
            if self.came >= until {
                self.paused = true;
                return Poll::Pending;
            }
            if long && ready!(self.poll_take(cx, input, from, to, buffers))? {
                continue;
            }
            match ready!(input.poll_fill(cx, from, buffers, long)) {
                Ok(0) => self.end_of_input(from.trailers())?,
                Ok(length) => {
                    self.moved = true;
                    self.came_at_once(length);
                }
                Err(error)
                    if self.unsaid.is_some() && error.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    self.unsaid = Some(true);
                    self.end_of_input(b"")?;
                }
                Err(error) => return Poll::Ready(Err(Break::Read(error))),
            }
        }
    }

    /// Takes what came with the head to it, where that is short, so that no buffer is held while others have their turns.
    pub(crate) fn gather(&mut self, input: &mut Input, buffers: &Buffers) {
        let short = input.data().len() <= COPIED_MOST && self.most == u64::MAX;
        if let Some(Source::Exact(_)) = self.source
            && short
            && !input.is_empty()
        {
            // What is of a stated length, and has no limit, is taken without fail.
            let _taken = self.take_piece(input, buffers);
        }
        input.release(buffers);
    }

    /// Decides what of the input is written next.
    fn take_piece(&mut self, input: &mut Input, buffers: &Buffers) -> Result<(), Break> {
        let here = input.data().len();
        let mut ended = false;
        self.begun = true;
        match &mut self.source {
            None => {}
            Some(Source::UntilEnd(left)) => {
                if let Some(left) = left {
                    *left = left.checked_sub(here as u64).ok_or(OVER)?;
                }
                self.piece = here;
            }
            Some(Source::Exact(left)) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(here);
                *left -= taken as u64;
                self.piece = taken;
                if *left == 0 {
                    self.source = None;
                }
            }
            Some(Source::Chunked(chunked)) => {
                let passed = chunked.pass(input.data_mut()).map_err(Break::Malformed)?;
                self.piece = passed.kept;
                self.dropped = passed.consumed - passed.kept;
                ended = passed.ended;
                if passed.ended {
                    let tail = chunked.tail();
                    match chunked.keeps() {
                        Keep::Chunks => self.trailers.pass(tail, &mut self.after),
                        Keep::Data | Keep::Apart => self.trailers.take(tail),
                    }
                    self.source = None;
                }
                if passed.kept == 0 {
                    input.consume(std::mem::take(&mut self.dropped));
                }
            }
        }
        self.came += self.piece as u64;
        if self.came > self.most {
            return Err(Break::TooLarge);
        }
        if self.kept.is_some() {
            self.keep(&input.data()[..self.piece], buffers);
        }
        if self.wrap {
            self.wrap_piece(ended);
        }
        if !self.before.is_empty()
            && self.written == 0
            && self.piece <= COPIED_MOST
            && self.after.is_empty()
        {
            self.before.extend_from_slice(&input.data()[..self.piece]);
            input.consume(self.piece + self.dropped);
            (self.piece, self.dropped) = (0, 0);
        }
        Ok(())
    }

    /// Makes a chunk of the piece, and behind the last one says the end.
    fn wrap_piece(&mut self, ended: bool) {
        if self.piece > 0 {
            self.before
                .extend_from_slice(ChunkLine::before(self.piece).as_bytes());
            self.after.extend_from_slice(b"\r\n");
        }
        if ended {
            put_last(self.trailers.told(), &mut self.after);
        }
    }

    fn end_of_input(&mut self, trailers: &[u8]) -> Result<(), Break> {
        self.begun = true;
        match self.source.take() {
            Some(Source::UntilEnd(None | Some(0))) => {
                // Where chunks say the end, whoever asks the sender's words for it does nothing.
                self.trailers.take(trailers);
                if self.wrap {
                    put_last(self.trailers.told(), &mut self.before);
                }
                Ok(())
            }
            _ => Err(Break::Early),
        }
    }

    /// Says the end where bytes do not say it.
    fn end<W: Sock>(&mut self, to: &mut W) -> Result<(), Break> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        to.end(self.trailers.told()).map_err(Break::Write)
    }

    fn poll_write<W: Sock>(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Input,
        to: &mut W,
    ) -> Poll<Result<(), Break>> {
        let parts = [&self.before[..], &input.data()[..self.piece], &self.after];
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut skip = self.written;
        let rest = parts.map(|part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            &part[skipped..]
        });
        let mut left = rest.iter().filter(|part| !part.is_empty());
        let polled = match (left.next(), left.next()) {
            (Some(only), None) if self.last && self.source.is_none() => {
                to.poll_write_last(cx, only)
            }
            (Some(only), None) => to.poll_write(cx, only),
            _ => to.poll_write_vectored(cx, &rest.map(IoSlice::new)),
        };
        match ready!(polled) {
            Ok(0) => return Poll::Ready(Err(Break::Write(io::ErrorKind::WriteZero.into()))),
            Ok(length) => self.written += length,
            Err(error) => return Poll::Ready(Err(Break::Write(error))),
        }
        (self.moved, self.wrote) = (true, true);
        if self.written == total {
            input.consume(self.piece + self.dropped);
            self.before.clear();
            self.after.clear();
            (self.piece, self.dropped, self.written) = (0, 0, 0);
        }
        Poll::Ready(Ok(()))
    }
}

/// Says the end of a body in chunks.
fn put_last(trailers: &[u8], out: &mut Vec<u8>) {
    for part in [LAST_CHUNK, trailers, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
