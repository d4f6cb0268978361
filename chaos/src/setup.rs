//! Owns what each balancer is configured with: Evenkeel at its defaults, HAProxy and nginx at their best documented settings,
//! each of which has its reason beside it in `chaos/peers/`. Who only races stands in `setup/raced.rs`.
//!
//! A fault asks for few things beyond the defaults; they stand in `Wants`, and mean the same for each balancer.

use std::net::SocketAddr;
use std::path::Path;

mod raced;

/// What a fault asks for beyond the defaults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    /// 1 s for one attempt until its response head.
    pub(crate) per_try: bool,
    pub(crate) round_robin: bool,
    /// A check by HTTP each second, out after two.
    pub(crate) checks: bool,
    /// Answers of 500 are tried elsewhere.
    pub(crate) retry_500: bool,
    /// An access log on a file system that fills up.
    pub(crate) log: bool,
    /// Backends by a name.
    pub(crate) names: bool,
    /// Under libfaketime.
    pub(crate) faked_clock: bool,
    /// At most so many descriptors.
    pub(crate) descriptors: Option<u32>,
    /// Nothing is tried a second time.
    pub(crate) once: bool,
    /// Another policy than the best.
    pub(crate) choice: Option<Choice>,
}

impl Wants {
    /// Nothing beyond them.
    pub(crate) const NONE: Self = Self {
        per_try: false,
        round_robin: false,
        checks: false,
        retry_500: false,
        log: false,
        names: false,
        faked_clock: false,
        descriptors: None,
        once: false,
        choice: None,
    };
}

/// How a balancer is to choose, in a race.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// In the balancer's own words.
    pub(crate) policy: &'static str,
    /// It watches what it balances no closer than it does by itself.
    pub(crate) plain: bool,
    pub(crate) workers: u8,
}

/// Where Debian has its peers.
pub(crate) const HAPROXY_PROGRAM: &str = "/usr/sbin/haproxy";
pub(crate) const NGINX_PROGRAM: &str = "/usr/sbin/nginx";
pub(crate) const CADDY_PROGRAM: &str = "/usr/bin/caddy";

/// Who stands between the load and the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Evenkeel,
    Haproxy,
    Nginx,
    Envoy,
    Caddy,
    Sozu,
    Pingora,
}

impl Who {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Evenkeel => "Evenkeel",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Envoy => "Envoy",
            Self::Caddy => "Caddy",
            Self::Sozu => "Sozu",
            Self::Pingora => "Pingora",
        }
    }
}

/// Where things are in one run.
pub(crate) struct Places<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Of the name server, where there is one.
    pub(crate) names: SocketAddr,
    pub(crate) backends: &'a [SocketAddr],
    /// Changes with each reload, so that there is something to reload.
    pub(crate) revision: u32,
}

/// The text of the configuration.
pub(crate) fn text(who: Who, wants: Wants, places: &Places<'_>) -> String {
    match who {
        Who::Evenkeel => evenkeel(wants, places),
        Who::Haproxy => haproxy(wants, places),
        Who::Nginx => nginx(wants, places),
        Who::Envoy => raced::envoy(wants, places),
        Who::Caddy => raced::caddy(wants, places),
        Who::Sozu => raced::sozu(wants, places),
        Who::Pingora => raced::pingora(wants, places),
    }
}

fn evenkeel(wants: Wants, places: &Places<'_>) -> String {
    let mut text = format!(
        "admin: {{ bind: \"{}\" }}\nlisteners: {{ web: {{ bind: \"{}\" }} }}\n",
        places.admin, places.listen
    );
    if let Some(choice) = wants.choice {
        text += &format!("workers: {}\n", choice.workers);
    }
    if wants.log {
        text += &format!(
            "access_log: {{ to: \"{}\" }}\n",
            places.folder.join("small/access.log").display()
        );
    }
    let members = match wants.names {
        true => {
            text += &format!("resolver: {{ servers: [\"{}\"] }}\n", places.names);
            let port = places.backends.first().map_or(0, SocketAddr::port);
            format!("[{{ dns: \"fleet.chaos.example:{port}\" }}]")
        }
        false => {
            let ids: Vec<String> = places
                .backends
                .iter()
                .map(|at| format!("\"{at}\""))
                .collect();
            format!("[{}]", ids.join(", "))
        }
    };
    text += &format!("services:\n  api:\n    backends: {members}\n");
    for (wanted, line) in [
        (wants.per_try, "timeouts: { per_try: 1s }"),
        (wants.round_robin, "policy: round_robin"),
        (wants.once, "retry: { attempts: 1 }"),
        (
            wants.checks,
            "health: { http: { path: /health }, interval: 1s, timeout: 1s, fall: 2 }",
        ),
        (
            wants.retry_500,
            "retry: { on: [connect, reset, timeout, 500, 502, 503, 504] }",
        ),
    ] {
        if wanted {
            text += &format!("    {line}\n");
        }
    }
    let revision = places.revision;
    text += &format!(
        "rules:\n  - {{ name: revision-{revision}, priority: 1, when: {{ path: /revision/{revision} }}, respond: {{ body: so }} }}\n  \
         - {{ name: all, forward: api }}\n"
    );
    text
}

