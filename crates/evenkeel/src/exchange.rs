//! Owns the way of one exchange over its attempts: pick, attempt, learn, and again where the service's settings allow it.
//!
//! Sends nothing itself: what an attempt does is the caller's. Whether there is another attempt, and after which wait, is
//! the core's [`retry`](evenkeel_balance::retry). Read next: `exchange/failure.rs`, what an error says.

use std::future::Future;
use std::time::Duration;

use evenkeel_balance::ask::Tried;
use evenkeel_balance::backend::BackendId;
use evenkeel_balance::retry::{Attempt, Decision, Progress, UNREACHED_WITHIN};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};

use crate::ask::Ask;
use crate::balancer::LoadBalancer;
use crate::error::Error;
use crate::follow::Followed;
use crate::pick::Pick;
use crate::service::ServiceHandle;

/// Why an exchange brought nothing.
mod error;

/// What an error says.
mod failure;

/// A retry on its way.
mod granted;

/// A second attempt beside one that is slow.
mod hedging;

pub use error::{Cause, ExchangeError, Stopped};
pub use failure::{Failed, Failure, retry_after};

use error::no_pick;
use granted::Granted;

/// What one exchange asks for, over all its attempts. The default: any backend, not idempotent, no limit of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange<'a> {
    ask: Ask<'a>,
    client: Option<&'a [u8]>,
    idempotent: bool,
    deadline: Option<Duration>,
    per_try: Option<Duration>,
    wait: Option<Duration>,
}

impl<'a> Exchange<'a> {
    /// Any backend, not idempotent, no limit of time.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a backend so. What it names as tried is never picked while another is left; the exchange adds its own.
    #[must_use]
    pub fn ask(self, ask: Ask<'a>) -> Self {
        Self { ask, ..self }
    }

    /// For this client: on the backend that it is kept on, wherever that may be picked, and it is kept where it succeeds. Heeded
    /// where [`keep_clients`](ServiceHandle::keep_clients) was asked for.
    #[must_use]
    pub fn client(self, client: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            client: Some(client.as_ref()),
            ..self
        }
    }

    /// Doing it twice is the same as once, so it may be made again after it was sent (RFC 9110 section 9.2.2). Without
    /// this only attempts of which no byte was written are.
    #[must_use]
    pub fn idempotent(self) -> Self {
        Self {
            idempotent: true,
            ..self
        }
    }

    /// It ends after so long, waits and retries included: an attempt that runs then is dropped and counts as
    /// [`Fault::Timeout`]. A retry that would not fit is not made.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self {
            deadline: Some(deadline),
            ..self
        }
    }

    /// One attempt that has no result after so long is dropped and counts as [`Fault::Timeout`]; another may follow.
    #[must_use]
    pub fn per_try(self, per_try: Duration) -> Self {
        Self {
            per_try: Some(per_try),
            ..self
        }
    }

    /// Waits so long for room where the service is full and its settings have a `queue`.
    #[must_use]
    pub fn wait(self, wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..self
        }
    }
}

/// Attempts of an exchange so far.
#[derive(Clone, Copy, Default)]
struct Made {
    attempts: u32,
    /// Those of them that reached nobody, and do not count.
    excused: u32,
    /// All backends were tried, and a new round has begun.
    again: bool,
    /// One of them was begun beside another.
    hedged: bool,
}

impl Exchange<'_> {
    fn failed(
        &self,
        fault: Fault,
        progress: Progress,
        rest: Option<Duration>,
        made: Made,
    ) -> Attempt {
        Attempt::new(fault)
            .idempotent(self.idempotent)
            .progress(progress)
            .made(made.attempts)
            .excused(made.excused)
            .class(self.ask.class_id())
            .untried(!made.again)
            .rest(rest)
    }
}

/// Where one attempt goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The backend, by default its address. The text of [`Address::of`](crate::Address::of) for others stands in
    /// [`ServiceHandle::backend`].
    pub id: BackendId,
    /// Which attempt of the exchange it is: 1 is the first.
    pub attempt: u32,
}

