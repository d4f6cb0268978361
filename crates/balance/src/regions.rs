//! Owns the table that says which zone a client's address is nearest to: networks, of which the longest that holds an address wins.
//!
//! Networks nest or stand apart, so they make a row of stretches of the address space, each with one zone or none. A look-up is a
//! search among where these begin: about 14 comparisons of 10,000 networks. IPv4 and IPv6 have a row each: `::/0` says nothing of a
//! client of IPv4.

use crate::zone::ZoneId;

/// Networks of clients with the zones that they are nearest to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regions {
    four: Row,
    six: Row,
}

/// A network of clients: an address of its family, and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Of IPv4; more than 32 bits are 32.
    Four(u32, u8),
    /// Of IPv6; more than 128 bits are 128.
    Six(u128, u8),
}

/// Where stretches begin, in order, and whose they are. Before the first one is nobody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    begins: Box<[u128]>,
    zones: Box<[Option<ZoneId>]>,
}

impl Regions {
    /// The table of these; of a network that comes twice, the last one holds. Cost: networks, sorted.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = (Network, ZoneId)>) -> Self {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for (network, zone) in networks {
            match network {
                Network::Four(address, bits) => {
                    four.push(stretch(
                        address.into(),
                        32_u32.saturating_sub(bits.into()),
                        zone,
                    ));
                }
                Network::Six(address, bits) => {
                    six.push(stretch(address, 128_u32.saturating_sub(bits.into()), zone));
                }
            }
        }
        Self {
            four: Row::of(four),
            six: Row::of(six),
        }
    }

    /// The zone of a client of IPv4. None: no network holds its address.
    #[must_use]
    pub fn four(&self, address: u32) -> Option<ZoneId> {
        self.four.zone(address.into())
    }

    /// The zone of a client of IPv6.
    #[must_use]
    pub fn six(&self, address: u128) -> Option<ZoneId> {
        self.six.zone(address)
    }
}

/// A network as its first address, its last one, and its zone.
type Stretch = (u128, u128, ZoneId);

fn stretch(address: u128, free: u32, zone: ZoneId) -> Stretch {
    let free = match free {
        128.. => u128::MAX,
        free => (1 << free) - 1,
    };
    (address & !free, address | free, zone)
}

impl Row {
    fn of(mut networks: Vec<Stretch>) -> Self {
        // By where they begin, the wider first. Stable, so that the last of two that are the same stands last, and inside.
        networks.sort_by_key(|&(first, last, _)| (first, u128::MAX - last));
        let mut row: Vec<(u128, Option<ZoneId>)> = Vec::new();
        // Those that hold the place where we are, the widest first.
        let mut open: Vec<Stretch> = Vec::new();
        for network in networks {
            close(&mut open, Some(network.0), &mut row);
            begin(&mut row, network.0, Some(network.2));
            open.push(network);
        }
        close(&mut open, None, &mut row);
        let (begins, zones): (Vec<_>, Vec<_>) = row.into_iter().unzip();
        Self {
            begins: begins.into(),
            zones: zones.into(),
        }
    }

    fn zone(&self, address: u128) -> Option<ZoneId> {
        let at = self.begins.partition_point(|begin| *begin <= address);
        *self.zones.get(at.checked_sub(1)?)?
    }
}

/// Ends those that end before `until`, or all: behind each goes on the one around it.
fn close(open: &mut Vec<Stretch>, until: Option<u128>, row: &mut Vec<(u128, Option<ZoneId>)>) {
    while let Some(&(_, last, _)) = open.last() {
        if until.is_some_and(|until| last >= until) {
            break;
        }
        open.pop();
        let around = open.last().map(|(_, _, zone)| *zone);
        // Behind the last address there is none.
        if let Some(behind) = last.checked_add(1) {
            begin(row, behind, around);
        }
    }
}

