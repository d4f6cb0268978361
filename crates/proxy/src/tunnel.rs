//! Owns tunnels: what follows a change of protocol, byte for byte, each direction closed by itself.
//!
//! A tunnel has left its exchange: it holds nothing of a plan, so that reloads neither touch it nor are held by it, no head, and
//! no buffer while nothing moves. What it carries is not looked into.

use std::rc::Rc;

use evenkeel_balance::pick::Pick;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Outcome;

use crate::connection::{Conn, Next};
use crate::net::Net;
use crate::observation::TunnelCounters;
use crate::reason::Reason;
use crate::relay::Pump;
use crate::relay::tunnel::{Parted, Rests, both_ways};
use crate::sock::Sock;
use crate::upstream::Connection;
use crate::worker::{Note, Worker};

/// What is left of an exchange whose protocol was changed.
pub(crate) struct Tunnel<S: Sock> {
    upstream: Upstream<S>,
    pick: Pick,
    upload: Pump,
    download: Pump,
    rests: Rests,
    /// When its request began.
    began: Instant,
    note: Option<Note>,
}

/// The connection to the backend; cut unless it ended as it should.
struct Upstream<S: Sock>(Connection<S>, bool);

impl<S: Sock> Drop for Upstream<S> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.sock.cut();
        }
    }
}

/// What is counted and written down of a tunnel, on every path. Dropped so, the worker ends.
struct Account<N: Net> {
    worker: Rc<Worker<N>>,
    note: Option<Note>,
    began: Instant,
    received: u64,
    sent: u64,
    reason: Reason,
}

impl<N: Net> Account<N> {
    fn open(worker: Rc<Worker<N>>, note: Option<Note>, began: Instant) -> Self {
        let account = Self {
            worker,
            note,
            began,
            received: 0,
            sent: 0,
            reason: Reason::Drained,
        };
        account.count(|counters| counters.opened.add(1));
        account
    }

    fn count(&self, count: impl FnOnce(&TunnelCounters)) {
        let state = self.note.as_ref().and_then(|note| note.service.as_ref());
        if let Some(row) = state.and_then(|state| state.counters.get(self.worker.index)) {
            count(&row.tunnels);
        }
    }

    /// So many bytes came so far.
    fn moved(&mut self, received: u64, sent: u64) {
        if (received, sent) == (self.received, self.sent) {
            return;
        }
        self.count(|counters| {
            counters.received.add(received - self.received);
            counters.sent.add(sent - self.sent);
        });
        (self.received, self.sent) = (received, sent);
    }
}

impl<N: Net> Drop for Account<N> {
    fn drop(&mut self) {
        self.count(|counters| counters.closed.add(1));
        // What a panic ends is counted as such.
        if let Some(note) = self.note.take().filter(|_| !std::thread::panicking()) {
            let total = self.worker.now().since(self.began);
            self.worker.observe_note(note, |seen| {
                (seen.reason, seen.total) = (self.reason, total);
                (seen.received, seen.sent) = (self.received, self.sent);
            });
        }
    }
}

impl<S: Sock> Tunnel<S> {
    /// A tunnel to this connection, whose exchange began then. `download` begins with the answer's head.
    pub(crate) fn new(
        upstream: Connection<S>,
        pick: Pick,
        download: Pump,
        rests: Rests,
        began: Instant,
    ) -> Self {
        Self {
            upstream: Upstream(upstream, false),
            pick,
            upload: Pump::tunnel(),
            download,
            rests,
            began,
            note: None,
        }
    }

    /// Entrusts it with what is to be counted and written down when it ends.
    pub(crate) fn note(&mut self, note: Note) {
        self.note = Some(note);
    }

    /// Moves bytes both ways until both ends have closed, or one breaks off.
    pub(crate) async fn run<N: Net<Sock = S>>(mut self: Box<Self>, conn: &mut Conn<N>) -> Next {
        let this = &mut *self;
        let mut account = Account::open(conn.worker.clone(), this.note.take(), this.began);
        let parted = both_ways(
            conn,
            &mut this.upstream.0,
            &mut this.upload,
            &mut this.download,
            this.rests,
            |received, sent| account.moved(received, sent),
        )
        .await;
        account.reason = match parted {
            Parted::Closed => Reason::Served,
            Parted::Client => Reason::ClientLeft,
            Parted::Backend => Reason::BodyBroken,
            Parted::Idle | Parted::Stalled if conn.deadline.take_cut() => Reason::BackendDrained,
            Parted::Idle => Reason::IdleTimeout,
            Parted::Stalled => Reason::ClientStalled,
        };
        let Self {
            mut upstream, pick, ..
        } = *self;
        // Which end broke a tunnel off says nothing about the backend's health.
        pick.finish(Outcome::Completed, conn.worker.now());
        upstream.1 = parted == Parted::Closed;
        match parted {
            Parted::Closed => Next::Close,
            _ => Next::Cut,
        }
    }
}

impl<N: Net> Conn<N> {
    /// Goes on with what its last exchange left, if it left anything.
    pub(crate) async fn go_on(&mut self) {
        if let Some(tunnel) = self.tunnel.take() {
            self.next = Next::Cut;
            // On the heap: what waits for a request needs no room for it.
            self.next = Box::pin(tunnel.run(self)).await;
        }
    }
}
