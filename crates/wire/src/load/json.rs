//! Owns a report as protobuf's JSON: one object, both spellings of its names, numbers also in quotes.
//!
//! Strict where it matters and no further: what is passed over must still be JSON, nested eight deep at most. Names with escapes in
//! them are nobody's.

use std::sync::Arc;

use super::{Filling, Map, Number, Report, Unread, bounded};

/// How deep what is passed over may be nested.
const DEPTH_MOST: u32 = 8;

pub(super) fn read(bytes: &[u8], chosen: &[Arc<str>]) -> Result<Report, Unread> {
    let (mut rest, mut filling) = (Rest(bytes), Filling::new(chosen));
    rest.members(|rest, name| {
        let map = Map::of(name).filter(|_| rest.peek() == Some(b'{'));
        match (Number::of(name), map) {
            (Some(number), _) => match rest.number()? {
                Some(value) => filling.number(Some(number), value),
                None => Ok(()),
            },
            (_, Some(map)) => rest.members(|rest, key| match rest.number()? {
                Some(value) => filling.metric(Some(map), key, value),
                None => Ok(()),
            }),
            _ => rest.pass(DEPTH_MOST),
        }
    })?;
    match rest.peek() {
        None => Ok(filling.report),
        Some(_) => Err(Unread::Syntax),
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        let space = |byte: &u8| b" \t\r\n".contains(byte);
        let spaces = self.0.iter().take_while(|byte| space(byte)).count();
        self.0 = &self.0[spaces..];
        self.0.first().copied()
    }

    /// Takes the next byte, if it is this one.
    fn takes(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        if here {
            self.0 = &self.0[1..];
        }
        here
    }

    fn must(&mut self, byte: u8) -> Result<(), Unread> {
        match self.takes(byte) {
            true => Ok(()),
            false => Err(Unread::Syntax),
        }
    }

    /// An object: `each` is given the name of a member, and takes its value.
    fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, &'a [u8]) -> Result<(), Unread>,
    ) -> Result<(), Unread> {
        self.must(b'{')?;
        if self.takes(b'}') {
            return Ok(());
        }
        loop {
            let name = self.text()?;
            self.must(b':')?;
            each(self, name)?;
            if !self.takes(b',') {
                return self.must(b'}');
            }
        }
    }

    /// A text, as it is written between its quotes.
    fn text(&mut self) -> Result<&'a [u8], Unread> {
        self.must(b'"')?;
        let mut escaped = false;
        for (at, &byte) in self.0.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    let text = &self.0[..at];
                    self.0 = &self.0[at + 1..];
                    return Ok(text);
                }
                0..=0x1F => return Err(Unread::Syntax),
                _ => {}
            }
        }
        Err(Unread::Syntax)
    }

    /// A number, in quotes or not. None: `null`, which says nothing.
    fn number(&mut self) -> Result<Option<f64>, Unread> {
        match self.peek() {
            Some(b'"') => {
                // `"NaN"` and `"Infinity"`, as protobuf writes them, are no numbers here.
                let text = self.text()?;
                let (value, behind) = digits(text).ok_or(Unread::Number)?;
                match behind {
                    0 => Ok(Some(bounded(value)?)),
                    _ => Err(Unread::Number),
                }
            }
            Some(b'n') => self.word(b"null").map(|()| None),
            Some(b'-' | b'0'..=b'9') => {
                let (value, behind) = digits(self.0).ok_or(Unread::Syntax)?;
                self.0 = &self.0[self.0.len() - behind..];
                Ok(Some(bounded(value)?))
            }
            _ => Err(Unread::Syntax),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Unread> {
        self.0 = self.0.strip_prefix(word).ok_or(Unread::Syntax)?;
        Ok(())
    }

    /// Passes over any value.
    fn pass(&mut self, depth: u32) -> Result<(), Unread> {
        let deeper = depth.checked_sub(1).ok_or(Unread::Syntax)?;
        match self.peek() {
            Some(b'{') => self.members(|rest, _| rest.pass(deeper)),
            Some(b'[') => {
                self.must(b'[')?;
                if self.takes(b']') {
                    return Ok(());
                }
                loop {
                    self.pass(deeper)?;
                    if !self.takes(b',') {
                        return self.must(b']');
                    }
                }
            }
            Some(b'"') => self.text().map(drop),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => {
                let (_, behind) = digits(self.0).ok_or(Unread::Syntax)?;
                self.0 = &self.0[self.0.len() - behind..];
                Ok(())
            }
        }
    }
}

/// The number at the begin of a text, and how many bytes stand behind it (RFC 8259 section 6).
fn digits(text: &[u8]) -> Option<(f64, usize)> {
    let run = |from: usize| {
        let behind = text.get(from..).unwrap_or_default();
        behind
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut end = usize::from(text.first() == Some(&b'-'));
    let whole = run(end);
    // No digit, or a zero in front of others.
    if whole == 0 || whole > 1 && text[end] == b'0' {
        return None;
    }
    end += whole;
    if text.get(end) == Some(&b'.') {
        let fraction = run(end + 1);
        end += 1 + fraction;
        (fraction > 0).then_some(())?;
    }
    if let Some(b'e' | b'E') = text.get(end) {
        end += 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = run(end);
        end += exponent;
        (exponent > 0).then_some(())?;
    }
    let number = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((number, text.len() - end))
}
