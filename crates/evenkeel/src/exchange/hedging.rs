//! Owns a second attempt beside one that is slow: both run within the one future, and the first good result is the exchange's.
//!
//! Whether there is one, and after how long, is the core's (`evenkeel_balance::hedge`); it is asked for what may be done twice alone.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::ask::Tried;
use evenkeel_balance::hedge::Slow;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};

use super::{Exchange, Failed, Made, Target, shorter, within};
use crate::pick::Pick;
use crate::service::ServiceHandle;

/// What an attempt came to. None: its time is over.
type Result<T, E> = Option<std::result::Result<T, E>>;

impl Made {
    /// One more attempt is made, with this pick.
    fn target(&mut self, pick: &Pick, tried: &mut Tried) -> Target {
        self.attempts += 1;
        tried.insert(pick.backend());
        Target {
            id: pick.id().clone(),
            attempt: self.attempts,
        }
    }
}

/// Which of both has ended.
enum Ended<T, E> {
    First(Result<T, E>),
    Second(Result<T, E>),
}

impl ServiceHandle {
    /// Makes one attempt, and where it is slow another beside it. Says whose result counts, and what it is: the first that is no failure,
    /// or the last; the other pick has ended.
    pub(super) async fn attempt<T, E, F>(
        &self,
        terms: &Exchange<'_>,
        mut pick: Pick,
        until: Option<Instant>,
        (tried, made): (&mut Tried, &mut Made),
        attempt: &mut impl FnMut(Target) -> F,
    ) -> (Pick, Result<T, E>)
    where
        E: Failed,
        F: Future<Output = std::result::Result<T, E>>,
    {
        let target = made.target(&pick, tried);
        pick.begins();
        let first = within(self.limit(terms, until), attempt(target));
        match self.slow_after(terms, *made) {
            None => (pick, first.await),
            // On the heap: most services have no hedges.
            Some(after) => {
                let times = (after, until);
                Box::pin(self.race(terms, (pick, first), times, (tried, made), attempt)).await
            }
        }
    }

    /// How long an attempt has before another may be begun beside it. None: there is none, or none is left.
    fn slow_after(&self, terms: &Exchange<'_>, made: Made) -> Option<Duration> {
        if !terms.idempotent || made.hedged {
            return None;
        }
        self.service.core.hedge_after(terms.ask.class_id())
    }

    /// How long one attempt may take.
    fn limit(&self, terms: &Exchange<'_>, until: Option<Instant>) -> Option<Duration> {
        let left = until.map(|until| until.since(self.shared.clock.now()));
        shorter(terms.per_try, left)
    }

    async fn race<T, E, F>(
        &self,
        terms: &Exchange<'_>,
        (pick, first): (Pick, impl Future<Output = Result<T, E>>),
        (after, until): (Duration, Option<Instant>),
        (tried, made): (&mut Tried, &mut Made),
        attempt: &mut impl FnMut(Target) -> F,
    ) -> (Pick, Result<T, E>)
    where
        E: Failed,
        F: Future<Output = std::result::Result<T, E>>,
    {
        let mut first = pin!(first);
        if let Ok(result) = tokio::time::timeout(after, &mut first).await {
            return (pick, result);
        }
        let Some(other) = self.second(terms, tried, *made, until) else {
            return (pick, first.await);
        };
        made.hedged = true;
        let target = made.target(&other, tried);
        let mut second = pin!(within(self.limit(terms, until), attempt(target)));
        match both(first.as_mut(), second.as_mut()).await {
            Ended::First(result) => match failed(&result) {
                None => {
                    other.finish(Outcome::Outrun);
                    (pick, result)
                }
                Some(fault) => {
                    pick.failed(fault);
                    (other, second.await)
                }
            },
            Ended::Second(result) => match failed(&result) {
                None => {
                    pick.finish(Outcome::Outrun);
                    (other, result)
                }
                Some(fault) => {
                    other.failed(fault);
                    (pick, first.await)
                }
            },
        }
    }

    fn second(
        &self,
        terms: &Exchange<'_>,
        tried: &Tried,
        made: Made,
        until: Option<Instant>,
    ) -> Option<Pick> {
        let slow = Slow {
            idempotent: terms.idempotent,
            // What is sent is the closure's to make again.
            replayable: true,
            made: made.attempts,
            excused: made.excused,
            deadline_left: until.map(|until| until.since(self.shared.clock.now())),
            keeps: terms.client.is_some() && self.keeps_clients(),
        };
        let ask = terms.ask.tried(tried);
        self.service.hedge(&self.shared, &slow, &ask)
    }
}

/// The first of both to end; of two at once, the one that was begun first.
async fn both<T, E>(
    mut first: Pin<&mut impl Future<Output = Result<T, E>>>,
    mut second: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Ended<T, E> {
    poll_fn(|cx| {
        if let Poll::Ready(result) = first.as_mut().poll(cx) {
            return Poll::Ready(Ended::First(result));
        }
        second.as_mut().poll(cx).map(Ended::Second)
    })
    .await
}

/// What is held against its backend. None: the result is a good one, or nobody's fault, and is the exchange's.
fn failed<T, E: Failed>(result: &Result<T, E>) -> Option<Fault> {
    match result {
        None => Some(Fault::Timeout),
        Some(Ok(_)) => None,
        Some(Err(error)) => match error.verdict() {
            Verdict::Failure(fault) => Some(fault),
            Verdict::Success | Verdict::Neutral => None,
        },
    }
}
