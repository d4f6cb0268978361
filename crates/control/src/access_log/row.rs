//! Owns rows: a record as a line of JSON, or as Apache has it. What a client wrote cannot end a line, close a quote or steer a terminal.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_balance::affinity::Lost;
use evenkeel_config::plan::{AccessLogPlan, QueryShown, RowFormat};
use evenkeel_proxy::date;
use evenkeel_proxy::observation::Stayed;
use evenkeel_proxy::record::{Record, Text, Version};

use super::redact::{put_query, put_referer};

/// Appends a row with its line feed.
pub(super) fn put(record: &Record<'_>, how: &AccessLogPlan, out: &mut Vec<u8>) {
    match how.format {
        RowFormat::Json => put_json(record, how, out),
        RowFormat::Common => put_common(record, how, out),
        RowFormat::Combined => {
            put_common(record, how, out);
            let mut referer = Vec::new();
            if let Some(text) = record.text(Text::Referer) {
                put_referer(text, how.query, &mut referer);
            }
            for text in [&*referer, record.text(Text::Agent).unwrap_or_default()] {
                out.extend_from_slice(b" \"");
                put_quoted(if text.is_empty() { b"-" } else { text }, out);
                out.push(b'"');
            }
        }
    }
    out.push(b'\n');
}

/// The status that is told: of an exchange that the client left without an answer, its reason's. A flow has none.
pub(crate) fn status(record: &Record<'_>) -> Option<u16> {
    let seen = record.seen();
    match seen.status {
        _ if seen.flow => None,
        0 => Some(seen.reason.status()),
        status => Some(status),
    }
}

pub(crate) const fn protocol(version: Version) -> &'static str {
    match version {
        Version::Old => "HTTP/1.0",
        Version::Current => "HTTP/1.1",
        Version::Two => "HTTP/2.0",
    }
}

/// An address, cut where that is wanted.
pub(crate) fn address(address: IpAddr, truncated: bool) -> IpAddr {
    match address {
        _ if !truncated => address,
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & !0xff).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 80 << 80).into()),
    }
}

// --- Apache: `%h %l %u %t "%r" %>s %b`.

fn put_common(record: &Record<'_>, how: &AccessLogPlan, out: &mut Vec<u8>) {
    let client = address(record.seen().client, how.truncated);
    let date = date::apache(record.began());
    // Writing to a vector does not fail.
    let _ = write!(out, "{client} - - [{date}] \"");
    match (record.text(Text::Path), record.version()) {
        (Some(path), Some(version)) => {
            put_quoted(record.text(Text::Method).unwrap_or_default(), out);
            out.push(b' ');
            put_quoted(path, out);
            if let Some(query) = record.text(Text::Query) {
                put_quoted(&asked(query, how.query), out);
            }
            let _ = write!(out, " {}", protocol(version));
        }
        _ => out.push(b'-'),
    }
    match status(record) {
        Some(status) => drop(write!(out, "\" {status} ")),
        None => out.extend_from_slice(b"\" - "),
    }
    match record.seen().sent {
        0 => out.push(b'-'),
        sent => drop(write!(out, "{sent}")),
    }
}

/// A query with its question mark, as it is shown.
fn asked(query: &[u8], shown: QueryShown) -> Vec<u8> {
    let mut asked = vec![b'?'];
    if !put_query(query, shown, &mut asked) {
        asked.clear();
    }
    asked
}

