//! Owns keys of limits: a hash under a secret, so that nobody can make up two that share a bucket.
//!
//! SipHash-1-3 (Aumasson and Bernstein 2012), as `std` has it for maps: the pinned hash of `hashing` will not do, since for XXH64 texts
//! are known that collide under every seed. 64 bits: among 100,000 keys two share a bucket once in four billion tables.

/// Chance that nobody outside knows.
#[derive(Clone, Copy)]
pub struct Secret(Sip<1, 3>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Of 128 bits of chance.
    #[must_use]
    pub const fn new(chance: [u64; 2]) -> Self {
        Self(Sip::new(chance))
    }

    /// Begins a key.
    pub const fn begin(&self) -> Keying {
        Keying(self.0)
    }
}

/// Whom a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    /// The only one of a limit that counts everybody together.
    pub const ONE: Self = Self(1);

    /// Never zero: that is no key.
    pub(super) const fn word(self) -> u64 {
        self.0
    }

    #[cfg(all(test, not(shuttle)))]
    pub(super) const fn of(word: u64) -> Self {
        Self(if word == 0 { 1 } else { word })
    }
}

/// A key that is being put together.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Keying(Sip<1, 3>);

impl Keying {
    /// One part more; none is a part of its own, which nothing else is. Where a part ends is hashed too, so that no two lists of as many
    /// parts look alike. Cost: some nanoseconds, and one for each two bytes.
    pub fn part(mut self, part: Option<&[u8]>) -> Self {
        let Some(part) = part else {
            self.0.word(0);
            return self;
        };
        self.0.word(part.len() as u64 + 1);
        let (whole, rest) = part.as_chunks();
        for word in whole {
            self.0.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.0.word(u64::from_le_bytes(last));
        }
        self
    }

    /// The key.
    #[must_use]
    pub fn key(self) -> Key {
        Key(self.0.end().max(1))
    }
}

/// SipHash with so many rounds for each word, and at the end.
#[derive(Clone, Copy, Debug)]
struct Sip<const WORD: usize, const END: usize>([u64; 4]);

impl<const WORD: usize, const END: usize> Sip<WORD, END> {
    const fn new([first, second]: [u64; 2]) -> Self {
        Self([
            first ^ 0x736f_6d65_7073_6575,
            second ^ 0x646f_7261_6e64_6f6d,
            first ^ 0x6c79_6765_6e65_7261,
            second ^ 0x7465_6462_7974_6573,
        ])
    }

    fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.rounds(WORD);
        self.0[0] ^= word;
    }

    fn end(mut self) -> u64 {
        self.0[2] ^= 0xff;
        self.rounds(END);
        let [a, b, c, d] = self.0;
        a ^ b ^ c ^ d
    }

    fn rounds(&mut self, times: usize) {
        let [mut a, mut b, mut c, mut d] = self.0;
        for _ in 0..times {
            a = a.wrapping_add(b);
            b = b.rotate_left(13) ^ a;
            a = a.rotate_left(32);
            c = c.wrapping_add(d);
            d = d.rotate_left(16) ^ c;
            a = a.wrapping_add(d);
            d = d.rotate_left(21) ^ a;
            c = c.wrapping_add(b);
            b = b.rotate_left(17) ^ c;
            c = c.rotate_left(32);
        }
        self.0 = [a, b, c, d];
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::collections::HashSet;
    use std::hash::{DefaultHasher, Hasher};

    use super::*;

    /// A text as SipHash takes it: its last word has its length.
    fn sip<const WORD: usize, const END: usize>(key: [u64; 2], text: &[u8]) -> u64 {
        let mut sip = Sip::<WORD, END>::new(key);
        let (whole, rest) = text.as_chunks();
        whole
            .iter()
            .for_each(|word| sip.word(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        sip.word(u64::from_le_bytes(last) | (text.len() as u64) << 56);
        sip.end()
    }

    /// Of the paper (2-4, its appendix A), and what `std` has (1-3).
    #[test]
    fn it_is_siphash() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let text: Vec<u8> = (0..15).collect();
        assert_eq!(sip::<2, 4>(key, &text), 0xa129_ca61_49be_45e5);
        assert_eq!(sip::<2, 4>(key, b""), 0x726f_db47_dd0e_0e31);
        let text: Vec<u8> = (0..100).map(|byte: u8| byte.wrapping_mul(37)).collect();
        for length in 0..text.len() {
            let mut std = DefaultHasher::new();
            std.write(&text[..length]);
            assert_eq!(
                sip::<1, 3>([0, 0], &text[..length]),
                std.finish(),
                "{length}"
            );
        }
    }

    #[test]
    fn parts_that_differ_are_keys_that_differ() {
        let lists: [&[Option<&[u8]>]; 9] = [
            &[Some(b"ab"), Some(b"c")],
            &[Some(b"a"), Some(b"bc")],
            &[Some(b""), Some(b"abc")],
            &[Some(b"abc"), Some(b"")],
            &[Some(b"abc"), None],
            &[None, Some(b"abc")],
            &[None, None],
            &[Some(b"abc\0"), None],
            &[Some(b"12345678"), Some(b"\0")],
        ];
        let of = |secret: [u64; 2], list: &[Option<&[u8]>]| {
            let parts = list.iter().copied();
            parts.fold(Secret::new(secret).begin(), Keying::part).key()
        };
        let mut seen = HashSet::new();
        for list in lists {
            assert!(seen.insert(of([1, 2], list)), "{list:?}");
            assert!(seen.insert(of([1, 3], list)), "{list:?}, another secret");
            assert_eq!(of([1, 2], list), of([1, 2], list));
        }
        assert!(seen.iter().all(|key| key.word() != 0));
    }
}
