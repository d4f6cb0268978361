//! Owns a service: one group of backends, its settings, and the pick.
//!
//! Pickers read the published table; everything that changes the service goes through one writer's lock and leaves
//! as one new table. Opens nothing and waits for nothing.

use std::sync::Arc as StdArc;
use std::time::Duration;

use crate::ask::Ask;
use crate::backend::{Admin, Backend, BackendId, BackendSpec, Weight};
use crate::choice;
use crate::event::{EventKind, Listener};
use crate::explain::{self, Explanation};
use crate::facts::{Facts, Flags};
use crate::health::CheckReport;
use crate::load::LoadReport;
use crate::membership::{Ledger, MembershipError};
use crate::pick::{Pick, Refusal};
use crate::policy::Turn;
use crate::queue::{self, Entry};
use crate::retry::{Attempt, Decision};
use crate::settings::ServiceSettings;
use crate::snapshot::ServiceSnapshot;
use crate::sync::{Arc, Mutex, Ordering, Published, fence};
use crate::table::Table;
use crate::time::Instant;

/// A worker's own view.
mod handle;

/// Looking at a part of it.
mod looking;

/// A second attempt beside a slow one.
mod hedging;

/// Changes of several things as one.
mod together;

/// Changes that are told later.
mod untold;

pub use handle::{Handle, Seat};
pub use untold::Untold;

/// How often a service wants its [`tick`](Service::tick).
pub const TICK: Duration = Duration::from_millis(100);

