//! Owns one scalar as readers get it: what it says, and how messages show it.

use std::fmt;
use std::sync::Arc;

use crate::problem::clipped;

/// A value of a text, with `${NAME}` replaced. Messages are written with the scalar itself, never with its value: what the
/// environment holds may be a secret, of any length, and is shown by its name where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    value: Arc<str>,
    /// None: as the value is, for nothing in it comes from the environment.
    shown: Option<Arc<str>>,
}

impl Scalar {
    /// One that the environment has no part in.
    pub(crate) fn plain(text: &str) -> Self {
        Self {
            value: text.into(),
            shown: None,
        }
    }

    /// The same, sharing the text of a tree.
    pub(super) fn whole(text: &Arc<str>) -> Self {
        Self {
            value: text.clone(),
            shown: None,
        }
    }

    /// A part of it, which messages show as the whole.
    pub(crate) fn part(&self, value: &str) -> Self {
        let shown = self.shown.as_ref().unwrap_or(&self.value);
        Self {
            value: value.into(),
            shown: Some(shown.clone()),
        }
    }

    pub(super) fn veiled(value: String, shown: String) -> Self {
        Self {
            value: value.into(),
            shown: Some(shown.into()),
        }
    }

    /// What it says. For reading, not for messages.
    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// Another spelling of it, for messages; as it stands where the environment has a part in it.
    pub(crate) fn spelled(&self, other: impl Fn(&str) -> String) -> String {
        match &self.shown {
            None => clipped(&other(&self.value)).into_owned(),
            Some(shown) => clipped(shown).into_owned(),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clipped(self.shown.as_ref().unwrap_or(&self.value)))
    }
}
