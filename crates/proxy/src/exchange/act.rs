//! Owns what follows from the rule that a request meets: which action, on which service, and what when that one refuses.
//!
//! What is decided without a connection stands apart: who explains a request asks it too.

use std::net::IpAddr;
use std::rc::Rc;

use evenkeel_balance::time::Instant;
use evenkeel_config::limits::ListenerLimits;
use evenkeel_config::plan::{Action, FallbackPlan, ListenerPlan, RedirectPlan, RulePlan};
use evenkeel_wire::altered::{Altered, Location};
use evenkeel_wire::{Malformed, RequestHead, forward};

use super::call::{Call, given};
use super::fill::Source;
use super::limited::passes;
use super::{Exchange, Unserved, alter, redirect, reply, split};
use crate::carrier::Carrier;
use crate::connection::{Conn, Next};
use crate::decide;
use crate::net::Net;
use crate::reason::Reason;
use crate::recorded::Recording;
use crate::worker::{Desk, View};

/// A request and the rule that it meets.
pub(crate) struct Met<'a> {
    pub(crate) listener: Option<&'a ListenerPlan>,
    pub(crate) limits: &'a ListenerLimits,
    pub(crate) rule: &'a RulePlan,
    /// The rule's place in the plan.
    pub(crate) class: usize,
    pub(crate) client: IpAddr,
    /// Whether the peer's forwarding fields are believed.
    pub(crate) trusted: bool,
    /// What the client speaks here: `http` or `https`.
    pub(crate) scheme: &'static str,
    pub(crate) began: Instant,
    /// What is written down of it. None: nothing is.
    pub(crate) recording: Option<&'a Rc<Recording>>,
}

