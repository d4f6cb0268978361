//! Owns the one place where facts that picks recorded become standing.
//!
//! Cost: members, but of a service at rest (`rest`). Runs under the writer's lock, ten times a second and when a breaker is to open.

use std::time::Duration;

use super::{Entry, Ledger};
use crate::backend::Admin;
use crate::breaker::{Charges, Gate, cap, peace};
use crate::eligibility::Admission;
use crate::event::{EventKind, Withheld};
use crate::learn::window::Tally;
use crate::settings::{BreakerSettings, PolicyChoice};
use crate::standing::{Reason, Standing};
use crate::sync::Ordering;
use crate::time::Instant;

/// Up to so many members, ramps move with each tick.
const FINELY: usize = 256;

/// Of a ramp, where there are more.
const STEPS: u32 = 20;

impl Ledger {
    /// `exchanges`: whether the listener wants single attempts, as it said before the lock was taken.
    pub(crate) fn tick(&mut self, exchanges: bool, now: Instant) {
        let elapsed = now.since(self.last_tick);
        // Time that went back and comes again was counted.
        self.last_tick = self.last_tick.max(now);
        self.facts.tick_came(exchanges);
        if self.rests() {
            return self.tick_at_rest(elapsed);
        }
        if self.settings.adaptive_limit.is_some() {
            self.facts.know_classes();
        }
        self.facts.refresh_classes();
        let picked = self.learn(elapsed, now);
        self.follow_latency(now);
        self.judge(now);
        self.weigh(now);
        self.refill(picked, elapsed);
        self.outvote(now);
        if let Some(settings) = self.settings.breaker {
            self.trials(&settings, now);
            self.eject(&settings, now);
        }
        self.hedges(now);
        self.warm(now);
        self.drained();
        self.forget();
        self.lie_down();
    }

    /// Windows roll; who heard nothing since the last tick is forgiven a little. Says how many picks there were since.
    fn learn(&mut self, elapsed: Duration, now: Instant) -> u64 {
        if matches!(self.settings.policy, PolicyChoice::PeakEwma) {
            self.peaks(now);
        }
        let (mut picked, mut all) = (0_u64, 0_u64);
        for entry in &mut self.members {
            entry.backend.charge.settle();
            let counts = entry.backend.counts();
            picked = picked.saturating_add(counts.picked.saturating_sub(entry.picked));
            all = all.saturating_add(counts.picked);
            entry.picked = counts.picked;
            let tally = Tally::from(counts);
            entry.window.roll(now, tally);
            let heard = (tally.total(), entry.backend.last_success_picked());
            if heard == entry.heard {
                entry.backend.speed.forgive(elapsed);
            }
            entry.heard = heard;
        }
        self.totals.picked = all;
        picked
    }

    /// Who was not heard since the last tick comes nearer to what is usual among those that serve; who is out, or was never heard, begins there.
    fn peaks(&mut self, now: Instant) {
        let serves = |entry: &&Entry| self.admitted(entry) == Admission::Lane;
        let (mut count, mut sum) = (0.0_f32, 0.0_f32);
        for entry in self.members.iter().filter(serves) {
            count += 1.0;
            sum += entry.backend.peak.read().recip();
        }
        // The harmonic mean: who has this peak costs as much as the others with as many in flight as they have in the mean.
        let usual = match count > 0.0 {
            true => count / sum,
            false => 1.0,
        };
        for entry in &self.members {
            let success = entry.backend.last_success_picked();
            let (heard, peak) = ((entry.tally().total(), success), &entry.backend.peak);
            // Who stands by is heard now and then, and learns from that.
            if heard == (0, None) || !self.admitted(entry).has_lane() {
                peak.start(usual, now);
            } else if heard == entry.heard {
                peak.forget(usual, now);
            }
        }
        self.usual_peak = usual;
    }

    /// Who fails more than its peers together is trusted with less.
    fn judge(&mut self, now: Instant) {
        if !matches!(self.settings.policy, PolicyChoice::HealthBased) || !self.court.sits(now) {
            return;
        }
        let tallies = self.members.iter().map(|entry| entry.window.tally());
        let all = tallies.fold(Tally::default(), |all, own| Tally {
            succeeded: all.succeeded + own.succeeded,
            failed: all.failed + own.failed,
            slow: all.slow + own.slow,
        });
        for entry in &mut self.members {
            let own = entry.window.tally();
            let peers = Tally {
                succeeded: all.succeeded - own.succeeded,
                failed: all.failed - own.failed,
                slow: all.slow - own.slow,
            };
            let totals = entry.tally();
            self.dirty |= entry.trust.judge(own, peers, totals);
        }
    }

