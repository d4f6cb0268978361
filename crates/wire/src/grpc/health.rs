//! Owns the one call of the health checking protocol (`health-checking.md`), with the frame around a message (`PROTOCOL-HTTP2.md`) and
//! as much of protobuf as one text and one number need.

use std::fmt;

/// The path of the call.
pub const PATH: &str = "/grpc.health.v1.Health/Check";

/// The longest name of a service, in bytes.
pub const SERVICE_MOST: usize = 1024;

/// The longest answer, in bytes of its message. One is two bytes long; what a later version adds may be there too.
pub const ANSWER_MOST: usize = 1024;

/// Bytes before a message: whether it is compressed, its length.
const FRAME: usize = 5;

/// What a backend says of itself (`HealthCheckResponse.ServingStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serving {
    /// It does not say; also a number that is not known here.
    Unknown,
    /// It serves.
    Serving,
    /// It does not.
    NotServing,
    /// It knows no such service. To `Check`, the status `NOT_FOUND` says so.
    ServiceUnknown,
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// A compressed message; none was asked for.
    Compressed,
    /// A message over [`ANSWER_MOST`] bytes.
    TooLong,
    /// A first byte other than 0 and 1, or bytes behind the one message of the call.
    Frame,
    /// A message that is not protobuf.
    Message,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compressed => "a compressed message, which nobody asked for",
            Self::TooLong => "a message over 1024 bytes",
            Self::Frame => "not one gRPC message",
            Self::Message => "a message that is not protobuf",
        })
    }
}

impl std::error::Error for Unreadable {}

/// A service's name over [`SERVICE_MOST`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceTooLong;

impl fmt::Display for ServiceTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a service over {SERVICE_MOST} bytes")
    }
}

impl std::error::Error for ServiceTooLong {}

/// Appends the body of the request: a frame with a `HealthCheckRequest`. Without a name it asks for the backend as a whole.
///
/// # Errors
/// The name is too long; nothing is appended.
pub fn write(service: &str, into: &mut Vec<u8>) -> Result<(), ServiceTooLong> {
    let length = u16::try_from(service.len()).map_err(|_| ServiceTooLong)?;
    if service.len() > SERVICE_MOST {
        return Err(ServiceTooLong);
    }
    // Field 1, a text; what is empty is left out. Its length has 7 bits a byte, the lowest first.
    let [low, rest] = [length & 0x7F, length >> 7].map(|bits| bits.to_le_bytes()[0]);
    let head: &[u8] = match (low, rest) {
        (0, 0) => &[],
        (low, 0) => &[0x0A, low],
        (low, rest) => &[0x0A, low | 0x80, rest],
    };
    let whole = u32::try_from(head.len() + service.len()).map_err(|_| ServiceTooLong)?;
    into.push(0);
    into.extend_from_slice(&whole.to_be_bytes());
    into.extend_from_slice(head);
    into.extend_from_slice(service.as_bytes());
    Ok(())
}

/// What the body of an answer says, given all of it that came so far. None: more bytes are needed; a body that has ended is then
/// broken.
///
/// # Errors
/// Why it is none. No more bytes make it one, and with more of them it is refused for the same reason.
pub fn read(body: &[u8]) -> Result<Option<Serving>, Unreadable> {
    match body.first() {
        None => return Ok(None),
        Some(0) => {}
        Some(1) => return Err(Unreadable::Compressed),
        Some(_) => return Err(Unreadable::Frame),
    }
    let Some((&[_, length @ ..], behind)) = body.split_first_chunk::<FRAME>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > ANSWER_MOST {
        return Err(Unreadable::TooLong);
    }
    let Some((whole, behind)) = behind.split_at_checked(length) else {
        return Ok(None);
    };
    // First what came first: the reason is then the same in whatever pieces the body comes.
    let serving = message(whole).ok_or(Unreadable::Message)?;
    match behind {
        [] => Ok(Some(serving)),
        _ => Err(Unreadable::Frame),
    }
}

/// A `HealthCheckResponse`: field 1 is a number, other fields are skipped, the last of several holds, and none is 0.
fn message(mut rest: &[u8]) -> Option<Serving> {
    let mut serving = Serving::Unknown;
    while !rest.is_empty() {
        let (key, behind) = varint(rest)?;
        // Field numbers have 29 bits, the lowest three say what comes; field 0 is none.
        if !(8..=u64::from(u32::MAX)).contains(&key) {
            return None;
        }
        rest = match key & 7 {
            0 => {
                let (value, behind) = varint(behind)?;
                if key >> 3 == 1 {
                    serving = match value {
                        1 => Serving::Serving,
                        2 => Serving::NotServing,
                        3 => Serving::ServiceUnknown,
                        _ => Serving::Unknown,
                    };
                }
                behind
            }
            1 => behind.get(8..)?,
            2 => {
                let (length, behind) = varint(behind)?;
                behind.get(usize::try_from(length).ok()?..)?
            }
            5 => behind.get(4..)?,
            // Groups, which proto3 does not have, and nothing.
            _ => return None,
        };
    }
    Some(serving)
}

