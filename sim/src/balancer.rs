//! Owns one balancer of a world: a real service, whose wish for a tick is heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::event::{Event, Listener};
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::retry::{Attempt, Decision, Progress};
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{ServiceSettings, ZoneSettings};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Fault;
use evenkeel_balance::zone::Zone;

use crate::scenario::Scenario;

/// Notes that a balancer wants a tick; the world gives it at once.
#[derive(Debug, Default)]
pub(crate) struct Wants(AtomicBool);

impl Listener for Wants {
    fn hear(&self, _event: &Event) {}

    fn tick_wanted(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A balancer: the real core, and what the world knows of it.
pub(crate) struct Balancer {
    pub(crate) service: Service,
    wants: Arc<Wants>,
    /// What the world has in flight on each backend; the core must count the same.
    pub(crate) in_flight: Vec<u32>,
    /// What the world sent to each backend since the beginning.
    pub(crate) sent: Vec<u64>,
    /// How often it was asked, and how often it refused.
    pub(crate) asked: u64,
    pub(crate) refused: u64,
}

impl Balancer {
    /// How long to wait before the next attempt, if the core grants one, and whether the one that failed is excused. Of those before
    /// it, so many were made, and so many excused.
    pub(crate) fn again(
        &self,
        fault: Fault,
        (made, excused): (u32, u32),
        chance: u64,
    ) -> Option<(Duration, bool)> {
        let attempt = Attempt::new(fault)
            .idempotent(true)
            .progress(match fault {
                Fault::Connect => Progress::Unreached,
                _ => Progress::Sent,
            })
            .made(made)
            .excused(excused);
        match self.service.retry(&attempt, chance) {
            Decision::Again { after, excused } => Some((after, excused)),
            Decision::No(_) => None,
        }
    }

    /// The one of this number, over all servers of the scenario.
    pub(crate) fn new(scenario: &Scenario, settings: &ServiceSettings, instance: usize) -> Self {
        let wants = Arc::new(Wants::default());
        let zone = |number: usize| Zone::from(format!("zone-{number}"));
        let backends = (0..scenario.servers)
            .map(|at| {
                let (tier, stands) = scenario.part_of(at);
                let spec = BackendSpec::new(format!("server-{at}")).tier(tier);
                match stands {
                    Some(number) => spec.zone(zone(number)),
                    None => spec,
                }
            })
            .collect();
        let mut settings = settings.clone();
        settings.zones = scenario
            .zone_of(instance)
            .map(|own| ZoneSettings::default().local(zone(own)));
        let service = Service::new(
            scenario.name,
            settings,
            backends,
            wants.clone(),
            Instant::ZERO,
        )
        .expect("the names are different and few");
        Self {
            service,
            wants,
            in_flight: vec![0; scenario.servers],
            sent: vec![0; scenario.servers],
            asked: 0,
            refused: 0,
        }
    }

    /// The laws, against the world's own counts.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        let counted = self.service.snapshot(now).backends;
        let refused: u64 = Refusal::ALL
            .map(|refusal| self.service.refusals(refusal))
            .iter()
            .sum();
        self.service.laws().is_ok()
            && self.refused == refused
            && self.asked == self.sent.iter().sum::<u64>() + refused
            && counted
                .iter()
                .zip(&self.sent)
                .all(|(backend, sent)| backend.counts.picked == *sent)
            && counted
                .iter()
                .zip(&self.in_flight)
                .all(|(backend, in_flight)| backend.counts.in_flight == *in_flight)
    }

    /// The tick that the core asked for, if it did.
    pub(crate) fn prompt_tick(&self, now: Instant) {
        if self.wants.0.swap(false, Ordering::Relaxed) {
            self.service.tick(now);
        }
    }
}
