//! Owns the way to a ready inner service: the pick, the queue, and the others where one is broken.
//!
//! ```text
//! Nothing -> Readying -> Ready        full, and there is a queue: Nothing -> Waiting -> Readying
//!    ^          |  broken: made anew   nobody, or 16 were broken: Refused
//!    +----------+
//! ```
//! Knows nothing of requests but what they ask for, and sends nothing.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use evenkeel_balance::ask::Tried;
use evenkeel_balance::backend::{BackendId, BackendSpec};
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::queue::Entry;
use tokio::sync::watch;
use tower_service::Service;

use super::{Asking, Reading};
use crate::ask::Ask;
use crate::error::Error;
use crate::pick::Pick as Charge;
use crate::service::ServiceHandle;

/// The longest that readiness waits in the queue of a full service before the call is refused; the queue's own `timeout`
/// ends it sooner.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What clones of a [`Balance`](super::Balance) and the futures of their calls share.
pub(super) struct Common<M, S> {
    pub(super) service: ServiceHandle,
    make: M,
    inner: Mutex<Inner<S>>,
}

/// The inner services, made when they are first needed.
struct Inner<S> {
    made: HashMap<BackendId, (BackendSpec, S)>,
    /// Changes when members do: who left or was configured anew is then forgotten.
    members: watch::Receiver<()>,
}

/// A pick that is waited for.
type Waiting = Pin<Box<dyn Future<Output = Result<Charge, Error>> + Send>>;

/// What is held for a call.
#[derive(Default)]
enum Next<S> {
    #[default]
    Nothing,
    /// In the queue of a full service.
    Waiting(Waiting),
    /// Charged; its inner service is not ready yet.
    Readying(Charge, S),
    Ready(Charge, S),
    /// The call will say so.
    Refused(Error),
}

/// How far one call is on its way to a ready inner service.
pub(super) struct Readiness<S> {
    /// Never contended: whoever changes it has it alone. It is there so that routers, which want a service that may be seen from other
    /// threads, take one over inner services and futures that may not.
    next: Mutex<Next<S>>,
    /// Those that are not asked: the request says so, or their inner service did not become ready.
    tried: Tried,
    /// How many did not: bounded, so that no call looks through thousands.
    broke: usize,
}

impl<S> Default for Readiness<S> {
    fn default() -> Self {
        Self {
            next: Mutex::default(),
            tried: Tried::default(),
            broke: 0,
        }
    }
}

