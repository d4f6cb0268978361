//! Owns virtual time and the one thread's tasks: a task that may go on goes on before time does, in an order that chance decides.
//!
//! Time moves only when nobody has anything left to do, and then at once to the next timer. No runtime, no clock: the same seed
//! gives the same order to the last poll, and another seed another order of the same happenings.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use evenkeel_balance::hashing::mix;
use evenkeel_balance::time::Instant;

use crate::chance::Chance;

/// Who may go on; wakers must be able to cross threads, so it is locked, by nobody else.
type Ready = Arc<Mutex<BTreeSet<usize>>>;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Virtual time and the tasks in it. Clones are the same stage.
#[derive(Clone)]
pub(super) struct Stage(Rc<Inner>);

struct Inner {
    now: Cell<u64>,
    tasks: RefCell<Vec<Option<Task>>>,
    ready: Ready,
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    order: Cell<u64>,
    chance: RefCell<Chance>,
    trace: Cell<u64>,
    polls: Cell<u64>,
}

/// Lets one task go on.
struct Wakeup {
    task: usize,
    ready: Ready,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.task);
    }
}

impl Stage {
    /// An empty stage, whose time begins at 1 s so that nothing is ever at zero.
    pub(super) fn new(seed: u64) -> Self {
        Self(Rc::new(Inner {
            now: Cell::new(1_000_000_000),
            tasks: RefCell::new(Vec::new()),
            ready: Ready::default(),
            timers: RefCell::new(BTreeMap::new()),
            order: Cell::new(0),
            chance: RefCell::new(Chance::new(seed, 10)),
            trace: Cell::new(seed),
            polls: Cell::new(0),
        }))
    }

    /// The time.
    pub(super) fn now(&self) -> Instant {
        Instant::from_nanos(self.0.now.get())
    }

    /// What has happened so far, in one number.
    pub(super) fn trace(&self) -> u64 {
        self.0.trace.get()
    }

    /// How often a task went on.
    pub(super) fn polls(&self) -> u64 {
        self.0.polls.get()
    }

    /// Adds to the trace what a task did.
    pub(super) fn note(&self, word: u64) {
        self.0.trace.set(mix(self.0.trace.get(), word));
    }

    /// Begins a task.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.0.tasks.borrow_mut();
        self.0
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tasks.len());
        tasks.push(Some(Box::pin(task)));
    }

    /// Ready once so much time has passed.
    pub(super) fn sleep(&self, wait: Duration) -> Sleep {
        Sleep {
            stage: self.clone(),
            until: (self.now() + wait).as_nanos(),
            noted: false,
        }
    }

    /// Runs until `over` says so, asked whenever nothing is left to do at this time. False: nothing is left to do at all.
    pub(super) fn run(&self, over: impl Fn() -> bool) -> bool {
        loop {
            while let Some(task) = self.next() {
                self.poll(task);
            }
            if over() {
                return true;
            }
            if !self.advance() {
                return false;
            }
        }
    }

    /// Ends all tasks, as a process that ends does.
    pub(super) fn clear(&self) {
        loop {
            let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
            if tasks.is_empty() {
                break;
            }
        }
        self.0.timers.borrow_mut().clear();
    }

    fn next(&self) -> Option<usize> {
        let mut ready = self.0.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match ready.len() {
            0 => return None,
            1 => 0,
            several => self.0.chance.borrow_mut().below(several),
        };
        let task = ready.iter().nth(at).copied()?;
        ready.remove(&task);
        Some(task)
    }

    fn poll(&self, at: usize) {
        // Woken after its end: nothing to do.
        let Some(mut task) = self.0.tasks.borrow_mut().get_mut(at).and_then(Option::take) else {
            return;
        };
        self.0.polls.set(self.0.polls.get() + 1);
        self.note(mix(self.0.now.get(), at as u64));
        let waker = Waker::from(Arc::new(Wakeup {
            task: at,
            ready: self.0.ready.clone(),
        }));
        if task
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            self.0.tasks.borrow_mut()[at] = Some(task);
        }
    }

    /// On to the next timer. False: there is none.
    fn advance(&self) -> bool {
        let mut timers = self.0.timers.borrow_mut();
        let Some((&(at, _), _)) = timers.first_key_value() else {
            return false;
        };
        self.0.now.set(at.max(self.0.now.get()));
        while let Some(first) = timers.first_entry() {
            if first.key().0 > at {
                break;
            }
            first.remove().wake();
        }
        true
    }
}

/// See [`Stage::sleep`].
pub(super) struct Sleep {
    stage: Stage,
    until: u64,
    noted: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let inner = self.stage.0.clone();
        if inner.now.get() >= self.until {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut self.noted, true) {
            inner.order.set(inner.order.get() + 1);
            inner
                .timers
                .borrow_mut()
                .insert((self.until, inner.order.get()), cx.waker().clone());
        }
        Poll::Pending
    }
}
