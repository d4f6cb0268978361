//! Owns what is remembered of one service or backend: slots of 2 s, 10 s, 1 min, 10 min and 1 h, each level as many as make one of the next.
//!
//! Only the finest is counted into; when a slot's time is over it goes whole to the level above, so a tick costs one addition of 80
//! counters. Memory is bounded and grows with what was busy: `MOST_BYTES` at most, `IDLE_BYTES` where nothing ended. Read
//! `latencies` for how exact quantiles are, `trend` for what is made of the points.

mod form;
mod points;
mod slot;

pub use points::Point;

use crate::interval::Interval;
use crate::latencies::Latencies;
use crate::number::float;
use crate::time::Moment;
use points::Points;
use slot::Slot;

/// What a series takes at most, in bytes, without what the allocator adds; a test adds it up.
pub const MOST_BYTES: usize = 14 * 1024;
/// What it takes where nothing ended, in bytes.
pub const IDLE_BYTES: usize = 5632;

/// Milliseconds of a slot of each level, and how many slots it has: as many as make one of the next.
const LEVELS: [(u64, usize); 5] = [
    (2000, 5),
    (10_000, 6),
    (60_000, 10),
    (600_000, 6),
    (3_600_000, 24),
];

/// Back from the last tick. What is answered for covers at least this (where so much was seen), and at most a slot of its level more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// 10 s.
    TenSeconds,
    /// 1 min.
    Minute,
    /// 5 min.
    FiveMinutes,
    /// 10 min.
    TenMinutes,
    /// 30 min.
    HalfHour,
    /// 1 h.
    Hour,
    /// 2 h.
    TwoHours,
    /// 6 h.
    SixHours,
    /// 24 h.
    Day,
}

/// The spans that are shown; the others serve alerts.
pub const WINDOWS: [Span; 5] = [
    Span::TenSeconds,
    Span::Minute,
    Span::TenMinutes,
    Span::Hour,
    Span::Day,
];

impl Span {
    /// Its level, and how many slots of it.
    const fn slots(self) -> (usize, u64) {
        match self {
            Self::TenSeconds => (0, 5),
            Self::Minute => (1, 6),
            Self::FiveMinutes => (2, 5),
            Self::TenMinutes => (2, 10),
            Self::HalfHour => (3, 3),
            Self::Hour => (3, 6),
            Self::TwoHours => (4, 2),
            Self::SixHours => (4, 6),
            Self::Day => (4, 24),
        }
    }

    /// How long it is, in seconds.
    #[must_use]
    pub const fn secs(self) -> u64 {
        let (level, slots) = self.slots();
        LEVELS[level].0 / 1000 * slots
    }
}

/// The figures of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Seconds that were seen.
    pub seconds: f64,
    /// Seconds of them in which it could be picked.
    pub seconds_up: f64,
    /// What ended.
    pub requests: u64,
    /// How many of them failed.
    pub errors: u64,
    /// Mean latency in seconds, of what succeeded.
    pub mean: Option<f64>,
    /// Median latency in seconds.
    pub p50: Option<f64>,
    /// The 95th percentile in seconds.
    pub p95: Option<f64>,
    /// The 99th percentile in seconds.
    pub p99: Option<f64>,
}

impl Summary {
    /// What ended in a second; none where no time was seen.
    #[must_use]
    pub fn throughput(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| float(self.requests) / self.seconds)
    }

    /// The share that failed; none where nothing ended.
    #[must_use]
    pub fn error_rate(&self) -> Option<f64> {
        (self.requests > 0).then(|| float(self.errors) / float(self.requests))
    }

    /// The share of the time in which it could be picked; none where no time was seen.
    #[must_use]
    pub fn availability(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| (self.seconds_up / self.seconds).min(1.0))
    }
}

/// One service's, or one backend's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    last: Moment,
    open: Option<Box<Sum>>,
    levels: [Level; 5],
    points: Points,
}

/// What is counted into, and what is added up for an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    requests: u64,
    errors: u64,
    millis: u64,
    millis_up: u64,
    latencies: Latencies,
}

/// The slots of one level, by their number modulo how many there are; empty until one is filled.
#[derive(Clone, Debug, Default, PartialEq)]
struct Level(Vec<Option<Box<Slot>>>);

impl Series {
    /// Counts what a tick brings. A moment before the last counts as the last.
    pub fn feed(&mut self, now: Moment, tick: &Interval) {
        self.advance(now);
        let open = self.open.get_or_insert_default();
        open.requests += u64::from(tick.requests);
        open.errors += u64::from(tick.failed());
        open.millis += u64::from(tick.millis);
        open.millis_up += if tick.up { u64::from(tick.millis) } else { 0 };
        open.latencies.merge(&tick.latencies);
    }

