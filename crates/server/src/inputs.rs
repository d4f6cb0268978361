//! Owns the texts of a configuration: files, directories, or the flags of the command line, and the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use evenkeel_config::edits::{Change, Composed, Edits, Ground, Place, compose};
use evenkeel_config::effective::Entry;
use evenkeel_config::limits::FILE_BYTES;
use evenkeel_config::plan::tls::Material;
use evenkeel_config::tree::TEXT_MOST;
use evenkeel_config::{Loaded, Plan, Problem, Severity, Source, quick, render};
use evenkeel_control::certificate_problems;

use crate::log;

/// Where a configuration comes from.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// A file, or a directory of *.yaml files; may be several
    #[arg(required_unless_present_any = ["to", "config"])]
    path: Vec<PathBuf>,
    /// The same
    #[arg(short, long, value_name = "PATH", conflicts_with = "path")]
    config: Vec<PathBuf>,
    /// Listen here: `:8080` or an address and a port; without a file, or beside one that says the rest
    #[arg(long, value_name = "ADDRESS", requires = "to")]
    pub(crate) listen: Vec<String>,
    /// Forward to this backend, of a service `main`
    #[arg(long, value_name = "ADDRESS", requires = "listen")]
    pub(crate) to: Vec<String>,
    /// Where the instance is asked about itself, beside `--to`; `off`: nowhere
    #[arg(long, value_name = "ADDRESS", requires = "to")]
    pub(crate) admin: Option<String>,
    #[command(flatten)]
    pub(crate) log: log::Flags,
}

/// What was read, and what became of it.
pub(crate) struct Read {
    pub(crate) loaded: Loaded,
    /// Problems as people read them.
    pub(crate) shown: String,
    pub(crate) sources: Vec<Source>,
    /// What is changed beside the texts, as far as it holds.
    pub(crate) edits: Edits,
    /// What is not changed any more: the texts say something else there.
    pub(crate) dropped: Vec<Place>,
    /// What is changed beside the texts and is in error with them.
    pub(crate) faulty: Vec<Place>,
    /// Every value that holds. None: there are errors.
    pub(crate) effective: Option<Entry>,
}

impl Arguments {
    /// Reads it, now.
    ///
    /// # Errors
    /// A file that cannot be read, in words.
    pub(crate) fn read(&self) -> Result<Read, String> {
        Ok(lower(
            &Ground::new(self.sources()?.into()),
            &Edits::default(),
        ))
    }

    /// Its texts.
    ///
    /// # Errors
    /// A file that cannot be read, in words.
    pub(crate) fn sources(&self) -> Result<Vec<Source>, String> {
        let mut all = sources(&[&self.path[..], &self.config].concat())?;
        if !self.to.is_empty() {
            let admin = self.admin.as_deref();
            all.push(quick::source(&self.listen, &self.to, admin));
        }
        Ok(all)
    }
}

/// Reads files and directories.
///
/// # Errors
/// One that cannot be read, in words.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Read, String> {
    read_over(paths, &Edits::default())
}

/// The same with what is changed beside them.
///
/// # Errors
/// One that cannot be read, in words.
pub(crate) fn read_over(paths: &[PathBuf], edits: &Edits) -> Result<Read, String> {
    Ok(lower(&Ground::new(sources(paths)?.into()), edits))
}

/// The texts of files and directories.
///
/// # Errors
/// One that cannot be read, in words.
fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for path in paths {
        if path.is_dir() {
            let files = files_of(path)?;
            if files.is_empty() {
                return Err(format!("{}: no *.yaml file in it", path.display()));
            }
            for file in files {
                sources.push(source(&file)?);
            }
        } else {
            sources.push(source(path)?);
        }
    }
    Ok(sources)
}

/// What `${NAME}` reads.
pub(crate) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// What one of it holds.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    let mut all = std::env::vars_os();
    all.find_map(|(one, value)| (one == *name).then_some(value))
}

/// What texts that were read come to, with what is changed beside them.
pub(crate) fn lower(ground: &Ground, edits: &Edits) -> Read {
    let composed = composed(ground, edits, None, |path| content(path, FILE_BYTES));
    let effective = composed.effective(&environment());
    let sources = composed.sources();
    let faulty = composed.faulty();
    Read {
        shown: render(&composed.loaded.problems, &sources),
        effective,
        loaded: composed.loaded,
        sources,
        faulty,
        edits: composed.edits,
        dropped: composed.dropped,
    }
}

/// What texts and changes beside them come to, checked as far as it can be without running it.
pub(crate) fn composed(
    ground: &Ground,
    edits: &Edits,
    change: Option<&Change>,
    ask: impl Fn(&Path) -> Result<Vec<u8>, String> + 'static,
) -> Composed {
    let mut composed = compose(ground, edits, change, &environment(), ask);
    let loaded = &mut composed.loaded;
    if let Some(plan) = &loaded.plan {
        let mut problems = certificate_problems(plan);
        problems.extend(exposed(plan));
        let error = |problem: &Problem| problem.severity == Severity::Error;
        if problems.iter().any(error) {
            loaded.plan = None;
        }
        loaded.problems.extend(problems);
        loaded.problems.sort_by_key(|problem| problem.at);
    }
    composed
}

/// Keys that anybody on this machine may replace. Who may read them is not looked at: a volume of secrets lets all in its container.
fn exposed(plan: &Plan) -> Vec<Problem> {
    let keys = plan.keys().into_iter();
    let writable = keys.filter(|key| {
        let file = fs::metadata(&key.path);
        file.is_ok_and(|file| file.permissions().mode() & 0o002 != 0)
    });
    let problem = |key: &Material| Problem {
        at: key.at,
        severity: Severity::Warning,
        word: "permissions",
        message: format!(
            "{}: anybody on this machine may write this key; `chmod 600` it",
            key.path.display()
        ),
        also: None,
    };
    writable.map(problem).collect()
}

/// The text of a file of cases.
///
/// # Errors
/// It cannot be read, in words.
pub(crate) fn cases(path: &Path) -> Result<Source, String> {
    let name = path.display().to_string();
    let bytes = content(path, TEXT_MOST).map_err(|error| format!("{name}: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|error| format!("{name}: {error}"))?;
    Ok(Source { name, text })
}

/// What a file holds that the configuration names; of one that is too long, enough to see that.
///
/// # Errors
/// Why it cannot be read, in words.
pub(crate) fn content(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let say = |error: std::io::Error| error.to_string();
    // Opening a pipe would wait for its other end.
    if !fs::metadata(path).map_err(say)?.is_file() {
        return Err("not a file".into());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(say)?
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(say)?;
    Ok(bytes)
}

/// The files of a directory, by name.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml" || extension == "yml")
        })
        .collect();
    files.sort_unstable();
    Ok(files)
}

fn source(path: &Path) -> Result<Source, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Source {
        name: path.display().to_string(),
        text,
    })
}
