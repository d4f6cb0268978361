//! Owns the question before a pick as a user puts it: the core's, without chance, which the balancer brings.

use std::net::IpAddr;

use evenkeel_balance::ask::{Ask as CoreAsk, ClassId, Tried};
use evenkeel_balance::backend::BackendId;
use evenkeel_balance::hashing;
use evenkeel_balance::zone::ZoneId;

use crate::regions::Regions;

/// What is asked for one attempt. The default asks for any backend.
///
/// ```
/// use evenkeel::{Ask, LoadBalancer, ServiceSettings, Tried};
///
/// let balancer = LoadBalancer::new();
/// balancer.register("api", ServiceSettings::default(), ["a:80", "b:80"])?;
/// let mut tried = Tried::default();
/// let first = balancer.select("api")?;
/// tried.insert(first.backend());
/// let second = balancer.select_with("api", &Ask::new().key("user-7").tried(&tried))?;
/// assert_ne!(first.id(), second.id());
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a>(CoreAsk<'a>);

impl Default for Ask<'_> {
    fn default() -> Self {
        Self(CoreAsk::new(0))
    }
}

impl<'a> Ask<'a> {
    /// Any backend.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the client should stick to, for the hash policies: its name, its address, a cookie.
    #[must_use]
    pub fn key(self, key: impl AsRef<[u8]>) -> Self {
        self.key_hash(hashing::key(key.as_ref()))
    }

    /// The same, hashed already (see [`hashing::key`]).
    #[must_use]
    pub fn key_hash(self, key: u64) -> Self {
        Self(self.0.key(key))
    }

    /// The client is kept on the backend of this [`identity`](evenkeel_balance::affinity::identity): that one is picked wherever it may
    /// be, before the policy is asked. Heeded where the settings of the service have an affinity.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use evenkeel::balance::affinity::{Clients, ClientsSettings, identity};
    /// use evenkeel::balance::settings::AffinitySettings;
    /// use evenkeel::{Ask, LoadBalancer, ServiceSettings};
    ///
    /// let balancer = LoadBalancer::new();
    /// let affinity = Some(AffinitySettings::default());
    /// let settings = ServiceSettings::default().affinity(affinity);
    /// balancer.register("api", settings, ["a:80", "b:80", "c:80"])?;
    /// let ttl = Duration::from_secs(300);
    /// let clients = Clients::new(ClientsSettings::default().most(10_000).ttl(ttl), 0x5EED);
    ///
    /// let select = |client: u128| {
    ///     let now = balancer.now();
    ///     let ask = match clients.get(client, now) {
    ///         Some(backend) => Ask::new().kept(backend),
    ///         None => Ask::new(),
    ///     };
    ///     let pick = balancer.select_with("api", &ask)?;
    ///     clients.put(client, identity(pick.id()), now);
    ///     Ok::<_, evenkeel::Error>(pick)
    /// };
    /// let first = select(7)?;
    /// assert_eq!(select(7)?.id(), first.id());
    /// assert!(clients.clear(7) && clients.get(7, balancer.now()).is_none());
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    #[must_use]
    pub fn kept(self, identity: u64) -> Self {
        Self(self.0.kept(identity))
    }

    /// A hash of what the client is known by, beside [`kept`](Self::kept): where its backend is lost, all its asks go to the same next one,
    /// though they come at once. Alone, of a client that is kept nowhere yet: its first one is the same in every process. Heeded where the
    /// settings have an affinity.
    #[must_use]
    pub fn client(self, client: u64) -> Self {
        Self(self.0.client(client))
    }

    /// Its client is nearest to this zone, whose backends come first where the settings of the service have zones.
    ///
    /// ```
    /// use evenkeel::{Ask, BackendSpec, LoadBalancer, ServiceSettings, ZoneSettings};
    ///
    /// let balancer = LoadBalancer::new();
    /// let settings = ServiceSettings::default().zones(ZoneSettings::default());
    /// let backends = [BackendSpec::new("a:80").zone("eu"), BackendSpec::new("b:80").zone("us")];
    /// balancer.register("api", settings, backends)?;
    /// assert_eq!(balancer.select_with("api", &Ask::new().zone("us"))?.id().as_str(), "b:80");
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    #[must_use]
    pub fn zone(self, name: &str) -> Self {
        Self(self.0.zone(ZoneId::named(name)))
    }

    /// The same by its address: the zone of the longest network that holds it; none, and nothing is preferred by it.
    #[must_use]
    pub fn near(self, regions: &Regions, address: IpAddr) -> Self {
        let zone = regions.zone_of(address);
        Self(CoreAsk { zone, ..self.0 })
    }

    /// Latency is judged among exchanges of the same class.
    #[must_use]
    pub fn class(self, class: ClassId) -> Self {
        Self(self.0.class(class))
    }

    /// Its class in the queue of a full service; lower goes first. 100 without.
    #[must_use]
    pub fn queue_class(self, class: u16) -> Self {
        Self(self.0.queue_class(class))
    }

    /// Not those that earlier attempts were sent to.
    #[must_use]
    pub fn tried(self, tried: &'a Tried) -> Self {
        Self(self.0.tried(tried))
    }

    /// Only these; identities that are no members are passed over. Round robin draws from them by weight. Cost: members times subset.
    #[must_use]
    pub fn subset(self, subset: &'a [BackendId]) -> Self {
        Self(self.0.subset(subset))
    }

    /// What it names as tried, to go on from.
    pub(crate) fn already_tried(&self) -> Tried {
        *self.0.tried
    }

    pub(crate) fn class_id(&self) -> ClassId {
        self.0.class
    }

    #[inline]
    pub(crate) fn with_chance(&self, chance: u64) -> CoreAsk<'a> {
        CoreAsk { chance, ..self.0 }
    }
}
