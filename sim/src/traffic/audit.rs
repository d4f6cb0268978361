//! Owns what must hold of the whole: the laws of the core at every tick, and at the end that everything was given back and counted.

use std::sync::atomic::Ordering;

use evenkeel_balance::service::Service;
use evenkeel_balance::time::Instant;
use evenkeel_proxy::live::LiveService;
use evenkeel_proxy::observation::{Count, hedges};

use super::ledger::{Ledger, Outcome};
use super::spoken::{Asked, Body, Met};
use super::{Kind, World};

/// At every tick: the laws, and no more in flight than clients could have asked.
pub(super) fn at_a_tick(service: &Service, now: Instant, connections: usize, ledger: &Ledger) {
    if let Err(id) = service.laws() {
        ledger.finding(format!("a law is broken at {}", id.as_str()));
    }
    // An exchange has one attempt, or two where slow ones are hedged.
    let each = match service.settings().hedge {
        Some(_) => 2,
        None => 1,
    };
    let in_flight = in_flight(service, now);
    if in_flight > each * connections {
        ledger.finding(format!(
            "{in_flight} in flight with {connections} connections"
        ));
    }
}

fn in_flight(service: &Service, now: Instant) -> usize {
    service
        .snapshot(now)
        .backends
        .iter()
        .map(|backend| backend.counts.in_flight as usize)
        .sum()
}

/// At the end.
pub(super) fn audit(world: &World) {
    given_back(world);
    counted(world);
    promised(world);
}

fn given_back(world: &World) {
    let ledger = &world.ledger;
    let nothing = |what: &str, left: usize| {
        if left > 0 {
            ledger.finding(format!("{left} {what} at the end"));
        }
    };
    let live = world.published.load();
    for service in &live.services {
        let state = &service.state;
        nothing("in flight", in_flight(&state.service, world.stage.now()));
        for backend in state.all() {
            nothing("sockets to a backend", backend.sockets.open());
        }
    }
    nothing("connections served", world.worker.connections());
    nothing(
        "places taken",
        world.door.state().open.load(Ordering::Relaxed),
    );
    nothing("connections held by backends", ledger.held.get());
    // The worker here, and in the tasks that sweep, ring and tick; every connection would hold one more.
    let tasks = std::rc::Rc::strong_count(&world.worker);
    nothing("owners of the worker too many", tasks.saturating_sub(6));
}

fn sum(counts: &[Count]) -> u64 {
    counts.iter().map(Count::get).sum()
}

fn counted(world: &World) {
    let ledger = &world.ledger;
    let live = world.published.load();
    let (mut exchanges, mut received, mut sent) = (0, 0, 0);
    for (at, service) in live.services.iter().enumerate() {
        let state = &service.state;
        let row = &state.counters[0];
        let here = sum(&row.classes);
        if here != row.latency.count() {
            ledger.finding("exchanges by status and by latency differ".to_owned());
        }
        // What the last one refuses is counted where it went, too; its bytes are counted there alone.
        if at + 1 < live.services.len() {
            exchanges += here;
        }
        received += row.received.get();
        sent += row.sent.get();
        hedged(world, service, here);
        let snapshot = state.service.snapshot(world.stage.now());
        let picks = snapshot.backends.iter().map(|one| one.counts.picked);
        let picked: u64 = picks.sum();
        // A retry is picked before its pause, in which a client may leave.
        let left = ledger.faults().get("client left").copied();
        let counted = row.attempts.get()..=row.attempts.get() + left.unwrap_or_default();
        // A member that left takes its counts with it.
        if !world.reloaded.get() && !counted.contains(&picked) {
            let name = &service.plan.name;
            let counted = row.attempts.get();
            ledger.finding(format!(
                "{name}: {picked} picks, {counted} attempts counted"
            ));
        }
    }
    for (word, count) in ledger.reasons() {
        let told = world.door.state().counters.answered_by_reason();
        let told = told
            .iter()
            .find(|(known, _)| *known == word)
            .map_or(0, |(_, count)| *count);
        if told < count {
            ledger.finding(format!("{count} answers `{word}`, {told} counted"));
        }
    }
    let outcomes = ledger.outcomes();
    let heard = |(asked, outcome): &&(Asked, Outcome)| {
        *outcome != Outcome::Nothing && asked.met != Met::Deny
    };
    let heard = outcomes.iter().filter(heard).count() as u64;
    if world.kind != Kind::Wild && exchanges != heard {
        ledger.finding(format!("{exchanges} exchanges counted, {heard} heard of"));
    }
    if world.plain {
        bytes(&outcomes, (received, sent), ledger);
    }
}

/// Second attempts: no more than a service of so many exchanges could afford.
fn hedged(world: &World, service: &LiveService, exchanges: u64) {
    let ledger = &world.ledger;
    let (begun, won) = hedges(service.state.counters.iter().map(|row| &row.hedges));
    (0..begun).for_each(|_| ledger.fault("hedged"));
    (0..won).for_each(|_| ledger.fault("hedge won"));
    let name = &service.plan.name;
    if won > begun {
        ledger.finding(format!("{name}: {won} hedges won, {begun} begun"));
    }
    // Each plan has terms of its own.
    if world.reloaded.get() {
        return;
    }
    let most = match service.plan.settings.hedge {
        Some(hedge) => 1 + exchanges * u64::from(hedge.most_permille) / 1000,
        None => 0,
    };
    if begun > most {
        ledger.finding(format!("{name}: {begun} hedges, {most} at most"));
    }
}

/// Where no body has chunks around it, what was counted is what was sent and what clients got, to the byte.
fn bytes(outcomes: &[(Asked, Outcome)], (received, sent): (u64, u64), ledger: &Ledger) {
    let (mut least, mut most) = (0, 0);
    for (id, (asked, outcome)) in outcomes.iter().enumerate() {
        if let (Outcome::Answered { .. }, Body::Exact(length)) = (outcome, asked.body) {
            most += length as u64;
            // The rest of a request that is answered already goes nowhere.
            least += if ledger.is_early(id) {
                0
            } else {
                length as u64
            };
        }
    }
    if !(least..=most).contains(&received) || sent != ledger.got.get() {
        ledger.finding(format!(
            "{received} and {sent} bytes counted, clients sent {least} to {most} and got {}",
            ledger.got.get()
        ));
    }
}

/// What the kind of world promises.
fn promised(world: &World) {
    if world.kind == Kind::Wild {
        return;
    }
    for (id, (asked, outcome)) in world.ledger.outcomes().iter().enumerate() {
        match outcome {
            Outcome::Answered { status, here } if (*status, *here) == due(asked) => {}
            // The listener's limit of requests, or the client's own word, ended the connection before.
            Outcome::Nothing => {}
            outcome => world
                .ledger
                .finding(format!("request {id} ({asked:?}) ended with {outcome:?}")),
        }
    }
}

/// The status that is promised, and whether the proxy makes the answer.
fn due(asked: &Asked) -> (u16, bool) {
    match asked.met {
        Met::Deny => (403, true),
        _ => (200, false),
    }
}
