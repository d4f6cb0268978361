//! Owns the compression of fields (RFC 7541).
//!
//! Both ends keep a table in step, so a block must be decoded whole and in order, whoever wants it. What a field is and whether it
//! may stand in a head is found out when it enters the table; a field that is named by its index costs a look.

use crate::bytes::{is_lower_token, is_value};
use crate::known::Known;
use crate::malformed::Malformed;

/// Fields out.
mod encode;

/// The table that both ends have from the start.
mod fixed;

/// The code of texts.
mod huffman;

/// Names that the encoder knows.
mod names;

/// Fields that came before.
mod table;

pub use encode::Encoder;
pub(super) use names::{Name, Way};

use fixed::{BEHIND, FIELDS};
use table::{OVERHEAD, Table, Text, Traits};

/// The size of a table of which nothing was said (RFC 9113 section 6.5.2).
const DEFAULT_SIZE: usize = 4096;

/// A block that lists more than this, and more than [`BEYOND`] times what is taken, is an attack: each of its bytes may stand for a
/// field of the table's size.
const LISTED_MOST: usize = 1 << 20;
const BEYOND: usize = 16;

/// What is kept of the room for a field that came with a text of its own.
const SCRATCH: usize = 4096;

/// The block is none, and the table out of step: the connection ends with `COMPRESSION_ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What a name with a colon before it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pseudo {
    /// `:method`.
    Method,
    /// `:scheme`.
    Scheme,
    /// `:authority`.
    Authority,
    /// `:path`.
    Path,
    /// `:protocol`, of an extended CONNECT (RFC 8441).
    Protocol,
    /// `:status`.
    Status,
    /// None that is known.
    Unknown,
}

impl Pseudo {
    /// None: the name has no colon before it.
    const fn of(name: &[u8]) -> Option<Self> {
        match name {
            b":method" => Some(Self::Method),
            b":scheme" => Some(Self::Scheme),
            b":authority" => Some(Self::Authority),
            b":path" => Some(Self::Path),
            b":protocol" => Some(Self::Protocol),
            b":status" => Some(Self::Status),
            [b':', ..] => Some(Self::Unknown),
            _ => None,
        }
    }
}

/// One field of a block.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    /// As it came.
    pub name: &'a [u8],
    /// As it came.
    pub value: &'a [u8],
    /// What it is.
    pub known: Known,
    /// What it is, if its name has a colon before it.
    pub pseudo: Option<Pseudo>,
    /// Why it may not stand in a head, by its bytes: a name that is no token or not in lower case, a value with a control byte or
    /// white space at its ends. Of a pseudo-field nothing is said: what it means has rules of its own.
    pub wrong: Option<Malformed>,
    /// It came so that nobody puts it into a table (RFC 7541 section 6.2.3).
    pub sensitive: bool,
    /// Name and value in one piece.
    pub(super) text: &'a [u8],
}

/// What a block listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Names and values, and 32 for each field (RFC 9113 section 6.5.2).
    pub size: usize,
    /// More than the limit: not all fields were handed out.
    pub over: bool,
}

/// A decoder's state over a connection's life: up to 6 KiB beside twice its table's size.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// What the table may grow to.
    most: usize,
    /// The last field that came with a text of its own: name and value, and what is known of it.
    scratch: Vec<u8>,
    name: usize,
    traits: Traits,
}

