//! Owns `proxy_protocol:`, of a listener and of `upstream:`.

use std::sync::Arc;

use ipnet::IpNet;

use super::address::network;
use crate::keys::{LISTENER_PROXY, TLVS, UPSTREAM_PROXY};
use crate::limits;
use crate::plan::{Bind, ProxyHeader, ProxyPeers, ProxyTlv, ProxyVersion};
use crate::read::{Fields, Reading};
use crate::tree::{Node, Value};

/// `proxy_protocol:` of a listener with these addresses, or that there is none. None: it cannot be read.
pub(super) fn listener(fields: &Fields<'_>, binds: &[Bind]) -> Option<Option<Arc<ProxyPeers>>> {
    let node = fields.get("proxy_protocol");
    node.map_or(Some(None), |node| {
        peers(fields.reading, node, binds).map(Some)
    })
}

/// `{ from: [10.0.0.0/8, unix] }`
fn peers(reading: &Reading, node: &Node, binds: &[Bind]) -> Option<Arc<ProxyPeers>> {
    let fields = reading.map(node, &LISTENER_PROXY)?;
    let at = fields.at;
    let list = fields.get("from");
    fields.done();
    let what = format!("{} networks", limits::NETWORKS);
    let items = list.map_or(&[][..], |list| reading.items(list));
    if items.is_empty() {
        let message = "without `from` nobody is served; write `from: [10.0.0.0/8]`";
        reading.error(list.map_or(at, |list| list.at), "missing", message);
        return None;
    }
    let items = reading.first(items, limits::NETWORKS, |node| node.at, &what);
    let mut peers = ProxyPeers {
        networks: Vec::new(),
        unix: false,
    };
    for item in items {
        let one = reading.parsed(item, "address", |text| match text.value() {
            "unix" => Ok(None),
            _ => network(text).map(Some),
        });
        match one? {
            Some(network) if network.prefix_len() == 0 => {
                let message = match network {
                    IpNet::V4(_) => "anybody over IPv4 may say here who it is",
                    IpNet::V6(_) => {
                        "anybody over IPv6 may say here who it is; over IPv4 it holds for nobody"
                    }
                };
                reading.warning(item.at, "everybody", message);
                peers.networks.push(network);
            }
            Some(network) => peers.networks.push(network),
            None => peers.unix = true,
        }
    }
    let over_unix = |bind: &Bind| matches!(bind, Bind::Unix(_));
    if binds.iter().any(over_unix) != peers.unix {
        let message = match peers.unix {
            true => "the listener has no Unix socket: leave `unix` out",
            false => {
                "nobody is served over the listener's Unix socket: add `unix`, or take it from `bind`"
            }
        };
        reading.error(at, "unix", message);
    }
    if peers.networks.is_empty() && !binds.iter().all(over_unix) {
        let message = "nobody is served over TCP: add a network, or take the address from `bind`";
        reading.error(at, "missing", message);
    }
    Some(Arc::new(peers))
}

/// `proxy_protocol: v2`, `proxy_protocol: { version: v2, tlvs: [ssl] }`
pub(super) fn upstream(reading: &Reading, node: &Node) -> Option<Option<Arc<ProxyHeader>>> {
    if !matches!(node.value, Value::Map(_)) {
        let version = match reading.word(node, "value", &["off", "v1", "v2"])? {
            "v1" => ProxyVersion::V1,
            "v2" => ProxyVersion::V2,
            _ => return Some(None),
        };
        let tlvs = Vec::new();
        return Some(Some(Arc::new(ProxyHeader { version, tlvs })));
    }
    let fields = reading.map(node, &UPSTREAM_PROXY)?;
    let version = match fields.word("version") {
        Some("v1") => ProxyVersion::V1,
        _ => ProxyVersion::V2,
    };
    let mut tlvs = Vec::new();
    if let Some(list) = fields.get("tlvs") {
        let items = reading.items(list);
        if let (ProxyVersion::V1, [first, ..]) = (version, items) {
            let message = "a header of version 1 has only addresses: leave `tlvs` out, or write `version: v2`";
            reading.error(first.at, "tlvs", message);
        }
        for item in items {
            let tlv = match reading.word(item, "value", TLVS) {
                Some("alpn") => ProxyTlv::Alpn,
                Some("authority") => ProxyTlv::Authority,
                Some("ssl") => ProxyTlv::Ssl,
                Some("unique_id") => ProxyTlv::UniqueId,
                Some(_) => ProxyTlv::Checksum,
                None => continue,
            };
            if tlvs.contains(&tlv) {
                reading.error(item.at, "twice", "it stands here twice");
                continue;
            }
            tlvs.push(tlv);
        }
    }
    fields.done();
    Some(Some(Arc::new(ProxyHeader { version, tlvs })))
}
