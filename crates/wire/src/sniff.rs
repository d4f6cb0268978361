//! Owns what the first bytes of a connection are. Says what came, not what may: a listener's configuration decides which openings it
//! takes, and whether a PROXY header must stand first. Reads nothing further; `proxy_protocol`, TLS and HTTP do.

use crate::proxy_protocol::{BINARY_BEGIN, TEXT_BEGIN};

/// What a client of HTTP/2 sends first (RFC 9113 section 3.4).
pub const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A record of the handshake, of any version of TLS (RFC 8446 section 5.1).
const TLS_BEGIN: &[u8; 2] = &[0x16, 0x03];

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opening {
    /// TLS.
    Tls,
    /// HTTP/2 without TLS, by prior knowledge: the whole preface.
    Http2,
    /// A PROXY header of version 1. Where none is due, it is a method of HTTP/1 that nobody has.
    ProxyText,
    /// A PROXY header of version 2.
    ProxyBinary,
    /// Anything else: HTTP/1, or nothing that is known. HTTP/1's own reading tells.
    Http1,
}

const OPENINGS: [(&[u8], Opening); 4] = [
    (TLS_BEGIN, Opening::Tls),
    (HTTP2_PREFACE, Opening::Http2),
    (TEXT_BEGIN, Opening::ProxyText),
    (BINARY_BEGIN, Opening::ProxyBinary),
];

/// What a connection is that begins with `input`, all that came so far. None: more than one thing, as long as no more bytes come. At
/// most 24 bytes are looked at; a verdict stays the same however many more come.
#[must_use]
pub fn sniff(input: &[u8]) -> Option<Opening> {
    for (begin, opening) in OPENINGS {
        if input.starts_with(begin) {
            return Some(opening);
        }
        if begin.starts_with(input) {
            return None;
        }
    }
    Some(Opening::Http1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(input: &[u8], expect: Option<Opening>) {
        assert_eq!(sniff(input), expect, "{}", input.escape_ascii());
    }

    #[test]
    fn rows() {
        check(b"", None);
        for (begin, opening) in OPENINGS {
            for length in 0..begin.len() {
                check(&begin[..length], None);
                // The next byte is another one: nothing of what is known.
                let wrong = [&begin[..length], &[begin[length] ^ 0x80]].concat();
                check(&wrong, Some(Opening::Http1));
            }
            check(begin, Some(opening));
            check(&[begin, b"x"].concat(), Some(opening));
        }
        for http1 in [
            &b"G"[..],
            b"POST / HTTP/1.1\r\n",
            b"PU",
            b"PRX",
            b"PRI * HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSX",
            b"PROXYX",
            b"PROPFIND / HTTP/1.1\r\n",
            b"\r\nGET / HTTP/1.1\r\n",
            b"\r\n\r\nGET",
            b"\n",
            b"\x16\x02\x01",
            b"\x80\x2e\x01\x03\x01",
            b"\x15\x03\x01",
            b"SSH-2.0-",
            b"\0",
        ] {
            check(http1, Some(Opening::Http1));
        }
        check(b"\x16\x03\x01\x02\x00\x01", Some(Opening::Tls));
        check(b"PROXY / HTTP/1.1\r\n", Some(Opening::ProxyText));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

        /// However the bytes come, the first verdict is the one that all of them get.
        #[test]
        fn splits(
            begin in prop::sample::select(&OPENINGS[..]),
            keep in 0_usize..30,
            behind in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"PRI\r\n\0\x16\x03".to_vec())], 0..40),
        ) {
            let begin = &begin.0[..keep.min(begin.0.len())];
            let input = [begin, &behind].concat();
            let whole = sniff(&input);
            for length in 0..input.len() {
                if let Some(verdict) = sniff(&input[..length]) {
                    prop_assert_eq!(Some(verdict), whole);
                }
            }
            prop_assert!(input.len() < 24 || whole.is_some());
        }
    }
}
