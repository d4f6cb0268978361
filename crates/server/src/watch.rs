//! Owns the watch over the files that the TLS of a plan names: a certificate that is renewed is taken without being told. Nothing
//! else of the configuration is read again then: who edits it says when it is whole.

use std::collections::BTreeMap;
use std::fs::metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use evenkeel_config::limits::FILE_BYTES;
use evenkeel_config::{Plan, Severity};
use evenkeel_control::{Control, certificate_problems};
use tracing::{error, info, warn};

use crate::inputs;

/// How often files are looked at; one look is a call each.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells a file from one that stood there before. None: there is none.
type Mark = Option<(u64, u64, i64, i64)>;

/// The files as they were when last looked at.
pub(crate) struct Watch {
    marks: BTreeMap<PathBuf, Mark>,
    /// They are to be read once they rest: a certificate and its key are two files.
    moving: bool,
}

impl Watch {
    /// Over the files of this plan.
    pub(crate) fn begin(plan: &Plan) -> Self {
        Self {
            marks: marks(plan),
            // One may have changed since it was read.
            moving: true,
        }
    }

    /// Looks, and takes what is new once it has not changed between two looks.
    pub(crate) fn look(&mut self, control: &mut Control) {
        let live = control.live();
        let now = marks(&live.plan);
        if now != self.marks {
            self.marks = now;
            self.moving = true;
            return;
        }
        if !std::mem::take(&mut self.moving) {
            return;
        }
        let taken = match read(&live.plan) {
            Ok(None) => return control.same(),
            Ok(Some(plan)) => control.reload(plan).map_err(|error| error.to_string()),
            Err(why) => {
                control.refused(&why);
                Err(why)
            }
        };
        match taken {
            Ok(changes) => {
                info!("reloaded, as files have changed: {}", changes.line());
            }
            Err(why) => error!("changed files are not taken: {why}; what was read before goes on"),
        }
    }
}

fn marks(plan: &Plan) -> BTreeMap<PathBuf, Mark> {
    let mark = |path: &PathBuf| {
        let file = metadata(path).ok()?;
        Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    };
    let all = plan.materials().into_iter();
    all.map(|one| (one.path.clone(), mark(&one.path))).collect()
}

/// The plan with what its files hold now. None: what they held before.
///
/// # Errors
/// What is wrong with them, in words.
fn read(plan: &Plan) -> Result<Option<Plan>, String> {
    let (mut next, mut changed) = (plan.clone(), false);
    for material in next.materials_mut() {
        let name = material.path.display();
        let bytes = inputs::content(&material.path, FILE_BYTES)
            .map_err(|error| format!("{name}: {error}"))?;
        if bytes.len() > FILE_BYTES {
            return Err(format!("{name}: more than {} KiB", FILE_BYTES / 1024));
        }
        if *bytes != *material.bytes {
            material.bytes = bytes.into();
            changed = true;
        }
    }
    if !changed {
        return Ok(None);
    }
    let problems = certificate_problems(&next);
    let (errors, warnings): (Vec<_>, Vec<_>) = problems
        .into_iter()
        .partition(|problem| problem.severity == Severity::Error);
    for warning in warnings {
        warn!("{}", warning.message);
    }
    match errors.is_empty() {
        true => Ok(Some(next)),
        false => {
            let why: Vec<_> = errors.into_iter().map(|error| error.message).collect();
            Err(why.join("; "))
        }
    }
}
