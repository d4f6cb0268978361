//! Owns what happened to the instance: events with numbers, in a ring that forgets the oldest, and who reads along.
//!
//! Whoever tells of one waits for nobody: a reader keeps a number and no queue, and one that the ring has overtaken is cut. Numbers go on
//! over restarts, so that a number of a process before is known for what it is. Read next: `what`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_balance::event::{Event, Listener};
use evenkeel_config::limits::{EVENT_READERS, EVENTS};
use evenkeel_proxy::clock::since_1970;
use tokio::sync::watch::{self, Receiver, Sender};

use crate::told::{Crowd, Says, is_of_many};

/// What there is to tell, with its words.
mod what;

pub use what::{Facts, KINDS, Level, What};

/// Events that are copied in one go: who tells of the next one waits so long, some microseconds.
const AT_ONCE: u64 = 256;

/// Events about single backends that mean no trouble, in a second.
const CROWD_MOST: u32 = 1_000;

/// Numbers of one millisecond. A process begins above all that one before it can have come to with a thousand events in each.
const OF_MILLISECOND: u64 = 1000;

/// Something that happened.
#[derive(Debug)]
pub struct Happened {
    /// Its number: one more than that of the one before.
    pub number: u64,
    /// When it was told, since 1970.
    pub at: Duration,
    what: What,
}

impl Happened {
    /// Which of [`KINDS`] it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.what.kind()
    }

    /// The service that it is about, if it is about one.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.what.service()
    }

    /// All of it.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.what.facts()
    }
}

/// Events that somebody asked for and that are forgotten, or were never known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Behind which number it was asked.
    pub after: u64,
    /// The first that is known.
    pub first: u64,
    /// How many there were between. None: the number is of another process.
    pub events: Option<u64>,
}

/// Some events.
#[derive(Debug)]
pub struct Page {
    /// In their order.
    pub rows: Vec<Arc<Happened>>,
    /// Behind which number to look on.
    pub next: u64,
    /// Some of those that were asked for are not known.
    pub missed: Option<Missed>,
}

/// What became of events and their readers, for whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCounts {
    /// Events so far.
    pub told: u64,
    /// Of them, those that are forgotten.
    pub forgotten: u64,
    /// Who reads along now.
    pub readers: usize,
    /// Who was turned away: as many read along as may.
    pub refused: u64,
    /// Who was cut: it was slower than the events.
    pub cut: u64,
}

/// As many read along as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyReaders;

#[derive(Clone, Copy, Debug, Default)]
struct State {
    last: u64,
    closed: bool,
}

struct Ring {
    rows: VecDeque<Arc<Happened>>,
    /// The first of this process.
    begin: u64,
    next: u64,
}

impl Ring {
    fn first(&self) -> u64 {
        self.next - self.rows.len() as u64
    }

    /// Why what is behind this number cannot be told whole.
    fn missed(&self, after: u64) -> Option<Missed> {
        let first = self.first();
        let known = (first..=self.next).contains(&after.saturating_add(1));
        (!known).then(|| Missed {
            after,
            first,
            // The number before the first is that of who has seen nothing.
            events: (self.begin..=first)
                .contains(&after.saturating_add(1))
                .then(|| first - after - 1),
        })
    }

    /// Those from one number to before another.
    fn copied(&self, from: u64, to: u64) -> Vec<Arc<Happened>> {
        let first = self.first();
        let place = |number: u64| {
            let place = number.clamp(first, self.next) - first;
            usize::try_from(place).unwrap_or(usize::MAX)
        };
        self.rows.range(place(from)..place(to)).cloned().collect()
    }
}

/// What happened to an instance.
pub struct Chronicle {
    ring: Mutex<Ring>,
    most: usize,
    state: Sender<State>,
    readers: AtomicUsize,
    refused: AtomicU64,
    cut: AtomicU64,
}

impl std::fmt::Debug for Chronicle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chronicle")
    }
}

impl Chronicle {
    /// One that begins so long after 1970 began.
    #[must_use]
    pub fn begin(at: Duration) -> Self {
        Self::of_most(at, EVENTS)
    }

