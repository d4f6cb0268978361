//! Owns the future of one call: readiness where that is still missing, the inner call, and what its end says.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use evenkeel_balance::verdict::{Outcome, Verdict};
use tower_service::Service;

use super::{CallError, Reading};
use crate::error::Error;
use crate::pick::Pick as Charge;
use crate::stats::Begun;

/// A call under way. Dropped, it gives its charge back and holds nothing against the backend.
#[must_use = "a call does nothing unless it is polled"]
pub struct Sending<S: Service<Req>, R, Req> {
    step: Step<S, Req>,
    reading: R,
    counted: Option<Begun>,
    request: PhantomData<fn(Req)>,
}

enum Step<S: Service<Req>, Req> {
    Refused(Error),
    Readying {
        inner: S,
        request: Req,
        pick: Charge,
    },
    Sent {
        response: Pin<Box<S::Future>>,
        pick: Charge,
    },
    Over,
}

/// Nothing in it is polled in place: the inner future has a box of its own.
impl<S: Service<Req>, R, Req> Unpin for Sending<S, R, Req> {}

impl<S: Service<Req>, R, Req> fmt::Debug for Sending<S, R, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

impl<S: Service<Req>, R, Req> Sending<S, R, Req> {
    fn new(step: Step<S, Req>, reading: R, counted: Begun) -> Self {
        Self {
            step,
            reading,
            counted: Some(counted),
            request: PhantomData,
        }
    }

    pub(super) fn refused(error: Error, reading: R, counted: Begun) -> Self {
        Self::new(Step::Refused(error), reading, counted)
    }

    pub(super) fn ready_first(
        inner: S,
        request: Req,
        pick: Charge,
        reading: R,
        counted: Begun,
    ) -> Self {
        let step = Step::Readying {
            inner,
            request,
            pick,
        };
        Self::new(step, reading, counted)
    }

    /// The inner service is ready.
    pub(super) fn send(
        mut inner: S,
        request: Req,
        mut pick: Charge,
        reading: R,
        counted: Begun,
    ) -> Self {
        pick.begins();
        let response = Box::pin(inner.call(request));
        Self::new(Step::Sent { response, pick }, reading, counted)
    }

    fn over<T, E>(&mut self, result: Result<T, E>) -> Poll<Result<T, E>> {
        if let Some(counted) = self.counted.take() {
            counted.end(result.is_ok());
        }
        Poll::Ready(result)
    }
}

impl<S, R, Req> Future for Sending<S, R, Req>
where
    S: Service<Req>,
    R: Reading<S::Response, S::Error>,
{
    type Output = Result<R::Tied, CallError<S::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match std::mem::replace(&mut self.step, Step::Over) {
                Step::Refused(error) => return self.over(Err(CallError::NoPick(error))),
                Step::Readying {
                    mut inner,
                    request,
                    mut pick,
                } => match inner.poll_ready(cx) {
                    Poll::Pending => {
                        self.step = Step::Readying {
                            inner,
                            request,
                            pick,
                        };
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(())) => {
                        pick.begins();
                        let response = Box::pin(inner.call(request));
                        self.step = Step::Sent { response, pick };
                    }
                    Poll::Ready(Err(error)) => {
                        pick.failed(self.reading.unready(&error));
                        return self.over(Err(CallError::Inner(error)));
                    }
                },
                Step::Sent { mut response, pick } => {
                    let Poll::Ready(result) = response.as_mut().poll(cx) else {
                        self.step = Step::Sent { response, pick };
                        return Poll::Pending;
                    };
                    let result = ended(&self.reading, result, pick);
                    return self.over(result);
                }
                // It has said what it had to say.
                Step::Over => return Poll::Pending,
            }
        }
    }
}

fn ended<T, E, R: Reading<T, E>>(
    reading: &R,
    result: Result<T, E>,
    mut pick: Charge,
) -> Result<R::Tied, CallError<E>> {
    match result {
        Ok(response) => {
            pick.answered(reading.answered(&response));
            Ok(reading.tie(response, pick))
        }
        Err(error) => {
            let verdict = reading.failed(&error);
            pick.answered(verdict);
            match verdict {
                Verdict::Failure(fault) => pick.failed(fault),
                Verdict::Success | Verdict::Neutral => pick.finish(Outcome::Completed),
            }
            Err(CallError::Inner(error))
        }
    }
}
