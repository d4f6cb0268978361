//! Owns what would follow from the rule, by the functions that an exchange asks.

use evenkeel_balance::ask::ClassId;
use evenkeel_balance::hedge::{HedgeAt, NoHedge};
use evenkeel_balance::time::Instant;
use evenkeel_config::limits::{ListenerLimits, REPLAY_BYTES};
use evenkeel_config::plan::{Action, FallbackPlan, RulePlan, SplitAffinity, SplitPlan};
use evenkeel_wire::Framing;
use evenkeel_wire::altered::Altered;

use super::{Affinity, Done, Edited, Explained, Forwarded, Hedge, Instead, Routed};
use crate::affinity::Stay;
use crate::clock::since_1970;
use crate::connection::limits_of;
use crate::decide;
use crate::exchange::act::Met;
use crate::exchange::split;
use crate::live::LiveService;
use crate::reason::Reason;

impl<'a> Explained<'a> {
    /// What is done with it.
    #[must_use]
    pub fn done(&self) -> Done<'a> {
        let done = match self.read {
            Err(reason) => Err(reason),
            Ok(met) => match met.and_then(|at| Some((at, self.live.plan.rules.get(at)?))) {
                None => Err(Reason::NoRule),
                Some((at, rule)) => self.done_by(at, rule),
            },
        };
        done.unwrap_or_else(|reason| Done::Refused {
            status: reason.status(),
            reason,
        })
    }

    /// The fields of whatever answer follows that the rule changes.
    #[must_use]
    pub fn answer_fields(&self) -> Edited {
        let mut altered = Altered::default();
        let met = self.rule().and_then(|at| self.live.plan.rules.get(at));
        let limits = limits_of(self.live.plan.listeners.get(self.listener));
        let done = met.map(|rule| {
            self.met(0, rule, &limits)
                .alter_answers(&self.head, &mut altered)
        });
        match done {
            Some(Ok(())) => edited(altered.response_gone(), altered.response_lines()),
            _ => Edited::default(),
        }
    }

    fn met<'m>(&'m self, at: usize, rule: &'m RulePlan, limits: &'m ListenerLimits) -> Met<'m> {
        let listener = self.live.plan.listeners.get(self.listener);
        Met {
            listener,
            limits,
            rule,
            class: at,
            client: self.client,
            trusted: self.trusted,
            scheme: match listener.is_some_and(|listener| listener.tls.is_some()) {
                true => "https",
                false => "http",
            },
            began: Instant::ZERO,
            recording: None,
        }
    }

    fn done_by(&self, at: usize, rule: &'a RulePlan) -> Result<Done<'a>, Reason> {
        let limits = limits_of(self.live.plan.listeners.get(self.listener));
        let met = self.met(at, rule, &limits);
        met.alter_answers(&self.head, &mut Altered::default())?;
        let (mut affinity, mut sides) = (None, Vec::new());
        match &rule.action {
            Action::Respond(answer) => return Ok(Done::Respond(answer)),
            Action::Redirect(to) => {
                return met.location(to, &self.head).map(|location| Done::Redirect {
                    status: to.status,
                    location: location.as_bytes().to_vec(),
                });
            }
            Action::Deny(status) => {
                return Ok(Done::Refused {
                    status: *status,
                    reason: Reason::Denied,
                });
            }
            Action::Forward(service) => sides.push((*service, 1.0)),
            Action::ForwardMap(map, services) => {
                let service = Action::mapped(map, services, self.head.host());
                sides.extend(service.map(|service| (service, 1.0)));
            }
            Action::Split(plan) => {
                let kept = split::kept(plan, &met, self.live, &self.head);
                affinity = plan.affinity.as_ref().map(|affinity| match affinity {
                    SplitAffinity::Source => Affinity::Source,
                    SplitAffinity::Cookie(name, _) => Affinity::Cookie {
                        name,
                        kept: kept.is_some(),
                    },
                });
                match kept {
                    Some(service) => sides.push((service, 1.0)),
                    None => sides.extend(shares(plan)),
                }
            }
        }
        self.forwarded(&met, rule, sides, affinity)
            .map(|forwarded| Done::Forward(Box::new(forwarded)))
    }

    /// What goes to one of these services, each with its share.
    fn forwarded(
        &self,
        met: &Met<'_>,
        rule: &'a RulePlan,
        sides: Vec<(usize, f64)>,
        affinity: Option<Affinity<'a>>,
    ) -> Result<Forwarded<'a>, Reason> {
        let mut altered = Altered::default();
        met.alter_request(&self.head, &mut altered)?;
        let most = decide::body_most(rule, met.limits);
        if let Some(reason) = decide::refused(&self.head, most) {
            return Err(reason);
        }
        let routed = sides
            .into_iter()
            .filter_map(|(service, share)| self.routed(met, service, share));
        let services: Vec<_> = routed.collect();
        if services.is_empty() {
            return Err(Reason::NoRule);
        }
        let (path, query) = match altered.target() {
            None => (self.head.path(), self.head.query()),
            Some(target) => match target.iter().position(|&byte| byte == b'?') {
                None => (target, None),
                Some(at) => (&target[..at], Some(&target[at + 1..])),
            },
        };
        let fallback = rule.beside.fallback.as_deref();
        Ok(Forwarded {
            path: path.to_vec(),
            query: query.map(<[u8]>::to_vec),
            host: altered.host().map(<[u8]>::to_vec),
            fields: edited(altered.request_gone(), altered.request_lines()),
            services,
            affinity,
            fallback: fallback.and_then(|fallback| self.instead(met, fallback)),
        })
    }

    fn instead(&self, met: &Met<'_>, fallback: &'a FallbackPlan) -> Option<Instead<'a>> {
        Some(match fallback {
            FallbackPlan::Forward(service) => Instead::Forward(Routed {
                falls_back: false,
                ..self.routed(met, *service, 1.0)?
            }),
            FallbackPlan::Respond(answer) => Instead::Respond(answer),
            FallbackPlan::Redirect(to) => match met.location(to, &self.head) {
                Ok(location) => Instead::Redirect {
                    status: to.status,
                    location: location.as_bytes().to_vec(),
                },
                Err(reason) => Instead::Refused(reason),
            },
        })
    }

    fn routed(&self, met: &Met<'_>, at: usize, share: f64) -> Option<Routed<'a>> {
        let service = self.live.services.get(at)?;
        let key = service.plan.key.as_ref();
        let stay = service.affinity.as_ref().map(|affinity| {
            let times = (Instant::ZERO, since_1970());
            affinity.of_request(&service.state, &self.head, self.client, times, None)
        });
        let kept = stay.as_ref().and_then(Stay::kept);
        Some(Routed {
            home: kept.and_then(|kept| kept.home),
            client: kept.map(|kept| kept.client),
            zone: decide::zone(service, self.client),
            hedge: self.hedge(
                service,
                decide::class(met.class),
                kept.is_some_and(|kept| kept.home.is_some()),
            ),
            service,
            share,
            key: key.map(|key| decide::key(key, &self.head, self.client)),
            class: decide::class(met.class),
            falls_back: met.instead(at).is_some(),
        })
    }
}

