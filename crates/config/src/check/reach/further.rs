//! Owns which conditions beyond host, path and method follow from others. Sound, not complete, as all of `reach`.

use super::{Atom, bytes, glob, host, includes, path};
use crate::plan::{CertificatePart, Certified, Conditions, Further, Named, Parameter, TextPattern};

/// What comparing costs at most: each value of the one with each of the other.
pub(super) fn price(rule: &[Further], earlier: &[Further]) -> usize {
    match earlier.is_empty() {
        true => 0,
        false => size(rule).saturating_mul(size(earlier)),
    }
}

fn size(further: &[Further]) -> usize {
    let one = |one: &Further| match one {
        Further::Hosts(_) | Further::Peer(_) | Further::Client(_) => 1,
        Further::Header(named) | Further::Cookie(named) => named.values.len(),
        Further::Certificate(certified) => certified.values.len(),
        Further::Query(any) => any.iter().flatten().map(|one| one.values.len()).sum(),
        Further::Not(none) => none
            .iter()
            .map(|when| {
                when.hosts.len() + when.paths.len() + when.methods.len() + size(&when.further)
            })
            .sum(),
    };
    1 + further.iter().map(one).sum::<usize>()
}

/// Whether each of the earlier conditions holds wherever all of these do.
pub(super) fn imply(these: &[Further], earlier: &[Further]) -> bool {
    let follows = |one: &Further| these.iter().any(|this| implies(this, one));
    earlier.iter().all(follows)
}

fn implies(this: &Further, other: &Further) -> bool {
    match (this, other) {
        (Further::Peer(this), Further::Peer(other))
        | (Further::Client(this), Further::Client(other)) => other.includes(this),
        (Further::Header(this), Further::Header(other))
        | (Further::Cookie(this), Further::Cookie(other)) => named(this, other),
        (Further::Certificate(this), Further::Certificate(other)) => certified(this, other),
        (Further::Query(these), Further::Query(others)) => these.iter().all(|these| {
            others.iter().any(|others| {
                let follows = |other| these.iter().any(|this| parameter(this, other));
                others.iter().all(follows)
            })
        }),
        // What must not hold there holds wherever what must not hold here does.
        (Further::Not(these), Further::Not(others)) => others
            .iter()
            .all(|other| these.iter().any(|this| conditions(other, this))),
        _ => false,
    }
}

fn named(this: &Named, other: &Named) -> bool {
    this.name == other.name && values(&this.values, &other.values)
}

fn certified(this: &Certified, other: &Certified) -> bool {
    // Who has something in a certificate has one.
    let one = other.part == CertificatePart::Whole && other.values == [TextPattern::Present];
    let absent = this.values.contains(&TextPattern::Absent);
    one && !absent || this.part == other.part && values(&this.values, &other.values)
}

fn parameter(this: &Parameter, other: &Parameter) -> bool {
    // That there is none says less of a key that holds for less.
    let absent = this.values.contains(&TextPattern::Absent);
    match absent {
        true => this.key == other.key && values(&this.values, &other.values),
        false => takes(&other.key, &this.key) && values(&this.values, &other.values),
    }
}

fn values(these: &[TextPattern], others: &[TextPattern]) -> bool {
    let taken = |this| others.iter().any(|other| takes(other, this));
    these.iter().all(taken)
}

/// Whether every value that one holds for is one of the pattern's.
fn takes(pattern: &TextPattern, one: &TextPattern) -> bool {
    match (pattern, one) {
        (TextPattern::Absent, _) | (_, TextPattern::Absent) => pattern == one,
        (TextPattern::Present, _) => true,
        (TextPattern::Regex(regex), TextPattern::Exact(text)) => regex.is_match(text.as_bytes()),
        (TextPattern::Regex(_), _) => pattern == one,
        _ => {
            let any_case = |pattern: &TextPattern| {
                matches!(
                    pattern,
                    TextPattern::AnyCase(_) | TextPattern::WildcardAnyCase(_)
                )
            };
            let (folds, wild) = (
                any_case(pattern),
                matches!(pattern, TextPattern::Wildcard(_)),
            );
            let (Some(of), Some(text)) = (written(pattern), written(one)) else {
                // Any text at all is one of `*` alone.
                return written(pattern) == Some("*") && (folds || wild);
            };
            let lower = text.to_ascii_lowercase();
            // What holds as written holds in no other case, where there is one.
            let cased = any_case(one) && text.bytes().any(|byte| byte.is_ascii_alphabetic());
            let steps = |of: &TextPattern, text: &str| match of {
                TextPattern::Wildcard(_) | TextPattern::WildcardAnyCase(_) => glob(text),
                _ => bytes(text).collect(),
            };
            match folds {
                true => includes(&steps(pattern, of), &steps(one, &lower)),
                false => {
                    (!cased || of == "*" && wild)
                        && includes(&steps(pattern, of), &steps(one, text))
                }
            }
        }
    }
}

/// A text or a pattern, as written. None: it is neither.
fn written(pattern: &TextPattern) -> Option<&str> {
    match pattern {
        TextPattern::Exact(text) | TextPattern::AnyCase(text) => Some(text),
        TextPattern::Wildcard(pattern) | TextPattern::WildcardAnyCase(pattern) => {
            Some(pattern.as_str())
        }
        TextPattern::Present | TextPattern::Absent | TextPattern::Regex(_) => None,
    }
}

/// Whether all of the others hold wherever all of these do.
fn conditions(these: &Conditions, others: &Conditions) -> bool {
    let methods = others.methods.is_empty()
        || !these.methods.is_empty()
            && these.methods.iter().all(|one| others.methods.contains(one));
    methods
        && atoms(&these.hosts, &others.hosts, |one| vec![host(one)])
        && atoms(&these.paths, &others.paths, path)
        && imply(&these.further, &others.further)
}

/// Whether every text of these is one of the others'; no pattern is any text.
fn atoms<'p, P>(these: &'p [P], others: &'p [P], atoms: impl Fn(&'p P) -> Vec<Atom<'p>>) -> bool {
    if others.is_empty() {
        return true;
    }
    let others: Vec<_> = others.iter().flat_map(&atoms).collect();
    let taken = |one: Atom<'_>| others.iter().any(|other| other.includes(&one));
    !these.is_empty() && these.iter().flat_map(&atoms).all(taken)
}
