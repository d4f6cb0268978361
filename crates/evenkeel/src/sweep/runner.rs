//! Owns the one task of a health checker: it looks at services, begins checks, and carries results.
//!
//! ```text
//! look (services change, every second) --> begin what is due --> wait --> a check ends: to its service, to who asked
//! ```
//! Who is next is `schedule`'s to say. Nothing that a probe, a service or a listener does ends the task.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::backend::Admin;
use evenkeel_balance::health::{Active, CheckReport};
use evenkeel_balance::snapshot::{BackendSnapshot, Changes, ServiceSnapshot};
use evenkeel_balance::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};

use crate::address::text_of;
use crate::probe::{Finding, Probe, ProbeError, Target};
use crate::sweep::schedule::{Begun, Key, Need, Schedule, Seen};
use crate::sweep::settings::CheckerSettings;
use crate::sweep::{Check, CheckNowError, Checked, Now, Request, Services};

/// Services that tell of no change are looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// Looks that changes ask for are so far apart, and looks that results ask for.
const SPACING: Duration = Duration::from_millis(1);
const SPACING_RESULTS: Duration = Duration::from_millis(100);

/// ... and so much more per backend, because a look costs its members.
const SPACING_PER_BACKEND: Duration = Duration::from_micros(10);

/// What services say has changed of them.
type Heard = Vec<(Arc<str>, Changes)>;

/// What a look at services finds.
enum Found {
    /// What is known of them.
    Same,
    /// The same services with the same members, of which these are otherwise.
    Some(Vec<Seen>),
    All(Vec<(ServiceSnapshot, Arc<dyn Checked>)>),
}

/// A check as its task saw it.
struct Ended {
    began: Instant,
    over: Instant,
    finding: Finding,
}

/// A check as the runner knows it.
struct UnderWay {
    begun: Begun,
    since: Instant,
    service: Arc<dyn Checked>,
}

/// A request by hand that waits for checks.
struct Waiting {
    left: usize,
    results: Vec<Check>,
    reply: oneshot::Sender<Result<Vec<Check>, CheckNowError>>,
}

/// What the task woke for.
enum Wake {
    Time,
    Changed,
    Ended(Result<(Id, Ended), JoinError>),
    Asked(Option<Request>),
}

pub(crate) struct Runner<S> {
    services: S,
    now: Now,
    settings: CheckerSettings,
    probe: Arc<dyn Probe>,
    schedule: Schedule,
    known: BTreeMap<Arc<str>, Arc<dyn Checked>>,
    /// What the services' changes had come to when they were looked at. None: some service does not say.
    changes: Option<Heard>,
    looked: Instant,
    look_at: Instant,
    checks: JoinSet<Ended>,
    under_way: HashMap<Id, UnderWay>,
    heard: mpsc::Receiver<Request>,
    /// Somebody could still ask.
    asked: bool,
    waiting: BTreeMap<u64, Waiting>,
    requests: u64,
}

impl<S: Services> Runner<S> {
    pub(crate) fn new(
        services: S,
        settings: CheckerSettings,
        probe: Arc<dyn Probe>,
        heard: mpsc::Receiver<Request>,
    ) -> Self {
        let now = services.now();
        Self {
            looked: now(),
            look_at: now(),
            services,
            now,
            schedule: Schedule::new(&settings),
            settings,
            probe,
            known: BTreeMap::new(),
            changes: None,
            checks: JoinSet::new(),
            under_way: HashMap::new(),
            heard,
            asked: true,
            waiting: BTreeMap::new(),
            requests: 0,
        }
    }

    /// Runs until the services have ended, or is aborted.
    pub(crate) async fn run(mut self) {
        loop {
            let now = (self.now)();
            if self.look_at <= now && !self.look(now) {
                return;
            }
            self.begin_due(now);
            match self.wake(self.rest(now)).await {
                Wake::Time => {}
                Wake::Changed => self.look_after(SPACING),
                Wake::Ended(ended) => self.ended(ended),
                Wake::Asked(Some(request)) => {
                    if !self.look((self.now)()) {
                        return;
                    }
                    self.wanted(request);
                }
                Wake::Asked(None) => self.asked = false,
            }
        }
    }

    /// How long there is nothing to do by time alone.
    fn rest(&self, now: Instant) -> Duration {
        let next = self.schedule.next(now).filter(|_| self.has_room());
        self.look_at.min(next.unwrap_or(self.look_at)).since(now)
    }

    fn has_room(&self) -> bool {
        self.schedule.running() < self.settings.at_once
    }

