//! Owns the frames of HTTP/2 (RFC 9113 sections 4 and 6): what their payloads say, and their bytes.
//!
//! It knows one frame at a time. Which one may come on which stream and when, and what a window has left, is the connection's to
//! know.

/// Bytes before each payload.
pub const HEADER: usize = 9;

/// The most that a window may be, and the highest stream: 31 bits.
pub const MOST_31: u32 = 0x7fff_ffff;

/// The largest payload that everybody takes.
pub const PAYLOAD_LEAST: u32 = 1 << 14;

/// The largest payload that can be agreed on.
pub const PAYLOAD_MOST: u32 = (1 << 24) - 1;

/// Kinds of frames. Others are read over (RFC 9113 section 5.5).
pub mod kind {
    /// Part of a body.
    pub const DATA: u8 = 0;
    /// Begins a head, or trailers.
    pub const HEADERS: u8 = 1;
    /// Without meaning since RFC 9113.
    pub const PRIORITY: u8 = 2;
    /// Ends a stream at once.
    pub const RST_STREAM: u8 = 3;
    /// What the sender takes.
    pub const SETTINGS: u8 = 4;
    /// Promises what nobody asked for.
    pub const PUSH_PROMISE: u8 = 5;
    /// Asks whether anybody is there.
    pub const PING: u8 = 6;
    /// Says the last stream.
    pub const GOAWAY: u8 = 7;
    /// Gives room for bodies.
    pub const WINDOW_UPDATE: u8 = 8;
    /// The rest of a head.
    pub const CONTINUATION: u8 = 9;
}

/// Flags; which of them a frame has, its kind says.
pub mod flag {
    /// DATA, HEADERS: nothing follows on this stream.
    pub const END_STREAM: u8 = 0x1;
    /// SETTINGS, PING: an answer.
    pub const ACK: u8 = 0x1;
    /// HEADERS, CONTINUATION: the block is whole.
    pub const END_HEADERS: u8 = 0x4;
    /// DATA, HEADERS: there is padding.
    pub const PADDED: u8 = 0x8;
    /// HEADERS: there is a priority.
    pub const PRIORITY: u8 = 0x20;
}

/// Names of settings (RFC 9113 section 6.5.2, RFC 8441 section 3).
pub mod setting {
    /// Bytes of the decoder's table.
    pub const HEADER_TABLE_SIZE: u16 = 1;
    /// Whether promises are taken.
    pub const ENABLE_PUSH: u16 = 2;
    /// Streams at a time that the peer may open.
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    /// Bytes that a new stream may carry at once.
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    /// Bytes of a payload.
    pub const MAX_FRAME_SIZE: u16 = 5;
    /// Bytes of a head, as the table of fields counts them.
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// Whether an extended CONNECT is taken.
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// Why a stream or a connection ends (RFC 9113 section 7).
pub mod code {
    /// It is over.
    pub const NO_ERROR: u32 = 0x0;
    /// The peer broke a rule that no other code names.
    pub const PROTOCOL_ERROR: u32 = 0x1;
    /// Our own fault.
    pub const INTERNAL_ERROR: u32 = 0x2;
    /// More came than the window has.
    pub const FLOW_CONTROL_ERROR: u32 = 0x3;
    /// Settings were not answered in time.
    pub const SETTINGS_TIMEOUT: u32 = 0x4;
    /// Something came for a stream that is closed.
    pub const STREAM_CLOSED: u32 = 0x5;
    /// A payload of a length that its kind does not have.
    pub const FRAME_SIZE_ERROR: u32 = 0x6;
    /// Nothing was done for this stream: it may be asked for again.
    pub const REFUSED_STREAM: u32 = 0x7;
    /// It is not wanted any more.
    pub const CANCEL: u32 = 0x8;
    /// Fields could not be decoded.
    pub const COMPRESSION_ERROR: u32 = 0x9;
    /// What is behind a CONNECT broke.
    pub const CONNECT_ERROR: u32 = 0xa;
    /// The peer asks for too much work.
    pub const ENHANCE_YOUR_CALM: u32 = 0xb;
    /// What TLS agreed on is too weak.
    pub const INADEQUATE_SECURITY: u32 = 0xc;
    /// It is to be asked for by HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: u32 = 0xd;
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the payload, below 2^24.
    pub length: usize,
    /// One of [`kind`], or one that is not known here.
    pub kind: u8,
    /// See [`flag`].
    pub flags: u8,
    /// Below 2^31; 0 is the connection.
    pub stream: u32,
}

impl FrameHeader {
    /// Reads it.
    #[must_use]
    #[inline]
    pub const fn parse(bytes: &[u8; HEADER]) -> Self {
        let &[high, middle, low, kind, flags, a, b, c, d] = bytes;
        Self {
            length: (high as usize) << 16 | (middle as usize) << 8 | low as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([a, b, c, d]) & MOST_31,
        }
    }

