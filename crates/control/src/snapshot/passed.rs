//! Owns what is said of what passes on as it comes: tunnels and flows.

use std::time::Duration;

use evenkeel_proxy::observation::{Durations, PASSED_BOUNDS, PassedCounters, ServiceCounters};

/// A service's tunnels, or its flows, at one moment.
#[derive(Clone, Debug)]
pub struct PassedSnapshot {
    /// Those that are open.
    pub open: u64,
    /// Bytes from clients so far.
    pub received: u64,
    /// Bytes to clients so far.
    pub sent: u64,
    /// Those that are over by how long they were open: bound in seconds and count, not cumulative; the last bound is infinite.
    pub lasted: Vec<(f64, u64)>,
    /// Sum of that.
    pub lasted_sum: Duration,
}

pub(super) fn passed(rows: &[ServiceCounters], flows: bool) -> PassedSnapshot {
    let sum = |count: &dyn Fn(&PassedCounters) -> u64| -> u64 {
        rows.iter().map(|row| count(row.passed(flows))).sum()
    };
    let lasted = rows.iter().map(|row| &row.passed(flows).lasted);
    let lasted = Durations::together(&PASSED_BOUNDS, lasted);
    // Those that are over first: whoever opens and closes meanwhile is not counted below zero.
    let closed = sum(&|one| one.closed.get());
    PassedSnapshot {
        open: sum(&|one| one.opened.get()).saturating_sub(closed),
        received: sum(&|one| one.received.get()),
        sent: sum(&|one| one.sent.get()),
        lasted: lasted.buckets,
        lasted_sum: lasted.sum,
    }
}
