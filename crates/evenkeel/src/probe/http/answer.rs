//! Owns reading an answer: bytes in as they arrive, a finding out as soon as it is certain.
//!
//! Pure: no socket, no time. Bounded: head, body and chunk lines have limits. Reads no further than the verdict needs,
//! so the framing of a body that nobody looks into is not judged.
//!
//! ```text
//! head --1xx--> head          head --status unexpected, or no body expected--> done
//! head --> body --text found--> done        body --end, or 64 KiB without it--> done
//! head --> body --end, or 64 KiB--> judged by the caller's test --> done
//! ```

use crate::probe::http::{BodyTest, HttpCheck};
use crate::probe::{Finding, ProbeError};

/// The longest head that is read, in bytes, interim answers included.
pub const HEAD_MOST_BYTES: usize = 16 * 1024;

/// So much of a body is searched, in bytes.
pub const BODY_MOST_BYTES: usize = 64 * 1024;

/// The most fields of a head.
const MOST_FIELDS: usize = 128;

/// The longest line before a chunk, in bytes.
const CHUNK_LINE_MOST_BYTES: usize = 256;

/// What more bytes led to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing is certain yet.
    More,
    /// The finding.
    Done(Finding),
}

/// An answer under way.
pub(crate) struct Answer<'a> {
    check: &'a HttpCheck,
    wanted: Option<Wanted<'a>>,
    head: Vec<u8>,
    /// Bytes of interim heads that were passed over.
    interim: usize,
    body: Option<Body<'a>>,
}

/// A final head, as far as a check cares.
struct Head {
    status: u16,
    length: usize,
    framing: Result<Framing, &'static str>,
}

/// How the end of a body is known.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    None,
    UntilClose,
    Length(u64),
    Chunked(Chunk),
}

/// Where in a chunked body the next byte stands.
#[derive(Debug, PartialEq, Eq)]
enum Chunk {
    /// In the line that says the size.
    Line(Vec<u8>),
    /// In the data, with so much left.
    Data(u64),
    /// In the line break after the data, so many of its bytes read.
    Break(usize),
}

/// What a body must be like.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// Holds this text.
    Text(&'a [u8]),
    /// Passes this test, once it is there.
    Passing(&'a BodyTest),
}

struct Body<'a> {
    status: u16,
    wanted: Wanted<'a>,
    framing: Framing,
    seen: Vec<u8>,
}

/// What a body's bytes led to.
enum Flow {
    More,
    Found,
    /// The end, or the limit, and nothing found so far.
    Ended,
    Broken(&'static str),
}

impl<'a> Answer<'a> {
    /// `test` takes the place of the text that the check wants in the body.
    pub(crate) fn new(check: &'a HttpCheck, test: Option<&'a BodyTest>) -> Self {
        let text = || {
            check
                .body
                .as_deref()
                .map(|text| Wanted::Text(text.as_bytes()))
        };
        Self {
            check,
            wanted: test.map(Wanted::Passing).or_else(text),
            head: Vec::new(),
            interim: 0,
            body: None,
        }
    }

    /// Takes the next bytes in; not to be called after [`Step::Done`].
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Step {
        if let Some(body) = &mut self.body {
            return body.feed(bytes);
        }
        let room = HEAD_MOST_BYTES - self.interim - self.head.len();
        let (fits, over) = bytes.split_at(bytes.len().min(room));
        // A head is parsed when a line may have ended, not at each byte of a slow sender; its begin always, because
        // garbage shows there.
        let worth = self.head.len() < 16 || fits.len() == room || fits.contains(&b'\n');
        self.head.extend_from_slice(fits);
        if !worth {
            return Step::More;
        }
        loop {
            match parse(&self.head) {
                Err(what) => return malformed(what),
                Ok(None) if self.interim + self.head.len() >= HEAD_MOST_BYTES => {
                    return malformed("the head is longer than 16 KiB");
                }
                Ok(None) => return Step::More,
                // Interim answers; 101 is final, its bytes after the head are of another protocol.
                Ok(Some(head)) if (100..200).contains(&head.status) && head.status != 101 => {
                    self.head.drain(..head.length);
                    self.interim += head.length;
                }
                Ok(Some(head)) => return self.judge(head, over),
            }
        }
    }

