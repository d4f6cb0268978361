//! Owns what a backend measures of itself and reports to balancers: how much it does of what it can do, how many requests a second, how
//! many of them fail. The other side of `weighted_by_load`, Evenkeel's or another's that reads ORCA.
//!
//! Counts what it is told of requests; decides nothing. With the feature `tower`, [`tower::ReportLayer`](crate::tower::ReportLayer) does
//! the telling.

use std::fmt;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_balance::time::Instant;

use crate::clock::Clock;

/// Time that the processors spent on this process.
mod processors;

/// The field that carries a report.
pub const FIELD: &str = "endpoint-load-metrics";

/// What is reported is the mean over at least so long: as often as balancers weigh anew.
pub const WINDOW: Duration = Duration::from_secs(1);

/// Where utilization comes from.
enum Utilization {
    /// So many requests at once are all that it can do.
    Capacity(NonZeroU32),
    /// Processors.
    Processors,
    /// The program's own word.
    Told(Box<dyn Fn() -> f64 + Send + Sync>),
}

/// Measures the load of this process, or of a part of it. Clones are the same meter. Cost of a request: two locks, held for some
/// nanoseconds each.
///
/// ```
/// use evenkeel::load::LoadMeter;
/// use std::num::NonZeroU32;
///
/// let meter = LoadMeter::of_capacity(NonZeroU32::new(64).expect("it is not 0"));
/// let running = meter.begin(); // a request came
/// drop(running); // and is done; `failed` where it failed
/// assert_eq!(meter.measured().text(), None); // its first second is not over
/// ```
#[derive(Clone)]
pub struct LoadMeter {
    shared: Arc<Shared>,
}

struct Shared {
    utilization: Utilization,
    clock: Clock,
    counts: Mutex<Counts>,
}

/// What is counted since the window began.
#[derive(Debug, Default)]
struct Counts {
    began: Instant,
    /// When `busy` was last brought up to date.
    seen: Instant,
    in_flight: u32,
    /// Seconds that requests were in flight, all together.
    busy: f64,
    ended: u64,
    failed: u64,
    /// Seconds of processors that the process had taken by then.
    processed: Option<f64>,
    /// Of the window before.
    measured: Measured,
}

/// A load as it was measured last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// How much it does of what it can do, by requests in flight or by the program's own word.
    pub application: Option<f64>,
    /// The same of its processors.
    pub cpu: Option<f64>,
    /// Requests that ended, per second.
    pub rps: Option<f64>,
    /// Of them, those that failed.
    pub eps: Option<f64>,
}

impl fmt::Debug for LoadMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadMeter")
            .field("measured", &self.counts().measured)
            .finish_non_exhaustive()
    }
}

impl LoadMeter {
    /// A meter of requests in flight: so many at once are all that it can do.
    #[must_use]
    pub fn of_capacity(at_once: NonZeroU32) -> Self {
        Self::new(Utilization::Capacity(at_once))
    }

    /// A meter of the processors that this process may use; they are known on Linux only, elsewhere it reports none.
    #[must_use]
    pub fn of_processors() -> Self {
        Self::new(Utilization::Processors)
    }

    /// A meter of what the program says of itself, 1 being all that it can do; asked once per [`WINDOW`], under the meter's lock: it must
    /// be quick, and not call the meter. What is no number, or below 0, is left out.
    #[must_use]
    pub fn told(utilization: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self::new(Utilization::Told(Box::new(utilization)))
    }

    fn new(utilization: Utilization) -> Self {
        let counts = Counts {
            processed: processors::taken(),
            ..Counts::default()
        };
        Self {
            shared: Arc::new(Shared {
                utilization,
                clock: Clock::start(),
                counts: Mutex::new(counts),
            }),
        }
    }

    /// A request begins; it ends when what this returns is dropped.
    pub fn begin(&self) -> Running {
        let now = self.shared.clock.now();
        let mut counts = self.counts();
        counts.pass(now);
        counts.in_flight = counts.in_flight.saturating_add(1);
        Running {
            meter: self.clone(),
            failed: false,
        }
    }

