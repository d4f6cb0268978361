//! Owns one stream of HTTP/2, ours to answer or ours to ask: bytes of a body in and out, heads and trailers apart from them.
//!
//! Memory: what a peer sends waits here in the crate's buffers, up to its window, which opens again as the bytes are taken; what is
//! written waits there up to the window that the peer grants and [`BUFFERED`].

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use evenkeel_balance::time::Instant;
use evenkeel_wire::forward::Forwardable;
use evenkeel_wire::http1::HeadLimits;
use evenkeel_wire::http1::request::PathForm;
use evenkeel_wire::{Malformed, RequestHead, ResponseHead, http2};
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};

use super::back::Held;
use super::body::{Body, Gathers};
use super::watch::Watch;
use crate::tls::secured::Secured;

/// The most that one stream has written and its connection has not.
pub(super) const BUFFERED: usize = 64 * 1024;

/// One stream.
pub(crate) struct Stream {
    peer: Peer,
    /// A client's head, until it is taken.
    head: Option<http::request::Parts>,
    /// Our direction. None: no head was sent.
    send: Option<SendStream<Bytes>>,
    /// What was written and is not sent.
    waiting: Option<Bytes>,
    /// Our direction has ended.
    over: bool,
    /// A tunnel was asked for, and is not open.
    asks_tunnel: bool,
    /// The peer's direction. None: nothing came of it, or it has ended with its head.
    body: Option<Body>,
    /// The trailers that came behind it, as lines of text.
    trailers: Vec<u8>,
    limits: HeadLimits,
    /// Its connection's.
    secured: Option<Rc<Secured>>,
    /// The same.
    local: Option<SocketAddr>,
    /// Its place on a connection to a backend.
    held: Option<Held>,
    /// Its connection's, too.
    watch: Option<Rc<Watch>>,
    /// From then on, a client that takes it back has given it its time.
    given: Option<Instant>,
}

/// Who is at the other end.
enum Peer {
    /// A client.
    Client(SendResponse<Bytes>),
    /// A backend that may be asked.
    Idle(SendRequest<Bytes>),
    /// A backend that was asked.
    Asked(Box<ResponseFuture>),
}

/// What came of a backend instead of a head.
pub(crate) enum Unheard {
    /// It says that it goes, and has not seen the request.
    Unseen,
    /// It says that it has too many, and has not looked at the request.
    Refused,
    /// Its connection ended.
    Ended,
    /// It broke off; the error's number, where it said one.
    Broken(Option<u32>),
    /// It broke the rules.
    Malformed(Malformed),
}

impl Stream {
    fn new(peer: Peer, body: Option<Body>, secured: Option<Rc<Secured>>) -> Self {
        Self {
            peer,
            head: None,
            send: None,
            waiting: None,
            over: false,
            asks_tunnel: false,
            body,
            trailers: Vec::new(),
            limits: HeadLimits::default(),
            secured,
            held: None,
            local: None,
            watch: None,
            given: None,
        }
    }

    /// A client's, with a head that nobody has read.
    pub(super) fn of_client(
        request: http::Request<RecvStream>,
        respond: SendResponse<Bytes>,
        secured: Option<Rc<Secured>>,
        local: Option<SocketAddr>,
        watch: Rc<Watch>,
    ) -> Self {
        let (parts, body) = request.into_parts();
        let body = (!body.is_end_stream()).then(|| Body::new(body));
        Self {
            head: Some(parts),
            local,
            watch: Some(watch),
            ..Self::new(Peer::Client(respond), body, secured)
        }
    }

    /// For who puts the frames of a request's body together. None: it has none.
    pub(super) fn gathers(&self) -> Option<Gathers> {
        self.body.as_ref().map(Body::gathers)
    }

    /// One to a backend, not opened yet.
    pub(super) fn to_backend(
        send: SendRequest<Bytes>,
        held: Held,
        secured: Option<Rc<Secured>>,
    ) -> Self {
        let mut stream = Self::new(Peer::Idle(send), None, secured);
        stream.watch = Some(held.watch());
        stream.held = Some(held);
        stream
    }

    pub(crate) fn secured(&self) -> Option<&Secured> {
        self.secured.as_deref()
    }

    /// The address of our end of its connection.
    pub(crate) const fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// A client that takes it back has given it its time from then on: that is no flood.
    pub(crate) const fn give_until(&mut self, until: Instant) {
        self.given = Some(until);
    }

    /// Whether it had its time by now.
    pub(super) fn had_its_time(&self, now: Instant) -> bool {
        self.given.is_some_and(|until| until <= now)
    }

