//! Owns patterns with `*` (any run of characters) and `?` (any one character), as ALB has them.

use memchr::memmem;

/// Whether a pattern holds for all of a text.
///
/// What stands before the first star and behind the last is compared where it must be, so that a pattern with one star costs
/// its own length however long the text is. Of the rest, each piece between two stars is taken where it is found first,
/// which leaves most to those behind it: by the text's length, but for pieces with `?`, which cost piece times text.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut stars = pattern
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'*');
    let Some((first, _)) = stars.next() else {
        return text.len() == pattern.len() && fits(pattern, text);
    };
    let last = stars.next_back().map_or(first, |(at, _)| at);
    let (front, back) = (&pattern[..first], &pattern[last + 1..]);
    let Some(middle) = text.len().checked_sub(front.len() + back.len()) else {
        return false;
    };
    let (begin, rest) = text.split_at(front.len());
    let (mut rest, end) = rest.split_at(middle);
    if !fits(front, begin) || !fits(back, end) {
        return false;
    }
    // Between the outer stars; with one star alone there is nothing.
    let between = pattern.get(first + 1..last).unwrap_or(&[]);
    for piece in between
        .split(|&byte| byte == b'*')
        .filter(|piece| !piece.is_empty())
    {
        let at = match piece.contains(&b'?') {
            false => memmem::find(rest, piece),
            true => {
                let mut places = rest.windows(piece.len());
                places.position(|part| fits(piece, part))
            }
        };
        let Some(at) = at else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

/// Whether a piece without stars holds for a text of its length.
fn fits(piece: &[u8], text: &[u8]) -> bool {
    piece
        .iter()
        .zip(text)
        .all(|(&wanted, &byte)| wanted == b'?' || wanted == byte)
}

/// A pattern as the text before its first `*` or `?`, what is wild, and the text behind the last; none if all of it is text.
pub(super) fn parts(pattern: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let wild = |byte: &u8| matches!(byte, b'*' | b'?');
    let from = pattern.iter().position(wild)?;
    let to = pattern.iter().rposition(wild)? + 1;
    Some((&pattern[..from], &pattern[from..to], &pattern[to..]))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn rows() {
        for (pattern, text, expect) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "/any/thing", true),
            ("/v1/*", "/v1/", true),
            ("/v1/*", "/v1/a/b", true),
            ("/v1/*", "/v1", false),
            ("/?/x", "/a/x", true),
            ("/?/x", "//x", false),
            ("*.jpg", "/a.jpg.png", false),
            ("*.jpg", "/a.jpg.jpg", true),
            ("/a*b*c", "/abbbcbc", true),
            ("/a*b*c", "/acb", false),
            ("**", "x", true),
            ("a?", "a", false),
            ("a?", "ab", true),
            ("a?", "abc", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("*a?*?b", "xaab", false),
            ("*a?*?b", "xaacb", true),
            ("*ab*ab*", "xabxab", true),
            ("*ab*ab*", "xabxa", false),
            ("*b*ab", "ab", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expect,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_pattern_that_wants_to_go_back_often_ends() {
        let pattern = "*a".repeat(60) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(8192).as_bytes()));
    }

    /// The meaning, one byte at a time.
    fn plainly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, left) => left.is_none(),
            (Some((b'*', rest)), None) => plainly(rest, text),
            (Some((b'*', rest)), Some((_, behind))) => {
                plainly(rest, text) || plainly(pattern, behind)
            }
            (Some(_), None) => false,
            (Some((wanted, rest)), Some((byte, behind))) => {
                (*wanted == b'?' || wanted == byte) && plainly(rest, behind)
            }
        }
    }

    #[test]
    fn every_short_pattern_holds_for_what_it_means() {
        let words = |letters: &[u8], most: u32| {
            let mut words = vec![Vec::new()];
            for length in 1..=most {
                let longest: Vec<Vec<u8>> = words
                    .iter()
                    .filter(|word| word.len() + 1 == length as usize)
                    .cloned()
                    .collect();
                for word in longest {
                    words.extend(
                        letters
                            .iter()
                            .map(|&letter| [&word[..], &[letter]].concat()),
                    );
                }
            }
            words
        };
        let texts = words(b"ab", 6);
        for pattern in words(b"ab*?", 5) {
            for text in &texts {
                let expect = plainly(&pattern, text);
                assert_eq!(matches(&pattern, text), expect, "{pattern:?} {text:?}");
            }
        }
    }
}
