//! Owns what became of reports of load, and the counters of it.

use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel_wire::load::Unread;

use super::Count;

/// What a report can come to, by word; the last where there was none, as nobody answered.
const WORDS: [&str; 2 + Unread::ALL.len()] = [
    "read",
    Unread::ALL[0].word(),
    Unread::ALL[1].word(),
    Unread::ALL[2].word(),
    Unread::ALL[3].word(),
    Unread::ALL[4].word(),
    "unanswered",
];

/// The place of what could not be read.
fn place(why: Unread) -> usize {
    let at = Unread::ALL.iter().position(|one| *one == why);
    at.map_or(0, |at| at + 1)
}

/// What pages of load came to that one service's backends were asked for; the control plane's to write.
#[derive(Debug, Default)]
pub struct PollCounters([AtomicU64; WORDS.len()]);

impl PollCounters {
    /// Counts a page that was there.
    pub fn came(&self, unread: Option<Unread>) {
        self.add(unread.map_or(0, place));
    }

    /// Counts one that was not.
    pub fn unanswered(&self) {
        self.add(WORDS.len() - 1);
    }

    fn add(&self, at: usize) {
        if let Some(count) = self.0.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One worker's counters of the reports of one service's backends.
#[derive(Debug, Default)]
pub struct ReportCounters {
    came: [Count; 1 + Unread::ALL.len()],
}

impl ReportCounters {
    pub(crate) fn count(&self, unread: Option<Unread>) {
        if let Some(count) = self.came.get(unread.map_or(0, place)) {
            count.add(1);
        }
    }
}

/// Reports of all workers, and pages, by what became of them: `read`, or why not.
#[must_use]
pub fn reports<'c>(
    workers: impl Iterator<Item = &'c ReportCounters>,
    polls: &PollCounters,
) -> Vec<(&'static str, u64)> {
    let mut sums = polls
        .0
        .each_ref()
        .map(|count| count.load(Ordering::Relaxed));
    for one in workers {
        for (sum, count) in sums.iter_mut().zip(&one.came) {
            *sum += count.get();
        }
    }
    WORDS.into_iter().zip(sums).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_row_of_its_own() {
        let (one, other) = (ReportCounters::default(), ReportCounters::default());
        for (why, times) in Unread::ALL.into_iter().zip(2..) {
            for _ in 0..times {
                one.count(Some(why));
            }
            other.count(Some(why));
        }
        one.count(None);
        other.count(None);
        let polls = PollCounters::default();
        polls.came(None);
        polls.came(Some(Unread::Twice));
        polls.unanswered();
        let expect = [
            ("read", 3),
            ("long", 3),
            ("format", 4),
            ("syntax", 5),
            ("number", 6),
            ("twice", 8),
            ("unanswered", 1),
        ];
        assert_eq!(reports([&one, &other].into_iter(), &polls), expect);
    }
}
