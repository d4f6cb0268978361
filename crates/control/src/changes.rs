//! Owns what lies between two plans: which parts come, go and change, and when that takes effect. Compares values, not texts.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use evenkeel_config::Plan;
use evenkeel_config::plan::{BackendPlan, ListenerPlan, NamePlan, RulePlan, ServicePlan};

/// Changes that a line of the log names: of ten thousand, half a megabyte would be written at each reload.
const SAID: usize = 50;

const NOTHING: &str = "nothing changes";

/// What lies between two plans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Settings first, then listeners, rules, services and their backends; each by name.
    pub all: Vec<Change>,
}

/// One part that is not what it was. Its words are made when they are asked for: of ten thousand, a log says fifty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    above: Arc<Above>,
    name: Arc<str>,
    /// What becomes of it.
    pub effect: Effect,
    /// Whether a running instance takes it at a reload, or only at its next start.
    pub at_reload: bool,
    /// What it does, in words.
    does: &'static str,
}

/// What parts stand in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Above {
    keys: Vec<String>,
    /// What stands before a name, with its blank.
    what: String,
}

impl Change {
    /// Which part: keys and names, like `services`, `api`, `backends`, `10.0.0.1:9000`.
    #[must_use]
    pub fn part(&self) -> Vec<String> {
        let above = self.above.keys.iter().map(String::as_str);
        above.chain([&*self.name]).map(str::to_owned).collect()
    }

    /// The same in words.
    #[must_use]
    pub fn words(&self) -> String {
        self.words_of(&self.name)
    }

    /// The words with another name for the part: one that may be shown.
    #[must_use]
    pub fn words_of(&self, name: &str) -> String {
        format!("{}{name} {}", self.above.what, self.does)
    }
}

/// What becomes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It comes.
    Added,
    /// It is another than before under the same name.
    Changed,
    /// It goes.
    Removed,
}

impl Effect {
    /// One word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

impl Changes {
    /// In one line, of which the log can hold many: the first [`SAID`], and how many more there are.
    #[must_use]
    pub fn line(&self) -> String {
        if self.all.is_empty() {
            return NOTHING.to_owned();
        }
        let said = self.all.iter().take(SAID);
        let said: Vec<_> = said.map(Change::words).collect();
        let line = said.join("; ");
        match self.all.len().saturating_sub(SAID) {
            0 => line,
            more => format!("{line}; and {more} more"),
        }
    }

