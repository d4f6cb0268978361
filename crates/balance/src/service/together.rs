//! Owns changes of several things that are published as one, and that nobody can come between.

use crate::backend::{BackendId, BackendSpec, Weight};
use crate::membership::MembershipError;
use crate::service::Service;
use crate::settings::ServiceSettings;
use crate::time::Instant;

impl Service {
    /// Makes exactly `backends` the members, in this order. State of those that stay is kept; nothing changes on error.
    /// Cost: members, once; the way to register many.
    ///
    /// # Errors
    /// [`MembershipError`] when two share an identity or there are too many.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "who brings members gives them away; `bring` is for who keeps them"
    )]
    pub fn replace(&self, backends: Vec<BackendSpec>, now: Instant) -> Result<(), MembershipError> {
        self.bring(None, &backends, now)
    }

    /// Puts other settings in force and makes exactly `backends` the members, in one change that is published once.
    /// State of members that stay is kept; nothing changes on error.
    ///
    /// # Errors
    /// [`MembershipError`] when two share an identity or there are more than the new settings allow.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "who brings members gives them away; `bring` is for who keeps them"
    )]
    pub fn reconfigure(
        &self,
        settings: ServiceSettings,
        backends: Vec<BackendSpec>,
        now: Instant,
    ) -> Result<(), MembershipError> {
        self.bring(Some(settings), &backends, now)
    }

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
                ledger.update(&spec.weight(*weight), now)?;
            }
            Ok(())
        })
    }

    /// Gives members the parts of their share that whoever watches them wants, 0.01 to 100 (what is beyond is cut to that), beside their
    /// weights: a factor that no weight, slow start, drain or change of membership undoes, and that leaves with its member. Under keyed
    /// policies it has no effect. Who is no member is passed over. Says how many changed. Cost: what is told; where one changes, members.
    pub fn adjust(&self, factors: &[(BackendId, f32)], now: Instant) -> usize {
        // What changes nothing neither wakes a service at rest nor is published.
        if !self.locked(|ledger| ledger.would_adjust(factors)) {
            return 0;
        }
        self.write(now, |ledger| ledger.adjust(factors))
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

    /// As [`reconfigure`](Self::reconfigure), for who keeps what the members are configured with: of those that stay as they are nothing
    /// is copied. Settings stay where none are given. Cost: members, once.
    ///
    /// # Errors
    /// As [`reconfigure`](Self::reconfigure).
    pub fn bring<S: AsRef<BackendSpec>>(
        &self,
        settings: Option<ServiceSettings>,
        backends: &[S],
        now: Instant,
    ) -> Result<(), MembershipError> {
        let specs = each(backends);
        self.write(now, |ledger| match settings {
            Some(settings) => ledger.reconfigure(settings, &specs, now),
            None => ledger.replace(&specs, now),
        })
    }
}

/// Where each stands.
pub(super) fn each<S: AsRef<BackendSpec>>(backends: &[S]) -> Vec<&BackendSpec> {
    backends.iter().map(AsRef::as_ref).collect()
}