const HAPROXY: &str = include_str!("../peers/haproxy.cfg");
const NGINX: &str = include_str!("../peers/nginx.conf");

fn filled(template: &str, wants: Wants, places: &Places<'_>, more: &[(&str, &str)]) -> String {
    let mut text = template
        .replace("{folder}", &places.folder.display().to_string())
        .replace("{listen}", &places.listen.to_string())
        .replace("{listen_ip}", &places.listen.ip().to_string())
        .replace("{listen_port}", &places.listen.port().to_string())
        .replace("{admin}", &places.admin.to_string())
        .replace("{admin_ip}", &places.admin.ip().to_string())
        .replace("{admin_port}", &places.admin.port().to_string())
        .replace("{revision}", &places.revision.to_string())
        .replace("{workers}", &workers(wants).to_string())
        .replace("{per_try}", per_try(wants))
        .replace("{per_try_s}", per_try_s(wants))
        .replace("{connect}", connect(wants))
        .replace("{connect_s}", connect_s(wants))
        .replace("{tries}", if wants.once { "1" } else { "3" });
    for (mark, value) in more {
        text = text.replace(mark, value);
    }
    text
}

/// A line per backend.
fn each(places: &Places<'_>, line: impl Fn(&SocketAddr) -> String) -> String {
    places.backends.iter().map(line).collect()
}

fn haproxy(wants: Wants, places: &Places<'_>) -> String {
    let plain = wants.choice.is_some_and(|choice| choice.plain);
    let balance = match wants.choice {
        Some(choice) => choice.policy,
        None if wants.round_robin => "roundrobin",
        None => "leastconn",
    };
    let again = match (wants.once, wants.retry_500) {
        (true, _) => "none",
        (false, false) => "conn-failure empty-response response-timeout 502 503 504",
        (false, true) => "conn-failure empty-response response-timeout 502 503 504 500",
    };
    // It refuses to start where twice as many and some do not fit.
    let most = wants.descriptors.map_or(9_000, |most| most / 3).to_string();
    let watch = match plain {
        true => "",
        false => " observe layer7 error-limit 10 on-error mark-down slowstart 10s",
    };
    let servers = each(places, |at| format!("    server {at} {at}\n"));
    filled(
        HAPROXY,
        wants,
        places,
        &[
            ("{servers}", &servers),
            ("{maxconn}", &most),
            ("{retries}", if wants.once { "0" } else { "3" }),
            ("{again}", again),
            ("{balance}", balance),
            ("{watch}", watch),
        ],
    )
}

fn nginx(wants: Wants, places: &Places<'_>) -> String {
    let balance = match wants.choice {
        Some(choice) => choice.policy,
        None if wants.round_robin => "",
        None => "least_conn;",
    };
    let again = match (wants.once, wants.retry_500) {
        (true, _) => "off",
        (false, false) => "error timeout invalid_header http_502 http_503 http_504",
        (false, true) => "error timeout invalid_header http_502 http_503 http_504 http_500",
    };
    // As root it raises its own limit to this.
    let most = wants.descriptors.unwrap_or(20_000).to_string();
    let servers = each(places, |at| {
        format!("    server {at} max_fails=1 fail_timeout=10s;\n")
    });
    filled(
        NGINX,
        wants,
        places,
        &[
            ("{servers}", &servers),
            ("{descriptors}", &most),
            ("{again}", again),
            ("{balance}", balance),
        ],
    )
}

/// Threads or processes of a peer: one per core here, unless a race says how many each has.
fn workers(wants: Wants) -> u8 {
    wants.choice.map_or(4, |choice| choice.workers)
}

fn per_try(wants: Wants) -> &'static str {
    if wants.per_try { "1s" } else { "10s" }
}

/// As Evenkeel's default, and never above the deadline of an attempt.
fn connect(wants: Wants) -> &'static str {
    if wants.per_try { "1s" } else { "3s" }
}

/// The same in whole seconds.
fn per_try_s(wants: Wants) -> &'static str {
    per_try(wants).trim_end_matches('s')
}

fn connect_s(wants: Wants) -> &'static str {
    connect(wants).trim_end_matches('s')
}
