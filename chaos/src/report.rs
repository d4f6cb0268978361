//! Owns how rows look: a line each on the terminal, and the page `docs/faults.md`.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::clock;
use crate::faults::FAULTS;
use crate::judge::Row;
use crate::setup::Who;

/// Above the lines.
pub(crate) const HEADING: &str = "fault         balancer   offered answered | failed: GET POST begun raced | retried ampl. |    p50     p99   p99.9 ms | out s fair s |      KiB before, after  fds before, after";

impl Row {
    /// A run that did not come to its end.
    pub(crate) fn broken(fault: &'static str, who: Who, why: String) -> Self {
        Self {
            fault,
            who,
            offered: 0,
            answered: 0,
            needless: 0,
            unsafe_failed: 0,
            begun: 0,
            wrong: 0,
            raced: 0,
            classes: std::collections::BTreeMap::new(),
            retried: None,
            amplification: 0.0,
            p50: 0.0,
            p99: 0.0,
            p999: 0.0,
            out: None,
            fair: None,
            kib: (0, 0),
            descriptors: (0, 0),
            notes: Vec::new(),
            missed: vec![why],
        }
    }
}

/// A row for the terminal, with what was missed below.
pub(crate) fn line(row: &Row) -> String {
    let mut text = format!(
        "{:<13} {:<10} {:>7} {:>8} | {:>11} {:>4} {:>5} {:>5} | {:>7} {:>5.2} | {:>6.1} {:>7.1} {:>10.1} | {:>5} {:>6} | {:>8} {:>8} {:>8} {:>6}",
        row.fault,
        row.who.word(),
        row.offered,
        row.answered,
        row.needless,
        row.unsafe_failed,
        row.begun,
        row.raced,
        row.retried
            .map_or("-".to_owned(), |count| count.to_string()),
        row.amplification,
        row.p50,
        row.p99,
        row.p999,
        seconds(row.out),
        seconds(row.fair),
        row.kib.0,
        row.kib.1,
        row.descriptors.0,
        row.descriptors.1,
    );
    for (class, count) in &row.classes {
        let _ = write!(text, "\n    {count} {class}");
    }
    for note in &row.notes {
        let _ = write!(text, "\n    {note}");
    }
    for miss in &row.missed {
        let _ = write!(text, "\n  MISSED: {miss}");
    }
    text
}

fn seconds(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.1}"))
}

/// The page, with every row that was run and why others were not.
pub(crate) fn page(rows: &[Row], skipped: &[(&'static str, Who, String)], facts: &str) -> String {
    let mut text = String::from(INTRODUCTION);
    let _ = writeln!(text, "\n{facts}\n");
    text += TABLE;
    for row in rows {
        table_row(&mut text, row, rows);
    }
    text += "\n## What the faults are\n\n| fault | |\n|---|---|\n";
    for fault in FAULTS {
        let _ = writeln!(text, "| {} | {} |", fault.name, fault.does);
    }
    text += "\n## Missed, lost, skipped\n\n";
    for row in rows {
        for miss in &row.missed {
            // What a program said in several lines is one row of the list.
            let miss = miss.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(text, "- MISSED {} by {}: {miss}", row.fault, row.who.word());
        }
        for why in lost(row, rows) {
            let _ = writeln!(text, "- LOST {}: {why}", row.fault);
        }
    }
    for (fault, who, why) in skipped {
        let _ = writeln!(text, "- SKIPPED {fault} of {}: {why}", who.word());
    }
    text += "\n## How requests failed\n\n";
    for row in rows
        .iter()
        .filter(|row| !row.classes.is_empty() || !row.notes.is_empty())
    {
        let classes = row
            .classes
            .iter()
            .map(|(class, count)| format!("{count} {class}"));
        let all: Vec<String> = classes.chain(row.notes.iter().cloned()).collect();
        let _ = writeln!(
            text,
            "- {}, {}: {}",
            row.fault,
            row.who.word(),
            all.join("; ")
        );
    }
    text
}

fn table_row(text: &mut String, row: &Row, rows: &[Row]) {
    let lost = lost(row, rows);
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} | {:.0} / {:.0} / {:.0} | {} | {} | {} → {} | {} → {} | {} |",
        row.fault,
        row.who.word(),
        row.offered,
        row.answered,
        row.needless,
        row.unsafe_failed,
        row.begun,
        row.raced,
        row.retried
            .map_or("-".to_owned(), |count| count.to_string()),
        row.amplification,
        row.p50,
        row.p99,
        row.p999,
        seconds(row.out),
        seconds(row.fair),
        row.kib.0 / 1024,
        row.kib.1 / 1024,
        row.descriptors.0,
        row.descriptors.1,
        verdict(row, &lost),
    );
}

fn verdict(row: &Row, lost: &[String]) -> &'static str {
    match (row.missed.is_empty(), lost.is_empty()) {
        (true, true) => "held",
        (true, false) => "held, LOST",
        (false, true) => "MISSED",
        (false, false) => "MISSED, LOST",
    }
}

