//! Owns where a pattern stands in the index: at a text with which every host or path that it holds for begins or ends, and what
//! is left to try of those that do. Reads patterns only; knows no request but in `Test`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_config::plan::{HostPattern, PathPattern, Wildcard};
use regex::bytes::Regex;

use super::wildcard;

/// Where a text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// At the begin.
    Front,
    /// At the end.
    Back,
}

/// What may stand beyond a key's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Beyond {
    /// Nothing: the text is all.
    Nothing,
    /// Nothing, or a slash and whatever follows.
    Segments,
    /// At least one byte.
    Something,
    /// Whatever there is.
    Whatever,
}

impl Beyond {
    /// Whether this is what is left of a request's text, to the right of a key at the front, to the left of one at the back.
    #[inline]
    pub(super) fn holds(self, left: &[u8]) -> bool {
        match self {
            Self::Nothing => left.is_empty(),
            Self::Segments => left.first().is_none_or(|&byte| byte == b'/'),
            Self::Something => !left.is_empty(),
            Self::Whatever => true,
        }
    }
}

/// What a request must have in its host or path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    pub(super) side: Side,
    pub(super) text: &'a [u8],
    pub(super) beyond: Beyond,
}

/// What a key leaves undecided.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Wildcard(Wildcard),
    /// Shared, for each copy would keep search tables of its own.
    Regex(Arc<Regex>),
}

impl Test {
    pub(super) fn holds(&self, text: &[u8]) -> bool {
        match self {
            Self::Wildcard(pattern) => wildcard::matches(pattern.as_str().as_bytes(), text),
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    /// By what equal tests are known: those under one key are tried once.
    pub(super) fn identity(&self) -> (bool, &str) {
        match self {
            Self::Wildcard(pattern) => (false, pattern.as_str()),
            Self::Regex(regex) => (true, regex.as_str()),
        }
    }
}

/// Where one pattern stands. Without a test, who has the key has met the pattern.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) key: Key<'a>,
    pub(super) test: Option<Test>,
}

impl<'a> Place<'a> {
    /// Of a condition that asks nothing.
    pub(super) const EVERYTHING: Self = Self {
        key: front(b"", Beyond::Whatever),
        test: None,
    };

    pub(super) fn of_host(pattern: &'a HostPattern, crowds: &Crowds<'_>) -> Self {
        match pattern {
            HostPattern::Exact(name) => sure(back(name.as_bytes(), Beyond::Nothing)),
            HostPattern::Suffix(suffix) => sure(back(suffix.as_bytes(), Beyond::Something)),
            HostPattern::Wildcard(pattern) => of_wildcard(pattern, crowds),
        }
    }

    pub(super) fn of_path(pattern: &'a PathPattern, crowds: &Crowds<'_>) -> Self {
        match pattern {
            PathPattern::Exact(path) => sure(front(path.as_bytes(), Beyond::Nothing)),
            PathPattern::Prefix(prefix) => sure(front(prefix.as_bytes(), Beyond::Segments)),
            PathPattern::Wildcard(pattern) => of_wildcard(pattern, crowds),
            PathPattern::Regex(regex) => Place {
                key: front(regex_front(regex.as_str()).as_bytes(), Beyond::Whatever),
                test: Some(Test::Regex(Arc::new(regex.clone()))),
            },
        }
    }
}

/// How many wildcards of a plan share their text at either side: the side with the smaller crowd tells more.
#[derive(Default)]
pub(super) struct Crowds<'a>(BTreeMap<(Side, &'a [u8]), usize>);

impl<'a> Crowds<'a> {
    pub(super) fn of(patterns: impl Iterator<Item = &'a Wildcard>) -> Self {
        let mut crowds = Self::default();
        for pattern in patterns {
            if let Some((front, _, back)) = wildcard::parts(pattern.as_str().as_bytes()) {
                for side in [(Side::Front, front), (Side::Back, back)] {
                    *crowds.0.entry(side).or_default() += 1;
                }
            }
        }
        crowds
    }