/// A named group of backends that can serve the same requests. Clones are the same service.
#[derive(Clone)]
pub struct Service {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) facts: Arc<Facts>,
    pub(crate) table: Published<Table>,
    ledger: Mutex<Ledger>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Service {
    /// A service that serves at once. Its first backends do not warm up.
    ///
    /// # Errors
    /// [`MembershipError`] when two backends share an identity or there are too many.
    pub fn new(
        name: impl Into<StdArc<str>>,
        settings: ServiceSettings,
        backends: Vec<BackendSpec>,
        listener: StdArc<dyn Listener>,
        now: Instant,
    ) -> Result<Self, MembershipError> {
        let begun = Self::new_untold(name, settings, backends, listener, now);
        begun.map(|(service, _told_here)| service)
    }

    /// The same, its first event kept untold: for who holds a lock of its own, and may not call listeners under it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "who brings members gives them away; `bring` is for who keeps them"
    )]
    pub fn new_untold(
        name: impl Into<StdArc<str>>,
        settings: ServiceSettings,
        backends: Vec<BackendSpec>,
        listener: StdArc<dyn Listener>,
        now: Instant,
    ) -> Result<(Self, Untold), MembershipError> {
        let facts = Arc::new(Facts::new(name.into(), listener, &settings));
        let mut ledger = Ledger::new(facts.clone(), settings, now);
        ledger.replace(&together::each(&backends), now)?;
        ledger.begun();
        ledger.add_up(now);
        let table = Published::new(Arc::new(ledger.table(now, None)));
        ledger.take_dirty();
        let service = Self {
            shared: Arc::new(Shared {
                facts,
                table,
                ledger: Mutex::new(ledger),
            }),
        };
        let untold = service.untold();
        service.write(now, |_| ());
        Ok((service, untold))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.facts.name
    }

    /// Chooses a backend and charges it. No lock, no allocation; cost by policy.
    ///
    /// # Errors
    /// A [`Refusal`] that says which no it is.
    #[inline]
    pub fn pick(&self, ask: &Ask<'_>, now: Instant) -> Result<Pick, Refusal> {
        let picked = self.picked(ask, now);
        picked.map_err(|refusal| self.refused(refusal, now))
    }

    /// As [`pick`](Self::pick); where the service is full and its settings have a queue, a place in that, until then at the longest.
    /// Where it has none this is `pick`. Cost beyond `pick` while it is full: a lock, an allocation, and a look at those who wait.
    ///
    /// # Errors
    /// A [`Refusal`]; of a full queue [`Refusal::QueueFull`].
    pub fn pick_or_wait(
        &self,
        ask: &Ask<'_>,
        until: Instant,
        now: Instant,
    ) -> Result<Entry<Pick>, Refusal> {
        match self.picked(ask, now) {
            Ok(pick) => Ok(Entry::Picked(pick)),
            Err(refusal) => self.wait(refusal, ask, until, now),
        }
    }

    /// The one place that reads the table for a pick: with a second one the compiler makes each of them dearer.
    #[inline]
    fn picked(&self, ask: &Ask<'_>, now: Instant) -> Result<Pick, Refusal> {
        let facts = &*self.shared.facts;
        self.shared.table.read(|table| {
            let taken = choice::take(table, facts, ask, Turn::Shared(&facts.turn.0), now)?;
            let backend = table.lane(taken.lane).backend.clone();
            let pick = Pick::new(backend, ask.class, taken, now);
            if facts.picks_heeded() {
                told(facts, table, pick.backend(), ask, pick.is_trial(), now);
            }
            Ok(pick)
        })
    }

    /// Lines up where it was refused because all is full, and there is a queue.
    #[cold]
    fn wait(
        &self,
        refusal: Refusal,
        ask: &Ask<'_>,
        until: Instant,
        now: Instant,
    ) -> Result<Entry<Pick>, Refusal> {
        let queue = self.shared.table.load().queue;
        let Some(queue) = queue.filter(|_| refusal == Refusal::AllFull) else {
            return Err(self.refused(refusal, now));
        };
        match queue::enter(self, queue, ask, until, now)? {
            Entry::Picked(pick) => Ok(Entry::Picked(pick.lasting())),
            Entry::Waiting(waiting) => Ok(Entry::Waiting(waiting)),
        }
    }

    #[cold]
    fn refused(&self, refusal: Refusal, now: Instant) -> Refusal {
        let members = self.shared.table.load().members.len();
        self.shared.facts.refused(refusal, members, now);
        refusal
    }

    /// A worker's own view of the service: its picks move no shared reference count, its rotations no shared counter.
    /// `seed` is where its rotations begin; give each worker another.
    #[must_use]
    pub fn handle(&self, seed: u64) -> Handle {
        Handle::new(self.clone(), seed)
    }

    /// Adds one backend. Cost: members.
    ///
    /// # Errors
    /// [`MembershipError`] when its identity is taken or there are too many.
    pub fn add(&self, backend: BackendSpec, now: Instant) -> Result<(), MembershipError> {
        self.write(now, |ledger| ledger.add(backend, now))
    }

    /// Changes the configuration of one backend; its state is kept.
    ///
    /// # Errors
    /// [`MembershipError::Unknown`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "as `replace` and `reconfigure`: who brings members gives them away"
    )]
    pub fn update(&self, backend: BackendSpec, now: Instant) -> Result<(), MembershipError> {
        self.write(now, |ledger| ledger.update(&backend, now))
    }

    /// Removes one backend; its attempts in flight end in peace.
    ///
    /// # Errors
    /// [`MembershipError::Unknown`].
    pub fn remove(&self, backend: &BackendId, now: Instant) -> Result<(), MembershipError> {
        self.write(now, |ledger| ledger.remove(backend, now))
    }

    /// Enables, drains or disables one backend.
    ///
    /// # Errors
    /// [`MembershipError::Unknown`].
    pub fn set_admin(
        &self,
        backend: &BackendId,
        admin: Admin,
        now: Instant,
    ) -> Result<(), MembershipError> {
        self.write(now, |ledger| {
            let spec = ledger.spec(backend)?.clone();
            ledger.update(&spec.admin(admin), now)
        })
    }

    /// Gives one backend another weight.
    ///
    /// # Errors
    /// [`MembershipError::Unknown`].
    pub fn set_weight(
        &self,
        backend: &BackendId,
        weight: Weight,
        now: Instant,
    ) -> Result<(), MembershipError> {
        self.write(now, |ledger| {
            let spec = ledger.spec(backend)?.clone();
            ledger.update(&spec.weight(weight), now)
        })
    }

    /// Puts other settings in force. All state is kept; `classes` stays what it was.
    pub fn set_settings(&self, settings: ServiceSettings, now: Instant) {
        self.write(now, |ledger| ledger.set_settings(settings, now));
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> ServiceSettings {
        self.locked(|ledger| ledger.settings().clone())
    }

    /// Turns what picks recorded into standing, refreshes means, budget and ramps, and publishes what changed.
    /// To be called by one task every [`TICK`], and when [`Listener::tick_wanted`] says so. Cost: members; nearly nothing where there was
    /// no traffic for so long that nothing is left to be learned or forgiven.
    pub fn tick(&self, now: Instant) {
        let exchanges = self.shared.facts.ask_listener();
        let tick = |ledger: &mut Ledger| ledger.tick(exchanges, now);
        self.change(now, tick, |_| true);
    }

    /// Takes the result of a check in. Without checks in the settings it is told, and decides nothing. Picks see a change
    /// at once; of a service with more than 256 members, from the next [`tick`](Self::tick) on. Where a member is lost that serves, or
    /// the first is well again, one is asked for; of more than 1,000, not sooner than 5 us for each beyond them after the last table.
    ///
    /// # Errors
    /// [`MembershipError::Unknown`]: the backend left while it was checked, or joined after the check began.
    pub fn check(
        &self,
        backend: &BackendId,
        report: CheckReport,
        now: Instant,
    ) -> Result<(), MembershipError> {
        self.write_soon(now, |ledger| ledger.check(backend, report, now))
    }

    /// Takes the results of many checks in, and publishes once. Says how many were of members, as [`check`](Self::check)
    /// understands them. Cost: checks, and members once.
    pub fn check_many<'a>(
        &self,
        reports: impl IntoIterator<Item = (&'a BackendId, CheckReport)>,
        now: Instant,
    ) -> usize {
        let checked = |ledger: &mut Ledger| {
            let known = |(backend, report)| ledger.check(backend, report, now).is_ok();
            reports
                .into_iter()
                .map(known)
                .filter(|known| *known)
                .count()
        };
        self.write(now, checked)
    }

    /// Takes in what a backend says of its load, from wherever it was heard; see [`Backend::report_load`], which spares the look-up.
    ///
    /// # Errors
    /// [`MembershipError::Unknown`].
    pub fn report_load(
        &self,
        backend: &BackendId,
        report: &LoadReport,
        now: Instant,
    ) -> Result<(), MembershipError> {
        self.locked(|ledger| ledger.report_load(backend, report, now))
    }

    /// A verdict by hand: at once, held against checks and traffic until `until`, another verdict, or for ever.
    /// `Some(true)` closes the breaker and, without `until`, clears what checks and an earlier verdict said; `None`
    /// withdraws the verdict.
    ///
    /// # Errors
    /// [`MembershipError::Unknown`].
    pub fn mark(
        &self,
        backend: &BackendId,
        healthy: Option<bool>,
        until: Option<Instant>,
        now: Instant,
    ) -> Result<(), MembershipError> {
        self.write(now, |ledger| ledger.mark(backend, healthy, until, now))
    }

    /// Whether a failed attempt is made again; a yes is charged to the budget.
    pub fn retry(&self, attempt: &Attempt, chance: u64) -> Decision {
        self.shared.facts.retry(attempt, chance)
    }

    /// Gives back a retry that was granted so and not made: the client left while it waited. Nothing when none was granted.
    pub fn retry_not_made(&self, granted: Decision) {
        self.shared.facts.retry_not_made(granted);
    }

    /// How many picks were refused thus since the service began.
    #[must_use]
    pub fn refusals(&self, refusal: Refusal) -> u64 {
        self.shared.facts.refusals(refusal)
    }

    /// Everything there is to know, of one moment of the writer's; counters move on.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> ServiceSnapshot {
        // Not under the writer's lock: who waits is looked at under its own.
        let queue = self.shared.facts.queue.snapshot();
        self.locked(|ledger| ledger.snapshot(queue, now))
    }

    /// What [`pick`](Self::pick) would do with this ask now, and why. Runs the same code; charges and turns nothing.
    #[must_use]
    pub fn explain(&self, ask: &Ask<'_>, now: Instant) -> Explanation {
        let facts = &self.shared.facts;
        let turn = facts.turn.0.load(Ordering::Relaxed);
        explain::explain(
            &self.shared.table.load(),
            facts,
            ask,
            (turn, usize::MAX),
            now,
        )
    }

    /// Checks the law of all members: picks = finished + abandoned + in flight. Exact while no pick is taken or ended.
    /// Picks are counted on their own in builds with debug assertions only: they would cost each pick 5 ns.
    ///
    /// # Errors
    /// The first backend that breaks one.
    pub fn laws(&self) -> Result<(), BackendId> {
        self.locked(|ledger| ledger.laws())
    }

    /// Says that the service ends. Picks in flight end in peace.
    pub fn stop(&self, now: Instant) {
        let facts = &self.shared.facts;
        self.locked(|ledger| {
            let (members, in_flight) = ledger.load();
            let stopped = EventKind::ServiceStopped { members, in_flight };
            facts.line_up(now, vec![stopped]);
        });
        facts.tell_line();
    }

    /// One change by the one writer: published, then told, outside the lock and in the order of the changes.
    pub(crate) fn write<R>(&self, now: Instant, change: impl FnOnce(&mut Ledger) -> R) -> R {
        let change = |ledger: &mut Ledger| {
            ledger.wake();
            change(ledger)
        };
        self.change(now, change, |_| true)
    }

    /// As [`write`](Self::write), but in a large service the change is published by a tick: each publication costs all
    /// members, and a sweep of checks changes many, one after another.
    fn write_soon<R>(&self, now: Instant, change: impl FnOnce(&mut Ledger) -> R) -> R {
        self.change(now, change, Ledger::is_small)
    }

    fn change<R>(
        &self,
        now: Instant,
        change: impl FnOnce(&mut Ledger) -> R,
        at_once: impl FnOnce(&Ledger) -> bool,
    ) -> R {
        let facts = &self.shared.facts;
        let (result, presses, _unread) = self.locked(|ledger| {
            let result = change(ledger);
            ledger.settle(now);
            if at_once(ledger) && ledger.take_dirty() {
                let before = self.shared.table.load();
                ledger.add_up(now);
                let next = ledger.table(now, Some(&before));
                self.shared.table.store(Arc::new(next));
                ledger.retire(before);
            }
            facts.line_up(now, ledger.take_events());
            let unread = ledger.unread();
            ledger.parts_left();
            (result, ledger.presses(now), unread)
        });
        if presses {
            facts.ask_tick();
        }
        // What was published may have room. Who lines up looks at the table behind its flag, as this at the flag behind the table.
        fence(Ordering::SeqCst);
        if facts.flags.has(Flags::WAITING) {
            facts.queue.settle(facts, None, now);
        }
        facts.tell_line();
        result
    }

    pub(crate) fn locked<R>(&self, look: impl FnOnce(&mut Ledger) -> R) -> R {
        // A panic under the lock is a bug in arithmetic over facts; the ledger is still whole enough to serve.
        let mut ledger = self
            .shared
            .ledger
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        look(&mut ledger)
    }
}

#[cold]
pub(crate) fn told(
    facts: &Facts,
    table: &Table,
    backend: &Backend,
    ask: &Ask<'_>,
    trial: bool,
    now: Instant,
) {
    facts.stir();
    facts.hook(now, |policy| policy.picked(backend, ask));
    if facts.wants_exchanges() {
        let (policy, candidates) = (table.policy.clone(), table.lanes.len());
        facts.tell(
            now,
            EventKind::Picked {
                backend: backend.id().clone(),
                policy,
                candidates,
                trial,
            },
        );
    }
}
