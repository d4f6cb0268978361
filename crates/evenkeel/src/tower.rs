//! Owns the join to tower: a service that balances over clonable inner services, one for each backend.
//!
//! ```text
//! poll_ready: pick, charge, make or clone the inner service, poll it     call: send     response: the pick follows
//! ```
//! Decides nothing: picks are the balancer's. Retries nothing: a request cannot be repeated unless its type says so; see
//! [`exchange`](crate::ServiceHandle::exchange) for that. Read next: `tower/readying.rs`, the way to a ready inner service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use evenkeel_balance::backend::BackendSpec;
use tower_layer::Layer;
use tower_service::Service;

use crate::ask::Ask;
use crate::error::Error;
use crate::service::ServiceHandle;

/// What a request asks for.
mod asking;

/// The way to a ready inner service.
mod readying;

/// The future of a call.
mod sending;

/// What a response says, and how the pick follows it.
mod reading;

/// The layer of a backend that reports its load.
mod reporting;

pub use asking::{Asking, Keyed, Unkeyed};
pub use reading::{Http, Reading, Whole};
pub use reporting::{Answering, Measuring, PAGE, Report, ReportLayer};
pub use sending::Sending;

use readying::{Common, Readiness};

/// Why a call brought no response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> CallError<E> {
    /// In a box, as middleware of tower's passes errors on. An inner service whose own errors are boxed has no other way there: a box is
    /// no `Error` itself, and so this is none around it.
    ///
    /// ```
    /// use evenkeel::tower::CallError;
    ///
    /// type Boxed = Box<dyn std::error::Error + Send + Sync>;
    /// let inner = CallError::<Boxed>::Inner("no connection".into());
    /// assert_eq!(inner.into_boxed().to_string(), "no connection");
    /// // In a stack of tower's: `ServiceBuilder::new().map_err(CallError::into_boxed).service(balance)`
    /// ```
    #[must_use]
    pub fn into_boxed(self) -> Box<dyn std::error::Error + Send + Sync> {
        match self {
            Self::NoPick(error) => error.into(),
            Self::Inner(error) => error.into(),
        }
    }
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
/// connection that failed, is made anew, and another backend is picked; when none is left, or 16 have failed, the call says
/// that all were tried. So this never fails to become ready, which tower takes for the end of a service. What readiness holds
/// is given back when the `Balance` is dropped; do not park one that is ready.
///
/// With [`keyed`](Self::keyed), [`asking`](Self::asking) or [`asked_by`](Self::asked_by) the request must be known before the
/// pick, so it is ready at once and the future of the call does all of it: the queue, and the others where one is broken.
///
/// # Cost
/// Of a call, beyond a pick: one lock that clones share, one clone of an inner service, the future's allocation. `make` and the
/// inner service's `Clone` run under that lock: they must be short, and not call the `Balance`.
pub struct Balance<M, S, R = Whole, K = Unkeyed> {
    common: Arc<Common<M, S>>,
    reading: R,
    asking: K,
    readiness: Readiness<S>,
}

impl<M, S, R: Clone, K: Clone> Clone for Balance<M, S, R, K> {
    /// Holds nothing for a next call, whatever this one holds.
    fn clone(&self) -> Self {
        Self {
            common: self.common.clone(),
            reading: self.reading.clone(),
            asking: self.asking.clone(),
            readiness: Readiness::default(),
        }
    }
}

impl<M, S, R, K> fmt::Debug for Balance<M, S, R, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance")
            .field("service", &self.common.service.name())
            .field("ready", &self.readiness.is_ready())
            .finish_non_exhaustive()
    }
}

impl<M, S> Balance<M, S>
where
    M: Fn(&BackendSpec) -> S,
{
    /// Balances over what `make` makes. Responses are whole.
    pub fn new(service: ServiceHandle, make: M) -> Self {
        BalanceLayer::new(service).layer(make)
    }
}

impl<M, S, R, K> Balance<M, S, R, K> {
    /// Reads responses otherwise.
    pub fn reading<T>(self, reading: T) -> Balance<M, S, T, K> {
        Balance {
            common: self.common,
            reading,
            asking: self.asking,
            readiness: Readiness::default(),
        }
    }