/// From here on; what began here too is covered whole.
fn begin(row: &mut Vec<(u128, Option<ZoneId>)>, at: u128, zone: Option<ZoneId>) {
    if row.last().is_some_and(|(last, _)| *last == at) {
        row.pop();
    }
    row.push((at, zone));
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn four(text: &str) -> (u32, u8) {
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let parts = address
            .split('.')
            .map(|part| part.parse::<u32>().expect("a number"));
        (
            parts.fold(0, |all, part| all << 8 | part),
            bits.parse().expect("a number"),
        )
    }

    fn regions(networks: &[(&str, &str)]) -> Regions {
        let each = networks.iter().map(|(network, zone)| {
            let (address, bits) = four(network);
            (Network::Four(address, bits), ZoneId::named(zone))
        });
        Regions::new(each)
    }

    #[test]
    fn the_longest_network_wins() {
        let table = regions(&[
            ("10.0.0.0/8", "eu"),
            ("10.1.0.0/16", "us"),
            ("10.1.2.0/24", "eu"),
            ("10.1.2.7", "asia"),
            ("10.1.3.0/24", "asia"),
            ("192.0.2.128/25", "us"),
        ]);
        let check = |address: &str, zone: Option<&str>| {
            assert_eq!(
                table.four(four(address).0),
                zone.map(ZoneId::named),
                "{address}"
            );
        };
        check("9.255.255.255", None);
        check("10.0.0.0", Some("eu"));
        check("10.0.255.255", Some("eu"));
        check("10.1.0.0", Some("us"));
        check("10.1.2.0", Some("eu"));
        check("10.1.2.6", Some("eu"));
        check("10.1.2.7", Some("asia"));
        check("10.1.2.8", Some("eu"));
        check("10.1.2.255", Some("eu"));
        check("10.1.3.0", Some("asia"));
        check("10.1.3.255", Some("asia"));
        check("10.1.4.0", Some("us"));
        check("10.2.0.0", Some("eu"));
        check("10.255.255.255", Some("eu"));
        check("11.0.0.0", None);
        check("192.0.2.127", None);
        check("192.0.2.128", Some("us"));
        check("192.0.3.0", None);
    }

    #[test]
    fn all_of_a_family_and_the_last_address() {
        let all = regions(&[("0.0.0.0/0", "eu"), ("255.255.255.255", "us")]);
        assert_eq!(all.four(0), Some(ZoneId::named("eu")));
        assert_eq!(all.four(u32::MAX - 1), Some(ZoneId::named("eu")));
        assert_eq!(all.four(u32::MAX), Some(ZoneId::named("us")));
        assert_eq!(all.six(5), None, "the other family");
        let six = [
            (Network::Six(0, 0), ZoneId::named("eu")),
            (Network::Six(u128::MAX, 1), ZoneId::named("us")),
        ];
        let six = Regions::new(six);
        assert_eq!(six.six(1), Some(ZoneId::named("eu")));
        assert_eq!(six.six(u128::MAX), Some(ZoneId::named("us")));
        assert_eq!(six.six(1 << 127), Some(ZoneId::named("us")));
        assert_eq!(six.four(5), None);
        assert_eq!(Regions::default().four(5), None);
    }

    #[test]
    fn of_two_that_are_the_same_the_last_holds() {
        let table = regions(&[("10.0.0.0/8", "eu"), ("10.0.0.0/8", "us")]);
        assert_eq!(table.four(four("10.9.9.9").0), Some(ZoneId::named("us")));
        assert_eq!(table.four(four("11.0.0.0").0), None);
    }

    /// Against the plain reading: of all that hold it, the one with the most bits.
    #[test]
    fn as_a_list_would_say_it() {
        let mut word = 1;
        let mut random = || {
            word = crate::hashing::mix(word, 1);
            word
        };
        for _ in 0..200 {
            let mut networks: Vec<(u32, u8, ZoneId)> = Vec::new();
            for at in 0..random() % 12 {
                // Few bits, so that they nest.
                let bits = u8::try_from(random() % 9).expect("small");
                let free = (1_u64 << (32 - u32::from(bits))) - 1;
                let free = u32::try_from(free).expect("32 bits");
                let address = u32::try_from(random() >> 32).expect("32 bits") & !free;
                networks.retain(|(other, bits_of, _)| (*other, *bits_of) != (address, bits));
                networks.push((address, bits, ZoneId::named(&at.to_string())));
            }
            let all = networks.iter();
            let table = Regions::new(
                all.map(|&(address, bits, zone)| (Network::Four(address, bits), zone)),
            );
            for _ in 0..100 {
                let client = u32::try_from(random() >> 32).expect("32 bits");
                let holds = |&&(address, bits, _): &&(u32, u8, ZoneId)| {
                    bits == 0 || (client ^ address) >> (32 - u32::from(bits)) == 0
                };
                let longest = networks
                    .iter()
                    .filter(holds)
                    .max_by_key(|(_, bits, _)| *bits);
                assert_eq!(
                    table.four(client),
                    longest.map(|(_, _, zone)| *zone),
                    "{client:#x} in {networks:?}"
                );
            }
        }
    }
}
