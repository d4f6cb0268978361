//! Owns the one place where facts that picks recorded become standing.
//!
//! Cost: members, once where none of them is on its way to anything; but of a service at rest (`rest`). Runs under the writer's lock, ten times a second and when a breaker is to open.

use std::mem::take;
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

/// Up to so many members, ramps move and the idle are forgiven with each tick.
const FINELY: usize = 256;

/// Where there are more, each is forgiven with one of so many ticks, a power of two: it is written for, and whoever picks it then finds its line changed.
const TURNS: usize = 16;

/// Of a ramp, where there are more.
const STEPS: u32 = 20;

/// What members ask of a tick beyond its first walk: ten thousand of them are in no cache, and hardly ever anybody asks.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// A verdict by hand may end, or success outvote a check.
    verdicts: bool,
    /// A breaker is not closed, or has openings to be forgiven.
    gates: bool,
    /// Something would open a breaker, or did while that was withheld.
    charges: bool,
    /// A ramp moves.
    ramps: bool,
    /// A drain ends.
    drains: bool,
}

impl Asked {
    #[inline]
    fn by(&mut self, entry: &Entry, breaker: Option<&BreakerSettings>) {
        self.verdicts |= !entry.health.is_settled();
        self.ramps |= entry.warming.is_some();
        self.drains |= entry.spec.admin == Admin::Draining && !entry.drain_told;
        if let Some(settings) = breaker {
            let open = entry.breaker.gate() != Gate::Closed;
            self.gates |= open || !entry.breaker.is_forgiven();
            let accused = entry.charges().trigger(settings).is_some();
            self.charges |= accused || entry.breaker.withheld;
        }
    }
}

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
        let (picked, asked) = self.learn(elapsed, now);
        self.follow_latency(now);
        self.judge(now);
        self.weigh(now);
        self.refill(picked, elapsed);
        if asked.verdicts {
            self.outvote(now);
        }
        if let Some(settings) = self.settings.breaker {
            if asked.gates {
                self.trials(&settings, now);
            }
            if asked.charges {
                self.eject(&settings, now);
            }
        }
        self.hedges(now);
        // Who has just come back begins a ramp, and has changed the table anyway.
        if asked.ramps || self.dirty {
            self.warm(now);
        }
        if asked.drains {
            self.drained();
        }
        self.forget();
        self.lie_down();
    }

    /// Windows roll; who heard nothing since the last tick is forgiven a little. Says how many picks there were since, and what members ask of
    /// the rest of the tick.
    fn learn(&mut self, elapsed: Duration, now: Instant) -> (u64, Asked) {
        if matches!(self.settings.policy, PolicyChoice::PeakEwma) {
            self.peaks(now);
        }
        let turns = match self.members.len() > FINELY {
            true => TURNS,
            false => 1,
        };
        self.turn = self.turn.wrapping_add(1);
        let breaker = self.settings.breaker;
        let (mut picked, mut all, mut asked) = (0_u64, 0_u64, Asked::default());
        for (at, entry) in self.members.iter_mut().enumerate() {
            entry.backend.charge.settle();
            let counts = entry.backend.counts();
            picked = picked.saturating_add(counts.picked.saturating_sub(entry.picked));
            all = all.saturating_add(counts.picked);
            entry.picked = counts.picked;
            let tally = Tally::from(counts);
            entry.window.roll(now, tally);
            let heard = (tally.total(), entry.backend.last_success_picked());
            if heard == entry.heard {
                entry.idle += elapsed;
            }
            entry.heard = heard;
            if !entry.idle.is_zero() && at.wrapping_add(self.turn) & (turns - 1) == 0 {
                entry.backend.speed.forgive(take(&mut entry.idle));
            }
            asked.by(entry, breaker.as_ref());
        }
        self.totals.picked = all;
        (picked, asked)
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
                self.news_of(at);
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

    /// How slow each of so many seems, that were once slow and have been idle for so many ticks.
    fn slowness(members: usize, ticks: u64) -> Vec<f32> {
        let service = joined(members);
        service.shared.table.read(|table| {
            for lane in &table.lanes {
                lane.backend.speed.succeeded(16.0);
            }
        });
        for tick in 1..=ticks {
            service.tick(Instant::ZERO + Duration::from_millis(100 * tick));
        }
        let of = |table: &crate::table::Table| {
            let lanes = table.lanes.iter();
            lanes
                .map(|lane| lane.backend.speed.read().slowness)
                .collect()
        };
        service.shared.table.read(of)
    }

    #[test]
    fn of_many_the_idle_are_forgiven_in_turns_and_for_all_of_their_time() {
        let (few, many) = (slowness(FINELY, 1), slowness(16 * TURNS + TURNS, 1));
        let began = slowness(1, 0)[0];
        let forgiven = |all: &[f32]| all.iter().filter(|&&one| one < began).count();
        assert_eq!((forgiven(&few), forgiven(&many)), (FINELY, 17), "one tick");
        // What is left to forgive is what came since its last turn.
        let (most, least) = (slowness(1, 100)[0], slowness(1, 85)[0]);
        for one in slowness(FINELY + 1, 100) {
            assert!(most - 1e-5 <= one && one <= least + 1e-5, "{one}");
        }
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
