//! Owns YAML text into a tree whose every node knows where it stands. Says nothing about what keys mean.
//!
//! The parser's events are taken as they come: a scalar stays the text that was written, so that an id `1.10` does not
//! become 1.1. Aliases are copied within a budget; what one text may hold is limited.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use crate::limits::PROBLEMS;
use crate::problem::{At, Problem, Severity, clipped};

/// Bytes of one text.
pub const TEXT_MOST: usize = 16 * 1024 * 1024;

/// Nodes of one text, anchors and aliases counted as often as they are copied.
pub const NODES_MOST: usize = 2_000_000;

/// How deep maps and lists may stand in one another.
pub const DEPTH_MOST: usize = 64;

/// The key below which a switch and its settings may stand under one name, as a document of another system writes them.
pub(crate) const LOAD_BALANCER: &str = "load_balancer";

/// The key of such a switch among its settings.
const ENABLED: &str = "enabled";

/// A node and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A scalar as written; `plain`: without quotes.
    Scalar {
        text: Arc<str>,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) at: At,
    pub(crate) text: String,
}

impl Node {
    /// A text in quotes.
    pub(crate) fn text(at: At, text: &str) -> Self {
        let value = Value::Scalar {
            text: text.into(),
            plain: false,
        };
        Self { at, value }
    }

