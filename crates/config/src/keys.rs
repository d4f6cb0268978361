//! Owns every key that a configuration may have: where it stands, what it takes, what holds when it is absent.
//!
//! One table. The readers ask for no key that is not in it and refuse what is not, `config show` takes defaults from it, and the
//! JSON Schema is printed from it; none of the three can know a key that the others do not.

/// What stands at the top.
mod top;

/// `admin:`, and files of tokens.
mod admin;

/// `access_log:`
mod access_log;

/// `listeners:`
mod listeners;

/// `error_pages:`
mod pages;

/// What a rule does.
mod actions;

/// `rules:`
mod rules;

/// `services:`
mod services;

/// How backends are checked.
mod health;

/// A service's limits and its queue.
mod queue;

/// `rate:` of a rule and of a listener.
mod rates;

/// `retry:` of a service.
mod retry;

/// `load:` of a service.
mod load;

/// `hedge:` of a service.
mod hedge;

/// `affinity:` of a service.
mod affinity;

/// `zones:` of a service.
mod zones;

/// `backends:` of a service.
mod backends;

/// Files of cases.
mod cases;

/// `proxy_protocol:`, of a listener and to backends.
mod proxy_protocol;

/// `tls:`, of a listener and to backends.
mod tls;

/// `monitoring:` and `adjust:` of a service.
mod monitoring;

/// `alerts:`
mod alerts;

/// `load_balancer:`
mod load_balancer;

/// `traces:`
mod traces;

/// Keys whose feature comes later.
pub(crate) mod later;

/// Values as they are written.
pub(crate) mod written;

pub(crate) use access_log::ACCESS_LOG;
pub(crate) use actions::{
    DENY, FALLBACK, REDIRECT, REQUEST_EDITS, RESPOND, RESPONSE_EDITS, REWRITE, REWRITE_HOST,
    REWRITE_PREFIX, REWRITE_REGEX, SPLIT, SPLIT_AFFINITY, SPLIT_COOKIE,
};
pub(crate) use admin::{ADMIN, ADMIN_TLS, IDENTITY, RECORDS, SOCKET, TOKEN};
pub(crate) use affinity::{AFFINITY, AFFINITY_COOKIE, AFFINITY_SOURCE, APP_COOKIE};
pub(crate) use alerts::{ALERTS, WEBHOOK};
pub(crate) use backends::BACKEND;
pub(crate) use cases::CASE;
pub(crate) use health::{BODY, GRPC_CHECK, HEALTH, HTTP_CHECK, TCP_CHECK};
pub(crate) use hedge::HEDGE;
pub(crate) use listeners::{LISTENER, LISTENER_LIMITS, LISTENER_TIMEOUTS, SNI};
pub(crate) use load::{LOAD, LOAD_PAGE, LOAD_REPORT};
pub(crate) use load_balancer::{
    CHECKING, DYNAMIC, LOAD_BALANCER, MEASURED, PERFORMANCE, QUALITY, WATCHED,
};
pub(crate) use monitoring::{ADJUST, MONITORING, THRESHOLDS, TRIAL};
pub(crate) use pages::{PAGE, PAGES};
pub(crate) use proxy_protocol::{LISTENER_PROXY, TLVS, UPSTREAM_PROXY};
pub(crate) use queue::{ADAPTIVE_LIMIT, QUEUE, SERVICE_LIMITS};
pub(crate) use rates::{RATE, RATE_PER, RATE_WORDS};
pub(crate) use retry::{RETRY, RETRY_BACKOFF, RETRY_BUDGET};
pub(crate) use rules::{
    CLIENT_CERTIFICATE, HOST_MAP, PATH, RULE, RULE_LIMITS, RULE_TIMEOUTS, SOURCE, VALUE, WHEN,
};
pub(crate) use services::{
    BREAKER, HASH, HASH_KEY, MIN_HEALTHY, POLICY, SERVICE, SERVICE_TIMEOUTS, UPSTREAM,
};
pub(crate) use tls::{CERTIFICATE, CLIENT_AUTH, HSTS, TICKETS, TLS, UPSTREAM_TLS};
pub(crate) use top::{DRAIN, RESOLVER, TOP};
pub(crate) use traces::TRACES;
pub(crate) use zones::ZONES;

