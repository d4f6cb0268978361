//! Owns what programs may say: what they ask of a service, and what they report of their attempts. Read whole, or refused by name.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Bytes;
use evenkeel_control::picks::{
    Again, Decided, PICK_EXPIRES_MOST, PICK_WAIT_MOST, PICKS_AT_ONCE, Report, Wish, Wrong,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::problem::{Problem, Reason};

/// Bytes that a report tells of, each way: 64 TiB, more than any attempt moves within the hour that a pick may be out. What is reported is added up.
const BYTES_MOST: u64 = 1 << 46;

/// What is asked of a service. All of it may be left out.
#[derive(Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PickAsk {
    /// So many picks, each of which may be of another backend; 1 unless it is said.
    #[schema(minimum = 1, maximum = 1000)]
    picks: usize,
    /// What a hash policy sticks to, as the value of its header or cookie; a service that keeps clients knows the client by it.
    key: Option<String>,
    /// The address of the client: it stands for the key where there is none, and tells the zone that is near.
    #[schema(value_type = Option<String>, example = "192.0.2.7")]
    client: Option<IpAddr>,
    /// The zone that is preferred; else the client's, or the instance's.
    zone: Option<String>,
    /// The id of the backend that the client is kept on; for services with an affinity.
    kept: Option<String>,
    /// Ids of backends that are not to be asked again: the last 16 of them count.
    tried: Vec<String>,
    /// The class in the queue of a full service: lower goes first. 100 unless it is said.
    class: u16,
    /// How long the first pick may wait for a full service that has a queue; not at all unless it is said.
    #[schema(minimum = 0, maximum = 5000)]
    wait_ms: u64,
    /// What is not reported by then is given back, as one of which nothing is known; 60,000 unless it is said.
    #[schema(minimum = 1, maximum = 3_600_000)]
    expires_ms: u64,
}

impl Default for PickAsk {
    fn default() -> Self {
        let wish = Wish::default();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            picks: wish.picks,
            key: wish.key,
            client: wish.client,
            zone: wish.zone,
            kept: wish.kept,
            tried: wish.tried,
            class: wish.class,
            wait_ms: millis(wish.wait),
            expires_ms: millis(wish.expires),
        }
    }
}

impl PickAsk {
    pub(super) fn wish(self) -> Result<Wish, Problem> {
        within("picks", self.picks as u64, 1, PICKS_AT_ONCE as u64)?;
        let most = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        within("wait_ms", self.wait_ms, 0, most(PICK_WAIT_MOST))?;
        within("expires_ms", self.expires_ms, 1, most(PICK_EXPIRES_MOST))?;
        Ok(Wish {
            picks: self.picks,
            key: self.key,
            client: self.client,
            zone: self.zone,
            kept: self.kept,
            tried: self.tried,
            class: self.class,
            wait: Duration::from_millis(self.wait_ms),
            expires: Duration::from_millis(self.expires_ms),
        })
    }
}

// What is read is written for the document alone: it has what each key is when it is left out.

/// How an attempt went. With nothing in it: well.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PickOutcome {
    /// The status of the answer. 5xx is the backend's failure (but 501 and 505), 4xx nobody's; where another protocol knows no more than that it
    /// failed, 500.
    #[schema(minimum = 100, maximum = 599)]
    status: Option<u16>,
    /// What went wrong; beside a status, behind the response head.
    error: Option<PickError>,
    /// From the pick to the begin of the attempt: not held against the backend.
    #[schema(minimum = 0, maximum = 3_600_000)]
    waited_ms: Option<f64>,
    /// From there to a connection.
    #[schema(minimum = 0, maximum = 3_600_000)]
    connect_ms: Option<f64>,
    /// From the begin of the attempt to the response head, by which the backend is judged. Without it `total_ms` is, without that the time to the report.
    #[schema(minimum = 0, maximum = 3_600_000)]
    head_ms: Option<f64>,
    /// From the begin of the attempt to its end.
    #[schema(minimum = 0, maximum = 3_600_000)]
    total_ms: Option<f64>,
    /// Bytes that the backend was sent.
    #[schema(maximum = 70_368_744_177_664_u64)]
    sent_bytes: u64,
    /// Bytes that it sent.
    #[schema(maximum = 70_368_744_177_664_u64)]
    received_bytes: u64,
    /// How long it asks to be left alone.
    #[schema(minimum = 0)]
    retry_after_seconds: Option<f64>,
    /// Say whether the attempt is to be made again. A yes counts as a retry in the service's budget.
    retry: Option<RetryAsk>,
}

