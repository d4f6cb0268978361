//! Owns what a checked rule does beside naming one service, one redirect or one answer: splits, rewrites, edits of fields,
//! fallbacks, and the texts in which a request fills places.

use std::sync::Arc;
use std::time::Duration;

use super::{RedirectPlan, RespondPlan};

/// What a rule does beside its action.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// What the backend and the client see otherwise; none: nothing.
    pub rewrite: Option<Arc<RewritePlan>>,
    /// What is done when the service refuses; none: the refusal is answered.
    pub fallback: Option<Arc<FallbackPlan>>,
    /// Until a connection to a backend is made; none: the service's.
    pub connect: Option<Duration>,
    /// One attempt until its response head; none: the service's.
    pub per_try: Option<Duration>,
    /// The longest rest of a tunnel; none: the service's or the listener's, whichever is shorter.
    pub tunnel: Option<Duration>,
}

impl Beside {
    /// Whether it is the same, where `services` says which places mean the same service.
    #[must_use]
    pub fn same(&self, other: &Self, services: impl Fn(usize, usize) -> bool) -> bool {
        let Self {
            rewrite,
            fallback,
            connect,
            per_try,
            tunnel,
        } = self;
        let fallbacks = match (fallback.as_deref(), other.fallback.as_deref()) {
            (Some(FallbackPlan::Forward(one)), Some(FallbackPlan::Forward(other))) => {
                services(*one, *other)
            }
            (one, other) => one == other,
        };
        fallbacks
            && *rewrite == other.rewrite
            && *connect == other.connect
            && *per_try == other.per_try
            && *tunnel == other.tunnel
    }
}

/// Several services, and which part of the exchanges each gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitPlan {
    /// At least two, each service once; the weights' sum is not zero.
    pub sides: Vec<SidePlan>,
    /// What keeps a client on its side; none: each exchange is drawn by itself.
    pub affinity: Option<SplitAffinity>,
}

impl SplitPlan {
    /// Whether it is the same, where `services` says which places mean the same service.
    #[must_use]
    pub fn same(&self, other: &Self, services: impl Fn(usize, usize) -> bool) -> bool {
        let pairs = || self.sides.iter().zip(&other.sides);
        self.affinity == other.affinity
            && self.sides.len() == other.sides.len()
            && pairs().all(|(one, other)| {
                one.weight == other.weight && services(one.service, other.service)
            })
    }
}

/// One service of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SidePlan {
    /// One of [`Plan::services`](super::Plan::services), by index.
    pub service: usize,
    /// 0 to 999; 0: none.
    pub weight: u16,
}

/// What keeps a client on its side of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitAffinity {
    /// A cookie of this name, for so long behind each answer: 1 s to 7 d.
    Cookie(Arc<str>, Duration),
    /// The client's address.
    Source,
}

/// What is done in the place of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FallbackPlan {
    /// One of [`Plan::services`](super::Plan::services), by index; its own refusal is answered.
    Forward(usize),
    /// Sent elsewhere.
    Redirect(RedirectPlan),
    /// Answered here.
    Respond(RespondPlan),
}

/// What backend and client see otherwise than the other one wrote it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RewritePlan {
    /// The path, and perhaps the query.
    pub path: Option<PathRewrite>,
    /// The host.
    pub host: Option<HostRewrite>,
    /// Fields of the request.
    pub request: EditsPlan,
    /// Fields of the answer.
    pub response: EditsPlan,
}

/// Another path.
#[derive(Clone, Debug, PartialEq)]
pub enum PathRewrite {
    /// By whole segments. Both are kept without a trailing slash; the root is the empty text.
    Prefix {
        /// Such paths, and those below.
        from: Arc<str>,
        /// What stands there then.
        to: Arc<str>,
    },
    /// The first part of the path that matches is replaced.
    Regex {
        /// Which part.
        from: Expression,
        /// What stands there then.
        path: Template,
        /// The query then; none: it stays. Empty removes it.
        query: Option<Template>,
    },
}

/// Another host.
#[derive(Clone, Debug, PartialEq)]
pub enum HostRewrite {
    /// This one, perhaps with a port.
    To(Template),
    /// The first part of the host that matches is replaced, and the port is gone.
    Regex(Expression, Template),
}

/// Fields that are changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EditsPlan {
    /// Gone; lower case.
    pub remove: Vec<FieldName>,
    /// In the place of whatever has the name.
    pub set: Vec<(FieldName, Template)>,
    /// Beside whatever has the name.
    pub add: Vec<(FieldName, Template)>,
}

impl EditsPlan {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// Which head a field stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A request's.
    Request,
    /// An answer's.
    Response,
}

/// Fields that frame a message or belong to one connection: no rule changes them, in neither direction.
const FRAMING: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "upgrade",
    "http2-settings",
    "expect",
    "trailer",
    "date",
];

