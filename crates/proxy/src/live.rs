//! Owns the running plan joined to running state: what workers read, replaced whole with each revision.
//!
//! State that outlives a revision (the core's services, the sockets of a backend) is found again by name and identity. One
//! writer, the control plane, makes and publishes a [`Live`]; workers look at a version once per exchange.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use evenkeel_balance::affinity::Clients;
use evenkeel_balance::backend::BackendId;
use evenkeel_balance::event::Listener;
use evenkeel_balance::regions::Regions;
use evenkeel_balance::service::Service;
use evenkeel_balance::time::Instant;
use evenkeel_config::Plan;
use evenkeel_config::plan::{BackendAddress, BackendPlan, Bind, ServicePlan};

use crate::affinity::keys::{Own, Rings};
use crate::affinity::{Affinity, Names};
use crate::failed::Shelves;
use crate::listener::addresses::Addresses;
use crate::observation::{
    CheckCounters, DecisionCounters, DoorCounters, Happened, Heads, PollCounters, ServiceCounters,
};
use crate::outlet::Outlet;
use crate::proxy_protocol::Received;
use crate::rates::Rates;
use crate::recorded;
use crate::rules::Rules;
use crate::tls::accept::Handshakes;
use crate::tls::terms::Terms;
use crate::tls::upstream::Towards;
use crate::upstream::Sockets;

/// What listeners keep when the plan changes.
mod listeners;

/// Who is kept where.
mod clients;

/// How often rules are met.
mod hits;

/// Backends by their identity.
mod known;

pub use hits::Hits;
use known::Known;
pub use known::Reach;

/// The running plan.
pub struct Live {
    /// As it was checked.
    pub plan: Plan,
    /// Its rules, indexed.
    pub rules: Rules,
    /// In the order of the plan's services.
    pub services: Vec<Arc<LiveService>>,
    /// In the order of the plan's listeners.
    pub doors: Vec<Arc<DoorState>>,
    /// Where what was seen of exchanges is written down. None: nowhere.
    pub outlet: Option<Arc<Outlet>>,
    /// What clients are held to, in the order of the plan's listeners. None: it has no TLS, or none that could be loaded.
    pub terms: Vec<Option<Arc<Terms>>>,
    /// How many requests may pass. None: as many as come.
    pub rates: Option<Box<Rates>>,
    /// How often rules were met.
    pub hits: Arc<Hits>,
    /// Which exchanges are recorded, and under what.
    pub records: recorded::Scope,
    /// The process's own key of affinity.
    pub own: Arc<Own>,
    /// Services that have left and may have something under way: one that returns goes on with what is counted of it. Nothing of one is
    /// held by this.
    left: Vec<Weak<ServiceState>>,
}

/// One service of the running plan.
pub struct LiveService {
    /// As it was checked.
    pub plan: ServicePlan,
    /// What outlives the plan.
    pub state: Arc<ServiceState>,
    /// What keeps clients on its backends. None: nothing does.
    pub affinity: Option<Affinity>,
    /// The cookies that no backend sees, of all services. None: there are none.
    pub cookies: Option<Arc<Names>>,
    /// Which clients are near which zone. None: it does not prefer its clients' zones.
    pub regions: Option<Arc<Regions>>,
    /// What backends are held to. None: it has no TLS, or none that could be loaded.
    pub towards: Option<Arc<Towards>>,
    /// The same for flows, which agree on no protocol.
    pub towards_flows: Option<Arc<Towards>>,
}

/// What of a service outlives a plan.
pub struct ServiceState {
    /// The core's part: who is picked.
    pub service: Service,
    /// Where its backends are reached. Holds those that left until nobody can have picked them any more.
    backends: Mutex<Arc<Known>>,
    /// Changes with `backends`.
    version: AtomicU64,
    members: AtomicUsize,
    /// A row per worker.
    pub counters: Box<[ServiceCounters]>,
    /// What happened to it.
    pub happened: Arc<Happened>,
    /// Pages of load that were asked for.
    pub polls: PollCounters,
    /// Picks that other programs were given.
    pub decisions: DecisionCounters,
    /// Who is kept where, once somebody was to be.
    clients: OnceLock<Clients>,
}

