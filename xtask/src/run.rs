//! Owns the starting of other programs.
//!
//! A program that does not start, or ends badly, becomes one line that names the command as one would type it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Nothing to say, or what went wrong and what to do about it.
pub(crate) type Done = Result<(), String>;

/// A command with the words it was made of, for messages.
pub(crate) struct Run {
    command: Command,
    typed: String,
}

/// `cargo` with these words, in the root of the workspace.
///
/// It keeps nothing for a build that goes on where this one stopped: what is built here is built whole, and what would be kept is gigabytes.
pub(crate) fn cargo(root: &Path, words: &[&str]) -> Run {
    let mut run = program("cargo").args(words);
    run.command.env("CARGO_INCREMENTAL", "0");
    run.command.current_dir(root);
    run
}

/// Any program, in the current folder.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Run {
    Run {
        typed: name.as_ref().display().to_string(),
        command: Command::new(name),
    }
}

impl Run {
    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, words: &[S]) -> Self {
        for word in words {
            self.typed.push(' ');
            self.typed.push_str(&word.as_ref().display().to_string());
            self.command.arg(word);
        }
        self
    }

    /// Sets one variable of the program's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.typed = format!("{name}='{value}' {}", self.typed);
        self.command.env(name, value);
        self
    }

    /// Has programs of this folder found before others, this one too.
    #[expect(clippy::disallowed_methods, reason = "a folder is put before others")]
    pub(crate) fn before(mut self, folder: &Path) -> Self {
        let others = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&others));
        // In a folder whose name has a colon nothing is found.
        if let Ok(all) = std::env::join_paths(all) {
            self.command.env("PATH", all);
        }
        self
    }

    /// Runs to the end, on this terminal.
    pub(crate) fn go(mut self) -> Done {
        match self.command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{}` failed ({status})", self.typed)),
            Err(error) => Err(cannot_start(&self.typed, &error)),
        }
    }

    /// Runs to the end and gives back what it wrote to its standard output.
    pub(crate) fn read(mut self) -> Result<String, String> {
        let output = self
            .command
            .output()
            .map_err(|error| cannot_start(&self.typed, &error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "`{}` failed ({})\n{}",
                self.typed,
                output.status,
                said.trim_end()
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Does this command start and end well, whatever it prints?
pub(crate) fn answers(words: &[&str]) -> bool {
    ask(words).is_some()
}

/// What this command prints, when it starts and ends well.
pub(crate) fn ask(words: &[&str]) -> Option<String> {
    let (name, rest) = words.split_first()?;
    let output = Command::new(name)
        .args(rest)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn cannot_start(typed: &str, error: &std::io::Error) -> String {
    format!(
        "`{typed}` did not start: {error}. Is it installed? `cargo xtask setup` says what is missing"
    )
}
