//! Owns how long what is under way on a backend may take that drains, is disabled or has left: then it is cut.
//!
//! Kept by a backend's number, so that one that returns is not taken for the one that left. Cost: what drains.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::plan::BackendPlan;
use evenkeel_proxy::live::{LiveBackend, ServiceState};

use crate::command::Admin;

/// One that left is cut for so long: a pick of it may have been on its way when it was first.
const CUTS: Duration = Duration::from_secs(10);

/// What drains.
#[derive(Default)]
pub(crate) struct Drains {
    all: HashMap<u64, Drain>,
    /// What is cut, as it was said last.
    said: HashSet<u64>,
}

struct Drain {
    service: Arc<str>,
    backend: Arc<LiveBackend>,
    began: Instant,
    within: Duration,
    left: bool,
    /// It is cut since.
    cut: Option<Instant>,
}

/// What is cut from now on.
pub(crate) struct Cut {
    pub(crate) service: Arc<str>,
    pub(crate) backend: Arc<LiveBackend>,
}

impl Drains {
    /// Goes on with these members of a service; `before` are the backends that it knew before it had them.
    pub(crate) fn follow(
        &mut self,
        service: &Arc<str>,
        before: &[Arc<LiveBackend>],
        now_has: Option<(&ServiceState, &[BackendPlan])>,
        within: Duration,
        now: Instant,
    ) {
        let mut stays = HashSet::new();
        let members = now_has.into_iter().flat_map(|(state, members)| {
            let reached = |one: &BackendPlan| Some((state.reached(&one.spec.id)?, one.spec.admin));
            members.iter().filter_map(reached)
        });
        for (backend, admin) in members {
            stays.insert(backend.number);
            match admin {
                Admin::Enabled => self.forgive(backend.number),
                Admin::Draining | Admin::Disabled => {
                    self.note(service, &backend, within, false, now);
                }
            }
        }
        for backend in before.iter().filter(|one| !stays.contains(&one.number)) {
            self.note(service, backend, within, true, now);
        }
    }

    fn note(
        &mut self,
        service: &Arc<str>,
        backend: &Arc<LiveBackend>,
        within: Duration,
        left: bool,
        now: Instant,
    ) {
        let drain = self.all.entry(backend.number).or_insert_with(|| Drain {
            service: service.clone(),
            backend: backend.clone(),
            began: now,
            within,
            left,
            cut: None,
        });
        (drain.within, drain.left) = (within, left);
    }

    /// One of this number is enabled: what is under way there is not cut.
    pub(crate) fn forgive(&mut self, number: u64) {
        self.all.remove(&number);
    }

    /// Whether nothing drains.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What is to be cut now, and whether that is otherwise than it was.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<(HashSet<u64>, Vec<Cut>)> {
        let mut news = Vec::new();
        for drain in self.all.values_mut() {
            if drain.cut.is_none() && now >= drain.began + drain.within {
                drain.cut = Some(now);
                news.push(Cut {
                    service: drain.service.clone(),
                    backend: drain.backend.clone(),
                });
            }
        }
        let over = |drain: &Drain| drain.left && drain.cut.is_some_and(|at| now >= at + CUTS);
        self.all.retain(|_, drain| !over(drain));
        let cut = self.all.iter().filter(|(_, drain)| drain.cut.is_some());
        let cut: HashSet<_> = cut.map(|(number, _)| *number).collect();
        // Who was enabled meanwhile is not cut any more.
        let changed = cut != self.said;
        changed.then(|| {
            self.said.clone_from(&cut);
            (cut, news)
        })
    }

    /// How long until what is under way there is cut. None: it does not drain.
    pub(crate) fn left(&self, number: u64, now: Instant) -> Option<Duration> {
        let drain = self.all.get(&number)?;
        Some((drain.began + drain.within).since(now))
    }
}
