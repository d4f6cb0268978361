//! Owns CRC32c (RFC 9260 appendix A, RFC 3720 appendix B.4). Twenty lines and a table of 1 KiB; a crate would bring the processor's own
//! instruction for it, which a header of some hundred bytes once per connection does not need.

/// The polynomial 0x1EDC6F41, its bits in the order in which they are sent.
const POLYNOMIAL: u32 = 0x82F6_3B78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u32;
    while byte < 256 {
        let mut rest = byte;
        let mut bit = 0;
        while bit < 8 {
            rest = match rest & 1 {
                1 => rest >> 1 ^ POLYNOMIAL,
                _ => rest >> 1,
            };
            bit += 1;
        }
        table[byte as usize] = rest;
        byte += 1;
    }
    table
};

/// The checksum of all parts, one behind the other.
pub(super) fn of(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().copied().flatten();
    !bytes.fold(u32::MAX, |rest, byte| {
        let [low, ..] = rest.to_le_bytes();
        rest >> 8 ^ TABLE[usize::from(low ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn vectors() {
        let rising: Vec<u8> = (0..32).collect();
        let falling: Vec<u8> = (0..32).rev().collect();
        for (bytes, expect) in [
            (&b""[..], 0),
            (b"123456789", 0xE306_9283),
            // RFC 3720 appendix B.4.
            (&[0; 32], 0x8A91_36AA),
            (&[0xFF; 32], 0x62A8_AB43),
            (&rising, 0x46DD_794E),
            (&falling, 0x113F_DB5C),
        ] {
            assert_eq!(of(&[bytes]), expect, "{bytes:?}");
            let (begin, end) = bytes.split_at(bytes.len() / 3);
            assert_eq!(of(&[begin, &[], end]), expect, "{bytes:?}");
        }
    }
}
