//! Owns sockets that the system's manager of services has bound (sd_listen_fds(3)): a listener or an admin address that is bound
//! where one of them is takes it.

use std::os::fd::OwnedFd;

use evenkeel_config::plan::AdminPlan;
use evenkeel_control::control::handover::{Heritage, Inherited, address};
use listenfd::ListenFd;
use tracing::warn;

use crate::inputs::variable;
use crate::upgrade::manifest::Given;

/// More are not looked at.
const SOCKETS_MOST: usize = 1024;

/// What was passed: for listeners, and for these admin addresses.
pub(crate) fn given(plan: &AdminPlan) -> Given {
    let of_pages = |one: &Inherited| {
        let mut binds = [&plan.bind, &plan.metrics].into_iter().flatten();
        binds.any(|bind| *bind == one.bind)
    };
    let (admin, listeners) = sockets().into_iter().partition(of_pages);
    Given {
        heritage: Heritage {
            listeners,
            ..Heritage::default()
        },
        admin,
        ..Given::default()
    }
}

fn sockets() -> Vec<Inherited> {
    let names = variable("LISTEN_FDNAMES").and_then(|names| names.into_string().ok());
    let mut names = names.as_deref().unwrap_or_default().split(':');
    let mut passed = ListenFd::from_env();
    let mut all: Vec<Inherited> = Vec::new();
    for at in 0..passed.len().min(SOCKETS_MOST) {
        let name = names
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or("unknown");
        let tcp = passed.take_tcp_listener(at).ok().flatten();
        let mut unix = || passed.take_unix_listener(at).ok().flatten();
        let socket: Option<OwnedFd> = match tcp {
            Some(socket) => Some(socket.into()),
            None => unix().map(Into::into),
        };
        let known = socket.and_then(|socket| Some((address(&socket)?, socket)));
        let Some((bind, socket)) = known else {
            warn!(
                "the socket {name} that was passed to this process listens on no address, and is not used"
            );
            continue;
        };
        // Several of one address share it.
        match all.iter_mut().find(|one| one.bind == bind) {
            Some(one) => one.sockets.push(socket),
            None => all.push(Inherited {
                listener: None,
                bind,
                sockets: vec![socket],
                // Its file is the manager's.
                file: false,
            }),
        }
    }
    all
}