    /// The retry budget grows with the exchanges since the last tick: picks, less those that were retries.
    fn refill(&mut self, picked: u64, elapsed: Duration) {
        let retried = self.facts.retried.load(Ordering::Relaxed);
        // Each counter against itself: who leaves takes picks of this tick along, and nothing of earlier ones.
        // A retry given back lowers its counter; in one tick or in the next, the sum is the same.
        let since = picked.saturating_add(self.retried).saturating_sub(retried);
        self.retried = retried;
        self.facts
            .budget
            .refill(since, elapsed, &self.settings.retry.budget);
        if let Some(hedge) = &self.settings.hedge {
            self.facts.hedging.refill(since, elapsed, hedge);
        }
        let refused = self.facts.retries_refused.load(Ordering::Relaxed);
        if refused != self.retries_refused {
            self.tell(EventKind::RetryBudgetSpent {
                refused: refused - self.retries_refused,
            });
            self.retries_refused = refused;
        }
    }

    /// Verdicts by hand expire; live success outvotes checks that only timed out.
    fn outvote(&mut self, now: Instant) {
        for at in 0..self.members.len() {
            let entry = &mut self.members[at];
            if entry.health.is_settled() {
                continue;
            }
            let success = entry.backend.last_success_picked();
            let expired = entry.health.expire(now).then_some(Reason::ByHand);
            if let Some(reason) = entry.health.outvoted(success).or(expired) {
                self.changes.health += 1;
                self.restand(at, reason, now);
            }
        }
    }

    /// Half-open breakers close or open again by their trials; open ones become half-open in time.
    fn trials(&mut self, settings: &BreakerSettings, now: Instant) {
        for at in 0..self.members.len() {
            let entry = &mut self.members[at];
            entry.breaker.forgive(settings, now);
            let gate = entry.breaker.gate();
            if gate == Gate::Closed {
                continue;
            }
            let trials = &entry.backend.trials;
            match entry.breaker.verdict(trials.results(), settings) {
                Some(true) => self.close(at, Reason::TrialsPassed, now),
                Some(false) => self.open(at, Reason::TrialFailed, settings, now),
                None if entry.breaker.half_open(trials.available(), settings, now) => {
                    let trials = settings.trials.max(1);
                    if gate == Gate::HalfOpen {
                        entry.backend.trials.more(trials);
                    } else {
                        entry.backend.trials.begin(trials);
                    }
                    let backend = entry.spec.id.clone();
                    self.tell(EventKind::BreakerHalfOpened { backend, trials });
                    self.restand(at, Reason::OpenTimeOver, now);
                }
                None => {}
            }
        }
    }

    /// Opens what should open, the worst first, as far as the cap and the state of the whole service allow.
    fn eject(&mut self, settings: &BreakerSettings, now: Instant) {
        let (mut count, mut failing, mut out) = (0_usize, 0_usize, 0_usize);
        let mut accused: Vec<(usize, Reason, Charges)> = Vec::new();
        // One walk for all of it: ten thousand members are in no cache.
        for (at, entry) in self.members.iter_mut().enumerate() {
            let charges = entry.charges();
            if entry.spec.admin == Admin::Enabled {
                let fails = entry.breaker.gate() != Gate::Closed || charges.fails(settings);
                count += 1;
                failing += usize::from(fails);
                out += usize::from(entry.standing < Standing::Unproven);
            }
            match charges.trigger(settings) {
                Some(reason) if entry.standing >= Standing::Unproven => {
                    accused.push((at, reason, charges));
                }
                Some(_) => {}
                // An episode has ended; the next one is told again.
                None => entry.breaker.withheld = false,
            }
        }
        accused.sort_by(|(_, _, one), (_, _, two)| {
            let rate = |charges: &Charges| charges.failure_ratio().unwrap_or(0.0);
            two.consecutive
                .cmp(&one.consecutive)
                .then(rate(two).total_cmp(&rate(one)))
        });
        for (at, reason, _) in accused {
            if failing * 2 > count {
                self.withhold(at, Withheld::MedianFails);
            } else if out >= cap(count, settings) {
                self.withhold(at, Withheld::Cap);
            } else {
                out += 1;
                self.open(at, reason, settings, now);
            }
        }
    }

