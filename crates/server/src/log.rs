//! Owns the log of a running instance: what is said of it on standard error, to people on a terminal and to programs elsewhere.
//!
//! Nobody who does not read holds the instance up: what a pipe does not take within a moment is dropped, and how much of it is
//! said as soon as there is room again.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use clap::{Args, ValueEnum};
use evenkeel_config::problem::{Problem, Severity, Source, plainly};
use evenkeel_control::{date, since_1970};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;

use crate::say;

/// What is said without being asked for more.
const LEVEL: &str = "info";

/// A reader may take its time.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// How much is said, and how.
#[derive(Args, Clone)]
pub(crate) struct Flags {
    /// How much is logged: `error`, `warn`, `info`, `debug`, or by part: `info,evenkeel_control=debug`
    ///
    /// Else the environment's EVENKEEL_LOG decides; else it is `info`.
    #[arg(long, value_name = "LEVEL", value_parser = filter)]
    log_level: Option<Targets>,
    /// How it is logged: in JSON, or for people. By default for people on a terminal, else in JSON
    ///
    /// Else the environment's EVENKEEL_LOG_FORMAT decides.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<Format>,
}

/// How a record looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line to read.
    Human,
    /// An object per line.
    Json,
}

fn filter(text: &str) -> Result<Targets, String> {
    let said = |error: tracing_subscriber::filter::ParseError| error.to_string();
    text.parse().map_err(said)
}

/// What the environment says, unless it says nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "the process reads its environment"
)]
fn environment(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.into_string().ok()?;
    Some(value).filter(|value| !value.is_empty())
}

impl Flags {
    /// Whatever is said from here on is said so.
    ///
    /// # Errors
    /// What of the environment nobody can read, in words.
    pub(crate) fn begin(&self) -> Result<Format, String> {
        let levels = match (&self.log_level, environment("EVENKEEL_LOG")) {
            (Some(levels), _) => levels.clone(),
            (None, text) => {
                let text = text.as_deref().unwrap_or(LEVEL);
                filter(text).map_err(|error| format!("EVENKEEL_LOG={text}: {error}"))?
            }
        };
        let terminal = std::io::stderr().is_terminal();
        let format = match (self.log_format, environment("EVENKEEL_LOG_FORMAT")) {
            (Some(format), _) => format,
            (None, Some(text)) => Format::from_str(&text, false)
                .map_err(|_| format!("EVENKEEL_LOG_FORMAT={text}: it is `human` or `json`"))?,
            (None, None) if terminal => Format::Human,
            (None, None) => Format::Json,
        };
        let log = Log {
            format,
            colours: terminal && environment("NO_COLOR").is_none(),
            dropped: Mutex::new(0),
        };
        let subscriber = registry().with(log.with_filter(levels));
        // The first and only one of the process.
        let _ = tracing::subscriber::set_global_default(subscriber);
        Ok(format)
    }
}

/// Says what is wrong with a configuration: in its own lines to people, a record each to programs.
pub(crate) fn problems(format: Format, shown: &str, problems: &[Problem], sources: &[Source]) {
    if format == Format::Human {
        say::problems(shown);
        return;
    }
    for problem in problems {
        let (at, word) = (problem.at, problem.word);
        let file = sources.get(at.file).map_or("", |source| &*source.name);
        let (line, column, message) = (at.line, at.column, &problem.message);
        match problem.severity {
            Severity::Error => tracing::error!(problem = word, file, line, column, "{message}"),
            Severity::Warning => tracing::warn!(problem = word, file, line, column, "{message}"),
        }
    }
}

