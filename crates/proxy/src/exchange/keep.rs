//! Owns where a client is kept: what its request says of that, and what it is told with the answer.
//!
//! A client moves where another backend than its own has answered it: once, and it is told so in the same answer. An attempt that
//! failed moves nobody, nor does a backend that was full.

use evenkeel_balance::affinity::identity;
use evenkeel_balance::pick::Pick;
use evenkeel_balance::service::Seat as Held;
use evenkeel_config::plan::AffinityBy;
use evenkeel_wire::forward;

use super::attempt::Course;
use super::{Exchange, Tries};
use crate::affinity::{Affinity, Stay};
use crate::connection::Conn;
use crate::net::Net;
use crate::observation::Stayed;
use crate::worker::Desk;

impl<N: Net> Exchange<'_, N> {
    /// Writes the head that backends get, which a course is made of: to be asked before the rest of it. What is known of the client, where
    /// the service keeps its clients.
    pub(super) fn begin(&self, conn: &Conn<N>, desk: &mut Desk) -> Option<Box<Stay>> {
        let stay = self.stay(conn, desk);
        self.write_head(conn, desk);
        stay
    }

    /// What is known of the client, where the service keeps its clients. Our own cookie goes no further: a backend has no use for it.
    #[inline]
    fn stay(&self, conn: &Conn<N>, desk: &mut Desk) -> Option<Box<Stay>> {
        let affinity = self.seat.live.affinity.as_ref()?;
        Some(self.stay_by(affinity, conn, desk))
    }

    #[cold]
    fn stay_by(&self, affinity: &Affinity, conn: &Conn<N>, desk: &mut Desk) -> Box<Stay> {
        let worker = &conn.worker;
        let (state, request) = (&self.seat.live.state, &desk.request);
        let times = (worker.now(), worker.net.since_1970());
        let stay = affinity.of_request(state, request, self.client, times, false);
        if let Some(ignored) = stay.ignored {
            self.seat.ignored(worker.index, ignored);
        }
        if let AffinityBy::Cookie(plan) = &affinity.plan.by {
            desk.altered.leave_out_cookie(request, plan.name.as_bytes());
        }
        // On the heap, as all that few need.
        Box::new(stay)
    }

    /// This backend has answered: the client is kept there from now on, and told so if it has to be.
    #[inline]
    pub(super) fn keep(
        &self,
        conn: &Conn<N>,
        desk: &mut Desk,
        pick: &Pick<Held>,
        course: &Course<'_>,
        tries: &Tries,
    ) {
        if let (Some(stay), Some(affinity)) = (&course.stay, &self.seat.live.affinity) {
            self.keep_by((affinity, stay), conn, desk, pick, (course, tries));
        }
    }

    #[cold]
    fn keep_by(
        &self,
        (affinity, stay): (&Affinity, &Stay),
        conn: &Conn<N>,
        desk: &mut Desk,
        pick: &Pick<Held>,
        (course, tries): (&Course<'_>, &Tries),
    ) {
        let (worker, state) = (&conn.worker, &self.seat.live.state);
        let (now, backend) = (worker.now(), identity(pick.backend().id()));
        let stayed = match stay.home {
            None => Stayed::New,
            Some(home) if home == backend => Stayed::Kept,
            Some(home) => {
                let ask = self.ask(conn, &tries.asked.tried, course);
                Stayed::elsewhere(self.seat.handle.lost(home, &ask, now))
            }
        };
        let spilled = stayed == Stayed::Spilled;
        let answer = Some(&desk.response);
        if !affinity.remember(state, stay, (backend, spilled), answer, now) {
            return;
        }
        desk.seen.stayed = Some(stayed);
        if spilled {
            return;
        }
        let https = forward::scheme(&desk.request, self.trusted, conn.scheme()) == "https";
        let told = affinity.to_tell(stay, backend, worker.net.since_1970(), https);
        if let Some((name, value, attributes)) = told {
            let altered = &mut desk.altered;
            let set = altered.set_cookie(name.as_bytes(), value.as_bytes(), attributes.as_bytes());
            debug_assert!(set.is_ok(), "a checked plan names a cookie");
            // What a shared cache kept would keep others where this client is.
            let private = altered.response().add(b"cache-control", b"private");
            debug_assert!(private.is_ok(), "it is a field that may be said");
        }
    }
}
