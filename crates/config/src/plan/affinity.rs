//! Owns what a checked service says of affinity: what keeps a client on its backend.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::affinity::ClientsSettings;

/// What keeps clients on their backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffinityPlan {
    /// How a client is known again.
    pub by: AffinityBy,
    /// The table of clients, where there is one.
    pub clients: ClientsSettings,
}

/// How a client is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AffinityBy {
    /// By a cookie of ours, which says where it is kept.
    Cookie(CookiePlan),
    /// By a cookie of the application, and by one of ours beside it, which tells every instance where it was set.
    AppCookie {
        /// The name of the application's.
        name: Arc<str>,
        /// Ours. It has the attributes of the application's where that is set; else these, and no `Max-Age`.
        beside: CookiePlan,
    },
    /// By its address.
    Source {
        /// So many bits of an address of IPv6 are one client: 32 to 128.
        ipv6_prefix: u8,
    },
}

impl AffinityBy {
    /// The word for it: the key of a configuration.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Cookie(_) => "cookie",
            Self::AppCookie { .. } => "app_cookie",
            Self::Source { .. } => "source",
        }
    }

    /// The name of its cookie.
    #[must_use]
    pub fn cookie(&self) -> Option<&str> {
        match self {
            Self::Cookie(plan) => Some(&plan.name),
            Self::AppCookie { name, .. } => Some(name),
            Self::Source { .. } => None,
        }
    }

    /// The cookie that we set, and no backend sees.
    #[must_use]
    pub const fn own(&self) -> Option<&CookiePlan> {
        match self {
            Self::Cookie(plan) | Self::AppCookie { beside: plan, .. } => Some(plan),
            Self::Source { .. } => None,
        }
    }

    /// Whether clients stand in a table.
    #[must_use]
    pub const fn is_remembered(&self) -> bool {
        !matches!(self, Self::Cookie(_))
    }
}

/// A cookie that says where a client is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookiePlan {
    /// Its name: a token.
    pub name: Arc<str>,
    /// How long it lasts from the answer that set it, in whole seconds; zero: until the browser is closed.
    pub ttl: Duration,
    /// `Path`, and what else a browser is told of it as it stands in the field, from the first `; ` on.
    pub attributes: Arc<str>,
    /// It has `Secure` however its client came: it is for other sites too, or has a name of which browsers want that.
    pub secure: bool,
}

/// Whether browsers take a cookie of this name with `Secure` only (RFC 6265bis section 4.1.3).
#[must_use]
pub fn is_secure_by_name(name: &str) -> bool {
    begins(name, "__Secure-") || is_of_one_host(name)
}

/// Whether they take it without `Domain` and with `Path=/` only, too.
#[must_use]
pub fn is_of_one_host(name: &str) -> bool {
    begins(name, "__Host-")
}

fn begins(name: &str, prefix: &str) -> bool {
    let begin = name.get(..prefix.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
}
