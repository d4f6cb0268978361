//! Owns the grammar of chunk extensions (RFC 9112 section 7.1.1), byte by byte. What they mean is nobody's to know here, but where they
//! end must be: a quote that is open at the line's end is read on by some and ended by others.
//!
//! ```text
//! Begin -token-> Name -'='-> Value -token-> Token     -';'-> Begin
//!                                  -'"'---> Quoted -'"'-> Closed -';'-> Begin        ended: Name, Token, Closed
//! ```
//! Spaces and tabs may stand around `;` and `=`, not at the end.

use crate::bytes::is_token;

/// Where in an extension a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    /// Behind `;`.
    Begin,
    /// Within a name.
    Name,
    /// Behind a name and a space.
    AfterName,
    /// Behind `=`.
    Value,
    /// Within a value without quotes.
    Token,
    /// Within quotes.
    Quoted,
    /// Behind a backslash within quotes.
    Escaped,
    /// Behind quotes.
    Closed,
    /// Behind a value and a space.
    AfterValue,
}

impl Extension {
    /// The place behind one more byte; none: it may not stand here.
    pub(super) fn next(self, byte: u8) -> Option<Self> {
        let blank = matches!(byte, b' ' | b'\t');
        let token = is_token(&[byte]);
        let visible = blank || byte.is_ascii_graphic();
        match (self, byte) {
            (Self::Quoted, b'"') => Some(Self::Closed),
            (Self::Quoted, b'\\') => Some(Self::Escaped),
            (Self::Quoted | Self::Escaped, _) => visible.then_some(Self::Quoted),
            (Self::Begin | Self::Value, _) if blank => Some(self),
            (Self::Begin | Self::Name, _) if token => Some(Self::Name),
            (Self::Name | Self::AfterName, b'=') => Some(Self::Value),
            (Self::Name | Self::AfterName, _) if blank => Some(Self::AfterName),
            (Self::Value, b'"') => Some(Self::Quoted),
            (Self::Value | Self::Token, _) if token => Some(Self::Token),
            (Self::Token | Self::Closed | Self::AfterValue, _) if blank => Some(Self::AfterValue),
            (
                Self::Name | Self::AfterName | Self::Token | Self::Closed | Self::AfterValue,
                b';',
            ) => Some(Self::Begin),
            _ => None,
        }
    }

    /// Whether the line may end here.
    pub(super) const fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Token | Self::Closed)
    }
}
