//! Owns what a peer sends on one stream and nobody has taken yet.
//!
//! The crate keeps each DATA frame apart, at some 256 bytes beside its payload, and ends a connection that has too many of them
//! waiting: windows count payloads alone. But messages of a few bytes are what honest clients of gRPC send, and a backend may well be
//! slower than they are. So whoever has sent many small frames has them put together here, where they take what they hold.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use h2::{Error, RecvStream};
use http::HeaderMap;

/// The body of a message that comes.
pub(super) struct Body(Rc<RefCell<Coming>>);

/// The same, for who puts its frames together.
pub(super) struct Gathers(Weak<RefCell<Coming>>);

struct Coming {
    frames: RecvStream,
    /// Of a frame that was begun: older than what is gathered.
    begun: Bytes,
    gathered: BytesMut,
    /// Who waits for more.
    reader: Option<Waker>,
}

impl Body {
    pub(super) fn new(frames: RecvStream) -> Self {
        Self(Rc::new(RefCell::new(Coming {
            begun: Bytes::new(),
            gathered: BytesMut::new(),
            reader: None,
            frames,
        })))
    }

    pub(super) fn gathers(&self) -> Gathers {
        Gathers(Rc::downgrade(&self.0))
    }

    /// Takes what has come; the peer may send as much again. Ready with 0: its end.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<Result<usize, Error>> {
        let coming = &mut *self.0.borrow_mut();
        while coming.begun.is_empty() {
            if !coming.gathered.is_empty() {
                coming.begun = coming.gathered.split().freeze();
                break;
            }
            match coming.frames.poll_data(cx) {
                Poll::Ready(Some(came)) => coming.begun = came?,
                Poll::Ready(None) => return Poll::Ready(Ok(0)),
                Poll::Pending => {
                    match &mut coming.reader {
                        Some(reader) => reader.clone_from(cx.waker()),
                        none => *none = Some(cx.waker().clone()),
                    }
                    return Poll::Pending;
                }
            }
        }
        let length = coming.begun.len().min(into.len());
        coming.begun.copy_to_slice(&mut into[..length]);
        coming.frames.flow_control().release_capacity(length)?;
        Poll::Ready(Ok(length))
    }

    /// The trailers behind a body that has ended.
    pub(super) fn poll_trailers(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<HeaderMap>, Error>> {
        self.0.borrow_mut().frames.poll_trailers(cx)
    }
}

impl Gathers {
    /// Whether the stream is not gone.
    pub(super) fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Bytes that came and were not taken; frames that were put together count too.
    pub(super) fn waiting(&self) -> usize {
        self.0.upgrade().map_or(0, |coming| {
            coming.borrow_mut().frames.flow_control().used_capacity()
        })
    }

    /// Puts the frames that wait together. Their bytes still count as not taken. False: the stream is gone.
    pub(super) fn gather(&self) -> bool {
        let Some(coming) = self.0.upgrade() else {
            return false;
        };
        let Coming {
            frames,
            gathered,
            reader,
            ..
        } = &mut *coming.borrow_mut();
        // Whoever waits for more still waits for it.
        let waker = reader.as_ref().unwrap_or(Waker::noop());
        let cx = &mut Context::from_waker(waker);
        // Its end, and what broke it, are told again.
        while let Poll::Ready(Some(Ok(came))) = frames.poll_data(cx) {
            gathered.extend_from_slice(&came);
        }
        true
    }
}
