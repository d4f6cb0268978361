//! Owns how the demo's figures look: the live view, a line a second, and the summary. Draws nothing.

use std::fmt::Write as _;
use std::time::Duration;

use super::backends::CAST;
use super::frame::{Frame, Pace, Row};
use super::screen::Size;
use super::told::Happened;

/// Events that the live view shows.
pub(crate) const EVENTS: usize = 8;

/// The widest bar.
const BAR: usize = 20;

/// How a piece of text is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Strong,
    Faint,
    Good,
    Doubtful,
    Bad,
}

impl Paint {
    /// Select Graphic Rendition, ECMA-48 section 8.3.117.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Doubtful => "33",
            Self::Bad => "31",
        }
    }

    fn of(standing: &str) -> Self {
        match standing {
            "serving" => Self::Good,
            "down" | "ejected" => Self::Bad,
            _ => Self::Doubtful,
        }
    }
}

/// A line of painted pieces.
#[derive(Debug, Default)]
pub(crate) struct Line(Vec<(String, Paint)>);

impl Line {
    /// Without a colour.
    pub(crate) fn plain(text: &str) -> Self {
        Self(vec![(text.into(), Paint::Plain)])
    }

    fn push(&mut self, text: String, paint: Paint) {
        self.0.push((text, paint));
    }

    /// Appends it, clipped to so many columns. All that is written here is one column a character.
    pub(crate) fn write(&self, out: &mut String, columns: usize, colours: bool) {
        let mut left = columns;
        for (text, paint) in &self.0 {
            let clipped: String = text.chars().take(left).collect();
            left -= clipped.chars().count();
            match paint.code() {
                "" => out.push_str(&clipped),
                _ if !colours || clipped.is_empty() => out.push_str(&clipped),
                code => {
                    let _ = write!(out, "\x1b[{code}m{clipped}\x1b[0m");
                }
            }
        }
    }

    #[cfg(test)]
    fn text(&self) -> String {
        self.0.iter().map(|(text, _)| &**text).collect()
    }
}

/// A column of the live view.
struct Column {
    head: &'static str,
    width: usize,
    /// The least important goes first where there is no room; 0 never goes.
    spare: u8,
    cell: fn(&Row) -> String,
}

const COLUMNS: [Column; 8] = [
    Column {
        head: "backend",
        width: 8,
        spare: 0,
        cell: |row| row.name.clone(),
    },
    Column {
        head: "",
        width: BAR,
        spare: 7,
        cell: |row| bar(row.lately),
    },
    Column {
        head: "  share",
        width: 7,
        spare: 0,
        cell: |row| percent(row.lately),
    },
    Column {
        head: " wanted",
        width: 7,
        spare: 5,
        cell: |row| percent(row.wanted),
    },
    Column {
        head: "in flight",
        width: 9,
        spare: 4,
        cell: |row| format!("{:>9}", row.in_flight),
    },
    Column {
        head: "  latency",
        width: 9,
        spare: 3,
        cell: |row| format!("{:>9}", time(row.latency)),
    },
    Column {
        head: "standing",
        width: 8,
        spare: 0,
        cell: |row| row.standing.into(),
    },
    Column {
        head: "why",
        width: 22,
        spare: 6,
        cell: |row| row.reason.clone(),
    },
];

/// The columns that so much room takes.
fn columns(room: usize) -> Vec<&'static Column> {
    let mut shown: Vec<&Column> = COLUMNS.iter().collect();
    let width = |shown: &[&Column]| shown.iter().map(|one| one.width + 2).sum::<usize>();
    while width(&shown) > room + 2 {
        let least = shown.iter().map(|one| one.spare).max().unwrap_or_default();
        if least == 0 {
            break;
        }
        shown.retain(|one| one.spare != least);
    }
    shown
}

