//! Owns what the entry of a backend in the configuration comes to: one number, the same in every process and version, as long as the
//! entry says the same.
//!
//! Made of what is not as it would be unsaid: a key that a later version knows changes the number of nobody who does not use it.

use std::collections::HashMap;

use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::hashing::{key, mix};
use evenkeel_balance::zone::Zone;
use evenkeel_config::plan::{BackendAddress, BackendPlan, NamePlan, ServicePlan};

use crate::command::word;

/// The entries of a service.
pub(super) struct Entries<'p> {
    listed: HashMap<&'p str, &'p BackendPlan>,
    named: u64,
}

impl<'p> Entries<'p> {
    /// Cost: its backends and names.
    pub(super) fn of(service: &'p ServicePlan) -> Self {
        let listed = service.backends.iter();
        Self {
            listed: listed.map(|one| (one.spec.id.as_str(), one)).collect(),
            named: service.names.iter().fold(Said(0), Said::name).0,
        }
    }

    /// That of a backend which is listed, or else behind one of the names: it may leave DNS and return, and only the operator's own
    /// text counts.
    pub(super) fn of_id(&self, id: &str) -> u64 {
        let listed = self.listed.get(id);
        listed.map_or(self.named, |one| Said(1).backend(one).0)
    }
}

/// What was said, as a number.
struct Said(u64);

impl Said {
    fn say(self, word: &str, value: &[u8]) -> Self {
        Self(mix(mix(self.0, key(word.as_bytes())), key(value)))
    }

    fn number(self, word: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.say(word, &value.to_be_bytes()),
            None => self,
        }
    }

    fn text(self, word: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.say(word, value.as_bytes()),
            None => self,
        }
    }

    fn backend(self, one: &BackendPlan) -> Self {
        // Named one by one here and below, so that a new key is not forgotten.
        let BackendPlan {
            spec,
            address,
            max_connections,
        } = one;
        let said = match address {
            BackendAddress::Tcp(address) => self.text("address", Some(&address.to_string())),
            BackendAddress::Name(name, port) => {
                let port = Some(u64::from(port.get()));
                self.text("name", Some(name)).number("port", port)
            }
            BackendAddress::Unix(path) => self.say("unix", path.as_os_str().as_encoded_bytes()),
        };
        let most = max_connections.map(|most| most.get() as u64);
        let said = said.spec(spec).number("max_connections", most);
        said.zone(spec)
    }

    fn name(self, one: &NamePlan) -> Self {
        let NamePlan {
            question,
            port,
            refresh,
            id,
            spec,
            max_connections,
        } = one;
        let said = self.text(question.kind(), Some(question.name()));
        let said = said.number("port", port.map(|port| port.get().into()));
        let refresh = u64::try_from(refresh.as_nanos()).ok();
        let said = said.number("refresh", refresh).text("id", id.as_deref());
        let most = max_connections.map(|most| most.get() as u64);
        let said = said.spec(spec).number("max_connections", most);
        said.zone(spec)
    }

    /// Behind what is not the core's: an overlay that was kept says it there.
    fn zone(self, spec: &BackendSpec) -> Self {
        self.text("zone", spec.zone.as_ref().map(Zone::name))
    }

    fn spec(self, spec: &BackendSpec) -> Self {
        let BackendSpec {
            id,
            weight,
            max_in_flight,
            admin,
            tier,
            zone: _,
            labels,
            // What is added there is to be said here, too.
            ..
        } = spec;
        let said = self.text("identity", Some(id.as_str()));
        let weight = (*weight != Weight::ONE).then(|| weight.get().into());
        let said = said.number("weight", weight);
        let said = said.number("max_in_flight", max_in_flight.map(|most| most.get().into()));
        let state = (*admin != Admin::Enabled).then(|| word(*admin));
        let said = said.text("state", state);
        let said = said.number("tier", (*tier != 0).then(|| (*tier).into()));
        labels.iter().fold(said, |said, (label, value)| {
            said.text("label", Some(label)).text("is", Some(value))
        })
    }
}
