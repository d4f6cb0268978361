//! Owns why a membership cannot be.

use std::fmt;

use crate::backend::BackendId;

/// Why a membership cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MembershipError {
    /// Two members, or one and a new one, share an identity.
    Duplicate(BackendId),
    /// No member has this identity.
    Unknown(BackendId),
    /// More than `max_backends` of the settings.
    TooMany {
        /// How many there would be.
        members: usize,
        /// How many there may be.
        most: u32,
    },
}

impl fmt::Display for MembershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(id) => write!(
                f,
                "backend {id} is a member already; give the second one an id of its own"
            ),
            Self::Unknown(id) => write!(f, "backend {id} is not a member"),
            Self::TooMany { members, most } => write!(
                f,
                "{members} backends are more than the {most} that max_backends allows"
            ),
        }
    }
}

impl std::error::Error for MembershipError {}

/// Whether there is room for so many members.
pub(super) fn room(members: usize, most: u32) -> Result<(), MembershipError> {
    if members > usize::try_from(most).unwrap_or(usize::MAX) {
        return Err(MembershipError::TooMany { members, most });
    }
    Ok(())
}
