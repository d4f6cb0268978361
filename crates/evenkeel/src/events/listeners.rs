//! Owns the functions that a program has called at events of one name, and that they can be taken off again.
//!
//! Called on the thread where it happened, outside every lock: what they do delays that thread and nothing else. A panic
//! of one is caught and counted, and goes no further.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use evenkeel_balance::event::Event;

use crate::balancer::LoadBalancer;
use crate::error::Error;
use crate::events::name::EventName;
use crate::events::{Hub, Tally};

/// The most listeners of one balancer: each event looks at all of them.
pub const MOST_LISTENERS: usize = 1024;

type Each = Box<dyn Fn(&Event) + Send + Sync>;
type Once = Box<dyn FnOnce(&Event) + Send>;

enum Call {
    Each(Each),
    Once(Mutex<Option<Once>>),
}

/// One function and what it waits for.
struct Listening {
    name: EventName,
    call: Call,
    off: AtomicBool,
    panics: AtomicU64,
}

/// All of a balancer.
#[derive(Default)]
pub(super) struct Listeners {
    all: ArcSwap<Vec<Arc<Listening>>>,
    writer: Mutex<()>,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listeners")
            .field(&self.all.load().len())
            .finish()
    }
}

impl Listeners {
    fn add(&self, listening: Arc<Listening>, tally: &Tally) -> Result<(), Error> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::clone(&self.all.load());
        if all.len() >= MOST_LISTENERS {
            return Err(Error::TooManyListeners);
        }
        if listening.name.is_of_exchanges() {
            tally.wanting_exchanges.fetch_add(1, Ordering::Relaxed);
        }
        all.push(listening);
        self.all.store(Arc::new(all));
        Ok(())
    }

    /// Takes off those that `which` names. How many there were.
    fn take_off(&self, which: impl Fn(&Arc<Listening>) -> bool, tally: &Tally) -> usize {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.all.load_full();
        let (off, left): (Vec<_>, Vec<_>) = before.iter().cloned().partition(|one| which(one));
        for one in &off {
            one.off.store(true, Ordering::Release);
            if one.name.is_of_exchanges() {
                tally.wanting_exchanges.fetch_sub(1, Ordering::Relaxed);
            }
        }
        if !off.is_empty() {
            self.all.store(Arc::new(left));
        }
        // What listeners held is dropped with the lists, and may be subscriptions that take others off.
        drop(writer);
        off.len()
    }

    /// Calls whoever waits for it.
    pub(super) fn tell(&self, event: &Event, tally: &Tally) {
        let all = self.all.load();
        if all.is_empty() {
            return;
        }
        let name = EventName::of(&event.kind);
        let all = Arc::clone(&all);
        for one in all.iter().filter(|one| one.name == name) {
            if !one.off.load(Ordering::Acquire) && one.hear(event) {
                self.take_off(|other| Arc::ptr_eq(one, other), tally);
            }
        }
    }
}

impl Listening {
    /// Whether that was all.
    fn hear(&self, event: &Event) -> bool {
        let (heard, over) = match &self.call {
            Call::Each(call) => (catch_unwind(AssertUnwindSafe(|| call(event))), false),
            Call::Once(call) => {
                let call = call.lock().unwrap_or_else(PoisonError::into_inner).take();
                let call = call.map(|call| catch_unwind(AssertUnwindSafe(|| call(event))));
                (call.unwrap_or(Ok(())), true)
            }
        };
        if heard.is_err() {
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
        over
    }
}

/// A function that is called at events of one name. **Dropping it takes the function off**, as [`off`](Self::off) does.
///
/// From then on no call begins; one that another thread has begun may still run. It may be taken off from within itself.
#[must_use = "dropping it takes the listener off; keep it, or say forever()"]
pub struct Subscription {
    hub: Weak<Hub>,
    listening: Arc<Listening>,
    kept: bool,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("name", &self.listening.name)
            .field("is_on", &self.is_on())
            .finish_non_exhaustive()
    }
}

impl Subscription {
    /// What it waits for.
    #[must_use]
    pub fn name(&self) -> EventName {
        self.listening.name
    }

    /// Takes it off.
    pub fn off(self) {}

    /// Leaves it on for as long as the balancer lives, or until [`LoadBalancer::off_all`].
    pub fn forever(mut self) {
        self.kept = true;
    }

    /// Whether it may still be called: not taken off, and not one of [`once`](LoadBalancer::once) that was.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.listening.off.load(Ordering::Acquire)
    }

    /// How often it has panicked. It stays on.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.listening.panics.load(Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.kept
            && let Some(hub) = self.hub.upgrade()
        {
            let own = |one: &Arc<Listening>| Arc::ptr_eq(one, &self.listening);
            hub.listeners.take_off(own, &hub.tally);
        }
    }
}

impl LoadBalancer {
    /// Calls `listener` at each event of this name, of every service, until the returned owner is dropped. It runs on the
    /// thread where it happened, which waits for it: keep it short, or read [`subscribe`](Self::subscribe) in a task.
    /// It may call the balancer; one that keeps it should keep it [weakly](Self::downgrade), since the balancer keeps the
    /// listener. A panic of it harms nobody and is counted.
    ///
    /// Those of exchanges ([`EventName::is_of_exchanges`]) are told while somebody wants them; this ticks all services, as
    /// [`subscribe_exchanges`](Self::subscribe_exchanges) does.
    ///
    /// ```
    /// use evenkeel::{EventName, LoadBalancer, ServiceSettings};
    ///
    /// let balancer = LoadBalancer::new();
    /// let added = balancer.on(EventName::BackendAdded, |event| println!("{event:?}"))?;
    /// balancer.register("api", ServiceSettings::default(), ["a:80"])?;
    /// balancer.add_backend("api", "b:80")?; // prints
    /// added.off();
    /// balancer.add_backend("api", "c:80")?; // does not
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooManyListeners`] beyond [`MOST_LISTENERS`].
    pub fn on(
        &self,
        name: EventName,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<Subscription, Error> {
        self.listen(name, Call::Each(Box::new(listener)))
    }

    /// As [`on`](Self::on), at the next event of this name only.
    ///
    /// # Errors
    /// [`Error::TooManyListeners`] beyond [`MOST_LISTENERS`].
    pub fn once(
        &self,
        name: EventName,
        listener: impl FnOnce(&Event) + Send + 'static,
    ) -> Result<Subscription, Error> {
        self.listen(name, Call::Once(Mutex::new(Some(Box::new(listener)))))
    }

    /// Takes off all listeners of this name, or all there are. How many there were. Streams of events go on.
    pub fn off_all(&self, name: Option<EventName>) -> usize {
        let hub = &self.shared.hub;
        let wanted = |one: &Arc<Listening>| name.is_none_or(|name| one.name == name);
        hub.listeners.take_off(wanted, &hub.tally)
    }

    fn listen(&self, name: EventName, call: Call) -> Result<Subscription, Error> {
        let listening = Arc::new(Listening {
            name,
            call,
            off: AtomicBool::new(false),
            panics: AtomicU64::new(0),
        });
        let hub = &self.shared.hub;
        hub.listeners.add(listening.clone(), &hub.tally)?;
        if name.is_of_exchanges() {
            self.tick();
        }
        Ok(Subscription {
            hub: Arc::downgrade(hub),
            listening,
            kept: false,
        })
    }
}
