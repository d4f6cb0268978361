//! Owns the normal form of a path: the one spelling that rules see and that goes on to the backend.
//!
//! Unreserved characters stand plain, other escapes in upper case, `.` and `..` are resolved, repeated slashes are one. An
//! escaped slash or backslash stays escaped: to most backends it is data. `;` is data as well. Refused are a zero byte, a
//! broken escape, and more `..` than segments: whoever sends them means no path.

use crate::bytes::{hex, is_unreserved};
use crate::malformed::Malformed;

/// Whether a path has its normal form already; nearly all have. One look at each byte.
#[must_use]
pub fn is_normal(path: &[u8]) -> bool {
    let mut last = 0;
    for &byte in path {
        // A dot behind a slash may begin a dot segment; the slow way knows.
        if byte == b'%' || (last == b'/' && (byte == b'/' || byte == b'.')) {
            return false;
        }
        last = byte;
    }
    true
}

/// Appends the normal form of `path`, which begins with a slash, to `into`.
///
/// # Errors
/// [`Malformed::Path`]; `into` then holds part of it.
pub fn normalize(path: &[u8], into: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = into.len();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else {
                    return Err(Malformed::Path);
                };
                let decoded = hex(*high, *low).ok_or(Malformed::Path)?;
                if decoded == 0 {
                    return Err(Malformed::Path);
                }
                if is_unreserved(decoded) {
                    into.push(decoded);
                } else {
                    into.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
                }
                rest = after;
            }
            b'/' => slash(into, start)?,
            _ => into.push(byte),
        }
    }
    // A dot segment at the end leaves its slash: `/a/.` is `/a/`, `/a/b/..` is `/a/`.
    if ends_in_dots(&into[start..]) {
        slash(into, start)?;
    }
    Ok(())
}

/// Ends the last segment with a slash, unless it was empty or a dot segment.
fn slash(into: &mut Vec<u8>, start: usize) -> Result<(), Malformed> {
    let so_far = &into[start..];
    if so_far.ends_with(b"/..") {
        let parent = so_far[..so_far.len() - 3]
            .iter()
            .rposition(|&byte| byte == b'/')
            .ok_or(Malformed::Path)?;
        into.truncate(start + parent + 1);
    } else if so_far.ends_with(b"/.") {
        into.pop();
    } else if !so_far.ends_with(b"/") {
        into.push(b'/');
    }
    Ok(())
}

fn ends_in_dots(path: &[u8]) -> bool {
    path.ends_with(b"/.") || path.ends_with(b"/..")
}

/// Checks what even a path that is passed on as it came must not hold.
///
/// # Errors
/// [`Malformed::Path`] for an escaped zero byte or a broken escape.
pub fn check_escapes(path: &[u8]) -> Result<(), Malformed> {
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        match rest.get(at + 1..at + 3) {
            Some(&[high, low]) if hex(high, low).is_some_and(|byte| byte != 0) => {
                rest = &rest[at + 3..];
            }
            _ => return Err(Malformed::Path),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(path: &str, expect: Result<&str, Malformed>) {
        let mut normal = b"before".to_vec();
        let got = normalize(path.as_bytes(), &mut normal)
            .map(|()| String::from_utf8(normal[6..].to_vec()).unwrap());
        assert_eq!(got.as_deref().map_err(|&error| error), expect, "{path}");
    }

    #[test]
    fn one_form() {
        check("/", Ok("/"));
        check("/a/b", Ok("/a/b"));
        check("/a//b///c/", Ok("/a/b/c/"));
        check("/a/./b/.", Ok("/a/b/"));
        check("/a/b/../c", Ok("/a/c"));
        check("/a/b/..", Ok("/a/"));
        check("/a/b/../..", Ok("/"));
        check("/%61dmin", Ok("/admin"));
        check("/a/%2e%2E/b", Ok("/b"));
        check("/a/.%2e/b", Ok("/b"));
        check("/a%2fb%5c", Ok("/a%2Fb%5C"));
        check("/a%252e%252e/b", Ok("/a%252e%252e/b"));
        check("/a;x=1/..;/b", Ok("/a;x=1/..;/b"));
        check("/.well-known/a..b/...", Ok("/.well-known/a..b/..."));
        check("//../a", Err(Malformed::Path));
        check("/..", Err(Malformed::Path));
        check("/a/../../b", Err(Malformed::Path));
        check("/%00", Err(Malformed::Path));
        check("/%", Err(Malformed::Path));
        check("/%4", Err(Malformed::Path));
        check("/%zz", Err(Malformed::Path));
    }

    /// The table that operators read.
    #[test]
    fn the_document_says_what_happens() {
        let rows = include_str!("../../../docs/paths.md").lines();
        let mut seen = 0;
        for row in rows.filter(|row| row.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').collect();
            let codes = |cell: &str| -> Vec<String> {
                cell.split('`')
                    .skip(1)
                    .step_by(2)
                    .map(str::to_owned)
                    .collect()
            };
            let (from, to) = (codes(cells[1]), codes(cells[2]));
            for (at, path) in from.iter().enumerate() {
                if cells[2].trim() == "400" {
                    let mut normal = Vec::new();
                    let refused = normalize(path.as_bytes(), &mut normal).is_err()
                        || !crate::bytes::is_target(path.as_bytes());
                    assert!(refused, "{path}");
                } else {
                    check(path, Ok(&to[at]));
                }
                seen += 1;
            }
        }
        assert!(seen >= 11, "{seen}");
    }

    #[test]
    fn escapes_of_a_path_as_it_came() {
        assert_eq!(check_escapes(b"/a%2F%41"), Ok(()));
        assert_eq!(check_escapes(b"/a%2F%00"), Err(Malformed::Path));
        assert_eq!(check_escapes(b"/a%2"), Err(Malformed::Path));
        assert_eq!(check_escapes(b"/a%2g"), Err(Malformed::Path));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

        /// Twice is once, and no spelling of a dot segment is left.
        #[test]
        fn a_normal_form_is_its_own(path in "/([/.a%;]|%2[eEfF]|%61){0,12}") {
            let mut once = Vec::new();
            if normalize(path.as_bytes(), &mut once).is_ok() {
                let mut twice = Vec::new();
                prop_assert_eq!(normalize(&once, &mut twice), Ok(()));
                prop_assert_eq!(&once, &twice);
                prop_assert_eq!(once.first(), Some(&b'/'));
                for segment in once.split(|&byte| byte == b'/') {
                    prop_assert!(segment != b"." && segment != b"..");
                }
                if is_normal(path.as_bytes()) {
                    prop_assert_eq!(&once[..], path.as_bytes());
                }
            }
        }
    }
}
