//! Owns the hash that says which client belongs to which backend.
//!
//! Pinned for good: another function, seed or mixer moves every client of every hashing service at the next upgrade.
//! The vectors in the tests are the contract. Not keyed, so a client that chooses its key can choose its backend; that
//! is what affinity by key means. Read next: `maglev`, `rendezvous`.

use xxhash_rust::xxh64::xxh64;

/// "Evenkeel" in ASCII. Not zero, so that keys crafted against plain `xxh64` tables do not collide here too.
const SEED: u64 = 0x4576_656e_6b65_656c;

/// The hash of a key or a backend id: XXH64 with a seed of ours. About 5 ns for 16 bytes.
///
/// Source: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>.
#[must_use]
pub fn key(bytes: &[u8]) -> u64 {
    xxh64(bytes, SEED)
}

/// Joins two words into one that looks random, as long as the pairs differ; `mix(a, b) != mix(b, a)`.
///
/// For either argument held fixed this is a bijection of the other, so an attempt number or a backend id never
/// makes two different keys equal. Two rounds of SplitMix64 (Steele, Lea, Flood 2014), about 2 ns.
#[must_use]
pub const fn mix(a: u64, b: u64) -> u64 {
    splitmix(a ^ splitmix(b))
}

/// Scales a random word to `0..bound` without a division; 0 when `bound` is 0. Lemire 2018, without the rejection:
/// the bias is below `bound / 2^64`.
#[must_use]
pub const fn scale(word: u64, bound: u64) -> u64 {
    high_half(word as u128 * bound as u128)
}

/// 2^64 divided by the golden ratio: its multiples are spread most evenly.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

const fn high_half(product: u128) -> u64 {
    (product >> 64) as u64
}

const fn splitmix(word: u64) -> u64 {
    let word = word.wrapping_add(GOLDEN);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    /// The crate we take XXH64 from computes XXH64. The buffer is the one of the official sanity check (`xxhsum.c`).
    #[test]
    fn official_vectors_of_xxh64() {
        const PRIME32: u64 = 2_654_435_761;
        let mut byte_gen = PRIME32;
        let buffer: Vec<u8> = (0..222)
            .map(|_| {
                let [.., top] = byte_gen.to_le_bytes();
                byte_gen = byte_gen.wrapping_mul(11_400_714_785_074_694_797);
                top
            })
            .collect();
        let check = |len: usize, seed: u64, expect: u64| {
            assert_eq!(
                xxh64(&buffer[..len], seed),
                expect,
                "{len} bytes, seed {seed}"
            );
        };
        check(0, 0, 0xef46_db37_51d8_e999);
        check(0, PRIME32, 0xac75_fda2_929b_17ef);
        check(1, 0, 0xe934_a84a_db05_2768);
        check(1, PRIME32, 0x5014_6076_43a9_b4c3);
        check(14, 0, 0x8282_dcc4_994e_35c8);
        check(14, PRIME32, 0xc3bd_6bf6_3deb_6df0);
        check(222, 0, 0xb641_ae8c_b691_c174);
        check(222, PRIME32, 0x20cb_8ab7_ae10_c14a);
        assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        assert_eq!(xxh64(b"xxhash", 0), 0x32dd_3895_2c4b_c720);
    }

    /// Computed by a second implementation, in Python, from the two specifications.
    #[test]
    fn pinned_forever() {
        let check = |bytes: &[u8], expect: u64| {
            assert_eq!(key(bytes), expect, "key({bytes:?}) = {:#018x}", key(bytes));
        };
        check(b"", 0x45d1_a732_2cd9_ebb5);
        check(b"a", 0xba0f_7c96_63e8_ae35);
        check(b"10.0.0.1:8080", 0x30ae_a149_02da_7638);
        check(b"203.0.113.7", 0x8b60_fd0c_c049_db71);
        check(
            b"keel=0123456789abcdef0123456789abcdef",
            0x462b_c7d4_bfec_1e88,
        );
        let check = |a, b, expect: u64| {
            assert_eq!(mix(a, b), expect, "mix({a}, {b}) = {:#018x}", mix(a, b));
        };
        check(0, 0, 0xa706_dd2f_4d19_7e6f);
        check(0, 1, 0x5e41_ab08_7439_611e);
        check(1, 0, 0x08b4_fda8_c892_b50e);
        check(u64::MAX, 7, 0xa9a9_6b69_9dc4_1760);
    }

    /// One flipped bit of either argument flips half of the answer's bits: 32 +- 2 on average over 64 positions.
    #[test]
    fn mix_spreads_every_bit() {
        for (a, b) in [(0, 0), (1, 2), (u64::MAX, 5), (key(b"a"), key(b"b"))] {
            let flips: u32 = (0..64)
                .map(|bit| (mix(a, b) ^ mix(a ^ (1 << bit), b)).count_ones())
                .sum();
            assert!(
                (30 * 64..34 * 64).contains(&flips),
                "first argument: {flips}"
            );
            let flips: u32 = (0..64)
                .map(|bit| (mix(a, b) ^ mix(a, b ^ (1 << bit))).count_ones())
                .sum();
            assert!(
                (30 * 64..34 * 64).contains(&flips),
                "second argument: {flips}"
            );
        }
    }

    #[test]
    fn scale_covers_its_range() {
        let check = |word, bound, expect| assert_eq!(scale(word, bound), expect);
        check(0, 10, 0);
        check(u64::MAX, 10, 9);
        check(1 << 63, 10, 5);
        check(u64::MAX, 1, 0);
        check(u64::MAX, 0, 0);
        check(u64::MAX, u64::MAX, u64::MAX - 1);
    }
}
