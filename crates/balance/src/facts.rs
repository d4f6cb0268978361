//! Owns what a pick may record about its service: means of classes, refusals, the wish for a prompt tick.
//!
//! Picks write here, the tick reads. Nothing here decides who is picked.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc as StdArc, PoisonError};
use std::time::Duration;

use crate::ask::ClassId;
use crate::backend::Backend;
use crate::charge::Places;
use crate::event::{Event, EventKind, Listener};
use crate::hedge::{self, Hedging, NoHedge, Slow};
use crate::pick::Refusal;
use crate::policy::Policy;
use crate::queue::Queue;
use crate::retry::RetrySettings;
use crate::retry::budget::Budget;
use crate::retry::{self, Attempt, Decision};
use crate::settings::ServiceSettings;
use crate::spill::Spills;
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering, Published};
use crate::time::Instant;

/// What answers of each class take.
mod classes;

use classes::Class;

pub(crate) struct Facts {
    pub(crate) name: StdArc<str>,
    listener: StdArc<dyn Listener>,
    exchanges: AtomicBool,
    /// Events of changes that are still to be told, in order.
    outbox: Mutex<VecDeque<Event>>,
    telling: AtomicBool,
    /// A policy broke, and its listener has not been told.
    owed: AtomicBool,
    classes: Box<[Class]>,
    /// A success at or beyond this is slow; `u64::MAX` for none.
    slow_nanos: AtomicU64,
    /// Failures in a row that ask for a prompt tick; 0 for none.
    prompt_at: AtomicU32,
    prompt: AtomicBool,
    refused: [AtomicU64; Refusal::ALL.len()],
    pub(crate) turn: OwnLine<AtomicU64>,
    pub(crate) budget: Budget,
    /// Retries granted, and those that the budget refused.
    pub(crate) retried: AtomicU64,
    pub(crate) retries_refused: AtomicU64,
    pub(crate) retry: Published<RetrySettings>,
    /// Second attempts beside slow ones.
    pub(crate) hedging: Hedging,
    pub(crate) spills: OwnLine<Spills>,
    hooked: AtomicBool,
    /// What a pick and its end have to heed.
    pub(crate) flags: Flags,
    /// Attempts in flight of all backends, while the service has a limit of its own.
    pub(crate) places: OwnLine<Places>,
    /// Who waits.
    pub(crate) queue: Queue,
    hooks: Published<Option<StdArc<dyn Policy>>>,
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a pick and its end have to heed besides the table, in one word: they look at it once, and it is 0 nearly always.
#[derive(Debug, Default)]
pub(crate) struct Flags(AtomicU32);

impl Flags {
    /// Somebody watches single attempts: a listener that wants them, or hooks of the program's own policy.
    pub(crate) const WATCHED: u32 = 1;
    /// The program's own policy broke.
    pub(crate) const BROKE: u32 = 2;
    /// The service has a limit of its own, or had one: attempts are counted since, so that another limit is exact at once.
    pub(crate) const PLACES: u32 = 4;
    /// Somebody waits.
    pub(crate) const WAITING: u32 = 8;
    /// The policy learns peaks of latency: an answer's matter alone, no pick's nor its end's.
    pub(crate) const PEAKS: u32 = 16;
    /// Clients are kept on their backends: a pick's matter alone.
    pub(crate) const KEEPS: u32 = 32;
    /// Backends have histograms, or had: those that have one go on. An answer's matter alone.
    pub(crate) const HISTOGRAMS: u32 = 64;
    /// Adaptive limits learn from answers.
    pub(crate) const PACES: u32 = 128;
    /// It is measured how long answers take, for hedges.
    pub(crate) const HEDGES: u32 = 256;
    /// A table that somebody reads may have parts: a pick's matter alone. Set before the first such table is published.
    pub(crate) const PARTS: u32 = 512;
    /// Nothing has happened for so long that a tick has nothing to walk (see `membership/rest`). Whoever records something takes it away: a
    /// pick, an answer and an end look at flags anyway, so that those of a service that is awake pay nothing for it.
    pub(crate) const RESTS: u32 = 1024;
    /// What answers alone heed.
    pub(crate) const ANSWERS: u32 = Self::PEAKS | Self::HISTOGRAMS | Self::PACES | Self::HEDGES;

