//! Owns the conditions beyond host, path and method: `header`, `cookie`, `query`, `source`, `client_certificate`, `not`.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::conditions::{conditions, is_empty};
use super::values;
use crate::keys::{CLIENT_CERTIFICATE, SOURCE, VALUE, WHEN};
use crate::limits;
use crate::lower::address::network;
use crate::lower::paths::{Unusual, wildcard};
use crate::lower::tls;
use crate::plan::{CertificatePart, Certified, Further, Named, Networks, Parameter, TextPattern};
use crate::problem::{At, clipped};
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// The longest name of a field, a cookie or a key.
const NAME_MOST: usize = 256;

/// What all conditions of one rule share while they are read.
pub(super) struct Shared<'u> {
    /// Paths that only some listeners can see.
    pub(super) unusual: &'u Unusual,
    /// Whether all that stands there could be read so far.
    pub(super) whole: Cell<bool>,
    /// Values left that are tried one by one; none: there were too many.
    left: Cell<Option<usize>>,
}

impl<'u> Shared<'u> {
    pub(super) fn new(unusual: &'u Unusual) -> Self {
        Self {
            unusual,
            whole: Cell::new(true),
            left: Cell::new(Some(limits::TRIED_VALUES)),
        }
    }

    /// What was read, or a note that something was not.
    pub(super) fn noted<T>(&self, read: Option<T>) -> Option<T> {
        if read.is_none() {
            self.whole.set(false);
        }
        read
    }

    /// As many of these as are left for the rule.
    pub(super) fn tried<'t, T>(
        &self,
        reading: &Reading,
        items: &'t [T],
        place: impl Fn(&T) -> At,
    ) -> &'t [T] {
        // One that is told is enough.
        let Some(left) = self.left.get() else {
            self.whole.set(false);
            return &[];
        };
        self.left.set(left.checked_sub(items.len()));
        if items.len() > left {
            self.whole.set(false);
        }
        let what = format!(
            "{} values in the `header`, `cookie`, `query`, `client_certificate` and `not` of one rule, which are tried one by one",
            limits::TRIED_VALUES
        );
        reading.first(items, left, place, &what)
    }
}

/// All of them, those first that are cheap to try.
pub(super) fn further(map: &Fields<'_>, depth: usize, shared: &Shared<'_>) -> Arc<[Further]> {
    let reading = map.reading;
    let mut all = Vec::new();
    if let Some(node) = map.get("source") {
        source(reading, node, shared, &mut all);
    }
    if let Some(node) = map.get("client_certificate") {
        certificate(reading, node, shared, &mut all);
    }
    if let Some(node) = map.get("header") {
        let fields = named(reading, node, shared, "header", field_name, field_value);
        all.extend(fields.into_iter().map(Further::Header));
    }
    if let Some(node) = map.get("cookie") {
        let cookies = named(reading, node, shared, "cookie", cookie_name, cookie_value);
        all.extend(cookies.into_iter().map(Further::Cookie));
    }
    if let Some(node) = map.get("query") {
        all.extend(shared.noted(query(reading, node, shared)));
    }
    if let Some(node) = map.get("not") {
        all.extend(shared.noted(not(reading, node, depth, shared)));
    }
    all.into()
}

/// Notes what asks nothing: it would hold for everything or for nothing, and nobody writes it to mean that.
fn empty(reading: &Reading, node: &Node, key: &str, shared: &Shared<'_>) -> bool {
    let empty = is_empty(node);
    if empty {
        shared.whole.set(false);
        let message = format!("an empty `{key}` says nothing; leave it out or fill it");
        reading.error(node.at, "empty", message);
    }
    empty
}

fn source(reading: &Reading, node: &Node, shared: &Shared<'_>, all: &mut Vec<Further>) {
    if empty(reading, node, "source", shared) {
        return;
    }
    if !matches!(node.value, Value::Map(_)) {
        return all.push(Further::Peer(networks(reading, node, shared)));
    }
    let Some(map) = shared.noted(reading.map(node, &SOURCE)) else {
        return;
    };
    for (key, further) in [
        ("peer", Further::Peer as fn(Networks) -> Further),
        ("client", Further::Client),
    ] {
        if let Some(node) = map.get(key)
            && !empty(reading, node, key, shared)
        {
            all.push(further(networks(reading, node, shared)));
        }
    }
    map.done();
}

fn networks(reading: &Reading, node: &Node, shared: &Shared<'_>) -> Networks {
    let nodes = values(reading, node, "source");
    if nodes.len() < reading.items(node).len() {
        shared.whole.set(false);
    }
    let network = |node| shared.noted(reading.parsed(node, "address", network));
    Networks::new(nodes.iter().filter_map(network))
}

