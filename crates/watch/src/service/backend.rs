//! Owns what is watched of one backend.

use super::{Look, Sample};
use crate::alert::{Change, Kind};
use crate::bytes::{Reader, Unreadable, Writer};
use crate::condition::Condition;
use crate::interval::Interval;
use crate::series::Series;
use crate::shift::Shift;
use crate::surge::{Faded, LATELY_TICKS, LONG_TICKS, Surge};
use crate::time::Moment;

/// What can be wrong with one, in the order of its conditions.
const KINDS: [Kind; 4] = [
    Kind::Down,
    Kind::SlowerThanPeers,
    Kind::FailsMoreThanPeers,
    Kind::SlowerThanBefore,
];

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BackendWatch {
    pub(super) series: Series,
    pub(super) sample: Sample,
    pub(super) shift: Shift,
    pub(super) surge: Surge,
    lately: Faded,
    long: Faded,
    conditions: [Condition; KINDS.len()],
}

impl BackendWatch {
    /// Counts a tick's failures: what it has at once, had lately, and has mostly.
    pub(super) fn count(&mut self, tick: &Interval) -> [Faded; 3] {
        let (requests, errors) = (f64::from(tick.requests), f64::from(tick.failed()));
        self.lately.add(requests, errors, LATELY_TICKS);
        // What is wrong is not to become usual, for this one or for its peers.
        if self.surge.found().is_none() {
            self.long.add(requests, errors, LONG_TICKS);
        }
        self.counted(tick)
    }

    /// The same, counted already.
    pub(super) fn counted(&self, tick: &Interval) -> [Faded; 3] {
        let mut at_once = Faded::default();
        at_once.add(f64::from(tick.requests), f64::from(tick.failed()), 1.0);
        [at_once, self.lately, self.long]
    }

    pub(super) fn turn(&mut self, id: &str, look: Look, now: Moment, changes: &mut Vec<Change>) {
        if let Some(at) = KINDS.iter().position(|kind| *kind == look.kind) {
            look.at(&mut self.conditions[at], Some(id), now, changes);
        }
    }

    pub(super) fn is_raised(&self, kind: Kind) -> bool {
        KINDS
            .iter()
            .zip(&self.conditions)
            .any(|(one, condition)| *one == kind && condition.is_raised())
    }

    pub(super) fn write(&self, to: &mut Writer) {
        self.series.write(to);
        self.shift.write(to);
        self.surge.write(to);
        self.lately.write(to);
        self.long.write(to);
        for condition in &self.conditions {
            condition.write(to);
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let series = Series::read(from)?;
        let (shift, surge) = (Shift::read(from)?, Surge::read(from)?);
        let (lately, long) = (Faded::read(from)?, Faded::read(from)?);
        let mut conditions = [Condition::default(); KINDS.len()];
        for condition in &mut conditions {
            *condition = Condition::read(from)?;
        }
        Ok(Self {
            series,
            sample: Sample::default(),
            shift,
            surge,
            lately,
            long,
            conditions,
        })
    }
}
