//! Owns the checked configuration: what the data plane and the control plane run by, without anything left to interpret.
//!
//! A plan that exists has been checked: names refer to something, numbers lie in their ranges, patterns are compiled. Where a
//! key was absent, the default of [`limits`](crate::limits) stands in it. Positions in the text are gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::settings::ServiceSettings;
use evenkeel_balance::zone::Zone;
use ipnet::IpNet;

use crate::limits::{ListenerLimits, ServiceLimits};

/// `access_log:`
mod access_log;

/// `admin:`
pub mod admin;

/// `drain:`
mod drain;

/// `rules:`
mod rules;

/// `host_map:` of a rule.
mod host_map;

/// `when:` of a rule.
mod conditions;

/// `load:` of a service.
mod load;

/// `affinity:` of a service.
mod affinity;

/// What rules do beside naming a service, a redirect or an answer.
mod actions;

/// Where the flows of a TCP listener go.
mod flows;

/// Names whose backends DNS tells.
mod names;

/// Rate limits, of rules and listeners.
mod rates;

/// The PROXY protocol, of listeners and to backends.
mod proxy_protocol;

/// Zones, and whose clients are near them.
pub mod zones;

/// `monitoring:` and `adjust:` of a service.
mod monitoring;

/// Who is told of alerts.
mod alerts;

/// Who is told of traces.
pub mod traces;

/// TLS, of listeners and to backends.
pub mod tls;

pub use access_log::{AccessLogPlan, LogTarget, QueryShown, RowFormat};
pub use actions::{
    Beside, EditsPlan, Expression, FallbackPlan, FieldName, HostRewrite, PathRewrite, Piece,
    RewritePlan, Side, SidePlan, SplitAffinity, SplitPlan, Template,
};
pub use admin::AdminPlan;
pub use affinity::{AffinityBy, AffinityPlan, CookiePlan, is_of_one_host, is_secure_by_name};
pub use alerts::{AlertSeverity, AlertTurn, AlertsPlan, WebhookPlan};
pub use conditions::{
    CertificatePart, Certified, Conditions, Further, HostPattern, Named, Networks, Parameter,
    PathPattern, TextPattern, Wildcard, canonical,
};
pub use drain::DrainPlan;
pub(crate) use flows::HelloName;
pub use flows::{FlowPlan, HelloPlan, HelloTarget, Unknown};
pub use host_map::HostMap;
pub use load::{LoadPage, LoadPlan, LoadSource};
pub use monitoring::{AdjustPlan, Metric, MonitoringPlan, ThresholdPlan, TrialPlan};
pub use names::{NamePlan, Question, ResolverPlan};
pub use proxy_protocol::{ProxyHeader, ProxyPeers, ProxyTlv, ProxyVersion};
pub use rates::{RateBy, RatePlan};
pub use rules::{Action, RedirectPlan, RedirectPort, RespondPlan, RulePlan};
pub use traces::TracesPlan;
pub use zones::{Prefer, RegionPlan};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the instance is asked about itself, and by whom.
    pub admin: AdminPlan,
    /// Peers whose forwarding fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where exchanges are written down; none: nowhere.
    pub access_log: Option<AccessLogPlan>,
    /// Who is told of exchanges as spans of traces; none: nobody.
    pub traces: Option<TracesPlan>,
    /// Who is told of alerts.
    pub alerts: AlertsPlan,
    /// How many data-plane threads.
    pub workers: Workers,
    /// How the instance ends.
    pub drain: DrainPlan,
    /// Whom the process becomes when everything is bound, by name or number; none: it stays who started it.
    pub user: Option<Arc<str>>,
    /// Its only group then; none: the user's own.
    pub group: Option<Arc<str>>,
    /// How names of backends are looked up.
    pub resolver: ResolverPlan,
    /// The file whose keys sign cookies of affinity, 1 to 3 of 32 bytes: the first signs, all verify; none: one of chance.
    pub affinity_keys: Option<tls::Material>,
    /// Where this instance stands.
    pub zone: Option<Zone>,
    /// Which clients are near which zone.
    pub regions: Vec<RegionPlan>,
    /// In the order of the text; names are unique.
    pub listeners: Vec<ListenerPlan>,
    /// Lowest priority first; ties in the order of the text.
    pub rules: Vec<RulePlan>,
    /// In the order of the text; names are unique.
    pub services: Vec<ServicePlan>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// TCP; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

/// How many data-plane threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One per core that the process may use.
    #[default]
    Auto,
    /// This many, 1 to 1,024.
    Fixed(NonZeroUsize),
}