    /// Whether this flag is set.
    #[must_use]
    #[inline]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What a payload breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One of [`code`].
    pub code: u32,
    /// Only the stream ends by it, and the connection goes on.
    pub of_stream: bool,
}

impl Fault {
    /// The connection ends by it.
    #[must_use]
    pub const fn of_connection(code: u32) -> Self {
        Self {
            code,
            of_stream: false,
        }
    }

    /// The stream ends by it.
    #[must_use]
    pub const fn of_stream(code: u32) -> Self {
        Self {
            code,
            of_stream: true,
        }
    }
}

const SIZE: Fault = Fault::of_connection(code::FRAME_SIZE_ERROR);
const PROTOCOL: Fault = Fault::of_connection(code::PROTOCOL_ERROR);

/// A payload of DATA without its padding. What flow control counts is the whole payload.
///
/// # Errors
/// Padding that is longer than what is there: of the connection (RFC 9113 section 6.1).
#[inline]
pub fn unpad(flags: u8, payload: &[u8]) -> Result<&[u8], Fault> {
    if flags & flag::PADDED == 0 {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().ok_or(SIZE)?;
    let kept = rest.len().checked_sub(usize::from(padding));
    Ok(&rest[..kept.ok_or(PROTOCOL)?])
}

/// The part of a block that a payload of HEADERS holds, and the stream that it depends on, if it says one. A stream that depends on
/// itself is an error of that stream (RFC 7540 section 5.3.1); the block is to be decoded first, for the table's sake.
///
/// # Errors
/// Too short, or padding that is longer than what is there: of the connection.
pub fn header_block(flags: u8, payload: &[u8]) -> Result<(&[u8], Option<u32>), Fault> {
    let payload = unpad(flags, payload)?;
    if flags & flag::PRIORITY == 0 {
        return Ok((payload, None));
    }
    // Stream and weight.
    let (&[a, b, c, d, _], block) = payload.split_first_chunk().ok_or(SIZE)?;
    Ok((block, Some(u32::from_be_bytes([a, b, c, d]) & MOST_31)))
}

/// The stream that a payload of PRIORITY has its own depend on.
///
/// # Errors
/// Another length than 5: of the stream.
pub fn priority(payload: &[u8]) -> Result<u32, Fault> {
    match *payload {
        [a, b, c, d, _] => Ok(u32::from_be_bytes([a, b, c, d]) & MOST_31),
        _ => Err(Fault::of_stream(code::FRAME_SIZE_ERROR)),
    }
}

/// What a payload of SETTINGS says. The last of several that say the same counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the table that the peer's decoder has.
    pub header_table_size: Option<u32>,
    /// Whether the peer takes promises.
    pub enable_push: Option<bool>,
    /// Streams at a time that we may open.
    pub max_concurrent_streams: Option<u32>,
    /// Bytes that each stream may carry to the peer at once, below 2^31.
    pub initial_window_size: Option<u32>,
    /// Bytes of a payload, 2^14 to 2^24 - 1.
    pub max_frame_size: Option<u32>,
    /// Bytes of a head that the peer takes; advice.
    pub max_header_list_size: Option<u32>,
    /// Whether the peer takes an extended CONNECT.
    pub enable_connect_protocol: Option<bool>,
}

/// Reads a payload of SETTINGS, not of its answer, which has none.
///
/// # Errors
/// A length that is no multiple of 6, or a value that its setting does not have: of the connection.
pub fn settings(payload: &[u8]) -> Result<Settings, Fault> {
    let mut settings = Settings::default();
    let (each, []) = payload.as_chunks::<6>() else {
        return Err(SIZE);
    };
    for &[high, low, a, b, c, d] in each {
        let value = u32::from_be_bytes([a, b, c, d]);
        match u16::from_be_bytes([high, low]) {
            setting::HEADER_TABLE_SIZE => settings.header_table_size = Some(value),
            setting::ENABLE_PUSH => settings.enable_push = Some(yes_or_no(value)?),
            setting::MAX_CONCURRENT_STREAMS => settings.max_concurrent_streams = Some(value),
            setting::INITIAL_WINDOW_SIZE if value > MOST_31 => {
                return Err(Fault::of_connection(code::FLOW_CONTROL_ERROR));
            }
            setting::INITIAL_WINDOW_SIZE => settings.initial_window_size = Some(value),
            setting::MAX_FRAME_SIZE if !(PAYLOAD_LEAST..=PAYLOAD_MOST).contains(&value) => {
                return Err(PROTOCOL);
            }
            setting::MAX_FRAME_SIZE => settings.max_frame_size = Some(value),
            setting::MAX_HEADER_LIST_SIZE => settings.max_header_list_size = Some(value),
            setting::ENABLE_CONNECT_PROTOCOL => {
                settings.enable_connect_protocol = Some(yes_or_no(value)?);
            }
            // What is not known is not ours to judge.
            _ => {}
        }
    }
    Ok(settings)
}

const fn yes_or_no(value: u32) -> Result<bool, Fault> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(PROTOCOL),
    }
}

