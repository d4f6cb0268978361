//! Owns what operators want of a running instance, beyond it.

/// As text.
pub(crate) mod text;
