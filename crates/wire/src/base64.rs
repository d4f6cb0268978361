//! Owns base64 (RFC 4648 section 4) as fields carry it.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as text, with their padding.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let all = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * place)) as usize & 63];
            out.push(match place > three.len() {
                true => '=',
                false => char::from(letter),
            });
        }
    }
    out
}

/// What a text says, with its padding or without, into `out`; how many bytes that are. None: it is no such text, or `out` is too short.
/// Bits behind the last byte are zero, so that no two texts say the same.
#[must_use]
pub fn read(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let unpadded = text.strip_suffix(b"==").or(text.strip_suffix(b"="));
    if unpadded.is_some() && !text.len().is_multiple_of(4) {
        return None;
    }
    let letters = unpadded.unwrap_or(text);
    let mut length = 0;
    for four in letters.chunks(4) {
        let mut all = 0_u32;
        for place in 0..4 {
            let bits = four.get(place).map_or(Some(0), |&letter| bits_of(letter))?;
            all = all << 6 | bits;
        }
        let bytes = (four.len() * 6) / 8;
        let [_, three @ ..] = all.to_be_bytes();
        if four.len() == 1 || three[bytes..].iter().any(|&byte| byte != 0) {
            return None;
        }
        out.get_mut(length..length + bytes)?
            .copy_from_slice(&three[..bytes]);
        length += bytes;
    }
    Some(length)
}

const fn bits_of(letter: u8) -> Option<u32> {
    let bits = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(bits as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_vectors() {
        for (bytes, expect) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(text(bytes.as_bytes()), expect);
        }
    }

    #[test]
    fn read_again() {
        let check = |text: &str, expect: Option<&str>| {
            let mut out = [0; 8];
            let read = read(text.as_bytes(), &mut out).map(|length| &out[..length]);
            assert_eq!(read, expect.map(str::as_bytes), "{text}");
        };
        for (bytes, written) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            check(written, Some(bytes));
            check(written.trim_end_matches('='), Some(bytes));
        }
        check("Zm9vYmFy", Some("foobar"));
        check("Zm9vYmFyYmF6", None); // no room
        check("Z", None);
        check("Zm9vZ", None);
        check("Zh==", None); // bits behind the last byte
        check("Zm9=", None);
        check("Zg=", None);
        check("Zm9v=", None);
        check("=", None);
        check("Zg==Zg==", None);
        check("Zm-v", None);
        check("Zm 9v", None);
    }
}
