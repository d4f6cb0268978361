//! Owns `zone:` and `regions:` at the top, and `zones:` and `overprovision:` of a service.

use std::collections::{HashMap, HashSet};

use evenkeel_balance::settings::{Overprovision, ServiceSettings, ZoneSettings};
use evenkeel_balance::zone::Zone;
use ipnet::IpNet;

use super::{Placed, address};
use crate::keys::ZONES;
use crate::limits;
use crate::plan::{Prefer, RegionPlan, ServicePlan};
use crate::problem::{At, clipped};
use crate::read::{Fields, Reading};
use crate::tree::{Node, Value};

/// `zone:`, at the top or of a backend.
pub(super) fn zone(reading: &Reading, node: &Node) -> Option<Zone> {
    reading.parsed(node, "zone", |text| match text.value() {
        "" => Err("a zone needs a name; leave `zone` out where there is none".into()),
        name => Ok(Zone::from(name)),
    })
}

/// `regions:`
pub(super) fn regions(reading: &Reading, node: &Node) -> Vec<Placed<RegionPlan>> {
    let Some(all) = reading.free(node, "regions") else {
        return Vec::new();
    };
    let what = format!(
        "{} networks, those of all regions together",
        limits::REGION_NETWORKS
    );
    let mut left = limits::REGION_NETWORKS;
    let mut seen: HashMap<IpNet, (At, &str)> = HashMap::new();
    let mut regions = Vec::new();
    for (key, node) in all {
        let items = reading.items(node);
        let items = reading.first(items, left, |node| node.at, &what);
        left -= items.len();
        let mut networks = Vec::new();
        for node in items {
            let Some(network) = reading.parsed(node, "address", address::network) else {
                continue;
            };
            if let Some((earlier, region)) = seen.get(&network) {
                let message = format!("`{network}` is in `{}` already", clipped(region));
                reading.error_with(node.at, "duplicate_network", message, *earlier);
                continue;
            }
            seen.insert(network, (node.at, &key.text));
            networks.push(network);
        }
        if items.is_empty() && left > 0 {
            reading.warning(key.at, "empty", "a region without networks has no clients");
        }
        regions.push(Placed {
            at: key.at,
            part: RegionPlan {
                zone: Zone::from(&*key.text),
                networks,
            },
        });
    }
    regions
}

/// `overprovision:` and `zones:` of a service: whose zone comes first. Which is the instance's own, the whole knows.
pub(super) fn shared(fields: &Fields<'_>, settings: &mut ServiceSettings) -> Prefer {
    let factor = &mut settings.overprovision;
    fields.set("overprovision", overprovision, factor);
    let (prefer, zones) = read(fields).unzip();
    settings.zones = zones;
    prefer.unwrap_or_default()
}

fn read(fields: &Fields<'_>) -> Option<(Prefer, ZoneSettings)> {
    let (reading, node) = (fields.reading, fields.get("zones")?);
    let prefers = |word: Option<&str>| match word {
        Some("client") => Prefer::Client,
        _ => Prefer::Local,
    };
    let mut settings = ZoneSettings::default();
    if !matches!(node.value, Value::Map(_)) {
        let word = fields.word("zones")?;
        return (word != "off").then_some((prefers(Some(word)), settings));
    }
    let map = reading.map(node, &ZONES)?;
    let prefer = prefers(map.word("prefer"));
    map.set_number("min_backends", &mut settings.min_backends);
    map.done();
    Some((prefer, settings))
}

fn overprovision(reading: &Reading, node: &Node) -> Option<Overprovision> {
    reading.parsed(node, "overprovision", |text| {
        let number = text.value();
        let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        let factor = number.parse().ok();
        let factor = factor.filter(|_| number.bytes().all(plain));
        factor
            .and_then(Overprovision::new)
            .ok_or_else(|| format!("a number from 1 to 1000 is expected, like `1.4`, not `{text}`"))
    })
}

/// Puts the instance's zone into the services that heed zones, and says of zones and regions what helps nobody.
pub(super) fn settle(
    services: &mut [Placed<ServicePlan>],
    local: Option<&(At, Zone)>,
    regions: &[Placed<RegionPlan>],
    reading: &Reading,
) {
    let mut near = HashSet::new();
    let mut asked = false;
    for placed in services {
        let (at, service) = (placed.at, &mut placed.part);
        let Some(settings) = &mut service.settings.zones else {
            continue;
        };
        settings.local = local.map(|(_, zone)| zone.clone());
        let backends = service.backends.iter().map(|one| &one.spec);
        let all = backends.chain(service.names.iter().map(|one| &one.spec));
        let zones: HashSet<&str> = all
            .filter_map(|spec| Some(spec.zone.as_ref()?.name()))
            .collect();
        let name = &service.name;
        match (service.prefer, local) {
            (Prefer::Local, None) => {
                let message = format!(
                    "`{name}` prefers the instance's own zone, which is not named; write `zone: NAME` at the top"
                );
                reading.error(at, "zone", message);
            }
            (_, Some((_, own))) if !zones.contains(own.name()) => {
                let message = format!(
                    "no backend of `{name}` stands in zone `{}`, the instance's own",
                    clipped(own.name())
                );
                reading.warning(at, "zone", message);
            }
            _ => {}
        }
        if service.prefer == Prefer::Client {
            asked = true;
            near.extend(zones.into_iter().map(str::to_owned));
            if regions.is_empty() {
                let message = format!(
                    "`{name}` prefers its clients' zones, and no client is in a region; write `regions: {{ NAME: [NETWORK] }}` at the top"
                );
                reading.warning(at, "zone", message);
            }
        }
    }
    for region in regions {
        let zone = region.part.zone.name();
        let message = match asked {
            false => {
                "no service prefers its clients' zones: regions are for `zones: { prefer: client }`"
                    .to_owned()
            }
            true if !near.contains(zone) => format!(
                "no backend of a service that prefers its clients' zones stands in zone `{}`",
                clipped(zone)
            ),
            true => continue,
        };
        reading.warning(region.at, "region", message);
    }
}
