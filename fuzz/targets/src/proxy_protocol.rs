//! Owns the laws of PROXY headers, and of what a connection begins with. The input is what came on a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use evenkeel_wire::proxy_protocol::{
    BINARY_BEGIN, BINARY_MOST, Endpoints, Extras, Header, TEXT_MOST, Transport, Unreadable, read,
    write_binary, write_text,
};
use evenkeel_wire::sniff::{HTTP2_PREFACE, Opening, sniff};

use crate::show;

/// Any split says the same; the endpoints and the length are those of a plain reading; what is written anew is read as the same; one bit
/// flipped under a checksum is seen.
pub fn check(input: &[u8]) -> bool {
    openings(input);
    let verdict = read(input, BINARY_MOST);
    splits(input, verdict);
    let line = input.starts_with(b"PROXY ");
    let plain = match line {
        true => plain_line(input),
        false => plain_binary(input),
    };
    let Ok(Some(header)) = verdict else {
        // What the plain reading takes may still be refused for what stands in TLVs.
        let tlvs = matches!(
            verdict,
            Err(Unreadable::TlvLength
                | Unreadable::TlvValue
                | Unreadable::TlvRepeated
                | Unreadable::Checksum)
        );
        assert!(plain.is_none() || (tlvs && !line), "{}", show(input));
        return false;
    };
    let read = (header.length, header.endpoints);
    assert_eq!(Some(read), plain, "{}", show(input));
    written_anew(&header);
    if header.extras.checksum {
        flipped(&input[..header.length]);
    }
    true
}

/// By comparing with all that there is, where the reader looks for the first that fits.
fn openings(input: &[u8]) {
    let verdict = sniff(input);
    let known = [
        (&b"\x16\x03"[..], Opening::Tls),
        (HTTP2_PREFACE, Opening::Http2),
        (b"PROXY ", Opening::ProxyText),
        (BINARY_BEGIN, Opening::ProxyBinary),
    ];
    let whole = known.iter().find(|(begin, _)| input.starts_with(begin));
    let may = known.iter().any(|(begin, _)| begin.starts_with(input));
    let plain = match whole {
        Some((_, opening)) => Some(*opening),
        None if may => None,
        None => Some(Opening::Http1),
    };
    assert_eq!(verdict, plain, "{}", show(input));
    for length in 0..input.len().min(32) {
        let early = sniff(&input[..length]);
        assert!(early.is_none() || early == verdict, "{}", show(input));
    }
    let header = !matches!(read(input, BINARY_MOST), Err(Unreadable::Begin));
    let proxy = matches!(verdict, Some(Opening::ProxyText | Opening::ProxyBinary));
    assert!(header || !proxy, "{}", show(input));
}

type Verdict<'a> = Result<Option<Header<'a>>, Unreadable>;

fn splits(input: &[u8], verdict: Verdict<'_>) {
    // A header of version 2 has no verdict between its 16 bytes and its end.
    let most = input.len().min(TEXT_MOST + 1);
    let end = match verdict {
        Ok(Some(header)) => header.length,
        _ => input.len(),
    };
    for length in (0..most).chain([end.saturating_sub(1), end]) {
        let begin = &input[..length];
        match read(begin, BINARY_MOST) {
            Ok(None) => assert!(length < end || verdict == Ok(None), "{}", show(begin)),
            early => assert_eq!(early, verdict, "{}", show(begin)),
        }
    }
}

/// A line by splitting it at its end and its spaces.
fn plain_line(input: &[u8]) -> Option<(usize, Endpoints<'static>)> {
    let input = &input[..input.len().min(TEXT_MOST)];
    let end = input.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &input[..end];
    if line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ") {
        let ends = line.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
        return (!ends).then_some((end + 2, Endpoints::Unknown));
    }
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    let &[
        "PROXY",
        family,
        source,
        destination,
        source_port,
        destination_port,
    ] = &words[..]
    else {
        return None;
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse().ok().map(IpAddr::V4),
        "TCP6" => text.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    let port = |text: &str| {
        let port: u16 = text.parse().ok()?;
        (port.to_string() == text).then_some(port)
    };
    let endpoints = Endpoints::Inet {
        transport: Transport::Stream,
        source: SocketAddr::new(address(source)?, port(source_port)?),
        destination: SocketAddr::new(address(destination)?, port(destination_port)?),
    };
    Some((end + 2, endpoints))
}

/// By cutting the block as the text's own `union proxy_addr` lies.
fn plain_binary(input: &[u8]) -> Option<(usize, Endpoints<'_>)> {
    let rest = input.strip_prefix(BINARY_BEGIN)?;
    let &[command, family, high, low, ref rest @ ..] = rest else {
        return None;
    };
    let length = usize::from(high) << 8 | usize::from(low);
    let block = rest.get(..length).filter(|_| length + 16 <= BINARY_MOST)?;
    let transport = match family & 15 {
        2 => Transport::Datagram,
        _ => Transport::Stream,
    };
    let number = |at: usize| u16::from(block[at]) << 8 | u16::from(block[at + 1]);
    let wide = |at: usize| Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|i| block[at + i]));
    let endpoints = match (command, family) {
        (0x20, _) => Endpoints::Local,
        (0x21, 0..=2 | 0x10 | 0x20 | 0x30) => Endpoints::Unknown,
        (0x21, 0x11 | 0x12) if length >= 12 => {
            let address =
                |at: usize| Ipv4Addr::new(block[at], block[at + 1], block[at + 2], block[at + 3]);
            Endpoints::Inet {
                transport,
                source: (address(0), number(8)).into(),
                destination: (address(4), number(10)).into(),
            }
        }
        (0x21, 0x21 | 0x22) if length >= 36 => Endpoints::Inet {
            transport,
            source: (wide(0), number(32)).into(),
            destination: (wide(16), number(34)).into(),
        },
        (0x21, 0x31 | 0x32) if length >= 216 => Endpoints::Unix {
            transport,
            source: &block[..108],
            destination: &block[108..216],
        },
        _ => return None,
    };
    Some((length + 16, endpoints))
}

fn written_anew(header: &Header<'_>) {
    let mut binary = b"x".to_vec();
    let written = write_binary(&header.endpoints, &header.extras, &mut binary);
    assert_eq!(written, Ok(()), "{header:?}");
    let again = Header {
        length: binary.len() - 1,
        ..*header
    };
    assert_eq!(read(&binary[1..], BINARY_MOST), Ok(Some(again)));

    let mut text = Vec::new();
    write_text(&header.endpoints, &mut text);
    let endpoints = match header.endpoints {
        inet @ Endpoints::Inet {
            transport: Transport::Stream,
            ..
        } => inet,
        _ => Endpoints::Unknown,
    };
    let again = Header {
        length: text.len(),
        endpoints,
        extras: Extras::default(),
    };
    assert_eq!(read(&text, BINARY_MOST), Ok(Some(again)));
}

/// A bit of each byte of the addresses: the checksum sees it, as what stands behind them is the same.
fn flipped(header: &[u8]) {
    for at in 16..28 {
        let mut other = header.to_vec();
        other[at] ^= 1;
        let taken = read(&other, BINARY_MOST);
        assert_eq!(taken, Err(Unreadable::Checksum), "{at}: {}", show(header));
    }
}
