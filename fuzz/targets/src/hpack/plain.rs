//! A second reading of HPACK's blocks: bit by bit, with a copy of each field, by the letter of RFC 7541.

use std::collections::HashMap;
use std::sync::LazyLock;

pub(super) type Field = (Vec<u8>, Vec<u8>);

/// The fields of appendix A, by their indexes from 1 on.
const FIXED: &str = "\
:authority=|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204|\
:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset=|accept-encoding=gzip, deflate|\
accept-language=|accept-ranges=|accept=|access-control-allow-origin=|age=|allow=|authorization=|cache-control=|\
content-disposition=|content-encoding=|content-language=|content-length=|content-location=|content-range=|\
content-type=|cookie=|date=|etag=|expect=|expires=|from=|host=|if-match=|if-modified-since=|if-none-match=|if-range=|\
if-unmodified-since=|last-modified=|link=|location=|max-forwards=|proxy-authenticate=|proxy-authorization=|range=|\
referer=|refresh=|retry-after=|server=|set-cookie=|strict-transport-security=|transfer-encoding=|user-agent=|vary=|via=|\
www-authenticate=";

/// The bytes of appendix B by the lengths of their words, in the order of those.
const LENGTHS: &[(u32, &[u8])] = &[
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\x00$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, b"\\\xc3\xd0"),
    (20, b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"),
    (21, b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"),
    (22, b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\
        \xe8\xe9"),
    (23, b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\
        \xbc\xbf\xc5\xe7\xef"),
    (24, b"\x09\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"),
    (25, b"\xc7\xcf\xea\xeb"),
    (26, b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff"),
    (27, b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe"),
    (28, b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\
        \x1e\x1f\x7f\xdc\xf9"),
    (30, b"\x0a\x0d\x16"),
];

/// Bytes by their words: length and bits.
static WORDS: LazyLock<HashMap<(u32, u32), u8>> = LazyLock::new(|| {
    let (mut words, mut next, mut before) = (HashMap::new(), 0, 0);
    for &(length, bytes) in LENGTHS {
        next <<= length - before;
        before = length;
        for &byte in bytes {
            words.insert((length, next), byte);
            next += 1;
        }
    }
    words
});

pub(super) struct Plain {
    fixed: Vec<Field>,
    /// The youngest first.
    table: Vec<Field>,
    size: usize,
}

fn sum(fields: &[Field]) -> usize {
    let size = |(name, value): &Field| name.len() + value.len() + 32;
    fields.iter().map(size).sum()
}

impl Plain {
    pub(super) fn new() -> Self {
        let field = |text: &str| {
            let (name, value) = text.split_once('=').unwrap_or_default();
            (name.into(), value.into())
        };
        Self {
            fixed: FIXED.split('|').map(field).collect(),
            table: Vec::new(),
            size: 4096,
        }
    }

    /// The fields of one block, or none: it is no block. `most`: what the table may be resized to.
    pub(super) fn block(&mut self, mut rest: &[u8], most: usize) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        while let Some(&first) = rest.first() {
            match first {
                0x80.. => {
                    let index = number(&mut rest, 7)?;
                    fields.push(self.at(index)?);
                }
                0x20..0x40 => {
                    let size = number(&mut rest, 5)?;
                    if !fields.is_empty() || size > most {
                        return None;
                    }
                    self.size = size;
                    self.shrink();
                }
                _ => {
                    let keeps = first >= 0x40;
                    let name = match number(&mut rest, if keeps { 6 } else { 4 })? {
                        0 => text(&mut rest)?,
                        index => self.at(index)?.0,
                    };
                    let field = (name, text(&mut rest)?);
                    fields.push(field.clone());
                    if keeps {
                        self.table.insert(0, field);
                        self.shrink();
                    }
                }
            }
        }
        Some(fields)
    }

    fn at(&self, index: usize) -> Option<Field> {
        let mut all = self.fixed.iter().chain(&self.table);
        all.nth(index.checked_sub(1)?).cloned()
    }

    fn shrink(&mut self) {
        while sum(&self.table) > self.size {
            self.table.pop();
        }
    }
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (&first, behind) = rest.split_first()?;
    *rest = behind;
    Some(first)
}

/// A number behind the high bits of a byte; at most five bytes more, and below 2^32.
fn number(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let most = (1_u64 << bits) - 1;
    let mut number = u64::from(byte(rest)?) & most;
    if number < most {
        return usize::try_from(number).ok();
    }
    for place in 0..5 {
        let next = byte(rest)?;
        number += u64::from(next % 128) * 128_u64.pow(place);
        if next < 128 {
            return u32::try_from(number).ok()?.try_into().ok();
        }
    }
    None
}

fn text(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let coded = rest.first()? & 0x80 != 0;
    let length = number(rest, 7)?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    if !coded {
        return Some(bytes.to_vec());
    }
    let (mut text, mut word) = (Vec::new(), (0, 0));
    for at in 0..bytes.len() * 8 {
        let bit = bytes[at / 8] >> (7 - at % 8) & 1;
        word = (word.0 + 1, word.1 << 1 | u32::from(bit));
        if word.0 > 30 {
            return None;
        }
        if let Some(&byte) = WORDS.get(&word) {
            text.push(byte);
            word = (0, 0);
        }
    }
    // What is left is padding: less than a byte, all ones.
    (word.0 < 8 && word.1 == (1 << word.0) - 1).then_some(text)
}
