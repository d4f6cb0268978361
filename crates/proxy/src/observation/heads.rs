//! Owns how long single backends take to their response heads: a row for each worker that asks one, made when it does so first.
//!
//! Of 10,000 backends and 64 workers few pairs ever meet: rows for all of them would be 70 MB.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Distribution, Durations, MILLI, SECOND};

/// Upper bounds of the buckets for backends, in nanoseconds; above the last is one more. Fewer than those of services: each is a row
/// of the metrics' page for each backend.
pub const HEAD_BOUNDS: [u64; 10] = [
    MILLI,
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    50 * MILLI,
    100 * MILLI,
    250 * MILLI,
    500 * MILLI,
    SECOND,
    5 * SECOND,
];

/// One worker's row of one backend.
pub type HeadCounters = Durations<{ HEAD_BOUNDS.len() }>;

/// The rows of one backend.
#[derive(Debug, Default)]
pub struct Heads(Mutex<Vec<Arc<HeadCounters>>>);

impl Heads {
    /// A row that nobody else counts in: one that was given back, before another is made. So there are never more than count at once.
    #[must_use]
    pub fn row(&self) -> Arc<HeadCounters> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Not by the number of owners: who counted in it last must be seen to have done so.
        if let Some(free) = rows.iter_mut().find_map(|row| {
            let is_free = Arc::get_mut(row).is_some();
            is_free.then(|| row.clone())
        }) {
            return free;
        }
        let row = Arc::new(HeadCounters::default());
        rows.push(row.clone());
        row
    }

    /// All rows together.
    #[must_use]
    pub fn together(&self) -> Distribution {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Durations::together(&HEAD_BOUNDS, rows.iter().map(|row| &**row))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rows_are_apart_while_somebody_counts_and_go_on_with_the_next() {
        let heads = Heads::default();
        assert_eq!(heads.together().count(), 0);
        let observe = |row: &HeadCounters| row.observe(&HEAD_BOUNDS, Duration::from_millis(2));
        let (one, other) = (heads.row(), heads.row());
        assert!(!Arc::ptr_eq(&one, &other));
        observe(&one);
        observe(&other);
        let address = Arc::as_ptr(&one);
        drop(one);
        let next = heads.row();
        assert_eq!(Arc::as_ptr(&next), address);
        observe(&next);
        let all = heads.together();
        assert_eq!((all.count(), all.sum), (3, Duration::from_millis(6)));
        assert_eq!(all.buckets[1], (0.005, 3));
        drop((next, other));
        for _ in 0..100 {
            drop(heads.row());
        }
        let rows = heads.0.lock().unwrap();
        assert_eq!(
            rows.len(),
            2,
            "a row is made for each who counts, not for each time"
        );
    }

    /// What a backend costs each worker that has asked it.
    #[test]
    fn a_row_is_small() {
        assert_eq!(size_of::<HeadCounters>(), 104);
    }
}
