//! Owns what the process says: answers to standard output, everything else to standard error. A closed pipe is no error.

use std::io::Write;

use evenkeel_config::problem::plainly;

/// Says an answer.
pub(crate) fn out(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Says what happens, a line of it.
pub(crate) fn log(text: &str) {
    // Names of files and what others wrote stand in it.
    let _ = writeln!(std::io::stderr(), "evenkeel: {}", plainly(text));
}

/// Says what is wrong, in lines of its own.
pub(crate) fn problems(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
