//! Owns what a response says of its call: at its head, when the head is all there is ("Trailers-Only"), or in its trailers.

use super::{CONTENT_TYPE, Status};

/// Whether a `content-type` is gRPC's: `application/grpc`, with `+proto` or another encoding, or with parameters.
/// `application/grpc-web`, which is framed otherwise, is not.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    let Some((begin, behind)) = content_type.split_at_checked(CONTENT_TYPE.len()) else {
        return false;
    };
    let ended = matches!(behind, [] | [b'+' | b';' | b' ' | b'\t', ..]);
    ended && begin.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes())
}

/// What a response's head says of the call, given its HTTP status and its fields. None: it goes on, and its trailers will say.
///
/// A `grpc-status` in the head holds, whatever HTTP's status ("if grpc-status was provided, it must be used"). Without one, a response
/// that is not 200 or not gRPC's has its answer in HTTP's status, and no trailers are waited for.
pub fn in_head<'a>(
    http: u16,
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Option<Status> {
    let (mut status, mut grpc) = (None, false);
    for (name, value) in fields {
        learn(name, value, &mut status);
        grpc |= name.eq_ignore_ascii_case(b"content-type") && is_grpc(value);
    }
    match status {
        None if http == 200 && grpc => None,
        None => Some(Status::of_http(http)),
        told => told,
    }
}

/// What a response's trailers say of the call. One that ends without `grpc-status` is [`Status::Unknown`], as is one that says two.
pub fn in_trailers<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Status {
    let mut status = None;
    for (name, value) in fields {
        learn(name, value, &mut status);
    }
    status.unwrap_or(Status::Unknown)
}

/// One who says two things is not believed in either.
fn learn(name: &[u8], value: &[u8], status: &mut Option<Status>) {
    if name.eq_ignore_ascii_case(b"grpc-status") {
        let read = Status::read(value);
        *status = match *status {
            Some(before) if before != read => Some(Status::Unknown),
            _ => Some(read),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(rows: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        rows.iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }

    #[test]
    fn content_types() {
        for (value, expect) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/grp", false),
            ("text/html", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(value.as_bytes()), expect, "{value}");
        }
    }

    #[test]
    fn heads() {
        let grpc = ("content-type", "application/grpc");
        let status = |value| ("Grpc-Status", value);
        for (http, rows, expect) in [
            (200, &[grpc][..], None),
            (200, &[grpc, status("0")], Some(Status::Ok)),
            (200, &[grpc, status("14")], Some(Status::Unavailable)),
            (503, &[status("5")], Some(Status::NotFound)),
            (200, &[grpc, status("x")], Some(Status::Unknown)),
            (
                200,
                &[grpc, status("0"), status("5")],
                Some(Status::Unknown),
            ),
            (
                200,
                &[grpc, status("5"), status("0"), status("0")],
                Some(Status::Unknown),
            ),
            (
                200,
                &[grpc, status("5"), status("5")],
                Some(Status::NotFound),
            ),
            (200, &[("content-type", "text/html")], Some(Status::Unknown)),
            (200, &[], Some(Status::Unknown)),
            (502, &[grpc], Some(Status::Unavailable)),
            (404, &[], Some(Status::Unimplemented)),
        ] {
            assert_eq!(in_head(http, fields(rows)), expect, "{http} {rows:?}");
        }
    }

    #[test]
    fn trailers() {
        for (rows, expect) in [
            (&[("grpc-status", "0")][..], Status::Ok),
            (
                &[("x", "0"), ("GRPC-STATUS", "16")],
                Status::Unauthenticated,
            ),
            (&[("grpc-message", "no")], Status::Unknown),
            (
                &[("grpc-status", "0"), ("grpc-status", "1")],
                Status::Unknown,
            ),
            (&[], Status::Unknown),
        ] {
            assert_eq!(in_trailers(fields(rows)), expect, "{rows:?}");
        }
    }
}
