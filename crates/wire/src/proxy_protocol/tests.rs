use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| crate::bytes::hex(pair[0], pair[1]).unwrap())
        .collect()
}

/// Reads byte by byte and whole, with and without bytes behind; all must agree. How many bytes it took to say so.
#[track_caller]
fn reads(input: &[u8]) -> (usize, Result<Header<'_>, Unreadable>) {
    let mut before = None;
    for length in 0..=input.len() {
        match read(&input[..length], BINARY_MOST) {
            Ok(None) => assert!(before.is_none(), "{length} of {}", input.escape_ascii()),
            verdict => {
                before.get_or_insert((length, verdict));
                assert_eq!(before, Some((length.min(before.unwrap().0), verdict)));
            }
        }
    }
    match before {
        Some((needed, Ok(Some(header)))) => {
            assert_eq!(needed, header.length);
            (needed, Ok(header))
        }
        Some((needed, Err(why))) => (needed, Err(why)),
        _ => panic!("wants more: {}", input.escape_ascii()),
    }
}

#[track_caller]
fn taken(input: &[u8]) -> Header<'_> {
    let (length, header) = reads(input);
    let header = header.unwrap();
    assert_eq!(length, input.len(), "{}", input.escape_ascii());
    header
}

/// The last byte of `input` is the first that no header has.
#[track_caller]
fn refused(input: &[u8], expect: Unreadable) {
    assert_eq!(
        reads(input),
        (input.len(), Err(expect)),
        "{}",
        input.escape_ascii()
    );
}

