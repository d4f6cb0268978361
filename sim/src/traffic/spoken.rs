//! Owns what clients ask and backends answer: every request has a number, and every body is made from it, so that a byte of one
//! exchange is recognised in another. Reads heads by itself rather than with `evenkeel-wire`, which is what is on trial.

use evenkeel_balance::hashing::mix;

use crate::chance::Chance;

/// A body and how its end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Exact(usize),
    Chunked(usize),
    /// An answer that ends with its connection.
    UntilClose(usize),
    /// A request whose chunks go wrong after so many bytes: it must never be whole to a backend.
    Broken(usize),
}

/// The rule that a request meets, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// One service.
    Forward,
    /// One of two.
    Split,
    /// Another path for the backend; another service when the first one refuses.
    Rewrite,
    /// A service that always refuses, and one that takes it.
    Fallback,
    /// No backend may hear of it.
    Deny,
}

impl Met {
    fn any(chance: &mut Chance) -> Self {
        match chance.below(12) {
            0..3 => Self::Split,
            3..5 => Self::Rewrite,
            5 => Self::Fallback,
            6 if chance.below(2) == 0 => Self::Deny,
            _ => Self::Forward,
        }
    }

    /// What the path begins with: as clients write it, and as backends get it.
    pub(super) const fn prefix(self) -> (&'static str, &'static str) {
        match self {
            Self::Forward => ("/e", "/e"),
            Self::Split => ("/s", "/s"),
            Self::Rewrite => ("/old", "/new"),
            Self::Fallback => ("/f", "/f"),
            Self::Deny => ("/d", "/d"),
        }
    }

    /// Whether a service, by its place in the plan, may have it.
    pub(super) const fn may_reach(self, service: usize) -> bool {
        match self {
            Self::Forward | Self::Fallback => service == 0,
            Self::Split | Self::Rewrite => service <= 1,
            Self::Deny => false,
        }
    }
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) met: Met,
    pub(super) method: &'static str,
    /// HTTP/1.0.
    pub(super) old: bool,
    /// The client wants the connection to end.
    pub(super) close: bool,
    pub(super) expects: bool,
    pub(super) body: Body,
    pub(super) answer: Body,
    /// Which of the malformed heads it is.
    pub(super) malformed: Option<usize>,
}

/// Fields that no request may have; each head with one must be refused.
const MALFORMED: [&str; 6] = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Bad Name: x\r\n",
    "Space : x\r\n",
    "A: b\r\n folded\r\n",
    "Transfer-Encoding: gzip\r\n",
];

impl Asked {
    /// Any request, a malformed one now and then.
    pub(super) fn any(chance: &mut Chance) -> Self {
        let mut asked = Self::well_formed(chance);
        let odd = chance.below(30);
        if odd == 0 {
            asked.malformed = Some(chance.below(MALFORMED.len()));
            asked.body = Body::None;
        } else if odd == 1 {
            asked.method = "POST";
            asked.body = Body::Broken(length(chance));
        }
        asked
    }

    /// One that no backend and no proxy has a reason to refuse.
    pub(super) fn well_formed(chance: &mut Chance) -> Self {
        let mut asked = Self::safe(chance);
        asked.method = ["GET", "POST", "POST", "PUT", "DELETE", "PATCH"][chance.below(6)];
        if asked.method != "GET" && chance.below(4) > 0 {
            let length = length(chance);
            // HTTP/1.0 knows no chunks.
            asked.body = if asked.old || chance.below(2) == 0 {
                Body::Exact(length)
            } else {
                Body::Chunked(length)
            };
            asked.expects = !asked.old && chance.below(6) == 0;
        }
        asked
    }

    /// One that may be made again as often as one likes.
    pub(super) fn safe(chance: &mut Chance) -> Self {
        let method = ["GET", "GET", "GET", "HEAD", "OPTIONS", "DELETE"][chance.below(6)];
        let length = length(chance);
        Self {
            met: Met::any(chance),
            method,
            old: chance.below(12) == 0,
            close: chance.below(15) == 0,
            expects: false,
            body: Body::None,
            answer: match chance.below(5) {
                0 | 1 => Body::Chunked(length),
                2 => Body::UntilClose(length),
                _ => Body::Exact(length),
            },
            malformed: None,
        }
    }

    /// The same without chunks and for a service, so that bytes can be counted.
    pub(super) fn plain(mut self) -> Self {
        if self.met == Met::Deny {
            self.met = Met::Forward;
        }
        for body in [&mut self.body, &mut self.answer] {
            if let Body::Chunked(length) = *body {
                *body = Body::Exact(length);
            }
        }
        self
    }

