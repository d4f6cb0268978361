//! Owns rules that are never reached: earlier ones, one of them or several together, hold wherever they hold.
//!
//! Sound, not complete: what is said is certain. A rule is taken apart into single hosts, paths, methods and listeners; each
//! combination must be covered by one earlier rule whole, and what else that asks for must follow from what this one asks for
//! (`further`). Rules whose `not` covers them are found in the same way. Not found are a pattern that only several other patterns fill together,
//! an expression that another expression includes, and whatever comes after [`TESTS_MOST`] comparisons.

use std::rc::Rc;

use crate::check::{all_listeners, seen_by};
use crate::lower::{Parts, Placed, RawRule};
use crate::plan::{Conditions, Further, HostPattern, PathPattern};
use crate::read::Reading;

/// Conditions beyond host, path and method.
mod further;

/// Comparisons of a combination with the hosts and paths of an earlier rule: enough for some 2,000 rules, bounded for what programs write.
const TESTS_MOST: usize = 4_000_000;

/// Rules that are named in one message.
const NAMES_MOST: usize = 4;

/// One step of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Byte(u8),
    /// Any one character.
    One,
    /// Any run of them.
    Run,
}

/// Texts that begin and end so, and more of them than there are where one cannot tell.
type Glob = Vec<Step>;

/// What holds for a host or a path, or is asked of it.
struct Atom<'p> {
    glob: Glob,
    /// What it is, if it is an expression.
    regex: Option<&'p regex::bytes::Regex>,
}

struct Rule<'p> {
    placed: &'p Placed<RawRule>,
    /// In order.
    listeners: Rc<[&'p str]>,
    /// Empty: any.
    methods: Vec<&'p str>,
    hosts: Vec<Atom<'p>>,
    paths: Vec<Atom<'p>>,
    further: &'p [Further],
}

pub(super) fn unreachable(parts: &Parts, reading: &Reading) {
    let all = all_listeners(parts);
    let rules = parts.rules.iter();
    let mut sorted: Vec<_> = rules.filter(|rule| rule.part.whole).collect();
    sorted.sort_by_key(|placed| placed.part.rule.priority);
    let rules: Vec<_> = sorted
        .into_iter()
        .map(|placed| Rule::new(placed, &placed.part.rule.when, seen_by(&placed.part, &all)))
        .collect();
    let mut left = TESTS_MOST;
    for (number, rule) in rules.iter().enumerate() {
        if never_holds(rule, &mut left) {
            let message = format!(
                "rule `{}` holds for nothing: what must not hold does wherever the rest does",
                rule.placed.part.shown
            );
            reading.error(rule.placed.at, "never_holds", message);
            continue;
        }
        let Some(by) = covered(rule, &rules[..number], &mut left) else {
            continue;
        };
        let names: Vec<_> = by
            .iter()
            .take(NAMES_MOST)
            .map(|earlier| format!("`{}`", earlier.placed.part.shown))
            .collect();
        let message = match (&names[..], by.len() - names.len()) {
            ([one], _) => format!("{one} comes before it and holds wherever it holds"),
            (_, 0) => format!(
                "{} come before it and together hold wherever it holds",
                names.join(", ")
            ),
            (_, more) => format!(
                "{} and {more} more come before it and together hold wherever it holds",
                names.join(", ")
            ),
        };
        if let Some(first) = by.first() {
            reading.error_with(
                rule.placed.at,
                "unreachable_rule",
                format!(
                    "rule `{}` is never reached: {message}",
                    rule.placed.part.shown
                ),
                first.placed.at,
            );
        }
    }
}

/// Whether what a rule's `not` has covers all of it.
fn never_holds(rule: &Rule<'_>, left: &mut usize) -> bool {
    let nots = rule.further.iter().filter_map(|one| match one {
        Further::Not(none) => Some(none),
        _ => None,
    });
    let nots = nots.flatten();
    let nots: Vec<_> = nots
        .map(|when| Rule::new(rule.placed, when, rule.listeners.clone()))
        .collect();
    !nots.is_empty() && covered(rule, &nots, left).is_some()
}

