//! Owns what a running instance explains: by its rules, and by what it knows of its backends at that moment.

use evenkeel_admin::pages::{Ask, Words};
use evenkeel_control::Watch;
use evenkeel_control::snapshot::DecisionPart;
use evenkeel_proxy::explain::written;
use serde_json::Value;

use super::rows::{self, Telling};
use super::{SHOWN, each, listener, nearest};

/// For the API.
pub(crate) const WORDS: Words = Words {
    explain: running,
    recorded,
};

/// What it would do with a request, at each listener that it may come in by.
///
/// Values that a rule gives a request, and what conditions want, may be secrets: who asks need not be who wrote them.
///
/// # Errors
/// The request is none, in words.
fn running(watch: &Watch, ask: &Ask) -> Result<Vec<Value>, String> {
    let written = written::bytes(&ask.method, &ask.url, &ask.headers);
    let written = written.map_err(|error| error.to_string())?;
    let (live, now) = watch.live();
    let named = ask.listener.as_deref();
    let named = named.map(|name| listener(&live.plan, name, name));
    let telling = Telling {
        values: false,
        wants: false,
        now,
    };
    let all = each(&live, named.transpose()?, ask.from, None, &written);
    let row = |explained| rows::row(&live, explained, &nearest(explained, SHOWN), telling);
    Ok(all.iter().map(row).collect())
}

/// What the decisions of a request found that was recorded, and what came of them. Zones are named as they are now.
fn recorded(watch: &Watch, one: &DecisionPart) -> Vec<Value> {
    let (live, _) = watch.live();
    let all = one.decisions().iter();
    all.map(|decision| rows::recorded(&live, decision))
        .collect()
}
