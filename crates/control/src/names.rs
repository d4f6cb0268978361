//! Owns the names of a plan that stand for backends: asks for them on the control plane's threads, and says whose members changed.
//!
//! Driven by the one writer, who asks at each tick what ended and what is due; nothing else has a clock or a thread here. A
//! question is asked once however many services ask it. What is known outlives a reload of the plan.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::Plan;
use evenkeel_config::plan::{BackendPlan, Question, ResolverPlan, ServicePlan};
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};

/// The last good answers.
mod book;

/// The asking.
mod lookup;

/// When a name is asked for.
mod schedule;

pub use book::Fault;
use book::{Book, Found, Taken};
use lookup::Asker;
use schedule::Schedule;

/// What is not said by then is only counted.
const NEWS_MOST: usize = 100;

/// An instance is ready without what its names stand for after so long: one name that nobody knows is no reason to serve nobody.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(10);

/// Something that happened to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Which.
    pub question: Question,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its addresses are others now.
    Moved {
        /// How many it has.
        all: usize,
        /// How many of them are new.
        joined: usize,
        /// How many it has no more.
        left: usize,
    },
    /// It cannot be looked up, or not wholly, for another reason than before.
    Failed {
        /// Why.
        fault: Fault,
        /// So many addresses stay, of the last good answer.
        kept: usize,
    },
    /// It can be looked up again.
    Mended,
}

/// What is known, for whoever asks from other threads.
pub(crate) type Shared = Arc<Mutex<Book>>;

