//! Owns which rule a request meets: the first, by priority, whose conditions all hold.
//!
//! Indexed by host, then by path, so that a request looks only at rules that could hold for it: those of its own host, of the
//! suffixes of its host, and of any host; among them those of its own path, of the prefixes of its path, and those whose
//! paths are patterns. Cost: one look-up per label of the host and per segment of the path, whatever the number of rules;
//! rules with patterns are tried one by one, up to the best rule found.

use std::collections::HashMap;

use evenkeel_config::plan::{HostPattern, PathPattern, RulePlan};

/// Patterns with `*` and `?`.
mod wildcard;

/// What rules are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The listener's place in the plan.
    pub listener: usize,
    /// Lower case, no port, no trailing dot; may be empty.
    pub host: &'a str,
    /// In the form that goes on.
    pub path: &'a [u8],
    /// As on the wire.
    pub method: &'a [u8],
}

/// All rules of a plan.
pub struct Rules {
    rules: Vec<RulePlan>,
    hosts: HashMap<Box<str>, Paths>,
    /// By suffix, with its leading dot.
    suffixes: HashMap<Box<str>, Paths>,
    any_host: Paths,
}

/// The rules of one host, by path; each list in order of priority.
#[derive(Default)]
struct Paths {
    exact: HashMap<Box<[u8]>, Vec<u32>>,
    prefixes: HashMap<Box<[u8]>, Vec<u32>>,
    /// The longest prefix: what a client sends beyond it is not hashed.
    longest: usize,
    others: Vec<u32>,
}

impl Rules {
    /// An index of rules in order of priority.
    #[must_use]
    pub fn new(rules: &[RulePlan]) -> Self {
        let mut index = Self {
            rules: rules.to_vec(),
            hosts: HashMap::new(),
            suffixes: HashMap::new(),
            any_host: Paths::default(),
        };
        for (number, rule) in (0_u32..).zip(rules) {
            let hosts = &rule.when.hosts;
            // A pattern may hold for any host; one place is enough for a rule that has one.
            if hosts.is_empty()
                || hosts
                    .iter()
                    .any(|host| matches!(host, HostPattern::Wildcard(_)))
            {
                index.any_host.add(rule, number);
                continue;
            }
            for host in hosts {
                let paths = match host {
                    HostPattern::Exact(name) => index.hosts.entry((&**name).into()),
                    HostPattern::Suffix(suffix) => index.suffixes.entry((&**suffix).into()),
                    HostPattern::Wildcard(_) => continue,
                };
                paths.or_default().add(rule, number);
            }
        }
        index
    }

    /// The first rule that holds. Allocates nothing.
    #[must_use]
    pub fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        let mut best = u32::MAX;
        if let Some(paths) = (!self.hosts.is_empty())
            .then(|| self.hosts.get(asked.host))
            .flatten()
        {
            self.best(paths, asked, &mut best);
        }
        if !self.suffixes.is_empty() {
            // The suffix of a name begins behind its first label at the earliest.
            for (dot, _) in asked.host.match_indices('.').filter(|&(dot, _)| dot > 0) {
                if let Some(paths) = self.suffixes.get(&asked.host[dot..]) {
                    self.best(paths, asked, &mut best);
                }
            }
        }
        self.best(&self.any_host, asked, &mut best);
        (best != u32::MAX).then_some(best as usize)
    }

    /// The first rule that holds, found by trying all in turn: what [`find`](Self::find) must agree with.
    #[must_use]
    pub fn find_by_trying(&self, asked: &Asked<'_>) -> Option<usize> {
        self.rules.iter().position(|rule| holds(rule, asked))
    }

    /// Lowers `best` to the first rule of `paths` that holds, if there is an earlier one.
    fn best(&self, paths: &Paths, asked: &Asked<'_>, best: &mut u32) {
        if !paths.exact.is_empty()
            && let Some(numbers) = paths.exact.get(asked.path)
        {
            self.first(numbers, asked, best);
        }
        if !paths.prefixes.is_empty() {
            for end in prefixes(asked.path, paths.longest) {
                if let Some(numbers) = paths.prefixes.get(&asked.path[..end]) {
                    self.first(numbers, asked, best);
                }
            }
        }
        self.first(&paths.others, asked, best);
    }

    fn first(&self, numbers: &[u32], asked: &Asked<'_>, best: &mut u32) {
        let found = numbers
            .iter()
            .take_while(|&&number| number < *best)
            .find(|&&number| {
                self.rules
                    .get(number as usize)
                    .is_some_and(|rule| holds(rule, asked))
            });
        if let Some(&found) = found {
            *best = found;
        }
    }
}

impl Paths {
    fn add(&mut self, rule: &RulePlan, number: u32) {
        let paths = &rule.when.paths;
        let pattern =
            |path: &PathPattern| matches!(path, PathPattern::Wildcard(_) | PathPattern::Regex(_));
        if paths.is_empty() || paths.iter().any(pattern) {
            self.others.push(number);
            return;
        }
        for path in paths {
            let numbers = match path {
                PathPattern::Exact(path) => self.exact.entry(path.as_bytes().into()),
                PathPattern::Prefix(path) => {
                    self.longest = self.longest.max(path.len());
                    self.prefixes.entry(path.as_bytes().into())
                }
                PathPattern::Wildcard(_) | PathPattern::Regex(_) => continue,
            };
            let numbers = numbers.or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        }
    }
}

/// Where a prefix of whole segments may end, up to `longest`: before each slash, and at the end. Without the bound a path of many
/// segments costs the square of its length.
fn prefixes(path: &[u8], longest: usize) -> impl Iterator<Item = usize> + '_ {
    let within = &path[..path.len().min(longest.saturating_add(1))];
    within
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'/')
        .map(|(at, _)| at)
        .chain((path.len() <= longest).then_some(path.len()))
}

/// Whether all conditions of a rule hold: the one predicate.
fn holds(rule: &RulePlan, asked: &Asked<'_>) -> bool {
    let when = &rule.when;
    let one = |none: bool, any: bool| none || any;
    one(
        rule.listeners.is_empty(),
        rule.listeners.contains(&asked.listener),
    ) && one(
        when.methods.is_empty(),
        when.methods
            .iter()
            .any(|method| method.as_bytes() == asked.method),
    ) && one(
        when.hosts.is_empty(),
        when.hosts.iter().any(|host| host_holds(host, asked.host)),
    ) && one(
        when.paths.is_empty(),
        when.paths.iter().any(|path| path_holds(path, asked.path)),
    )
}

fn host_holds(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(name) => **name == *host,
        HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        HostPattern::Wildcard(wildcard) => {
            wildcard::matches(wildcard.as_str().as_bytes(), host.as_bytes())
        }
    }
}

fn path_holds(pattern: &PathPattern, path: &[u8]) -> bool {
    match pattern {
        PathPattern::Exact(exact) => exact.as_bytes() == path,
        PathPattern::Prefix(prefix) => path
            .strip_prefix(prefix.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/'),
        PathPattern::Wildcard(wildcard) => wildcard::matches(wildcard.as_str().as_bytes(), path),
        PathPattern::Regex(regex) => regex.is_match(path),
    }
}

#[cfg(test)]
mod tests;
