//! Owns one try on one backend: connect, send, hear the head, relay the rest, and tell the pick how it went.

use std::rc::Rc;
use std::time::Duration;

use evenkeel_balance::pick::Pick;
use evenkeel_balance::retry::Progress;
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Fault;
use evenkeel_config::limits::REPLAY_BYTES;
use evenkeel_config::plan::Protocol;
use evenkeel_wire::chunked::{Chunked, Keep};
use evenkeel_wire::forward;
use evenkeel_wire::{Framing, Malformed, Version};

use super::call::{Call, per_try};
use super::{Exchange, Tries, reply};
use crate::affinity::Kept;
use crate::carrier::Carrier;
use crate::connection::{Conn, Next};
use crate::load::is_line;
use crate::net::Net;
use crate::observation::Observation;
use crate::reason::Reason;
use crate::relay::Pump;
use crate::sock::Sock;
use crate::upstream::open::Opening;
use crate::upstream::{Connection, Lane};
use crate::worker::Desk;

/// The request on its way, and the wait for a head.
mod hear;

/// The answer, on its way to the client.
mod answer;

/// What only a stream is asked.
mod ask;

/// A protocol that is not ours.
mod tunnel;

/// What a head says of its backend.
mod verdict;

/// What an answer says of its backend's load.
mod load;

/// What is said of an attempt that failed.
mod fail;

/// A second attempt beside one that is slow.
mod second;

/// Which of both is answered first.
pub(super) mod race;

use hear::Heard;
use race::Opened;

/// What holds for every attempt of an exchange.
pub(super) struct Course<'a> {
    /// The connection to the client may live on.
    pub(super) keep: bool,
    pub(super) via: Option<&'a str>,
    /// The most bytes of the request's body.
    pub(super) body: Option<u64>,
    /// The longest pause between two bytes of the request's body.
    pub(super) idle: Duration,
    /// The longest pause between two bytes of an answer's body.
    pub(super) idle_answer: Duration,
    /// The longest rest of a tunnel.
    pub(super) tunnel: Duration,
    /// A client that ended its direction still waits for its answer.
    pub(super) half_close: bool,
    /// When the response head must be there, unless a body takes its time.
    pub(super) until: Instant,
    /// How long it may take from the last byte of the request's body: what the client sends slowly is not the backends' time.
    pub(super) within: Duration,
    /// The call of gRPC that it is: its time bounds all of it.
    pub(super) call: Option<Call>,
    /// What a hash policy sticks to.
    pub(super) key: Option<u64>,
    /// Where the client is kept. None: nowhere.
    pub(super) kept: Option<Kept>,
    /// What begins every connection that is opened.
    pub(super) introduction: Vec<u8>,
}

