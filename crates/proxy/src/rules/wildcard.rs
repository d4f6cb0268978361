//! Owns patterns with `*` (any run of characters) and `?` (any one character), as ALB has them.

/// Whether a pattern holds for all of a text. Remembers one star to go back to, which is enough: a later star takes
/// all that an earlier one could. Cost: at most pattern times text.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                back = Some((at + 1, seen));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((star, from)) = back else {
                    return false;
                };
                back = Some((star, from + 1));
                (at, seen) = (star, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
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
}