/// Where another is better than Evenkeel, by more than such a run can tell from chance.
fn lost(row: &Row, rows: &[Row]) -> Vec<String> {
    if row.who != Who::Evenkeel || row.offered == 0 {
        return Vec::new();
    }
    let others = rows.iter().filter(|other| {
        other.fault == row.fault && other.who != Who::Evenkeel && other.offered > 0
    });
    let mut lost = Vec::new();
    for other in others {
        let word = other.who.word();
        if other.needless < row.needless {
            lost.push(format!(
                "{} idempotent requests failed, {} with {word}",
                row.needless, other.needless
            ));
        }
        if other.amplification + 0.1 < row.amplification {
            lost.push(format!(
                "backends were asked {:.2} times per request, {:.2} with {word}",
                row.amplification, other.amplification
            ));
        }
        if other.p99 * 1.5 + 5.0 < row.p99 {
            lost.push(format!(
                "p99 {:.0} ms, {:.0} ms with {word}",
                row.p99, other.p99
            ));
        }
        if other.p999 * 1.5 + 20.0 < row.p999 {
            lost.push(format!(
                "p99.9 {:.0} ms, {:.0} ms with {word}",
                row.p999, other.p999
            ));
        }
    }
    lost
}

const INTRODUCTION: &str = "# Faults

Generated by `cargo xtask chaos --peers`; do not edit. What clients see while backends fail: Evenkeel at its defaults (per-try
1 s where the fault says so) beside Debian's HAProxy and nginx at their best documented settings (`chaos/peers/`), each fault given to
all three at the same time, each with backends and load of its own.

Requests are sent in an open loop when their time has come (Poisson, 500 per second, 200 where a fault needs time); latency counts
from then to the response head, while the fault lasts. Of a hundred requests 90 are GETs (6 of 64 KiB, 3 of 1 MiB, 3 in chunks) and 10 POSTs
(4 and 64 KiB). A backend takes 5 ms and is a process that is killed, frozen or told to misbehave.

- **GET**: idempotent requests that failed before an answer had begun. **POST**: others; who was sent one and died may have done it,
  so nobody may send it again. **begun**: answers that were cut within, visibly. **raced**: kept connections that ended under a GET,
  which the client then sent again.
- **ampl.**: what backends were asked per request while the fault lasted. What one counted within 0.1 s of its death is missing.
- **out**: seconds until those with the fault get under 1 % of picks, over a second; **fair**: from healing until half of an equal share
  is back. nginx does not say its picks: what backends were asked stands in, which is nothing when they cannot be reached.
- **LOST**: another is better by more than such a run can tell from chance (fewer failed, 0.1 less
  amplification, p99 by half and 5 ms, p99.9 by half and 20 ms).
- HAProxy and nginx have one deadline for an answer's head and for the rest of it: where an attempt has 1 s, a body that stands still is cut
  after that, which Evenkeel bears for a minute (`idle_body`).
- **all-down** Evenkeel goes on asking backends that all fail (`on_all_down: fail_open`), within the retry budget: the first that is well again
  is found by the next request. HAProxy and nginx answer 503 and 502 themselves for a while, also after healing. Its p99 there is
  the wait before a second retry: up to 50 ms, which the next sweep of deadlines ends, up to 100 ms later.
";

const TABLE: &str = "| fault | balancer | offered | answered | GET | POST | begun | raced | retried | ampl. | p50 / p99 / p99.9 ms | out s | fair s | MiB | descriptors | |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|
";

/// Date, machine, versions of these by what they say, command.
pub(crate) fn facts(command: &str, programs: &[(&Path, &[&str])]) -> String {
    let said = |(program, words): &(&Path, &[&str])| {
        let output = Command::new(program).args(*words).output().ok();
        let text = output.map(|output| [output.stdout, output.stderr].concat());
        let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
        let mut lines = text.iter().flat_map(|text| text.lines());
        // Envoy says where it lies, which is nobody's business.
        let place = program.parent().map(|place| place.join(""));
        let place = place.unwrap_or_default().display().to_string();
        let first = lines
            .find(|line| !line.trim().is_empty())
            .map(|line| line.strip_prefix(&*place).unwrap_or(line).to_owned());
        first.unwrap_or_else(|| "not installed".to_owned())
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let load = read("/proc/loadavg");
    let versions: Vec<String> = programs
        .iter()
        .map(|one| named(one.0, &said(one)))
        .collect();
    format!(
        "- **date** {}, **commit** {}, **command** `{command}`\n\
         - **machine** {cores} virtual cores of {}, Linux {}; load {} at the beginning\n\
         - **versions** {}",
        date(),
        said(&(Path::new("git"), &["rev-parse", "--short", "HEAD"])),
        model.map_or("?", |(_, name)| name),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or("?"),
        versions.join("; "),
    )
}

/// What a program says of its version, with its name where it leaves that out.
fn named(program: &Path, said: &str) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    match said.to_lowercase().contains(&*name) {
        true => said.to_owned(),
        false => format!("{name} {said}"),
    }
}

/// The day, from days since 1970 (after Howard Hinnant's `civil_from_days`).
fn date() -> String {
    let days = (clock::since_1970().as_secs() / 86_400) as i64 + 719_468;
    let era = days / 146_097;
    let day = days - era * 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let left = day - (365 * year + year / 4 - year / 100);
    let month = (5 * left + 2) / 153;
    let date = left - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{date:02}")
}
