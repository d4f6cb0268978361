//! Owns the check by the gRPC health checking protocol: one unary call, and what its answer comes to.

use std::time::Duration;

use bytes::Bytes;
use evenkeel::probe::http::USER_AGENT;
use evenkeel::probe::{Finding, ProbeError};
use evenkeel_wire::grpc::health::{self, Serving};
use evenkeel_wire::grpc::{CONTENT_TYPE, Status, in_head, in_trailers, timeout};
use h2::RecvStream;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::http2::{self, why};

/// The most bytes of a body that are kept: a frame's head, the longest answer, and one that shows that there are more.
const BODY_MOST: usize = 5 + health::ANSWER_MOST + 1;

/// What is asked, written out once.
#[derive(Clone, Debug)]
pub(crate) struct GrpcProbe {
    host: Option<String>,
    body: Bytes,
}

impl GrpcProbe {
    /// One that asks about this service; empty: about the backend as a whole.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub(super) fn new(service: &str, host: Option<&str>) -> Result<Self, String> {
        let mut body = Vec::new();
        health::write(service, &mut body).map_err(|why| why.to_string())?;
        // A host that cannot be sent is refused now.
        http2::request(false, host.unwrap_or("a"), health::PATH).map_err(|why| why.to_string())?;
        Ok(Self {
            host: host.map(str::to_owned),
            body: body.into(),
        })
    }

    /// One call, which has so much time left.
    pub(super) async fn call<S>(
        &self,
        secure: bool,
        authority: &str,
        left: Duration,
        stream: S,
    ) -> Result<Finding, ProbeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let host = self.host.as_deref().unwrap_or(authority);
        let mut request = http2::request(secure, host, health::PATH)?;
        *request.method_mut() = Method::POST;
        let mut deadline = Vec::new();
        timeout::write(left, &mut deadline);
        let deadline = HeaderValue::from_bytes(&deadline);
        let fields = request.headers_mut();
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        fields.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Ok(deadline) = deadline {
            fields.insert(timeout::FIELD, deadline);
        }
        http2::ask(stream, request, self.body.clone(), judged).await
    }
}

async fn judged(answer: Response<RecvStream>) -> Result<Finding, ProbeError> {
    let (head, mut stream) = answer.into_parts();
    let http = head.status.as_u16();
    match in_head(http, fields(&head.headers)) {
        None => {}
        // An answer without a status of gRPC's is somebody else's: HTTP's says more.
        Some(_) if !head.headers.contains_key("grpc-status") => {
            return match http {
                200 => Err(ProbeError::Malformed("not gRPC")),
                http => Err(ProbeError::Status(http)),
            };
        }
        Some(Status::Ok) => return Err(ProbeError::Malformed("a call without an answer")),
        Some(status) => return Err(failed(status)),
    }
    let mut body = Vec::new();
    while let Some(bytes) = stream.data().await {
        let bytes = bytes.map_err(why)?;
        let room = BODY_MOST - body.len();
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        // What is no answer already is not read to its end.
        health::read(&body).map_err(|_| unreadable())?;
    }
    let trailers = stream.trailers().await.map_err(why)?.unwrap_or_default();
    match in_trailers(fields(&trailers)) {
        Status::Ok => {}
        status => return Err(failed(status)),
    }
    match health::read(&body).map_err(|_| unreadable())? {
        None => Err(ProbeError::Malformed("a call without an answer")),
        Some(Serving::Serving) => Ok(Finding::passed(None)),
        Some(Serving::NotServing) => Err(ProbeError::Protocol("grpc", "NOT_SERVING")),
        Some(Serving::ServiceUnknown) => Err(ProbeError::Protocol("grpc", "SERVICE_UNKNOWN")),
        // Proto's name of it, apart from the status of the same name.
        Some(Serving::Unknown) => Err(ProbeError::Protocol("grpc", "SERVING_STATUS_UNKNOWN")),
    }
}

fn failed(status: Status) -> ProbeError {
    ProbeError::Protocol("grpc", status.name())
}

fn unreadable() -> ProbeError {
    ProbeError::Malformed("not one message of the health checking protocol")
}

fn fields(map: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    map.iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}