/// What went wrong.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PickError {
    /// No connection.
    Connect,
    /// It broke.
    Reset,
    /// No answer in time.
    Timeout,
    /// What came was not the protocol.
    Protocol,
    /// It says that it has too much to do.
    Overloaded,
    /// The program gave up, or its client did: nothing is held against the backend.
    ClientLeft,
}

/// What is to be known before an attempt is made again.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RetryAsk {
    /// Doing it twice is the same as once.
    idempotent: bool,
    /// A byte of the request was sent; so unless it is said.
    sent: Option<bool>,
    /// Attempts so far, this one included; 1 unless it is said.
    #[schema(minimum = 1)]
    attempts: Option<u32>,
}

impl PickOutcome {
    pub(super) fn report(self) -> Result<Report, Problem> {
        if let Some(status) = self.status {
            within("status", status.into(), 100, 599)?;
        }
        let millis = |name, time: Option<f64>| {
            time.map(|time| length(name, time, 1e3, PICK_EXPIRES_MOST))
                .transpose()
        };
        within("sent_bytes", self.sent_bytes, 0, BYTES_MOST)?;
        within("received_bytes", self.received_bytes, 0, BYTES_MOST)?;
        Ok(Report {
            status: self.status,
            wrong: self.error.map(|error| match error {
                PickError::Connect => Wrong::Connect,
                PickError::Reset => Wrong::Reset,
                PickError::Timeout => Wrong::Timeout,
                PickError::Protocol => Wrong::Protocol,
                PickError::Overloaded => Wrong::Overloaded,
                PickError::ClientLeft => Wrong::Left,
            }),
            figures: Decided {
                waited: millis("waited_ms", self.waited_ms)?,
                connect: millis("connect_ms", self.connect_ms)?,
                head: millis("head_ms", self.head_ms)?,
                total: millis("total_ms", self.total_ms)?,
                sent: self.sent_bytes,
                received: self.received_bytes,
            },
            retry_after: self
                .retry_after_seconds
                .map(|time| length("retry_after_seconds", time, 1.0, Duration::MAX))
                .transpose()?,
            again: self.retry.map(|retry| Again {
                idempotent: retry.idempotent,
                sent: retry.sent.unwrap_or(true),
                made: retry.attempts.unwrap_or(1),
            }),
        })
    }
}

/// Reports of several picks.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PickOutcomes {
    /// At most 1,000.
    #[schema(max_items = 1000)]
    pub(super) outcomes: Vec<PickOutcomeOf>,
}

/// How the attempt of a pick went.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PickOutcomeOf {
    pub(super) pick: String,
    pub(super) outcome: Option<PickOutcome>,
}

/// A body, or what it is without one.
pub(super) fn read<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, Problem> {
    match body.trim_ascii().first() {
        None => return Ok(T::default()),
        Some(b'{') => {}
        // A list would be taken for the values of all keys, in their order.
        Some(_) => return Err(Problem::new(Reason::Body, "the body is no object of JSON")),
    }
    serde_json::from_slice(body).map_err(|error| {
        let why = error.to_string();
        // What was sent may stand in it; what is long is not worth telling back.
        let why: String = why.chars().take(256).collect();
        Problem::new(Reason::Body, why)
    })
}

pub(super) fn within(name: &str, number: u64, least: u64, most: u64) -> Result<(), Problem> {
    if (least..=most).contains(&number) {
        return Ok(());
    }
    let why = format!("`{name}` is {number}: it takes {least} to {most}");
    Err(Problem::new(Reason::Body, why))
}

