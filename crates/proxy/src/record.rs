//! Owns records of exchanges on their way to whoever writes them down: an observation and the texts that belong to it.
//!
//! A worker packs them into a batch of its own and hands that on whole, so that an exchange takes no lock, wakes nobody and
//! allocates nothing once the buffers have grown. Nothing here is encoded or hidden: that is for who writes.

use std::time::Duration;

use evenkeel_config::Plan;
pub use evenkeel_wire::Version;
use evenkeel_wire::known::Known;

use crate::observation::Observation;
use crate::reason::Reason;
use crate::tls::secured::Secured;
use crate::worker::Desk;

/// A text that belongs to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The listener's name.
    Listener,
    /// The rule's name.
    Rule,
    /// The service's name.
    Service,
    /// The identity of the backend that was asked last.
    Backend,
    /// The method.
    Method,
    /// The host: lower case, without port. Of a flow the name that its client asked for.
    Host,
    /// The path, in the form that rules see.
    Path,
    /// The query, without its question mark. It may hold secrets.
    Query,
    /// The id of the request, as it was sent to the backend.
    RequestId,
    /// The id of the trace, as it was sent to the backend.
    TraceId,
    /// `Referer`. It may hold secrets.
    Referer,
    /// `User-Agent`.
    Agent,
    /// The name that the client asked for over TLS, in lower case.
    Sni,
    /// The subject of the certificate that it has shown.
    Subject,
    /// The SHA-256 of that, in hexadecimal.
    Fingerprint,
    /// The name of the rate limit that refused the request.
    RateLimit,
}

/// Each text and the most bytes that are kept of it; what is longer is cut. In the order of [`Text`].
const TEXTS: [(Text, usize); 16] = [
    (Text::Listener, 64),
    (Text::Rule, 64),
    (Text::Service, 64),
    (Text::Backend, 256),
    (Text::Method, 32),
    (Text::Host, 255),
    (Text::Path, 2048),
    (Text::Query, 2048),
    (Text::RequestId, 128),
    (Text::TraceId, 32),
    (Text::Referer, 1024),
    (Text::Agent, 512),
    (Text::Sni, 255),
    (Text::Subject, 512),
    (Text::Fingerprint, 64),
    (Text::RateLimit, 64),
];

/// Where a text stands among a batch's bytes; the end before the begin: nowhere.
#[derive(Clone, Copy, Debug)]
struct Piece(u32, u32);

#[derive(Clone, Debug)]
struct Row {
    seen: Observation,
    ended: Duration,
    version: Option<Version>,
    texts: [Piece; TEXTS.len()],
}

/// Records, one after another.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    rows: Vec<Row>,
    bytes: Vec<u8>,
}

/// Records of one batch.
const ROWS: usize = 128;

/// Bytes of their texts; the last record may go beyond it by its own.
const BYTES: usize = 32 * 1024;

