//! Owns a table of fields that came before (RFC 7541 section 2.3.2): first in, first out, bounded in bytes.
//!
//! The texts stand in one buffer, each field in one piece. What was pushed out of the front stays until it is as much as what is left,
//! then all is moved down: one copy for each byte that is put in, and no more than twice the table's size.

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
}

impl Traits {
    /// Of a field of which nothing is known.
    pub(super) const NONE: Self = Self {
        known: Known::Other,
        pseudo: None,
        wrong: None,
    };
}

/// Name and value in one piece, with whatever their owner has between them.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes of the name.
    pub(super) name: usize,
}

impl<'a> Text<'a> {
    /// Name and value, where nothing stands between them.
    #[inline]
    pub(super) fn split(self) -> Option<(&'a [u8], &'a [u8])> {
        self.bytes.split_at_checked(self.name)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where it begins, counted over the table's whole life.
    at: u32,
    /// Bytes of the name.
    name: u32,
    /// Bytes of all.
    length: u32,
    pub(super) traits: Traits,
}

#[derive(Debug)]
pub(super) struct Table {
    bytes: Vec<u8>,
    /// Where the buffer begins, counted over the table's whole life.
    base: u32,
    /// A ring: by the low bits of their numbers. Its length is a power of two, or 0.
    entries: Vec<Entry>,
    live: u32,
    /// Fields that were ever put in: the number of the next one.
    put: u32,
    size: usize,
    most: usize,
    /// Bytes between name and value that are the owner's own, and do not count.
    between: usize,
}

impl Table {
    pub(super) const fn new(most: usize, between: usize) -> Self {
        Self {
            bytes: Vec::new(),
            base: 0,
            entries: Vec::new(),
            live: 0,
            put: 0,
            size: 0,
            most,
            between,
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
    #[inline]
    pub(super) const fn put(&self) -> u32 {
        self.put
    }

    /// The field that was put in before so many others.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<&Entry> {
        if age >= self.live as usize {
            return None;
        }
        self.entries.get(self.place(age))
    }

    /// Where in the ring the field stands that was put in before so many others.
    #[inline]
    const fn place(&self, age: usize) -> usize {
        (self.put as usize).wrapping_sub(age + 1) & self.entries.len().wrapping_sub(1)
    }

    /// Name and value.
    #[inline]
    pub(super) fn text(&self, entry: &Entry) -> Option<Text<'_>> {
        let start = entry.at.wrapping_sub(self.base) as usize;
        let bytes = self.bytes.get(start..)?.get(..entry.length as usize)?;
        Some(Text {
            bytes,
            name: entry.name as usize,
        })
    }

    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.shrink_to(most);
    }

    /// Puts a field in; one that is larger than the table empties it (RFC 7541 section 4.4).
    pub(super) fn insert(&mut self, parts: [&[u8]; 3], name: usize, traits: Traits) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let size = length - self.between + OVERHEAD;
        self.shrink_to(self.most.saturating_sub(size));
        if size > self.most {
            return;
        }
        self.move_down();
        if self.live as usize == self.entries.len() {
            self.widen();
        }
        let at = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        #[expect(clippy::cast_possible_truncation, reason = "no table has 4 GiB")]
        let entry = Entry {
            at: self.base.wrapping_add(at as u32),
            name: name as u32,
            length: length as u32,
            traits,
        };
        self.put = self.put.wrapping_add(1);
        self.live += 1;
        self.size += size;
        let place = self.place(0);
        self.entries[place] = entry;
    }

    /// Pushes the oldest out until no more than so much is left.
    fn shrink_to(&mut self, size: usize) {
        while self.size > size && self.live > 0 {
            let oldest = self.entries[self.place(self.live as usize - 1)];
            self.size -= oldest.length as usize - self.between + OVERHEAD;
            self.live -= 1;
        }
    }

    fn move_down(&mut self) {
        let Some(oldest) = (self.live as usize).checked_sub(1) else {
            self.bytes.clear();
            return;
        };
        let dead = self.entries[self.place(oldest)].at.wrapping_sub(self.base);
        if dead > 0 && dead as usize >= self.bytes.len() / 2 {
            self.bytes.drain(..dead as usize);
            self.base = self.base.wrapping_add(dead);
        }
    }

    /// Gives the ring room for twice as many.
    #[cold]
    fn widen(&mut self) {
        const NONE: Entry = Entry {
            at: 0,
            name: 0,
            length: 0,
            traits: Traits::NONE,
        };
        let mut wider = Vec::new();
        wider.resize((self.entries.len() * 2).max(8), NONE);
        let old = std::mem::replace(&mut self.entries, wider);
        for age in 0..self.live as usize {
            let number = (self.put as usize).wrapping_sub(age + 1);
            let place = self.place(age);
            self.entries[place] = old[number & (old.len() - 1)];
        }
    }
}
