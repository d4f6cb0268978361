//! Owns the way of an event from the core to subscribers: bounded, and never waited for.
//!
//! Two channels: one of what happens to services, one that carries the exchanges too, so that the many events of
//! exchanges crowd out nobody who did not ask for them. A subscriber that is too slow loses the oldest; what it lost
//! is counted. Beside them, functions that are called at events of one name (`events/listeners.rs`). Read next:
//! `ticker`, which hears the core's wish for a prompt tick.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use evenkeel_balance::event::{Event, EventKind, Listener};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Notify, broadcast, watch};

/// What a listener asks for.
mod name;

/// Functions that are called.
mod listeners;

pub use listeners::{MOST_LISTENERS, Subscription};
pub use name::EventName;

use listeners::Listeners;

/// The most events that are kept for a slow subscriber.
pub const MOST_KEPT: usize = 65_536;

/// Where all services of a balancer tell, and what rings its ticker.
#[derive(Debug)]
pub(crate) struct Hub {
    services: broadcast::Sender<Event>,
    exchanges: broadcast::Sender<Event>,
    tally: Arc<Tally>,
    listeners: Listeners,
    /// Rung when a service wants a tick before its time, and when the balancer is gone.
    pub(crate) bell: Arc<Notify>,
    /// Changes when a service or a member comes, goes or is configured anew: for the health checkers.
    pub(crate) members: watch::Sender<()>,
}

/// Apart from the hub: a subscriber must not keep open the channel whose end it waits for.
#[derive(Debug, Default)]
struct Tally {
    lost: AtomicU64,
    wanting_exchanges: AtomicUsize,
}

impl Hub {
    pub(crate) fn new(kept: usize) -> Self {
        let kept = kept.clamp(1, MOST_KEPT);
        Self {
            services: broadcast::Sender::new(kept),
            exchanges: broadcast::Sender::new(kept),
            tally: Arc::default(),
            listeners: Listeners::default(),
            bell: Arc::default(),
            members: watch::Sender::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events::new(&self.services, &self.tally, false)
    }

    pub(crate) fn subscribe_exchanges(&self) -> Events {
        Events::new(&self.exchanges, &self.tally, true)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.tally.lost.load(Ordering::Relaxed)
    }

    #[inline]
    fn wants_exchanges(&self) -> bool {
        self.tally.wanting_exchanges.load(Ordering::Relaxed) > 0
    }

    /// Never waits. Waking a subscriber may run code of the program's; a panic of it stops here.
    fn tell(&self, event: &Event) {
        let told = catch_unwind(AssertUnwindSafe(|| {
            // Services go on telling until the tick after the last subscriber left.
            if self.wants_exchanges() {
                // An error says that nobody listens any more.
                let _ = self.exchanges.send(event.clone());
            }
            if !EventName::of(&event.kind).is_of_exchanges() {
                let _ = self.services.send(event.clone());
            }
            if moves_members(&event.kind) {
                self.members.send_replace(());
            }
            self.listeners.tell(event, &self.tally);
        }));
        drop(told);
    }
}

fn moves_members(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::ServiceStarted { .. }
            | EventKind::ServiceStopped { .. }
            | EventKind::BackendAdded { .. }
            | EventKind::BackendRemoved { .. }
            | EventKind::BackendUpdated { .. }
            | EventKind::SettingsChanged { .. }
    )
}

/// How one service is heard: the hub, and what the ticker must know of this service alone.
#[derive(Debug)]
pub(crate) struct Ear {
    hub: Arc<Hub>,
    tick_wanted: AtomicBool,
}

impl Ear {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            tick_wanted: AtomicBool::new(false),
        }
    }

    /// Whether a prompt tick was asked for since the last time that this was asked.
    pub(crate) fn take_wish(&self) -> bool {
        // Acquire: the tick that follows sees the facts that led to the wish.
        self.tick_wanted.swap(false, Ordering::Acquire)
    }
}

impl Listener for Ear {
    fn hear(&self, event: &Event) {
        self.hub.tell(event);
    }

