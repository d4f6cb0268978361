//! Owns how often rules are met: a row per worker, counted on from plan to plan by the rule's name.

use std::collections::HashMap;
use std::sync::Arc;

use evenkeel_config::Plan;

use super::Live;
use crate::observation::Count;

/// How often each rule of a plan was met. A count of a worker lies beside that worker's others, since they are made together.
#[derive(Debug)]
pub struct Hits(Box<[Box<[Arc<Count>]>]>);

impl Hits {
    /// Those of a plan, which go on with what was counted under the one before it. Nothing is copied where rules stay.
    pub(super) fn join(plan: &Plan, before: Option<&Live>, workers: usize) -> Arc<Self> {
        let Some(before) = before else {
            let row = || plan.rules.iter().map(|_| Arc::default()).collect();
            return Arc::new(Self((0..workers).map(|_| row()).collect()));
        };
        if names(&before.plan).eq(names(plan)) && before.hits.0.len() == workers {
            return before.hits.clone();
        }
        let places: HashMap<Arc<str>, usize> = names(&before.plan).zip(0..).collect();
        let row = |worker: usize| {
            let earlier = |name: Arc<str>| {
                let row = before.hits.0.get(worker)?;
                row.get(*places.get(&name)?).cloned()
            };
            names(plan)
                .map(|name| earlier(name).unwrap_or_default())
                .collect()
        };
        Arc::new(Self((0..workers).map(row).collect()))
    }

    /// A request has met this rule.
    #[inline]
    pub(crate) fn hit(&self, worker: usize, rule: usize) {
        if let Some(count) = self.0.get(worker).and_then(|row| row.get(rule)) {
            count.add(1);
        }
    }

    /// How often the rule at this place was met.
    #[must_use]
    pub fn of(&self, rule: usize) -> u64 {
        let counts = self.0.iter().filter_map(|row| row.get(rule));
        counts.map(|count| count.get()).sum()
    }
}

fn names(plan: &Plan) -> impl Iterator<Item = Arc<str>> {
    plan.rules.iter().map(|rule| rule.name.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use evenkeel_balance::event::Listener;
    use evenkeel_balance::time::Instant;
    use evenkeel_config::{Source, load};

    use super::*;

    fn live(rules: &str, before: Option<&Live>) -> Live {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ backends: [127.0.0.1:9] }} }}\nrules: [{rules}]\n"
        );
        let name = "keel.yaml".into();
        let loaded = load(&[Source { name, text }], &BTreeMap::new());
        let plan = loaded.plan.unwrap();
        let events: Arc<dyn Listener> = Arc::new(());
        Live::join(plan, before, 2, &events, Instant::ZERO)
    }

    #[test]
    fn a_rule_goes_on_by_its_name_wherever_it_stands() {
        let two = "{ name: one, when: { path: /1 }, forward: api }, { name: two, forward: api }";
        let first = live(two, None);
        for (worker, rule) in [(0, 0), (1, 0), (1, 1), (1, 1), (1, 1), (2, 0), (0, 2)] {
            first.hits.hit(worker, rule);
        }
        assert_eq!(
            [first.hits.of(0), first.hits.of(1), first.hits.of(2)],
            [2, 3, 0]
        );
        let same = live(two, Some(&first));
        assert!(Arc::ptr_eq(&same.hits, &first.hits));
        let turned = "{ name: new, when: { path: /3 }, forward: api }, { name: two, when: { path: /2 }, forward: api }, { name: one, forward: api }";
        let next = live(turned, Some(&same));
        // A worker that has not seen the next plan counts where it did.
        first.hits.hit(0, 1);
        next.hits.hit(1, 1);
        let of = [0, 1, 2].map(|rule| next.hits.of(rule));
        assert_eq!(of, [0, 5, 2]);
    }
}
