//! Owns the loop of bytes that go both ways, each direction closed by itself: tunnels of HTTP, and flows.

use std::future::poll_fn;
use std::pin::pin;
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
    /// The client ended its direction, all of which was passed on, and went before all that was for it had reached it.
    ClientAway,
    /// The backend ended its direction, all of which was passed on, and takes no more.
    BackendAway,
    /// The backend broke off.
    Backend,
    /// Nothing moved for too long, or the backend took nothing.
    Idle,
    /// The client took nothing.
    Stalled,
}

impl Parted {
    /// Whether all that was said to its end is to arrive: a cut could take it away.
    pub(crate) const fn is_end(self) -> bool {
        matches!(self, Self::Closed | Self::ClientAway | Self::BackendAway)
    }
}

/// How long nothing may move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rests {
    /// Either way, while both directions are open.
    pub(crate) both: Duration,
    /// Either way once a direction has ended.
    pub(crate) half: Duration,
    /// What waits to be written.
    pub(crate) stall: Duration,
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

    /// What its pump came to. Some: who broke off, or has closed.
    fn end_of(
        &mut self,
        polled: Poll<Result<(), Break>>,
        reader: Parted,
        writer: Parted,
        away: Parted,
    ) -> Option<Parted> {
        match polled {
            Poll::Ready(Ok(())) => self.half = Half::Ending,
            // What comes the other way goes on to its end: the last words of who has closed.
            Poll::Ready(Err(broke)) if broke.is_close() => {
                self.half = Half::Closed;
                return Some(away);
            }
            Poll::Ready(Err(broke)) if broke.by_sender() => return Some(reader),
            Poll::Ready(Err(_)) => return Some(writer),
            Poll::Pending => self.pump.rest(),
        }
        None
    }

    /// Tells the end, if it is to be told.
    fn tell_end<S: Sock>(&mut self, cx: &mut Context<'_>, to: &mut S) {
        if self.half != Half::Ending {
            return;
        }
        let told = match self.pump.was_meant() {
            true => to.poll_shutdown(cx),
            false => to.poll_shutdown_unsaid(cx),
        };
        if told.is_ready() {
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
        away: None,
    };
    conn.deadline.set(ways.until());
    let mut turn = false;
    loop {
        let polled = poll_fn(|cx| {
            turn = !turn;
            let polled = ways.poll(cx, conn, upstream, turn);
            came(ways.up.pump.came(), ways.down.pump.came());
            match polled {
                Poll::Pending if ways.has_deaf() => Poll::Ready(None),
                polled => polled.map(Some),
            }
        })
        .await;
        if let Some(parted) = polled {
            return parted;
        }
        // On the heap: most have no half that is alone for long.
        if let Some(parted) = Box::pin(ways.gone(conn, upstream)).await {
            return parted;
        }
    }
}

/// Both directions.
struct Ways<'a> {
    up: Way<'a>,
    down: Way<'a>,
    rests: Rests,
    /// Who went while the other direction had more to say.
    away: Option<Parted>,
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
        match broken {
            Some(away @ (Parted::ClientAway | Parted::BackendAway)) => self.away = Some(away),
            Some(parted) => return Poll::Ready(parted),
            None => {}
        }
        self.up.tell_end(cx, &mut upstream.sock);
        self.down.tell_end(cx, &mut conn.sock);
        if (self.up.half, self.down.half) == (Half::Closed, Half::Closed) {
            return Poll::Ready(self.away.unwrap_or(Parted::Closed));
        }
        // Streams are told of their end by themselves.
        if self.up.half == Half::Closed && conn.sock.poll_gone(cx).is_ready() {
            return Poll::Ready(Parted::ClientAway);
        }
        if self.down.half == Half::Closed && upstream.sock.poll_gone(cx).is_ready() {
            return Poll::Ready(Parted::BackendAway);
        }
        if self.up.pump.take_paused() | self.down.pump.take_paused() {
            conn.worker.net.give_way(cx);
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
            match self.down.waits() && self.down.moved + self.rests.stall <= now {
                true => Parted::Stalled,
                false => Parted::Idle,
            }
        })
    }

    /// Whether somebody is not read from any more, so that reading does not tell of its going.
    fn has_deaf(&self) -> bool {
        self.up.half == Half::Closed || self.down.half == Half::Closed
    }

    /// Waits until something is to be done, or who has ended its direction is gone. What it said before has been passed on, and its
    /// end: the other one is told no more than that, as by any proxy, and learns the rest when it writes.
    async fn gone<N: Net>(&self, conn: &Conn<N>, upstream: &Connection<N::Sock>) -> Option<Parted> {
        let deaf = async {
            match self.up.half {
                Half::Closed => {
                    conn.sock.broken().await;
                    Parted::ClientAway
                }
                _ => {
                    upstream.sock.broken().await;
                    Parted::BackendAway
                }
            }
        };
        let (mut deaf, mut waited) = (pin!(deaf), false);
        poll_fn(|cx| match deaf.as_mut().poll(cx) {
            Poll::Ready(parted) => Poll::Ready(Some(parted)),
            // Whatever else woke it is asked by who called.
            Poll::Pending if std::mem::replace(&mut waited, true) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
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
        let (from, to) = (Parted::Client, Parted::Backend);
        self.up.end_of(polled, from, to, Parted::BackendAway)
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
        let (from, to) = (Parted::Backend, Parted::Client);
        self.down.end_of(polled, from, to, Parted::ClientAway)
    }

    /// When it ends unless something moves: either direction keeps it, but for one that is not taken.
    fn until(&self) -> Instant {
        let rest = match (self.up.half, self.down.half) {
            (Half::Open, Half::Open) => self.rests.both,
            _ => self.rests.both.min(self.rests.half),
        };
        let waiting = [&self.up, &self.down].into_iter().filter(|way| way.waits());
        let stalls = waiting.map(|way| way.moved + self.rests.stall);
        let rests = self.up.moved.max(self.down.moved) + rest;
        stalls.fold(rests, Instant::min)
    }
}