fn tcp(source: &str, destination: &str) -> Endpoints<'static> {
    Endpoints::Inet {
        transport: Transport::Stream,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

#[test]
fn lines() {
    for (line, expect) in [
        // Section 2.1.
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            tcp("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            tcp("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP4 0.0.0.0 10.0.0.1 0 1\r\n",
            tcp("0.0.0.0:0", "10.0.0.1:1"),
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF 65535 65535\r\n",
            tcp(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        (
            "PROXY TCP6 :: 1:2:3:4:5:6:7:: 1 2\r\n",
            tcp("[::]:1", "[1:2:3:4:5:6:7:0]:2"),
        ),
        (
            "PROXY TCP6 ::ffff:1.2.3.4 2001:db8::0007 1 2\r\n",
            tcp("[::ffff:1.2.3.4]:1", "[2001:db8::7]:2"),
        ),
        ("PROXY UNKNOWN\r\n", Endpoints::Unknown),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Endpoints::Unknown,
        ),
        ("PROXY UNKNOWN \0\u{ff} x\r\n", Endpoints::Unknown),
        // Sent by HAProxy 2.6.
        (
            "PROXY TCP4 127.0.0.1 127.0.0.1 32840 37969\r\n",
            tcp("127.0.0.1:32840", "127.0.0.1:37969"),
        ),
    ] {
        let header = taken(line.as_bytes());
        assert_eq!(header.endpoints, expect, "{line}");
        assert_eq!(header.extras, Extras::default());
        let with_more = [line.as_bytes(), b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(reads(&with_more), (line.len(), Ok(header)));
    }
}

#[test]
fn lines_refused() {
    use Unreadable::{Address, Begin, Family, LineEnd, Port, TooLong};
    let long = |behind: &str| format!("PROXY UNKNOWN {}{behind}", "a".repeat(91));
    for (line, expect) in [
        ("G", Begin),
        ("p", Begin),
        ("PROXX", Begin),
        ("PROXY\t", Begin),
        ("PROXY  ", Family),
        ("PROXY TCP5", Family),
        ("PROXY TCP44", Family),
        ("PROXY t", Family),
        ("PROXY UD", Family),
        ("PROXY \r", Family),
        ("PROXY UNKNOWNX", Family),
        ("PROXY UNKNOWN\n", Family),
        ("PROXY UNKNOWN\rx", LineEnd),
        ("PROXY UNKNOWN a\n", LineEnd),
        ("PROXY UNKNOWN a\r\r", LineEnd),
        (&long("a"), TooLong),
        ("PROXY TCP4  ", Address),
        ("PROXY TCP4 256", Address),
        ("PROXY TCP4 01", Address),
        ("PROXY TCP4 1..", Address),
        ("PROXY TCP4 1.2.3 ", Address),
        ("PROXY TCP4 1.2.3.4.", Address),
        ("PROXY TCP4 1.2.3.4:", Address),
        ("PROXY TCP4 1.2.3.4\r", Address),
        ("PROXY TCP4 :", Address),
        ("PROXY TCP4 1.2.3.4  ", Address),
        ("PROXY TCP4 1.2.3.4 1.2.3.4\r", Address),
        ("PROXY TCP4 -", Address),
        ("PROXY TCP6 1.", Address),
        ("PROXY TCP6 :1", Address),
        ("PROXY TCP6 :::", Address),
        ("PROXY TCP6 1::2::", Address),
        ("PROXY TCP6 12345", Address),
        ("PROXY TCP6 1:2:3:4:5:6:7:8:", Address),
        ("PROXY TCP6 1:2:3:4:5:6:7::8", Address),
        ("PROXY TCP6 1:2:3 ", Address),
        ("PROXY TCP6 [", Address),
        ("PROXY TCP6 fe80::1%", Address),
        ("PROXY TCP6 g", Address),
        ("PROXY TCP4 1.2.3.4 1.2.3.4  ", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 00", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 65536", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 123456", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r", LineEnd),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r ", LineEnd),
    ] {
        refused(line.as_bytes(), expect);
    }
    // One byte fewer, and the longest line is one.
    assert_eq!(long("\r\n").len(), TEXT_MOST);
    taken(long("\r\n").as_bytes());
    // Two addresses in their longest spelling, which inet_ntop does not have.
    let dotted = "1111:2222:3333:4444:5555:6666:111.111.111.111";
    let line = format!("PROXY TCP6 {dotted} {dotted} 1 1\r\n");
    assert_eq!(line.len(), TEXT_MOST + 1);
    assert_eq!(reads(line.as_bytes()), (TEXT_MOST - 1, Err(TooLong)));
    taken(line.replacen('1', "", 1).as_bytes());
    let over = long("a\n\n");
    assert_eq!(reads(over.as_bytes()), (TEXT_MOST - 1, Err(TooLong)));
    let over = long("a\r\n");
    assert_eq!(reads(over.as_bytes()), (TEXT_MOST - 1, Err(TooLong)));
}

const SIGNATURE: &str = "0d0a0d0a000d0a515549540a";

/// Version 2, with the right length before what stands behind the 16 bytes.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&hex(SIGNATURE)[..], &[command, family], &length, rest].concat()
}

/// Version 2 over IPv4, with these TLVs.
fn with(tlvs: &[u8]) -> Vec<u8> {
    binary(
        0x21,
        0x11,
        &[&[10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2], tlvs].concat(),
    )
}

/// What HAProxy 2.6.12 sent, with `send-proxy-v2` and its options.
#[test]
fn sent_by_haproxy() {
    let check = hex("0d0a0d0a000d0a515549540a 20000007 030004a9b87e8f");
    assert_eq!(taken(&check).endpoints, Endpoints::Local);

    let plain = hex("0d0a0d0a000d0a515549540a 21110013 7f0000017f00000193fc9745 030004613c1921");
    let header = taken(&plain);
    assert_eq!(header.endpoints, tcp("127.0.0.1:37884", "127.0.0.1:38725"));
    let checked = Extras {
        checksum: true,
        ..Extras::default()
    };
    assert_eq!(header.extras, checked);
    for at in 16..plain.len() {
        // The type and the length of the checksum itself: no checksum then, or a broken TLV.
        if (28..31).contains(&at) {
            continue;
        }
        let mut other = plain.clone();
        other[at] ^= 1;
        refused(&other, Unreadable::Checksum);
    }
    // Who speaks for nobody may say one as well: a proxy's own check, and an unknown client.
    for (command, endpoints) in [(0x20, Endpoints::Local), (0x21, Endpoints::Unknown)] {
        let rest = [command, 0, 0, 11, 3, 0, 4, 0, 0, 0, 0, 4, 0, 1, 0];
        let mut whole = [&BINARY_BEGIN[..], &rest].concat();
        refused(&whole, Unreadable::Checksum);
        let sum = crc32c::of(&[&whole]);
        whole[19..23].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(taken(&whole).endpoints, endpoints);
        // What is no row of TLVs is skipped.
        whole[17] = 0xff;
        assert_eq!(taken(&whole).endpoints, endpoints);
    }

    let tls = hex("0d0a0d0a000d0a515549540a 21110078 7f0000017f0000019e02932b
         030004f3d45cfc 0100026832 02000b6578616d706c652e636f6d 05000d7569642d3132372e302e302e31
         20003f0100000000 210007544c5376312e33 2500075253413230343824000a5253412d534841323536
         230016544c535f4145535f3235365f47434d5f534841333834");
    let header = taken(&tls);
    let ssl = Ssl {
        client: client::SSL,
        version: Some("TLSv1.3"),
        cipher: Some("TLS_AES_256_GCM_SHA384"),
        signature: Some("RSA-SHA256"),
        key: Some("RSA2048"),
        ..Ssl::default()
    };
    assert!(!ssl.is_verified(), "there was no certificate");
    let extras = Extras {
        alpn: Some(b"h2"),
        authority: Some("example.com"),
        unique_id: Some(b"uid-127.0.0.1"),
        ssl: Some(ssl),
        netns: None,
        checksum: true,
    };
    assert_eq!(header.extras, extras);
}

#[test]
fn binary_headers() {
    let v6: Vec<u8> = [[0_u8; 15].as_slice(), &[1], &[0xfe; 16], &[0, 80, 1, 187]].concat();
    let unix = [[b'a'; 108], [0; 108]].concat();
    let udp = |endpoints| match endpoints {
        Endpoints::Inet {
            source,
            destination,
            ..
        } => Endpoints::Inet {
            transport: Transport::Datagram,
            source,
            destination,
        },
        other => other,
    };
    let inet6 = tcp("[::1]:80", "[fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]:443");
    let inet = tcp("1.2.3.4:1", "5.6.7.8:258");
    for (command, family, rest, expect) in [
        (0x20, 0x00, &b""[..], Endpoints::Local),
        // Whatever LOCAL brings is ignored.
        (0x20, 0xff, &[0xff; 9], Endpoints::Local),
        (0x20, 0x11, b"", Endpoints::Local),
        (0x21, 0x00, b"anything", Endpoints::Unknown),
        (0x21, 0x01, b"", Endpoints::Unknown),
        (0x21, 0x10, &[0; 12], Endpoints::Unknown),
        (0x21, 0x11, &[1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 1, 2], inet),
        (0x21, 0x12, &[1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 1, 2], udp(inet)),
        (0x21, 0x21, &v6, inet6),
        (0x21, 0x22, &v6, udp(inet6)),
        (
            0x21,
            0x31,
            &unix,
            Endpoints::Unix {
                transport: Transport::Stream,
                source: &[b'a'; 108],
                destination: &[0; 108],
            },
        ),
    ] {
        let header = binary(command, family, rest);
        assert_eq!(taken(&header).endpoints, expect, "{command:x} {family:x}");
    }
}

#[test]
fn binary_headers_refused() {
    use Unreadable::{Begin, Command, Family, TooLong, TooShort, Version};
    for (bytes, expect) in [
        ("0d0d", Begin),
        ("0d0a0d0a000d0a515549540d", Begin),
        ("0d0a0d0a000d0a515549540a 11", Version),
        ("0d0a0d0a000d0a515549540a 31", Version),
        ("0d0a0d0a000d0a515549540a 22", Command),
        ("0d0a0d0a000d0a515549540a 2f", Command),
        ("0d0a0d0a000d0a515549540a 2141", Family),
        ("0d0a0d0a000d0a515549540a 21f1", Family),
        ("0d0a0d0a000d0a515549540a 2113", Family),
        ("0d0a0d0a000d0a515549540a 210f", Family),
        ("0d0a0d0a000d0a515549540a 2111 10", TooLong),
        ("0d0a0d0a000d0a515549540a 2111 0ff1", TooLong),
        ("0d0a0d0a000d0a515549540a 2000 ffff", TooLong),
        ("0d0a0d0a000d0a515549540a 2111 000b", TooShort),
        ("0d0a0d0a000d0a515549540a 2121 0023", TooShort),
        ("0d0a0d0a000d0a515549540a 2131 00d7", TooShort),
    ] {
        let bytes = hex(bytes);
        let (needed, verdict) = reads(&bytes);
        assert_eq!(verdict, Err(expect), "{}", bytes.escape_ascii());
        assert!(needed == bytes.len() || expect == TooLong);
    }
    // The longest that is taken, and a limit of the caller's own.
    let longest = binary(0x20, 0, &[0; BINARY_MOST - 16]);
    taken(&longest);
    assert_eq!(read(&longest, BINARY_MOST - 1), Err(TooLong));
    assert_eq!(read(&with(&[]), 28).map(|read| read.is_some()), Ok(true));
    assert_eq!(read(&with(&[]), 27), Err(TooLong));
}

#[test]
fn tlvs() {
    for tlvs in [
        // NOOP (section 2.2.4), any number of them; own, experimental, future and unknown types; those of SSL outside of it.
        &[4, 0, 0, 4, 0, 2, 9, 9][..],
        &[0xE0, 0, 1, 7, 0xF0, 0, 0, 0xFF, 0, 0, 0xE0, 0, 0],
        &[0, 0, 0, 0x21, 0, 1, 0xFF, 0x21, 0, 0],
        &[],
    ] {
        assert_eq!(taken(&with(tlvs)).extras, Extras::default(), "{tlvs:?}");
    }
    let unique = [&[5, 0, 128][..], &[7; 128]].concat();
    assert_eq!(taken(&with(&unique)).extras.unique_id, Some(&[7; 128][..]));
    let ssl = with(&[
        0x20, 0, 13, 3, 0, 0, 0, 0, 0x22, 0, 2, 0xFC, b'a', 0x99, 0, 0,
    ]);
    let ssl = taken(&ssl).extras.ssl.unwrap();
    assert_eq!(ssl.common_name, Some(&b"\xfca"[..]));
    assert!(ssl.is_verified());
    assert!(!Ssl { verify: 1, ..ssl }.is_verified());
}

#[test]
fn tlvs_refused() {
    use Unreadable::{Checksum, TlvLength, TlvRepeated, TlvValue};
    let unique = [&[5, 0, 129][..], &[7; 129]].concat();
    for (tlvs, expect) in [
        (&[1][..], TlvLength),
        (&[1, 0], TlvLength),
        (&[1, 0, 1], TlvLength),
        (&[1, 1, 0, b'h', b'2'], TlvLength),
        (&[0xEE, 0xFF, 0xFF], TlvLength),
        (&[4, 0, 0, 4], TlvLength),
        (&[2, 0, 1, 0xFF], TlvValue),
        (&[0x30, 0, 2, 0xC3, 0xBC], TlvValue),
        (&unique, TlvValue),
        (&[3, 0, 3, 0, 0, 0], TlvValue),
        (&[3, 0, 5, 0, 0, 0, 0, 0], TlvValue),
        (&[3, 0, 4, 0, 0, 0, 0], Checksum),
        (&[1, 0, 0, 1, 0, 0], TlvRepeated),
        (&[2, 0, 1, b'a', 2, 0, 1, b'a'], TlvRepeated),
        (&[0x20, 0, 4, 1, 0, 0, 0], TlvValue),
        (&[0x20, 0, 0], TlvValue),
        (&[0x20, 0, 6, 1, 0, 0, 0, 0, 0x21], TlvLength),
        (&[0x20, 0, 8, 1, 0, 0, 0, 0, 0x21, 0, 1, b'a'], TlvLength),
        (&[0x20, 0, 9, 1, 0, 0, 0, 0, 0x21, 0, 1, 0x80], TlvValue),
        (
            &[0x20, 0, 11, 1, 0, 0, 0, 0, 0x23, 0, 0, 0x23, 0, 0],
            TlvRepeated,
        ),
    ] {
        refused(&with(tlvs), expect);
    }
    // The first of two is right.
    let twice = with(&[3, 0, 4, 0, 0, 0, 0, 3, 0, 4, 1, 2, 3, 4]);
    let first = crc32c::of(&[&twice]).to_be_bytes();
    let twice = [&twice[..31], &first, &twice[35..]].concat();
    refused(&twice, TlvRepeated);
}

#[test]
fn what_cannot_be_written() {
    let inet = tcp("1.2.3.4:1", "5.6.7.8:2");
    let unix = Endpoints::Unix {
        transport: Transport::Stream,
        source: &[1; 109],
        destination: b"",
    };
    let plain = Extras::default();
    let long = "a".repeat(BINARY_MOST);
    let longer = "a".repeat(70_000);
    let ssl = |ssl| Extras {
        ssl: Some(ssl),
        ..plain
    };
    let fits = &long[..BINARY_MOST - 16 - 12 - 3];
    for (endpoints, extras, expect) in [
        (
            inet,
            Extras {
                unique_id: Some(&[0; 129]),
                ..plain
            },
            Err(Unwritable::UniqueId),
        ),
        (
            inet,
            Extras {
                authority: Some(&long),
                ..plain
            },
            Err(Unwritable::TooLong),
        ),
        (
            inet,
            Extras {
                authority: Some(&longer),
                ..plain
            },
            Err(Unwritable::TooLong),
        ),
        (
            inet,
            Extras {
                authority: Some(fits),
                ..plain
            },
            Ok(()),
        ),
        (
            inet,
            Extras {
                netns: Some("ü"),
                ..plain
            },
            Err(Unwritable::Text),
        ),
        (
            inet,
            ssl(Ssl {
                cipher: Some("ü"),
                ..Ssl::default()
            }),
            Err(Unwritable::Text),
        ),
        (
            inet,
            ssl(Ssl {
                certificate: Some(longer.as_bytes()),
                ..Ssl::default()
            }),
            Err(Unwritable::TooLong),
        ),
        (unix, plain, Err(Unwritable::UnixAddress)),
    ] {
        let mut into = b"before".to_vec();
        assert_eq!(write_binary(&endpoints, &extras, &mut into), expect);
        assert_eq!(into == b"before", expect.is_err());
    }
}

#[test]
fn two_families_and_mapped_addresses() {
    let mixed = tcp("1.2.3.4:5", "[2001:db8::1]:6");
    let as_v6 = tcp("[::ffff:1.2.3.4]:5", "[2001:db8::1]:6");
    let mut text = Vec::new();
    write_text(&mixed, &mut text);
    assert_eq!(text, b"PROXY TCP6 ::ffff:102:304 2001:db8::1 5 6\r\n");
    assert_eq!(taken(&text).endpoints, as_v6);
    let mut binary = Vec::new();
    write_binary(&mixed, &Extras::default(), &mut binary).unwrap();
    assert_eq!(taken(&binary).endpoints, as_v6);
}

#[test]
fn local_and_unknown_are_written() {
    for endpoints in [Endpoints::Unknown, Endpoints::Local] {
        let mut written = Vec::new();
        let extras = Extras {
            checksum: true,
            ..Extras::default()
        };
        write_binary(&endpoints, &extras, &mut written).unwrap();
        assert_eq!(written.len(), 16);
        assert_eq!(taken(&written).endpoints, endpoints);
    }
}

fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = any::<[(u32, u16); 2]>().prop_map(|both| {
        both.map(|(bits, port)| SocketAddr::new(Ipv4Addr::from_bits(bits).into(), port))
    });
    let v6 = any::<([u128; 2], u8, [u16; 2])>().prop_map(|([one, other], hole, ports)| {
        let one = one & !(u128::from(u64::MAX) << (hole % 100));
        let address = |bits, port| SocketAddr::new(Ipv6Addr::from_bits(bits).into(), port);
        [address(one, ports[0]), address(other, ports[1])]
    });
    prop_oneof![v4, v6].prop_map(|[one, other]| (one, other))
}

type Bytes = Option<Vec<u8>>;

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..=most))
}

