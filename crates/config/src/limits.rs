//! Owns every limit and deadline of the data plane: name, unit, default and the reason for it. Each stands here once.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Those of who asks.
mod admin;

/// Those of looking up names.
mod resolver;

/// Those of what is watched.
mod watching;

pub use admin::{
    ADMIN, ADMIN_HOSTS, DECISION_RECORDS, DECISION_RECORDS_BYTES, DECISIONS_AUDITED, FAILING,
    FAILURES, IDENTITIES, PICK_EXPIRES, PICK_EXPIRES_MOST, PICK_WAIT_MOST, PICKS, PICKS_AT_ONCE,
    PICKS_BODY, RECORDS_A_SECOND, RECORDS_UNDER_WAY, SOCKET_MODE, TOKENS, TRACES_OPEN, TRACES_WAIT,
};

pub use watching::{
    ADJUST_EVERY, ADJUST_EVERY_RANGE, HEALTH_THRESHOLD, PERFORMANCE_THRESHOLD, SECRET_BYTES,
    TRIAL_INTERVALS, TRIAL_THRESHOLD, TRIALS, TRIED, TRIED_MOST, WEBHOOK_ATTEMPTS,
    WEBHOOK_ATTEMPTS_MOST, WEBHOOK_WITHIN, WEBHOOK_WITHIN_MOST, WEBHOOKS,
};

use crate::plan::{Protocol, UpstreamPlan};

/// On SIGTERM: long enough for most exchanges, short enough for an operator who waits.
pub const DRAIN: Duration = Duration::from_secs(30);

/// Before that: nobody is in front who would have to see it first. With one, three of its checks.
pub const DRAIN_DELAY: Duration = Duration::ZERO;

/// On SIGTERM, idle connections may begin an exchange: clients that ask every few seconds hear that theirs ends, and a restart, during
/// which nobody new is served, is not held up for those that rest.
pub const DRAIN_IDLE: Duration = Duration::from_secs(5);

/// Listeners of one configuration.
pub const LISTENERS: usize = 10;

/// Listeners that `max_listeners` can allow.
pub const LISTENERS_MOST: usize = 10_000;

/// Addresses of one listener: each is a socket of every worker.
pub const BINDS: usize = 1_000;

/// Rules of one configuration: what programs write. Each takes some 2 KiB and 10 us while it is read.
pub const RULES: usize = 100_000;

/// Hosts, paths, methods, networks or listeners of one rule; each pair of host and path is a place in the index of rules.
pub const RULE_VALUES: usize = 10_000;

/// Cases of one file: as many as there may be rules.
pub const CASES: usize = RULES;

/// Who can wait for one service: each holds a client's connection and some 500 bytes.
pub const QUEUE_LENGTH: usize = 1_000_000;

/// Fields of one case's request: ten times what a listener takes unless it is told otherwise.
pub const CASE_FIELDS: usize = 1_000;

/// Values in the `header`, `cookie`, `query` and `not` of one rule, those of `not` inside counted too: each is tried with each
/// request that comes so far.
pub const TRIED_VALUES: usize = 256;

/// How deep `not` stands in `not`: more than anybody reads.
pub const NOT_DEPTH: usize = 4;

/// Rules of one host that have further conditions than host, path and method: a request may try them all, each for 600
/// to 1,000 instructions where it has few fields.
pub const TRIED_RULES: usize = 4_096;

/// Hosts of one map: each takes some 100 bytes.
pub const MAP_HOSTS: usize = 100_000;

/// Bytes of a file that a configuration names.
pub const FILE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of the file that keeps what operators want over a restart: a wish for each of 100,000 backends takes some half.
pub const OVERLAY_BYTES: usize = 64 * 1024 * 1024;

/// Edits beside the texts of a configuration: each is read at each change.
pub const CHANGES: usize = 10_000;

/// Bytes of all of them.
pub const CHANGES_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of one entry that is sent to be changed: a rule with an answer of its own.
pub const CHANGE_BYTES: usize = 256 * 1024;

