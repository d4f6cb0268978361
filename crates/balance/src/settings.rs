//! Owns what an operator may set of a service's decisions, with the default and the reason of each.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::hedge::HedgeSettings;
pub use crate::limit::AdaptiveLimit;
use crate::policy::Policy;
pub use crate::policy::keyed::{HashMethod, LoadBound};
use crate::retry::RetrySettings;
use crate::setters::setters;

/// How many must be healthy.
mod healthy;

/// How tiers and zones share.
mod sharing;

pub use healthy::MinHealthy;
pub use sharing::{Overprovision, ZoneSettings};

/// Which policy chooses.
#[derive(Clone, Default)]
pub enum PolicyChoice {
    /// Least cost of slowness, failing and load (the default).
    #[default]
    Adaptive,
    /// Weighted, smooth rotation.
    RoundRobin,
    /// Weighted random.
    Random,
    /// Least peak of latency, times those in flight and one more.
    PeakEwma,
    /// Least mean time to the response head, times those in flight and one more.
    LeastTime,
    /// Weighted random; who fails more than its peers gets less, step by step, and slowly more again.
    HealthBased,
    /// Smooth rotation by weight times what backends can do, as they report it.
    WeightedByLoad,
    /// Fewest attempts in flight per weight.
    LeastConnections,
    /// The better of two random ones.
    PowerOfTwo,
    /// By the key of the ask.
    Hash(HashMethod),
    /// By the key of the ask, as long as its backend has no more in flight than its part of them all times a factor. All attempts
    /// are then counted in one word, as with a limit of the service.
    Bounded(HashMethod, LoadBound),
    /// The program's own.
    Custom(Arc<dyn Policy>),
}

impl PolicyChoice {
    /// All of the core's own.
    pub const BUILT_IN: [Self; 15] = [
        Self::Adaptive,
        Self::PeakEwma,
        Self::LeastTime,
        Self::LeastConnections,
        Self::PowerOfTwo,
        Self::RoundRobin,
        Self::Random,
        Self::HealthBased,
        Self::WeightedByLoad,
        Self::Hash(HashMethod::Maglev),
        Self::Hash(HashMethod::Ring),
        Self::Hash(HashMethod::Rendezvous),
        Self::Bounded(HashMethod::Maglev, LoadBound::DEFAULT),
        Self::Bounded(HashMethod::Ring, LoadBound::DEFAULT),
        Self::Bounded(HashMethod::Rendezvous, LoadBound::DEFAULT),
    ];

    /// The word for it in configuration, logs and events.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Adaptive => "adaptive",
            Self::PeakEwma => "peak_ewma",
            Self::LeastTime => "least_time",
            Self::HealthBased => "health_based",
            Self::WeightedByLoad => "weighted_by_load",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::LeastConnections => "least_connections",
            Self::PowerOfTwo => "power_of_two",
            Self::Hash(method) => method.word(false),
            Self::Bounded(method, _) => method.word(true),
            Self::Custom(policy) => policy.name(),
        }
    }

    /// Whether it is the same policy with the same settings. Programs' own are told apart by their names alone.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.name() == other.name() && self.bound() == other.bound()
    }

    /// Whether it looks at how long answers take, or at what backends say of their load: shares that follow latency from outside
    /// would take turns with it. A program's own is taken to.
    #[must_use]
    pub const fn heeds_latency(&self) -> bool {
        match self {
            Self::Adaptive
            | Self::LeastTime
            | Self::PeakEwma
            | Self::WeightedByLoad
            | Self::Custom(_) => true,
            Self::RoundRobin
            | Self::Random
            | Self::LeastConnections
            | Self::PowerOfTwo
            | Self::HealthBased
            | Self::Hash(_)
            | Self::Bounded(..) => false,
        }
    }

    /// Whether it chooses by the key of the ask.
    #[must_use]
    pub const fn is_keyed(&self) -> bool {
        matches!(self, Self::Hash(_) | Self::Bounded(..))
    }

    /// How much more than its part a backend may have in flight; none: there is no such bound.
    #[must_use]
    pub const fn bound(&self) -> Option<LoadBound> {
        match self {
            Self::Bounded(_, bound) => Some(*bound),
            _ => None,
        }
    }
}

impl fmt::Debug for PolicyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When a checked backend comes and goes. Counts are of consecutive results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActiveSettings {
    /// Passed checks that bring a down backend up; at least 1. An unproven one needs a single success.
    pub rise: u32,
    /// Failed checks that bring a backend down; at least 1. The five systems read both 1 and 3.
    pub fall: u32,
}

impl Default for ActiveSettings {
    /// HAProxy's: two to rise, three to fall.
    fn default() -> Self {
        Self { rise: 2, fall: 3 }
    }
}

setters!(ActiveSettings { rise: u32, fall: u32, ; });

