//! Owns the byte form of what is kept over restarts: a kind, a version, values, a sum at the end.
//!
//! What is read is another's word: each length has a limit, each number a range, and what is left over refuses the whole. A sum finds
//! what broke, not who meant harm; the limits are for that.

use std::fmt;

use crate::time::{LATEST_MS, Moment};

/// The longest name that is kept, in bytes: that of a service, a backend, whoever acknowledged.
pub const LONGEST_NAME: usize = 256;

/// Why bytes were refused. Nothing of them was taken then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They are not of this kind.
    Foreign,
    /// They are of another version, which is named.
    Version(u8),
    /// Their sum is wrong: they broke, or were cut off.
    Broken,
    /// They end within a value.
    Short,
    /// They go on behind the last value.
    Long,
    /// There are more of these than are ever kept.
    TooMany(&'static str),
    /// This is none that can be.
    OutOfRange(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("these bytes are of another kind"),
            Self::Version(version) => write!(f, "version {version} is not known"),
            Self::Broken => f.write_str("the sum is wrong"),
            Self::Short => f.write_str("the bytes end within a value"),
            Self::Long => f.write_str("there are bytes behind the last value"),
            Self::TooMany(what) => write!(f, "more {what} than are ever kept"),
            Self::OutOfRange(what) => write!(f, "{what} cannot be so"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Writes values one behind the other.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Begins bytes of a kind in its version.
    pub(crate) fn new(kind: [u8; 4], version: u8) -> Self {
        let mut bytes = kind.to_vec();
        bytes.push(version);
        Self(bytes)
    }

    /// Seven bits a byte, the lowest first: counts are small mostly.
    pub(crate) fn count(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    pub(crate) fn size(&mut self, value: usize) {
        self.count(u64::try_from(value).unwrap_or(u64::MAX));
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub(crate) fn number(&mut self, value: f64) {
        self.0.extend(value.to_bits().to_le_bytes());
    }

    pub(crate) fn short(&mut self, value: f32) {
        self.0.extend(value.to_bits().to_le_bytes());
    }

    pub(crate) fn moment(&mut self, value: Moment) {
        self.count(value.as_millis());
    }

    /// A value that may be missing.
    pub(crate) fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// At most [`LONGEST_NAME`] bytes of it, whole characters.
    pub(crate) fn text(&mut self, value: &str) {
        let kept = &value[..value.floor_char_boundary(LONGEST_NAME)];
        self.size(kept.len());
        self.0.extend(kept.as_bytes());
    }

    /// The bytes, with their sum.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let sum = sum(&self.0);
        self.0.extend(sum.to_le_bytes());
        self.0
    }
}

/// Reads what [`Writer`] wrote.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], kind: [u8; 4], version: u8) -> Result<Self, Unreadable> {
        let (values, end) = bytes.split_last_chunk::<8>().ok_or(Unreadable::Short)?;
        let (head, values_behind) = values.split_first_chunk::<5>().ok_or(Unreadable::Short)?;
        if head[..4] != kind {
            return Err(Unreadable::Foreign);
        }
        if head[4] != version {
            return Err(Unreadable::Version(head[4]));
        }
        if sum(values) != u64::from_le_bytes(*end) {
            return Err(Unreadable::Broken);
        }
        Ok(Self(values_behind))
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        let (first, rest) = self.0.split_first().ok_or(Unreadable::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn count(&mut self) -> Result<u64, Unreadable> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            // The tenth byte has one bit of the 64.
            if shift == 63 && part > 1 {
                return Err(Unreadable::OutOfRange("a count"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unreadable::OutOfRange("a count"))
    }

    /// How many of something follow, at most `limit`.
    pub(crate) fn size(&mut self, limit: usize, what: &'static str) -> Result<usize, Unreadable> {
        let size = usize::try_from(self.count()?).map_err(|_| Unreadable::TooMany(what))?;
        if size > limit {
            return Err(Unreadable::TooMany(what));
        }
        Ok(size)
    }

    /// A count of at most `limit`.
    pub(crate) fn up_to(&mut self, limit: u64, what: &'static str) -> Result<u64, Unreadable> {
        let count = self.count()?;
        if count > limit {
            return Err(Unreadable::OutOfRange(what));
        }
        Ok(count)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Unreadable> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unreadable::OutOfRange("a yes or no")),
        }
    }

    /// A number from `least` to `most`.
    pub(crate) fn number(
        &mut self,
        least: f64,
        most: f64,
        what: &'static str,
    ) -> Result<f64, Unreadable> {
        let (bits, rest) = self.0.split_first_chunk::<8>().ok_or(Unreadable::Short)?;
        self.0 = rest;
        let value = f64::from_bits(u64::from_le_bytes(*bits));
        if (least..=most).contains(&value) {
            Ok(value)
        } else {
            Err(Unreadable::OutOfRange(what))
        }
    }

    pub(crate) fn short(
        &mut self,
        least: f32,
        most: f32,
        what: &'static str,
    ) -> Result<f32, Unreadable> {
        let (bits, rest) = self.0.split_first_chunk::<4>().ok_or(Unreadable::Short)?;
        self.0 = rest;
        let value = f32::from_bits(u32::from_le_bytes(*bits));
        if (least..=most).contains(&value) {
            Ok(value)
        } else {
            Err(Unreadable::OutOfRange(what))
        }
    }

    pub(crate) fn moment(&mut self) -> Result<Moment, Unreadable> {
        self.up_to(LATEST_MS, "a time").map(Moment::from_millis)
    }

    pub(crate) fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        if self.flag()? {
            read(self).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, Unreadable> {
        let size = self.size(LONGEST_NAME, "bytes of a name")?;
        let (text, rest) = self.0.split_at_checked(size).ok_or(Unreadable::Short)?;
        self.0 = rest;
        let text = std::str::from_utf8(text).map_err(|_| Unreadable::OutOfRange("a name"))?;
        Ok(text.to_owned())
    }

    pub(crate) fn finish(self) -> Result<(), Unreadable> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Unreadable::Long)
        }
    }
}

/// FNV-1a, 64 bits.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
