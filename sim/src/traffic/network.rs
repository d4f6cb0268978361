//! Owns the engine's world: backends are reached by their number, over links, and time is the stage's.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::plan::{BackendAddress, UpstreamPlan};
use evenkeel_proxy::net::Net;
use evenkeel_proxy::sock::pipe::Pipe;
use evenkeel_proxy::tls::upstream::Towards;

use super::backend::{Backend, Reach};
use super::link::Link;
use super::stage::Stage;
use crate::chance::Chance;

/// The network as the engine sees it.
pub(super) struct Network {
    pub(super) stage: Stage,
    pub(super) backends: Vec<Rc<Backend>>,
    pub(super) chance: RefCell<Chance>,
}

/// A backend has a port for each service, so that it knows as whose member it is reached.
const PORTS: usize = 100;

/// The port of the backend with this number, as a member of this service.
pub(super) fn port(service: usize, number: usize) -> u16 {
    u16::try_from(service * PORTS + number + 1).unwrap_or(u16::MAX)
}

impl Network {
    fn at(&self, to: &BackendAddress) -> Option<(usize, &Rc<Backend>)> {
        match to {
            BackendAddress::Tcp(address) => {
                let place = usize::from(address.port()).checked_sub(1)?;
                Some((place / PORTS, self.backends.get(place % PORTS)?))
            }
            _ => None,
        }
    }
}

impl Net for Network {
    type Sock = Pipe;

    async fn connect(
        &self,
        to: &BackendAddress,
        _: &UpstreamPlan,
        _: Option<&Towards>,
        _: &[u8],
    ) -> io::Result<Pipe> {
        let (service, backend) = self.at(to).ok_or(io::ErrorKind::AddrNotAvailable)?;
        self.stage.sleep(backend.way.latency * 2).await;
        while backend.reach.get() == Reach::Silent || backend.way.parted.get() {
            // As a lost SYN that is sent again.
            self.stage.sleep(Duration::from_millis(250)).await;
        }
        if backend.reach.get() == Reach::Refuses {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs, link) =
            Link::new(&self.stage, &backend.way, &mut self.chance.borrow_mut());
        backend.accept(service, theirs, link);
        Ok(ours)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.stage.spawn(task);
    }

    fn now(&self) -> Instant {
        self.stage.now()
    }

    fn since_1970(&self) -> Duration {
        self.stage.now().since(Instant::ZERO)
    }
}
