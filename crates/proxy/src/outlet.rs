//! Owns the way from the workers to whoever writes down what they saw: bounded, and never waited for.
//!
//! What does not fit is dropped and counted. Batches come back and are filled again.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use evenkeel_config::Plan;

use crate::record::Batch;
use crate::tls::secured::Secured;
use crate::worker::Desk;

/// Batches that wait to be written, of all workers: some 8,000 records, 5 MiB.
const QUEUE: usize = 64;

/// Batches that wait from which on those that are not full are kept: a disk that stalls finds room for records, however few come in
/// each sweep.
const HALF: usize = QUEUE / 2;

/// What who writes is told.
#[derive(Debug)]
pub enum Told {
    /// To write these down, and to give the batch back.
    Rows(Batch),
    /// To look up what else there is to do.
    Look,
}

/// The workers' end, shared by all of them.
#[derive(Debug)]
pub struct Outlet {
    queue: SyncSender<Told>,
    /// Batches that were handed on and not given back yet.
    waiting: AtomicUsize,
    /// Given back, to be filled again. Asked once per batch, and not waited for.
    spare: Mutex<Vec<Batch>>,
    /// What workers held that ended while the queue was full: one batch each.
    left: Mutex<Vec<Batch>>,
    dropped: AtomicU64,
}

impl Outlet {
    /// Both ends.
    #[must_use]
    pub fn open() -> (Arc<Self>, Receiver<Told>) {
        let (queue, told) = sync_channel(QUEUE);
        let outlet = Self {
            queue,
            waiting: AtomicUsize::new(0),
            spare: Mutex::new(Vec::new()),
            left: Mutex::new(Vec::new()),
            dropped: AtomicU64::new(0),
        };
        (Arc::new(outlet), told)
    }

    /// Has who writes look up what there is to do. One that has much to write looks anyway.
    pub fn wake(&self) {
        let _ = self.queue.try_send(Told::Look);
    }

    /// Gives a batch back that is written.
    pub fn give_back(&self, batch: Batch) {
        // One of a worker that has ended was never handed on.
        let fewer = |waiting: usize| Some(waiting.saturating_sub(1));
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        self.keep(batch);
    }

    fn keep(&self, mut batch: Batch) {
        batch.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < QUEUE {
            spare.push(batch);
        }
    }

    /// What workers held that have ended.
    #[must_use]
    pub fn take_left(&self) -> Vec<Batch> {
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts records that nobody will write.
    pub fn drop_rows(&self, rows: usize) {
        self.dropped.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Hands a batch on and leaves an empty one in its place. False: there was no room, and it stays.
    fn hand_on(&self, batch: &mut Batch) -> bool {
        let empty = match self.spare.try_lock() {
            Ok(mut spare) => spare.pop(),
            Err(TryLockError::Poisoned(spare)) => spare.into_inner().pop(),
            Err(TryLockError::WouldBlock) => None,
        };
        let full = std::mem::replace(batch, empty.unwrap_or_default());
        self.waiting.fetch_add(1, Ordering::Relaxed);
        match self.queue.try_send(Told::Rows(full)) {
            Ok(()) => true,
            Err(TrySendError::Full(told) | TrySendError::Disconnected(told)) => {
                if let Told::Rows(full) = told {
                    self.give_back(std::mem::replace(batch, full));
                }
                false
            }
        }
    }
}

/// A worker's own hand: what it has written down and not handed on yet.
#[derive(Debug, Default)]
pub(crate) struct Scribe {
    outlet: Option<Arc<Outlet>>,
    batch: Batch,
}

impl Scribe {
    /// Writes for this one from now on. None: not at all.
    pub(crate) fn follow(&mut self, outlet: Option<&Arc<Outlet>>) {
        let same = match (&self.outlet, outlet) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if !same {
            self.leave();
            self.outlet = outlet.cloned();
        }
    }

    pub(crate) const fn is_wanted(&self) -> bool {
        self.outlet.is_some()
    }

    /// Takes the record of an exchange that has ended, or counts it as dropped.
    pub(crate) fn write(
        &mut self,
        plan: &Plan,
        desk: &Desk,
        secured: Option<&Secured>,
        ended: Duration,
    ) {
        self.take(|batch| batch.push(plan, desk, secured, ended));
    }

    /// The same with a record that was begun before.
    pub(crate) fn write_note(&mut self, note: &Batch, ended: Duration) {
        self.take(|batch| batch.append(note, ended));
    }

    fn take(&mut self, push: impl FnOnce(&mut Batch)) {
        let Some(outlet) = &self.outlet else { return };
        if self.batch.is_full() && !outlet.hand_on(&mut self.batch) {
            outlet.drop_rows(1);
            return;
        }
        push(&mut self.batch);
        if self.batch.is_full() {
            outlet.hand_on(&mut self.batch);
        }
    }

    /// Hands on what there is; what finds no room, or comes where much waits already, waits for the next time.
    pub(crate) fn hand_on(&mut self) {
        let is_slow = |outlet: &Outlet| outlet.waiting.load(Ordering::Relaxed) >= HALF;
        if let Some(outlet) = &self.outlet
            && !self.batch.is_empty()
            && (self.batch.is_full() || !is_slow(outlet))
        {
            outlet.hand_on(&mut self.batch);
        }
    }

    /// Hands on what there is, for the last time.
    fn leave(&mut self) {
        if let Some(outlet) = &self.outlet
            && !self.batch.is_empty()
            && !outlet.hand_on(&mut self.batch)
        {
            let mut left = outlet.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.push(std::mem::take(&mut self.batch));
            drop(left);
            outlet.wake();
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use evenkeel_config::{Source, load};

    use super::*;

    /// While nobody writes, a record for each sweep takes no more room than many at once.
    #[test]
    fn a_few_at_a_time_fill_it_no_sooner() {
        let text = "listeners: { web: { bind: \"127.0.0.1:0\" } }\nrules: [{ respond: {} }]\n";
        let source = Source {
            name: "f.yaml".into(),
            text: text.into(),
        };
        let plan = load(&[source], &BTreeMap::new()).plan.unwrap();
        let note = Batch::of_one(&plan, &Desk::default(), None);
        for of_sweep in [1, 7, 1000] {
            let (outlet, told) = Outlet::open();
            let mut scribe = Scribe::default();
            scribe.follow(Some(&outlet));
            let most = 4096;
            for at in 0..most {
                scribe.write_note(&note, Duration::ZERO);
                if at % of_sweep == 0 {
                    scribe.hand_on();
                }
            }
            assert_eq!(outlet.dropped(), 0, "{of_sweep}");
            drop(scribe);
            let mut kept = 0;
            let mut take = |batch: Batch| {
                kept += batch.records().count();
                outlet.give_back(batch);
            };
            while let Ok(Told::Rows(batch)) = told.try_recv() {
                take(batch);
            }
            outlet.take_left().into_iter().for_each(&mut take);
            assert_eq!(kept, most, "{of_sweep}");
            assert_eq!(outlet.waiting.load(Ordering::Relaxed), 0, "{of_sweep}");
        }
    }
}
