//! Owns the join to tower: a service that balances over clonable inner services, one for each backend.
//!
//! ```text
//! poll_ready: pick, charge, make or clone the inner service, poll it     call: send     response: the pick follows
//! ```
//! Decides nothing: picks are the balancer's. Retries nothing: a request cannot be repeated unless its type says so; see
//! [`exchange`](crate::ServiceHandle::exchange) for that. Read next: `tower/reading.rs`, what a response says.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use evenkeel_balance::ask::Tried;
use evenkeel_balance::backend::{BackendId, BackendSpec};
use evenkeel_balance::pick::Refusal;
use tokio::sync::watch;
use tower_layer::Layer;
use tower_service::Service;

use crate::ask::Ask;
use crate::error::Error;
use crate::pick::Pick as Charge;
use crate::service::ServiceHandle;

/// What a response says, and how the pick follows it.
mod reading;

/// The future of a call.
mod sending;

pub use reading::{Http, Reading, Whole};
pub use sending::Sending;

/// The longest that readiness waits in the queue of a full service before the call is refused; the queue's own `timeout`
/// ends it sooner.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Why a call brought no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError<E> {
    /// There was nobody to send it to.
    NoPick(Error),
    /// The inner service's own error.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPick(error) => error.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoPick(error) => Some(error),
            Self::Inner(error) => error.source(),
        }
    }
}

/// The inner services, made when they are first needed; shared by the clones of a [`Balance`].
struct Inner<S> {
    made: HashMap<BackendId, (BackendSpec, S)>,
    /// Changes when members do: who left or was configured anew is then forgotten.
    members: watch::Receiver<()>,
}

/// A tower service that sends each request to the inner service of a backend that the balancer picked.
///
/// `make` makes the inner service of a backend from its configuration, once; it is cloned for each call, and made again when
/// the backend's configuration has changed. A response goes on as its [`Reading`] says: with [`Whole`] as it is, with
/// [`Http`] with a body that holds the charge to its last byte. A future or a response that is dropped gives it back.
///
/// # Readiness
/// `Ready` means that a backend is picked and charged for the next call, and that its inner service is ready: backpressure is
/// real. While the service is full and its settings have a `queue`, readiness waits in it; without one, or when nobody can be
/// picked, it is ready with the refusal that the call will answer. An inner service that fails to become ready counts as a
/// connection that failed, is made anew, and another backend is picked; when none is left, or 16 have failed, the call says that all were tried.
/// So this never fails to become ready, which tower takes for the end of a service. What readiness holds is given back when the `Balance` is dropped; do not park one that is ready.
/// With [`keyed`](Self::keyed) the request must be known before the pick, so it is ready at once and everything else is done
/// by the future of the call.
///
/// # Cost
/// Of a call, beyond a pick: one lock that clones share, one clone of an inner service, the future's allocation.
pub struct Balance<M, S, R = Whole, K = Unkeyed> {
    service: ServiceHandle,
    make: M,
    inner: Arc<Mutex<Inner<S>>>,
    reading: R,
    key: K,
    next: Next<S>,
    broke: Broke,
}

/// Those whose inner service did not become ready for the next call: bounded, so that no call looks through thousands.
#[derive(Clone, Copy, Default)]
struct Broke {
    tried: Tried,
    count: usize,
}

/// Requests have no key: the backend is picked before the request is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unkeyed;

/// What the client of a request should stick to, for the hash policies.
pub trait Key<Req> {
    /// Hashed (see [`hashing::key`](crate::balance::hashing::key)); none where a request has none. Without `Some` for any
    /// request there is nothing to wait for, and a backend is picked before it is known.
    fn key(&self, request: &Req) -> Option<u64>;

    /// Whether picks wait for the request.
    fn waits(&self) -> bool {
        true
    }
}

impl<Req> Key<Req> for Unkeyed {
    fn key(&self, _request: &Req) -> Option<u64> {
        None
    }

    fn waits(&self) -> bool {
        false
    }
}

impl<Req, F: Fn(&Req) -> u64> Key<Req> for F {
    fn key(&self, request: &Req) -> Option<u64> {
        Some(self(request))
    }
}

