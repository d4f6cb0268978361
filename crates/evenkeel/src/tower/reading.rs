//! Owns what a response of an inner service says of its backend, and how the pick follows it.

use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use http::Response;
use http::header::RETRY_AFTER;
use http_body::Body;

use crate::exchange::retry_after;
use crate::follow::Followed;
use crate::pick::Pick;

/// How the responses and errors of inner services are read. Implement it for protocols of your own.
pub trait Reading<T, E> {
    /// What the caller gets: the response, and the pick tied to it where it goes on.
    type Tied;

    /// What the head of a response says.
    fn answered(&self, response: &T) -> Verdict;

    /// What an error says: by default that the connection broke.
    fn failed(&self, _error: &E) -> Verdict {
        Verdict::Failure(Fault::Reset)
    }

    /// What an inner service that fails to become ready says: by default that no connection came about.
    fn unready(&self, _error: &E) -> Fault {
        Fault::Connect
    }

    /// Ties the pick, which was told what [`answered`](Self::answered) says, to the response, or finishes it.
    fn tie(&self, response: T, pick: Pick) -> Self::Tied;
}

/// Responses are whole when they come, and good.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whole;

impl<T, E> Reading<T, E> for Whole {
    type Tied = T;

    fn answered(&self, _response: &T) -> Verdict {
        Verdict::Success
    }

    fn tie(&self, response: T, pick: Pick) -> T {
        pick.finish(Outcome::Completed);
        response
    }
}

/// HTTP, as the proxy reads it: 5xx is a failure, but 501 and 505, which like 4xx say nothing of the backend; 503 says that it
/// has too much to do, and [`Retry-After`](crate::retry_after) for how long. The charge is held until the body ends, breaks or is dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

impl<B: Body + Unpin, E> Reading<Response<B>, E> for Http {
    type Tied = Response<Followed<B>>;

    fn answered(&self, response: &Response<B>) -> Verdict {
        match response.status().as_u16() {
            501 | 505 | 400..=499 => Verdict::Neutral,
            503 => {
                let said = response.headers().get(RETRY_AFTER);
                Verdict::Failure(Fault::Overloaded {
                    retry_after: said.and_then(retry_after),
                })
            }
            status @ 500..=599 => Verdict::Failure(Fault::Status(status)),
            _ => Verdict::Success,
        }
    }

    fn tie(&self, response: Response<B>, pick: Pick) -> Response<Followed<B>> {
        response.map(|body| {
            let ended = body.is_end_stream();
            let mut followed = pick.follow(body);
            if ended {
                followed.completed();
            }
            followed
        })
    }
}
