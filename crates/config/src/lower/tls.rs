//! Owns `tls:`, of a listener and of `upstream:`. What the files hold is read by who loads them.

use std::sync::Arc;
use std::time::Duration;

use super::flows;
use crate::keys::{ADMIN_TLS, CERTIFICATE, CLIENT_AUTH, HSTS, TICKETS, TLS, UPSTREAM_TLS};
use crate::limits;
use crate::plan::tls::{
    CertificatePlan, ClientAuth, Issuers, Material, Policy, Tickets, TlsPlan, UpstreamTls,
    ticket_keys,
};
use crate::problem::At;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// A file, with its place. Nothing where it cannot be read, which is noted.
pub(super) fn material(reading: &Reading, node: &Node) -> Option<Material> {
    let (path, bytes) = reading.file(node)?;
    if bytes.len() > limits::FILE_BYTES {
        let most = limits::FILE_BYTES / 1024;
        reading.error(node.at, "range", format!("a file has at most {most} KiB"));
        return None;
    }
    Some(Material {
        path,
        bytes: (&*bytes).into(),
        at: node.at,
    })
}

/// The SHA-256 of a certificate: digits in any case, colons between them as `openssl x509 -fingerprint` writes them.
pub(super) fn fingerprint(written: &Scalar) -> Result<Arc<str>, String> {
    let text = written.value();
    let digits: String = text.chars().filter(|&char| char != ':').collect();
    match digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(digits.to_ascii_lowercase().into()),
        false => Err(format!(
            "`{written}` is no fingerprint: it has the 64 hexadecimal digits of a SHA-256; `openssl x509 -noout -fingerprint -sha256 -in FILE` writes one"
        )),
    }
}

/// What of a certificate is not printable ASCII is written otherwise.
pub(super) fn plain(written: &Scalar, what: &str) -> Result<(), String> {
    let sound = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    match written.value().bytes().all(sound) {
        true => Ok(()),
        false => Err(format!(
            "`{written}` can be no {what}: bytes beyond printable ASCII are written as `\\c3\\a9`"
        )),
    }
}

/// A file that must be named.
fn wanted(fields: &Fields<'_>, at: At, key: &'static str) -> Option<Material> {
    if fields.get(key).is_none() {
        let message = format!("`{key}` is missing: name a file");
        fields.reading.error(at, "missing", message);
    }
    fields.with(key, material)
}

/// `tls: { policy: modern, certificates: [{ cert: a.pem, key: a.key }] }`
pub(super) fn listener(
    reading: &Reading,
    node: &Node,
    spoken: &'static [&'static str],
) -> Option<TlsPlan> {
    let fields = reading.map(node, &TLS)?;
    let policy = match fields.word("policy") {
        Some("modern") => Policy::Modern,
        _ => Policy::Intermediate,
    };
    let certificates = certificates(&fields);
    let client_auth = fields.with("client_auth", client_auth);
    let tickets = fields.with("tickets", tickets);
    let hsts = fields.with("hsts", hsts);
    let tcp = spoken.is_empty();
    if tcp {
        flows::of_http(&fields, "hsts");
    }
    let alpn = fields.with("alpn", alpn);
    if let (false, Some((key, _))) = (tcp, fields.stands("alpn")) {
        let message = "`alpn` is for a listener with `protocol: tcp`; which HTTP is agreed on, `http2` says: leave it out";
        reading.error(key.at, "protocol", message);
    }
    fields.done();
    Some(TlsPlan {
        policy,
        certificates,
        client_auth: client_auth.unwrap_or_default(),
        tickets: tickets.unwrap_or(Tickets::Own(limits::TICKETS_ROTATE)),
        hsts,
        spoken,
        alpn: alpn.unwrap_or_default(),
    })
}

/// `tls:` of the admin address: no tickets, so that who comes back is looked at anew.
pub(super) fn admin(reading: &Reading, node: &Node) -> Option<TlsPlan> {
    let fields = reading.map(node, &ADMIN_TLS)?;
    let policy = match fields.word("policy") {
        Some("modern") => Policy::Modern,
        _ => Policy::Intermediate,
    };
    let certificates = certificates(&fields);
    let client_auth = fields.with("client_auth", client_auth);
    fields.done();
    Some(TlsPlan {
        policy,
        certificates,
        client_auth: client_auth.unwrap_or_default(),
        tickets: Tickets::Off,
        hsts: None,
        spoken: &["http/1.1"],
        alpn: Vec::new(),
    })
}

/// `certificates:`, of which there is at least one.
fn certificates(fields: &Fields<'_>) -> Vec<CertificatePlan> {
    let reading = fields.reading;
    let list = fields.get("certificates");
    let items = list.map_or(&[][..], |list| reading.items(list));
    if items.is_empty() {
        let at = list.map_or(fields.at, |list| list.at);
        let message = "without a certificate there is no TLS; write `certificates: [{ cert: site.pem, key: site.key }]`";
        reading.error(at, "missing", message);
    }
    let what = format!("{} certificates of one listener", limits::CERTIFICATES);
    let items = reading.first(items, limits::CERTIFICATES, |node| node.at, &what);
    let each = |node| certificate(reading, node);
    items.iter().filter_map(each).collect()
}

