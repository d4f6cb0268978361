//! Owns `on_all_down:` and `min_healthy:` of a service: what it does without healthy backends, and how few are as good as none.

use evenkeel_balance::backend::Admin;
use evenkeel_balance::settings::{MinHealthy, OnAllDown, ServiceSettings};

use crate::keys::MIN_HEALTHY;
use crate::plan::BackendPlan;
use crate::problem::At;
use crate::read::{Fields, Reading};

/// Where `min_healthy` stands.
pub(super) fn read(fields: &Fields<'_>, settings: &mut ServiceSettings) -> Option<At> {
    if fields.word("on_all_down") == Some("fail_closed") {
        settings.on_all_down = OnAllDown::FailClosed;
    }
    let map = fields.map("min_healthy", &MIN_HEALTHY)?;
    let (at, mut least) = (map.at, MinHealthy::default());
    map.set_number("count", &mut least.count);
    map.set("share", Reading::share, &mut least.share);
    map.done();
    settings.min_healthy = least;
    Some(at)
}

/// Says where so few backends are never as many as must be healthy.
pub(super) fn reached(
    reading: &Reading,
    at: Option<At>,
    settings: &ServiceSettings,
    backends: &[BackendPlan],
) {
    let count = settings.min_healthy.count;
    // Others are out because somebody said so, and count nowhere.
    let serves = |one: &&BackendPlan| one.spec.admin == Admin::Enabled && one.spec.weight.get() > 0;
    let backends = backends.iter().filter(serves).count();
    if let Some(at) = at
        && usize::try_from(count).unwrap_or(usize::MAX) > backends
    {
        let does = match settings.on_all_down {
            OnAllDown::FailOpen => "its health is never believed",
            OnAllDown::FailClosed => "it refuses everything",
        };
        let message = format!(
            "`count` is {count}, and the service has {backends} backends that may serve: {does}"
        );
        reading.warning(at, "min_healthy", message);
    }
}