/// A pick that is waited for.
type Waiting = Pin<Box<dyn Future<Output = Result<Charge, Error>> + Send>>;

/// What is held for the next call.
enum Next<S> {
    Nothing,
    /// In the queue of a full service.
    Waiting(Waiting),
    /// Charged; its inner service is not ready yet.
    Readying(Charge, S),
    Ready(Charge, S),
    /// The call will say so.
    Refused(Error),
}

impl<M: Clone, S, R: Clone, K: Clone> Clone for Balance<M, S, R, K> {
    /// Holds nothing for a next call, whatever this one holds.
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            make: self.make.clone(),
            inner: self.inner.clone(),
            reading: self.reading.clone(),
            key: self.key.clone(),
            next: Next::Nothing,
            broke: Broke::default(),
        }
    }
}

impl<M, S, R, K> fmt::Debug for Balance<M, S, R, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance")
            .field("service", &self.service.name())
            .field("ready", &matches!(self.next, Next::Ready(..)))
            .finish_non_exhaustive()
    }
}

impl<M, S> Balance<M, S>
where
    M: Fn(&BackendSpec) -> S,
{
    /// Balances over what `make` makes. Responses are whole.
    pub fn new(service: ServiceHandle, make: M) -> Self {
        let members = service.shared.hub.members.subscribe();
        let made = HashMap::new();
        Self {
            service,
            make,
            inner: Arc::new(Mutex::new(Inner { made, members })),
            reading: Whole,
            key: Unkeyed,
            next: Next::Nothing,
            broke: Broke::default(),
        }
    }
}

impl<M, S, R, K> Balance<M, S, R, K> {
    /// Reads responses otherwise.
    pub fn reading<T>(self, reading: T) -> Balance<M, S, T, K> {
        Balance {
            service: self.service,
            make: self.make,
            inner: self.inner,
            reading,
            key: self.key,
            next: Next::Nothing,
            broke: Broke::default(),
        }
    }

