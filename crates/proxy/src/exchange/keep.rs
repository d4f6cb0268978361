//! Owns where a client is kept: what its request says of that, and what it is told with the answer.
//!
//! A client moves where another backend than its own has answered it: once, and it is told so in the same answer. An attempt that
//! failed moves nobody, nor does a backend that was full.

use std::rc::Rc;

use evenkeel_balance::affinity::identity;
use evenkeel_balance::pick::Pick;
use evenkeel_balance::service::Seat as Held;
use evenkeel_wire::forward;
use evenkeel_wire::known::Known;

use super::attempt::Course;
use super::{Exchange, Tries};
use crate::affinity::{Affinity, Follows, Kept, Names, Served, Stay};
use crate::connection::Conn;
use crate::net::Net;
use crate::observation::Stayed;
use crate::worker::Desk;

impl<N: Net> Exchange<'_, N> {
    /// Writes the head that backends get, which a course is made of: to be asked before the rest of it. Where the client is kept, if the
    /// service keeps its clients.
    pub(super) fn begin(&self, conn: &Conn<N>, desk: &mut Desk) -> Option<Kept> {
        desk.stay = None;
        if let Some(affinity) = &self.seat.live.affinity {
            desk.stay = Some(self.stay(affinity, conn, desk));
        }
        if let Some(names) = &self.seat.live.cookies
            && desk.request.first(Known::Cookie).is_some()
        {
            leave_out(names, desk);
        }
        self.write_head(conn, desk);
        desk.stay.as_ref().and_then(Stay::kept)
    }

    /// What is known of the client.
    #[cold]
    fn stay(&self, affinity: &Affinity, conn: &Conn<N>, desk: &Desk) -> Stay {
        let worker = &conn.worker;
        let (state, request) = (&self.seat.live.state, &desk.request);
        let times = (worker.now(), worker.net.since_1970());
        let shown = Some(&**conn.shown.get_or_init(Rc::default));
        let stay = affinity.of_request(state, request, self.client, times, shown);
        if let Some(ignored) = stay.ignored {
            self.seat.ignored(worker.index, ignored);
        }
        stay
    }

    /// This backend has answered: the client is kept there from now on, and told so if it has to be.
    #[inline]
    pub(super) fn keep(
        &self,
        conn: &Conn<N>,
        desk: &mut Desk,
        pick: &Pick<Held>,
        course: &Course<'_>,
        tries: &Tries<N>,
    ) {
        if desk.stay.is_some()
            && let Some(affinity) = &self.seat.live.affinity
        {
            self.keep_by(affinity, conn, desk, pick, (course, tries));
        }
    }

    #[cold]
    fn keep_by(
        &self,
        affinity: &Affinity,
        conn: &Conn<N>,
        desk: &mut Desk,
        pick: &Pick<Held>,
        (course, tries): (&Course<'_>, &Tries<N>),
    ) {
        let Some(stay) = desk.stay else {
            return;
        };
        let (worker, state) = (&conn.worker, &self.seat.live.state);
        let times = (worker.now(), worker.net.since_1970());
        let served = Served {
            backend: identity(pick.backend().id()),
            spilled: pick.is_spilled(),
        };
        let stay = affinity.since(state, stay, served, times.0);
        let lost = |home| {
            let ask = self.ask(worker, &tries.asked.tried, course);
            self.seat.handle.lost(home, &ask, times.0)
        };
        let stayed = Stayed::of(stay.home, served, lost);
        let Desk {
            seen,
            request,
            response,
            altered,
            ..
        } = desk;
        let follows = affinity.follows(state, &stay, served, Some(&*response), times);
        if follows == Follows::Nothing {
            return;
        }
        seen.stayed = Some(stayed);
        match follows {
            Follows::Tell(attributes) => {
                if stayed == Stayed::Spilled {
                    // The application began anew with it.
                    seen.stayed = Some(Stayed::New);
                }
                let https = forward::scheme(request, self.trusted, conn.scheme()) == "https";
                let how = (times.1, worker.chance(), https);
                let shown = conn.shown.get_or_init(Rc::default);
                affinity.tell(altered, (served.backend, attributes), how, shown);
            }
            Follows::TakeBack(attributes) => affinity.take_back(altered, attributes),
            Follows::Known | Follows::Nothing => {}
        }
    }
}

/// A backend has no use for cookies of ours, whichever service they are of.
#[cold]
fn leave_out(names: &Names, desk: &mut Desk) {
    let request = &desk.request;
    desk.altered
        .leave_out_cookies(request, |name| names.has(name));
}
