//! Owns what follows from an answer: who is remembered where from now on, and what its client is told of that.

use std::time::Duration;

use evenkeel_balance::affinity::Clients;
use evenkeel_balance::time::Instant;
use evenkeel_config::limits::AFFINITY_PATH;
use evenkeel_config::plan::AffinityBy;
use evenkeel_wire::ResponseHead;
use evenkeel_wire::altered::Altered;
use evenkeel_wire::known::Known;
use evenkeel_wire::set_cookie::{self, SetCookie};

use super::{Affinity, Shown, Stay};
use crate::live::ServiceState;

/// Who has answered.
#[derive(Clone, Copy)]
pub(crate) struct Served {
    /// The identity of the backend.
    pub(crate) backend: u64,
    /// The client's own was full: it is kept there all the same.
    pub(crate) spilled: bool,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows<'a> {
    /// It is nobody's whom the service could know again.
    Nothing,
    /// There is nothing to tell.
    Known,
    /// The client is told that it is kept where the answer comes from; with these attributes, where the application's cookie has some.
    Tell(Option<&'a [u8]>),
    /// The application takes its cookie back, with these attributes, and ours goes with it.
    TakeBack(&'a [u8]),
}

impl Affinity {
    /// What is known of the client now that this backend has answered it: where the table remembers it, it has moved there by this, and
    /// of all its requests that are answered there at once one alone has moved it.
    pub(crate) fn since(
        &self,
        state: &ServiceState,
        stay: Stay,
        served: Served,
        now: Instant,
    ) -> Stay {
        let there = Some(served.backend);
        let row = match stay.row {
            Some(row) if !stay.told && stay.home.is_some() && stay.home != there => row,
            _ => return stay,
        };
        let clients = self.clients(state);
        let moves = match served.spilled {
            true => clients.peek(row, now) != there,
            false => clients.moves(row, served.backend, now),
        };
        match moves {
            true => stay,
            false => Stay {
                home: there,
                ..stay
            },
        }
    }

    /// Remembers where a client is served from now on; a spilled one goes back, unless the application began anew with it.
    pub(crate) fn follows<'a>(
        &self,
        state: &ServiceState,
        stay: &Stay,
        served: Served,
        answer: Option<&'a ResponseHead>,
        (now, today): (Instant, Duration),
    ) -> Follows<'a> {
        let Served { backend, spilled } = served;
        match (&self.plan.by, answer) {
            (AffinityBy::Cookie(_), _) if spilled => Follows::Known,
            (AffinityBy::Cookie(_), _) => match stay.home == Some(backend) && !stay.renew {
                true => Follows::Known,
                false => Follows::Tell(None),
            },
            (AffinityBy::AppCookie { name, .. }, Some(answer)) => {
                let fields = answer.fields();
                let lines = fields.filter(|field| field.known == Known::SetCookie);
                let said =
                    lines.filter_map(|field| set_cookie::of(field.value, name.as_bytes(), today));
                match said.last() {
                    Some(said) => self.said(state, stay, served, said, now),
                    None => self.unsaid(state, stay, served, answer.status(), now),
                }
            }
            (AffinityBy::AppCookie { .. }, None) => Follows::Nothing,
            (AffinityBy::Source { .. }, _) => {
                if let Some(row) = stay.row.filter(|_| stay.home != Some(backend) && !spilled) {
                    self.clients(state).put(row, backend, now);
                }
                Follows::Known
            }
        }
    }

    /// The application sets its cookie, or takes it back.
    fn said<'a>(
        &self,
        state: &ServiceState,
        stay: &Stay,
        served: Served,
        said: SetCookie<'a>,
        now: Instant,
    ) -> Follows<'a> {
        let row = said.value.and_then(|value| self.hashed(value));
        let Some(row) = row else {
            if let Some(row) = stay.row {
                self.clients(state).clear(row);
            }
            return match (stay.shows, stay.home) {
                (true, _) => Follows::TakeBack(said.attributes),
                (false, Some(_)) => Follows::Known,
                (false, None) => Follows::Nothing,
            };
        };
        // The same once more, from elsewhere: what it stands for is where it was.
        if served.spilled && stay.row == Some(row) {
            return Follows::Known;
        }
        self.clients(state).put(row, served.backend, now);
        Follows::Tell(Some(said.attributes))
    }

    /// The application says nothing of its cookie. A value that nobody knows is learnt where it is answered well, as if it had been set
    /// there; strangers never push anybody out of the table, who makes values up least of all.
    fn unsaid<'a>(
        &self,
        state: &ServiceState,
        stay: &Stay,
        served: Served,
        status: u16,
        now: Instant,
    ) -> Follows<'a> {
        let Some(row) = stay.row else {
            return Follows::Nothing;
        };
        let (home, moved) = (stay.home, stay.home != Some(served.backend));
        match home {
            Some(_) if served.spilled => return Follows::Known,
            None if !matches!(status, 200..=299 | 304) => return Follows::Nothing,
            _ => {}
        }
        // What the table has said, it has seen.
        if moved || stay.told {
            self.clients(state).learn(row, served.backend, now);
        }
        match moved || stay.renew {
            true => Follows::Tell(None),
            false => Follows::Known,
        }
    }

    pub(super) fn clients<'s>(&self, state: &'s ServiceState) -> &'s Clients {
        state.clients(self.plan.clients, &self.own)
    }

    /// Has the answer tell its client that it is kept on this backend, and its connection know that cookie when it is shown.
    pub(crate) fn tell(
        &self,
        altered: &mut Altered,
        (backend, attributes): (u64, Option<&[u8]>),
        (today, chance, https): (Duration, u64, bool),
        shown: &Shown,
    ) {
        let Some(plan) = self.plan.by.own() else {
            return;
        };
        let issued = u32::try_from(today.as_secs()).unwrap_or(u32::MAX);
        let [.., a, b, c, d] = chance.to_le_bytes();
        let chance = u32::from_le_bytes([a, b, c, d]);
        let Some((text, says)) = self.sealer.seal(backend, issued, chance) else {
            return;
        };
        shown.note(self.number, text, says);
        let attributes = attributes.filter(|one| one.len() <= AFFINITY_PATH);
        let mut set =
            |attributes: &[u8]| altered.set_cookie(plan.name.as_bytes(), &text, attributes);
        // Those of the application may have bytes that we do not write.
        if attributes.is_some_and(|attributes| set(attributes).is_ok()) {
            return;
        }
        let age = match plan.ttl.as_secs() {
            0 => String::new(),
            seconds => format!("; Max-Age={seconds}"),
        };
        let secure = if https || plan.secure { "; Secure" } else { "" };
        let set = set(format!("{age}{}{secure}", plan.attributes).as_bytes());
        debug_assert!(set.is_ok(), "a checked plan names a cookie");
    }

    /// Has the answer take our cookie back as the application does its own.
    pub(crate) fn take_back(&self, altered: &mut Altered, attributes: &[u8]) {
        if let Some(plan) = self.plan.by.own() {
            let mut set = |attributes: &[u8]| {
                // Whatever end the application's has: of several the last counts.
                let gone = [attributes, b"; Max-Age=0"].concat();
                altered.set_cookie(plan.name.as_bytes(), b"", &gone)
            };
            if attributes.len() > AFFINITY_PATH || set(attributes).is_err() {
                let set = set(plan.attributes.as_bytes());
                debug_assert!(set.is_ok(), "a checked plan names a cookie");
            }
        }
    }
}