/// How an attempt went that the client has heard of.
pub(super) struct Ended {
    pub(super) next: Next,
    pub(super) status: u16,
    pub(super) reason: Reason,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Ended {
    /// The client did not wait for an answer; `received` bytes of its body came.
    pub(super) const fn gone(received: u64) -> Self {
        Self {
            next: Next::Cut,
            status: 0,
            reason: Reason::ClientGone,
            received,
            sent: 0,
        }
    }

    /// Writes down how it went, and says what follows.
    pub(super) const fn noted(&self, seen: &mut Observation) -> Next {
        (seen.status, seen.reason) = (self.status, self.reason);
        (seen.received, seen.sent) = (self.received, self.sent);
        self.next
    }
}

/// How an attempt went that the client has not heard of.
#[derive(Clone, Copy)]
pub(super) struct Failed {
    /// None: not the backend's.
    pub(super) fault: Option<Fault>,
    pub(super) progress: Progress,
    pub(super) reused: bool,
    /// The request can be sent again as it is.
    pub(super) whole: bool,
    /// How long the backend asks to be left alone.
    pub(super) rest: Option<Duration>,
    pub(super) reason: Reason,
}

pub(super) enum Attempted {
    Ended(Ended),
    /// It is for the exchange to decide what follows.
    Failed(Failed),
    /// The answer was given up for another attempt, with this pick.
    Again(Pick<Held>),
}

/// The kept connection had ended; nothing was done, and nothing is held against the backend.
struct Stale(Pick<Held>);

/// The most interim responses before a final one.
const INTERIM_MOST: u32 = 16;

/// Makes one attempt with a pick.
///
/// A kept connection may have been ended by the backend, by its right, while the request was on its way. That is no fault, and
/// where nothing is done twice the same pick is tried again at once on a fresh connection: once in an exchange, since whoever ends
/// one connection after the other does something else. What follows then is an attempt like any other.
pub(super) async fn make<N: Net>(
    exchange: &Exchange<'_, N>,
    conn: &mut Conn<N>,
    desk: &mut Desk,
    mut pick: Pick<Held>,
    course: &Course<'_>,
    tries: &mut Tries<N>,
) -> Attempted {
    note_backend(desk, &pick);
    let Some(mut lane) = exchange.seat.lane(pick.backend()) else {
        drop(pick);
        return Attempted::Failed(unsent(None, Reason::ConnectFailed));
    };
    conn.deadline.serves(lane.number);
    let limits = &exchange.seat.live.plan.limits;
    let per_try = per_try(&exchange.rule.beside, limits, course.call);
    let mut now = pick.at();
    if exchange.seat.live.plan.settings.hedge.is_some() {
        exchange.may_race(conn, desk, now, tries);
    }
    (desk.seen.connect, desk.seen.head) = (None, None);
    let mut idle = lane.take_idle(&exchange.seat.live.plan.upstream, now);
    let mut fresh = false;
    loop {
        let (upstream, ready) = match idle.take() {
            Some(idle) => (idle, now),
            None => {
                let opening = opening(exchange, course, per_try, fresh);
                let opened = match tries.race.is_off() {
                    true => Opened::First(opening.open(conn, &mut desk.seen, &lane, now).await),
                    // On the heap: most services have no races.
                    false => {
                        let with = (&mut *conn, &mut *desk, &mut *tries);
                        Box::pin(exchange.open_in_race(with, &opening, (&lane, now), course)).await
                    }
                };
                let took = (desk.seen.connect, opening.within);
                match opened {
                    Opened::First(Ok(opened)) => opened,
                    Opened::First(Err(unopened)) => {
                        return exchange.unopened(conn, pick, &unopened, took, course);
                    }
                    Opened::Second(won, unopened) => {
                        exchange.outrun(conn, (pick, &desk.seen), unopened, took, course);
                        (pick, lane) = (won.pick, won.lane);
                        desk.seen.connect = won.connect;
                        (won.upstream, won.ready)
                    }
                }
            }
        };
        // Connecting is part of it; waiting for one of our own places is not.
        let left = per_try.saturating_sub(desk.seen.connect.unwrap_or_default());
        let (held, given) = ((pick, lane.clone()), (upstream, ready, left));
        let attempt = Try::new(exchange, conn, desk, held, course, given, tries);
        match attempt.run().await {
            Ok(attempted) => return attempted,
            // Not a kept one again: a backend that ends what it kept would be asked as often as there are kept ones.
            Err(Stale(held)) => (pick, fresh) = (held, true),
        }
        exchange.seat.asked_anew(conn.worker.index);
        now = conn.worker.now();
    }
}

/// Whom the access log names, and what is remembered where the exchange fails.
fn note_backend(desk: &mut Desk, pick: &Pick<Held>) {
    let id = pick.backend().id().as_str();
    desk.backend.clear();
    desk.backend.extend_from_slice(id.as_bytes());
    desk.trail.begin();
}

/// Within its deadline, and those of the attempt and of all of them.
fn opening<'a, N: Net>(
    exchange: &'a Exchange<'_, N>,
    course: &'a Course<'_>,
    per_try: Duration,
    fresh: bool,
) -> Opening<'a> {
    let service = &exchange.seat.live;
    let within = exchange.rule.beside.connect;
    let within = within.unwrap_or(service.plan.limits.connect).min(per_try);
    Opening {
        service,
        introduction: &course.introduction,
        towards: service.towards.as_deref(),
        within,
        until: course.by(course.until),
        half_close: course.half_close,
        protocol: service.plan.upstream.protocol,
        fresh,
    }
}

const fn unsent(fault: Option<Fault>, reason: Reason) -> Failed {
    Failed {
        fault,
        progress: Progress::Unsent,
        reused: false,
        whole: true,
        rest: None,
        reason,
    }
}

/// One attempt that has a connection.
struct Try<'a, 'b, N: Net> {
    exchange: &'a Exchange<'b, N>,
    course: &'a Course<'a>,
    conn: &'a mut Conn<N>,
    desk: &'a mut Desk,
    upstream: Connection<N::Sock>,
    reused: bool,
    /// When it had its connection.
    ready: Instant,
    /// Since when it is the backend's turn, where it is.
    turned: Instant,
    upload: Pump,
    /// The request is sent, or will not be.
    upload_over: bool,
    upload_broken: bool,
    pick: Pick<Held>,
    lane: Rc<Lane<N::Sock>>,
    /// What connecting has left of it.
    per_try: Duration,
    tries: &'a mut Tries<N>,
}

impl<'a, 'b, N: Net> Try<'a, 'b, N> {
    fn new(
        exchange: &'a Exchange<'b, N>,
        conn: &'a mut Conn<N>,
        desk: &'a mut Desk,
        (pick, lane): (Pick<Held>, Rc<Lane<N::Sock>>),
        course: &'a Course<'a>,
        (upstream, ready, per_try): (Connection<N::Sock>, Instant, Duration),
        tries: &'a mut Tries<N>,
    ) -> Self {
        let upload = match desk.request.framing() {
            Framing::Empty => {
                let head = head(desk, &upstream);
                Pump::new(Framing::Empty, || Chunked::new(Keep::Data, 0, 0)).before(head)
            }
            framing => upload(exchange, conn, desk, &upstream, framing, course.body),
        };
        Self {
            exchange,
            course,
            conn,
            desk,
            reused: upstream.is_reused(),
            upstream,
            ready,
            turned: ready,
            upload,
            upload_over: false,
            upload_broken: false,
            pick,
            lane,
            per_try,
            tries,
        }
    }

