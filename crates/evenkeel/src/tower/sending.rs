//! Owns the future of one call: readiness where that is still missing, the inner call, and what its end says.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::verdict::{Outcome, Verdict};
use tower_service::Service;

use super::readying::{Common, Readiness};
use super::{Asking, CallError, Reading};
use crate::pick::Pick as Charge;
use crate::stats::Begun;

/// A call under way. Dropped, it gives its charge back and holds nothing against the backend.
///
/// # Panics
/// Polled after it has ended.
#[must_use = "a call does nothing unless it is polled"]
pub struct Sending<M, S: Service<Req>, R, K, Req> {
    common: Arc<Common<M, S>>,
    reading: R,
    asking: K,
    step: Step<S, Req>,
    counted: Option<Begun>,
}

enum Step<S: Service<Req>, Req> {
    Readying {
        readiness: Readiness<S>,
        request: Req,
    },
    Sent {
        response: Pin<Box<S::Future>>,
        pick: Charge,
        /// Kept where it is answered well.
        client: Option<Box<[u8]>>,
    },
    Over,
}

/// Nothing in it is polled in place: the inner future has a box of its own.
impl<M, S: Service<Req>, R, K, Req> Unpin for Sending<M, S, R, K, Req> {}

impl<M, S: Service<Req>, R, K, Req> fmt::Debug for Sending<M, S, R, K, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

impl<M, S, R, K, Req> Sending<M, S, R, K, Req>
where
    S: Service<Req>,
    R: Reading<S::Response, S::Error>,
    K: Asking<Req>,
{
    /// Sends at once where that is ready; else the first poll goes on with it.
    pub(super) fn new(
        common: Arc<Common<M, S>>,
        reading: R,
        asking: K,
        mut readiness: Readiness<S>,
        request: Req,
    ) -> Self {
        let service = &common.service;
        let counted = service.service.requests.begin(service.shared.clock);
        let step = match readiness.take_ready() {
            Some((pick, inner)) => sent(&asking, pick, inner, request),
            None => Step::Readying { readiness, request },
        };
        Self {
            common,
            reading,
            asking,
            step,
            counted: Some(counted),
        }
    }

    fn over<T, E>(&mut self, result: Result<T, E>) -> Poll<Result<T, E>> {
        if let Some(counted) = self.counted.take() {
            counted.end(result.is_ok());
        }
        Poll::Ready(result)
    }

    fn ended(
        &self,
        result: Result<S::Response, S::Error>,
        mut pick: Charge,
        client: Option<&[u8]>,
    ) -> Result<R::Tied, CallError<S::Error>> {
        match result {
            Ok(response) => {
                let verdict = self.reading.answered(&response);
                pick.answered(verdict);
                if let (Some(client), Verdict::Success | Verdict::Neutral) = (client, verdict) {
                    self.common.service.keep_at(client, &pick);
                }
                Ok(self.reading.tie(response, pick))
            }
            Err(error) => {
                let verdict = self.reading.failed(&error);
                pick.answered(verdict);
                match verdict {
                    Verdict::Failure(fault) => pick.failed(fault),
                    Verdict::Success | Verdict::Neutral => pick.finish(Outcome::Completed),
                }
                Err(CallError::Inner(error))
            }
        }
    }
}

/// The inner service is ready.
fn sent<S: Service<Req>, K: Asking<Req>, Req>(
    asking: &K,
    mut pick: Charge,
    mut inner: S,
    request: Req,
) -> Step<S, Req> {
    let client = asking.client(&request).map(Box::from);
    pick.begins();
    let response = Box::pin(inner.call(request));
    Step::Sent {
        response,
        pick,
        client,
    }
}

impl<M, S, R, K, Req> Future for Sending<M, S, R, K, Req>
where
    M: Fn(&BackendSpec) -> S,
    S: Service<Req> + Clone,
    R: Reading<S::Response, S::Error>,
    K: Asking<Req>,
{
    type Output = Result<R::Tied, CallError<S::Error>>;

    #[expect(
        clippy::panic,
        reason = "as with every future: pending would be for ever, and without a word"
    )]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.step, Step::Over) {
                Step::Readying {
                    mut readiness,
                    request,
                } => {
                    let (reading, asking) = (&this.reading, &this.asking);
                    let polled = readiness.poll(&this.common, reading, asking, Some(&request), cx);
                    if polled.is_pending() {
                        this.step = Step::Readying { readiness, request };
                        return Poll::Pending;
                    }
                    match readiness.take() {
                        Some(Ok((pick, inner))) => {
                            this.step = sent(&this.asking, pick, inner, request);
                        }
                        Some(Err(error)) => return this.over(Err(CallError::NoPick(error))),
                        None => this.step = Step::Readying { readiness, request },
                    }
                }
                Step::Sent {
                    mut response,
                    pick,
                    client,
                } => {
                    let Poll::Ready(result) = response.as_mut().poll(cx) else {
                        this.step = Step::Sent {
                            response,
                            pick,
                            client,
                        };
                        return Poll::Pending;
                    };
                    let result = this.ended(result, pick, client.as_deref());
                    return this.over(result);
                }
                Step::Over => panic!("a call was polled after its end"),
            }
        }
    }
}
