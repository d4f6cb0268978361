//! Owns what conditions beyond host, path and method mean, and how they are tried: one by one, in the order of the plan.
//!
//! Values are compared as bytes. What is folded or decoded for it goes to buffers of the thread, so that nothing is allocated
//! once they have grown to the largest head.

use std::cell::RefCell;

use evenkeel_config::plan::{CertificatePart, Certified, Further, Parameter, TextPattern};

use super::conditions::{Condition, unmet_of};
use super::{Asked, wildcard};
use crate::decide::cookies;

/// Texts in another spelling than the client's.
#[derive(Default)]
struct Spelled {
    decoded: Vec<u8>,
    folded: Vec<u8>,
}

thread_local! {
    static SPELLED: RefCell<Spelled> = RefCell::default();
}

/// The first condition that does not hold.
pub(super) fn unmet<'r>(further: &'r [Further], asked: &Asked<'_>) -> Option<Condition<'r>> {
    let mut further = further.iter();
    further.find(|one| !holds(one, asked)).map(condition)
}

/// Which condition that is.
pub(super) fn condition(further: &Further) -> Condition<'_> {
    match further {
        Further::Hosts(_) => Condition::Host,
        Further::Peer(_) => Condition::Source,
        Further::Client(_) => Condition::Client,
        Further::Header(field) => Condition::Header(&field.name),
        Further::Cookie(cookie) => Condition::Cookie(&cookie.name),
        Further::Certificate(certified) => Condition::Certificate(certified.part),
        Further::Query(_) => Condition::Query,
        Further::Not(_) => Condition::Not,
    }
}

/// Whether all of them hold.
pub(super) fn all_hold(further: &[Further], asked: &Asked<'_>) -> bool {
    further.iter().all(|one| holds(one, asked))
}

fn holds(further: &Further, asked: &Asked<'_>) -> bool {
    match further {
        Further::Hosts(map) => map.find(asked.host).is_some(),
        Further::Peer(networks) => networks.contains(asked.peer),
        Further::Client(networks) => networks.contains(asked.client),
        Further::Header(field) => SPELLED.with_borrow_mut(|spelled| {
            any_holds(
                &field.values,
                asked.head.values(field.name.as_bytes()),
                spelled,
            )
        }),
        Further::Cookie(cookie) => SPELLED.with_borrow_mut(|spelled| {
            let values = cookies(asked.head, cookie.name.as_bytes());
            any_holds(&cookie.values, values, spelled)
        }),
        Further::Certificate(certified) => certified_holds(certified, asked),
        Further::Query(alternatives) => SPELLED.with_borrow_mut(|spelled| {
            let query = asked.head.query().unwrap_or_default();
            let mut all = |all: &[Parameter]| {
                all.iter()
                    .all(|parameter| parameter_holds(parameter, query, spelled))
            };
            alternatives.iter().any(|parameters| all(parameters))
        }),
        Further::Not(none) => none.iter().all(|when| unmet_of(when, asked).is_some()),
    }
}

fn certified_holds(Certified { part, values }: &Certified, asked: &Asked<'_>) -> bool {
    SPELLED.with_borrow_mut(|spelled| any_holds(values, certified(*part, asked), spelled))
}

/// What the client's certificate has there.
pub(super) fn certified<'a>(
    part: CertificatePart,
    asked: &Asked<'a>,
) -> impl Iterator<Item = &'a [u8]> {
    let (one, names) = match (asked.certificate, part) {
        (None, _) => (None, None),
        (Some(shown), CertificatePart::San) => (None, Some(shown.names())),
        (Some(shown), CertificatePart::Fingerprint) => (Some(&*shown.fingerprint), None),
        // A certificate may have no subject and is one all the same.
        (Some(shown), CertificatePart::Whole) => (Some(&*shown.subject), None),
        (Some(shown), CertificatePart::Subject) => {
            (Some(&*shown.subject).filter(|text| !text.is_empty()), None)
        }
    };
    let names = names.into_iter().flatten();
    one.into_iter().chain(names).map(str::as_bytes)
}

/// Whether one of the values there are is one of those wanted.
fn any_holds<'a>(
    wanted: &[TextPattern],
    values: impl Iterator<Item = &'a [u8]>,
    spelled: &mut Spelled,
) -> bool {
    let mut none = true;
    for value in values {
        none = false;
        let mut patterns = wanted.iter();
        if patterns.any(|pattern| text_holds(pattern, value, &mut spelled.folded)) {
            return true;
        }
    }
    none && wanted.contains(&TextPattern::Absent)
}

fn parameter_holds(parameter: &Parameter, query: &[u8], spelled: &mut Spelled) -> bool {
    let Spelled { decoded, folded } = spelled;
    let mut none = true;
    for pair in query.split(|&byte| byte == b'&') {
        if pair.is_empty() {
            continue;
        }
        let at = pair.iter().position(|&byte| byte == b'=');
        let (key, value) = pair.split_at(at.unwrap_or(pair.len()));
        if !text_holds(&parameter.key, decode(key, decoded), folded) {
            continue;
        }
        none = false;
        let value = decode(value.get(1..).unwrap_or_default(), decoded);
        let mut patterns = parameter.values.iter();
        if patterns.any(|pattern| text_holds(pattern, value, folded)) {
            return true;
        }
    }
    none && parameter.values.contains(&TextPattern::Absent)
}

/// As servers read forms: `+` is a space, `%` and two hexadecimal digits are a byte; any other `%` is itself.
fn decode<'a>(text: &'a [u8], into: &'a mut Vec<u8>) -> &'a [u8] {
    let escape = |byte: &u8| matches!(byte, b'%' | b'+');
    let Some(plain) = text.iter().position(escape) else {
        return text;
    };
    let (plain, mut left) = text.split_at(plain);
    into.clear();
    into.extend_from_slice(plain);
    while let Some((&byte, rest)) = left.split_first() {
        left = rest;
        into.push(match byte {
            b'+' => b' ',
            b'%' => match rest {
                [high, low, behind @ ..] => match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => {
                        left = behind;
                        high << 4 | low
                    }
                    _ => byte,
                },
                _ => byte,
            },
            byte => byte,
        });
    }
    into
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

fn text_holds(pattern: &TextPattern, text: &[u8], folded: &mut Vec<u8>) -> bool {
    match pattern {
        TextPattern::Present => true,
        TextPattern::Absent => false,
        TextPattern::Exact(exact) => exact.as_bytes() == text,
        TextPattern::AnyCase(lower) => lower.as_bytes().eq_ignore_ascii_case(text),
        TextPattern::Wildcard(pattern) => wildcard::matches(pattern.as_str().as_bytes(), text),
        TextPattern::WildcardAnyCase(pattern) => {
            folded.clear();
            folded.extend(text.iter().map(u8::to_ascii_lowercase));
            wildcard::matches(pattern.as_str().as_bytes(), folded)
        }
        TextPattern::Regex(regex) => regex.is_match(text),
    }
}
