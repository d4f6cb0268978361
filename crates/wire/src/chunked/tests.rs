use proptest::prelude::*;

use super::*;

/// What goes on, and what is left of the input, however the input is cut.
fn run(input: &[u8], keep: Keep, step: usize) -> Result<(Vec<u8>, Vec<u8>, bool), Malformed> {
    let mut body = Chunked::new(keep, 256, 8);
    let (mut out, mut rest, mut ended) = (Vec::new(), Vec::new(), false);
    for piece in input.chunks(step.max(1)) {
        let mut piece = piece.to_vec();
        let passed = body.pass(&mut piece)?;
        out.extend_from_slice(&piece[..passed.kept]);
        rest.extend_from_slice(&piece[passed.consumed..]);
        if passed.ended && !ended {
            out.extend_from_slice(body.tail());
        }
        ended = passed.ended;
    }
    Ok((out, rest, body.is_done()))
}

#[track_caller]
fn check(input: &str, expect: Result<(&str, &str), Malformed>) {
    for step in [1, 2, 3, 7, input.len()] {
        let got = run(input.as_bytes(), Keep::Chunks, step).map(|(out, rest, done)| {
            assert!(done, "{input:?} has no end");
            (
                String::from_utf8(out).unwrap(),
                String::from_utf8(rest).unwrap(),
            )
        });
        let got = got.as_ref().map(|(out, rest)| (&out[..], &rest[..]));
        assert_eq!(got.map_err(|error| *error), expect, "{input:?} by {step}");
    }
}

#[test]
fn chunks_go_on_as_they_are() {
    check("0\r\n\r\n", Ok(("0\r\n\r\n", "")));
    check(
        "5\r\nhello\r\n0\r\n\r\n",
        Ok(("5\r\nhello\r\n0\r\n\r\n", "")),
    );
    check(
        "A\r\n0123456789\r\n000\r\n\r\nGET /",
        Ok(("A\r\n0123456789\r\n000\r\n\r\n", "GET /")),
    );
}

#[test]
fn extensions_are_dropped() {
    check(
        "5;a=b ; c = \"d; \\\" e\";\tf\r\nhello\r\n0;x\r\n\r\n",
        Ok(("5\r\nhello\r\n0\r\n\r\n", "")),
    );
    let endless = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(EXTENSIONS_MOST));
    check(&endless, Err(Malformed::ChunkExtension));
    for extension in [
        "a\nb",
        "a\0b",
        "a=\"a\u{7f}\"",
        "a\u{e4}",
        "",
        ";a",
        "a;",
        "=a",
        "a=",
        "a==b",
        "a b",
        "a=b c",
        "a=\"b\"c",
        "\"a\"",
        "a=\"",
        "a=\"b\\\"",
        "a=b\"c\"",
        "a ",
        "a=\"b\" ",
        "a,b",
        "a=b=c",
    ] {
        check(
            &format!("1;{extension}\r\nx\r\n0\r\n\r\n"),
            Err(Malformed::ChunkExtension),
        );
    }
    check("1;a\rb\r\nx\r\n0\r\n\r\n", Err(Malformed::Chunk));
    check("1;\r\nx\r\n0\r\n\r\n", Err(Malformed::ChunkExtension));
}

#[test]
fn extensions_of_many_chunks_share_one_limit() {
    let many = "1;aaaaaaa\r\nx\r\n".repeat(129) + "0\r\n\r\n";
    check(&many, Err(Malformed::ChunkExtension));
}

#[test]
fn trailers_are_cleaned() {
    check(
        "1\r\nx\r\n0\r\nx-sum: 7\r\nContent-Length: 3\r\nhost: a\r\nX_Forwarded_For: 1\r\nAuthorization: b\r\n\r\nrest",
        Ok(("1\r\nx\r\n0\r\nx-sum: 7\r\n\r\n", "rest")),
    );
    check("0\r\nhost: a\r\n\r\n", Ok(("0\r\n\r\n", "")));
}

