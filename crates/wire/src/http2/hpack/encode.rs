//! Owns the encoder: what was said before is one byte, found without looking through the table.

use super::fixed::{BEHIND, FIELDS};
use super::names::{Ends, Name, Way, is_lower_of};
use super::table::{OVERHEAD, Table, Text, Traits};
use super::{DEFAULT_SIZE, Pseudo, huffman, is_field};
use crate::bytes::is_token;
use crate::malformed::Malformed;

/// `accept-encoding: gzip, deflate`: of what is no pseudo-field the one that the table which never changes has with its value.
const ACCEPT_ENCODING: u8 = 16;

/// Cookies below this many bytes could be guessed by what they cost.
const GUESSED: usize = 20;

/// Sets of two places, in which a field is looked for by its hash.
const SETS: usize = 64;

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The field's number in the table.
    put: u32,
    hash: u32,
}

/// An encoder's state over a connection's life: 1 KiB, and up to three times its table's size once fields were put in.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    places: [[Place; 2]; SETS],
    /// The smallest size since the last block, and the last, when they are to be said.
    resized: Option<(usize, usize)>,
    /// A name in lower case.
    scratch: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// For a peer that has said nothing yet: a table of 4096 bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            table: Table::new(DEFAULT_SIZE),
            places: [[Place { put: 0, hash: 0 }; 2]; SETS],
            resized: None,
            scratch: Vec::new(),
        }
    }

    /// The peer's decoder has a table of at most so many bytes; more than 4096 are not used.
    pub fn resize(&mut self, most: u32) {
        let most = usize::try_from(most).map_or(DEFAULT_SIZE, |most| most.min(DEFAULT_SIZE));
        let (least, last) = self
            .resized
            .unwrap_or((self.table.most(), self.table.most()));
        if self.resized.is_some() || most != last {
            self.resized = Some((least.min(most), most));
        }
    }

    /// Both tables begin anew with the next block: one that was begun is not sent.
    pub(in crate::http2) fn forget(&mut self) {
        self.resized = Some((0, self.resized.map_or(self.table.most(), |(_, last)| last)));
    }

    /// Begins a block.
    #[inline]
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some((least, last)) = self.resized.take() {
            self.say_sizes(least, last, out);
        }
    }

    /// The smallest size first, for what it pushed out (RFC 7541 section 4.2).
    #[cold]
    fn say_sizes(&mut self, least: usize, last: usize, out: &mut Vec<u8>) {
        self.table.resize(least);
        if least < last {
            put_number(out, 0x20, 0x1f, least);
        }
        self.table.resize(last);
        put_number(out, 0x20, 0x1f, last);
    }

    /// `:status`, 100 to 999.
    #[inline]
    pub fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digit = |of: u16| b"0123456789"[usize::from(of % 10)];
                let digits = [digit(status / 100), digit(status / 10), digit(status)];
                return self.put(Name::of(b":status"), &digits, out);
            }
        };
        out.push(0x80 | index);
    }

    /// A pseudo-field; before all others. One that is not known is not said.
    pub fn pseudo(&mut self, which: Pseudo, value: &[u8], out: &mut Vec<u8>) {
        let (name, index) = match (which, value) {
            (Pseudo::Method, b"GET") => (&b":method"[..], 2),
            (Pseudo::Method, b"POST") => (&b":method"[..], 3),
            (Pseudo::Method, _) => (&b":method"[..], 0),
            (Pseudo::Path, b"/") => (&b":path"[..], 4),
            (Pseudo::Path, b"/index.html") => (&b":path"[..], 5),
            (Pseudo::Path, _) => (&b":path"[..], 0),
            (Pseudo::Scheme, b"http") => (&b":scheme"[..], 6),
            (Pseudo::Scheme, b"https") => (&b":scheme"[..], 7),
            (Pseudo::Scheme, _) => (&b":scheme"[..], 0),
            (Pseudo::Authority, _) => (&b":authority"[..], 0),
            (Pseudo::Protocol, _) => (&b":protocol"[..], 0),
            (Pseudo::Status, _) => (&b":status"[..], 0),
            (Pseudo::Unknown, _) => return,
        };
        if index > 0 {
            out.push(0x80 | index);
        } else {
            self.put(Name::of(name), value, out);
        }
    }

    /// A field; its name may be in any case.
    #[inline]
    pub fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.put(Name::of(name), value, out);
    }

    /// A field that may not be one.
    #[inline]
    pub(in crate::http2) fn checked(
        &mut self,
        name: Name<'_>,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let hash = hash(name, value);
        if self.put_known(name, value, hash, out) {
            // It was looked at when it was put in.
            return Ok(());
        }
        if !name.is_known() && !is_token(name.text) {
            return Err(Malformed::FieldName);
        }
        if !is_field(value) {
            return Err(Malformed::FieldValue);
        }
        self.put_new(name, value, hash, out);
        Ok(())
    }

    #[cfg(test)]
    pub(super) const fn table_size(&self) -> usize {
        self.table.size()
    }

    #[inline]
    fn put(&mut self, name: Name<'_>, value: &[u8], out: &mut Vec<u8>) {
        let hash = hash(name, value);
        if !self.put_known(name, value, hash, out) {
            self.put_new(name, value, hash, out);
        }
    }

    /// Says the field by its index alone. False: it is in no table, and nothing was said.
    #[inline]
    fn put_known(&self, name: Name<'_>, value: &[u8], hash: u32, out: &mut Vec<u8>) -> bool {
        if !is_indexed(name, value) {
            return false;
        }
        let mut places = self.places[hash as usize % SETS].iter();
        let Some(place) = places.find(|place| place.hash == hash) else {
            return false;
        };
        let age = self.table.put().wrapping_sub(place.put).wrapping_sub(1) as usize;
        let Some(entry) = self.table.get(age) else {
            return false;
        };
        let Some((other_name, other_value)) = self.table.text(entry).and_then(Text::split) else {
            return false;
        };
        let same_name = match name.named.id {
            0 => entry.traits.id == 0 && is_lower_of(name.text, other_name),
            id => entry.traits.id == id,
        };
        let same = same_name && value == other_value;
        if same {
            put_number(out, 0x80, 0x7f, BEHIND + age);
        }
        same
    }

    /// Says the field with its texts.
    fn put_new(&mut self, name: Name<'_>, value: &[u8], hash: u32, out: &mut Vec<u8>) {
        let named = name.named;
        let lower = if name.is_known() {
            named.name
        } else {
            self.scratch.clear();
            self.scratch.extend_from_slice(name.text);
            self.scratch.make_ascii_lowercase();
            &self.scratch
        };
        let index = usize::from(named.index);
        if named.index == ACCEPT_ENCODING && value == FIELDS[index].value() {
            return put_number(out, 0x80, 0x7f, index);
        }
        // What would push out all others is not worth it.
        let fits = lower.len() + value.len() + OVERHEAD <= self.table.most() / 2;
        if fits && is_indexed(name, value) {
            put_number(out, 0x40, 0x3f, index);
            let set = &mut self.places[hash as usize % SETS];
            let put = self.table.put();
            *set = [Place { put, hash }, set[0]];
            let traits = Traits {
                id: named.id,
                ..Traits::NONE
            };
            self.table.insert([lower, value], lower.len(), traits);
        } else if matches!(named.way, Way::Never | Way::Cookie) {
            put_number(out, 0x10, 0x0f, index);
        } else {
            put_number(out, 0, 0x0f, index);
        }
        if index == 0 {
            put_text(out, lower);
        }
        put_text(out, value);
    }
}

