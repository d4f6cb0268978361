//! Owns the signature of a delivery: HMAC-SHA256 over id, time and body, as the receiver checks it.
//!
//! The time is that of the attempt, not of the event: a late retry is as fresh as a first attempt, and an old one that
//! somebody recorded is not. The id is signed with it: who recorded one cannot have it taken again under another.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};

/// The field that carries it.
pub(crate) const FIELD: &str = "x-webhook-signature";

/// The field that carries the id.
pub(crate) const ID: &str = "x-webhook-id";

/// What the receiver tolerates between its clock and the sender's, in seconds.
pub(crate) const TOLERANCE: u64 = 300;

/// `t=<seconds>,v1=<hex>`.
pub(crate) fn signature(secret: &[u8], id: &str, time: u64, body: &str) -> String {
    let tag = sign(&key(secret), signed(id, time, body).as_bytes());
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={time},v1={hex}")
}

/// Whether a signature is of this id and body, by this secret, and fresh. In constant time.
pub(crate) fn holds(secret: &[u8], text: &str, id: &str, body: &str, now: u64) -> bool {
    let Some((time, hex)) = text
        .strip_prefix("t=")
        .and_then(|text| text.split_once(",v1="))
    else {
        return false;
    };
    let (Ok(time), Some(tag)) = (time.parse::<u64>(), bytes(hex)) else {
        return false;
    };
    now.abs_diff(time) <= TOLERANCE
        && verify(&key(secret), signed(id, time, body).as_bytes(), &tag).is_ok()
}

fn key(secret: &[u8]) -> Key {
    Key::new(HMAC_SHA256, secret)
}

fn signed(id: &str, time: u64, body: &str) -> String {
    format!("{id}.{time}.{body}")
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
