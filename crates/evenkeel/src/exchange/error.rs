//! Owns why an exchange brought nothing: what ended it, and why it was not tried again.

use std::fmt;

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::retry::Reason;

use crate::error::Error;

/// Why an exchange brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangeError<E> {
    /// What ended it.
    pub cause: Cause<E>,
    /// Attempts made; 0 when nobody could be picked.
    pub attempts: u32,
    /// Where the last attempt went.
    pub backend: Option<BackendId>,
    /// Why there was no further attempt; none when none was made, or its error said nothing against the backend.
    pub stopped: Option<Stopped>,
}

/// What ended an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause<E> {
    /// There was nobody to send it to.
    NoPick(Error),
    /// The error of the last attempt.
    Failed(E),
    /// The last attempt had no result in its time, or in that of the exchange.
    TimedOut,
}

/// Why there was no further attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// It was not to be made.
    Not(Reason),
    /// It might have been made, by nobody.
    NoPick(Error),
}

impl<E> ExchangeError<E> {
    /// The error of the last attempt, if that is what ended it.
    pub fn into_failed(self) -> Option<E> {
        match self.cause {
            Cause::Failed(error) => Some(error),
            Cause::NoPick(_) | Cause::TimedOut => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for ExchangeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::NoPick(error) => return error.fmt(f),
            Cause::Failed(error) => error.fmt(f)?,
            Cause::TimedOut => f.write_str("no result in time")?,
        }
        write!(f, " (attempts: {}", self.attempts)?;
        if let Some(backend) = &self.backend {
            write!(f, ", the last by {backend}")?;
        }
        match &self.stopped {
            Some(Stopped::Not(reason)) => write!(f, "; no other: {})", reason.word()),
            Some(Stopped::NoPick(error)) => write!(f, "; no other: {error})"),
            None => f.write_str(")"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for ExchangeError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Its own words are in ours.
        match &self.cause {
            Cause::NoPick(error) => error.source(),
            Cause::Failed(error) => error.source(),
            Cause::TimedOut => None,
        }
    }
}

pub(super) fn no_pick<E>(error: Error) -> ExchangeError<E> {
    ExchangeError {
        cause: Cause::NoPick(error),
        attempts: 0,
        backend: None,
        stopped: None,
    }
}
