//! Owns what a service publishes: membership, standing and policy tables, together, in one value.
//!
//! A table never changes. Pickers read one from beginning to end; the one writer builds the next.

use std::sync::Arc as StdArc;

use crate::backend::Backend;
use crate::eligibility::{Admission, Footing};
use crate::load::LoadShare;
use crate::parts::Parts;
use crate::policy::Prepared;
use crate::settings::QueueSettings;
use crate::standing::Standing;
use crate::sync::Arc;
use crate::time::Instant;
use crate::zone::Zone;

/// One backend as pickers see it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) backend: Arc<Backend>,
    /// Weight times ramp.
    pub(crate) share: f32,
    /// The mean share of all lanes, or of those of its tier, / share.
    pub(crate) per_share: f32,
    /// Most attempts in flight; `u32::MAX` is no limit.
    pub(crate) limit: u32,
    /// Its ramp in parts of 2^32; `u32::MAX` is warm.
    pub(crate) warmth: u32,
}

/// One member, picked or not.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) backend: Arc<Backend>,
    pub(crate) standing: Standing,
    pub(crate) admission: Admission,
    pub(crate) tier: u16,
    /// Where it stands, if zones are heeded.
    pub(crate) zone: Option<Zone>,
    /// Where in `lanes` followed by `beside`; `u32::MAX` for nowhere.
    pub(crate) lane: u32,
    /// The part of its share that its reports give it, where the policy goes by them.
    pub(crate) load: Option<LoadShare>,
    /// The limit that it was configured with; that of its lane may be lower. `u32::MAX` is none.
    pub(crate) configured: u32,
    /// Until when those who are kept there are served, while it drains.
    pub(crate) keeps_until: Instant,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) members: Box<[Member]>,
    /// Who may be picked, in the order of configuration; by tier and zone first, where there are parts.
    pub(crate) lanes: Box<[Lane]>,
    /// So many of the first of those beside the lanes may be picked for a trial.
    pub(crate) trials: usize,
    /// Behind them, who may be had by those who are kept there, and by nobody else.
    pub(crate) beside: Box<[Lane]>,
    /// Of a policy with a bound: who has no lane, and attempts in flight all the same, or may get some. Those that left, too.
    pub(crate) aside: Box<[Arc<Backend>]>,
    /// Members by their identities, in the order of these; empty without an affinity.
    pub(crate) identities: Arc<[(u64, u32)]>,
    /// Whether any lane has a limit.
    pub(crate) limited: bool,
    /// Whether any lane warms up.
    pub(crate) warming: bool,
    /// Most attempts in flight on all lanes together; `u32::MAX` is no limit.
    pub(crate) most: u32,
    /// Whether asks may wait while it is full.
    pub(crate) queue: Option<QueueSettings>,
    pub(crate) footing: Footing,
    /// Of a service that has tiers or heeds zones, while a tier is healthy. What is prepared beside is for no lane then.
    pub(crate) parts: Option<Parts>,
    pub(crate) prepared: Prepared,
    pub(crate) policy: StdArc<str>,
}

impl Table {
    /// The lane of an index into `lanes` followed by `beside`.
    #[inline]
    pub(crate) fn lane(&self, index: usize) -> &Lane {
        match self.lanes.get(index) {
            Some(lane) => lane,
            None => &self.beside[index - self.lanes.len()],
        }
    }
}