    /// Picks by the key of a request: a function of it to a [hash](crate::balance::hashing::key), for the hash policies.
    pub fn keyed<F>(self, key: F) -> Balance<M, S, R, Keyed<F>> {
        self.asked_by(Keyed(key))
    }

    /// Picks as a function of the request asks: by key, class, class in the queue, or among a subset.
    pub fn asking<Req, F>(self, asking: F) -> Balance<M, S, R, F>
    where
        F: for<'a> Fn(&'a Req) -> Ask<'a>,
    {
        self.asked_by(asking)
    }

    /// The same by a type of the program's, which may also say whose request it is: see [`Asking`].
    pub fn asked_by<T>(self, asking: T) -> Balance<M, S, R, T> {
        Balance {
            common: self.common,
            reading: self.reading,
            asking,
            readiness: Readiness::default(),
        }
    }
}

impl<M, S, R, K, Req> Service<Req> for Balance<M, S, R, K>
where
    M: Fn(&BackendSpec) -> S,
    S: Service<Req> + Clone,
    R: Reading<S::Response, S::Error> + Clone,
    K: Asking<Req> + Clone,
{
    type Response = R::Tied;
    type Error = CallError<S::Error>;
    type Future = Sending<M, S, R, K, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.asking.waits() {
            return Poll::Ready(Ok(()));
        }
        let polled = self
            .readiness
            .poll(&self.common, &self.reading, &self.asking, None, cx);
        polled.map(Ok)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        // What is not ready yet, the future goes on with.
        let readiness = std::mem::take(&mut self.readiness);
        Sending::new(
            self.common.clone(),
            self.reading.clone(),
            self.asking.clone(),
            readiness,
            request,
        )
    }
}

/// Makes a [`Balance`] of a function that makes the inner service of a backend: for builders of layers.
///
/// ```
/// use evenkeel::tower::BalanceLayer;
/// use evenkeel::{BackendSpec, LoadBalancer, ServiceSettings, balance::hashing};
/// use tower_layer::Layer;
///
/// #[derive(Clone)]
/// struct Client(String);
///
/// let balancer = LoadBalancer::new();
/// balancer.register("api", ServiceSettings::default(), ["a:80"])?;
/// let api = balancer.service("api").expect("it was registered");
/// let layer = BalanceLayer::new(api).keyed(|user: &String| hashing::key(user.as_bytes()));
/// let balance = layer.layer(|backend: &BackendSpec| Client(backend.id.to_string()));
/// # let _ = balance;
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BalanceLayer<R = Whole, K = Unkeyed> {
    service: ServiceHandle,
    reading: R,
    asking: K,
}

impl BalanceLayer {
    /// Over this service; responses are whole.
    #[must_use]
    pub fn new(service: ServiceHandle) -> Self {
        Self {
            service,
            reading: Whole,
            asking: Unkeyed,
        }
    }
}

impl<R, K> BalanceLayer<R, K> {
    /// As [`Balance::reading`].
    pub fn reading<T>(self, reading: T) -> BalanceLayer<T, K> {
        BalanceLayer {
            service: self.service,
            reading,
            asking: self.asking,
        }
    }

    /// As [`Balance::keyed`].
    pub fn keyed<F>(self, key: F) -> BalanceLayer<R, Keyed<F>> {
        self.asked_by(Keyed(key))
    }

    /// As [`Balance::asking`].
    pub fn asking<Req, F>(self, asking: F) -> BalanceLayer<R, F>
    where
        F: for<'a> Fn(&'a Req) -> Ask<'a>,
    {
        self.asked_by(asking)
    }

    /// As [`Balance::asked_by`].
    pub fn asked_by<T>(self, asking: T) -> BalanceLayer<R, T> {
        BalanceLayer {
            service: self.service,
            reading: self.reading,
            asking,
        }
    }
}

impl<M, S, R: Clone, K: Clone> Layer<M> for BalanceLayer<R, K>
where
    M: Fn(&BackendSpec) -> S,
{
    type Service = Balance<M, S, R, K>;

    fn layer(&self, make: M) -> Self::Service {
        Balance {
            common: Arc::new(Common::new(self.service.clone(), make)),
            reading: self.reading.clone(),
            asking: self.asking.clone(),
            readiness: Readiness::default(),
        }
    }
}