/// Writes each event as a line.
struct Log {
    format: Format,
    colours: bool,
    /// Lines that nobody took.
    dropped: Mutex<u64>,
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let line = self.line(*event.metadata().level(), event.metadata().target(), said);
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr = std::io::stderr();
        // Who did not read the line before is not waited for again.
        let patience = if *dropped == 0 {
            PATIENCE
        } else {
            Timespec::default()
        };
        let mut ready = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
        if poll(&mut ready, Some(&patience)) == Ok(0) {
            *dropped += 1;
            return;
        }
        let lost = std::mem::take(&mut *dropped);
        drop(dropped);
        let mut out = stderr.lock();
        if lost > 0 {
            let said = Said {
                message: "lines were dropped: nobody read them".into(),
                fields: vec![("lines", lost.into())],
                ..Said::default()
            };
            let lost = self.line(Level::WARN, "evenkeel", said);
            let _ = out.write_all(lost.as_bytes());
        }
        // A closed pipe is no error.
        let _ = out.write_all(line.as_bytes());
    }
}

impl Log {
    fn line(&self, level: Level, target: &str, said: Said) -> String {
        let time = date::rfc3339(since_1970());
        match self.format {
            Format::Human => human(&time, level, &said, self.colours),
            Format::Json => json(&time, level, target, said),
        }
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, Value)>,
    /// Those that the message says too: for programs.
    in_message: Vec<(&'static str, Value)>,
}

/// How the names of fields begin that the message says too. People get them once.
const IN_MESSAGE: &str = "said.";

impl Said {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => match name.strip_prefix(IN_MESSAGE) {
                Some(name) => self.in_message.push((name, value)),
                None => self.fields.push((name, value)),
            },
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// `2026-11-21T11:26:42.502Z INFO standing changed service=api to=down`
fn human(time: &str, level: Level, said: &Said, colours: bool) -> String {
    let colour = match level {
        _ if !colours => "",
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        _ => "\u{1b}[2m",
    };
    let end = if colours { "\u{1b}[0m" } else { "" };
    // Names of files and what others wrote stand in it.
    let mut line = format!("{time} {colour}{level}{end} {}", plainly(&said.message));
    for (name, value) in &said.fields {
        let value = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let _ = match value.contains([' ', '"', '=']) || value.is_empty() {
            true => write!(line, " {name}={:?}", plainly(&value)),
            false => write!(line, " {name}={}", plainly(&value)),
        };
    }
    line.push('\n');
    line
}

/// Time first, then the fields in their order.
fn json(time: &str, level: Level, target: &str, said: Said) -> String {
    let begin = [
        ("time", time.into()),
        ("level", level.as_str().to_ascii_lowercase().into()),
        ("target", target.into()),
        ("message", said.message.into()),
    ];
    let said = said.in_message.into_iter().chain(said.fields);
    let members = begin.into_iter().chain(said);
    let members: Vec<String> = members
        .map(|(name, value)| format!("{}:{value}", Value::from(name)))
        .collect();
    format!("{{{}}}\n", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Said {
        Said {
            message: "listener web\u{1b} listens".into(),
            in_message: vec![("listener", "web".into())],
            fields: vec![
                ("address", "127.0.0.1:80".into()),
                ("why", "a \"b\"\n".into()),
                ("count", 3.into()),
            ],
        }
    }

    #[test]
    fn for_people() {
        let plain = "T INFO listener web\\u{1b} listens address=127.0.0.1:80 why=\"a \\\"b\\\"\\\\u{a}\" count=3\n";
        assert_eq!(human("T", Level::INFO, &said(), false), plain);
        let coloured = human("T", Level::WARN, &said(), true);
        assert!(coloured.starts_with("T \u{1b}[33mWARN\u{1b}[0m listener"));
    }

    #[test]
    fn for_programs() {
        let line = json("T", Level::WARN, "evenkeel", said());
        assert_eq!(line.matches('\n').count(), 1);
        assert!(
            line.starts_with("{\"time\":\"T\",\"level\":\"warn\","),
            "{line}"
        );
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "warn");
        assert_eq!(value["message"], "listener web\u{1b} listens");
        assert_eq!(value["listener"], "web");
        assert_eq!(
            (&value["why"], &value["count"]),
            (&"a \"b\"\n".into(), &3.into())
        );
    }

    #[test]
    fn levels() {
        for right in ["debug", "info,evenkeel_control=debug", "off", "WARN"] {
            assert!(filter(right).is_ok(), "{right}");
        }
        assert!(filter("info,evenkeel=loud").is_err());
    }
}
