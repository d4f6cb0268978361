//! Owns the answer to "what would be done with this request, and why": the functions that an exchange asks, stopped before
//! anything is done.
//!
//! Bytes are read by the same parser, the rule is found by the same index, the backend chosen by the core's own explanation.
//! What is dear (the rules that were passed over, the candidates of a service) is made when it is asked for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::ask::{Ask, ClassId};
use evenkeel_balance::explain::Explanation;
use evenkeel_balance::hedge::{NoHedge, Quantile};
use evenkeel_balance::rate::Room;
use evenkeel_balance::time::Instant;
use evenkeel_balance::zone::ZoneId;
use evenkeel_config::plan::tls::ClientAuth;
use evenkeel_config::plan::{RatePlan, RespondPlan};
use evenkeel_wire::RequestHead;
use evenkeel_wire::http1::HeadEnd;
use evenkeel_wire::http1::request::parse;

use crate::connection::limits_of;
use crate::decide::{self, decide};
use crate::live::{Live, LiveService};
use crate::rates::{self, Owner, Who};
use crate::reason::Reason;
use crate::rules::conditions::unmet;
use crate::rules::{Asked, shown};
use crate::tls::secured::Identity;

/// A request as people write it, as bytes.
pub mod written;

/// What follows from the rule.
mod done;

/// What would be done with a request.
pub struct Explained<'a> {
    live: &'a Live,
    listener: usize,
    head: RequestHead,
    peer: IpAddr,
    client: IpAddr,
    certificate: Option<&'a Identity>,
    trusted: bool,
    read: Result<Option<usize>, Reason>,
}

/// What would be done.
pub enum Done<'a> {
    /// It is answered here, for this reason.
    Refused {
        /// The answer's status: the reason's own, or another that a rule names.
        status: u16,
        /// Why.
        reason: Reason,
    },
    /// A rule's own answer.
    Respond(&'a RespondPlan),
    /// It is sent elsewhere.
    Redirect {
        /// The answer's status.
        status: u16,
        /// Where it leads, as it would be sent.
        location: Vec<u8>,
    },
    /// It goes to a backend.
    Forward(Box<Forwarded<'a>>),
}

/// What goes to a backend, and to which.
pub struct Forwarded<'a> {
    /// The path that the backend gets.
    pub path: Vec<u8>,
    /// The query that it gets, without the question mark.
    pub query: Option<Vec<u8>>,
    /// The host that it gets in the place of the request's.
    pub host: Option<Vec<u8>>,
    /// The fields of the request that a rule changes.
    pub fields: Edited,
    /// The services that it may go to; their shares are 1 together.
    pub services: Vec<Routed<'a>>,
    /// What keeps a client on one of several.
    pub affinity: Option<Affinity<'a>>,
    /// What is done when the service refuses; see [`Forwarded::instead`].
    pub fallback: Option<Instead<'a>>,
}

impl<'a> Forwarded<'a> {
    /// What is done when one of its services refuses. None: the refusal is answered.
    #[must_use]
    pub fn instead(&self, of: &Routed<'a>) -> Option<&Instead<'a>> {
        self.fallback.as_ref().filter(|_| of.falls_back)
    }
}

/// What keeps a client on its service of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity<'a> {
    /// A cookie of this name, which the answer sets.
    Cookie {
        /// Its name.
        name: &'a str,
        /// The request has it, and it says where to go; else the service is drawn.
        kept: bool,
    },
    /// The client's address.
    Source,
}

/// What is done in the place of a refusal.
pub enum Instead<'a> {
    /// It goes to a backend of this service, whose own refusal is answered.
    Forward(Routed<'a>),
    /// An answer of the rule.
    Respond(&'a RespondPlan),
    /// It is sent elsewhere.
    Redirect {
        /// The answer's status.
        status: u16,
        /// Where it leads, as it would be sent.
        location: Vec<u8>,
    },
    /// Elsewhere is nowhere, for this reason.
    Refused(Reason),
}

/// Fields that a rule changes; names as the rule has them, values as they would be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// In the place of whatever has the name.
    pub set: Vec<(String, String)>,
    /// Beside whatever has it.
    pub add: Vec<(String, String)>,
    /// Left out.
    pub remove: Vec<String>,
}

impl Edited {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A service that a request may go to.
pub struct Routed<'a> {
    /// Which.
    pub service: &'a Arc<LiveService>,
    /// The part of such requests that it gets, above 0, at most 1.
    pub share: f64,
    /// What its hash policy sticks to; none: it has another policy.
    pub key: Option<u64>,
    /// The identity of the backend that its client is kept on, as the request says it; none: it is kept nowhere.
    pub home: Option<u64>,
    /// What that client is known by, which says where it goes when its backend is lost.
    pub client: Option<u64>,
    /// The zone that its client is near; none: it is in no region, or the service does not ask.
    pub zone: Option<ZoneId>,
    /// Whether a slow attempt has another beside it; none: the service has no hedges.
    pub hedge: Option<Hedge>,
    class: ClassId,
    falls_back: bool,
}

/// A rate limit that a request meets.
pub struct Limited<'a> {
    /// As it was checked.
    pub plan: &'a RatePlan,
    /// Where it stands.
    pub owner: &'a Owner,
    /// What is left for the like of it.
    pub room: Room,
}

impl Limited<'_> {
    /// Whether it lets the request pass.
    #[must_use]
    pub const fn passes(&self) -> bool {
        self.room.left > 0 || self.plan.shadow
    }
}

