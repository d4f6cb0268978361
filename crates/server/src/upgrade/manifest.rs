//! Owns what goes over, as text: JSON whose unknown fields are passed over and whose missing ones have a meaning, so that an older
//! and a newer process understand each other.
//!
//! Sockets and what operators want come first, whole, and must be understood. What was learned comes behind them, line by line, as
//! much of it as there is room for; a line that is not understood is lost and nothing depends on it.

use std::os::fd::OwnedFd;

use evenkeel_config::plan::Bind;
use evenkeel_control::control::handover::{CarriedState, Heritage, Inherited, Wanted};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::passing::TEXT_MOST;
use crate::overlay::text::Text;

/// What was learned.
pub(crate) mod learned;

/// What a process is given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) heritage: Heritage,
    /// Admin addresses, by what is served there.
    pub(crate) admin: Vec<Inherited>,
    /// What leads to processes before the one that gives: sockets that the text does not speak of.
    pub(crate) before: Vec<OwnedFd>,
}

impl Given {
    /// The same, and what operators want.
    pub(crate) fn wanting(mut self, wanted: Wanted) -> Self {
        self.heritage.state.wanted = wanted;
        self
    }

    /// Says which sockets are left over.
    pub(crate) fn say_unused(&self) {
        for one in self.heritage.listeners.iter().chain(&self.admin) {
            warn!(
                "a socket that was passed to this process is at {}, where nothing listens: it is closed",
                one.place()
            );
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Manifest {
    /// In the order of the sockets that come with it.
    listeners: Vec<Group>,
    admin: Vec<Group>,
    wanted: Text,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Group {
    name: Option<String>,
    /// `192.0.2.1:80` or `unix:/path`.
    bind: String,
    sockets: usize,
    file: bool,
}

/// What must go over, as text, and the sockets that go with it.
///
/// # Errors
/// It is too long, in words.
pub(crate) fn write(
    listeners: Vec<Inherited>,
    admin: Vec<Inherited>,
    wanted: &Wanted,
) -> Result<(Vec<u8>, Vec<OwnedFd>), String> {
    write_within(TEXT_MOST, listeners, admin, wanted)
}

fn write_within(
    most: usize,
    listeners: Vec<Inherited>,
    admin: Vec<Inherited>,
    wanted: &Wanted,
) -> Result<(Vec<u8>, Vec<OwnedFd>), String> {
    let mut sockets = Vec::new();
    let mut groups = |all: Vec<Inherited>| -> Vec<Group> {
        let group = |one: Inherited| {
            let group = Group {
                name: one.listener.map(Into::into),
                bind: shown(&one.bind),
                sockets: one.sockets.len(),
                file: one.file,
            };
            sockets.extend(one.sockets);
            group
        };
        all.into_iter().map(group).collect()
    };
    let manifest = Manifest {
        listeners: groups(listeners),
        admin: groups(admin),
        wanted: wanted.into(),
    };
    let text = serde_json::to_vec(&manifest).map_err(|error| error.to_string())?;
    if text.len() > most {
        let (backends, places) = (wanted.backends(), manifest.listeners.len());
        return Err(format!(
            "{places} addresses and what operators want of {backends} backends take {} bytes, of at most {most}: have more of them wanted by the configuration",
            text.len()
        ));
    }
    Ok((text, sockets))
}

/// Reads it.
///
/// # Errors
/// It does not say which sockets are which, or what operators want, in words.
pub(super) fn read(text: &[u8], sockets: Vec<OwnedFd>) -> Result<Given, String> {
    let manifest: Manifest = serde_json::from_slice(text)
        .map_err(|error| format!("what is handed over is not understood: {error}"))?;
    let mut sockets = sockets.into_iter();
    let mut inherited = |groups: Vec<Group>| -> Result<Vec<Inherited>, String> {
        let one = |group: Group| {
            let mine: Vec<_> = sockets.by_ref().take(group.sockets).collect();
            if mine.len() != group.sockets || mine.is_empty() {
                return Err(format!("sockets of {} are missing", group.bind));
            }
            Ok(Inherited {
                listener: group.name.map(Into::into),
                bind: bind(&group.bind).ok_or_else(|| format!("{} is no address", group.bind))?,
                sockets: mine,
                file: group.file,
            })
        };
        groups.into_iter().map(one).collect()
    };
    let listeners = inherited(manifest.listeners)?;
    let admin = inherited(manifest.admin)?;
    let wanted = manifest.wanted.try_into();
    let wanted =
        wanted.map_err(|why: String| format!("what operators want is not understood: {why}"))?;
    Ok(Given {
        heritage: Heritage {
            listeners,
            state: CarriedState {
                wanted,
                ..CarriedState::default()
            },
        },
        admin,
        before: sockets.collect(),
    })
}

fn shown(bind: &Bind) -> String {
    match bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn bind(text: &str) -> Option<Bind> {
    match text.strip_prefix("unix:") {
        Some(path) => Some(Bind::Unix(path.into())),
        None => text.parse().ok().map(Bind::Tcp),
    }
}

#[cfg(test)]
mod tests;
