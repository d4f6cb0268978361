//! Owns records of decisions: of an exchange that is drawn, or that somebody asks it for, whom each of its attempts could have gone to, why
//! it went where it did, and how it ended.
//!
//! Any other exchange looks three times at nothing. What is written down is its worker's alone until the exchange ends, and then stands on a
//! shelf: where somebody looks at that very moment it is lost, and counted. Read next: `wanted`, `under_way`. What is traced for others takes
//! the same way, without what picks found (`traced`), and waits until it is taken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::explain::{Candidate, Explanation};
use evenkeel_balance::pick::Refusal;
use evenkeel_config::limits::{DECISION_RECORDS, DECISION_RECORDS_BYTES};

use crate::observation::Count;
use crate::reason::Reason;
use crate::record::{Batch, Record};

/// Which exchanges are recorded, and at whose wish.
mod wanted;

/// What is written down of one while it goes.
mod under_way;

/// Which exchanges are spans of a trace, and those that wait to be told.
mod traced;

pub use traced::{Trace, TraceCounts};

pub(crate) use under_way::{Recorder, Recording};
pub use wanted::Scope;
pub(crate) use wanted::Wanted;

/// Decisions of one exchange that are written down: of more, the last are not.
const DECISIONS: usize = 16;

/// Backends of one decision that are written down: of more, the picked one and those around it.
pub(crate) const CANDIDATES: usize = 64;

/// Where those that were drawn stand.
const DRAWN: usize = 0;

/// Where those stand that were asked for.
const ASKED: usize = 1;

/// The words for both.
const KEPT: [&str; 2] = ["share", "header"];

/// Why an exchange is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// It was drawn.
    Drawn,
    /// Its client asked for that, with the token of this holder.
    Asked(Arc<str>),
}

impl Because {
    /// The word, that of the key which allows it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Drawn => KEPT[DRAWN],
            Self::Asked(_) => KEPT[ASKED],
        }
    }

    const fn place(&self) -> usize {
        match self {
            Self::Drawn => DRAWN,
            Self::Asked(_) => ASKED,
        }
    }
}

/// A decision: who was picked for an attempt, or why nobody.
#[derive(Debug)]
pub struct Decision {
    /// The service that was asked.
    pub service: Arc<str>,
    /// What its hash policy sticks to.
    pub key: Option<u64>,
    /// What keeps its clients: the word for it, and the name of its cookie. None: nothing does.
    pub affinity: Option<(&'static str, Option<Box<str>>)>,
    /// What a pick found, a moment before it was taken. None: it is traced only.
    pub explanation: Option<Explanation>,
    /// When that was, since the exchange began.
    pub after: Duration,
    /// How long it waited for a place then.
    pub waited: Duration,
    /// Who was picked. None: nobody had been when the client went away, or the instance ended.
    pub picked: Option<Result<BackendId, Refusal>>,
    /// Its attempt was made beside another one, which was slow.
    pub beside: bool,
    /// What bounds its attempt.
    pub timers: Timers,
    /// How its attempt ended. None: there was none.
    pub ended: Option<Ended>,
}

/// The longest that parts of an attempt may take.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Connecting.
    pub connect: Duration,
    /// Connecting and waiting for the response head.
    pub per_try: Duration,
    /// The same, by what is left to the exchange.
    pub exchange: Duration,
}

/// How an attempt ended, and how long its parts took.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// When, since the exchange began.
    pub after: Duration,
    /// Connecting. None: its connection was kept from before, or it had none.
    pub connect: Option<Duration>,
    /// From its connection to its response head. None: no head came.
    pub head: Option<Duration>,
    /// How.
    pub how: End,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered with this status.
    Answered(u16),
    /// For this reason without one, or within it.
    Failed(Reason),
    /// The attempt beside it was answered before.
    Outrun,
    /// Nobody waited for it any more.
    GivenUp,
}

impl End {
    /// The status that it was answered with.
    #[must_use]
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Answered(status) => Some(status),
            _ => None,
        }
    }

    /// Why it was not answered, or not whole.
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Answered(_) => None,
            Self::Failed(reason) => Some(reason.word()),
            Self::Outrun => Some("outrun"),
            Self::GivenUp => Some("given_up"),
        }
    }
}

/// An exchange that has ended, with its decisions.
#[derive(Debug)]
pub struct Recorded {
    number: u64,
    because: Option<Because>,
    trace: Option<Trace>,
    revision: Option<u64>,
    batch: Batch,
    decisions: Vec<Decision>,
    unwritten: u32,
}

impl Recorded {
    /// Its number, of its worker.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Why it is recorded. None: it is traced only.
    #[must_use]
    pub const fn because(&self) -> Option<&Because> {
        self.because.as_ref()
    }

