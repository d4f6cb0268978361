//! Owns the running instance: the workers, the sockets they listen on, the checkers, and every change of the plan.
//!
//! The one writer: whoever holds the [`Control`] makes all changes, one after another. A change that cannot be made whole is
//! not made.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_balance::event::Listener;
use evenkeel_config::Plan;
use evenkeel_config::plan::{Bind, ServicePlan, Workers};
use evenkeel_proxy::clock::{Clock, seed, since_1970};
use evenkeel_proxy::listener::Bound;
use evenkeel_proxy::live::{Live, Published};
use evenkeel_proxy::thread::{Command, WorkerThread, spawn};

use crate::access_log::{AccessLog, Opened};
use crate::adjust::Adjuster;
use crate::certificates;
use crate::checks::Checker;
use crate::checks::load::Poller;
use crate::command::{self, Keeping, Line, Orders};
use crate::drains::Drains;
use crate::events::{Chronicle, Heard, What};
use crate::monitor::Monitor;
use crate::names::{Names, News};
use crate::overlay::Overlay;
use crate::picks::Picks;
use crate::revisions::{Book, Words};
use crate::snapshot::Reloads;
use crate::texts::Given;
use crate::told;
use crate::traces::Teller;
use crate::webhooks::Tellers;

/// How often facts become standing.
pub const TICK_EVERY: Duration = Duration::from_millis(100);

/// What becomes of commands.
mod obey;

/// What becomes of weights that follow, and of policies that are tried.
mod adjusted;

/// Another plan in the place of one.
mod replace;

/// Another configuration while it runs.
mod write;

/// Why an instance does not start.
mod refused;

/// The sockets of an instance.
mod open;

/// Giving an instance's place to another process, and taking it.
pub mod handover;

use handover::{CarriedState, Heritage};
pub(crate) use obey::{find, unknown};
use open::{Open, bind_all, enough};
pub use refused::StartError;
use replace::{open_log, start_checks, start_polls};
pub use write::{NotTaken, Reread};

/// A running instance.
pub struct Control {
    published: Arc<Published>,
    workers: Vec<WorkerThread>,
    clock: Clock,
    events: Arc<dyn Listener>,
    open: HashMap<Arc<str>, Open>,
    checkers: HashMap<Arc<str>, Checker>,
    pollers: HashMap<Arc<str>, Poller>,
    names: Names,
    opened: u64,
    /// It says that it is not ready any more.
    draining: Arc<AtomicBool>,
    /// It takes no more connections.
    ending: bool,
    /// Processes before this one that drain.
    predecessors: Arc<AtomicUsize>,
    reloads: Arc<Reloads>,
    chronicle: Arc<Chronicle>,
    log: AccessLog,
    traces: Teller,
    webhooks: Tellers,
    ends: certificates::Ends,
    overlay: Overlay,
    /// Who reads configurations, and the texts of the one that runs. None: it is changed by plans alone.
    given: Option<Given>,
    book: Arc<Book>,
    drains: Drains,
    orders: Orders,
    line: Line,
    picks: Arc<Picks>,
    monitor: Arc<Monitor>,
    adjuster: Arc<Adjuster>,
    /// What stood beside the texts of services whose policy is another one for a trial.
    tried: HashMap<Arc<str>, Option<Arc<str>>>,
    /// Another process was told what is wanted: nothing else may be wanted until it serves, or does not.
    held: bool,
    keeping: Arc<Mutex<Keeping>>,
    /// What is bound and not listened on yet.
    waiting: Vec<(Arc<str>, Bind, Bound)>,
    /// What another process knew, until this one serves.
    carried: CarriedState,
}