impl Explained<'_> {
    /// Whether a slow attempt of it has another beside it.
    fn hedge(&self, service: &LiveService, class: ClassId, kept: bool) -> Option<Hedge> {
        let settings = &service.plan.settings;
        let at = settings.hedge?.at;
        let repeatable = decide::is_repeatable(&self.head);
        let kept_body = match self.head.framing() {
            Framing::Exact(length) => length <= REPLAY_BYTES as u64,
            _ => true,
        };
        Some(match (service.state.service.hedge_after(class), at) {
            _ if !repeatable => Hedge::No(NoHedge::NotSafe),
            _ if !kept_body => Hedge::No(NoHedge::NotReplayable),
            _ if kept => Hedge::No(NoHedge::Kept),
            _ if settings.retry.attempts < 2 => Hedge::No(NoHedge::AttemptsExhausted),
            _ if service.state.members() < 2 => Hedge::No(NoHedge::NoOther),
            (Some(after), _) | (None, HedgeAt::After(after)) => Hedge::After(after),
            (None, HedgeAt::Quantile(quantile)) => Hedge::Unmeasured(quantile),
        })
    }
}

/// The part of all draws that each service of a split gets; those that get none are left out.
fn shares(plan: &SplitPlan) -> impl Iterator<Item = (usize, f64)> {
    let sum: f64 = plan.sides.iter().map(|side| f64::from(side.weight)).sum();
    let sides = plan.sides.iter().filter(|side| side.weight > 0);
    sides.map(move |side| (side.service, f64::from(side.weight) / sum))
}

/// What is changed by leaving these names out and putting these lines in.
fn edited<'b>(gone: impl Iterator<Item = &'b [u8]>, lines: &[u8]) -> Edited {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let gone: Vec<_> = gone.map(text).collect();
    let mut edited = Edited::default();
    for line in text(lines).split_terminator("\r\n") {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        let row = (name.to_owned(), value.to_owned());
        // Two of one name that come in the place of others: the second stands beside the first.
        let taken = edited.set.iter().any(|(set, _)| set == name);
        match gone.iter().any(|gone| gone == name) && !taken {
            true => edited.set.push(row),
            false => edited.add.push(row),
        }
    }
    let comes = |name: &String| edited.set.iter().any(|(set, _)| set == name);
    edited.remove = gone.into_iter().filter(|name| !comes(name)).collect();
    edited
}
