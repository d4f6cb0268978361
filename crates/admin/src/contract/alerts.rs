//! Owns `/v1/alerts` and `/v1/silences`: what is wrong and was lately, and whom not to call for it. How they are changed stands in
//! `changes/notes`.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use evenkeel_control::monitor::AlertPart;
use evenkeel_control::sight::{self, Evidence, Moment, Unit};
use serde::Serialize;
use utoipa::ToSchema;

use crate::contract::Asked;
use crate::contract::asked::{Plain, values};
use crate::contract::problem::{Problem, Reason};

/// Something that is wrong, or was.
#[derive(Serialize, ToSchema)]
struct Alert {
    /// Its number; none has it again.
    number: u64,
    service: String,
    /// Absent where it is the service's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    /// What is wrong: `down`, `threshold`, `burn_fast`, `burn_slow`, `burn_steady`, `slower_than_peers`, `fails_more_than_peers`,
    /// `slower_than_before` or `fails_more_than_before`.
    #[schema(example = "slower_than_peers")]
    kind: &'static str,
    /// The figure, of a `threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<&'static str>,
    /// `info`, `warning` or `critical`.
    #[schema(example = "warning")]
    severity: &'static str,
    /// `open` or `cleared`.
    #[schema(example = "open")]
    state: &'static str,
    /// In seconds since 1970.
    since_seconds: f64,
    /// When it was right again.
    #[serde(skip_serializing_if = "Option::is_none")]
    cleared_seconds: Option<f64>,
    /// It has come and gone lately: one alert stands for all of that.
    flapping: bool,
    /// Nobody is called for it now.
    silenced: bool,
    /// Who has taken note.
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<Acknowledged>,
    /// By what it was raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<AlertEvidence>,
}

/// Who has taken note of an alert.
#[derive(Serialize, ToSchema)]
struct Acknowledged {
    by: String,
    /// In seconds since 1970.
    at_seconds: f64,
}

/// By what an alert was raised.
#[derive(Serialize, ToSchema)]
struct AlertEvidence {
    /// What was measured.
    value: f64,
    /// What it is measured by: a limit, what peers have, what was before.
    limit: f64,
    /// `seconds`, `per_second` or `share`.
    unit: &'static str,
    /// Out of so many requests.
    requests: u64,
    /// Over so long.
    over_seconds: u64,
}

/// Whom not to call.
#[derive(Serialize, ToSchema)]
struct Silence {
    number: u64,
    /// Absent: of any.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Absent: of any.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    /// Absent: for anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// The figure, of a `threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<&'static str>,
    /// When it ends, in seconds since 1970.
    until_seconds: f64,
    /// Who said so.
    by: String,
    /// And why.
    why: String,
}

/// Alerts, as they were asked for.
#[derive(Serialize, ToSchema)]
struct AlertList {
    /// The newest first.
    items: Vec<Alert>,
    /// How many are open, of all that are kept.
    open: usize,
}

/// Which alerts.
#[derive(Debug, Default, PartialEq, Eq, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct WhichAlerts {
    /// `open` or `cleared`; both unless it is said.
    state: Option<String>,
    /// Of this service, which need not be there any more.
    service: Option<String>,
}

impl WhichAlerts {
    fn of(query: Option<&str>) -> Result<Self, Problem> {
        let [state, service] = values(query, ["state", "service"])?;
        if state
            .as_deref()
            .is_some_and(|word| !["open", "cleared"].contains(&word))
        {
            let why = "`state` takes `open` or `cleared`";
            return Err(Problem::new(Reason::Query, why));
        }
        Ok(Self { state, service })
    }

    fn wants(&self, alert: &sight::Alert) -> bool {
        let state = |word: &String| word == state(alert);
        self.state.as_ref().is_none_or(state)
            && (self.service.as_ref()).is_none_or(|name| *name == alert.service)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WhichAlerts {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts.uri.query())
    }
}

const fn state(alert: &sight::Alert) -> &'static str {
    match alert.cleared {
        None => "open",
        Some(_) => "cleared",
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a date are far below 2^53"
)]
pub(super) const fn seconds(at: Moment) -> f64 {
    at.as_millis() as f64 / 1e3
}

fn row(part: AlertPart) -> Alert {
    let (alert, silenced) = (part.alert, part.silenced);
    Alert {
        number: alert.number,
        kind: alert.kind.name(),
        metric: alert.kind.metric().map(sight::Metric::name),
        severity: alert.severity.name(),
        state: state(&alert),
        since_seconds: seconds(alert.since),
        cleared_seconds: alert.cleared.map(seconds),
        flapping: alert.flapping,
        silenced,
        acknowledged: alert.acknowledged.map(|(by, at)| Acknowledged {
            by,
            at_seconds: seconds(at),
        }),
        evidence: alert.evidence.map(evidence),
        service: alert.service,
        backend: alert.backend,
    }
}

/// What a figure is counted in, by word.
pub(super) const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "seconds",
        Unit::PerSecond => "per_second",
        Unit::Share => "share",
    }
}

const fn evidence(seen: Evidence) -> AlertEvidence {
    AlertEvidence {
        value: seen.value,
        limit: seen.limit,
        unit: unit(seen.unit),
        requests: seen.requests,
        over_seconds: seen.seconds,
    }
}

/// What is wrong now, and was within a week: at most a thousand.
#[utoipa::path(get, path = "/v1/alerts", tag = "monitoring", params(WhichAlerts),
    responses((status = 200, description = "All that are wanted.", body = AlertList)))]
async fn alerts(State(shown): State<Asked>, which: WhichAlerts) -> Json<AlertList> {
    let seen = shown.watch.alerts(|alert| which.wants(alert));
    let open = shown.watch.alerts(|alert| alert.cleared.is_none()).len();
    Json(AlertList {
        items: seen.into_iter().map(row).collect(),
        open,
    })
}

/// Silences that have not ended: at most a hundred.
#[utoipa::path(get, path = "/v1/silences", tag = "monitoring",
    responses((status = 200, description = "All of them.", body = Vec<Silence>)))]
async fn silences(State(shown): State<Asked>, _: Plain) -> Json<Vec<Silence>> {
    let all = shown.watch.silences().into_iter();
    let row = |(number, one): (u64, sight::Silence)| Silence {
        number,
        kind: one.kind.map(sight::Kind::name),
        metric: one.kind.and_then(|kind| Some(kind.metric()?.name())),
        until_seconds: seconds(one.until),
        service: one.service,
        backend: one.backend,
        by: one.by,
        why: one.why,
    };
    Json(all.map(row).collect())
}

resource![alerts, silences];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_alerts_is_taken_or_refused_by_name() {
        let of = |query| WhichAlerts::of(Some(query)).map_err(|problem| problem.reason());
        assert_eq!(of(""), Ok(WhichAlerts::default()));
        let all = WhichAlerts {
            state: Some("open".into()),
            service: Some("a b".into()),
        };
        assert_eq!(of("state=open&service=a+b"), Ok(all));
        assert_eq!(of("state=raised"), Err(Reason::Query));
        assert_eq!(of("after=3"), Err(Reason::Query));
    }
}
