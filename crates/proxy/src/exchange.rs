//! Owns the order of decisions of one request: head, rule, pick, attempts, answer.
//!
//! Decides and hands on; bytes are moved by `relay`, one try by `attempt`. What is refused is answered from one table
//! ([`Reason`]) and never reaches a backend in whole or in part.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::ask::Tried;
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::retry::{Attempt, Progress};
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;
use evenkeel_config::limits::ListenerLimits;
use evenkeel_config::plan::{ListenerPlan, RulePlan};
use evenkeel_wire::RequestHead;
use evenkeel_wire::forward::{self, Forwarding};
use evenkeel_wire::http1::HeadEnd;
use evenkeel_wire::http1::request::parse;

use crate::again::{Again, Granted, Never};
use crate::carrier::Carrier;
use crate::connection::{Conn, Next, limits_of};
use crate::decide::{self, decide};
use crate::failed::TryOutcome;
use crate::net::Net;
use crate::observation::Observation;
use crate::queue::Unpicked;
use crate::reason::Reason;
use crate::recorded::Recording;
use crate::sock::Sock;
use crate::tls::secured::Secured;
use crate::turn;
use crate::worker::{Desk, Seat, View};

/// What is under way.
mod begun;

/// What follows from the rule.
pub(crate) mod act;

/// Whether it may pass.
mod limited;

/// Which service of a split.
pub(crate) mod split;

/// How a request fills the places of a template.
mod fill;

/// What a rule makes of a request for its backend.
mod alter;

/// Where a redirect leads.
mod redirect;

/// What a service is asked.
mod asking;

/// Where a client is kept.
mod keep;

/// What was tried so far.
mod tries;

/// One try on one backend.
mod attempt;

/// Calls of gRPC.
mod call;

/// Answers that are made here.
mod reply;

use act::Met;
use attempt::{Attempted, Course, Failed};
use begun::Begun;
use call::Call;
use limited::passes;
use tries::Tries;

/// Serves the request that has begun to arrive. Every exchange ends here, whatever became of it; what is a tunnel by then is left
/// to its connection.
pub(crate) async fn serve<N: Net>(conn: &mut Conn<N>) {
    let mut begun = Begun::new(conn.worker.clone());
    let desk = begun.desk.insert(begun.worker.desk());
    desk.seen = Observation::begin(conn.peer);
    desk.seen.secured = conn.sock.secured().map(Secured::agreed);
    desk.backend.clear();
    desk.trail.clear();
    conn.next = one(conn, desk, &begun.view, begun.began, &begun.recording).await;
    if let Some(mut desk) = begun.desk.take() {
        let secured = conn.sock.secured();
        match &mut conn.tunnel {
            // It is observed when it ends.
            Some(tunnel) => {
                tunnel.note(begun.worker.note(&begun.view, &desk, secured));
                begun.keep(&mut desk, secured);
            }
            None => {
                // What the same client asks next, or who has its slot next, is not under way there.
                conn.deadline.clear();
                begun.observe(&mut desk, secured);
            }
        }
        begun.worker.give_desk(desk);
    }
}

