//! Owns how the parts of a head are written: fields, addresses, numbers, digits.

use std::io::Write;
use std::net::IpAddr;
use std::ops::Range;

use crate::head::{Field, Table};

/// Those that go on, as they came. Lines that stand behind one another in the text, written as we write them, are one piece.
pub(super) fn put_fields(out: &mut Vec<u8>, table: &Table, goes_on: impl Fn(&Field<'_>) -> bool) {
    let text = |range: Range<usize>| table.bytes.get(range).unwrap_or_default();
    let mut piece = 0..0;
    for (entry, field) in table.fields.iter().zip(table.iter()) {
        if !goes_on(&field) {
            continue;
        }
        let (name, value) = (entry.name.range(), entry.value.range());
        let line = name.start..value.end + 2;
        let as_ours = text(name.end..value.start) == b": " && text(value.end..line.end) == b"\r\n";
        if as_ours && piece.end == line.start {
            piece.end = line.end;
            continue;
        }
        put(out, &[text(std::mem::take(&mut piece))]);
        match as_ours {
            true => piece = line,
            false => put_field(out, field.name, field.value),
        }
    }
    put(out, &[text(piece)]);
}

pub(super) fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put(out, &[name, b": ", value, b"\r\n"]);
}

pub(super) fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// As `Display` writes it, at a tenth of the price: this stands in every head.
pub(super) fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                put_number(out, octet);
            }
        }
        // Writing to a vector does not fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// In decimal digits.
pub(super) fn put_number(out: &mut Vec<u8>, number: impl Into<u64>) {
    let mut left = number.into();
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // Below 10.
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Eight digits at a time: ids stand in every head, and digit by digit they were 3 % of an exchange.
pub(super) fn put_hex(out: &mut Vec<u8>, word: u64) {
    // Each nibble of a half in a byte of its own, then what makes a digit of it: `a` is 39 further from `9` than the next byte.
    let digits = |half: u64| {
        let pairs = (half << 16 | half) & 0x0000_ffff_0000_ffff;
        let bytes = (pairs << 8 | pairs) & 0x00ff_00ff_00ff_00ff;
        let nibbles = (bytes << 4 | bytes) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
        (nibbles + 0x3030_3030_3030_3030 + letters * 39).to_be_bytes()
    };
    let [high, low] = [word >> 32, word & 0xffff_ffff].map(digits);
    out.extend_from_slice(&high);
    out.extend_from_slice(&low);
}