    /// Whatever becomes of it, and of its connection, is its own doing.
    pub(super) fn is_odd(&self) -> bool {
        self.malformed.is_some() || matches!(self.body, Body::Broken(_))
    }

    /// Doing it twice is the same as once (RFC 9110 section 9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        !matches!(self.method, "POST" | "PATCH")
    }

    /// Its head.
    pub(super) fn head(&self, id: usize) -> String {
        let version = if self.old { "1.0" } else { "1.1" };
        let mut head = format!(
            "{} {}/{id} HTTP/{version}\r\nHost: sim\r\nX-Exchange: {id}\r\n",
            self.method,
            self.met.prefix().0,
        );
        match self.body {
            Body::Exact(length) => head += &format!("Content-Length: {length}\r\n"),
            Body::Chunked(_) | Body::Broken(_) => head += "Transfer-Encoding: chunked\r\n",
            Body::None | Body::UntilClose(_) => {}
        }
        if self.expects {
            head += "Expect: 100-continue\r\n";
        }
        if self.close {
            head += "Connection: close\r\n";
        } else if self.old {
            head += "Connection: keep-alive\r\n";
        }
        if let Some(which) = self.malformed {
            head += MALFORMED[which];
        }
        head + "\r\n"
    }
}

/// Mostly short, now and then longer than any buffer between.
fn length(chance: &mut Chance) -> usize {
    match chance.below(12) {
        0 => 0,
        1 => chance.below(300_000),
        2..=4 => chance.below(30_000),
        _ => 1 + chance.below(600),
    }
}

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    /// From the backend with this number: two that answer the same request say other bytes.
    Down(usize),
}

/// The bytes of a body: of this exchange, this direction and this place in it, and of nothing else.
pub(super) fn pattern(id: usize, direction: Direction, length: usize) -> Vec<u8> {
    let from = match direction {
        Direction::Up => 1,
        Direction::Down(backend) => 2 + backend as u64,
    };
    let key = mix(id as u64, from);
    let mut bytes: Vec<u8> = (0..length.div_ceil(8) as u64)
        .flat_map(|word| mix(key, word).to_le_bytes())
        .collect();
    bytes.truncate(length);
    bytes
}

/// A body as it goes over the wire, in chunks of random lengths where it goes in chunks.
pub(super) fn on_the_wire(
    body: Body,
    id: usize,
    direction: Direction,
    chance: &mut Chance,
) -> Vec<u8> {
    match body {
        Body::None => Vec::new(),
        Body::Exact(length) | Body::UntilClose(length) => pattern(id, direction, length),
        Body::Chunked(length) => {
            let mut wire = chunks(&pattern(id, direction, length), chance);
            wire.extend_from_slice(match chance.below(3) {
                0 => b"0\r\nX-Checked: yes\r\n\r\n",
                _ => b"0\r\n\r\n",
            });
            wire
        }
        Body::Broken(length) => {
            let mut wire = chunks(&pattern(id, direction, length), chance);
            wire.extend_from_slice(b"xyz\r\n0\r\n\r\n");
            wire
        }
    }
}

fn chunks(mut bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut wire = Vec::new();
    while !bytes.is_empty() {
        let length = 1 + chance.below(bytes.len().min(20_000));
        wire.extend_from_slice(format!("{length:x}\r\n").as_bytes());
        wire.extend_from_slice(&bytes[..length]);
        wire.extend_from_slice(b"\r\n");
        bytes = &bytes[length..];
    }
    wire
}

/// A head, taken apart: its first line, and its fields with names in small letters.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Strict: what is not `name: value` in visible characters is no head.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let first = lines.next()?.to_owned();
        let fields = lines.map(field).collect::<Option<Vec<_>>>()?;
        Some(Self { first, fields })
    }

    /// The value of a field that stands once.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// The exchange that it names.
    pub(super) fn id(&self) -> Option<usize> {
        self.field("x-exchange")?.parse().ok()
    }

    /// The backend that it comes from.
    pub(super) fn from(&self) -> Option<usize> {
        self.field("x-from")?.parse().ok()
    }

    /// How its body ends; none: two ways, or one that nobody knows.
    pub(super) fn framing(&self) -> Option<Framing> {
        match (
            self.field("content-length"),
            self.field("transfer-encoding"),
        ) {
            (None, None) => Some(Framing::Nothing),
            (Some(length), None) => length.parse().ok().map(Framing::Exact),
            (None, Some("chunked")) => Some(Framing::Chunked),
            _ => None,
        }
    }
}

/// How a body ends, as a head says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Nothing,
    Exact(usize),
    Chunked,
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let visible = |byte: u8| (b' '..=b'~').contains(&byte);
    (!name.is_empty() && name.bytes().all(token) && value.bytes().all(visible))
        .then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
}
