//! Owns how long answers of each class take, for hedges alone: a distribution that picks record into, and the delay that the tick
//! reads off it.
//!
//! What was given up is a sample too, of which only the least is known. Left out, the slowest would be missing, the delay would sink
//! with each hedge, and the next would come sooner. At the delay or beyond, it is counted where it was given up: that it lies above the
//! quantile is all that the quantile asks. Below, it says nothing, and is left out.

use std::time::Duration;

use super::{HedgeAt, Quantile, SOONEST};
use crate::ask::ClassId;
use crate::carried::mean;
use crate::learn::histogram::{Histogram, Snapshot};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::Instant;

/// A quantile is read off so many answers at least.
const SAMPLES: u64 = 100;
/// And so many of them lie above it: of fewer, one odd answer would decide.
const ABOVE: f64 = 5.0;
/// It is read anew so often.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// Off the answers of the last so long, and of as long before.
const SPAN: Duration = Duration::from_secs(10);

/// No delay is known.
const UNKNOWN: u64 = 0;

/// How long attempts of each class have. 4 KiB for each class that was ever answered.
#[derive(Clone, Debug)]
pub(crate) struct Paces {
    at: HedgeAt,
    classes: Box<[Option<Arc<Pace>>]>,
}

#[derive(Debug, Default)]
pub(crate) struct Pace {
    latencies: Histogram,
    /// In nanoseconds.
    after: AtomicU64,
}

impl Pace {
    fn set(&self, after: Duration) {
        let nanos = u64::try_from(after.max(SOONEST).as_nanos()).unwrap_or(u64::MAX);
        self.after.store(nanos, Ordering::Relaxed);
    }
}

impl Paces {
    pub(super) fn new(at: HedgeAt) -> Self {
        Self {
            at,
            classes: Box::default(),
        }
    }

    /// The same measurements, read otherwise.
    pub(super) fn at(&self, at: HedgeAt) -> Self {
        Self { at, ..self.clone() }
    }

    /// The quantile that is wanted.
    pub(crate) const fn quantile(&self) -> Option<Quantile> {
        match self.at {
            HedgeAt::Quantile(quantile) => Some(quantile),
            HedgeAt::After(_) => None,
        }
    }

    /// The delays that are known, in seconds.
    pub(crate) fn carried(&self) -> Vec<Option<f32>> {
        let known = |pace: &Arc<Pace>| match pace.after.load(Ordering::Relaxed) {
            UNKNOWN => None,
            nanos => Some(Duration::from_nanos(nanos).as_secs_f32()),
        };
        let classes = self.classes.iter();
        classes.map(|pace| pace.as_ref().and_then(known)).collect()
    }

    /// The same of so many classes, with delays of another process where none is known.
    pub(crate) fn with(&self, seconds: &[Option<f32>], classes: usize) -> Self {
        let mut all = self.classes.to_vec();
        all.resize(classes, None);
        for (pace, seconds) in all.iter_mut().zip(seconds) {
            let after = seconds.and_then(mean).map(Duration::from_secs_f32);
            if let (None, Some(after)) = (&pace, after) {
                let known = Pace::default();
                known.set(after);
                *pace = Some(Arc::new(known));
            }
        }
        Self {
            at: self.at,
            classes: all.into(),
        }
    }

    /// Beyond the limit, classes share the last slot.
    fn pace(&self, class: ClassId) -> Option<&Pace> {
        let last = self.classes.len().checked_sub(1)?;
        self.classes[usize::from(class.0).min(last)].as_deref()
    }

    pub(super) fn after(&self, class: ClassId) -> Option<Duration> {
        match self.at {
            HedgeAt::After(after) => Some(after.max(SOONEST)),
            HedgeAt::Quantile(_) => match self.pace(class)?.after.load(Ordering::Relaxed) {
                UNKNOWN => None,
                nanos => Some(Duration::from_nanos(nanos)),
            },
        }
    }

    pub(super) fn answered(&self, class: ClassId, latency: Duration) {
        if let Some(pace) = self.pace(class) {
            pace.latencies.record(latency);
        }
    }