impl Batch {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS || self.bytes.len() >= BYTES
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.rows.capacity() * size_of::<Row>() + self.bytes.capacity()
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.bytes.clear();
    }

    /// The records, in the order in which they ended.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.rows.iter().map(|row| Record {
            row,
            bytes: &self.bytes,
        })
    }

    /// Takes the record of an exchange that ended so long after the begin of 1970.
    pub(crate) fn push(
        &mut self,
        plan: &Plan,
        desk: &Desk,
        secured: Option<&Secured>,
        ended: Duration,
    ) {
        let seen = desk.seen;
        let (request, forwardable) = (&desk.request, &desk.forwardable);
        let listener = seen.listener.and_then(|at| plan.listeners.get(at));
        let rule = seen.rule.and_then(|at| plan.rules.get(at));
        let service = seen.service.and_then(|at| plan.services.get(at));
        let asked = seen.understood.then_some(request);
        let sent = seen.forwarded.then_some(forwardable);
        let shown = secured.and_then(|secured| secured.client.as_deref());
        let version = asked.map(|head| head.version());
        // Of a flow nobody has noted it.
        let limited = seen.reason == Reason::RateLimited && !seen.flow;
        self.take(seen, version, ended, |text| match text {
            Text::Listener => listener.map(|plan| plan.name.as_bytes()),
            Text::Rule => rule.map(|plan| plan.name.as_bytes()),
            Text::Service => service.map(|plan| plan.name.as_bytes()),
            Text::Backend => Some(&*desk.backend).filter(|id| !id.is_empty()),
            Text::Method => asked.map(|head| head.method()),
            Text::Host if seen.flow => Some(&*desk.name).filter(|name| !name.is_empty()),
            Text::Host => asked.map(|head| head.host().as_bytes()),
            Text::Path => asked.map(|head| head.path()),
            Text::Query => asked.and_then(|head| head.query()),
            Text::RequestId => sent.map(|head| head.request_id()),
            Text::TraceId => sent.map(|head| head.trace_id()),
            Text::Referer => asked.and_then(|head| head.first(Known::Referer)),
            Text::Agent => asked.and_then(|head| head.first(Known::UserAgent)),
            Text::Sni => secured.and_then(|secured| Some(secured.sni.as_deref()?.as_bytes())),
            Text::Subject => shown.map(|shown| shown.subject.as_bytes()),
            Text::Fingerprint => shown.map(|shown| shown.fingerprint.as_bytes()),
            Text::RateLimit => limited.then_some(&*desk.limit),
        });
    }

    /// The record of one exchange that has not ended, in no more memory than it takes.
    pub(crate) fn of_one(plan: &Plan, desk: &Desk, secured: Option<&Secured>) -> Self {
        let mut one = Self {
            rows: Vec::with_capacity(1),
            bytes: Vec::new(),
        };
        one.push(plan, desk, secured, Duration::ZERO);
        one.bytes.shrink_to_fit();
        one
    }

    /// What was seen, of the first record.
    pub(crate) fn seen_mut(&mut self) -> Option<&mut Observation> {
        self.rows.first_mut().map(|row| &mut row.seen)
    }

    /// Takes a record over that ended so long after the begin of 1970.
    pub(crate) fn append(&mut self, note: &Self, ended: Duration) {
        for one in note.records() {
            self.take(one.row.seen, one.version(), ended, |text| one.text(text));
        }
    }

    /// Takes a record with these texts. It ended so long after the begin of 1970.
    pub fn take<'t>(
        &mut self,
        seen: Observation,
        version: Option<Version>,
        ended: Duration,
        text: impl Fn(Text) -> Option<&'t [u8]>,
    ) {
        let texts = TEXTS.map(|(which, most)| self.put(text(which), most));
        self.rows.push(Row {
            seen,
            ended,
            version,
            texts,
        });
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a batch is far below 4 GiB"
    )]
    fn put(&mut self, text: Option<&[u8]>, most: usize) -> Piece {
        let Some(text) = text else {
            return Piece(1, 0);
        };
        let begin = self.bytes.len() as u32;
        self.bytes
            .extend_from_slice(text.get(..most).unwrap_or(text));
        Piece(begin, self.bytes.len() as u32)
    }
}

/// The record of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    row: &'a Row,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// What was seen of it.
    #[must_use]
    pub fn seen(&self) -> &'a Observation {
        &self.row.seen
    }

    /// When its first byte came, since the begin of 1970.
    #[must_use]
    pub fn began(&self) -> Duration {
        self.row.ended.saturating_sub(self.row.seen.total)
    }

    /// Which HTTP. None: its head was not understood.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.row.version
    }

    /// A text, as it came: any bytes that a head may hold. None: it has none.
    #[must_use]
    pub fn text(&self, text: Text) -> Option<&'a [u8]> {
        let Piece(begin, end) = self.row.texts[text as usize];
        self.bytes.get(begin as usize..end as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_stands_at_its_place() {
        for (at, (text, _)) in TEXTS.into_iter().enumerate() {
            assert_eq!(text as usize, at, "{text:?}");
        }
    }
}