impl Decoder {
    /// `most`: the table size that we announce, in bytes. Until the peer says another size, 4096 holds.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self {
            table: Table::new(DEFAULT_SIZE, 0),
            most,
            scratch: Vec::new(),
            name: 0,
            traits: Traits::NONE,
        }
    }

    /// Decodes one whole block, joined from HEADERS and CONTINUATION. `each` gets the fields in their order until they exceed
    /// `limit`, counted as [`Listed::size`]; the rest is decoded for the table's sake. Cost: of an indexed field some 30 instructions,
    /// of a text about one copy, or 10 instructions a byte if it is coded; the work is bounded by the block and by 16 times the
    /// limit (or 1 MiB, if that is more), and a block that lists more is refused.
    ///
    /// # Errors
    /// The block is none, and the connection ends.
    pub fn decode(
        &mut self,
        block: &[u8],
        limit: usize,
        mut each: impl FnMut(Decoded<'_>),
    ) -> Result<Listed, Broken> {
        let mut listed = Listed::default();
        let mut rest = block;
        if let Some(0x20..0x40) = block.first() {
            rest = self.sizes(rest)?;
        }
        while let Some((&first, behind)) = rest.split_first() {
            let index;
            if let 0x81..=0xfe = first {
                (index, rest) = (usize::from(first & 0x7f), behind);
            } else {
                (index, rest) = self.longer(first, behind)?;
            }
            let (text, traits) = self.indexed(index).ok_or(Broken)?;
            let (name, value) = text.split().ok_or(Broken)?;
            listed.size += text.bytes.len() + OVERHEAD;
            if listed.size <= limit {
                each(Decoded {
                    name,
                    value,
                    known: traits.known,
                    pseudo: traits.pseudo,
                    wrong: traits.wrong,
                    sensitive: first & 0xf0 == 0x10,
                    text: text.bytes,
                });
            } else {
                listed.over = true;
                if listed.size > limit.saturating_mul(BEYOND).max(LISTED_MOST) {
                    return Err(Broken);
                }
            }
            if let 0x40..0x80 = first {
                self.keep();
            }
        }
        if self.scratch.capacity() > SCRATCH {
            self.scratch = Vec::new();
        }
        Ok(listed)
    }

    /// Sizes of the table, before the first field (RFC 7541 section 4.2). Returns what is behind.
    #[cold]
    fn sizes<'b>(&mut self, block: &'b [u8]) -> Result<&'b [u8], Broken> {
        let mut reader = Reader { rest: block };
        while let Some(&first @ 0x20..0x40) = reader.rest.first() {
            reader.next();
            let size = reader.number(first, 0x1f)?;
            if size > self.most {
                return Err(Broken);
            }
            self.table.resize(size);
        }
        Ok(reader.rest)
    }

    /// The field of an index; of 0 the one that came last with a text of its own.
    #[inline]
    fn indexed(&self, index: usize) -> Option<(Text<'_>, Traits)> {
        if let Some(age) = index.checked_sub(BEHIND) {
            let entry = self.table.get(age)?;
            return Some((self.table.text(entry)?, entry.traits));
        }
        if index == 0 {
            let text = Text {
                bytes: &self.scratch,
                name: self.name,
            };
            return Some((text, self.traits));
        }
        let fixed = FIELDS.get(index)?;
        let text = Text {
            bytes: fixed.text,
            name: fixed.name,
        };
        Some((text, fixed.traits))
    }

    /// Reads what is no index in one byte. Returns an index, or 0 for a field that came with a text of its own, and what is behind.
    #[inline(never)]
    fn longer<'b>(&mut self, first: u8, rest: &'b [u8]) -> Result<(usize, &'b [u8]), Broken> {
        let mut reader = Reader { rest };
        let mask = match first {
            0x80.. => 0x7f,
            0x40.. => 0x3f,
            // A size may be said before the first field only.
            0x20.. => return Err(Broken),
            _ => 0x0f,
        };
        let index = reader.number(first, mask)?;
        if first < 0x80 {
            self.literal(&mut reader, index)?;
            return Ok((0, reader.rest));
        }
        (index > 0).then_some((index, reader.rest)).ok_or(Broken)
    }

    /// Reads name and value, one behind the other.
    fn literal(&mut self, reader: &mut Reader<'_>, index: usize) -> Result<(), Broken> {
        let Self { table, scratch, .. } = self;
        scratch.clear();
        let mut traits = if index == 0 {
            reader.text(scratch)?;
            Traits::of(scratch)
        } else if let Some(age) = index.checked_sub(BEHIND) {
            let entry = table.get(age).ok_or(Broken)?;
            let (name, _) = table.text(entry).and_then(Text::split).ok_or(Broken)?;
            // Copied: what comes may push it out.
            scratch.extend_from_slice(name);
            // Its value may be what was wrong.
            match entry.traits.wrong {
                Some(_) => Traits::of(name),
                None => entry.traits,
            }
        } else {
            let fixed = &FIELDS[index];
            scratch.extend_from_slice(fixed.name());
            fixed.traits
        };
        self.name = scratch.len();
        reader.text(scratch)?;
        let value = scratch.get(self.name..).unwrap_or_default();
        if traits.pseudo.is_none() && traits.wrong.is_none() && !is_field(value) {
            traits.wrong = Some(Malformed::FieldValue);
        }
        self.traits = traits;
        Ok(())
    }

    /// Puts into the table what came with a text of its own.
    #[inline(never)]
    fn keep(&mut self) {
        self.table
            .insert([&self.scratch, &[], &[]], self.name, self.traits);
    }
}

impl Traits {
    /// Of a field of this name, its value aside.
    fn of(name: &[u8]) -> Self {
        let pseudo = Pseudo::of(name);
        let wrong = match pseudo {
            None => wrong_name(name),
            Some(_) => None,
        };
        Self {
            known: Known::of(name),
            pseudo,
            wrong,
        }
    }
}

/// What is wrong with a name that has no colon before it.
fn wrong_name(name: &[u8]) -> Option<Malformed> {
    if is_lower_token(name) {
        None
    } else if name.is_empty() || name.iter().any(u8::is_ascii_uppercase) {
        Some(Malformed::Http2)
    } else {
        Some(Malformed::FieldName)
    }
}

/// Whether it may stand as a value: no control byte, and no white space at its ends (RFC 9113 section 8.2.1).
pub(super) fn is_field(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_value(value) && !blank(value.first()) && !blank(value.last())
}

/// What is left of a block.
struct Reader<'b> {
    rest: &'b [u8],
}

impl Reader<'_> {
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The number that begins in the low bits of `first` (RFC 7541 section 5.1).
    #[inline]
    fn number(&mut self, first: u8, mask: u8) -> Result<usize, Broken> {
        let low = first & mask;
        if low < mask {
            return Ok(usize::from(low));
        }
        self.longer(u64::from(low))
    }

    /// At most five bytes more, below 2^32: nobody needs so much.
    fn longer(&mut self, mut number: u64) -> Result<usize, Broken> {
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.next().ok_or(Broken)?;
            number += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let number = u32::try_from(number).map_err(|_| Broken)?;
                return usize::try_from(number).map_err(|_| Broken);
            }
        }
        Err(Broken)
    }

    /// Appends a text.
    fn text(&mut self, to: &mut Vec<u8>) -> Result<(), Broken> {
        let first = self.next().ok_or(Broken)?;
        let length = self.number(first, 0x7f)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Broken)?;
        self.rest = rest;
        if first & 0x80 != 0 {
            return huffman::decode(bytes, to);
        }
        to.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
