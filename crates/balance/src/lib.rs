//! WHO gets the request: the decision core of Evenkeel.
#![forbid(unsafe_code)]

/// Time, as the caller tells it.
pub mod time;