impl<M, S> Common<M, S> {
    pub(super) fn new(service: ServiceHandle, make: M) -> Self {
        let members = service.shared.hub.members.subscribe();
        let made = HashMap::new();
        Self {
            service,
            make,
            inner: Mutex::new(Inner { made, members }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets inner services of who left or is reached otherwise. They are dropped outside the lock.
    #[cold]
    fn follow_members(&self) {
        // Before they are looked at: what changes behind that is looked at again.
        self.inner().members.mark_unchanged();
        let specs = self.service.service.core.specs();
        let specs: HashMap<&BackendId, &BackendSpec> =
            specs.iter().map(|spec| (&spec.id, spec)).collect();
        let stays = |id: &BackendId, spec: &BackendSpec| {
            specs.get(id).is_some_and(|now| reached_alike(now, spec))
        };
        let gone: Vec<_> = {
            let mut inner = self.inner();
            let gone = inner.made.extract_if(|id, (spec, _)| !stays(id, spec));
            gone.collect()
        };
        drop(gone);
    }

    fn forget(&self, id: &BackendId) {
        let gone = self.inner().made.remove(id);
        drop(gone);
    }
}

impl<M, S> Common<M, S>
where
    M: Fn(&BackendSpec) -> S,
    S: Clone,
{
    /// The inner service of a backend, made where it must be.
    fn inner_of(&self, id: &BackendId) -> S {
        let mut inner = self.inner();
        if inner.members.has_changed().unwrap_or(false) {
            drop(inner);
            self.follow_members();
            inner = self.inner();
        }
        if let Some((_, made)) = inner.made.get(id) {
            return made.clone();
        }
        // It may have left since it was picked.
        let spec = self.service.service.core.spec(id);
        let spec = spec.unwrap_or_else(|| BackendSpec::new(id.clone()));
        let made = (self.make)(&spec);
        inner.made.insert(id.clone(), (spec, made.clone()));
        made
    }

    fn readying(&self, picked: Result<Charge, Error>) -> Next<S> {
        match picked {
            Ok(pick) => {
                let inner = self.inner_of(pick.id());
                Next::Readying(pick, inner)
            }
            Err(error) => Next::Refused(error),
        }
    }

    /// Picks, or lines up where the service is full and has a queue.
    fn pick(&self, ask: &Ask<'_>) -> Next<S> {
        let shared = &self.service.shared;
        match self.service.service.enter(shared, ask, READY_WITHIN) {
            Ok(Entry::Waiting(waiting)) => {
                let (service, clock) = (self.service.service.clone(), shared.clock);
                let called = async move { service.called(waiting, clock).await };
                Next::Waiting(Box::pin(called))
            }
            Ok(Entry::Picked(pick)) => self.readying(Ok(pick)),
            Err(error) => self.readying(Err(error)),
        }
    }
}

/// Weight, limit and the operator's wish change nothing about how it is reached.
fn reached_alike(one: &BackendSpec, other: &BackendSpec) -> bool {
    one.labels == other.labels
}

impl<S> Readiness<S> {
    pub(super) fn is_ready(&self) -> bool {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*next, Next::Ready(..))
    }

    fn next(&mut self) -> &mut Next<S> {
        self.next.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is ready, and nothing else.
    pub(super) fn take_ready(&mut self) -> Option<(Charge, S)> {
        match self.next() {
            Next::Ready(..) => self.take()?.ok(),
            _ => None,
        }
    }

    /// What it came to: none while it is on its way.
    pub(super) fn take(&mut self) -> Option<Result<(Charge, S), Error>> {
        match std::mem::take(std::mem::take(self).next()) {
            Next::Ready(pick, inner) => Some(Ok((pick, inner))),
            Next::Refused(error) => Some(Err(error)),
            Next::Nothing | Next::Waiting(_) | Next::Readying(..) => None,
        }
    }

    /// Goes on until it is ready, or refused. Without a request anybody is asked for.
    pub(super) fn poll<M, R, K, Req>(
        &mut self,
        common: &Common<M, S>,
        reading: &R,
        asking: &K,
        request: Option<&Req>,
        cx: &mut Context<'_>,
    ) -> Poll<()>
    where
        M: Fn(&BackendSpec) -> S,
        S: Service<Req> + Clone,
        R: Reading<S::Response, S::Error>,
        K: Asking<Req>,
    {
        loop {
            let error = match self.next() {
                Next::Ready(..) | Next::Refused(_) => return Poll::Ready(()),
                Next::Nothing => {
                    *self.next() = self.picked(common, asking, request);
                    continue;
                }
                Next::Waiting(waiting) => {
                    let called = ready!(waiting.as_mut().poll(cx));
                    // What is made may panic, and a future that has ended is not polled again.
                    *self.next() = Next::Nothing;
                    *self.next() = common.readying(called);
                    continue;
                }
                Next::Readying(_, inner) => ready!(inner.poll_ready(cx)).err(),
            };
            let Next::Readying(pick, inner) = std::mem::take(self.next()) else {
                continue;
            };
            let Some(error) = error else {
                *self.next() = Next::Ready(pick, inner);
                continue;
            };
            common.forget(pick.id());
            self.tried.insert(pick.backend());
            self.broke += 1;
            pick.failed(reading.unready(&error));
            if self.broke >= Tried::MOST {
                *self.next() = Next::Refused(Error::Refused(Refusal::AllTried));
            }
        }
    }

    fn picked<M, K, Req>(
        &mut self,
        common: &Common<M, S>,
        asking: &K,
        request: Option<&Req>,
    ) -> Next<S>
    where
        M: Fn(&BackendSpec) -> S,
        S: Clone,
        K: Asking<Req>,
    {
        let mut ask = request.map_or_else(Ask::new, |request| asking.ask(request));
        if let Some(client) = request.and_then(|request| asking.client(request)) {
            ask = common.service.at_home(client, ask);
        }
        if self.broke == 0 {
            self.tried = ask.already_tried();
        }
        common.pick(&ask.tried(&self.tried))
    }
}
