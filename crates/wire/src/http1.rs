//! Owns HTTP/1.1 text into heads (RFC 9112): `httparse` splits lines into tokens, this decides what they mean.

use std::mem::MaybeUninit;

use memchr::memchr_iter;

use crate::bytes::list;
use crate::framing::Declared;
use crate::head::{Entry, Span, Table, Version};
use crate::known::Known;
use crate::malformed::Malformed;

/// Requests.
pub mod request;

/// Responses.
pub mod response;

/// What a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, with the first line and the empty one.
    pub bytes: usize,
    /// Fields; at most [`FIELDS_MOST`] whatever is asked for.
    pub fields: usize,
    /// Bytes of a request's target.
    pub target: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            bytes: 32 * 1024,
            fields: 100,
            target: 8 * 1024,
        }
    }
}

/// The most fields that a head can have; they are split on the stack, 24 bytes each.
pub const FIELDS_MOST: usize = 256;

/// Looks for the end of a head in what has come so far, each byte once over all calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadEnd {
    /// Bytes looked at.
    seen: usize,
    /// Where the line that is not whole yet begins.
    line: usize,
    /// Where the head begins: behind an empty line that came before it.
    start: usize,
}

impl HeadEnd {
    /// The bytes of a whole head, with an empty line before it where there was one: `input[..start]` is that line,
    /// `input[start..end]` the head. None: not all of it has come.
    ///
    /// # Errors
    /// [`Malformed::LineEnd`] for a line that ends with a bare LF.
    pub fn find(&mut self, input: &[u8]) -> Result<Option<std::ops::Range<usize>>, Malformed> {
        for at in memchr_iter(b'\n', &input[self.seen..]) {
            let at = self.seen + at;
            if at == self.line || input[at - 1] != b'\r' {
                return Err(Malformed::LineEnd);
            }
            if at == self.line + 1 {
                if self.line > self.start {
                    return Ok(Some(self.start..at + 1));
                }
                // One empty line before a head is forgiven (RFC 9112 section 2.2), a second is not.
                if self.start > 0 {
                    return Err(Malformed::StartLine);
                }
                self.start = at + 1;
            }
            self.line = at + 1;
        }
        self.seen = input.len();
        Ok(None)
    }

    /// Whether nothing of a head has come.
    #[must_use]
    pub fn is_untouched(&self, input: &[u8]) -> bool {
        input.len() <= self.start
    }

    /// Whether the first line is still open.
    fn in_first_line(&self) -> bool {
        self.line == self.start
    }
}

type RawFields<'a> = [MaybeUninit<httparse::Header<'a>>; FIELDS_MOST];

/// Room for fields, on the stack.
const fn raw_fields<'a>() -> RawFields<'a> {
    [const { MaybeUninit::uninit() }; FIELDS_MOST]
}

/// Copies fields into the table, notes what they are, and takes in what frames and what `Connection` says. Names and values
/// point into `text`, which stands whole in the table's buffer.
fn take_fields(
    table: &mut Table,
    fields: &[httparse::Header<'_>],
    most: usize,
    text: &[u8],
) -> Result<Declared, Malformed> {
    if fields.len() > most {
        return Err(Malformed::TooManyFields);
    }
    let mut declared = Declared::default();
    for field in fields {
        let known = Known::of(field.name.as_bytes());
        match known {
            Known::ContentLength => declared.length(field.value)?,
            Known::TransferEncoding => declared.coding(field.value)?,
            Known::Connection => connection_options(table, field.value),
            _ => {}
        }
        table.fields.push(Entry {
            name: span_in(text, field.name.as_bytes()),
            value: span_in(text, field.value),
            known,
        });
    }
    if declared.is_chunked() && table.version == Version::Old {
        return Err(Malformed::CodingInOldVersion);
    }
    Ok(declared)
}

fn connection_options(table: &mut Table, value: &[u8]) {
    for option in list(value) {
        if option.eq_ignore_ascii_case(b"close") {
            table.connection.close = true;
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            table.connection.keep_alive = true;
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            table.connection.upgrade = true;
        } else {
            table.connection.names = true;
        }
    }
}

/// Where `part` lies within `text`, of which it is a part.
fn span_in(text: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let start = start.min(text.len());
    Span::new(start..(start + part.len()).min(text.len()))
}

/// What a tokenizer's refusal means, by the text it refused.
fn refused(error: httparse::Error, text: &[u8]) -> Malformed {
    match error {
        httparse::Error::HeaderName if folds(text) => Malformed::Fold,
        httparse::Error::HeaderName => Malformed::FieldName,
        httparse::Error::HeaderValue => Malformed::FieldValue,
        httparse::Error::NewLine => Malformed::LineEnd,
        httparse::Error::TooManyHeaders => Malformed::TooManyFields,
        httparse::Error::Status => Malformed::Status,
        httparse::Error::Token | httparse::Error::Version => Malformed::StartLine,
    }
}

/// Whether any line continues the one before it.
fn folds(text: &[u8]) -> bool {
    memchr_iter(b'\n', text).any(|at| matches!(text.get(at + 1), Some(b' ' | b'\t')))
}