/// When live traffic ejects a backend, and how it returns.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BreakerSettings {
    /// So many failures in a row open it; 0 never does.
    pub consecutive: u32,
    /// This share of failures in the window opens it, 0 to 1; above 1 never does.
    pub failure_rate: f64,
    /// A success later than this is slow; none: nothing is slow.
    pub slow: Option<Duration>,
    /// This share of slow successes in the window opens it, 0 to 1.
    pub slow_rate: f64,
    /// Rates are judged from so many verdicts in the window.
    pub least: u32,
    /// Length of the window; exact to a tenth.
    pub window: Duration,
    /// How long it stays open the first time; doubled each time it opens again.
    pub open: Duration,
    /// The longest that it stays open.
    pub open_max: Duration,
    /// So many trials run when half-open, and all must pass; 1 to 32,767.
    pub trials: u16,
    /// Open and down backends together are at most this share of the enabled ones (rounded down, at least one of two).
    pub cap: f64,
}

impl Default for BreakerSettings {
    /// Five in a row, or half of at least 20 in 10 s; never more than half. Out for 1 s, at most 1 minute (linkerd's figures): most stalls
    /// are over within seconds, and a trial that fails costs one attempt.
    fn default() -> Self {
        Self {
            consecutive: 5,
            failure_rate: 0.5,
            slow: None,
            slow_rate: 0.8,
            least: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(1),
            open_max: Duration::from_secs(60),
            trials: 1,
            cap: 0.5,
        }
    }
}

setters!(BreakerSettings {
    consecutive: u32,
    failure_rate: f64,
    slow_rate: f64,
    least: u32,
    window: Duration,
    open: Duration,
    open_max: Duration,
    trials: u16,
    cap: f64,
    ;
    slow: Duration,
});

/// How the `weighted_by_load` policy goes by what backends report.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LoadSettings {
    /// A backend's reports count from so long after the first: one that has just begun has little load for other reasons.
    pub blackout: Duration,
    /// A report counts for so long.
    pub expiry: Duration,
    /// A request in `n` that fails counts as so much utilization, by `n`: one that fails each looks fully used with 1.
    pub penalty: f64,
    /// A backend gets at most so many times its configured share, and at least such a part of it; 1 to 100. Measured against the middle
    /// one of those that report.
    pub bound: f32,
}

impl Default for LoadSettings {
    /// The figures of gRFC A58, which knows no bound: ten is more than machines of one service differ by, and what a liar can take.
    fn default() -> Self {
        Self {
            blackout: Duration::from_secs(10),
            expiry: Duration::from_secs(180),
            penalty: 1.0,
            bound: 10.0,
        }
    }
}

impl LoadSettings {
    /// The bound, in octaves.
    pub(crate) fn octaves(&self) -> f32 {
        let bound = self.bound.clamp(1.0, 100.0);
        // Who sets what is no number has set nothing.
        if bound.is_nan() { 0.0 } else { bound.log2() }
    }
}

setters!(LoadSettings {
    blackout: Duration,
    expiry: Duration,
    penalty: f64,
    bound: f32,
    ;
});

/// What happens when no backend is healthy, or fewer are than [must be](MinHealthy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAllDown {
    /// Refuse: [`Refusal::AllDown`](crate::pick::Refusal::AllDown).
    #[default]
    FailClosed,
    /// Serve through all that are not draining, disabled or of weight 0: a verdict may be wrong about everybody.
    FailOpen,
}

/// Whether asks wait while a service is full, and how many for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSettings {
    /// The most that wait at once. One more turns the last of the line away, which may be itself. About 300 bytes each.
    pub length: u32,
    /// The longest that one waits; less where its caller has less time.
    pub timeout: Duration,
}

impl Default for QueueSettings {
    /// A burst of a thousand, for a second: who waits longer has mostly asked again by then.
    fn default() -> Self {
        Self {
            length: 1000,
            timeout: Duration::from_secs(1),
        }
    }
}

setters!(QueueSettings { length: u32, timeout: Duration, ; });

/// What clients that are kept on a backend may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AffinitySettings {
    /// A backend that drains still serves those who are kept there, for so long from when it began to; zero: they move at once.
    pub draining: Duration,
}

impl Default for AffinitySettings {
    /// What ALB waits for a target that is deregistered.
    fn default() -> Self {
        Self {
            draining: Duration::from_secs(300),
        }
    }
}

setters!(AffinitySettings { draining: Duration, ; });

