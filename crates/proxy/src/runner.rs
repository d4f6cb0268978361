//! Owns tasks that serve one thing after another: each is begun once and rests between, so that what comes and goes by the thousand
//! costs no task of its own.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::spare::Spare;
use crate::worker::Swept;

/// The most that rest, at some 1 to 4 KiB each.
const RESTING: usize = 1024;

/// What a task is handed its work by.
pub(crate) struct Runner<W> {
    next: Cell<Option<W>>,
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A task at rest; it ends when it is let go of.
struct Resting<W>(Option<Rc<Runner<W>>>);

impl<W> Drop for Resting<W> {
    fn drop(&mut self) {
        if let Some(runner) = self.0.take() {
            runner.over.set(true);
            runner.wake();
        }
    }
}

/// Tasks of one kind at rest.
pub(crate) struct Runners<W>(Spare<Resting<W>>);

impl<W> Default for Runners<W> {
    fn default() -> Self {
        Self(Spare::new(RESTING))
    }
}

impl<W> Runners<W> {
    /// Has this done beside the rest. Some: by a task that is to be begun.
    #[must_use]
    pub(crate) fn hand(&self, work: W) -> Option<Rc<Runner<W>>> {
        if let Some(runner) = self.0.take().and_then(|mut resting| resting.0.take()) {
            runner.next.set(Some(work));
            runner.wake();
            return None;
        }
        Some(Rc::new(Runner {
            next: Cell::new(Some(work)),
            over: Cell::new(false),
            waker: RefCell::new(None),
        }))
    }

    /// A task has done its work, and asks for [more](Runner::next).
    pub(crate) fn rests(&self, runner: &Rc<Runner<W>>) {
        self.0.give(Resting(Some(runner.clone())));
    }
}

impl<W> Swept for Runners<W> {
    fn sweep(&self) {
        self.0.sweep();
    }
}

impl<W> Runner<W> {
    /// What is to be done next. None: nothing will come any more.
    pub(crate) async fn next(&self) -> Option<W> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<W>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        if self.over.get() {
            return Poll::Ready(None);
        }
        let waker = &mut *self.waker.borrow_mut();
        match waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
