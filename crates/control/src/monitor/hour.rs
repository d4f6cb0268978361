//! Owns what the last hour came to, of counters that only rise and of figures that have a peak: what advice goes by, beside series.
//!
//! Twelve slots of five minutes: an hour is one of 55 to 60 minutes. Nothing of it outlives the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_balance::health::CheckResult;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::retry;
use evenkeel_balance::snapshot::{BackendSnapshot, ServiceSnapshot};
use evenkeel_balance::standing;
use evenkeel_balance::time::Instant;
use evenkeel_proxy::live::{Live, LiveService};
use evenkeel_proxy::observation::{ServiceCounters, refused_retries, retries, stays};
use evenkeel_proxy::reason::Reason;
use evenkeel_proxy::room::Room;
use evenkeel_watch::latencies::Latencies;
use evenkeel_watch::series::{Series, Span};

use super::tap::ended;

const SLOT: Duration = Duration::from_secs(300);
const SLOTS: u64 = 12;
const HOUR: Duration = Duration::from_secs(SLOT.as_secs() * SLOTS);

/// Falls of one backend that are remembered: more say nothing more.
const FALLS_MOST: usize = 32;

#[derive(Debug, Default)]
struct Slot {
    sums: Vec<u64>,
    peaks: Vec<u64>,
}

/// The last hour of some counters and figures.
#[derive(Debug, Default)]
pub(crate) struct Hour {
    began: Option<Instant>,
    over: VecDeque<Slot>,
    now: Slot,
    seen: Vec<u64>,
}

impl Hour {
    /// What the counters, in their order, have come to, and what the figures are now. The first time all that was counted counts.
    pub(crate) fn turn(&mut self, now: Instant, counters: &[u64], figures: &[u64]) {
        let began = *self.began.get_or_insert(now);
        let passed = now.since(began).as_secs() / SLOT.as_secs();
        // After a night in which nobody looked, nothing of before is left.
        for _ in 0..passed.min(SLOTS) {
            self.over.push_back(std::mem::take(&mut self.now));
            if self.over.len() as u64 >= SLOTS {
                self.over.pop_front();
            }
        }
        let slots = u32::try_from(passed).unwrap_or(u32::MAX);
        self.began = Some(began + SLOT.saturating_mul(slots));
        self.seen.resize(counters.len(), 0);
        self.now.sums.resize(counters.len(), 0);
        self.now.peaks.resize(figures.len(), 0);
        for ((sum, seen), count) in self.now.sums.iter_mut().zip(&mut self.seen).zip(counters) {
            // Fewer than before are those of another one of that name.
            *sum += count.checked_sub(*seen).unwrap_or(*count);
            *seen = *count;
        }
        for (peak, figure) in self.now.peaks.iter_mut().zip(figures) {
            *peak = (*peak).max(*figure);
        }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.over.iter().chain([&self.now])
    }

    /// How much the counter at this place has risen.
    pub(crate) fn sum(&self, at: usize) -> u64 {
        let each = self.slots().map(|slot| slot.sums.get(at).copied());
        each.map(Option::unwrap_or_default).sum()
    }

    /// The most that the figure at this place was, when it was looked at.
    pub(crate) fn peak(&self, at: usize) -> u64 {
        let each = self.slots().filter_map(|slot| slot.peaks.get(at).copied());
        each.max().unwrap_or(0)
    }
}

/// Counters of a service, by their places.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Risen {
    /// Attempts that took longer than they may.
    Timeouts,
    /// Asks that waited.
    Queued,
    /// Of them, those that were refused.
    QueueRefused,
    /// Retries that were made.
    Retries,
    /// Those that the budget did not allow.
    Denied,
    /// Requests of clients that are kept.
    Kept,
    /// Requests that all were too full for.
    Full,
    /// Requests that failed on backends that checks brought down later.
    FailedBefore,
}

/// Figures of a service, by their places.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peak {
    /// Attempts in flight.
    InFlight,
    /// Of them, those that its limit counts.
    Places,
    /// Asks that wait.
    Waiting,
}

/// The last hour of a service, beside its series: about 1.5 KiB, and 700 bytes where it is checked.
#[derive(Debug, Default)]
pub(crate) struct ServiceHour {
    hour: Hour,
    failed_before: u64,
    checks: Option<Box<Checks>>,
}

/// How long checks took that passed: of this half an hour, and of the one before.
#[derive(Debug)]
struct Checks {
    began: Instant,
    halves: [Latencies; 2],
}

/// What is known of a backend from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    is_well: bool,
    falls: VecDeque<Instant>,
    checked: Option<Instant>,
}

impl ServiceHour {
    pub(crate) fn turn(&mut self, service: &LiveService, core: &ServiceSnapshot, now: Instant) {
        let rows = &service.state.counters;
        let of = |reason: Reason| -> u64 {
            let number = reason.number();
            rows.iter().map(|row| row.reasons[number].get()).sum()
        };
        let named = |all: &[(&str, u64)], wanted: &str| {
            let found = all.iter().find(|(word, _)| *word == wanted);
            found.map_or(0, |(_, count)| *count)
        };
        let made = retries(rows.iter().map(|row| &row.retries));
        let refused = refused_retries(rows.iter().map(|row| &row.retries));
        let kept = match service.affinity {
            Some(_) => stays(rows.iter().map(|row| &row.stays)),
            None => Vec::new(),
        };
        // In the order of `Risen`. What a connection that was kept had ended for is no retry of anybody's.
        let counters = [
            of(Reason::BackendTimeout) + named(&made, "timeout"),
            core.queue.entered,
            core.queue.refused,
            made.iter().map(|(_, count)| count).sum::<u64>() - named(&made, "anew"),
            named(&refused, retry::Reason::BudgetExhausted.word()),
            named(&kept, "kept"),
            of(Reason::Refused(Refusal::AllFull)) + of(Reason::Refused(Refusal::QueueFull)),
            self.failed_before,
        ];
        let in_flight = core.backends.iter();
        let in_flight = in_flight.map(|one| u64::from(one.counts.in_flight)).sum();
        let places = core.places.map_or(0, |(taken, _)| u64::from(taken));
        let figures = [in_flight, places, core.queue.waiting as u64];
        self.hour.turn(now, &counters, &figures);
    }

