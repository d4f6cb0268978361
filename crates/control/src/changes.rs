//! Owns what lies between two plans, in words.

use std::collections::BTreeMap;
use std::fmt;

use evenkeel_config::Plan;

/// What lies between two plans. Names, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Lines that say what changed.
    pub lines: Vec<String>,
}

impl Changes {
    /// From one plan to another.
    #[must_use]
    pub fn between(before: &Plan, after: &Plan) -> Self {
        let mut lines = Vec::new();
        let listeners = |plan: &Plan| {
            by_name(
                plan.listeners
                    .iter()
                    .map(|one| (&*one.name, format!("{one:?}"))),
            )
        };
        compare(
            &mut lines,
            "listener",
            &listeners(before),
            &listeners(after),
        );
        let rules = |plan: &Plan| {
            by_name(plan.rules.iter().map(|rule| {
                let mut rule = rule.clone();
                let service = match rule.action {
                    evenkeel_config::plan::Action::Forward(service) => {
                        // By name: a place among the services is no change of the rule.
                        rule.action = evenkeel_config::plan::Action::Forward(0);
                        plan.services
                            .get(service)
                            .map(|service| service.name.to_string())
                    }
                    _ => None,
                };
                let name = rule.name.to_string();
                (name, format!("{rule:?} {service:?}"))
            }))
        };
        compare(&mut lines, "rule", &rules(before), &rules(after));
        let services = |plan: &Plan| {
            by_name(plan.services.iter().map(|one| {
                let mut bare = one.clone();
                bare.backends.clear();
                (one.name.to_string(), format!("{bare:?}"))
            }))
        };
        compare(&mut lines, "service", &services(before), &services(after));
        for service in &after.services {
            let earlier = before.services.iter().find(|one| one.name == service.name);
            let Some(earlier) = earlier else { continue };
            let backends = |plan: &evenkeel_config::plan::ServicePlan| {
                by_name(
                    plan.backends
                        .iter()
                        .map(|one| (one.spec.id.to_string(), format!("{one:?}"))),
                )
            };
            let what = format!("service {}: backend", service.name);
            compare(&mut lines, &what, &backends(earlier), &backends(service));
        }
        Self { lines }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return f.write_str("nothing changes");
        }
        f.write_str(&self.lines.join("\n"))
    }
}

fn by_name(parts: impl Iterator<Item = (impl Into<String>, String)>) -> BTreeMap<String, String> {
    parts.map(|(name, shown)| (name.into(), shown)).collect()
}

fn compare(
    lines: &mut Vec<String>,
    what: &str,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) {
    for (name, shown) in after {
        match before.get(name) {
            None => lines.push(format!("{what} {name} is added")),
            Some(earlier) if earlier != shown => lines.push(format!("{what} {name} changes")),
            Some(_) => {}
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        lines.push(format!("{what} {name} is removed"));
    }
}
