//! What responses of backends are refused, and where the bodies of the others end.

#![expect(clippy::panic, reason = "a test may fail where it likes")]

use evenkeel_wire::http1::response::parse;
use evenkeel_wire::http1::{HeadEnd, HeadLimits};
use evenkeel_wire::{Framing, Malformed, ResponseHead};

fn read(input: &[u8], to_head: bool) -> Result<ResponseHead, Malformed> {
    let (mut head, mut end) = (ResponseHead::new(), HeadEnd::default());
    let limits = HeadLimits::default();
    match parse(input, &mut end, &limits, to_head, &mut head)? {
        Some(length) => {
            assert_eq!(length, input.len());
            Ok(head)
        }
        None => panic!("not whole: {:?}", String::from_utf8_lossy(input)),
    }
}

fn framing(lines: &str) -> Result<Framing, Malformed> {
    read(format!("HTTP/1.1 {lines}\r\n\r\n").as_bytes(), false).map(|head| head.framing())
}

#[test]
fn where_bodies_end() {
    assert_eq!(
        framing("200 OK\r\nContent-Length: 5"),
        Ok(Framing::Exact(5))
    );
    assert_eq!(
        framing("200 OK\r\nTransfer-Encoding: chunked"),
        Ok(Framing::Chunked)
    );
    assert_eq!(framing("200 OK"), Ok(Framing::UntilClose));
    assert_eq!(framing("204 No Content"), Ok(Framing::Empty));
    assert_eq!(
        framing("204 No Content\r\nContent-Length: 0"),
        Ok(Framing::Empty)
    );
    assert_eq!(
        framing("304 Not Modified\r\nContent-Length: 7"),
        Ok(Framing::Empty)
    );
    assert_eq!(framing("103 Early Hints\r\nLink: x"), Ok(Framing::Empty));
    let to_head = read(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", true);
    assert_eq!(to_head.map(|head| head.framing()), Ok(Framing::Empty));
}

#[test]
fn what_is_refused() {
    use Malformed::*;
    for (lines, expect) in [
        (
            "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
            LengthAndCoding,
        ),
        (
            "200 OK\r\nContent-Length: 5\r\nContent-Length: 5",
            ContentLengthRepeated,
        ),
        (
            "200 OK\r\nTransfer-Encoding: gzip, chunked",
            TransferEncoding,
        ),
        ("200 OK\r\nTransfer-Encoding: gzip", UnknownCoding),
        ("204 No Content\r\nContent-Length: 5", BodyForbidden),
        (
            "204 No Content\r\nTransfer-Encoding: chunked",
            BodyForbidden,
        ),
        ("103 Early Hints\r\nContent-Length: 5", BodyForbidden),
        ("200 OK\r\nA: b\r\n c", Fold),
        ("200 OK\r\nA : b", FieldName),
        ("200 OK\r\nA: b\0", FieldValue),
        ("099 Low", Status),
        ("600 High", Status),
        ("20 OK", Status),
        ("2000 OK", Status),
    ] {
        let got = framing(lines);
        let status_or_line = expect == Status && got == Err(StartLine);
        assert!(got == Err(expect) || status_or_line, "{lines:?}: {got:?}");
    }
    let whole = |input: &str| read(input.as_bytes(), false).map(|head| head.status());
    assert_eq!(whole("HTTP/1.1 200 OK\nA: b\r\n\r\n"), Err(LineEnd));
    assert_eq!(whole("\r\nHTTP/1.1 200 OK\r\n\r\n"), Err(StartLine));
    assert_eq!(whole("HTTP/2.0 200 OK\r\n\r\n"), Err(StartLine));
    assert_eq!(whole("ICY 200 OK\r\n\r\n"), Err(StartLine));
    assert_eq!(
        whole("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err(CodingInOldVersion)
    );
    assert_eq!(
        whole(&format!(
            "HTTP/1.1 200 OK\r\nA: {}\r\n\r\n",
            "b".repeat(33_000)
        )),
        Err(HeadTooLarge)
    );
}

#[test]
fn phrases_and_connections() {
    let head =
        |input: &str| read(input.as_bytes(), false).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(head("HTTP/1.1 404 Nicht da\r\n\r\n").reason(), b"Nicht da");
    assert_eq!(head("HTTP/1.1 404 \r\n\r\n").reason(), b"");
    assert_eq!(head("HTTP/1.1 404\r\n\r\n").reason(), b"");
    assert_eq!(
        head("HTTP/1.1 200 gr\u{fc}n\r\n\r\n").reason(),
        "gr\u{fc}n".as_bytes()
    );
    let keeps = |input: &str| head(input).keeps_connection();
    assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"));
    assert!(!keeps(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n"
    ));
    assert!(
        !keeps("HTTP/1.1 200 OK\r\n\r\n"),
        "ends with the connection"
    );
    assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"));
    assert!(keeps(
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n"
    ));
    let told = head("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=3\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(told.keeps_for_seconds(), Some(5));
}