/// Addresses that accept connections, and how they are spoken on.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerPlan {
    /// Its name.
    pub name: Arc<str>,
    /// At least one; none overlaps another of any listener.
    pub binds: Vec<Bind>,
    /// Who says whose connections these are; none: nobody, and each is the peer's own.
    pub proxy_protocol: Option<Arc<ProxyPeers>>,
    /// TLS, ended here; none: not encrypted.
    pub tls: Option<tls::TlsPlan>,
    /// It speaks TCP, and its flows go here; none: it speaks HTTP, and rules say where.
    pub flows: Option<FlowPlan>,
    /// Limits and deadlines.
    pub limits: ListenerLimits,
    /// How many requests pass of rules that say nothing of it, and of those without a rule; or how many flows. All must let them.
    pub rates: Arc<[RatePlan]>,
    /// HTTP/2 is spoken too: over TLS if the client wants it, else with clients that begin so.
    pub http2: bool,
    /// What is done with a request's path before rules see it.
    pub path: PathHandling,
    /// Adds `Via` to requests and responses, under this name; none: no `Via`.
    pub via: Option<Arc<str>>,
    /// Adds `X-Real-IP` to requests.
    pub real_ip: bool,
    /// The field in which answers say how many attempts were made for them; none: they do not.
    pub attempts_header: Option<Arc<str>>,
    /// A client that closes its direction behind a request is still answered; else it counts as gone.
    pub half_close: bool,
    /// What answers that are made here say, by status; the rest say the reason's word. Those of the whole plan are among them.
    pub error_pages: ErrorPages,
}

/// Configured answers by status.
pub type ErrorPages = BTreeMap<u16, ErrorPage>;

/// The statuses of answers that are made here: what may be configured.
pub const ERROR_STATUSES: [u16; 16] = [
    400, 403, 404, 408, 413, 414, 417, 421, 429, 431, 500, 501, 502, 503, 504, 505,
];

/// A configured answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Its media type.
    pub content_type: Arc<str>,
    /// Its body, in pieces; the reason's word stands between them.
    pub body: Vec<Arc<[u8]>>,
}

/// What is done with a request's path before rules see it and it is forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathHandling {
    /// One normal form: unreserved characters decoded, `.` and `..` resolved, repeated slashes merged; an encoded slash
    /// or backslash stays encoded.
    #[default]
    Normalize,
    /// As `Normalize`, but a path that is not in normal form already is refused with 400.
    Refuse,
    /// As it came; rules then see what the client wrote. Only where backends need it.
    AsIs,
}

/// A named group of backends.
#[derive(Clone, Debug)]
pub struct ServicePlan {
    /// Its name.
    pub name: Arc<str>,
    /// What the decision core runs by.
    pub settings: ServiceSettings,
    /// What a hash policy hashes; none for other policies.
    pub key: Option<HashKey>,
    /// Those that stand in the text by their address. At least one, or one name. Shared: of ten thousand there is one copy.
    pub backends: Arc<[BackendPlan]>,
    /// Names that stand for more of them.
    pub names: Vec<NamePlan>,
    /// How its backends are connected to.
    pub upstream: UpstreamPlan,
    /// How its backends are checked; none: not at all.
    pub health: Option<HealthPlan>,
    /// Where its backends report their load; none: its policy does not go by that.
    pub load: Option<LoadPlan>,
    /// What keeps clients on their backends; none: nothing does.
    pub affinity: Option<AffinityPlan>,
    /// Whose zone comes first, where its settings heed zones.
    pub prefer: Prefer,
    /// How it is watched. None: nothing is told; what `adjust` goes by is measured all the same.
    pub monitoring: Option<MonitoringPlan>,
    /// How weights follow what backends do; none: they stay as they are configured.
    pub adjust: Option<AdjustPlan>,
    /// Limits and deadlines.
    pub limits: ServiceLimits,
}

impl ServicePlan {
    /// Whether all but the backends is the same.
    #[must_use]
    pub fn same_but_backends(&self, other: &Self) -> bool {
        // Named one by one, so that a new setting is not forgotten here.
        let Self {
            name,
            settings,
            key,
            backends: _,
            names: _,
            upstream,
            health,
            load,
            affinity,
            prefer,
            monitoring,
            adjust,
            limits,
        } = self;
        *name == other.name
            && *key == other.key
            && *upstream == other.upstream
            && *health == other.health
            && *load == other.load
            && *affinity == other.affinity
            && *prefer == other.prefer
            && *monitoring == other.monitoring
            && *adjust == other.adjust
            && *limits == other.limits
            && settings.is_same(&other.settings)
    }
}

