//! Owns tokens: 256 bits of chance, shown once, of which a digest is kept. A secret of that length needs no slow hash: nobody guesses it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256, digest};
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

/// A SHA-256: of a token, of what is not kept whole.
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

    /// That of some texts, each as far as it goes.
    pub(crate) fn of_all<const N: usize>(texts: [&[u8]; N]) -> Self {
        let mut context = Context::new(&SHA256);
        for text in texts {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    /// One that a configuration has.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
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

/// A text without what stands behind the mark of a token: who sends one in the wrong place finds it in no log.
pub(crate) fn veiled(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let lower = text.to_ascii_lowercase();
    while let Some(begin) = lower[text.len() - rest.len()..].find(PREFIX) {
        let behind = &rest[begin + PREFIX.len()..];
        let is_digit = |char: char| char.is_ascii_hexdigit();
        let secret = behind.find(|char| !is_digit(char)).unwrap_or(behind.len());
        out.push_str(&rest[..begin]);
        out.push_str(PREFIX);
        out.push_str("(not shown)");
        rest = &behind[secret..];
    }
    out.push_str(rest);
    out
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
    fn digests_are_those_of_the_standard() {
        // The example of FIPS 180-4.
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of("abc").to_string(), text);
        let mut bytes = Digest::of("abc").0;
        assert!(Digest::new(bytes).is(&Digest::of("abc")));
        for at in 0..32 {
            bytes[at] ^= 1;
            assert!(!Digest::new(bytes).is(&Digest::of("abc")), "{at}");
            bytes[at] ^= 1;
        }
    }

    #[test]
    fn a_token_in_a_text_is_not_shown() {
        let token = Token::make().unwrap().shown();
        for (text, expect) in [
            (format!("/v1/{token}/x"), "/v1/keel_(not shown)/x"),
            (
                format!("{token}{token}"),
                "keel_(not shown)keel_(not shown)",
            ),
            (token.to_uppercase(), "keel_(not shown)"),
            ("keel_".into(), "keel_(not shown)"),
            (
                "/v1/services/keel/backends".into(),
                "/v1/services/keel/backends",
            ),
        ] {
            assert_eq!(veiled(&text), expect);
        }
    }
}
