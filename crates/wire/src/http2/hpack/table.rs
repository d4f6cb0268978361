//! Owns a table of fields that came before (RFC 7541 section 2.3.2): first in, first out, bounded in bytes.
//!
//! The texts stand in one buffer, each in one piece. What was pushed out of the front stays until it is as much as what is left, then all
//! is moved down: one copy for each byte that is put in, and no more than twice the table's size.

use std::collections::VecDeque;

use super::Pseudo;
use crate::known::Known;
use crate::malformed::Malformed;

/// What each field counts beside its bytes (RFC 7541 section 4.1).
pub(super) const OVERHEAD: usize = 32;

/// What is known of a field beside its texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    pub(super) known: Known,
    pub(super) pseudo: Option<Pseudo>,
    pub(super) wrong: Option<Malformed>,
    /// What its encoder calls its name; 0: nothing.
    pub(super) id: u8,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where it begins, counted over the table's whole life.
    at: u32,
    name: u32,
    value: u32,
    pub(super) traits: Traits,
}

#[derive(Debug)]
pub(super) struct Table {
    bytes: Vec<u8>,
    /// Where the buffer begins, counted over the table's whole life.
    base: u32,
    /// The oldest first.
    entries: VecDeque<Entry>,
    size: usize,
    most: usize,
    /// Fields that were ever put in.
    put: u32,
}

impl Table {
    pub(super) const fn new(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            base: 0,
            entries: VecDeque::new(),
            size: 0,
            most,
            put: 0,
        }
    }

    /// As fields count.
    #[cfg(test)]
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Bytes of the buffer.
    #[cfg(test)]
    pub(super) const fn held(&self) -> usize {
        self.bytes.len()
    }

    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// Fields that were ever put in: the number of the next one.
    pub(super) const fn put(&self) -> u32 {
        self.put
    }

    /// The field that was put in before so many others.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<&Entry> {
        let at = self.entries.len().checked_sub(age + 1)?;
        self.entries.get(at)
    }

    /// Name and value.
    #[inline]
    pub(super) fn texts(&self, entry: &Entry) -> (&[u8], &[u8]) {
        let start = entry.at.wrapping_sub(self.base) as usize;
        let middle = start + entry.name as usize;
        let name = self.bytes.get(start..middle).unwrap_or_default();
        let value = self.bytes.get(middle..middle + entry.value as usize);
        (name, value.unwrap_or_default())
    }

    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.shrink_to(most);
    }

    /// Puts a field in; one that is larger than the table empties it (RFC 7541 section 4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], traits: Traits) {
        let size = name.len() + value.len() + OVERHEAD;
        self.shrink_to(self.most.saturating_sub(size));
        if size > self.most {
            return;
        }
        self.move_down();
        let at = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        #[expect(clippy::cast_possible_truncation, reason = "no table has 4 GiB")]
        let entry = Entry {
            at: self.base.wrapping_add(at as u32),
            name: name.len() as u32,
            value: value.len() as u32,
            traits,
        };
        self.entries.push_back(entry);
        self.size += size;
        self.put = self.put.wrapping_add(1);
    }

    /// Pushes the oldest out until no more than so much is left.
    fn shrink_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.size -= oldest.name as usize + oldest.value as usize + OVERHEAD;
        }
    }

    fn move_down(&mut self) {
        let Some(oldest) = self.entries.front() else {
            self.bytes.clear();
            return;
        };
        let dead = oldest.at.wrapping_sub(self.base);
        if dead > 0 && dead as usize >= self.bytes.len() / 2 {
            self.bytes.drain(..dead as usize);
            self.base = self.base.wrapping_add(dead);
        }
    }
}
