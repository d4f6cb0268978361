//! Owns `/v1/version`.

use axum::Json;
use axum::extract::State;
use evenkeel_control::Watch;
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::Plain;

/// Which process answers.
#[derive(Serialize, ToSchema)]
struct Version {
    /// Of the program.
    version: &'static str,
    /// Its id.
    process: u32,
    uptime_seconds: f64,
    /// It ends: it is not ready any more.
    draining: bool,
    /// Processes that this one took over from, and that still drain.
    predecessors: usize,
    configuration: Configuration,
}

/// Which configuration it runs by.
#[derive(Serialize, ToSchema)]
struct Configuration {
    /// Which revision runs: what `If-Match` takes, in double quotes.
    #[schema(example = "17-9f3c2a1b")]
    revision: String,
    /// When it was taken, in seconds since 1970: at the last good reload, or at the start.
    taken_at_seconds: f64,
    /// Reloads that were taken.
    reloads_taken: u64,
    /// Reloads that changed nothing: something was wrong with them.
    reloads_refused: u64,
    /// The last reload was refused: what runs is not what the texts say.
    reload_refused: bool,
    /// Files that it names, certificates or tokens, were refused when they were read last.
    files_refused: bool,
    /// Where what is changed beside the texts is kept over a restart: `disk`, `memory`, or `failing`: the disk does not take it.
    #[schema(example = "disk")]
    kept: &'static str,
}

impl From<&Watch> for Version {
    fn from(watch: &Watch) -> Self {
        let ([taken, refused], at) = watch.reloads();
        let (reload_refused, files_refused) = watch.refused();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            process: std::process::id(),
            uptime_seconds: watch.uptime().as_secs_f64(),
            draining: watch.is_draining(),
            predecessors: watch.predecessors(),
            configuration: Configuration {
                revision: watch.revision().to_string(),
                taken_at_seconds: at.as_secs_f64(),
                reloads_taken: taken,
                reloads_refused: refused,
                reload_refused,
                files_refused,
                kept: watch.keeps().word(),
            },
        }
    }
}

/// Which process answers, and since when it runs by its configuration.
#[utoipa::path(get, path = "/v1/version", tag = "instance",
    responses((status = 200, description = "The process.", body = Version)))]
async fn version(State(shown): State<Asked>, _: Plain) -> Json<Version> {
    Json(Version::from(&shown.watch))
}

resource![version];
