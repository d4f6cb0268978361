//! Owns connections to backends: each worker's idle ones, and how many sockets all workers have together.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use evenkeel_balance::time::Instant;
use evenkeel_config::plan::UpstreamPlan;

use crate::buffers::Input;
use crate::live::LiveBackend;
use crate::sock::Sock;

/// The sockets to one backend, of all workers, idle ones too.
#[derive(Debug)]
pub struct Sockets {
    open: AtomicUsize,
    most: Option<NonZeroUsize>,
    /// Workers that wait for one; while there are any, idle ones are closed rather than kept.
    waiting: AtomicUsize,
    wakers: Mutex<Vec<Waker>>,
}

impl Sockets {
    pub(crate) fn new(most: Option<NonZeroUsize>) -> Self {
        Self {
            open: AtomicUsize::new(0),
            most,
            waiting: AtomicUsize::new(0),
            wakers: Mutex::new(Vec::new()),
        }
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many there may be.
    #[must_use]
    pub const fn most(&self) -> Option<NonZeroUsize> {
        self.most
    }

    fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let most = self.most.map_or(usize::MAX, NonZeroUsize::get);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < most).then_some(open + 1)
            })
            .ok()
            .map(|_| Permit(self.clone()))
    }

    /// Ready once there is a socket to be had.
    fn poll_take(self: &Arc<Self>, cx: &Context<'_>) -> Poll<Permit> {
        if let Some(permit) = self.try_take() {
            return Poll::Ready(permit);
        }
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.retain(|waker| !waker.will_wake(cx.waker()));
        wakers.push(cx.waker().clone());
        drop(wakers);
        // One that closed meanwhile woke nobody.
        self.try_take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// One socket's place under the limit.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Sockets>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        if self.0.most.is_some() {
            // All of them: one alone may be of a waiter that has given up, and the place would go unseen.
            let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = std::mem::take(&mut *wakers);
            drop(wakers);
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

/// Counts one who waits, as long as it lives.
struct Waits<'a>(&'a Sockets);

impl<'a> Waits<'a> {
    fn new(sockets: &'a Sockets) -> Self {
        sockets.waiting.fetch_add(1, Ordering::Relaxed);
        Self(sockets)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection to a backend, ready for an exchange.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub(crate) sock: S,
    pub(crate) input: Input,
    made: Instant,
    requests: usize,
    _permit: Permit,
}

impl<S: Sock> Connection<S> {
    pub(crate) fn new(sock: S, permit: Permit, now: Instant) -> Self {
        Self {
            sock,
            input: Input::default(),
            made: now,
            requests: 0,
            _permit: permit,
        }
    }

    /// Whether it has carried an exchange before.
    pub(crate) const fn is_reused(&self) -> bool {
        self.requests > 0
    }
}

#[derive(Debug)]
struct Idle<S> {
    connection: Connection<S>,
    until: Instant,
}

/// One worker's connections to one backend.
pub(crate) struct Lane<S> {
    pub(crate) backend: Arc<LiveBackend>,
    /// The one that came back last is used first: the others may grow old and go.
    idle: RefCell<Vec<Idle<S>>>,
}

impl<S: Sock> Lane<S> {
    pub(crate) fn new(backend: Arc<LiveBackend>) -> Self {
        Self {
            backend,
            idle: RefCell::new(Vec::new()),
        }
    }

    /// An idle connection that is still of use.
    pub(crate) fn take_idle(&self, now: Instant) -> Option<Connection<S>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut one) = idle.pop() {
            if one.until > now && !one.connection.sock.has_input() {
                return Some(one.connection);
            }
        }
        None
    }

    /// Ready once this worker may open a socket.
    pub(crate) async fn permit(&self) -> Permit {
        if let Some(permit) = self.backend.sockets.try_take() {
            return permit;
        }
        let _waits = Waits::new(&self.backend.sockets);
        std::future::poll_fn(|cx| self.backend.sockets.poll_take(cx)).await
    }

    /// Keeps a connection for the next exchange, if it may be kept.
    pub(crate) fn park(
        &self,
        mut connection: Connection<S>,
        how: &UpstreamPlan,
        told: Option<u32>,
        now: Instant,
    ) {
        connection.requests += 1;
        let worn = how
            .requests
            .is_some_and(|most| connection.requests >= most.get());
        let old = how.age.is_some_and(|age| connection.made + age <= now);
        let wanted = self.backend.sockets.waiting.load(Ordering::Relaxed) > 0;
        // A second early: the backend counts from when it sent, and closes by its own clock.
        let told =
            told.map(|seconds| std::time::Duration::from_secs(seconds.saturating_sub(1).into()));
        let kept = told.map_or(how.idle, |told| told.min(how.idle));
        let mut idle = self.idle.borrow_mut();
        if worn || old || wanted || kept.is_zero() || idle.len() >= how.idle_most {
            return;
        }
        idle.push(Idle {
            connection,
            until: now + kept,
        });
    }

    /// Closes what is idle for too long, what the backend closed, and all when others wait for a socket.
    pub(crate) fn sweep(&self, now: Instant) {
        let wanted = self.backend.sockets.waiting.load(Ordering::Relaxed) > 0;
        self.idle
            .borrow_mut()
            .retain_mut(|one| !wanted && one.until > now && !one.connection.sock.has_input());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_place_is_not_lost_to_a_waiter_that_gave_up() {
        let sockets = Arc::new(Sockets::new(NonZeroUsize::new(1)));
        let permit = sockets.try_take().unwrap();
        let waits = || {
            let woken = Arc::new(Woken(AtomicBool::new(false)));
            let waker = Waker::from(woken.clone());
            assert!(sockets.poll_take(&Context::from_waker(&waker)).is_pending());
            woken
        };
        let (_gave_up, waiting) = (waits(), waits());
        drop(permit);
        assert!(waiting.0.load(Ordering::Relaxed));
        assert_eq!(sockets.open(), 0);
        assert!(sockets.try_take().is_some());
    }
}
