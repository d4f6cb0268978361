//! Owns the way into the queue: what is left for who does not wait, and a place for who does.

use std::task::Waker;

use super::{Called, Entry, Kept, State, Ticket, Waiting};
use crate::ask::Ask;
use crate::choice::{self, Taken};
use crate::facts::{Facts, Flags};
use crate::parts::Reach;
use crate::pick::{Pick, Refusal};
use crate::policy::Turn;
use crate::service::Service;
use crate::settings::QueueSettings;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, fence};
use crate::table::Table;
use crate::time::Instant;

/// Chooses and charges where more is to be heeded than the table: those who wait come first, a place of the service's own limit
/// is needed, or its policy broke.
#[cold]
pub(crate) fn take(
    table: &Table,
    facts: &Facts,
    ask: &Ask<'_>,
    turn: Turn<'_>,
    reach: Reach,
    now: Instant,
) -> Result<Taken, Refusal> {
    if !facts.flags.has(Flags::WAITING) {
        let taken = choice::take_place(table, facts, ask, turn, reach, now);
        // Its place was taken for a moment, in which somebody may have lined up for it.
        if taken.is_err() && facts.flags.has(Flags::WAITING) {
            facts.queue.settle(facts, None, now);
        }
        return taken;
    }
    facts.queue.settled(facts, None, now, || {
        // Those who wait still have no use for what is left.
        choice::take_place(table, facts, ask, turn, reach, now)
    })
}

/// Lines up for a service that was full a moment ago, no longer than until then. Who is called at once did not wait.
#[cold]
pub(crate) fn enter(
    service: &Service,
    settings: QueueSettings,
    ask: &Ask<'_>,
    until: Instant,
    now: Instant,
) -> Result<Entry<Pick<Called>>, Refusal> {
    let facts = &*service.shared.facts;
    let ticket = Arc::new(Ticket {
        service: service.clone(),
        ask: Kept::new(ask),
        since: now,
        by: until,
        until: AtomicU64::new(0),
        state: Mutex::new(State::Waiting(None)),
    });
    ticket.wait_by(settings);
    let mut line = facts.queue.line(facts);
    // Others may be in force by now, and are then followed.
    line.settings = Some(settings);
    facts.flags.set(Flags::WAITING, true);
    // From here on, what was given back before its giver looked at the flag is seen.
    fence(Ordering::SeqCst);
    line.came += 1;
    let place = (ask.queue_class, line.came);
    line.put_in(place, ticket.clone());
    line.counts.entered += 1;
    let mut wake = line.settle(service, None, now);
    if let Some(settings) = line.settings {
        line.shorten(settings, &mut wake);
        line.ended(facts);
    }
    let called = std::mem::replace(&mut *ticket.state(), State::Waiting(None)).called();
    let Some(result) = called else {
        drop(line);
        wake.into_iter().for_each(Waker::wake);
        return Ok(Entry::Waiting(Waiting { ticket, place }));
    };
    line.counts.entered -= 1;
    match &result {
        Ok(_) => line.counts.served -= 1,
        Err(_) => line.counts.refused -= 1,
    }
    drop(line);
    wake.into_iter().for_each(Waker::wake);
    ticket.claim(result, now).map(Entry::Picked)
}