/// The keys of one kind of map.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Where such a map stands: keys with dots between, `*` for a name or a place in a list. Empty: the top.
    pub(crate) place: &'static str,
    /// What it is, for messages.
    pub(crate) what: &'static str,
    pub(crate) keys: &'static [Key],
    /// Exactly one of these stands there; none: no such rule.
    pub(crate) one_of: &'static [&'static str],
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) absent: Absent,
    /// What it sets, for people.
    pub(crate) about: &'static str,
}

/// What stands at a key.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Any text.
    Text,
    /// A text that nobody is shown.
    Veiled,
    /// `30s`; zero is one.
    Duration,
    /// `30s`, not zero.
    Wait,
    /// `64KiB`.
    Size,
    /// `50%`.
    Share,
    /// `1.25`, from 1.05 to 100, or one of these words.
    Factor(&'static [&'static str]),
    /// `1.4`, from and to.
    Times(u32, u32),
    /// `3/s`.
    Rate,
    /// `100/s`, `100/min`, `100/h`; not zero.
    Allowance,
    Boolean,
    /// A whole number, from and to.
    Number(u64, u64),
    /// A whole number, or this word.
    NumberOr(&'static str, u64, u64),
    Words(&'static [&'static str]),
    /// Several, or one without a list around it.
    List(&'static Shape),
    Map(&'static Keys),
    /// A map, which may also be nothing at all.
    Bare(&'static Keys),
    /// A map of names to maps.
    Named(&'static Keys),
    /// A map of keys that are free.
    Free(&'static Shape),
    /// A text or a map; what is no map says the same as a map with this key, if one is named.
    Short(Option<&'static str>, &'static Keys),
    /// A list, or one item without it, which says the same as a map with this key; or that map.
    ShortList(&'static str, &'static Shape, &'static Keys),
    /// A text, or a map of keys that are free.
    ShortFree(&'static Shape),
    /// A map of a kind that stands in itself: the schema knows it by this name.
    Again(&'static str, &'static Keys),
    /// One of these words, or a map; the named one says the same as an empty map.
    WordOr(&'static [&'static str], &'static str, &'static Keys),
    /// One of these names, in this or another spelling, or a map; the named one says the same as a map with that key and nothing in it.
    NameOr(&'static [&'static str], &'static str, &'static Keys),
    /// `true`, which says the same as an empty map, or a map.
    TrueOr(&'static Keys),
    /// `true` or `false`, a map, or both under one key.
    Switch(&'static Keys),
    /// The name of a service, a map of names to weights, or a map of these keys.
    Forward(&'static Keys),
}

/// What holds when a key is absent.
#[derive(Debug)]
pub(crate) enum Absent {
    /// That is an error, or another key stands there instead.
    Never,
    /// Nothing: the key has no meaning then.
    Nothing,
    /// There is none, which means this.
    No(&'static str),
    /// This value, as it would be written.
    Is(fn() -> String),
    /// These values, in a list.
    These(&'static [&'static str]),
    /// The same map with all its defaults.
    Defaults,
    /// The value of this other key.
    Same(&'static str),
    /// The duration of this other key, or this one if it is shorter.
    AtMost(&'static str, fn() -> std::time::Duration),
    /// This, with the item's place in its list behind it, from 1.
    Numbered(&'static str),
}

/// One row of the table.
const fn key(name: &'static str, shape: Shape, absent: Absent, about: &'static str) -> Key {
    Key {
        name,
        shape,
        absent,
        about,
    }
}

impl Keys {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
