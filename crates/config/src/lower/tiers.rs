//! Owns `tiers:` of a service: whether those behind the first ever serve.

use evenkeel_balance::backend::{Admin, BackendSpec};

use crate::plan::{BackendPlan, NamePlan, Question};
use crate::problem::At;
use crate::read::Reading;

/// Where the first tier serves alone, disables who stands behind it. Where records say who does, nobody knows it here.
pub(super) fn settle(
    reading: &Reading,
    at: At,
    serve: Option<&str>,
    (backends, names): (&mut [BackendPlan], &mut [NamePlan]),
) {
    if serve != Some("first") {
        return;
    }
    let by_records = |name: &NamePlan| matches!(name.question, Question::Srv(_));
    if names.iter().any(by_records) {
        let message = "`tiers: first` says nothing of the priorities of SRV records: each of them is a tier that serves";
        reading.warning(at, "tiers", message);
    }
    let specs = backends.iter_mut().map(|one| &mut one.spec);
    let mut specs: Vec<&mut BackendSpec> = specs
        .chain(names.iter_mut().map(|one| &mut one.spec))
        .collect();
    let first = specs.iter().map(|spec| spec.tier).min();
    for spec in &mut specs {
        if Some(spec.tier) != first {
            spec.admin = Admin::Disabled;
        }
    }
}