/// Names of protocols, best first (RFC 7301 section 3.1).
fn alpn(reading: &Reading, node: &Node) -> Option<Vec<Arc<str>>> {
    let items = reading.items(node);
    let what = format!("{} protocols of one listener", limits::ALPN_NAMES);
    let items = reading.first(items, limits::ALPN_NAMES, |node| node.at, &what);
    let name = |node: &Node| {
        let name = reading.text(node)?;
        if !(1..=255).contains(&name.value().len()) {
            reading.error(node.at, "name", ALPN_NAME);
        }
        Some(name.value().into())
    };
    items.iter().map(name).collect()
}

/// What a protocol's name is.
pub(super) const ALPN_NAME: &str = "a protocol is named by 1 to 255 bytes, like `h2` or `http/1.1`";

fn certificate(reading: &Reading, node: &Node) -> Option<CertificatePlan> {
    let fields = reading.map(node, &CERTIFICATE)?;
    let cert = wanted(&fields, fields.at, "cert");
    let key = wanted(&fields, fields.at, "key");
    let ocsp = fields.with("ocsp", material);
    fields.done();
    Some(CertificatePlan {
        cert: cert?,
        key: key?,
        ocsp,
    })
}

fn client_auth(reading: &Reading, node: &Node) -> Option<ClientAuth> {
    if !matches!(node.value, Value::Map(_)) {
        reading.word(node, "value", &["off"])?;
        return Some(ClientAuth::Off);
    }
    let fields = reading.map(node, &CLIENT_AUTH)?;
    let mode = fields.word("mode");
    let ca = match mode {
        Some("off") => fields.with("ca", material),
        _ => wanted(&fields, fields.at, "ca"),
    };
    let crl = fields.with("crl", material);
    fields.done();
    let by = |ca| Issuers { ca, crl };
    Some(match mode {
        Some("off") => ClientAuth::Off,
        Some("request") => ClientAuth::Request(by(ca?)),
        _ => ClientAuth::Require(by(ca?)),
    })
}

fn tickets(reading: &Reading, node: &Node) -> Option<Tickets> {
    let own = Tickets::Own(limits::TICKETS_ROTATE);
    if !matches!(node.value, Value::Map(_)) {
        return match reading.word(node, "value", &["on", "off"])? {
            "off" => Some(Tickets::Off),
            _ => Some(own),
        };
    }
    let fields = reading.map(node, &TICKETS)?;
    let rotate = fields.with("rotate", Reading::wait);
    if let (Some(_), Some(node)) = (fields.get("file"), fields.get("rotate")) {
        let message = "the keys of a file are replaced by who writes it: leave `rotate` out";
        reading.error(node.at, "tickets", message);
    }
    let file = fields.with("file", |reading, node| {
        let file = material(reading, node)?;
        if let Err(message) = ticket_keys(&file.bytes) {
            reading.error(node.at, "tickets", message);
            return None;
        }
        Some(file)
    });
    fields.done();
    Some(match (file, rotate) {
        (Some(file), _) => Tickets::Shared(file),
        (None, Some(rotate)) => Tickets::Own(rotate),
        (None, None) => own,
    })
}

/// `hsts: 365d`, `hsts: { max_age: 365d, subdomains: true }`, as the field's value (RFC 6797 section 6.1).
fn hsts(reading: &Reading, node: &Node) -> Option<Arc<str>> {
    let value = |age: Duration| format!("max-age={}", age.as_secs());
    if !matches!(node.value, Value::Map(_)) {
        return reading.duration(node).map(|age| value(age).into());
    }
    let fields = reading.map(node, &HSTS)?;
    if fields.get("max_age").is_none() {
        let message = "`max_age` is missing: say for how long, like 365d";
        reading.error(fields.at, "missing", message);
    }
    let age = fields.with("max_age", Reading::duration);
    let subdomains = fields.with("subdomains", Reading::boolean) == Some(true);
    let preload = fields.with("preload", Reading::boolean) == Some(true);
    fields.done();
    let mut said = value(age?);
    for (wanted, word) in [(subdomains, "; includeSubDomains"), (preload, "; preload")] {
        said.push_str(if wanted { word } else { "" });
    }
    Some(said.into())
}

/// `tls: on`, `tls: { ca: ca.pem }`
pub(super) fn upstream(reading: &Reading, node: &Node) -> Option<Option<UpstreamTls>> {
    if !matches!(node.value, Value::Map(_)) {
        let on = reading.word(node, "value", &["on", "off"])? == "on";
        return Some(on.then(UpstreamTls::default));
    }
    let fields = reading.map(node, &UPSTREAM_TLS)?;
    let ca = fields.with("ca", material);
    let sni = fields.with("sni", |reading, node| {
        reading.parsed(node, "name", |text| {
            let text = text.value();
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
            match !text.is_empty() && text.len() <= 253 && text.bytes().all(letters) {
                true => Ok(Arc::from(text)),
                false => Err("a host name or an address is expected".into()),
            }
        })
    });
    let unverified = fields.word("verify") == Some("off");
    if let (true, Some(node)) = (unverified, fields.get("ca")) {
        let message = "with `verify: off` nothing is asked of an issuer: leave one of them out";
        reading.error(node.at, "verify", message);
    }
    let certificate = match (fields.get("cert"), fields.get("key")) {
        (None, None) => None,
        _ => {
            let cert = wanted(&fields, fields.at, "cert");
            cert.zip(wanted(&fields, fields.at, "key"))
        }
    };
    fields.done();
    Some(Some(UpstreamTls {
        ca,
        sni,
        unverified,
        certificate,
        spoken: &[],
    }))
}
