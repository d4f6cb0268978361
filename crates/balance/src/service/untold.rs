//! Owns changes that are told later: by whoever makes them under a lock of its own, which a listener might ask for.

use super::Service;

/// Keeps the events of a service's changes untold, from all threads, and tells them in their order when it is dropped. Those of single
/// attempts are not changes. While another thread tells, or a listener does this, nothing is kept: that one tells.
#[must_use = "dropping it tells what it kept"]
#[derive(Debug)]
pub struct Untold(Option<Service>);

impl Service {
    /// From here on events of changes are kept untold. Only for moments: others who change the service do not see theirs told either.
    pub fn untold(&self) -> Untold {
        Untold(self.shared.facts.hold_line().then(|| self.clone()))
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some(service) = self.0.take() {
            service.shared.facts.let_go();
        }
    }
}
