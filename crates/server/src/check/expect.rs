//! Owns `check --expect`: a table of requests, and whether each meets what it is to meet. Who does not is told like a problem of a
//! configuration, at the place that expects it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use evenkeel_balance::pick::Refusal;
use evenkeel_balance::time::Instant;
use evenkeel_config::cases::{Case, Placed, cases};
use evenkeel_config::problem::At;
use evenkeel_config::{Problem, Severity, Source, render};
use evenkeel_proxy::explain::{Done, Explained, Forwarded, Instead, Routed, written};
use evenkeel_proxy::live::Live;
use evenkeel_proxy::reason::Reason;
use serde_json::{Value, json};

use crate::{explain, inputs, json, say};

/// What became of all cases.
#[derive(Default)]
pub(super) struct Tried {
    all: usize,
    hold: usize,
    /// A file could not be read.
    unread: bool,
    rows: Vec<Value>,
}

impl Tried {
    /// Tries every case of these files. For people, what does not hold is said.
    pub(super) fn of(live: &Live, files: &[PathBuf], as_json: bool) -> Self {
        let mut tried = Self::default();
        for file in files {
            tried.file(live, file, as_json);
        }
        tried
    }

    /// Whether all hold.
    pub(super) fn is_fine(&self) -> bool {
        !self.unread && self.hold == self.all
    }

    pub(super) fn line(&self) -> String {
        let unread = match self.unread {
            true => ", and those of a file with errors were not tried",
            false => "",
        };
        format!("{} of {} cases hold{unread}\n", self.hold, self.all)
    }

    pub(super) fn json(self) -> Value {
        json!({ "all": self.all, "hold": self.hold, "problems": self.rows })
    }

    fn file(&mut self, live: &Live, file: &Path, as_json: bool) {
        let source = match inputs::cases(file) {
            Ok(source) => source,
            Err(error) => {
                self.unread = true;
                if !as_json {
                    say::log(&error);
                }
                if let Value::Array(rows) = json::unreadable(&error) {
                    self.rows.extend(rows);
                }
                return;
            }
        };
        let problems = match cases(&source, &inputs::environment()) {
            Ok(cases) => {
                self.all += cases.len();
                let mut problems = Vec::new();
                for case in &cases {
                    let found = unlike(live, case, file);
                    self.hold += usize::from(found.is_empty());
                    // The rest is counted: who has so many wants to know how many.
                    problems.extend(found.into_iter().take(TOLD - problems.len().min(TOLD)));
                }
                problems
            }
            Err(problems) => {
                self.unread = true;
                problems
            }
        };
        let sources: [Source; 1] = [source];
        if !as_json {
            say::problems(&render(&problems, &sources));
        }
        if let Value::Array(rows) = json::problems(&problems, &sources) {
            self.rows.extend(rows);
        }
    }
}

/// So many expectations that do not hold are told, of one file.
const TOLD: usize = 1_000;

/// What of a case does not hold, at the first listener where something does not.
fn unlike(live: &Live, case: &Case, file: &Path) -> Vec<Problem> {
    let (method, url) = &case.request.value;
    let written = match written::bytes(method, url, &case.fields) {
        Ok(written) => written,
        Err(error) => return vec![problem(case.request.at, "request", error.to_string())],
    };
    let named = match &case.listener {
        None => None,
        Some(Placed { at, value, shown }) => match explain::listener(&live.plan, value, shown) {
            Ok(named) => Some(named),
            Err(error) => return vec![problem(*at, "unknown_listener", error)],
        },
    };
    let shown = case.cert.as_ref().map(|Placed { at, value, .. }| {
        let beside = file.parent().unwrap_or(Path::new(""));
        explain::identity(&beside.join(value)).map_err(|error| problem(*at, "file", error))
    });
    let shown = match shown.transpose() {
        Ok(shown) => shown,
        Err(problem) => return vec![problem],
    };
    let all = explain::each(live, named, case.from, shown.as_ref(), &written);
    let several = all.len() > 1;
    let found = all.iter().map(|explained| {
        let met = Met::of(live, explained);
        let mut found = met.unlike(case);
        if several {
            let listener = &live.plan.listeners[explained.listener()].name;
            for one in &mut found {
                one.message = format!("at listener `{listener}`, {}", one.message);
            }
        }
        found
    });
    let mut found = found.filter(|found| !found.is_empty());
    found.next().unwrap_or_default()
}

fn problem(at: At, word: &'static str, message: String) -> Problem {
    Problem {
        at,
        severity: Severity::Error,
        word,
        message,
        also: None,
    }
}

/// What a request meets.
struct Met<'a> {
    live: &'a Live,
    explained: &'a Explained<'a>,
    done: Done<'a>,
}

impl<'a> Met<'a> {
    fn of(live: &'a Live, explained: &'a Explained<'a>) -> Self {
        Self {
            live,
            explained,
            done: explained.done(),
        }
    }

