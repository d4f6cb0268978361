//! Owns keeping clients on backends by a table of their names, for programs that have no cookie to keep them by.
//!
//! The table is the core's (bounded, and it forgets who was not seen); whether a backend may keep its clients is the core's too.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use evenkeel_balance::affinity::{Clients, ClientsCounts, ClientsSettings, identity};
use evenkeel_balance::backend::BackendId;
use evenkeel_balance::time::Instant;

use crate::ask::Ask;
use crate::error::Error;
use crate::pick::Pick;
use crate::service::ServiceHandle;

/// The clients of one service, and the secret that their names are hashed with.
#[derive(Debug)]
pub(crate) struct Kept {
    table: Clients,
    seed: u64,
}

impl Kept {
    pub(crate) fn sweep(&self, now: Instant) {
        self.table.sweep(now);
    }

    /// Keyed, so that nobody can make up names that share a row.
    fn row(&self, client: &[u8]) -> u128 {
        let half = |nth: u64| {
            let mut hasher = DefaultHasher::new();
            (self.seed, nth, client).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        (half(0) << 64) | half(1)
    }
}

/// The ask of who has this row, and is kept there.
fn at_home(row: u128, home: Option<u64>, ask: Ask<'_>) -> Ask<'_> {
    // Either half of it is a hash.
    let half = u64::try_from(row >> 64).unwrap_or(0);
    home.map_or(ask, |home| ask.kept(home).client(half))
}

impl ServiceHandle {
    /// Remembers from here on where [`select_for`](Self::select_for) sends clients: so many, each for so long since it was seen last.
    /// Puts an affinity into the settings where they have none. Called again, other settings come into force and clients stay.
    ///
    /// ```
    /// use evenkeel::balance::affinity::ClientsSettings;
    /// use evenkeel::{Ask, LoadBalancer, ServiceSettings};
    /// use std::time::Duration;
    ///
    /// let balancer = LoadBalancer::new();
    /// balancer.register("api", ServiceSettings::default(), ["a:80", "b:80"])?;
    /// let api = balancer.service("api").expect("it was registered");
    /// api.keep_clients(ClientsSettings::default().most(10_000).ttl(Duration::from_secs(300)))?;
    /// let first = api.select_for("client 7", &Ask::new())?.id().clone();
    /// assert_eq!(api.select_for("client 7", &Ask::new())?.id(), &first);
    /// assert_eq!(api.client_backend("client 7"), Some(first));
    /// assert!(api.clear_client("client 7"));
    /// assert_eq!(api.client_backend("client 7"), None);
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn keep_clients(&self, settings: ClientsSettings) -> Result<(), Error> {
        if self.settings().affinity.is_none() {
            self.update_settings(|settings| {
                settings.affinity.get_or_insert_default();
            })?;
        }
        let seed = self.shared.chance.draw();
        let kept = self.service.kept.get_or_init(|| Kept {
            table: Clients::new(settings, seed),
            seed,
        });
        kept.table.set_settings(settings);
        Ok(())
    }

    /// As [`select_with`](Self::select_with), on the backend that this client was sent to last, wherever that may be picked; it is
    /// kept where it is sent now, unless its own was full and has room in a moment. Without [`keep_clients`](Self::keep_clients) clients are not remembered. Cost beyond a pick: two
    /// keyed hashes of the name, and a lock of a part of the table.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::UnknownService`].
    pub fn select_for(&self, client: impl AsRef<[u8]>, ask: &Ask<'_>) -> Result<Pick, Error> {
        let Some(kept) = self.service.kept.get() else {
            return self.select_with(ask);
        };
        let row = kept.row(client.as_ref());
        let now = self.shared.clock.now();
        let home = kept.table.get(row, now);
        let pick = self.select_with(&at_home(row, home, *ask))?;
        let sent = identity(pick.id());
        if home != Some(sent) && !pick.is_spilled() {
            kept.table.put(row, sent, now);
        }
        Ok(pick)
    }

    /// Whether clients are kept.
    pub(crate) fn keeps_clients(&self) -> bool {
        self.service.kept.get().is_some()
    }

    /// The ask of a client that is seen by this, at the backend that it is kept on.
    pub(crate) fn at_home<'a>(&self, client: &[u8], ask: Ask<'a>) -> Ask<'a> {
        let Some(kept) = self.service.kept.get() else {
            return ask;
        };
        let row = kept.row(client);
        let home = kept.table.get(row, self.shared.clock.now());
        at_home(row, home, ask)
    }

    /// Keeps a client from here on where this has succeeded, if clients are kept and its own was not just full.
    pub(crate) fn keep_at(&self, client: &[u8], pick: &Pick) {
        if let Some(kept) = self.service.kept.get().filter(|_| !pick.is_spilled()) {
            let now = self.shared.clock.now();
            kept.table.put(kept.row(client), identity(pick.id()), now);
        }
    }

    /// Where a client is kept, without seeing it; none when it is not known, its time is over, or its backend has left.
    #[must_use]
    pub fn client_backend(&self, client: impl AsRef<[u8]>) -> Option<BackendId> {
        let kept = self.service.kept.get()?;
        let now = self.shared.clock.now();
        let home = kept.table.peek(kept.row(client.as_ref()), now)?;
        self.service.core.member(home)
    }

    /// Forgets one client. False: it was not known.
    pub fn clear_client(&self, client: impl AsRef<[u8]>) -> bool {
        let kept = self.service.kept.get();
        kept.is_some_and(|kept| kept.table.clear(kept.row(client.as_ref())))
    }

    /// Forgets all clients, and says how many.
    pub fn clear_clients(&self) -> usize {
        let kept = self.service.kept.get();
        kept.map_or(0, |kept| kept.table.clear_all())
    }

    /// What became of clients since they are kept.
    #[must_use]
    pub fn clients(&self) -> ClientsCounts {
        let kept = self.service.kept.get();
        kept.map_or_else(ClientsCounts::default, |kept| kept.table.counts())
    }
}