    async fn wake(&mut self, rest: Duration) -> Wake {
        let mut time = pin!(tokio::time::sleep(rest));
        let mut changed = pin!(self.services.changed());
        let (checks, heard, asked) = (&mut self.checks, &mut self.heard, self.asked);
        // Results first: they make room. An empty set is ready at once, with none.
        poll_fn(|context| {
            if let Poll::Ready(Some(ended)) = checks.poll_join_next_with_id(context) {
                return Poll::Ready(Wake::Ended(ended));
            }
            if asked && let Poll::Ready(request) = heard.poll_recv(context) {
                return Poll::Ready(Wake::Asked(request));
            }
            if changed.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Changed);
            }
            time.as_mut().poll(context).map(|()| Wake::Time)
        })
        .await
    }

    /// Looks soon, but not sooner than `spacing` and the cost of looking allow.
    fn look_after(&mut self, spacing: Duration) {
        let members = u32::try_from(self.schedule.members()).unwrap_or(u32::MAX);
        let at = self.looked + spacing + SPACING_PER_BACKEND * members;
        self.look_at = self.look_at.min(at);
    }

    /// Learns which backends there are. False: the services have ended.
    fn look(&mut self, now: Instant) -> bool {
        self.looked = now;
        let members = u32::try_from(self.schedule.members()).unwrap_or(u32::MAX);
        self.look_at = now + LOOK + SPACING_PER_BACKEND * members;
        let (services, before) = (&self.services, self.changes.as_ref());
        let (settings, follows) = (&self.settings, self.schedule.follows_standing());
        let seen = catch_unwind(AssertUnwindSafe(|| {
            let all = services.services()?;
            // Before they are looked at: what comes between is seen twice rather than never.
            let changes = changes(&all, follows);
            let some = |changes| changed(&all, before?, changes, settings, now);
            let found = match changes.as_ref() {
                changes if changes.is_some() && changes == before => Found::Same,
                changes => match changes.and_then(some) {
                    Some(rows) => Found::Some(rows),
                    None => {
                        let look = |service: Arc<dyn Checked>| (service.snapshot(now), service);
                        Found::All(all.into_iter().map(look).collect())
                    }
                },
            };
            Some((found, changes))
        }));
        // A panic there is a bug of the services' owner: what was known stands, the next look may fare better.
        let Ok(found) = seen else { return true };
        let Some((found, changes)) = found else {
            return false;
        };
        self.changes = changes;
        match found {
            Found::Same => {}
            Found::Some(rows) => self.schedule.see_again(rows, now),
            Found::All(all) => self.see(all, now),
        }
        true
    }

    /// Goes on with these services and their members, and with nobody else.
    fn see(&mut self, all: Vec<(ServiceSnapshot, Arc<dyn Checked>)>, now: Instant) {
        self.known.clear();
        let mut seen = Vec::new();
        for (snapshot, service) in all {
            if self.settings.wants(&snapshot.name) {
                seen.extend(rows(&snapshot.name, &snapshot.backends));
                self.known.insert(snapshot.name.clone(), service);
            }
        }
        for request in self.schedule.see(seen, now) {
            self.answered(request, None);
        }
    }

    fn begin_due(&mut self, now: Instant) {
        while self.has_room()
            && let Some(begun) = self.schedule.begin(now)
        {
            let Some(service) = self.known.get(&begun.key.service).cloned() else {
                self.schedule.end(&begun.key, false, now);
                continue;
            };
            let target = Target {
                service: begun.key.service.clone(),
                backend: begun.key.backend.clone(),
                address: begun.address.clone(),
            };
            let check = check(
                self.probe.clone(),
                target,
                self.settings.timeout,
                self.now.clone(),
            );
            let task = self.checks.spawn(check).id();
            let under_way = UnderWay {
                begun,
                since: now,
                service,
            };
            self.under_way.insert(task, under_way);
        }
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let now = (self.now)();
        let (task, ended) = match ended {
            Ok((task, ended)) => (task, Some(ended)),
            Err(error) => (error.id(), None),
        };
        let Some(UnderWay {
            begun,
            since,
            service,
        }) = self.under_way.remove(&task)
        else {
            return;
        };
        let ended = ended.unwrap_or(Ended {
            began: since,
            over: now,
            finding: ProbeError::Panicked.into(),
        });
        let report = CheckReport::new(ended.finding.result(), ended.began)
            .latency(ended.over.since(ended.began))
            .status(ended.finding.status);
        // A listener that panics when it hears of the check must not end the others.
        let reached = self.schedule.stands(&begun)
            && catch_unwind(AssertUnwindSafe(|| {
                service.check(&begun.key.backend, report, now)
            }))
            .unwrap_or(true);
        self.schedule.end(&begun.key, reached, now);
        if self.schedule.follows_standing() {
            self.look_after(SPACING_RESULTS);
        }
        if begun.requests.is_empty() {
            return;
        }
        let check = reached.then(|| Check {
            service: begun.key.service,
            backend: begun.key.backend,
            report,
            error: ended.finding.error.map(Arc::new),
        });
        for request in begun.requests {
            self.answered(request, check.clone());
        }
    }

    fn wanted(&mut self, request: Request) {
        let Request {
            service,
            backend,
            reply,
        } = request;
        let keys = match (&service, backend) {
            (Some(service), Some(backend)) => {
                let service = service.clone();
                vec![Key { service, backend }]
            }
            _ => self.schedule.keys(service.as_deref()),
        };
        self.requests += 1;
        let number = self.requests;
        let left = keys
            .iter()
            .filter(|key| self.schedule.want(key, number))
            .count();
        if left == 0 {
            let nobody = if service.is_some() {
                Err(CheckNowError::Unknown)
            } else {
                Ok(Vec::new())
            };
            // Who asked may have gone; that is fine.
            let _ = reply.send(nobody);
            return;
        }
        let waiting = Waiting {
            left,
            results: Vec::with_capacity(left),
            reply,
        };
        self.waiting.insert(number, waiting);
    }

    /// One check that a request waited for is over; none: its backend left.
    fn answered(&mut self, request: u64, check: Option<Check>) {
        let Some(waiting) = self.waiting.get_mut(&request) else {
            return;
        };
        waiting.results.extend(check);
        waiting.left -= 1;
        if waiting.left == 0
            && let Some(waiting) = self.waiting.remove(&request)
        {
            let _ = waiting.reply.send(Ok(waiting.results));
        }
    }
}