/// The live view for so many columns and rows; the newest events have what the rest leaves.
pub(crate) fn live(frame: &Frame, (room, height): Size) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut title = Line::default();
    title.push("evenkeel demo".into(), Paint::Strong);
    title.push(
        format!(
            "  {}  policy {}, {} requests/s meant; Ctrl-C ends",
            seconds(frame.at),
            frame.policy,
            frame.rate
        ),
        Paint::Plain,
    );
    lines.push(title);
    lines.push(match frame.dashboard {
        Some(address) => Line::plain(&format!("the dashboard is at http://{address}/")),
        None => Line::default(),
    });
    lines.push(head(
        "            requests/s  errors       p50       p95       p99".into(),
    ));
    for (name, pace) in [("last second", &frame.now), ("all", &frame.all)] {
        lines.push(paced(name, pace));
    }
    if frame.unsent > 0 {
        let words = format!("{} could not be sent: as many as may be wait", frame.unsent);
        lines.push(Line(vec![(words, Paint::Bad)]));
    }
    lines.push(Line::default());
    let shown = columns(room);
    let heads = shown
        .iter()
        .map(|one| format!("{:<1$}  ", one.head, one.width));
    lines.push(head(heads.collect()));
    for row in &frame.rows {
        let mut line = Line::default();
        for column in &shown {
            let paint = match column.head {
                "standing" | "" => Paint::of(row.standing),
                "why" | " wanted" => Paint::Faint,
                _ => Paint::Plain,
            };
            line.push(format!("{:<1$}  ", (column.cell)(row), column.width), paint);
        }
        lines.push(line);
    }
    lines.push(Line::default());
    lines.push(head("events".into()));
    let shown = EVENTS.min(height.saturating_sub(lines.len()));
    let newest = frame.events.len().saturating_sub(shown);
    lines.extend(frame.events.iter().skip(newest).map(event));
    lines
}

fn head(text: String) -> Line {
    Line(vec![(text, Paint::Faint)])
}

fn paced(name: &str, pace: &Pace) -> Line {
    let mut line = Line::default();
    line.push(
        format!("{name:<11} {:>10.0}", pace.per_second),
        Paint::Plain,
    );
    let paint = if pace.errors > 0 {
        Paint::Bad
    } else {
        Paint::Plain
    };
    line.push(format!("  {:>6}", pace.errors), paint);
    for quantile in pace.quantiles {
        line.push(format!(" {:>9}", time(quantile)), Paint::Plain);
    }
    line
}

fn event(event: &Happened) -> Line {
    let mut line = Line::default();
    line.push(format!("{:>8}  ", seconds(event.at)), Paint::Faint);
    line.push(event.words.clone(), Paint::Plain);
    line
}

/// What happened, where there is no terminal.
pub(crate) fn event_line(happened: &Happened) -> String {
    format!("{:>8}  {}\n", seconds(happened.at), happened.words)
}

/// One second in a line, where there is no terminal.
pub(crate) fn second(frame: &Frame) -> String {
    let [p50, p95, p99] = frame.now.quantiles.map(time);
    let mut line = format!(
        "{:>8}  {:.0} requests/s, {} errors, p50 {p50}, p95 {p95}, p99 {p99};",
        seconds(frame.at),
        frame.now.per_second,
        frame.now.errors
    );
    for row in &frame.rows {
        let _ = write!(line, " {} {}", row.name, percent(row.lately).trim());
        if row.standing != "serving" {
            let _ = write!(line, " ({})", row.standing);
        }
    }
    line.push('\n');
    line
}

