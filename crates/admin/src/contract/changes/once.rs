//! Owns `Idempotency-Key`: a write that is sent again with the same key, because its answer was lost, is answered as it was, and not done
//! again. The answers of five minutes are remembered, so many of them and so many bytes; what was refused is not: it changed nothing.
//!
//! Nobody fills the table alone: each caller may have four times what is free, so that one has four fifths of it at most, of two that want
//! all each has four ninths, and there is a place for who comes next (dynamic thresholds: Choudhury and Hahne, 1998).

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use evenkeel_control::clock::Clock;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::edits::BODY_MOST;
use crate::access::Digest;
use crate::contract::problem::{Problem, Reason};
use crate::gate::Caller;

/// How long an answer is remembered.
const KEPT: Duration = Duration::from_secs(300);

/// Keys that are remembered: a hundred writes a second of one caller for [`KEPT`] are three quarters of them.
const KEYS: usize = 40_960;

/// Bytes of all answers.
const BYTES: usize = 40 * 1024 * 1024;

/// What a caller may have, in parts of what is free.
const PART: usize = 4;

/// Bytes of one; a longer one is not remembered.
const ANSWER_MOST: usize = 64 * 1024;

/// Characters of a key.
const KEY_MOST: usize = 128;

const FIELD: &str = "idempotency-key";

/// Says that an answer is one that was given before.
const REPLAYED: &str = "idempotency-replayed";

/// Answers by key.
pub(crate) struct Known {
    table: Mutex<Table>,
    clock: Clock,
}

#[derive(Default)]
struct Table {
    all: HashMap<Key, (Digest, Option<Told>)>,
    /// By when they were answered.
    order: VecDeque<(Duration, Key)>,
    bytes: usize,
    /// What each caller has of it, who has anything.
    held: HashMap<Arc<str>, Held>,
}

/// A caller's name, and the key that it has sent: nobody meets the keys of others.
type Key = (Arc<str>, Arc<str>);

#[derive(Clone, Copy, Default)]
struct Held {
    keys: usize,
    bytes: usize,
}

#[derive(Clone)]
struct Told {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

enum Turn {
    /// Nobody has asked this before.
    First,
    Again(Box<Told>),
    Refused(Reason, &'static str),
}

impl Known {
    pub(crate) fn begin() -> Self {
        let table = Mutex::default();
        Self {
            table,
            clock: Clock::start(),
        }
    }

    fn table<T>(&self, look: impl FnOnce(&mut Table) -> T) -> T {
        look(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn turn(&self, key: &Key, print: Digest, now: Duration) -> Turn {
        self.table(|table| {
            table.forget(now);
            match table.all.get(key) {
                Some((other, _)) if *other != print => Turn::Refused(
                    Reason::KeyReused,
                    "this key came with another request before: each has a key of its own",
                ),
                Some((_, None)) => Turn::Refused(
                    Reason::KeyInUse,
                    "what was asked with this key is being done: ask again for its answer",
                ),
                Some((_, Some(told))) => Turn::Again(Box::new(told.clone())),
                None if !table.has_room(&key.0) => Turn::Refused(
                    Reason::TooManyKeys,
                    "as many answers are remembered as may be: ask again in some minutes, or without a key",
                ),
                None => {
                    table.all.insert(key.clone(), (print, None));
                    table.held.entry(key.0.clone()).or_default().keys += 1;
                    Turn::First
                }
            }
        })
    }

    /// It is over: answered so, or as if nobody had asked.
    fn over(&self, key: &Key, told: Option<Told>, now: Duration) {
        self.table(|table| match told {
            None => table.remove(key),
            Some(told) => {
                table.bytes += told.body.len();
                if let Some(held) = table.held.get_mut(&key.0) {
                    held.bytes += told.body.len();
                }
                if let Some((_, place)) = table.all.get_mut(key) {
                    *place = Some(told);
                }
                table.order.push_back((now, key.clone()));
            }
        });
    }
}

impl Table {
    fn has_room(&self, by: &str) -> bool {
        let held = self.held.get(by).copied().unwrap_or_default();
        let keys = KEYS.saturating_sub(self.all.len());
        let bytes = BYTES.saturating_sub(self.bytes);
        held.keys < PART * keys && (held.bytes < PART * bytes)
    }

    fn forget(&mut self, now: Duration) {
        while let Some((at, _)) = self.order.front() {
            if now.saturating_sub(*at) < KEPT {
                break;
            }
            if let Some((_, key)) = self.order.pop_front() {
                self.remove(&key);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some((_, told)) = self.all.remove(key) else {
            return;
        };
        let bytes = told.map_or(0, |told| told.body.len());
        self.bytes -= bytes;
        if let Some(held) = self.held.get_mut(&key.0) {
            held.keys -= 1;
            held.bytes -= bytes;
            if held.keys == 0 {
                self.held.remove(&key.0);
            }
        }
    }
}

/// Does once what comes with a key.
pub(super) async fn once(known: Arc<Known>, request: Request, next: Next) -> Response {
    let mut keys = request.headers().get_all(FIELD).iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => return next.run(request).await,
        (Some(key), None) => key.to_str().ok().map(str::to_owned),
        _ => None,
    };
    let fits = |key: &String| (1..=KEY_MOST).contains(&key.len());
    let Some(key) = key.filter(fits) else {
        let why =
            format!("`Idempotency-Key` takes one text of up to {KEY_MOST} characters of ASCII");
        return Problem::new(Reason::IdempotencyKey, why).into_response();
    };
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_MOST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return unread(&*error).into_response(),
    };
    let print = print(parts.method.as_str(), &parts.uri.to_string(), &body);
    let by = parts.extensions.get::<Caller>();
    let key: Key = (by.map_or("".into(), |by| by.name.clone()), key.into());
    match known.turn(&key, print, known.clock.uptime()) {
        Turn::Refused(reason, why) => Problem::new(reason, why).into_response(),
        Turn::Again(told) => {
            let mut response = (told.status, told.headers, told.body).into_response();
            let replayed = HeaderValue::from_static("true");
            response.headers_mut().insert(REPLAYED, replayed);
            response
        }
        Turn::First => {
            let request = Request::from_parts(parts, Body::from(body));
            let of_task = key.clone();
            let table = known.clone();
            // In a task of its own: who leaves meanwhile asks again, and is to hear what came of it.
            let done = tokio::spawn(async move {
                let (told, response) = split(next.run(request).await).await;
                table.over(&of_task, told, table.clock.uptime());
                response
            });
            done.await.unwrap_or_else(|_| {
                known.over(&key, None, known.clock.uptime());
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            })
        }
    }
}

/// Why a body is not there.
fn unread(error: &(dyn Error + 'static)) -> Problem {
    match error.is::<LengthLimitError>() {
        true => {
            let why = "the body is larger than any that is asked for";
            Problem::new(Reason::BodyTooLarge, why)
        }
        false => Problem::new(Reason::Body, "the body broke off"),
    }
}

/// What is remembered of an answer, and the answer.
async fn split(response: Response) -> (Option<Told>, Response) {
    if !response.status().is_success() {
        return (None, response);
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return (None, StatusCode::INTERNAL_SERVER_ERROR.into_response());
    };
    let headers = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];
    let kept = headers.into_iter().filter_map(|name| {
        let value = parts.headers.get(&name)?.clone();
        Some((name, value))
    });
    let told = Told {
        status: parts.status,
        headers: kept.collect(),
        body: body.clone(),
    };
    let told = (body.len() <= ANSWER_MOST).then_some(told);
    (told, Response::from_parts(parts, Body::from(body)))
}

/// What was asked.
fn print(method: &str, address: &str, body: &[u8]) -> Digest {
    Digest::of_all([method.as_bytes(), address.as_bytes(), body])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: usize) -> Told {
        Told {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: vec![b'x'; bytes].into(),
        }
    }

    fn key(by: &str, key: &str) -> Key {
        (by.into(), key.into())
    }

    fn word(turn: &Turn) -> &'static str {
        match turn {
            Turn::First => "first",
            Turn::Again(_) => "again",
            Turn::Refused(reason, _) => reason.word(),
        }
    }

