//! Owns `check --expect`: a table of requests, and whether each meets what it is to meet. Who does not is told like a problem of a
//! configuration, at the place that expects it.

use std::path::{Path, PathBuf};

use evenkeel_balance::time::Instant;
use evenkeel_config::cases::{Case, Placed, cases};
use evenkeel_config::problem::At;
use evenkeel_config::{Problem, Severity, Source, render};
use evenkeel_proxy::explain::{Done, Explained, Routed, written};
use evenkeel_proxy::live::Live;
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
                    let found = unlike(live, case);
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
fn unlike(live: &Live, case: &Case) -> Vec<Problem> {
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
    let all = explain::each(live, named, case.from, &written);
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
        let mut check =
            |expected: &Option<Placed<String>>, word, got: &dyn Fn(&str) -> Option<String>| {
                if let Some(Placed { at, value, shown }) = expected
                    && let Some(got) = got(value)
                {
                    let message = format!("expected `{shown}`, got {got}");
                    found.push(problem(*at, word, message));
                }
            };
        check(&case.rule, "rule", &|rule| self.rule(rule));
        check(&case.service, "service", &|service| self.service(service));
        check(&case.backend, "backend", &|backend| self.backend(backend));
        check(&case.reason, "reason", &|reason| self.reason(reason));
        check(&case.location, "location", &|location| {
            self.location(location)
        });
        check(&case.path, "path", &|path| self.path(path));
        if let Some(Placed { at, value, .. }) = &case.status
            && self.status() != Some(*value)
        {
            let message = format!("expected {value}, got {}", self.in_short());
            found.push(problem(*at, "status", message));
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

    fn routed(&self) -> &[Routed<'a>] {
        match &self.done {
            Done::Forward(forwarded) => &forwarded.services,
            _ => &[],
        }
    }

    fn service(&self, expected: &str) -> Option<String> {
        let names = self.routed().iter().map(|one| &*one.service.plan.name);
        if names.clone().any(|name| name == expected) {
            return None;
        }
        Some(self.in_short())
    }

    /// Which one it is, a case can say only where the policy leaves no choice.
    fn backend(&self, expected: &str) -> Option<String> {
        let [routed] = self.routed() else {
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

    fn status(&self) -> Option<u16> {
        match &self.done {
            Done::Refused { status, .. } => Some(*status),
            Done::Respond(answer) => Some(answer.status),
            Done::Redirect { status, .. } => Some(*status),
            Done::Forward(_) => None,
        }
    }

    fn reason(&self, expected: &str) -> Option<String> {
        let word = match &self.done {
            Done::Refused { reason, .. } => reason.word(),
            Done::Respond(_) | Done::Redirect { .. } => evenkeel_proxy::reason::Reason::Rule.word(),
            Done::Forward(_) => return Some(self.in_short()),
        };
        (word != expected).then(|| self.in_short())
    }

    fn location(&self, expected: &str) -> Option<String> {
        match &self.done {
            Done::Redirect { location, .. } if location == expected.as_bytes() => None,
            _ => Some(self.in_short()),
        }
    }

    fn path(&self, expected: &str) -> Option<String> {
        match &self.done {
            Done::Forward(forwarded) if forwarded.path == expected.as_bytes() => None,
            Done::Forward(forwarded) => {
                let path = String::from_utf8_lossy(&forwarded.path);
                Some(format!("`{}`", short(&path)))
            }
            _ => Some(self.in_short()),
        }
    }

    /// What is done, for a message.
    fn in_short(&self) -> String {
        match &self.done {
            Done::Refused { status, reason } => format!("an answer of {status}, {}", reason.word()),
            Done::Respond(answer) => format!("an answer of {} by the rule", answer.status),
            Done::Redirect { status, location } => {
                let location = String::from_utf8_lossy(location);
                format!("a redirect of {status} to `{}`", short(&location))
            }
            Done::Forward(forwarded) => {
                let names = forwarded
                    .services
                    .iter()
                    .map(|one| one.service.plan.name.to_string());
                format!("service {}", explain::several(&names.collect::<Vec<_>>()))
            }
        }
    }
}

/// A value for a message: its begin where it is long.
fn short(value: &str) -> String {
    match value.char_indices().nth(200) {
        None => value.to_owned(),
        Some((end, _)) => format!("{}...", &value[..end]),
    }
}