/// What is left when it is over.
pub(crate) fn summary(frame: &Frame, forgotten: usize) -> String {
    let [p50, p95, p99] = frame.all.quantiles.map(time);
    let mut out = format!(
        "\n{} with policy {}, {} requests/s meant\n\n\
         requests  {} due = {} answered well + {} errors + {} broken off + {} not sent\n\
         latency   p50 {p50}, p95 {p95}, p99 {p99}, from the moment a request was due to its whole answer\n\
         proxy     {} exchanges, {} attempts\n\n",
        seconds(frame.at),
        frame.policy,
        frame.rate,
        frame.due,
        frame.well,
        frame.errors,
        frame.broken,
        frame.unsent,
        frame.exchanges,
        frame.attempts,
    );
    out.push_str("backend    takes     picks   share    failed  latency  standing  why\n");
    for row in &frame.rows {
        let kind = CAST.iter().find(|kind| kind.name == row.name);
        let _ = writeln!(
            out,
            "{:<8} {:>7} {:>9} {} {:>9} {:>8}  {:<8}  {}",
            row.name,
            kind.map_or_else(String::new, |kind| format!("{} ms", kind.takes.as_millis())),
            row.picked,
            percent(row.got),
            row.failed,
            time(row.latency),
            row.standing,
            row.reason
        );
    }
    let picked: u64 = frame.rows.iter().map(|row| row.picked).sum();
    let shares = frame.rows.iter().map(|row| row.got).sum();
    let failed: u64 = frame.rows.iter().map(|row| row.failed).sum();
    let _ = writeln!(
        out,
        "{:<8} {:>7} {picked:>9} {} {failed:>9}\n\nevents",
        "all",
        "",
        percent(shares)
    );
    if forgotten > 0 {
        let _ = writeln!(out, "          {forgotten} earlier ones");
    }
    frame
        .events
        .iter()
        .for_each(|event| out.push_str(&event_line(event)));
    out
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn time(latency: Option<Duration>) -> String {
    match latency {
        None => "-".into(),
        Some(latency) if latency >= Duration::from_secs(1) => {
            format!("{:.2} s", latency.as_secs_f64())
        }
        Some(latency) => format!("{:.1} ms", latency.as_secs_f64() * 1e3),
    }
}

/// Tenths of a percent, in seven columns.
fn percent(tenths: u32) -> String {
    format!("{:>4}.{}%", tenths / 10, tenths % 10)
}

fn bar(tenths: u32) -> String {
    let filled = (tenths as usize * BAR).div_ceil(1000).min(BAR);
    "█".repeat(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let row = |name: &str, standing, lately| Row {
            name: name.into(),
            standing,
            reason: "checks_failed: status 500".into(),
            lately,
            ..Row::default()
        };
        Frame {
            rows: vec![row("fast-1", "serving", 1000), row("shaky", "down", 0)],
            events: (0..20)
                .map(|at| Happened {
                    at: Duration::from_secs(at),
                    words: format!("event {at}"),
                })
                .collect(),
            ..Frame::default()
        }
    }

    /// What does not fit goes, least important first; who a backend is, what it gets and how it stands stays.
    #[test]
    fn narrow_terminals_lose_columns() {
        for (room, heads) in [
            (120, "backend share wanted in flight latency standing why"),
            (80, "backend share wanted in flight latency standing"),
            (60, "backend share wanted in flight latency standing"),
            (50, "backend share in flight latency standing"),
            (40, "backend share latency standing"),
            (20, "backend share standing"),
        ] {
            let lines = live(&frame(), (room, 24));
            let line = lines
                .iter()
                .map(Line::text)
                .find(|line| line.starts_with("backend"));
            let line = line.expect("a head");
            let words: Vec<_> = line.split_whitespace().collect();
            assert_eq!(words.join(" "), heads, "{room}");
        }
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_is_wide() {
        for room in [0, 1, 7, 20, 79, 80, 200] {
            for line in live(&frame(), (room, 24)) {
                let mut plain = String::new();
                line.write(&mut plain, room, false);
                assert!(plain.chars().count() <= room, "{room}: {plain}");
            }
        }
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        let painted = |colours| {
            let mut out = String::new();
            Line(vec![("ab".into(), Paint::Bad), ("cd".into(), Paint::Good)])
                .write(&mut out, 2, colours);
            out
        };
        assert_eq!(painted(false), "ab");
        assert_eq!(painted(true), "\x1b[31mab\x1b[0m");
    }

    #[test]
    fn the_newest_events_are_shown() {
        for (height, shown) in [
            (100, EVENTS),
            (24, EVENTS),
            (15, 4),
            (12, 1),
            (11, 0),
            (3, 0),
        ] {
            let lines = live(&frame(), (80, height));
            let lines: Vec<_> = lines.iter().map(Line::text).collect();
            let events: Vec<_> = lines
                .iter()
                .filter(|line| line.contains("  event "))
                .collect();
            assert_eq!(events.len(), shown, "{height}");
            assert!(shown == 0 || lines.len() <= height, "{height}");
            assert!(shown == 0 || events[shown - 1].ends_with("event 19"));
        }
    }
}