    /// Picks by what `key` makes of a request: a function of it to a hash, for the hash policies.
    pub fn keyed<T>(self, key: T) -> Balance<M, S, R, T> {
        Balance {
            service: self.service,
            make: self.make,
            inner: self.inner,
            reading: self.reading,
            key,
            next: Next::Nothing,
            broke: Broke::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M, S, R, K> Balance<M, S, R, K>
where
    M: Fn(&BackendSpec) -> S,
    S: Clone,
{
    /// The inner service of a backend, made where it must be.
    fn inner_of(&self, id: &BackendId) -> S {
        let mut inner = self.known();
        if inner.members.has_changed().unwrap_or(false) {
            inner.members.mark_unchanged();
            let snapshot = self.service.snapshot();
            let specs: HashMap<&BackendId, &BackendSpec> = snapshot
                .backends
                .iter()
                .map(|one| (&one.id, &one.spec))
                .collect();
            inner
                .made
                .retain(|id, (spec, _)| specs.get(id).is_some_and(|now| reached_alike(now, spec)));
        }
        if let Some((_, made)) = inner.made.get(id) {
            return made.clone();
        }
        // It may have left since it was picked.
        let member = self.service.backend(id.as_str());
        let spec = member.map_or_else(|| BackendSpec::new(id.clone()), |member| member.spec);
        let made = (self.make)(&spec);
        inner.made.insert(id.clone(), (spec, made.clone()));
        made
    }

    fn forget(&self, id: &BackendId) {
        self.known().made.remove(id);
    }

    /// Picks, or lines up where the service is full. None: it waits.
    fn pick(&self, tried: &Tried) -> Next<S> {
        match self.service.select_with(&Ask::new().tried(tried)) {
            Ok(pick) => {
                let inner = self.inner_of(pick.id());
                Next::Readying(pick, inner)
            }
            Err(Error::Refused(Refusal::AllFull)) if self.service.settings().queue.is_some() => {
                let service = self.service.clone();
                Next::Waiting(Box::pin(async move { service.acquire(READY_WITHIN).await }))
            }
            Err(error) => Next::Refused(error),
        }
    }
}

/// Weight, limit and the operator's wish change nothing about how it is reached.
fn reached_alike(one: &BackendSpec, other: &BackendSpec) -> bool {
    one.labels == other.labels
}

impl<M, S, R, K, Req> Service<Req> for Balance<M, S, R, K>
where
    M: Fn(&BackendSpec) -> S,
    S: Service<Req> + Clone,
    R: Reading<S::Response, S::Error> + Clone,
    K: Key<Req>,
{
    type Response = R::Tied;
    type Error = CallError<S::Error>;
    type Future = Sending<S, R, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.key.waits() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let refused = match &mut self.next {
                Next::Ready(..) | Next::Refused(_) => {
                    self.broke = Broke::default();
                    return Poll::Ready(Ok(()));
                }
                Next::Nothing => {
                    self.next = self.pick(&self.broke.tried);
                    continue;
                }
                Next::Waiting(waiting) => {
                    self.next = match ready!(waiting.as_mut().poll(cx)) {
                        Ok(pick) => {
                            let inner = self.inner_of(pick.id());
                            Next::Readying(pick, inner)
                        }
                        Err(error) => Next::Refused(error),
                    };
                    continue;
                }
                Next::Readying(_, inner) => ready!(inner.poll_ready(cx)).err(),
            };
            let Next::Readying(pick, inner) = std::mem::replace(&mut self.next, Next::Nothing)
            else {
                continue;
            };
            let Some(error) = refused else {
                self.next = Next::Ready(pick, inner);
                continue;
            };
            self.forget(pick.id());
            self.broke.tried.insert(pick.backend());
            self.broke.count += 1;
            pick.failed(self.reading.unready(&error));
            self.next = match self.broke.count < Tried::MOST {
                true => self.pick(&self.broke.tried),
                false => Next::Refused(Error::Refused(Refusal::AllTried)),
            };
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let counted = self
            .service
            .service
            .requests
            .begin(self.service.shared.clock);
        let reading = self.reading.clone();
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Ready(pick, inner) => Sending::send(inner, request, pick, reading, counted),
            Next::Refused(error) => Sending::refused(error, reading, counted),
            // Not polled to readiness, or keyed: the future does it.
            Next::Nothing | Next::Waiting(_) | Next::Readying(..) => {
                let ask = match self.key.key(&request) {
                    Some(key) => Ask::new().key_hash(key),
                    None => Ask::new(),
                };
                match self.service.select_with(&ask) {
                    Ok(pick) => {
                        let inner = self.inner_of(pick.id());
                        Sending::ready_first(inner, request, pick, reading, counted)
                    }
                    Err(error) => Sending::refused(error, reading, counted),
                }
            }
        }
    }
}

/// Makes a [`Balance`] of a function that makes the inner service of a backend: for builders of layers.
#[derive(Clone, Debug)]
pub struct BalanceLayer<R = Whole, K = Unkeyed> {
    service: ServiceHandle,
    reading: R,
    key: K,
}

impl BalanceLayer {
    /// Over this service; responses are whole.
    #[must_use]
    pub fn new(service: ServiceHandle) -> Self {
        Self {
            service,
            reading: Whole,
            key: Unkeyed,
        }
    }
}

impl<R, K> BalanceLayer<R, K> {
    /// As [`Balance::reading`].
    pub fn reading<T>(self, reading: T) -> BalanceLayer<T, K> {
        BalanceLayer {
            service: self.service,
            reading,
            key: self.key,
        }
    }

    /// As [`Balance::keyed`].
    pub fn keyed<T>(self, key: T) -> BalanceLayer<R, T> {
        BalanceLayer {
            service: self.service,
            reading: self.reading,
            key,
        }
    }
}

impl<M, S, R: Clone, K: Clone> Layer<M> for BalanceLayer<R, K>
where
    M: Fn(&BackendSpec) -> S,
{
    type Service = Balance<M, S, R, K>;

    fn layer(&self, make: M) -> Self::Service {
        let members = self.service.shared.hub.members.subscribe();
        let made = HashMap::new();
        Balance {
            service: self.service.clone(),
            make,
            inner: Arc::new(Mutex::new(Inner { made, members })),
            reading: self.reading.clone(),
            key: self.key.clone(),
            next: Next::Nothing,
            broke: Broke::default(),
        }
    }
}
