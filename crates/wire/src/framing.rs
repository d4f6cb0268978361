//! Owns the decision where a body ends (RFC 9112 section 6), more strictly than the RFC: what is ambiguous is refused.

use crate::bytes::list;
use crate::malformed::Malformed;

/// Where a body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    #[default]
    Empty,
    /// After so many bytes; more than 0.
    Exact(u64),
    /// After the last chunk.
    Chunked,
    /// With what carries it: an HTTP/1 connection, for responses only, or a stream of HTTP/2, whose end is said.
    UntilClose,
}

/// What the framing fields of one head said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Declared {
    length: Option<u64>,
    chunked: bool,
}

impl Declared {
    /// Takes one `Content-Length` in.
    pub(crate) fn length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        if self.length.is_some() || value.contains(&b',') {
            return Err(Malformed::ContentLengthRepeated);
        }
        self.length = Some(digits(value)?);
        Ok(())
    }

    /// Takes one `Transfer-Encoding` in.
    pub(crate) fn coding(&mut self, value: &[u8]) -> Result<(), Malformed> {
        if value.eq_ignore_ascii_case(b"chunked") && !self.chunked {
            self.chunked = true;
            return Ok(());
        }
        let unknown = !self.chunked
            && !value.is_empty()
            && list(value).all(|coding| crate::bytes::is_token(coding) && !is_known(coding));
        Err(if unknown {
            Malformed::UnknownCoding
        } else {
            Malformed::TransferEncoding
        })
    }

    /// What both together say; an absent body and one of length 0 are the same.
    pub(crate) fn framing(self) -> Result<Option<Framing>, Malformed> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Malformed::LengthAndCoding),
            (None, true) => Ok(Some(Framing::Chunked)),
            (Some(0), false) => Ok(Some(Framing::Empty)),
            (Some(length), false) => Ok(Some(Framing::Exact(length))),
            (None, false) => Ok(None),
        }
    }

    /// Whether a `Transfer-Encoding` stood there.
    pub(crate) fn is_chunked(self) -> bool {
        self.chunked
    }
}

/// Codings that a request could mean something by; anything else is not known at all.
fn is_known(coding: &[u8]) -> bool {
    [&b"chunked"[..], b"identity"]
        .iter()
        .any(|known| coding.eq_ignore_ascii_case(known))
}

/// Plain digits below 2^63: at most 19 of them.
fn digits(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::ContentLength);
    }
    let number = value
        .iter()
        .fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    if number > i64::MAX as u64 {
        return Err(Malformed::ContentLength);
    }
    Ok(number)
}
