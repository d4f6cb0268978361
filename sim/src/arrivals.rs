//! Owns how much work comes, and how often.

use crate::chance::Chance;
use crate::scenario::{Demand, Scenario};
use crate::server::CROWDED;

/// A neighbour comes after so many seconds, on average, and stays for one.
pub(crate) const APART: f64 = 4.0;

/// The work of one exchange, in seconds on a server of speed 1.
pub(crate) fn demand(demand: Demand, chance: &mut Chance) -> f64 {
    match demand {
        Demand::Exponential(mean) => chance.exponential(mean),
        Demand::Fixed(mean) => mean,
        Demand::Tailed(mean) => match chance.meets(0.02) {
            true => 25.0 * mean,
            false => mean * 0.5 / 0.98,
        },
        Demand::Paper(mean) => (mean * 0.92 * (1.0 + chance.normal())).max(mean / 100.0),
    }
}

/// The load in exchanges per second: what the servers can do, neighbours and slow machines taken into account.
#[expect(clippy::cast_precision_loss, reason = "counts of servers are small")]
pub(crate) fn arrivals_per_second(scenario: &Scenario) -> f64 {
    let paces = if scenario.antagonists {
        (APART + CROWDED) / (APART + 1.0)
    } else {
        1.0
    };
    let speeds = scenario.servers as f64
        - (1.0 - scenario.slow_speed) * scenario.servers_of(scenario.slow_share) as f64;
    let work = scenario
        .routes
        .iter()
        .map(|route| route.mean())
        .sum::<f64>()
        / scenario.routes.len() as f64;
    speeds * paces * scenario.slots as f64 / work * scenario.load
}
