//! Owns the reading of version 1, a line of text (section 2.1). Each byte is judged as it comes; an address that is whole, by the
//! standard library.
//!
//! ```text
//! PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 CR LF
//! PROXY TCP6 2001:db8::1 2001:db8::2 56324 443 CR LF
//! PROXY UNKNOWN [anything] CR LF
//! ```

use std::net::{IpAddr, SocketAddr};

use super::{Endpoints, Extras, Header, TEXT_BEGIN, TEXT_MOST, Transport, Unreadable};

/// Why a reader does not go on.
enum Stop {
    More,
    Refused(Unreadable),
}

/// The families of version 1.
#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
    Unknown,
}

/// Reads a line whose begin is known to be right.
pub(super) fn read(input: &[u8]) -> Result<Option<Header<'_>>, Unreadable> {
    // Whatever stands further back, a line ends here.
    let most = match input.get(TEXT_MOST - 2) {
        Some(b'\r') => TEXT_MOST,
        _ => TEXT_MOST - 1,
    };
    let mut line = Line {
        input: &input[..input.len().min(most)],
        at: TEXT_BEGIN.len(),
    };
    match line.endpoints() {
        Ok(endpoints) => Ok(Some(Header {
            length: line.at,
            endpoints,
            extras: Extras::default(),
        })),
        Err(Stop::More) if input.len() >= most => Err(Unreadable::TooLong),
        Err(Stop::More) => Ok(None),
        Err(Stop::Refused(why)) => Err(why),
    }
}

struct Line<'a> {
    input: &'a [u8],
    at: usize,
}

impl Line<'_> {
    fn endpoints(&mut self) -> Result<Endpoints<'static>, Stop> {
        let family = self.family()?;
        if let Family::Unknown = family {
            self.unknown()?;
            return Ok(Endpoints::Unknown);
        }
        let source = self.address(family)?;
        let destination = self.address(family)?;
        let source_port = self.port(b' ')?;
        let destination_port = self.port(b'\r')?;
        self.literal(b"\n", Unreadable::LineEnd)?;
        Ok(Endpoints::Inet {
            transport: Transport::Stream,
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, destination_port),
        })
    }

    fn family(&mut self) -> Result<Family, Stop> {
        let words: [(&[u8], _); 3] = [
            (b"TCP4 ", Family::V4),
            (b"TCP6 ", Family::V6),
            (b"UNKNOWN", Family::Unknown),
        ];
        for (word, family) in words {
            match self.literal(word, Unreadable::Family) {
                Ok(()) => return Ok(family),
                Err(Stop::More) => return Err(Stop::More),
                Err(Stop::Refused(_)) => {}
            }
        }
        Err(Stop::Refused(Unreadable::Family))
    }

    /// What stands behind `UNKNOWN` means nothing, whatever it is.
    fn unknown(&mut self) -> Result<(), Stop> {
        match self.input.get(self.at) {
            None => return Err(Stop::More),
            Some(b' ' | b'\r') => {}
            Some(_) => return Err(Stop::Refused(Unreadable::Family)),
        }
        let rest = &self.input[self.at..];
        let length = rest
            .iter()
            .position(|&byte| matches!(byte, b'\r' | b'\n'))
            .ok_or(Stop::More)?;
        self.at += length;
        self.literal(b"\r\n", Unreadable::LineEnd)
    }

    fn address(&mut self, family: Family) -> Result<IpAddr, Stop> {
        let begins = match family {
            Family::V4 => begins_ipv4,
            Family::V6 | Family::Unknown => begins_ipv6,
        };
        let text = self.field(b' ', begins, Unreadable::Address)?;
        let text = std::str::from_utf8(text).unwrap_or_default();
        let address = match family {
            Family::V4 => text.parse().map(IpAddr::V4),
            Family::V6 | Family::Unknown => text.parse().map(IpAddr::V6),
        };
        address.map_err(|_| Stop::Refused(Unreadable::Address))
    }

    fn port(&mut self, end: u8) -> Result<u16, Stop> {
        let text = self.field(end, begins_port, Unreadable::Port)?;
        number(text)
            .and_then(|number| u16::try_from(number).ok())
            .ok_or(Stop::Refused(Unreadable::Port))
    }

    /// What stands before the next `end`, all of which `begins` allows; `end` is passed.
    fn field(
        &mut self,
        end: u8,
        begins: fn(&[u8]) -> bool,
        why: Unreadable,
    ) -> Result<&[u8], Stop> {
        let rest = &self.input[self.at..];
        let length = rest.iter().position(|&byte| byte == end);
        let text = &rest[..length.unwrap_or(rest.len())];
        if !begins(text) {
            return Err(Stop::Refused(why));
        }
        if length.is_none() {
            return Err(Stop::More);
        }
        self.at += text.len() + 1;
        Ok(text)
    }

    fn literal(&mut self, text: &[u8], why: Unreadable) -> Result<(), Stop> {
        let rest = &self.input[self.at..];
        if rest.iter().zip(text).any(|(one, other)| one != other) {
            return Err(Stop::Refused(why));
        }
        if rest.len() < text.len() {
            return Err(Stop::More);
        }
        self.at += text.len();
        Ok(())
    }
}

