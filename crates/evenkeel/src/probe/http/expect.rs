//! Owns the set of statuses that pass.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The most parts of a set.
const MOST_PARTS: usize = 64;

/// Statuses, written `200-299,304`. Each lies between 100 and 599.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRanges {
    parts: Vec<RangeInclusive<u16>>,
}

impl StatusRanges {
    /// Whether it holds this status. Cost: its parts.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.parts.iter().any(|part| part.contains(&status))
    }
}

impl Default for StatusRanges {
    /// 200 to 299.
    fn default() -> Self {
        Self {
            parts: vec![200..=299],
        }
    }
}

/// Why a text is no set of statuses; holds the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusRangesError {
    /// Not a status or two with `-` between them.
    Part(String),
    /// A status below 100 or above 599.
    OutOfRange(String),
    /// A range whose end lies before its begin.
    Backwards(String),
    /// More than 64 parts.
    TooMany,
}

impl fmt::Display for StatusRangesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(part) => write!(
                f,
                "{part:?} is neither a status nor a range of them; write for example 200-299,304"
            ),
            Self::OutOfRange(part) => write!(f, "{part:?}: a status lies between 100 and 599"),
            Self::Backwards(part) => write!(f, "{part:?} ends before it begins"),
            Self::TooMany => write!(f, "more than {MOST_PARTS} parts"),
        }
    }
}

impl std::error::Error for StatusRangesError {}

impl FromStr for StatusRanges {
    type Err = StatusRangesError;

    fn from_str(text: &str) -> Result<Self, StatusRangesError> {
        if text.bytes().filter(|&byte| byte == b',').count() >= MOST_PARTS {
            return Err(StatusRangesError::TooMany);
        }
        let parts = text.split(',').map(|part| part_of(part.trim()));
        Ok(Self {
            parts: parts.collect::<Result<_, _>>()?,
        })
    }
}

fn part_of(part: &str) -> Result<RangeInclusive<u16>, StatusRangesError> {
    let (from, to) = part.split_once('-').unwrap_or((part, part));
    let (from, to) = (status(from, part)?, status(to, part)?);
    if from > to {
        return Err(StatusRangesError::Backwards(part.into()));
    }
    Ok(from..=to)
}

fn status(text: &str, part: &str) -> Result<u16, StatusRangesError> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(StatusRangesError::Part(part.into()));
    }
    match text.parse() {
        Ok(status) if (100..=599).contains(&status) => Ok(status),
        _ => Err(StatusRangesError::OutOfRange(part.into())),
    }
}

impl fmt::Display for StatusRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.parts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let (from, to) = (part.start(), part.end());
            if from == to {
                write!(f, "{comma}{from}")?;
            } else {
                write!(f, "{comma}{from}-{to}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_texts_that_are_none() {
        let rows = [
            ("200", Ok("200")),
            ("200-299,304", Ok("200-299,304")),
            (" 200 - 204 , 401 ", Ok("200-204,401")),
            ("", Err(StatusRangesError::Part(String::new()))),
            ("200,", Err(StatusRangesError::Part(String::new()))),
            ("2xx", Err(StatusRangesError::Part("2xx".into()))),
            ("-200", Err(StatusRangesError::Part("-200".into()))),
            ("+200", Err(StatusRangesError::Part("+200".into()))),
            ("99", Err(StatusRangesError::OutOfRange("99".into()))),
            (
                "200-600",
                Err(StatusRangesError::OutOfRange("200-600".into())),
            ),
            ("99999", Err(StatusRangesError::OutOfRange("99999".into()))),
            (
                "299-200",
                Err(StatusRangesError::Backwards("299-200".into())),
            ),
        ];
        for (text, expect) in rows {
            let read = text.parse::<StatusRanges>().map(|set| set.to_string());
            assert_eq!(read, expect.map(String::from), "{text:?}");
        }
        let many = vec!["200"; 65].join(",");
        assert_eq!(
            many.parse::<StatusRanges>(),
            Err(StatusRangesError::TooMany)
        );
        let set: StatusRanges = "200-299,304".parse().unwrap();
        let held: Vec<u16> = [199, 200, 299, 300, 304, 305]
            .into_iter()
            .filter(|&status| set.contains(status))
            .collect();
        assert_eq!(held, [200, 299, 304]);
    }
}
