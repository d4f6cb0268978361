//! Owns how the connections of one address are spread over workers: who takes one gives it to the worker that has the fewest.
//!
//! The kernel chooses a socket by a hash of the client's address. Of four connections over four workers that leaves a worker idle
//! nine times out of ten, and a connection stays where it is for as long as it lives. See `docs/decisions/0022-spread-connections.md`.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_config::limits;
use tokio::sync::Notify;

use super::ear::Taken;

/// The workers of one address: what each has of its connections, and those on their way to it.
#[derive(Debug)]
pub struct Spread(Box<[Row]>);

/// One worker's; on lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row {
    /// Its connections, those on their way among them.
    open: AtomicUsize,
    /// Its sockets of this address. None: it is given nothing. Written under the lock.
    ears: AtomicUsize,
    coming: Mutex<VecDeque<Taken>>,
    told: Notify,
}

impl Row {
    fn coming(&self) -> MutexGuard<'_, VecDeque<Taken>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spread {
    /// Over so many workers.
    #[must_use]
    pub fn over(workers: usize) -> Arc<Self> {
        Arc::new(Self((0..workers).map(|_| Row::default()).collect()))
    }

    /// Connections that each worker has, those on their way to it among them.
    #[must_use]
    pub fn connections(&self) -> Vec<usize> {
        let open = self.0.iter().map(|row| row.open.load(Ordering::Relaxed));
        open.collect()
    }

    /// Workers that listen.
    #[must_use]
    pub fn hearing(&self) -> usize {
        let hears = |row: &&Row| row.ears.load(Ordering::Relaxed) > 0;
        self.0.iter().filter(hears).count()
    }

