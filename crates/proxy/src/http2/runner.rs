//! Owns the tasks that serve streams: each is begun once and serves one stream after another, so that a stream costs no task of its
//! own.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::front::Open;
use crate::carrier::Carrier;
use crate::connection::{Conn, Next};
use crate::deadline::Deadline;
use crate::exchange;
use crate::net::Net;
use crate::spare::Spare;

/// The most that rest, at some 4 KiB each.
const RESTING: usize = 1024;

/// A stream that is to be served.
type Work<N> = (Conn<N>, Open<N>);

/// What a task is handed.
struct Runner<N: Net> {
    next: Cell<Option<Work<N>>>,
    /// Of one stream after another: what was made for each would lie about until the next sweep.
    deadline: Deadline,
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A task at rest; it ends when it is let go of.
struct Resting<N: Net>(Option<Rc<Runner<N>>>);

impl<N: Net> Drop for Resting<N> {
    fn drop(&mut self) {
        if let Some(runner) = self.0.take() {
            runner.over.set(true);
            runner.wake();
        }
    }
}

/// A worker's tasks at rest.
pub(crate) struct Runners<N: Net>(Spare<Resting<N>>);

impl<N: Net> Default for Runners<N> {
    fn default() -> Self {
        Self(Spare::new(RESTING))
    }
}

impl<N: Net> Runners<N> {
    /// Has a stream served beside the others.
    pub(super) fn serve(&self, open: Open<N>, conn: impl FnOnce(Deadline) -> Conn<N>) {
        if let Some(runner) = self.0.take().and_then(|mut resting| resting.0.take()) {
            let conn = conn(runner.deadline.clone());
            runner.next.set(Some((conn, open)));
            return runner.wake();
        }
        let worker = open.worker().clone();
        let deadline = worker.deadlines.slot();
        let runner = Rc::new(Runner {
            next: Cell::new(Some((conn(deadline.clone()), open))),
            deadline,
            over: Cell::new(false),
            waker: RefCell::new(None),
        });
        worker.net.spawn(run(runner));
    }

    /// Lets go of some that nobody needed since the last time.
    pub(crate) fn sweep(&self) {
        self.0.sweep();
    }
}

async fn run<N: Net>(runner: Rc<Runner<N>>) {
    while let Some((conn, open)) = poll_fn(|cx| runner.poll_next(cx)).await {
        let worker = conn.worker.clone();
        let mut conn = exchange::serve(conn).await;
        conn.go_on().await;
        if conn.next != Next::Cut || had_its_time(&conn) {
            open.answered();
        }
        // A tunnel's was its own until now.
        conn.deadline.clear();
        // Its connection looks once the stream is let go of.
        drop(conn);
        drop(open);
        worker.runners.0.give(Resting(Some(runner.clone())));
    }
}

/// Whether the client gave it its time before it took it back.
fn had_its_time<N: Net>(conn: &Conn<N>) -> bool {
    match &conn.sock {
        Carrier::Client(stream) => stream.had_its_time(conn.worker.now()),
        Carrier::Whole(_) | Carrier::Stream(_) => false,
    }
}

impl<N: Net> Runner<N> {
    /// Ready with nothing: no stream will come any more.
    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Work<N>>> {
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
