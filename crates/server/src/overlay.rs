//! Owns what operators want of a running instance, beyond its process: the file that a new start reads, and the writing of it.
//!
//! The control plane says what is wanted and never waits for a disk: a thread writes, a change at a time, and whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use evenkeel_config::Plan;
use evenkeel_config::edits::Edits;
use evenkeel_config::effective::{Entry, Of};
use evenkeel_config::limits::OVERLAY_BYTES;
use evenkeel_control::Control;
use evenkeel_control::command::{Admin, Keeping, word};
use evenkeel_control::control::handover::Wanted;
use rustix::fs::{Access, OFlags, access};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::inputs::variable;
use text::Text;
use watched::Watched;

/// As text.
pub(crate) mod text;

/// The key of affinity beside it.
mod key;

/// What is watched, beside it.
mod watched;

/// Layouts: the second has what is changed beside the configuration too. What needs no second is written as the first, which binaries before it
/// understand.
const VERSIONS: [u32; 2] = [1, 2];

const NAME: &str = "overlay.json";

/// What begins the names of files of changes that did not fit any more.
const ASIDE: &str = "set-aside";

/// The most of them.
const ASIDE_MOST: usize = 100;

/// Ticks from a write that failed to the next: ten seconds.
const REST: u32 = 100;

/// Why nothing was written.
const NO_THREAD: &str = "there is no thread for it";

/// A disk that does not answer does not keep a process that ends.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Where it is kept.
#[derive(Args, Clone)]
#[group(skip)]
pub(crate) struct Flags {
    /// Keep what operators want (drain, disable) in this directory, over restarts; without it, in the `StateDirectory` of a unit of
    /// systemd, else in memory
    #[arg(long, value_name = "PATH")]
    state_dir: Option<PathBuf>,
    /// Leave what is kept there alone: begin with the configuration, and keep nothing over a restart
    #[arg(long)]
    no_overlay: bool,
}

/// The file's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    wanted: Text,
}

/// What every version of it has.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

impl Flags {
    fn place(&self) -> Option<PathBuf> {
        // Of several the first is the unit's own.
        let of_unit = || {
            let all = variable("STATE_DIRECTORY")?;
            let first = std::env::split_paths(&all).next();
            first.filter(|path| !path.as_os_str().is_empty())
        };
        let folder = self.state_dir.clone().or_else(of_unit);
        Some(folder.filter(|_| !self.no_overlay)?.join(NAME))
    }

    /// What was wanted when the last process ended.
    ///
    /// # Errors
    /// A file that is there and is not understood, in words: who starts without it has clients sent to backends that were disabled.
    pub(crate) fn read(&self) -> Result<Wanted, String> {
        let Some(place) = self.place() else {
            return Ok(Wanted::default());
        };
        let more = "; mend or remove it, or start with --no-overlay";
        read(&place).map_err(|why| format!("{}: {why}{more}", place.display()))
    }

    /// Writes changes that do not fit any more into a file of their own beside, and says which.
    ///
    /// # Errors
    /// There is no place for it, in words.
    pub(crate) fn set_aside(&self, edits: Edits) -> Result<PathBuf, String> {
        let place = self.place().ok_or("nothing is kept here (--state-dir)")?;
        let names = (1..=ASIDE_MOST).map(|at| place.with_file_name(format!("{ASIDE}.{at}.json")));
        let mut free = names.filter(|name| matches!(name.try_exists(), Ok(false)));
        let file = free
            .next()
            .ok_or_else(|| format!("{ASIDE_MOST} files of it are there already"))?;
        let wanted = Wanted {
            edits,
            ..Wanted::default()
        };
        write(&file, &wanted, &mine()).map_err(|why| format!("{}: {why}", file.display()))?;
        Ok(file)
    }

    /// Goes on with what was read, or was handed over by another process; that has not written all of it, perhaps.
    pub(crate) fn keep(&self, handed_over: bool) -> Kept {
        let place = self.place();
        if let Some(place) = &place {
            let folder = place.parent().unwrap_or(place);
            if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
                warn!(
                    "what operators want cannot be kept in {}, and is lost by a restart: {error}",
                    folder.display()
                );
            }
            if !handed_over {
                clear(folder);
            }
        }
        Kept {
            watched: Watched::at(place.as_deref()),
            place,
            mine: mine(),
            written: (!handed_over).then_some(0),
            writing: None,
            rest: 0,
            failed: false,
        }
    }
}

