//! Owns `access_log:`.

use std::path::PathBuf;

use crate::keys::ACCESS_LOG;
use crate::plan::{AccessLogPlan, LogTarget, QueryShown, RowFormat};
use crate::read::Reading;
use crate::tree::{Node, Value};

/// `stdout`, or `{ to: stdout, format: json }`
pub(super) fn read(reading: &Reading, node: &Node) -> Option<AccessLogPlan> {
    let mut plan = AccessLogPlan {
        to: LogTarget::Stdout,
        format: RowFormat::Json,
        query: QueryShown::Redacted,
        truncated: false,
    };
    let Value::Map(_) = node.value else {
        plan.to = target(reading, node)?;
        return Some(plan);
    };
    let fields = reading.map(node, &ACCESS_LOG)?;
    fields.set("to", target, &mut plan.to);
    plan.format = match fields.word("format") {
        Some("common") => RowFormat::Common,
        Some("combined") => RowFormat::Combined,
        _ => RowFormat::Json,
    };
    plan.query = match fields.word("query") {
        Some("full") => QueryShown::Full,
        Some("none") => QueryShown::None,
        _ => QueryShown::Redacted,
    };
    plan.truncated = fields.word("client") == Some("truncated");
    fields.done();
    Some(plan)
}

fn target(reading: &Reading, node: &Node) -> Option<LogTarget> {
    let file = |text: &str| PathBuf::from(text);
    let target = reading.parsed(node, "value", |written| match written.value() {
        "stdout" => Ok(LogTarget::Stdout),
        "stderr" => Ok(LogTarget::Stderr),
        // Without a slash it is more likely a word that was misspelt, or one of another program.
        text if text.contains('/') && !text.ends_with('/') => Ok(LogTarget::File(file(text))),
        _ => Err(format!(
            "`{written}` is no place for rows: `stdout`, `stderr`, or a file with a slash in its path, like `./access.log`"
        )),
    })?;
    Some(match target {
        LogTarget::File(path) => LogTarget::File(reading.folder(node).join(path)),
        target => target,
    })
}
