//! Owns the laws of reports of load. The input's first byte says as what the rest is read: `f` the value of the field, `b` a message that stands in
//! it as base64, `p` a page.

use std::sync::Arc;

use evenkeel_wire::base64;
use evenkeel_wire::load::{
    FIELD, FIELD_BIN, FIELD_MOST, Report, Unread, of_field, read, read_binary, read_page,
};

use crate::show;

/// What is read is within its bounds, and is read again from each of the three spellings.
pub fn check(input: &[u8]) -> bool {
    let names = ["named_metrics.queue", "cpu_utilization", "utilization.a"];
    let chosen: Vec<Arc<str>> = names.map(Arc::from).into();
    let said = match input.split_first() {
        Some((b'f', value)) => field(value, &chosen),
        Some((b'b', message)) => binary(message, &chosen),
        Some((b'p', body)) => page(body, &chosen),
        _ => return false,
    };
    let Ok(report) = said else {
        return false;
    };
    let all = numbers(&report);
    for (_, _, value) in &all {
        assert!((0.0..=1e9).contains(value), "{report:?} of {}", show(input));
    }
    if let (Some(cpu), Some(chosen)) = (report.cpu, report.chosen) {
        assert!(chosen >= cpu, "{report:?} of {}", show(input));
    }
    again(&report, &all);
    !all.is_empty() || report.chosen.is_some()
}

fn field(value: &[u8], chosen: &[Arc<str>]) -> Result<Report, Unread> {
    let said = read(value, chosen);
    assert_eq!(
        of_field(FIELD, value, chosen),
        Some(said),
        "{}",
        show(value)
    );
    // Who chooses nothing reads the same but for that, or what is wrong with a metric said twice.
    let plain = read(value, &[]);
    match (said, plain) {
        (Ok(said), plain) => assert_eq!(
            plain,
            Ok(Report {
                chosen: None,
                ..said
            })
        ),
        (Err(Unread::Twice), _) => {}
        (Err(why), plain) => assert_eq!(plain, Err(why)),
    }
    said
}

fn binary(message: &[u8], chosen: &[Arc<str>]) -> Result<Report, Unread> {
    let text = base64::text(message);
    let mut bytes = vec![0; message.len()];
    let length = base64::read(text.as_bytes(), &mut bytes);
    assert_eq!((length, &*bytes), (Some(message.len()), message));
    let said = read_binary(text.as_bytes(), chosen);
    let named = of_field(FIELD_BIN, text.as_bytes(), chosen);
    assert_eq!(named, Some(said), "{}", show(message));
    if text.len() + 4 <= FIELD_MOST {
        let value = format!("BIN {text}");
        assert_eq!(read(value.as_bytes(), chosen), said, "{}", show(message));
    }
    // Cut short it says less, or nothing: never another number than the whole.
    if let Ok(whole) = said {
        for end in 0..message.len().min(64) {
            let text = base64::text(&message[..end]);
            if let Ok(part) = read_binary(text.as_bytes(), &[]) {
                let numbers = numbers(&part);
                assert!(
                    numbers
                        .iter()
                        .all(|number| self::numbers(&whole).contains(number)),
                    "{end} of {}",
                    show(message)
                );
            }
        }
    }
    said
}

fn page(body: &[u8], chosen: &[Arc<str>]) -> Result<Report, Unread> {
    let said = read_page(body, chosen);
    // An object that is cut short is none.
    let end = body.trim_ascii_end().len();
    if said.is_ok() {
        for end in 0..end.min(256) {
            assert!(
                read_page(&body[..end], chosen).is_err(),
                "{end} of {}",
                show(body)
            );
        }
    }
    if body.len() + 5 <= FIELD_MOST && body.first() == Some(&b'{') {
        let value = [b"JSON ", body].concat();
        let again = read(&value, chosen);
        // Spaces of other kinds may stand around a value.
        assert!(again == said || said.is_err(), "{}", show(body));
    }
    said
}

/// Those that it has, by their names and their places in the message.
fn numbers(report: &Report) -> Vec<(&'static str, u8, f64)> {
    let all = [
        ("cpu_utilization", 1, report.cpu),
        ("mem_utilization", 2, report.memory),
        ("rps_fractional", 6, report.rps),
        ("eps", 7, report.eps),
        ("application_utilization", 9, report.application),
    ];
    let said = all.into_iter();
    said.filter_map(|(name, place, value)| Some((name, place, value?)))
        .collect()
}

/// Written in each spelling, it is read as it is.
fn again(report: &Report, all: &[(&str, u8, f64)]) {
    let plain = Ok(Report {
        chosen: None,
        ..*report
    });
    let join = |pair: fn(&str, f64) -> String| {
        let pairs: Vec<_> = all
            .iter()
            .map(|(name, _, value)| pair(name, *value))
            .collect();
        pairs.join(",")
    };
    let text = join(|name, value| format!("{name}={value}"));
    assert_eq!(read(format!("TEXT {text}").as_bytes(), &[]), plain);
    let json = join(|name, value| format!("\"{name}\":{value:e}"));
    assert_eq!(read(format!("JSON {{{json}}}").as_bytes(), &[]), plain);
    let mut message = Vec::new();
    for (_, place, value) in all {
        message.push(place << 3 | 1);
        message.extend_from_slice(&value.to_le_bytes());
    }
    let text = base64::text(&message);
    assert_eq!(read_binary(text.as_bytes(), &[]), plain);
}
