//! Owns what a seed makes of a world: its kind, its plan, its clients and its backends.

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::{BackendSpec, Weight};
use evenkeel_balance::hedge::{HedgeAt, HedgeSettings, Quantile};
use evenkeel_balance::retry::budget::BudgetSettings;
use evenkeel_balance::settings::{ActiveSettings, OnAllDown, PolicyChoice, ServiceSettings};
use evenkeel_config::Plan;
use evenkeel_config::limits::{ListenerLimits, ServiceLimits};
use evenkeel_config::plan::{
    Action, AdminPlan, AlertsPlan, BackendAddress, BackendPlan, Beside, Bind, Conditions,
    DrainPlan, ErrorPages, FallbackPlan, ListenerPlan, PathHandling, PathPattern, PathRewrite,
    Prefer, Protocol, ResolverPlan, RewritePlan, RulePlan, ServicePlan, SidePlan, SplitAffinity,
    SplitPlan, UpstreamPlan, Workers,
};

use super::Kind;
use super::backend::{Backend, Deed, Reach};
use super::client::Habits;
use super::ledger::Ledger;
use super::link::Way;
use super::network::port;
use super::spoken::Met;
use super::stage::Stage;
use crate::chance::Chance;

/// How long the proxy waits for the next request.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(6);

/// How long it waits for a head, and for the first request of a connection.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(5);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What is asked of this kind of world.
pub(super) fn habits(kind: Kind, chance: &mut Chance) -> Habits {
    let one_in = |chance: &mut Chance, of: usize| chance.below(of) == 0;
    Habits {
        depth: 1 + chance.below(4),
        pace: one_in(chance, 4).then(|| (1 + chance.below(200), ms(1 + chance.word() % 30))),
        rest: match (kind, chance.below(4)) {
            // Long enough to race with the end of a kept connection, on both sides.
            (Kind::Wild, 0) => KEEP_ALIVE + ms(200),
            (_, 1) => ms(4_500),
            _ => ms(300),
        },
        leaves: (kind == Kind::Wild && one_in(chance, 6))
            .then(|| (ms(1 + chance.word() % 4_000), one_in(chance, 2))),
        half_closes: one_in(chance, 3),
        dawdles: if one_in(chance, 4) { ms(400) } else { ms(0) },
    }
}

/// A way of a random quality.
pub(super) fn way(chance: &mut Chance) -> Way {
    Way {
        latency: Duration::from_micros([20, 200, 5_000, 40_000][chance.below(4)]),
        bandwidth: [100_000_000, 10_000_000, 1_000_000][chance.below(3)],
        piece: [1_000, 1_460, 16_000, 65_536][chance.below(4)],
        room: [600, 4_096, 65_536, 262_144][chance.below(4)],
        parted: Rc::new(Cell::new(false)),
    }
}

/// The backends. In a world whose faults are to be hidden the first is a good one.
pub(super) fn backends(
    kind: Kind,
    stage: &Stage,
    ledger: &Rc<Ledger>,
    chance: &mut Chance,
) -> Vec<Rc<Backend>> {
    let several = match kind {
        Kind::Hidden => 2 + chance.below(2),
        _ => 1 + chance.below(4),
    };
    (0..several)
        .map(|number| {
            let deeds: &'static [Deed] = match kind {
                Kind::Hidden if number > 0 => &Deed::HIDDEN,
                Kind::Calm | Kind::Hidden => &[],
                Kind::Wild if chance.below(3) == 0 => &[Deed::CloseAfter],
                Kind::Wild => &Deed::FAULTS,
            };
            let idle = match kind {
                Kind::Calm => Duration::from_secs(60),
                // About as long as the proxy keeps it, which is the race.
                _ => ms([300, 2_000, 4_200][chance.below(3)]),
            };
            Rc::new(Backend {
                number,
                stage: stage.clone(),
                ledger: ledger.clone(),
                way: way(chance),
                reach: Cell::new(Reach::Up),
                deeds,
                often: [5, 20, 60, 100][chance.below(4)],
                idle,
                thinks: ms([1, 20, 300][chance.below(3)]),
                links: RefCell::new(Vec::new()),
                chance: RefCell::new(Chance::new(chance.word(), 14)),
            })
        })
        .collect()
}

/// The identity of the backend with this number.
pub(super) fn id(number: usize) -> String {
    format!("backend-{number}")
}

/// The plan over so many backends; `gone` is left out.
pub(super) fn plan(kind: Kind, backends: usize, gone: Option<usize>, chance: &mut Chance) -> Plan {
    let listener = ListenerPlan {
        http2: true,
        name: "web".into(),
        binds: vec![Bind::Tcp(([127, 0, 0, 1], 80).into())],
        tls: None,
        flows: None,
        proxy_protocol: None,
        limits: ListenerLimits {
            head_within: HEAD_WITHIN,
            idle_body: Duration::from_secs(8),
            keep_alive: KEEP_ALIVE,
            requests: (chance.below(4) == 0).then_some(3),
            connections: [2, 4, 1_000][chance.below(3)],
            ..ListenerLimits::default()
        },
        rates: [].into(),
        path: PathHandling::Normalize,
        via: None,
        real_ip: false,
        attempts_header: None,
        // Clients here end their side and wait; where that means leaving, the rows of `evenkeel-proxy` show it.
        half_close: true,
        error_pages: ErrorPages::new(),
    };
    Plan {
        traces: None,
        alerts: AlertsPlan::default(),
        admin: AdminPlan::default(),
        user: None,
        group: None,
        resolver: ResolverPlan::default(),
        affinity_keys: None,
        zone: None,
        regions: Vec::new(),
        trusted_proxies: Vec::new(),
        access_log: None,
        workers: Workers::Auto,
        drain: DrainPlan::default(),
        listeners: vec![listener],
        rules: rules(chance),
        services: (0..SERVICES.len())
            .map(|at| service(kind, at, (backends, gone), chance))
            .collect(),
    }
}