    fn judge(&mut self, head: Head, over: &[u8]) -> Step {
        let status = head.status;
        if !self.check.expect.contains(status) {
            return Step::Done(ProbeError::Status(status).into());
        }
        let Some(wanted) = self.wanted else {
            return Step::Done(Finding::passed(Some(status)));
        };
        let framing = match head.framing {
            Ok(framing) => framing,
            Err(what) => return ended_with(status, ProbeError::Malformed(what)),
        };
        let mut body = Body {
            status,
            wanted,
            framing,
            seen: Vec::new(),
        };
        let step = match body.feed(&self.head[head.length..]) {
            Step::More => body.feed(over),
            done @ Step::Done(_) => done,
        };
        self.body = Some(body);
        step
    }

    /// The sender closed.
    pub(crate) fn ended(self) -> Finding {
        let what = match &self.body {
            Some(body) if body.framing == Framing::UntilClose => return body.ended(),
            Some(body) => {
                return finding(body.status, ProbeError::Malformed("closed within the body"));
            }
            None if self.head.is_empty() && self.interim == 0 => "closed without an answer",
            // What came last may not have been parsed yet.
            None => parse(&self.head).err().unwrap_or("closed within the head"),
        };
        ProbeError::Malformed(what).into()
    }
}

/// The verdict on an answer whose head and body somebody else reads, of a version of HTTP that frames them otherwise. Bounded as
/// those read here: what comes behind the first [`BODY_MOST_BYTES`] is not waited for.
pub struct Judge<'a>(Answer<'a>);

impl<'a> Judge<'a> {
    pub(super) fn new(check: &'a HttpCheck, test: Option<&'a BodyTest>) -> Self {
        Self(Answer::new(check, test))
    }

    /// Takes the status in, of an answer that is not interim. None: the body decides.
    pub fn head(&mut self, status: u16) -> Option<Finding> {
        let head = Head {
            status,
            length: 0,
            framing: Ok(Framing::UntilClose),
        };
        certain(self.0.judge(head, &[]))
    }

    /// Takes some of the body in. None: nothing is certain yet.
    pub fn body(&mut self, bytes: &[u8]) -> Option<Finding> {
        certain(self.0.feed(bytes))
    }

    /// The whole body has come.
    #[must_use]
    pub fn ended(self) -> Finding {
        self.0.ended()
    }
}

impl std::fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judge")
    }
}

fn certain(step: Step) -> Option<Finding> {
    match step {
        Step::More => None,
        Step::Done(finding) => Some(finding),
    }
}

impl Body<'_> {
    fn feed(&mut self, bytes: &[u8]) -> Step {
        match self.flow(bytes) {
            Flow::More => Step::More,
            Flow::Found => Step::Done(Finding::passed(Some(self.status))),
            Flow::Ended => Step::Done(self.ended()),
            Flow::Broken(what) => ended_with(self.status, ProbeError::Malformed(what)),
        }
    }

    fn flow(&mut self, mut bytes: &[u8]) -> Flow {
        loop {
            // Each turn takes the bytes of one part off the front; what a part leaves is the next part's.
            let left = match &mut self.framing {
                Framing::None | Framing::Length(0) => return Flow::Ended,
                _ if bytes.is_empty() => return Flow::More,
                Framing::UntilClose => return self.search(bytes),
                Framing::Length(left) | Framing::Chunked(Chunk::Data(left)) => left,
                Framing::Chunked(chunk) => {
                    match chunk.between(bytes) {
                        Ok(Some(rest)) => bytes = rest,
                        Ok(None) => return Flow::Ended,
                        Err(what) => return Flow::Broken(what),
                    }
                    continue;
                }
            };
            let most = usize::try_from(*left).unwrap_or(usize::MAX);
            let (data, rest) = bytes.split_at(bytes.len().min(most));
            *left -= data.len() as u64;
            if *left == 0 && matches!(self.framing, Framing::Chunked(_)) {
                self.framing = Framing::Chunked(Chunk::Break(0));
            }
            match self.search(data) {
                Flow::More => bytes = rest,
                end => return end,
            }
        }
    }

    /// What the whole body, or as much of it as is looked at, comes to.
    fn ended(&self) -> Finding {
        match self.wanted {
            Wanted::Passing(test) if test.passes(&self.seen) => Finding::passed(Some(self.status)),
            _ => finding(self.status, ProbeError::Mismatch),
        }
    }

    /// Keeps the data and looks for the text where it can be new.
    fn search(&mut self, data: &[u8]) -> Flow {
        let known = self.seen.len();
        let room = BODY_MOST_BYTES - known;
        self.seen.extend_from_slice(&data[..data.len().min(room)]);
        let found = match self.wanted {
            Wanted::Passing(_) => false,
            Wanted::Text(text) => {
                let from = known.saturating_sub(text.len() - 1);
                let mut windows = self.seen[from..].windows(text.len());
                windows.any(|window| window == text)
            }
        };
        if found {
            Flow::Found
        } else if self.seen.len() == BODY_MOST_BYTES {
            Flow::Ended
        } else {
            Flow::More
        }
    }
}

