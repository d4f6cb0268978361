//! Owns the laws of HPACK. The input is blocks of one connection, each behind a byte that is its length.

use evenkeel_wire::RequestHead;
use evenkeel_wire::http1::HeadLimits;
use evenkeel_wire::http1::request::PathForm;
use evenkeel_wire::http2::fields;
use evenkeel_wire::http2::hpack::{Broken, Decoded, Decoder, Encoder, Listed};

use crate::show;

/// A reading by the letter.
mod plain;

use plain::{Field, Plain};

/// What the table may be resized to.
const TABLE: usize = 8192;

/// Small enough to be reached.
const LISTED_MOST: usize = 4096;

const LIMITS: HeadLimits = HeadLimits {
    bytes: 1024,
    fields: 16,
    target: 128,
};

/// Decodes as a plain reading does, whatever is taken of it; says it again so that it is the same; makes heads of it that go on.
pub fn check(input: &[u8]) -> bool {
    let mut plain = Plain::new();
    let [mut all, mut some, mut heads] = [(); 3].map(|()| Decoder::new(TABLE));
    let (mut encoder, mut back) = (Encoder::new(), Decoder::new(4096));
    let (mut rest, mut taken) = (input, false);
    while let Some((&length, behind)) = rest.split_first() {
        let (block, behind) = behind.split_at(behind.len().min(usize::from(length)));
        rest = behind;
        let expect = plain.block(block, TABLE);
        let read = read(&mut all, block, usize::MAX);
        let (Some(expect), Ok((fields, listed))) = (&expect, &read) else {
            assert!(expect.is_none() && read.is_err(), "{}", show(block));
            return taken;
        };
        assert_eq!(fields, expect, "{}", show(block));
        taken |= !fields.is_empty();
        in_part(&mut some, block, fields, *listed);
        said_again(&mut encoder, &mut back, usize::from(length), fields);
        as_a_head(&mut heads, block);
    }
    taken
}

fn read(decoder: &mut Decoder, block: &[u8], limit: usize) -> Result<(Vec<Field>, Listed), Broken> {
    let mut fields = Vec::new();
    let each = |field: Decoded<'_>| fields.push((field.name.to_vec(), field.value.to_vec()));
    let listed = decoder.decode(block, limit, each)?;
    Ok((fields, listed))
}

/// With a limit, the begin of the same.
fn in_part(decoder: &mut Decoder, block: &[u8], all: &[Field], listed: Listed) {
    let Ok((fields, in_part)) = read(decoder, block, LISTED_MOST) else {
        assert!(listed.size > 1 << 20, "{}", show(block));
        *decoder = Decoder::new(TABLE);
        return;
    };
    // Another begins anew where this was refused, and knows less.
    if in_part.size == listed.size {
        assert_eq!(in_part.over, listed.size > LISTED_MOST);
        assert!(all.starts_with(&fields) && in_part.over == (fields.len() < all.len()));
    }
}

/// What our encoder says of it is the same, names in lower case, with a table that changes.
fn said_again(encoder: &mut Encoder, back: &mut Decoder, length: usize, fields: &[Field]) {
    // From none to more than is used, as the input has it.
    for size in [length, length % 7 * 700].into_iter().take(length % 3) {
        encoder.resize(u32::try_from(size).unwrap_or_default());
    }
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value) in fields {
        encoder.field(name, value, &mut out);
    }
    let again = read(back, &out, usize::MAX);
    let lower = |(name, value): &Field| (name.to_ascii_lowercase(), value.clone());
    let expect: Vec<Field> = fields.iter().map(lower).collect();
    assert_eq!(again.map(|(fields, _)| fields), Ok(expect));
}

/// What is taken as a request goes on as one.
fn as_a_head(decoder: &mut Decoder, block: &[u8]) {
    let mut head = RequestHead::new();
    let form = PathForm::Normalize;
    match fields::request(decoder, block, false, &LIMITS, form, &mut head) {
        Err(Broken) => *decoder = Decoder::new(TABLE),
        Ok(Err(_)) => {}
        Ok(Ok(())) => {
            assert!(head.size() <= 3 * LIMITS.bytes);
            assert!(head.fields().count() <= LIMITS.fields);
            crate::http2::goes_on(&head);
        }
    }
}
