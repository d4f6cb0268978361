//! Owns `health:` of a service.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::settings::ActiveSettings;

use crate::keys::{BODY, GRPC_CHECK, HEALTH, HTTP_CHECK, TCP_CHECK};
use crate::limits;
use crate::plan::{BodyMatch, CheckPlan, CheckProtocol, GrpcCheckPlan, HealthPlan, HttpCheckPlan};
use crate::problem::clipped;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Key, Node, Value};

/// The longest text or expression that a body is searched for.
const BODY_TEXT_BYTES: usize = 1024;

/// The longest name of a service that gRPC's health check asks about.
const GRPC_SERVICE_BYTES: usize = 1024;

pub(super) fn read(reading: &Reading, node: &Node) -> Option<(HealthPlan, ActiveSettings)> {
    let map = reading.map(node, &HEALTH)?;
    let tcp = map.get("tcp").map(|node| {
        if let Some(fields) = (!node.is_null())
            .then(|| reading.map(node, &TCP_CHECK))
            .flatten()
        {
            fields.done();
        }
        CheckPlan::Tcp
    });
    let http = map
        .map("http", &HTTP_CHECK)
        .and_then(http)
        .map(CheckPlan::Http);
    let grpc = map
        .get("grpc")
        .map(|node| CheckPlan::Grpc(grpc(reading, node)));
    let said = ["http", "grpc", "tcp"];
    if said.iter().filter(|key| map.get(key).is_some()).count() != 1 {
        reading.error(
            map.at,
            "check",
            "a check is one of `http: { path: /health }`, `grpc: {}` and `tcp: {}`",
        );
    }
    let mut active = ActiveSettings::default();
    map.set_number("rise", &mut active.rise);
    map.set_number("fall", &mut active.fall);
    let interval = map.with("interval", period).unwrap_or(limits::CHECK_EVERY);
    let timeout = map
        .with("timeout", Reading::wait)
        .unwrap_or(limits::CHECK_WITHIN);
    if timeout > interval {
        reading.warning(
            map.at,
            "deadlines",
            "`timeout` is longer than `interval`: checks come less often",
        );
    }
    let plan = HealthPlan {
        check: http.or(grpc).or(tcp).unwrap_or(CheckPlan::Tcp),
        interval,
        interval_unsure: map
            .with("interval_unsure", period)
            .unwrap_or(interval.min(limits::CHECK_UNSURE)),
        interval_down: map.with("interval_down", period).unwrap_or(interval),
        timeout,
        port: map.number("port").and_then(NonZeroU16::new),
        address: map.with("address", |reading, node| {
            reading.parsed(node, "address", |text| {
                text.value()
                    .parse::<IpAddr>()
                    .map_err(|_| format!("`{text}` is no address"))
            })
        }),
    };
    map.done();
    Some((plan, active))
}

/// From 10 ms, below which a check is a load of its own, to a day.
fn period(reading: &Reading, node: &Node) -> Option<Duration> {
    let period = reading.duration(node)?;
    if !(Duration::from_millis(10)..=Duration::from_secs(86_400)).contains(&period) {
        reading.error(node.at, "range", "an interval lies between 10ms and 1d");
        return None;
    }
    Some(period)
}

fn http(map: Fields<'_>) -> Option<HttpCheckPlan> {
    let reading = map.reading;
    let path = map.with("path", path);
    let method = map.with("method", |reading, node| {
        reading.parsed(node, "method", |text| {
            let value = text.value();
            let token = !value.is_empty()
                && value.len() <= 32
                && value.bytes().all(|byte| byte.is_ascii_uppercase());
            if token {
                Ok(Arc::from(value))
            } else {
                Err(format!("`{text}` is no method"))
            }
        })
    });
    let host = map.with("host", host);
    let headers = map.with("headers", |reading, node| {
        reading
            .free(node, "headers")
            .map(|entries| headers(reading, entries))
    });
    let expect = map.get("expect").map(|node| {
        let ranges = reading.items(node).iter();
        ranges
            .filter_map(|node| reading.parsed(node, "status", range))
            .collect()
    });
    let body = map.with("body", body);
    let tls = map.word("tls") != Some("off");
    let protocol = match map.word("protocol") {
        Some("http1") => CheckProtocol::Http1,
        Some("http2") => CheckProtocol::Http2,
        _ => CheckProtocol::Upstream,
    };
    if let (Some(node), Some("HEAD")) = (map.get("body"), method.as_deref()) {
        reading.error(node.at, "body_of_head", "`HEAD` has no body to look into");
    }
    map.done();
    Some(HttpCheckPlan {
        method: method.unwrap_or_else(|| limits::CHECK_METHOD.into()),
        path: path.unwrap_or_else(|| limits::CHECK_PATH.into()),
        host,
        headers: headers.unwrap_or_default(),
        expect: expect.unwrap_or_else(|| vec![limits::CHECK_EXPECT]),
        body,
        tls,
        protocol,
    })
}

