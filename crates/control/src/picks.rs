//! Owns picks of other programs: what they ask, which picks they have, what they report of them, and what becomes of those that nobody reports.
//!
//! A pick that is out holds its charge, as one of a worker does. Asked and learned by the same core: a program's failures open the breakers that
//! requests meet, and the other way round. No worker waits for any of it. Nothing of the core runs under the lock of the table, as it may call
//! listeners. Read next: `table`, `report`.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::affinity;
use evenkeel_balance::ask::{Ask, ClassId, QUEUE_CLASS};
use evenkeel_balance::backend::BackendId;
use evenkeel_balance::hashing;
use evenkeel_balance::pick::Pick;
pub use evenkeel_balance::pick::Refusal;
use evenkeel_balance::queue::{Entry, Waiting};
use evenkeel_balance::retry::Decision;
use evenkeel_balance::zone::ZoneId;
use evenkeel_config::limits::PICKS;
pub use evenkeel_config::limits::{PICK_EXPIRES_MOST, PICK_WAIT_MOST, PICKS_AT_ONCE, PICKS_BODY};
use evenkeel_proxy::clock::{Clock, seed};
use evenkeel_proxy::decide::{source, zone};
use evenkeel_proxy::live::{LiveService, ServiceState};
pub use evenkeel_proxy::observation::Decided;
use evenkeel_proxy::observation::DecisionCounters;
use tokio::time::timeout;

use crate::command::Refused;
use crate::control::find;
use crate::snapshot::Watch;
use crate::snapshot::address_of;

/// What is out.
mod table;

/// What comes back.
mod report;

pub use report::{Again, Report, Wrong};
use table::Table;
pub use table::{Lost, PickId};

/// The class of attempts that this process does not make itself: what they take is compared with each other, and with flows.
const CLASS: ClassId = ClassId(u16::MAX);

/// What a program asks of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// So many picks; fewer are given where there is no room for more.
    pub picks: usize,
    /// What a hash policy sticks to, and a service that keeps clients knows this one by.
    pub key: Option<String>,
    /// The client: where there is no key it stands for it, and where its service prefers its clients' zones it tells which.
    pub client: Option<IpAddr>,
    /// The zone that is preferred; else the client's.
    pub zone: Option<String>,
    /// The backend that the client is kept on.
    pub kept: Option<String>,
    /// Backends that are not asked again.
    pub tried: Vec<String>,
    /// The class in the queue of a full service: lower goes first.
    pub class: u16,
    /// How long the first of them may wait for a full service, where that has a queue.
    pub wait: Duration,
    /// What is not reported by then is given back.
    pub expires: Duration,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            picks: 1,
            key: None,
            client: None,
            zone: None,
            kept: None,
            tried: Vec::new(),
            class: QUEUE_CLASS,
            wait: Duration::ZERO,
            expires: evenkeel_config::limits::PICK_EXPIRES,
        }
    }
}

/// What a program is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// At least one.
    pub picks: Vec<GivenPick>,
    /// Why there are not as many as were asked for.
    pub short: Option<Refusal>,
}

/// The right to send one attempt to one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenPick {
    /// By which it is reported.
    pub id: PickId,
    /// The backend.
    pub backend: BackendId,
    /// Where it is reached.
    pub address: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
    /// It is a trial of a backend that failed before.
    pub trial: bool,
}

/// Why no pick is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ungiven {
    /// There is no such service, or the instance drains.
    Refused(Refused),
    /// As many picks are out as may be.
    Full,
    /// The service has nobody.
    Nobody(Refusal),
}

impl From<Refused> for Ungiven {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Whether an attempt is to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// When so much time has passed.
    Again(Duration),
    /// No, and the word of why.
    No(&'static str),
}

impl From<Decision> for Retry {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Again { after, .. } => Self::Again(after),
            Decision::No(why) => Self::No(why.word()),
        }
    }
}

/// What became of reports and picks of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PicksPart {
    /// Picks that were given.
    pub given: u64,
    /// Those that were reported.
    pub reported: u64,
    /// Of these, those that had failed.
    pub failed: u64,
    /// Those that nobody reported in their time.
    pub expired: u64,
    /// Bytes that backends were sent, and those that they sent.
    pub bytes: [u64; 2],
    /// Means: before the attempt began, to a connection, to the response head, to the end.
    pub means: [Option<Duration>; 4],
}

