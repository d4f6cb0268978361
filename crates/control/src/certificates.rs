//! Owns certificates over time: that a plan's can be loaded before it is taken, that keys of tickets turn, how long each holds.

use std::time::Duration;

use evenkeel_config::{Plan, Problem};
use evenkeel_proxy::clock::since_1970;
use evenkeel_proxy::live::Live;
use evenkeel_proxy::tls::load;
use evenkeel_proxy::tls::terms::Terms;
use evenkeel_proxy::tls::upstream::Towards;

use crate::control::StartError;
use crate::snapshot::CertificateSnapshot;

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
    for service in &plan.services {
        if let Some(tls) = &service.upstream.tls {
            let towards = Towards::new(tls, None);
            towards.map_err(|why| StartError::Tls(service.name.clone(), why))?;
        }
    }
    Ok(())
}

/// Turns keys of tickets that are due.
pub(crate) fn turn(live: &Live) {
    let mut all = live.terms.iter().flatten().peekable();
    if all.peek().is_some() {
        let now = since_1970();
        all.for_each(|terms| terms.turn(now));
    }
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
