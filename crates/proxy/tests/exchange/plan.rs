//! Owns the plan that tests begin with.

use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::settings::{OnAllDown, PolicyChoice, ServiceSettings};
use evenkeel_config::Plan;
use evenkeel_config::limits::{ListenerLimits, ServiceLimits};
use evenkeel_config::plan::{
    Action, AdminPlan, AlertsPlan, BackendAddress, BackendPlan, Beside, Bind, Conditions,
    DrainPlan, ErrorPages, ListenerPlan, PathHandling, Prefer, Protocol, ResolverPlan, RulePlan,
    ServicePlan, UpstreamPlan, Workers,
};

/// A plan of one listener and one service over these backends.
pub(crate) fn plan(backends: &[SocketAddr]) -> Plan {
    let listener = ListenerPlan {
        http2: true,
        name: "web".into(),
        binds: vec![Bind::Tcp(([127, 0, 0, 1], 0).into())],
        tls: None,
        flows: None,
        proxy_protocol: None,
        limits: ListenerLimits::default(),
        rates: [].into(),
        path: PathHandling::Normalize,
        via: None,
        real_ip: false,
        attempts_header: None,
        // A client here ends its direction so that its connection ends with the answer.
        half_close: true,
        error_pages: ErrorPages::new(),
    };
    let rule = RulePlan {
        name: "all".into(),
        priority: 1,
        listeners: Vec::new(),
        when: Conditions::default(),
        action: Action::Forward(0),
        beside: Beside::default(),
        exchange: None,
        idle_body: None,
        body: None,
        class: evenkeel_balance::ask::QUEUE_CLASS,
        rates: None,
    };
    let service = ServicePlan {
        name: "api".into(),
        settings: ServiceSettings::with_policy(PolicyChoice::RoundRobin)
            .on_all_down(OnAllDown::FailOpen),
        key: None,
        load: None,
        affinity: None,
        prefer: Prefer::Local,
        monitoring: None,
        adjust: None,
        backends: backends
            .iter()
            .map(|address| BackendPlan {
                spec: BackendSpec::new(address.to_string()),
                address: BackendAddress::Tcp(*address),
                max_connections: None,
            })
            .collect(),
        names: Vec::new(),
        upstream: UpstreamPlan {
            protocol: Protocol::Http1,
            streams: 100,
            idle: Duration::from_secs(4),
            requests: None,
            age: None,
            idle_most: 64,
            source: None,
            tls: None,
            proxy_protocol: None,
            keepalive: None,
        },
        health: None,
        limits: ServiceLimits::default(),
    };
    Plan {
        traces: None,
        alerts: AlertsPlan::default(),
        user: None,
        group: None,
        resolver: ResolverPlan::default(),
        affinity_keys: None,
        zone: None,
        regions: Vec::new(),
        admin: AdminPlan::default(),
        trusted_proxies: Vec::new(),
        access_log: None,
        workers: Workers::Auto,
        drain: DrainPlan::default(),
        listeners: vec![listener],
        rules: vec![rule],
        services: vec![service],
    }
}