/// A number of 7 bits a byte, the lowest first; at most 10 bytes and 64 bits.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7F);
        if at == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * at);
        if byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &[u8], expect: Result<Option<Serving>, Unreadable>) {
        let shown = body.escape_ascii();
        assert_eq!(read(body), expect, "{shown}");
        // In pieces: more is wanted until the verdict, and no refusal is taken back.
        let mut refused = None;
        for length in 0..body.len() {
            match read(&body[..length]) {
                Ok(None) => assert_eq!(refused, None, "{length} of {shown}"),
                Err(why) => assert_eq!(*refused.get_or_insert(why), why, "{length} of {shown}"),
                // A whole answer, with more behind it.
                Ok(Some(_)) => assert_eq!(expect, Err(Unreadable::Frame), "{length} of {shown}"),
            }
        }
        assert!(refused.is_none_or(|why| expect == Err(why)), "{shown}");
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        [&[0][..], &length.to_be_bytes(), message].concat()
    }

    #[test]
    fn answers() {
        use super::Serving::{NotServing, ServiceUnknown, Serving, Unknown};
        for (message, expect) in [
            (&[][..], Unknown),
            (&[8, 0], Unknown),
            (&[8, 1], Serving),
            (&[8, 2], NotServing),
            (&[8, 3], ServiceUnknown),
            (&[8, 4], Unknown),
            (&[8, 0x81, 0], Serving),
            (&[0x88, 0, 1], Serving),
            (&[8, 1, 8, 2], NotServing),
            // A negative number has ten bytes. Readers that cut off what is above 32 bits see 1 in the other; it is nothing known.
            (
                &[8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
                Unknown,
            ),
            (&[8, 0x81, 0x80, 0x80, 0x80, 0x10], Unknown),
            // Fields of other numbers and kinds.
            (
                &[
                    0x10, 7, 8, 1, 0x12, 2, 8, 2, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4,
                ],
                Serving,
            ),
            (&[8, 1, 0x0A, 1, 2], Serving),
            (&[8, 1, 0x10, 2], Serving),
        ] {
            check(&framed(message), Ok(Some(expect)));
        }
        check(
            &framed(&[&[0x12, 0xFC, 0x07][..], &[9; 1020], &[8]].concat()),
            Err(Unreadable::Message),
        );
        check(
            &framed(&[&[0x12, 0xFD, 0x07][..], &[9; 1021]].concat()),
            Ok(Some(Unknown)),
        );
    }

    #[test]
    fn no_answers() {
        for message in [
            &[8][..],
            &[0x88],
            &[8, 0x80],
            &[0, 1],
            &[8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2],
            &[
                8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0,
            ],
            &[0x88, 0x80, 0x80, 0x80, 0x10, 1],
            &[0x12, 1],
            &[
                0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1,
            ],
            &[0x19, 1, 2, 3],
            &[0x25, 1, 2, 3],
            &[0x0B, 0x0C],
            &[0x0E],
            &[0x0F],
        ] {
            check(&framed(message), Err(Unreadable::Message));
        }
        check(&[1], Err(Unreadable::Compressed));
        check(&[2], Err(Unreadable::Frame));
        check(b"<html>", Err(Unreadable::Frame));
        check(&[0, 0, 0, 4, 1], Err(Unreadable::TooLong));
        check(&[0, 0xFF, 0xFF, 0xFF, 0xFF], Err(Unreadable::TooLong));
        check(&[0, 0, 0, 0, 2, 8, 1, 0], Err(Unreadable::Frame));
        check(&[0, 0, 0, 0, 0, 0], Err(Unreadable::Frame));
        check(&[0, 0, 0, 0, 1, 8, 1], Err(Unreadable::Message));
        check(&[0, 0, 0, 0, 2, 8], Ok(None));
        check(&[], Ok(None));
    }

    #[test]
    fn requests() {
        let written = |service: &str| {
            let mut into = b"x".to_vec();
            write(service, &mut into).map(|()| into)
        };
        assert_eq!(written(""), Ok(b"x\0\0\0\0\0".to_vec()));
        assert_eq!(written("a.B"), Ok(b"x\0\0\0\0\x05\x0a\x03a.B".to_vec()));
        for length in [127, 128, 300, SERVICE_MOST] {
            let service = "s".repeat(length);
            let body = written(&service).unwrap_or_default();
            assert_eq!(
                u32::from_be_bytes([body[2], body[3], body[4], body[5]]) as usize,
                body.len() - 6
            );
            let read = varint(&body[7..]);
            assert_eq!(read, Some((length as u64, service.as_bytes())));
        }
        assert_eq!(written(&"s".repeat(SERVICE_MOST + 1)), Err(ServiceTooLong));
        assert_eq!(written(&"s".repeat(70_000)), Err(ServiceTooLong));
    }
}