/// The earlier rules that together hold wherever this one holds. None: there are none, or it took too long to say.
fn covered<'r, 'p>(
    rule: &Rule<'p>,
    earlier: &'r [Rule<'p>],
    left: &mut usize,
) -> Option<Vec<&'r Rule<'p>>> {
    let mut by: Vec<&Rule<'p>> = Vec::new();
    let any = [None];
    let methods: Vec<Option<&str>> = match rule.methods.is_empty() {
        true => any.into(),
        false => rule.methods.iter().map(|method| Some(*method)).collect(),
    };
    for &listener in &*rule.listeners {
        for &method in &methods {
            for host in &rule.hosts {
                for path in &rule.paths {
                    let holds = |one: &&Rule<'_>| {
                        one.holds(listener, method, host, path)
                            && further::imply(rule.further, one.further)
                    };
                    // Those that cover already first: most often it is one that covers all.
                    let mut tests = by.iter().copied().chain(earlier);
                    let found = tests.find(|one| {
                        let price = further::price(rule.further, one.further);
                        *left = left
                            .saturating_sub(one.hosts.len() + one.paths.len() - 1)
                            .saturating_sub(price);
                        *left == 0 || holds(one)
                    });
                    let found = found.filter(|_| *left > 0)?;
                    if !by.iter().any(|one| std::ptr::eq(*one, found)) {
                        by.push(found);
                    }
                }
            }
        }
    }
    (!by.is_empty()).then_some(by)
}

impl<'p> Rule<'p> {
    fn new(placed: &'p Placed<RawRule>, when: &'p Conditions, listeners: Rc<[&'p str]>) -> Self {
        let anything = || {
            vec![Atom {
                glob: vec![Step::Run],
                regex: None,
            }]
        };
        let mut hosts: Vec<_> = when.hosts.iter().map(host).collect();
        if hosts.is_empty() {
            hosts = anything();
        }
        let mut paths: Vec<_> = when.paths.iter().flat_map(path).collect();
        if paths.is_empty() {
            paths = anything();
        }
        Self {
            placed,
            listeners,
            further: &when.further,
            methods: when.methods.iter().map(|method| &**method).collect(),
            hosts,
            paths,
        }
    }

    /// Whether it holds for all of this combination.
    fn holds(
        &self,
        listener: &str,
        method: Option<&str>,
        host: &Atom<'_>,
        path: &Atom<'_>,
    ) -> bool {
        (self.methods.is_empty() || method.is_some_and(|method| self.methods.contains(&method)))
            && self.hosts.iter().any(|one| one.includes(host))
            && self.paths.iter().any(|one| one.includes(path))
            && self.listeners.binary_search(&listener).is_ok()
    }
}

impl Atom<'_> {
    fn new(glob: Glob) -> Self {
        Self { glob, regex: None }
    }

    fn includes(&self, other: &Self) -> bool {
        match (self.regex, other.regex) {
            (None, _) => includes(&self.glob, &other.glob),
            (Some(one), Some(other)) => one.as_str() == other.as_str(),
            (Some(regex), None) => other.text().is_some_and(|text| regex.is_match(&text)),
        }
    }

    /// The one text that it is.
    fn text(&self) -> Option<Vec<u8>> {
        let byte = |step: &Step| match step {
            Step::Byte(byte) => Some(*byte),
            Step::One | Step::Run => None,
        };
        self.glob.iter().map(byte).collect()
    }
}

fn host(pattern: &HostPattern) -> Atom<'_> {
    Atom::new(match pattern {
        HostPattern::Exact(name) => bytes(name).collect(),
        HostPattern::Suffix(suffix) => [Step::One, Step::Run]
            .into_iter()
            .chain(bytes(suffix))
            .collect(),
        HostPattern::Wildcard(wildcard) => glob(wildcard.as_str()),
    })
}

