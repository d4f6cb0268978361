//! Owns who may do what: tokens, what they are for, and whether one that was shown is enough. Pure: what is known, what was sent and what
//! time it is come in.
//!
//! Nobody asks it yet: addresses beyond loopback change nothing (`contract::changes`). No secret is kept: of a token its SHA-256 is
//! known, and it is compared in the same time whatever it is.

use std::time::Duration;

/// What is kept of a token.
pub mod token;


pub use evenkeel_config::plan::admin::{Area, Role, Scopes, Verb};
pub use token::{Digest, Token};

/// The longest token that is looked at.
const TOKEN_MOST: usize = 256;

/// Somebody who is known by a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name that logs have of it.
    pub name: String,
    /// Of its token.
    pub digest: Digest,
    /// What it may do.
    pub scopes: Scopes,
    /// Until when, since 1970. None: for ever.
    pub until: Option<Duration>,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No token was shown.
    Nothing,
    /// What was shown is none: another scheme, bytes that no token has, or several.
    Malformed,
    /// Nobody has this token.
    Unknown,
    /// Its time is over.
    Expired,
    /// It is for something else.
    Scope,
}

impl Denied {
    /// The word of it, in answers and logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "no_token",
            Self::Malformed => "malformed_token",
            Self::Unknown => "unknown_token",
            Self::Expired => "expired_token",
            Self::Scope => "not_allowed",
        }
    }
}

/// Everybody who is known.
#[derive(Clone, Debug, Default)]
pub struct Access {
    holders: Vec<Holder>,
}

impl Access {
    /// Of these.
    #[must_use]
    pub const fn new(holders: Vec<Holder>) -> Self {
        Self { holders }
    }

    /// Who asks, by the values of its `Authorization` fields, if it may do this at `now`, since 1970. Cost: a digest, and a look at each
    /// holder, whoever it is.
    ///
    /// # Errors
    /// Why it may not.
    pub fn allows<'v>(
        &self,
        fields: impl IntoIterator<Item = &'v [u8]>,
        area: Area,
        verb: Verb,
        now: Duration,
    ) -> Result<&Holder, Denied> {
        let holder = self.holder(bearer(fields)?)?;
        if holder.until.is_some_and(|until| now >= until) {
            return Err(Denied::Expired);
        }
        match holder.scopes.has(area, verb) {
            true => Ok(holder),
            false => Err(Denied::Scope),
        }
    }

    fn holder(&self, token: &str) -> Result<&Holder, Denied> {
        let shown = Digest::of(token);
        // No early end: how long it takes says nothing of where in the list, or whether, it was found.
        let found =
            self.holders
                .iter()
                .fold(None, |found, holder| match holder.digest.is(&shown) {
                    true => Some(holder),
                    false => found,
                });
        found.ok_or(Denied::Unknown)
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
fn bearer<'v>(fields: impl IntoIterator<Item = &'v [u8]>) -> Result<&'v str, Denied> {
    let mut fields = fields.into_iter();
    let field = fields.next().ok_or(Denied::Nothing)?;
    // Two that differ would be read differently by others.
    if fields.next().is_some() {
        return Err(Denied::Malformed);
    }
    let text = std::str::from_utf8(field).map_err(|_| Denied::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Denied::Malformed)?;
    let token = token.trim_matches(' ');
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let is_token = (1..=TOKEN_MOST).contains(&token.len()) && token.bytes().all(may);
    match scheme.eq_ignore_ascii_case("bearer") && is_token {
        true => Ok(token),
        false => Err(Denied::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn known() -> Access {
        let holder = |name: &str, role: Role, until: Option<u64>| Holder {
            name: name.into(),
            digest: Digest::of(&format!("{name}-token")),
            scopes: role.scopes(),
            until: until.map(Duration::from_secs),
        };
        Access::new(vec![
            holder("viewer", Role::Viewer, None),
            holder("operator", Role::Operator, Some(1_001)),
            holder("former", Role::Admin, Some(1_000)),
        ])
    }

    #[track_caller]
    fn check(fields: &[&str], (area, verb): (Area, Verb), expect: Result<&str, Denied>) {
        let known = known();
        let fields = fields.iter().map(|field| field.as_bytes());
        let got = known.allows(fields, area, verb, NOW);
        assert_eq!(got.map(|holder| &*holder.name), expect);
    }

    #[test]
    fn a_token_that_is_known_is_for_what_it_is_for() {
        let (read, write) = ((Area::Backends, Verb::Read), (Area::Backends, Verb::Write));
        check(&["Bearer viewer-token"], read, Ok("viewer"));
        check(&["bEARER   viewer-token "], read, Ok("viewer"));
        check(&["Bearer viewer-token"], write, Err(Denied::Scope));
        check(&["Bearer operator-token"], write, Ok("operator"));
        check(
            &["Bearer operator-token"],
            (Area::Configuration, Verb::Write),
            Err(Denied::Scope),
        );
        check(&["Bearer former-token"], read, Err(Denied::Expired));
        check(&["Bearer viewer-toke"], read, Err(Denied::Unknown));
        check(&["Bearer viewer-token0"], read, Err(Denied::Unknown));
        check(&[], read, Err(Denied::Nothing));
    }

    #[test]
    fn what_is_no_token_is_not_looked_up() {
        let long = format!("Bearer {}", "a".repeat(257));
        for field in [
            "",
            "Bearer",
            "Bearer ",
            "Basic dmlld2VyLXRva2Vu",
            "viewer-token",
            "Bearer viewer token",
            "Bearer \u{e4}",
            "Bearer a\0",
            &long,
        ] {
            check(&[field], (Area::Health, Verb::Read), Err(Denied::Malformed));
        }
        let two = ["Bearer viewer-token", "Bearer viewer-token"];
        check(&two, (Area::Health, Verb::Read), Err(Denied::Malformed));
        let bytes: [&[u8]; 1] = [b"Bearer \xff"];
        let got = known()
            .allows(bytes, Area::Health, Verb::Read, NOW)
            .cloned();
        assert_eq!(got, Err(Denied::Malformed));
    }

    #[test]
    fn nobody_is_known_where_nobody_is() {
        let fields: [&[u8]; 1] = [b"Bearer viewer-token"];
        let got = Access::default()
            .allows(fields, Area::Health, Verb::Read, NOW)
            .cloned();
        assert_eq!(got, Err(Denied::Unknown));
    }
}
