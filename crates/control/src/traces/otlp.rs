//! Owns what is said to a collector: exchanges as spans in the JSON of OTLP 1.9, by the semantic conventions of HTTP (stable since 1.23).
//!
//! An exchange is a span of the kind server, each of its attempts one of the kind client below it. By the rules of the access log: no query, no
//! field but `User-Agent`, and a client's address as long as it is there.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::plan::AccessLogPlan;
use evenkeel_proxy::record::Text;
use evenkeel_proxy::recorded::{Decision, End, Recorded, Trace};
use serde_json::{Value, json};

use crate::snapshot::{RequestPart, part};

/// Kinds of spans.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// That a span went wrong.
const ERROR: u8 = 2;

/// That a span was sampled, and that its parent is, where it has one, of another process (W3C flags and `SpanFlags`).
const SAMPLED: u32 = 0x01;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// A message with these exchanges, and how many spans there are in it.
pub(super) fn message(
    service: &str,
    log: Option<&AccessLogPlan>,
    batch: &[Arc<Recorded>],
) -> (u64, String) {
    let spans: Vec<Value> = batch
        .iter()
        .filter_map(|one| spans(one, log))
        .flatten()
        .collect();
    let count = spans.len() as u64;
    let resource = [
        text("service.name", service),
        text("telemetry.sdk.name", "evenkeel"),
        text("telemetry.sdk.language", "rust"),
        text("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ];
    let scope = json!({ "name": "evenkeel", "version": env!("CARGO_PKG_VERSION") });
    let message = json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] });
    (count, message.to_string())
}

/// How many spans a collector says that it refused. It may say it as a text (the JSON of a 64-bit number).
pub(super) fn rejected(body: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let spans = &answer["partialSuccess"]["rejectedSpans"];
    let written = || spans.as_str().and_then(|spans| spans.parse().ok());
    spans.as_u64().or_else(written).unwrap_or_default()
}

fn spans(record: &Recorded, log: Option<&AccessLogPlan>) -> Option<Vec<Value>> {
    let (trace, one) = (record.trace()?, record.record()?);
    let agent = one.text(Text::Agent).map(String::from_utf8_lossy);
    let scheme = one.seen().secured.map_or("http", |_| "https");
    let request = part(String::new(), one, Vec::new(), log);
    let mut all = vec![exchange(trace, &request, (scheme, agent.as_deref()))];
    let attempts = record.decisions().iter().enumerate();
    let attempts = attempts.filter(|(_, one)| one.ended.is_some());
    all.extend(attempts.enumerate().filter_map(|(resent, (at, decision))| {
        attempt(trace, &request, (trace.of_attempt(at), resent), decision)
    }));
    Some(all)
}

fn exchange(trace: &Trace, request: &RequestPart, (scheme, agent): (&str, Option<&str>)) -> Value {
    let method = request.method.as_deref();
    let mut attributes = of_request(request);
    attributes.push(text("client.address", &request.client));
    for (key, value) in [
        ("url.scheme", Some(scheme)),
        ("server.address", request.host.as_deref()),
        ("user_agent.original", agent),
        ("evenkeel.listener", request.listener.as_deref()),
        ("evenkeel.rule", request.rule.as_deref()),
        ("evenkeel.service", request.service.as_deref()),
        ("evenkeel.request_id", request.request_id.as_deref()),
        ("evenkeel.reason", Some(request.reason)),
        ("rpc.grpc.status", request.grpc),
    ] {
        attributes.extend(value.map(|value| text(key, value)));
    }
    attributes.push(seconds("evenkeel.queue_seconds", request.queue));
    let status = request.status.filter(|status| *status > 0);
    attributes.extend(status.map(|status| number("http.response.status_code", status.into())));
    // 4xx is the client's, and no error of who serves it.
    let answered = status.filter(|status| *status >= 500);
    let broke = status.is_none().then(|| request.reason.to_owned());
    let error = answered.map(|status| status.to_string()).or(broke);
    attributes.extend(error.as_deref().map(|error| text("error.type", error)));
    let method = method.unwrap_or("HTTP");
    let mut span = json!({
        "name": match &request.rule {
            Some(rule) => format!("{method} {rule}"),
            None => method.to_owned(),
        },
        "kind": SERVER,
        "startTimeUnixNano": nanos(request.began),
        "endTimeUnixNano": nanos(request.began + request.total),
        "flags": SAMPLED | HAS_IS_REMOTE | trace.parent().map_or(0, |_| IS_REMOTE),
        "attributes": attributes,
    });
    named(&mut span, trace, trace.span().id, trace.parent());
    failed(&mut span, error.as_deref(), request.reason);
    span
}

