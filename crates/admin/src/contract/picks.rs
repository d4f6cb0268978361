//! Owns the decisions for other programs: `/v1/services/{service}/picks`, and what they report.
//!
//! A program that sends its requests itself asks here to whom, and says how it went. Which picks are out, and what becomes of those that nobody
//! reports, stands in `control::picks`; what may be said, in `said`.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::from_fn;
use axum::{Json, Router};
use evenkeel_control::picks::{
    Given, GivenPick, Lost, PICKS_AT_ONCE, PICKS_BODY, PicksPart, Refusal, Retry, Ungiven,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{Name, Plain};
use super::changes::meant;
use super::problem::{Problem, Reason};

/// What is read of them.
mod said;

use said::{PickAsk, PickOutcome, PickOutcomes, read, within};

/// Picks, by who may change something from there: each is a charge.
pub(crate) fn router() -> Router<Asked> {
    served(Router::new())
        .layer(from_fn(meant))
        .layer(DefaultBodyLimit::max(PICKS_BODY))
}

resource![pick, picks_of, report, report_all];

/// What an operation of these may be refused with, beside what its path says.
pub(super) fn reasons(path: &str) -> Vec<Reason> {
    let mut reasons = vec![
        Reason::Body,
        Reason::BodyTooLarge,
        Reason::NotLocal,
        Reason::CrossSite,
        Reason::NotMeant,
    ];
    if path.contains("{service}") {
        reasons.extend([Reason::PicksFull, Reason::Draining]);
        reasons.extend(Refusal::ALL.map(nobody));
    } else if path.contains("{pick}") {
        reasons.extend([Reason::UnknownPick, Reason::PickOver]);
    }
    reasons
}

/// Picks of a service.
#[derive(Serialize, ToSchema)]
struct Picks {
    /// At least one.
    picks: Vec<PickedBackend>,
    /// Why there are fewer than were asked for, in the word of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "all_full")]
    short: Option<&'static str>,
    /// What is not reported by then is given back.
    expires_ms: u64,
}

/// The right to send one request to one backend.
#[derive(Serialize, ToSchema)]
struct PickedBackend {
    /// By this it is reported, once.
    #[schema(example = "5b0f3a11-2a-7")]
    pick: String,
    backend: PickedPlace,
    /// The backend has failed before, and this one tries whether it still does.
    trial: bool,
}

/// Whom to send it to.
#[derive(Serialize, ToSchema)]
struct PickedPlace {
    id: String,
    /// Where it is reached; null: it has left meanwhile.
    #[schema(example = "10.0.0.2:9000")]
    address: Option<String>,
    /// Where it stands; null: nobody says.
    zone: Option<String>,
}

fn picked(one: GivenPick) -> PickedBackend {
    PickedBackend {
        pick: one.id.to_string(),
        backend: PickedPlace {
            id: one.backend.to_string(),
            address: one.address,
            zone: one.zone,
        },
        trial: one.trial,
    }
}

/// What became of a report.
#[derive(Serialize, ToSchema)]
struct Reported {
    pick: String,
    /// `taken`; of a list also `unknown_pick` and `pick_over`.
    #[schema(example = "taken")]
    result: &'static str,
    /// Whether to try again; absent where that was not asked, or nothing failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<RetryAdvice>,
}

/// Whether an attempt is to be made again.
#[derive(Serialize, ToSchema)]
struct RetryAdvice {
    again: bool,
    /// Not before this has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<f64>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "budget_exhausted")]
    why: Option<&'static str>,
}

fn advice(retry: Retry) -> RetryAdvice {
    let (again, after_ms, why) = match retry {
        Retry::Again(after) => (true, Some(after.as_secs_f64() * 1e3), None),
        Retry::No(why) => (false, None, Some(why)),
    };
    RetryAdvice {
        again,
        after_ms,
        why,
    }
}

/// What became of reports.
#[derive(Serialize, ToSchema)]
struct ReportedAll {
    /// In the order of the outcomes.
    results: Vec<Reported>,
}

/// What became of the picks of one service.
#[derive(Serialize, ToSchema)]
struct PicksCounted {
    /// Picks that were given.
    given: u64,
    /// Those that were reported.
    reported: u64,
    /// Of these, those of failures.
    failed: u64,
    /// Those that nobody reported in their time.
    expired: u64,
    /// Bytes that backends were sent, as reported.
    sent_bytes: u64,
    /// Bytes that they sent.
    received_bytes: u64,
    /// Means of what was reported; null where nothing was.
    mean_waited_ms: Option<f64>,
    mean_connect_ms: Option<f64>,
    mean_head_ms: Option<f64>,
    mean_total_ms: Option<f64>,
}

fn counted(seen: &PicksPart) -> PicksCounted {
    let [sent, received] = seen.bytes;
    let millis = |mean: Option<Duration>| mean.map(|mean| mean.as_secs_f64() * 1e3);
    let [waited, connect, head, total] = seen.means.map(millis);
    PicksCounted {
        given: seen.given,
        reported: seen.reported,
        failed: seen.failed,
        expired: seen.expired,
        sent_bytes: sent,
        received_bytes: received,
        mean_waited_ms: waited,
        mean_connect_ms: connect,
        mean_head_ms: head,
        mean_total_ms: total,
    }
}

/// Chooses backends for a program that sends its requests itself. Each pick is an attempt in flight until it is reported, or its time is over.
#[utoipa::path(post, path = "/v1/services/{service}/picks", tag = "decisions",
    params(("service" = String, Path, description = "Its name.")),
    request_body(content = PickAsk, description = "What is asked; nothing, or `{}`, for one pick. Send it as `application/json`."),
    responses((status = 200, description = "Whom to send to.", body = Picks)))]
