//! Owns certificates over time, and lists of revoked ones: that a plan's can be loaded before it is taken, that keys of tickets turn,
//! how long each holds, and that its end is told in time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::{Plan, Problem};
use evenkeel_proxy::clock::since_1970;
use evenkeel_proxy::live::Live;
use evenkeel_proxy::tls::load;
use evenkeel_proxy::tls::terms::Terms;
use evenkeel_proxy::tls::upstream::Towards;

use crate::control::StartError;
use crate::events::{Chronicle, What};
use crate::snapshot::CertificateSnapshot;
use crate::told;

/// All that is wrong today with the certificates and keys of a plan, at the places that name them.
#[must_use]
pub fn problems(plan: &Plan) -> Vec<Problem> {
    load::problems(plan, since_1970())
}

/// Whether all TLS of a plan can be loaded.
pub(crate) fn load(plan: &Plan) -> Result<(), StartError> {
    for listener in &plan.listeners {
        if let Some(tls) = &listener.tls {
            let terms = Terms::new(tls, None, since_1970());
            terms.map_err(|why| StartError::Tls(listener.name.clone(), why))?;
        }
    }
    if let Some(tls) = &plan.admin.tls {
        let terms = Terms::new(tls, None, since_1970());
        terms.map_err(|why| StartError::Tls("admin".into(), why))?;
    }
    for service in &plan.services {
        if let Some(tls) = &service.upstream.tls {
            let towards = Towards::new(tls, None);
            towards.map_err(|why| StartError::Tls(service.name.clone(), why))?;
        }
    }
    Ok(())
}

const DAY: i64 = 24 * 60 * 60;

/// So long before its end a certificate is told of, in seconds. With ACME the first is when a renewal is late already.
const TOLD_AT: [i64; 5] = [30 * DAY, 14 * DAY, 7 * DAY, DAY, 0];

/// How often certificates are looked at; days do not pass faster.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The same for lists, which are replaced within hours.
const LIST_TOLD_AT: [i64; 1] = [0];

/// Something that ends: its listener, its file, its end since 1970 in seconds. What is renewed ends otherwise.
type Which = (Kind, Arc<str>, Box<str>, i64);

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A certificate.
    Certificate,
    /// A list of revoked ones.
    List,
}

/// What was told of the ends of certificates.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// How many of [`TOLD_AT`] each had passed, of those that are in the plan.
    passed: HashMap<Which, usize>,
    /// When to look again.
    next: Duration,
}

/// A certificate, or a list, that comes nearer to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) kind: Kind,
    pub(crate) listener: Arc<str>,
    pub(crate) file: Box<str>,
    /// Until its end; none are left when it has come.
    pub(crate) seconds_left: i64,
}

impl Ends {
    /// Those that have come nearer by a step since the last look; of several steps at once, one is told. `now` is since 1970.
    fn look(&mut self, all: impl Iterator<Item = Which>, now: Duration) -> Vec<End> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let (mut passed, mut told) = (HashMap::new(), Vec::new());
        for which in all {
            let seconds_left = which.3.saturating_sub(now);
            let told_at = match which.0 {
                Kind::Certificate => &TOLD_AT[..],
                Kind::List => &LIST_TOLD_AT,
            };
            let steps = told_at.iter().filter(|&&at| seconds_left <= at).count();
            // A clock that is put back tells nothing twice.
            let before = self.passed.get(&which).copied().unwrap_or(0);
            if steps > before {
                told.push(End {
                    kind: which.0,
                    listener: which.1.clone(),
                    file: which.2.clone(),
                    seconds_left,
                });
            }
            passed.insert(which, steps.max(before));
        }
        self.passed = passed;
        told
    }
}

/// Turns keys of tickets that are due, and tells of certificates that come nearer to their end.
pub(crate) fn turn(live: &Live, ends: &mut Ends, chronicle: &Chronicle) {
    let mut all = live.terms.iter().flatten().peekable();
    if all.peek().is_some() {
        let now = since_1970();
        all.for_each(|terms| terms.turn(now));
        if now >= ends.next {
            ends.next = now + LOOK_EVERY;
            for end in ends.look(shown(live), now) {
                told::end(&end);
                chronicle.write(What::of_end(&end));
            }
        }
    }
}

