//! Owns which clients are near which zone, as a program writes it: networks in text, by zone. The table is the core's.

use std::fmt;
use std::net::IpAddr;

use evenkeel_balance::regions::{Network, Regions as Table};
use evenkeel_balance::zone::ZoneId;

/// Networks of clients with the zone that they are nearest to; of several that hold an address, the longest counts.
///
/// ```
/// use evenkeel::{Ask, BackendSpec, LoadBalancer, Regions, ServiceSettings, Zone, ZoneSettings};
///
/// let regions = Regions::new([("10.0.0.0/8", "eu"), ("10.7.0.0/16", "us"), ("2001:db8::/32", "us")])?;
/// let balancer = LoadBalancer::new();
/// let zones = ZoneSettings::default().local(Zone::from("eu"));
/// let settings = ServiceSettings::default().zones(zones);
/// let backends = [BackendSpec::new("a:80").zone("eu"), BackendSpec::new("b:80").zone("us")];
/// balancer.register("api", settings, backends)?;
/// let select = |client: &str| {
///     let ask = Ask::new().near(&regions, client.parse()?);
///     Ok::<_, Box<dyn std::error::Error>>(balancer.select_with("api", &ask)?.id().to_string())
/// };
/// assert_eq!(select("10.7.1.2")?, "b:80");
/// assert_eq!(select("10.1.1.2")?, "a:80");
/// assert_eq!(select("192.0.2.1")?, "a:80", "nowhere: the program's own zone");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Regions(Table);

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoNetwork(pub String);

impl fmt::Display for NoNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a network is written like `10.0.0.0/8` or `2001:db8::/32`, not `{}`",
            self.0
        )
    }
}

impl std::error::Error for NoNetwork {}

impl Regions {
    /// The table of these networks, each with its zone's name; of one that comes twice the last holds. Cost: networks, sorted.
    ///
    /// # Errors
    /// The first text that is no network.
    pub fn new<'t>(
        networks: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Result<Self, NoNetwork> {
        let mut all = Vec::new();
        for (network, zone) in networks {
            let read = read(network).ok_or_else(|| NoNetwork(network.to_owned()))?;
            all.push((read, ZoneId::named(zone)));
        }
        Ok(Self(Table::new(all)))
    }

    /// The zone of a client. An address of IPv4 in one of IPv6 is one of IPv4. Cost: a search.
    #[must_use]
    pub fn zone_of(&self, client: IpAddr) -> Option<ZoneId> {
        match client.to_canonical() {
            IpAddr::V4(address) => self.0.four(address.to_bits()),
            IpAddr::V6(address) => self.0.six(address.to_bits()),
        }
    }
}

fn read(text: &str) -> Option<Network> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let plain = |bits: &&str| !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u8 = match bits {
        Some(bits) => Some(bits).filter(plain)?.parse().ok()?,
        None => most,
    };
    (bits <= most).then_some(())?;
    Some(match address {
        IpAddr::V4(address) => Network::Four(address.to_bits(), bits),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            // Clients are looked for as what they are.
            Some(mapped) if bits >= 96 => Network::Four(mapped.to_bits(), bits - 96),
            _ => Network::Six(address.to_bits(), bits),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_as_they_are_written() {
        let check = |network: &str, client: &str, inside: bool| {
            let regions = Regions::new([(network, "eu")]).expect("a network");
            let client = client.parse().expect("an address");
            let expect = inside.then(|| ZoneId::named("eu"));
            assert_eq!(regions.zone_of(client), expect, "{client} in {network}");
        };
        check("10.0.0.0/8", "10.1.2.3", true);
        check("10.0.0.0/8", "11.1.2.3", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("10.9.9.9/8", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.4", false);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "::1", false);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("2001:db8::1", "2001:db8::1", true);
        check("::/0", "2001:db8::1", true);
        check("::/0", "10.0.0.1", false);
        check("::ffff:10.0.0.0/104", "10.1.2.3", true);
        check("::ffff:0:0/96", "10.1.2.3", true);
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "a",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "/8",
        ] {
            assert_eq!(
                Regions::new([(wrong, "eu")]).err(),
                Some(NoNetwork(wrong.into()))
            );
        }
    }
}