    /// Charges a connection that worker `own` has taken to who is to have it: to `own`, unless that had more already than the one with
    /// the fewest, and more by over an eighth of those. Where all only come and nobody goes, no worker has more than another by
    /// over one and an eighth. Cost: a load per worker.
    fn charge(&self, own: usize) -> usize {
        loop {
            let Some(mine) = self.0.get(own).map(|row| row.open.load(Ordering::Relaxed)) else {
                return own;
            };
            // From the next one on, so that workers that have as few take turns.
            let others = (1..self.0.len()).map(|step| (own + step) % self.0.len());
            let hears = |at: &usize| self.0[*at].ears.load(Ordering::Relaxed) > 0;
            let open = |at: usize| (self.0[at].open.load(Ordering::Relaxed), at);
            let fewest = others.filter(hears).map(open).min_by_key(|(open, _)| *open);
            let (open, to) = match fewest {
                Some((open, at)) if mine > open + open / SLACK => (open, at),
                _ => (mine, own),
            };
            // Another worker may have chosen the same one meanwhile.
            let charged = self.0[to].open.compare_exchange_weak(
                open,
                open + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if charged.is_ok() {
                return to;
            }
        }
    }
}

/// The share of its connections by which a worker may be ahead of another before it gives one away: what comes and goes by the hundred is
/// spread well enough by chance, and giving costs the price of waking a thread.
const SLACK: usize = 8;

/// One worker of an address.
#[derive(Debug)]
struct Own {
    spread: Arc<Spread>,
    worker: usize,
}

impl Own {
    fn row(&self) -> Option<&Row> {
        self.spread.0.get(self.worker)
    }
}

/// One connection of a worker, from when it was charged.
#[derive(Debug)]
pub(super) struct Charge(Rc<Own>);

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(row) = self.0.row() {
            row.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One socket of one worker, while it takes connections.
#[derive(Debug)]
pub(super) struct Hearing {
    own: Rc<Own>,
    left: bool,
}

impl Hearing {
    /// From now on the worker is given connections. Those that were on their way to one that died are its own.
    pub(super) fn begin(spread: Arc<Spread>, worker: usize) -> Self {
        if let Some(row) = spread.0.get(worker) {
            let coming = row.coming();
            row.ears.fetch_add(1, Ordering::Relaxed);
            if !coming.is_empty() {
                row.told.notify_one();
            }
        }
        Self {
            own: Rc::new(Own { spread, worker }),
            left: false,
        }
    }

    /// Whether there is anybody to share with.
    pub(super) fn is_shared(&self) -> bool {
        self.own.spread.0.len() > 1
    }

    /// A connection that was taken here, with its charge. None: another worker has it.
    pub(super) fn give(&self, taken: Taken) -> Option<(Taken, Charge)> {
        let (rows, own) = (&self.own.spread.0, self.own.worker);
        let to = self.own.spread.charge(own);
        if to == own {
            return Some((taken, Charge(self.own.clone())));
        }
        let mut coming = rows[to].coming();
        if rows[to].ears.load(Ordering::Relaxed) > 0 && coming.len() < limits::ON_THEIR_WAY {
            coming.push_back(taken);
            drop(coming);
            rows[to].told.notify_one();
            return None;
        }
        drop(coming);
        rows[to].open.fetch_sub(1, Ordering::Relaxed);
        Some((taken, self.keep()))
    }

    /// A charge for one that is kept whatever others have.
    pub(super) fn keep(&self) -> Charge {
        if let Some(row) = self.own.row() {
            row.open.fetch_add(1, Ordering::Relaxed);
        }
        Charge(self.own.clone())
    }

    /// Waits until there are connections that others gave.
    pub(super) async fn given(&self) {
        match self.own.row() {
            Some(row) => row.told.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Those connections.
    pub(super) fn come(&self) -> Vec<(Taken, Charge)> {
        let Some(row) = self.own.row() else {
            return Vec::new();
        };
        let come = std::mem::take(&mut *row.coming());
        self.charged(come)
    }

    fn charged(&self, come: VecDeque<Taken>) -> Vec<(Taken, Charge)> {
        let come = come.into_iter();
        come.map(|taken| (taken, Charge(self.own.clone())))
            .collect()
    }

    /// From here on the worker is given none at this socket. Those that were given, if it has no other that hears of them.
    pub(super) fn leave(&mut self) -> Vec<(Taken, Charge)> {
        let Some(row) = self.own.row() else {
            return Vec::new();
        };
        if std::mem::replace(&mut self.left, true) {
            return Vec::new();
        }
        let mut coming = row.coming();
        let before = row.ears.fetch_sub(1, Ordering::Relaxed);
        let come = match before {
            1 => std::mem::take(&mut *coming),
            _ => {
                // Had this one been told of them, another must be.
                row.told.notify_one();
                VecDeque::new()
            }
        };
        drop(coming);
        self.charged(come)
    }
}

/// A worker that died is given none; what was on its way waits for the one in its place.
impl Drop for Hearing {
    fn drop(&mut self) {
        if !std::mem::replace(&mut self.left, true)
            && let Some(row) = self.own.row()
        {
            let _coming = row.coming();
            row.ears.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections come to these workers; who has how many then, of so many workers that hear.
    fn check(
        workers: usize,
        deaf: &[usize],
        come: impl IntoIterator<Item = usize>,
        expect: &[usize],
    ) {
        let spread = Spread::over(workers);
        let hears = |at: &usize| !deaf.contains(at);
        for at in (0..workers).filter(hears) {
            spread.0[at].ears.store(1, Ordering::Relaxed);
        }
        for own in come {
            spread.charge(own);
        }
        assert_eq!(spread.connections(), expect);
    }

    #[test]
    fn who_has_the_fewest_is_given_what_others_take() {
        let all_to = |worker, count| std::iter::repeat_n(worker, count);
        check(1, &[], all_to(0, 7), &[7]);
        check(2, &[], all_to(0, 2), &[1, 1]);
        check(2, &[], all_to(1, 5), &[2, 3]);
        check(4, &[], all_to(3, 4), &[1, 1, 1, 1]);
        check(4, &[], all_to(0, 16), &[4, 4, 4, 4]);
        // Who has no more than others keeps what he takes.
        check(4, &[], [0, 1, 2, 3, 2, 1], &[1, 2, 2, 1]);
        // To one that does not listen nothing is given.
        check(3, &[1], all_to(0, 6), &[3, 0, 3]);
        check(2, &[1], all_to(0, 6), &[6, 0]);
        // Ahead by an eighth, and no more.
        check(2, &[], all_to(0, 16), &[8, 8]);
        check(2, &[], all_to(0, 17), &[9, 8]);
        check(2, &[], all_to(0, 100), &[53, 47]);
        // A worker without a row, as one that was not told of.
        check(0, &[], all_to(0, 3), &[]);
    }

    #[test]
    fn whoever_takes_them_none_is_ahead_by_more_than_one_and_an_eighth() {
        for seed in 0..200 {
            let mut chance = fastrand::Rng::with_seed(seed);
            let workers = chance.usize(2..=8);
            let spread = Spread::over(workers);
            for row in &spread.0 {
                row.ears.store(1, Ordering::Relaxed);
            }
            for _ in 0..chance.usize(1..300) {
                // Most come to one of them.
                let own = chance.usize(0..workers).min(chance.usize(0..workers));
                spread.charge(own);
                let open = spread.connections();
                let (most, least) = (open.iter().max().unwrap(), open.iter().min().unwrap());
                assert!(*most <= least + least / SLACK + 1, "seed {seed}: {open:?}");
            }
        }
    }

    #[test]
    fn who_does_not_listen_any_more_is_given_nothing_and_what_was_on_its_way_is_his() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        let mut taken = || {
            clients.push(std::net::TcpStream::connect(to).unwrap());
            let (stream, peer) = listener.accept().unwrap();
            Taken::Tcp(stream, peer)
        };
        let spread = Spread::over(2);
        let one = Hearing::begin(spread.clone(), 0);
        let kept = one.give(taken());
        assert!(kept.is_some(), "nobody else listens");
        let mut two = Hearing::begin(spread.clone(), 1);
        let mut also = Hearing::begin(spread.clone(), 1);
        assert!(one.give(taken()).is_none());
        assert_eq!(spread.connections(), [1, 1]);
        // The other socket of the same worker hears of it.
        assert!(two.leave().is_empty());
        let come = also.leave();
        assert_eq!(come.len(), 1);
        let also_kept = one.give(taken());
        assert!(also_kept.is_some() && spread.connections() == [2, 1]);
        drop((come, kept, also_kept));
        assert_eq!(spread.connections(), [0, 0]);
        // What was on its way to one that died is its heir's.
        let dies = Hearing::begin(spread.clone(), 1);
        let first = one.give(taken());
        assert!(one.give(taken()).is_none());
        drop(dies);
        let heir = Hearing::begin(spread.clone(), 1);
        assert_eq!(heir.come().len(), 1);
        drop(first);
        assert_eq!(spread.connections(), [0, 0]);
        // More than may be on their way stay where they were taken.
        let mut kept = Vec::new();
        for _ in 0..3 * limits::ON_THEIR_WAY {
            kept.extend(one.give(taken()));
        }
        assert_eq!(heir.come().len(), limits::ON_THEIR_WAY);
    }
}
