//! Owns what is warned of when a plan begins to run: what it asks for and this process may not have, which no check of a file can know.

use evenkeel_config::Plan;
use evenkeel_config::limits::ListenerLimits;
use evenkeel_config::plan::Protocol;
use evenkeel_control::{Control, room};
use tracing::warn;

use crate::files::most_open_files;

/// Says where listeners may have more connections than descriptors allow.
pub(crate) fn of_files(plan: &Plan) {
    let asked = plan.listeners.iter().map(|one| one.limits.connections);
    if let Some(warning) = too_few_files(asked, room::open_files()) {
        warn!("{warning}");
    }
}

/// What a configuration asks for that a process started as this one was could not have, in words. What it leaves to the default it does
/// not ask for: it may be looked at where it will not run.
pub(crate) fn of_asked_files(plan: &Plan) -> Option<String> {
    let all = plan.listeners.iter().map(|one| one.limits.connections);
    let asked = all.filter(|most| *most != ListenerLimits::default().connections);
    too_few_files(asked, most_open_files())
}

fn too_few_files(asked: impl Iterator<Item = usize>, files: usize) -> Option<String> {
    let asked = asked.fold(0_usize, usize::saturating_add);
    let most = room::clients_most(files);
    (asked > most).then(|| format!(
        "`limits.connections` of all listeners are {asked} together, but {files} open files allow {most} connections of clients: raise the limit of open files (ulimit -n, LimitNOFILE=)"
    ))
}

/// Says what else is so once it runs, with so many workers.
pub(crate) fn of_running(control: &Control) {
    of_upgrades(control);
    of_few_connections(&control.live().plan, control.workers());
}

/// Says where an upgrade would be refused.
fn of_upgrades(control: &Control) {
    let (taken, files) = (control.upgrade_descriptors(), room::open_files());
    if taken > files {
        warn!(
            "an upgrade takes {taken} descriptors, three for each address and worker, and {files} open files are allowed: raise the limit (ulimit -n, LimitNOFILE=)"
        );
    }
}

/// Says where workers have to take turns: a connection is one worker's, and one of HTTP/2 is hardly ever idle.
fn of_few_connections(plan: &Plan, workers: usize) {
    for service in &plan.services {
        let listed = service.backends.iter().map(|one| one.max_connections);
        let named = service.names.iter().map(|one| one.max_connections);
        let few = listed.chain(named).flatten().map(|most| most.get());
        let Some(few) = few.filter(|most| *most < workers).min() else {
            continue;
        };
        if service.upstream.protocol != Protocol::Http1 {
            warn!(
                "`max_connections: {few}` of a backend of service {} is less than one connection for each of {workers} workers: they take turns, and requests wait for theirs",
                service.name
            );
        }
    }
}