/// A path, and perhaps a query, that is asked for.
pub(super) fn path(reading: &Reading, node: &Node) -> Option<Arc<str>> {
    reading.parsed(node, "path", |text| {
        let path = text.value();
        if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Arc::from(path))
        } else {
            Err(format!(
                "a path begins with a slash and is visible ASCII: `{text}`"
            ))
        }
    })
}

/// The name in `Host` or `:authority`.
pub(super) fn host(reading: &Reading, node: &Node) -> Option<Arc<str>> {
    reading.parsed(node, "host", |text| {
        let value = text.value();
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Arc::from(value))
        } else {
            Err(format!("`{text}` is no host"))
        }
    })
}

fn grpc(reading: &Reading, node: &Node) -> GrpcCheckPlan {
    let mut plan = GrpcCheckPlan {
        service: Arc::from(""),
        host: None,
        tls: true,
    };
    let map = (!node.is_null())
        .then(|| reading.map(node, &GRPC_CHECK))
        .flatten();
    let Some(map) = map else { return plan };
    let service = map.with("service", |reading, node| {
        reading.parsed(node, "range", |text| match text.value() {
            value if value.len() <= GRPC_SERVICE_BYTES => Ok(Arc::from(value)),
            _ => Err(format!("a name has at most {GRPC_SERVICE_BYTES} bytes")),
        })
    });
    plan.service = service.unwrap_or(plan.service);
    plan.host = map.with("host", host);
    plan.tls = map.word("tls") != Some("off");
    map.done();
    plan
}

/// Fields of a check's request.
pub(super) fn headers(reading: &Reading, entries: &[(Key, Node)]) -> Vec<(Arc<str>, Arc<str>)> {
    let what = format!("{} fields of one check", limits::CHECK_HEADERS);
    let entries = reading.first(entries, limits::CHECK_HEADERS, |(key, _)| key.at, &what);
    let mut headers = Vec::new();
    for (key, node) in entries {
        let text = reading.text(node);
        let value = text.as_ref().map_or("", Scalar::value);
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let token = !key.text.is_empty() && key.text.bytes().all(letters);
        let plain = value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !token || !plain {
            let message = format!("`{}` is no field that can be sent", clipped(&key.text));
            reading.error(key.at, "header", message);
        }
        headers.push((Arc::from(&*key.text), Arc::from(value)));
    }
    headers
}

/// `200`, `200-299`.
fn range(written: &Scalar) -> Result<(u16, u16), String> {
    let text = written.value();
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if (100..=599).contains(&from) && (from..=599).contains(&to) => {
            Ok((from, to))
        }
        _ => Err(format!(
            "a status is written like `200` or `200-299`, not `{written}`"
        )),
    }
}

/// A text to be found, or `{ regex: ... }`.
fn body(reading: &Reading, node: &Node) -> Option<BodyMatch> {
    let sound = |node: &Node, text: &str| {
        let fits = (1..=BODY_TEXT_BYTES).contains(&text.len());
        if !fits {
            let message = format!("it has 1 to {BODY_TEXT_BYTES} bytes");
            reading.error(node.at, "range", message);
        }
        fits
    };
    if !matches!(node.value, Value::Map(_)) {
        let text = reading.text(node)?;
        return sound(node, text.value()).then(|| BodyMatch::Contains(text.value().into()));
    }
    let map = reading.map(node, &BODY)?;
    if map.get("regex").is_none() {
        let message = "a body is a text to be found in it, or `{ regex: ... }`";
        reading.error(map.at, "missing", message);
    }
    let found = map.with("regex", |reading, node| {
        let text = reading.text(node)?;
        sound(node, text.value()).then_some(())?;
        reading.expression(node)
    });
    map.done();
    found.map(BodyMatch::Regex)
}
