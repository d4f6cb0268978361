//! Owns what is said of clients that services keep.

pub use evenkeel_balance::affinity::ClientsCounts;
use evenkeel_proxy::live::LiveService;
use evenkeel_proxy::observation::{ignored, moves, stays};

/// The clients that a service keeps, at one moment.
#[derive(Clone, Debug)]
pub struct AffinitySnapshot {
    /// How they are known again, by word.
    pub by: &'static str,
    /// Exchanges whose client was new, or was kept.
    pub stays: Vec<(&'static str, u64)>,
    /// Clients that moved, by why.
    pub moves: Vec<(&'static str, u64)>,
    /// Cookies that counted as nothing, by why.
    pub ignored: Vec<(&'static str, u64)>,
    /// The table of those who are remembered. None: nobody is, the client's cookie says it.
    pub clients: Option<ClientsCounts>,
    /// The most that it holds.
    pub most: usize,
}

pub(super) fn affinity(live: &LiveService) -> Option<AffinitySnapshot> {
    let plan = &live.affinity.as_ref()?.plan;
    let stays_of = || live.state.counters.iter().map(|row| &row.stays);
    Some(AffinitySnapshot {
        by: plan.by.word(),
        stays: stays(stays_of()),
        moves: moves(stays_of()),
        ignored: ignored(stays_of()),
        clients: (plan.by.is_remembered()).then(|| live.state.clients_counts().unwrap_or_default()),
        most: plan.clients.most,
    })
}