impl Control {
    /// Starts an instance: binds everything, then starts workers and checks. Needs a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(plan: Plan, events: Arc<dyn Listener>) -> Result<Self, StartError> {
        Self::start_once_bound(plan, events, |_| Ok(()))
    }

    /// The same, with something to be done when everything is bound and no thread runs yet. It is shown the file that was made for
    /// the access log, if one was.
    ///
    /// # Errors
    /// [`StartError`], with what `once_bound` says too; nothing is left running.
    pub fn start_once_bound(
        plan: Plan,
        events: Arc<dyn Listener>,
        once_bound: impl FnOnce(Option<BorrowedFd<'_>>) -> Result<(), String>,
    ) -> Result<Self, StartError> {
        let mut control = Self::inherit(plan, events, &mut Heritage::default(), once_bound)?;
        control.begin();
        Ok(control)
    }

    /// The same with what comes from elsewhere: sockets that are bound already, of which those that the plan has no use for are left
    /// in `heritage`, and what another process knew. It takes no connections until it is told to [`begin`](Self::begin).
    ///
    /// # Errors
    /// As above; and a socket that is not what it is said to be.
    pub fn inherit(
        plan: Plan,
        events: Arc<dyn Listener>,
        heritage: &mut Heritage,
        once_bound: impl FnOnce(Option<BorrowedFd<'_>>) -> Result<(), String>,
    ) -> Result<Self, StartError> {
        let count = workers_of(&plan);
        certificates::load(&plan)?;
        let mut overlay = Overlay::from(std::mem::take(&mut heritage.state.wanted));
        overlay.follow(&plan);
        let bindable = overlay.bindable(&plan);
        let bound = bind_all(&bindable, &HashMap::new(), &mut heritage.listeners, count)?;
        drop(bindable);
        enough(&bound, &HashMap::new(), count)?;
        let (chronicle, events) = Heard::begin(Chronicle::begin(since_1970()), events);
        let mut log = AccessLog::new();
        let opened = open_log(&log, &plan)?;
        once_bound(opened.as_ref().and_then(Opened::made)).map_err(StartError::Bound)?;
        let clock = Clock::start();
        let mut names = Names::new(seed());
        names.follow(&plan, clock.now());
        let members = |service: &ServicePlan| overlay.lay(service, names.members(service));
        let mut live = Live::join_members(plan, None, count, &events, clock.now(), members);
        let outlet = log.follow(live.plan.access_log.as_ref(), opened);
        live.outlet = outlet.map_err(StartError::Thread)?;
        let checkers = start_checks(HashMap::new(), &live, clock)?;
        let pollers = start_polls(HashMap::new(), &live, clock)?;
        let published = Arc::new(Published::new(live));
        let spawned = |index| spawn(index, published.clone(), clock, Arc::default());
        let workers: Result<Vec<_>, _> = (0..count).map(spawned).collect();
        let workers = workers.map_err(StartError::Thread)?;
        let (orders, line) = command::line();
        let mut control = Self {
            overlay,
            given: None,
            book: Arc::new(Book::new(u32::try_from(seed() >> 32).unwrap_or_default())),
            drains: Drains::default(),
            orders,
            line,
            picks: Arc::new(Picks::new()),
            monitor: Arc::default(),
            adjuster: Arc::default(),
            tried: HashMap::new(),
            held: false,
            keeping: Arc::default(),
            published,
            workers,
            clock,
            events,
            open: HashMap::new(),
            checkers,
            pollers,
            names,
            opened: 0,
            draining: Arc::default(),
            ending: false,
            predecessors: Arc::default(),
            reloads: Arc::new(Reloads::begin()),
            log,
            traces: Teller::new(),
            webhooks: Tellers::new(chronicle.clone()),
            chronicle,
            ends: certificates::Ends::default(),
            waiting: bound,
            carried: std::mem::take(&mut heritage.state),
        };
        control.follow_names();
        control.remember("start", Words::default());
        Ok(control)
    }

    /// Turns facts into standing, looks names up, and puts a new worker in the place of one that died. To be called every [`TICK_EVERY`]. True: a
    /// worker was replaced.
    pub fn tick(&mut self) -> bool {
        self.log.tick();
        self.published.forget();
        self.obey();
        self.picks.expire(self.clock);
        self.settle();
        self.follow_names();
        self.watch_over();
        // Of a policy that is tried meanwhile, the process that takes over would not know.
        if !self.held && !self.ending {
            let news = self.adjuster.tick(&self.published.load(), self.clock);
            self.tell_adjusted(news);
        }
        certificates::turn(&self.published.load(), &mut self.ends, &self.chronicle);
        let alive = self.ending
            || !self
                .workers
                .iter()
                .any(|worker| worker.thread.is_finished());
        !alive && self.replace_the_dead()
    }

    /// Looks at what is watched, and tells of what is wrong or right again. Who leaves the service has nothing to tell: whoever takes it over
    /// does.
    fn watch_over(&self) {
        if self.ending {
            return;
        }
        for alert in self.monitor.tick(&self.published.load(), self.clock) {
            told::alert(&alert);
            let silenced = self.monitor.is_silenced(&alert);
            self.webhooks.hooks.tell(&alert, silenced);
            self.note(What::Alert(Box::new(alert)));
        }
    }

    /// Turns facts into standing, and nothing else: before its time, when that is wanted.
    pub fn settle(&self) {
        let now = self.clock.now();
        for service in &self.published.load().services {
            service.state.service.tick(now);
            service.state.sweep_clients(now);
        }
    }

    /// Brings what names stand for now to the services that have them, and asks for those that are due.
    fn follow_names(&mut self) {
        let now = self.clock.now();
        let changed = self.names.turn(now);
        if changed.is_empty() {
            return;
        }
        for service in &self.published.load().services {
            let mut names = service.plan.names.iter();
            if names.any(|name| changed.contains(&name.question)) {
                self.bring(service);
                if let Some(checker) = self.checkers.get(&service.plan.name) {
                    checker.look_again();
                }
                if let Some(poller) = self.pollers.get(&service.plan.name) {
                    poller.look_again();
                }
            }
        }
    }

    /// What happened to names since this was asked last, and how much more of it is only counted.
    pub fn news(&mut self) -> (Vec<News>, usize) {
        let (news, untold) = self.names.news();
        news.iter().for_each(|one| self.note(What::of_name(one)));
        (news, untold)
    }

    /// The sockets of a worker that died wait with what is in their queues; its connections are lost.
    fn replace_the_dead(&mut self) -> bool {
        let live = self.published.load();
        let (mut replaced, count) = (false, self.workers.len());
        for (index, place) in self.workers.iter_mut().enumerate() {
            if !place.thread.is_finished() {
                continue;
            }
            // No thread now: the next tick tries again.
            place.state.listening.store(0, Ordering::Relaxed);
            let Ok(fresh) = spawn(
                index,
                self.published.clone(),
                self.clock,
                place.state.clone(),
            ) else {
                continue;
            };
            *place = fresh;
            replaced = true;
            self.chronicle.write(What::WorkerReplaced(index));
            for (key, open) in &self.open {
                let listeners = live.plan.listeners.iter();
                let at = listeners
                    .clone()
                    .position(|listener| listener.name == open.listener);
                if let Some(state) = at.and_then(|at| live.doors.get(at)) {
                    open.tell(place, (index, count), key, state);
                }
            }
        }
        replaced
    }

    /// Tells the collector of traces and the receivers of alerts what is left, as far as that is soon done: when nothing is served any more.
    pub async fn end_telling(&mut self) {
        tokio::join!(self.traces.end(), self.webhooks.end());
    }

    /// Opens the access log's file anew: the one that is open may have been renamed.
    pub fn reopen(&self) {
        self.log.reopen();
    }

    /// The running plan.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.published.load()
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Where TCP listeners are bound: name and address.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let mut addresses: Vec<_> = self
            .open
            .values()
            .filter_map(|open| Some((open.listener.clone(), open.address?)))
            .collect();
        addresses.sort_unstable();
        addresses
    }

    /// Connections that a drain waits for. None: a worker has not counted since it took its last one.
    #[must_use]
    pub fn left(&self) -> Option<usize> {
        self.alive().try_fold(0, |sum, worker| {
            // The sockets first: what was taken from them is counted before they are given up.
            let state = &worker.state;
            let counted = state.listening.load(Ordering::Acquire) == 0
                && state.closed.load(Ordering::Acquire);
            counted.then(|| sum + state.connections.load(Ordering::Relaxed))
        })
    }

    /// What a worker that has died had open is lost.
    fn alive(&self) -> impl Iterator<Item = &WorkerThread> {
        self.workers
            .iter()
            .filter(|worker| !worker.thread.is_finished())
    }

    /// Says that it is not ready any more, and serves on.
    pub fn announce(&mut self) {
        if !self.draining.swap(true, Ordering::Relaxed) {
            self.note(What::Draining);
        }
    }

    /// Takes no more connections; those that are open end with the exchange that they carry, and who is idle may begin one within the
    /// plan's time for that.
    pub fn drain(&mut self) {
        self.announce();
        self.end_trials();
        self.ending = true;
        self.checkers.clear();
        self.pollers.clear();
        self.names.stop();
        self.open.clear();
        let patience = self.published.load().plan.drain.last_patience();
        self.tell(|| Command::Drain(patience));
    }

    /// The time of a drain is over: whoever waits for an answer is told so, the rest is cut. To be followed by the end of this.
    pub fn cut_all(&self) {
        self.tell(|| Command::Cut);
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            // A worker that has ended hears nothing any more, and one that has not has room: changes are rare.
            let _ = worker.commands.try_send(command());
        }
    }
}

fn workers_of(plan: &Plan) -> usize {
    match plan.workers {
        Workers::Fixed(count) => count.get(),
        Workers::Auto => {
            std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
        }
    }
}

impl Drop for Control {
    /// Ends the workers at once; whoever wants to wait drains first.
    fn drop(&mut self) {
        self.tell(|| Command::Stop);
        for worker in self.workers.drain(..) {
            let _ = worker.thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
