//! Owns what is told of traces, and whom.

use std::sync::Arc;

use super::BackendAddress;
use super::tls::{Material, UpstreamTls};

/// Where a collector takes traces (OTLP 1.9, section OTLP/HTTP Request).
pub const PATH: &str = "/v1/traces";

/// What an instance is called in traces, unless it is said.
pub const SERVICE: &str = "evenkeel";

/// Bytes of another such name.
pub const SERVICE_MOST: usize = 256;

/// Who is told of exchanges as spans of traces, and of which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracesPlan {
    /// The collector.
    pub to: BackendAddress,
    /// Its TLS. None: not encrypted.
    pub tls: Option<Arc<UpstreamTls>>,
    /// The path that it takes them at.
    pub path: Arc<str>,
    /// So many of a million exchanges of which no trusted peer has decided.
    pub share: u32,
    /// What the instance is called there.
    pub service: Arc<str>,
    /// Fields that are sent along. They may be secrets.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
}

impl TracesPlan {
    /// The file of its issuers.
    pub(super) fn material(&self) -> Option<&Material> {
        self.tls.as_ref()?.ca.as_ref()
    }

    /// The same, for who reads it again.
    pub(super) fn material_mut(&mut self) -> Option<&mut Material> {
        Arc::make_mut(self.tls.as_mut()?).ca.as_mut()
    }
}