/// A prefix is two: the path itself, and what is below it.
fn path(pattern: &PathPattern) -> Vec<Atom<'_>> {
    match pattern {
        PathPattern::Exact(path) => vec![Atom::new(bytes(path).collect())],
        PathPattern::Prefix(prefix) => {
            let below = bytes(prefix).chain([Step::Byte(b'/'), Step::Run]);
            let mut all = vec![Atom::new(below.collect())];
            // No path is empty.
            if !prefix.is_empty() {
                all.push(Atom::new(bytes(prefix).collect()));
            }
            all
        }
        PathPattern::Wildcard(wildcard) => vec![Atom::new(glob(wildcard.as_str()))],
        PathPattern::Regex(regex) => vec![Atom {
            glob: vec![Step::Run],
            regex: Some(regex),
        }],
    }
}

fn bytes(text: &str) -> impl Iterator<Item = Step> {
    text.bytes().map(Step::Byte)
}

fn glob(text: &str) -> Glob {
    let step = |byte| match byte {
        b'*' => Step::Run,
        b'?' => Step::One,
        byte => Step::Byte(byte),
    };
    text.bytes().map(step).collect()
}

/// Whether every text of one pattern is one of another. Reads the one as a text in which a run is taken by a run only and one
/// character by one or by a run: where that goes, so does every text.
fn includes(pattern: &[Step], other: &[Step]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while seen < other.len() {
        let takes = match (pattern.get(at), other[seen]) {
            (Some(Step::Run), _) => {
                at += 1;
                back = Some((at, seen));
                continue;
            }
            (Some(Step::One), Step::Byte(_) | Step::One) => true,
            (Some(Step::Byte(one)), Step::Byte(other)) => *one == other,
            _ => false,
        };
        if takes {
            at += 1;
            seen += 1;
            continue;
        }
        let Some((star, from)) = back else {
            return false;
        };
        back = Some((star, from + 1));
        (at, seen) = (star, from + 1);
    }
    pattern[at..].iter().all(|step| *step == Step::Run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        for (pattern, other, expect) in [
            ("*", "*", true),
            ("*", "", true),
            ("?", "*", false),
            ("*", "?", true),
            ("/a*", "/ab", true),
            ("/a*", "/a*", true),
            ("/a*", "/a?b*", true),
            ("/a?b*", "/a*", false),
            ("/*", "/a/*/b", true),
            ("*.jpg", "/a*.jpg", true),
            ("*.jpg", "/a*", false),
            ("/a?", "/a?", true),
            ("/ab", "/a?", false),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "a*c", false),
            ("a*c", "a*b*c", true),
        ] {
            assert_eq!(
                includes(&glob(pattern), &glob(other)),
                expect,
                "{pattern} {other}"
            );
        }
    }

    /// All short texts over two letters: an inclusion that is said holds for each of them.
    #[test]
    fn what_is_said_is_so() {
        let texts = |letters: &str, most: u32| -> Vec<String> {
            let mut all = vec![String::new()];
            let mut last = all.clone();
            for _ in 0..most {
                let longer = |text: &String| {
                    letters
                        .chars()
                        .map(|one| format!("{text}{one}"))
                        .collect::<Vec<_>>()
                };
                last = last.iter().flat_map(longer).collect();
                all.extend(last.iter().cloned());
            }
            all
        };
        let (patterns, words) = (texts("ab*?", 4), texts("ab", 5));
        let mut said = 0;
        let matches: Vec<Vec<bool>> = patterns
            .iter()
            .map(|pattern| {
                let pattern = glob(pattern);
                words
                    .iter()
                    .map(|word| includes(&pattern, &bytes(word).collect::<Vec<_>>()))
                    .collect()
            })
            .collect();
        for (one, holds) in patterns.iter().zip(&matches) {
            for (other, of) in patterns.iter().zip(&matches) {
                if includes(&glob(one), &glob(other)) {
                    said += 1;
                    let all = of.iter().zip(holds).all(|(of, holds)| *holds || !of);
                    assert!(all, "{one} does not include {other}");
                }
            }
        }
        assert!(said > 1000, "{said}");
    }
}