impl Chunk {
    /// Takes the bytes between two chunks' data off the front. None: the last chunk was announced.
    fn between<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, &'static str> {
        let (&byte, rest) = bytes.split_first().expect("only called with bytes");
        match self {
            Self::Data(_) => {}
            Self::Break(read) => {
                if byte != b"\r\n"[*read] {
                    return Err("no line break after a chunk");
                }
                *read += 1;
                if *read == 2 {
                    *self = Self::Line(Vec::new());
                }
            }
            Self::Line(line) if byte != b'\n' => {
                if line.len() == CHUNK_LINE_MOST_BYTES {
                    return Err("the line before a chunk is longer than 256 bytes");
                }
                line.push(byte);
            }
            Self::Line(line) => match chunk_size(line).ok_or("no size before a chunk")? {
                0 => return Ok(None),
                size => *self = Self::Data(size),
            },
        }
        Ok(Some(rest))
    }
}

/// The size in a line such as `1a;name=value\r`; at most 15 hexadecimal digits.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\r")?;
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii_end();
    let fits = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok()?;
    fits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// The head at the front of `bytes`; none while it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(in_words(error)),
    };
    let status = response.code.filter(|code| (100..=999).contains(code));
    let status = status.ok_or("no status between 100 and 999")?;
    Ok(Some(Head {
        status,
        length,
        framing: framing(status, response.headers),
    }))
}

fn in_words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => "a header field is broken",
        httparse::Error::NewLine => "a line break is broken",
        httparse::Error::Status => "the status line is broken",
        httparse::Error::TooManyHeaders => "more than 128 header fields",
        httparse::Error::Version => "no HTTP/1 version",
        httparse::Error::Token => "a token is broken",
    }
}

/// How the body ends (RFC 9112 section 6.3); two lengths, or a length beside an encoding, are refused.
fn framing(status: u16, fields: &[httparse::Header<'_>]) -> Result<Framing, &'static str> {
    if matches!(status, 204 | 304) {
        return Ok(Framing::None);
    }
    let mut length = None;
    let mut chunked = false;
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let digits = field.value.trim_ascii();
            let fits = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(digits).unwrap_or_default();
            let said = text.parse::<u64>().ok().filter(|_| fits);
            let said = said.ok_or("the Content-Length is no number")?;
            if length.is_some_and(|other| other != said) {
                return Err("two lengths");
            }
            length = Some(said);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err("a Transfer-Encoding other than chunked");
            }
            chunked = true;
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err("a Content-Length beside a Transfer-Encoding"),
        (Some(length), false) => Ok(Framing::Length(length)),
        (None, true) => Ok(Framing::Chunked(Chunk::Line(Vec::new()))),
        (None, false) => Ok(Framing::UntilClose),
    }
}

fn malformed(what: &'static str) -> Step {
    Step::Done(ProbeError::Malformed(what).into())
}

fn ended_with(status: u16, error: ProbeError) -> Step {
    Step::Done(finding(status, error))
}

fn finding(status: u16, error: ProbeError) -> Finding {
    Finding {
        error: Some(error),
        status: Some(status),
    }
}

#[cfg(test)]
mod tests;
