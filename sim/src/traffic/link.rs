//! Owns what lies between two ends: two pipes joined by carriers that take time, cut bytes into random pieces, and may lose the way.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::pipe::Pipe;

use super::stage::Stage;
use crate::chance::Chance;

/// What a way is like.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The least time for a piece; it may take up to twice as long.
    pub(super) latency: Duration,
    /// Bytes per second.
    pub(super) bandwidth: u32,
    /// The most bytes of a piece.
    pub(super) piece: usize,
    /// Bytes that wait at an end, as in a socket's buffer.
    pub(super) room: usize,
    /// Nothing gets through at present.
    pub(super) parted: Rc<Cell<bool>>,
}

/// A connection as the way between sees it; tearing it resets both ends.
#[derive(Clone)]
pub(super) struct Link {
    ends: [Rc<RefCell<Option<Pipe>>>; 2],
    torn: Rc<Cell<bool>>,
}

impl Link {
    /// A connection over this way: its two ends, and what is between.
    pub(super) fn new(stage: &Stage, way: &Way, chance: &mut Chance) -> (Pipe, Pipe, Self) {
        let (one, inner_one) = Pipe::pair(way.room);
        let (other, inner_other) = Pipe::pair(way.room);
        let link = Self {
            ends: [inner_one, inner_other].map(|end| Rc::new(RefCell::new(Some(end)))),
            torn: Rc::new(Cell::new(false)),
        };
        for from in [0, 1] {
            let carrier = Carrier {
                stage: stage.clone(),
                way: way.clone(),
                chance: Chance::new(chance.word(), 11),
                link: link.clone(),
                from,
            };
            stage.spawn(carrier.carry());
        }
        (one, other, link)
    }

    /// Resets both ends.
    pub(super) fn tear(&self) {
        self.torn.set(true);
        self.cut();
    }

    /// Whether the way did it.
    pub(super) fn is_torn(&self) -> bool {
        self.torn.get()
    }

    fn cut(&self) {
        for end in &self.ends {
            let gone = end.borrow_mut().take();
            if let Some(mut gone) = gone {
                gone.cut();
            }
        }
    }

    fn poll<T>(&self, at: usize, ask: impl FnOnce(&mut Pipe) -> Poll<T>) -> Poll<Option<T>> {
        match self.ends[at].borrow_mut().as_mut() {
            Some(pipe) => ask(pipe).map(Some),
            None => Poll::Ready(None),
        }
    }
}

/// One direction of a link.
struct Carrier {
    stage: Stage,
    way: Way,
    chance: Chance,
    link: Link,
    from: usize,
}

impl Carrier {
    async fn carry(mut self) {
        let to = 1 - self.from;
        let mut room = vec![0; self.way.piece];
        loop {
            let most = 1 + self.chance.below(self.way.piece);
            // Behind another piece only its own length takes time.
            let mut first = false;
            let read = poll_fn(|cx| {
                let polled = self
                    .link
                    .poll(self.from, |pipe| pipe.poll_read(cx, &mut room[..most]));
                first |= polled.is_pending();
                polled
            });
            // None: torn meanwhile; who did it has seen to both ends.
            let Some(read) = read.await else { return };
            let length = read.as_ref().copied().unwrap_or(0);
            self.on_the_way(first, length).await;
            match read {
                Ok(0) => {
                    let _ = poll_fn(|cx| self.link.poll(to, |pipe| pipe.poll_shutdown(cx))).await;
                    return;
                }
                Ok(length) => {
                    self.stage.note(length as u64);
                    if self.write(to, &room[..length]).await.is_err() {
                        return self.link.cut();
                    }
                }
                Err(_) => return self.link.cut(),
            }
        }
    }

    async fn on_the_way(&mut self, first: bool, length: usize) {
        let latency = match first {
            true => self.way.latency.mul_f64(1.0 + self.chance.unit()),
            false => Duration::ZERO,
        };
        let moving = Duration::from_secs(length as u64) / self.way.bandwidth;
        self.stage.sleep(latency + moving).await;
        while self.way.parted.get() {
            self.stage.sleep(Duration::from_millis(20)).await;
        }
    }

    async fn write(&self, to: usize, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            let wrote = poll_fn(|cx| self.link.poll(to, |pipe| pipe.poll_write(cx, left)));
            match wrote.await {
                Some(wrote) => left = &left[wrote?..],
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Writes all of it.
pub(super) async fn write_all(pipe: &RefCell<Option<Pipe>>, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        let wrote = poll_fn(|cx| with(pipe, cx, |pipe, cx| pipe.poll_write(cx, left))).await?;
        left = &left[wrote..];
    }
    Ok(())
}

/// Reads what there is; 0 is the end.
pub(super) async fn read(pipe: &RefCell<Option<Pipe>>, into: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| with(pipe, cx, |pipe, cx| pipe.poll_read(cx, into))).await
}

/// Ends the direction of writing.
pub(super) async fn shutdown(pipe: &RefCell<Option<Pipe>>) {
    let _ = poll_fn(|cx| with(pipe, cx, |pipe, cx| pipe.poll_shutdown(cx))).await;
}

/// An end that its owner has given up is a connection that is gone.
fn with<T>(
    pipe: &RefCell<Option<Pipe>>,
    cx: &mut Context<'_>,
    ask: impl FnOnce(&mut Pipe, &mut Context<'_>) -> Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    match pipe.borrow_mut().as_mut() {
        Some(pipe) => ask(pipe, cx),
        None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
    }
}
