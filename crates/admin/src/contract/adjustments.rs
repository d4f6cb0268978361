//! Owns `/v1/services/{service}/adjustments`: weights that follow what backends do, what is known of each, and what steps came to. A step
//! ahead of its time is asked for in `changes/acts`.

use axum::Json;
use axum::extract::State;
use evenkeel_control::adjust::{self, AdjustedPart, AdjustingPart, frozen_word, word};
use evenkeel_control::snapshot::{Paged, Span};
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::alerts::seconds;
use super::asked::{Name, Page, Paging};
use super::problem::Problem;

/// What is known of the weights of a service.
#[derive(Serialize, ToSchema)]
pub(super) struct Adjustments {
    service: String,
    /// `off`: weights are as they are configured. `acts`: they follow what backends do. `observes`: it says what it would do, as the policy
    /// looks at latency itself, or keeps keys where they are.
    #[schema(example = "acts")]
    mode: &'static str,
    /// How often; absent where the mode is `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_seconds: Option<f64>,
    /// Until the next step; absent where there is none to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_in_seconds: Option<f64>,
    /// Until a step may be asked for ahead of its time; 0: now.
    ahead_in_seconds: f64,
    /// Why the last step moved nothing, or not more: `thin` (too little is known of too many), `everything_bad`, `membership`, `undone` (a
    /// step was lately), `capacity_floor` or `too_many`. Absent: nothing held it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "thin")]
    frozen: Option<&'static str>,
    learning: Learned,
    counts: AdjustmentCounts,
    /// The last steps that moved something, or would have, the newest first; at most 32.
    steps: Vec<AdjustmentStep>,
    backends: Page<AdjustedBackend>,
}

/// What was learned of all backends together.
#[derive(Serialize, ToSchema)]
struct Learned {
    /// Requests that it was learned from.
    samples: u64,
    /// Steps that were judged.
    version: u64,
    /// By how much the latency of those who got more fell over all steps, as a part of it; below 0 it rose.
    improvement: f64,
    /// How far what was learned can be relied on, 0 to 1.
    confidence: f64,
}

/// What steps came to since the start.
#[derive(Serialize, ToSchema)]
struct AdjustmentCounts {
    /// Weights that were moved.
    moved: u64,
    /// Steps that stayed.
    kept: u64,
    /// Steps that were undone.
    undone: u64,
}

/// A step.
#[derive(Serialize, ToSchema)]
struct AdjustmentStep {
    /// Its number, the first 1.
    number: u64,
    /// When, in seconds since 1970.
    at_seconds: f64,
    /// What was moved: at most 64.
    weights: Vec<MovedWeight>,
    /// How many more were.
    more: usize,
    /// What it did to those who got more; absent until the next one, and where nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<StepEffect>,
}

/// A weight that was moved.
#[derive(Serialize, ToSchema)]
struct MovedWeight {
    backend: String,
    /// The part of the configured weight that it had.
    old: f64,
    /// And has.
    new: f64,
    /// `slower`, `faster`, `fails_more`, `recovers` or `undone`.
    #[schema(example = "slower")]
    reason: &'static str,
    /// Of `slower` and `faster`, how many times as long as its peers it takes; of `fails_more`, by how much the share that fails is higher.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// It was done; else it would have been.
    applied: bool,
}

/// What a step did to those who got more.
#[derive(Serialize, ToSchema)]
struct StepEffect {
    /// The step stayed; else it was undone.
    kept: bool,
    /// Null where too little was seen.
    p99_before_ms: Option<f64>,
    p99_after_ms: Option<f64>,
    /// The share that failed, 0 to 1.
    errors_before: f64,
    errors_after: f64,
}

/// What is known of a backend.
#[derive(Serialize, ToSchema)]
struct AdjustedBackend {
    backend: String,
    /// As it is configured.
    weight: u16,
    /// The part of it that it has, 0.25 to 2.
    factor: f64,
    /// Requests that its model was learned from.
    samples: u64,
    /// Intervals.
    intervals: u32,
    /// How many times as long as its peers it mostly takes.
    usual: f64,
    /// How far its latency follows its load, 0 to 4.
    elasticity: f64,
    /// How far that can be relied on, 0 to 1.
    confidence: f64,
}

fn step(step: adjust::Step) -> AdjustmentStep {
    let milliseconds = |seconds: Option<f64>| seconds.map(|one| one * 1e3);
    AdjustmentStep {
        number: step.number,
        at_seconds: seconds(step.at),
        more: step.more,
        weights: step.adjustments.into_iter().map(moved).collect(),
        effect: step.effect.map(|seen| StepEffect {
            kept: seen.kept,
            p99_before_ms: milliseconds(seen.p99_before),
            p99_after_ms: milliseconds(seen.p99_after),
            errors_before: seen.errors_before,
            errors_after: seen.errors_after,
        }),
    }
}

fn moved(one: adjust::Adjustment) -> MovedWeight {
    MovedWeight {
        reason: word(one.why),
        value: adjust::value(one.why),
        backend: one.backend,
        old: one.old,
        new: one.new,
        applied: one.applied,
    }
}

fn backend(part: AdjustedPart) -> AdjustedBackend {
    AdjustedBackend {
        backend: part.id,
        weight: part.weight,
        factor: part.factor,
        samples: part.samples,
        intervals: part.intervals,
        usual: part.usual,
        elasticity: part.elasticity,
        confidence: part.confidence,
    }
}

/// Both as they are told.
pub(super) fn all((whole, rows): (AdjustingPart, Paged<AdjustedPart>)) -> Adjustments {
    let learned = whole.learning;
    Adjustments {
        service: whole.service.to_string(),
        mode: match (whole.interval, whole.acts) {
            (None, _) => "off",
            (_, true) => "acts",
            (_, false) => "observes",
        },
        interval_seconds: whole.interval.map(|one| one.as_secs_f64()),
        next_in_seconds: whole.due_in.map(|one| one.as_secs_f64()),
        ahead_in_seconds: whole.ahead_in.as_secs_f64(),
        frozen: whole.frozen.map(frozen_word),
        learning: Learned {
            samples: learned.samples,
            version: learned.version,
            improvement: learned.improvement,
            confidence: learned.confidence,
        },
        counts: AdjustmentCounts {
            moved: whole.counts.moved,
            kept: whole.counts.kept,
            undone: whole.counts.undone,
        },
        steps: whole.steps.into_iter().map(step).collect(),
        backends: Page::of(rows, backend),
    }
}

/// What is known of the weights of a service.
#[utoipa::path(get, path = "/v1/services/{service}/adjustments", tag = "monitoring",
    params(("service" = String, Path, description = "The service's name."), Paging),
    responses((status = 200, description = "It, and a page of its backends.", body = Adjustments)))]
async fn adjustments(
    State(shown): State<Asked>,
    Name(service): Name,
    paging: Paging,
) -> Result<Json<Adjustments>, Problem> {
    let span: Span = paging.span();
    Ok(Json(all(shown.watch.adjustments(&service, &span)?)))
}

resource![adjustments];
