//! Owns a connection in memory: two ends, each direction with room for so many bytes. Single-threaded.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Sock;

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    bytes: VecDeque<u8>,
    room: usize,
    closed: bool,
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

/// One end of a connection in memory.
#[derive(Debug)]
pub struct Pipe {
    incoming: Rc<RefCell<Lane>>,
    outgoing: Rc<RefCell<Lane>>,
    cut: bool,
}

impl Pipe {
    /// Two ends; each direction holds at most `room` bytes.
    #[must_use]
    pub fn pair(room: usize) -> (Self, Self) {
        let lane = || {
            Rc::new(RefCell::new(Lane {
                room,
                ..Lane::default()
            }))
        };
        let (one, other) = (lane(), lane());
        let end = |incoming: &Rc<RefCell<Lane>>, outgoing: &Rc<RefCell<Lane>>| Self {
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
            cut: false,
        };
        (end(&one, &other), end(&other, &one))
    }
}

impl Sock for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut lane = self.incoming.borrow_mut();
        if lane.cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if lane.bytes.is_empty() {
            if lane.closed {
                return Poll::Ready(Ok(0));
            }
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = into.len().min(lane.bytes.len());
        let (front, back) = lane.bytes.as_slices();
        let in_front = length.min(front.len());
        into[..in_front].copy_from_slice(&front[..in_front]);
        into[in_front..length].copy_from_slice(&back[..length - in_front]);
        lane.bytes.drain(..length);
        if let Some(writer) = lane.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let mut lane = self.outgoing.borrow_mut();
        if lane.cut || lane.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = from.len().min(lane.room - lane.bytes.len());
        if length == 0 {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        lane.bytes.extend(&from[..length]);
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for slice in from.iter().filter(|slice| !slice.is_empty()) {
            match self.poll_write(cx, slice) {
                Poll::Ready(Ok(length)) => {
                    written += length;
                    if length < slice.len() {
                        break;
                    }
                }
                Poll::Ready(Err(error)) if written == 0 => return Poll::Ready(Err(error)),
                Poll::Pending if written == 0 => return Poll::Pending,
                _ => break,
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lane = self.outgoing.borrow_mut();
        lane.closed = true;
        lane.wake();
        Poll::Ready(Ok(()))
    }

    fn has_input(&mut self) -> bool {
        let lane = self.incoming.borrow();
        lane.cut || lane.closed || !lane.bytes.is_empty()
    }

    async fn broken(&self) {
        poll_fn(|cx| {
            let mut lane = self.incoming.borrow_mut();
            if lane.cut {
                return Poll::Ready(());
            }
            lane.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    async fn ended(&self) {
        poll_fn(|cx| {
            let mut lane = self.incoming.borrow_mut();
            if lane.cut || lane.closed {
                return Poll::Ready(());
            }
            lane.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn cut(&mut self) {
        self.cut = true;
    }
}

impl Drop for Pipe {
    /// As a socket does: unread bytes turn the end into a reset.
    fn drop(&mut self) {
        let unread = !self.incoming.borrow().bytes.is_empty();
        let cut = self.cut || unread;
        for lane in [&self.outgoing, &self.incoming] {
            let mut lane = lane.borrow_mut();
            lane.closed = true;
            lane.cut |= cut;
            lane.wake();
        }
    }
}