/// Whether an attempt that is slow has another beside it, where the service can bear it and there is another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// After so long.
    After(Duration),
    /// Once enough answers of its rule were measured, after what this share of them does not exceed.
    Unmeasured(Quantile),
    /// Not for this request.
    No(NoHedge),
}

/// A rule that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Its place in the plan.
    pub rule: usize,
    /// How far it came before a condition did not hold: more is further.
    pub reached: u8,
}

/// Why a rule does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The first condition that does not hold: its key in a configuration.
    pub condition: String,
    /// What the rule asks there, as a configuration has it; one would be enough.
    pub wants: Vec<String>,
    /// What the request has.
    pub has: String,
}

impl<'a> Explained<'a> {
    /// What would be done with this head, all of it, of a peer at a listener, by its place in the plan. `certificate` is what the
    /// client would show; a listener that asks for none does not see it.
    ///
    /// Cost: that of a request, without its body.
    #[must_use]
    pub fn of(
        live: &'a Live,
        listener: usize,
        peer: IpAddr,
        certificate: Option<&'a Identity>,
        bytes: &[u8],
    ) -> Self {
        let plan = live.plan.listeners.get(listener);
        let limits = limits_of(plan);
        let (bounds, form) = decide::reading(&limits, plan);
        let asks = plan.and_then(|plan| plan.tls.as_ref());
        let asks = asks.is_some_and(|tls| tls.client_auth != ClientAuth::Off);
        let certificate = certificate.filter(|_| asks);
        let peer = peer.to_canonical();
        let mut head = RequestHead::new();
        let parsed = parse(bytes, &mut HeadEnd::default(), &bounds, form, &mut head);
        let mut explained = Self {
            live,
            listener,
            head,
            peer,
            client: peer,
            certificate,
            trusted: false,
            read: Ok(None),
        };
        match parsed {
            Ok(Some(_)) => {
                let decision = decide(live, Some(listener), &explained.head, peer, certificate);
                explained.client = decision.client;
                explained.trusted = decision.trusted;
                explained.read = Ok(decision.rule.map(|(rule, _)| rule));
            }
            // More would be waited for.
            Ok(None) => explained.read = Err(Reason::HeadTimeout),
            Err(malformed) => {
                explained.read = Err(Reason::Malformed(malformed));
                explained.head = RequestHead::new();
            }
        }
        explained
    }

    /// The listener's place in the plan.
    #[must_use]
    pub fn listener(&self) -> usize {
        self.listener
    }

    /// Who asks: the peer, or whom trusted peers say that it is.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The certificate that the client shows, if the listener asks for one.
    #[must_use]
    pub fn certificate(&self) -> Option<&Identity> {
        self.certificate
    }

    /// The head as rules see it. None: it is malformed.
    #[must_use]
    pub fn head(&self) -> Option<&RequestHead> {
        self.read.is_ok().then_some(&self.head)
    }

    /// The rule that it meets, by its place in the plan.
    #[must_use]
    pub fn rule(&self) -> Option<usize> {
        self.read.ok().flatten()
    }

    /// The rules before that one, or all if there is none; in their order.
    ///
    /// Cost: each condition of each of these rules.
    #[must_use]
    pub fn passed(&self) -> Vec<Passed> {
        if self.read.is_err() {
            return Vec::new();
        }
        let asked = self.asked();
        let rules = &self.live.plan.rules;
        let before = rules.iter().take(self.rule().unwrap_or(rules.len()));
        let passed = before.enumerate().filter_map(|(at, rule)| {
            let reached = shown::reached(unmet(rule, &asked)?);
            Some(Passed { rule: at, reached })
        });
        passed.collect()
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            certificate: self.certificate,
            ..decide::asked(Some(self.listener), &self.head, self.peer, self.client)
        }
    }

    /// The rate limits that it meets, and what is left of each: nothing is taken.
    #[must_use]
    pub fn limited(&self, now: Instant) -> Vec<Limited<'a>> {
        let rates = self.live.rates.as_deref();
        let (Some(rates), Ok(rule)) = (rates, self.read) else {
            return Vec::new();
        };
        let who = Who {
            request: Some(&self.head),
            client: self.client,
        };
        let rates = rates.of(Some(self.listener), rule);
        let rooms = rates::look(rates, who, now);
        let limited = rates.iter().zip(rooms).map(|(rate, room)| Limited {
            plan: &rate.plan,
            owner: &rate.owner,
            room,
        });
        limited.collect()
    }

    /// Why a rule does not hold. None: it does, or there is no head or no such rule.
    #[must_use]
    pub fn unmet(&self, rule: usize) -> Option<Unmet> {
        let rule = self.live.plan.rules.get(rule)?;
        self.head()?;
        let asked = self.asked();
        let condition = unmet(rule, &asked)?;
        Some(Unmet {
            condition: shown::word(condition),
            wants: shown::wants(rule, &asked, condition, &self.live.plan),
            has: shown::has(rule, &asked, condition, &self.live.plan),
        })
    }
}

impl Routed<'_> {
    /// Every backend, and whom a first attempt would pick with this chance at this time. Cost: each member of the service.
    #[must_use]
    pub fn explanation(&self, chance: u64, now: Instant) -> Explanation {
        let mut ask = Ask::new(chance).class(self.class);
        (ask.key, ask.kept) = (self.key, self.home);
        (ask.client, ask.zone) = (self.client, self.zone);
        self.service.state.service.explain(&ask, now)
    }
}