#[inline]
fn is_indexed(name: Name<'_>, value: &[u8]) -> bool {
    match name.named.way {
        Way::Index | Way::Hop | Way::Host => true,
        Way::Cookie => value.len() >= GUESSED,
        Way::Literal | Way::Never => false,
    }
}

/// Of a name in any case and a value. Who knows it can have two fields take each other's place, and gains nothing.
#[inline]
fn hash(name: Name<'_>, value: &[u8]) -> u32 {
    const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let ends = Ends::of(value);
    let lengths = (value.len() << 8 ^ name.text.len()) as u64;
    let name = (name.ends.first ^ name.ends.last.rotate_left(29)).wrapping_mul(FACTORS[0]);
    let value = (ends.first ^ ends.last.rotate_left(23) ^ lengths).wrapping_mul(FACTORS[1]);
    let mixed = name ^ value;
    #[expect(clippy::cast_possible_truncation, reason = "folded")]
    let folded = (mixed ^ mixed >> 32) as u32;
    folded ^ folded >> 15
}

/// Appends a number behind the bits that say what it is (RFC 7541 section 5.1).
#[inline]
fn put_number(out: &mut Vec<u8>, bits: u8, mask: u8, number: usize) {
    match u8::try_from(number) {
        Ok(number) if number < mask => out.push(bits | number),
        _ => put_longer(out, bits | mask, number - usize::from(mask)),
    }
}

fn put_longer(out: &mut Vec<u8>, first: u8, mut rest: usize) {
    out.push(first);
    while rest >= 0x80 {
        out.push(0x80 | low(rest));
        rest >>= 7;
    }
    out.push(low(rest));
}

#[expect(clippy::cast_possible_truncation, reason = "7 bits")]
const fn low(number: usize) -> u8 {
    (number & 0x7f) as u8
}

/// Appends a text, coded if that is shorter.
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    // A length in one byte, of which the text's own is the most.
    if text.len() < 0x7f {
        out.push(low(text.len()));
        if huffman::encode(text, out) {
            out[start] = 0x80 | low(out.len() - start - 1);
        } else {
            out.extend_from_slice(text);
        }
        return;
    }
    let length = huffman::length(text);
    if length < text.len() {
        put_number(out, 0x80, 0x7f, length);
        huffman::encode(text, out);
    } else {
        put_number(out, 0, 0x7f, text.len());
        out.extend_from_slice(text);
    }
}
