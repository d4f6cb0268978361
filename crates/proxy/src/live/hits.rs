//! Owns how often rules are met: a row per worker, counted on from plan to plan by the rule's name.

use std::collections::HashMap;
use std::sync::Arc;

use evenkeel_config::Plan;

use super::Live;
use crate::observation::Count;

/// How often each rule of a plan was met. Flat rows, since there may be 100,000 rules and as many workers as cores.
#[derive(Debug)]
pub struct Hits {
    /// A row per worker, by the rules' places.
    rows: Arc<[Row]>,
    earlier: Option<Earlier>,
}

type Row = Box<[Line]>;

/// Counts that lie side by side. Rows are made together and raised by one worker each, which must not share a line of memory.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([Count; LINE]);

const LINE: usize = 16;

/// What was counted under plans before this one.
#[derive(Debug)]
struct Earlier {
    /// Of the plan just before it: a worker that has not seen the next one may still count here. One that lags by two plans counts in
    /// vain, which takes two reloads between its look at the plan and its rule.
    rows: Arc<[Row]>,
    /// Where each rule stood in it, and what it had then from plans before that one.
    rules: Box<[Option<(usize, u64)>]>,
}

impl Hits {
    /// Those of a plan, which go on with what was counted under the one before it. Nothing is copied where rules stay.
    pub(super) fn join(plan: &Plan, before: Option<&Live>, workers: usize) -> Arc<Self> {
        if let Some(before) = before
            && names(&before.plan).eq(names(plan))
        {
            return before.hits.clone();
        }
        let lines = plan.rules.len().div_ceil(LINE);
        let row = |_| (0..lines).map(|_| Line::default()).collect();
        let earlier = before.map(|before| {
            let places: HashMap<&str, usize> = names(&before.plan).zip(0..).collect();
            let rules = names(plan).map(|name| {
                let at = *places.get(name)?;
                Some((at, before.hits.before(at)))
            });
            Earlier {
                rows: before.hits.rows.clone(),
                rules: rules.collect(),
            }
        });
        let rows = (0..workers).map(row).collect();
        Arc::new(Self { rows, earlier })
    }

    /// A request has met this rule.
    #[inline]
    pub(crate) fn hit(&self, worker: usize, rule: usize) {
        let row = self.rows.get(worker);
        if let Some(line) = row.and_then(|row| row.get(rule / LINE)) {
            line.0[rule % LINE].add(1);
        }
    }

    /// How often the rule at this place was met.
    #[must_use]
    pub fn of(&self, rule: usize) -> u64 {
        self.before(rule) + sum(&self.rows, rule)
    }

    fn before(&self, rule: usize) -> u64 {
        self.earlier.as_ref().map_or(0, |earlier| {
            let of = earlier.rules.get(rule).copied().flatten();
            of.map_or(0, |(at, earliest)| earliest + sum(&earlier.rows, at))
        })
    }
}

fn sum(rows: &[Row], rule: usize) -> u64 {
    let lines = rows.iter().filter_map(|row| row.get(rule / LINE));
    lines.map(|line| line.0[rule % LINE].get()).sum()
}

fn names(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.rules.iter().map(|rule| &*rule.name)
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
        // There is no worker 2, and nothing is counted of it.
        for (worker, rule) in [(0, 0), (1, 0), (1, 1), (1, 1), (1, 1), (2, 0), (0, 99)] {
            first.hits.hit(worker, rule);
        }
        assert_eq!([0, 1, 99].map(|rule| first.hits.of(rule)), [2, 3, 0]);
        let same = live(two, Some(&first));
        assert!(Arc::ptr_eq(&same.hits, &first.hits));
        let turned = "{ name: new, when: { path: /3 }, forward: api }, { name: two, when: { path: /2 }, forward: api }, { name: one, forward: api }";
        let next = live(turned, Some(&same));
        // A worker that has not seen the next plan counts where it did.
        first.hits.hit(0, 1);
        next.hits.hit(1, 1);
        let of = [0, 1, 2].map(|rule| next.hits.of(rule));
        assert_eq!(of, [0, 5, 2]);
        let third = live(two, Some(&next));
        next.hits.hit(0, 2);
        third.hits.hit(1, 0);
        assert_eq!([0, 1].map(|rule| third.hits.of(rule)), [4, 5]);
        // Who left and comes back begins anew, as its row does.
        let fourth = live(turned, Some(&third));
        assert_eq!([0, 1, 2].map(|rule| fourth.hits.of(rule)), [0, 5, 4]);
    }

    #[test]
    fn each_of_many_rules_has_a_count_and_workers_share_no_line() {
        let many: String = (0..40)
            .map(|at| format!("{{ when: {{ path: /{at} }}, forward: api }}, "))
            .collect();
        let live = live(&many, None);
        for rule in 0..40 {
            for _ in 0..rule {
                live.hits.hit(rule % 2, rule);
            }
        }
        let of = (0..40).map(|rule| live.hits.of(rule));
        assert!(of.eq(0..40));
        assert_eq!(size_of::<Line>(), 8 * LINE);
        assert_eq!(align_of::<Line>(), 128);
    }
}