    /// Sequentially consistent, as is the setting: see `queue` for why.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::SeqCst) & !(Self::ANSWERS | Self::KEEPS | Self::PARTS) != 0
    }

    #[inline]
    pub(crate) fn has(&self, flag: u32) -> bool {
        self.0.load(Ordering::SeqCst) & flag != 0
    }

    /// Whether a pick has more to heed than who watches it.
    #[inline]
    pub(crate) fn any_but_watched(&self) -> bool {
        self.0.load(Ordering::Relaxed) & !(Self::WATCHED | Self::ANSWERS | Self::RESTS) != 0
    }

    /// Says what it was.
    pub(crate) fn set(&self, flag: u32, on: bool) -> bool {
        let before = match on {
            true => self.0.fetch_or(flag, Ordering::SeqCst),
            false => self.0.fetch_and(!flag, Ordering::SeqCst),
        };
        before & flag != 0
    }
}

/// Something that every pick writes, apart from what every pick reads.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct OwnLine<T>(pub(crate) T);

impl Facts {
    pub(crate) fn new(
        name: StdArc<str>,
        listener: StdArc<dyn Listener>,
        settings: &ServiceSettings,
    ) -> Self {
        Self {
            name,
            outbox: Mutex::new(VecDeque::new()),
            telling: AtomicBool::new(false),
            owed: AtomicBool::new(false),
            exchanges: AtomicBool::new(wants_exchanges(&*listener)),
            listener,
            classes: (0..settings.classes.max(1))
                .map(|_| Class::default())
                .collect(),
            slow_nanos: AtomicU64::new(u64::MAX),
            prompt_at: AtomicU32::new(0),
            prompt: AtomicBool::new(false),
            refused: Default::default(),
            turn: OwnLine(AtomicU64::new(0)),
            budget: Budget::new(&settings.retry.budget),
            retried: AtomicU64::new(0),
            retries_refused: AtomicU64::new(0),
            retry: Published::new(Arc::new(settings.retry.clone())),
            hedging: Hedging::default(),
            spills: OwnLine::default(),
            hooked: AtomicBool::new(false),
            flags: Flags::default(),
            places: OwnLine::default(),
            queue: Queue::default(),
            hooks: Published::new(Arc::new(None)),
        }
    }

    #[inline]
    pub(crate) fn is_slow(&self, nanos: u64) -> bool {
        nanos >= self.slow_nanos.load(Ordering::Relaxed)
    }

