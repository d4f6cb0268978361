//! A policy of the program's own: the nearest backend, until it is busy; then the next nearest.
//!
//! `cargo run --example nearest`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;
use std::sync::Arc;

use evenkeel::balance::ask::Ask;
use evenkeel::balance::policy::{Candidates, Policy};
use evenkeel::{BackendId, EventName, LoadBalancer, PolicyChoice, ServiceSettings};

/// How far each backend is, in milliseconds, and how many attempts it takes before the next nearest is asked.
struct Nearest {
    distances: HashMap<BackendId, u32>,
    busy_at: u32,
}

impl Policy for Nearest {
    fn name(&self) -> &'static str {
        "nearest"
    }

    /// `view.iter()` names those that may be picked now: who is down, full, drained or tried is not among them.
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        let cost = |index: &usize| self.score(view, *index, ask).map(f64::to_bits);
        view.iter().min_by_key(cost)
    }

    /// Shown by `explain`. Never negative, so its bits are in order too.
    fn score(&self, view: &Candidates<'_>, index: usize, _: &Ask<'_>) -> Option<f64> {
        let distance = self.distances.get(view.id(index)).copied();
        let turns = view.in_flight(index) / self.busy_at;
        Some(f64::from(distance.unwrap_or(1_000)) + 10_000.0 * f64::from(turns))
    }
}

fn main() -> Result<(), evenkeel::Error> {
    let nearest = Nearest {
        distances: [("near", 1), ("far", 40), ("farther", 90)]
            .map(|(id, ms)| (id.into(), ms))
            .into(),
        busy_at: 2,
    };
    let balancer = LoadBalancer::new();
    // A policy that panics, or chooses who may not be chosen, is replaced by round robin, and that is told.
    let broke = |event: &evenkeel::Event| println!("replaced: {event:?}");
    balancer.on(EventName::PolicyFailed, broke)?.forever();
    let settings = ServiceSettings::with_policy(PolicyChoice::Custom(Arc::new(nearest)));
    balancer.register("api", settings, ["farther", "near", "far"])?;
    let mut under_way = Vec::new();
    for _ in 0..5 {
        let pick = balancer.select("api")?;
        println!("to {}", pick.id());
        under_way.push(pick);
    }
    under_way.into_iter().for_each(evenkeel::Pick::succeeded);
    balancer.mark_health("api", "near", false)?;
    println!("near is down: to {}", balancer.select("api")?.id());
    Ok(())
}