/// `any`, `none`, or `{ subject: value, fingerprint: [value], san: value }`
fn certificate(reading: &Reading, node: &Node, shared: &Shared<'_>, all: &mut Vec<Further>) {
    if empty(reading, node, "client_certificate", shared) {
        return;
    }
    if !matches!(node.value, Value::Map(_)) {
        let words = reading.word(node, "value", &["any", "none"]);
        all.extend(shared.noted(words).map(|word| {
            let value = match word {
                "none" => TextPattern::Absent,
                _ => TextPattern::Present,
            };
            Further::Certificate(Certified {
                part: CertificatePart::Whole,
                values: vec![value],
            })
        }));
        return;
    }
    let Some(map) = shared.noted(reading.map(node, &CLIENT_CERTIFICATE)) else {
        return;
    };
    if let Some(node) = map.get("fingerprint")
        && !empty(reading, node, "fingerprint", shared)
    {
        let nodes = shared.tried(reading, reading.items(node), |node| node.at);
        let value = |node| shared.noted(reading.parsed(node, "value", fingerprint));
        all.push(Further::Certificate(Certified {
            part: CertificatePart::Fingerprint,
            values: nodes.iter().filter_map(value).collect(),
        }));
    }
    type Text = fn(&Scalar) -> Result<TextPattern, String>;
    for (key, part, text) in [
        ("subject", CertificatePart::Subject, subject as Text),
        ("san", CertificatePart::San, san),
    ] {
        let node = map.get(key);
        let values = node.and_then(|node| patterns(reading, node, key, shared, text));
        all.extend(values.map(|values| Further::Certificate(Certified { part, values })));
    }
    if !map.all_known() {
        shared.whole.set(false);
    }
    map.done();
}

fn fingerprint(written: &Scalar) -> Result<TextPattern, String> {
    tls::fingerprint(written).map(TextPattern::Exact)
}

fn subject(written: &Scalar) -> Result<TextPattern, String> {
    tls::plain(written, "subject")?;
    text(written.value(), false)
}

fn san(written: &Scalar) -> Result<TextPattern, String> {
    tls::plain(written, "alternative name")?;
    let value = written.value();
    if value.contains(',') {
        return Err(format!(
            "`{written}` can be no alternative name: a comma in it is written `\\2c`; several names are a list"
        ));
    }
    // Names of hosts are the same in any case, and so is what stands before them.
    text(value, value.starts_with("DNS:"))
}

/// `{ name: value, other: [value, { regex: … }] }`
fn named(
    reading: &Reading,
    node: &Node,
    shared: &Shared<'_>,
    what: &str,
    name: fn(&str) -> Result<String, String>,
    text: fn(&Scalar) -> Result<TextPattern, String>,
) -> Vec<Named> {
    let entries = match empty(reading, node, what, shared) {
        true => None,
        false => shared.noted(reading.free(node, what)),
    };
    let mut seen = HashMap::new();
    let mut all = Vec::new();
    for (key, node) in entries.unwrap_or_default() {
        let name = match name(&key.text) {
            Ok(name) => name,
            Err(message) => {
                shared.whole.set(false);
                reading.error(key.at, "name", message);
                continue;
            }
        };
        if let Some(earlier) = seen.insert(name.clone(), key.at) {
            let message = format!("`{name}` stands here twice, in other letters; give it a list");
            reading.error_with(key.at, "duplicate_key", message, earlier);
        }
        all.extend(
            patterns(reading, node, &key.text, shared, text).map(|values| Named {
                name: name.into(),
                values,
            }),
        );
    }
    all
}

/// The values of one name. None: there are none.
fn patterns(
    reading: &Reading,
    node: &Node,
    name: &str,
    shared: &Shared<'_>,
    text: fn(&Scalar) -> Result<TextPattern, String>,
) -> Option<Vec<TextPattern>> {
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        empty(reading, node, &clipped(name), shared);
        return None;
    }
    let nodes = shared.tried(reading, reading.items(node), |node| node.at);
    let pattern = |node| shared.noted(pattern(reading, node, text));
    let all: Vec<_> = nodes.iter().filter_map(pattern).collect();
    (!all.is_empty()).then_some(all)
}

/// A text as this kind of value has it, or a map.
fn pattern(
    reading: &Reading,
    node: &Node,
    text: fn(&Scalar) -> Result<TextPattern, String>,
) -> Option<TextPattern> {
    if !matches!(node.value, Value::Map(_)) {
        return reading.parsed(node, "value", text);
    }
    let map = reading.map(node, &VALUE)?;
    let exact = map.text("exact");
    let exact = exact.map(|text| TextPattern::Exact(text.value().into()));
    let regex = map.with("regex", Reading::expression);
    let present = map.with("present", Reading::boolean);
    let present = present.map(|present| match present {
        true => TextPattern::Present,
        false => TextPattern::Absent,
    });
    let given = VALUE.one_of.iter().filter(|key| map.stands(key).is_some());
    if given.count() != 1 {
        let message = "a value is one of `exact`, `regex` and `present`";
        reading.error(map.at, "one_pattern", message);
    }
    map.done();
    exact.or(regex.map(TextPattern::Regex)).or(present)
}