    fn of_most(at: Duration, most: usize) -> Self {
        let milliseconds = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        // At least 1, so that there is a number before it.
        let begin = milliseconds.saturating_mul(OF_MILLISECOND).max(1);
        let ring = Ring {
            rows: VecDeque::new(),
            begin,
            next: begin,
        };
        Self {
            ring: Mutex::new(ring),
            most,
            state: watch::channel(State::default()).0,
            readers: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what happens now.
    pub fn write(&self, what: What) {
        self.write_at(since_1970(), what);
    }

    fn write_at(&self, at: Duration, what: What) {
        let mut row = Happened {
            number: 0,
            at,
            what,
        };
        let (number, forgotten) = {
            let mut ring = self.ring();
            row.number = ring.next;
            ring.next += 1;
            let full = ring.rows.len() >= self.most;
            let forgotten = full.then(|| ring.rows.pop_front()).flatten();
            ring.rows.push_back(Arc::new(row));
            (ring.next - 1, forgotten)
        };
        drop(forgotten);
        self.state
            .send_modify(|state| state.last = state.last.max(number));
    }

    /// Nothing more is told: who reads along comes to an end.
    pub(crate) fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    /// The first `most` of those behind a number that are wanted; behind none, the last of all. Cost: those that are looked at.
    #[must_use]
    pub fn page(
        &self,
        after: Option<u64>,
        most: usize,
        wanted: impl Fn(&Happened) -> bool,
    ) -> Page {
        match after {
            Some(after) => self.behind(after, most, wanted),
            None => self.last(most, wanted),
        }
    }

    fn behind(&self, after: u64, most: usize, wanted: impl Fn(&Happened) -> bool) -> Page {
        let missed = self.ring().missed(after);
        let mut next = missed.map_or(after, |missed| missed.first - 1);
        let mut rows = Vec::new();
        while rows.len() < most {
            let some = self.ring().copied(next + 1, next + 1 + AT_ONCE);
            let Some(last) = some.last().map(|row| row.number) else {
                break;
            };
            let left = most - rows.len();
            let before = rows.len();
            rows.extend(some.into_iter().filter(|row| wanted(row)).take(left));
            next = match rows.last() {
                // There may be more behind it that is wanted.
                Some(row) if rows.len() - before == left => row.number,
                _ => last,
            };
        }
        Page { rows, next, missed }
    }

    fn last(&self, most: usize, wanted: impl Fn(&Happened) -> bool) -> Page {
        let next = self.ring().next - 1;
        let (mut rows, mut to) = (Vec::new(), next + 1);
        while rows.len() < most {
            let some = self.ring().copied(to.saturating_sub(AT_ONCE), to);
            let Some(first) = some.first().map(|row| row.number) else {
                break;
            };
            to = first;
            let left = most - rows.len();
            let wanted = some.into_iter().rev().filter(|row| wanted(row));
            rows.extend(wanted.take(left));
        }
        rows.reverse();
        Page {
            rows,
            next,
            missed: None,
        }
    }

    /// Reads along from behind a number on; behind none, from now on.
    ///
    /// # Errors
    /// As many do as may.
    pub fn follow(self: &Arc<Self>, after: Option<u64>) -> Result<Reader, TooManyReaders> {
        let more = |readers: usize| (readers < EVENT_READERS).then_some(readers + 1);
        let entered = self
            .readers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if entered.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(TooManyReaders);
        }
        Ok(Reader {
            at: after.unwrap_or_else(|| self.ring().next - 1),
            begun: false,
            told: self.state.subscribe(),
            chronicle: self.clone(),
        })
    }

    /// How many there were, and who reads.
    #[must_use]
    pub fn counts(&self) -> EventCounts {
        let (told, forgotten) = {
            let ring = self.ring();
            (ring.next - ring.begin, ring.first() - ring.begin)
        };
        EventCounts {
            told,
            forgotten,
            readers: self.readers.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            cut: self.cut.load(Ordering::Relaxed),
        }
    }
}

/// One who reads along. It holds a number and nothing else.
#[derive(Debug)]
pub struct Reader {
    chronicle: Arc<Chronicle>,
    /// The last that it has read.
    at: u64,
    begun: bool,
    told: Receiver<State>,
}

/// What a reader finds.
#[derive(Debug)]
pub enum Next {
    /// These have happened.
    Rows(Vec<Arc<Happened>>),
    /// It asked for more than is known; what is known comes next.
    Missed(Missed),
    /// It was too slow: what it was to read next is forgotten. Nothing more comes.
    Overtaken,
    /// Another process tells what happens from now on.
    Closed,
}

impl Reader {
    /// Waits for what comes next.
    pub async fn next(&mut self) -> Next {
        loop {
            let closed = self.told.borrow_and_update().closed;
            let (missed, rows) = {
                let ring = self.chronicle.ring();
                let missed = ring.missed(self.at);
                (
                    missed,
                    ring.copied(
                        self.at.saturating_add(1),
                        self.at.saturating_add(1 + AT_ONCE),
                    ),
                )
            };
            let begun = std::mem::replace(&mut self.begun, true);
            match (missed, rows.last().map(|row| row.number)) {
                (Some(_), _) if begun => {
                    self.chronicle.cut.fetch_add(1, Ordering::Relaxed);
                    return Next::Overtaken;
                }
                (Some(missed), _) => {
                    self.at = missed.first - 1;
                    return Next::Missed(missed);
                }
                (None, Some(last)) => {
                    self.at = last;
                    return Next::Rows(rows);
                }
                (None, None) if closed => return Next::Closed,
                // It lives as long as the chronicle, which this has.
                (None, None) => _ = self.told.changed().await,
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.chronicle.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Writes the core's events down, and hands them on.
pub(crate) struct Heard {
    chronicle: Arc<Chronicle>,
    crowd: Mutex<Crowd>,
    then: Arc<dyn Listener>,
}

impl Heard {
    /// The chronicle for who reads it, and who writes down in it what `then` is told.
    pub(crate) fn begin(
        chronicle: Chronicle,
        then: Arc<dyn Listener>,
    ) -> (Arc<Chronicle>, Arc<dyn Listener>) {
        let chronicle = Arc::new(chronicle);
        let heard = Self {
            chronicle: chronicle.clone(),
            crowd: Mutex::default(),
            then,
        };
        (chronicle, Arc::new(heard))
    }

    /// A reload may change a hundred thousand backends, and is not to have all else forgotten.
    fn says(&self, event: &Event) -> Says {
        if !is_of_many(&event.kind) {
            return Says::It;
        }
        let mut crowd = self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
        crowd.says(event.at, CROWD_MOST)
    }
}

impl Listener for Heard {
    fn hear(&self, event: &Event) {
        if let Some(what) = What::of_core(event) {
            match self.says(event) {
                Says::It => self.chronicle.write(what),
                Says::More => self.chronicle.write(What::MoreHappened),
                Says::Nothing => {}
            }
        }
        self.then.hear(event);
    }

    fn wants_exchanges(&self) -> bool {
        self.then.wants_exchanges()
    }

    fn tick_wanted(&self) {
        self.then.tick_wanted();
    }
}

#[cfg(test)]
mod tests;