    /// When it was fed last.
    #[must_use]
    pub const fn last(&self) -> Moment {
        self.last
    }

    /// The figures of a span back from the last tick. Cost: its slots, 80 counters each.
    #[must_use]
    pub fn over(&self, span: Span) -> Summary {
        self.sum(span).summary()
    }

    /// The distribution of a span back from the last tick.
    #[must_use]
    pub fn latencies(&self, span: Span) -> Latencies {
        self.sum(span).latencies
    }

    /// A point for each minute of the last hour that is over, the oldest first.
    pub fn minutes(&self) -> impl Iterator<Item = Point> + '_ {
        let newest = number(self.last, 2);
        self.points
            .iter()
            .filter(move |point| point.number + 60 >= newest)
    }

    /// A point for each hour of the last day that is over, the oldest first.
    pub fn hours(&self) -> impl Iterator<Item = Point> + '_ {
        let now = number(self.last, 4);
        (now.saturating_sub(24)..now)
            .filter_map(|at| self.levels[4].at(at))
            .map(|slot| {
                let mut sum = Sum::default();
                slot.add_to(&mut sum);
                Point::new(slot.number, &sum.summary())
            })
    }

    fn sum(&self, span: Span) -> Sum {
        let (level, slots) = span.slots();
        let mut sum = self.open.as_deref().cloned().unwrap_or_default();
        let now = number(self.last, level);
        self.levels[level].add_to(&mut sum, now.saturating_sub(slots), now);
        // What is of the slot that is still open at a level stands in the one below.
        for (below, (width, _)) in LEVELS.iter().enumerate().take(level) {
            let from = number(self.last, below + 1) * LEVELS[below + 1].0 / width;
            self.levels[below].add_to(&mut sum, from, number(self.last, below));
        }
        sum
    }

    fn advance(&mut self, now: Moment) {
        let before = self.last;
        self.last = before.max(now);
        if number(before, 0) == number(self.last, 0) {
            return;
        }
        if let Some(open) = self.open.take() {
            self.levels[0].put(0, Slot::new(number(before, 0), &open));
        }
        for level in 1..LEVELS.len() {
            let over = number(before, level);
            if over == number(self.last, level) {
                break;
            }
            self.close(level, over);
        }
    }

    /// Makes the slot `over` of a level out of those below.
    fn close(&mut self, level: usize, over: u64) {
        let mut sum = Sum::default();
        let parts = LEVELS[level].0 / LEVELS[level - 1].0;
        self.levels[level - 1].add_to(&mut sum, over * parts, (over + 1) * parts);
        if sum.millis == 0 {
            return;
        }
        if level == 2 {
            self.points.push(Point::new(over, &sum.summary()));
        }
        self.levels[level].put(level, Slot::new(over, &sum));
    }
}

/// The number of the slot of a level that a moment is in.
const fn number(at: Moment, level: usize) -> u64 {
    at.as_millis() / LEVELS[level].0
}

impl Level {
    fn put(&mut self, level: usize, slot: Slot) {
        let (_, slots) = LEVELS[level];
        if self.0.is_empty() {
            self.0.reserve_exact(slots);
            self.0.resize_with(slots, || None);
        }
        let at = usize::try_from(slot.number % slots as u64).unwrap_or(0);
        if let Some(place) = self.0.get_mut(at) {
            *place = Some(Box::new(slot));
        }
    }

    fn at(&self, number: u64) -> Option<&Slot> {
        let at = number.checked_rem(self.0.len() as u64)?;
        let slot = self.0.get(usize::try_from(at).ok()?)?.as_deref()?;
        (slot.number == number).then_some(slot)
    }

    fn add_to(&self, sum: &mut Sum, from: u64, to: u64) {
        for slot in self
            .0
            .iter()
            .flatten()
            .filter(|slot| (from..to).contains(&slot.number))
        {
            slot.add_to(sum);
        }
    }
}

impl Sum {
    fn summary(&self) -> Summary {
        Summary {
            seconds: float(self.millis) / 1e3,
            seconds_up: float(self.millis_up) / 1e3,
            requests: self.requests,
            errors: self.errors,
            mean: self.latencies.mean(),
            p50: self.latencies.quantile(0.5),
            p95: self.latencies.quantile(0.95),
            p99: self.latencies.quantile(0.99),
        }
    }
}

#[cfg(test)]
mod tests;