    fn end(&self, failed: bool) {
        let now = self.shared.clock.now();
        let mut counts = self.counts();
        counts.pass(now);
        counts.in_flight = counts.in_flight.saturating_sub(1);
        counts.ended += 1;
        counts.failed += u64::from(failed);
    }

    /// Requests in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.counts().in_flight
    }

    /// The load of the last [`WINDOW`], or of as long as nobody asked; nothing before the first is over. Cost: a lock; once per window a
    /// look at the processors.
    #[must_use]
    pub fn measured(&self) -> Measured {
        let now = self.shared.clock.now();
        let mut counts = self.counts();
        let passed = now.since(counts.began);
        if passed >= WINDOW {
            counts.pass(now);
            counts.close(&self.shared.utilization, passed.as_secs_f64());
            counts.began = now;
        }
        counts.measured
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        let counts = self.shared.counts.lock();
        counts.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Time has passed with as many in flight as there are.
    fn pass(&mut self, now: Instant) {
        self.busy += now.since(self.seen).as_secs_f64() * f64::from(self.in_flight);
        // Whoever waited for the lock asked for the time before: what is counted is not counted again.
        self.seen = self.seen.max(now);
    }

    /// A window of so many seconds is over.
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
    fn close(&mut self, by: &Utilization, seconds: f64) {
        let busy = std::mem::take(&mut self.busy);
        let mut measured = Measured {
            rps: Some(std::mem::take(&mut self.ended) as f64 / seconds),
            eps: Some(std::mem::take(&mut self.failed) as f64 / seconds),
            ..Measured::default()
        };
        match by {
            Utilization::Capacity(at_once) => {
                measured.application = Some(busy / seconds / f64::from(at_once.get()));
            }
            Utilization::Told(utilization) => measured.application = sound(utilization()),
            Utilization::Processors => {
                let taken = processors::taken();
                let before = std::mem::replace(&mut self.processed, taken);
                let spent = taken.zip(before).map(|(taken, before)| taken - before);
                measured.cpu = spent.and_then(|spent| sound(spent / seconds / processors::count()));
            }
        }
        self.measured = measured;
    }
}

fn sound(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}

impl Measured {
    fn rows(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let rows = [
            ("application_utilization", self.application),
            ("cpu_utilization", self.cpu),
            ("rps_fractional", self.rps),
            ("eps", self.eps),
        ];
        let said = |(name, value): (_, Option<f64>)| Some((name, value?));
        rows.into_iter().filter_map(said)
    }

    /// As the value of [`FIELD`]; none: there is nothing to say yet.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let mut text = String::new();
        for (name, value) in self.rows() {
            let before = if text.is_empty() { "TEXT " } else { "," };
            // Writing to a text does not fail.
            let _ = write!(text, "{before}{name}={value:.4}");
        }
        (!text.is_empty()).then_some(text)
    }

    /// As a page of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let rows: Vec<_> = self
            .rows()
            .map(|(name, value)| format!("\"{name}\":{value:.4}"))
            .collect();
        format!("{{{}}}", rows.join(","))
    }
}

/// A request in flight; dropping it ends it.
#[must_use = "dropping it ends the request"]
#[derive(Debug)]
pub struct Running {
    meter: LoadMeter,
    failed: bool,
}

impl Running {
    /// It fails: balancers take that for load.
    pub fn fails(&mut self) {
        self.failed = true;
    }

    /// It is done, and failed.
    pub fn failed(mut self) {
        self.fails();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.meter.end(self.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_for_the_lock_counts_no_time_twice() {
        let mut counts = Counts {
            in_flight: 2,
            ..Counts::default()
        };
        for millis in [100, 90, 110, 105, 200] {
            counts.pass(Instant::from_nanos(millis * 1_000_000));
        }
        assert!((counts.busy - 0.4).abs() < 1e-9, "{}", counts.busy);
    }
}