impl ServiceHandle {
    /// Runs one exchange: picks a backend and calls `attempt` with it, again on another where the service's
    /// [`retry`](evenkeel_balance::settings::ServiceSettings::retry) settings and budget allow it. Backends that were
    /// tried come last. The wait before a retry doubles from `backoff_base` up to `backoff_max`, with full jitter; the
    /// first retry on an untried backend does not wait.
    ///
    /// Where the settings have a [`hedge`](evenkeel_balance::settings::ServiceSettings::hedge) and the exchange is
    /// [idempotent](Exchange::idempotent), an attempt that is slow gets another beside it, on another backend: the closure
    /// is called while the first future runs, the first good result is returned, and the other future is dropped.
    ///
    /// `Ok` ends the charge: for results that are whole. Where a body follows, [`exchange_followed`](Self::exchange_followed).
    /// What `Err` says of the backend is the error's word ([`Failed`]). A future that is dropped, or an attempt that
    /// panics, gives charge and retry back and holds nothing against anybody. Needs a tokio runtime with timers where it
    /// waits: for a retry, a limit of time, or room.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use evenkeel::{Exchange, Fault, LoadBalancer, ServiceSettings};
    ///
    /// let balancer = LoadBalancer::new();
    /// balancer.register("api", ServiceSettings::default(), ["a:80", "b:80"])?;
    /// let service = balancer.service("api").expect("it was registered");
    /// let answer = service
    ///     .exchange(&Exchange::new(), async |to| match to.attempt {
    ///         1 => Err(Fault::Connect),
    ///         _ => Ok(format!("from {}", to.id)),
    ///     })
    ///     .await?;
    /// assert!(answer.starts_with("from "));
    /// assert_eq!(service.stats().requests.succeeded, 1);
    /// assert_eq!(service.stats().attempts.picked, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ExchangeError`]: nobody to pick, the last attempt's own error, or no result in time.
    pub async fn exchange<T, E, F>(
        &self,
        terms: &Exchange<'_>,
        attempt: impl FnMut(Target) -> F,
    ) -> Result<T, ExchangeError<E>>
    where
        E: Failed,
        F: Future<Output = Result<T, E>>,
    {
        let answered = self.exchange_followed(terms, attempt).await?;
        Ok(answered.finish(Outcome::Completed))
    }

