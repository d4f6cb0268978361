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
