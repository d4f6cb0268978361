//! Owns the line of those who wait for a place on a connection of HTTP/2, or for the turn to open one.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::task::{Context, Waker};

/// Who waits for a place, or for the turn to open a connection, longest first.
#[derive(Default)]
pub(super) struct Waiting(RefCell<InLine>);

#[derive(Default)]
struct InLine {
    line: VecDeque<Waker>,
    /// The tasks of these, so that who asks again and again is there once.
    there: HashSet<usize>,
}

impl Waiting {
    pub(super) fn add(&self, cx: &Context<'_>) {
        let InLine { line, there } = &mut *self.0.borrow_mut();
        if there.insert(cx.waker().data().addr()) {
            line.push_back(cx.waker().clone());
        }
    }

    /// One place came free. Were all woken, each place would cost as much as there are who wait.
    pub(super) fn wake_one(&self) {
        let InLine { line, there } = &mut *self.0.borrow_mut();
        if let Some(one) = line.pop_front() {
            there.remove(&one.data().addr());
            one.wake();
        }
    }

    pub(super) fn wake_all(&self) {
        // Whoever finds nothing waits again.
        let all = self.0.take();
        all.line.into_iter().for_each(Waker::wake);
    }
}
