//! Owns what stands between a connection that was taken and one that is served: what it says before it is spoken on, and the task.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::{Rc, Weak};

use super::addresses::OfAddress;
use super::spread::Charge;
use crate::connection::{Admitted, Client, Door, Opened, Slots};
use crate::flow;
use crate::net::OsNet;
use crate::proxy_protocol::{Arrival, receive};
use crate::room::Place;
use crate::runner::{Runner, Runners};
use crate::sock::os::OsSock;
use crate::tls::accept::handshake;
use crate::tls::channel::Channel;
use crate::worker::Worker;

/// A connection that was taken, and what it has a place of until it has ended.
pub(super) struct Taking {
    pub(super) sock: OsSock,
    pub(super) arrival: Arrival,
    pub(super) admitted: Admitted,
    pub(super) held: (Place, Charge),
}

/// What a connection has a place of until it has ended.
type Held = (Place, Charge, Option<OfAddress>);

/// What a task does: it serves a connection, rests, and serves another.
pub(super) async fn one_after_another<F: Future<Output = Infallible> + 'static>(
    runner: Rc<Runner<Taking>>,
    tasks: Weak<Runners<Taking>>,
    worker: Rc<Worker<OsNet>>,
    door: Rc<Door>,
    slots: Rc<Slots<F, OsNet>>,
) {
    loop {
        // Nothing long is held here while it is served: a future has room for all that it holds at any time, for as long as it lives.
        let mut begun = begin(runner.next().await, &worker, &door);
        if let Begun::Waits(ready) = begun {
            begun = ready.await;
        }
        match begun {
            Begun::Http(client, _held) => client.serve(&slots).await,
            Begun::Tcp(flow, _held) => flow.await,
            Begun::Refused | Begun::Waits(_) => {}
            Begun::Over => break,
        }
        // The last ones end with their listener.
        match tasks.upgrade() {
            Some(tasks) => tasks.rests(&runner),
            None => break,
        }
    }
}

/// How far a connection is on its way to be served.
enum Begun {
    Http(Client<OsNet>, Held),
    Tcp(Pin<Box<dyn Future<Output = ()>>>, Held),
    /// For what it says before it is spoken on.
    Waits(Pin<Box<dyn Future<Output = Begun>>>),
    Refused,
    /// No connection will come any more.
    Over,
}

fn begin(taking: Option<Taking>, worker: &Rc<Worker<OsNet>>, door: &Rc<Door>) -> Begun {
    let Some(taking) = taking else {
        return Begun::Over;
    };
    if is_bare(worker, door) {
        return taking.bare(worker, door).unwrap_or(Begun::Refused);
    }
    let (worker, door) = (worker.clone(), door.clone());
    Begun::Waits(Box::pin(async move {
        let ready = taking.ready(&worker, &door).await;
        ready.unwrap_or(Begun::Refused)
    }))
}

/// Whether its connections say nothing before they are spoken on: neither a PROXY header nor a handshake is waited for.
fn is_bare(worker: &Worker<OsNet>, door: &Door) -> bool {
    let view = worker.view();
    door.expected(&view.live, view.version).is_none()
        && door.held(&view.live, view.version).is_none()
}

/// The most connections of one client's address.
fn most_of_address(worker: &Worker<OsNet>, door: &Door) -> Option<NonZeroUsize> {
    let view = worker.view();
    let (_, plan) = door.plan(&view.live, view.version)?;
    plan.limits.connections_per_address
}

impl Taking {
    /// One that says nothing before. None: its address has as many as it may.
    fn bare(self, worker: &Rc<Worker<OsNet>>, door: &Rc<Door>) -> Option<Begun> {
        let of_address = of_address(door, &self.arrival, most_of_address(worker, door))?;
        Some(self.plain(worker, door, of_address))
    }

    fn plain(
        self,
        worker: &Rc<Worker<OsNet>>,
        door: &Rc<Door>,
        of_address: Option<OfAddress>,
    ) -> Begun {
        let (place, charge) = self.held;
        let held = (place, charge, of_address);
        let sock = Channel::Plain(self.sock);
        spoken(worker, door, (sock, self.arrival, self.admitted), held)
    }

    /// One that says something before. None: its PROXY header was refused, its address has as many as it may, or the handshake failed.
    async fn ready(mut self, worker: &Rc<Worker<OsNet>>, door: &Rc<Door>) -> Option<Begun> {
        let view = worker.view();
        let expected = door.expected(&view.live, view.version);
        let held = door.held(&view.live, view.version);
        drop(view);
        let most = most_of_address(worker, door);
        let _opened = Opened::new(worker);
        if let Some(expected) = expected {
            self.arrival = receive(worker, door, &expected, &mut self.sock, self.arrival).await?;
        }
        // By the address that a header gave: the proxy's own has everybody's.
        let of_address = of_address(door, &self.arrival, most)?;
        let Some(mut held) = held else {
            return Some(self.plain(worker, door, of_address));
        };
        held.within = held.within.saturating_sub(self.arrival.spent);
        let first = self.arrival.take_first(&worker.buffers);
        let (place, charge) = self.held;
        let made = handshake(worker, door, held, self.sock, first).await?;
        let sock = Channel::Tls(Box::new(made));
        let held = (place, charge, of_address);
        Some(spoken(
            worker,
            door,
            (sock, self.arrival, self.admitted),
            held,
        ))
    }
}

/// A connection that can be spoken on: whose it is is known, and it is over TLS, if its listener says so.
fn spoken(
    worker: &Rc<Worker<OsNet>>,
    door: &Rc<Door>,
    (sock, arrival, admitted): (Channel<OsSock>, Arrival, Admitted),
    held: Held,
) -> Begun {
    let view = worker.view();
    let tcp = door.is_tcp(&view.live, view.version);
    drop(view);
    let (worker, door) = (worker.clone(), door.clone());
    match tcp {
        // On the heap: an idle connection of HTTP needs no room for it.
        true => {
            let flow = flow::serve(worker, door, sock, arrival, admitted);
            Begun::Tcp(Box::pin(flow), held)
        }
        false => Begun::Http(Client::new(worker, door, sock, arrival, admitted), held),
    }
}

/// A place among the connections of its client's address, where that has a limit. None: it has as many as it may, which is counted.
fn of_address(
    door: &Door,
    arrival: &Arrival,
    most: Option<NonZeroUsize>,
) -> Option<Option<OfAddress>> {
    let Some(most) = most.filter(|_| !arrival.ends.unix) else {
        return Some(None);
    };
    let state = door.state();
    let taken = state.addresses.take(arrival.ends.peer(), most);
    if taken.is_none() {
        state.counters.crowded();
    }
    taken.map(Some)
}
