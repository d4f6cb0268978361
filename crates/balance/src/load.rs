//! Owns what backends report of their load, and the weights that follow: for the `weighted_by_load` policy.
//!
//! ```text
//! report --> Reported (atomics, any thread) --> tick, once a second: capacity --> factor --> share of the next table
//! ```
//! A backend that answers `q` requests a second at utilization `u` can answer `q / u`: that is its weight, so that all come to the same
//! utilization (gRFC A58, after Google's internal balancing). What it reports is its own word: factors are bounded, reached step by step,
//! and not believed against what its answers show. Knows nothing of formats; those are `evenkeel-wire`'s. Read next:
//! `membership/weigh.rs`.

use std::time::Duration;

use crate::settings::LoadSettings;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Instant;

/// What a backend says of its load, at one moment. What is not finite or below 0 counts as unsaid, as does a utilization of 0: that is
/// what protobuf makes of an absent one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// What the application itself holds for its utilization, 1 being all that it can do; comes before the others.
    pub application: Option<f64>,
    /// The largest of the metrics that the service goes by; comes before `cpu`.
    pub chosen: Option<f64>,
    /// Utilization of its processors.
    pub cpu: Option<f64>,
    /// Requests per second, of all its clients. None: what is sent from here counts.
    pub rps: Option<f64>,
    /// Of them, those that failed.
    pub eps: Option<f64>,
}

impl LoadReport {
    /// The utilization that counts; none: it says none.
    #[must_use]
    pub fn utilization(&self) -> Option<f64> {
        let said = |value: &f64| value.is_finite() && *value > 0.0;
        let mut all = [self.application, self.chosen, self.cpu].into_iter();
        all.find_map(|value| value.filter(said))
    }
}

/// No number of a report counts for more.
const MOST: f32 = 1e9;

/// The newest report of one backend: written by whoever hears it, read by the tick.
///
/// Utilization and rate stand in one word, so that a capacity is never of two reports; errors may be of the one before.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    /// Utilization and requests per second, as the bits of two floats; 0 is unsaid.
    load: AtomicU64,
    /// Errors per second, as the bits of a float.
    errors: AtomicU64,
    /// When it came, in nanoseconds; 0 for never.
    at: AtomicU64,
    count: AtomicU64,
}

/// A report as it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) utilization: Option<f32>,
    pub(crate) rps: Option<f32>,
    pub(crate) eps: Option<f32>,
    pub(crate) at: Option<Instant>,
    pub(crate) count: u64,
}

impl Reported {
    /// Three stores and a count.
    pub(crate) fn report(&self, report: &LoadReport, now: Instant) {
        let load = u64::from(bits(report.utilization())) << 32 | u64::from(bits(report.rps));
        self.load.store(load, Ordering::Relaxed);
        let errors = u64::from(bits(report.eps));
        self.errors.store(errors, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.at.store(now.as_nanos().max(1), Ordering::Relaxed);
    }

    #[expect(clippy::cast_possible_truncation, reason = "two halves of one word")]
    pub(crate) fn read(&self) -> Said {
        let load = self.load.load(Ordering::Relaxed);
        let said = |bits: u32| Some(f32::from_bits(bits)).filter(|value| *value > 0.0);
        let at = self.at.load(Ordering::Relaxed);
        Said {
            utilization: said((load >> 32) as u32),
            rps: said(load as u32),
            eps: said(self.errors.load(Ordering::Relaxed) as u32),
            at: (at > 0).then(|| Instant::from_nanos(at)),
            count: self.count.load(Ordering::Relaxed),
        }
    }
}

/// A number as it is kept: 0 for what is none.
#[expect(
    clippy::cast_possible_truncation,
    reason = "seven digits are more than a report has"
)]
fn bits(value: Option<f64>) -> u32 {
    let value = value.unwrap_or_default() as f32;
    match value.is_finite() && value > 0.0 {
        true => value.min(MOST).to_bits(),
        false => 0,
    }
}