/// All certificates and lists of all listeners.
fn shown(live: &Live) -> impl Iterator<Item = Which> {
    let listeners = live.plan.listeners.iter().zip(&live.terms);
    listeners.flat_map(|(listener, terms)| {
        terms.iter().flat_map(|terms| {
            let which = |kind, file: &str, end| (kind, listener.name.clone(), file.into(), end);
            let all = terms.certificates.iter();
            let all = all.map(move |(file, one)| which(Kind::Certificate, file, one.not_after));
            let lists = terms.lists.iter();
            all.chain(lists.map(move |(file, end)| which(Kind::List, file, *end)))
        })
    })
}

/// The certificates of a listener, with the time that each has left at `now`, since 1970.
pub(crate) fn of(live: &Live, listener: usize, now: Duration) -> Vec<CertificateSnapshot> {
    let terms = live.terms.get(listener).and_then(Option::as_ref);
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let all = terms.iter().flat_map(|terms| &terms.certificates);
    all.map(|(file, certificate)| CertificateSnapshot {
        file: file.to_string(),
        seconds_left: certificate.not_after.saturating_sub(now),
    })
    .collect()
}

/// The lists of a listener, with the time that the first of them has left at `now`, since 1970.
pub(crate) fn lists_of(live: &Live, listener: usize, now: Duration) -> Option<CertificateSnapshot> {
    let terms = live.terms.get(listener)?.as_ref()?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (file, end) = terms.lists.as_ref()?;
    Some(CertificateSnapshot {
        file: file.to_string(),
        seconds_left: end.saturating_sub(now),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: i64 = 1_800_000_000;

    fn which(file: &str, end: i64) -> Which {
        (Kind::Certificate, "secure".into(), file.into(), end)
    }

    /// What is told with so many seconds left of a certificate, in this order.
    #[track_caller]
    fn check(ends: &mut Ends, kind: Kind, file: &str, rows: &[(i64, bool)]) {
        for &(left, told) in rows {
            let now = Duration::from_secs(u64::try_from(END - left).unwrap());
            let (_, listener, name, end) = which(file, END);
            let all = ends.look([(kind, listener, name, end)].into_iter(), now);
            let expect = told.then(|| End {
                kind,
                listener: "secure".into(),
                file: file.into(),
                seconds_left: left,
            });
            assert_eq!(all, expect.into_iter().collect::<Vec<_>>(), "{left} left");
        }
    }

    #[test]
    fn each_step_to_the_end_is_told_once() {
        let rows = [
            (31 * DAY, false),
            (30 * DAY + 1, false),
            (30 * DAY, true),
            (30 * DAY - 60, false),
            (14 * DAY, true),
            (14 * DAY + 9, false),
            (14 * DAY - 9, false),
            (7 * DAY, true),
            (2 * DAY, false),
            (DAY, true),
            (1, false),
            (0, true),
            (-9 * DAY, false),
        ];
        check(&mut Ends::default(), Kind::Certificate, "a.pem", &rows);
        // A list is told of when it is late.
        let rows = [(7 * DAY, false), (1, false), (0, true), (-60, false)];
        check(&mut Ends::default(), Kind::List, "a.crl", &rows);
    }

    #[test]
    fn who_comes_late_is_told_the_last_step_alone() {
        check(
            &mut Ends::default(),
            Kind::Certificate,
            "a.pem",
            &[(3 * DAY, true), (2 * DAY, false), (-1, true), (-2, false)],
        );
    }

    #[test]
    fn what_is_renewed_begins_anew_and_what_leaves_is_forgotten() {
        let mut ends = Ends::default();
        let now = Duration::from_secs(u64::try_from(END - DAY).unwrap());
        let told = |ends: &mut Ends, all: &[Which]| ends.look(all.iter().cloned(), now).len();
        let (old, new) = (which("a.pem", END), which("a.pem", END + 90 * DAY));
        assert_eq!(told(&mut ends, &[old.clone(), which("b.pem", END)]), 2);
        assert_eq!(told(&mut ends, &[new, which("b.pem", END)]), 0);
        assert_eq!(ends.passed.len(), 2);
        assert_eq!(told(&mut ends, &[old]), 1);
    }
}