    /// The same for results that go on: `Ok` is the response head, and the charge is held until the [`Followed`] is read
    /// to its end, finished or dropped. A body that breaks counts against its backend; the exchange has succeeded.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use evenkeel::{Exchange, Fault, LoadBalancer, ServiceSettings};
    /// use tokio::io::AsyncReadExt;
    ///
    /// let balancer = LoadBalancer::new();
    /// balancer.register("api", ServiceSettings::default(), ["a:80"])?;
    /// let api = balancer.service("api").expect("it was registered");
    /// let head = async |_| Ok::<_, Fault>(&b"what follows the head"[..]);
    /// let mut body = api.exchange_followed(&Exchange::new(), head).await?;
    /// let mut text = String::new();
    /// body.read_to_string(&mut text).await?;
    /// assert_eq!(api.stats().attempts.succeeded, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    pub async fn exchange_followed<T, E, F>(
        &self,
        terms: &Exchange<'_>,
        attempt: impl FnMut(Target) -> F,
    ) -> Result<Followed<T>, ExchangeError<E>>
    where
        E: Failed,
        F: Future<Output = Result<T, E>>,
    {
        let counted = self.service.requests.begin(self.shared.clock);
        let ask = terms
            .client
            .map_or(terms.ask, |client| self.at_home(client, terms.ask));
        let result = self.attempts(&Exchange { ask, ..*terms }, attempt).await;
        counted.end(result.is_ok());
        if let (Ok(answered), Some(client)) = (&result, terms.client)
            && let Some(pick) = answered.pick()
        {
            self.keep_at(client, pick);
        }
        result
    }

    async fn attempts<T, E, F>(
        &self,
        terms: &Exchange<'_>,
        mut attempt: impl FnMut(Target) -> F,
    ) -> Result<Followed<T>, ExchangeError<E>>
    where
        E: Failed,
        F: Future<Output = Result<T, E>>,
    {
        let clock = self.shared.clock;
        let until = terms.deadline.map(|deadline| clock.now() + deadline);
        let mut tried = terms.ask.already_tried();
        let mut made = Made::default();
        let mut pick = self.pick_for(terms, &tried, until).await.map_err(no_pick)?;
        loop {
            let result;
            let so_far = (&mut tried, &mut made);
            (pick, result) = (self.attempt(terms, pick, until, so_far, &mut attempt)).await;
            let cause = match result {
                Some(Ok(value)) => {
                    pick.answered(Verdict::Success);
                    return Ok(pick.follow(value));
                }
                Some(Err(error)) => Cause::Failed(error),
                None => Cause::TimedOut,
            };
            let (verdict, progress, rest) = said(&cause);
            let progress = match pick.age() > UNREACHED_WITHIN {
                // It cost time, if nothing else.
                true => progress.max(Progress::Unsent),
                false => progress,
            };
            let backend = pick.id().clone();
            pick.answered(verdict);
            let stopped = match verdict {
                Verdict::Failure(fault) => {
                    pick.failed(fault);
                    let failed = terms.failed(fault, progress, rest, made);
                    let again = self.again(failed, terms, &mut made, &mut tried, until);
                    match again.await {
                        Ok(next) => {
                            pick = next;
                            continue;
                        }
                        Err(stopped) => Some(stopped),
                    }
                }
                Verdict::Success | Verdict::Neutral => {
                    pick.finish(Outcome::Completed);
                    None
                }
            };
            return Err(ExchangeError {
                cause,
                attempts: made.attempts,
                backend: Some(backend),
                stopped,
            });
        }
    }

    /// Waits as the core says, and picks for the next attempt: one that was not tried, if there is any; when all were, a
    /// new round begins, in which the last one comes last. From then on nobody is excused for being asked first.
    async fn again(
        &self,
        mut failed: Attempt,
        terms: &Exchange<'_>,
        made: &mut Made,
        tried: &mut Tried,
        until: Option<Instant>,
    ) -> Result<Pick, Stopped> {
        let clock = self.shared.clock;
        let mut waited = Duration::ZERO;
        loop {
            failed.deadline_left = until.map(|until| until.since(clock.now()));
            let decision = self.retry(&failed).map_err(Stopped::NoPick)?;
            let (after, excused) = match decision {
                Decision::Again { after, excused } => (after, excused),
                Decision::No(reason) => return Err(Stopped::Not(reason)),
            };
            let granted = Granted::new(self, decision);
            // Who waits holds no charge: a backend that is picked before the wait may be down when it is over.
            let rest = after.saturating_sub(waited);
            if !rest.is_zero() {
                tokio::time::sleep(rest).await;
            }
            waited = waited.max(after);
            let picked = if failed.untried {
                self.select_with(&terms.ask.tried(tried))
            } else {
                tried.keep_last();
                let other = self.select_with(&terms.ask.tried(tried)).ok();
                *tried = Tried::default();
                match other {
                    Some(other) => Ok(other),
                    None => self.pick_for(terms, tried, until).await,
                }
            };
            match picked {
                Ok(pick) => {
                    granted.made();
                    made.excused += u32::from(excused);
                    return Ok(pick);
                }
                // Others cannot be picked; those that were tried may be asked again.
                Err(_) if std::mem::take(&mut failed.untried) => made.again = true,
                Err(error) => return Err(Stopped::NoPick(error)),
            }
        }
    }

    async fn pick_for(
        &self,
        terms: &Exchange<'_>,
        tried: &Tried,
        until: Option<Instant>,
    ) -> Result<Pick, Error> {
        let ask = terms.ask.tried(tried);
        let left = until.map(|until| until.since(self.shared.clock.now()));
        match terms.wait {
            Some(wait) => {
                let within = left.map_or(wait, |left| left.min(wait));
                self.acquire_with(&ask, within).await
            }
            None => self.select_with(&ask),
        }
    }
}

impl LoadBalancer {
    /// As [`ServiceHandle::exchange`].
    ///
    /// # Errors
    /// As there; [`Cause::NoPick`] also for an unknown service.
    pub async fn exchange<T, E, F>(
        &self,
        service: &str,
        terms: &Exchange<'_>,
        attempt: impl FnMut(Target) -> F,
    ) -> Result<T, ExchangeError<E>>
    where
        E: Failed,
        F: Future<Output = Result<T, E>>,
    {
        let known = self.service(service);
        let known = known.ok_or_else(|| no_pick(Error::UnknownService(service.into())))?;
        known.exchange(terms, attempt).await
    }
}

/// What is held against the backend, how far it got, and the rest that it asks for.
fn said<E: Failed>(cause: &Cause<E>) -> (Verdict, Progress, Option<Duration>) {
    match cause {
        Cause::Failed(error) => (error.verdict(), error.progress(), error.rest()),
        Cause::TimedOut | Cause::NoPick(_) => {
            (Verdict::Failure(Fault::Timeout), Progress::Sent, None)
        }
    }
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// The result, or none when its time is over first.
async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
