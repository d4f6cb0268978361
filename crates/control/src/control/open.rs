//! Owns the sockets of an instance: binding them, and which worker listens on which.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use evenkeel_config::Plan;
use evenkeel_config::plan::Bind;
use evenkeel_proxy::listener::inherited::Inherited;
use evenkeel_proxy::listener::{Bound, Ear, Listening, Port, SocketFile, Spread, bind};
use evenkeel_proxy::live::{DoorState, listener_of};
use evenkeel_proxy::room::open_files;
use evenkeel_proxy::thread::WorkerThread;

use super::{Control, StartError};

/// A socket that the workers listen on.
pub(super) struct Open {
    pub(super) listener: Arc<str>,
    pub(super) bind: Bind,
    /// Where it is bound; none for a Unix socket.
    pub(super) address: Option<SocketAddr>,
    /// The sockets of that address: one per worker where the process bound them itself. Kept for workers that take the place of
    /// those that die.
    pub(super) ears: Vec<Ear>,
    /// The workers that listen on them.
    pub(super) spread: Arc<Spread>,
    /// Goes with it.
    pub(super) file: Option<SocketFile>,
}

impl Open {
    /// The place of its listener in this plan. None: the plan does not bind it.
    pub(super) fn place(&self, plan: &Plan) -> Option<usize> {
        listener_of(plan, &self.listener, Some(&self.bind))
    }

    /// Those that a worker of so many listens on: no socket is without one, and no worker.
    fn ears(&self, (index, workers): (usize, usize)) -> impl Iterator<Item = &Ear> {
        let shared = index.checked_rem(self.ears.len());
        let shared = shared.filter(|_| index >= self.ears.len());
        let own = self.ears.iter().skip(index).step_by(workers.max(1));
        own.chain(shared.and_then(|at| self.ears.get(at)))
    }

    /// Has a worker listen here.
    pub(super) fn tell(
        &self,
        worker: &WorkerThread,
        place: (usize, usize),
        key: &Arc<str>,
        state: &Arc<DoorState>,
    ) {
        for ear in self.ears(place).filter_map(|ear| ear.again().ok()) {
            let listening = Listening {
                name: self.listener.clone(),
                key: key.clone(),
                bind: self.bind.clone(),
                port: self.address.map_or(0, |address| address.port()),
                ear,
                state: state.clone(),
                spread: self.spread.clone(),
            };
            // A new worker's queue is empty, and one that runs hears faster than plans change.
            let _ = worker.listen(listening);
        }
    }
}

/// Descriptors that a process has beside those of its sockets, however few clients there are, and each worker.
const OTHERS: (usize, usize) = (64, 8);

/// Sockets, and the descriptors that they take: one here, and one in each worker that listens.
fn taken(sockets: impl Iterator<Item = usize>, workers: usize) -> (usize, usize) {
    let each = sockets.map(|count| (count, count + count.max(workers)));
    each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// Whether there are descriptors for all workers: a socket that nobody takes connections from would keep them waiting.
pub(super) fn enough(
    bound: &[(Arc<str>, Bind, Bound)],
    open: &HashMap<Arc<str>, Open>,
    workers: usize,
) -> Result<(), StartError> {
    let fresh = bound.iter().map(|(_, _, bound)| match bound {
        Bound::Tcp(_, all) => all.len(),
        Bound::Unix(..) => 1,
    });
    let open = open.values().map(|open| open.ears.len());
    let (_, taken) = taken(fresh.chain(open), workers);
    let (files, taken) = (open_files(), taken + OTHERS.0 + OTHERS.1 * workers);
    match taken <= files {
        true => Ok(()),
        false => Err(StartError::Descriptors(taken, files)),
    }
}

impl Control {
    /// Descriptors that its sockets take while an upgrade is under way, when each takes one more.
    #[must_use]
    pub fn upgrade_descriptors(&self) -> usize {
        let open = self.open.values().map(|open| open.ears.len());
        let (sockets, taken) = taken(open, self.workers.len());
        sockets + taken + OTHERS.0 + OTHERS.1 * self.workers.len()
    }

    /// Has the workers listen on what is bound.
    pub(super) fn listen(&mut self, bound: Vec<(Arc<str>, Bind, Bound)>) {
        let live = self.published.load();
        for (name, to, bound) in bound {
            let at = live
                .plan
                .listeners
                .iter()
                .position(|listener| listener.name == name);
            let Some(state) = at.and_then(|at| live.doors.get(at)).cloned() else {
                continue;
            };
            self.opened += 1;
            let key: Arc<str> = format!("{name}#{}", self.opened).into();
            let (address, ears, file) = match bound {
                Bound::Tcp(address, sockets) => {
                    let ears = sockets.into_iter().map(Ear::Tcp);
                    (Some(address), ears.collect(), None)
                }
                Bound::Unix(socket, mut file) => {
                    // Who could not begin would have taken it away from the process before.
                    if let Some(file) = &mut file {
                        file.take();
                    }
                    (None, vec![Ear::Unix(socket)], file)
                }
            };
            let open = Open {
                listener: name,
                bind: to,
                address,
                ears,
                spread: Spread::over(self.workers.len()),
                file,
            };
            for (index, worker) in self.workers.iter().enumerate() {
                open.tell(worker, (index, self.workers.len()), &key, &state);
            }
            self.open.insert(key, open);
        }
    }
}

/// Binds what is not open yet, or takes it from what is inherited; what it leaves there the plan does not bind.
pub(super) fn bind_all(
    plan: &Plan,
    open: &HashMap<Arc<str>, Open>,
    inherited: &mut Vec<Inherited>,
    workers: usize,
) -> Result<Vec<(Arc<str>, Bind, Bound)>, StartError> {
    let port = |to: &Bind| match to {
        Bind::Tcp(address) => Some(address.port()),
        Bind::Unix(_) => None,
    };
    let mut ours: Vec<u16> = open
        .values()
        .filter_map(|open| Some(open.address?.port()))
        .chain(inherited.iter().filter_map(Inherited::port))
        .collect();
    let mut binds = Vec::new();
    for (at, listener) in plan.listeners.iter().enumerate() {
        let is_open = |to: &Bind| {
            open.values()
                .any(|open| open.bind == *to && open.place(plan) == Some(at))
        };
        let missing = listener.binds.iter().filter(|to| !is_open(to));
        binds.extend(missing.map(|to| (at, &listener.name, to)));
    }
    binds
        .into_iter()
        .map(|(at, name, to)| {
            let whose = match port(to) {
                Some(port) if ours.contains(&port) => Port::Ours,
                _ => Port::Alone,
            };
            let is_for = |one: &Inherited| {
                let named = one.listener.as_deref();
                one.bind == *to
                    && named.is_none_or(|name| listener_of(plan, name, Some(to)) == Some(at))
            };
            let bound = match inherited.iter().position(is_for) {
                Some(at) => inherited.remove(at).take(workers),
                None => bind(to, workers, whose),
            };
            let bound = bound.map_err(|error| StartError::Bind(to.clone(), error))?;
            if let Bound::Tcp(address, _) = &bound {
                ours.push(address.port());
            }
            Ok((name.clone(), to.clone(), bound))
        })
        .collect()
}