/// What is kept in this directory, and the file's name.
///
/// # Errors
/// The file is not understood, or there is no such directory, in words.
pub(crate) fn kept_in(folder: &Path) -> Result<(Wanted, String), String> {
    if !folder.is_dir() {
        return Err(format!("{}: there is no such directory", folder.display()));
    }
    let place = folder.join(NAME);
    let place = place.display().to_string();
    let wanted = read(place.as_ref()).map_err(|why| format!("{place}: {why}"))?;
    Ok((wanted, place))
}

/// Shows what is kept there over a configuration: what of it a start would not take from the text.
pub(crate) fn show_over(wanted: Wanted, place: &str, plan: &Plan, entry: &mut Entry) {
    let wanted = wanted.over(plan);
    let draining = word(Admin::Draining);
    for name in &wanted.away {
        entry.wish(Of::Listener(name), draining, place);
    }
    for (name, wishes) in &wanted.services {
        for (id, one) in &wishes.backends {
            entry.wish(Of::Backend(name, id), word(one.admin), place);
        }
        if wishes.drains {
            entry.wish(Of::Service(name), draining, place);
            let services = plan.services.iter().filter(|one| *one.name == **name);
            for one in services.flat_map(|service| service.backends.iter()) {
                let id = one.spec.id.as_str();
                let wish = wishes.backends.get(id).map(|one| one.admin);
                if wish.unwrap_or(one.spec.admin) == Admin::Enabled {
                    entry.wish(Of::Backend(name, id), draining, place);
                }
            }
        }
    }
}

/// Takes away what processes left that were killed while they wrote.
fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| {
            let ours = [NAME, watched::NAME].into_iter();
            ours.filter_map(|ours| name.strip_prefix(ours)).next()
        });
        let process = process.and_then(|rest| rest.strip_prefix('.'));
        if process.is_some_and(|process| process.parse::<u32>().is_ok()) {
            // What cannot be taken away is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn read(place: &Path) -> Result<Wanted, String> {
    let bytes = held(place, OVERLAY_BYTES)?;
    bytes.map_or_else(|| Ok(Wanted::default()), |bytes| understood(&bytes))
}

/// What a file of the state directory holds, up to so many bytes. None: there is none.
fn held(place: &Path, most: usize) -> Result<Option<Vec<u8>>, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut options = File::options();
    // Neither a pipe that nobody writes to, nor a way to what only this process may read.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = options
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(place);
    let file = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(said)?,
    };
    if !file.metadata().map_err(said)?.is_file() {
        return Err("it is no file".into());
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(said)?;
    if bytes.len() > most {
        return Err(format!("it has more than {most} bytes"));
    }
    Ok(Some(bytes))
}