    /// Whether nothing stands there, or a plain `null` or `~`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(&**text, "" | "~" | "null"))
    }

    /// Whether it is one value, or nothing.
    pub(crate) const fn is_scalar(&self) -> bool {
        matches!(self.value, Value::Scalar { .. })
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Reads one text. None: it holds nothing.
pub(crate) fn parse(file: usize, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let begin = At {
        file,
        line: 1,
        column: 1,
        length: 1,
    };
    let error = |at, word, message: String| Problem {
        at,
        severity: Severity::Error,
        word,
        message,
        also: None,
    };
    if text.len() > TEXT_MOST {
        let message = format!("a file may have at most {} MiB", TEXT_MOST / 1024 / 1024);
        problems.push(error(begin, "too_large", message));
        return None;
    }
    if let Some(at) = lone_return(text) {
        let message = "a line ends here with a lone CR, which few show: what looks like a comment may not be one";
        problems.push(error(At { file, ..at }, "syntax", message.into()));
        return None;
    }
    let mut builder = Builder {
        file,
        nodes: 0,
        copied: 0,
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        problems,
    };
    for step in Parser::new_from_str(text) {
        let taken = match step {
            Ok((event, span)) => builder.take(event, &span),
            Err(error) => {
                let marker = error.marker();
                let at = At {
                    line: marker.line().max(1),
                    column: marker.col() + 1,
                    ..begin
                };
                Err((at, "syntax", error.kind().to_string()))
            }
        };
        if let Err((at, word, message)) = taken {
            builder.problems.push(error(at, word, message));
            return None;
        }
    }
    builder.root
}

/// The first CR without its LF. To YAML it ends a line, to editors and to whoever reads a position it does not.
fn lone_return(text: &str) -> Option<At> {
    let (at, _) = text
        .match_indices('\r')
        .find(|(at, _)| text.as_bytes().get(at + 1) != Some(&b'\n'))?;
    let before = &text[..at];
    let line = before.rsplit('\n').next().unwrap_or(before);
    Some(At {
        file: 0,
        line: before.matches('\n').count() + 1,
        column: line.chars().count() + 1,
        length: 1,
    })
}

type Fault = (At, &'static str, String);

/// A list or map that is not closed yet.
struct Open {
    at: At,
    anchor: usize,
    value: Value,
    /// A map's key whose value comes next.
    key: Option<Key>,
    /// A map's keys so far.
    keys: HashMap<String, At>,
}

struct Builder<'a> {
    file: usize,
    nodes: usize,
    /// Bytes of text that anchors and aliases copied.
    copied: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    problems: &'a mut Vec<Problem>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Fault> {
        let at = At {
            file: self.file,
            line: span.start.line().max(1),
            column: span.start.col() + 1,
            length: if span.end.line() == span.start.line() {
                span.end.col().saturating_sub(span.start.col()).max(1)
            } else {
                1
            },
        };
        match event {
            Event::Scalar(text, style, anchor, _) => self.scalar(at, &text, style, anchor),
            Event::SequenceStart(_, anchor, _) => self.begin(at, anchor, Value::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.begin(at, anchor, Value::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => match self.anchors.remove(&id) {
                Some(node) => {
                    let copy = self.copy(at, &node);
                    self.anchors.insert(id, node);
                    self.place(Node { at, ..copy? })
                }
                None => Err((at, "alias", "this alias stands inside what it names".into())),
            },
            Event::DocumentStart(..) if self.root.is_some() => Err((
                at,
                "documents",
                "one file holds one document; put the second one into a file of its own".into(),
            )),
            _ => Ok(()),
        }
    }

    fn count(&mut self, at: At, more: usize) -> Result<(), Fault> {
        self.nodes += more;
        if self.nodes > NODES_MOST {
            return Err((
                at,
                "too_large",
                format!(
                    "more than {NODES_MOST} nodes, anchors and aliases counted as often as they are copied"
                ),
            ));
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        at: At,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
    ) -> Result<(), Fault> {
        self.count(at, 1)?;
        let plain = style == ScalarStyle::Plain;
        let node = Node {
            at,
            value: Value::Scalar {
                text: text.into(),
                plain,
            },
        };
        self.keep(anchor, &node)?;
        self.place(node)
    }

    /// Keeps what has an anchor for its aliases.
    fn keep(&mut self, anchor: usize, node: &Node) -> Result<(), Fault> {
        if anchor > 0 {
            let copy = self.copy(node.at, node)?;
            self.anchors.insert(anchor, copy);
        }
        Ok(())
    }

    /// A copy, within the limits of what all copies together may hold.
    fn copy(&mut self, at: At, node: &Node) -> Result<Node, Fault> {
        let (nodes, bytes) = size(node);
        self.count(at, nodes)?;
        self.copied += bytes;
        if self.copied > TEXT_MOST {
            let most = TEXT_MOST / 1024 / 1024;
            let message = format!("anchors and aliases copy more than {most} MiB of text");
            return Err((at, "too_large", message));
        }
        Ok(node.clone())
    }

    fn begin(&mut self, at: At, anchor: usize, value: Value) -> Result<(), Fault> {
        self.count(at, 1)?;
        if self.open.len() == DEPTH_MOST {
            return Err((at, "too_deep", format!("more than {DEPTH_MOST} levels")));
        }
        self.open.push(Open {
            at,
            anchor,
            value,
            key: None,
            keys: HashMap::new(),
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let node = Node {
            at: open.at,
            value: open.value,
        };
        self.keep(open.anchor, &node)?;
        self.place(node)
    }

    fn place(&mut self, node: Node) -> Result<(), Fault> {
        let switches = matches!(&self.open[..], [top, _] if top.key.as_ref().is_some_and(|key| key.text == LOAD_BALANCER));
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some(key)) => {
                let other = open.keys.get(&key.text).copied();
                let node = match other {
                    Some(_) if switches => joined(entries, &key, node),
                    _ => Some(node),
                };
                let Some(node) = node else { return Ok(()) };
                if let Some(other) = other {
                    if self.problems.len() >= PROBLEMS {
                        let message = format!("more than {PROBLEMS} problems");
                        return Err((key.at, "too_many", message));
                    }
                    self.problems.push(Problem {
                        at: key.at,
                        severity: Severity::Error,
                        word: "duplicate_key",
                        message: format!("`{}` stands here twice", clipped(&key.text)),
                        also: Some(other),
                    });
                } else {
                    open.keys.insert(key.text.clone(), key.at);
                    entries.push((key, node));
                }
            }
            (Value::Map(_), None) => {
                let Value::Scalar { text, .. } = node.value else {
                    return Err((node.at, "key", "a key must be a plain text".into()));
                };
                open.key = Some(Key {
                    at: node.at,
                    text: String::from(&*text),
                });
            }
            (Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }
}

/// Makes a switch and its settings that stand under one key one map, whichever came first. Else the second one is given back.
fn joined(entries: &mut [(Key, Node)], key: &Key, mut node: Node) -> Option<Node> {
    let is_switch = |node: &Node| {
        let Value::Scalar { text, plain } = &node.value else {
            return false;
        };
        *plain && matches!(&**text, "true" | "false")
    };
    let first = entries.iter_mut().find(|(other, _)| other.text == key.text);
    let Some((_, first)) = first else {
        return Some(node);
    };
    if is_switch(first) && matches!(node.value, Value::Map(_)) {
        std::mem::swap(first, &mut node);
    }
    match &mut first.value {
        Value::Map(settings)
            if is_switch(&node) && settings.iter().all(|(key, _)| key.text != ENABLED) =>
        {
            let key = Key {
                at: node.at,
                text: ENABLED.to_owned(),
            };
            settings.push((key, node));
            None
        }
        _ => Some(node),
    }
}

/// Nodes, and bytes of text.
fn size(node: &Node) -> (usize, usize) {
    let sum = |parts: &mut dyn Iterator<Item = (usize, usize)>| {
        parts.fold((1, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    };
    match &node.value {
        Value::Scalar { text, .. } => (1, text.len()),
        Value::List(items) => sum(&mut items.iter().map(size)),
        Value::Map(entries) => sum(&mut entries.iter().map(|(key, node)| {
            let (nodes, bytes) = size(node);
            (nodes + 1, bytes + key.text.len())
        })),
    }
}