    pub(super) fn outlasted(&self, class: ClassId, latency: Duration) {
        if let Some(pace) = self.pace(class)
            && latency.as_nanos() >= u128::from(pace.after.load(Ordering::Relaxed))
        {
            pace.latencies.record(latency);
        }
    }
}

/// What the tick remembers of the classes, beside what is published.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    /// When they were read last.
    read: Option<Instant>,
    classes: Vec<Reading>,
}

#[derive(Debug)]
struct Reading {
    /// What there was when the window began, and when its newer half did.
    before: Snapshot,
    half: Snapshot,
    since: Instant,
}

impl Readings {
    /// Reads delays off what was measured since the last time. `known` says of each class whether it was ever answered: those get
    /// their distributions, in other paces that are to be published. Cost: once a second 1,024 counters of each class.
    pub(crate) fn read(
        &mut self,
        paces: &Paces,
        known: impl ExactSizeIterator<Item = bool>,
        now: Instant,
    ) -> Option<Paces> {
        let quantile = paces.quantile()?;
        let next = grown(paces, known);
        if self.read.is_some_and(|read| now.since(read) < EVERY) {
            return next;
        }
        self.read = Some(now);
        let paces = next.as_ref().unwrap_or(paces);
        self.classes.resize_with(paces.classes.len(), || Reading {
            before: Snapshot::default(),
            half: Snapshot::default(),
            since: now,
        });
        for (reading, pace) in self.classes.iter_mut().zip(&paces.classes) {
            if let Some(pace) = pace {
                reading.read(pace, quantile, now);
            }
        }
        next
    }
}

/// The same with a distribution for each class that has none and is known. None: there is none such.
fn grown(paces: &Paces, known: impl ExactSizeIterator<Item = bool>) -> Option<Paces> {
    let mut classes = paces.classes.to_vec();
    classes.resize(known.len(), None);
    let mut more = false;
    for (class, known) in classes.iter_mut().zip(known) {
        if known && class.is_none() {
            *class = Some(Arc::default());
            more = true;
        }
    }
    more.then(|| Paces {
        at: paces.at,
        classes: classes.into(),
    })
}

impl Reading {
    fn read(&mut self, pace: &Pace, quantile: Quantile, now: Instant) {
        let all = pace.latencies.snapshot();
        let window = all.since(&self.before);
        if is_enough(window.count(), quantile)
            && let Some(after) = window.quantile(quantile.share())
        {
            pace.set(after);
        }
        // A quiet class is read off an older window rather than off too few.
        if now.since(self.since) >= SPAN && is_enough(all.since(&self.half).count(), quantile) {
            self.before = std::mem::replace(&mut self.half, all);
            self.since = now;
        }
    }
}

