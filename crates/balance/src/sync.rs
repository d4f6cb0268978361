//! Owns the choice between `std`'s atomics and those of the `shuttle` model checker, and the one publication.
//!
//! Everything else in the crate imports atomics from here and nowhere else: a word that `shuttle` cannot see is a race
//! that it cannot find. `RUSTFLAGS='--cfg shuttle' cargo test -p evenkeel-balance` runs the checked builds.

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Arc, Mutex, MutexGuard, Weak,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard, Weak,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};

/// One whole value that one writer replaces and many readers take.
///
/// A reader never waits for the writer. `version` counts the replacements, so that a worker that keeps the `Arc` pays
/// for one load per look and moves no shared reference count until something has changed.
///
/// Ordering. `store` puts the value in place first and raises the version after it, with `Release`; `version` reads with
/// `Acquire`. Who sees version `v` therefore sees the store of value `v`, or a later one. `refresh` reads the version BEFORE
/// the value: it may take a value newer than the version it notes (and takes it once more at the next look), but
/// it can never note a version and keep an older value. Reading in the other order could, forever.
#[derive(Debug)]
pub(crate) struct Published<T> {
    current: Slot<T>,
    version: AtomicU64,
}

impl<T> Published<T> {
    /// Publishes the first value, as version 0.
    pub(crate) fn new(first: Arc<T>) -> Self {
        Self {
            current: Slot::new(first),
            version: AtomicU64::new(0),
        }
    }

    /// Takes the current value; moves the shared reference count.
    pub(crate) fn load(&self) -> Arc<T> {
        self.current.load()
    }

    /// Looks at the current value without moving the shared reference count (a debt of `arc_swap`, one word per thread).
    /// `look` should be short: a writer that replaces the value meanwhile pays for the debt.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.current.read(look)
    }

    /// Replaces the value. One writer at a time, by the caller's lock: two would both be published, in an order of their own.
    pub(crate) fn store(&self, next: Arc<T>) {
        self.current.store(next);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// How many times the value was replaced.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Brings a worker's copy up to date; true when it changed. `seen` is the version noted with `held`.
    /// One load when nothing happened.
    pub(crate) fn refresh(&self, held: &mut Arc<T>, seen: &mut u64) -> bool {
        let version = self.version();
        if version == *seen {
            return false;
        }
        *held = self.load();
        *seen = version;
        true
    }
}

#[cfg(not(shuttle))]
#[derive(Debug)]
struct Slot<T>(arc_swap::ArcSwap<T>);

#[cfg(not(shuttle))]
impl<T> Slot<T> {
    fn new(first: Arc<T>) -> Self {
        Self(arc_swap::ArcSwap::new(first))
    }

    fn load(&self) -> Arc<T> {
        self.0.load_full()
    }

    fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.0.load())
    }

    fn store(&self, next: Arc<T>) {
        self.0.store(next);
    }
}

/// `arc_swap` uses atomics that `shuttle` cannot schedule; a lock of its own has the same meaning.
#[cfg(shuttle)]
#[derive(Debug)]
struct Slot<T>(Mutex<Arc<T>>);

#[cfg(shuttle)]
impl<T> Slot<T> {
    fn new(first: Arc<T>) -> Self {
        Self(Mutex::new(first))
    }

    fn load(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().expect("no code of ours runs under this lock"))
    }

    fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        // Like the guard of `arc_swap`, and unlike the lock, this does not keep the writer out while `look` runs.
        look(&self.load())
    }

    fn store(&self, next: Arc<T>) {
        *self.0.lock().expect("no code of ours runs under this lock") = next;
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn check(stores: &[u32], expect: (u32, u64)) {
        let published = Published::new(Arc::new(0_u32));
        let (mut held, mut seen) = (published.load(), published.version());
        assert!(
            !published.refresh(&mut held, &mut seen),
            "nothing was published yet"
        );
        for &value in stores {
            published.store(Arc::new(value));
        }
        assert_eq!(
            (published.read(|value| *value), published.version()),
            expect
        );
        assert_eq!(published.refresh(&mut held, &mut seen), !stores.is_empty());
        assert_eq!((*held, seen), expect);
        assert!(!published.refresh(&mut held, &mut seen), "up to date");
    }

    #[test]
    fn a_held_copy_follows_the_version() {
        check(&[], (0, 0));
        check(&[7], (7, 1));
        check(&[7, 7], (7, 2));
        check(&[1, 2, 3], (3, 3));
    }

    #[test]
    fn looking_moves_no_reference_count() {
        let value = Arc::new(1_u32);
        let published = Published::new(Arc::clone(&value));
        let count = published.read(|_| Arc::strong_count(&value));
        assert_eq!(count, 2);
    }
}

#[cfg(all(test, shuttle))]
mod tests {
    use super::*;
    use shuttle::thread;

    /// Values equal their version, so a copy older than the version noted with it shows at once.
    fn one_writer_two_readers() {
        let published = Arc::new(Published::new(Arc::new(0_u64)));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let published = Arc::clone(&published);
                thread::spawn(move || {
                    let (mut held, mut seen) = (published.load(), 0);
                    for _ in 0..4 {
                        let before = *held;
                        published.refresh(&mut held, &mut seen);
                        assert!(*held >= seen, "noted version {seen} but kept value {held}");
                        assert!(*held >= before, "went back from {before} to {held}");
                    }
                })
            })
            .collect();
        for value in 1..=3 {
            published.store(Arc::new(value));
        }
        for reader in readers {
            reader.join().expect("the reader's assertions hold");
        }
        assert_eq!(
            (published.read(|value| *value), published.version()),
            (3, 3)
        );
    }

    #[test]
    fn a_noted_version_never_keeps_an_older_value() {
        shuttle::check_random(one_writer_two_readers, 2_000);
        shuttle::check_pct(one_writer_two_readers, 2_000, 3);
    }
}