/// Where a backend is reached, and the sockets to it.
pub struct LiveBackend {
    /// Its identity.
    pub id: BackendId,
    /// A number above 0 that no other one of the process has had.
    pub number: u64,
    /// Its address.
    pub address: BackendAddress,
    /// The sockets of all workers.
    pub sockets: Arc<Sockets>,
    /// Its checks by result. An address that changes begins anew.
    pub checks: CheckCounters,
    /// How long it takes to its response heads.
    pub heads: Heads,
}

/// What of a listener outlives a plan.
#[derive(Debug, Default)]
pub struct DoorState {
    /// Its counters.
    pub counters: DoorCounters,
    /// Connections that are open now, of all workers.
    pub open: AtomicUsize,
    /// Those of each client's address, while it has a limit for that.
    pub addresses: Arc<Addresses>,
    /// The operator steers clients away from it: no connections are taken.
    pub drained: AtomicBool,
    /// Its handshakes.
    pub handshakes: Handshakes,
    /// Its PROXY headers.
    pub headers: Received,
}

impl Live {
    /// Joins a plan to the state of the one before it; `workers` is the number of counter rows. Membership and settings of the
    /// core's services are brought to the plan's. It has no outlet.
    ///
    /// # Panics
    /// Never: the plan was checked, so that the core takes every service of it.
    #[must_use]
    pub fn join(
        plan: Plan,
        before: Option<&Self>,
        workers: usize,
        events: &Arc<dyn Listener>,
        now: Instant,
    ) -> Self {
        let members = |service: &ServicePlan| service.backends.clone();
        Self::join_members(plan, before, workers, events, now, members)
    }

    /// The same where others than the plan know all members of a service: those behind its names too.
    ///
    /// # Panics
    /// Never, if `members` gives each identity once, and no more than the core takes.
    #[must_use]
    #[expect(clippy::expect_used, reason = "what names stand for is checked too")]
    pub fn join_members(
        plan: Plan,
        before: Option<&Self>,
        workers: usize,
        events: &Arc<dyn Listener>,
        now: Instant,
        members: impl Fn(&ServicePlan) -> Arc<[BackendPlan]>,
    ) -> Self {
        let (rings, cookies) = (Rings::of(&plan, before), Names::of(&plan));
        let regions = Arc::new(evenkeel_config::plan::zones::table(&plan.regions));
        let services = plan
            .services
            .iter()
            .map(|service| {
                let earlier = before.and_then(|before| before.service(&service.name));
                let members = members(service);
                let returned = || before?.has_left(&service.name);
                let known = earlier.map(|earlier| earlier.state.clone());
                let state = match known.or_else(returned) {
                    Some(state) => {
                        match earlier.is_some_and(|one| one.plan.same_but_backends(service)) {
                            true => state.update(&members, now),
                            false => state.reconfigure(service, &members, now),
                        }
                        state
                    }
                    None => Arc::new(
                        ServiceState::new(service, &members, workers, events.clone(), now)
                            .expect("a checked plan has members that the core takes"),
                    ),
                };
                let held = earlier.and_then(|earlier| earlier.towards.as_ref());
                let towards = service.upstream.tls.as_ref();
                let towards = towards.and_then(|tls| Towards::new(tls, held).ok());
                let same = towards
                    .as_ref()
                    .zip(held)
                    .filter(|(now, held)| Arc::ptr_eq(now, held));
                Arc::new(LiveService {
                    affinity: state.keeps(earlier, service, &rings),
                    cookies: cookies.clone(),
                    regions: service.prefers_clients().then(|| regions.clone()),
                    plan: service.clone(),
                    state,
                    towards_flows: match (same, earlier) {
                        (Some(_), Some(earlier)) => earlier.towards_flows.clone(),
                        _ => towards.as_deref().map(Towards::without_protocols),
                    },
                    towards,
                })
            })
            .collect();
        Self {
            terms: listeners::terms(&plan, before),
            rates: Rates::join(&plan, before, workers, now),
            hits: Hits::join(&plan, before, workers),
            records: recorded::Scope::of(&plan),
            own: rings.own,
            left: before.map_or_else(Vec::new, |before| before.leaving(&plan)),
            rules: Rules::new(&plan.rules),
            doors: listeners::doors(&plan, before),
            plan,
            services,
            outlet: None,
        }
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Arc<LiveService>> {
        self.services
            .iter()
            .find(|service| &*service.plan.name == name)
    }

    /// What outlives the plans of a service that this one has not, and others before it had, if anything of it is left.
    fn has_left(&self, name: &str) -> Option<Arc<ServiceState>> {
        let mut states = self.left.iter().filter_map(Weak::upgrade);
        states.find(|state| state.service.name() == name)
    }

    /// The services of this plan and those before it that the next one has not.
    fn leaving(&self, next: &Plan) -> Vec<Weak<ServiceState>> {
        let now = self.services.iter().map(|service| service.state.clone());
        now.chain(self.left.iter().filter_map(Weak::upgrade))
            .filter(|state| {
                let stays = |one: &ServicePlan| *one.name == *state.service.name();
                !next.services.iter().any(stays)
            })
            .map(|state| Arc::downgrade(&state))
            .collect()
    }

    /// Whether forwarding fields of this peer are believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.plan
            .trusted_proxies
            .iter()
            .any(|network| network.contains(&peer))
    }
}

