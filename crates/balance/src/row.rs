//! Owns how many attempts at one backend failed in a row, in one word.
//!
//! Two counts: of attempts that failed before a good response head, which such a head ends, and of those that broke behind one, which only
//! an attempt that came to its end does. A head alone proves nothing of a body: who breaks each of them begins each of them well. And who
//! is reached again is told from who is not by the head, however long the bodies are. Read next: `pick`.

use crate::sync::{AtomicU32, Ordering};

/// Broken behind a head: the upper 16 bits. Before one: the lower.
#[derive(Debug, Default)]
pub(crate) struct Row(AtomicU32);

const BEFORE: u32 = 0xFFFF;
const BEHIND: u32 = 1 << 16;

impl Row {
    /// Both counts together.
    pub(crate) fn len(&self) -> u32 {
        len(self.0.load(Ordering::Relaxed))
    }

    /// One more. Says how many that makes; each count stays at 65,535.
    pub(crate) fn failed(&self, behind_head: bool) -> u32 {
        let more = |word: u32| match behind_head {
            true => word.checked_add(BEHIND).unwrap_or(word),
            false if word & BEFORE < BEFORE => word + 1,
            false => word,
        };
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(more(word))
            });
        before.map_or(0, |word| len(more(word)))
    }

    /// A good head came. Cost: one load, nearly always.
    #[inline]
    pub(crate) fn head(&self) {
        if self.0.load(Ordering::Relaxed) & BEFORE != 0 {
            self.0.fetch_and(!BEFORE, Ordering::Relaxed);
        }
    }

    /// An attempt ended well. Cost: one load, nearly always.
    #[inline]
    pub(crate) fn end(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.set(0);
        }
    }

    /// So many from here on, up to 65,535.
    pub(crate) fn set(&self, failures: u32) {
        self.0.store(failures.min(BEFORE), Ordering::Relaxed);
    }
}

fn len(word: u32) -> u32 {
    (word >> 16) + (word & BEFORE)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    /// As told, letter by letter: f, it fails before a head; b, behind one; h, a head; e, the end of one that went well.
    #[test]
    fn a_head_ends_what_failed_before_one_and_an_end_ends_all() {
        let check = |story: &str, expect: u32| {
            let row = Row::default();
            for letter in story.chars() {
                match letter {
                    'f' => assert!(row.failed(false) > 0),
                    'b' => assert!(row.failed(true) > 0),
                    'h' => row.head(),
                    _ => row.end(),
                }
            }
            assert_eq!(row.len(), expect, "{story}");
        };
        check("", 0);
        check("fff", 3);
        check("ffh", 0);
        check("hbhbhb", 3);
        check("hhhhbbbb", 4);
        check("hbf", 2);
        check("hbfh", 1);
        check("hbhe", 0);
        check("hbhbfffhe", 0);
        check("hhebhb", 2);
    }

    #[test]
    fn neither_count_goes_over() {
        let row = Row::default();
        row.set(u32::MAX);
        assert_eq!((row.failed(false), row.failed(true)), (65_535, 65_536));
        for _ in 0..70_000 {
            row.failed(true);
        }
        assert_eq!(row.len(), 131_070);
    }
}
