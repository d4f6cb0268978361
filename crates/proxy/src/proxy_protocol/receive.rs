//! Owns reading the header that begins a client's connection: of listed peers only, within its deadline, every refusal counted.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use evenkeel_config::plan::{ProxyPeers, ProxyVersion};
use evenkeel_wire::proxy_protocol::{BINARY_MOST, Endpoints, Header, TEXT_BEGIN, Transport, read};

use super::{Arrival, Ends, Refused};
use crate::connection::{CLOSING, Door};
use crate::net::Net;
use crate::sock::Sock;
use crate::tls::accept::{is_closing, poll_late};
use crate::worker::Worker;

/// Of whom a listener expects headers.
#[derive(Clone)]
pub(crate) struct Expected {
    pub(crate) from: Arc<ProxyPeers>,
    /// How long one may take.
    pub(crate) within: Duration,
}

/// Reads the header of a connection that has just been accepted, and says whose it is by it; what came behind it goes along. None:
/// it was refused, which is counted, and is to be closed.
pub(crate) async fn receive<N: Net, S: Sock>(
    worker: &Worker<N>,
    door: &Door,
    expected: &Expected,
    sock: &mut S,
    arrival: Arrival,
) -> Option<Arrival> {
    let state = door.state();
    let began = worker.now();
    match header(worker, door, expected, sock, arrival).await {
        Ok((version, arrival)) => {
            state.headers.taken(version);
            let spent = worker.now().since(began);
            Some(Arrival { spent, ..arrival })
        }
        Err(why) => {
            state.headers.refused(why);
            None
        }
    }
}

async fn header<N: Net, S: Sock>(
    worker: &Worker<N>,
    door: &Door,
    expected: &Expected,
    sock: &mut S,
    mut arrival: Arrival,
) -> Result<(ProxyVersion, Arrival), Refused> {
    let ends = &arrival.ends;
    let from = (!ends.unix).then(|| ends.peer());
    if !expected.from.has(from) {
        return Err(Refused::Unlisted);
    }
    let deadline = worker.deadlines.slot();
    let within = match is_closing(worker, door) {
        true => expected.within.min(CLOSING),
        false => expected.within,
    };
    // Where descriptors lack, who has said nothing for longest makes place.
    deadline.set_idle(worker.now(), within);
    loop {
        // The deadline is for all of it: who sends a byte at a time gains nothing.
        let came = poll_fn(|cx| {
            let input = &mut arrival.input;
            match input.poll_fill(cx, sock, &worker.buffers, false) {
                Poll::Ready(Ok(length)) if length > 0 => Poll::Ready(Ok(())),
                Poll::Ready(_) => Poll::Ready(Err(Refused::PeerLeft)),
                Poll::Pending => {
                    poll_late(cx, worker, door, &deadline).map(|()| Err(Refused::Timeout))
                }
            }
        })
        .await;
        came?;
        let input = arrival.input.data();
        let text = input.first() == TEXT_BEGIN.first();
        if let Some(header) = read(input, BINARY_MOST).map_err(Refused::Unreadable)? {
            arrival.ends.believe(&header);
            let length = header.length;
            arrival.input.consume(length);
            arrival.input.release(&worker.buffers);
            let version = match text {
                true => ProxyVersion::V1,
                false => ProxyVersion::V2,
            };
            return Ok((version, arrival));
        }
    }
}

impl Ends {
    /// Takes the ends that a header gives. Where it gives none of TCP, the connection's own hold, as HAProxy has it: the proxy's own
    /// checks are its own, and of a Unix socket's client there is no address to believe.
    fn believe(&mut self, header: &Header<'_>) {
        if let Endpoints::Inet {
            transport: Transport::Stream,
            source,
            destination,
        } = header.endpoints
        {
            self.source = canonical(source);
            self.unix = false;
            self.destination = Some(Rc::new(canonical(destination)));
        }
    }
}

/// An IPv4 address as one, where it came as IPv6: networks of both are compared by family.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
