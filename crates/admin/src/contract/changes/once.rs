//! Owns `Idempotency-Key`: a write that is sent again with the same key, because its answer was lost, is answered as it was, and not done
//! again. The answers of five minutes are remembered, so many of them and so many bytes; what was refused is not: it changed nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use evenkeel_control::clock::Clock;

use super::edits::BODY_MOST;
use crate::access::Digest;
use crate::contract::problem::{Problem, Reason};
use crate::gate::Caller;

/// How long an answer is remembered.
const KEPT: Duration = Duration::from_secs(300);

/// Keys that are remembered: a hundred writes a second for [`KEPT`].
const KEYS: usize = 32_768;

/// Bytes of all answers.
const BYTES: usize = 32 * 1024 * 1024;

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
    all: HashMap<String, (Digest, Option<Told>)>,
    /// By when they were answered.
    order: VecDeque<(Duration, String)>,
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

    fn turn(&self, key: &str, print: Digest, now: Duration) -> Turn {
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
                None if table.all.len() >= KEYS || table.bytes >= BYTES => Turn::Refused(
                    Reason::TooManyKeys,
                    "as many answers are remembered as may be: ask again in some minutes, or without a key",
                ),
                None => {
                    table.all.insert(key.to_owned(), (print, None));
                    Turn::First
                }
            }
        })
    }

    /// It is over: answered so, or as if nobody had asked.
    fn over(&self, key: &str, told: Option<Told>, now: Duration) {
        self.table(|table| match told {
            None => _ = table.all.remove(key),
            Some(told) => {
                table.bytes += told.body.len();
                if let Some((_, place)) = table.all.get_mut(key) {
                    *place = Some(told);
                }
                table.order.push_back((now, key.to_owned()));
            }
        });
    }
}

impl Table {
    fn forget(&mut self, now: Duration) {
        while let Some((at, key)) = self.order.front() {
            if now.saturating_sub(*at) < KEPT {
                break;
            }
            if let Some((_, Some(told))) = self.all.remove(key) {
                self.bytes -= told.body.len();
            }
            self.order.pop_front();
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
    let Ok(body) = to_bytes(body, BODY_MOST).await else {
        let why = "the body is larger than any that is asked for, or broke off";
        return Problem::new(Reason::BodyTooLarge, why).into_response();
    };
    let print = print(parts.method.as_str(), &parts.uri.to_string(), &body);
    // Nobody meets the keys of others. No name of a caller has a line's end.
    let by = parts.extensions.get::<Caller>();
    let key = by.map_or(key.clone(), |by| format!("{}\n{key}", by.name));
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
        let turn = |print, now| word(&known.turn("k", print, now));
        assert_eq!(turn(one, now), "first");
        assert_eq!(turn(one, now), "key_in_use");
        assert_eq!(turn(other, now), "key_reused");
        // What was refused may be asked again.
        known.over("k", None, now);
        assert_eq!(turn(other, now), "first");
        known.over("k", Some(told(10)), now);
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

    #[test]
    fn so_many_are_remembered_and_the_next_is_refused() {
        let (known, now) = (Known::begin(), Duration::from_secs(1));
        let any = print("POST", "/a", b"");
        for at in 0..KEYS {
            let key = at.to_string();
            assert_eq!(word(&known.turn(&key, any, now)), "first");
            known.over(&key, Some(told(1)), now);
        }
        assert_eq!(word(&known.turn("more", any, now)), "too_many_keys");
        assert_eq!(word(&known.turn("7", any, now)), "again");
        assert_eq!(word(&known.turn("more", any, now + KEPT)), "first");
        // By their size too.
        let known = Known::begin();
        for at in 0..BYTES / ANSWER_MOST {
            let key = at.to_string();
            assert_eq!(word(&known.turn(&key, any, now)), "first");
            known.over(&key, Some(told(ANSWER_MOST)), now);
        }
        assert_eq!(word(&known.turn("more", any, now)), "too_many_keys");
    }
}
