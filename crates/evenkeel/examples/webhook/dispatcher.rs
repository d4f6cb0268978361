//! Owns the way of one message: to one endpoint of its customer, again where that may help, else to the dead letters.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use evenkeel::exchange::{Cause, Stopped};
use evenkeel::{Exchange, Failure as Failed, Fault, LoadBalancer, Target, retry_after};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock;
use crate::queue::Message;
use crate::signature;

/// An endpoint that has not answered by then is asked again, or another one. Longer than a machine that has much else to do pauses.
const PER_TRY: Duration = Duration::from_secs(1);

/// The longest that one message keeps the others of its customer waiting.
const DEADLINE: Duration = Duration::from_secs(10);

/// Statuses that another attempt may change.
pub(crate) const AGAIN: [u16; 6] = [408, 429, 500, 502, 503, 504];

/// What became of a message.
pub(crate) enum Ended {
    Delivered { attempts: u32 },
    Dead(Letter),
}

/// One that was not delivered, kept for whoever looks into it.
pub(crate) struct Letter {
    pub(crate) why: String,
    #[expect(dead_code, reason = "for whoever sends it again")]
    pub(crate) message: Message,
}

pub(crate) struct Dispatcher {
    balancer: LoadBalancer,
    secret: &'static [u8],
}

/// Why one attempt brought nothing.
#[derive(Debug)]
pub(crate) enum Broken {
    Connection(io::Error),
    Http(hyper::Error),
    Status(StatusCode),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
        }
    }
}

impl Dispatcher {
    pub(crate) fn new(balancer: LoadBalancer, secret: &'static [u8]) -> Self {
        Self { balancer, secret }
    }

    pub(crate) async fn deliver(&self, message: Message) -> Ended {
        let left = message.until.saturating_duration_since(clock::now());
        if left.is_zero() {
            let why = "expired".to_owned();
            return Ended::Dead(Letter { why, message });
        }
        // A receiver knows a second delivery by its id, so it may be sent twice.
        let terms = Exchange::new()
            .idempotent()
            .per_try(PER_TRY)
            .deadline(DEADLINE.min(left));
        let attempt = async |to: Target| {
            self.post(&to, &message).await?;
            Ok::<u32, Failed<Broken>>(to.attempt)
        };
        match self
            .balancer
            .exchange(&message.customer, &terms, attempt)
            .await
        {
            Ok(attempts) => Ended::Delivered { attempts },
            Err(error) => {
                let what = match &error.cause {
                    Cause::NoPick(error) => error.to_string(),
                    Cause::Failed(failed) => failed.to_string(),
                    Cause::TimedOut => "no answer in time".to_owned(),
                    other => format!("{other:?}"),
                };
                let last = match &error.stopped {
                    Some(Stopped::Not(reason)) => reason.word().to_owned(),
                    Some(Stopped::NoPick(error)) => error.to_string(),
                    None => "not worth a retry".to_owned(),
                    Some(other) => format!("{other:?}"),
                };
                let why = format!("{what} ({last}), attempts: {}", error.attempts);
                Ended::Dead(Letter { why, message })
            }
        }
    }

    /// One attempt: 2xx is success; 408, 429 and 5xx are the endpoint's fault, and tried again where the settings
    /// name them; any other status is the message's.
    async fn post(&self, to: &Target, message: &Message) -> Result<(), Failed<Broken>> {
        let stream = TcpStream::connect(to.id.as_str()).await;
        let stream = stream.map_err(|error| Failed::connecting(error).map(Broken::Connection))?;
        let reset = |error| Failed::new(Fault::Reset, Broken::Http(error));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(reset)?;
        tokio::spawn(connection);
        let signed = signature::signature(
            self.secret,
            &message.id,
            clock::unix_seconds(),
            &message.body,
        );
        let request = Request::post("/hook")
            .header("host", to.id.as_str())
            .header("content-type", "application/json")
            .header(signature::ID, &message.id)
            .header(signature::FIELD, signed)
            .body(Full::new(Bytes::from(message.body.clone())))
            .map_err(|_| Failed::neutral(Broken::Status(StatusCode::BAD_REQUEST)))?;
        let answer = sender.send_request(request).await.map_err(reset)?;
        let status = answer.status();
        let broken = Broken::Status(status);
        let rest = answer.headers().get("retry-after");
        let rest = rest.and_then(retry_after);
        match status.as_u16() {
            200..=299 => Ok(()),
            code @ (408 | 429 | 500..=599) => {
                let failed = Failed::new(Fault::Status(code), broken);
                Err(match rest {
                    Some(rest) => failed.rest(rest),
                    None => failed,
                })
            }
            _ => Err(Failed::neutral(broken)),
        }
    }
}
