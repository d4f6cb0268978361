//! Owns the pictures of the demo: one frame of a real run, as the terminal got it, into an SVG; and its dashboard as Chromium shows it.
//!
//! Nothing is drawn that was not shown. A test of the server holds the first against what the demo shows now.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::run::{Done, cargo, program};
use crate::{setup, web};

/// The terminal that the demo draws for.
const SIZE: &str = "104x22";

/// Width and height of a character, and the room around all.
const CELL: (usize, usize) = (9, 19);
const MARGIN: usize = 14;

/// Where it goes.
const FILE: &str = "docs/demo.svg";

/// Where the dashboard's goes.
const DASHBOARD: &str = "docs/dashboard.png";

/// What the demo says before where that is.
const AT: &str = "the dashboard is at ";

/// Builds the page, and the program with it, and takes a picture of it over the demo.
fn dashboard(root: &Path) -> Done {
    web(root)?;
    let build = ["build", "--release", "--locked", "-p", "evenkeel-server"];
    cargo(root, &build).go()?;
    let mut demo = Command::new(root.join("target/release/evenkeel"));
    let demo = demo.args(["demo", "--for", "10m"]).stdout(Stdio::piped());
    let mut demo = demo.spawn().map_err(|error| format!("the demo: {error}"))?;
    let says = demo.stdout.take().into_iter();
    let mut lines = says.flat_map(|out| BufReader::new(out).lines().map_while(Result::ok));
    let address =
        lines.find_map(|line| Some(line.strip_prefix(AT)?.trim_end_matches('/').to_owned()));
    // Who is not read waits for that.
    let reads = std::thread::spawn(move || lines.for_each(drop));
    let address = address.ok_or("the demo does not say where its dashboard is");
    let taken = address.map_err(String::from).and_then(|address| {
        program(root.join(setup::PROGRAMS).join("node"))
            .args(&[root.join("web/browser/picture.ts")])
            .env("EVENKEEL_ADMIN", &address)
            .env("EVENKEEL_WEB", &address)
            .env(
                "EVENKEEL_PICTURE",
                &root.join(DASHBOARD).display().to_string(),
            )
            .go()
    });
    // It may have ended.
    let _ = demo.kill();
    let _ = demo.wait();
    let _ = reads.join();
    println!("{DASHBOARD} is its dashboard");
    taken
}

/// Runs the demo until its failing backend is out, and draws how that looks.
pub(crate) fn picture(root: &Path) -> Done {
    let demo = [
        "run",
        "--quiet",
        "--release",
        "--locked",
        "-p",
        "evenkeel-server",
        "--",
        "demo",
        "--for",
        "5s",
        "--size",
        SIZE,
    ];
    // Colours are wanted, whatever this terminal is told.
    let shown = cargo(root, &demo).env("NO_COLOR", "").read()?;
    let frame = frame(&shown).ok_or("the failing backend was not ejected within five seconds")?;
    std::fs::write(root.join(FILE), svg(&frame)).map_err(|error| format!("{FILE}: {error}"))?;
    println!("{FILE} is one frame of `cargo {}`", demo.join(" "));
    dashboard(root)
}

/// A piece of a line: how it is painted, by the terminal's number, and what it says.
type Piece = (String, String);

/// The last frame in which a backend is out by its breaker.
fn frame(shown: &str) -> Option<Vec<Vec<Piece>>> {
    let out = |frame: &&str| {
        let ejected = |line: &str| line.contains("ejected ") && line.contains('%');
        frame.lines().any(ejected)
    };
    let frame = shown.split("\u{1b}[H").filter(out).last()?;
    let frame = frame.split("\u{1b}[J").next()?;
    Some(frame.lines().map(pieces).collect())
}

fn pieces(line: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut paint = String::new();
    for part in line.split('\u{1b}') {
        let (code, text) = match part.strip_prefix('[') {
            // Codes are digits and a letter: `m` paints, `K` clears what is not there.
            Some(rest) => rest.split_at(rest.find(char::is_alphabetic).map_or(0, |at| at + 1)),
            None => ("", part),
        };
        if let Some(number) = code.strip_suffix('m') {
            paint = number.into();
        }
        if !text.is_empty() {
            pieces.push((paint.clone(), text.into()));
        }
    }
    pieces
}

fn svg(lines: &[Vec<Piece>]) -> String {
    let columns = SIZE.split('x').next().and_then(|text| text.parse().ok());
    let width = columns.unwrap_or(80) * CELL.0 + 2 * MARGIN;
    let height = lines.len() * CELL.1 + 2 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <!-- One frame of `evenkeel demo`; written by `cargo xtask picture`. -->\n\
         <style>text{{font:15px ui-monospace,Menlo,Consolas,monospace;fill:#d5d9de}}\
         .p1{{font-weight:bold}}.p2{{fill:#8b949e}}.p31{{fill:#ff7b72}}.p32{{fill:#56d364}}.p33{{fill:#e3b341}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#0d1117\"/>\n"
    );
    for (row, line) in lines.iter().enumerate() {
        let y = MARGIN + row * CELL.1 + 14;
        let mut column = 0;
        for (paint, text) in line {
            let long = text.chars().count();
            let plain = text.trim_end();
            let x = MARGIN + column * CELL.0;
            column += long;
            if plain.is_empty() {
                continue;
            }
            let class = format!("class=\"p{paint}\"");
            let cells = plain.chars().count() * CELL.0;
            if plain.chars().all(|char| char == '█') {
                let top = y - 11;
                let _ = writeln!(
                    out,
                    "<rect {class} x=\"{x}\" y=\"{top}\" width=\"{cells}\" height=\"12\"/>"
                );
                continue;
            }
            for (begin, words) in words(plain) {
                let (x, cells) = (x + begin * CELL.0, words.chars().count() * CELL.0);
                let words = escaped(words);
                let _ = writeln!(
                    out,
                    "<text {class} x=\"{x}\" y=\"{y}\" textLength=\"{cells}\">{words}</text>"
                );
            }
        }
    }
    out.push_str("</svg>\n");
    out
}

/// What stands between gaps of two spaces and more, each with its column: not every viewer keeps spaces.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut column = 0;
    for part in text.split("  ") {
        let inside = part.trim_start();
        if !inside.is_empty() {
            let before = part.chars().count() - inside.chars().count();
            words.push((column + before, inside));
        }
        column += part.chars().count() + 2;
    }
    words
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frame_with_one_out_is_drawn() {
        let shown = "\u{1b}[?7l\u{1b}[Hone 1% ejected \u{1b}[K\u{1b}[J\u{1b}[H\u{1b}[1mtwo\u{1b}[0m 3% ejected \u{1b}[K\r\nx > y\u{1b}[J\u{1b}[Hthree\u{1b}[J";
        let lines = frame(shown).unwrap_or_default();
        let piece = |paint: &str, text: &str| (paint.to_owned(), text.to_owned());
        assert_eq!(
            lines,
            [
                vec![piece("1", "two"), piece("0", " 3% ejected ")],
                vec![piece("", "x > y")]
            ]
        );
        let drawn = svg(&lines);
        assert!(drawn.contains(">two</text>"), "{drawn}");
        assert!(drawn.contains(">x &gt; y</text>"), "{drawn}");
        assert!(frame("\u{1b}[Hnobody is out\u{1b}[J").is_none());
    }

    #[test]
    fn words_keep_their_columns() {
        assert_eq!(
            words("  one two   three  é  x"),
            [(2, "one two"), (12, "three"), (19, "é"), (22, "x")]
        );
    }
}
