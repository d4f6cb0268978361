//! Owns the tasks that tell receivers of alerts, each its own: who hangs holds up nobody else.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::plan::WebhookPlan;
use evenkeel_proxy::clock::{seed, since_1970};
use fastrand::Rng;
use http::StatusCode;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::message::Message;
use super::{Ends, Hooks, News, Next};
use crate::events::{Chronicle, What};
use crate::post::{self, Post, rest_before, retry_after};

/// What is left to tell when the process ends may take so long.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// All who tell.
pub(crate) struct Tellers {
    pub(crate) hooks: Arc<Hooks>,
    chronicle: Arc<Chronicle>,
    tasks: JoinSet<()>,
}

/// Who tells one receiver.
struct Teller {
    name: Arc<str>,
    wake: Arc<Notify>,
    hooks: Arc<Hooks>,
    chronicle: Arc<Chronicle>,
    post: Option<(Arc<WebhookPlan>, Post)>,
    rng: Rng,
}

/// Why an attempt did not arrive.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    /// It may the next time, after so long if the receiver says so.
    Again(String, Option<Duration>),
    /// It would be refused again.
    Refused(String),
}

impl Tellers {
    /// Nobody is told yet.
    pub(crate) fn new(chronicle: Arc<Chronicle>) -> Self {
        Self {
            hooks: Arc::default(),
            chronicle,
            tasks: JoinSet::new(),
        }
    }

    /// Tells those that a plan names. Needs a tokio runtime where it names any.
    pub(crate) fn follow(&mut self, plans: &[WebhookPlan]) {
        while self.tasks.try_join_next().is_some() {}
        for (name, wake) in self.hooks.follow(plans) {
            let teller = Teller {
                name,
                wake,
                hooks: self.hooks.clone(),
                chronicle: self.chronicle.clone(),
                post: None,
                rng: Rng::with_seed(seed()),
            };
            self.tasks.spawn(teller.run());
        }
    }

    /// Tells what is left, each message once more, as far as that is soon done.
    pub(crate) async fn end(&mut self) {
        self.hooks.leave();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // What is not told by then goes with the process.
        let _ = timeout(LAST_WORDS, all).await;
        self.tasks.abort_all();
    }
}

impl Teller {
    async fn run(mut self) {
        loop {
            match self.hooks.next(&self.wake) {
                Next::End => return,
                Next::Wait => self.wake.notified().await,
                Next::Tell(plan, message, tries) => self.tell(plan, &message, tries).await,
            }
        }
    }

    /// Tries once, and rests if that is to be done again.
    async fn tell(&mut self, plan: Arc<WebhookPlan>, message: &Message, tries: u32) {
        let (why, rest, ends) = match self.attempt(&plan, message).await {
            Ok(()) => {
                let news = self.hooks.delivered(&self.wake);
                return self.say(news);
            }
            Err(Failed::Refused(why)) => (why, None, Some(Ends::Refused)),
            Err(Failed::Again(why, rest)) => {
                let last = tries >= plan.attempts || self.hooks.is_over(&self.wake);
                (why, rest, last.then_some(Ends::GivenUp))
            }
        };
        let news = self.hooks.failed(&self.wake, &why, ends);
        self.say(news);
        if ends.is_none() {
            let rest = rest_before(tries, rest, self.rng.f64());
            self.rest(rest).await;
        }
    }

    /// What comes meanwhile waits; that nobody is to be told any more does not.
    async fn rest(&self, rest: Duration) {
        let mut rest = pin!(sleep(rest));
        while !self.hooks.is_over(&self.wake) {
            tokio::select! {
                () = &mut rest => return,
                () = self.wake.notified() => {}
            }
        }
    }

    async fn attempt(&mut self, plan: &Arc<WebhookPlan>, message: &Message) -> Result<(), Failed> {
        let post = match &mut self.post {
            Some((same, post)) if Arc::ptr_eq(same, plan) => post,
            other => {
                let who = format!("the webhook {}", plan.name);
                let to = (&plan.to, &plan.path);
                let post = Post::new(&who, to, plan.tls.as_ref(), &plan.headers);
                &mut other.insert((plan.clone(), post.head_alone())).1
            }
        };
        let fields = message.fields(plan.key(), since_1970());
        let sent = timeout(plan.timeout, post.send(message.text.clone(), &fields));
        let late = |_| Failed::Again(format!("no answer within {:?}", plan.timeout), None);
        match sent.await.map_err(late)? {
            Ok(answer) => judged(answer.status, retry_after(&answer.headers)),
            Err(post::Failed::Now(why)) => Err(Failed::Again(why, None)),
            Err(post::Failed::Always(why)) => Err(Failed::Refused(why)),
        }
    }

    fn say(&self, news: Option<News>) {
        let webhook = &*self.name;
        match news {
            None => {}
            Some(News::Fails(why)) => {
                warn!(webhook, why, "webhook does not take alerts");
                let what = What::WebhookFailing(self.name.clone(), why);
                self.chronicle.write(what);
            }
            Some(News::Mended) => {
                info!(webhook, "webhook takes alerts again");
                self.chronicle.write(What::WebhookMended(self.name.clone()));
            }
        }
    }
}

/// What an answer says. A way elsewhere is not followed: who signs for one receiver does not sign for another.
fn judged(status: StatusCode, rest: Option<Duration>) -> Result<(), Failed> {
    let why = || format!("it answers {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Ok(()),
        408 | 425 | 429 | 500..=599 => Err(Failed::Again(why(), rest)),
        _ => Err(Failed::Refused(why())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_come_again_does() {
        let check = |status: u16, expect: Option<bool>| {
            let got = judged(StatusCode::from_u16(status).unwrap(), None);
            let got = got.map_err(|failed| matches!(failed, Failed::Again(..)));
            assert_eq!(got.err(), expect, "{status}");
        };
        for status in [200, 202, 204] {
            check(status, None);
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            check(status, Some(true));
        }
        for status in [301, 308, 400, 401, 404, 410, 413] {
            check(status, Some(false));
        }
    }
}
