use proptest::prelude::*;

use super::*;

/// Bytes of hexadecimal digits.
fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let (pairs, []) = digits.as_chunks::<2>() else {
        panic!("a digit is left over");
    };
    let byte = |&[high, low]: &[u8; 2]| crate::bytes::hex(high, low).unwrap();
    pairs.iter().map(byte).collect()
}

fn lines(decoder: &mut Decoder, block: &[u8]) -> Result<String, Broken> {
    let mut lines = String::new();
    let listed = decoder.decode(block, usize::MAX, |field| {
        let sensitive = if field.sensitive { " (sensitive)" } else { "" };
        let (name, value) = (field.name.escape_ascii(), field.value.escape_ascii());
        lines += &format!("{name}: {value}{sensitive}\n");
    })?;
    assert!(!listed.over);
    Ok(lines)
}

/// Blocks in their order, with their fields and the table's size behind each.
fn check(first: &str, blocks: &[(&str, &str, usize)]) {
    let mut decoder = Decoder::new(4096);
    assert_eq!(lines(&mut decoder, &bytes(first)), Ok(String::new()));
    for (block, expect, size) in blocks {
        let came = lines(&mut decoder, &bytes(block)).unwrap();
        let expect: Vec<_> = expect.lines().map(str::trim).collect();
        assert_eq!(came.lines().collect::<Vec<_>>(), expect, "{block}");
        assert_eq!(decoder.table.size(), *size, "{block}");
    }
}

const GET: &str = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com";
const GET_UNCACHED: &str =
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache";
const GET_INDEX: &str = ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n\
    custom-key: custom-value";
const FOUND: &str = ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
    location: https://www.example.com";
const REDIRECT: &str = ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
    location: https://www.example.com";
const COOKIE: &str = ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n\
    location: https://www.example.com\ncontent-encoding: gzip\n\
    set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
/// A table of 256 bytes.
const SMALL: &str = "3fe1 01";

#[test]
fn examples_of_the_rfc() {
    // C.2
    check(
        "",
        &[(
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key: custom-header",
            55,
        )],
    );
    check(
        "",
        &[(
            "040c 2f73 616d 706c 652f 7061 7468",
            ":path: /sample/path",
            0,
        )],
    );
    check(
        "",
        &[(
            "1008 7061 7373 776f 7264 0673 6563 7265 74",
            "password: secret (sensitive)",
            0,
        )],
    );
    check("", &[("82", ":method: GET", 0)]);
    // C.3, C.4
    check(
        "",
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", GET, 57),
            ("8286 84be 5808 6e6f 2d63 6163 6865", GET_UNCACHED, 110),
            (
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
                GET_INDEX,
                164,
            ),
        ],
    );
    check(
        "",
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", GET, 57),
            ("8286 84be 5886 a8eb 1064 9cbf", GET_UNCACHED, 110),
            (
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
                GET_INDEX,
                164,
            ),
        ],
    );
    // C.5, C.6
    check(
        SMALL,
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 \
                 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                FOUND,
                222,
            ),
            ("4803 3330 37c1 c0bf", REDIRECT, 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a \
                 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d \
                 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
                COOKIE,
                215,
            ),
        ],
    );
    check(
        SMALL,
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d \
                 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                FOUND,
                222,
            ),
            ("4883 640e ffc1 c0bf", REDIRECT, 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d \
                 d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 \
                 3d50 07",
                COOKIE,
                215,
            ),
        ],
    );
}

