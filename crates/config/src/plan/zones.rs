//! Owns what a plan says of zones: whose zone a service prefers, and which clients are near which zone.

use std::net::IpAddr;

use evenkeel_balance::regions::{Network, Regions};
use evenkeel_balance::zone::{Zone, ZoneId};
use ipnet::IpNet;

use super::ServicePlan;

/// Whose zone comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// The instance's.
    #[default]
    Local,
    /// The client's; of one that is in no region, the instance's.
    Client,
}

/// The clients that are near one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionPlan {
    /// The zone.
    pub zone: Zone,
    /// Their networks; none stands in another region too.
    pub networks: Vec<IpNet>,
}

impl ServicePlan {
    /// Whether its asks name their clients' zones.
    #[must_use]
    pub const fn prefers_clients(&self) -> bool {
        self.settings.zones.is_some() && matches!(self.prefer, Prefer::Client)
    }
}

/// The table of these regions, in which the longest network wins.
#[must_use]
pub fn table(regions: &[RegionPlan]) -> Regions {
    let each = regions.iter().flat_map(|region| {
        let networks = region.networks.iter();
        networks.map(|network| (of(network), region.zone.id()))
    });
    Regions::new(each)
}

/// The zone of a client. An address of IPv4 in one of IPv6 is one of IPv4.
#[must_use]
pub fn zone_of(regions: &Regions, client: IpAddr) -> Option<ZoneId> {
    match client.to_canonical() {
        IpAddr::V4(address) => regions.four(address.to_bits()),
        IpAddr::V6(address) => regions.six(address.to_bits()),
    }
}

fn of(network: &IpNet) -> Network {
    match network {
        IpNet::V4(network) => Network::Four(network.network().to_bits(), network.prefix_len()),
        IpNet::V6(network) => Network::Six(network.network().to_bits(), network.prefix_len()),
    }
}
