//! Owns who may do what: tokens and certificates, whose they are, what each page takes, and whether what was shown is enough. Pure: what
//! is known, what was sent and what time it is come in; `gate` asks it.
//!
//! No secret is kept: of a token its SHA-256 is known, and it is compared in the same time whatever it is.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::plan::admin::{AdminPlan, CertificateBy, HolderPlan, Scopes};

/// What is kept of a token.
pub mod token;

/// What each page takes.
pub(crate) mod table;

/// How often an address may fail.
pub(crate) mod failures;

pub use token::{Digest, Token};

use table::Need;

/// The longest token that is looked at.
const TOKEN_MOST: usize = 256;

/// What a client has shown in its handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) subject: &'a str,
    /// Its alternative names, with commas between; none has one.
    pub(crate) names: &'a str,
    pub(crate) fingerprint: &'a str,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Neither a token nor a certificate was shown.
    Nothing,
    /// What was shown is no token: another scheme, bytes that no token has, or several.
    Malformed,
    /// Nobody has this token.
    Unknown,
    /// Nobody is known by this certificate.
    Stranger,
    /// Its time is over.
    Expired,
}

/// Everybody who is known.
#[derive(Debug, Default)]
pub(crate) struct Access {
    tokens: Vec<(Digest, Arc<HolderPlan>)>,
    identities: Vec<(CertificateBy, Arc<HolderPlan>)>,
}

impl Access {
    /// Of a plan.
    pub(crate) fn of(plan: &AdminPlan) -> Self {
        let tokens = plan.tokens.iter().flat_map(|file| &file.tokens);
        let identities = plan.identities.iter();
        Self {
            tokens: tokens
                .map(|one| (Digest::new(one.sha256), Arc::new(one.holder.clone())))
                .collect(),
            identities: identities
                .map(|one| (one.certificate.clone(), Arc::new(one.holder.clone())))
                .collect(),
        }
    }

    /// Whose this proof is at `now`, since 1970. Cost: a look at each holder, whoever it is.
    ///
    /// # Errors
    /// Why it is nobody's.
    pub(crate) fn whose(
        &self,
        proof: Proof,
        shown: Option<Shown<'_>>,
        now: Duration,
    ) -> Result<&Arc<HolderPlan>, Denied> {
        let holder = match (proof, shown) {
            (Proof::Token(digest), _) => self.holder(&digest)?,
            (Proof::Certificate, Some(shown)) => self.identity(shown)?,
            // Where somebody is asked, neither a socket's file nor this machine is enough.
            _ => return Err(Denied::Nothing),
        };
        match holder.until.is_some_and(|until| now >= until) {
            true => Err(Denied::Expired),
            false => Ok(holder),
        }
    }

    fn holder(&self, shown: &Digest) -> Result<&Arc<HolderPlan>, Denied> {
        // No early end: how long it takes says nothing of where in the list, or whether, it was found.
        let found =
            self.tokens
                .iter()
                .fold(None, |found, (digest, holder)| match digest.is(shown) {
                    true => Some(holder),
                    false => found,
                });
        found.ok_or(Denied::Unknown)
    }

    fn identity(&self, shown: Shown<'_>) -> Result<&Arc<HolderPlan>, Denied> {
        let is_it = |by: &CertificateBy| match by {
            CertificateBy::Subject(subject) => **subject == *shown.subject,
            CertificateBy::Fingerprint(fingerprint) => **fingerprint == *shown.fingerprint,
            CertificateBy::San(san) => {
                let mut names = shown.names.split(',');
                names.any(|name| match san.starts_with("DNS:") {
                    true => name.eq_ignore_ascii_case(san),
                    false => *name == **san,
                })
            }
        };
        let found = self.identities.iter().find(|(by, _)| is_it(by));
        found.map(|(_, holder)| holder).ok_or(Denied::Stranger)
    }
}