/// By how much a payload of WINDOW_UPDATE widens. 0 is an error of the stream, or of the connection, whichever it was for.
///
/// # Errors
/// Another length than 4: of the connection.
#[inline]
pub fn window_update(payload: &[u8]) -> Result<u32, Fault> {
    Ok(number(payload)? & MOST_31)
}

/// The code of a payload of RST_STREAM.
///
/// # Errors
/// Another length than 4: of the connection.
pub fn reset(payload: &[u8]) -> Result<u32, Fault> {
    number(payload)
}

fn number(payload: &[u8]) -> Result<u32, Fault> {
    let bytes = payload.try_into().map_err(|_| SIZE)?;
    Ok(u32::from_be_bytes(bytes))
}

/// The last stream and the code of a payload of GOAWAY; what stands behind is for people.
///
/// # Errors
/// Shorter than 8: of the connection.
pub fn goaway(payload: &[u8]) -> Result<(u32, u32), Fault> {
    match *payload {
        [a, b, c, d, e, f, g, h, ..] => Ok((
            u32::from_be_bytes([a, b, c, d]) & MOST_31,
            u32::from_be_bytes([e, f, g, h]),
        )),
        _ => Err(SIZE),
    }
}

/// What a payload of PING holds, to be sent back.
///
/// # Errors
/// Another length than 8: of the connection.
pub fn ping(payload: &[u8]) -> Result<[u8; 8], Fault> {
    payload.try_into().map_err(|_| SIZE)
}

/// Appends what stands before a payload of `length` bytes, below 2^24.
#[inline]
pub fn put_header(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    debug_assert!(length <= PAYLOAD_MOST as usize, "24 bits say it");
    let [.., high, middle, low] = length.to_be_bytes();
    let [a, b, c, d] = (stream & MOST_31).to_be_bytes();
    out.extend_from_slice(&[high, middle, low, kind, flags, a, b, c, d]);
}

/// Appends SETTINGS of names (see [`setting`]) and values.
pub fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    put_header(out, settings.len() * 6, kind::SETTINGS, 0, 0);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the answer to SETTINGS.
pub fn put_settings_ack(out: &mut Vec<u8>) {
    put_header(out, 0, kind::SETTINGS, flag::ACK, 0);
}

/// Appends PING, or the answer to one.
pub fn put_ping(out: &mut Vec<u8>, held: [u8; 8], ack: bool) {
    let flags = if ack { flag::ACK } else { 0 };
    put_header(out, held.len(), kind::PING, flags, 0);
    out.extend_from_slice(&held);
}

/// Appends WINDOW_UPDATE by 1 to 2^31 - 1.
#[inline]
pub fn put_window_update(out: &mut Vec<u8>, stream: u32, by: u32) {
    put_header(out, 4, kind::WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&(by & MOST_31).to_be_bytes());
}

/// Appends RST_STREAM with one of [`code`].
pub fn put_reset(out: &mut Vec<u8>, stream: u32, code: u32) {
    put_header(out, 4, kind::RST_STREAM, 0, stream);
    out.extend_from_slice(&code.to_be_bytes());
}

/// Appends GOAWAY: streams above `last` were not looked at. `debug` is for people, and short.
pub fn put_goaway(out: &mut Vec<u8>, last: u32, code: u32, debug: &[u8]) {
    put_header(out, 8 + debug.len(), kind::GOAWAY, 0, 0);
    out.extend_from_slice(&(last & MOST_31).to_be_bytes());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(debug);
}

/// Appends a whole block as HEADERS and as many CONTINUATION as it takes, with payloads of at most `most` bytes (no less than 1 is
/// taken). `ends`: nothing follows on this stream.
pub fn put_block(out: &mut Vec<u8>, stream: u32, block: &[u8], ends: bool, most: usize) {
    let most = most.max(1);
    let end_stream = if ends { flag::END_STREAM } else { 0 };
    let (first, mut rest) = block.split_at(block.len().min(most));
    let mut flags = end_stream | if_last(rest);
    put_header(out, first.len(), kind::HEADERS, flags, stream);
    out.extend_from_slice(first);
    while !rest.is_empty() {
        let part;
        (part, rest) = rest.split_at(rest.len().min(most));
        flags = if_last(rest);
        put_header(out, part.len(), kind::CONTINUATION, flags, stream);
        out.extend_from_slice(part);
    }
}

const fn if_last(rest: &[u8]) -> u8 {
    if rest.is_empty() {
        flag::END_HEADERS
    } else {
        0
    }
}

#[cfg(test)]
mod tests;