    /// Takes the request's head, once.
    pub(crate) fn take_head(
        &mut self,
        limits: &HeadLimits,
        form: PathForm,
        head: &mut RequestHead,
    ) -> Result<(), Malformed> {
        self.limits = *limits;
        let parts = self.head.take().ok_or(Malformed::Http2)?;
        let protocol = parts.extensions.get::<Protocol>();
        let protocol = protocol.map(|protocol| protocol.as_str().as_bytes());
        let ended = self.body.is_none();
        http2::request(&parts, protocol, ended, limits, form, head)
    }

    /// Sends the head of an interim response.
    pub(crate) fn interim(&mut self, head: &[u8]) -> io::Result<()> {
        let (Peer::Client(respond), None) = (&mut self.peer, &self.send) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let response = http2::response_for(head).map_err(io::Error::other)?;
        respond.send_informational(response).map_err(broken)
    }

    /// Sends the head of the response; `ends`: nothing follows.
    pub(crate) fn respond(&mut self, head: &[u8], ends: bool) -> io::Result<()> {
        let (Peer::Client(respond), None) = (&mut self.peer, &self.send) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let response = http2::response_for(head).map_err(io::Error::other)?;
        self.send = Some(respond.send_response(response, ends).map_err(broken)?);
        self.over = ends;
        Ok(())
    }

    /// Ready once the backend has said how it is to be spoken to, or its connection has ended.
    pub(crate) fn poll_known(&self, cx: &Context<'_>) -> Poll<()> {
        self.held
            .as_ref()
            .map_or(Poll::Ready(()), |held| held.poll_known(cx))
    }

    /// Asks a backend; `ends`: no body follows. `tunnel`: the protocol that the client would change to; a backend that takes none by
    /// HTTP/2 is asked as if there were no such wish, as RFC 9110 section 7.8 lets a server read it. False: its connection takes no
    /// more, and nothing was sent.
    ///
    /// # Errors
    /// HTTP/2 cannot say it.
    pub(crate) fn ask(
        &mut self,
        head: &Forwardable,
        ends: bool,
        tunnel: Option<&[u8]>,
    ) -> Result<bool, Malformed> {
        let Peer::Idle(send) = &mut self.peer else {
            return Ok(false);
        };
        let taken = send.is_extended_connect_protocol_enabled();
        let tunnel = tunnel.filter(|_| taken);
        let mut request = http2::request_for(head, self.secured.is_some(), tunnel.is_some())?;
        if let Some(protocol) = tunnel {
            let protocol = std::str::from_utf8(protocol).map_err(|_| Malformed::Http2)?;
            request.extensions_mut().insert(Protocol::from(protocol));
            self.asks_tunnel = true;
        }
        let ends = ends && tunnel.is_none();
        let Ok((response, body)) = send.send_request(request, ends) else {
            return Ok(false);
        };
        self.peer = Peer::Asked(Box::new(response));
        (self.send, self.over) = (Some(body), ends);
        Ok(true)
    }

    /// The backend has broken the rules (`broke`), or not answered in time: then, if its connection was silent all the while, nobody
    /// else is asked on it.
    pub(crate) fn doubt(&self, broke: bool) {
        if let Some(held) = &self.held {
            held.doubt(broke);
        }
    }

    /// Whether the backend's head opens the tunnel that was asked for.
    pub(crate) fn opens(&mut self, head: &ResponseHead) -> bool {
        let opens = self.asks_tunnel && (200..300).contains(&head.status());
        self.asks_tunnel &= !opens;
        opens
    }

