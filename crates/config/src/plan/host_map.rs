//! Owns maps of hosts to services: many hosts, one step.

use std::collections::HashMap;
use std::sync::Arc;

/// Which service serves which host. An exact host comes before `*.suffix`, a longer suffix before a shorter one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMap {
    exact: HashMap<Box<str>, u32>,
    /// By what stands behind `*.`.
    suffixes: HashMap<Box<str>, u32>,
    /// The most dots of a suffix.
    dots: usize,
    services: Vec<Arc<str>>,
}

impl HostMap {
    /// The names of its services, each once; what [`find`](Self::find) finds is a place here.
    #[must_use]
    pub fn services(&self) -> &[Arc<str>] {
        &self.services
    }

    /// How many hosts it has, each `*.suffix` counted as one.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.exact.len() + self.suffixes.len()
    }

    /// The service of a host (lower case, no port, no trailing dot): a place in [`services`](Self::services). Allocates nothing.
    ///
    /// Cost: one look-up, and where that finds nothing one for each label of the host, but no more than the longest suffix has.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<usize> {
        let found = self.exact.get(host).copied().or_else(|| {
            let dots = host.rmatch_indices('.').take(self.dots + 1);
            // `.example.com` has no label before the suffix.
            let behind = dots
                .filter(|(at, _)| *at > 0)
                .map(|(at, _)| &host[at + 1..]);
            behind
                .filter_map(|suffix| self.suffixes.get(suffix))
                .last()
                .copied()
        });
        found.map(|at| at as usize)
    }

    /// The place of a service; it is entered if it is new.
    pub(crate) fn service(&mut self, places: &mut HashMap<Arc<str>, u32>, name: &str) -> u32 {
        if let Some(at) = places.get(name) {
            return *at;
        }
        let at = u32::try_from(self.services.len()).unwrap_or(u32::MAX);
        let name: Arc<str> = name.into();
        self.services.push(name.clone());
        places.insert(name, at);
        at
    }

    pub(crate) fn insert_exact(&mut self, host: &str, service: u32) {
        self.exact.insert(host.into(), service);
    }

    /// A suffix without its leading dot.
    pub(crate) fn insert_suffix(&mut self, suffix: &str, service: u32) {
        self.dots = self.dots.max(suffix.matches('.').count());
        self.suffixes.insert(suffix.into(), service);
    }
}