    /// Its place in a trace.
    #[must_use]
    pub const fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// The number of the revision that it began under. None: it ended before that was numbered.
    #[must_use]
    pub const fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// What was seen of it.
    #[must_use]
    pub fn record(&self) -> Option<Record<'_>> {
        self.batch.records().next()
    }

    /// Its decisions, in their order.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// How many more there were.
    #[must_use]
    pub const fn unwritten(&self) -> u32 {
        self.unwritten
    }

    /// The memory that it takes, in bytes, with the identities of backends as often as they stand there: one that has left is kept by what
    /// names it alone.
    fn size(&self) -> usize {
        let id = |one: &Candidate| size_of::<Candidate>() + one.id.as_str().len();
        let of = |one: &Decision| {
            let found = one.explanation.as_ref();
            size_of::<Decision>()
                + found.map_or(0, |found| {
                    found.candidates.iter().map(id).sum::<usize>() + size_of_val(&*found.tiers)
                })
        };
        size_of::<Self>() + self.batch.size() + self.decisions.iter().map(of).sum::<usize>()
    }
}

/// Why there is no record of an exchange that was to have one.
#[derive(Clone, Copy, Debug)]
enum Missed {
    /// There were as many in this second as may be.
    Pace,
    /// As many as may be have begun and not ended.
    UnderWay,
    /// Somebody looked at the shelf when it ended.
    Busy,
    /// Its client showed a token that nobody has who may ask.
    Token,
}

/// The words for that, in the order of [`Missed`].
const MISSED: [&str; 4] = ["pace", "under_way", "busy", "token"];

/// How many records there are, and are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Those that were kept, by why.
    pub kept: Vec<(&'static str, u64)>,
    /// Of them, those that newer ones have taken the place of.
    pub overwritten: u64,
    /// Those that there are not, by why.
    pub missed: Vec<(&'static str, u64)>,
}

impl RecordCounts {
    /// Of all workers.
    #[must_use]
    pub fn of(shelves: &[Arc<Shelf>]) -> Self {
        let sum = |count: &dyn Fn(&Shelf) -> u64| shelves.iter().map(|one| count(one)).sum();
        let kept = KEPT.into_iter().enumerate();
        let missed = MISSED.into_iter().enumerate();
        Self {
            kept: kept
                .map(|(at, word)| (word, sum(&|one| one.kept[at].get())))
                .collect(),
            overwritten: sum(&|one| one.overwritten.get()),
            missed: missed
                .map(|(at, word)| (word, sum(&|one| one.missed[at].get())))
                .collect(),
        }
    }
}

/// The last records of one kind, from the oldest on, with the memory that they take.
#[derive(Debug, Default)]
struct Row {
    records: VecDeque<(Arc<Recorded>, usize)>,
    bytes: usize,
}

impl Row {
    /// Keeps one. Those that it takes the place of are the caller's, who need not drop them while others wait.
    fn put(&mut self, record: Arc<Recorded>) -> Vec<Arc<Recorded>> {
        let size = record.size();
        let mut gone = Vec::new();
        while self.records.len() >= DECISION_RECORDS || self.bytes + size > DECISION_RECORDS_BYTES {
            let Some((oldest, size)) = self.records.pop_front() else {
                break;
            };
            self.bytes -= size;
            gone.push(oldest);
        }
        self.bytes += size;
        self.records.push_back((record, size));
        gone
    }
}

/// One worker's records. Those that were drawn and those that were asked for have places of their own, so that neither has the other
/// forgotten.
#[derive(Debug, Default)]
pub struct Shelf {
    rows: Mutex<[Row; 2]>,
    next: AtomicU64,
    kept: [Count; 2],
    overwritten: Count,
    missed: [Count; MISSED.len()],
    traces: traced::Waiting,
}

impl Shelf {
    /// The number of a record that begins.
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn missed(&self, why: Missed) {
        self.missed[why as usize].add(1);
    }

    /// Keeps one, where it is wanted.
    fn put(&self, record: Recorded) {
        let record = Arc::new(record);
        if record.trace.is_some() {
            self.traces.put(record.clone());
        }
        if let Some(because) = &record.because {
            self.keep(because.place(), record.clone());
        }
    }

    /// Keeps one in this place, if nobody looks.
    fn keep(&self, place: usize, record: Arc<Recorded>) {
        let mut rows = match self.rows.try_lock() {
            Ok(rows) => rows,
            Err(TryLockError::Poisoned(rows)) => rows.into_inner(),
            Err(TryLockError::WouldBlock) => return self.missed(Missed::Busy),
        };
        let gone = rows[place].put(record);
        drop(rows);
        self.kept[place].add(1);
        self.overwritten.add(gone.len() as u64);
    }

    /// Those that are spans and nobody has taken yet.
    #[must_use]
    pub const fn traces(&self) -> &traced::Waiting {
        &self.traces
    }

    /// Those that are kept, from the oldest on. Their worker finds it locked for as long as two counts for each take.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Recorded>> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let all = rows.iter().flat_map(|row| &row.records);
        let mut all: Vec<_> = all.map(|(one, _)| one.clone()).collect();
        drop(rows);
        all.sort_by_key(|one| one.number);
        all
    }
}

#[cfg(test)]
mod tests;