async fn pick(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
    body: Bytes,
) -> Result<Json<Picks>, Problem> {
    let wish = read::<PickAsk>(&body)?.wish()?;
    let Given { picks, short } = shown.watch.pick(&service, &wish).await?;
    Ok(Json(Picks {
        picks: picks.into_iter().map(picked).collect(),
        short: short.map(Refusal::word),
        expires_ms: u64::try_from(wish.expires.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// What became of the picks of a service.
#[utoipa::path(get, path = "/v1/services/{service}/picks", tag = "decisions",
    params(("service" = String, Path, description = "Its name.")),
    responses((status = 200, description = "Since the process began.", body = PicksCounted)))]
async fn picks_of(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
) -> Result<Json<PicksCounted>, Problem> {
    Ok(Json(counted(&shown.watch.picks_of(&service)?)))
}

/// Takes how the attempt of a pick went. Once: a second report of it is refused with 410, and nothing is counted twice.
#[utoipa::path(post, path = "/v1/picks/{pick}/outcome", tag = "decisions",
    params(("pick" = String, Path, description = "Its id.")),
    request_body(content = PickOutcome, description = "How it went; nothing, or `{}`, for well. Send it as `application/json`."),
    responses((status = 200, description = "It is taken.", body = Reported)))]
async fn report(
    State(shown): State<Asked>,
    Name(pick): Name,
    _: Plain,
    body: Bytes,
) -> Result<Json<Reported>, Problem> {
    let report = read::<PickOutcome>(&body)?.report()?;
    let retry = shown.watch.report(&pick, &report)?.map(advice);
    Ok(Json(Reported {
        pick,
        result: TAKEN,
        retry,
    }))
}

/// Takes how the attempts of several picks went. Those that are not taken do not keep the others from it.
#[utoipa::path(post, path = "/v1/picks/outcomes", tag = "decisions",
    request_body(content = PickOutcomes, description = "How they went. Send it as `application/json`."),
    responses((status = 200, description = "What became of each.", body = ReportedAll)))]
async fn report_all(
    State(shown): State<Asked>,
    _: Plain,
    body: Bytes,
) -> Result<Json<ReportedAll>, Problem> {
    let all = read::<PickOutcomes>(&body)?.outcomes;
    within("outcomes", all.len() as u64, 0, PICKS_AT_ONCE as u64)?;
    // All are read before the first is taken: what is wrong with one changes nothing.
    let read = all.into_iter().map(|one| {
        let report = one.outcome.unwrap_or_default().report()?;
        Ok((one.pick, report))
    });
    let read = read.collect::<Result<Vec<_>, Problem>>()?;
    let results = read.into_iter().map(|(pick, report)| {
        let (result, retry) = match shown.watch.report(&pick, &report) {
            Ok(retry) => (TAKEN, retry.map(advice)),
            Err(lost) => (lost_as(lost).word(), None),
        };
        Reported {
            pick,
            result,
            retry,
        }
    });
    Ok(Json(ReportedAll {
        results: results.collect(),
    }))
}

const TAKEN: &str = "taken";

const fn nobody(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::NoBackends => Reason::NoBackends,
        Refusal::AllDown => Reason::AllDown,
        Refusal::AllFull => Reason::AllFull,
        Refusal::AllTried => Reason::AllTried,
        Refusal::Declined => Reason::Declined,
        Refusal::QueueFull => Reason::QueueFull,
        Refusal::QueueTimeout => Reason::QueueTimeout,
    }
}

const fn lost_as(lost: Lost) -> Reason {
    match lost {
        Lost::Unknown => Reason::UnknownPick,
        Lost::Over => Reason::PickOver,
    }
}

impl From<Ungiven> for Problem {
    fn from(ungiven: Ungiven) -> Self {
        match ungiven {
            Ungiven::Refused(refused) => refused.into(),
            Ungiven::Nobody(refusal) => Self::new(nobody(refusal), refusal.to_string()),
            Ungiven::Full => {
                let why = "as many picks are out as may be: report those that are over, or let them expire sooner (`expires_ms`)";
                Self::new(Reason::PicksFull, why)
            }
        }
    }
}

impl From<Lost> for Problem {
    fn from(lost: Lost) -> Self {
        let why = match lost {
            Lost::Unknown => {
                "there is no such pick: it is of another process, perhaps of the one before an upgrade or a restart, or it is misspelt"
            }
            Lost::Over => "the pick was reported before, or was given back when its time was over",
        };
        Self::new(lost_as(lost), why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_core_is_a_kind_of_its_own_word() {
        for refusal in Refusal::ALL {
            assert_eq!(nobody(refusal).word(), refusal.word());
        }
    }
}
