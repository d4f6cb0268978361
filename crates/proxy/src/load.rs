//! Owns what is common to reports of load from wherever they come: what they are to the core, and the lines of trailers that they stand in.

use evenkeel_balance::load::LoadReport;
use evenkeel_config::limits::{LOAD_FIELD_BYTES, LOAD_METRICS, LOAD_PAGE_BYTES};
use evenkeel_wire::load::{CHOSEN_MOST, FIELD, FIELD_BIN, FIELD_MOST, PAGE_MOST, Report};

const _: () = assert!(LOAD_METRICS == CHOSEN_MOST);
const _: () = assert!(LOAD_FIELD_BYTES == FIELD_MOST && LOAD_PAGE_BYTES == PAGE_MOST);

/// A report as the core has it.
#[must_use]
pub fn report(read: &Report) -> LoadReport {
    LoadReport {
        application: read.application,
        chosen: read.chosen,
        cpu: read.cpu,
        rps: read.rps,
        eps: read.eps,
    }
}

/// Whether a line of trailers, which begins with a name and a colon, is a report.
pub(crate) fn is_line(line: &[u8]) -> bool {
    let end = line.iter().position(|&byte| byte == b':');
    let name = end.map_or(line, |end| &line[..end]);
    [FIELD, FIELD_BIN]
        .iter()
        .any(|field| name.eq_ignore_ascii_case(field))
}