fn ascii() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[ -~]{0,20}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

    #[test]
    fn written_is_read_again(
        (source, destination) in addresses(),
        datagram in any::<bool>(),
        unix in prop::option::of(any::<[u8; 2]>()),
        (alpn, unique_id, common_name, certificate) in (bytes(10), bytes(128), bytes(20), bytes(300)),
        (authority, netns) in (prop::option::of("\\PC{0,30}"), ascii()),
        texts in prop::collection::vec(ascii(), 6),
        (client, verify, tls, checksum) in any::<(u8, u32, bool, bool)>(),
        behind in prop::collection::vec(any::<u8>(), 0..5),
    ) {
        let transport = if datagram { Transport::Datagram } else { Transport::Stream };
        let paths = unix.map(|[one, other]| ([one; 108], [other; 108]));
        let endpoints = match &paths {
            Some((source, destination)) => Endpoints::Unix { transport, source, destination },
            None => Endpoints::Inet { transport, source, destination },
        };
        let ssl = Ssl {
            client,
            verify,
            version: texts[0].as_deref(),
            common_name: common_name.as_deref(),
            cipher: texts[1].as_deref(),
            signature: texts[2].as_deref(),
            key: texts[3].as_deref(),
            group: texts[4].as_deref(),
            scheme: texts[5].as_deref(),
            certificate: certificate.as_deref(),
        };
        let extras = Extras {
            alpn: alpn.as_deref(),
            authority: authority.as_deref(),
            unique_id: unique_id.as_deref(),
            ssl: tls.then_some(ssl),
            netns: netns.as_deref(),
            checksum,
        };
        let mut written = b"x".to_vec();
        write_binary(&endpoints, &extras, &mut written).unwrap();
        let length = written.len() - 1;
        written.extend_from_slice(&behind);
        let header = Header { length, endpoints, extras };
        prop_assert_eq!(read(&written[1..], BINARY_MOST), Ok(Some(header)));

        let mut text = Vec::new();
        write_text(&endpoints, &mut text);
        let expect = match transport {
            Transport::Stream if unix.is_none() => endpoints,
            _ => Endpoints::Unknown,
        };
        prop_assert_eq!(taken(&text).endpoints, expect);
        if checksum && unix.is_none() {
            // Any bit of the addresses.
            written[17 + usize::from(client) % 12] ^= 1 << (verify % 8);
            prop_assert_eq!(read(&written[1..], BINARY_MOST), Err(Unreadable::Checksum));
        }
    }
}
