//! Owns what is written down of who asks: changes and refusals each, decisions for other programs some. Lines of the log that the instance
//! has; never a query, a field or a body, in which a secret may stand.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::header::ETAG;
use axum::response::Response;
use evenkeel_config::plan::admin::{Area, Verb};
use tracing::{info, warn};

use crate::access::table::Need;
use crate::access::token::veiled;
use crate::contract::problem::Reason;

/// Characters of a path that are written down.
const PATH_MOST: usize = 256;

/// What somebody asked for.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its name. None: it is not known.
    pub(crate) who: Option<String>,
    /// By what it is known.
    pub(crate) by: &'static str,
    /// Its address, or the user at the other end of a Unix socket.
    pub(crate) from: String,
    pub(crate) method: String,
    path: String,
}

impl Line {
    /// Of a path as it was sent.
    pub(crate) fn new(from: String, method: String, path: &str) -> Self {
        let cut: String = path.chars().take(PATH_MOST).collect();
        Self {
            who: None,
            by: "nothing",
            from,
            method,
            path: veiled(&cut),
        }
    }

    /// Writes down what became of it.
    pub(crate) fn write(&self, response: &Response) {
        let Self {
            who,
            by,
            from,
            method,
            path,
        } = self;
        let (who, from) = (who.as_deref().unwrap_or("-"), &**from);
        let (method, path) = (&**method, &**path);
        let status = response.status().as_u16();
        let reason = response.extensions().get::<Reason>();
        let result = reason.map_or("done", |reason| reason.word());
        let revision = response.headers().get(ETAG);
        let revision = revision.and_then(|tag| tag.to_str().ok());
        match response.status().is_success() {
            true => info!(
                who,
                by, from, method, path, status, result, revision, "audit"
            ),
            false => warn!(
                who,
                by, from, method, path, status, result, revision, "audit"
            ),
        }
    }
}

/// Which of the decisions are written down: so many of a million, evenly, whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Sampler(AtomicU32);

const MILLION: u32 = 1_000_000;

impl Sampler {
    /// Whether the next one is.
    pub(crate) fn takes(&self, of_a_million: u32) -> bool {
        let add = |sum: u32| Some((sum + of_a_million.min(MILLION)) % MILLION);
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        let before = before.unwrap_or_default();
        before + of_a_million.min(MILLION) >= MILLION
    }
}

/// Whether all that is asked for so is written down, whatever becomes of it, or some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    All,
    Some,
    /// But for what the gate refuses.
    Nothing,
}

/// What is written down of a page.
pub(crate) fn written(need: Need) -> Written {
    let Need::All(scopes) = need else {
        return Written::Nothing;
    };
    let writes = scopes.iter().filter(|(_, verb)| *verb == Verb::Write);
    writes.fold(Written::Nothing, |written, (area, _)| match area {
        Area::Decisions if written != Written::All => Written::Some,
        _ => Written::All,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_written_down_and_decisions_sometimes() {
        use Area::{Backends, Configuration, Decisions};
        for (scopes, expect) in [
            (&[(Backends, Verb::Read)][..], Written::Nothing),
            (&[(Decisions, Verb::Read)], Written::Nothing),
            (&[(Decisions, Verb::Write)], Written::Some),
            (&[(Backends, Verb::Write)], Written::All),
            (
                &[(Decisions, Verb::Write), (Configuration, Verb::Write)],
                Written::All,
            ),
        ] {
            // A row of the table lives as long as the program.
            let scopes: &'static [_] = scopes.to_vec().leak();
            assert_eq!(written(Need::All(scopes)), expect);
        }
        assert_eq!(written(Need::Open), Written::Nothing);
    }

    #[test]
    fn decisions_are_taken_evenly() {
        for (share, expect) in [
            (0, 0),
            (1, 0),
            (10_000, 10),
            (500_000, 500),
            (1_000_000, 1_000),
            (u32::MAX, 1_000),
        ] {
            let sampler = Sampler::default();
            let taken = (0..1_000).filter(|_| sampler.takes(share)).count();
            assert_eq!(taken, expect, "{share}");
        }
        let sampler = Sampler::default();
        let at: Vec<_> = (1..=400).filter(|_| sampler.takes(10_000)).collect();
        assert_eq!(at, [100, 200, 300, 400]);
    }

    #[test]
    fn a_path_is_cut_and_holds_no_token() {
        let path = format!("/v1/keel_{}/{}", "ab".repeat(32), "x".repeat(500));
        let line = Line::new("10.0.0.1:5".into(), "GET".into(), &path);
        assert!(line.path.starts_with("/v1/keel_(not shown)/x") && line.path.len() < 256);
    }
}
