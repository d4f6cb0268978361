//! Owns the laws of rules. The input is lines: a rule is `hosts paths methods listeners priority`, a question
//! `? listener method host target peer client`; lists have commas, `-` is no condition, missing ends are `-`.
//!
//! A path `=/a` is exact, `</a` a prefix, `~/a` an expression, anything else as the configuration takes a plain text. What stands
//! behind a priority is [`More`]; behind a client stand fields, `name=value`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use evenkeel_config::{Loaded, Source, load};
use evenkeel_proxy::rules::{Asked, Rules};
use evenkeel_wire::RequestHead;
use evenkeel_wire::http1::request::{self, PathForm};
use evenkeel_wire::http1::{HeadEnd, HeadLimits};
use regex::bytes::Regex;

/// Conditions beyond host, path and method.
mod more;

use more::More;

const RULES_MOST: usize = 16;
const QUESTIONS_MOST: usize = 16;
const LISTENERS: usize = 2;
const PRIORITY_LAST: u32 = 50_000;

/// Rules are written as a configuration, questions as requests; the index must answer as trying one rule after the other
/// does, by a reading of the same lines that knows neither. A rule that the configuration calls unreachable meets no request.
pub fn check(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let (mut lines, mut questions) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| line.len() <= 256) {
        match line.strip_prefix("? ") {
            Some(question) => questions.extend(Question::read(question)),
            None => lines.extend(Line::read(line)),
        }
    }
    lines.truncate(RULES_MOST);
    for (number, line) in lines.iter_mut().enumerate() {
        line.number = number;
    }
    questions.truncate(QUESTIONS_MOST);
    // A rule that is never reached is refused, and tried again without it.
    loop {
        let Some(loaded) = loaded(&lines) else {
            return false;
        };
        let unreachable: Vec<usize> = loaded
            .problems
            .iter()
            .filter(|problem| problem.word == "unreachable_rule")
            .map(|problem| problem.at.line - HEADER_LINES - 1)
            .collect();
        lines.sort_by_key(|line| line.priority);
        for question in &questions {
            let first = lines.iter().find(|line| line.holds(question));
            if let Some(first) = first.filter(|first| unreachable.contains(&first.number)) {
                panic!("{question:?} meets {first:?}, which is called unreachable");
            }
        }
        match loaded.plan {
            Some(plan) => return agree(&Rules::new(&plan.rules), &lines, &questions),
            None => lines.retain(|line| !unreachable.contains(&line.number)),
        }
    }
}

fn agree(index: &Rules, lines: &[Line<'_>], questions: &[Question]) -> bool {
    for question in questions {
        let Question {
            listener,
            head,
            peer,
            client,
        } = question;
        let asked = Asked::new(*listener, head, *peer, *client);
        let first = lines.iter().position(|line| line.holds(question));
        assert_eq!(index.find(&asked), first, "{asked:?} among {lines:?}");
    }
    !questions.is_empty()
}

const HEADER: &str =
    "listeners:\n  l0: { bind: 127.0.0.1:1 }\n  l1: { bind: 127.0.0.1:2 }\nrules:\n";
const HEADER_LINES: usize = 4;

/// The rules as a configuration, each in the line of its number. None: it is refused for another reason
/// than rules that are never reached.
fn loaded(lines: &[Line<'_>]) -> Option<Loaded> {
    let mut text = HEADER.to_owned();
    let last = lines.iter().map(|line| line.number).max()?;
    for number in 0..=last {
        match lines.iter().find(|line| line.number == number) {
            Some(line) => line.write(&mut text),
            None => text.push('\n'),
        }
    }
    let name = "rules".to_owned();
    let loaded = load(&[Source { name, text }], &BTreeMap::new());
    let other = |word| word != "unreachable_rule" && word != "unused_service";
    let refused = loaded.problems.iter().any(|problem| other(problem.word));
    (!refused).then_some(loaded)
}

/// One rule, as it was written.
#[derive(Debug)]
struct Line<'a> {
    number: usize,
    hosts: Vec<&'a str>,
    paths: Vec<Path<'a>>,
    methods: Vec<&'a str>,
    listeners: Vec<usize>,
    priority: u32,
    more: Vec<More<'a>>,
}

#[derive(Debug)]
enum Path<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    Expression(Regex),
    Plain(&'a str),
}

impl<'a> Line<'a> {
    fn read(text: &'a str) -> Option<Self> {
        if text.starts_with('#') || text.trim().is_empty() {
            return None;
        }
        let mut words = text.split(' ');
        let mut list = || match words.next() {
            None | Some("-") => Vec::new(),
            Some(word) => word.split(',').collect(),
        };
        let (hosts, paths, methods) = (list(), list(), list());
        let listeners = list()
            .iter()
            .filter_map(|word| word.parse().ok())
            .map(|listener: usize| listener % LISTENERS)
            .collect();
        let priority = words.next().and_then(|word| word.parse().ok());
        let more = words.map(More::read).collect::<Option<Vec<_>>>()?;
        // Each key stands once.
        let mut keys: Vec<_> = (more.iter().filter(|one| !one.not))
            .map(|one| one.written().0)
            .chain((!methods.is_empty()).then_some("method"))
            .collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() < all {
            return None;
        }
        Some(Self {
            more,
            number: 0,
            hosts,
            paths: paths.into_iter().map(Path::read).collect::<Option<_>>()?,
            methods,
            listeners,
            priority: priority.unwrap_or(PRIORITY_LAST).clamp(1, PRIORITY_LAST),
        })
    }

    /// As a line of the configuration.
    fn write(&self, out: &mut String) {
        let list = |items: Vec<String>| items.join(", ");
        let quoted = |items: &[&str]| list(items.iter().map(|item| quoted(item)).collect());
        let condition = |one: &More<'_>| {
            let (key, value) = one.written();
            format!("{key}: {value}")
        };
        let mut when = Vec::new();
        if !self.hosts.is_empty() {
            when.push(format!("host: [{}]", quoted(&self.hosts)));
        }
        if !self.paths.is_empty() {
            let paths = self.paths.iter().map(Path::written).collect();
            when.push(format!("path: [{}]", list(paths)));
        }
        if !self.methods.is_empty() {
            when.push(format!("method: [{}]", quoted(&self.methods)));
        }
        when.extend(self.more.iter().filter(|one| !one.not).map(condition));
        let none = self.more.iter().filter(|one| one.not);
        let none: Vec<_> = none
            .map(|one| format!("{{ {} }}", condition(one)))
            .collect();
        if !none.is_empty() {
            when.push(format!("not: [{}]", list(none)));
        }
        let listeners = self.listeners.iter().map(|listener| format!("l{listener}"));
        // Writing to a text does not fail.
        let _ = writeln!(
            out,
            "  - {{ name: r{}, priority: {}, listeners: [{}], when: {{ {} }}, respond: {{ status: 200 }} }}",
            self.number,
            self.priority,
            list(listeners.collect()),
            list(when)
        );
    }

    fn holds(&self, question: &Question) -> bool {
        let head = &question.head;
        let (host, path) = (head.host(), head.path());
        let one = |none: bool, any: bool| none || any;
        one(
            self.listeners.is_empty(),
            self.listeners.contains(&question.listener),
        ) && one(
            self.methods.is_empty(),
            self.methods
                .iter()
                .any(|method| method.as_bytes() == head.method()),
        ) && one(
            self.hosts.is_empty(),
            self.hosts.iter().any(|pattern| host_holds(pattern, host)),
        ) && one(
            self.paths.is_empty(),
            self.paths.iter().any(|pattern| pattern.holds(path)),
        ) && self.more.iter().all(|one| one.holds(question))
    }
}

