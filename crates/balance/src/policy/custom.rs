//! Owns what a program's own policy may do: choose who may be chosen. One that panics, or names another, is broken, and round robin stands in.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc as StdArc;

use crate::ask::Ask;
use crate::policy::round_robin::RoundRobin;
use crate::policy::{Candidates, Policy};

/// A program's own policy and its stand-in.
pub(crate) struct Custom {
    pub(super) policy: StdArc<dyn Policy>,
    pub(super) stand_in: RoundRobin,
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Custom").field(&self.policy.name()).finish()
    }
}

/// The program's own policy panicked or chose who may not be chosen.
#[derive(Debug)]
pub(crate) struct Broke;

impl Custom {
    pub(super) fn choose(
        &self,
        view: &Candidates<'_>,
        ask: &Ask<'_>,
    ) -> Result<Option<usize>, Broke> {
        match catch_unwind(AssertUnwindSafe(|| self.policy.choose(view, ask))) {
            Ok(Some(index)) if index >= view.len() || !view.may(index) => Err(Broke),
            Ok(chosen) => Ok(chosen),
            Err(_panic) => Err(Broke),
        }
    }

    pub(super) fn score(&self, view: &Candidates<'_>, index: usize, ask: &Ask<'_>) -> Option<f64> {
        catch_unwind(AssertUnwindSafe(|| self.policy.score(view, index, ask)))
            .ok()
            .flatten()
    }
}