/// Escaped as Apache does it (`ap_escape_logitem`): a backslash before quotes, backslashes and letters for white space, `\xhh`
/// for all else that does not print.
fn put_quoted(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0b => out.extend_from_slice(b"\\v"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b' '..=b'~' => out.push(byte),
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
}

// --- JSON.

fn put_json(record: &Record<'_>, how: &AccessLogPlan, out: &mut Vec<u8>) {
    let seen = record.seen();
    let query = record.text(Text::Query).and_then(|query| {
        let mut shown = Vec::new();
        put_query(query, how.query, &mut shown).then_some(shown)
    });
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(date::rfc3339(record.began()).as_bytes());
    out.push(b'"');
    for (key, text) in [
        ("listener", record.text(Text::Listener)),
        ("rule", record.text(Text::Rule)),
        ("service", record.text(Text::Service)),
        ("backend", record.text(Text::Backend)),
    ] {
        put_text(key, text, out);
    }
    let mut shown = String::new();
    for (key, peer) in [("client", seen.client), ("peer", seen.peer)] {
        shown.clear();
        // Nor does writing to a text.
        let _ = write!(shown, "{}", address(peer, how.truncated));
        put_text(key, Some(shown.as_bytes()), out);
    }
    for (key, text) in [
        ("method", record.text(Text::Method)),
        ("host", record.text(Text::Host)),
        ("path", record.text(Text::Path)),
        ("query", query.as_deref()),
        (
            "protocol",
            match seen.flow {
                true => Some(&b"TCP"[..]),
                false => record.version().map(|one| protocol(one).as_bytes()),
            },
        ),
    ] {
        put_text(key, text, out);
    }
    put_secured(record, out);
    match status(record) {
        Some(status) => drop(write!(out, ",\"status\":{status}")),
        None => out.extend_from_slice(b",\"status\":null"),
    }
    let grpc = seen.grpc.map(|status| status.name().as_bytes());
    put_text("grpc_status", grpc, out);
    put_words(record, out);
    put_text("rate_limit", record.text(Text::RateLimit), out);
    for (key, number) in [
        ("attempts", u64::from(seen.attempts)),
        ("received_head_bytes", seen.head_received as u64),
        ("received_bytes", seen.received),
        ("sent_head_bytes", seen.head_sent as u64),
        ("sent_bytes", seen.sent),
    ] {
        let _ = write!(out, ",\"{key}\":{number}");
    }
    for (key, time) in [
        ("queue_ms", Some(seen.queue)),
        ("connect_ms", seen.connect),
        ("head_ms", seen.head),
        ("total_ms", Some(seen.total)),
    ] {
        put_time(key, time, out);
    }
    put_text("request_id", record.text(Text::RequestId), out);
    put_text("trace_id", record.text(Text::TraceId), out);
    out.push(b'}');
}

/// Why it ended as it did, and what became of its client.
fn put_words(record: &Record<'_>, out: &mut Vec<u8>) {
    let seen = record.seen();
    let stayed = seen.stayed;
    for (key, word) in [
        ("reason", Some(seen.reason.word())),
        ("refused", seen.refused.map(|refused| refused.reason.word())),
        ("affinity", stayed.map(Stayed::word)),
        (
            "affinity_lost",
            stayed.and_then(Stayed::lost).map(Lost::word),
        ),
    ] {
        put_text(key, word.map(str::as_bytes), out);
    }
}

/// How its connection is secured, and who the client has shown to be.
fn put_secured(record: &Record<'_>, out: &mut Vec<u8>) {
    let secured = record.seen().secured;
    let scheme = if secured.is_some() { "https" } else { "http" };
    for (key, word) in [
        ("scheme", Some(scheme).filter(|_| !record.seen().flow)),
        ("tls_version", secured.map(|tls| tls.version.word())),
        ("tls_cipher", secured.and_then(|tls| tls.cipher)),
        ("tls_group", secured.and_then(|tls| tls.group)),
    ] {
        put_text(key, word.map(str::as_bytes), out);
    }
    let resumed = match secured.map(|tls| tls.resumed) {
        Some(true) => "true",
        Some(false) => "false",
        None => "null",
    };
    // Nor does writing here.
    let _ = write!(out, ",\"tls_resumed\":{resumed}");
    for (key, text) in [
        ("sni", Text::Sni),
        ("client_certificate_subject", Text::Subject),
        ("client_certificate_fingerprint", Text::Fingerprint),
    ] {
        put_text(key, record.text(text), out);
    }
}

/// Milliseconds, to the microsecond.
fn put_time(key: &str, time: Option<Duration>, out: &mut Vec<u8>) {
    let _ = match time {
        Some(time) => {
            let micros = time.as_micros();
            write!(out, ",\"{key}\":{}.{:03}", micros / 1000, micros % 1000)
        }
        None => write!(out, ",\"{key}\":null"),
    };
}

fn put_text(key: &str, text: Option<&[u8]>, out: &mut Vec<u8>) {
    let _ = write!(out, ",\"{key}\":");
    let Some(text) = text else {
        out.extend_from_slice(b"null");
        return;
    };
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|char| put_char(char, out));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\\\x{byte:02x}");
        }
    }
    out.push(b'"');
}

/// Escaped where JSON wants it, and where a program may take it for the end of a line or a command.
fn put_char(char: char, out: &mut Vec<u8>) {
    match char {
        '"' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
        '\u{2028}' | '\u{2029}' => drop(write!(out, "\\u{:04x}", u32::from(char))),
        char if char.is_control() => drop(write!(out, "\\u{:04x}", u32::from(char))),
        char => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests;