/// By their places. All have the same backends; nobody in the last may be picked.
pub(super) const SERVICES: [&str; 3] = ["api", "next", "nobody"];

/// The last of them.
const NOBODY: usize = SERVICES.len() - 1;

/// A rule for each way that a request may go.
fn rules(chance: &mut Chance) -> Vec<RulePlan> {
    let side = |service, weight| SidePlan { service, weight };
    let split = SplitPlan {
        sides: vec![side(0, 50), side(1, 50), side(NOBODY, 0)],
        affinity: match chance.below(3) {
            0 => None,
            1 => Some(SplitAffinity::Source),
            _ => Some(SplitAffinity::Cookie(
                "side".into(),
                Duration::from_secs(60),
            )),
        },
    };
    let (from, to) = Met::Rewrite.prefix();
    let rewrite = RewritePlan {
        path: Some(PathRewrite::Prefix {
            from: from.into(),
            to: to.into(),
        }),
        ..RewritePlan::default()
    };
    let falls = Some(Arc::new(FallbackPlan::Forward(0)));
    let rewritten = Beside {
        rewrite: Some(Arc::new(rewrite)),
        fallback: falls.clone(),
        ..Beside::default()
    };
    let fallen = Beside {
        fallback: falls,
        ..Beside::default()
    };
    [
        (Met::Forward, Action::Forward(0), Beside::default()),
        (Met::Split, Action::Split(split), Beside::default()),
        (Met::Rewrite, Action::Forward(1), rewritten),
        (Met::Fallback, Action::Forward(NOBODY), fallen),
        (Met::Deny, Action::Deny(403), Beside::default()),
    ]
    .into_iter()
    .zip(1..)
    .map(|((met, action, beside), priority)| RulePlan {
        name: format!("{met:?}").into(),
        priority,
        listeners: Vec::new(),
        when: Conditions {
            paths: vec![PathPattern::Prefix(met.prefix().0.into())],
            ..Conditions::default()
        },
        action,
        beside,
        exchange: None,
        idle_body: None,
        body: None,
        class: evenkeel_balance::ask::QUEUE_CLASS,
        rates: None,
    })
    .collect()
}

/// Nearly every answer is late for one of these: races are what is on trial here, not when they are worth it.
fn hedge(chance: &mut Chance) -> Option<HedgeSettings> {
    (chance.below(2) == 0).then(|| {
        let at = match chance.below(4) {
            0 => HedgeAt::Quantile(Quantile::new(500).expect("half of them")),
            1 => HedgeAt::After(ms(1)),
            2 => HedgeAt::After(ms(30)),
            _ => HedgeAt::After(ms(300)),
        };
        HedgeSettings::at(at).most_permille([50, 300, 1_000][chance.below(3)])
    })
}

fn service(
    kind: Kind,
    at: usize,
    (backends, gone): (usize, Option<usize>),
    chance: &mut Chance,
) -> ServicePlan {
    let policy = match chance.below(3) {
        0 => PolicyChoice::RoundRobin,
        1 => PolicyChoice::LeastConnections,
        _ => PolicyChoice::Adaptive,
    };
    let mut settings = ServiceSettings::with_policy(policy).on_all_down(OnAllDown::FailOpen);
    settings.hedge = hedge(chance);
    // Who is checked is unproven at first, and taken out while it cannot be reached.
    settings.health = (kind != Kind::Calm && chance.below(2) == 0).then(ActiveSettings::default);
    if kind == Kind::Hidden {
        // What is promised here is that the other attempts hide a fault, not that they are affordable.
        settings.retry.on.protocol = true;
        settings.retry.attempts = 4;
        settings.retry.budget = BudgetSettings::default()
            .ratio_permille(1_000)
            .floor_per_second(1_000);
    }
    let tight = kind == Kind::Wild && chance.below(4) == 0;
    ServicePlan {
        name: SERVICES[at].into(),
        settings,
        key: None,
        load: None,
        affinity: None,
        prefer: Prefer::Local,
        monitoring: None,
        adjust: None,
        backends: (0..backends)
            .filter(|&number| Some(number) != gone)
            .map(|number| BackendPlan {
                spec: BackendSpec::new(id(number)).weight(match at {
                    NOBODY => Weight::ZERO,
                    _ => Weight::ONE,
                }),
                address: BackendAddress::Tcp(([10, 0, 0, 1], port(at, number)).into()),
                max_connections: NonZeroUsize::new(if tight { 1 } else { 0 }),
            })
            .collect(),
        names: Vec::new(),
        upstream: UpstreamPlan {
            idle: Duration::from_secs(4),
            requests: (chance.below(4) == 0).then(|| NonZeroUsize::MIN.saturating_add(2)),
            age: None,
            idle_most: [0, 1, 64][chance.below(3)],
            source: None,
            tls: None,
            proxy_protocol: None,
            keepalive: None,
            protocol: Protocol::Http1,
            streams: 1,
        },
        health: None,
        limits: ServiceLimits {
            connect: Duration::from_secs(1),
            per_try: Duration::from_secs(3),
            exchange: Duration::from_secs(20),
            idle_body: Duration::from_secs(5),
            ..ServiceLimits::default()
        },
    }
}
