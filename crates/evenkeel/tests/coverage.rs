//! Holds `docs/coverage-events.md` to the list of events.

use evenkeel::EventKind;

const PAGE: &str = include_str!("../../../docs/coverage-events.md");

/// Each variant once: the match is exhaustive, so a new event does not compile before it stands here.
macro_rules! events {
    ($($variant:ident)*) => {
        const OURS: &[&str] = &[$(stringify!($variant)),*];

        fn word(kind: &EventKind) -> &'static str {
            match kind {
                $(EventKind::$variant { .. } => stringify!($variant),)*
            }
        }
    };
}

events! {
    ServiceStarted ServiceStopped BackendAdded BackendRemoved BackendUpdated SettingsChanged StandingChanged Checked
    BreakerOpened BreakerHalfOpened BreakerClosed BreakerWithheld AllDown Recovered TierChanged Drained
    PolicyFailed RetryBudgetSpent Picked Refused Answered Finished Abandoned
}

const K_MSG: [&str; 12] = [
    "endpointRegistered",
    "endpointUnregistered",
    "noHealthyEndpoints",
    "endpointSelected",
    "requestCompleted",
    "endpointUnhealthy",
    "circuitBreakerOpened",
    "circuitBreakerHalfOpen",
    "circuitBreakerClosed",
    "healthCheckCompleted",
    "healthCheckFailed",
    "shutdown",
];

const TYPESCRIPT: [&str; 11] = [
    "serverAdded",
    "serverRemoved",
    "serverSelected",
    "serverHealthChanged",
    "requestCompleted",
    "requestFailed",
    "noHealthyServers",
    "circuitBreakerOpened",
    "circuitBreakerReset",
    "configUpdated",
    "destroyed",
];

/// The cells of the rows of one section, heading and rule left out.
fn rows(section: &str) -> Vec<Vec<&'static str>> {
    let heading = format!("\n## {section}");
    let start = PAGE.find(&heading).expect("the section is on the page");
    let body = &PAGE[start + heading.len()..];
    let body = &body[..body.find("\n## ").unwrap_or(body.len())];
    body.lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// What stands in backquotes.
fn quoted(cell: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split('`').skip(1).step_by(2)
}

fn first_words(rows: &[Vec<&'static str>]) -> Vec<&'static str> {
    rows.iter().flat_map(|row| quoted(row[0]).take(1)).collect()
}

#[test]
fn each_of_our_events_has_its_row_and_no_row_is_of_none() {
    assert_eq!(first_words(&rows("Ours")), OURS);
    assert_eq!(word(&EventKind::ServiceStarted { members: 0 }), OURS[0]);
}

#[test]
fn each_of_theirs_is_built_from_ours() {
    let sections: [(&str, &[&str]); 2] = [
        ("k-msg webhook LoadBalancer: 12", &K_MSG),
        ("TypeScript load-balancer-system: 11", &TYPESCRIPT),
    ];
    for (section, theirs) in sections {
        assert_eq!(first_words(&rows(section)), theirs, "{section}");
    }
    let all = [
        sections[0].0,
        sections[1].0,
        "kOS specification",
        "AWS Application Load Balancer",
    ];
    for section in all {
        let rows = rows(section);
        assert!(!rows.is_empty(), "{section}");
        for row in rows {
            let from = row.last().copied().unwrap_or_default();
            assert!(
                quoted(from).any(|name| OURS.contains(&name)) || from.contains("`ChecksFailed("),
                "{section}: {} is built from none of ours: {from}",
                row[0]
            );
        }
    }
}