/// By what somebody is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// By a token of this digest.
    Token(Digest),
    /// By the certificate of its connection.
    Certificate,
    /// It came through a Unix socket, which it may write.
    Socket,
    /// It is on this machine, and nobody is asked who it is.
    Loopback,
}

impl Proof {
    /// Its word, in logs.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Certificate => "certificate",
            Self::Socket => "socket",
            Self::Loopback => "loopback",
        }
    }
}

/// What is shown by the values of `Authorization` fields, or else by a certificate: who shows both means the token. Cost: a digest.
///
/// # Errors
/// Why it proves nothing.
pub(crate) fn proof<'v>(
    fields: impl IntoIterator<Item = &'v [u8]>,
    has_certificate: bool,
) -> Result<Proof, Denied> {
    match bearer(fields) {
        Ok(token) => Ok(Proof::Token(Digest::of(token))),
        Err(Denied::Nothing) if has_certificate => Ok(Proof::Certificate),
        Err(why) => Err(why),
    }
}

/// The word of the first of these scopes that somebody lacks. None: it may.
pub(crate) fn lacks(has: Scopes, need: Need) -> Option<String> {
    let Need::All(scopes) = need else { return None };
    let missing = scopes.iter().find(|(area, verb)| !has.has(*area, *verb));
    missing.map(|(area, verb)| Scopes::word(*area, *verb))
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
    use evenkeel_config::plan::admin::{Area, Role, Verb};

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn known() -> Access {
        let holder = |name: &str, role: Role, until: Option<u64>| {
            Arc::new(HolderPlan {
                name: name.into(),
                scopes: role.scopes(),
                until: until.map(Duration::from_secs),
            })
        };
        let token = |name: &str, role, until| {
            let digest = Digest::of(&format!("{name}-token"));
            (digest, holder(name, role, until))
        };
        Access {
            tokens: vec![
                token("viewer", Role::Viewer, None),
                token("operator", Role::Operator, Some(1_001)),
                token("former", Role::Admin, Some(1_000)),
            ],
            identities: vec![
                (
                    CertificateBy::Subject("CN=a,O=b".into()),
                    holder("a", Role::Admin, None),
                ),
                (
                    CertificateBy::San("DNS:B.example".into()),
                    holder("b", Role::Admin, None),
                ),
                (
                    CertificateBy::San("URI:spiffe://k/c".into()),
                    holder("c", Role::Viewer, None),
                ),
                (
                    CertificateBy::Fingerprint("ab12".into()),
                    holder("d", Role::Admin, Some(1)),
                ),
            ],
        }
    }

    #[track_caller]
    fn check(fields: &[&str], shown: Option<Shown<'_>>, expect: Result<(&str, &str), Denied>) {
        let known = known();
        let fields = fields.iter().map(|field| field.as_bytes());
        let proof = proof(fields, shown.is_some());
        let got = proof.and_then(|by| Ok((known.whose(by, shown, NOW)?, by)));
        assert_eq!(got.map(|(holder, by)| (&*holder.name, by.word())), expect);
    }

    #[test]
    fn a_token_that_is_known_is_somebodys() {
        check(&["Bearer viewer-token"], None, Ok(("viewer", "token")));
        check(&["bEARER   viewer-token "], None, Ok(("viewer", "token")));
        check(&["Bearer operator-token"], None, Ok(("operator", "token")));
        check(&["Bearer former-token"], None, Err(Denied::Expired));
        check(&["Bearer viewer-toke"], None, Err(Denied::Unknown));
        check(&["Bearer viewer-token0"], None, Err(Denied::Unknown));
        check(&[], None, Err(Denied::Nothing));
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
            check(&[field], None, Err(Denied::Malformed));
        }
        let two = ["Bearer viewer-token", "Bearer viewer-token"];
        check(&two, None, Err(Denied::Malformed));
        let bytes: [&[u8]; 1] = [b"Bearer \xff"];
        let access = known();
        let got = proof(bytes, false).and_then(|by| access.whose(by, None, NOW).map(|_| ()));
        assert_eq!(got, Err(Denied::Malformed));
    }

    #[test]
    fn a_certificate_is_known_by_what_the_plan_says_of_it() {
        let nobody = Shown {
            subject: "CN=x",
            names: "DNS:x.example",
            fingerprint: "00",
        };
        let of = |subject, names, fingerprint| {
            Some(Shown {
                subject,
                names,
                fingerprint,
            })
        };
        let certificate = |name| Ok((name, "certificate"));
        check(&[], Some(nobody), Err(Denied::Stranger));
        check(&[], of("CN=a,O=b", "", "00"), certificate("a"));
        check(&[], of("cn=a,O=b", "", "00"), Err(Denied::Stranger));
        check(&[], of("", "DNS:x,DNS:b.EXAMPLE", "00"), certificate("b"));
        check(
            &[],
            of("", "DNS:b.example.org", "00"),
            Err(Denied::Stranger),
        );
        check(&[], of("", "URI:spiffe://k/c", "00"), certificate("c"));
        check(&[], of("", "URI:spiffe://K/c", "00"), Err(Denied::Stranger));
        check(&[], of("", "", "ab12"), Err(Denied::Expired));
        // A token says more than the connection that it comes by.
        let a = of("CN=a,O=b", "", "00");
        check(&["Bearer viewer-token"], a, Ok(("viewer", "token")));
        check(&["Bearer other"], a, Err(Denied::Unknown));
        check(&["Basic eA=="], a, Err(Denied::Malformed));
    }

    #[test]
    fn nobody_is_known_where_nobody_is() {
        let fields: [&[u8]; 1] = [b"Bearer viewer-token"];
        let access = Access::default();
        let shown = proof(fields, false).unwrap();
        for (proof, expect) in [
            (shown, Denied::Unknown),
            (Proof::Certificate, Denied::Nothing),
            (Proof::Socket, Denied::Nothing),
            (Proof::Loopback, Denied::Nothing),
        ] {
            assert_eq!(access.whose(proof, None, NOW), Err(expect), "{proof:?}");
        }
    }

    /// Each scope by itself against each row of the table, and each role.
    #[test]
    fn every_page_by_every_scope_and_verb() {
        let mut allowed = 0;
        for (method, path, need) in table::TABLE {
            let asked = match need {
                Need::Open | Need::Known => &[][..],
                Need::All(scopes) => scopes,
            };
            for area in Area::ALL {
                for verb in Verb::ALL {
                    let one = Scopes::NONE.with(area, verb);
                    let is_all = asked.iter().all(|scope| *scope == (area, verb));
                    let lack = lacks(one, *need);
                    assert_eq!(lack.is_none(), is_all, "{method} {path} {one}");
                    allowed += usize::from(is_all);
                    // All but this one are not enough where it is asked for.
                    let all = Area::ALL
                        .into_iter()
                        .flat_map(|area| Verb::ALL.map(|verb| (area, verb)));
                    let others = all.filter(|scope| *scope != (area, verb));
                    let others =
                        others.fold(Scopes::NONE, |has, (area, verb)| has.with(area, verb));
                    let expect = asked.contains(&(area, verb)).then(|| one.to_string());
                    assert_eq!(lacks(others, *need), expect, "{method} {path}");
                }
            }
            for role in Role::ALL {
                let may = asked.iter().all(|(area, verb)| match role {
                    Role::Admin => true,
                    Role::Operator => {
                        *verb == Verb::Read
                            || !matches!(area, Area::Performance | Area::Configuration)
                    }
                    Role::Viewer => *verb == Verb::Read,
                });
                let lack = lacks(role.scopes(), *need);
                assert_eq!(lack.is_none(), may, "{method} {path} {}", role.word());
            }
        }
        assert!(allowed > 60, "{allowed}");
    }
}
