//! Owns what is watched of one service: its series and those of its backends, and what is wrong with either.
//!
//! A tick counts, then looks: limits and budgets every ten seconds, failures at each tick, latencies once enough has been answered. What
//! turned comes out as `Change`s, which go to `Alerts`. Against peers first: who stands out among them is not
//! looked at beside its own past.

mod backend;
mod form;

use std::collections::{BTreeMap, BTreeSet};

use crate::alert::{Change, Kind};
use crate::condition::{Condition, Patience, Reading, Turn};
use crate::interval::Interval;
use crate::latencies::Logarithms;
use crate::metric::Unit;
use crate::number::{length, median};
use crate::peers::{self, FEWEST_OTHERS, each_beside};
use crate::series::{Series, Span};
use crate::shift::Shift;
use crate::surge::{Faded, OwnSurge};
use crate::threshold::{Burn, Evidence, Severity, Threshold};
use crate::time::Moment;
use backend::BackendWatch;

/// How many backends of one service are watched; of more, those that came first.
pub const MOST_BACKENDS: usize = 10_000;
/// How many limits a service can have.
pub const MOST_THRESHOLDS: usize = 16;
/// What a watched backend takes at most beside its series, its id and the table, in bytes.
pub const BACKEND_BYTES: usize = 1024;

/// Limits, budgets and comparisons with peers are looked at so often, in milliseconds.
const LOOKS_MS: u64 = 10_000;
/// A sample of latencies is made of at least so many answers, or of so long, in milliseconds.
const FEWEST_ANSWERS: f64 = 10.0;
const LONGEST_SAMPLE_MS: u64 = 10_000;

/// The [`grain`](WatchSettings::grain) of times that come as buckets each two or two and a half times as wide as the one before, and a sum: of less,
/// a backend whose answers straddle a bound gave a dozen false alarms a week.
pub const WIDE_BUCKETS: f64 = 0.25;

/// What is looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchSettings {
    /// Limits of the service's figures; of more than [`MOST_THRESHOLDS`] the first.
    pub thresholds: Vec<Threshold>,
    /// The share of requests that is to succeed, below 1; without one no budget burns.
    pub objective: Option<f64>,
    /// Is it compared with peers and its own past.
    pub anomalies: bool,
    /// How far a backend's times may be off against those of the others by how they are measured, as a part of 1: what comes as a few wide
    /// buckets and a sum jumps where most of it moves from one to the next ([`WIDE_BUCKETS`]). Smaller steps of one backend are not told.
    pub grain: f64,
    /// How long is waited before anything is said. What is found by a sum has waited already.
    pub patience: Patience,
}

impl Default for WatchSettings {
    /// No limits and no objective, as only an operator knows them; anomalies.
    fn default() -> Self {
        Self {
            thresholds: Vec::new(),
            objective: None,
            anomalies: true,
            grain: 0.0,
            patience: Patience::default(),
        }
    }
}

/// One service that is watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceWatch {
    series: Series,
    backends: BTreeMap<String, BackendWatch>,
    conditions: BTreeMap<Kind, Condition>,
    sample: Sample,
    shift: Shift,
    surge: OwnSurge,
    looked: Moment,
    refused: u64,
}

/// Latencies until there are enough for a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    began: Moment,
    count: f64,
    sum: f64,
}

impl Sample {
    fn add(&mut self, tick: Option<Logarithms>) {
        if let Some(tick) = tick {
            self.count += tick.count;
            self.sum += tick.count * tick.mean;
        }
    }

    /// Its mean, of so many at least.
    fn mean_of(&self, fewest: f64) -> Option<f64> {
        (self.count >= fewest).then(|| self.sum / self.count)
    }
}