/// A text without `*` and `?`, or a pattern; in any case or as written.
fn text(text: &str, any_case: bool) -> Result<TextPattern, String> {
    let wild = text.contains(['*', '?']);
    Ok(match any_case {
        true if wild => TextPattern::WildcardAnyCase(wildcard(&text.to_ascii_lowercase())?),
        true => TextPattern::AnyCase(text.to_ascii_lowercase().into()),
        false if wild => TextPattern::Wildcard(wildcard(text)?),
        false => TextPattern::Exact(text.into()),
    })
}

fn field_value(written: &Scalar) -> Result<TextPattern, String> {
    let value = written.value();
    let sound = value
        .bytes()
        .all(|byte| byte == b'\t' || byte >= b' ' && byte != 0x7f);
    if !sound || value.trim_matches([' ', '\t']) != value {
        return Err(format!(
            "`{written}` can be no field's value: it has no control characters, and no spaces at its ends"
        ));
    }
    text(value, true)
}

fn cookie_value(written: &Scalar) -> Result<TextPattern, String> {
    let value = written.value();
    let sound = value
        .bytes()
        .all(|byte| byte >= b' ' && byte != 0x7f && byte != b';');
    if !sound || value.trim_matches(' ') != value {
        return Err(format!(
            "`{written}` can be no cookie's value: it has no semicolon, no control characters, and no spaces at its ends"
        ));
    }
    text(value, false)
}

fn query_value(written: &Scalar) -> Result<TextPattern, String> {
    text(written.value(), true)
}

fn is_token(text: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=NAME_MOST).contains(&text.len()) && text.bytes().all(sound)
}

fn field_name(text: &str) -> Result<String, String> {
    if !is_token(text) {
        return Err(format!("`{}` is no field's name", clipped(text)));
    }
    let name = text.to_ascii_lowercase();
    match &*name {
        // The field is one of several spellings of what a request asks for.
        "host" => Err("a request's host is a condition of its own: write `host:`".into()),
        "cookie" => {
            Err("cookies are a condition of their own: write `cookie: { name: value }`".into())
        }
        _ => Ok(name),
    }
}

fn cookie_name(text: &str) -> Result<String, String> {
    match is_token(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("`{}` is no cookie's name", clipped(text))),
    }
}

/// `{ key: value }`, `value`, or a list of these, of which one is enough.
fn query(reading: &Reading, node: &Node, shared: &Shared<'_>) -> Option<Further> {
    if empty(reading, node, "query", shared) {
        return None;
    }
    let mut alternatives = Vec::new();
    for item in reading.items(node) {
        let Value::Map(entries) = &item.value else {
            let value = std::slice::from_ref(item);
            let value = shared.tried(reading, value, |node| node.at).first()?;
            let value = shared.noted(reading.parsed(value, "value", query_value));
            alternatives.extend(value.map(|value| {
                let key = TextPattern::Present;
                let values = vec![value];
                vec![Parameter { key, values }]
            }));
            continue;
        };
        if empty(reading, item, "query", shared) {
            continue;
        }
        let mut all = Vec::new();
        for (key, node) in entries {
            let name = text(&key.text, true);
            let name = name.map_err(|message| reading.error(key.at, "name", message));
            let values = patterns(reading, node, &key.text, shared, query_value);
            let parameter = name.ok().zip(values);
            all.extend(shared.noted(parameter.map(|(key, values)| Parameter { key, values })));
        }
        alternatives.push(all);
    }
    Some(Further::Query(alternatives))
}

/// Conditions of which none hold whole.
fn not(reading: &Reading, node: &Node, depth: usize, shared: &Shared<'_>) -> Option<Further> {
    if empty(reading, node, "not", shared) {
        return None;
    }
    if depth >= limits::NOT_DEPTH {
        let message = format!("`not` stands in `not` at most {} deep", limits::NOT_DEPTH);
        reading.error(node.at, "too_deep", message);
        return None;
    }
    let mut none = Vec::new();
    for item in shared.tried(reading, reading.items(node), |node| node.at) {
        if !empty(reading, item, "not", shared)
            && let Some(map) = shared.noted(reading.map(item, &WHEN))
        {
            none.push(conditions(&map, depth + 1, shared));
            map.done();
        }
    }
    Some(Further::Not(none))
}
