//! Owns one message to somebody who is told over HTTP: a POST over a connection of its own, its TLS that of checks and traffic.
//!
//! Whether it is sent again, and what an answer means, is for who asks: `traces`, `webhooks`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_config::plan::BackendAddress;
use evenkeel_config::plan::tls::UpstreamTls;
use evenkeel_proxy::tls::upstream::Towards;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tracing::warn;

use crate::checks::link::{HTTP1, Secured};

/// Bytes of an answer that are read.
const ANSWER_MOST: usize = 64 * 1024;

/// The first rest before a message is sent again, which doubles; and the longest, that who is told may ask for too.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Who is told.
pub(crate) struct Post {
    to: BackendAddress,
    path: Arc<str>,
    headers: Vec<(Arc<str>, Arc<str>)>,
    secured: Secured,
    /// Bytes of an answer's body that are read.
    reads: usize,
}

/// What was answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why nothing was. No word of either is of a path or a field, which may be secrets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It may be otherwise the next time.
    Now(String),
    /// It will not.
    Always(String),
}

impl Post {
    /// `who` is what a log calls it.
    pub(crate) fn new(
        who: &str,
        (to, path): (&BackendAddress, &Arc<str>),
        tls: Option<&Arc<UpstreamTls>>,
        headers: &[(Arc<str>, Arc<str>)],
    ) -> Self {
        let secured = match tls {
            None => Secured::Off,
            Some(tls) => match Towards::new(tls, None) {
                Ok(towards) => Secured::Towards(Box::new(towards.for_checks(&[HTTP1]))),
                Err(why) => {
                    warn!("{who} cannot be asked: {why}");
                    Secured::Broken
                }
            },
        };
        Self {
            to: to.clone(),
            path: path.clone(),
            headers: headers.into(),
            secured,
            reads: ANSWER_MOST,
        }
    }

    /// What is answered behind the head is nobody's.
    pub(crate) fn head_alone(self) -> Self {
        Self { reads: 0, ..self }
    }

    /// Sends a message of JSON, with more fields beside those of the configuration. It has no deadline of its own.
    pub(crate) async fn send(
        &self,
        text: Bytes,
        more: &[(&'static str, String)],
    ) -> Result<Answered, Failed> {
        let now = |why: String| Failed::Now(why);
        let to = match &self.to {
            BackendAddress::Tcp(address) => (*address).into(),
            BackendAddress::Name(name, port) => format!("{name}:{port}")
                .parse()
                .map_err(|_| Failed::Always("its name is none".into()))?,
            // No plan has one.
            BackendAddress::Unix(_) => return Err(Failed::Always("it is no socket".into())),
        };
        let request = self.request(text, more).map_err(Failed::Always)?;
        let connected = self.secured.connect(&to, &self.to, &[], &[HTTP1]);
        let (stream, _) = connected.await.map_err(|error| now(error.to_string()))?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| now(error.to_string()))?;
        let asked = async {
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(|error| now(error.to_string()))?;
            let (head, body) = answer.into_parts();
            let body = match self.reads {
                0 => Bytes::new(),
                most => {
                    // What it says beside its status is worth no second message.
                    let body = Limited::new(body, most).collect().await;
                    body.map(|body| body.to_bytes()).unwrap_or_default()
                }
            };
            Ok(Answered {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        let driven = async {
            // It ends with an error where the answer's end is its own: what was answered is known then.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            answered = asked => answered,
            () = driven => Err(now("it ended the connection".into())),
        }
    }

    fn request(
        &self,
        text: Bytes,
        more: &[(&'static str, String)],
    ) -> Result<Request<Full<Bytes>>, String> {
        let host = match &self.to {
            BackendAddress::Name(name, port) => format!("{name}:{port}"),
            BackendAddress::Tcp(address) => address.to_string(),
            BackendAddress::Unix(_) => String::new(),
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(&*self.path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json");
        let own = self.headers.iter();
        let request = own.fold(request, |so_far, (name, value)| {
            so_far.header(&**name, &**value)
        });
        let more = more.iter();
        let request = more.fold(request, |so_far, (name, value)| so_far.header(*name, value));
        // Not what is wrong with it: that may hold a secret.
        let whole = request.body(Full::new(text));
        whole.map_err(|_| "one of `headers` cannot be sent".into())
    }
}

/// How long to wait before a message is sent again, that was sent so often: as who is told asks, else the double of the time before, of
/// which up to half is left out by `chance` from 0 to 1, so that many instances do not come back together.
pub(crate) fn rest_before(tries: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let (first, most) = REST;
    let doubled = first.saturating_mul(1 << (tries - 1).min(16)).min(most);
    asked.map_or(doubled.mul_f64(1.0 - chance / 2.0), |asked| asked.min(most))
}

/// How long who answered wants to be left alone.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_and_end() {
        let seconds = |tries, asked: Option<u64>, chance| {
            rest_before(tries, asked.map(Duration::from_secs), chance).as_secs_f64()
        };
        assert_eq!(
            [1, 2, 3, 4].map(|tries| seconds(tries, None, 0.0)),
            [1.0, 2.0, 4.0, 8.0]
        );
        assert_eq!(seconds(1, None, 1.0), 0.5);
        assert_eq!(seconds(60, None, 0.0), 30.0);
        assert_eq!(seconds(1, Some(7), 0.9), 7.0);
        assert_eq!(seconds(1, Some(86_400), 0.0), 30.0);
    }
}
