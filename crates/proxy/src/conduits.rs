//! Owns a worker's free pipes of the kernel, and which of them it may have.
//!
//! A direction takes one to move bytes, and gives it back as soon as it is empty: those that are out are those whose bytes somebody
//! does not take. Who gets none copies.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::room::{PipePlace, Room};
use crate::sock::conduit::Conduit;

/// A pipe with its place among the process's descriptors.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) conduit: Conduit,
    _place: PipePlace,
}

/// A worker's pipes that hold nothing.
#[derive(Debug)]
pub(crate) struct Conduits {
    pub(crate) room: Arc<Room>,
    #[expect(
        clippy::vec_box,
        reason = "lent out by the pointer: a pump holds a word"
    )]
    free: RefCell<Vec<Box<Lent>>>,
    /// The fewest that were free since the last sweep: nobody needed those.
    fewest: Cell<usize>,
    /// The system has refused one since the last sweep: it is not asked for each piece.
    refused: Cell<bool>,
}

impl Conduits {
    /// None yet; those to come have their places in this room.
    pub(crate) const fn new(room: Arc<Room>) -> Self {
        Self {
            room,
            free: RefCell::new(Vec::new()),
            fewest: Cell::new(0),
            refused: Cell::new(false),
        }
    }

    /// An empty one: a free one, or a new one where there is a place and the system has one.
    pub(crate) fn take(&self) -> Option<Box<Lent>> {
        let free = self.free.borrow_mut().pop();
        if free.is_some() {
            self.fewest
                .set(self.fewest.get().min(self.free.borrow().len()));
            return free;
        }
        let opened = self.open();
        if opened.is_none() {
            self.room.pipe_refused();
        }
        opened
    }

    fn open(&self) -> Option<Box<Lent>> {
        if self.refused.get() {
            return None;
        }
        let place = self.room.take_pipe()?;
        let Ok(conduit) = Conduit::open() else {
            self.refused.set(true);
            return None;
        };
        Some(Box::new(Lent {
            conduit,
            _place: place,
        }))
    }

    /// Takes one back; one that still holds bytes goes, and they with it.
    pub(crate) fn give(&self, lent: Box<Lent>) {
        if lent.conduit.is_empty() {
            self.free.borrow_mut().push(lent);
        }
    }

    /// Lets those go that nobody needed since the last time, and all that are free where a client waits for a place.
    pub(crate) fn sweep(&self) {
        let mut free = self.free.borrow_mut();
        let unneeded = match self.room.is_wanted() {
            true => free.len(),
            false => self.fewest.get().min(free.len()),
        };
        free.drain(..unneeded);
        self.fewest.set(free.len());
        self.refused.set(false);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn pipes_go_when_nobody_needs_them() {
        let room = Room::new(32);
        let conduits = Conduits::new(room.clone());
        let (one, two) = (conduits.take().unwrap(), conduits.take().unwrap());
        assert!(conduits.take().is_none(), "a sixteenth of 32 places");
        assert_eq!((room.pipes(), room.pipe_refusals()), (2, 1));
        conduits.give(one);
        conduits.give(two);
        // Both were needed a moment ago.
        conduits.sweep();
        assert_eq!(room.pipes(), 2);
        let again = conduits.take().unwrap();
        conduits.give(again);
        conduits.sweep();
        assert_eq!(room.pipes(), 1, "one was needed since");
        conduits.sweep();
        assert_eq!(room.pipes(), 0);
        // Where a client waits, at once.
        let one = conduits.take().unwrap();
        conduits.give(one);
        let waiting = room.wait();
        conduits.sweep();
        assert_eq!(room.pipes(), 0);
        assert!(conduits.take().is_none(), "a client waits for its place");
        drop(waiting);
        assert!(conduits.take().is_some());
    }
}
