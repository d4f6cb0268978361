//! Owns what a checked service says of reports of load: where they come from, and what becomes of them.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

/// Where a service's backends report their load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPlan {
    /// Where.
    pub from: LoadSource,
    /// Clients get the field too.
    pub keeps: bool,
    /// Metrics whose largest is the utilization where the application says none, by their whole names; at most 16.
    pub metrics: Arc<[Arc<str>]>,
}

/// Where reports come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadSource {
    /// A field of answers, or of their trailers.
    Header,
    /// A page that is asked for.
    Page(LoadPage),
}

/// A page of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPage {
    /// Path and query.
    pub path: Arc<str>,
    /// The `Host` field; none: the backend's address.
    pub host: Option<Arc<str>>,
    /// Another port than the backend's.
    pub port: Option<NonZeroU16>,
    /// From the begin of one question to the next.
    pub interval: Duration,
    /// A page that is not there by then is none.
    pub timeout: Duration,
}