    #[test]
    fn a_key_means_one_request_for_so_long() {
        let (known, now) = (Known::begin(), Duration::from_secs(1));
        let (one, other) = (print("POST", "/a", b"{}"), print("POST", "/a", b"{ }"));
        assert_ne!(print("POST", "/a", b""), print("POST/", "a", b""));
        let turn = |print, now| word(&known.turn(&key("a", "k"), print, now));
        assert_eq!(turn(one, now), "first");
        assert_eq!(turn(one, now), "key_in_use");
        assert_eq!(turn(other, now), "key_reused");
        // What was refused may be asked again.
        known.over(&key("a", "k"), None, now);
        assert_eq!(turn(other, now), "first");
        known.over(&key("a", "k"), Some(told(10)), now);
        assert_eq!(turn(other, now), "again");
        assert_eq!(turn(one, now), "key_reused");
        let just = now + KEPT - Duration::from_millis(1);
        assert_eq!(turn(other, just), "again");
        assert_eq!(turn(one, now + KEPT), "first");
        assert_eq!(
            known.table(|table| (table.bytes, table.order.len())),
            (0, 0)
        );
    }

    /// So many keys with answers of so many bytes as one may have.
    fn filled(known: &Known, by: &str, bytes: usize, now: Duration) -> usize {
        let any = print("POST", "/a", b"");
        let mut keys = 0;
        loop {
            let key = key(by, &keys.to_string());
            match word(&known.turn(&key, any, now)) {
                "first" => known.over(&key, Some(told(bytes)), now),
                other => {
                    assert_eq!(other, "too_many_keys");
                    return keys;
                }
            }
            keys += 1;
            assert!(keys <= KEYS);
        }
    }

    #[test]
    fn so_many_are_remembered_and_the_next_is_refused() {
        let (known, now) = (Known::begin(), Duration::from_secs(1));
        let any = print("POST", "/a", b"");
        assert_eq!(filled(&known, "a", 1, now), KEYS * 4 / 5);
        // A hundred a second go on for ever.
        const { assert!((KEYS * 4 / 5) as u64 > 100 * KEPT.as_secs()) };
        assert_eq!(word(&known.turn(&key("a", "7"), any, now)), "again");
        // Others have places all the same: so much of what was left.
        assert_eq!(filled(&known, "b", 1, now), KEYS / 5 * 4 / 5 + 1);
        assert!(filled(&known, "c", 1, now) > KEYS / 5 / 5 / 2);
        let late = now + KEPT;
        assert_eq!(word(&known.turn(&key("a", "more"), any, late)), "first");
        known.over(&key("a", "more"), None, late);
        known.table(|table| {
            assert_eq!((table.all.len(), table.bytes, table.held.len()), (0, 0, 0));
        });
        // By their size too.
        let known = Known::begin();
        let all = BYTES / ANSWER_MOST;
        assert_eq!(filled(&known, "a", ANSWER_MOST, now), all * 4 / 5);
        assert_eq!(filled(&known, "b", ANSWER_MOST, now), all / 5 * 4 / 5 + 1);
    }
}
