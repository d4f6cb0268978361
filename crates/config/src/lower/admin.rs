//! Owns `admin:`. Who may do what there is in `admin/holders.rs`.

use std::sync::Arc;

use super::{address, tls};
use crate::keys::{ADMIN, RECORDS, SOCKET};
use crate::limits;
use crate::plan::admin::{Area, RecordsPlan, SocketPlan, Verb};
use crate::plan::tls::ClientAuth;
use crate::plan::{AdminPlan, Bind};
use crate::read::{Fields, Reading, Scalar};
use crate::tree::Node;

/// Who is known, and what each may do.
mod holders;

/// `{ bind: 127.0.0.1:9900, metrics: 0.0.0.0:9901, tokens: tokens.yaml }`
pub(super) fn read(reading: &Reading, node: &Node) -> Option<AdminPlan> {
    let fields = reading.map(node, &ADMIN)?;
    let bind = match fields.get("bind") {
        Some(node) if reading.text(node).is_some_and(|text| text.value() == "off") => None,
        Some(node) => reading.parsed(node, "address", address::bind),
        None => default().bind,
    };
    let metrics = fields.with("metrics", |reading, node| {
        reading.parsed(node, "address", address::bind)
    });
    let socket = fields.with("socket", socket);
    let hosts = fields.with("hosts", |reading, node| Some(hosts(reading, node)));
    let tls = fields.with("tls", tls::admin);
    let tokens = fields.with("tokens", holders::tokens);
    let identities = fields.with("identities", |reading, node| {
        let all = tokens.iter().flat_map(|file| &file.tokens);
        let taken: Vec<_> = all.map(|one| &*one.holder.name).collect();
        Some(holders::identities(reading, node, &taken))
    });
    let audited = fields.with("audit_decisions", Reading::share);
    let plan = AdminPlan {
        bind,
        metrics,
        socket: socket.unwrap_or_default(),
        hosts: hosts.unwrap_or_default(),
        tls,
        tokens,
        identities: identities.unwrap_or_default(),
        decisions_audited: audited.map_or(limits::DECISIONS_AUDITED, of_a_million),
        records: fields.with("records", records).unwrap_or_default(),
    };
    whole(&fields, &plan);
    fields.done();
    Some(plan)
}

/// This machine only.
pub(super) fn default() -> AdminPlan {
    AdminPlan {
        bind: Some(Bind::Tcp(limits::ADMIN)),
        ..AdminPlan::default()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share lies between 0 and 1"
)]
pub(super) fn of_a_million(share: f64) -> u32 {
    (share * 1e6).round() as u32
}

/// What goes together, and what does not. What could not be read is not missing.
fn whole(fields: &Fields<'_>, plan: &AdminPlan) {
    let reading = fields.reading;
    let stands = |key| fields.stands(key).map(|(key, _)| key.at);
    let known = stands("tokens").or(stands("identities")).is_some();
    match (fields.stands("bind"), &plan.bind) {
        (Some((_, node)), Some(Bind::Tcp(address)))
            if !address.ip().to_canonical().is_loopback() =>
        {
            if !known {
                let message = "beyond loopback anybody could change everything: say who may with `tokens` (`evenkeel token create` makes one) or `identities`, or bind it to 127.0.0.1 or a Unix socket";
                reading.error(node.at, "admin_open", message);
            } else if stands("tls").is_none() {
                let message = "tokens go over the network unencrypted, and who reads one has it: give `admin` a `tls`";
                reading.warning(node.at, "admin_plain", message);
            }
        }
        _ => {}
    }
    let unix = matches!(plan.bind, Some(Bind::Unix(_)));
    if let (true, Some(at)) = (unix, stands("tls")) {
        let message = "`bind` is a Unix socket, which nothing leaves: leave `tls` out";
        reading.error(at, "admin_socket", message);
    }
    if let (false, Some(at)) = (unix, stands("socket")) {
        let message = "`socket` is for a `bind` like `unix:/run/evenkeel/admin.sock`";
        reading.error(at, "admin_socket", message);
    }
    let asks = plan.tls.as_ref().map(|tls| &tls.client_auth);
    let nobody_shows = match asks {
        None => stands("tls").is_none(),
        Some(asked) => *asked == ClientAuth::Off,
    };
    let mut tokens = plan.tokens.iter().flat_map(|file| &file.tokens);
    let may_ask = tokens.any(|one| one.holder.scopes.has(Area::Decisions, Verb::Read));
    // A file that could not be read is told of already.
    let read = stands("tokens").is_some() <= plan.tokens.is_some();
    if let (true, true, Some(at)) = (plan.records.header && !may_ask, read, stands("records")) {
        let message = "`header` is for whoever shows a token with the scope `decisions:read`, and nobody has one: name a file of `tokens`";
        reading.warning(at, "records", message);
    }
    if let (true, Some(at)) = (nobody_shows, stands("identities")) {
        let message = "nobody is asked for a certificate: write `tls: { client_auth: { ca: clients.pem, mode: request } }`";
        reading.error(at, "identities", message);
    }
}

/// `{ share: 0.1%, header: true }`
fn records(reading: &Reading, node: &Node) -> Option<RecordsPlan> {
    let fields = reading.map(node, &RECORDS)?;
    let share = fields.with("share", Reading::share);
    let header = fields.with("header", Reading::boolean);
    fields.done();
    Some(RecordsPlan {
        share: share.map_or(0, of_a_million),
        header: header.unwrap_or_default(),
    })
}

/// `{ mode: 0660, user: keel, group: adm }`
fn socket(reading: &Reading, node: &Node) -> Option<SocketPlan> {
    let fields = reading.map(node, &SOCKET)?;
    let default = SocketPlan::default();
    let mode = fields.with("mode", |reading, node| reading.parsed(node, "mode", mode));
    let name = |key| Some(Arc::from(fields.text(key)?.value()));
    let [user, group] = ["user", "group"].map(name);
    fields.done();
    Some(SocketPlan {
        mode: mode.unwrap_or(default.mode),
        user,
        group,
    })
}

fn mode(written: &Scalar) -> Result<u32, String> {
    let text = written.value();
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| digits);
    mode.filter(|mode| *mode <= 0o777).ok_or_else(|| {
        format!("permissions are three digits from 0 to 7, as `chmod` takes them, like `0660`, not `{written}`")
    })
}

fn hosts(reading: &Reading, node: &Node) -> Vec<Arc<str>> {
    let items = reading.items(node);
    let what = format!("{} names", limits::ADMIN_HOSTS);
    let items = reading.first(items, limits::ADMIN_HOSTS, |node| node.at, &what);
    let each = |node| reading.parsed(node, "name", host);
    items.iter().filter_map(each).collect()
}

/// As `Host` has it without its port.
fn host(written: &Scalar) -> Result<Arc<str>, String> {
    let text = written.value();
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match (1..=253).contains(&text.len()) && text.bytes().all(letters) {
        true => Ok(text.to_ascii_lowercase().into()),
        false => Err(format!(
            "`{written}` is no name of a host: write it like `keel.example.com`, without a port"
        )),
    }
}
