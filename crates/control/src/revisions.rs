//! Owns the revisions of an instance: which configuration it ran by since when, who wanted that, and what it changed. A book of so many, and of
//! so many bytes; the oldest are forgotten.
//!
//! Kept is what a revision was made of, texts and wishes, never a plan: of ten thousand backends a hundred plans would be half a gigabyte.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_config::Source;
use evenkeel_config::limits::{REVISIONS, REVISIONS_BYTES};
use evenkeel_proxy::clock::since_1970;

use crate::changes::Changes;
use crate::overlay::Wanted;
use crate::snapshot::{Paged, Span};

/// Changes of a revision that are told in words.
const TOLD: usize = 50;

/// A revision's number, and the process that counts: numbers begin anew at each start, and one of another process is no number of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// From 1.
    pub number: u64,
    /// The process, by chance.
    pub line: u32,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.number, self.line)
    }
}

impl FromStr for Tag {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, line) = text.split_once('-').ok_or(())?;
        Ok(Self {
            number: number.parse().map_err(|_| ())?,
            line: u32::from_str_radix(line, 16).map_err(|_| ())?,
        })
    }
}

/// A revision.
#[derive(Clone, Debug)]
pub struct Revision {
    /// From 1.
    pub number: u64,
    /// Since 1970.
    pub at: Duration,
    /// Who wanted it: `start`, `reload`, `files`, or whoever asked through the API.
    pub by: Arc<str>,
    /// What changed, in words; the first [`TOLD`].
    pub what: Arc<[String]>,
    /// How much more.
    pub more: usize,
    /// What it was made of.
    pub(crate) made_of: MadeOf,
}

/// What a revision is made of.
#[derive(Clone, Debug)]
pub(crate) struct MadeOf {
    /// The configuration's texts.
    pub(crate) texts: Arc<[Source]>,
    /// What operators want beside them.
    pub(crate) wanted: Arc<Wanted>,
}

impl MadeOf {
    /// About; texts are counted where they are others than before.
    fn bytes(&self, before: Option<&Self>) -> usize {
        let same = before.is_some_and(|before| Arc::ptr_eq(&before.texts, &self.texts));
        let texts: usize = self.texts.iter().map(|one| one.text.len()).sum();
        let wanted = self.wanted.backends() * 128 + self.wanted.edits.bytes();
        wanted + if same { 0 } else { texts }
    }
}

/// What is told of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The first [`TOLD`].
    pub what: Vec<String>,
    /// How much more.
    pub more: usize,
}

impl From<&Changes> for Words {
    fn from(changes: &Changes) -> Self {
        let told = changes.all.iter().take(TOLD);
        let what: Vec<_> = told.map(crate::changes::Change::words).collect();
        let more = changes.all.len() - what.len();
        Self { what, more }
    }
}

impl From<String> for Words {
    fn from(word: String) -> Self {
        Self {
            what: vec![word],
            more: 0,
        }
    }
}

/// All that are remembered.
#[derive(Debug)]
pub(crate) struct Book {
    line: u32,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    all: VecDeque<(Arc<Revision>, usize)>,
    bytes: usize,
    last: u64,
}

impl Book {
    pub(crate) fn new(line: u32) -> Self {
        Self {
            line,
            pages: Mutex::default(),
        }
    }

