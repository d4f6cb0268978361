//! Owns what operators want as text, for another process and for the file. Strict: what is not understood is not what was wanted.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_config::edits::{Edit, Edits, Place};
use evenkeel_config::limits;
use evenkeel_control::command::{Admin, word};
use evenkeel_control::control::handover::{Wanted, WantedBackend, WantedService};
use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Text {
    services: BTreeMap<String, Service>,
    /// Those that clients are steered away from.
    listeners_drained: BTreeSet<String>,
    /// What is changed beside the texts of the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<Changed>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    /// Keys and names.
    place: Vec<String>,
    /// As JSON; null: it is taken away.
    text: Option<String>,
    /// What the texts say there, in hexadecimal digits; null: nothing.
    over: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Service {
    drains: bool,
    backends: BTreeMap<String, Backend>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Backend {
    /// `enabled`, `draining` or `disabled`.
    state: String,
    /// What its entry in the configuration comes to, in hexadecimal digits.
    entry: String,
}

const STATES: [Admin; 3] = [Admin::Enabled, Admin::Draining, Admin::Disabled];

impl From<&Wanted> for Text {
    fn from(wanted: &Wanted) -> Self {
        let backend = |(id, one): (&String, &WantedBackend)| {
            let backend = Backend {
                state: word(one.admin).to_owned(),
                entry: format!("{:016x}", one.entry),
            };
            (id.clone(), backend)
        };
        let service = |(name, one): (&String, &WantedService)| {
            let service = Service {
                drains: one.drains,
                backends: one.backends.iter().map(backend).collect(),
            };
            (name.clone(), service)
        };
        // One of which everything is wanted as the configuration says says nothing.
        let services = wanted.services.iter();
        let services = services.filter(|(_, one)| one.drains || !one.backends.is_empty());
        Self {
            services: services.map(service).collect(),
            listeners_drained: wanted.away.clone(),
            changed: wanted.edits.iter().map(changed).collect(),
        }
    }
}

fn changed((place, edit): (&Place, &Edit)) -> Changed {
    Changed {
        place: place.parts().to_vec(),
        text: edit.text.as_deref().map(str::to_owned),
        over: edit.over.map(|over| format!("{over:016x}")),
    }
}

fn edit(one: Changed) -> Result<(Place, Edit), String> {
    let shown = one.place.join(".");
    let place = Place::of(one.place).ok_or_else(|| format!("nothing is changed at {shown}"))?;
    let over = one.over.map(|over| u64::from_str_radix(&over, 16));
    let over = over.transpose();
    let over = over.map_err(|_| format!("what stands at {shown} is no number"))?;
    let text = one.text.map(Into::into);
    Ok((place, Edit::new(text, over)))
}

impl TryFrom<Text> for Wanted {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        let edits = text
            .changed
            .into_iter()
            .map(edit)
            .collect::<Result<Edits, _>>()?;
        if edits.len() > limits::CHANGES || edits.bytes() > limits::CHANGES_BYTES {
            return Err("more is changed beside the configuration than may be".to_owned());
        }
        let mut wanted = Self {
            edits,
            away: text.listeners_drained,
            ..Self::default()
        };
        for (name, service) in text.services {
            let mut backends = BTreeMap::new();
            for (id, one) in service.backends {
                let known = STATES.into_iter().find(|state| word(*state) == one.state);
                let wrong = |what: &str, is: &str| {
                    format!("{what} of backend {id} of service {name} is {is:?}")
                };
                let admin = known.ok_or_else(|| wrong("state", &one.state))?;
                let entry = u64::from_str_radix(&one.entry, 16);
                let entry = entry.map_err(|_| wrong("entry", &one.entry))?;
                backends.insert(id, WantedBackend { admin, entry });
            }
            let drains = service.drains;
            let service = WantedService { drains, backends };
            wanted.services.insert(name, service);
        }
        match wanted.backends() {
            ..=limits::BACKENDS => Ok(wanted),
            more => Err(format!("{more} backends, of at most {}", limits::BACKENDS)),
        }
    }
}