    /// From one plan to another.
    #[must_use]
    pub fn between(before: &Plan, after: &Plan) -> Self {
        let mut changes = Self::default();
        changes.settings(before, after);
        changes.parts(
            &["listeners"],
            "listener",
            (&before.listeners, &after.listeners),
            |one| &one.name,
            |one, other| same_listener(before, one, after, other),
        );
        changes.parts(
            &["rules"],
            "rule",
            (&before.rules, &after.rules),
            |one| &one.name,
            |one, other| same_rule(before, one, after, other),
        );
        changes.order(before, after);
        let earlier = by_name(&before.services, |one| &one.name);
        changes.parts(
            &["services"],
            "service",
            (&before.services, &after.services),
            |one| &one.name,
            ServicePlan::same_but_backends,
        );
        for service in &after.services {
            if let Some(earlier) = earlier.get(&*service.name) {
                changes.backends(earlier, service);
            }
        }
        changes
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn settings(&mut self, before: &Plan, after: &Plan) {
        // Named one by one, so that a new part of a plan is not forgotten here.
        let Plan {
            admin,
            trusted_proxies,
            access_log,
            traces,
            alerts,
            workers,
            drain,
            user,
            group,
            resolver,
            affinity_keys,
            zone,
            regions,
            listeners: _,
            rules: _,
            services: _,
        } = before;
        for (name, same, at_reload) in [
            // Who may ask is looked at anew; where, when it starts.
            (
                "admin",
                *admin == after.admin,
                admin.is_bound_as(&after.admin),
            ),
            (
                "trusted_proxies",
                *trusted_proxies == after.trusted_proxies,
                true,
            ),
            ("access_log", *access_log == after.access_log, true),
            ("traces", *traces == after.traces, true),
            ("alerts", *alerts == after.alerts, true),
            ("workers", *workers == after.workers, false),
            ("drain", *drain == after.drain, true),
            ("user", *user == after.user, false),
            ("group", *group == after.group, false),
            ("resolver", *resolver == after.resolver, true),
            ("affinity_keys", *affinity_keys == after.affinity_keys, true),
            ("zone", *zone == after.zone, true),
            ("regions", *regions == after.regions, true),
        ] {
            if !same {
                self.all.push(Change {
                    above: Arc::default(),
                    name: name.into(),
                    effect: Effect::Changed,
                    at_reload,
                    does: match at_reload {
                        true => "changes",
                        false => "changes at the next start",
                    },
                });
            }
        }
    }

    fn parts<T>(
        &mut self,
        place: &[&str],
        what: &str,
        (before, after): (&[T], &[T]),
        name: impl Fn(&T) -> &str,
        same: impl Fn(&T, &T) -> bool,
    ) {
        let above = Arc::new(Above {
            keys: place.iter().map(ToString::to_string).collect(),
            what: format!("{what} "),
        });
        let mut say = |mut names: Vec<(&str, Effect)>| {
            names.sort_unstable_by_key(|(name, _)| *name);
            self.all
                .extend(names.into_iter().map(|(name, effect)| Change {
                    above: above.clone(),
                    name: name.into(),
                    effect,
                    at_reload: true,
                    does: match effect {
                        Effect::Added => "is added",
                        Effect::Changed => "changes",
                        Effect::Removed => "is removed",
                    },
                }));
        };
        // One map, of what was: of ten thousand, each look is a miss of the cache.
        let was: HashMap<&str, usize> =
            (0..).zip(before).map(|(at, one)| (name(one), at)).collect();
        let mut goes = vec![true; before.len()];
        let comes = after.iter().filter_map(|part| {
            let Some(&at) = was.get(name(part)) else {
                return Some((name(part), Effect::Added));
            };
            goes[at] = false;
            (!same(&before[at], part)).then(|| (name(part), Effect::Changed))
        });
        say(comes.collect());
        let goes = before.iter().zip(goes).filter(|(_, goes)| *goes);
        say(goes.map(|(one, _)| (name(one), Effect::Removed)).collect());
    }

    /// Rules that stay may change places: of two that hold, the first counts.
    fn order(&mut self, before: &Plan, after: &Plan) {
        let (earlier, later) = (
            by_name(&before.rules, |rule| &rule.name),
            by_name(&after.rules, |rule| &rule.name),
        );
        let stay =
            |one: &&RulePlan| earlier.contains_key(&*one.name) && later.contains_key(&*one.name);
        let names = |plan: &'_ Plan| -> Vec<Arc<str>> {
            let rules = plan.rules.iter().filter(stay);
            rules.map(|rule| rule.name.clone()).collect()
        };
        if names(before) != names(after) {
            self.all.push(Change {
                above: Arc::default(),
                name: "rules".into(),
                effect: Effect::Changed,
                at_reload: true,
                does: "are tried in another order",
            });
        }
    }

    fn backends(&mut self, before: &ServicePlan, after: &ServicePlan) {
        if Arc::ptr_eq(&before.backends, &after.backends) && before.names == after.names {
            return;
        }
        self.parts(
            &["services", &after.name, "backends"],
            &format!("service {}: backend", after.name),
            (&before.backends, &after.backends),
            |one: &BackendPlan| one.spec.id.as_str(),
            BackendPlan::eq,
        );
        self.parts(
            &["services", &after.name, "backends"],
            &format!("service {}: name", after.name),
            (&before.names, &after.names),
            |one: &NamePlan| one.spec.id.as_str(),
            NamePlan::eq,
        );
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.all.is_empty() {
            return f.write_str(NOTHING);
        }
        let words: Vec<_> = self.all.iter().map(Change::words).collect();
        f.write_str(&words.join("\n"))
    }
}

type ByName<'p, T> = HashMap<&'p str, &'p T>;

fn by_name<'p, T>(parts: &'p [T], name: impl Fn(&'p T) -> &'p str) -> ByName<'p, T> {
    parts.iter().map(|part| (name(part), part)).collect()
}

