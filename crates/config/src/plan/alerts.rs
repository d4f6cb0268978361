//! Owns who is told of alerts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::BackendAddress;
use super::tls::{Material, UpstreamTls};

/// Who is told of alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertsPlan {
    /// Each is told of all that it asks for; names are unique.
    pub webhooks: Vec<WebhookPlan>,
}

/// A receiver of alerts over HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is.
    pub to: BackendAddress,
    /// Its TLS. None: not encrypted.
    pub tls: Option<Arc<UpstreamTls>>,
    /// The path, and perhaps a query, that takes them. It may be a secret.
    pub path: Arc<str>,
    /// What signs them, by HMAC-SHA256; none: they are not signed.
    pub secret: Option<Material>,
    /// Fields that are sent along. They may be secrets.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Of which turns it is told, in the order of [`AlertTurn::ALL`]; at least one.
    pub events: Vec<AlertTurn>,
    /// How loud an alert is at least.
    pub severity: AlertSeverity,
    /// One attempt, from the connection to the answer's head.
    pub timeout: Duration,
    /// Attempts of one alert, the first included; then it is dropped, and counted.
    pub attempts: u32,
}

/// Without what may be a secret.
impl fmt::Debug for WebhookPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WebhookPlan");
        shown.field("name", &self.name).field("to", &self.to);
        shown.field("events", &self.events).finish_non_exhaustive()
    }
}

/// What becomes of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertTurn {
    /// Something is wrong.
    Raised,
    /// It is not any more.
    Cleared,
}

impl AlertTurn {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Raised, Self::Cleared];

    /// Its name, as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
        }
    }
}

/// How loud an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertSeverity {
    /// To know.
    #[default]
    Info,
    /// To look at in working hours.
    Warning,
    /// To wake somebody.
    Critical,
}

impl WebhookPlan {
    /// What signs: the file's bytes without the line end that editors put behind them.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.secret.as_ref().map(Self::key_of)
    }

    pub(crate) fn key_of(secret: &Material) -> &[u8] {
        let bytes = &*secret.bytes;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes.strip_suffix(b"\r").unwrap_or(bytes)
    }
}

impl AlertsPlan {
    /// Files of issuers and of secrets.
    pub(super) fn materials(&self) -> Vec<&Material> {
        let mut all: Vec<_> = self.secrets().collect();
        let tls = self.webhooks.iter().filter_map(|one| one.tls.as_ref());
        all.extend(tls.filter_map(|tls| tls.ca.as_ref()));
        all
    }

    /// Files that sign.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Material> {
        self.webhooks.iter().filter_map(|one| one.secret.as_ref())
    }

    /// [`materials`](Self::materials), for who reads them again.
    pub(super) fn materials_mut(&mut self) -> Vec<&mut Material> {
        let mut all = Vec::new();
        for WebhookPlan { secret, tls, .. } in &mut self.webhooks {
            all.extend(secret);
            all.extend(tls.as_mut().and_then(|tls| Arc::make_mut(tls).ca.as_mut()));
        }
        all
    }
}
