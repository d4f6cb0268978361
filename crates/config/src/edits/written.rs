//! Owns nodes as JSON, which is kept, and as a number, which says whether a text is what it was.

use std::fmt::Write;

use evenkeel_balance::hashing::{key, mix};

use crate::limits::CHANGED_NAME;
use crate::problem::{clipped, steers};
use crate::tree::{Node, Value};

/// Why something new may not go by a name: what comes through an address stands in logs, tables and metrics by it.
pub(super) fn unfit(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a name has one character at least".to_owned());
    }
    if name.len() > CHANGED_NAME {
        return Some(format!("a name has at most {CHANGED_NAME} bytes"));
    }
    let steering = name.contains(steers);
    steering.then(|| {
        format!(
            "`{}` has characters that a terminal obeys: choose others",
            clipped(name)
        )
    })
}

/// Whether a text without quotes is JSON: a number, `true`, `false` or `null`.
pub(super) fn is_json_word(text: &str) -> bool {
    if matches!(text, "true" | "false" | "null") {
        return true;
    }
    let begins = text.strip_prefix('-').unwrap_or(text);
    let number = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    begins.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(number)
        && text.parse::<f64>().is_ok()
}

/// As JSON on one line.
pub(super) fn json(node: &Node) -> String {
    let mut out = String::new();
    put(node, &mut out);
    out
}

fn put(node: &Node, out: &mut String) {
    match &node.value {
        Value::Scalar { text, plain: true } if is_json_word(text) => out.push_str(text),
        Value::Scalar { text, .. } => quote(text, out),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                put(item, out);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (at, (key, node)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                quote(&key.text, out);
                out.push_str(": ");
                put(node, out);
            }
            out.push('}');
        }
    }
}

/// What YAML would refuse as it is, or read as the end of a line, is escaped; JSON understands that too.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                // Writing to a text does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
}

/// What a node says, as a number: the same in every process and version, wherever it stands.
pub(super) fn number(node: &Node) -> u64 {
    said(0, node)
}

fn said(before: u64, node: &Node) -> u64 {
    match &node.value {
        Value::Scalar { text, plain } => {
            mix(mix(before, 1 + u64::from(*plain)), key(text.as_bytes()))
        }
        Value::List(items) => items.iter().fold(mix(before, 3), said).rotate_left(1),
        Value::Map(entries) => {
            let entry = |before, (name, node): &(crate::tree::Key, Node)| {
                said(mix(before, key(name.text.as_bytes())), node)
            };
            entries.iter().fold(mix(before, 4), entry).rotate_left(2)
        }
    }
}
