//! Owns what would follow from the rule, by the functions that an exchange asks.

use evenkeel_balance::time::Instant;
use evenkeel_config::plan::{Action, RulePlan};
use evenkeel_wire::altered::Altered;

use super::{Done, Explained, Forwarded, Routed};
use crate::connection::limits_of;
use crate::decide;
use crate::exchange::act::Met;
use crate::exchange::split;
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

    fn done_by(&self, at: usize, rule: &'a RulePlan) -> Result<Done<'a>, Reason> {
        let listener = self.live.plan.listeners.get(self.listener);
        let limits = limits_of(listener);
        let met = Met {
            listener,
            limits: &limits,
            rule,
            class: at,
            client: self.client,
            trusted: self.trusted,
            began: Instant::ZERO,
        };
        let mut altered = Altered::default();
        met.alter_answers(&self.head, &mut altered)?;
        let services = match &rule.action {
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
            Action::Forward(service) => self.routed(at, [(*service, 1.0)]),
            Action::ForwardMap(map, services) => {
                let service = Action::mapped(map, services, self.head.host());
                self.routed(at, service.map(|service| (service, 1.0)))
            }
            Action::Split(plan) => match split::kept(plan, &met, self.live, &self.head) {
                Some(service) => self.routed(at, [(service, 1.0)]),
                None => {
                    let sum: f64 = plan.sides.iter().map(|side| f64::from(side.weight)).sum();
                    let sides = plan.sides.iter().filter(|side| side.weight > 0);
                    self.routed(
                        at,
                        sides.map(|side| (side.service, f64::from(side.weight) / sum)),
                    )
                }
            },
        };
        met.alter_request(&self.head, &mut altered)?;
        let most = decide::body_most(rule, &limits);
        if let Some(reason) = decide::refused(&self.head, most) {
            return Err(reason);
        }
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
        Ok(Done::Forward(Forwarded {
            path: path.to_vec(),
            query: query.map(<[u8]>::to_vec),
            host: altered.host().map(<[u8]>::to_vec),
            services,
            fallback: rule.beside.fallback.as_deref(),
        }))
    }

    fn routed(
        &self,
        rule: usize,
        services: impl IntoIterator<Item = (usize, f64)>,
    ) -> Vec<Routed<'a>> {
        let services = services.into_iter();
        let routed = services.filter_map(|(service, share)| {
            let service = self.live.services.get(service)?;
            let key = service.plan.key.as_ref();
            Some(Routed {
                service,
                share,
                key: key.map(|key| decide::key(key, &self.head, self.client)),
                class: decide::class(rule),
            })
        });
        routed.collect()
    }
}