async fn one<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    view: &View<N>,
    began: Instant,
    recording: &OnceCell<Rc<Recording>>,
) -> Next {
    desk.altered.clear();
    let door = conn.door.clone();
    let (at, listener) = door.plan(&view.live, view.version).unzip();
    desk.seen.listener = at;
    let limits = limits_of(listener);
    match read_head(conn, desk, &limits, listener, began).await {
        Ok(length) => {
            desk.seen.head_received = length;
            desk.seen.understood = true;
        }
        Err(HeadFault::Gone) => return Next::Close,
        Err(HeadFault::Refused(reason)) => {
            desk.seen.head_received = match conn.sock.is_stream() {
                true => desk.request.size().max(1),
                false => conn.input.data().len(),
            };
            return reply::refuse(conn, desk, reason).await;
        }
    }
    if let Some(wanted) = view.live.records.wanted() {
        (conn.worker).record(wanted, (view, desk), began, recording);
    }
    let secured = conn.sock.secured();
    if let Some(secured) = secured
        && let Some(terms) = at.and_then(|at| view.live.terms.get(at)?.as_ref())
        && !terms.is_for(secured, desk.request.host())
    {
        return reply::refuse(conn, desk, Reason::Misdirected).await;
    }
    let decision = decide(
        &view.live,
        at,
        &desk.request,
        conn.peer,
        secured.and_then(|secured| secured.client.as_deref()),
    );
    desk.seen.client = decision.client;
    let Some(rule) = decision.rule else {
        // Who looks for what is there is counted too.
        let rates = view.live.rates.as_deref();
        let passes = rates.is_none_or(|rates| passes(rates, conn, desk, decision.client));
        let reason = if passes {
            Reason::NoRule
        } else {
            Reason::RateLimited
        };
        return reply::refuse(conn, desk, reason).await;
    };
    desk.seen.rule = Some(rule.0);
    view.live.hits.hit(conn.worker.index, rule.0);
    let met = Met {
        listener,
        limits: &limits,
        rule: rule.1,
        class: rule.0,
        client: decision.client,
        trusted: decision.trusted,
        scheme: conn.scheme(),
        began,
        recording: recording.get(),
    };
    met.act(conn, desk, view).await
}

enum HeadFault {
    /// The client went away, or nothing more is to be said to it.
    Gone,
    Refused(Reason),
}

/// Reads until the head is whole, and says how long it was.
async fn read_head<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    limits: &ListenerLimits,
    listener: Option<&ListenerPlan>,
    began: Instant,
) -> Result<usize, HeadFault> {
    if let Carrier::Client(stream) = &conn.sock {
        let taken = stream.take_head(&mut desk.request);
        let refused = |malformed| HeadFault::Refused(Reason::Malformed(malformed));
        return taken.map(|()| desk.request.size()).map_err(refused);
    }
    let (bounds, form) = decide::reading(limits, listener);
    let mut end = HeadEnd::default();
    loop {
        match parse(
            conn.input.data(),
            &mut end,
            &bounds,
            form,
            &mut desk.request,
        ) {
            Ok(Some(length)) => {
                conn.input.consume(length);
                return Ok(length);
            }
            Ok(None) => {}
            Err(malformed) => return Err(HeadFault::Refused(Reason::Malformed(malformed))),
        }
        if !end.is_untouched(conn.input.data()) {
            desk.seen.head_received = conn.input.data().len();
        }
        conn.deadline.set(began + limits.head_within);
        let filled = poll_fn(|cx| {
            let filled = conn
                .input
                .poll_fill(cx, &mut conn.sock, &conn.worker.buffers, false);
            match filled {
                Poll::Ready(filled) => Poll::Ready(Some(filled)),
                Poll::Pending => conn.deadline.poll_passed(cx).map(|()| None),
            }
        })
        .await;
        match filled {
            Some(Ok(length)) if length > 0 => {}
            // The end of a connection that owes nothing, or half a head that nobody can answer for.
            Some(_) => {
                return Err(HeadFault::Gone);
            }
            None if end.is_untouched(conn.input.data()) => return Err(HeadFault::Gone),
            None => return Err(HeadFault::Refused(Reason::HeadTimeout)),
        }
    }
}

/// No other attempt follows one that failed.
async fn give_up<N: Net>(conn: &mut Conn<N>, desk: &mut Desk, reason: Reason) -> Next {
    desk.forget(&conn.worker.buffers);
    reply::refuse(conn, desk, reason).await
}

/// A service refused, no backend has seen the request, and nothing is answered yet.
struct Unserved(Reason);

/// A request that a rule forwards.
struct Exchange<'a, N: Net> {
    listener: Option<&'a ListenerPlan>,
    limits: &'a ListenerLimits,
    rule: &'a RulePlan,
    class: usize,
    seat: Rc<Seat<N>>,
    client: IpAddr,
    trusted: bool,
    began: Instant,
    call: Option<Call>,
    /// What is written down of it. None: nothing is.
    recording: Option<&'a Rc<Recording>>,
}

