//! Owns the one task of a balancer: it ticks every service, at its time and promptly when one asks.
//!
//! Holds the balancer weakly, so it ends with it. Decides nothing; what a tick does is the core's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use evenkeel_balance::service::TICK;
use tokio::runtime::{self, Handle};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::balancer::Shared;
use crate::clock::Clock;
use crate::error::Error;
use crate::service::Registered;

/// Prompt ticks are at least this far apart: a service whose backends all fail must not keep a thread busy.
const SPACING: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
struct Task {
    running: Option<AbortHandle>,
    /// The last runtime that has no timers. It is not asked twice: the answer is a panic.
    timerless: Option<runtime::Id>,
}

/// The task, and whether it runs.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    /// The program ticks: nothing is started unasked.
    by_hand: bool,
    alive: Arc<AtomicBool>,
    task: Mutex<Task>,
}

impl Ticker {
    pub(crate) fn new(by_hand: bool) -> Self {
        Self {
            by_hand,
            ..Self::default()
        }
    }

    /// Whether the task runs. It ends with its runtime.
    #[inline]
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Starts it on the runtime of this thread; nothing when it runs already.
    pub(crate) fn start(&self, balancer: &Arc<Shared>) -> Result<(), Error> {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        self.start_on(
            &Handle::try_current().map_err(|_| Error::NoRuntime)?,
            task,
            balancer,
        )
    }

    /// The same, unasked: where a runtime is, unless the program ticks by hand. Never waits.
    #[cold]
    pub(crate) fn start_where_possible(&self, balancer: &Arc<Shared>) {
        if !self.by_hand
            && !balancer.is_stopped()
            && let Ok(runtime) = Handle::try_current()
            && let Ok(task) = self.task.try_lock()
            && task.timerless != Some(runtime.id())
        {
            // What is wrong is said to whoever starts it in words.
            drop(self.start_on(&runtime, task, balancer));
        }
    }

    fn start_on(
        &self,
        runtime: &Handle,
        mut task: MutexGuard<'_, Task>,
        balancer: &Arc<Shared>,
    ) -> Result<(), Error> {
        if self.is_alive() {
            return Ok(());
        }
        if !has_timers(runtime) {
            task.timerless = Some(runtime.id());
            return Err(Error::NoTimers);
        }
        self.alive.store(true, Ordering::Relaxed);
        let alive = Alive(self.alive.clone());
        let ticking = run(
            Arc::downgrade(balancer),
            balancer.hub.bell.clone(),
            balancer.clock,
        );
        let spawned = runtime.spawn(async move {
            let _alive = alive;
            ticking.await;
        });
        task.running = Some(spawned.abort_handle());
        Ok(())
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = task.running.take() {
            running.abort();
        }
    }
}

/// However the task ends, also with its runtime, it is known to have ended.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Tokio answers this by a panic alone; better here than in a task that nobody watches. Where panics abort, so does this, as the
/// task's own would.
fn has_timers(runtime: &Handle) -> bool {
    let _inside = runtime.enter();
    catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
}

/// Runs until the balancer is gone; aborted when it stops.
async fn run(balancer: Weak<Shared>, bell: Arc<Notify>, clock: Clock) {
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
        let ticked = catch_unwind(AssertUnwindSafe(|| {
            let now = clock.now();
            service.core.tick(now);
            if let Some(kept) = service.kept.get() {
                kept.sweep(now);
            }
            service.look(now);
        }));
        drop(ticked);
    }
}
