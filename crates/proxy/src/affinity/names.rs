//! Owns the names of the cookies that we set: no backend of any service sees one, whichever service or split it is of.

use std::sync::Arc;

use evenkeel_config::Plan;
use evenkeel_config::plan::{Action, RulePlan, ServicePlan, SplitAffinity};

/// In their order.
#[derive(Debug)]
pub struct Names(Box<[Arc<str>]>);

impl Names {
    /// Those of a plan. None: it sets no cookie.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Arc<Self>> {
        let service = |service: &ServicePlan| {
            let own = service.affinity.as_ref()?.by.own()?;
            Some(own.name.clone())
        };
        let split = |rule: &RulePlan| match &rule.action {
            Action::Split(split) => match &split.affinity {
                Some(SplitAffinity::Cookie(name, _)) => Some(name.clone()),
                Some(SplitAffinity::Source) | None => None,
            },
            _ => None,
        };
        let services = plan.services.iter().filter_map(service);
        let mut all: Vec<_> = services
            .chain(plan.rules.iter().filter_map(split))
            .collect();
        all.sort_unstable();
        all.dedup();
        (!all.is_empty()).then(|| Arc::new(Self(all.into())))
    }

    /// Whether a cookie of this name is one of ours.
    #[must_use]
    pub fn has(&self, name: &[u8]) -> bool {
        let found = self.0.binary_search_by(|one| one.as_bytes().cmp(name));
        found.is_ok()
    }
}
