//! Owns the encoder: what was said before is one byte, found without looking through the table.

use super::fixed::{BEHIND, FIELDS};
use super::names::{Ends, Name, Way};
use super::table::{OVERHEAD, Table, Text, Traits};
use super::{DEFAULT_SIZE, Pseudo, huffman, is_field};
use crate::bytes::is_token;
use crate::malformed::Malformed;

/// `accept-encoding: gzip, deflate`: of what is no pseudo-field the one that the table which never changes has with its value.
const ACCEPT_ENCODING: u8 = 16;

/// What stands between name and value in a line, and so in the table: names as they are spelled, for those who spell do it alike.
const BETWEEN: &[u8] = b": ";

/// Cookies below this many bytes could be guessed by what they cost.
const GUESSED: usize = 20;

/// Of shorter texts the code would save a byte at most.
const WORTHWHILE: usize = 5;

/// Sets of two places, in which a field is looked for by its hash.
const SETS: usize = 64;

/// Lines of a head that are expected to be those of the last one.
const LINES: usize = 16;

/// The number of a line that is said with its texts each time.
const SPELLED_OUT: u32 = u32::MAX;

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
    /// The numbers of the lines that were said last, by their place in a head.
    expected: [u32; LINES],
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
            table: Table::new(DEFAULT_SIZE, BETWEEN.len()),
            places: [[Place { put: 0, hash: 0 }; 2]; SETS],
            expected: [0; LINES],
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

    /// Says the first of these lines if it is what was said in this place last time. Returns what is behind; none: it is not, and
    /// nothing was said. What is in the table came by [`checked`](Self::checked), and may be said.
    #[inline]
    pub(in crate::http2) fn expected<'a>(
        &self,
        place: usize,
        lines: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        let put = *self.expected.get(place)?;
        let age = self.age(put);
        let text = self.table.text(self.table.get(age)?)?;
        let behind = lines.strip_prefix(text.bytes)?.strip_prefix(b"\r\n")?;
        put_number(out, 0x80, 0x7f, BEHIND + age);
        Some(behind)
    }

    /// Says a field as a line of HTTP/1.1, without its end, by its index alone. False: it is in no table, or what stood in this place
    /// last time was not, and nothing was said.
    #[inline]
    pub(in crate::http2) fn line(&mut self, place: usize, line: &[u8], out: &mut Vec<u8>) -> bool {
        let last = self.expected.get(place);
        last != Some(&SPELLED_OUT) && self.find_line(place, line, hash_of_line(line), out)
    }

    #[inline]
    fn find_line(&mut self, place: usize, line: &[u8], hash: u32, out: &mut Vec<u8>) -> bool {
        match self.find(hash) {
            Some((age, put, text)) if text.bytes == line => {
                put_number(out, 0x80, 0x7f, BEHIND + age);
                self.expect(place, put);
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, place: usize, put: u32) {
        if let Some(expected) = self.expected.get_mut(place) {
            *expected = put;
        }
    }

    /// How many fields were put in behind the one of this number; and the number of the one of this age.
    #[inline]
    fn age(&self, put: u32) -> usize {
        self.table.put().wrapping_sub(put).wrapping_sub(1) as usize
    }

    /// Says a line that [`line`](Self::line) did not, if it is a field.
    pub(in crate::http2) fn checked(
        &mut self,
        place: usize,
        line: &[u8],
        name: Name<'_>,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let mut hash = 0;
        let mut expect = SPELLED_OUT;
        if is_indexed(name, value) {
            hash = hash_of_line(line);
            expect = self.table.put();
            if self.find_line(place, line, hash, out) {
                return Ok(());
            }
        }
        if !name.is_known() && !is_token(name.text) {
            return Err(Malformed::FieldName);
        }
        if !is_field(value) {
            return Err(Malformed::FieldValue);
        }
        self.expect(place, expect);
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
        let Some((age, _, text)) = self.find(hash) else {
            return false;
        };
        let same = text.bytes.strip_prefix(name.text);
        let same = same.and_then(|rest| rest.strip_prefix(BETWEEN)) == Some(value);
        if same {
            put_number(out, 0x80, 0x7f, BEHIND + age);
        }
        same
    }

    /// The field that was put in under this hash, if it is still there, its age and its number.
    #[inline]
    fn find(&self, hash: u32) -> Option<(usize, u32, Text<'_>)> {
        let mut places = self.places[hash as usize % SETS].iter();
        let place = places.find(|place| place.hash == hash)?;
        let age = self.age(place.put);
        let text = self.table.text(self.table.get(age)?)?;
        Some((age, place.put, text))
    }

    /// Says the field with its texts.
    fn put_new(&mut self, name: Name<'_>, value: &[u8], hash: u32, out: &mut Vec<u8>) {
        let index = name.named.index;
        if name.named.way == Way::Literal && index > 0 {
            put_number(out, 0, 0x0f, usize::from(index));
            return put_text(out, value);
        }
        if index == ACCEPT_ENCODING && value == FIELDS[usize::from(index)].value() {
            return put_number(out, 0x80, 0x7f, usize::from(index));
        }
        // What would push out all others is not worth it.
        let size = name.text.len() + value.len() + OVERHEAD;
        let (bits, mask) = if size <= self.table.most() / 2 && is_indexed(name, value) {
            self.keep(name, value, hash);
            (0x40, 0x3f)
        } else if matches!(name.named.way, Way::Never | Way::Cookie) {
            (0x10, 0x0f)
        } else {
            (0, 0x0f)
        };
        put_number(out, bits, mask, usize::from(index));
        if index == 0 {
            self.scratch.clear();
            self.scratch.extend_from_slice(name.text);
            self.scratch.make_ascii_lowercase();
            put_text(out, &self.scratch);
            if self.scratch.capacity() > super::SCRATCH {
                self.scratch = Vec::new();
            }
        }
        put_text(out, value);
    }

    fn keep(&mut self, name: Name<'_>, value: &[u8], hash: u32) {
        let set = &mut self.places[hash as usize % SETS];
        let put = self.table.put();
        *set = [Place { put, hash }, set[0]];
        let parts = [name.text, BETWEEN, value];
        self.table.insert(parts, name.text.len(), Traits::NONE);
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

const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// Of a name in any case and a value. Who knows it can have two fields take each other's place, and gains nothing.
#[inline]
fn hash(name: Name<'_>, value: &[u8]) -> u32 {
    let ends = Ends::of(value);
    let lengths = (value.len() << 8 ^ name.text.len()) as u64;
    let name = name.ends.first ^ name.ends.last.rotate_left(29);
    let value = ends.first ^ ends.last.rotate_left(23) ^ lengths;
    mix(name, value)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "folded")]
fn mix(one: u64, other: u64) -> u32 {
    let mixed = one.wrapping_mul(FACTORS[0]) ^ other.wrapping_mul(FACTORS[1]);
    let folded = (mixed ^ mixed >> 32) as u32;
    folded ^ folded >> 15
}

/// Of a line as it is spelled: its begin, its end, and eight bytes between.
#[inline]
fn hash_of_line(line: &[u8]) -> u32 {
    let ends = Ends::of(line);
    let half = line.get(line.len() / 2..).and_then(<[u8]>::first_chunk);
    let half = half.map_or(0, |half| u64::from_le_bytes(*half));
    let end = ends.last.rotate_left(23) ^ line.len() as u64;
    mix(ends.first ^ half.rotate_left(29), end)
}

/// Appends a number behind the bits that say what it is (RFC 7541 section 5.1).
#[inline(always)]
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
    if text.len() < WORTHWHILE {
        out.push(low(text.len()));
        out.extend_from_slice(text);
        return;
    }
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