impl ServiceWatch {
    /// Takes in what ended since the last tick, of the service and of each of its backends, and says what turned. Who is not among
    /// them any more is forgotten; [`Alerts::gone`](crate::alert::Alerts::gone) clears what was raised of it.
    ///
    /// Cost: about a microsecond for each backend, every ten seconds some more.
    pub fn tick(
        &mut self,
        now: Moment,
        service: &Interval,
        backends: &[(&str, &Interval)],
        settings: &WatchSettings,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        self.join(backends);
        self.series.feed(now, service);
        for (id, tick) in backends {
            if let Some(backend) = self.backends.get_mut(*id) {
                backend.series.feed(now, tick);
                let look = Look::new(Kind::Down, up(tick), None, settings.patience);
                backend.turn(id, look, now, &mut changes);
            }
        }
        // One of many that is down costs capacity, all of them cost the service.
        let look = Look {
            severity: Severity::Critical,
            ..Look::new(Kind::Down, up(service), None, settings.patience)
        };
        self.turn(look, now, &mut changes);
        if settings.anomalies {
            self.failures(now, service, backends, &mut changes);
            self.latencies(now, settings.grain, (service, backends), &mut changes);
        }
        if now.millis_since(self.looked) >= LOOKS_MS {
            self.looked = now;
            self.limits(now, settings, &mut changes);
            if settings.anomalies {
                self.compare(now, settings.patience, &mut changes);
            }
        }
        changes
    }

    /// What the service was.
    #[must_use]
    pub const fn series(&self) -> &Series {
        &self.series
    }

    /// Those that are watched, by id.
    pub fn backends(&self) -> impl Iterator<Item = (&str, &Series)> {
        self.backends
            .iter()
            .map(|(id, backend)| (id.as_str(), &backend.series))
    }

    /// What a backend was.
    #[must_use]
    pub fn backend(&self, id: &str) -> Option<&Series> {
        self.backends.get(id).map(|backend| &backend.series)
    }

