//! Owns `run`'s reading of its configuration again: whatever is wrong with it is said, and changes nothing.

use std::io::ErrorKind;

use evenkeel_config::edits::Place;
use evenkeel_config::render;
use evenkeel_control::Control;
use evenkeel_control::control::{NotTaken, Reread, StartError};
use evenkeel_control::texts::Read;
use tracing::{error, info, warn};

use crate::inputs;
use crate::log::{self, Format};
use crate::warned;

/// Says what is wrong with a configuration.
pub(crate) fn problems(format: Format, read: &inputs::Read) {
    log::problems(format, &read.shown, &read.loaded.problems, &read.sources);
}

/// Says what was changed beside the configuration and is so no more.
pub(crate) fn dropped(places: &[Place]) {
    for place in places {
        warn!(
            "{place} was changed beside the configuration, which says something else there now: the configuration holds"
        );
    }
}

/// Reads the configuration again. Whatever is wrong with it changes nothing.
pub(crate) fn reload(control: &mut Control, format: Format, user: Option<&str>) {
    let say = |read: &Read| {
        let shown = render(&read.problems, &read.sources);
        log::problems(format, &shown, &read.problems, &read.sources);
    };
    match control.reread("reload") {
        Ok(Reread { changes, read }) => {
            say(&read);
            dropped(&read.dropped);
            info!("reloaded: {}", changes.line());
            warned::of_files(&control.live().plan);
            warned::of_running(control);
        }
        Err(NotTaken::Unread(error)) => error!("not reloaded: {error}"),
        Err(NotTaken::Faults(read)) => {
            say(&read);
            error!("not reloaded: the configuration has errors; the old one goes on");
        }
        Err(NotTaken::Start(error, read)) => {
            say(&read);
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
