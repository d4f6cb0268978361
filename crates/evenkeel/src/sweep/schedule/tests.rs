//! Rows of what is due when.