    fn withhold(&mut self, at: usize, why: Withheld) {
        let entry = &mut self.members[at];
        if !std::mem::replace(&mut entry.breaker.withheld, true) {
            let backend = entry.spec.id.clone();
            self.tell(EventKind::BreakerWithheld { backend, why });
        }
    }

    fn open(&mut self, at: usize, reason: Reason, settings: &BreakerSettings, now: Instant) {
        let entry = &mut self.members[at];
        let failures = entry.backend.consecutive_failures();
        entry.breaker.open(settings, now);
        entry.backend.trials.end();
        let until = entry.breaker.until().unwrap_or(now);
        let backend = entry.spec.id.clone();
        self.tell(EventKind::BreakerOpened {
            backend,
            reason,
            failures,
            until,
        });
        self.restand(at, reason, now);
    }

    /// Closed for so long, a breaker is forgiven an opening.
    pub(super) fn peace(&self) -> Duration {
        peace(&self.settings.breaker.unwrap_or_default())
    }

    /// By its trials or by hand. Nothing when it is closed.
    pub(super) fn close(&mut self, at: usize, reason: Reason, now: Instant) {
        let peace = self.peace();
        let entry = &mut self.members[at];
        if entry.acquit(peace, now) {
            let backend = entry.spec.id.clone();
            self.tell(EventKind::BreakerClosed { backend });
            self.restand(at, reason, now);
        }
    }

    /// Ramps move with time, so a table with warming backends is published at each tick; one of many members in steps of a twentieth. It costs
    /// all of them, and after a reload by which half of 10,000 are others it would for as long as they warm up.
    fn warm(&mut self, now: Instant) {
        let window = self.settings.slow_start;
        let step = match self.members.len() > FINELY {
            true => window / STEPS,
            false => Duration::ZERO,
        };
        let due = now.since(self.warmed) >= step;
        let mut moves = false;
        for entry in &mut self.members {
            if let Some(began) = entry.warming {
                let over = now.since(began) >= window;
                if over {
                    entry.warming = None;
                }
                moves |= over || due;
            }
        }
        if moves {
            self.warmed = now;
            self.dirty = true;
        }
    }

    fn drained(&mut self) {
        for at in 0..self.members.len() {
            let entry = &mut self.members[at];
            let done = entry.spec.admin == Admin::Draining && entry.backend.in_flight() == 0;
            if done && !std::mem::replace(&mut entry.drain_told, true) {
                let backend = entry.spec.id.clone();
                self.tell(EventKind::Drained { backend });
            }
        }
    }
}

impl Entry {
    pub(super) fn charges(&self) -> Charges {
        Charges {
            consecutive: self.backend.consecutive_failures(),
            window: self.window.tally(),
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::Arc as StdArc;

    use super::*;
    use crate::backend::BackendSpec;
    use crate::service::Service;
    use crate::settings::ServiceSettings;

    /// A service of one, which all but that one of so many members have just joined.
    fn joined(members: usize) -> Service {
        let specs = |count| {
            let each = (0..count).map(|at| BackendSpec::new(format!("b-{at}")));
            each.collect::<Vec<_>>()
        };
        let settings = ServiceSettings::default();
        let service = Service::new("s", settings, specs(1), StdArc::new(()), Instant::ZERO);
        let service = service.expect("one member is few");
        let brought = service.replace(specs(members), Instant::ZERO);
        brought.expect("no two have a name");
        service
    }

    /// Tables published within two seconds of ticks.
    #[track_caller]
    fn check(members: usize, published: u64) {
        let service = joined(members);
        let before = service.shared.table.version();
        for tick in 1..=20 {
            service.tick(Instant::ZERO + Duration::from_millis(100 * tick));
        }
        let tables = service.shared.table.version() - before;
        assert_eq!(tables, published, "{members} members");
    }

    #[test]
    fn ramps_of_many_are_published_in_steps() {
        check(FINELY, 20);
        // A twentieth of ten seconds is a half.
        check(FINELY + 1, 4);
    }

    #[test]
    fn ramps_of_many_end_when_they_end() {
        let service = joined(300);
        let warming = |at: u64| {
            service.tick(Instant::ZERO + Duration::from_millis(at));
            service.shared.table.read(|table| table.warming)
        };
        // Not at the end of a step.
        assert!(warming(9_700) && warming(9_900));
        assert!(!warming(10_000));
    }
}