#[test]
fn what_is_said_is_read() {
    let mut encoder = Encoder::new();
    let mut decoder = Decoder::new(4096);
    let fields: [(&[u8], &[u8]); 9] = [
        (b"Content-Type", b"text/html"),
        (b"server", b"nginx"),
        (b"Date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        (b"Content-Length", b"612"),
        (b"X-Of-Ours-That-Is-Long-Enough", b"\xff\x80 \x01"),
        (b"accept-encoding", b"gzip, deflate"),
        (b"Set-Cookie", b"a=1"),
        (b"cookie", b"a=0123456789012345678"),
        (b"x", b""),
    ];
    let mut sizes = Vec::new();
    for status in [200, 302, 302, 999] {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.status(status, &mut out);
        let mut expect = format!(":status: {status}\n");
        for (name, value) in fields {
            encoder.field(name, value, &mut out);
            let sensitive = if name == b"Set-Cookie" {
                " (sensitive)"
            } else {
                ""
            };
            let (name, value) = (name.to_ascii_lowercase(), value.escape_ascii());
            expect += &format!("{}: {value}{sensitive}\n", name.escape_ascii());
        }
        assert_eq!(lines(&mut decoder, &out), Ok(expect));
        sizes.push(out.len());
    }
    assert!(sizes[0] >= 100 && sizes[2] < 30, "{sizes:?}");
}

#[test]
fn what_no_block_is() {
    for (what, block) in [
        ("the index of none", "80"),
        ("the same, for a name", "c0"),
        ("behind the last", "be"),
        ("behind the last, for a name", "7e 01 61"),
        ("far behind", "ff ff ff ff ff 0f"),
        ("a number over 32 bits", "ff ff ff ff ff 7f"),
        ("a number without end", "ff 80 80 80 80 80 80 00"),
        ("a number cut off", "ff 80"),
        ("a size behind a field", "82 20"),
        ("a size over what we take", "3f e2 1f"),
        ("a text that is cut off", "00 02 61"),
        ("no value", "00 01 61"),
        ("no name", "00"),
        ("the end as a text", "00 84 ff ff ff ff 01 61"),
        ("padding of a byte", "00 82 1f ff 01 61"),
        ("padding with a zero", "00 81 18 01 61"),
        ("a word cut off", "00 82 ff fe 01 61"),
    ] {
        let mut decoder = Decoder::new(4096);
        let broken = lines(&mut decoder, &bytes(block));
        assert_eq!(broken, Err(Broken), "{what}: {block}");
    }
    // So that the rows above are broken by what they say.
    for (block, expect) in [
        ("82 20".split_at(2).1, ""),
        ("3f e1 1f 20 82", ":method: GET\n"),
        ("00 81 1f 01 61", "a: a\n"),
        ("00 80 00", ": \n"),
    ] {
        let mut decoder = Decoder::new(4096);
        assert_eq!(
            lines(&mut decoder, &bytes(block)).as_deref(),
            Ok(expect),
            "{block}"
        );
    }
}

#[test]
fn every_byte_there_and_back() {
    for byte in 0..=255 {
        for count in [1, 2, 3, 7, 100] {
            let text = [&vec![byte; count][..], b"eeeeeeeeeeeeeeeeee"].concat();
            let mut coded = Vec::new();
            let fits = huffman::length(&text) < text.len();
            assert_eq!(huffman::encode(&text, &mut coded), fits);
            if !fits {
                assert!(coded.is_empty());
                continue;
            }
            assert_eq!(coded.len(), huffman::length(&text));
            let mut back = b"before".to_vec();
            huffman::decode(&coded, &mut back).unwrap();
            assert_eq!(&back[6..], text);
        }
    }
}

#[test]
fn what_may_not_stand_in_a_head() {
    for (block, wrong) in [
        ("00 01 61 01 62", None),
        ("00 01 41 01 62", Some(Malformed::Http2)),
        ("00 00 01 62", Some(Malformed::Http2)),
        ("00 02 61 20 01 62", Some(Malformed::FieldName)),
        ("00 01 61 01 0a", Some(Malformed::FieldValue)),
        ("00 01 61 02 20 61", Some(Malformed::FieldValue)),
        // By way of the table, as a field and as a name of another.
        ("40 01 61 01 0a be", Some(Malformed::FieldValue)),
        ("40 01 61 01 0a 7e 01 61", None),
        ("40 01 41 01 61 7e 01 61", Some(Malformed::Http2)),
    ] {
        let mut last = None;
        let mut decoder = Decoder::new(4096);
        let each = |field: Decoded<'_>| last = Some(field.wrong);
        decoder.decode(&bytes(block), 4096, each).unwrap();
        assert_eq!(last, Some(wrong), "{block}");
    }
}

#[test]
fn what_is_over_is_decoded_all_the_same() {
    let mut decoder = Decoder::new(4096);
    let mut count = |block: &str, limit: usize| {
        let mut count = 0;
        let listed = decoder.decode(&bytes(block), limit, |_| count += 1);
        listed.map(|listed| (listed.size, listed.over, count))
    };
    assert_eq!(
        count("40 01 61 01 62 40 01 63 01 64", 34),
        Ok((68, true, 1))
    );
    assert_eq!(count("be bf", 68), Ok((68, false, 2)));
    // One field of nearly the table's size, again and again: refused at a mebibyte.
    let large = format!("40 01 61 7f c0 1e {}", "62".repeat(4031));
    assert_eq!(count(&large, 8192), Ok((4064 + 32 - 32, false, 1)));
    assert_eq!(count(&"be".repeat(258), 8192), Ok((258 * 4064, true, 2)));
    assert_eq!(count(&"be".repeat(259), 8192), Err(Broken));
}

#[test]
fn sizes_are_said_before_the_next_block() {
    for (sizes, expect) in [
        (&[4096][..], ""),
        (&[65536], ""),
        (&[100], "3f 45"),
        (&[0], "20"),
        (&[0, 4096], "20 3f e1 1f"),
        (&[100, 0, 50], "20 3f 13"),
        (&[50, 100], "3f 13 3f 45"),
    ] {
        let mut encoder = Encoder::new();
        for size in sizes {
            encoder.resize(*size);
        }
        let mut out = Vec::new();
        encoder.begin(&mut out);
        assert_eq!(out, bytes(expect), "{sizes:?}");
        encoder.begin(&mut out);
        assert_eq!(out, bytes(expect), "said once");
    }
}

/// A step of a connection's life.
#[derive(Clone, Debug)]
enum Step {
    Resize(u32),
    Block(Vec<(Vec<u8>, Vec<u8>)>),
}

fn step() -> impl Strategy<Value = Step> {
    // Few names and values, so that they come again.
    let name = prop_oneof![
        Just(b"server".to_vec()),
        Just(b"cookie".to_vec()),
        Just(b"set-cookie".to_vec()),
        Just(b"etag".to_vec()),
        proptest::collection::vec(b'a'..=b'd', 0..40),
        "[!-~]{1,60}".prop_map(|name| name.to_ascii_lowercase().into_bytes()),
    ];
    let value = prop_oneof![
        proptest::collection::vec(b'a'..=b'c', 0..2),
        proptest::collection::vec(any::<u8>(), 0..50),
        (any::<u8>(), 0..3000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    prop_oneof![
        1 => prop_oneof![Just(0), Just(4096), 0_u32..5000].prop_map(Step::Resize),
        4 => proptest::collection::vec((name, value), 0..12).prop_map(Step::Block),
    ]
}

proptest! {
    #[test]
    fn both_ends_agree(steps in proptest::collection::vec(step(), 1..16)) {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new(4096);
        for step in steps {
            let fields = match step {
                Step::Resize(most) => {
                    encoder.resize(most);
                    continue;
                }
                Step::Block(fields) => fields,
            };
            let mut out = Vec::new();
            encoder.begin(&mut out);
            for (name, value) in &fields {
                encoder.field(&name.to_ascii_uppercase(), value, &mut out);
            }
            let mut back = Vec::new();
            let each = |field: Decoded<'_>| back.push((field.name.to_vec(), field.value.to_vec()));
            prop_assert!(decoder.decode(&out, usize::MAX, each).is_ok());
            prop_assert_eq!(back, fields);
            prop_assert_eq!(decoder.table.size(), encoder.table_size());
        }
    }

    #[test]
    fn hostile_bytes_stay_within_bounds(blocks in proptest::collection::vec(hostile(), 1..10)) {
        let mut decoder = Decoder::new(4096);
        for block in blocks {
            let mut sum = 0;
            let each = |field: Decoded<'_>| sum += field.name.len() + field.value.len() + OVERHEAD;
            match decoder.decode(&block, 10_000, each) {
                Ok(listed) => prop_assert_eq!(listed.over, listed.size > 10_000),
                Err(Broken) => break,
            }
            prop_assert!(sum <= 10_000);
            prop_assert!(decoder.table.size() <= 4096);
            prop_assert!(decoder.table.held() <= 2 * 4096 + 32);
        }
    }
}

/// Bytes that are blocks more often than chance has it.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20),
        (0x80_u8..).prop_map(|index| vec![index]),
        (
            prop_oneof![Just(0x40_u8), Just(0), Just(0x10), Just(0x7e), Just(0x20)],
            proptest::collection::vec(any::<u8>(), 0..100),
            any::<bool>()
        )
            .prop_map(|(first, text, coded)| {
                let length = u8::try_from(text.len()).unwrap_or(0);
                let mut part = vec![first];
                for _ in 0..2 {
                    part.push(length | u8::from(coded) << 7);
                    part.extend_from_slice(&text);
                }
                part
            }),
    ];
    proptest::collection::vec(part, 0..20).prop_map(|parts| parts.concat())
}