fn understood(bytes: &[u8]) -> Result<Wanted, String> {
    let said = |error: serde_json::Error| format!("it is not understood: {error}");
    let head: Head = serde_json::from_slice(bytes).map_err(said)?;
    if !VERSIONS.contains(&head.version) {
        let [.., last] = VERSIONS;
        return Err(format!(
            "it is of version {}, and this binary knows {last}",
            head.version
        ));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(said)?;
    document.wanted.try_into()
}

/// Whether this process writes the file: not while another one may.
type Mine = Arc<Mutex<bool>>;

/// Why nothing was written, where another process may write: no failure.
const ANOTHERS: &str = "another process may write it";

fn mine() -> Mine {
    Arc::new(Mutex::new(true))
}

/// Whole, or as it was.
fn write(place: &Path, wanted: &Wanted, mine: &Mine) -> Result<(), String> {
    let document = Document {
        version: VERSIONS[usize::from(!wanted.edits.is_empty())],
        wanted: wanted.into(),
    };
    let text = serde_json::to_vec(&document).map_err(|error| error.to_string())?;
    if text.len() > OVERLAY_BYTES {
        return Err(format!("{} bytes, of at most {OVERLAY_BYTES}", text.len()));
    }
    put(place, NAME, &text, mine)
}

/// The file of this name.
fn put(place: &Path, name: &str, bytes: &[u8], mine: &Mine) -> Result<(), String> {
    // A process that takes over writes while the one before it may.
    let fresh = place.with_file_name(format!("{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let mine = mine.lock().unwrap_or_else(PoisonError::into_inner);
        if !*mine {
            return Err(std::io::Error::other(ANOTHERS));
        }
        fs::rename(&fresh, place)?;
        drop(mine);
        File::open(place.parent().unwrap_or(place))?.sync_all()
    })();
    written.map_err(|error: std::io::Error| {
        // It may not be there.
        let _ = fs::remove_file(&fresh);
        error.to_string()
    })
}

/// The file of an instance that runs.
pub(crate) struct Kept {
    /// None: it is kept nowhere.
    place: Option<PathBuf>,
    mine: Mine,
    watched: Watched,
    /// What the file holds. None: nobody knows.
    written: Option<u64>,
    writing: Option<(u64, oneshot::Receiver<Result<(), String>>)>,
    /// Ticks until it is tried again.
    rest: u32,
    failed: bool,
}

impl Kept {
    /// Says what is wanted otherwise than the configuration says, at a start, and keeps what lasts.
    pub(crate) fn say(&self, control: &Control) {
        self.keep_affinity_key(control);
        let (wanted, _) = control.wanted();
        let services = wanted.services.values().filter(|one| one.drains).count();
        let (backends, listeners) = (wanted.backends(), wanted.away.len());
        let changes = wanted.edits.len();
        if let Some(place) = &self.place
            && services + backends + listeners + changes > 0
        {
            let more = match changes {
                0 => String::new(),
                _ => format!(", and {changes} entries that are changed beside the configuration"),
            };
            info!(
                "{} says what operators want of {backends} backends, {services} services and {listeners} listeners{more}",
                place.display()
            );
        }
    }

    /// Where it is kept, as far as is known.
    pub(crate) const fn keeping(&self) -> Keeping {
        match (&self.place, self.failed) {
            (None, _) => Keeping::Memory,
            (_, true) => Keeping::Failing,
            (_, false) => Keeping::Disk,
        }
    }

    /// What a write came to; a failure is said once.
    fn wrote(&mut self, version: u64, outcome: Result<(), String>) {
        let Some(place) = &self.place else { return };
        match outcome {
            // Whose it is then writes it.
            Err(why) if why == ANOTHERS => self.written = None,
            Ok(()) => {
                self.written = Some(version);
                if std::mem::take(&mut self.failed) {
                    info!("what operators want is kept in {} again", place.display());
                }
            }
            Err(why) => {
                self.rest = REST;
                if !std::mem::replace(&mut self.failed, true) {
                    error!(
                        "what operators want is not kept in {}, and is lost by a restart: {why}",
                        place.display()
                    );
                }
            }
        }
    }

    /// Another process may write now, which begins with all that is wanted here; or not any more. What is on its way to the disk and was not
    /// there by then never comes: it would lie over what that process wrote.
    pub(crate) fn hold(&mut self, held: bool) {
        let mut mine = self.mine.lock().unwrap_or_else(PoisonError::into_inner);
        if *mine == held {
            *mine = !held;
            // Nobody knows what the other one did.
            self.written = None;
        }
    }

    fn is_held(&self) -> bool {
        !*self.mine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has written what changed, once a tick.
    pub(crate) fn follow(&mut self, control: &Control) {
        self.watched.follow(control);
        let Some(place) = self.place.clone().filter(|_| !self.is_held()) else {
            return;
        };
        if let Some((version, outcome)) = &mut self.writing {
            let outcome = match outcome.try_recv() {
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Closed) => Err(NO_THREAD.into()),
                Ok(outcome) => outcome,
            };
            let version = *version;
            self.writing = None;
            self.wrote(version, outcome);
        }
        let (wanted, version) = control.wanted();
        if self.written == Some(version) {
            return;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        let (sender, outcome) = oneshot::channel();
        let (wanted, mine) = (wanted.clone(), self.mine.clone());
        // Without a thread the sender is dropped, and that is heard.
        let _ = std::thread::Builder::new()
            .name("overlay".into())
            .spawn(move || {
                // Nobody may wait for it any more.
                let _ = sender.send(write(&place, &wanted, &mine));
            });
        self.writing = Some((version, outcome));
    }

    /// Leaves it to another process.
    pub(crate) fn give_up(&mut self) {
        self.hold(true);
        self.place = None;
        self.watched.give_up();
    }

    /// Has written what is not yet, before the process ends.
    pub(crate) async fn finish(&mut self, control: &Control) {
        self.rest = 0;
        let all = async {
            self.follow(control);
            while let Some((version, outcome)) = self.writing.take() {
                let outcome = outcome.await.unwrap_or_else(|_| Err(NO_THREAD.into()));
                let goes_on = outcome.is_ok();
                self.wrote(version, outcome);
                if goes_on {
                    self.follow(control);
                }
            }
            self.watched.finish(control).await;
        };
        let _ = timeout(LAST_WRITE, all).await;
    }
}

#[cfg(test)]
mod tests;