    fn unlike(&self, case: &Case) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut check = |word, at: At, shown: &str, got: Option<String>| {
            if let Some(got) = got {
                let message = format!("expected {shown}, got {got}");
                found.push(problem(at, word, message));
            }
        };
        let mut text = |word, expected: &Option<Placed<String>>, got: Got<'a>| {
            if let Some(Placed { at, value, shown }) = expected {
                check(word, *at, &format!("`{shown}`"), got(self, value));
            }
        };
        text("rule", &case.rule, Self::rule);
        text("fallback", &case.fallback, Self::fallback);
        text("backend", &case.backend, Self::backend);
        text("reason", &case.reason, Self::reason);
        text("location", &case.location, Self::location);
        text("path", &case.path, Self::path);
        text("query", &case.query, Self::query);
        text("host", &case.host, Self::host);
        if let Some(Placed { at, value, shown }) = &case.service {
            check("service", *at, &format!("`{shown}`"), self.service(value));
        }
        if let Some(Placed { at, value, shown }) = &case.share {
            check("share", *at, &format!("`{shown}`"), self.share(value));
        }
        if let Some(Placed { at, value, .. }) = &case.status {
            let ends = self.ends();
            let same = ends.is_some_and(|ends| ends.status == *value);
            let got = (!same).then(|| self.in_short());
            check("status", *at, &value.to_string(), got);
        }
        found
    }

    /// What is met in place of this rule, and why it is not.
    fn rule(&self, expected: &str) -> Option<String> {
        let rules = &self.live.plan.rules;
        let met = self.explained.rule();
        let name = met.and_then(|at| rules.get(at)).map(|rule| &*rule.name);
        if name == Some(expected) {
            return None;
        }
        let got = match name {
            Some(name) => format!("`{}`", short(name)),
            None => self.in_short(),
        };
        let place = rules.iter().position(|rule| *rule.name == *expected);
        let why = match place.map(|at| self.explained.unmet(at)) {
            None => "no rule is called so".to_owned(),
            Some(Some(unmet)) => format!(
                "its `{}` does not hold: it wants {}, the request has {}",
                unmet.condition,
                explain::several(&unmet.wants),
                short(&unmet.has)
            ),
            Some(None) if name.is_some() => "it holds too, but comes later".to_owned(),
            Some(None) => return Some(got),
        };
        Some(format!("{got}; {why}"))
    }

    fn forwarded(&self) -> Option<&Forwarded<'a>> {
        match &self.done {
            Done::Forward(forwarded) => Some(forwarded),
            _ => None,
        }
    }

    fn routed(&self) -> &[Routed<'a>] {
        self.forwarded()
            .map_or(&[], |forwarded| &forwarded.services)
    }

    /// What stands there is all that it may go to.
    fn service(&self, expected: &[String]) -> Option<String> {
        let names = self.routed().iter().map(|one| &*one.service.plan.name);
        let names: BTreeSet<_> = names.collect();
        let expected: BTreeSet<_> = expected.iter().map(|name| &**name).collect();
        (names != expected).then(|| self.in_short())
    }

    fn share(&self, expected: &[(String, f64)]) -> Option<String> {
        let routed = self.routed();
        let of = |name: &str| {
            let mut routed = routed.iter();
            let found = routed.find(|one| *one.service.plan.name == *name);
            found.map_or(0.0, |one| one.share)
        };
        let alike = |(name, share): &(String, f64)| (of(name) - share).abs() < SHARE_UNLIKE;
        let named = |one: &Routed<'_>| {
            expected
                .iter()
                .any(|(name, _)| **name == *one.service.plan.name)
        };
        if !routed.is_empty() && expected.iter().all(alike) && routed.iter().all(named) {
            return None;
        }
        if routed.is_empty() {
            return Some(self.in_short());
        }
        let shares = routed.iter().map(|one| {
            let (name, share) = (&one.service.plan.name, one.share * 100.0);
            format!("{name}: {share:.1}%")
        });
        Some(format!(
            "`{}`",
            explain::several(&shares.collect::<Vec<_>>())
        ))
    }

    fn fallback(&self, expected: &str) -> Option<String> {
        let forwarded = self.forwarded();
        match forwarded.and_then(|forwarded| forwarded.fallback.as_ref()) {
            Some(Instead::Forward(routed)) if *routed.service.plan.name == *expected => None,
            Some(Instead::Forward(routed)) => {
                Some(format!("`{}`", short(&routed.service.plan.name)))
            }
            Some(Instead::Respond(answer)) => Some(format!("an answer of {}", answer.status)),
            Some(Instead::Redirect { status, .. }) => Some(format!("a redirect of {status}")),
            Some(Instead::Refused(reason)) => Some(format!("an answer of {}", reason.status())),
            None if forwarded.is_some() => Some("none".to_owned()),
            None => Some(self.in_short()),
        }
    }

    /// Who takes it in the end: the one service, or the fallback's where that one refuses. None: several, or nobody.
    fn taken(&self) -> Option<&Routed<'a>> {
        let forwarded = self.forwarded()?;
        let [routed] = &forwarded.services[..] else {
            return None;
        };
        match (refusal(routed), forwarded.instead(routed)) {
            (Some(_), Some(Instead::Forward(other))) => Some(other),
            _ => Some(routed),
        }
    }

    /// Which one it is, a case can say only where the policy leaves no choice.
    fn backend(&self, expected: &str) -> Option<String> {
        let Some(routed) = self.taken() else {
            return Some(self.in_short());
        };
        let told = routed.explanation(explain::CHANCE, Instant::ZERO);
        let free = told.candidates.iter().filter(|one| one.bar.is_none());
        let free = free.count();
        match told.result {
            Err(refusal) => Some(refusal.word().to_owned()),
            Ok(_) if routed.key.is_none() && free > 1 => Some(format!(
                "any of {free}: {} chooses anew for each request",
                told.policy
            )),
            Ok(id) if id.as_str() == expected => None,
            Ok(id) => Some(format!("`{}`", short(id.as_str()))),
        }
    }

    /// The answer that is made here. None: a backend's, or one of several services decides.
    fn ends(&self) -> Option<Ends<'_>> {
        let ends = |status, reason, location| Ends {
            status,
            reason,
            location,
        };
        let refused = |reason: Reason| ends(reason.status(), reason, None);
        let forwarded = match &self.done {
            Done::Refused { status, reason } => return Some(ends(*status, *reason, None)),
            Done::Respond(answer) => return Some(ends(answer.status, Reason::Rule, None)),
            Done::Redirect { status, location } => {
                return Some(ends(*status, Reason::Rule, Some(location)));
            }
            Done::Forward(forwarded) => forwarded,
        };
        let [routed] = &forwarded.services[..] else {
            return None;
        };
        let reason = Reason::Refused(refusal(routed)?);
        match forwarded.instead(routed) {
            None => Some(refused(reason)),
            Some(Instead::Forward(other)) => Some(refused(Reason::Refused(refusal(other)?))),
            Some(Instead::Respond(answer)) => Some(ends(answer.status, reason, None)),
            Some(Instead::Redirect { status, location }) => {
                Some(ends(*status, reason, Some(location)))
            }
            Some(Instead::Refused(reason)) => Some(refused(*reason)),
        }
    }

    fn reason(&self, expected: &str) -> Option<String> {
        let ends = self.ends();
        let same = ends.is_some_and(|ends| ends.reason.word() == expected);
        (!same).then(|| self.in_short())
    }

    fn location(&self, expected: &str) -> Option<String> {
        let ends = self.ends();
        let same = ends.is_some_and(|ends| ends.location == Some(expected.as_bytes()));
        (!same).then(|| self.in_short())
    }

    fn path(&self, expected: &str) -> Option<String> {
        self.sent(expected, |forwarded| Some(&forwarded.path))
    }

    fn query(&self, expected: &str) -> Option<String> {
        self.sent(expected, |forwarded| forwarded.query.as_deref())
    }

    fn host(&self, expected: &str) -> Option<String> {
        // As it came, with its port.
        let own = self.explained.head().map(|head| head.authority());
        self.sent(expected, |forwarded| forwarded.host.as_deref().or(own))
    }

    /// What a backend gets.
    fn sent<'f>(
        &'f self,
        expected: &str,
        part: impl Fn(&'f Forwarded<'a>) -> Option<&'f [u8]>,
    ) -> Option<String> {
        let Some(forwarded) = self.forwarded() else {
            return Some(self.in_short());
        };
        let got = part(forwarded).unwrap_or_default();
        let other = got != expected.as_bytes();
        other.then(|| format!("`{}`", short(&String::from_utf8_lossy(got))))
    }

    /// What is done, for a message.
    fn in_short(&self) -> String {
        let Some(forwarded) = self.forwarded() else {
            return self
                .ends()
                .map_or_else(String::new, |ends| ends.to_string());
        };
        let services = forwarded.services.iter();
        let names: Vec<_> = services
            .map(|one| one.service.plan.name.to_string())
            .collect();
        let services = format!("service {}", explain::several(&names));
        match self.ends() {
            None => services,
            Some(ends) => format!("{services}, which refuses: {ends}"),
        }
    }
}

/// An answer that is made here.
struct Ends<'e> {
    status: u16,
    reason: Reason,
    location: Option<&'e [u8]>,
}

impl fmt::Display for Ends<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status;
        match (self.location, self.reason) {
            (Some(location), _) => {
                let location = String::from_utf8_lossy(location);
                write!(f, "a redirect of {status} to `{}`", short(&location))
            }
            (None, Reason::Rule) => write!(f, "an answer of {status} by the rule"),
            (None, reason) => write!(f, "an answer of {status}, {}", reason.word()),
        }
    }
}

/// What is got in the place of what is expected; none: that.
type Got<'a> = fn(&Met<'a>, &str) -> Option<String>;

/// Shares that differ by so much are others: they are written in tenths of a percent.
const SHARE_UNLIKE: f64 = 0.000_5;

/// Why nobody of a service takes it.
fn refusal(routed: &Routed<'_>) -> Option<Refusal> {
    let told = routed.explanation(explain::CHANCE, Instant::ZERO);
    told.result.err()
}

/// A value for a message: its begin where it is long.
fn short(value: &str) -> String {
    match value.char_indices().nth(200) {
        None => value.to_owned(),
        Some((end, _)) => format!("{}...", &value[..end]),
    }
}
