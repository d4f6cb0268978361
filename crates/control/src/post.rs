//! Owns one message to somebody who is told over HTTP: a POST over a connection of its own, its TLS that of checks and traffic.
//!
//! Whether it is sent again, and what an answer means, is for who asks: `traces`, `webhooks`.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_config::plan::BackendAddress;
use evenkeel_config::plan::tls::UpstreamTls;
use evenkeel_proxy::tls::upstream::Towards;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tracing::warn;

use crate::checks::link::{HTTP1, Secured};

/// Bytes of an answer that are read.
const ANSWER_MOST: usize = 64 * 1024;

/// Who is told.
pub(crate) struct Post {
    to: BackendAddress,
    path: Arc<str>,
    headers: Vec<(Arc<str>, Arc<str>)>,
    secured: Secured,
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
        }
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
            // What it says beside its status is worth no second message.
            let body = Limited::new(body, ANSWER_MOST).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
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