/// Which listener of a plan takes the connections of a socket that was opened for a listener of this name: the one of this
/// name if it still has the address, else the only one that has it.
#[must_use]
pub fn listener_of(plan: &Plan, name: &str, bind: Option<&Bind>) -> Option<usize> {
    let named = plan
        .listeners
        .iter()
        .position(|listener| &*listener.name == name);
    let Some(bind) = bind else { return named };
    let has = |at: &usize| {
        plan.listeners
            .get(*at)
            .is_some_and(|listener| listener.binds.contains(bind))
    };
    named.filter(has).or_else(|| {
        // Port 0 may be asked for by several, each of which has another one.
        let mut all = (0..plan.listeners.len()).filter(has);
        all.next().filter(|_| all.next().is_none())
    })
}

impl ServiceState {
    fn new(
        plan: &ServicePlan,
        members: &[BackendPlan],
        workers: usize,
        events: Arc<dyn Listener>,
        now: Instant,
    ) -> Result<Self, evenkeel_balance::membership::MembershipError> {
        let specs = members.iter().map(|one| one.spec.clone()).collect();
        let happened = Arc::new(Happened::before(events));
        let hears = happened.clone();
        let service = Service::new(&*plan.name, plan.settings.clone(), specs, hears, now)?;
        let backends = members
            .iter()
            .map(|backend| (backend.spec.id.clone(), Arc::new(LiveBackend::new(backend))))
            .collect();
        Ok(Self {
            service,
            backends: Mutex::new(Arc::new(Known {
                all: backends,
                left: HashSet::new(),
            })),
            version: AtomicU64::new(0),
            members: AtomicUsize::new(members.len()),
            polls: PollCounters::default(),
            decisions: DecisionCounters::default(),
            counters: (0..workers).map(|_| ServiceCounters::default()).collect(),
            clients: OnceLock::new(),
            happened,
        })
    }

    /// Brings members to these; settings stay.
    pub fn update(&self, members: &[BackendPlan], now: Instant) {
        self.bring(members);
        // Identities are unique, so that this is refused by nothing but a limit that held for them.
        let _ = self.service.bring(None, members, now);
    }

    /// Brings settings and members to these.
    fn reconfigure(&self, plan: &ServicePlan, members: &[BackendPlan], now: Instant) {
        self.bring(members);
        let settings = plan.settings.clone();
        let _ = self.service.bring(Some(settings), members, now);
    }

