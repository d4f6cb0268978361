//! Owns who is known: files of tokens, `identities:`, and what each may do.
//!
//! What is wrong with a file of tokens is said where the configuration names it, with the place in that file, and without a value of it: who
//! writes a token where its digest goes is not to find it in a log.

use std::collections::HashSet;
use std::sync::Arc;

use crate::keys::{IDENTITY, TOKEN};
use crate::limits;
use crate::lower::{named, tls};
use crate::nearest::nearest;
use crate::plan::admin::{CertificateBy, HolderPlan, IdentityPlan, Scopes, TokenPlan, TokensPlan};
use crate::problem::Severity;
use crate::read::{Fields, Reading, Scalar, units};
use crate::tree::{self, Node};

/// `tokens: tokens.yaml`
pub(super) fn tokens(reading: &Reading, node: &Node) -> Option<TokensPlan> {
    let file = tls::material(reading, node)?;
    let name = file.path.display();
    let Ok(text) = std::str::from_utf8(&file.bytes) else {
        reading.error(node.at, "tokens", format!("{name}: this is no text"));
        return None;
    };
    let mut problems = Vec::new();
    let tree = tree::parse(0, text, &mut problems).filter(|tree| !tree.is_null());
    let within = reading.of_another(problems);
    let tokens = tree.as_ref().map(|tree| list(&within, tree));
    let problems = within.into_problems();
    if tokens.as_ref().is_none_or(Vec::is_empty) && problems.is_empty() {
        // A file that was emptied by mistake would shut everybody out.
        let message = "no tokens stand here; `evenkeel token create` makes one";
        reading.error(node.at, "empty", format!("{name}: {message}"));
        return None;
    }
    let errors = problems.iter().any(|one| one.severity == Severity::Error);
    for one in problems {
        let message = format!("{name}:{}:{}: {}", one.at.line, one.at.column, one.message);
        match one.severity {
            Severity::Error => reading.error(node.at, one.word, message),
            Severity::Warning => reading.warning(node.at, one.word, message),
        }
    }
    let tokens = tokens.filter(|_| !errors)?;
    Some(TokensPlan { file, tokens })
}

fn list(reading: &Reading, tree: &Node) -> Vec<TokenPlan> {
    let items = reading.items(tree);
    let what = format!("{} tokens", limits::TOKENS);
    let items = reading.first(items, limits::TOKENS, |node| node.at, &what);
    let (mut names, mut digests) = (HashSet::new(), HashSet::new());
    let mut tokens = Vec::new();
    for item in items {
        let Some(fields) = reading.map(item, &TOKEN) else {
            continue;
        };
        let holder = holder(&fields, |name| !names.insert(name.to_owned()));
        if fields.get("sha256").is_none() {
            let message = "`sha256` is missing: `evenkeel token create` writes the whole line";
            reading.error(fields.at, "missing", message);
        }
        let sha256 = fields.get("sha256").and_then(|node| {
            let digest = reading.parsed(node, "sha256", digest)?;
            if !digests.insert(digest) {
                let message = "this token stands twice: each has one name";
                reading.error(node.at, "sha256", message);
            }
            Some(digest)
        });
        fields.done();
        tokens.extend(
            sha256
                .zip(holder)
                .map(|(sha256, holder)| TokenPlan { sha256, holder }),
        );
    }
    tokens
}

/// The bytes of 64 hexadecimal digits. What stands there instead is not told back.
fn digest(written: &Scalar) -> Result<[u8; 32], String> {
    let wrong = || {
        let what = match written.value().starts_with("keel_") {
            true => {
                "this is a token itself, which nothing keeps: take it for known to others, and make another"
            }
            false => "a digest has 64 hexadecimal digits",
        };
        format!("{what}; `evenkeel token create` writes the whole line")
    };
    let (pairs, rest) = written.value().as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return Err(wrong());
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        let value = high.zip(low).map(|(high, low)| high * 16 + low);
        *byte = value
            .and_then(|value| u8::try_from(value).ok())
            .ok_or_else(wrong)?;
    }
    Ok(bytes)
}