/// A pick that is out.
struct Out {
    pick: Pick,
    state: Arc<ServiceState>,
}

/// All picks that are out.
pub(crate) struct Picks {
    table: Mutex<Table<Out>>,
    /// Asks that were refused because as many were out as may be.
    full: AtomicU64,
    /// Where chance begins; each ask goes on.
    chance: AtomicU64,
}

impl Picks {
    pub(crate) fn new() -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "half of it is enough")]
        let epoch = seed() as u32;
        Self {
            table: Mutex::new(Table::new(epoch, PICKS)),
            full: AtomicU64::new(0),
            chance: AtomicU64::new(seed()),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table<Out>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self) -> u64 {
        let turn = self.chance.fetch_add(1, Ordering::Relaxed);
        hashing::mix(turn, 0)
    }

    /// Room for so many, as long as this is held.
    fn room(&self, places: usize) -> Option<Room<'_>> {
        if self.table().promise(places) {
            return Some(Room(self, places));
        }
        self.full.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Gives back what nobody reported in its time. To be called now and then.
    pub(crate) fn expire(&self, clock: Clock) {
        let over = self.table().take_over(clock.now());
        for one in over {
            one.state.decisions.expire();
            // Nothing is known of it: its charge comes back, as that of an attempt that was abandoned.
            drop(one.pick);
        }
    }
}

/// Places that are promised. Given back if nobody takes them.
struct Room<'p>(&'p Picks, usize);

impl Room<'_> {
    fn put(&mut self, picks: Vec<Pick>, state: &Arc<ServiceState>, wish: &Wish) -> Vec<PickId> {
        self.1 -= picks.len();
        let mut table = self.0.table();
        let put = |pick: Pick| {
            let (until, state) = (pick.at() + wish.expires, state.clone());
            table.put(Out { pick, state }, until)
        };
        picks.into_iter().map(put).collect()
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.1 > 0 {
            self.0.table().unpromise(self.1);
        }
    }
}

impl Watch {
    /// Picks of a service for another program.
    ///
    /// # Errors
    /// Why there is not one.
    pub async fn pick(&self, service: &str, wish: &Wish) -> Result<Given, Ungiven> {
        if self.is_draining() {
            return Err(Refused::Draining.into());
        }
        // Not the plan: who waits holds a service of it, and not all the others.
        let service = find(&self.published.load(), service)?.clone();
        let mut room = self.picks.room(wish.picks).ok_or(Ungiven::Full)?;
        let (picks, short) = self.picked(&service, wish).await?;
        let state = &service.state;
        state.decisions.give(picks.len() as u64);
        let shown: Vec<_> = picks.iter().map(|pick| shown(&service, pick)).collect();
        let ids = room.put(picks, state, wish);
        let given = ids.into_iter().zip(shown);
        let given = given.map(|(id, (backend, address, zone, trial))| GivenPick {
            id,
            backend,
            address,
            zone,
            trial,
        });
        Ok(Given {
            picks: given.collect(),
            short,
        })
    }

    /// One at least, and why there are no more where that is so.
    async fn picked(
        &self,
        service: &LiveService,
        wish: &Wish,
    ) -> Result<(Vec<Pick>, Option<Refusal>), Ungiven> {
        let core = &service.state.service;
        let tried = core.tried(wish.tried.iter().map(String::as_str));
        let mut ask = Ask::new(0)
            .class(CLASS)
            .queue_class(wish.class)
            .tried(&tried);
        ask.key = key(wish);
        ask.client = ask.key;
        let kept = wish.kept.as_deref();
        ask.kept = kept.map(|id| affinity::identity(&BackendId::from(id)));
        ask.zone = match (&wish.zone, wish.client) {
            (Some(name), _) => Some(ZoneId::named(name)),
            (None, client) => client.and_then(|client| zone(service, client)),
        };
        let mut picks = Vec::with_capacity(wish.picks);
        while picks.len() < wish.picks {
            ask.chance = self.picks.chance();
            let now = self.clock.now();
            let waits = picks.is_empty() && !wish.wait.is_zero();
            let picked = match waits {
                false => core.pick(&ask, now),
                true => match core.pick_or_wait(&ask, now + wish.wait, now) {
                    Ok(Entry::Picked(pick)) => Ok(pick),
                    Ok(Entry::Waiting(waiting)) => called(waiting, self.clock).await,
                    Err(refusal) => Err(refusal),
                },
            };
            match picked {
                Ok(pick) => picks.push(pick),
                Err(refusal) if picks.is_empty() => return Err(Ungiven::Nobody(refusal)),
                Err(refusal) => return Ok((picks, Some(refusal))),
            }
        }
        Ok((picks, None))
    }

