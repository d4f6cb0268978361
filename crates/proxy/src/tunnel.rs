//! Owns tunnels: what follows a change of protocol, byte for byte, each direction closed by itself.
//!
//! A tunnel has left its exchange: it holds nothing of a plan, so that reloads neither touch it nor are held by it, no head, and
//! no buffer while nothing moves. What it carries is not looked into.

use evenkeel_balance::pick::Pick;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Outcome;

use crate::account::Account;
use crate::connection::{Conn, Next};
use crate::net::Net;
use crate::reason::Reason;
use crate::relay::Pump;
use crate::relay::tunnel::{Parted, Rests, both_ways};
use crate::sock::Sock;
use crate::upstream::Connection;
use crate::worker::Note;

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
            upload: Pump::both_ways(),
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
            Parted::Closed | Parted::BackendAway => Reason::Served,
            Parted::Client | Parted::ClientAway => Reason::ClientLeft,
            Parted::Backend => Reason::BodyBroken,
            Parted::Idle | Parted::Stalled if conn.deadline.take_cut() => conn.cut_for(),
            Parted::Idle => Reason::IdleTimeout,
            Parted::Stalled => Reason::ClientStalled,
        };
        let Self {
            mut upstream, pick, ..
        } = *self;
        // Which end broke a tunnel off says nothing about the backend's health.
        pick.finish(Outcome::Completed, conn.worker.now());
        upstream.1 = parted.is_end();
        match parted.is_end() {
            true => Next::Close,
            false => Next::Cut,
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
