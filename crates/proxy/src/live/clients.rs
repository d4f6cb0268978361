//! Owns the table of a service's clients, which outlives plans: made when it is first needed, brought to what a plan says.

use std::sync::Arc;

use evenkeel_balance::affinity::{CarriedClient, Clients, ClientsCounts, ClientsSettings};
use evenkeel_balance::time::Instant;
use evenkeel_config::plan::{AffinityPlan, ServicePlan};

use super::{LiveService, ServiceState};
use crate::affinity::Affinity;
use crate::affinity::keys::{Own, Rings};

impl ServiceState {
    /// Who is kept where.
    pub(crate) fn clients(&self, settings: ClientsSettings, own: &Own) -> &Clients {
        let seed = || own.seed(self.service.name());
        self.clients.get_or_init(|| Clients::new(settings, seed()))
    }

    /// What keeps clients by this plan; `before` is what the service was. Those who were known by something else are not any more.
    pub(super) fn keeps(
        &self,
        before: Option<&Arc<LiveService>>,
        plan: &ServicePlan,
        rings: &Rings,
    ) -> Option<Affinity> {
        let before = before.and_then(|before| before.plan.affinity.as_ref());
        let now = plan.affinity.as_ref();
        if let Some(clients) = self.clients.get() {
            if before.map(|plan| &plan.by) != now.map(|plan| &plan.by) {
                clients.clear_all();
            }
            if let Some(now) = now.filter(|_| before != now) {
                clients.set_settings(now.clients);
            }
        }
        now.map(|now| Affinity::new(now, &plan.name, rings))
    }

    /// Forgets all clients, and says how many: those with a cookie say themselves who they are.
    #[must_use]
    pub fn forget_clients(&self) -> usize {
        self.clients.get().map_or(0, Clients::clear_all)
    }

    /// What became of the clients that it remembers. None: it has never remembered any.
    #[must_use]
    pub fn clients_counts(&self) -> Option<ClientsCounts> {
        self.clients.get().map(Clients::counts)
    }

    /// Forgets clients whose time is over. Cost: those that go.
    pub fn sweep_clients(&self, now: Instant) {
        if let Some(clients) = self.clients.get() {
            clients.sweep(now);
        }
    }

    /// Those that go over to another process, so many at most.
    #[must_use]
    pub fn carried_clients(&self, most: usize, now: Instant) -> Vec<CarriedClient> {
        let clients = self.clients.get();
        clients.map_or_else(Vec::new, |clients| clients.carried(most, now))
    }

    /// Takes those of another process in, where the plan remembers clients.
    pub fn take_over_clients(
        &self,
        plan: &AffinityPlan,
        own: &Own,
        carried: Vec<CarriedClient>,
        now: Instant,
    ) {
        if plan.by.is_remembered() && !carried.is_empty() {
            self.clients(plan.clients, own).take_over(carried, now);
        }
    }
}
