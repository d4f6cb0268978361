//! Owns the signature of a delivery: HMAC-SHA256 over the time and the body, as the receiver checks it.
//!
//! The time is that of the attempt, not of the event: a late retry is as fresh as a first attempt, and an old one that
//! somebody recorded is not.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};

/// The field that carries it.
pub(crate) const FIELD: &str = "x-webhook-signature";

/// What the receiver tolerates between its clock and the sender's, in seconds.
pub(crate) const TOLERANCE: u64 = 300;

/// `t=<seconds>,v1=<hex>`.
pub(crate) fn signature(secret: &[u8], time: u64, body: &str) -> String {
    let tag = sign(&key(secret), signed(time, body).as_bytes());
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={time},v1={hex}")
}

/// Whether a signature is of this body, by this secret, and fresh. In constant time.
pub(crate) fn holds(secret: &[u8], text: &str, body: &str, now: u64) -> bool {
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
        && verify(&key(secret), signed(time, body).as_bytes(), &tag).is_ok()
}

fn key(secret: &[u8]) -> Key {
    Key::new(HMAC_SHA256, secret)
}

fn signed(time: u64, body: &str) -> String {
    format!("{time}.{body}")
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
