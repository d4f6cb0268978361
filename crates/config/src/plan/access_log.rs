//! Owns where exchanges are written down, and how.

use std::path::PathBuf;

/// Where exchanges are written down, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogPlan {
    /// Where to.
    pub to: LogTarget,
    /// How.
    pub format: RowFormat,
    /// What of queries.
    pub query: QueryShown,
    /// Addresses of clients are cut to their first 24 (IPv4) or 48 (IPv6) bits.
    pub truncated: bool,
}

/// Where rows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, opened anew when that is asked for.
    File(PathBuf),
}

/// What a row looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// A JSON object.
    Json,
    /// Apache's `common`.
    Common,
    /// Apache's `combined`: `common` with `Referer` and `User-Agent`.
    Combined,
}

/// What is written of queries, those of `Referer` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryShown {
    /// Without the values of keys that sound like secrets.
    Redacted,
    /// As they came.
    Full,
    /// Nothing.
    None,
}
