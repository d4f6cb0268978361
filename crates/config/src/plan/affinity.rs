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
    /// By a cookie of the application, of this name.
    AppCookie(Arc<str>),
    /// By its address.
    Source,
}

impl AffinityBy {
    /// The word for it: the key of a configuration.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Cookie(_) => "cookie",
            Self::AppCookie(_) => "app_cookie",
            Self::Source => "source",
        }
    }

    /// The name of its cookie.
    #[must_use]
    pub fn cookie(&self) -> Option<&str> {
        match self {
            Self::Cookie(plan) => Some(&plan.name),
            Self::AppCookie(name) => Some(name),
            Self::Source => None,
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
    /// It is for other sites too, which browsers take by TLS only.
    pub everywhere: bool,
}
