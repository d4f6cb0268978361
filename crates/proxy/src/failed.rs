//! Owns what is remembered of exchanges that failed: the last of each worker, with what became of their attempts.
//!
//! Only an exchange that has failed comes here. Its worker waits for nobody: where somebody looks at that very moment, the exchange is not
//! remembered, and counted. A place on the shelf is used again with the memory that it has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use evenkeel_config::limits::FAILED_REQUESTS;
use evenkeel_wire::grpc::Status;

use crate::observation::Observation;
use crate::reason::{Blame, Reason};
use crate::record::{Batch, Record};

/// Attempts of one exchange that are remembered: the last of more are not.
const TRIES: usize = 16;

/// Bytes of the identity of one backend, as of a record.
const ID_BYTES: usize = 256;

impl Observation {
    /// Whether it went wrong for its client by the fault of somebody else.
    pub(crate) const fn has_failed(&self) -> bool {
        if let (Reason::Served, ..500, None | Some(Status::Ok)) =
            (self.reason, self.status, self.grpc)
        {
            return false;
        }
        self.is_bad()
    }

    #[cold]
    const fn is_bad(&self) -> bool {
        let call = matches!(
            self.grpc,
            Some(Status::Unknown | Status::Internal | Status::Unavailable | Status::DataLoss)
        );
        let reason = self.reason.status() >= 500
            || matches!(self.reason.blame(), Blame::Backend | Blame::Machine)
            || matches!(self.reason, Reason::Drained);
        self.status >= 500 || reason || call
    }
}

/// What became of the attempts of one exchange.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    rows: Vec<Step>,
    ids: Vec<u8>,
    /// The attempt that was begun last has ended, and is among them.
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    /// Where the backend's identity ends.
    end: usize,
    outcome: TryOutcome,
    after: Duration,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryOutcome {
    /// It was answered with this status.
    Answered(u16),
    /// There was no answer.
    Failed(Reason),
}

/// An attempt of an exchange that failed.
#[derive(Clone, Copy, Debug)]
pub struct OneTry<'a> {
    /// The backend's identity.
    pub backend: &'a [u8],
    /// How it ended.
    pub outcome: TryOutcome,
    /// How long after the exchange's begin that was.
    pub after: Duration,
}

impl Trail {
    /// Nothing was tried.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.ids.clear();
        self.ended = false;
    }

    /// Another attempt begins.
    pub(crate) const fn begin(&mut self) {
        self.ended = false;
    }

    /// The attempt that was begun last ended, on this backend.
    #[cold]
    pub(crate) fn put(&mut self, backend: &[u8], outcome: TryOutcome, after: Duration) {
        self.ended = true;
        self.put_beside(backend, outcome, after);
    }

    /// Another than that ended: one that was made beside it.
    #[cold]
    pub(crate) fn put_beside(&mut self, backend: &[u8], outcome: TryOutcome, after: Duration) {
        if self.rows.len() < TRIES {
            self.ids
                .extend_from_slice(backend.get(..ID_BYTES).unwrap_or(backend));
            let end = self.ids.len();
            self.rows.push(Step {
                end,
                outcome,
                after,
            });
        }
    }

    /// The same as another, whose last attempt is what the exchange ended with.
    fn copy(&mut self, other: &Self, seen: &Observation, backend: &[u8]) {
        self.rows.clone_from(&other.rows);
        self.ids.clone_from(&other.ids);
        self.ended = other.ended;
        if !self.ended && seen.attempts > 0 {
            let outcome = match seen.reason {
                Reason::Served => TryOutcome::Answered(seen.status),
                reason => TryOutcome::Failed(reason),
            };
            self.put(backend, outcome, seen.total);
        }
    }

    /// The attempts, in their order.
    pub fn tries(&self) -> impl Iterator<Item = OneTry<'_>> {
        let begins = std::iter::once(0).chain(self.rows.iter().map(|row| row.end));
        self.rows.iter().zip(begins).map(|(row, begin)| OneTry {
            backend: self.ids.get(begin..row.end).unwrap_or_default(),
            outcome: row.outcome,
            after: row.after,
        })
    }
}

/// An exchange that failed.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    number: u64,
    batch: Batch,
    trail: Trail,
}

impl Failure {
    /// Its number, of its worker.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// What was seen of it.
    #[must_use]
    pub fn record(&self) -> Option<Record<'_>> {
        self.batch.records().next()
    }

    /// What became of its attempts.
    #[must_use]
    pub const fn trail(&self) -> &Trail {
        &self.trail
    }
}

#[derive(Debug, Default)]
struct Rows {
    /// Each at its number, modulo how many there may be.
    slots: Vec<Failure>,
    next: u64,
}

/// What one worker remembers.
#[derive(Debug, Default)]
pub struct Shelf {
    rows: Mutex<Rows>,
    missed: AtomicU64,
}

