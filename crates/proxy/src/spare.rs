//! Owns what was used and will be used again: given out last in, first out, while it is in the cache, and let go of when nobody
//! has needed it for a while.
//!
//! How many are in use at once differs by a thousand times from one worker to the next: a fixed number kept is too much for the one
//! and has the other allocate anew for each request.

use std::cell::{Cell, RefCell};

/// So many are kept, needed or not.
const FEW: usize = 16;

/// A worker's things of one kind that are not in use.
#[derive(Debug)]
pub(crate) struct Spare<T> {
    free: RefCell<Vec<T>>,
    /// The fewest that there were since the last sweep: those that nobody needed.
    unneeded: Cell<usize>,
    most: usize,
}

impl<T> Spare<T> {
    /// None yet, and never more than `most`.
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            free: RefCell::new(Vec::new()),
            unneeded: Cell::new(0),
            most,
        }
    }

    /// The one that came back last.
    pub(crate) fn take(&self) -> Option<T> {
        let mut free = self.free.borrow_mut();
        let one = free.pop();
        self.unneeded.set(self.unneeded.get().min(free.len()));
        one
    }

    pub(crate) fn give(&self, one: T) {
        let mut free = self.free.borrow_mut();
        if free.len() < self.most {
            free.push(one);
        }
    }

    /// Lets go of an eighth of those that nobody needed since the last sweep, the coldest first.
    pub(crate) fn sweep(&self) {
        let mut free = self.free.borrow_mut();
        let surplus = self.unneeded.get().saturating_sub(FEW).div_ceil(8);
        free.drain(..surplus);
        if surplus > 0 && free.len() <= FEW {
            free.shrink_to_fit();
        }
        self.unneeded.set(free.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_comes_first_and_the_surplus_goes() {
        let spare = Spare::new(1000);
        assert_eq!(spare.take(), None);
        (0..100).for_each(|one| spare.give(one));
        assert_eq!(spare.take(), Some(99));
        spare.give(99);
        // Nobody knows yet how many are needed.
        spare.sweep();
        assert_eq!(spare.free.borrow().len(), 100);
        // Ninety are, again and again.
        for _ in 0..100 {
            let lent: Vec<_> = std::iter::repeat_with(|| spare.take()).take(90).collect();
            lent.into_iter().flatten().for_each(|one| spare.give(one));
            spare.sweep();
        }
        assert_eq!(spare.free.borrow().len(), 100, "within the few");
        for _ in 0..100 {
            spare.sweep();
        }
        assert_eq!(spare.free.borrow().len(), FEW);
        assert_eq!(spare.take(), Some(99), "the coldest went");
    }

    #[test]
    fn there_is_a_most() {
        let spare = Spare::new(2);
        (0..3).for_each(|one| spare.give(one));
        assert_eq!(spare.free.borrow().len(), 2);
    }
}