fn host_holds(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let pattern = pattern.strip_suffix('.').unwrap_or(&pattern);
    let suffix = pattern.strip_prefix('*').filter(|suffix| {
        suffix.len() > 1 && suffix.starts_with('.') && !suffix.contains(['*', '?'])
    });
    match suffix {
        Some(suffix) => host
            .strip_suffix(suffix)
            .is_some_and(|label| !label.is_empty()),
        None => wildcard_holds(pattern.as_bytes(), host.as_bytes()),
    }
}

/// By the book: which lengths of the text the pattern's begin can stand for. A pattern without `*` and `?` is a text.
fn wildcard_holds(pattern: &[u8], text: &[u8]) -> bool {
    let mut ends = vec![false; text.len() + 1];
    ends[0] = true;
    for &byte in pattern {
        let before = ends.clone();
        for at in 0..=text.len() {
            ends[at] = match byte {
                b'*' => before[at] || (at > 0 && ends[at - 1]),
                b'?' => at > 0 && before[at - 1],
                _ => at > 0 && before[at - 1] && text[at - 1] == byte,
            };
        }
    }
    ends[text.len()]
}

impl<'a> Path<'a> {
    fn read(text: &'a str) -> Option<Self> {
        if let Some(exact) = text.strip_prefix('=') {
            return Some(Self::Exact(exact));
        }
        if let Some(prefix) = text.strip_prefix('<') {
            return Some(Self::Prefix(prefix));
        }
        let Some(expression) = text.strip_prefix('~') else {
            return Some(Self::Plain(text));
        };
        // Compiling the dear ones is not what is looked at here.
        let cheap = expression.len() <= 24 && !expression.contains(['{', '\\']);
        cheap
            .then(|| Regex::new(expression).ok())?
            .map(Self::Expression)
    }

    fn written(&self) -> String {
        match self {
            Self::Exact(path) => format!("{{ exact: {} }}", quoted(path)),
            Self::Prefix(path) => format!("{{ prefix: {} }}", quoted(path)),
            Self::Expression(regex) => format!("{{ regex: {} }}", quoted(regex.as_str())),
            Self::Plain(path) => quoted(path),
        }
    }

    fn holds(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == path,
            Self::Prefix(prefix) => {
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix).as_bytes();
                let below = [prefix, b"/"].concat();
                path == prefix || path.starts_with(&below)
            }
            Self::Expression(regex) => regex.is_match(path),
            Self::Plain(pattern) => wildcard_holds(pattern.as_bytes(), path),
        }
    }
}

/// A YAML text in double quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            ' '..='~' => out.push(char),
            _ => out.push_str(&format!("\\U{:08x}", u32::from(char))),
        }
    }
    out.push('"');
    out
}

/// A request that one of the listeners got.
#[derive(Debug)]
struct Question {
    listener: usize,
    head: RequestHead,
    peer: IpAddr,
    client: IpAddr,
}

impl Question {
    /// None: no head is made of this.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let listener: usize = words.next()?.parse().ok()?;
        let (method, host, path) = (words.next()?, words.next()?, words.next()?);
        let mut address = || {
            let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
            words.next().map_or(Some(own), |word| word.parse().ok())
        };
        let (peer, client) = (address()?, address()?);
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for word in words {
            let (name, value) = word.split_once('=')?;
            // A space would part the words.
            let value = value.replace('_', " ");
            text.extend([name, ": ", &value, "\r\n"]);
        }
        text.push_str("\r\n");
        let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
        let limits = HeadLimits::default();
        let form = PathForm::Normalize;
        request::parse(text.as_bytes(), &mut end, &limits, form, &mut head).ok()??;
        Some(Self {
            listener: listener % LISTENERS,
            head,
            peer,
            client,
        })
    }
}