fn attempt(
    trace: &Trace,
    request: &RequestPart,
    (id, resent): (u64, usize),
    decision: &Decision,
) -> Option<Value> {
    let ended = decision.ended?;
    let backend = decision.picked.as_ref()?.as_ref().ok()?.as_str();
    let mut attributes = of_request(request);
    let (address, port) = match backend.rsplit_once(':') {
        Some((address, port)) => (address, port.parse::<u16>().ok()),
        None => (backend, None),
    };
    attributes.push(text("server.address", address));
    attributes.extend(port.map(|port| number("server.port", port.into())));
    attributes.push(text("evenkeel.service", &decision.service));
    attributes.push(text("evenkeel.backend", backend));
    if resent > 0 {
        attributes.push(number("http.request.resend_count", resent as u64));
    }
    if decision.beside {
        attributes.push(json!({ "key": "evenkeel.hedge", "value": { "boolValue": true } }));
    }
    let parts = [
        ("evenkeel.connect_seconds", ended.connect),
        ("evenkeel.head_seconds", ended.head),
    ];
    attributes.extend(
        parts
            .into_iter()
            .filter_map(|(key, time)| Some(seconds(key, time?))),
    );
    let status = ended.how.status();
    attributes.extend(status.map(|status| number("http.response.status_code", status.into())));
    let error = match ended.how {
        End::Answered(status) => (status >= 400).then(|| status.to_string()),
        // Nobody waited for it any more: that is no error of its backend.
        End::Outrun | End::GivenUp => None,
        End::Failed(reason) => Some(reason.word().to_owned()),
    };
    if let (None, Some(word)) = (&error, ended.how.word()) {
        attributes.push(text("evenkeel.ended", word));
    }
    attributes.extend(error.as_deref().map(|error| text("error.type", error)));
    let began = request.began + decision.after + decision.waited;
    let mut span = json!({
        "name": request.method.as_deref().unwrap_or("HTTP"),
        "kind": CLIENT,
        "startTimeUnixNano": nanos(began),
        "endTimeUnixNano": nanos(began.max(request.began + ended.after)),
        "flags": SAMPLED | HAS_IS_REMOTE,
        "attributes": attributes,
    });
    named(&mut span, trace, id, Some(trace.span().id));
    failed(&mut span, error.as_deref(), "");
    Some(span)
}

/// What both kinds have.
fn of_request(request: &RequestPart) -> Vec<Value> {
    let version = request.protocol.and_then(|one| one.strip_prefix("HTTP/"));
    let version = version.map(|version| version.strip_suffix(".0").unwrap_or(version));
    let version = version.map(|version| if version == "1" { "1.0" } else { version });
    [
        ("http.request.method", request.method.as_deref()),
        ("url.path", request.path.as_deref()),
        ("network.protocol.version", version),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(text(key, value?)))
    .collect()
}

fn named(span: &mut Value, trace: &Trace, id: u64, parent: Option<u64>) {
    span["traceId"] = format!("{:032x}", trace.span().trace).into();
    span["spanId"] = format!("{id:016x}").into();
    if let Some(parent) = parent {
        span["parentSpanId"] = format!("{parent:016x}").into();
    }
}

fn failed(span: &mut Value, error: Option<&str>, why: &str) {
    if error.is_some() {
        span["status"] = json!({ "code": ERROR, "message": why });
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64 bits are a text in JSON.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn seconds(key: &str, time: Duration) -> Value {
    json!({ "key": key, "value": { "doubleValue": time.as_secs_f64() } })
}

fn nanos(since_1970: Duration) -> String {
    since_1970.as_nanos().to_string()
}