/// Bytes of a name that comes with a change: of a host with its port, and more.
pub const CHANGED_NAME: usize = 300;

/// Revisions that are remembered, to be looked at and gone back to.
pub const REVISIONS: usize = 100;

/// Bytes of what they were made of, about: a text of 16 MiB is remembered four times.
pub const REVISIONS_BYTES: usize = 64 * 1024 * 1024;

/// Services of one configuration: each has counters and idle connections in every worker.
pub const SERVICES: usize = 10_000;

/// Backends of all services together: each has counters of its own cache lines, and its checks.
pub const BACKENDS: usize = 100_000;

/// Names whose backends DNS tells: asking for all of them anew takes some 8 s.
pub const NAMES: usize = 10_000;

/// Addresses that one name brings; the rest of an answer is left out. The largest answer that fits a message has some 4,000.
pub const NAME_ADDRESSES: usize = 1_000;

/// Records of one SRV answer that are followed: each is two questions more.
pub const SRV_TARGETS: usize = 100;

/// Servers of `resolver`: who is not there is found out one after another.
pub const NAME_SERVERS: usize = 8;

/// The most tries of one question.
pub const LOOKUP_ATTEMPTS: usize = 10;

/// Networks of `trusted_proxies`, and of a listener's `proxy_protocol`: each request or connection of a peer tries them in turn.
pub const NETWORKS: usize = 1_000;

/// Networks of all `regions` together: a client's is found in some 14 steps, and each takes 50 bytes.
pub const REGION_NETWORKS: usize = 10_000;

/// Fields that a check sends: as many as a request may have here.
pub const CHECK_HEADERS: usize = 100;

/// Bytes of one compiled expression, about.
pub const EXPRESSION_BYTES: usize = 1024 * 1024;

/// Bytes that an expression counts at least; the short ones take 2 to 12 KiB.
pub const EXPRESSION_BYTES_LEAST: usize = 16 * 1024;

/// Bytes of all compiled expressions of one configuration, about: 4,096 short ones, or 64 of the largest.
pub const EXPRESSIONS_BYTES: usize = 64 * 1024 * 1024;

/// Problems that are told of one configuration; who mends them sees the rest.
pub const PROBLEMS: usize = 1_000;

/// Events of an instance that are remembered: each takes some 300 bytes.
pub const EVENTS: usize = 4_096;

/// Exchanges that failed, of each worker, that are remembered: each takes 1 KiB or so, and 8 at most.
pub const FAILED_REQUESTS: usize = 128;

/// Who reads events along at once: each holds a connection of an admin address, of which 64 are served.
pub const EVENT_READERS: usize = 16;

/// The last priority of rules, and that of those that name none.
pub const PRIORITY: u32 = 50_000;

/// The rule of a configuration that has none.
pub const RULE_NAME: &str = "default";

/// Clients come back with the same method, and ask again next time.
pub const REDIRECT_STATUS: u16 = 302;

/// Of an answer made here.
pub const RESPOND_STATUS: u16 = 200;

/// Of an answer made here.
pub const RESPOND_TYPE: &str = "text/plain; charset=utf-8";

/// Of a request that a rule denies.
pub const DENY_STATUS: u16 = 403;

/// Services of one split; ALB has 5.
pub const SPLIT_SERVICES: usize = 64;

/// The largest weight of a service of a split, as ALB has it.
pub const SPLIT_WEIGHT: u16 = 999;

/// The cookie of a split.
pub const SPLIT_COOKIE: &str = "keel-split";

/// How long a client stays on its side of a split.
pub const SPLIT_TTL: Duration = Duration::from_secs(86_400);

/// The longest, as ALB has it.
pub const SPLIT_TTL_MOST: Duration = Duration::from_secs(604_800);

/// How long the cookie of an affinity lasts, as ALB has it.
pub const AFFINITY_TTL: Duration = Duration::from_secs(86_400);

/// The shortest: it is renewed on the way, and clocks of instances differ.
pub const AFFINITY_TTL_LEAST: Duration = Duration::from_secs(10);

/// Clients of one table, where an affinity remembers them: 1 GB.
pub const AFFINITY_CLIENTS: usize = 10_000_000;