    pub(crate) fn set_slow(&self, slow: Option<Duration>) {
        let nanos = slow.map_or(u64::MAX, |slow| {
            u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX)
        });
        self.slow_nanos.store(nanos, Ordering::Relaxed);
    }

    pub(crate) fn set_prompt_at(&self, consecutive: u32) {
        self.prompt_at.store(consecutive, Ordering::Relaxed);
    }

    /// Asks for a tick when `consecutive` failures are as many as open a breaker.
    pub(crate) fn failures(&self, consecutive: u32) {
        if consecutive == self.prompt_at.load(Ordering::Relaxed) {
            self.ask_tick();
        }
    }

    /// Decides about a retry and charges the budget for a yes.
    pub(crate) fn retry(&self, attempt: &Attempt, chance: u64) -> Decision {
        let expected = match attempt.expected {
            Duration::ZERO => self.usual(attempt.class).unwrap_or_default(),
            expected => expected,
        };
        let attempt = &Attempt {
            expected,
            ..*attempt
        };
        let decision = self
            .retry
            .read(|settings| retry::decide(attempt, settings, chance));
        let decision = decision.charge(&self.budget);
        match decision {
            Decision::Again { .. } => self.retried.fetch_add(1, Ordering::Relaxed),
            Decision::No(retry::Reason::BudgetExhausted) => {
                self.stir();
                self.retries_refused.fetch_add(1, Ordering::Relaxed)
            }
            Decision::No(_) => 0,
        };
        decision
    }

    /// Undoes a grant; as many as were granted can be undone.
    pub(crate) fn retry_not_made(&self, granted: Decision) {
        let Decision::Again { excused, .. } = granted else {
            return;
        };
        let granted = |granted: u64| granted.checked_sub(1);
        if (self.retried)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, granted)
            .is_ok()
            && !excused
        {
            self.budget.refund();
        }
    }

    /// Decides about a hedge, and has both budgets pay for a yes. `kept`: its client is kept on its backend; `room`: attempts that the
    /// service's own limit counts, and that limit.
    pub(crate) fn hedge(
        &self,
        slow: &Slow,
        class: ClassId,
        kept: bool,
        room: Option<(u32, u32)>,
    ) -> Result<(), NoHedge> {
        let usual = self.usual(class).unwrap_or_default();
        self.retry
            .read(|settings| hedge::decide(slow, kept, settings, usual))?;
        let full = |(taken, most): (u32, u32)| hedge::is_crowded(taken.into(), most.into());
        if self.flags.has(Flags::WAITING) || room.is_some_and(full) {
            return Err(NoHedge::Overloaded);
        }
        self.hedging.calm()?;
        self.hedging.withdraw(&self.budget)?;
        // It is a pick that no exchange asked for, as a retry is.
        self.retried.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Undoes a yes: there was nobody to make it on.
    pub(crate) fn hedge_not_made(&self) {
        self.retried.fetch_sub(1, Ordering::Relaxed);
        self.hedging.refund(&self.budget);
    }

    /// Asks the owner for a tick before its time. Says so once until the tick came.
    pub(crate) fn ask_tick(&self) {
        // Before it is asked for: it must not find a service at rest.
        self.stir();
        if !self.prompt.swap(true, Ordering::Relaxed) {
            drop(catch_unwind(AssertUnwindSafe(|| {
                self.listener.tick_wanted();
            })));
        }
    }

    /// Whether the listener wants single attempts. Its own code: to be asked outside all locks.
    pub(crate) fn ask_listener(&self) -> bool {
        wants_exchanges(&*self.listener)
    }

    /// A tick, with what the listener said before it.
    pub(crate) fn tick_came(&self, exchanges: bool) {
        self.exchanges.store(exchanges, Ordering::Relaxed);
        self.watch();
        self.prompt.store(false, Ordering::Relaxed);
    }

    /// Who watches single attempts, in one flag for a pick to look at. Under the writer's lock.
    fn watch(&self) {
        let watched = self.wants_exchanges() || self.hooked.load(Ordering::Relaxed);
        self.flags.set(Flags::WATCHED, watched);
    }

    /// Whether anybody watches single attempts.
    #[inline]
    pub(crate) fn watched(&self) -> bool {
        self.flags.has(Flags::WATCHED)
    }

    /// Whether a pick is heeded by anybody: who watches it, or a service that it wakes.
    #[inline]
    pub(crate) fn picks_heeded(&self) -> bool {
        self.flags.has(Flags::WATCHED | Flags::RESTS)
    }

    /// Whether an answer is heeded by anybody besides what every answer teaches.
    #[inline]
    pub(crate) fn answers_heeded(&self) -> bool {
        self.flags
            .has(Flags::WATCHED | Flags::ANSWERS | Flags::RESTS)
    }

    /// Something is recorded: the next tick walks.
    pub(crate) fn stir(&self) {
        if self.flags.has(Flags::RESTS) {
            self.flags.set(Flags::RESTS, false);
        }
    }

    /// Whether the program's own policy broke: its stand-in chooses until other settings come.
    pub(crate) fn policy_broke(&self) -> bool {
        self.flags.has(Flags::BROKE)
    }

    /// A charge of this backend was given back, and with it a place if there was one: who waits for it is told.
    pub(crate) fn has_room(&self, freed: &Backend, placed: bool, now: Instant) {
        if placed {
            self.places.0.give_back();
        }
        if self.flags.has(Flags::WAITING) {
            self.queue.settle(self, Some(freed), now);
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal, members: usize, at: Instant) {
        self.refused[refusal.index()].fetch_add(1, Ordering::Relaxed);
        if self.wants_exchanges() {
            self.tell(at, EventKind::Refused { refusal, members });
        }
    }

    pub(crate) fn refusals(&self, refusal: Refusal) -> u64 {
        self.refused[refusal.index()].load(Ordering::Relaxed)
    }

    /// As the listener said at the last tick: asking it at each pick would cost a call.
    pub(crate) fn wants_exchanges(&self) -> bool {
        self.exchanges.load(Ordering::Relaxed)
    }

    /// Tells one event of a pick. A listener that panics is the listener's loss: neither pick nor service takes harm.
    pub(crate) fn tell(&self, at: Instant, kind: EventKind) {
        let event = Event {
            service: self.name.clone(),
            at,
            kind,
        };
        self.hear(&event);
    }

    fn hear(&self, event: &Event) {
        let heard = AssertUnwindSafe(|| self.listener.hear(event));
        drop(catch_unwind(heard));
    }

    /// Puts the events of a change in line. Called under the writer's lock where they are of a change, so that the line has the order of
    /// the changes.
    pub(crate) fn line_up(&self, at: Instant, kinds: Vec<EventKind>) {
        if kinds.is_empty() {
            return;
        }
        let event = |kind| Event {
            service: self.name.clone(),
            at,
            kind,
        };
        self.outbox().extend(kinds.into_iter().map(event));
    }

    /// Tells what is in line, outside the writer's lock. One thread at a time tells; who comes meanwhile, from another
    /// thread or from within a listener, leaves its events to that one.
    pub(crate) fn tell_line(&self) {
        while !self.outbox().is_empty() && !self.telling.swap(true, Ordering::Acquire) {
            self.tell_on();
        }
    }

    /// Tells as who tells, and ceases.
    fn tell_on(&self) {
        loop {
            let Some(event) = self.outbox().pop_front() else {
                break;
            };
            self.hear(&event);
        }
        self.telling.store(false, Ordering::Release);
    }

    /// Keeps what comes in line untold until it is let go. False: somebody tells just now, and goes on.
    pub(crate) fn hold_line(&self) -> bool {
        !self.telling.swap(true, Ordering::Acquire)
    }

    /// Lets go of what was held, and tells it.
    pub(crate) fn let_go(&self) {
        self.tell_on();
        self.tell_line();
    }

    fn outbox(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_hooks(&self, policy: Option<StdArc<dyn Policy>>) {
        self.hooked.store(policy.is_some(), Ordering::Relaxed);
        self.hooks.store(Arc::new(policy));
        self.watch();
    }

    /// Runs a hook of the program's own policy, if there is one and it has not broken. A panic of it goes no further.
    pub(crate) fn hook(&self, at: Instant, call: impl FnOnce(&dyn Policy)) {
        if !self.hooked.load(Ordering::Relaxed) || self.policy_broke() {
            return;
        }
        let policy = self.hooks.load();
        let Some(policy) = policy.as_ref() else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| call(policy.as_ref()))).is_err() {
            // Its name is the program's own code as well, and may panic like the rest of it.
            let name = catch_unwind(AssertUnwindSafe(|| policy.name().to_owned()));
            self.policy_failed(name.as_deref().unwrap_or("custom"), at);
        }
    }

    /// The program's own policy panicked or named a backend that may not be picked: its stand-in takes over. It may have been choosing
    /// for those who wait, under the lock of their line: then who holds that tells, once it is let go.
    pub(crate) fn policy_failed(&self, policy: &str, at: Instant) {
        if self.flags.set(Flags::BROKE, true) {
            return;
        }
        let policy = policy.into();
        self.line_up(at, vec![EventKind::PolicyFailed { policy }]);
        // Sequentially consistent, as is the end of the holding: here or there, one sees the other.
        self.owed.store(true, Ordering::SeqCst);
        if !self.queue.is_settling() {
            self.pay();
        }
    }

    /// Tells that a policy broke, where that was not to be told under a lock. To be called outside all.
    pub(crate) fn pay(&self) {
        if self.owed.load(Ordering::SeqCst) && self.owed.swap(false, Ordering::SeqCst) {
            self.tell_line();
            self.ask_tick();
        }
    }
}

/// A listener that panics at the question wants nothing.
fn wants_exchanges(listener: &dyn Listener) -> bool {
    let asked = AssertUnwindSafe(|| listener.wants_exchanges());
    catch_unwind(asked).unwrap_or(false)
}