    /// Takes what a program says of a pick. Its answer is for who asks whether to try again.
    ///
    /// # Errors
    /// There is no such pick, or no more.
    pub fn report(&self, id: &str, report: &Report) -> Result<Option<Retry>, Lost> {
        let Out { mut pick, state } = self.picks.table().take(id)?;
        let now = self.clock.now();
        let figures = &report.figures;
        if let Some(waited) = figures.waited {
            pick.begins((pick.at() + waited).min(now));
        }
        let (said, outcome) = report.ends();
        if let Some(verdict) = said {
            // Nothing took longer than it was: no report makes a backend slower than that.
            let head = figures.head.or(figures.total);
            let head = head.map_or(now, |head| (pick.at() + head).min(now));
            pick.answered(verdict, head);
        }
        pick.finish(outcome, now);
        state.decisions.report(report.failure().is_some(), figures);
        let attempt = report.attempt().map(|attempt| attempt.class(CLASS));
        let retry = |attempt| state.service.retry(&attempt, self.picks.chance());
        Ok(attempt.map(|attempt| retry(attempt).into()))
    }

    /// What became of a service's picks.
    ///
    /// # Errors
    /// There is no such service.
    pub fn picks_of(&self, service: &str) -> Result<PicksPart, Refused> {
        let live = self.published.load();
        Ok(part(&find(&live, service)?.state.decisions))
    }

    /// The same of each service that was asked for any, in the order of the plan.
    #[must_use]
    pub fn picks_of_all(&self) -> Vec<(Arc<str>, PicksPart)> {
        let live = self.published.load();
        let all = live.services.iter();
        let asked = all.filter(|one| one.state.decisions.given() > 0);
        asked
            .map(|one| (one.plan.name.clone(), part(&one.state.decisions)))
            .collect()
    }

    /// How many picks are out, the most, and how many asks were refused because it was as many.
    #[must_use]
    pub fn picks_out(&self) -> (usize, usize, u64) {
        let out = self.picks.table().out();
        (out, PICKS, self.picks.full.load(Ordering::Relaxed))
    }
}

fn part(counters: &DecisionCounters) -> PicksPart {
    // What ends first: a pick that is given meanwhile makes them no more than all.
    let ((reported, failed), expired) = (counters.reported(), counters.expired());
    PicksPart {
        given: counters.given(),
        reported,
        failed,
        expired,
        bytes: counters.bytes(),
        means: counters.means(),
    }
}

/// What a hash policy sticks to: as with a request whose field has this value, or that comes from there.
fn key(wish: &Wish) -> Option<u64> {
    match &wish.key {
        Some(key) => Some(hashing::key(key.as_bytes())),
        None => wish.client.map(source),
    }
}

type Shown = (BackendId, Option<String>, Option<String>, bool);

fn shown(service: &LiveService, pick: &Pick) -> Shown {
    let (state, id) = (&service.state, pick.backend().id());
    let spec = state.service.spec(id);
    let zone = spec.and_then(|spec| spec.zone);
    let zone = zone.map(|zone| zone.name().to_owned());
    (id.clone(), address_of(state, id), zone, pick.is_trial())
}

/// Waits in the queue of a full service until it is called, or its time is over.
async fn called(mut waiting: Waiting, clock: Clock) -> Result<Pick, Refusal> {
    loop {
        let until = waiting.until();
        let called = poll_fn(|cx| match waiting.poll(cx.waker(), clock.now()) {
            Poll::Ready(called) => Poll::Ready(Some(called)),
            // Other settings of the queue have come.
            Poll::Pending if waiting.until() != until => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        let rest = until.since(clock.now());
        if let Ok(Some(called)) = timeout(rest, called).await {
            return Ok(called?.lasting());
        }
    }
}