/// Clients of all tables together that go over to the process that takes this one's place; those seen last go first. Each takes some
/// 100 bytes on the way.
pub const AFFINITY_CARRIED: usize = 200_000;

/// So many bits of an address of IPv6 are one client to an affinity: a provider gives a household or a phone that many, and the rest
/// changes from day to day.
pub const AFFINITY_IPV6_PREFIX: u8 = 64;

/// Bytes of the `Path` of a cookie of ours: browsers take no more of an attribute.
pub const AFFINITY_PATH: usize = 1024;

/// Values of our cookie that one request may show and that are looked into: more than one stand there where paths or domains differ.
pub const AFFINITY_TOLD: usize = 4;

/// Bytes of a value of the application's cookie that is remembered; a longer one keeps nobody anywhere.
pub const AFFINITY_VALUE: usize = 4096;

/// Fields that one rule changes in each direction: as many as a request may have here.
pub const EDITS: usize = 100;

/// Bytes of a text of a rule's redirect, rewrite or field: half of what a head may have here.
pub const TEMPLATE_BYTES: usize = 16 * 1024;

/// Bytes of where a redirect leads, as ALB has it: what browsers and proxies take.
pub const REDIRECT_BYTES: usize = 8 * 1024;

/// Rate limits of one rule or listener, as the core has it: each is asked with each request.
pub const RATES: usize = 8;

const _: () = assert!(RATES == evenkeel_balance::rate::LIMITS_MOST);

/// Whom a rate limit tells apart: 4 MB.
pub const RATE_KEYS: usize = 100_000;

/// The same of all rate limits of a configuration: 400 MB.
pub const RATE_KEYS_MOST: usize = 10_000_000;

/// The largest burst of a rate limit.
pub const RATE_BURST: u32 = 1_000_000;

/// The longest that the burst of a rate limit takes to come back: a year.
pub const RATE_FILLS: Duration = Duration::from_secs(31_622_400);

/// What one customer has of IPv6, and can change at will within: a /64.
pub const RATE_IPV6_PREFIX: u8 = 64;

/// Segments of a path by which a rate limit counts: each request is read so far.
pub const RATE_SEGMENTS: u8 = 16;

/// From one check to the next.
pub const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The same while a backend is in doubt, where checks are not more frequent anyway: an answer is wanted soon.
pub const CHECK_UNSURE: Duration = Duration::from_secs(1);

/// One check.
pub const CHECK_WITHIN: Duration = Duration::from_secs(2);

/// What a check asks for.
pub const CHECK_METHOD: &str = "GET";

/// What a check asks for.
pub const CHECK_PATH: &str = "/";

/// Statuses that pass a check, from and to.
pub const CHECK_EXPECT: (u16, u16) = (200, 299);

/// Where backends are asked for their load.
pub const LOAD_PATH: &str = "/load";

/// How often: as often as weights are made anew.
pub const LOAD_EVERY: Duration = Duration::from_secs(1);

/// The least: what is asked more often is a load of its own, and changes nothing.
pub const LOAD_EVERY_LEAST: Duration = Duration::from_millis(100);

/// Until a page with a load is there.
pub const LOAD_WITHIN: Duration = Duration::from_secs(1);

/// Metrics that stand for the utilization of a service's backends: each is compared with each metric of a report.
pub const LOAD_METRICS: usize = 16;

/// Bytes of a report of load in a field.
pub const LOAD_FIELD_BYTES: usize = 4 * 1024;

/// The same of one on a page: half of what is read of it, so that what is cut short is too long.
pub const LOAD_PAGE_BYTES: usize = 32 * 1024;

/// One KiB.
pub const KIB: u64 = 1024;

/// The most bytes of a configured answer: a page with its style, not a download.
pub const PAGE_BYTES: usize = 64 * 1024;

/// Certificates of one listener: each is parsed at every reload.
pub const CERTIFICATES: usize = 10_000;

