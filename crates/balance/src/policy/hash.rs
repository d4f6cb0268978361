//! By the key of the ask: the same key, the same backend, while the configuration stands.
//!
//! The table is made of configured membership and weight alone. A down, ejected or full backend is stepped over by
//! its own keys; no other key moves. An ask without a key goes anywhere, by chance.

use crate::ask::Ask;
use crate::backend::BackendId;
use crate::hashing;
use crate::maglev::Maglev;
use crate::policy::{Candidates, Policy, random};
use crate::rendezvous::Rendezvous;
use crate::settings::HashMethod;

/// So many slots are looked at for one key before the exact way.
const STEPS: u32 = 32;

#[derive(Debug)]
pub(crate) struct Hash {
    method: HashMethod,
    members: Box<[(BackendId, u16)]>,
    table: Table,
}

#[derive(Debug)]
enum Table {
    Maglev(Maglev),
    Rendezvous(Rendezvous),
}

impl Hash {
    pub(crate) fn new(method: HashMethod, members: &[(BackendId, u16)]) -> Self {
        let named: Vec<(&[u8], u32)> = members
            .iter()
            .map(|(id, weight)| (id.as_str().as_bytes(), u32::from(*weight)))
            .collect();
        let table = match method {
            // A table cannot name so many: above 65,535 members the scores stand in.
            HashMethod::Maglev => Maglev::new(&named).map_or_else(
                |_| Table::Rendezvous(Rendezvous::new(&named)),
                Table::Maglev,
            ),
            HashMethod::Rendezvous => Table::Rendezvous(Rendezvous::new(&named)),
        };
        Self {
            method,
            members: members.into(),
            table,
        }
    }

    pub(crate) fn is_of(&self, method: HashMethod, members: &[(BackendId, u16)]) -> bool {
        self.method == method && *self.members == *members
    }
}

impl Policy for Hash {
    fn name(&self) -> &'static str {
        match self.method {
            HashMethod::Maglev => "maglev",
            HashMethod::Rendezvous => "rendezvous",
        }
    }

    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        let key = ask.key.unwrap_or(ask.chance);
        match &self.table {
            Table::Maglev(table) => (0..STEPS)
                .find_map(|step| view.of_member(table.lookup(key, step)?))
                .or_else(|| random::among_allowed(view, hashing::mix(key, u64::from(STEPS)))),
            Table::Rendezvous(table) => table
                .pick(key, |member| view.of_member(member).is_some())
                .and_then(|member| view.of_member(member)),
        }
    }
}
