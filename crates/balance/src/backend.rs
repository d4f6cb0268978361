//! Owns one member of a service: what was configured of it, and the running state that its identity keys.
//!
//! State outlives configuration: an update of weight or position never touches a counter. Standing is not here
//! (see `standing`); who may be picked is not here (see `eligibility`).

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc as StdArc;
use std::time::Duration;

use crate::charge::Charge;
use crate::facts::Facts;
use crate::learn::ewma::Ewma;
use crate::learn::histogram::Histogram;
use crate::learn::pace::Pace;
use crate::learn::peak::Peak;
use crate::learn::speed::{Learned, Speed};
use crate::load::{LoadReport, Reported};
use crate::row::Row;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::Instant;
use crate::trials::Trials;
use crate::zone::Zone;

/// The identity of a backend within its service: any text, by default its address. Never its weight or position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(StdArc<str>);

impl BackendId {
    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for BackendId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for BackendId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// So that maps by identity are asked by text.
impl Borrow<str> for BackendId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How large a share a backend wants, relative to the others: 0 to 10,000. Weight 0 takes no new exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

/// A weight above [`Weight::MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightOutOfRange(pub u32);

impl fmt::Display for WeightOutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "weight {} is out of range: it must lie between 0 and {}",
            self.0,
            Weight::MOST
        )
    }
}

impl std::error::Error for WeightOutOfRange {}

impl Weight {
    /// The largest weight.
    pub const MOST: u16 = 10_000;
    /// No new exchanges.
    pub const ZERO: Self = Self(0);
    /// The weight of a backend that asks for nothing else.
    pub const ONE: Self = Self(1);

    /// A checked weight.
    ///
    /// # Errors
    /// [`WeightOutOfRange`] above [`Weight::MOST`].
    pub fn new(weight: u32) -> Result<Self, WeightOutOfRange> {
        match u16::try_from(weight) {
            Ok(checked) if checked <= Self::MOST => Ok(Self(checked)),
            _ => Err(WeightOutOfRange(weight)),
        }
    }

    /// The weight as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// What the operator wants of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Admin {
    /// It may be picked.
    #[default]
    Enabled,
    /// No new exchanges; those in flight end in peace.
    Draining,
    /// Out of service.
    Disabled,
}

/// What was configured of one backend.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BackendSpec {
    /// Identity; unique within the service.
    pub id: BackendId,
    /// Share wanted.
    pub weight: Weight,
    /// At most so many attempts at once, kept exactly; none is no limit.
    pub max_in_flight: Option<NonZeroU32>,
    /// What the operator wants.
    pub admin: Admin,
    /// Members of a tier serve as far as those of tiers with smaller numbers lack healthy capacity, or can take no more; 0 is the first.
    pub tier: u16,
    /// Where it stands; heeded where the settings have zones.
    pub zone: Option<Zone>,
    /// Free words of the operator, kept and shown, never interpreted.
    pub labels: BTreeMap<String, String>,
}

impl BackendSpec {
    /// An enabled backend of weight 1 without a limit.
    pub fn new(id: impl Into<BackendId>) -> Self {
        Self {
            id: id.into(),
            weight: Weight::ONE,
            max_in_flight: None,
            admin: Admin::Enabled,
            tier: 0,
            zone: None,
            labels: BTreeMap::new(),
        }
    }

    /// The same with another weight.
    #[must_use]
    pub fn weight(self, weight: Weight) -> Self {
        Self { weight, ..self }
    }

    /// The same with at most `limit` attempts in flight; 0 is no limit.
    #[must_use]
    pub fn max_in_flight(self, limit: u32) -> Self {
        Self {
            max_in_flight: NonZeroU32::new(limit),
            ..self
        }
    }

    /// The same with another wish of the operator.
    #[must_use]
    pub fn admin(self, admin: Admin) -> Self {
        Self { admin, ..self }
    }

    /// The same in another tier.
    #[must_use]
    pub fn tier(self, tier: u16) -> Self {
        Self { tier, ..self }
    }

    /// The same in a zone.
    #[must_use]
    pub fn zone(self, zone: impl Into<Zone>) -> Self {
        Self {
            zone: Some(zone.into()),
            ..self
        }
    }

    /// The same with one more label, or another text for one that it has.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.labels.insert(name.into(), text.into());
        self
    }
}

impl AsRef<Self> for BackendSpec {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl From<&str> for BackendSpec {
    /// As [`BackendSpec::new`].
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for BackendSpec {
    /// As [`BackendSpec::new`].
    fn from(id: String) -> Self {
        Self::new(id)
    }
}

/// What was counted of one backend since it joined; each attempt exactly once, and none of it is ever taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Attempts sent here.
    pub picked: u64,
    /// Attempts that ended with [`finish`](crate::pick::Pick::finish).
    pub finished: u64,
    /// Attempts whose pick was dropped.
    pub abandoned: u64,
    /// Attempts under way.
    pub in_flight: u32,
    /// Attempts that ended with a good response head and did not break behind it.
    pub succeeded: u64,
    /// Attempts that failed, before a response head, by it or behind it.
    pub failed: u64,
    /// Those of `succeeded` whose head took longer than the breaker's `slow` setting.
    pub slow: u64,
}

impl Counts {
    /// Those of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            picked: self.picked + other.picked,
            finished: self.finished + other.finished,
            abandoned: self.abandoned + other.abandoned,
            in_flight: self.in_flight.saturating_add(other.in_flight),
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            slow: self.slow + other.slow,
        }
    }
}

