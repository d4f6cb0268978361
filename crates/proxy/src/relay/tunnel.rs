//! Owns the loop of bytes that go both ways, each direction closed by itself: tunnels of HTTP, and flows.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel_balance::time::Instant;

use super::{Break, Pump};
use crate::connection::Conn;
use crate::net::Net;
use crate::sock::Sock;
use crate::upstream::Connection;

/// How bytes both ways came to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parted {
    /// Both ends closed, and were told of it.
    Closed,
    /// The client broke off.
    Client,
    /// The backend broke off.
    Backend,
    /// Nothing moved for too long, or the backend took nothing.
    Idle,
    /// The client took nothing.
    Stalled,
}

/// How long nothing may move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rests {
    /// Either way, while both directions are open.
    pub(crate) both: Duration,
    /// What waits to be written, and either way once a direction has ended.
    pub(crate) one: Duration,
}

/// One direction.
struct Way<'a> {
    pump: &'a mut Pump,
    half: Half,
    /// When anything moved last.
    moved: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Open,
    /// All is moved; the end is to be told.
    Ending,
    Closed,
}

impl<'a> Way<'a> {
    fn new(pump: &'a mut Pump, now: Instant) -> Self {
        Self {
            pump,
            half: Half::Open,
            moved: now,
        }
    }

    /// What its pump came to. Some: who broke off.
    fn end_of(
        &mut self,
        polled: Poll<Result<(), Break>>,
        reader: Parted,
        writer: Parted,
    ) -> Option<Parted> {
        match polled {
            Poll::Ready(Ok(())) => self.half = Half::Ending,
            // What comes the other way goes on to its end: the last words of who has closed.
            Poll::Ready(Err(broke)) if broke.is_close() => self.half = Half::Closed,
            Poll::Ready(Err(broke)) if broke.by_sender() => return Some(reader),
            Poll::Ready(Err(_)) => return Some(writer),
            Poll::Pending => self.pump.rest(),
        }
        None
    }

    /// Tells the end, if it is to be told.
    fn tell_end<S: Sock>(&mut self, cx: &mut Context<'_>, to: &mut S) {
        if self.half == Half::Ending && to.poll_shutdown(cx).is_ready() {
            self.half = Half::Closed;
        }
    }

    fn waits(&self) -> bool {
        self.half == Half::Open && self.pump.has_output()
    }
}

/// Moves bytes both ways until both ends have closed, or one broke off, or nothing moved for too long. `came` is told how many
/// came each way so far, whenever that may have changed. Who holds the connections says what becomes of them.
pub(crate) async fn both_ways<N: Net>(
    conn: &mut Conn<N>,
    upstream: &mut Connection<N::Sock>,
    upload: &mut Pump,
    download: &mut Pump,
    rests: Rests,
    mut came: impl FnMut(u64, u64),
) -> Parted {
    let now = conn.worker.now();
    let mut ways = Ways {
        up: Way::new(upload, now),
        down: Way::new(download, now),
        rests,
    };
    conn.deadline.set(ways.until());
    let mut turn = false;
    poll_fn(|cx| {
        turn = !turn;
        let polled = ways.poll(cx, conn, upstream, turn);
        came(ways.up.pump.came(), ways.down.pump.came());
        polled
    })
    .await
}

/// Both directions.
struct Ways<'a> {
    up: Way<'a>,
    down: Way<'a>,
    rests: Rests,
}

impl Ways<'_> {
    /// `turn`: which direction goes first, so that neither takes all turns of a task.
    fn poll<N: Net>(
        &mut self,
        cx: &mut Context<'_>,
        conn: &mut Conn<N>,
        upstream: &mut Connection<N::Sock>,
        turn: bool,
    ) -> Poll<Parted> {
        let halves = (self.up.half, self.down.half);
        let broken =
            match turn {
                true => (self.poll_up(cx, conn, upstream))
                    .or_else(|| self.poll_down(cx, conn, upstream)),
                false => (self.poll_down(cx, conn, upstream))
                    .or_else(|| self.poll_up(cx, conn, upstream)),
            };
        if let Some(parted) = broken {
            return Poll::Ready(parted);
        }
        self.up.tell_end(cx, &mut upstream.sock);
        self.down.tell_end(cx, &mut conn.sock);
        if (self.up.half, self.down.half) == (Half::Closed, Half::Closed) {
            return Poll::Ready(Parted::Closed);
        }
        let moved = [&mut self.up, &mut self.down].map(|way| way.pump.take_moved());
        if moved != [false; 2] || halves != (self.up.half, self.down.half) {
            let now = conn.worker.now();
            for (way, moved) in [&mut self.up, &mut self.down].into_iter().zip(moved) {
                if moved {
                    way.moved = now;
                }
            }
            conn.deadline.set(self.until());
        }
        conn.deadline.poll_passed(cx).map(|()| {
            let now = conn.worker.now();
            match self.down.waits() && self.down.moved + self.rests.one <= now {
                true => Parted::Stalled,
                false => Parted::Idle,
            }
        })
    }

    fn poll_up<N: Net>(
        &mut self,
        cx: &mut Context<'_>,
        conn: &mut Conn<N>,
        upstream: &mut Connection<N::Sock>,
    ) -> Option<Parted> {
        if self.up.half != Half::Open {
            return None;
        }
        let (client, backend) = (&mut conn.sock, &mut upstream.sock);
        let buffers = &conn.worker.buffers;
        let polled = (self.up.pump).poll(cx, &mut conn.input, client, backend, buffers);
        self.up.end_of(polled, Parted::Client, Parted::Backend)
    }

    fn poll_down<N: Net>(
        &mut self,
        cx: &mut Context<'_>,
        conn: &mut Conn<N>,
        upstream: &mut Connection<N::Sock>,
    ) -> Option<Parted> {
        if self.down.half != Half::Open {
            return None;
        }
        let (client, backend) = (&mut conn.sock, &mut upstream.sock);
        let buffers = &conn.worker.buffers;
        let polled = (self.down.pump).poll(cx, &mut upstream.input, backend, client, buffers);
        self.down.end_of(polled, Parted::Backend, Parted::Client)
    }

    /// When it ends unless something moves: either direction keeps it, but for one that is not taken.
    fn until(&self) -> Instant {
        let rest = match (self.up.half, self.down.half) {
            (Half::Open, Half::Open) => self.rests.both,
            _ => self.rests.both.min(self.rests.one),
        };
        let waiting = [&self.up, &self.down].into_iter().filter(|way| way.waits());
        let stalls = waiting.map(|way| way.moved + self.rests.one);
        let rests = self.up.moved.max(self.down.moved) + rest;
        stalls.fold(rests, Instant::min)
    }
}
