//! Owns the one task of a balancer: it ticks every service, at its time and promptly when one asks.
//!
//! Holds the balancer weakly, so it ends with it. Decides nothing; what a tick does is the core's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use evenkeel_balance::service::TICK;
use tokio::sync::Notify;

use crate::balancer::Shared;
use crate::clock::Clock;
use crate::service::Registered;

/// Prompt ticks are at least this far apart: a service whose backends all fail must not keep a thread busy.
const SPACING: Duration = Duration::from_millis(5);

/// Runs until the balancer is gone; aborted when it stops.
pub(crate) async fn run(balancer: Weak<Shared>, bell: Arc<Notify>, clock: Clock) {
    let mut due = clock.now() + TICK;
    let mut last_prompt = None;
    loop {
        let rung = tokio::time::timeout(due.since(clock.now()), bell.notified()).await;
        if let (Ok(()), Some(last)) = (rung, last_prompt) {
            let rest = SPACING.saturating_sub(clock.now().since(last));
            if !rest.is_zero() {
                tokio::time::sleep(rest).await;
            }
        }
        let Some(balancer) = balancer.upgrade() else {
            return;
        };
        let now = clock.now();
        let regular = now >= due;
        tick(
            &balancer,
            |service| service.ear.take_wish() || regular,
            clock,
        );
        if regular {
            due = now + TICK;
        } else {
            last_prompt = Some(now);
        }
    }
}

/// Ticks those services that `which` names. A panic in one does not keep the others waiting.
pub(crate) fn tick(balancer: &Shared, which: impl Fn(&Registered) -> bool, clock: Clock) {
    // Owned, not borrowed: a tick of many services must not hold one of the swap's few fast slots.
    let services = balancer.services.load_full();
    for service in services.values().filter(|service| which(service)) {
        let ticked = catch_unwind(AssertUnwindSafe(|| service.core.tick(clock.now())));
        drop(ticked);
    }
}
