//! Owns the classes of bytes: what may stand in a token, a target, a host name.

/// One bit per class.
const TOKEN: u8 = 1;
const TARGET: u8 = 2;
/// What stands in a host's labels, but for letters in upper case.
const LABEL: u8 = 4;
const UNRESERVED: u8 = 8;
const LOWER: u8 = 16;
const VALUE: u8 = 32;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let one = byte as u8;
        if one.is_ascii_alphanumeric() || contains(b"!#$%&'*+-.^_`|~", one) {
            classes[byte] |= TOKEN;
            if !one.is_ascii_uppercase() {
                classes[byte] |= LOWER;
            }
        }
        if one == b'\t' || one >= b' ' && one != 0x7f {
            classes[byte] |= VALUE;
        }
        // RFC 3986, and what browsers send beside it (`"<>^`{|}`); never `#`, a backslash, a control byte, non-ASCII.
        if one.is_ascii_graphic() && one != b'#' && one != b'\\' {
            classes[byte] |= TARGET;
        }
        if one.is_ascii_lowercase() || one.is_ascii_digit() || contains(b"-_", one) {
            classes[byte] |= LABEL;
        }
        if one.is_ascii_alphanumeric() || contains(b"-._~", one) {
            classes[byte] |= UNRESERVED;
        }
        byte += 1;
    }
    classes
};

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

const fn class(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

/// Whether every byte may stand in a token (RFC 9110 section 5.6.2), and there is one.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| class(byte) & TOKEN != 0)
}

/// The same, with no letter in upper case.
pub(crate) fn is_lower_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| class(byte) & LOWER != 0)
}

/// Whether every byte may stand in a value (RFC 9110 section 5.5).
pub(crate) fn is_value(text: &[u8]) -> bool {
    if text.len() < 16 {
        return text.iter().all(|&byte| class(byte) & VALUE != 0);
    }
    // To the end, whatever comes: many bytes at a time.
    let one = |&byte: &u8| (byte == b'\t') | ((byte >= b' ') & (byte != 0x7f));
    text.iter().map(one).fold(true, |all, one| all & one)
}

/// Whether every byte may stand in a target.
pub(crate) fn is_target(text: &[u8]) -> bool {
    text.iter().all(|&byte| class(byte) & TARGET != 0)
}

/// How many bytes from the begin may stand in a host name, and whether none of them is a letter in upper case. None: a label among
/// them is empty, but for one behind the last dot. One look at each byte.
pub(crate) fn host_length(text: &[u8]) -> Option<(usize, bool)> {
    let (mut at, mut label, mut lower) = (0, 0, true);
    loop {
        let rest = text.get(at..)?;
        let run = rest.iter().position(|&byte| class(byte) & LABEL == 0);
        let Some(run) = run else {
            return Some((text.len(), lower));
        };
        at += run;
        match text[at] {
            b'.' if at == label => return None,
            b'.' => label = at + 1,
            b'A'..=b'Z' => lower = false,
            _ => return Some((at, lower)),
        }
        at += 1;
    }
}

/// Whether an escape of this byte says no more than the byte (RFC 3986 section 2.3).
pub(crate) const fn is_unreserved(byte: u8) -> bool {
    class(byte) & UNRESERVED != 0
}

/// The value of two hexadecimal digits.
pub(crate) fn hex(high: u8, low: u8) -> Option<u8> {
    Some(digit(high)? << 4 | digit(low)?)
}

/// The value of one hexadecimal digit.
pub(crate) const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Without spaces and tabs at both ends.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The elements of a comma-separated list, trimmed; empty ones left out (RFC 9110 section 5.6.1.2).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}
