//! Owns how long what is under way on a backend may take that drains, is disabled or has left: then it is cut.
//!
//! Kept by a backend's number, so that one that returns is not taken for the one that left. Cost: what drains.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::plan::BackendPlan;
use evenkeel_proxy::live::{LiveBackend, Reach, ServiceState};

use crate::command::Admin;

/// One that left is cut for so long: a pick of it may have been on its way when it was first.
const CUTS: Duration = Duration::from_secs(10);

/// What drains.
pub(crate) struct Drains {
    all: HashMap<u64, Drain>,
    /// What is cut, as it was said last.
    said: HashSet<u64>,
    /// Nothing is otherwise before, unless somebody says so.
    next: Instant,
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

impl Default for Drains {
    fn default() -> Self {
        Self {
            all: HashMap::new(),
            said: HashSet::new(),
            next: Instant::ZERO,
        }
    }
}

impl Drain {
    /// When what is done about it changes by itself.
    fn next(&self) -> Option<Instant> {
        match self.cut {
            None => Some(self.began + self.within),
            Some(at) => self.left.then(|| at + CUTS),
        }
    }
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
        before: Option<&Reach>,
        now_has: Option<(&ServiceState, &[BackendPlan])>,
        within: Duration,
        now: Instant,
    ) {
        let members = now_has.map_or(&[][..], |(_, members)| members);
        let reach = now_has.map(|(state, _)| state.reach());
        let mut stays = HashSet::with_capacity(members.len());
        for one in members {
            let Some(backend) = reach.as_ref().and_then(|reach| reach.of(&one.spec.id)) else {
                continue;
            };
            stays.insert(backend.number);
            match one.spec.admin {
                Admin::Enabled => self.forgive(backend.number),
                Admin::Draining | Admin::Disabled => {
                    self.note(service, backend, within, false, now);
                }
            }
        }
        let before = before.into_iter().flat_map(Reach::all);
        for backend in before.filter(|one| !stays.contains(&one.number)) {
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
        self.next = Instant::ZERO;
    }

    /// Of these members, those that are enabled and go on from `before` are not cut any more. One that returns does not have the one forgiven
    /// that left under its identity: that has its time, and no more of it.
    pub(crate) fn forgive_enabled(&mut self, before: &Reach, members: &[BackendPlan]) {
        let enabled = members
            .iter()
            .filter(|one| one.spec.admin == Admin::Enabled);
        for backend in enabled.filter_map(|one| before.goes_on(one)) {
            self.forgive(backend.number);
        }
    }

    /// One of this number is enabled: what is under way there is not cut.
    fn forgive(&mut self, number: u64) {
        if !self.all.is_empty() && self.all.remove(&number).is_some() {
            self.next = Instant::ZERO;
        }
    }

    /// Whether nothing drains.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What is to be cut now, where that is otherwise than it was. Cost: of each that drains, and only once there may be news: it is asked
    /// ten times a second, and half of 10,000 may drain.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<(HashSet<u64>, Vec<Cut>)> {
        if now < self.next {
            return None;
        }
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
        let next = self.all.values().filter_map(Drain::next).min();
        self.next = next.unwrap_or(Instant::from_nanos(u64::MAX));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use evenkeel_balance::event::Listener;
    use evenkeel_config::{Source, load};
    use evenkeel_proxy::live::Live;

    use super::*;
    use crate::overlay::Overlay;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    const WITHIN: Duration = Duration::from_secs(10);

    /// A service of one backend, brought to other members step by step: at a second, with a backend of this identity and
    /// this wish, whether the first one is among those that are cut at last.
    #[track_caller]
    fn check(steps: &[(u64, &str, Admin)], end: u64, cut: bool) {
        let text = "listeners: { web: { bind: 127.0.0.1:1 } }\nservices: { api: { backends: [{ id: a, address: a:1 }] } }\n";
        let source = Source {
            name: "f.yaml".into(),
            text: text.into(),
        };
        let plan = load(&[source], &BTreeMap::new()).plan.unwrap();
        let events: Arc<dyn Listener> = Arc::new(());
        let live = Live::join(plan, None, 1, &events, at(0));
        let service = &live.services[0];
        let first = service.state.all()[0].number;
        let (mut drains, mut cuts) = (Drains::default(), HashSet::new());
        for &(second, id, admin) in steps {
            let before = service.state.reach();
            let mut member = service.plan.backends[0].clone();
            member.spec.id = id.into();
            member.spec.admin = admin;
            let members = [member];
            // As `Control::bring` has it.
            drains.forgive_enabled(&before, &members);
            service.state.update(&members, at(second));
            let has = Some((&*service.state, &members[..]));
            let name = &service.plan.name;
            drains.follow(name, Some(&before), has, WITHIN, at(second));
            if let Some((now, _)) = drains.turn(at(second)) {
                cuts = now;
            }
        }
        if let Some((now, _)) = drains.turn(at(end)) {
            cuts = now;
        }
        assert_eq!(cuts.contains(&first), cut, "{steps:?} at {end}");
    }

    #[test]
    fn what_drains_is_cut_in_time_and_what_serves_again_is_not() {
        use Admin::{Disabled, Draining, Enabled};
        check(&[(1, "a", Enabled)], 100, false);
        check(&[(1, "a", Draining)], 10, false);
        check(&[(1, "a", Draining)], 11, true);
        check(&[(1, "a", Disabled)], 11, true);
        // What was wanted first counts from then on.
        check(&[(1, "a", Draining), (9, "a", Disabled)], 11, true);
        check(&[(1, "a", Draining), (9, "a", Enabled)], 100, false);
        check(
            &[(1, "a", Draining), (12, "a", Draining), (13, "a", Enabled)],
            14,
            false,
        );
        // As long as it drains, whoever comes late is cut too.
        check(&[(1, "a", Draining), (12, "a", Draining)], 1000, true);
        // One that leaves. One that returns is another: who is with the one that left is cut.
        check(&[(1, "b", Enabled)], 10, false);
        check(&[(1, "b", Enabled)], 11, true);
        check(&[(1, "b", Enabled), (2, "a", Enabled)], 10, false);
        check(&[(1, "b", Enabled), (2, "a", Enabled)], 11, true);
        check(&[(1, "b", Enabled), (12, "b", Enabled)], 100, false);
    }

    /// A turn that has nothing to say costs nothing: it is asked ten times a second.
    #[test]
    fn a_turn_looks_again_when_something_may_have_changed() {
        let mut drains = Drains::default();
        let next = |drains: &mut Drains, second| {
            let _ = drains.turn(at(second));
            drains.next
        };
        assert!(next(&mut drains, 1) > at(1_000_000), "nothing drains");
        let plan =
            "listeners: { web: { bind: 127.0.0.1:1 } }\nservices: { api: { backends: [a:1] } }\n";
        let source = Source {
            name: "f.yaml".into(),
            text: plan.into(),
        };
        let plan = load(&[source], &BTreeMap::new()).plan.unwrap();
        let events: Arc<dyn Listener> = Arc::new(());
        let live = Live::join(plan, None, 1, &events, at(0));
        let all = live.services[0].state.reach();
        let name = &live.services[0].plan.name;
        drains.follow(name, Some(&all), None, WITHIN, at(2));
        assert_eq!(drains.next, Instant::ZERO);
        assert_eq!(next(&mut drains, 2), at(12), "it is cut");
        assert_eq!(next(&mut drains, 12), at(22), "and then forgotten");
        assert!(next(&mut drains, 22) > at(1_000_000));
        assert!(drains.is_empty());
    }

    #[test]
    fn what_is_wanted_lies_over_the_file_until_the_entry_changes_or_goes() {
        let plan = |backends: &str, more: &str| {
            let text = format!(
                "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ backends: [{backends}] {more} }} }}\n"
            );
            let source = Source {
                name: "f.yaml".into(),
                text,
            };
            load(&[source], &BTreeMap::new()).plan.unwrap()
        };
        let admin = |overlay: &Overlay, plan: &evenkeel_config::Plan| {
            let service = &plan.services[0];
            let members = overlay.lay(service, service.backends.clone());
            members.iter().map(|one| one.spec.admin).collect::<Vec<_>>()
        };
        let first = plan("a:1, b:1", "");
        let drained = || {
            let mut overlay = Overlay::default();
            let service = &first.services[0];
            let wished = overlay.wish(service, &service.backends[0], Admin::Draining);
            wished.unwrap();
            overlay
        };
        for (next, more, expect) in [
            ("a:1, b:1", ", slow_start: 1s", Admin::Draining),
            ("b:1, a:1, c:1", "", Admin::Draining),
            ("{ address: a:1, weight: 1 }", "", Admin::Draining),
            ("{ address: a:1, weight: 2 }", "", Admin::Enabled),
            ("{ address: a:1, state: disabled }", "", Admin::Disabled),
        ] {
            let mut overlay = drained();
            let next = plan(next, more);
            overlay.follow(&next);
            let at = next.services[0].backends.iter();
            let at = at
                .map(|one| one.spec.id.as_str())
                .position(|id| id == "a:1");
            assert_eq!(admin(&overlay, &next)[at.unwrap()], expect);
        }
        // One that was gone for one reload is as its entry says.
        let mut overlay = drained();
        overlay.follow(&plan("b:1", ""));
        overlay.follow(&first);
        assert_eq!(admin(&overlay, &first), [Admin::Enabled; 2]);
        // A service's drain stands over its backends', and takes nothing from them.
        let mut overlay = drained();
        let service = &first.services[0];
        let disabled = overlay.wish(service, &service.backends[1], Admin::Disabled);
        disabled.unwrap();
        assert!(overlay.drain(service, true) && !overlay.drain(service, true));
        let enabled = overlay.wish(service, &service.backends[0], Admin::Enabled);
        enabled.unwrap();
        assert_eq!(admin(&overlay, &first), [Admin::Draining, Admin::Disabled]);
        assert!(overlay.drain(service, false));
        assert_eq!(admin(&overlay, &first), [Admin::Enabled, Admin::Disabled]);
    }
}
