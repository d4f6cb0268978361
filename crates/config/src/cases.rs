//! Owns files of cases: a table of requests and of what each is to meet, for a test of a configuration. Says what is wrong with such
//! a file as it is said of a configuration; whether a case holds is not for here to know.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::keys::CASE;
use crate::limits;
use crate::problem::{At, Problem, Severity, Source};
use crate::read::{Fields, Reading};
use crate::tree::{self, Node};

/// What stands in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// Where.
    pub at: At,
    /// What.
    pub value: T,
    /// The same for messages: its begin where it is long, and what the environment holds by its name.
    pub shown: String,
}

/// A request, and what it is to meet: all that stands there.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Method and URL, as written.
    pub request: Placed<(String, String)>,
    /// Names and values.
    pub fields: Vec<(String, String)>,
    /// The address that connects.
    pub from: IpAddr,
    /// The listener; none: each that it may come in by.
    pub listener: Option<Placed<String>>,
    /// The file of the certificate that it shows, as written.
    pub cert: Option<Placed<String>>,
    /// The rule.
    pub rule: Option<Placed<String>>,
    /// All services that the rule may send it to.
    pub service: Option<Placed<Vec<String>>>,
    /// The same with the part of such requests that each gets, 0 to 1.
    pub share: Option<Placed<Vec<(String, f64)>>>,
    /// The service that takes it when that one refuses.
    pub fallback: Option<Placed<String>>,
    /// The backend.
    pub backend: Option<Placed<String>>,
    /// The status of an answer that is made here, 100 to 599.
    pub status: Option<Placed<u16>>,
    /// Its reason.
    pub reason: Option<Placed<String>>,
    /// Where a redirect leads.
    pub location: Option<Placed<String>>,
    /// The path that a backend gets.
    pub path: Option<Placed<String>>,
    /// The query that it gets; empty: none.
    pub query: Option<Placed<String>>,
    /// The host that it gets.
    pub host: Option<Placed<String>>,
}

const START: At = At {
    file: 0,
    line: 1,
    column: 1,
    length: 1,
};

/// Reads a file of cases, a list of at most [`limits::CASES`]. `environment` is what `${NAME}` reads.
///
/// # Errors
/// Everything that is wrong with it.
pub fn cases(
    source: &Source,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<Case>, Vec<Problem>> {
    let mut problems = Vec::new();
    let tree = tree::parse(0, &source.text, &mut problems);
    let reading = Reading::new(problems, environment.clone());
    let mut cases = Vec::new();
    if let Some(tree) = tree.filter(|tree| !tree.is_null()) {
        let what = format!("{} cases in one file", limits::CASES);
        let items = reading.first(reading.items(&tree), limits::CASES, |node| node.at, &what);
        for item in items {
            cases.extend(reading.map(item, &CASE).and_then(case));
        }
    }
    let mut problems = reading.into_problems();
    if cases.is_empty() && problems.is_empty() {
        // A file that was emptied by mistake must not pass.
        problems.push(Problem {
            at: START,
            severity: Severity::Error,
            word: "empty",
            message: "no cases stand here".into(),
            also: None,
        });
    }
    match problems.is_empty() {
        true => Ok(cases),
        false => Err(problems),
    }
}

fn case(fields: Fields<'_>) -> Option<Case> {
    let reading = fields.reading;
    let text = |key: &'static str| {
        let node = fields.get(key)?;
        let text = reading.text(node)?;
        Some(Placed {
            at: node.at,
            value: text.value().to_owned(),
            shown: text.to_string(),
        })
    };
    let request = fields.get("request");
    if request.is_none() {
        reading.error(fields.at, "missing", "a case has a `request`");
    }
    let request = request.and_then(|node| request_of(reading, node));
    let headers = fields.get("headers").map(|node| headers(reading, node));
    let from = fields.with("from", |reading, node| {
        reading.parsed(node, "address", |text| {
            let address = text.value().parse::<IpAddr>();
            address.map_err(|_| format!("`{text}` is no address"))
        })
    });
    let status = fields.number::<u16>("status");
    let status = status.zip(fields.stands("status"));
    let [listener, cert] = ["listener", "cert"].map(text);
    let [rule, fallback, backend] = ["rule", "fallback", "backend"].map(text);
    let [reason, location, path] = ["reason", "location", "path"].map(text);
    let [query, host] = ["query", "host"].map(text);
    let service = fields.with("service", several);
    let share = fields.with("share", shares);
    let asked = CASE.keys.iter().skip_while(|key| key.name != "rule");
    let expects = asked
        .map(|key| fields.stands(key.name))
        .any(|key| key.is_some());
    if !expects {
        let message = "this case expects nothing; give it `rule`, `service`, `status` or another";
        reading.error(fields.at, "missing", message);
    }
    fields.done();
    Some(Case {
        request: request?,
        fields: headers.unwrap_or_default(),
        from: from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        listener,
        cert,
        rule,
        service,
        share,
        fallback,
        backend,
        status: status.map(|(value, (_, node))| Placed {
            at: node.at,
            value,
            shown: value.to_string(),
        }),
        reason,
        location,
        path,
        query,
        host,
    })
}

/// One name or several.
fn several(reading: &Reading, node: &Node) -> Option<Placed<Vec<String>>> {
    let items = reading.items(node);
    let names: Vec<_> = items.iter().map_while(|item| reading.text(item)).collect();
    // What is no text was told; no name at all would hold for nothing.
    if items.is_empty() {
        reading.error(node.at, "missing", "the name of a service is missing here");
    }
    (names.len() == items.len() && !names.is_empty()).then(|| {
        let shown: Vec<_> = names.iter().map(ToString::to_string).collect();
        Placed {
            at: node.at,
            value: names.iter().map(|name| name.value().to_owned()).collect(),
            shown: shown.join(", "),
        }
    })
}

/// Names, each with its part of the whole.
fn shares(reading: &Reading, node: &Node) -> Option<Placed<Vec<(String, f64)>>> {
    let entries = reading.free(node, "share")?;
    let mut value = Vec::new();
    for (name, node) in entries {
        value.push((name.text.clone(), reading.share(node)?));
    }
    let shown: Vec<_> = value
        .iter()
        .map(|(name, share)| format!("{name}: {:.1}%", share * 100.0))
        .collect();
    Some(Placed {
        at: node.at,
        shown: shown.join(", "),
        value,
    })
}

/// Method and URL.
fn request_of(reading: &Reading, node: &Node) -> Option<Placed<(String, String)>> {
    let (value, shown) = reading.parsed(node, "request", |text| {
        let parts = text.value().split_once(' ');
        let (method, url) = parts.ok_or("a request is a method and a URL: `GET http://a/`")?;
        Ok(((method.to_owned(), url.to_owned()), text.to_string()))
    })?;
    let at = node.at;
    Some(Placed { at, value, shown })
}

/// Fields by name, several of one name as a list.
fn headers(reading: &Reading, node: &Node) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let entries = reading.free(node, "headers").unwrap_or_default();
    for (name, node) in entries {
        for value in reading.items(node) {
            if all.len() == limits::CASE_FIELDS {
                let message = format!("more than {} fields of one request", limits::CASE_FIELDS);
                reading.error(value.at, "too_many", message);
                return all;
            }
            if let Some(value) = reading.text(value) {
                all.push((name.text.clone(), value.value().to_owned()));
            }
        }
    }
    all
}