    /// How often a tick of a backend was not counted, as there were too many backends.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn join(&mut self, backends: &[(&str, &Interval)]) {
        let mut stay = 0;
        for (id, _) in backends {
            if self.backends.contains_key(*id) {
                stay += 1;
            } else if self.backends.len() < MOST_BACKENDS {
                self.backends
                    .insert((*id).to_owned(), BackendWatch::default());
                stay += 1;
            } else {
                self.refused += 1;
            }
        }
        if stay < self.backends.len() {
            let here: BTreeSet<&str> = backends.iter().map(|(id, _)| *id).collect();
            self.backends.retain(|id, _| here.contains(id.as_str()));
        }
    }

    /// More failures than peers have, and than there were.
    fn failures(
        &mut self,
        now: Moment,
        service: &Interval,
        backends: &[(&str, &Interval)],
        changes: &mut Vec<Change>,
    ) {
        let among = 2.0 * length(backends.len());
        let mut all = [Faded::default(); 3];
        for (id, tick) in backends {
            if let Some(backend) = self.backends.get_mut(*id) {
                let own = backend.count(tick);
                for (all, own) in all.iter_mut().zip(own) {
                    all.join(own);
                }
            }
        }
        for (id, tick) in backends {
            let Some(backend) = self.backends.get_mut(*id) else {
                continue;
            };
            let own = backend.counted(tick);
            let [at_once, lately, mostly] = [0, 1, 2].map(|over| all[over].without(own[over]));
            if mostly.is_empty() {
                continue;
            }
            // The most of what the others have now, had lately and have mostly: trouble that all have at once is nobody's.
            let usual = mostly.rate();
            let reference = usual.max(lately.towards(usual)).max(at_once.towards(usual));
            let reading = backend
                .surge
                .learn(tick.requests, tick.errors, reference, now, among);
            let limit = backend
                .surge
                .found()
                .map_or(reference, |found| found.reference);
            let evidence = evidence(backend.surge.rate(), limit, Unit::Share, &backend.series);
            backend.turn(
                id,
                Look::new(Kind::FailsMoreThanPeers, reading, Some(evidence), SUMS),
                now,
                changes,
            );
        }
        let reading = self.surge.learn(service.requests, service.errors, now, 2.0);
        let surge = self.surge.surge();
        let evidence = surge
            .found()
            .map(|found| evidence(surge.rate(), found.reference, Unit::Share, &self.series));
        self.turn(
            Look::new(Kind::FailsMoreThanBefore, reading, evidence, SUMS),
            now,
            changes,
        );
    }

    /// Slower than before: the service by itself, a backend beside the middle of all.
    fn latencies(
        &mut self,
        now: Moment,
        grain: f64,
        (service, backends): (&Interval, &[(&str, &Interval)]),
        changes: &mut Vec<Change>,
    ) {
        let grain = grain.clamp(0.0, 1.0).ln_1p();
        for (id, tick) in backends {
            if let Some(backend) = self.backends.get_mut(*id) {
                backend.sample.add(tick.latencies.logarithms());
            }
        }
        self.sample.add(service.latencies.logarithms());
        let enough = self.sample.count >= FEWEST_ANSWERS * length(backends.len().max(1));
        if !enough && now.millis_since(self.sample.began) < LONGEST_SAMPLE_MS {
            return;
        }
        let sample = std::mem::replace(
            &mut self.sample,
            Sample {
                began: now,
                ..Sample::default()
            },
        );
        if let Some(mean) = sample.mean_of(FEWEST_ANSWERS) {
            let reading = self.shift.learn(mean, now, 2.0);
            let evidence = self
                .shift
                .step()
                .map(|step| slower(&self.shift, step.before, 0.0, &self.series));
            self.turn(
                Look::new(Kind::SlowerThanBefore, reading, evidence, SUMS),
                now,
                changes,
            );
        }
        let samples = self
            .backends
            .values()
            .filter_map(|backend| backend.sample.mean_of(FEWEST_ANSWERS / 2.0));
        let mut means: Vec<f64> = samples.collect();
        let middle = median(&mut means).filter(|_| means.len() > FEWEST_OTHERS);
        let among = 2.0 * length(backends.len());
        for (id, backend) in &mut self.backends {
            let sample = std::mem::take(&mut backend.sample);
            let (Some(mean), Some(middle)) = (sample.mean_of(FEWEST_ANSWERS / 2.0), middle) else {
                continue;
            };
            let mut reading = (backend.shift).learn_steps(mean - middle, grain, now, among);
            // Who stands out among its peers is told of once.
            let is_known = backend.is_raised(Kind::SlowerThanPeers)
                && !backend.is_raised(Kind::SlowerThanBefore);
            if is_known && reading == Reading::Bad {
                reading = Reading::Between;
            }
            let evidence = backend
                .shift
                .step()
                .map(|step| slower(&backend.shift, step.before, middle, &backend.series));
            backend.turn(
                id,
                Look::new(Kind::SlowerThanBefore, reading, evidence, SUMS),
                now,
                changes,
            );
        }
    }

    fn limits(&mut self, now: Moment, settings: &WatchSettings, changes: &mut Vec<Change>) {
        let mut wanted = BTreeSet::new();
        for threshold in settings.thresholds.iter().take(MOST_THRESHOLDS) {
            let kind = Kind::Threshold(threshold.metric);
            // Of two limits of one figure the first counts.
            if !wanted.insert(kind) {
                continue;
            }
            let (reading, evidence) = threshold.read(&self.series.over(threshold.span));
            let look = Look {
                severity: threshold.severity,
                ..Look::new(kind, reading, evidence, settings.patience)
            };
            self.turn(look, now, changes);
        }
        for burn in Burn::ALL {
            let Some(objective) = settings.objective else {
                break;
            };
            wanted.insert(Kind::Burn(burn));
            let (reading, evidence) = burn.read(&self.series, objective);
            self.turn(
                Look::new(Kind::Burn(burn), reading, evidence, SUMS),
                now,
                changes,
            );
        }
        self.conditions.retain(|kind, condition| {
            let stays =
                !matches!(kind, Kind::Threshold(_) | Kind::Burn(_)) || wanted.contains(kind);
            // What is not looked for any more is not wrong any more.
            if !stays && condition.is_raised() {
                changes.push(Change {
                    backend: None,
                    kind: *kind,
                    turn: Turn::Cleared { since: now },
                    severity: severity(*kind),
                    evidence: None,
                });
            }
            stays
        });
    }

    /// Slower than peers, over the last ten seconds, or a minute where they were too few.
    fn compare(&mut self, now: Moment, patience: Patience, changes: &mut Vec<Change>) {
        let all: Vec<_> = self
            .backends
            .values()
            .map(|backend| answers(&backend.series))
            .collect();
        let patience = Patience {
            raise_ms: patience.raise_ms.max(2 * LOOKS_MS),
            ..patience
        };
        for ((id, backend), found) in self.backends.iter_mut().zip(each_beside(&all)) {
            let reading = found.map_or(Reading::Unknown, |found| found.reading);
            let evidence = found.map(|found| {
                let median = found.median.exp();
                evidence(median * found.times, median, Unit::Seconds, &backend.series)
            });
            backend.turn(
                id,
                Look::new(Kind::SlowerThanPeers, reading, evidence, patience),
                now,
                changes,
            );
        }
    }

    fn turn(&mut self, look: Look, now: Moment, changes: &mut Vec<Change>) {
        look.at(
            self.conditions.entry(look.kind).or_default(),
            None,
            now,
            changes,
        );
    }
}