    #[inline]
    fn wants_exchanges(&self) -> bool {
        self.hub.wants_exchanges()
    }

    fn tick_wanted(&self) {
        self.tick_wanted.store(true, Ordering::Release);
        self.hub.bell.notify_one();
    }
}

/// A subscription. Ends when the balancer, its handles and its picks are gone.
///
/// Events of one service come in the order in which its changes were told; two threads that change it at once may
/// tell in either order.
///
/// ```
/// use evenkeel::{EventKind, LoadBalancer, ServiceSettings};
///
/// let balancer = LoadBalancer::new();
/// let mut events = balancer.subscribe();
/// balancer.register("api", ServiceSettings::default(), ["a:80"])?;
/// balancer.mark_health("api", "a:80", false)?;
/// let mut next = || events.try_recv().map(|event| event.kind); // `recv` waits
/// assert!(matches!(next(), Ok(EventKind::ServiceStarted { members: 1 })));
/// assert!(matches!(next(), Ok(EventKind::StandingChanged { .. })));
/// assert!(matches!(next(), Ok(EventKind::AllDown { .. })));
/// assert!(next().is_err());
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Debug)]
pub struct Events {
    from: broadcast::Receiver<Event>,
    lost: u64,
    tally: Arc<Tally>,
    exchanges: bool,
}

/// Why there is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEvent {
    /// None has happened yet.
    NoneYet,
    /// None will happen any more.
    Ended,
}

impl std::fmt::Display for NoEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoneYet => "no event has happened yet",
            Self::Ended => "no event will happen any more: the load balancer is gone",
        })
    }
}

impl std::error::Error for NoEvent {}

impl Events {
    fn new(channel: &broadcast::Sender<Event>, tally: &Arc<Tally>, exchanges: bool) -> Self {
        let from = channel.subscribe();
        if exchanges {
            tally.wanting_exchanges.fetch_add(1, Ordering::Relaxed);
        }
        Self {
            from,
            lost: 0,
            tally: tally.clone(),
            exchanges,
        }
    }

    /// The next event, or `None` when no more will come. Events that were lost are counted and passed over.
    /// Cancelling it loses nothing.
    pub async fn recv(&mut self) -> Option<Event> {
        loop {
            match self.from.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(missed)) => self.missed(missed),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The next event, if there is one.
    ///
    /// # Errors
    /// [`NoEvent`] says whether waiting would help.
    pub fn try_recv(&mut self) -> Result<Event, NoEvent> {
        loop {
            match self.from.try_recv() {
                Ok(event) => return Ok(event),
                Err(TryRecvError::Lagged(missed)) => self.missed(missed),
                Err(TryRecvError::Empty) => return Err(NoEvent::NoneYet),
                Err(TryRecvError::Closed) => return Err(NoEvent::Ended),
            }
        }
    }

    /// How many events this subscriber lost by being slow, as far as it has read.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn missed(&mut self, missed: u64) {
        self.lost += missed;
        self.tally.lost.fetch_add(missed, Ordering::Relaxed);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if self.exchanges {
            self.tally.wanting_exchanges.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_are_wanted_as_long_as_one_subscriber_of_them_lives() {
        let hub = Hub::new(4);
        let _services = hub.subscribe();
        assert!(!hub.wants_exchanges());
        let (one, two) = (hub.subscribe_exchanges(), hub.subscribe_exchanges());
        drop(one);
        assert!(hub.wants_exchanges());
        drop(two);
        assert!(!hub.wants_exchanges());
    }

    #[test]
    fn exchanges_are_wanted_as_long_as_one_listener_of_them_is_on() {
        let balancer = crate::LoadBalancer::new();
        let hub = &balancer.shared.hub;
        let on = |name| balancer.on(name, |_| ()).unwrap();
        let added = on(EventName::BackendAdded);
        assert!(!hub.wants_exchanges());
        let (picked, finished) = (on(EventName::Picked), on(EventName::Finished));
        drop(picked);
        assert!(hub.wants_exchanges());
        drop(finished);
        assert!(!hub.wants_exchanges());
        drop(added);
    }
}
