//! Owns what the control plane asks of whoever reads configurations: it opens no file and reads no text itself, and a change of a
//! running configuration is checked as a reload is.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use evenkeel_config::edits::{BODY, Change, Edits, Ground, Place};
use evenkeel_config::problem::At;
use evenkeel_config::{Plan, Problem, Severity, Source};
use evenkeel_proxy::rules::is_plain_field;

use crate::access_log::hides;

/// Reads configurations. Called from the control plane's thread, and from others for what is only shown.
pub trait Texts: Send + Sync {
    /// The texts as they stand now.
    ///
    /// # Errors
    /// One that cannot be read, in words.
    fn read(&self) -> Result<Vec<Source>, String>;

    /// What these come to. `known`: whatever files this plan names are not read again.
    fn compose(
        &self,
        ground: &Ground,
        edits: &Edits,
        change: Option<&Change>,
        known: Option<&Plan>,
    ) -> Read;

    /// Every value that holds by these. None: they have no plan.
    fn effective(
        &self,
        texts: &[Source],
        edits: &Edits,
        known: Option<&Plan>,
    ) -> Option<Vec<Value>>;
}

/// What texts come to.
#[derive(Debug)]
pub struct Read {
    /// None: there are errors.
    pub plan: Option<Plan>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What places of problems speak of; none are needed where there are no problems.
    pub sources: Vec<Source>,
    /// The edits that hold.
    pub edits: Edits,
    /// Those that do not hold any more.
    pub dropped: Vec<Place>,
}

/// One thing that is wrong with a change, or with what it would make of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The text: `body`, or a file of the configuration.
    pub text: String,
    /// Where in it.
    pub at: At,
    /// It keeps the change from being made.
    pub error: bool,
    /// Which case.
    pub word: &'static str,
    /// In words.
    pub message: String,
}

impl Read {
    /// Errors; of warnings, those of the change itself: others are known.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut all = self.all_faults();
        all.retain(|one| one.error || one.text == BODY);
        all
    }

    /// Errors and warnings.
    #[must_use]
    pub fn all_faults(&self) -> Vec<Fault> {
        let fault = |problem: &Problem| {
            let source = self.sources.get(problem.at.file);
            Fault {
                text: source.map_or("?", |source| &source.name).to_owned(),
                at: problem.at,
                error: problem.severity == Severity::Error,
                word: problem.word,
                message: problem.message.clone(),
            }
        };
        self.problems.iter().map(fault).collect()
    }
}

/// A value that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Like `services.api.backends[10.0.0.1:9000].weight`.
    pub path: String,
    /// As it is written. None: it is not shown.
    pub shown: Option<String>,
    /// Where it comes from: `default`, `file`, `environment` or `operator`.
    pub from: &'static str,
    /// The text and line, where it stands in one.
    pub place: Option<(String, usize)>,
}

/// The same without what sounds like a secret.
pub(crate) fn veiled(mut values: Vec<Value>) -> Vec<Value> {
    for one in &mut values {
        one.shown = veil(&one.path, one.shown.take());
    }
    values
}

fn veil(path: &str, shown: Option<String>) -> Option<String> {
    shown.filter(|shown| !is_secret(path, shown))
}

/// Keys of rules are free words that others chose: there a value goes by its name too. What a query or a cookie must be is not shown at all, and of
/// fields what the list of rules shows.
fn is_secret(path: &str, shown: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let rule = path
        .strip_prefix("rules[")
        .and_then(|rest| rest.split_once("]."));
    let below = rule.map_or(&*path, |(_, below)| below);
    let free = rule.is_some() || path.contains("headers") || path.starts_with("admin");
    let mut parts = below.split(['.', '[', ']']).filter(|part| !part.is_empty());
    let is_asked = |part: &str| part == "query" || part == "cookie";
    let is_when = rule.is_some() && below.starts_with("when");
    let asked = is_when && parts.clone().any(is_asked);
    let mut fields = parts.clone().skip_while(|part| *part != "header").skip(1);
    let veiled = is_when && fields.next().is_some_and(|name| !is_plain_field(name));
    let named = free && parts.any(|part| hides(part.as_bytes(), b""));
    asked || veiled || named || hides(b"", shown.as_bytes())
}

/// What lies between two lists of values, without what sounds like a secret.
pub(crate) fn between(before: &[Value], after: &[Value]) -> Vec<Difference> {
    let by_path = |all: &[Value]| -> BTreeMap<String, Option<String>> {
        let pair = |one: &Value| (one.path.clone(), one.shown.clone());
        all.iter().map(pair).collect()
    };
    let (before, mut after) = (by_path(before), by_path(after));
    let mut all = Vec::new();
    for (path, from) in before {
        let to = after.remove(&path);
        if to.as_ref() != Some(&from) {
            all.push((path, Some(from), to));
        }
    }
    all.extend(after.into_iter().map(|(path, to)| (path, None, Some(to))));
    all.sort_by(|one, other| one.0.cmp(&other.0));
    let told = all.into_iter().map(|(path, from, to)| Difference {
        from: from.map(|from| veil(&path, from)),
        to: to.map(|to| veil(&path, to)),
        path,
    });
    told.collect()
}

/// What stands at one path in two revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: String,
    /// Outer None: there was no such path. Inner: it is not shown.
    pub from: Option<Option<String>>,
    /// The same of what it is then.
    pub to: Option<Option<String>>,
}

/// Texts and who reads them.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) reads: Arc<dyn Texts>,
    pub(crate) ground: Arc<Ground>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sounds_like_a_secret_is_not_shown() {
        for (path, shown, secret) in [
            ("rules[a].when.header.X-Api-Key", "hunter2", true),
            ("rules[a].when.header.Accept", "seen", false),
            ("rules[a].when.header.Accept", "Bearer hunter2", true),
            ("rules[a].when.header.X-Origin-Verify", "seen", true),
            ("rules[a].when.not.header.X-Origin-Verify[0]", "seen", true),
            ("rules[a].when.query.plain", "hunter2", true),
            ("rules[a].when.not.cookie.sid[0]", "hunter2", true),
            (
                "rules[a].rewrite.request_headers.set.Authorization",
                "hunter2",
                true,
            ),
            ("rules[a].rewrite.request_headers.set.x-tier", "gold", false),
            ("services.api.health.http.headers.X-Token", "hunter2", true),
            ("services.api.backends[a:1].state", "draining", false),
            ("services.api.policy.hash.key.header", "x-user", false),
            ("listeners.web.tls.certificates[0].key", "site.key", false),
            ("rules[auth].forward", "api", false),
            ("admin.tokens", "hunter2", true),
        ] {
            assert_eq!(is_secret(path, shown), secret, "{path}: {shown}");
        }
    }
}