/// One check, as a task of its own: a panic of the probe ends this task and nothing else.
async fn check(probe: Arc<dyn Probe>, target: Target, limit: Duration, now: Now) -> Ended {
    let began = now();
    let finding = match tokio::time::timeout(limit, async { probe.check(target).await }).await {
        Ok(finding) => finding,
        Err(_) => ProbeError::Timeout.into(),
    };
    Ended {
        began,
        over: now(),
        finding,
    }
}

/// What the changes of these services come to. None: one of them does not say. Where nobody's checks follow what checks find, that is
/// no change.
fn changes(all: &[Arc<dyn Checked>], follows: bool) -> Option<Heard> {
    let change = |service: &Arc<dyn Checked>| {
        let mut changes = service.changes()?;
        if !follows {
            changes.health = 0;
        }
        Some((service.name().into(), changes))
    };
    all.iter().map(change).collect()
}

/// Those of these services that changed between these two. None: only a look at all of them tells.
fn changed(
    all: &[Arc<dyn Checked>],
    before: &Heard,
    after: &Heard,
    settings: &CheckerSettings,
    now: Instant,
) -> Option<Vec<Seen>> {
    let names = |heard: &Heard| {
        heard
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    if names(before) != names(after) {
        return None;
    }
    let mut seen = Vec::new();
    for (service, ((name, since), (_, changes))) in all.iter().zip(before.iter().zip(after)) {
        if since != changes && settings.wants(name) {
            seen.extend(rows(name, &service.changed(*since, now)?));
        }
    }
    Some(seen)
}

/// Those of a service's backends that are checked.
fn rows(service: &Arc<str>, backends: &[BackendSnapshot]) -> impl Iterator<Item = Seen> {
    let checked = backends
        .iter()
        .filter(|backend| backend.spec.admin != Admin::Disabled);
    checked.map(|backend| row(service, backend))
}

fn row(service: &Arc<str>, backend: &BackendSnapshot) -> Seen {
    let need = match backend.active {
        Active::Unproven => Need::Unsure,
        Active::Up if backend.checks_failed > 0 => Need::Unsure,
        Active::Up => Need::Calm,
        Active::Down if backend.checks_passed > 0 => Need::Unsure,
        Active::Down => Need::Down,
    };
    Seen {
        key: Key {
            service: service.clone(),
            backend: backend.id.clone(),
        },
        address: text_of(&backend.spec).into(),
        need,
        fresh: backend.active == Active::Unproven && backend.last_check.is_none(),
    }
}