fn is_enough(samples: u64, quantile: Quantile) -> bool {
    let above = samples as f64 * (1.0 - quantile.share());
    // A thousandth is no binary fraction.
    samples >= SAMPLES && above + 1e-6 >= ABOVE
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// One class, ticked once a second, and what it says.
    struct Story {
        paces: Paces,
        readings: Readings,
        now: Instant,
    }

    impl Story {
        fn new(permille: u16) -> Self {
            let quantile = Quantile::new(permille).expect("a quantile");
            let mut story = Self {
                paces: Paces::new(HedgeAt::Quantile(quantile)),
                readings: Readings::default(),
                now: Instant::ZERO + ms(1000),
            };
            story.tick();
            story
        }

        fn tick(&mut self) {
            let known = [true].into_iter();
            if let Some(next) = self.readings.read(&self.paces, known, self.now) {
                self.paces = next;
            }
            self.now = self.now + EVERY;
        }

        fn answers(&self, millis: impl IntoIterator<Item = u64>) {
            for millis in millis {
                self.paces.answered(ClassId(0), ms(millis));
            }
        }

        #[track_caller]
        fn check(&self, millis: Option<u64>) {
            let after = self.paces.after(ClassId(0));
            let near = |(got, expect): (Duration, Duration)| got.abs_diff(expect) <= expect / 32;
            assert_eq!(after.is_some(), millis.is_some(), "{after:?}");
            assert!(
                after.zip(millis.map(ms)).is_none_or(near),
                "{after:?}, not {millis:?}"
            );
        }
    }

    #[test]
    fn nothing_is_said_before_there_are_enough() {
        let mut story = Story::new(950);
        story.answers(1..=99);
        story.tick();
        story.check(None);
        story.answers([100]);
        story.tick();
        story.check(Some(95));
        // Five above: of a thousand that is 99.5 %.
        let mut story = Story::new(995);
        story.answers(1..=999);
        story.tick();
        story.check(None);
        story.answers([1000]);
        story.tick();
        story.check(Some(995));
    }

    #[test]
    fn a_quantile_is_of_the_last_seconds() {
        let mut story = Story::new(900);
        for _ in 0..30 {
            story.answers([100; 50]);
            story.tick();
        }
        story.check(Some(100));
        for _ in 0..21 {
            story.answers([10; 50]);
            story.tick();
        }
        story.check(Some(10));
        // Silence forgets nothing.
        for _ in 0..100 {
            story.tick();
        }
        story.check(Some(10));
    }

    #[test]
    fn what_another_process_knew_holds_until_there_is_enough() {
        let mut story = Story::new(900);
        story.answers([100; 100]);
        story.tick();
        let carried = story.paces.carried();
        let mut next = Story::new(900);
        next.paces = next.paces.with(&[Some(f32::NAN), Some(-1.0)], 1);
        next.check(None);
        // A pace that is there is measured by itself.
        next.paces = Paces::new(next.paces.at).with(&carried, 1);
        next.check(Some(100));
        next.answers([10; 99]);
        next.tick();
        next.check(Some(100));
        next.answers([10]);
        next.tick();
        next.check(Some(10));
    }

    #[test]
    fn never_sooner_than_a_millisecond() {
        let mut story = Story::new(500);
        story.answers([0; 200]);
        story.tick();
        assert_eq!(story.paces.after(ClassId(0)), Some(SOONEST));
        let fixed = |after| Paces::new(HedgeAt::After(after)).after(ClassId(7));
        assert_eq!(fixed(Duration::ZERO), Some(SOONEST));
        assert_eq!(fixed(ms(50)), Some(ms(50)));
    }

    /// All that is slow is given up soon after the delay: that must not bring the delay down.
    #[test]
    fn what_is_given_up_keeps_its_place_above() {
        let mut story = Story::new(950);
        story.answers((0..2000).map(|at| if at % 10 == 0 { 500 } else { 10 }));
        story.tick();
        story.check(Some(500));
        for _ in 0..60 {
            for at in 0..100 {
                match at % 10 {
                    0 => story.paces.outlasted(ClassId(0), ms(510)),
                    _ => story.paces.answered(ClassId(0), ms(10)),
                }
            }
            story.tick();
        }
        story.check(Some(510));
        // What was given up sooner than that, since the other had answered, says nothing.
        for _ in 0..60 {
            for at in 0..100 {
                match at % 10 {
                    0 => story.paces.outlasted(ClassId(0), ms(510)),
                    1..5 => story.paces.outlasted(ClassId(0), ms(1)),
                    _ => story.paces.answered(ClassId(0), ms(10)),
                }
            }
            story.tick();
        }
        story.check(Some(510));
    }

    #[test]
    fn classes_are_apart_and_those_beyond_share_the_last() {
        let quantile = Quantile::new(500).expect("a quantile");
        let (mut readings, now) = (Readings::default(), Instant::ZERO);
        let paces = Paces::new(HedgeAt::Quantile(quantile));
        assert_eq!(paces.after(ClassId(0)), None);
        let known = [true, false, true].into_iter();
        let paces = readings.read(&paces, known, now).expect("two are new");
        for class in [0, 1, 2, 9] {
            let latency = ms(10 * (u64::from(class) + 1));
            (0..200).for_each(|_| paces.answered(ClassId(class), latency));
        }
        let all = [true, true, true].into_iter();
        let paces = readings.read(&paces, all, now + EVERY).expect("one is new");
        let after = |class| paces.after(ClassId(class)).map(|after| after.as_millis());
        assert_eq!([after(0), after(1)], [Some(10), None]);
        assert!(after(2).is_some() && after(2) == after(9), "they share it");
        let none = readings.read(&paces, [true; 3].into_iter(), now + EVERY);
        assert!(none.is_none(), "nothing is new");
    }
}
