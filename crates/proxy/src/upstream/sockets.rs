//! Owns how many sockets all workers have to one backend, and the line of those who wait for one.
//!
//! A place that comes free while somebody waits is never free: it passes to who has waited longest, so that nobody comes
//! before the line, and one waiter is woken for one place.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The sockets to one backend, of all workers, idle ones too.
#[derive(Debug)]
pub struct Sockets {
    open: AtomicUsize,
    most: Option<NonZeroUsize>,
    /// The length of the line, for a look without its lock.
    waiting: AtomicUsize,
    /// Workers that wait and have no connection at all.
    starving: AtomicUsize,
    /// Who waits, longest first; no longer than there are clients. Not empty: all places are taken.
    line: Mutex<VecDeque<Arc<Ticket>>>,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Ticket(Mutex<Called>);

#[derive(Debug)]
struct Called {
    /// A place is the waiter's.
    called: bool,
    waker: Waker,
}

impl Sockets {
    pub(crate) fn new(most: Option<NonZeroUsize>) -> Self {
        Self {
            open: AtomicUsize::new(0),
            most,
            waiting: AtomicUsize::new(0),
            starving: AtomicUsize::new(0),
            line: Mutex::new(VecDeque::new()),
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

    /// Whether somebody waits, of any worker.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether a worker waits that has no connection at all.
    pub(super) fn is_starved_of(&self) -> bool {
        self.starving.load(Ordering::Relaxed) > 0
    }

    /// Notes that one does, for as long as what is returned lives.
    pub(super) fn starve(self: &Arc<Self>) -> Starving {
        self.starving.fetch_add(1, Ordering::Relaxed);
        Starving(self.clone())
    }

    pub(super) fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let most = self.most.map_or(usize::MAX, NonZeroUsize::get);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < most).then_some(open + 1)
            })
            .ok()
            .map(|_| Permit(self.clone()))
    }

    /// A place, or one in the line.
    pub(super) fn line_up(self: &Arc<Self>, waker: &Waker) -> Result<Permit, Arc<Ticket>> {
        let mut line = self.line();
        // Under the lock: one that was given back since would have called nobody.
        if let Some(permit) = self.try_take() {
            return Ok(permit);
        }
        let ticket = Arc::new(Ticket(Mutex::new(Called {
            called: false,
            waker: waker.clone(),
        })));
        line.push_back(ticket.clone());
        self.waiting.store(line.len(), Ordering::Relaxed);
        Err(ticket)
    }

    /// How many have waited longer. None: it was called.
    pub(super) fn before(&self, ticket: &Arc<Ticket>) -> Option<usize> {
        place(&self.line(), ticket)
    }

    /// Leaves the line. False: it was called already, and its place is its own to use or to give back.
    pub(super) fn leave(&self, ticket: &Arc<Ticket>) -> bool {
        let mut line = self.line();
        let left = place(&line, ticket)
            .and_then(|at| line.remove(at))
            .is_some();
        self.waiting.store(line.len(), Ordering::Relaxed);
        left
    }

    /// The place of one that was called.
    pub(super) fn called(self: &Arc<Self>) -> Permit {
        Permit(self.clone())
    }

    fn give_back(&self) {
        if self.most.is_none() {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let mut line = self.line();
        let next = line.pop_front();
        self.waiting.store(line.len(), Ordering::Relaxed);
        if next.is_none() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        drop(line);
        if let Some(next) = next {
            next.call();
        }
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Arc<Ticket>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(line: &VecDeque<Arc<Ticket>>, ticket: &Arc<Ticket>) -> Option<usize> {
    line.iter().position(|other| Arc::ptr_eq(other, ticket))
}

impl Ticket {
    fn state(&self) -> MutexGuard<'_, Called> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) {
        self.state().called = true;
        self.wake();
    }

    /// Makes its holder look again.
    pub(super) fn wake(&self) {
        let waker = self.state().waker.clone();
        waker.wake();
    }

    pub(super) fn poll_called(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.called {
            return Poll::Ready(());
        }
        state.waker.clone_from(cx.waker());
        Poll::Pending
    }
}

/// One socket's place under the limit.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Sockets>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// A worker that waits and has no connection at all.
#[derive(Debug)]
pub(super) struct Starving(Arc<Sockets>);

impl Drop for Starving {
    fn drop(&mut self) {
        self.0.starving.fetch_sub(1, Ordering::Relaxed);
    }
}