    /// Waits for a head of the backend, interim ones too.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &HeadLimits,
        to_head: bool,
        into: &mut ResponseHead,
    ) -> Poll<Result<(), Unheard>> {
        let (Peer::Asked(response), Some(held), None) = (&mut self.peer, &self.held, &self.body)
        else {
            return Poll::Ready(Err(Unheard::Broken(None)));
        };
        self.limits = *limits;
        if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            let (parts, ()) = interim.into_parts();
            let taken = http2::response(&parts, false, limits, to_head, into);
            return Poll::Ready(taken.map_err(Unheard::Malformed));
        }
        let stream = response.stream_id().as_u32();
        let (parts, body) = match ready!(Pin::new(&mut **response).poll(cx)) {
            Ok(came) => came.into_parts(),
            Err(error) => return Poll::Ready(Err(held.unheard(&error, stream))),
        };
        let ended = body.is_end_stream();
        self.body = Some(Body::new(body));
        let taken = http2::response(&parts, ended, limits, to_head, into);
        Poll::Ready(taken.map_err(Unheard::Malformed))
    }

    /// Ready once the client has taken the stream back, or its connection has ended.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (&mut self.send, &mut self.peer) {
            (Some(send), _) => send.poll_reset(cx).map(drop),
            (None, Peer::Client(respond)) => respond.poll_reset(cx).map(drop),
            (None, Peer::Idle(_) | Peer::Asked(_)) => Poll::Pending,
        }
    }

    /// Ready once the backend has taken the stream back, whatever is still to be taken of its answer. To be asked once all of the request
    /// is sent: before, a stream whose answer is whole may be taken back too.
    pub(crate) fn poll_taken_back(&mut self, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        let Some(send) = &mut self.send else {
            return Poll::Pending;
        };
        match ready!(send.poll_reset(cx)) {
            // It wants no more of a request that it has; what it answered stands.
            Ok(Reason::NO_ERROR) => Poll::Pending,
            Ok(reason) => Poll::Ready(Some(reason.into())),
            Err(_) => Poll::Ready(None),
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(body) = &self.body else {
            return Poll::Ready(match self.peer {
                // Nothing followed its head.
                Peer::Client(..) => Ok(0),
                Peer::Idle(_) | Peer::Asked(_) => Err(io::ErrorKind::NotConnected.into()),
            });
        };
        let length = ready!(body.poll_read(cx, into)).map_err(broken)?;
        if length == 0
            && !into.is_empty()
            && let Some(trailers) = ready!(body.poll_trailers(cx)).map_err(broken)?
        {
            http2::trailers(&trailers, &self.limits, &mut self.trailers)
                .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        }
        Poll::Ready(Ok(length))
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(send) = self.send.as_mut().filter(|_| !self.over) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if let Some(waiting) = self.waiting.take() {
            send.send_data(waiting, false).map_err(broken)?;
        }
        let wanted = from.iter().map(|part| part.len()).sum::<usize>();
        send.reserve_capacity(wanted.min(BUFFERED));
        while send.capacity() == 0 {
            match ready!(send.poll_capacity(cx)) {
                Some(capacity) => drop(capacity.map_err(broken)?),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let length = send.capacity().min(wanted);
        let mut data = BytesMut::with_capacity(length);
        for part in from {
            data.extend_from_slice(&part[..part.len().min(length - data.len())]);
        }
        // What ends with it goes in one frame with its end.
        self.waiting = Some(data.freeze());
        if length == wanted
            && let Some(watch) = &self.watch
        {
            watch.sent_whole();
        }
        Poll::Ready(Ok(length))
    }

    /// Sends what was written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let waiting = self.waiting.take();
        match (&mut self.send, waiting) {
            (Some(send), Some(waiting)) => send.send_data(waiting, false).map_err(broken),
            _ => Ok(()),
        }
    }

    /// Says that our body is whole, with these trailers.
    pub(crate) fn end(&mut self, trailers: &[u8]) -> io::Result<()> {
        // A request for a tunnel has no body; what is to come behind it has not begun.
        let open = !self.over && !self.asks_tunnel;
        let Some(send) = self.send.as_mut().filter(|_| open) else {
            return Ok(());
        };
        self.over = true;
        let last = self.waiting.take();
        if trailers.is_empty() {
            let last = last.unwrap_or_default();
            return send.send_data(last, true).map_err(broken);
        }
        if let Some(last) = last {
            send.send_data(last, false).map_err(broken)?;
        }
        let trailers = http2::trailers_for(trailers).map_err(io::Error::other)?;
        send.send_trailers(trailers).map_err(broken)
    }

    /// The trailers that came behind a body that has ended.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Takes the stream back, so that nothing of it can look whole.
    pub(crate) fn cut(&mut self) {
        match (&mut self.send, &mut self.peer) {
            (Some(send), Peer::Client(..)) => send.send_reset(Reason::INTERNAL_ERROR),
            (Some(send), _) => send.send_reset(Reason::CANCEL),
            (None, Peer::Client(respond)) => respond.send_reset(Reason::INTERNAL_ERROR),
            (None, Peer::Idle(_) | Peer::Asked(_)) => {}
        }
    }
}

/// The number of the error with which the peer took a stream back, if that is what broke it.
pub(crate) fn reset_by_peer(error: &io::Error) -> Option<u32> {
    let error = error.get_ref()?.downcast_ref::<h2::Error>()?;
    let reset = error.is_reset() && error.is_remote();
    error.reason().filter(|_| reset).map(u32::from)
}

/// An error of the crate as one of a connection.
fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
