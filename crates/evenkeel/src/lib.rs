//! The embeddable library.
#![forbid(unsafe_code)]
