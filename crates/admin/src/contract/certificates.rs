//! Owns `/v1/certificates`.

use axum::Json;
use axum::extract::State;
use evenkeel_control::snapshot::CertificatePart;
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::Plain;

/// A certificate of a listener, or its list of revoked ones. Nothing of its key.
#[derive(Serialize, ToSchema)]
struct Certificate {
    listener: String,
    /// `certificate` or `revocation_list`.
    #[schema(example = "certificate")]
    kind: &'static str,
    /// The name of its file.
    file: String,
    /// The names that it is for; a wildcard as it stands.
    names: Vec<String>,
    /// From when it holds, in seconds since 1970; absent of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before_seconds: Option<i64>,
    /// Until when; of a list, when it is to be replaced.
    not_after_seconds: i64,
    /// How long that is; below zero where it is over.
    seconds_left: i64,
}

fn row(seen: CertificatePart) -> Certificate {
    Certificate {
        listener: seen.listener.to_string(),
        kind: seen.what,
        file: seen.file,
        names: seen.names,
        not_before_seconds: seen.not_before,
        not_after_seconds: seen.not_after,
        seconds_left: seen.seconds_left,
    }
}

/// Certificates that clients are shown, by listener, in the order of the configuration.
#[utoipa::path(get, path = "/v1/certificates", tag = "listeners",
    responses((status = 200, description = "All of them.", body = Vec<Certificate>)))]
async fn certificates(State(shown): State<Asked>, _: Plain) -> Json<Vec<Certificate>> {
    Json(shown.watch.certificates().into_iter().map(row).collect())
}

resource![certificates];
