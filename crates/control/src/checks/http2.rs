//! Owns one request over HTTP/2 and what its answer comes to: the check of HTTP, and the exchange that gRPC's runs on.
//!
//! The connection lives and ends with its check, within the check's own future: dropped at the timeout, nothing of it is left.
//! Bounded: 16 KiB of fields, and 64 KiB of body, which is the window that is given once; nothing is pushed.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use evenkeel::probe::http::{BODY_MOST_BYTES, HEAD_MOST_BYTES};
use evenkeel::probe::{Finding, HttpProbe, ProbeError};
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};

/// One above what is looked at of a body, so that its end can be seen.
const WINDOW: usize = BODY_MOST_BYTES + 1;

/// Asks once over a connection of its own; `read` says what the answer comes to.
pub(super) async fn ask<S, Reading, Read>(
    stream: S,
    request: Request<()>,
    body: Bytes,
    read: Reading,
) -> Result<Finding, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    Reading: FnOnce(Response<RecvStream>) -> Read + Send,
    Read: Future<Output = Result<Finding, ProbeError>> + Send,
{
    let mut settings = Builder::new();
    settings
        .enable_push(false)
        .max_header_list_size(u32::try_from(HEAD_MOST_BYTES).unwrap_or(u32::MAX))
        .initial_window_size(u32::try_from(WINDOW).unwrap_or(u32::MAX))
        .initial_connection_window_size(u32::try_from(WINDOW).unwrap_or(u32::MAX));
    let (send, mut connection) = settings.handshake::<_, Bytes>(stream).await.map_err(why)?;
    let found = {
        let mut exchange = pin!(exchange(send, request, body, read));
        let mut ended = None;
        poll_fn(|cx| {
            if ended.is_none()
                && let Poll::Ready(end) = std::pin::Pin::new(&mut connection).poll(cx)
            {
                ended = Some(end);
            }
            // First what came: an answer may be whole though the connection has ended.
            match (exchange.as_mut().poll(cx), &mut ended) {
                // What the other side said before it went tells more than that it went.
                (Poll::Ready(Err(ProbeError::Reset(_))), Some(Err(end))) if end.is_go_away() => {
                    let end = end.reason().map_or("other", word);
                    Poll::Ready(Err(ProbeError::Protocol("http2 goaway", end)))
                }
                (Poll::Ready(found), _) => Poll::Ready(found),
                (Poll::Pending, None) => Poll::Pending,
                (Poll::Pending, Some(end)) => {
                    let end = std::mem::replace(end, Ok(()));
                    Poll::Ready(Err(end.err().map_or_else(closed, why)))
                }
            }
        })
        .await
    };
    // Says that nothing more is asked, where that can be said without waiting.
    poll_fn(|cx| {
        let _ = std::pin::Pin::new(&mut connection).poll(cx);
        Poll::Ready(())
    })
    .await;
    found
}

async fn exchange<Reading, Read>(
    send: SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
    read: Reading,
) -> Result<Finding, ProbeError>
where
    Reading: FnOnce(Response<RecvStream>) -> Read,
    Read: Future<Output = Result<Finding, ProbeError>>,
{
    let mut send = send.ready().await.map_err(why)?;
    let whole = body.is_empty();
    let (answer, mut sending) = send.send_request(request, whole).map_err(why)?;
    if !whole {
        sending.send_data(body, true).map_err(why)?;
    }
    read(answer.await.map_err(why)?).await
}

/// The check of HTTP.
pub(super) async fn check<S>(
    probe: &HttpProbe,
    secure: bool,
    authority: &str,
    stream: S,
) -> Result<Finding, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let asked = probe.asked();
    let host = asked.host.as_deref().unwrap_or(authority);
    let path = asked.path.as_deref().unwrap_or("/");
    let mut request = request(secure, host, path)?;
    let method = Method::from_bytes(asked.method.as_bytes());
    *request.method_mut() = method.map_err(|_| unfit("method"))?;
    for (name, value) in probe.fields() {
        let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit("field"))?;
        let value = http::HeaderValue::from_str(value).map_err(|_| unfit("field"))?;
        request.headers_mut().append(name, value);
    }
    if matches!(asked.method.as_str(), "POST" | "PUT" | "PATCH") {
        let none = http::HeaderValue::from_static("0");
        request
            .headers_mut()
            .insert(http::header::CONTENT_LENGTH, none);
    }
    ask(stream, request, Bytes::new(), |answer| async {
        let (head, mut body) = answer.into_parts();
        let mut judge = probe.judge();
        if let Some(finding) = judge.head(head.status.as_u16()) {
            return Ok(finding);
        }
        while let Some(bytes) = body.data().await {
            if let Some(finding) = judge.body(&bytes.map_err(why)?) {
                return Ok(finding);
            }
        }
        Ok(judge.ended())
    })
    .await
}

/// A request to be asked, `GET` unless changed.
///
/// # Errors
/// A host or path that cannot be sent.
pub(super) fn request(secure: bool, host: &str, path: &str) -> Result<Request<()>, ProbeError> {
    let mut to = http::uri::Parts::default();
    to.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    to.authority = Some(Authority::try_from(host).map_err(|_| unfit("host"))?);
    to.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| unfit("path"))?);
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_parts(to).map_err(|_| unfit("address"))?;
    *request.version_mut() = http::Version::HTTP_2;
    Ok(request)
}

fn unfit(what: &str) -> ProbeError {
    ProbeError::Other(format!("HTTP/2 cannot carry the check's {what}"))
}

fn closed() -> ProbeError {
    ProbeError::Reset(io::ErrorKind::UnexpectedEof.into())
}

/// Whose fault an error is, in words.
pub(super) fn why(error: h2::Error) -> ProbeError {
    let word = error.reason().map_or("other", word);
    if error.is_io() {
        return error.into_io().map_or_else(closed, ProbeError::from);
    }
    match (error.is_remote(), error.is_go_away()) {
        (true, true) => ProbeError::Protocol("http2 goaway", word),
        (true, false) => ProbeError::Protocol("http2 reset", word),
        // What came broke the protocol: most often because it is another.
        (false, _) if error.is_library() => ProbeError::Malformed("not HTTP/2"),
        (false, _) => ProbeError::Other(format!("HTTP/2: {error}")),
    }
}

/// The code's name (RFC 9113 section 7), as a word of ours.
fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::NO_ERROR => "no_error",
        Reason::PROTOCOL_ERROR => "protocol_error",
        Reason::INTERNAL_ERROR => "internal_error",
        Reason::FLOW_CONTROL_ERROR => "flow_control_error",
        Reason::SETTINGS_TIMEOUT => "settings_timeout",
        Reason::STREAM_CLOSED => "stream_closed",
        Reason::FRAME_SIZE_ERROR => "frame_size_error",
        Reason::REFUSED_STREAM => "refused_stream",
        Reason::CANCEL => "cancel",
        Reason::COMPRESSION_ERROR => "compression_error",
        Reason::CONNECT_ERROR => "connect_error",
        Reason::ENHANCE_YOUR_CALM => "enhance_your_calm",
        Reason::INADEQUATE_SECURITY => "inadequate_security",
        Reason::HTTP_1_1_REQUIRED => "http_1_1_required",
        _ => "other",
    }
}
