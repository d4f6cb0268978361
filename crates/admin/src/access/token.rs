//! Owns tokens: 256 bits of chance, shown once, of which a digest is kept. A secret of that length needs no slow hash: nobody guesses it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;

/// What it begins with, so that people and scanners of texts know one.
const PREFIX: &str = "keel_";

/// A token that was just made. It is not shown by accident: not in logs, nor where it is debugged.
pub struct Token(String);

impl Token {
    /// Another one. None: the system has no chance to give.
    #[must_use]
    pub fn make() -> Option<Self> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).ok()?;
        Some(Self(format!("{PREFIX}{}", hex(&secret))))
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// The token itself, for whoever it is for; once.
    #[must_use]
    pub fn shown(self) -> String {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of this token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    /// As a configuration has it: 64 hexadecimal digits. None: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            *byte = u8::try_from(high? * 16 + low?).ok()?;
        }
        Some(Self(bytes))
    }

    /// Whether it is the same; takes as long whatever differs.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest_alone() {
        let (one, other) = (Token::make().unwrap(), Token::make().unwrap());
        assert_eq!(format!("{one:?}"), "Token");
        let (digest, strange) = (one.digest(), other.digest());
        let (one, other) = (one.shown(), other.shown());
        assert_ne!(one, other);
        assert_eq!(one.len(), PREFIX.len() + 64);
        assert!(digest.is(&Digest::of(&one)) && !digest.is(&strange));
        assert!(!digest.to_string().contains(&one[PREFIX.len()..]));
    }

    #[test]
    fn digests_are_read_as_they_are_written() {
        // The example of FIPS 180-4.
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of("abc").to_string(), text);
        assert_eq!(Digest::parse(text), Some(Digest::of("abc")));
        assert_eq!(Digest::parse(&text.to_uppercase()), Some(Digest::of("abc")));
        let long = format!("{text}0");
        let strange = text.replace('b', "g");
        let wide = text.replacen("ba", "\u{e4}", 1);
        let signed = text.replacen("ba", "+a", 1);
        for other in [
            "",
            &text[1..],
            &text[2..],
            &long,
            &format!("{text}00"),
            &strange,
            &wide,
            &signed,
        ] {
            assert_eq!(Digest::parse(other), None, "{other}");
        }
    }
}