/// By names: a place among services is no change of a listener.
fn same_listener(before: &Plan, one: &ListenerPlan, after: &Plan, other: &ListenerPlan) -> bool {
    if other.flows.is_none() {
        return one == other;
    }
    let mut other = other.clone();
    if let Some(flows) = &mut other.flows {
        let earlier = |name: &str| before.services.iter().position(|one| *one.name == *name);
        let places = after.services.iter().map(|service| earlier(&service.name));
        let places: Vec<_> = places.map(|at| at.unwrap_or(usize::MAX)).collect();
        flows.place_services(&places);
    }
    *one == other
}

/// By names: a place among listeners or services is no change of a rule.
fn same_rule(before: &Plan, one: &RulePlan, after: &Plan, other: &RulePlan) -> bool {
    let RulePlan {
        name,
        priority,
        listeners: _,
        when,
        action,
        beside,
        exchange,
        idle_body,
        body,
        class,
        rates,
    } = one;
    let listeners = |plan: &Plan, rule: &RulePlan| -> Vec<Option<Arc<str>>> {
        let name = |at: &usize| plan.listeners.get(*at).map(|one| one.name.clone());
        rule.listeners.iter().map(name).collect()
    };
    let services = |one: usize, other: usize| {
        let name = |plan: &Plan, at: usize| plan.services.get(at).map(|one| one.name.clone());
        name(before, one) == name(after, other)
    };
    action.same(&other.action, services)
        && beside.same(&other.beside, services)
        && *name == other.name
        && *priority == other.priority
        && *when == other.when
        && *exchange == other.exchange
        && *idle_body == other.idle_body
        && *body == other.body
        && *class == other.class
        && *rates == other.rates
        && listeners(before, one) == listeners(after, other)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use evenkeel_config::{Source, load};

    use super::*;

    fn plan(text: &str) -> Plan {
        let source = Source {
            name: "f.yaml".into(),
            text: text.into(),
        };
        load(&[source], &BTreeMap::new()).plan.unwrap()
    }

    const HEAD: &str = "listeners: { web: { bind: 127.0.0.1:1 }, other: { bind: 127.0.0.1:2 } }\nservices: { api: { backends: [a:1] }, next: { backends: [b:1] } }\n";

    #[track_caller]
    fn check(before: &str, after: &str, expect: &[&str]) {
        let changes = Changes::between(&plan(before), &plan(after));
        let words: Vec<_> = changes.all.iter().map(Change::words).collect();
        assert_eq!(words, expect);
    }

    #[test]
    fn a_line_names_so_many() {
        let of = |backends: usize| {
            let backends: Vec<_> = (1..=backends).map(|port| format!("a:{port}")).collect();
            plan(&format!(
                "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ backends: [{}] }} }}\n",
                backends.join(", ")
            ))
        };
        let line = |to: usize| Changes::between(&of(1), &of(to)).line();
        assert_eq!(line(1), "nothing changes");
        let most = line(SAID + 1);
        assert_eq!(most.matches("; ").count(), SAID - 1);
        assert!(!most.contains(" more"), "{most}");
        let beyond = line(SAID + 3);
        assert_eq!(beyond.matches(" is added").count(), SAID);
        assert!(beyond.ends_with(" is added; and 2 more"), "{beyond}");
    }

    #[test]
    fn rows() {
        let rules = |rules: &str| format!("{HEAD}rules: [{rules}]\n");
        let whole = rules("{ forward: api }");
        check(&whole, &whole, &[]);
        // Services in another order are the same services.
        let split = |split: &str, head: &str| {
            format!(
                "{head}rules: [{{ name: a, forward: {split}, fallback: {{ forward: api }} }}]\n"
            )
        };
        let turned = "services: { next: { backends: [b:1] }, api: { backends: [a:1] } }\nlisteners: { web: { bind: 127.0.0.1:1 }, other: { bind: 127.0.0.1:2 } }\n";
        let one = split("{ api: 9, next: 1 }", HEAD);
        check(&one, &split("{ to: { api: 9, next: 1 } }", turned), &[]);
        for other in [
            split("{ api: 8, next: 1 }", HEAD),
            split("{ next: 9, api: 1 }", HEAD),
            split("{ api: 9, next: 1 }", turned).replace("forward: api }", "forward: next }"),
            split(
                "{ to: { api: 9, next: 1 }, affinity: { source: true } }",
                HEAD,
            ),
            one.replace("fallback", "rewrite: { host: a }, fallback"),
            one.replace("fallback", "timeouts: { per_try: 1s }, fallback"),
        ] {
            check(&one, &other, &["rule a changes"]);
        }
        // The same values, written otherwise and in other places.
        check(
            &rules("{ forward: api, listeners: web, timeouts: { exchange: 60s } }"),
            "services: { next: { backends: [b:1] }, api: { backends: [{ address: a:1, weight: 1 }], breaker: on } }\nlisteners: { other: { bind: 127.0.0.1:2 }, web: { bind: 127.0.0.1:1, limits: { head: 32KiB } } }\nrules: [{ forward: { api: 1 }, listeners: web, timeouts: { exchange: 1m } }]\n",
            &[],
        );
        check(
            &whole,
            &rules("{ forward: next }"),
            &["rule rule-1 changes"],
        );
        check(
            &rules(
                "{ name: a, when: { path: /a }, forward: api }, { name: b, when: { path: { regex: b } }, forward: api }",
            ),
            &rules(
                "{ name: b, when: { path: { regex: b } }, forward: api }, { name: a, when: { path: /a }, forward: api }",
            ),
            &["rules are tried in another order"],
        );
        check(
            &rules("{ when: { path: { regex: a } }, forward: api }"),
            &rules("{ when: { path: { regex: b } }, forward: api }"),
            &["rule rule-1 changes"],
        );
        check(
            &whole,
            &format!(
                "{whole}user: a\ngroup: b\ndrain: 1s\nresolver: {{ attempts: 1 }}\nworkers: 3\ntrusted_proxies: 10.0.0.0/8\naccess_log: stderr\nadmin: {{ bind: off }}\n"
            ),
            &[
                "admin changes at the next start",
                "trusted_proxies changes",
                "access_log changes",
                "workers changes at the next start",
                "drain changes",
                "user changes at the next start",
                "group changes at the next start",
                "resolver changes",
            ],
        );
        check(
            &whole,
            &format!("{whole}admin: {{ hosts: [a.test] }}\n"),
            &["admin changes"],
        );
        let service = |service: &str| {
            format!(
                "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ {service} }} }}\n"
            )
        };
        let changed = ["service api changes"];
        for part in [
            "policy: random",
            "policy: hash",
            "slow_start: 1s",
            "on_all_down: fail_closed",
            "breaker: off",
            "breaker: { cap: 10% }",
            "timeouts: { connect: 1s }",
            "upstream: { idle: 1s }",
            "health: { tcp: {} }",
        ] {
            check(
                &service("backends: [a:1]"),
                &service(&format!("backends: [a:1], {part}")),
                &changed,
            );
        }
        check(
            &service("backends: [a:1], health: { http: {} }"),
            &service("backends: [a:1], health: { http: { headers: { a: b } } }"),
            &changed,
        );
        check(
            &service("backends: [{ dns: a:1 }, { dns: b:1 }, { srv: s }]"),
            &service("backends: [{ dns: a:1, refresh: 1s }, { srv: S }, c:1]"),
            &[
                "service api: backend c:1 is added",
                "service api: name S is added",
                "service api: name a:1 changes",
                "service api: name b:1 is removed",
                "service api: name s is removed",
            ],
        );
        check(
            &service("backends: [a:1, b:1]"),
            &service("backends: [{ address: a:1, weight: 2 }, c:1]"),
            &[
                "service api: backend a:1 changes",
                "service api: backend c:1 is added",
                "service api: backend b:1 is removed",
            ],
        );
    }
}
