//! Owns what a backend reports of its own load (ORCA, `xds.data.orca.v3.OrcaLoadReport`): three spellings in a field, and the JSON of a
//! page. Bytes in, a few numbers out.
//!
//! Allocates nothing, and looks at each byte once. A report that is wrong in one place is refused whole: half of one would
//! be a weight of chance. What a later version adds is passed over. Next: `load/json.rs`, `load/proto.rs`.

use std::fmt;
use std::sync::Arc;

/// The spelling of protobuf's JSON.
mod json;

/// The message itself.
mod proto;

/// The field that carries a report, and says in which spelling: `TEXT`, `JSON` or `BIN`.
pub const FIELD: &[u8] = b"endpoint-load-metrics";

/// The field that carries the message itself, as gRPC's servers write it into trailers.
pub const FIELD_BIN: &[u8] = b"endpoint-load-metrics-bin";

/// Bytes of a report in a field: some hundred metrics.
pub const FIELD_MOST: usize = 4 * 1024;

/// Bytes of a report on a page.
pub const PAGE_MOST: usize = 32 * 1024;

/// Metrics of a service that stand for its utilization: each is compared with each metric of a report.
pub const CHOSEN_MOST: usize = 16;

/// No number is larger: a backend that answers a thousand million requests a second is none.
const NUMBER_MOST: f64 = 1e9;

/// The numbers of a report that weights are made of. All are finite, at least 0 and at most 1e9.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// `application_utilization`: what the application itself holds for its utilization.
    pub application: Option<f64>,
    /// `cpu_utilization`.
    pub cpu: Option<f64>,
    /// `mem_utilization`.
    pub memory: Option<f64>,
    /// `rps_fractional`: requests per second.
    pub rps: Option<f64>,
    /// `eps`: of them, those that failed.
    pub eps: Option<f64>,
    /// The largest of the metrics that were chosen.
    pub chosen: Option<f64>,
}

/// Why a report is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unread {
    /// More bytes than a report has.
    Long,
    /// It does not begin with `TEXT`, `JSON` or `BIN`.
    Format,
    /// It is not what that spelling is.
    Syntax,
    /// A number that is none, not finite, below zero or above 1e9.
    Number,
    /// One number is said twice.
    Twice,
}

impl Unread {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Long,
        Self::Format,
        Self::Syntax,
        Self::Number,
        Self::Twice,
    ];

    /// The word for it in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Format => "format",
            Self::Syntax => "syntax",
            Self::Number => "number",
            Self::Twice => "twice",
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Long => "longer than a report may be",
            Self::Format => "neither `TEXT`, `JSON` nor `BIN`",
            Self::Syntax => "not what its format is",
            Self::Number => "a number that is not finite, below 0 or above 1e9",
            Self::Twice => "a number that is said twice",
        })
    }
}

impl std::error::Error for Unread {}

/// Reads the value of [`FIELD`]. `chosen` are metrics by their names in `TEXT`, `named_metrics.queue` for one; at most [`CHOSEN_MOST`].
///
/// # Errors
/// [`Unread`].
pub fn read(value: &[u8], chosen: &[Arc<str>]) -> Result<Report, Unread> {
    if value.len() > FIELD_MOST {
        return Err(Unread::Long);
    }
    let value = value.trim_ascii();
    let at = value.iter().position(|&byte| byte == b' ');
    // A message of nothing but zeros has no bytes.
    let (format, rest) = value.split_at(at.unwrap_or(value.len()));
    let rest = rest.trim_ascii();
    match format {
        b"TEXT" => text(rest, chosen),
        b"JSON" => json::read(rest, chosen),
        b"BIN" => binary(rest, chosen),
        _ => Err(Unread::Format),
    }
}

/// Reads the value of [`FIELD_BIN`]: the message as base64, with or without its padding.
///
/// # Errors
/// [`Unread`].
pub fn read_binary(value: &[u8], chosen: &[Arc<str>]) -> Result<Report, Unread> {
    match value.len() {
        0..=FIELD_MOST => binary(value.trim_ascii(), chosen),
        _ => Err(Unread::Long),
    }
}

/// Reads a page: the JSON that stands behind `JSON` in the field, and spaces around it.
///
/// # Errors
/// [`Unread`].
pub fn read_page(body: &[u8], chosen: &[Arc<str>]) -> Result<Report, Unread> {
    match body.len() {
        0..=PAGE_MOST => json::read(body, chosen),
        _ => Err(Unread::Long),
    }
}

/// Reads whichever of the two fields this is. None: it is neither.
#[must_use]
pub fn of_field(name: &[u8], value: &[u8], chosen: &[Arc<str>]) -> Option<Result<Report, Unread>> {
    // The shorter one begins the longer one.
    let begins = name
        .get(..FIELD.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(FIELD));
    if !begins {
        return None;
    }
    match name.len() {
        length if length == FIELD.len() => Some(read(value, chosen)),
        _ if name.eq_ignore_ascii_case(FIELD_BIN) => Some(read_binary(value, chosen)),
        _ => None,
    }
}