    /// Brings addresses: before membership, so that whoever is picked can be reached. Who left is forgotten at the next change: a
    /// pick of the table before may still be on its way.
    fn bring(&self, members: &[BackendPlan]) {
        let next = self.backends().then(members);
        let next = Arc::new(next);
        let _before = std::mem::replace(&mut *self.known(), next);
        self.version.fetch_add(1, Ordering::Release);
        self.members.store(members.len(), Ordering::Relaxed);
    }

    /// How many backends it has now: those of the plan and those that its names stand for.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }

    fn known(&self) -> MutexGuard<'_, Arc<Known>> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backends(&self) -> Arc<Known> {
        self.known().clone()
    }

    /// Where a picked backend is reached.
    #[must_use]
    pub fn reached(&self, id: &BackendId) -> Option<Arc<LiveBackend>> {
        self.known().all.get(id).cloned()
    }

    /// All backends that are known, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<LiveBackend>> {
        self.backends().all.values().cloned().collect()
    }

    /// The same, without a copy of them.
    #[must_use]
    pub fn reach(&self) -> Reach {
        Reach(self.backends())
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// Those of backends that were given.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl LiveBackend {
    fn new(plan: &BackendPlan) -> Self {
        Self {
            id: plan.spec.id.clone(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            address: plan.address.clone(),
            sockets: Arc::new(Sockets::new(plan.max_connections)),
            checks: CheckCounters::default(),
            heads: Heads::default(),
        }
    }

    fn is_as(&self, plan: &BackendPlan) -> bool {
        self.address == plan.address && self.sockets.most() == plan.max_connections
    }
}

/// Where workers find the newest [`Live`].
pub struct Published {
    current: Mutex<Arc<Live>>,
    version: AtomicU64,
    /// Those before it, as long as somebody reads them.
    retired: Mutex<Vec<Arc<Live>>>,
    /// Backends whose exchanges are to end now, by number.
    cut: Mutex<Arc<HashSet<u64>>>,
    cuts: AtomicBool,
    /// What workers remember of exchanges that failed.
    pub shelves: Shelves,
    /// What they have recorded.
    pub records: Shelves<recorded::Shelf>,
}

impl Published {
    /// The first one, as version 0.
    #[must_use]
    pub fn new(first: Live) -> Self {
        Self {
            current: Mutex::new(Arc::new(first)),
            version: AtomicU64::new(0),
            retired: Mutex::default(),
            cut: Mutex::default(),
            cuts: AtomicBool::new(false),
            shelves: Shelves::default(),
            records: Shelves::default(),
        }
    }

    /// The current one.
    #[must_use]
    pub fn load(&self) -> Arc<Live> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces it. One writer.
    pub fn store(&self, next: Live) {
        let next = Arc::new(next);
        let before = std::mem::replace(
            &mut *self.current.lock().unwrap_or_else(PoisonError::into_inner),
            next,
        );
        self.version.fetch_add(1, Ordering::Release);
        self.retired().push(before);
        self.forget();
    }

    /// Frees those of before that nobody reads any more. To be called by the writer now and then: a worker that let go of one last would
    /// free all of it between two exchanges, which of 10,000 backends takes longer than they.
    pub fn forget(&self) {
        let alone = |live: &mut Arc<Live>| Arc::strong_count(live) == 1;
        let unread: Vec<_> = self.retired().extract_if(.., alone).collect();
        drop(unread);
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Arc<Live>>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the next sweep on, and until others are named, what is under way on the backends of these numbers is cut.
    pub fn cut(&self, numbers: HashSet<u64>) {
        self.cuts.store(!numbers.is_empty(), Ordering::Relaxed);
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(numbers);
    }

    /// Whose exchanges are to end. None: nobody's.
    pub(crate) fn to_cut(&self) -> Option<Arc<HashSet<u64>>> {
        let any = self.cuts.load(Ordering::Relaxed);
        any.then(|| {
            let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
            cut.clone()
        })
    }

    /// How many times it was replaced. Read before [`load`](Self::load), it never names a newer one than is loaded.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