/// Fields that say who the client is: no rule changes them on their way to a backend.
const FORWARDING: [&str; 14] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "traceparent",
    "tracestate",
    "client-cert",
    "client-cert-chain",
    "x-client-cert-subject",
    "x-client-cert-fingerprint",
    "x-client-cert-san",
];

/// What a client says to the proxy alone.
const OURS: &str = "x-evenkeel-explain";

/// The name of a field that a rule may change: a token, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(Arc<str>);

impl FieldName {
    /// A name.
    ///
    /// # Errors
    /// Why no rule may change such a field.
    pub fn new(text: &str, side: Side) -> Result<Self, &'static str> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || text.len() > 256 || !text.bytes().all(token) {
            return Err("is no name of a field: 1 to 256 letters, digits and `-`");
        }
        let lower = text.to_ascii_lowercase();
        // Servers that map `-` and `_` to one variable would read it as the real one.
        let dashed = lower.replace('_', "-");
        if FRAMING.contains(&&*dashed) {
            return Err("frames the message or belongs to the connection, and is written here");
        }
        if side == Side::Request && dashed == OURS {
            return Err("is for the proxy alone, and no backend gets it");
        }
        if side == Side::Request && FORWARDING.contains(&&*dashed) {
            return Err(
                "says who the client is, and is written here; see `trusted_proxies` and `client_auth`",
            );
        }
        Ok(Self(lower.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A compiled expression; the same where its text is.
#[derive(Clone, Debug)]
pub struct Expression(pub regex::bytes::Regex);

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// A text with places that a request fills.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands; visible ASCII and, in fields, spaces.
    Text(Arc<str>),
    /// `#{protocol}`: `http` or `https`.
    Protocol,
    /// `#{host}`: the request's, in lower case, without port.
    Host,
    /// `#{port}`: the request's, or the scheme's own.
    Port,
    /// `#{path}`: the request's as rules see it, without its leading slash.
    Path,
    /// `#{query}`: the request's, or nothing.
    Query,
    /// `#{client}`: the client's address.
    Client,
    /// `$1` to `$9`, and `$0` for all that matched: what a group of an expression found, or nothing.
    Capture(u8),
}

/// Placeholders by their names.
const PLACEHOLDERS: [(&str, Piece); 6] = [
    ("protocol", Piece::Protocol),
    ("host", Piece::Host),
    ("port", Piece::Port),
    ("path", Piece::Path),
    ("query", Piece::Query),
    ("client", Piece::Client),
];

impl Template {
    /// Reads a text. `captures`: `$1` is what a group found, and `$$` is a dollar; else a dollar is one. `plain` says which
    /// bytes may stand as they are.
    ///
    /// # Errors
    /// What is wrong with it, without the text.
    pub fn read(
        text: &str,
        captures: bool,
        plain: impl Fn(u8) -> bool,
    ) -> Result<Self, &'static str> {
        let (mut pieces, mut run, mut rest) = (Vec::new(), String::new(), text);
        while let Some(char) = rest.chars().next() {
            let piece = if let Some(inner) = rest.strip_prefix("#{") {
                let (name, after) = inner.split_once('}').ok_or("`#{` without its `}`")?;
                let found = PLACEHOLDERS.iter().find(|(known, _)| *known == name);
                let (_, piece) = found.ok_or(
                    "placeholders are `#{protocol}`, `#{host}`, `#{port}`, `#{path}`, `#{query}` and `#{client}`",
                )?;
                rest = after;
                piece.clone()
            } else if captures && char == '$' {
                match rest.as_bytes().get(1) {
                    Some(digit @ b'0'..=b'9') => {
                        let digit = *digit - b'0';
                        rest = &rest[2..];
                        Piece::Capture(digit)
                    }
                    Some(b'$') => {
                        rest = &rest[2..];
                        run.push('$');
                        continue;
                    }
                    _ => return Err("a `$` is followed by a digit, or by another one for itself"),
                }
            } else {
                if !u8::try_from(char).is_ok_and(|byte| byte.is_ascii() && plain(byte)) {
                    return Err("a character may not stand here");
                }
                run.push(char);
                rest = &rest[char.len_utf8()..];
                continue;
            };
            if !run.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut run).into()));
            }
            pieces.push(piece);
        }
        if !run.is_empty() {
            pieces.push(Piece::Text(run.into()));
        }
        Ok(Self(pieces))
    }

    /// One that is all text, whatever stands in it; for whoever has checked it.
    #[must_use]
    pub fn plain(text: &str) -> Self {
        Self(vec![Piece::Text(text.into())])
    }

    /// Its parts, in order; no two texts stand side by side, none is empty.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The highest group that it names.
    #[must_use]
    pub fn last_capture(&self) -> Option<u8> {
        let numbers = self.0.iter().filter_map(|piece| match piece {
            Piece::Capture(number) => Some(*number),
            _ => None,
        });
        numbers.max()
    }

    /// The text, if it is one whatever the request.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}