/// `identities:`; these names are taken.
pub(super) fn identities(reading: &Reading, node: &Node, taken: &[&str]) -> Vec<IdentityPlan> {
    let items = reading.items(node);
    let what = format!("{} identities", limits::IDENTITIES);
    let items = reading.first(items, limits::IDENTITIES, |node| node.at, &what);
    if items.is_empty() {
        reading.error(
            node.at,
            "missing",
            "nobody stands here: leave it out, or say who",
        );
    }
    let mut names: HashSet<String> = taken.iter().map(|name| (*name).to_owned()).collect();
    let mut identities = Vec::new();
    for item in items {
        let Some(fields) = reading.map(item, &IDENTITY) else {
            continue;
        };
        let holder = holder(&fields, |name| !names.insert(name.to_owned()));
        let certificate = certificate(&fields);
        fields.done();
        let both = certificate.zip(holder);
        identities.extend(both.map(|(certificate, holder)| IdentityPlan {
            certificate,
            holder,
        }));
    }
    identities
}

/// By what of its certificate.
fn certificate(fields: &Fields<'_>) -> Option<CertificateBy> {
    type Read = fn(&Scalar) -> Result<CertificateBy, String>;
    let all: [(&'static str, Read); 3] = [
        ("subject", |text| {
            tls::plain(text, "subject")?;
            Ok(CertificateBy::Subject(text.value().into()))
        }),
        ("san", |text| {
            tls::plain(text, "alternative name")?;
            Ok(CertificateBy::San(text.value().into()))
        }),
        ("fingerprint", |text| {
            tls::fingerprint(text).map(CertificateBy::Fingerprint)
        }),
    ];
    let given = all.iter().filter(|(key, _)| fields.stands(key).is_some());
    if given.count() != 1 {
        let message = "by one of `subject`, `san` and `fingerprint` a certificate is known";
        fields.reading.error(fields.at, "identity", message);
    }
    let read = all.map(|(key, parse)| {
        fields.with(key, |reading, node| reading.parsed(node, "identity", parse))
    });
    read.into_iter().flatten().next()
}

/// Who it is, and what it may do. `is_taken` notes a name.
fn holder(fields: &Fields<'_>, mut is_taken: impl FnMut(&str) -> bool) -> Option<HolderPlan> {
    let reading = fields.reading;
    for key in ["name", "scopes"] {
        if fields.get(key).is_none() {
            let message = format!("`{key}` is missing here");
            reading.error(fields.at, "missing", message);
        }
    }
    let name = fields.get("name").and_then(|node| {
        let text = reading.text(node)?;
        if named::name(text.value()).is_err() {
            let message = "a name has 1 to 64 letters, digits, `-`, `_` and `.`";
            reading.error(node.at, "name", message);
        } else if is_taken(text.value()) {
            let message = format!("`{text}` stands twice: logs would not tell one from the other");
            reading.error(node.at, "duplicate_name", message);
        }
        Some(Arc::from(text.value()))
    });
    let scopes = fields.with("scopes", scopes);
    let until = fields.with("until", |reading, node| {
        reading.parsed(node, "until", units::date)
    });
    Some(HolderPlan {
        name: name?,
        scopes: scopes?,
        until,
    })
}

fn scopes(reading: &Reading, node: &Node) -> Option<Scopes> {
    let items = reading.items(node);
    if items.is_empty() {
        reading.error(node.at, "scopes", "who may do nothing needs no line");
    }
    let word = |text: &Scalar| {
        Scopes::parse(text.value()).ok_or_else(|| {
            let known = Scopes::words();
            match nearest(known.iter().map(String::as_str), text.value()) {
                Some(near) => format!("`{text}` is no scope; did you mean `{near}`?"),
                None => format!("`{text}` is no scope: {}", known.join(", ")),
            }
        })
    };
    let mut all = Scopes::NONE;
    for item in items {
        all = all.and(reading.parsed(item, "scopes", word)?);
    }
    Some(all)
}
