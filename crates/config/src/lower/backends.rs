//! Owns `backends:` of a service: addresses, and names that stand for several.

use std::collections::{BTreeMap, HashMap};
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::{Admin, BackendSpec, Weight};

use super::{Written, address, zones};
use crate::keys::BACKEND;
use crate::plan::{BackendAddress, BackendPlan, NamePlan, Question};
use crate::problem::At;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// A member with what messages say of it.
pub(super) struct Member {
    at: At,
    /// Its address or name as written.
    written: Scalar,
    id: Scalar,
    is: Is,
}

enum Is {
    Backend(BackendPlan),
    Name(NamePlan),
}

impl Member {
    const fn spec(&self) -> &BackendSpec {
        match &self.is {
            Is::Backend(backend) => &backend.spec,
            Is::Name(name) => &name.spec,
        }
    }
}

/// The members of one service; the addresses among them join those of all.
pub(super) fn read(
    reading: &Reading,
    node: &Node,
    name: &Arc<str>,
    all: &mut Vec<Written<BackendAddress>>,
) -> Vec<Member> {
    let items = reading.backends(node);
    if items.is_empty() && matches!(&node.value, Value::List(items) if items.is_empty()) {
        reading.error(
            node.at,
            "empty",
            "a service without backends serves nothing",
        );
    }
    let members = items.iter().filter_map(|node| member(reading, node));
    let members: Vec<_> = members.collect();
    all.extend(members.iter().filter_map(|one| match &one.is {
        Is::Backend(backend) => Some(Written {
            at: one.at,
            shown: one.written.clone(),
            of: name.clone(),
            address: backend.address.clone(),
        }),
        Is::Name(_) => None,
    }));
    members
}

/// What only all members together can have wrong.
pub(super) fn together(reading: &Reading, at: At, name: &str, members: &[Member]) {
    let mut seen: HashMap<&str, At> = HashMap::with_capacity(members.len());
    for one in members {
        if let Some(earlier) = seen.insert(one.spec().id.as_str(), one.at) {
            reading.error_with(
                one.at,
                "duplicate_backend",
                format!(
                    "backend `{}` stands here twice; give the second one an `id`",
                    one.id
                ),
                earlier,
            );
        }
    }
    let no_weight = |one: &Member| one.spec().weight == Weight::ZERO;
    if !members.is_empty() && members.iter().all(no_weight) {
        reading.warning(
            at,
            "weights",
            format!("all backends of `{name}` have weight 0: nothing is sent to any of them"),
        );
    }
}

/// Those that stand there by address, and names.
pub(super) fn parted(members: Vec<Member>) -> (Vec<BackendPlan>, Vec<NamePlan>) {
    let (mut backends, mut names) = (Vec::new(), Vec::new());
    for member in members {
        match member.is {
            Is::Backend(backend) => backends.push(backend),
            Is::Name(name) => names.push(name),
        }
    }
    (backends, names)
}

fn member(reading: &Reading, node: &Node) -> Option<Member> {
    if !matches!(node.value, Value::Map(_)) {
        return bare(reading, node);
    }
    let map = reading.map(node, &BACKEND)?;
    let at = map.at;
    let reached = reached(&map);
    let own_id = map.text("id");
    let refresh = map.with("refresh", Reading::wait);
    let weight = map
        .number("weight")
        .map_or(Some(Weight::ONE), |weight| Weight::new(weight).ok());
    let tier = map.number("tier");
    let max_in_flight = map.number("max_in_flight").and_then(NonZeroU32::new);
    let max_connections = map.number("max_connections").and_then(NonZeroUsize::new);
    let zone = map.with("zone", zones::zone);
    let admin = match map.word("state") {
        Some("draining") => Admin::Draining,
        Some("disabled") => Admin::Disabled,
        _ => Admin::Enabled,
    };
    let labels = map.with("labels", labels);
    goes_together(&map);
    map.done();
    let (written, reached) = reached?;
    let id = own_id.clone().unwrap_or_else(|| written.clone());
    let mut spec = BackendSpec::new(id.value())
        .weight(weight?)
        .tier(tier.unwrap_or_default())
        .admin(admin);
    spec.max_in_flight = max_in_flight;
    spec.labels = labels.unwrap_or_default();
    spec.zone = zone;
    let is = match reached {
        Reached::At(address) => Is::Backend(BackendPlan {
            spec,
            address,
            max_connections,
        }),
        Reached::By(question, port) => Is::Name(NamePlan {
            question,
            port,
            // What the resolver's ceiling makes of it, the whole knows.
            refresh: refresh.unwrap_or(Duration::MAX),
            id: own_id.map(|id| id.value().into()),
            spec,
            max_connections,
        }),
    };
    Some(Member {
        at,
        written,
        id,
        is,
    })
}

/// One that is an address and nothing else.
fn bare(reading: &Reading, node: &Node) -> Option<Member> {
    let text = reading.text(node)?;
    let address = reading.parsed(node, "address", |text| at_home(reading, node, text))?;
    let spec = BackendSpec::new(text.value());
    Some(Member {
        at: node.at,
        written: text.clone(),
        id: text,
        is: Is::Backend(BackendPlan {
            spec,
            address,
            max_connections: None,
        }),
    })
}

/// An address; a socket in the file system only where a text of the configuration names it: behind one may be what trusts whoever can
/// reach it, an admin address too.
fn at_home(reading: &Reading, node: &Node, text: &Scalar) -> Result<BackendAddress, String> {
    let address = address::backend(text)?;
    match &address {
        BackendAddress::Unix(_) if reading.is_beside(node) => Err(
            "what is changed beside the configuration names no Unix socket: whoever may change it need not be who may reach this machine's sockets"
                .to_owned(),
        ),
        _ => Ok(address),
    }
}

/// Where a member is reached, or who is asked.
enum Reached {
    At(BackendAddress),
    By(Question, Option<NonZeroU16>),
}

/// What stands at the one of three keys, as written and read.
fn reached(map: &Fields<'_>) -> Option<(Scalar, Reached)> {
    let reading = map.reading;
    let keys = ["address", "dns", "srv"].map(|key| map.get(key).map(|node| (key, node)));
    let mut stand = keys.into_iter().flatten();
    let Some((key, node)) = stand.next() else {
        reading.error(
            map.at,
            "missing",
            "a backend needs its `address`, or `dns` or `srv` with a name to look up",
        );
        return None;
    };
    if let Some((other, node)) = stand.next() {
        let message = format!("`{key}` and `{other}` are two backends; write them as two");
        reading.error(node.at, "backend", message);
    }
    let text = reading.text(node)?;
    let read = match key {
        "address" => at_home(reading, node, &text).map(Reached::At),
        "dns" => address::dns(&text).map(|(name, port)| Reached::By(name, Some(port))),
        _ => address::srv(&text).map(|name| Reached::By(name, None)),
    };
    let read = read.map_err(|message| reading.error(node.at, "address", message));
    Some((text, read.ok()?))
}

/// Keys that say nothing beside others.
fn goes_together(map: &Fields<'_>) {
    let reading = map.reading;
    if let (Some(node), true) = (map.get("refresh"), map.stands("address").is_some()) {
        let message = "`refresh` is for names that are asked for again, `dns` or `srv`";
        reading.error(node.at, "refresh", message);
    }
}

fn labels(reading: &Reading, node: &Node) -> Option<BTreeMap<String, String>> {
    let all = reading.free(node, "labels")?.iter();
    let labels = all
        .filter_map(|(key, node)| Some((key.text.clone(), reading.text(node)?.value().to_owned())));
    Some(labels.collect())
}
