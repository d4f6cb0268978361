//! Owns the laws of what gRPC adds. The input's first byte says as what the rest is read: `t` a deadline, `m` a message, `s` a status, `h` the
//! body of a health check's answer, `q` the name of a service to ask for.

use evenkeel_wire::grpc::health::{ANSWER_MOST, SERVICE_MOST, Serving};
use evenkeel_wire::grpc::{Status, health, in_head, in_trailers, is_grpc, message, timeout};

use crate::show;

/// Compares with plain readings, and reads again what was written.
pub fn check(input: &[u8]) -> bool {
    match input.split_first() {
        Some((b't', value)) => deadline(value),
        Some((b'm', value)) => text(value),
        Some((b's', value)) => status(value),
        Some((b'h', body)) => answer(body),
        Some((b'q', name)) => question(name),
        _ => false,
    }
}

fn deadline(value: &[u8]) -> bool {
    let read = timeout::read(value);
    let plain = plain_nanos(value);
    assert_eq!(read.map(|time| time.as_nanos()), plain, "{}", show(value));
    let Some(time) = read else {
        return false;
    };
    let mut written = Vec::new();
    timeout::write(time, &mut written);
    assert!(written.len() <= 9, "{}", show(&written));
    let again = timeout::read(&written);
    // What came fits eight digits of its own unit, and so of a finer one or of that.
    assert!(again <= Some(time) && again.is_some(), "{}", show(&written));
    true
}

fn plain_nanos(value: &[u8]) -> Option<u128> {
    let text = std::str::from_utf8(value).ok()?;
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "S" => 1_000_000_000,
        "M" => 60_000_000_000,
        "H" => 3_600_000_000_000,
        _ => return None,
    };
    let sound = digits.len() <= 8 && digits.chars().all(|digit| digit.is_ascii_digit());
    let number: u128 = sound.then(|| digits.parse().ok())??;
    Some(number * unit)
}

fn text(value: &[u8]) -> bool {
    let text = message::read(value);
    let mut written = Vec::new();
    message::write(&text, &mut written);
    assert!(written.iter().all(|byte| (b' '..=b'~').contains(byte)));
    assert_eq!(message::read(&written), text, "{}", show(value));
    if !value.contains(&b'%') {
        assert_eq!(text, String::from_utf8_lossy(value));
    }
    true
}

fn status(value: &[u8]) -> bool {
    let read = Status::read(value);
    let plain = Status::ALL
        .iter()
        .find(|status| status.number().to_string().as_bytes() == value);
    assert_eq!(read, plain.copied().unwrap_or(Status::Unknown));
    let field = (&b"grpc-status"[..], value);
    assert_eq!(in_trailers([field]), read);
    assert_eq!(in_trailers([field, field]), read);
    assert_eq!(in_head(503, [field]), Some(read));
    // As a content type: only gRPC's own waits for trailers.
    let waits = in_head(200, [(&b"content-type"[..], value)]).is_none();
    assert_eq!(waits, is_grpc(value), "{}", show(value));
    plain.is_some() || waits
}

fn answer(body: &[u8]) -> bool {
    let verdict = health::read(body);
    for length in 0..body.len().min(FRAME + ANSWER_MOST) {
        match health::read(&body[..length]) {
            Ok(None) => {}
            Ok(Some(_)) => assert_eq!(verdict, Err(health::Unreadable::Frame)),
            Err(why) => assert_eq!(verdict, Err(why), "{length} of {}", show(body)),
        }
    }
    let plain = plain_answer(body);
    match verdict {
        Ok(Some(serving)) => assert_eq!(plain, Some(serving), "{}", show(body)),
        _ => assert_eq!(plain, None, "{}", show(body)),
    }
    plain.is_some()
}

/// Bytes before a message.
const FRAME: usize = 5;

/// The whole body, field by field, with numbers as long as they come.
fn plain_answer(body: &[u8]) -> Option<Serving> {
    let (head, mut rest) = body.split_at_checked(FRAME)?;
    let length = head[1..]
        .iter()
        .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    if head[0] != 0 || length != rest.len() || length > ANSWER_MOST {
        return None;
    }
    let mut last = 0;
    while !rest.is_empty() {
        let key = number(&mut rest)?;
        if key >> 3 == 0 || key > u128::from(u32::MAX) {
            return None;
        }
        let skip = match key % 8 {
            0 => {
                let value = number(&mut rest)?;
                last = if key == 8 { value } else { last };
                0
            }
            1 => 8,
            2 => number(&mut rest)?,
            5 => 4,
            _ => return None,
        };
        rest = rest.get(usize::try_from(skip).ok()?..)?;
    }
    Some(match last {
        1 => Serving::Serving,
        2 => Serving::NotServing,
        3 => Serving::ServiceUnknown,
        _ => Serving::Unknown,
    })
}

fn number(rest: &mut &[u8]) -> Option<u128> {
    let bytes = rest.iter().take_while(|&&byte| byte >= 0x80).count() + 1;
    let (digits, behind) = rest.split_at_checked(bytes).filter(|_| bytes <= 10)?;
    *rest = behind;
    let value = digits
        .iter()
        .rev()
        .fold(0, |sum, &byte| sum << 7 | u128::from(byte & 0x7F));
    (value <= u128::from(u64::MAX)).then_some(value)
}

/// What is asked for is what a plain reading of the request finds.
fn question(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    let mut body = Vec::new();
    let written = health::write(name, &mut body);
    assert_eq!(written.is_ok(), name.len() <= SERVICE_MOST);
    if written.is_err() {
        assert!(body.is_empty());
        return false;
    }
    let (head, mut rest) = body.split_at(FRAME);
    let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
    assert_eq!(head, [&[0][..], &length.to_be_bytes()].concat());
    if !name.is_empty() {
        assert_eq!(number(&mut rest), Some(0x0A));
        assert_eq!(number(&mut rest), Some(name.len() as u128));
    }
    assert_eq!(rest, name.as_bytes());
    true
}
