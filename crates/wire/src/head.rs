//! Owns the heads of requests and responses: offset tables over one buffer each, recycled from exchange to exchange.
//!
//! Only this crate's decoders fill them, so a head that is complete has been checked: its framing is known, its host is one
//! host, its path is in the form that rules see. Nothing here allocates once the buffers have grown.

use std::ops::Range;

use crate::bytes::list;
use crate::framing::Framing;
use crate::known::Known;

/// Part of a head's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// A head is at most a few MiB by its limit, so that 32 bits hold every offset.
    #[expect(clippy::cast_possible_truncation, reason = "heads are far below 4 GiB")]
    pub(crate) const fn new(range: Range<usize>) -> Self {
        Self {
            start: range.start as u32,
            end: range.end as u32,
        }
    }

    pub(crate) const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Its first bytes.
    pub(crate) const fn first(self, length: usize) -> Self {
        Self::new(self.start as usize..self.start as usize + length)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Span,
    pub(crate) value: Span,
    pub(crate) known: Known,
}

/// One field of a head.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// As it was spelled.
    pub name: &'a [u8],
    /// Without white space at its ends; may hold bytes above 0x7F.
    pub value: &'a [u8],
    /// What it is.
    pub known: Known,
}

/// Which HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Old,
    /// HTTP/1.1.
    #[default]
    Current,
    /// HTTP/2.
    Two,
}

/// What `Connection` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// Names others: fields that end here too.
    pub(crate) names: bool,
}

/// The bytes and fields that both heads have.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fields: Vec<Entry>,
    pub(crate) version: Version,
    pub(crate) connection: ConnectionOptions,
    pub(crate) framing: Framing,
}

impl Table {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.version = Version::Current;
        self.connection = ConnectionOptions::default();
        self.framing = Framing::Empty;
    }

    pub(crate) fn at(&self, span: Span) -> &[u8] {
        self.bytes.get(span.range()).unwrap_or_default()
    }

    /// Puts text behind the head's own bytes.
    pub(crate) fn append(&mut self, text: impl IntoIterator<Item = u8>) -> Span {
        let start = self.bytes.len();
        self.bytes.extend(text);
        Span::new(start..self.bytes.len())
    }

    /// The same, of text in one piece.
    #[inline]
    pub(crate) fn put(&mut self, text: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        Span::new(start..self.bytes.len())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields.iter().map(|entry| Field {
            name: self.at(entry.name),
            value: self.at(entry.value),
            known: entry.known,
        })
    }

    fn first(&self, known: Known) -> Option<&[u8]> {
        let entry = self.fields.iter().find(|entry| entry.known == known)?;
        Some(self.at(entry.value))
    }

    /// Whether `Connection` names this field (RFC 9110 section 7.6.1).
    fn connection_names(&self, name: &[u8]) -> bool {
        self.connection.names
            && self
                .iter()
                .filter(|field| field.known == Known::Connection)
                .flat_map(|field| list(field.value))
                .any(|option| option.eq_ignore_ascii_case(name))
    }
}

/// The head of a request, checked.
#[derive(Debug, Default)]
pub struct RequestHead {
    pub(crate) table: Table,
    pub(crate) method: Span,
    pub(crate) target: Span,
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
    /// Host and port as the client wrote them.
    pub(crate) authority: Span,
    /// Lower case, no trailing dot, no port, one spelling of an address.
    pub(crate) host: Span,
    pub(crate) port: Option<u16>,
    pub(crate) expects_continue: bool,
    pub(crate) upgrade: Option<Span>,
}