    /// What a look at one of its backends says: whether it has fallen since the last one, and what its newest check took.
    pub(crate) fn look(
        &mut self,
        (looked, one): (&mut Looked, &BackendSnapshot),
        service: &LiveService,
        (series, now): (Option<&Series>, Instant),
    ) {
        let is_well = one.standing.is_well();
        if looked.is_well && !is_well {
            looked.falls.push_back(now);
            if looked.falls.len() > FALLS_MOST {
                looked.falls.pop_front();
            }
            let by_checks = matches!(one.reason, standing::Reason::ChecksFailed(_));
            if let (true, Some(series)) = (by_checks, series) {
                self.failed_before += series.over(window_of(service)).errors;
            }
        }
        looked.is_well = is_well;
        let passed = one.last_check.filter(|check| {
            check.result == CheckResult::Passed && looked.checked < Some(check.began)
        });
        if let Some(check) = passed {
            looked.checked = Some(check.began);
            let fresh = || {
                Box::new(Checks {
                    began: now,
                    halves: [Latencies::default(), Latencies::default()],
                })
            };
            let checks = self.checks.get_or_insert_with(fresh);
            if now.since(checks.began) >= HOUR / 2 {
                checks.began = now;
                checks.halves.swap(0, 1);
                checks.halves[0] = Latencies::default();
            }
            let nanos = u64::try_from(check.latency.as_nanos()).unwrap_or(u64::MAX);
            checks.halves[0].add(nanos, 1);
        }
    }

    pub(crate) fn risen(&self, which: Risen) -> u64 {
        self.hour.sum(which as usize)
    }

    pub(crate) fn peak(&self, which: Peak) -> u64 {
        self.hour.peak(which as usize)
    }

    /// The 99th percentile of checks that passed, in seconds; none of fewer than a hundred.
    pub(crate) fn checks_p99(&self) -> Option<f64> {
        let checks = self.checks.as_ref()?;
        let mut all = checks.halves[0].clone();
        all.merge(&checks.halves[1]);
        (all.count() >= 100).then(|| all.quantile(0.99)).flatten()
    }
}

impl Looked {
    /// How often it fell within the hour.
    pub(crate) fn falls(&self, now: Instant) -> u64 {
        let within = |fell: &&Instant| now.since(**fell) < HOUR;
        self.falls.iter().filter(within).count() as u64
    }
}

/// In which of the windows checks find out.
fn window_of(service: &LiveService) -> Span {
    let finds = service.plan.health.as_ref().map_or(Duration::ZERO, |plan| {
        let fall = service.plan.settings.health.map_or(1, |core| core.fall);
        let others = plan.interval_unsure.saturating_mul(fall.saturating_sub(1));
        plan.interval + others + plan.timeout
    });
    match finds.as_secs() {
        0..=10 => Span::TenSeconds,
        11..=60 => Span::Minute,
        _ => Span::TenMinutes,
    }
}

/// The last hour of what is not of a service.
#[derive(Debug, Default)]
pub(crate) struct InstanceHour {
    process: Hour,
    workers: Hour,
    listeners: BTreeMap<Arc<str>, Hour>,
}

impl InstanceHour {
    pub(crate) fn turn(&mut self, live: &Live, now: Instant) {
        let (taken, _) = Room::of_process().taken();
        self.process.turn(now, &[], &[taken as u64]);
        for (plan, door) in live.plan.listeners.iter().zip(&live.doors) {
            let counters = &door.counters;
            // Those that have no place wait for one.
            let admitted = counters.admitted_total();
            let waiting = counters.accepted_total().saturating_sub(admitted);
            let open = door.open.load(Ordering::Relaxed) as u64;
            let hour = self.listeners.entry(plan.name.clone()).or_default();
            hour.turn(now, &[], &[open, waiting]);
        }
        let known = |name: &str| live.plan.listeners.iter().any(|one| *one.name == *name);
        self.listeners.retain(|name, _| known(name));
    }

    /// Exchanges of each worker within the hour. Cost: six numbers of each worker for each service.
    pub(crate) fn workers(&mut self, live: &Live, now: Instant) -> Vec<u64> {
        let mut all = Vec::new();
        for service in &live.services {
            for (at, row) in service.state.counters.iter().enumerate() {
                if all.len() <= at {
                    all.push(0);
                }
                all[at] += ended(std::slice::from_ref::<ServiceCounters>(row));
            }
        }
        self.workers.turn(now, &all, &[]);
        (0..all.len()).map(|at| self.workers.sum(at)).collect()
    }

    /// The most connections of clients.
    pub(crate) fn connections(&self) -> u64 {
        self.process.peak(0)
    }

    /// Of a listener: the most connections that were open, and the most that waited for a place.
    pub(crate) fn listener(&self, name: &str) -> (u64, u64) {
        let hour = self.listeners.get(name);
        hour.map_or((0, 0), |hour| (hour.peak(0), hour.peak(1)))
    }
}