/// All settings of one service.
///
/// ```
/// use evenkeel_balance::settings::{ActiveSettings, OnAllDown, PolicyChoice, QueueSettings, ServiceSettings};
///
/// let settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin)
///     .health(ActiveSettings::default().fall(1))
///     .breaker(None)
///     .max_in_flight(100)
///     .queue(QueueSettings::default().length(50))
///     .on_all_down(OnAllDown::FailOpen);
/// assert_eq!(settings.queue.map(|queue| queue.length), Some(50));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceSettings {
    /// Who is chosen among the eligible.
    pub policy: PolicyChoice,
    /// Whether checks decide, and when; none: every backend counts as up.
    pub health: Option<ActiveSettings>,
    /// Whether live traffic ejects; none: never.
    pub breaker: Option<BreakerSettings>,
    /// How the `weighted_by_load` policy weighs.
    pub load: LoadSettings,
    /// A backend that joins a serving service, or returns to it, reaches its weight over this time; zero: at once. Policies that
    /// count attempts in flight give it one at a time while all others are busy, however small its share is.
    pub slow_start: Duration,
    /// When no backend is healthy.
    pub on_all_down: OnAllDown,
    /// With fewer healthy ones than this it is as when none is.
    pub min_healthy: MinHealthy,
    /// How much of what is meant for them healthy members of a tier, or of a zone, carry before others do.
    pub overprovision: Overprovision,
    /// Whether zones are heeded; none: where a backend stands says nothing.
    pub zones: Option<ZoneSettings>,
    /// At most so many attempts at once on all backends together, kept exactly; none is no limit. Where a service gets its first
    /// limit while it serves, attempts that began before are not counted.
    pub max_in_flight: Option<NonZeroU32>,
    /// Whether each backend has a limit that follows its latency, beneath its own; none: it has not.
    pub adaptive_limit: Option<AdaptiveLimit>,
    /// Whether asks may wait while the service is full; none: they are refused at once.
    pub queue: Option<QueueSettings>,
    /// Whether clients are kept on their backends; none: [`Ask::kept`](crate::ask::Ask::kept) is not heeded.
    pub affinity: Option<AffinitySettings>,
    /// What is tried again, and how often.
    pub retry: RetrySettings,
    /// Whether a second attempt is begun beside one that is slow; none: never. Its quantile is measured for each class, in 4 KiB.
    pub hedge: Option<HedgeSettings>,
    /// Keep a latency histogram per backend (about 3.3 KiB each). Takes effect for backends that join later.
    pub histograms: bool,
    /// So many classes have a mean of their own (128 bytes each); fixed when the service is made.
    pub classes: u16,
    /// The most members, 1 to 1,000,000.
    pub max_backends: u32,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            policy: PolicyChoice::Adaptive,
            health: None,
            breaker: Some(BreakerSettings::default()),
            load: LoadSettings::default(),
            slow_start: Duration::from_secs(10),
            on_all_down: OnAllDown::FailClosed,
            min_healthy: MinHealthy::default(),
            overprovision: Overprovision::DEFAULT,
            zones: None,
            max_in_flight: None,
            adaptive_limit: None,
            queue: None,
            affinity: None,
            retry: RetrySettings::default(),
            hedge: None,
            histograms: false,
            classes: 64,
            max_backends: 1_000_000,
        }
    }
}

impl ServiceSettings {
    /// The defaults with another policy.
    #[must_use]
    pub fn with_policy(policy: PolicyChoice) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }
}

setters!(ServiceSettings {
    policy: PolicyChoice,
    slow_start: Duration,
    on_all_down: OnAllDown,
    min_healthy: MinHealthy,
    overprovision: Overprovision,
    load: LoadSettings,
    retry: RetrySettings,
    histograms: bool,
    classes: u16,
    max_backends: u32,
    ;
    health: ActiveSettings,
    breaker: BreakerSettings,
    adaptive_limit: AdaptiveLimit,
    queue: QueueSettings,
    affinity: AffinitySettings,
    hedge: HedgeSettings,
    zones: ZoneSettings,
});

impl ServiceSettings {
    /// Whether all of it is the same; programs' own policies are told apart by their names alone.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        // Named one by one, so that a new setting is not forgotten here.
        let Self {
            policy,
            health,
            breaker,
            load,
            slow_start,
            on_all_down,
            min_healthy,
            overprovision,
            zones,
            max_in_flight,
            adaptive_limit,
            queue,
            affinity,
            retry,
            hedge,
            histograms,
            classes,
            max_backends,
        } = self;
        policy.is_same(&other.policy)
            && *health == other.health
            && *breaker == other.breaker
            && *load == other.load
            && *slow_start == other.slow_start
            && *on_all_down == other.on_all_down
            && *min_healthy == other.min_healthy
            && *overprovision == other.overprovision
            && *zones == other.zones
            && *max_in_flight == other.max_in_flight
            && *adaptive_limit == other.adaptive_limit
            && *queue == other.queue
            && *affinity == other.affinity
            && *retry == other.retry
            && *hedge == other.hedge
            && *histograms == other.histograms
            && *classes == other.classes
            && *max_backends == other.max_backends
    }

    /// The same with at most `limit` attempts in flight on all backends together; 0 is no limit.
    #[must_use]
    pub fn max_in_flight(mut self, limit: u32) -> Self {
        self.max_in_flight = NonZeroU32::new(limit);
        self
    }
}