/// The running state of one backend, shared by every worker and kept across updates.
///
/// Two cache lines that picks write, apart from the neighbours' (measured: `docs/decisions/0003-own-line-per-backend.md`).
#[derive(Debug)]
#[repr(align(128))]
pub struct Backend {
    pub(crate) charge: Charge,
    pub(crate) speed: Speed,
    /// Kept for the `peak_ewma` policy only.
    pub(crate) peak: Peak,
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) abandoned: AtomicU64,
    pub(crate) slow: AtomicU64,
    /// When the newest success was picked, in nanoseconds; 0 for never.
    pub(crate) success_picked: AtomicU64,
    /// What hardly an attempt touches.
    pub(crate) cold: Box<Cold>,
    pub(crate) trials: Trials,
    pub(crate) row: Row,
    /// Mean latency in seconds.
    latency: Ewma,
    serial: u32,
    id: BackendId,
    pub(crate) facts: Arc<Facts>,
    pub(crate) apart: Box<Apart>,
}

/// What the answers of some services teach besides: a flag of theirs says so, and who has not raised it does not come here.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    pub(crate) histogram: Option<Histogram>,
    /// For an adaptive limit.
    pub(crate) pace: Pace,
}

/// What of a backend has a line of its own: an attempt that finds no connection writes it, and a report of load.
#[derive(Debug, Default)]
pub(crate) struct Cold {
    /// When the newest attempt was picked, or check begun, that found no connection, in nanoseconds; 0 for never.
    unreached: AtomicU64,
    /// Kept for the `weighted_by_load` policy only.
    pub(crate) reported: Reported,
}

// A field more, and each backend takes 256 bytes and one line more of what a pick touches. The laws of debug builds have counters of their own.
#[cfg(not(any(debug_assertions, shuttle)))]
const _: () = assert!(size_of::<Backend>() == 128, "two cache lines");

/// Weight of one sample in the reported mean latency; k-msg's 0.8/0.2.
const LATENCY_SAMPLE: f32 = 0.2;

impl Backend {
    pub(crate) fn new(id: BackendId, serial: u32, facts: Arc<Facts>, histogram: bool) -> Self {
        Self {
            charge: Charge::default(),
            speed: Speed::new(),
            peak: Peak::default(),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            success_picked: AtomicU64::new(0),
            cold: Box::default(),
            trials: Trials::default(),
            row: Row::default(),
            latency: Ewma::default(),
            serial,
            id,
            facts,
            apart: Box::new(Apart {
                histogram: histogram.then(Histogram::default),
                pace: Pace::default(),
            }),
        }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> &BackendId {
        &self.id
    }

    /// A number that no other backend of the service has had since the service began.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Attempts under way now, of all workers.
    #[must_use]
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.charge.in_flight()
    }

    /// What live traffic taught the `adaptive` policy.
    #[must_use]
    pub fn learned(&self) -> Learned {
        self.speed.read()
    }

    /// Mean time to the response head over successes, weight 0.2 for the newest; none before the first.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency
            .value()
            .map(|seconds| Duration::from_secs_f32(seconds.max(0.0)))
    }

    /// Failures in a row: before a response head, since the last good one; behind one, since an attempt last came to its end.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.row.len()
    }

    /// The distribution of latency, where the service keeps histograms.
    #[must_use]
    pub fn histogram(&self) -> Option<&Histogram> {
        self.apart.histogram.as_ref()
    }

    /// What was counted. `picked` is the sum of finished, abandoned and in flight.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (finished, in_flight) = self.charge.read();
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        Counts {
            picked: finished + abandoned + u64::from(in_flight),
            finished,
            abandoned,
            in_flight,
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            slow: self.slow.load(Ordering::Relaxed),
        }
    }

    /// The law of charges; see [`Charge::law`].
    pub(crate) fn law(&self) -> bool {
        self.charge.law(self.abandoned.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn learn_latency(&self, seconds: f32) {
        self.latency.observe(seconds, LATENCY_SAMPLE);
    }

    /// It took at least so long: no mean sinks by that.
    pub(crate) fn outlasted(&self, seconds: f32) {
        let known = self.latency.value().unwrap_or(seconds);
        self.latency.observe(seconds.max(known), LATENCY_SAMPLE);
    }

    /// The mean begins here.
    pub(crate) fn start_latency(&self, seconds: f32) {
        self.latency.set(seconds);
    }

    /// No connection came about by an attempt or a check that began then.
    pub(crate) fn unreached_at(&self, began: Instant) {
        self.cold
            .unreached
            .store(began.as_nanos().max(1), Ordering::Relaxed);
    }

    /// When an attempt or a check began last that found no connection; the owner's start for never.
    pub(crate) fn last_unreached(&self) -> Instant {
        Instant::from_nanos(self.cold.unreached.load(Ordering::Relaxed))
    }

    /// It says this of its load now, which the `weighted_by_load` policy goes by from its next tick on. Of what is said between two
    /// ticks the last counts. Cost: three stores and a count; no lock.
    pub fn report_load(&self, report: &LoadReport, now: Instant) {
        self.cold.reported.report(report, now);
    }

    pub(crate) fn last_success_picked(&self) -> Option<Instant> {
        match self.success_picked.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Instant::from_nanos(nanos)),
        }
    }
}
