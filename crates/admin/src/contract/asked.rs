//! Owns what is read of a request: parts of its path, and its query. What is not known is refused by name, never passed over: a misspelt
//! key would be answered as if it had not been sent.

use std::fmt::Write;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use evenkeel_control::snapshot::{Paged, Span};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::{IntoParams, ToSchema};

use super::problem::{Problem, Reason};

/// Rows of a page, unless it is asked for otherwise.
pub(super) const ROWS: u16 = 100;

/// The most rows of a page: of backends, about a megabyte.
const ROWS_MOST: u16 = 1000;

/// A query with nothing in it.
pub(crate) struct Plain;

impl<S: Send + Sync> FromRequestParts<S> for Plain {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        values(parts.uri.query(), []).map(|[]| Self)
    }
}

/// Which page of a list.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// So many rows at most; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Those behind the row of this name or id: `next` of the page before.
    after: Option<String>,
}

impl Paging {
    fn of(query: Option<&str>) -> Result<Self, Problem> {
        let [limit, after] = values(query, ["limit", "after"])?;
        Ok(Self {
            limit: limit.as_deref().map(limit_of).transpose()?,
            after,
        })
    }

    pub(crate) fn span(self) -> Span {
        Span {
            after: self.after,
            limit: self.limit.unwrap_or(ROWS).into(),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts.uri.query())
    }
}

/// One part of a path.
pub(crate) struct Name(pub(crate) String);

/// Two parts of a path.
pub(crate) struct Names(pub(crate) String, pub(crate) String);

/// Parts of a path that are no text are a problem of their own, whatever axum says of them.
async fn parts_of<S: Send + Sync, T: DeserializeOwned + Send>(
    parts: &mut Parts,
    state: &S,
) -> Result<T, Problem> {
    let read = Path::<T>::from_request_parts(parts, state).await;
    read.map(|Path(read)| read).map_err(|_| {
        let why = "a part of the path is no text: write it in UTF-8, percent-encoded";
        Problem::new(Reason::Path, why)
    })
}

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        parts_of(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = parts_of::<_, (String, String)>(parts, state).await;
        read.map(|(one, other)| Self(one, other))
    }
}

/// A number in a path.
pub(crate) struct Number(pub(crate) u64);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read: String = parts_of(parts, state).await?;
        let number = read.parse().map(Self);
        number.map_err(|_| Problem::new(Reason::Path, "a part of the path is no number"))
    }
}

/// Which revision another is compared with.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Since {
    /// The number of the other; the one before it unless it is said.
    from: Option<u64>,
}

impl Since {
    pub(crate) fn number(&self, to: u64) -> u64 {
        self.from.unwrap_or_else(|| to.saturating_sub(1))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Since {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let [from] = values(parts.uri.query(), ["from"])?;
        let from = from.map(|text| text.parse()).transpose();
        let from = from.map_err(|_| Problem::new(Reason::Query, "`from` takes a number"))?;
        Ok(Self { from })
    }
}

/// A name as one part of a path.
pub(crate) fn part(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Some rows of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// In the order of the list.
    items: Vec<T>,
    /// How many the list has.
    total: usize,
    /// What `after` takes for the rows behind these; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn of<U>(paged: Paged<U>, mut row: impl FnMut(U) -> T) -> Self {
        Self::of_some(paged, |one| Some(row(one)))
    }

    /// The same, without those that come to nothing.
    pub(crate) fn of_some<U>(paged: Paged<U>, row: impl FnMut(U) -> Option<T>) -> Self {
        Self {
            items: paged.items.into_iter().filter_map(row).collect(),
            total: paged.total,
            next: paged.next,
        }
    }
}

/// How many rows are asked for.
pub(super) fn limit_of(text: &str) -> Result<u16, Problem> {
    match text.parse() {
        Ok(limit @ 1..=ROWS_MOST) => Ok(limit),
        _ => {
            let why = format!("`limit` takes a number from 1 to {ROWS_MOST}");
            Err(Problem::new(Reason::Query, why))
        }
    }
}

/// The values of these keys, and of no others; each once at most.
pub(super) fn values<const N: usize>(
    query: Option<&str>,
    keys: [&str; N],
) -> Result<[Option<String>; N], Problem> {
    let refused = |why: String| Err(Problem::new(Reason::Query, why));
    let mut values = [const { None }; N];
    let pieces = query.unwrap_or_default().split('&');
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
        let (Some(key), Some(value)) = (decoded(key), decoded(value)) else {
            return refused("the query is no text: write it in UTF-8, percent-encoded".into());
        };
        let Some(at) = keys.iter().position(|known| *known == key) else {
            // Names of ours are short; what is long is not worth telling back.
            let named: String = key.chars().take(64).collect();
            let known = match keys.as_slice() {
                [] => "takes none".to_owned(),
                keys => format!("takes `{}`", keys.join("`, `")),
            };
            return refused(format!(
                "there is no key `{named}` in the query; this address {known}"
            ));
        };
        if values[at].replace(value).is_some() {
            return refused(format!("`{key}` stands twice in the query"));
        }
    }
    Ok(values)
}

/// Percent-decoded, a plus as a space. None: no text, or an escape that is none.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expect: Result<(u16, Option<&str>), &str>) {
        let got = Paging::of(Some(query)).map(Paging::span);
        match (got, expect) {
            (Ok(span), Ok((limit, after))) => {
                assert_eq!(
                    (span.limit, span.after.as_deref()),
                    (limit.into(), after),
                    "{query}"
                );
            }
            (Err(problem), Err(says)) => {
                assert_eq!(problem.reason(), Reason::Query, "{query}");
                assert!(
                    problem.detail().contains(says),
                    "{query}: {}",
                    problem.detail()
                );
            }
            (got, expect) => panic!("{query}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn what_a_query_has_is_taken_or_refused_by_name() {
        check("", Ok((100, None)));
        check("&", Ok((100, None)));
        check("limit=1", Ok((1, None)));
        check("limit=1000&after=a%2fb+c%25", Ok((1000, Some("a/b c%"))));
        check("after=", Ok((100, Some(""))));
        check("after=%C3%A4", Ok((100, Some("\u{e4}"))));
        for limit in ["0", "1001", "-1", "", "1e3", "99999999999999999999"] {
            check(&format!("limit={limit}"), Err("from 1 to 1000"));
        }
        check("limit=1&limit=1", Err("`limit` stands twice"));
        check(
            "Limit=1",
            Err("no key `Limit` in the query; this address takes `limit`, `after`"),
        );
        check("=1", Err("no key ``"));
        for text in [
            "after=%FF",
            "after=%C3",
            "after=%",
            "after=%4",
            "after=%zz",
            "%FF=1",
            "after=%+1",
        ] {
            check(text, Err("no text"));
        }
        let long = format!("{}=1", "x".repeat(10_000));
        let problem = Paging::of(Some(&long)).unwrap_err();
        assert!(problem.detail().len() < 200);
        let problem = values(Some("a=1"), []).unwrap_err();
        assert!(problem.detail().ends_with("takes none"));
    }
}