/// A key for tickets opens what was sealed twice as long ago: a day, which clients keep them at most in practice.
pub const TICKETS_ROTATE: Duration = Duration::from_secs(12 * 60 * 60);

/// Bytes that a client may send on one HTTP/2 stream before they are taken: 20 MB/s at 12 ms.
pub const HTTP2_WINDOW: u32 = 256 * 1024;

/// The same on all streams of its connection, while they are read. What waits on streams that are not is allowed beside it, so that
/// they hold up no other: out of [`HTTP2_UNREAD`].
pub const HTTP2_CLIENT_WINDOW: u32 = 1024 * 1024;

/// Bytes that wait on streams that are not read, on all clients' connections of a worker, beyond their windows: 256 bodies that
/// their backends do not take. When they are used up, such streams hold up others of their connection.
pub const HTTP2_UNREAD: u32 = 64 * 1024 * 1024;

/// Bytes that a backend may send on one HTTP/2 stream before they are taken. Its connection has as much for each of its streams: a
/// client that reads slowly holds up nobody else's answer.
pub const HTTP2_BACKEND_WINDOW: u32 = 128 * 1024;

/// Names of one listener that passes TLS on: each takes some 200 bytes.
pub const SNI_NAMES: usize = 10_000;

/// Protocols of one such name: each connection that asks for it tries them in turn.
pub const ALPN_NAMES: usize = 16;

/// Bytes of a TLS hello that is passed on, with its records' heads: what a message of a handshake may have here. With keys of ML-KEM
/// it has some 1,800.
pub const HELLO_BYTES: usize = 64 * 1024;

/// Connections of one address on their way from the worker that took them to one that has fewer; beyond them a worker keeps what it takes.
/// That many come only to a worker that stands still or waits for places.
pub const ON_THEIR_WAY: usize = 64;

/// Pipes through which large pieces pass between two plain TCP connections within the kernel; more are copied. Each is two descriptors,
/// taken from those of clients' connections and at most a sixteenth of them. Linux lets a user without privileges have 64 of this
/// size.
pub const PIPES: usize = 64;

/// Bytes that one of them holds: kernel memory of a connection whose peer reads slowly.
pub const PIPE_BYTES: usize = 1024 * 1024;

/// Bytes of a request's body that are kept while it is sent, so that it can be sent again: linkerd's figure, and what most requests
/// with a body have at most.
pub const REPLAY_BYTES: usize = 64 * 1024;

/// The same of all bodies of one worker together: 256 long ones. What comes beyond that is sent once.
pub const REPLAY_WORKER_BYTES: usize = 16 * 1024 * 1024;

/// Attempts of one request that are not counted because they reached nobody, as the core has it: each is a connection that is refused.
pub const ATTEMPTS_EXCUSED: u32 = 8;

const _: () = assert!(ATTEMPTS_EXCUSED == evenkeel_balance::retry::EXCUSED_MOST);

/// How soon it must be known that an attempt reached nobody, as the core has it; what takes longer is an attempt that counts.
pub const ATTEMPT_EXCUSED_WITHIN: Duration = Duration::from_millis(250);

const _: () = assert!(
    ATTEMPT_EXCUSED_WITHIN.as_nanos() == evenkeel_balance::retry::UNREACHED_WITHIN.as_nanos()
);

/// What is worth another attempt.
pub const RETRY_ON: &[&str] = &[
    "connect",
    "reset",
    "timeout",
    "overloaded",
    "502",
    "503",
    "504",
    "unavailable",
];