/// `cpu_utilization=0.3,named_metrics.queue=0.1`
fn text(mut rest: &[u8], chosen: &[Arc<str>]) -> Result<Report, Unread> {
    let mut filling = Filling::new(chosen);
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == b',');
        let (pair, behind) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        let at = pair.iter().position(|&byte| byte == b'=');
        let (name, value) = pair.split_at(at.ok_or(Unread::Syntax)?);
        let (name, value) = (name.trim_ascii(), number(value[1..].trim_ascii())?);
        match name.iter().position(|&byte| byte == b'.') {
            None if name.is_empty() => return Err(Unread::Syntax),
            None => filling.number(Number::of(name), value)?,
            Some(dot) => filling.metric(Map::of(&name[..dot]), &name[dot + 1..], value)?,
        }
        if end.is_some() && behind.trim_ascii().is_empty() {
            return Err(Unread::Syntax);
        }
        rest = behind;
    }
    Ok(filling.report)
}

/// A message as base64: decoded into a buffer of the longest that a field holds.
fn binary(value: &[u8], chosen: &[Arc<str>]) -> Result<Report, Unread> {
    let mut bytes = [0; FIELD_MOST / 4 * 3];
    let length = crate::base64::read(value, &mut bytes).ok_or(Unread::Syntax)?;
    proto::read(&bytes[..length], chosen)
}

/// A decimal number, with a fraction and an exponent if need be.
fn number(text: &[u8]) -> Result<f64, Unread> {
    // What Rust reads besides: `inf`, `nan`, a sign in front, digits on one side of the point only.
    let plain = |byte: &u8| byte.is_ascii_digit() || b".eE+-".contains(byte);
    let shaped = text.first().is_some_and(u8::is_ascii_digit) && text.iter().all(plain);
    let text = std::str::from_utf8(text).map_err(|_| Unread::Number)?;
    let value = text.parse().ok().filter(|_| shaped);
    bounded(value.ok_or(Unread::Number)?)
}

/// A number that a report may have.
fn bounded(value: f64) -> Result<f64, Unread> {
    match (0.0..=NUMBER_MOST).contains(&value) {
        // Less than nothing it is not, whatever its sign says.
        true => Ok(value.abs()),
        false => Err(Unread::Number),
    }
}

/// A number that a report has once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Cpu,
    Memory,
    Application,
    Rps,
    Eps,
}

impl Number {
    /// All, with their names in the message and in protobuf's JSON.
    const NAMES: [(Self, &'static str, &'static str); 5] = [
        (Self::Cpu, "cpu_utilization", "cpuUtilization"),
        (Self::Memory, "mem_utilization", "memUtilization"),
        (
            Self::Application,
            "application_utilization",
            "applicationUtilization",
        ),
        (Self::Rps, "rps_fractional", "rpsFractional"),
        (Self::Eps, "eps", "eps"),
    ];

    fn of(name: &[u8]) -> Option<Self> {
        let named = |(_, one, other): &&(Self, &str, &str)| {
            one.as_bytes() == name || other.as_bytes() == name
        };
        Self::NAMES.iter().find(named).map(|(number, ..)| *number)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_utilization",
            Self::Memory => "mem_utilization",
            Self::Application => "application_utilization",
            Self::Rps => "rps_fractional",
            Self::Eps => "eps",
        }
    }
}

/// Numbers by names of the backend's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    Named,
    Utilization,
    RequestCost,
}

impl Map {
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"named_metrics" | b"namedMetrics" => Some(Self::Named),
            b"utilization" => Some(Self::Utilization),
            b"request_cost" | b"requestCost" => Some(Self::RequestCost),
            _ => None,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Named => "named_metrics",
            Self::Utilization => "utilization",
            Self::RequestCost => "request_cost",
        }
    }
}

/// A report as it is read.
struct Filling<'a> {
    report: Report,
    chosen: &'a [Arc<str>],
    /// Which of the chosen were there, a bit each.
    met: u32,
}

impl<'a> Filling<'a> {
    fn new(chosen: &'a [Arc<str>]) -> Self {
        debug_assert!(chosen.len() <= CHOSEN_MOST, "a bit for each of them");
        Self {
            report: Report::default(),
            chosen: &chosen[..chosen.len().min(CHOSEN_MOST)],
            met: 0,
        }
    }

    /// A number that may be one of ours.
    fn number(&mut self, number: Option<Number>, value: f64) -> Result<(), Unread> {
        let Some(number) = number else {
            return Ok(());
        };
        let place = match number {
            Number::Cpu => &mut self.report.cpu,
            Number::Memory => &mut self.report.memory,
            Number::Application => &mut self.report.application,
            Number::Rps => &mut self.report.rps,
            Number::Eps => &mut self.report.eps,
        };
        if place.replace(value).is_some() {
            return Err(Unread::Twice);
        }
        self.choose(|chosen| chosen == number.word().as_bytes(), value)
    }

    /// A number of a map that may be ours.
    fn metric(&mut self, map: Option<Map>, key: &[u8], value: f64) -> Result<(), Unread> {
        let Some(map) = map else {
            return Ok(());
        };
        let is_it = |chosen: &[u8]| {
            let behind = chosen.strip_prefix(map.word().as_bytes());
            behind.and_then(|behind| behind.strip_prefix(b".")) == Some(key)
        };
        self.choose(is_it, value)
    }

    fn choose(&mut self, is_it: impl Fn(&[u8]) -> bool, value: f64) -> Result<(), Unread> {
        let mut chosen = self.chosen.iter();
        let Some(at) = chosen.position(|chosen| is_it(chosen.as_bytes())) else {
            return Ok(());
        };
        if self.met & 1 << at != 0 {
            return Err(Unread::Twice);
        }
        self.met |= 1 << at;
        let most = self.report.chosen.map_or(value, |most| most.max(value));
        self.report.chosen = Some(most);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
