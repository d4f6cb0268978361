//! Owns what is planned of the instance's own addresses: where they are, and who may do what there.

use std::sync::Arc;
use std::time::Duration;

use super::Bind;
use super::tls::{Material, TlsPlan};
use crate::limits;

/// What somebody may do.
mod scopes;

pub use scopes::{Area, Role, Scopes, Verb};

/// Where the instance is asked about itself, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPlan {
    /// Everything: the API, metrics, health of the process. None: off.
    pub bind: Option<Bind>,
    /// Only `/metrics`, `/livez` and `/readyz`. None: no such address.
    pub metrics: Option<Bind>,
    /// The file of `bind`, where that is a Unix socket.
    pub socket: SocketPlan,
    /// Names that it answers to beside `localhost` and addresses, in lower case.
    pub hosts: Vec<Arc<str>>,
    /// TLS of `bind`. None: not encrypted.
    pub tls: Option<TlsPlan>,
    /// The file of tokens. None: there are none, and nobody is asked for one.
    pub tokens: Option<TokensPlan>,
    /// Who is known by a certificate.
    pub identities: Vec<IdentityPlan>,
    /// How many decisions of a million are written down.
    pub decisions_audited: u32,
    /// Which exchanges are recorded with their decisions.
    pub records: RecordsPlan,
}

/// Which exchanges are recorded with their decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordsPlan {
    /// So many of a million, by chance.
    pub share: u32,
    /// Those too whose client shows a token that may read decisions.
    pub header: bool,
}

impl AdminPlan {
    /// Whether who comes over TCP has to show who it is.
    #[must_use]
    pub const fn has_credentials(&self) -> bool {
        self.tokens.is_some() || !self.identities.is_empty()
    }

    /// Whether this takes another start to change: what is bound stays bound.
    #[must_use]
    pub fn is_bound_as(&self, other: &Self) -> bool {
        self.bind == other.bind && self.metrics == other.metrics && self.socket == other.socket
    }
}

/// Nowhere, and open to nobody in particular.
impl Default for AdminPlan {
    fn default() -> Self {
        Self {
            bind: None,
            metrics: None,
            socket: SocketPlan::default(),
            hosts: Vec::new(),
            tls: None,
            tokens: None,
            identities: Vec::new(),
            decisions_audited: limits::DECISIONS_AUDITED,
            records: RecordsPlan::default(),
        }
    }
}

/// The file of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPlan {
    /// Its permissions: who may write it may connect.
    pub mode: u32,
    /// Whose it is, by name or number. None: who starts the process.
    pub user: Option<Arc<str>>,
    /// Its group. None: that of who starts the process.
    pub group: Option<Arc<str>>,
}

impl Default for SocketPlan {
    fn default() -> Self {
        Self {
            mode: limits::SOCKET_MODE,
            user: None,
            group: None,
        }
    }
}

/// A file of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokensPlan {
    /// What was read.
    pub file: Material,
    /// At least one; names and digests are unique.
    pub tokens: Vec<TokenPlan>,
}

/// Somebody who is known by a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPlan {
    /// The SHA-256 of the token; itself nobody keeps.
    pub sha256: [u8; 32],
    /// Who has it.
    pub holder: HolderPlan,
}

/// Somebody who is known by a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityPlan {
    /// By what of it.
    pub certificate: CertificateBy,
    /// Who shows it.
    pub holder: HolderPlan,
}

/// By what a certificate is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateBy {
    /// Its subject, like `CN=ops,O=Keel`.
    Subject(Arc<str>),
    /// One of its alternative names, like `URI:spiffe://keel/ops`.
    San(Arc<str>),
    /// Its SHA-256, in 64 hexadecimal digits of lower case.
    Fingerprint(Arc<str>),
}

/// Somebody, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderPlan {
    /// The name that logs have of it.
    pub name: Arc<str>,
    /// What it may do.
    pub scopes: Scopes,
    /// Until when, since 1970. None: for ever.
    pub until: Option<Duration>,
}
