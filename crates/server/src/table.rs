//! Owns rows and columns for people.

use std::fmt::Write as _;

use evenkeel_config::problem::plainly;
use serde_json::Value;

/// Columns as wide as their widest cell, two spaces between them.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let wide = |column: usize| rows.iter().map(move |row| row[column].chars().count());
    let widths: [usize; N] = std::array::from_fn(|column| wide(column).max().unwrap_or(0));
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    out
}

/// A value as a cell; nothing where there is none.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => plainly(text).into_owned(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.1}", number.as_f64().unwrap_or_default())
        }
        other => plainly(&other.to_string()).into_owned(),
    }
}

/// A value as lines: each key with what it says, what is within it further in, rows of a list with a dash.
pub(crate) fn outline(value: &Value) -> String {
    let mut out = String::new();
    indented(value, 0, &mut out);
    out
}

fn indented(value: &Value, depth: usize, out: &mut String) {
    let margin = "  ".repeat(depth);
    let plain = |one: &Value| !matches!(one, Value::Array(_) | Value::Object(_));
    let none = |one: &Value| match one {
        Value::Null => true,
        Value::Array(rows) => rows.is_empty(),
        Value::Object(keys) => keys.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(keys) => {
            for (key, one) in keys.iter().filter(|(_, one)| !none(one)) {
                let key = plainly(key);
                if plain(one) {
                    let _ = writeln!(out, "{margin}{key}: {}", cell(one));
                } else {
                    let _ = writeln!(out, "{margin}{key}:");
                    indented(one, depth + 1, out);
                }
            }
        }
        Value::Array(rows) => {
            for one in rows {
                let mut within = String::new();
                indented(one, depth + 1, &mut within);
                let first = within.trim_start();
                let _ = write!(out, "{margin}- {first}");
            }
        }
        one => {
            let _ = writeln!(out, "{margin}{}", cell(one));
        }
    }
}

/// A time in its largest two units.
pub(crate) fn lasting(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time below zero is shown as none, and one beyond all years as the last"
    )]
    let mut left = seconds.max(0.0) as u64;
    let mut shown = Vec::new();
    for (length, unit) in UNITS {
        let many = left / length;
        left %= length;
        if many > 0 || (length == 1 && shown.is_empty()) {
            shown.push(format!("{many}{unit}"));
        }
    }
    shown.truncate(2);
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_as_wide_as_the_widest() {
        let row = |cells: [&str; 2]| cells.map(String::from);
        let shown = table(&[row(["a", "b"]), row(["\u{e4}\u{f6}\u{fc}", ""])]);
        assert_eq!(shown, "a    b\n\u{e4}\u{f6}\u{fc}\n");
    }

    #[test]
    fn nothing_in_a_cell_steers_a_terminal() {
        for (value, shown) in [
            (json!("a\u{1b}[2J"), "a\\u{1b}[2J"),
            (json!(["\u{9b}"]), "[\"\\u{9b}\"]"),
            (Value::Null, "-"),
            (json!(1.25), "1.2"),
            (json!(7), "7"),
        ] {
            assert_eq!(cell(&value), shown);
        }
    }

    #[test]
    fn an_outline_has_what_is_within_further_in() {
        let value = json!([{ "a": 1, "b": { "c": "x\u{1b}", "none": null }, "d": [2, { "e": true, "f": [] }] }]);
        let expect = "- a: 1\n  b:\n    c: x\\u{1b}\n  d:\n    - 2\n    - e: true\n";
        assert_eq!(outline(&value), expect);
    }

    #[test]
    fn times_have_two_units_at_most() {
        for (seconds, shown) in [
            (-1.0, "0s"),
            (0.9, "0s"),
            (59.0, "59s"),
            (60.0, "1m"),
            (3_661.0, "1h 1m"),
            (90_061.0, "1d 1h"),
            (864_000.0, "10d"),
        ] {
            assert_eq!(lasting(seconds), shown);
        }
    }
}
