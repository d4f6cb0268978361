//! Owns a point for each minute of the last hour: what trends are looked for in.

use std::collections::VecDeque;

use super::Summary;
use crate::bytes::{Reader, Unreadable, Writer};
use crate::metric::Metric;
use crate::number::short;

const MOST: usize = 60;
/// What has no figure, as none can be below nought.
const NONE: f32 = -1.0;
/// What a trend can be looked for in, in the order of the figures.
const METRICS: [Metric; 5] = [
    Metric::Mean,
    Metric::P95,
    Metric::P99,
    Metric::Throughput,
    Metric::ErrorRate,
];

/// Figures of a minute or an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Its number since the Unix epoch: of the minute or the hour.
    pub number: u64,
    figures: [f32; METRICS.len()],
}

impl Point {
    pub(super) fn new(number: u64, summary: &Summary) -> Self {
        Self {
            number,
            figures: METRICS.map(|metric| metric.of(summary).map_or(NONE, short)),
        }
    }

    /// A figure of it: mean, p95, p99, throughput, error rate; none where nothing was measured, and of the others.
    #[must_use]
    pub fn figure(&self, metric: Metric) -> Option<f64> {
        let at = METRICS.iter().position(|one| *one == metric)?;
        self.figures
            .get(at)
            .filter(|figure| **figure >= 0.0)
            .map(|figure| f64::from(*figure))
    }
}

/// The last 60.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Points(VecDeque<Point>);

impl Points {
    pub(super) fn push(&mut self, point: Point) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        // Not by doubling: 64 places for 60.
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(12);
        }
        self.0.push_back(point);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Point> + '_ {
        self.0.iter().copied()
    }

    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.0.capacity() * size_of::<Point>()
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.size(self.0.len());
        for point in &self.0 {
            to.count(point.number);
            for figure in point.figures {
                to.short(figure);
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let mut all = Self::default();
        for _ in 0..from.size(MOST, "points")? {
            let number = from.up_to(u64::MAX / 4_000_000, "a minute")?;
            let mut figures = [NONE; METRICS.len()];
            for figure in &mut figures {
                *figure = from.short(NONE, f32::MAX, "a figure")?;
            }
            all.push(Point { number, figures });
        }
        Ok(all)
    }
}
