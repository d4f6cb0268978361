//! Owns the keys of one map as a reader asks for them: each known to the table, each read once, the rest refused.

use std::cell::RefCell;

use super::{Reading, Scalar};
use crate::keys::{Keys, Shape, later};
use crate::nearest::nearest;
use crate::problem::{At, clipped};
use crate::tree::{Key, Node};

/// The keys of one map. Which there are, the table says.
pub(crate) struct Fields<'t> {
    pub(crate) reading: &'t Reading,
    pub(crate) at: At,
    pub(super) keys: &'static Keys,
    pub(super) entries: &'t [(Key, Node)],
    pub(super) asked: RefCell<Vec<&'static str>>,
}

impl<'t> Fields<'t> {
    /// The value of a key, if it stands there.
    pub(crate) fn get(&self, key: &'static str) -> Option<&'t Node> {
        self.entry(key).map(|(_, node)| node)
    }

    pub(crate) fn entry(&self, key: &'static str) -> Option<(&'t Key, &'t Node)> {
        // A reader's key that the table lacks is never found, so that the schema leaves out nothing that is read.
        let known = self.keys.key(key);
        debug_assert!(known.is_some(), "`{key}` is not in the table of keys");
        self.asked.borrow_mut().push(key);
        known.and_then(|_| self.stands(key))
    }

    /// What stands at a key, known or not.
    pub(crate) fn stands(&self, key: &str) -> Option<(&'t Key, &'t Node)> {
        let found = self.entries.iter().find(|(entry, _)| entry.text == key);
        found.map(|(key, node)| (key, node))
    }

    /// The value of a key as a text.
    pub(crate) fn text(&self, key: &'static str) -> Option<Scalar> {
        self.reading.text(self.get(key)?)
    }

    /// A value that a reader understands.
    pub(crate) fn with<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Reading, &Node) -> Option<T>,
    ) -> Option<T> {
        read(self.reading, self.get(key)?)
    }

    /// Puts a value in its place, if it stands there.
    pub(crate) fn set<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Reading, &Node) -> Option<T>,
        place: &mut T,
    ) {
        if let Some(value) = self.with(key, read) {
            *place = value;
        }
    }

    /// The map that stands at a key.
    pub(crate) fn map(&self, key: &'static str, keys: &'static Keys) -> Option<Fields<'t>> {
        self.reading.map(self.get(key)?, keys)
    }

    /// A whole number in the range that the table has.
    pub(crate) fn number<T: TryFrom<u64>>(&self, key: &'static str) -> Option<T> {
        let node = self.get(key)?;
        let (least, most) = match self.keys.key(key)?.shape {
            Shape::Number(least, most) | Shape::NumberOr(_, least, most) => (least, most),
            _ => return None,
        };
        T::try_from(self.reading.number(node, least, most)?).ok()
    }

    /// Puts a whole number in its place, if it stands there.
    pub(crate) fn set_number<T: TryFrom<u64>>(&self, key: &'static str, place: &mut T) {
        if let Some(number) = self.number(key) {
            *place = number;
        }
    }

    /// One of the words that the table has.
    pub(crate) fn word(&self, key: &'static str) -> Option<&'static str> {
        self.word_or(key, "value")
    }

    /// The same, where another word says what is wrong.
    pub(crate) fn word_or(&self, key: &'static str, case: &'static str) -> Option<&'static str> {
        let node = self.get(key)?;
        let words = match self.keys.key(key)?.shape {
            Shape::Words(words) | Shape::WordOr(words, ..) => words,
            _ => return None,
        };
        self.reading.word(node, case, words)
    }

    /// Whether the table has every key that stands there.
    pub(crate) fn all_known(&self) -> bool {
        let mut keys = self.entries.iter().map(|(key, _)| &key.text);
        keys.all(|key| self.keys.key(key).is_some())
    }

    /// Notes every key that the table has not, with the nearest that it has, and keys whose feature comes later.
    pub(crate) fn done(self) {
        debug_assert!(
            self.keys
                .keys
                .iter()
                .all(|key| self.asked.borrow().contains(&key.name)),
            "a key of `{}` is in the table and not read",
            self.keys.place
        );
        let later = later::at(self.keys.place);
        for (key, _) in self.entries {
            if self.keys.key(&key.text).is_some() {
                continue;
            }
            if later.contains(&key.text.as_str()) {
                let message = format!("`{}` is not built yet; leave it out", key.text);
                self.reading.error(key.at, "not_yet", message);
                continue;
            }
            if self.reading.is_full() {
                self.reading.error(key.at, "unknown_key", "");
                continue;
            }
            let known = self.keys.keys.iter().map(|key| key.name);
            let known: Vec<_> = known.chain(later.iter().copied()).collect();
            let nearest = nearest(known.iter().copied(), &key.text);
            let hint = match nearest {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.reading.error(
                key.at,
                "unknown_key",
                format!("`{}` is not a key here; {hint}", clipped(&key.text)),
            );
        }
    }
}