/// A look at one thing.
#[derive(Clone, Copy, Debug)]
struct Look {
    kind: Kind,
    reading: Reading,
    severity: Severity,
    evidence: Option<Evidence>,
    patience: Patience,
}

impl Look {
    fn new(kind: Kind, reading: Reading, evidence: Option<Evidence>, patience: Patience) -> Self {
        Self {
            kind,
            reading,
            severity: severity(kind),
            evidence,
            patience,
        }
    }

    fn at(
        &self,
        condition: &mut Condition,
        backend: Option<&str>,
        now: Moment,
        changes: &mut Vec<Change>,
    ) {
        if let Some(turn) = condition.learn(self.reading, now, &self.patience) {
            changes.push(Change {
                backend: backend.map(str::to_owned),
                kind: self.kind,
                turn,
                severity: self.severity,
                evidence: self.evidence,
            });
        }
    }
}

/// What a sum found is told at once: it has waited. It ends after a minute.
const SUMS: Patience = Patience {
    raise_ms: 0,
    clear_ms: 60_000,
    flap_ms: 900_000,
};

const fn up(tick: &Interval) -> Reading {
    if tick.up { Reading::Good } else { Reading::Bad }
}

/// How loud what no operator has said it of is.
const fn severity(kind: Kind) -> Severity {
    match kind {
        Kind::Burn(burn) => burn.severity(),
        Kind::FailsMoreThanBefore => Severity::Critical,
        _ => Severity::Warning,
    }
}

fn answers(series: &Series) -> Option<Logarithms> {
    let short = series.latencies(Span::TenSeconds).logarithms();
    short
        .filter(|short| short.count >= peers::FEWEST_ANSWERS)
        .or_else(|| series.latencies(Span::Minute).logarithms())
}

fn evidence(value: f64, limit: f64, unit: Unit, series: &Series) -> Evidence {
    let seen = series.over(Span::Minute);
    Evidence {
        value,
        limit,
        unit,
        requests: seen.requests,
        seconds: Span::Minute.secs(),
    }
}

/// Now against before, where both are logarithms beside `base`.
fn slower(shift: &Shift, before: f64, base: f64, series: &Series) -> Evidence {
    evidence(
        (shift.latest() + base).exp(),
        (before + base).exp(),
        Unit::Seconds,
        series,
    )
}

#[cfg(test)]
mod tests;