    async fn run(mut self) -> Result<Attempted, Stale> {
        if self.tries.race.has_said() {
            self.go_on();
        } else {
            let bodyless = self.desk.request.framing() == Framing::Empty;
            let until = match bodyless || self.is_awaited() {
                true => (self.ready + self.per_try).min(self.course.until),
                false => self.ready + self.course.idle,
            };
            self.conn.deadline.set(self.course.by(until));
            match self.ask().await {
                Ok(true) => {}
                Ok(false) => return self.failed(Heard::Unseen),
                Err(malformed) => return Ok(self.unsayable(malformed)),
            }
        }
        for _ in 0..=INTERIM_MOST {
            let length = match self.hear().await {
                Heard::Head(length) => length,
                heard => return self.failed(heard),
            };
            self.upstream.input.consume(length);
            match self.desk.response.status() {
                101 => return self.switch().await,
                200..=299 if self.opens() => return self.switch().await,
                200..=299 if self.is_no_tunnel() => return Ok(self.not_opened()),
                100..=199 if self.interim().await => {}
                100..=199 => return Ok(self.client_left(0, Reason::ClientLeft)),
                _ => return Ok(self.answer().await),
            }
        }
        self.failed(Heard::Malformed(Malformed::Status))
    }

    /// Passes an interim response on. False: the client takes nothing more.
    async fn interim(&mut self) -> bool {
        // HTTP/1.0 knows none (RFC 9110 section 15.2).
        if self.desk.request.version() == Version::Old {
            return true;
        }
        if self.desk.response.status() == 100 {
            // A client that was told so, or that another attempt had begin its body, waits for no word.
            let anew = self.tries.made > 1 || self.tries.anew;
            let told = std::mem::replace(&mut self.tries.continued, true);
            if !self.upload_over {
                let until = self.conn.worker.now() + self.course.idle;
                self.conn.deadline.set(self.course.by(until));
            }
            if told || anew && self.upload.came() > 0 {
                return true;
            }
        }
        let mut out = std::mem::take(&mut self.desk.downward);
        out.clear();
        let hides = self.hides_load();
        let hidden = |name: &[u8]| hides && is_line(name);
        forward::interim(&self.desk.response, hidden, &mut out);
        let written = match &mut self.conn.sock {
            Carrier::Client(stream) => stream.interim(&out).is_ok(),
            Carrier::Whole(_) | Carrier::Stream(_) => {
                reply::write_all(self.conn, &out, false).await
            }
        };
        self.desk.downward = out;
        written
    }
}

const fn sent(fault: Option<Fault>, reused: bool, reason: Reason) -> Failed {
    Failed {
        fault,
        progress: Progress::Sent,
        reused,
        whole: false,
        rest: None,
        reason,
    }
}

/// The head as it is written before a body: a stream is told it apart.
fn head<S: Sock>(desk: &mut Desk, upstream: &Connection<S>) -> Vec<u8> {
    let mut head = std::mem::take(&mut desk.upward);
    head.clear();
    if !upstream.sock.is_stream() {
        head.extend_from_slice(desk.forwardable.as_bytes());
    }
    head
}

/// The request's body, on its way to the backend; from its begin, where another attempt had begun it.
fn upload<N: Net>(
    exchange: &Exchange<'_, N>,
    conn: &mut Conn<N>,
    desk: &mut Desk,
    upstream: &Connection<N::Sock>,
    framing: Framing,
    most: Option<u64>,
) -> Pump {
    let plan = &exchange.seat.live.plan;
    let (from, to) = (conn.sock.is_stream(), upstream.sock.is_stream());
    let head = head(desk, upstream);
    // What can be asked but once is passed on as it came, without a copy.
    let asked_anew = desk.request.is_idempotent() || plan.upstream.protocol != Protocol::Http1;
    let short = match framing {
        Framing::Exact(length) => length <= REPLAY_BYTES as u64,
        _ => true,
    };
    let keeps = asked_anew && short && plan.settings.retry.attempts > 1;
    let apart = from || keeps || to;
    let wrap = apart && !to && matches!(framing, Framing::UntilClose | Framing::Chunked);
    if let Some(begun) = desk.replay.take() {
        let again = begun.again(&head, wrap, &mut conn.input);
        desk.upward = head;
        return again;
    }
    let body = match from {
        true => Pump::of_stream(framing),
        false => Pump::new(framing, || {
            let keep = if apart { Keep::Apart } else { Keep::Chunks };
            Chunked::new(keep, exchange.limits.head, exchange.limits.fields)
        }),
    };
    let body = body.wrapping(wrap).before(head).at_most(most);
    match keeps {
        true => body.keeping(&conn.worker.buffers),
        false => body,
    }
}
