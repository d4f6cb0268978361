//! Owns how many connections of clients the process may have, so that they never take its last descriptor: a listener's limit is
//! the operator's wish, this is what the open-files limit allows.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use evenkeel_config::limits;
use rustix::process::{Resource, getrlimit};

/// Descriptors that clients and their connections to backends leave to listeners, checks, the admin addresses and the runtimes,
/// where there are so many.
const RESERVE_MOST: usize = 256;

/// The most clients' connections with this many open files: two descriptors each, one per side, beside a reserve of 256 but at
/// most half.
#[must_use]
pub const fn clients_most(files: usize) -> usize {
    let half = files / 2;
    let reserve = if half < RESERVE_MOST {
        half
    } else {
        RESERVE_MOST
    };
    let most = (files - reserve) / 2;
    if most == 0 { 1 } else { most }
}

/// The process's open-files limit, now.
#[must_use]
pub fn open_files() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    })
}

/// Places for clients' connections, shared by all workers.
#[derive(Debug)]
pub struct Room {
    open: AtomicUsize,
    /// Workers that wait for a place; while there are any, idle connections make some.
    waiting: AtomicUsize,
    most: usize,
    /// Places that pipes have.
    pipes: AtomicUsize,
    pipe_refusals: AtomicU64,
    spliced: AtomicU64,
}

impl Room {
    /// So many places.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            most,
            pipes: AtomicUsize::new(0),
            pipe_refusals: AtomicU64::new(0),
            spliced: AtomicU64::new(0),
        })
    }

    /// The process's, by its open-files limit when it was first asked for.
    #[must_use]
    pub fn of_process() -> Arc<Self> {
        static ROOM: LazyLock<Arc<Room>> = LazyLock::new(|| Room::new(clients_most(open_files())));
        ROOM.clone()
    }

    /// A place, if there is one.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < self.most).then_some(open + 1)
            })
            .ok()?;
        Some(Place(self.clone()))
    }

    /// A place for a pipe, whose ends are two descriptors as a client's are. None: pipes have all that they may, a sixteenth of all
    /// and [`limits::PIPES`] at most, or a client waits.
    pub(crate) fn take_pipe(self: &Arc<Self>) -> Option<PipePlace> {
        if self.is_wanted() {
            return None;
        }
        let most = limits::PIPES.min(self.most / 16);
        let one = |pipes| (pipes < most).then_some(pipes + 1);
        let taken = self
            .pipes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one);
        taken.ok()?;
        match self.take() {
            Some(place) => Some(PipePlace(place)),
            None => {
                self.pipes.fetch_sub(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// A piece was copied for want of a pipe.
    pub(crate) fn pipe_refused(&self) {
        self.pipe_refusals.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes more passed within the kernel.
    pub(crate) fn spliced(&self, bytes: usize) {
        self.spliced.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Places that are taken, and how many there are.
    #[must_use]
    pub fn taken(&self) -> (usize, usize) {
        (self.open.load(Ordering::Relaxed), self.most)
    }

    /// Pipes that are open.
    #[must_use]
    pub fn pipes(&self) -> usize {
        self.pipes.load(Ordering::Relaxed)
    }

    /// Pieces that were copied for want of a pipe.
    #[must_use]
    pub fn pipe_refusals(&self) -> u64 {
        self.pipe_refusals.load(Ordering::Relaxed)
    }

    /// Bytes that passed from one connection to another within the kernel.
    #[must_use]
    pub fn spliced_bytes(&self) -> u64 {
        self.spliced.load(Ordering::Relaxed)
    }

    /// Counts the caller as waiting until what is returned is dropped.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self.clone())
    }

    /// Whether a worker waits for a place.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// One connection's place.
#[derive(Debug)]
pub struct Place(Arc<Room>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One pipe's place.
#[derive(Debug)]
pub(crate) struct PipePlace(Place);

impl Drop for PipePlace {
    fn drop(&mut self) {
        self.0.0.pipes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One worker that waits.
pub(crate) struct Waiting(Arc<Room>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_descriptors_each_beside_a_reserve() {
        for (files, most) in [
            (0, 1),
            (40, 10),
            (120, 30),
            (512, 128),
            (1024, 384),
            (65_536, 32_640),
        ] {
            assert_eq!(clients_most(files), most, "{files}");
        }
    }

    #[test]
    fn places_are_given_back_and_never_more_than_there_are() {
        let room = Room::new(2);
        let (one, two) = (room.take(), room.take());
        assert!(one.is_some() && two.is_some() && room.take().is_none());
        drop(one);
        assert!(room.take().is_some());
        assert!(!room.is_wanted());
        let waiting = room.wait();
        assert!(room.is_wanted());
        drop(waiting);
        assert!(!room.is_wanted());
    }
}
