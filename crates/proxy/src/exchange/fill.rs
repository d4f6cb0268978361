//! Owns how a request fills the places of a template.

use std::io::Write;
use std::net::IpAddr;

use evenkeel_config::plan::{Piece, Template};
use evenkeel_wire::RequestHead;
use regex::bytes::Captures;

/// What places are filled from.
#[derive(Clone, Copy)]
pub(super) struct Source<'r> {
    pub(super) request: &'r RequestHead,
    /// `http` or `https`, as the client sees it.
    pub(super) scheme: &'static str,
    pub(super) client: IpAddr,
}

impl Source<'_> {
    /// The port that the client sees.
    pub(super) fn port(&self) -> u16 {
        let standard = if self.scheme == "https" { 443 } else { 80 };
        self.request.port().unwrap_or(standard)
    }

    /// Appends a template with its places filled. What comes out is for the wire to check.
    pub(super) fn fill(
        &self,
        template: &Template,
        captures: Option<&Captures<'_>>,
        into: &mut Vec<u8>,
    ) {
        let request = self.request;
        for piece in template.pieces() {
            match piece {
                Piece::Text(text) => into.extend_from_slice(text.as_bytes()),
                Piece::Protocol => into.extend_from_slice(self.scheme.as_bytes()),
                Piece::Host => into.extend_from_slice(request.host().as_bytes()),
                // Writing to a vector does not fail.
                Piece::Port => drop(write!(into, "{}", self.port())),
                Piece::Path => {
                    // `*` has none.
                    into.extend_from_slice(request.path().strip_prefix(b"/").unwrap_or_default());
                }
                Piece::Query => into.extend_from_slice(request.query().unwrap_or_default()),
                Piece::Client => drop(write!(into, "{}", self.client)),
                Piece::Capture(number) => {
                    let found = captures.and_then(|captures| captures.get((*number).into()));
                    into.extend_from_slice(found.map_or(b"", |found| found.as_bytes()));
                }
            }
        }
    }

    /// The same as a text of its own.
    pub(super) fn filled(&self, template: &Template, captures: Option<&Captures<'_>>) -> Vec<u8> {
        let mut into = Vec::new();
        self.fill(template, captures, &mut into);
        into
    }
}
