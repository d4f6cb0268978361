//! Owns what each balancer is configured with: Evenkeel at its defaults, HAProxy and nginx at their best documented settings,
//! each of which has its reason beside it in `chaos/peers/`.
//!
//! A fault asks for few things beyond the defaults; they stand in `Wants`, and mean the same for each balancer.

use std::net::SocketAddr;
use std::path::Path;

/// What a fault asks for beyond the defaults.
#[derive(Clone, Copy, Debug, Default)]
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
}

/// Who stands between the load and the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Evenkeel,
    Haproxy,
    Nginx,
}

impl Who {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Evenkeel => "Evenkeel",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
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
    }
}

fn evenkeel(wants: Wants, places: &Places<'_>) -> String {
    let mut text = format!(
        "admin: {{ bind: \"{}\" }}\nlisteners: {{ web: {{ bind: \"{}\" }} }}\n",
        places.admin, places.listen
    );
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

fn filled(template: &str, places: &Places<'_>, more: &[(&str, String)]) -> String {
    let mut text = template
        .replace("{folder}", &places.folder.display().to_string())
        .replace("{listen}", &places.listen.to_string())
        .replace("{admin}", &places.admin.to_string())
        .replace("{revision}", &places.revision.to_string());
    for (mark, value) in more {
        text = text.replace(mark, value);
    }
    text
}

fn haproxy(wants: Wants, places: &Places<'_>) -> String {
    let servers: String = places
        .backends
        .iter()
        .map(|at| format!("    server {at} {at}\n"))
        .collect();
    let on = if wants.retry_500 { " 500" } else { "" };
    filled(
        HAPROXY,
        places,
        &[
            ("{servers}", servers),
            // It refuses to start where twice as many and some do not fit.
            (
                "{maxconn}",
                wants.descriptors.map_or(9_000, |most| most / 3).to_string(),
            ),
            ("{per_try}", per_try(wants).to_owned()),
            ("{connect}", connect(wants).to_owned()),
            ("{also}", on.to_owned()),
            (
                "{balance}",
                if wants.round_robin {
                    "roundrobin"
                } else {
                    "leastconn"
                }
                .to_owned(),
            ),
        ],
    )
}

fn nginx(wants: Wants, places: &Places<'_>) -> String {
    let servers: String = places
        .backends
        .iter()
        .map(|at| format!("    server {at} max_fails=1 fail_timeout=10s;\n"))
        .collect();
    let on = if wants.retry_500 { " http_500" } else { "" };
    filled(
        NGINX,
        places,
        &[
            ("{servers}", servers),
            // As root it raises its own limit to this.
            (
                "{descriptors}",
                wants.descriptors.unwrap_or(20_000).to_string(),
            ),
            ("{per_try}", per_try(wants).to_owned()),
            ("{connect}", connect(wants).to_owned()),
            ("{also}", on.to_owned()),
            (
                "{balance}",
                if wants.round_robin { "" } else { "least_conn;" }.to_owned(),
            ),
        ],
    )
}

fn per_try(wants: Wants) -> &'static str {
    if wants.per_try { "1s" } else { "10s" }
}

/// As Evenkeel's default, and never above the deadline of an attempt.
fn connect(wants: Wants) -> &'static str {
    if wants.per_try { "1s" } else { "3s" }
}
