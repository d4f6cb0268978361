//! Owns `run`'s reading of its configuration again: whatever is wrong with it is said, and changes nothing.

use std::io::ErrorKind;

use evenkeel_control::Control;
use evenkeel_control::control::StartError;
use tracing::{error, info};

use crate::inputs::{Arguments, Read};
use crate::log::{self, Format};
use crate::warned;

/// Says what is wrong with a configuration.
pub(crate) fn problems(format: Format, read: &Read) {
    log::problems(format, &read.shown, &read.loaded.problems, &read.sources);
}

/// Reads the configuration again. Whatever is wrong with it changes nothing.
pub(crate) fn reload(
    control: &mut Control,
    arguments: &Arguments,
    format: Format,
    user: Option<&str>,
) {
    let read = match arguments.read() {
        Ok(read) => read,
        Err(error) => {
            control.refused();
            error!("not reloaded: {error}");
            return;
        }
    };
    problems(format, &read);
    let Some(plan) = read.loaded.plan else {
        control.refused();
        error!("not reloaded: the configuration has errors; the old one goes on");
        return;
    };
    match control.reload(plan) {
        Ok(changes) => {
            info!("reloaded: {}", changes.line());
            warned::of_files(&control.live().plan);
            warned::of_running(control);
        }
        Err(error) => {
            let why = denied(&error, user);
            error!("not reloaded: {error}{why}; the old configuration goes on");
        }
    }
}

/// What a process that has dropped its privileges cannot bind any more.
fn denied(error: &StartError, user: Option<&str>) -> String {
    match (error, user) {
        (StartError::Bind(_, error), Some(user)) if error.kind() == ErrorKind::PermissionDenied => {
            format!(
                " to user {user}, which this process has become: only a new start, as root, can bind it"
            )
        }
        _ => String::new(),
    }
}