/// A number of at most 5 digits, without zeros before it: to some, those make it octal.
fn number(digits: &[u8]) -> Option<u32> {
    let sound = match digits {
        [b'0'] => true,
        [] | [b'0', ..] => false,
        _ => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
    };
    sound.then(|| {
        digits
            .iter()
            .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    })
}

fn begins_port(text: &[u8]) -> bool {
    text.is_empty() || number(text).is_some_and(|port| port <= 65_535)
}

fn begins_ipv4(text: &[u8]) -> bool {
    let octet = |part: &[u8]| number(part).is_some_and(|octet| octet <= 255);
    let mut parts = text.split(|&byte| byte == b'.');
    // There is always a last one.
    let last = parts.next_back().unwrap_or_default();
    let before = parts.clone().count();
    before <= 3 && parts.all(octet) && (last.is_empty() || octet(last))
}

/// Whether an IPv6 address may begin so: eight groups of up to four digits, or fewer and one `::`. The text knows digits only, but its own
/// sample reads with `inet_pton` and senders write with `inet_ntop`, which writes `::ffff:1.2.3.4`; there is one reading of that.
fn begins_ipv6(text: &[u8]) -> bool {
    // Groups that have ended, where the one begins that has not, and whether `::` has been.
    let (mut groups, mut start, mut double) = (0, 0, false);
    for (at, &byte) in text.iter().enumerate() {
        let most = if double { 7 } else { 8 };
        match byte {
            b':' if at == 0 => start = 1,
            b':' if at == start => {
                if double {
                    return false;
                }
                (double, start) = (true, at + 1);
            }
            b':' => {
                groups += 1;
                start = at + 1;
                // `::` stands for one group at least; a single colon wants a group behind it.
                if groups + 1 > most {
                    return false;
                }
            }
            b'.' => {
                let fits = if double { groups <= 5 } else { groups == 6 };
                return at > start && fits && begins_ipv4(&text[start..]);
            }
            _ => {
                let lone_colon = at == 1 && start == 1;
                let fits = at - start < 4 && groups < most && !lone_colon;
                if !byte.is_ascii_hexdigit() || !fits {
                    return false;
                }
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// What may stand behind the begin of an address, for one of them to be whole.
    fn ends() -> Vec<String> {
        let mut ends = vec![String::new()];
        for groups in 0..8 {
            let more = ":0".repeat(groups);
            let fewer = "0:".repeat(groups);
            for tail in ["", "0.0.0.0", ".0.0.0", ".0.0", ".0", "0.0.0", "0.0", "0"] {
                ends.extend([
                    format!("{more}{tail}"),
                    format!("{fewer}{tail}"),
                    format!("0{more}"),
                    format!(":{more}"),
                    format!("::{tail}"),
                    format!(":{tail}"),
                ]);
            }
        }
        ends
    }

    fn agrees<T: std::str::FromStr>(text: &str, begins: fn(&[u8]) -> bool, ends: &[String]) {
        if text.parse::<T>().is_ok() {
            for length in 0..=text.len() {
                let begin = &text[..length];
                assert!(begins(begin.as_bytes()), "{begin} of {text}");
            }
        }
        let whole = |end: &String| format!("{text}{end}").parse::<T>().is_ok();
        assert_eq!(begins(text.as_bytes()), ends.iter().any(whole), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

        /// The earliest refusal: what begins an address can be ended as one, and what does not cannot.
        #[test]
        fn begins_of_addresses(
            four in "(0|1|25|26|255|00|300|7)?([.](0|1|25|26|255|01|9|77)?){0,4}",
            six in "(:|::|0:|1a:|ffff:|12345:|f){0,9}(0|f|::|g|1.2|1.2.3.4|1.2.3.4.|256.1|01.2)?",
            bits in any::<u128>(),
            masks in any::<[u8; 2]>(),
        ) {
            let ends = ends();
            agrees::<Ipv4Addr>(&four, begins_ipv4, &ends);
            agrees::<Ipv6Addr>(&six, begins_ipv6, &ends);
            let sparse = masks.iter().fold(bits, |bits, &mask| {
                bits & !(0xffff_ffff_u128 << (mask % 97))
            });
            agrees::<Ipv6Addr>(&Ipv6Addr::from(sparse).to_string(), begins_ipv6, &ends);
        }
    }
}