/// How many requests a second a backend can answer, by its own word. `sent` are those that it was sent from here, for one that does not
/// say how many it has; `failing` is the share of them that failed. None: it does not follow.
pub(crate) fn capacity(
    said: Said,
    (sent, failing): (f64, f64),
    settings: &LoadSettings,
) -> Option<f32> {
    let utilization = f64::from(said.utilization?);
    let rate = said.rps.map_or(sent, f64::from);
    // Whoever fails in no time has little load: what was seen of it here counts, if it does not say so itself.
    let reported = said.eps.map_or(0.0, |eps| f64::from(eps) / rate);
    let errors = reported.max(failing).clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "it is checked below")]
    let capacity = (rate / (utilization + errors * settings.penalty)) as f32;
    (capacity.is_finite() && capacity > 0.0).then_some(capacity)
}

/// Why a backend's part of its configured share is what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadReason {
    /// It follows what it reports.
    Reported,
    /// It never reported.
    #[default]
    Unreported,
    /// Its reports are too young.
    Blackout,
    /// Its reports have ended.
    Expired,
    /// It says nothing that a weight would follow from: no utilization, or nothing to do.
    Unsaid,
    /// Fewer than two backends are known, so that there is nothing to compare.
    Alone,
    /// It claims more than its peers, and its answers take longer than theirs: it is not believed so far.
    Doubted,
}

impl LoadReason {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Unreported => "unreported",
            Self::Blackout => "blackout",
            Self::Expired => "expired",
            Self::Unsaid => "unsaid",
            Self::Alone => "alone",
            Self::Doubted => "doubted",
        }
    }
}

/// The part of its configured share that a backend gets, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadShare {
    /// Times its configured weight; 1 is as configured.
    pub factor: f32,
    /// Why.
    pub reason: LoadReason,
}

/// Between two weighings: A58's `weight_update_period`.
const EVERY: Duration = Duration::from_secs(1);
/// A factor comes so far towards where it should be in each: half of it in 2.4 s. Utilization that lags behind by a second or two would
/// have the weights swing otherwise.
const STEP: f32 = 0.25;
/// In octaves: less than this is not published, as each change of a table costs its members.
const NOTICED: f32 = 0.03;
/// Answers that take so many times as long as those of the peers contradict a claim to more than these have. Machines of many slow cores
/// answer later than others and can do more all the same; one that is sent more than it can do is soon later by far more than this.
const SLOWER: f32 = 4.0;
/// In octaves: a claim that is contradicted is held at half of what it had come to, and allowed so much more of it each second after.
const DOUBT: f32 = 1.0;
const TRUST: f32 = 0.02;

/// What the writer knows of one backend's load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Since when its reports are no further apart than they hold.
    since: Option<Instant>,
    /// They have been for long enough.
    proven: bool,
    /// When the newest came.
    at: Option<Instant>,
    /// By the newest that said enough.
    capacity: Option<f32>,
    /// Octaves above what is configured: where it is on its way.
    octaves: f32,
    /// How far above it may claim to be; below zero by as much as it was doubted less than the settings allow.
    held: f32,
    /// What is published.
    shown: f32,
    reason: LoadReason,
}

/// A load as it goes over to another process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CarriedLoad {
    /// How many requests a second it can answer, by its own word.
    pub capacity: Option<f32>,
    /// Times its configured weight.
    pub factor: f32,
    /// For how long it has reported.
    pub reporting: Duration,
    /// How long ago it did last.
    pub age: Duration,
}

impl Load {
    /// Takes in what it says now.
    pub(crate) fn hear(
        &mut self,
        said: Said,
        seen: (f64, f64),
        settings: &LoadSettings,
        now: Instant,
    ) {
        if let Some(at) = said.at
            && self.at.is_none_or(|before| at > before)
        {
            // One that came just before the last one ended may be read just behind that.
            let silent = |before| at.since(before) >= settings.expiry;
            if self.since.is_none() || self.at.is_none_or(silent) {
                (self.since, self.proven) = (Some(at), false);
            }
            self.at = Some(at);
            self.capacity = capacity(said, seen, settings);
        }
        match (self.at, self.since) {
            (Some(at), _) if now.since(at) >= settings.expiry => {
                (self.since, self.capacity, self.proven) = (None, None, false);
            }
            (_, Some(since)) => self.proven |= now.since(since) >= settings.blackout,
            _ => {}
        }
    }

