//! Owns a reading of conditions beyond host, path and method that knows neither the configuration's nor the proxy's.

use std::net::IpAddr;

use super::{Question, quoted, wildcard_holds};

/// `h:name=values`, `c:name=values`, `q:key=values`, `s:networks` of the peer, `S:` of the client, `m:methods`; with `!` before it
/// one that must not hold.
#[derive(Debug)]
pub(super) struct More<'a> {
    pub(super) not: bool,
    kind: char,
    name: &'a str,
    values: Vec<&'a str>,
}

impl<'a> More<'a> {
    pub(super) fn read(word: &'a str) -> Option<Self> {
        let (not, word) = match word.strip_prefix('!') {
            Some(word) => (true, word),
            None => (false, word),
        };
        let (kind, rest) = word.split_once(':')?;
        let kind = kind.chars().next().filter(|_| kind.len() == 1)?;
        let (name, values) = match kind {
            'h' | 'c' | 'q' => rest.split_once('=')?,
            's' | 'S' | 'm' => ("", rest),
            _ => return None,
        };
        let values = values.split(',').collect();
        Some(Self {
            not,
            kind,
            name,
            values,
        })
    }

    /// As a condition of the configuration: its key, and what stands there.
    pub(super) fn written(&self) -> (&'static str, String) {
        let values: Vec<_> = self.values.iter().map(|value| quoted(value)).collect();
        let values = format!("[{}]", values.join(", "));
        let named = format!("{{ {}: {values} }}", quoted(self.name));
        match self.kind {
            'h' => ("header", named),
            'c' => ("cookie", named),
            'q' => ("query", named),
            's' => ("source", values),
            'S' => ("source", format!("{{ client: {values} }}")),
            _ => ("method", values),
        }
    }

    pub(super) fn holds(&self, question: &Question) -> bool {
        self.holds_itself(question) != self.not
    }

    fn holds_itself(&self, question: &Question) -> bool {
        let head = &question.head;
        match self.kind {
            'h' => head.fields().any(|field| {
                lower(field.name) == lower(self.name.as_bytes()) && self.one(&lower(field.value))
            }),
            'c' => head.fields().any(|field| {
                let mut pairs = field.value.split(|&byte| byte == b';');
                let mut is_wanted = |pair: &[u8]| {
                    let Some(value) = strip(pair.trim_ascii(), self.name.as_bytes()) else {
                        return false;
                    };
                    let mut values = self.values.iter();
                    values.any(|wanted| wildcard_holds(wanted.as_bytes(), value))
                };
                lower(field.name) == b"cookie" && pairs.any(&mut is_wanted)
            }),
            'q' => {
                let query = head.query().unwrap_or_default();
                let mut pairs = query
                    .split(|&byte| byte == b'&')
                    .filter(|one| !one.is_empty());
                pairs.any(|pair| {
                    let mut parts = pair.splitn(2, |&byte| byte == b'=');
                    let mut part = || lower(&decoded(parts.next().unwrap_or_default()));
                    let (key, value) = (part(), part());
                    wildcard_holds(&lower(self.name.as_bytes()), &key) && self.one(&value)
                })
            }
            's' => self.values.iter().any(|one| within(one, question.peer)),
            'S' => self.values.iter().any(|one| within(one, question.client)),
            _ => self
                .values
                .iter()
                .any(|one| one.as_bytes() == head.method()),
        }
    }

    /// Whether a text in lower case is one of the values.
    fn one(&self, text: &[u8]) -> bool {
        let mut values = self.values.iter();
        values.any(|value| wildcard_holds(&lower(value.as_bytes()), text))
    }
}

/// What stands behind a name and `=`.
fn strip<'t>(pair: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    pair.strip_prefix(name)?.strip_prefix(b"=")
}

fn lower(text: &[u8]) -> Vec<u8> {
    text.to_ascii_lowercase()
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let escape = text.get(at + 1..at + 3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            let sound = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u8::from_str_radix(digits, 16).ok().filter(|_| sound)
        });
        match (text[at], escape) {
            (b'+', _) => out.push(b' '),
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    out
}

/// Whether the first bits of both are the same.
fn within(network: &str, address: IpAddr) -> bool {
    let (base, length) = match network.split_once('/') {
        Some((base, length)) => (base, length.parse::<u32>().ok()),
        None => (network, None),
    };
    let Ok(base) = base.parse::<IpAddr>() else {
        return false;
    };
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let (mapped, (one, most)) = (base.to_canonical(), bits(base));
    let length = length.unwrap_or(most);
    // A network of IPv4 in IPv6 is one of IPv4, if it holds no other addresses.
    let (one, length, v4) = match base.is_ipv6() && mapped.is_ipv4() && length >= 96 {
        true => (bits(mapped).0, length - 96, true),
        false => (one, length, base.is_ipv4()),
    };
    let address = address.to_canonical();
    let differ = one ^ bits(address).0;
    v4 == address.is_ipv4() && (length == 0 || differ >> (128 - length) == 0)
}
