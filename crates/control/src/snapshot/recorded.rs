//! Owns what is told of exchanges that were recorded with their decisions.

use std::sync::Arc;

use evenkeel_config::limits::DECISION_RECORDS;
use evenkeel_config::plan::AccessLogPlan;
pub use evenkeel_proxy::recorded::RecordCounts;
use evenkeel_proxy::recorded::{Because, Decision, Recorded};

use super::Watch;
use super::failed::{RequestPart, TryPart, part};

/// An exchange that was recorded.
#[derive(Clone, Debug)]
pub struct DecisionPart {
    /// The exchange.
    pub request: RequestPart,
    /// Why it was recorded: the key that allows it.
    pub because: &'static str,
    /// Who asked for that.
    pub asked_by: Option<String>,
    /// The revision that it began under, as writes have it.
    pub revision: Option<String>,
    /// Decisions beyond those that were written down.
    pub unwritten: u32,
    record: Arc<Recorded>,
}

impl DecisionPart {
    /// Its decisions, in their order.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        self.record.decisions()
    }
}

impl Watch {
    /// The last exchanges that were recorded and are wanted, in the order in which they began, `most` at most. Cost: all that are remembered.
    #[must_use]
    pub fn decisions(
        &self,
        most: usize,
        wanted: impl Fn(&DecisionPart) -> bool,
    ) -> Vec<DecisionPart> {
        let live = self.published.load();
        let log = live.plan.access_log.as_ref();
        let mut all = Vec::new();
        for (worker, shelf) in self.published.records.all().iter().enumerate() {
            let rows = shelf.all().into_iter();
            all.extend(rows.filter_map(|one| self.decision(worker, one, log)));
        }
        all.retain(wanted);
        all.sort_by_key(|one| one.request.began);
        let more = all.len().saturating_sub(most);
        all.drain(..more);
        all
    }

    /// The one that is called so, or the last that its backends know by this.
    #[must_use]
    pub fn decisions_of(&self, id: &str) -> Option<DecisionPart> {
        let is = |one: &DecisionPart| {
            let request = &one.request;
            request.id == id || request.request_id.as_deref() == Some(id)
        };
        self.decisions(1, is).pop()
    }

    /// How many were recorded, and how many may be remembered of each kind.
    #[must_use]
    pub fn record_counts(&self) -> (RecordCounts, usize) {
        let shelves = self.published.records.all();
        let most = self.workers.len() * DECISION_RECORDS;
        (RecordCounts::of(&shelves), most)
    }

    fn decision(
        &self,
        worker: usize,
        record: Arc<Recorded>,
        log: Option<&AccessLogPlan>,
    ) -> Option<DecisionPart> {
        let because = record.because()?.clone();
        let tries = record.decisions().iter().filter_map(tried).collect();
        let id = format!("{worker}-{}", record.number());
        Some(DecisionPart {
            request: part(id, record.record()?, tries, log),
            because: because.word(),
            asked_by: match because {
                Because::Asked(holder) => Some(holder.to_string()),
                Because::Drawn => None,
            },
            revision: record
                .revision()
                .map(|number| self.book.tag(number).to_string()),
            unwritten: record.unwritten(),
            record,
        })
    }
}

/// The attempt that followed a decision.
fn tried(decision: &Decision) -> Option<TryPart> {
    let (Some(Ok(backend)), Some(ended)) = (&decision.picked, &decision.ended) else {
        return None;
    };
    Some(TryPart {
        backend: backend.as_str().to_owned(),
        status: ended.how.status(),
        reason: ended.how.word(),
        after: ended.after,
    })
}