impl<N: Net> Exchange<'_, N> {
    /// Tries backends until one answers, or no more may be tried.
    async fn forward(&self, conn: &mut Conn<N>, desk: &mut Desk) -> Result<Next, Unserved> {
        let most = decide::body_most(self.rule, self.limits);
        if let Some(reason) = decide::refused(&desk.request, most) {
            return Ok(reply::refuse(conn, desk, reason).await);
        }
        // Streams do not need it: their connection writes.
        if !conn.sock.is_stream() {
            conn.input.release(&conn.worker.buffers);
            turn::give_way().await;
        }
        let course = self.course(conn, desk, most);
        let mut tries = Tries::default();
        let tried = &tries.asked.tried;
        let mut pick = match self.pick_or_wait(conn, desk, tried, &course).await {
            Ok(pick) => pick,
            Err(unpicked) => return unserved(conn, desk, unpicked, &course).await,
        };
        loop {
            tries.made += 1;
            desk.seen.attempts += 1;
            if let Some(failed) = tries.failed {
                desk.seen.failover = Some(conn.worker.now().since(failed));
            }
            tries.asked.tried.insert(pick.backend());
            self.tell_next(conn, desk);
            pick = match attempt::make(self, conn, desk, pick, &course, &mut tries).await {
                Attempted::Again(pick) => {
                    let status = desk.response.status();
                    self.went(conn, desk, TryOutcome::Answered(status));
                    tries.seen = true;
                    pick
                }
                Attempted::Ended(ended) => return Ok(ended.noted(&mut desk.seen)),
                Attempted::Failed(failed) => {
                    self.went(conn, desk, TryOutcome::Failed(failed.reason));
                    tries.seen |= failed.progress > Progress::Unsent;
                    // On the heap, as all that few need.
                    let again = self.again(conn, &desk.request, &failed, &mut tries, &course);
                    match Box::pin(again).await {
                        Ok(pick) => pick,
                        // Nobody waits for an answer any more.
                        Err(Never::Gone) => {
                            desk.forget(&conn.worker.buffers);
                            desk.seen.reason = Reason::ClientGone;
                            return Ok(Next::Cut);
                        }
                        // A service that is full before a backend saw anything has refused.
                        Err(Never::Refused)
                            if failed.reason == Reason::MaxConnections && !tries.seen =>
                        {
                            return Err(Unserved(failed.reason));
                        }
                        Err(Never::Refused) => {
                            let reason = match conn.worker.is_over() {
                                true => Reason::InstanceDrained,
                                false => failed.reason,
                            };
                            return Ok(give_up(conn, desk, reason).await);
                        }
                    }
                }
            };
        }
    }

    /// What all attempts have in common; the head of the request is written meanwhile.
    fn course(&self, conn: &Conn<N>, desk: &mut Desk, most: Option<u64>) -> Course<'_> {
        let kept = self.begin(conn, desk);
        let service = &self.seat.live;
        let within = self.rule.exchange.unwrap_or(service.plan.limits.exchange);
        Course {
            introduction: conn.introduction(&service.plan.upstream, desk.forwardable.request_id()),
            keep: self.keeps(conn, &desk.request),
            via: self.listener.and_then(|listener| listener.via.as_deref()),
            body: most,
            idle: self.rule.idle_body.unwrap_or(self.limits.idle_body),
            idle_answer: (self.rule.idle_body)
                .unwrap_or_else(|| self.limits.idle_body.min(service.plan.limits.idle_body)),
            tunnel: self.tunnel_rest(),
            half_close: self.listener.is_some_and(|listener| listener.half_close),
            until: self.began + within,
            within,
            call: self.call,
            key: self.key(&desk.request),
            kept,
        }
    }

    /// The longest rest of a tunnel.
    fn tunnel_rest(&self) -> Duration {
        let service = self.seat.live.plan.limits.tunnel;
        let rule = self.rule.beside.tunnel;
        rule.unwrap_or_else(|| self.limits.tunnel.min(service))
    }

    /// Whether the connection to the client lives on after this exchange, as far as its request and its limits say.
    fn keeps(&self, conn: &Conn<N>, request: &RequestHead) -> bool {
        let worn = self
            .limits
            .requests
            .is_some_and(|most| conn.requests + 1 >= most);
        request.keeps_connection() && !worn
    }

    fn write_head(&self, conn: &Conn<N>, desk: &mut Desk) {
        let forwarding = Forwarding {
            peer: conn.peer,
            trusted: self.trusted,
            client: self.client,
            scheme: conn.scheme(),
            port: conn.port(),
            via: self.listener.and_then(|listener| listener.via.as_deref()),
            identity: conn.identity(),
            real_ip: self.listener.is_some_and(|listener| listener.real_ip),
            chance: std::array::from_fn(|_| conn.worker.chance()),
            span: self.recording.and_then(|recording| recording.span()),
            altered: Some(&desk.altered).filter(|altered| altered.is_touched()),
        };
        forward::request(&desk.request, &forwarding, &mut desk.forwardable);
        desk.seen.forwarded = true;
    }

    /// Tells the backend of the next attempt which span it is, and how much time a call has left.
    fn tell_next(&self, conn: &Conn<N>, desk: &mut Desk) {
        if let Some(span) = self.recording.and_then(|one| one.span_of_next()) {
            desk.forwardable.set_span(span);
        }
        if let Some(call) = self.call {
            call.tell(conn.worker.now(), &mut desk.forwardable);
        }
    }

    /// The next attempt, if there may be one and there is a backend for it.
    async fn again(
        &self,
        conn: &mut Conn<N>,
        request: &RequestHead,
        failed: &Failed,
        tries: &mut Tries<N>,
        course: &Course<'_>,
    ) -> Result<Pick<Held>, Never> {
        let mut again = self
            .after(request, failed, tries, course)
            .ok_or(Never::Refused)?;
        let granted = again.granted(&conn.worker).ok_or(Never::Refused)?;
        self.next(conn, again, granted, tries, course).await
    }

    /// What is to be known for the next attempt. None: nothing was at fault that another could do better.
    fn after(
        &self,
        request: &RequestHead,
        failed: &Failed,
        tries: &Tries<N>,
        course: &Course<'_>,
    ) -> Option<Again<'_, N>> {
        let attempt = Attempt::new(failed.fault?)
            .idempotent(request.is_idempotent())
            .progress(failed.progress)
            .replayable(failed.whole)
            .reused(failed.reused)
            .made(tries.made)
            .excused(tries.asked.excused)
            .class(decide::class(self.class))
            .untried((tries.made as usize) < self.seat.live.state.members())
            .rest(failed.rest);
        Some(Again {
            seat: &self.seat,
            failed: attempt,
            until: course.by(course.until),
            half_close: course.half_close,
        })
    }

    /// What was granted, made: after its wait.
    async fn next(
        &self,
        conn: &mut Conn<N>,
        again: Again<'_, N>,
        granted: Granted,
        tries: &mut Tries<N>,
        course: &Course<'_>,
    ) -> Result<Pick<Held>, Never> {
        tries.failed.get_or_insert_with(|| conn.worker.now());
        let pick = |conn: &Conn<N>, tried: &Tried| self.pick(conn, tried, course);
        again.next(conn, granted, &mut tries.asked, pick).await
    }
}

/// What follows where nobody was picked.
async fn unserved<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    unpicked: Unpicked,
    course: &Course<'_>,
) -> Result<Next, Unserved> {
    match unpicked {
        Unpicked::Over => Ok(reply::refuse(conn, desk, Reason::InstanceDrained).await),
        // Nobody waits for an answer any more.
        Unpicked::Gone => {
            desk.seen.reason = Reason::ClientGone;
            Ok(Next::Cut)
        }
        // A call's own time was shorter than what it was to wait.
        Unpicked::Refused(Refusal::QueueTimeout) if course.is_over(conn.worker.now()) => {
            Ok(reply::refuse(conn, desk, Reason::CallTimeout).await)
        }
        Unpicked::Refused(refusal) => Err(Unserved(Reason::Refused(refusal))),
    }
}