    fn pages<T>(&self, look: impl FnOnce(&mut Pages) -> T) -> T {
        look(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes one down.
    pub(crate) fn note(&self, by: &Arc<str>, words: Words, made_of: MadeOf) -> Tag {
        self.note_within((REVISIONS, REVISIONS_BYTES), by, words, made_of)
    }

    fn note_within(
        &self,
        (most, most_bytes): (usize, usize),
        by: &Arc<str>,
        words: Words,
        made_of: MadeOf,
    ) -> Tag {
        self.pages(|pages| {
            pages.last += 1;
            let before = pages.all.back().map(|(one, _)| &one.made_of);
            let bytes = made_of.bytes(before);
            let revision = Revision {
                number: pages.last,
                at: since_1970(),
                by: by.clone(),
                what: words.what.into(),
                more: words.more,
                made_of,
            };
            pages.bytes += bytes;
            pages.all.push_back((Arc::new(revision), bytes));
            // The last one stays: it is what runs.
            while pages.all.len() > 1 && (pages.all.len() > most || pages.bytes > most_bytes) {
                if let Some((_, bytes)) = pages.all.pop_front() {
                    pages.bytes -= bytes;
                }
            }
        });
        self.current()
    }

    /// The only one has been made of this.
    pub(crate) fn begin(&self, made_of: MadeOf) {
        self.pages(|pages| {
            if let (Some((one, bytes)), 1) = (pages.all.back_mut(), pages.last) {
                *bytes = made_of.bytes(None);
                pages.bytes = *bytes;
                let begun = (**one).clone();
                *one = Arc::new(Revision { made_of, ..begun });
            }
        });
    }

    pub(crate) fn current(&self) -> Tag {
        self.tag(self.pages(|pages| pages.last))
    }

    /// The one of this number.
    pub(crate) const fn tag(&self, number: u64) -> Tag {
        Tag {
            number,
            line: self.line,
        }
    }

    /// One that is remembered.
    pub(crate) fn find(&self, number: u64) -> Option<Arc<Revision>> {
        self.pages(|pages| {
            let found = pages.all.iter().find(|(one, _)| one.number == number);
            found.map(|(one, _)| one.clone())
        })
    }

    /// The newest first; `after` is a number. None: none of this number is remembered.
    pub(crate) fn list(&self, span: &Span) -> Option<Paged<Arc<Revision>>> {
        let all: Vec<_> =
            self.pages(|pages| pages.all.iter().rev().map(|(one, _)| one.clone()).collect());
        let from = match &span.after {
            None => 0,
            Some(after) => {
                let number = after.parse::<u64>().ok()?;
                all.iter().position(|one| one.number == number)? + 1
            }
        };
        let rest: &[Arc<Revision>] = &all[from..];
        let items = rest[..rest.len().min(span.limit)].to_vec();
        let last = items.last().filter(|_| items.len() < rest.len());
        Some(Paged {
            next: last.map(|one| one.number.to_string()),
            total: all.len(),
            items,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(book: &Book, limits: (usize, usize), texts: &Arc<[Source]>) -> u64 {
        let made_of = MadeOf {
            texts: texts.clone(),
            wanted: Arc::default(),
        };
        let tag = book.note_within(limits, &"api".into(), Words::default(), made_of);
        tag.number
    }

    fn texts(bytes: usize) -> Arc<[Source]> {
        let source = Source {
            name: "f.yaml".into(),
            text: "x".repeat(bytes),
        };
        [source].into()
    }

    fn known(book: &Book) -> Vec<u64> {
        let span = Span {
            after: None,
            limit: 1000,
        };
        let all = book.list(&span).unwrap();
        all.items.iter().map(|one| one.number).collect()
    }

    #[test]
    fn the_oldest_are_forgotten_by_number_and_by_size() {
        let book = Book::new(7);
        let same = texts(100);
        for _ in 0..5 {
            note(&book, (3, 1000), &same);
        }
        assert_eq!(known(&book), [5, 4, 3]);
        assert!(book.find(2).is_none());
        // Other texts are counted, and what runs stays however large it is.
        note(&book, (9, 1000), &texts(600));
        note(&book, (9, 1000), &texts(500));
        assert_eq!(known(&book), [7]);
        note(&book, (9, 1000), &texts(5000));
        assert_eq!(known(&book), [8]);
        assert_eq!(book.current().to_string(), "8-00000007");
        assert_eq!("8-00000007".parse(), Ok(book.current()));
        for wrong in ["8", "8-", "-7", "8-x", "a-7"] {
            assert_eq!(wrong.parse::<Tag>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_list_begins_with_the_newest() {
        let book = Book::new(0);
        for _ in 0..5 {
            note(&book, (9, 1000), &texts(1));
        }
        let page = |after: Option<&str>, limit| {
            let span = Span {
                after: after.map(str::to_owned),
                limit,
            };
            let paged = book.list(&span)?;
            let numbers: Vec<_> = paged.items.iter().map(|one| one.number).collect();
            Some((numbers, paged.next))
        };
        assert_eq!(page(None, 2), Some((vec![5, 4], Some("4".into()))));
        assert_eq!(page(Some("4"), 3), Some((vec![3, 2, 1], None)));
        assert_eq!(page(Some("9"), 3), None);
        assert_eq!(page(Some("x"), 3), None);
    }
}
