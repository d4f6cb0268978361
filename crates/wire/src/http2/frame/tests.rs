use super::*;

const SIZE: Fault = Fault::of_connection(code::FRAME_SIZE_ERROR);
const PROTOCOL: Fault = Fault::of_connection(code::PROTOCOL_ERROR);

/// The frames that stand in these bytes.
fn frames(mut bytes: &[u8]) -> Vec<(FrameHeader, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk() {
        let header = FrameHeader::parse(header);
        let (payload, rest) = rest.split_at(header.length);
        frames.push((header, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

#[test]
fn headers() {
    let header = FrameHeader::parse(&[1, 2, 3, 0x42, 0x25, 0xff, 0, 0, 1]);
    let expect = FrameHeader {
        length: 0x01_02_03,
        kind: 0x42,
        flags: 0x25,
        stream: 0x7f00_0001,
    };
    assert_eq!(header, expect);
    assert!(header.has(flag::PRIORITY) && !header.has(flag::PADDED));
    let mut out = Vec::new();
    put_header(&mut out, 0x01_02_03, 0x42, 0x25, 0xff00_0001);
    assert_eq!(out, [1, 2, 3, 0x42, 0x25, 0x7f, 0, 0, 1]);
}

#[test]
fn padding_and_priority() {
    for (flags, payload, expect) in [
        (0, &b"\x02ab"[..], Ok(&b"\x02ab"[..])),
        (flag::PADDED, b"\x02abc\0\0", Ok(b"abc")),
        (flag::PADDED, b"\x00", Ok(b"")),
        (flag::PADDED, b"\x02ab", Ok(b"")),
        (flag::PADDED, b"\x03ab", Err(PROTOCOL)),
        (flag::PADDED, b"", Err(SIZE)),
    ] {
        assert_eq!(unpad(flags, payload), expect, "{flags} {payload:?}");
        let block = header_block(flags, payload);
        assert_eq!(block, expect.map(|expect| (expect, None)));
    }
    let both = flag::PADDED | flag::PRIORITY;
    for (flags, payload, expect) in [
        (
            flag::PRIORITY,
            &b"\x80\0\0\x05\x10ab"[..],
            Ok((&b"ab"[..], Some(5))),
        ),
        (both, b"\x01\0\0\0\x05\x10ab\0", Ok((b"ab", Some(5)))),
        (both, b"\x01\0\0\0\x05\x10", Err(SIZE)),
        (flag::PRIORITY, b"\0\0\0\x05", Err(SIZE)),
    ] {
        assert_eq!(header_block(flags, payload), expect, "{payload:?}");
    }
}

#[test]
fn payloads_of_fixed_lengths() {
    let eight = *b"\x80\0\0\x05\xff\0\0\x02";
    for length in 0..10 {
        let payload: Vec<u8> = eight.into_iter().cycle().take(length).collect();
        let when = |lengths: bool, fault| if lengths { None } else { Some(fault) };
        assert_eq!(window_update(&payload).err(), when(length == 4, SIZE));
        assert_eq!(reset(&payload).err(), when(length == 4, SIZE));
        assert_eq!(ping(&payload).err(), when(length == 8, SIZE));
        assert_eq!(goaway(&payload).err(), when(length >= 8, SIZE));
        let of_stream = Fault::of_stream(code::FRAME_SIZE_ERROR);
        assert_eq!(priority(&payload).err(), when(length == 5, of_stream));
    }
    assert_eq!(window_update(&eight[..4]), Ok(5));
    assert_eq!(reset(&eight[..4]), Ok(0x8000_0005));
    assert_eq!(priority(&eight[..5]), Ok(5));
    assert_eq!(ping(&eight), Ok(eight));
    assert_eq!(goaway(&eight), Ok((5, 0xff00_0002)));
}

#[test]
fn what_settings_may_say() {
    let flow = Fault::of_connection(code::FLOW_CONTROL_ERROR);
    let none = Settings::default();
    for (name, value, expect) in [
        (
            1,
            u32::MAX,
            Ok(Settings {
                header_table_size: Some(u32::MAX),
                ..none
            }),
        ),
        (
            2,
            0,
            Ok(Settings {
                enable_push: Some(false),
                ..none
            }),
        ),
        (
            2,
            1,
            Ok(Settings {
                enable_push: Some(true),
                ..none
            }),
        ),
        (2, 2, Err(PROTOCOL)),
        (
            3,
            0,
            Ok(Settings {
                max_concurrent_streams: Some(0),
                ..none
            }),
        ),
        (
            4,
            MOST_31,
            Ok(Settings {
                initial_window_size: Some(MOST_31),
                ..none
            }),
        ),
        (4, MOST_31 + 1, Err(flow)),
        (5, PAYLOAD_LEAST - 1, Err(PROTOCOL)),
        (
            5,
            PAYLOAD_LEAST,
            Ok(Settings {
                max_frame_size: Some(PAYLOAD_LEAST),
                ..none
            }),
        ),
        (
            5,
            PAYLOAD_MOST,
            Ok(Settings {
                max_frame_size: Some(PAYLOAD_MOST),
                ..none
            }),
        ),
        (5, PAYLOAD_MOST + 1, Err(PROTOCOL)),
        (
            6,
            7,
            Ok(Settings {
                max_header_list_size: Some(7),
                ..none
            }),
        ),
        (
            8,
            1,
            Ok(Settings {
                enable_connect_protocol: Some(true),
                ..none
            }),
        ),
        (8, 2, Err(PROTOCOL)),
        (0x1234, 5, Ok(none)),
    ] {
        let mut out = Vec::new();
        put_settings(&mut out, &[(name, value)]);
        let frames = frames(&out);
        let (header, payload) = &frames[0];
        assert_eq!(
            (header.kind, header.flags, header.stream),
            (kind::SETTINGS, 0, 0)
        );
        assert_eq!(settings(payload), expect, "{name} {value}");
        assert_eq!(settings(&payload[..5]), Err(SIZE));
    }
    let mut out = Vec::new();
    put_settings(&mut out, &[(4, 1), (3, 9), (4, 2)]);
    let last =
        settings(&out[HEADER..]).map(|all| (all.initial_window_size, all.max_concurrent_streams));
    assert_eq!(last, Ok((Some(2), Some(9))));
    assert_eq!(settings(&[]), Ok(none));
}

#[test]
fn what_is_written() {
    let mut out = Vec::new();
    put_settings_ack(&mut out);
    put_ping(&mut out, *b"12345678", true);
    put_ping(&mut out, *b"12345678", false);
    put_window_update(&mut out, 3, 0x8000_0001);
    put_reset(&mut out, 5, code::CANCEL);
    put_goaway(&mut out, 7, code::ENHANCE_YOUR_CALM, b"enough");
    let expect: [(u8, u8, u32, &[u8]); 6] = [
        (kind::SETTINGS, flag::ACK, 0, b""),
        (kind::PING, flag::ACK, 0, b"12345678"),
        (kind::PING, 0, 0, b"12345678"),
        (kind::WINDOW_UPDATE, 0, 3, b"\0\0\0\x01"),
        (kind::RST_STREAM, 0, 5, b"\0\0\0\x08"),
        (kind::GOAWAY, 0, 0, b"\0\0\0\x07\0\0\0\x0benough"),
    ];
    let frames = frames(&out);
    assert_eq!(frames.len(), expect.len());
    for ((header, payload), expect) in frames.iter().zip(expect) {
        let came = (header.kind, header.flags, header.stream, &payload[..]);
        assert_eq!(came, expect);
    }
}

#[test]
fn a_block_in_frames() {
    let (end, last) = (flag::END_STREAM, flag::END_HEADERS);
    let (first, next) = (kind::HEADERS, kind::CONTINUATION);
    for (length, ends, most, expect) in [
        (0, true, 16, &[(first, end | last, 0)][..]),
        (16, false, 16, &[(first, last, 16)]),
        (17, true, 16, &[(first, end, 16), (next, last, 1)]),
        (32, false, 16, &[(first, 0, 16), (next, last, 16)]),
        (3, false, 0, &[(first, 0, 1), (next, 0, 1), (next, last, 1)]),
    ] {
        let block: Vec<u8> = (0..length).collect();
        let mut out = Vec::new();
        put_block(&mut out, 9, &block, ends, most);
        let frames = frames(&out);
        let came: Vec<_> = frames
            .iter()
            .map(|(header, _)| (header.kind, header.flags, header.length))
            .collect();
        assert_eq!(came, expect);
        assert!(frames.iter().all(|(header, _)| header.stream == 9));
        let payloads: Vec<u8> = frames
            .into_iter()
            .flat_map(|(_, payload)| payload)
            .collect();
        assert_eq!(payloads, block);
    }
}
