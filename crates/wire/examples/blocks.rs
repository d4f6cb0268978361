//! What `cargo xtask counts` weighs: heads out of blocks and blocks out of heads, on connections that have been at work.
//!
//! `blocks --list` names the rows; `blocks <name> <repetitions>` runs one of them.
#![expect(clippy::print_stdout, reason = "the rows are its output")]

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;

use evenkeel_wire::RequestHead;
use evenkeel_wire::http1::HeadLimits;
use evenkeel_wire::http1::request::PathForm;
use evenkeel_wire::http2::fields::{put_response, request};
use evenkeel_wire::http2::hpack::{Decoder, Encoder, Pseudo};

const ROWS: [&str; 6] = [
    "answer",
    "answer/two-dates",
    "decode/load",
    "decode/browser",
    "request/load",
    "request/browser",
];

const ANSWERS: [&[u8]; 2] = [
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n\
      Date: Sat, 21 Nov 2026 20:08:16 GMT\r\nServer: nginx/1.26.2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n\
      Date: Sat, 21 Nov 2026 20:08:17 GMT\r\nServer: nginx/1.26.2\r\n\r\n",
];

/// What `h2load` says each time.
const LOAD: &[(&str, &str)] = &[("user-agent", "h2load nghttp2/1.64.0")];

/// What a browser says each time.
const BROWSER: &[(&str, &str)] = &[
    (
        "sec-ch-ua",
        "\"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"",
    ),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    ),
    (
        "accept",
        "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    ),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "no-cors"),
    ("sec-fetch-dest", "image"),
    ("referer", "https://www.example.com/"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-US,en;q=0.9"),
    ("cookie", "id=0123456789abcdef0123456789abcdef"),
];

fn answers(heads: &[&[u8]], repetitions: u64) -> Result<(), Box<dyn Error>> {
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    for (_, head) in (0..repetitions).zip(heads.iter().cycle()) {
        out.clear();
        put_response(&mut encoder, black_box(head), &mut out)?;
        black_box(&out);
    }
    Ok(())
}

fn block(encoder: &mut Encoder, path: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    encoder.pseudo(Pseudo::Method, b"GET", &mut out);
    encoder.pseudo(Pseudo::Authority, b"www.example.com", &mut out);
    encoder.pseudo(Pseudo::Scheme, b"https", &mut out);
    encoder.pseudo(Pseudo::Path, path, &mut out);
    for (name, value) in fields {
        encoder.field(name.as_bytes(), value.as_bytes(), &mut out);
    }
    out
}

fn requests(
    path: &[u8],
    fields: &[(&str, &str)],
    into_heads: bool,
    repetitions: u64,
) -> Result<(), Box<dyn Error>> {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let mut head = RequestHead::new();
    let limits = HeadLimits::default();
    let first = block(&mut encoder, path, fields);
    let again = block(&mut encoder, path, fields);
    for block in std::iter::once(&first).chain((0..repetitions).map(|_| &again)) {
        let block = black_box(block);
        if into_heads {
            let form = PathForm::Normalize;
            let taken = request(&mut decoder, block, true, &limits, form, &mut head);
            taken.map_err(|_| "a block that is none")??;
            black_box(&head);
        } else {
            let listed = decoder.decode(block, limits.bytes, |field| {
                black_box(field);
            });
            black_box(listed.map_err(|_| "a block that is none")?);
        }
    }
    Ok(())
}

fn run(name: &str, repetitions: u64) -> Result<(), Box<dyn Error>> {
    match name {
        "answer" => answers(&ANSWERS[..1], repetitions),
        "answer/two-dates" => answers(&ANSWERS, repetitions),
        "request/load" => requests(b"/", LOAD, true, repetitions),
        "request/browser" => requests(b"/assets/logo.png?v=3", BROWSER, true, repetitions),
        "decode/load" => requests(b"/", LOAD, false, repetitions),
        "decode/browser" => requests(b"/assets/logo.png?v=3", BROWSER, false, repetitions),
        _ => Err(format!("there is no row `{name}`").into()),
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => ROWS.iter().for_each(|name| println!("{name}")),
        [name, repetitions] => run(name, repetitions.parse()?)?,
        _ => {
            println!("usage: blocks --list | blocks <name> <repetitions>");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