#[test]
fn trailers_have_a_form_and_a_limit() {
    check("0\r\nno colon\r\n\r\n", Err(Malformed::Trailer));
    check("0\r\na: b\n\r\n\r\n", Err(Malformed::Trailer));
    check("0\r\na: b\r\n c\r\n\r\n", Err(Malformed::Trailer));
    check("0\r\na : b\r\n\r\n", Err(Malformed::Trailer));
    check(
        &format!("0\r\na: {}\r\n\r\n", "b".repeat(256)),
        Err(Malformed::TrailersTooLarge),
    );
    check(
        &format!("0\r\n{}\r\n", "a: b\r\n".repeat(9)),
        Err(Malformed::TrailersTooLarge),
    );
}

#[test]
fn sizes_have_one_spelling() {
    for size in [
        "",
        "-1",
        "+1",
        "0x1",
        "1_0",
        "1 ",
        " 1",
        "1\t",
        "g",
        "11111111111111111",
        "\r",
        ";a",
        "1\n",
        "\"1\"",
    ] {
        check(&format!("{size}\r\nx\r\n0\r\n\r\n"), Err(Malformed::Chunk));
    }
    // The largest size that a signed number holds is never whole; one more is refused.
    let mut body = Chunked::new(Keep::Chunks, 0, 0);
    let mut huge = *b"7fffffffffffffff\r\nx";
    let passed = body.pass(&mut huge).unwrap();
    assert_eq!(
        (passed.kept, passed.ended, body.left),
        (19, false, SIZE_MOST - 1)
    );
    check("8000000000000000\r\nx", Err(Malformed::Chunk));
    check("ffffffffffffffff\r\nx", Err(Malformed::Chunk));
}

#[test]
fn data_ends_with_its_line_end() {
    for input in [
        "1\r\nxy\r\n0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "0\r\n\rx",
        "1\r\nx\r\r",
    ] {
        check(input, Err(Malformed::Chunk));
    }
}

#[test]
fn only_the_data_for_who_knows_no_chunks() {
    for step in [1, 4, 100] {
        let got = run(
            b"3;e\r\nabc\r\n2\r\nde\r\n0\r\nt: 1\r\n\r\nnext",
            Keep::Data,
            step,
        );
        assert_eq!(got, Ok((b"abcde".to_vec(), b"next".to_vec(), true)));
    }
}

#[test]
fn a_line_before_a_chunk() {
    for (length, line) in [
        (0, "0\r\n"),
        (10, "a\r\n"),
        (255, "ff\r\n"),
        (usize::MAX, "ffffffffffffffff\r\n"),
    ] {
        assert_eq!(ChunkLine::before(length).as_bytes(), line.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

    /// However it is cut, what goes on holds the same data, and reading it again changes nothing.
    #[test]
    fn what_goes_on_is_what_came(
        pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), prop::option::of("[a-z]{1,4}(=([a-z]{1,4}|\"[a-z;=]{0,4}\"))?")), 0..6),
        step in 1_usize..50,
    ) {
        let (mut wire, mut data) = (Vec::new(), Vec::new());
        for (piece, extension) in &pieces {
            wire.extend_from_slice(format!("{:X}", piece.len()).as_bytes());
            if let Some(extension) = extension {
                wire.extend_from_slice(format!(";{extension}").as_bytes());
            }
            wire.extend_from_slice(b"\r\n");
            wire.extend_from_slice(piece);
            wire.extend_from_slice(b"\r\n");
            data.extend_from_slice(piece);
        }
        wire.extend_from_slice(LAST_CHUNK);
        wire.extend_from_slice(b"\r\n");
        let (out, rest, done) = run(&wire, Keep::Chunks, step).unwrap();
        prop_assert!(done && rest.is_empty());
        prop_assert_eq!(run(&out, Keep::Chunks, step).unwrap().0, out.clone());
        prop_assert_eq!(run(&out, Keep::Data, step).unwrap().0, data);
    }

    /// No input makes it panic, keep more than it took, or take more than there was.
    #[test]
    fn any_bytes(mut input in prop::collection::vec(prop::sample::select(b"0123af;\r\n \t:xX\0\xff".to_vec()), 0..80)) {
        let length = input.len();
        if let Ok(passed) = Chunked::new(Keep::Chunks, 64, 4).pass(&mut input) {
            prop_assert!(passed.kept <= passed.consumed && passed.consumed <= length);
        }
    }
}