    /// Less is better: fewer others, then a longer text. No text tells nothing.
    fn rank(&self, side: Side, text: &'a [u8]) -> (bool, usize, Reverse<usize>) {
        let others = self.0.get(&(side, text)).copied().unwrap_or(0);
        (text.is_empty(), others, Reverse(text.len()))
    }
}

fn of_wildcard<'a>(pattern: &'a Wildcard, crowds: &Crowds<'_>) -> Place<'a> {
    let bytes = pattern.as_str().as_bytes();
    let Some((begin, wild, end)) = wildcard::parts(bytes) else {
        return sure(front(bytes, Beyond::Nothing));
    };
    let at_front = crowds.rank(Side::Front, begin) <= crowds.rank(Side::Back, end);
    let (key, other) = match at_front {
        true => (front(begin, Beyond::Whatever), end),
        false => (back(end, Beyond::Whatever), begin),
    };
    let decided = other.is_empty() && wild.iter().all(|&byte| byte == b'*');
    let test = (!decided).then(|| Test::Wildcard(pattern.clone()));
    Place { key, test }
}

/// The text that every match of an expression begins with, as far as that is plain: behind `^`, up to the first byte that may
/// mean more than itself, without one that a repetition follows. An alternative may begin otherwise, so there is none with `|`.
/// Plans hold expressions that were compiled from their text alone, so nothing outside it changes what a letter means.
fn regex_front(text: &str) -> &str {
    let Some(text) = text.strip_prefix('^').filter(|text| !text.contains('|')) else {
        return "";
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte);
    let end = text.bytes().take_while(|&byte| plain(byte)).count();
    let repeated = matches!(text.as_bytes().get(end), Some(b'*' | b'?' | b'+' | b'{'));
    &text[..end.saturating_sub(usize::from(repeated))]
}

const fn front(text: &[u8], beyond: Beyond) -> Key<'_> {
    let side = Side::Front;
    Key { side, text, beyond }
}

const fn back(text: &[u8], beyond: Beyond) -> Key<'_> {
    let side = Side::Back;
    Key { side, text, beyond }
}

fn sure(key: Key<'_>) -> Place<'_> {
    Place { key, test: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_where_fewer_do() {
        let patterns = ["/img/*.a", "/img/*.b", "/c/*.b", "/c/*.b?"].map(Wildcard::new);
        let crowds = Crowds::of(patterns.iter());
        let check = |text: &str, expect: Key<'_>, sure: bool| {
            let pattern = Wildcard::new(text);
            let place = of_wildcard(&pattern, &crowds);
            assert_eq!((place.key, place.test.is_none()), (expect, sure), "{text}");
        };
        check("/img/*.a", back(b".a", Beyond::Whatever), false);
        check("/img/*.b", front(b"/img/", Beyond::Whatever), false);
        check("/img/?.b", front(b"/img/", Beyond::Whatever), false);
        check("/img/**", front(b"/img/", Beyond::Whatever), true);
        check("/img/*?", front(b"/img/", Beyond::Whatever), false);
        check("*.b", back(b".b", Beyond::Whatever), true);
        check("*x*", front(b"", Beyond::Whatever), false);
        check("*", front(b"", Beyond::Whatever), true);
        check("/img", front(b"/img", Beyond::Nothing), true);
    }

    #[test]
    fn what_an_expression_begins_with() {
        for (text, expect) in [
            ("^/api/v1", "/api/v1"),
            ("^/api/[0-9]+$", "/api/"),
            ("^/apis?/", "/api"),
            ("^/api*", "/ap"),
            ("^/api{2}", "/ap"),
            ("^/a+", "/"),
            ("^a+", ""),
            ("^(?i)/api", ""),
            ("^/api(?i)/x", "/api"),
            (r"^/a\.b", "/a"),
            ("^/a|/b", ""),
            ("/api", ""),
            ("(?i)^/api", ""),
            ("", ""),
            ("^", ""),
        ] {
            assert_eq!(regex_front(text), expect, "{text}");
        }
    }
}
