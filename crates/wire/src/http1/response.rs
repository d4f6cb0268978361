//! Owns the meaning of a response's head, which depends on the request that it answers.

use httparse::Status;

use super::{HeadEnd, HeadLimits, raw_fields, refused, span_in, take_fields};
use crate::framing::Framing;
use crate::head::{ResponseHead, Span, Version};
use crate::malformed::Malformed;

/// Reads the head of a response from the begin of `input`, as [`request::parse`](super::request::parse) does. `to_head`: it
/// answers a HEAD, and has no body whatever it says.
///
/// # Errors
/// What is malformed: the backend's fault, and nothing more can be read from its connection.
pub fn parse(
    input: &[u8],
    end: &mut HeadEnd,
    limits: &HeadLimits,
    to_head: bool,
    head: &mut ResponseHead,
) -> Result<Option<usize>, Malformed> {
    let Some(whole) = end.find(input)? else {
        return match input.len() > limits.bytes {
            true => Err(Malformed::HeadTooLarge),
            false => Ok(None),
        };
    };
    // The line that a request is forgiven is not forgiven a backend: it may be the end of another response.
    if whole.start > 0 {
        return Err(Malformed::StartLine);
    }
    let text = &input[whole.clone()];
    if text.len() > limits.bytes {
        return Err(Malformed::HeadTooLarge);
    }
    read(text, limits, to_head, head)?;
    Ok(Some(whole.end))
}

fn read(
    text: &[u8],
    limits: &HeadLimits,
    to_head: bool,
    head: &mut ResponseHead,
) -> Result<(), Malformed> {
    head.clear();
    let mut fields = raw_fields();
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, text, &mut fields) {
        Ok(Status::Complete(length)) if length == text.len() => {}
        Ok(_) => return Err(Malformed::LineEnd),
        Err(error) => return Err(refused(error, text)),
    }
    let (Some(version), Some(status)) = (response.version, response.code) else {
        return Err(Malformed::StartLine);
    };
    if !(100..=599).contains(&status) {
        return Err(Malformed::Status);
    }
    let table = &mut head.table;
    table.bytes.extend_from_slice(text);
    table.version = match version {
        0 => Version::Old,
        _ => Version::Current,
    };
    let declared = take_fields(table, response.headers, limits.fields, text)?;
    table.framing = framing(declared.framing()?, status, to_head)?;
    head.status = status;
    // httparse hands out no phrase where it holds bytes above 0x7F: then it stands between the status and the line's end.
    head.reason = match response.reason {
        Some(reason) if !reason.is_empty() => span_in(text, reason.as_bytes()),
        _ => phrase(text),
    };
    Ok(())
}

fn phrase(text: &[u8]) -> Span {
    let line = memchr::memchr(b'\r', text).unwrap_or(text.len());
    // `HTTP/1.1 200 `
    let start = 13.min(line);
    Span::new(start..line)
}

/// RFC 9112 section 6.3, refusing what it lets a proxy mend.
fn framing(declared: Option<Framing>, status: u16, to_head: bool) -> Result<Framing, Malformed> {
    let bodyless = matches!(status, 100..=199 | 204);
    if bodyless && !matches!(declared, None | Some(Framing::Empty)) {
        return Err(Malformed::BodyForbidden);
    }
    if bodyless || to_head || status == 304 {
        return Ok(Framing::Empty);
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}