impl Shelf {
    /// Remembers one, if nobody looks.
    pub(crate) fn put(
        &self,
        (trail, seen, backend): (&Trail, &Observation, &[u8]),
        push: impl FnOnce(&mut Batch),
    ) {
        let mut rows = match self.rows.try_lock() {
            Ok(rows) => rows,
            Err(TryLockError::Poisoned(rows)) => rows.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.missed.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let Rows { slots, next } = &mut *rows;
        if slots.len() < FAILED_REQUESTS {
            slots.push(Failure::default());
        }
        let most = FAILED_REQUESTS as u64;
        if let Some(slot) = slots.get_mut(usize::try_from(*next % most).unwrap_or_default()) {
            slot.number = *next;
            slot.batch.clear();
            push(&mut slot.batch);
            slot.trail.copy(trail, seen, backend);
        }
        *next += 1;
    }

    /// Those that are remembered, from the oldest on. Copied one by one, so that the worker finds it locked for less than a microsecond.
    #[must_use]
    pub fn all(&self) -> Vec<Failure> {
        let lock = || self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let places = lock().slots.len();
        let one = |at: usize| lock().slots.get(at).cloned();
        let mut all: Vec<_> = (0..places).filter_map(one).collect();
        all.sort_by_key(Failure::number);
        all
    }

    /// How many there were, and how many of them are not remembered as somebody looked.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = self.missed.load(Ordering::Relaxed);
        (rows.next + missed, missed)
    }
}

/// The shelves of all workers, by their numbers: a worker that takes the place of one that died goes on with its shelf.
#[derive(Debug, Default)]
pub struct Shelves<S = Shelf>(Mutex<Vec<Arc<S>>>);

impl<S: Default> Shelves<S> {
    pub(crate) fn of(&self, worker: usize) -> Arc<S> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while all.len() <= worker {
            all.push(Arc::default());
        }
        all[worker].clone()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<S>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use evenkeel_balance::pick::Refusal;

    use super::*;

    fn seen(reason: Reason, status: u16) -> Observation {
        Observation {
            reason,
            status,
            ..Observation::begin(Ipv4Addr::LOCALHOST.into())
        }
    }

    #[test]
    fn what_went_wrong_for_a_client_by_the_fault_of_another_has_failed() {
        for (reason, status, grpc, expect) in [
            (Reason::Served, 200, None, false),
            (Reason::Served, 404, None, false),
            (Reason::Served, 500, None, true),
            (Reason::Served, 200, Some(Status::Ok), false),
            (Reason::Served, 200, Some(Status::NotFound), false),
            (Reason::Served, 200, Some(Status::Internal), true),
            (Reason::Rule, 200, None, false),
            (Reason::NoRule, 404, None, false),
            (Reason::RateLimited, 429, None, false),
            (Reason::Denied, 403, None, false),
            (Reason::ClientGone, 0, None, false),
            (Reason::ClientLeft, 200, None, false),
            (Reason::BodyBroken, 200, None, true),
            (Reason::BackendTimeout, 504, None, true),
            (
                Reason::BackendTimeout,
                200,
                Some(Status::DeadlineExceeded),
                true,
            ),
            (Reason::Refused(Refusal::AllDown), 503, None, true),
            (Reason::Refused(Refusal::QueueFull), 503, None, true),
            (Reason::LocalResources, 503, None, true),
            (Reason::Drained, 0, None, true),
        ] {
            let seen = Observation {
                grpc,
                ..seen(reason, status)
            };
            assert_eq!(seen.has_failed(), expect, "{reason:?} {status} {grpc:?}");
        }
    }

    fn put(shelf: &Shelf, trail: &Trail, status: u16, attempts: u32) {
        let seen = Observation {
            attempts,
            ..seen(Reason::Served, status)
        };
        shelf.put((trail, &seen, b"last"), |batch| {
            batch.take(seen, None, Duration::ZERO, |_| None);
        });
    }

    #[test]
    fn the_last_are_remembered_and_where_somebody_looks_none() {
        let shelf = Shelf::default();
        let most = FAILED_REQUESTS as u64;
        for number in 0..most + 3 {
            let status = u16::try_from(number).unwrap();
            put(&shelf, &Trail::default(), status, 0);
        }
        let all = shelf.all();
        let numbers: Vec<_> = all.iter().map(Failure::number).collect();
        assert_eq!(numbers, (3..most + 3).collect::<Vec<_>>());
        for one in &all {
            let status = one.record().unwrap().seen().status;
            assert_eq!(u64::from(status), one.number());
        }
        assert_eq!(shelf.counts(), (most + 3, 0));
        let looks = shelf.rows.lock().unwrap();
        put(&shelf, &Trail::default(), 500, 0);
        drop(looks);
        assert_eq!(shelf.all().last().unwrap().number(), most + 2);
        assert_eq!(shelf.counts(), (most + 4, 1));
    }

    #[test]
    fn each_attempt_stands_once_with_how_it_ended() {
        let shelf = Shelf::default();
        let mut trail = Trail::default();
        let reset = TryOutcome::Failed(Reason::BackendReset);
        trail.put(b"one", reset, Duration::from_millis(1));
        trail.put(b"two", TryOutcome::Answered(502), Duration::from_millis(2));
        // The last one stands there already, also where another was begun beside it and given up; or it is what the client was answered with.
        put(&shelf, &trail, 503, 3);
        trail.begin();
        put(&shelf, &trail, 503, 3);
        let all = shelf.all();
        let told = |at: usize| -> Vec<_> {
            let tries = all[at].trail().tries();
            tries
                .map(|one| (one.backend.to_vec(), one.outcome))
                .collect()
        };
        let two = [
            (b"one".to_vec(), reset),
            (b"two".to_vec(), TryOutcome::Answered(502)),
        ];
        let last = (b"last".to_vec(), TryOutcome::Answered(503));
        assert_eq!(told(0), two);
        assert_eq!(told(1), [&two[..], &[last]].concat());
        // Of many, the first.
        for _ in 0..40 {
            trail.put(b"x", reset, Duration::ZERO);
        }
        put(&shelf, &trail, 503, 42);
        assert_eq!(shelf.all()[2].trail().tries().count(), TRIES);
    }
}