/// What is known of one name of a service.
#[derive(Clone, Debug)]
pub struct NameSnapshot {
    /// The name that is asked for.
    pub name: String,
    /// `dns` or `srv`.
    pub kind: &'static str,
    /// Addresses that it has.
    pub addresses: usize,
    /// How long ago the last good answer came; none: there was none.
    pub age: Option<Duration>,
    /// What was wrong with the newest look-up, by word.
    pub fault: Option<&'static str>,
    /// Look-ups by what they came to; what none came to is left out.
    pub lookups: Vec<(&'static str, u64)>,
    /// Addresses that were left out: they make no sense, or are too many.
    pub left_out: u64,
}

/// What is known of a service's names, each once.
pub(crate) fn shown(book: &Book, service: &ServicePlan, now: Instant) -> Vec<NameSnapshot> {
    let questions: BTreeSet<_> = service.names.iter().map(|name| &name.question).collect();
    let known = questions
        .into_iter()
        .filter_map(|question| Some((question, book.of(question)?)));
    known
        .map(|(question, known)| {
            let failed = known.counts.1.iter();
            let failed = failed.map(|(fault, count)| (fault.word(), *count));
            let good = Some(("ok", known.counts.0)).filter(|(_, count)| *count > 0);
            NameSnapshot {
                name: question.name().to_owned(),
                kind: question.kind(),
                addresses: known.places.len(),
                age: known.good_at.map(|at| now.since(at)),
                fault: known.fault.map(Fault::word),
                lookups: good.into_iter().chain(failed).collect(),
                left_out: known.left_out,
            }
        })
        .collect()
}

/// What the book says now.
pub(crate) fn seen(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names of the running plan.
pub(crate) struct Names {
    plan: ResolverPlan,
    /// None: it is made when it is needed, from the system's files as they are then.
    asker: Option<Arc<Asker>>,
    places: Arc<Semaphore>,
    schedule: Schedule,
    book: Shared,
    lookups: JoinSet<Result<Found, Fault>>,
    asked: HashMap<Id, Question>,
    chance: fastrand::Rng,
    news: VecDeque<News>,
    /// What was not told for want of place.
    untold: usize,
}

impl Names {
    /// No names yet. `seed` spreads when they are asked for.
    pub(crate) fn new(seed: u64) -> Self {
        let plan = ResolverPlan::default();
        Self {
            schedule: Schedule::new(plan.ttl_floor),
            plan,
            asker: None,
            places: lookup::places(),
            book: Arc::default(),
            lookups: JoinSet::new(),
            asked: HashMap::new(),
            chance: fastrand::Rng::with_seed(seed),
            news: VecDeque::new(),
            untold: 0,
        }
    }

    /// Goes on with the names of another plan. Those that stay keep what they stand for; new ones are asked for at the next turn.
    pub(crate) fn follow(&mut self, plan: &Plan, now: Instant) {
        let names = || plan.services.iter().flat_map(|service| &service.names);
        let mut wanted = BTreeMap::new();
        for name in names() {
            let refresh = wanted.entry(name.question.clone()).or_insert(name.refresh);
            *refresh = name.refresh.min(*refresh);
        }
        // Who reloads may have changed the system's files too.
        self.asker = None;
        self.plan = plan.resolver.clone();
        self.schedule.follow(self.plan.ttl_floor, &wanted, now);
        seen(&self.book).follow(names().map(|name| &name.question));
    }

    /// Takes what ended and asks for what is due. What changed, whose members are to be made anew.
    pub(crate) fn turn(&mut self, now: Instant) -> HashSet<Question> {
        let mut changed = HashSet::new();
        while let Some(ended) = self.lookups.try_join_next_with_id() {
            let (id, came) = match ended {
                Ok(ended) => ended,
                // A look-up that broke is one that failed.
                Err(error) => (error.id(), Err(Fault::Other)),
            };
            if let Some(question) = self.asked.remove(&id) {
                self.ended(&question, came, now, &mut changed);
            }
        }
        for question in self.schedule.start(now) {
            let asker = match &self.asker {
                Some(asker) => Ok(asker.clone()),
                None => Asker::new(&self.plan, self.places.clone()).map(Arc::new),
            };
            match asker {
                Ok(asker) => {
                    self.asker = Some(asker.clone());
                    let asks = question.clone();
                    let task = self.lookups.spawn(async move { asker.ask(&asks).await });
                    self.asked.insert(task.id(), question);
                }
                Err(fault) => self.ended(&question, Err(fault), now, &mut changed),
            }
        }
        changed
    }

    fn ended(
        &mut self,
        question: &Question,
        came: Result<Found, Fault>,
        now: Instant,
        changed: &mut HashSet<Question>,
    ) {
        let taken = seen(&self.book).take(question, came, now);
        let lives = taken.and_then(|taken| taken.lives);
        let chance = self.chance.u32(..);
        self.schedule.done(question, lives, now, chance);
        if let Some(taken) = taken {
            if taken.changed {
                changed.insert(question.clone());
            }
            self.tell(question, taken);
        }
    }

    fn tell(&mut self, question: &Question, taken: Taken) {
        let (joined, left) = taken.moved;
        let moved = (joined + left > 0).then_some(What::Moved {
            all: taken.all,
            joined,
            left,
        });
        let failed = taken.failed.map(|fault| What::Failed {
            fault,
            kept: taken.all,
        });
        let mended = taken.mended.then_some(What::Mended);
        for what in [mended, moved, failed].into_iter().flatten() {
            if self.news.len() < NEWS_MOST {
                let question = question.clone();
                self.news.push_back(News { question, what });
            } else {
                self.untold += 1;
            }
        }
    }

    /// What happened since it was asked last, and how much more that is not told.
    pub(crate) fn news(&mut self) -> (Vec<News>, usize) {
        let untold = std::mem::take(&mut self.untold);
        (self.news.drain(..).collect(), untold)
    }

    /// The members of a service now.
    pub(crate) fn members(&self, service: &ServicePlan) -> Arc<[BackendPlan]> {
        seen(&self.book).members(service)
    }

    /// What is known, for others.
    pub(crate) fn book(&self) -> Shared {
        self.book.clone()
    }

    /// Asks no more. What is known stays.
    pub(crate) fn stop(&mut self) {
        self.schedule.clear();
        self.asked.clear();
        self.lookups.abort_all();
    }
}
