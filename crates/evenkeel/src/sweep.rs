//! Owns running probes.
