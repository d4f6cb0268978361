//! Owns changes of several things that are published as one, and that nobody can come between.

use crate::backend::{BackendId, Weight};
use crate::membership::MembershipError;
use crate::service::Service;
use crate::settings::ServiceSettings;
use crate::time::Instant;

impl Service {
    /// Gives several backends other weights, in one change that is published once. Nothing changes on error. Cost: members, and
    /// members for each weight.
    ///
    /// # Errors
    /// [`MembershipError::Unknown`] names the first that is no member.
    pub fn set_weights(
        &self,
        weights: &[(BackendId, Weight)],
        now: Instant,
    ) -> Result<(), MembershipError> {
        self.write(now, |ledger| {
            for (backend, _) in weights {
                ledger.spec(backend)?;
            }
            for (backend, weight) in weights {
                let spec = ledger.spec(backend)?.clone();
                ledger.update(spec.weight(*weight), now)?;
            }
            Ok(())
        })
    }

    /// Changes the settings in force, and says what they are now. No other change comes between the reading and the writing, so two
    /// who change different fields do not undo each other. `change` runs under the writer's lock and must not call the service. All
    /// state is kept; `classes` stays what it was. A panic of it changes nothing and goes on to the caller.
    pub fn update_settings(
        &self,
        change: impl FnOnce(&mut ServiceSettings),
        now: Instant,
    ) -> ServiceSettings {
        self.write(now, |ledger| {
            let mut settings = ledger.settings().clone();
            change(&mut settings);
            ledger.set_settings(settings.clone(), now);
            settings
        })
    }
}