impl RequestHead {
    /// An empty head; a decoder fills it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn clear(&mut self) {
        let mut table = std::mem::take(&mut self.table);
        table.clear();
        *self = Self {
            table,
            ..Self::default()
        };
    }

    /// The bytes that it takes, as text.
    #[must_use]
    pub fn size(&self) -> usize {
        self.table.bytes.len()
    }

    /// The method, as on the wire.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.table.at(self.method)
    }

    /// Whether the answer has no body whatever its head says.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }

    /// Whether sending it twice does no more than sending it once (RFC 9110 section 9.2.2).
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        matches!(
            self.method(),
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
        )
    }

    /// The target as the client wrote it.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.table.at(self.target)
    }

    /// The path in the form that rules see and that goes on; `*` for `OPTIONS *`.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.table.at(self.path)
    }

    /// The query without its question mark, as the client wrote it; none when there is no question mark.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.query.map(|span| self.table.at(span))
    }

    /// Host and port as the client wrote them; empty in HTTP/1.0 without `Host`.
    #[must_use]
    pub fn authority(&self) -> &[u8] {
        self.table.at(self.authority)
    }

    /// The host: lower case, no trailing dot, no port; an IPv6 address in its brackets, as RFC 5952 spells it. Empty in HTTP/1.0 without `Host`.
    #[must_use]
    pub fn host(&self) -> &str {
        std::str::from_utf8(self.table.at(self.host)).unwrap_or_default()
    }

    /// The port, where the client named one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Which HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.table.version
    }

    /// Where its body ends.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.table.framing
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// The protocol that the client asks to change to; none that carries requests itself (HTTP in any version, TLS), and none in
    /// HTTP/1.0.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.upgrade.map(|span| self.table.at(span))
    }

    /// Whether the client takes the trailers of an answer (RFC 9110 section 10.1.4): of interest to one hop, and so said anew.
    #[must_use]
    pub fn takes_trailers(&self) -> bool {
        let te = self.fields().filter(|field| field.known == Known::Te);
        let takes = |value| list(value).any(|one| one.eq_ignore_ascii_case(b"trailers"));
        te.map(|field| field.value).any(takes)
    }

    /// Whether the client keeps the connection after the answer (RFC 9112 section 9.3).
    #[must_use]
    pub fn keeps_connection(&self) -> bool {
        match self.table.version {
            Version::Current => !self.table.connection.close,
            Version::Old => self.table.connection.keep_alive && !self.table.connection.close,
            // A stream ends with its exchange, the connection does not.
            Version::Two => true,
        }
    }

    /// All fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.table.iter()
    }

    /// The value of the first field of this kind.
    #[must_use]
    pub fn first(&self, known: Known) -> Option<&[u8]> {
        self.table.first(known)
    }

    /// The value of the first field of this name, whatever its case.
    #[must_use]
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// The values of all fields of this name, whatever its case, in their order. Cost: one comparison of lengths for each
    /// field, and one of names for those of its length.
    pub fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let table = &self.table;
        let of_name = move |entry: &&Entry| {
            entry.name.range().len() == name.len()
                && table.at(entry.name).eq_ignore_ascii_case(name)
        };
        let fields = table.fields.iter().filter(of_name);
        fields.map(|entry| table.at(entry.value))
    }

    pub(crate) fn connection_names(&self, name: &[u8]) -> bool {
        self.table.connection_names(name)
    }

    /// Where the target begins in the buffer.
    pub(crate) const fn target_start(&self) -> usize {
        self.target.range().start
    }
}

/// The head of a response, checked.
#[derive(Debug, Default)]
pub struct ResponseHead {
    pub(crate) table: Table,
    pub(crate) status: u16,
    pub(crate) reason: Span,
}

impl ResponseHead {
    /// An empty head; a decoder fills it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn clear(&mut self) {
        self.table.clear();
        self.status = 0;
        self.reason = Span::default();
    }

    /// The status, 100 to 599.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, as the backend wrote it.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        self.table.at(self.reason)
    }

    /// Which HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.table.version
    }

    /// Where its body ends.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.table.framing
    }

    /// Whether the backend keeps the connection after this response.
    #[must_use]
    pub fn keeps_connection(&self) -> bool {
        let kept = match self.table.version {
            Version::Current => !self.table.connection.close,
            Version::Old => self.table.connection.keep_alive && !self.table.connection.close,
            // A stream ends with its exchange, the connection does not.
            Version::Two => true,
        };
        kept && self.table.framing != Framing::UntilClose
    }

    /// How long the backend says that it keeps an idle connection (`Keep-Alive: timeout=5`), in seconds.
    #[must_use]
    pub fn keeps_for_seconds(&self) -> Option<u32> {
        list(self.table.first(Known::KeepAlive)?).find_map(|parameter| {
            let seconds = parameter.strip_prefix(b"timeout=")?;
            std::str::from_utf8(seconds).ok()?.parse().ok()
        })
    }

    /// All fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.table.iter()
    }

    /// The value of the first field of this kind.
    #[must_use]
    pub fn first(&self, known: Known) -> Option<&[u8]> {
        self.table.first(known)
    }

    pub(crate) fn connection_names(&self, name: &[u8]) -> bool {
        self.table.connection_names(name)
    }
}
