//! Owns `grpc-message`: UTF-8 under escapes (`PROTOCOL-HTTP2.md`, "Responses").

use crate::bytes;

/// The name of the field.
pub const FIELD: &str = "grpc-message";

/// Appends a text as a field's value: printable US-ASCII plain, `%` and everything else escaped.
pub fn write(text: &str, into: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => into.push(byte),
            _ => into.extend([
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]),
        }
    }
}

/// The text of a value. Never refuses ("implementations MUST NOT error or throw away the message"): a broken escape stays as it is, and
/// what is no UTF-8 becomes U+FFFD. May hold control characters; whoever shows it escapes it.
#[must_use]
pub fn read(value: &[u8]) -> String {
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, after @ ..] => bytes::hex(*high, *low).map(|byte| (byte, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((byte, after));
        text.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut into = Vec::new();
        write(text, &mut into);
        String::from_utf8_lossy(&into).into_owned()
    }

    #[test]
    fn rows() {
        for (text, value) in [
            ("", ""),
            ("no healthy backend", "no healthy backend"),
            ("100%", "100%25"),
            ("a\r\nb", "a%0D%0Ab"),
            ("~ü\u{7f}", "~%C3%BC%7F"),
        ] {
            assert_eq!(written(text), value);
            assert_eq!(read(value.as_bytes()), text);
        }
        for (value, text) in [
            (&b"%"[..], "%"),
            (b"%4", "%4"),
            (b"%4g%41", "%4gA"),
            (b"%%41", "%A"),
            (b"%e4%f6", "\u{fffd}\u{fffd}"),
            (b"\xff%20", "\u{fffd} "),
            (b"%c3%bc", "ü"),
        ] {
            assert_eq!(read(value), text, "{}", value.escape_ascii());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

        #[test]
        fn written_is_read_again(text in any::<String>()) {
            let value = written(&text);
            prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(read(value.as_bytes()), text);
        }
    }
}