impl Met<'_> {
    fn scheme(&self, request: &RequestHead) -> &'static str {
        forward::scheme(request, self.trusted, self.scheme)
    }

    fn source<'r>(&self, request: &'r RequestHead) -> Source<'r> {
        Source {
            request,
            scheme: self.scheme(request),
            client: self.client,
        }
    }

    /// Where a redirect leads, or why it leads nowhere.
    pub(crate) fn location(
        &self,
        to: &RedirectPlan,
        request: &RequestHead,
    ) -> Result<Location, Reason> {
        if request.host().is_empty() && to.host.is_none() {
            // HTTP/1.0 without a host: nobody can be sent to nowhere.
            return Err(Reason::Malformed(Malformed::HostMissing));
        }
        redirect::location(to, self.rule, &self.source(request))
    }

    /// What a rule makes of whatever answer follows.
    pub(crate) fn alter_answers(
        &self,
        request: &RequestHead,
        altered: &mut Altered,
    ) -> Result<(), Reason> {
        match &self.rule.beside.rewrite {
            Some(rewrite) if !rewrite.response.is_empty() => {
                let source = self.source(request);
                alter::edit(&rewrite.response, &source, &mut altered.response())
                    .map_err(|_| Reason::RewriteFailed)
            }
            _ => Ok(()),
        }
    }

    /// What a rule makes of the request for a backend.
    pub(crate) fn alter_request(
        &self,
        request: &RequestHead,
        altered: &mut Altered,
    ) -> Result<(), Reason> {
        let Some(rewrite) = &self.rule.beside.rewrite else {
            return Ok(());
        };
        let (bounds, form) = decide::reading(self.limits, self.listener);
        alter::request(
            rewrite,
            &self.source(request),
            (form, bounds.target),
            altered,
        )
        .map_err(|_| Reason::RewriteFailed)
    }

    /// What is done when this service, by its place in the plan, refuses. Who refused is not asked again.
    pub(crate) fn instead(&self, service: usize) -> Option<&FallbackPlan> {
        let fallback = self.rule.beside.fallback.as_deref();
        fallback.filter(|fallback| **fallback != FallbackPlan::Forward(service))
    }

    pub(super) async fn act<N: Net>(
        &self,
        conn: &mut Conn<N>,
        desk: &mut Desk,
        view: &View<N>,
    ) -> Next {
        if let Err(reason) = self.alter_answers(&desk.request, &mut desk.altered) {
            return reply::refuse(conn, desk, reason).await;
        }
        if let Some(rates) = &view.live.rates
            && !passes(rates, conn, desk, self.client)
        {
            return reply::refuse(conn, desk, Reason::RateLimited).await;
        }
        let service = match &self.rule.action {
            Action::Forward(service) => *service,
            Action::ForwardMap(map, services) => {
                let host = desk.request.host();
                match Action::mapped(map, services, host) {
                    Some(service) => service,
                    // The same map is among the rule's conditions.
                    None => return reply::refuse(conn, desk, Reason::NoRule).await,
                }
            }
            Action::Split(plan) => {
                let https = self.scheme(&desk.request) == "https";
                let kept = split::kept(plan, self, &view.live, &desk.request);
                let drawn = kept.unwrap_or_else(|| split::draw(plan, conn.worker.chance()));
                split::remember(plan, self, &view.live, (drawn, https), &mut desk.altered);
                drawn
            }
            Action::Respond(answer) => {
                return reply::respond(conn, desk, answer, Reason::Rule).await;
            }
            Action::Redirect(to) => return self.redirect(conn, desk, to, Reason::Rule).await,
            Action::Deny(status) => {
                return reply::refuse_as(conn, desk, Reason::Denied, *status).await;
            }
        };
        self.forward(conn, desk, view, service).await
    }

    async fn forward<N: Net>(
        &self,
        conn: &mut Conn<N>,
        desk: &mut Desk,
        view: &View<N>,
        service: usize,
    ) -> Next {
        let Some(seat) = view.seats.get(service).cloned() else {
            return reply::refuse(conn, desk, Reason::NoRule).await;
        };
        let mut exchange = Exchange {
            listener: self.listener,
            limits: self.limits,
            rule: self.rule,
            class: self.class,
            seat,
            client: self.client,
            trusted: self.trusted,
            began: self.began,
            call: None,
            recording: self.recording,
        };
        desk.seen.service = Some(service);
        if let Err(reason) = self.alter_request(&desk.request, &mut desk.altered) {
            return reply::refuse(conn, desk, reason).await;
        }
        exchange.call = Call::of(&desk.request, &mut desk.altered, self.began);
        if let Carrier::Client(stream) = &mut conn.sock {
            stream.give_until(given(exchange.call, self.began));
        }
        if let Some(call) = exchange.call
            && call.is_over(conn.worker.now())
        {
            return reply::refuse(conn, desk, Reason::CallTimeout).await;
        }
        let mut fallback = self.instead(service);
        loop {
            let reason = match exchange.forward(conn, desk).await {
                Ok(next) => return next,
                Err(Unserved(reason)) => reason,
            };
            if !matches!(fallback, Some(FallbackPlan::Forward(_))) {
                desk.forget(&conn.worker.buffers);
            }
            match fallback.take() {
                Some(FallbackPlan::Forward(other)) => {
                    let Some(seat) = view.seats.get(*other).cloned() else {
                        return reply::refuse(conn, desk, reason).await;
                    };
                    desk.altered.clear_cookie();
                    desk.seen.goes_elsewhere(service, reason, *other);
                    exchange.seat = seat;
                }
                None => return reply::refuse(conn, desk, reason).await,
                Some(FallbackPlan::Respond(answer)) => {
                    return reply::respond(conn, desk, answer, reason).await;
                }
                Some(FallbackPlan::Redirect(to)) => {
                    return self.redirect(conn, desk, to, reason).await;
                }
            }
        }
    }

    /// Sends the client elsewhere.
    async fn redirect<N: Net>(
        &self,
        conn: &mut Conn<N>,
        desk: &mut Desk,
        to: &RedirectPlan,
        reason: Reason,
    ) -> Next {
        match self.location(to, &desk.request) {
            Ok(location) => reply::redirect(conn, desk, to.status, &location, reason).await,
            Err(reason) => reply::refuse(conn, desk, reason).await,
        }
    }
}