/// The longest rest that a backend may ask for and a client is kept for. Who asks for more has its answer passed on, with its
/// `Retry-After`: the client knows better whether to wait.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a listener allows its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections at once; who comes later waits in the kernel's queue.
    pub connections: usize,
    /// Connections at once of one client's address; none is no limit.
    pub connections_per_address: Option<NonZeroUsize>,
    /// TLS handshakes at once, from the first byte on; the slowest goes for who comes later.
    pub handshakes: usize,
    /// Bytes of a request's head.
    pub head: usize,
    /// Fields of a request's head.
    pub fields: usize,
    /// Bytes of a request's target.
    pub target: usize,
    /// Bytes of a request's body; none is no limit.
    pub body: Option<u64>,
    /// Requests on one connection; none is no limit.
    pub requests: Option<u64>,
    /// Streams of one HTTP/2 connection at once; more are refused unseen, and the client may ask again.
    pub streams: usize,
    /// From accepting to the end of a TLS handshake, or of a hello that is passed on.
    pub handshake_within: Duration,
    /// From the first byte of a request's head (or from accepting) to its last.
    pub head_within: Duration,
    /// Between two bytes of a body, and for a write that does not move.
    pub idle_body: Duration,
    /// A TCP flow without a byte either way.
    pub idle: Duration,
    /// Between two bytes of a tunnel, whichever way they go.
    pub tunnel: Duration,
    /// A connection without a request.
    pub keep_alive: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            // About 2 KiB each of ours, and as much of the kernel's when idle.
            connections: 50_000,
            // Whole offices and mobile networks come from one address.
            connections_per_address: None,
            // Some 40 KiB and 1 ms of a core each.
            handshakes: 1000,
            // Large cookies fit; nginx refuses above 32 KiB, HAProxy above 16.
            head: 32 * 1024,
            // What Apache, Envoy and hyper allow.
            fields: 100,
            target: 8 * 1024,
            body: None,
            requests: None,
            // What RFC 9113 section 6.5.2 asks for at least, and HAProxy has.
            streams: 100,
            // Three lost packets on a slow line; who says nothing is ended.
            handshake_within: Duration::from_secs(10),
            // Slow mobile clients need a second or two; a slow attack is cut.
            head_within: Duration::from_secs(10),
            idle_body: Duration::from_secs(60),
            // Pools keep connections to databases for minutes without a word; Envoy's figure too.
            idle: Duration::from_secs(60 * 60),
            tunnel: TUNNEL,
            // Longer than the 60 s of the load balancers that stand in front, so that they close first.
            keep_alive: Duration::from_secs(75),
        }
    }
}

/// The longest rest of a tunnel. WebSockets ping every 20 to 60 s where they ping at all, and many quiet ones do not; routers
/// forget a silent connection after two hours (RFC 5382). Who is gone without a word costs some 2 KiB until then, and a place in
/// flight.
pub const TUNNEL: Duration = Duration::from_secs(60 * 60);

/// What a service's exchanges may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Until a connection is made, within `per_try`.
    pub connect: Duration,
    /// One attempt until its response head, or until a flow has its connection.
    pub per_try: Duration,
    /// The same, if it was configured. If not, a call of gRPC whose client gives it a time has that time instead.
    pub per_try_said: Option<Duration>,
    /// All attempts until the response head.
    pub exchange: Duration,
    /// Between two bytes of a response's body.
    pub idle_body: Duration,
    /// Between two bytes of a tunnel, whichever way they go.
    pub tunnel: Duration,
    /// What is under way on a backend that drains or has left.
    pub drain: Duration,
    /// Bytes of a response's head.
    pub head: usize,
    /// Fields of a response's head.
    pub fields: usize,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            // One lost SYN is sent again after 1 s, a second one after 3.
            connect: Duration::from_secs(3),
            per_try: Duration::from_secs(10),
            per_try_said: None,
            exchange: Duration::from_secs(60),
            idle_body: Duration::from_secs(60),
            tunnel: TUNNEL,
            // What ALB waits for a target that is deregistered.
            drain: Duration::from_secs(300),
            head: 32 * 1024,
            fields: 100,
        }
    }
}

impl Default for UpstreamPlan {
    fn default() -> Self {
        Self {
            // Node's servers close after 5 s: we must be first.
            idle: Duration::from_secs(4),
            requests: None,
            age: None,
            // What many streams of few clients have open at once; the fewest stay for `idle`.
            idle_most: 1024,
            source: None,
            keepalive: None,
            tls: None,
            protocol: Protocol::Http1,
            // As many as servers allow by default: nginx 128, Envoy and Go 100 to 250.
            streams: 100,
            proxy_protocol: None,
        }
    }
}
