//! By the key of the ask: the same key, the same backend, while the configuration stands.
//!
//! The table is made of configured membership and weight alone. A down, ejected or full backend is stepped over by
//! its own keys; no other key moves. An ask without a key goes anywhere, by chance.
//!
//! A backend that warms up has those of its own keys whose coin is below its ramp, and the rest go on as if it were out. The coin is made
//! of key and backend, so a key that has come home stays there, and no other key moves.

use crate::ask::Ask;
use crate::backend::BackendId;
use crate::hashing;
use crate::maglev::Maglev;
use crate::policy::{Candidates, Policy, random};
use crate::rendezvous::Rendezvous;
use crate::settings::HashMethod;

/// Keeps coins apart from what chose the backend: "warm" in ASCII.
const COIN: u64 = 0x7761_726d;

/// So many slots are looked at for one key before the exact way.
const STEPS: u32 = 32;

#[derive(Debug)]
pub(crate) struct Hash {
    method: HashMethod,
    members: Box<[(BackendId, u16)]>,
    /// What makes the coins of each.
    coins: Box<[u64]>,
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
            coins: named
                .iter()
                .map(|(id, _)| hashing::mix(COIN, hashing::key(id)))
                .collect(),
            table,
        }
    }

    /// Among those who are warm enough for this key. None: nobody was met who is.
    #[cold]
    fn among_warm(&self, view: &Candidates<'_>, key: u64) -> Option<usize> {
        let warm = |member: usize| {
            let index = view.of_member(member)?;
            let Some(warmth) = view.warmth(index) else {
                return Some(index);
            };
            let coin = hashing::mix(key, *self.coins.get(member)?) >> 32;
            (coin < u64::from(warmth)).then_some(index)
        };
        match &self.table {
            Table::Maglev(table) => (0..STEPS).find_map(|step| warm(table.lookup(key, step)?)),
            Table::Rendezvous(table) => {
                let member = table.pick(key, |member| warm(member).is_some())?;
                view.of_member(member)
            }
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
        if view.is_warming()
            && let Some(warm) = self.among_warm(view, key)
        {
            return Some(warm);
        }
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