/// A length of time of so many to a second. Where it is added up, none is longer than a pick may be out.
fn length(name: &str, time: f64, to_a_second: f64, most: Duration) -> Result<Duration, Problem> {
    let most = most.as_secs_f64();
    let read = Duration::try_from_secs_f64(time / to_a_second);
    read.ok()
        .filter(|read| read.as_secs_f64() <= most)
        .ok_or_else(|| {
            let most = most * to_a_second;
            let why = format!("`{name}` is {time}: it takes 0 to {most}");
            Problem::new(Reason::Body, why)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ask(body: &str, expect: Result<Wish, &str>) {
        let got = read::<PickAsk>(&Bytes::from(body.to_owned())).and_then(PickAsk::wish);
        match (got, expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got, expect, "{body}"),
            (Err(problem), Err(says)) => {
                assert_eq!(problem.reason(), Reason::Body, "{body}");
                let detail = problem.detail();
                assert!(detail.contains(says), "{body}: {detail}");
            }
            (got, expect) => panic!("{body}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn what_is_asked_is_read_whole_or_refused() {
        for nothing in ["", " \n", "{}"] {
            ask(nothing, Ok(Wish::default()));
        }
        let all = r#"{ "picks": 1000, "key": "k", "client": "::1", "zone": "a", "kept": "two", "tried": ["one"], "class": 7, "wait_ms": 5000, "expires_ms": 1 }"#;
        let wish = Wish {
            picks: 1000,
            key: Some("k".into()),
            client: Some("::1".parse().unwrap()),
            zone: Some("a".into()),
            kept: Some("two".into()),
            tried: vec!["one".into()],
            class: 7,
            wait: Duration::from_secs(5),
            expires: Duration::from_millis(1),
        };
        ask(all, Ok(wish));
        for (body, says) in [
            (r#"{ "pick": 1 }"#, "unknown field `pick`"),
            (r#"{ "picks": 0 }"#, "`picks` is 0: it takes 1 to 1000"),
            (r#"{ "picks": 1001 }"#, "it takes 1 to 1000"),
            (r#"{ "picks": -1 }"#, "line 1 column"),
            (r#"{ "wait_ms": 5001 }"#, "it takes 0 to 5000"),
            (r#"{ "expires_ms": 0 }"#, "it takes 1 to 3600000"),
            (r#"{ "expires_ms": 3600001 }"#, "it takes 1 to 3600000"),
            (r#"{ "client": "localhost" }"#, "invalid IP address"),
            (r#"{ "class": 65536 }"#, "line 1 column"),
            ("{", "line 1 column"),
            ("[]", "no object of JSON"),
            ("[2]", "no object of JSON"),
            ("\u{0}", "no object of JSON"),
        ] {
            ask(body, Err(says));
        }
        let long = format!(r#"{{ "{}": 1 }}"#, "x".repeat(10_000));
        let problem = read::<PickAsk>(&Bytes::from(long)).err().unwrap();
        assert!(problem.detail().len() < 300);
    }

    #[track_caller]
    fn outcome(body: &str, says: &str) {
        let read = read::<PickOutcome>(&Bytes::from(body.to_owned()));
        let problem = read.and_then(PickOutcome::report).unwrap_err();
        let detail = problem.detail();
        assert!(detail.contains(says), "{body}: {detail}");
    }

    #[test]
    fn what_is_reported_is_read_whole_or_refused() {
        let all = r#"{ "status": 200, "error": "reset", "waited_ms": 1, "connect_ms": 2.5, "head_ms": 3, "total_ms": 4, "sent_bytes": 5,
            "received_bytes": 6, "retry_after_seconds": 7, "retry": { "idempotent": true } }"#;
        let read = read::<PickOutcome>(&Bytes::from(all)).unwrap();
        let millis = |millis| Some(Duration::from_secs_f64(millis * 1e-3));
        let expect = Report {
            status: Some(200),
            wrong: Some(Wrong::Reset),
            figures: Decided {
                waited: millis(1.0),
                connect: millis(2.5),
                head: millis(3.0),
                total: millis(4.0),
                sent: 5,
                received: 6,
            },
            retry_after: Some(Duration::from_secs(7)),
            again: Some(Again {
                idempotent: true,
                sent: true,
                made: 1,
            }),
        };
        assert_eq!(read.report().unwrap(), expect);
        for (body, says) in [
            (r#"{ "status": 99 }"#, "`status` is 99: it takes 100 to 599"),
            (r#"{ "status": "200" }"#, "line 1 column"),
            (r#"{ "error": "broken" }"#, "unknown variant `broken`"),
            (
                r#"{ "head_ms": -1 }"#,
                "`head_ms` is -1: it takes 0 to 3600000",
            ),
            (r#"{ "head_ms": 1e300 }"#, "it takes 0 to 3600000"),
            (
                r#"{ "total_ms": 3600000.1 }"#,
                "`total_ms` is 3600000.1: it takes 0 to 3600000",
            ),
            (
                r#"{ "sent_bytes": 70368744177665 }"#,
                "it takes 0 to 70368744177664",
            ),
            (
                r#"{ "received_bytes": 18446744073709551615 }"#,
                "it takes 0",
            ),
            (r#"{ "retry_after_seconds": -1 }"#, "it takes 0 to"),
            (r#"{ "total_ms": "1" }"#, "line 1 column"),
            (r#"{ "retry": {} }"#, "missing field `idempotent`"),
            (
                r#"{ "retry": { "idempotent": true, "x": 1 } }"#,
                "unknown field `x`",
            ),
        ] {
            outcome(body, says);
        }
    }
}