/// What a hash policy hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    Source,
    /// The path, without query.
    Path,
    /// The whole target.
    Uri,
    /// A field of this name, in lower case; the client's address when it is absent.
    Header(Arc<str>),
    /// A cookie of this name; the client's address when it is absent.
    Cookie(Arc<str>),
}

/// So that the core takes members as they stand in a plan.
impl AsRef<BackendSpec> for BackendPlan {
    fn as_ref(&self) -> &BackendSpec {
        &self.spec
    }
}

/// One backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendPlan {
    /// What the decision core knows of it.
    pub spec: BackendSpec,
    /// Where it is reached.
    pub address: BackendAddress,
    /// At most so many sockets of all workers together, idle ones too; none is no limit.
    pub max_connections: Option<NonZeroUsize>,
}

/// Where a backend is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A name that is looked up at each connect (all its addresses, happy eyeballs), and a port.
    Name(Arc<str>, NonZeroU16),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

/// How backends are connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPlan {
    /// An idle connection is not used after so long, and closed.
    pub idle: Duration,
    /// So many requests on one connection; none is no limit.
    pub requests: Option<NonZeroUsize>,
    /// A connection is not used again after so long; none is no limit.
    pub age: Option<Duration>,
    /// The most idle connections per backend and worker.
    pub idle_most: usize,
    /// Connects from this address.
    pub source: Option<std::net::IpAddr>,
    /// TCP keep-alive probes after so long without traffic; none: the kernel's setting.
    pub keepalive: Option<Duration>,
    /// TLS; none: not encrypted.
    pub tls: Option<Arc<tls::UpstreamTls>>,
    /// What tells backends who connects, before TLS; none: nothing does.
    pub proxy_protocol: Option<Arc<ProxyHeader>>,
    /// What is spoken.
    pub protocol: Protocol,
    /// Exchanges at once on one connection of HTTP/2, if the backend allows as many.
    pub streams: usize,
}

/// What backends are spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, and nothing else: without TLS by prior knowledge.
    Http2,
    /// HTTP/2 where the backend agrees to it in the TLS handshake, else HTTP/1.1.
    Auto,
}

/// How backends are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthPlan {
    /// What is asked.
    pub check: CheckPlan,
    /// From the begin of one check to the next, while nothing is in doubt.
    pub interval: Duration,
    /// While a backend is unproven or a check contradicts its standing.
    pub interval_unsure: Duration,
    /// While a backend is down.
    pub interval_down: Duration,
    /// A check without an end by then has failed.
    pub timeout: Duration,
    /// Another port than the backend's.
    pub port: Option<NonZeroU16>,
    /// Another address than the backend's.
    pub address: Option<std::net::IpAddr>,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckPlan {
    /// That a connection can be made.
    Tcp,
    /// That an HTTP answer is the expected one.
    Http(HttpCheckPlan),
    /// That the gRPC health checking protocol says that it serves.
    Grpc(GrpcCheckPlan),
}

impl CheckPlan {
    /// Whether it is made over TLS where the service's traffic is.
    #[must_use]
    pub const fn follows_tls(&self) -> bool {
        match self {
            Self::Tcp => false,
            Self::Http(http) => http.tls,
            Self::Grpc(grpc) => grpc.tls,
        }
    }
}

/// Which version of HTTP a check speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckProtocol {
    /// As the service's traffic.
    #[default]
    Upstream,
    /// 1.1.
    Http1,
    /// 2; in plain text by prior knowledge.
    Http2,
}

/// A check by the gRPC health checking protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCheckPlan {
    /// Which of the backend's services is asked for; empty: the backend as a whole.
    pub service: Arc<str>,
    /// The `:authority`; none: the backend's address.
    pub host: Option<Arc<str>>,
    /// Over TLS where traffic is.
    pub tls: bool,
}

/// An HTTP check.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpCheckPlan {
    /// `GET` by default.
    pub method: Arc<str>,
    /// Path and query.
    pub path: Arc<str>,
    /// The `Host` field; none: the backend's address.
    pub host: Option<Arc<str>>,
    /// More fields, in order.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Expected statuses, inclusive ranges; 200 to 299 by default.
    pub expect: Vec<(u16, u16)>,
    /// The body's first 64 KiB must match.
    pub body: Option<BodyMatch>,
    /// Over TLS where traffic is.
    pub tls: bool,
    /// Which version it speaks.
    pub protocol: CheckProtocol,
}

/// What a check's body must be like.
#[derive(Clone, Debug)]
pub enum BodyMatch {
    /// Holds this text.
    Contains(Arc<str>),
    /// This expression is found in it.
    Regex(regex::bytes::Regex),
}

impl PartialEq for BodyMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Contains(one), Self::Contains(other)) => one == other,
            (Self::Regex(one), Self::Regex(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}
