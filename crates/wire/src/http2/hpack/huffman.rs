//! Owns the Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: the lengths of its words say the words, so the lengths are all that stands here, and both tables are made
//! of them by the compiler.

use super::Broken;

/// Bits of each byte's word, and of the end's.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, //
    28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, //
    10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, //
    15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, //
    6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, //
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, //
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, //
    23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, //
    26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, //
    28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const LONGEST: usize = 30;

/// The most bytes that text of so many comes of: the shortest word has 5 bits.
const fn text_most(coded: usize) -> usize {
    coded / 5 * 8 + 8
}

/// A word, at the low end, and its bits.
#[derive(Clone, Copy)]
struct Word {
    bits: u32,
    length: u32,
}

/// The code, ordered: what bytes have words of each length, and where those words begin.
struct Ordered {
    /// Bytes by the length of their words, then by themselves; the end is left out, for it is the last.
    bytes: [u8; 256],
    /// Of each length, how many words are shorter.
    before: [u16; LONGEST + 2],
    /// Of each length, the first word, at the high end of 32 bits.
    first: [u32; LONGEST + 2],
}

static ORDERED: Ordered = IN_ORDER;
#[expect(clippy::cast_possible_truncation, reason = "below 257, or 32 bits")]
const IN_ORDER: Ordered = {
    let mut made = Ordered {
        bytes: [0; 256],
        before: [0; LONGEST + 2],
        first: [0; LONGEST + 2],
    };
    let (mut count, mut word, mut length) = (0_usize, 0_u64, 1_usize);
    while length <= LONGEST {
        made.before[length] = count as u16;
        made.first[length] = (word << (32 - length)) as u32;
        let mut byte = 0;
        while byte < 257 {
            if LENGTHS[byte] as usize == length {
                if byte < 256 {
                    made.bytes[count] = byte as u8;
                }
                count += 1;
                word += 1;
            }
            byte += 1;
        }
        word <<= 1;
        length += 1;
    }
    // Every bit pattern begins one word: 2^30 are taken.
    assert!(count == 257 && word == 1 << (LONGEST + 1));
    made.before[LONGEST + 1] = count as u16;
    made.first[LONGEST + 1] = u32::MAX;
    made
};

static WORDS: [Word; 256] = MADE;
#[expect(clippy::cast_possible_truncation, reason = "below 257")]
const MADE: [Word; 256] = {
    let mut words = [Word { bits: 0, length: 0 }; 256];
    let mut length = 1;
    while length <= LONGEST {
        let before = IN_ORDER.before[length] as usize;
        let mut at = before;
        while at < IN_ORDER.before[length + 1] as usize && at < 256 {
            words[IN_ORDER.bytes[at] as usize] = Word {
                bits: (IN_ORDER.first[length] >> (32 - length)) + (at - before) as u32,
                length: length as u32,
            };
            at += 1;
        }
        length += 1;
    }
    words
};

/// Of each 8 bits, the byte whose word they begin with and its length; of length 0 where the word is longer.
static SHORT: [(u8, u8); 256] = {
    let mut short = [(0, 0); 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let Word { bits, length } = MADE[byte];
        if length <= 8 {
            let from = (bits << (8 - length)) as usize;
            let mut at = from;
            while at < from + (1 << (8 - length)) {
                #[expect(clippy::cast_possible_truncation, reason = "below 256")]
                let entry = (byte as u8, length as u8);
                short[at] = entry;
                at += 1;
            }
        }
        byte += 1;
    }
    short
};

/// Appends what is coded. Cost: some 10 instructions for each byte of text, more for rare ones.
pub(super) fn decode(coded: &[u8], text: &mut Vec<u8>) -> Result<(), Broken> {
    let start = text.len();
    text.resize(start + text_most(coded.len()), 0);
    let room = &mut text[start..];
    let (mut at, mut rest) = (0, coded);
    // From the high end of `bits`, `count` are valid and zeros stand behind.
    let (mut bits, mut count) = (0_u64, 0_u32);
    loop {
        while count < 32 {
            if let Some((four, behind)) = rest.split_first_chunk::<4>() {
                bits |= u64::from(u32::from_be_bytes(*four)) << (32 - count);
                (count, rest) = (count + 32, behind);
            } else if let Some((&one, behind)) = rest.split_first() {
                bits |= u64::from(one) << (56 - count);
                (count, rest) = (count + 8, behind);
            } else {
                break;
            }
        }
        // Four short words are there for sure.
        if count >= 32
            && let Some(four) = room.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>)
        {
            let before = at;
            for to in four {
                let (byte, length) = SHORT[(bits >> 56) as usize];
                if length == 0 {
                    break;
                }
                *to = byte;
                bits <<= length;
                count -= u32::from(length);
                at += 1;
            }
            if at > before {
                continue;
            }
        }
        let (mut byte, short) = SHORT[(bits >> 56) as usize];
        let mut length = u32::from(short);
        if length == 0 || length > count {
            if is_padding(bits, count) {
                break;
            }
            (byte, length) = long(bits, count)?;
        }
        *room.get_mut(at).ok_or(Broken)? = byte;
        at += 1;
        bits <<= length;
        count -= length;
    }
    text.truncate(start + at);
    Ok(())
}

/// Whether no more than padding is left: below 8 bits, all ones (RFC 7541 section 5.2).
const fn is_padding(bits: u64, count: u32) -> bool {
    count < 8 && bits.leading_ones() >= count
}

/// A word that may be longer than 8 bits. Neither the end may stand in a text, nor part of a word other than padding.
#[cold]
fn long(bits: u64, count: u32) -> Result<(u8, u32), Broken> {
    let high = (bits >> 32) as u32;
    let longer = (5..=LONGEST).find(|&length| high < ORDERED.first[length + 1]);
    let length = longer.ok_or(Broken)?;
    let at = (high - ORDERED.first[length]) >> (32 - length);
    let at = usize::from(ORDERED.before[length]) + at as usize;
    let byte = ORDERED.bytes.get(at).ok_or(Broken)?;
    #[expect(clippy::cast_possible_truncation, reason = "at most 30")]
    let length = length as u32;
    (length <= count).then_some((*byte, length)).ok_or(Broken)
}

/// Bytes that a text takes, coded.
pub(super) fn length(text: &[u8]) -> usize {
    let bits = |&byte: &u8| WORDS[usize::from(byte)].length as usize;
    text.iter().map(bits).sum::<usize>().div_ceil(8)
}

/// Appends text coded, unless that would take as many bytes as the text or more; then nothing is appended.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let most = start + text.len();
    let (mut bits, mut count) = (0_u64, 0_u32);
    for &byte in text {
        let word = WORDS[usize::from(byte)];
        bits = bits << word.length | u64::from(word.bits);
        count += word.length;
        if count >= 32 {
            count -= 32;
            #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits")]
            let four = (bits >> count) as u32;
            out.extend_from_slice(&four.to_be_bytes());
            if out.len() >= most {
                break;
            }
        }
    }
    // Ones up to a whole byte.
    let last = ((bits << (32 - count)) | ((1 << (32 - count)) - 1)) & 0xffff_ffff;
    let last = (last as u32).to_be_bytes();
    out.extend_from_slice(&last[..count.div_ceil(8) as usize]);
    let shorter = out.len() < most;
    if !shorter {
        out.truncate(start);
    }
    shorter
}
