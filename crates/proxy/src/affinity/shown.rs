//! Owns what a connection was shown last: a cookie that says where its client is kept, and what it said.
//!
//! A client that stays shows the same cookie again, and two keyed hashes are dearer than 44 bytes that are compared. Equal bytes say the
//! same whoever shows them, so that it does not matter who shares a connection; another plan, or other keys, make another
//! [`Affinity`](super::Affinity), to which nothing here is known.

use std::cell::Cell;

use super::keys::{Opened, Text};

/// The cookie that a connection was shown last, or has told its client since.
#[derive(Debug, Default)]
pub struct Shown(Cell<Option<Said>>);

#[derive(Clone, Copy, Debug)]
struct Said {
    /// To whom.
    number: u64,
    text: Text,
    opened: Opened,
}

impl Shown {
    /// What this value said to this affinity. None: it was another one.
    pub(super) fn says(&self, number: u64, value: &[u8]) -> Option<Opened> {
        let said = self.0.get().filter(|said| said.number == number)?;
        (said.text == *value).then_some(said.opened)
    }

    /// It says this from now on, in the place of what was shown before.
    pub(super) fn note(&self, number: u64, text: Text, opened: Opened) {
        self.0.set(Some(Said {
            number,
            text,
            opened,
        }));
    }
}