    /// What counts of it, or why nothing does.
    pub(crate) fn known(&self) -> Result<f32, LoadReason> {
        match (self.at, self.since) {
            (None, _) => Err(LoadReason::Unreported),
            (_, None) => Err(LoadReason::Expired),
            _ if !self.proven => Err(LoadReason::Blackout),
            _ => self.capacity.ok_or(LoadReason::Unsaid),
        }
    }

    /// Comes a step nearer to `target`, in octaves. Says whether what is published is to change.
    pub(crate) fn step(&mut self, target: f32, reason: LoadReason) -> bool {
        self.octaves += (target - self.octaves) * STEP;
        let same = self.reason == reason;
        self.reason = reason;
        if (self.octaves - self.shown).abs() < NOTICED && same {
            return false;
        }
        self.shown = self.octaves;
        true
    }

    /// As far as a claim of so many octaves is believed of one whose answers take `slower` times as long as those of its peers.
    pub(crate) fn believed(
        &mut self,
        claim: f32,
        slower: f32,
        settings: &LoadSettings,
    ) -> (f32, LoadReason) {
        let most = settings.octaves();
        if slower > SLOWER && self.octaves > 0.0 {
            self.held = (self.octaves.min(most + self.held) - DOUBT).max(0.0) - most;
        } else {
            self.held = (self.held + TRUST).min(0.0);
        }
        let ceiling = most + self.held;
        match claim > ceiling {
            true if self.held < 0.0 => (ceiling, LoadReason::Doubted),
            true => (ceiling, LoadReason::Reported),
            false => (claim, LoadReason::Reported),
        }
    }

    /// The part of its share that it gets.
    pub(crate) fn share(&self) -> LoadShare {
        LoadShare {
            factor: self.shown.exp2(),
            reason: self.reason,
        }
    }

    pub(crate) fn capacity(&self) -> Option<f32> {
        self.capacity
    }

    /// What is to go over; none: nothing is known.
    pub(crate) fn carried(&self, now: Instant) -> Option<CarriedLoad> {
        let (since, at) = self.since.zip(self.at)?;
        Some(CarriedLoad {
            capacity: self.capacity,
            factor: self.shown.exp2(),
            reporting: now.since(since),
            age: now.since(at),
        })
    }

    /// What another process knew, as far as it can be.
    pub(crate) fn take_over(carried: CarriedLoad, settings: &LoadSettings, now: Instant) -> Self {
        let most = settings.octaves();
        let octaves = Some(carried.factor.log2()).filter(|octaves| octaves.is_finite());
        let octaves = octaves.unwrap_or_default().clamp(-most, most);
        let sound = |capacity: &f32| capacity.is_finite() && *capacity > 0.0;
        Self {
            since: Some(now - carried.reporting),
            // The owner's time may have begun since.
            proven: carried.reporting >= settings.blackout,
            at: Some(now - carried.age),
            capacity: carried.capacity.filter(sound),
            octaves,
            shown: octaves,
            held: 0.0,
            reason: LoadReason::Reported,
        }
    }
}

/// When the members of a service are weighed next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scales(Instant);

impl Scales {
    /// Whether it is time; then the next time is a second on.
    pub(crate) fn are_due(&mut self, now: Instant) -> bool {
        let due = now >= self.0;
        if due {
            self.0 = now + EVERY;
        }
        due
    }
}

/// The middle one; of an even number the lower of the two: half of the members, or one of two, cannot lift it.
pub(crate) fn lower_median(values: &mut [f32]) -> Option<f32> {
    let at = values.len().checked_sub(1)? / 2;
    let (_, middle, _) = values.select_nth_unstable_by(at, f32::total_cmp);
    Some(*middle)
}

#[cfg(all(test, not(shuttle)))]
mod tests;
