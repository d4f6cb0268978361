//! Holds `docs/coverage-events.md` to the list of events, and `docs/coverage-systems.md` to what the five systems offer.

use std::ops::RangeInclusive;

use evenkeel::EventKind;

const PAGE: &str = include_str!("../../../docs/coverage-events.md");
const SYSTEMS: &str = include_str!("../../../docs/coverage-systems.md");
const RED: &str = include_str!("../../../docs/coverage-red.md");

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
    BreakerOpened BreakerHalfOpened BreakerClosed BreakerWithheld AllDown Recovered TierChanged Drained LimitReached
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
    rows_of(PAGE, section)
}

fn rows_of(page: &'static str, section: &str) -> Vec<Vec<&'static str>> {
    let heading = format!("\n## {section}");
    let start = page.find(&heading).expect("the section is on the page");
    let body = &page[start + heading.len()..];
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

/// Methods of theirs, by the section that has their rows.
const METHODS: [(&str, &[&str]); 3] = [
    (
        "k-msg: methods",
        &[
            "registerEndpoint",
            "unregisterEndpoint",
            "selectEndpoint",
            "onRequestComplete",
            "getEndpointHealth",
            "getAllEndpointHealth",
            "getStats",
            "shutdown",
            "on",
            "once",
            "off",
            "removeAllListeners",
            "addListener",
            "removeListener",
            "emit",
        ],
    ),
    (
        "ZLayer: methods",
        &[
            "register",
            "select",
            "track_connection",
            "ConnectionGuard",
            "update_backends",
            "add_backend",
            "remove_backend",
            "unregister",
            "backend_count",
            "healthy_count",
            "mark_health",
            "record_failure",
            "reset_failures",
            "consecutive_failures",
            "list_service_names",
            "group_snapshot",
            "spawn_health_checker",
            "RoundRobin",
            "LeastConnections",
        ],
    ),
    (
        "TypeScript: methods",
        &[
            "addServer",
            "removeServer",
            "getServer",
            "getAllServers",
            "getHealthyServers",
            "selectServer",
            "handleRequest",
            "getStatistics",
            "updateConfig",
            "getConfig",
            "clearSession",
            "clearAllSessions",
            "getSessionServer",
            "destroy",
            "on",
            "once",
            "off",
            "removeAllListeners",
        ],
    ),
];

/// Options of theirs.
const OPTIONS: [(&str, &[&str]); 2] = [
    (
        "k-msg: options",
        &[
            "strategy",
            "healthCheckInterval",
            "healthCheckTimeoutMs",
            "weights",
            "maxConcurrentRequests",
            "requestTimeoutMs",
            "defaultRetries",
            "circuitBreakerThreshold",
            "circuitBreakerTimeoutMs",
        ],
    ),
    (
        "TypeScript: options",
        &[
            "algorithm",
            "healthCheckInterval",
            "healthCheckTimeout",
            "maxRetries",
            "retryDelay",
            "stickySession",
            "sessionTimeout",
            "circuitBreaker",
            "circuitBreakerThreshold",
            "circuitBreakerTimeout",
            "maxConnections",
            "metadata",
            "LoadBalancerStats",
            "HealthCheckResult",
        ],
    ),
];

/// Faults and promises that bear numbers: the section, the letter, and how many there are.
const NUMBERED: [(&str, char, &[RangeInclusive<usize>]); 6] = [
    ("k-msg: strategies and faults", 'W', &[1..=13]),
    ("ZLayer: faults", 'Z', &[1..=6]),
    (
        "TypeScript: algorithms, promises and faults",
        'R',
        &[1..=12],
    ),
    (
        "TypeScript: algorithms, promises and faults",
        'F',
        &[1..=10],
    ),
    ("kOS: the core", 'K', &[1..=67, 76..=87]),
    ("kOS: who may reach what", 'K', &[68..=75]),
];

/// Keys of the specification's two examples, but for `quality` and `performance` themselves.
const KEYS: [&str; 27] = [
    "algorithm",
    "health_checking",
    "failover",
    "quality.failover_support",
    "dynamic_adjustment",
    "dynamic_adjustment.adjustment_interval",
    ".performance_threshold",
    ".health_threshold",
    "dynamic_adjustment.learning",
    "quality.learning",
    "performance_monitoring",
    ".metrics",
    "performance_monitoring.thresholds",
    ".alerting",
    ".optimization",
    "health_monitoring.check_interval",
    ".timeout",
    "health_monitoring.failure_threshold",
    ".recovery_threshold",
    "health_monitoring.alerting",
    "health_monitoring.recovery_management",
    "performance.timeout",
    "performance.caching",
    "performance.parallel_processing",
    "performance.optimization",
    "quality.error_recovery",
    "quality.quality_metrics",
];

#[test]
fn each_method_and_option_of_theirs_has_its_row() {
    for (section, theirs) in METHODS.into_iter().chain(OPTIONS) {
        let rows = rows_of(SYSTEMS, section);
        let named: Vec<&str> = rows.iter().flat_map(|row| quoted(row[0])).collect();
        assert_eq!(named, theirs, "{section}");
    }
}

#[test]
fn each_numbered_promise_and_fault_has_its_row() {
    for (section, letter, ranges) in NUMBERED {
        let rows = rows_of(SYSTEMS, section);
        let mut found: Vec<usize> = rows
            .iter()
            .flat_map(|row| numbers(row[0], letter))
            .collect();
        found.sort_unstable();
        let all: Vec<usize> = ranges.iter().cloned().flatten().collect();
        assert_eq!(found, all, "{section}: {letter}");
    }
}

#[test]
fn each_key_of_the_specification_has_its_row() {
    let rows = rows_of(SYSTEMS, "kOS: keys");
    let named: Vec<&str> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    assert_eq!(named, KEYS);
}

/// What the program may yet get says with which subject; anything else is here.
#[test]
fn what_is_to_come_is_of_few_subjects() {
    const SUBJECTS: [&str; 4] = ["control plane", "monitoring", "alerts", "learning"];
    for line in SYSTEMS.lines().filter(|line| line.contains("to come")) {
        let known = SUBJECTS.iter().any(|subject| line.contains(subject));
        let told = line.contains("What is missing says so");
        assert!(known || told, "{line}");
    }
}

/// A row without a test is one of which nothing stands, and both pages count them as they are.
#[test]
fn rows_with_a_test_and_without_are_as_many_as_the_pages_say() {
    let cells = |line: &'static str| {
        let row = line.trim_matches('|').split('|').map(str::trim);
        (line.starts_with("| ") && !line.ends_with("| shown by |")).then(|| row.collect::<Vec<_>>())
    };
    let rows: Vec<_> = SYSTEMS.lines().filter_map(cells).collect();
    let (without, with): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.last() == Some(&"-"));
    for row in &without {
        assert!(
            row[1].contains("to come") || row[1].contains("not built"),
            "{row:?}"
        );
    }
    let (with, without) = (with.len(), without.len());
    let head = format!(
        "Of {} rows {with} name what shows them; {without} have `-`",
        rows.len()
    );
    assert!(SYSTEMS.contains(&head), "{head}");
    let red = format!("of {with} rows with a test each test failed");
    assert!(RED.contains(&red), "{red}");
}

/// The numbers that a cell begins with: `W1`, `K32, K33`, `K25 to K30`.
fn numbers(cell: &str, letter: char) -> Vec<usize> {
    let mut all = Vec::new();
    let mut to = false;
    for word in cell.split([' ', ',']).filter(|word| !word.is_empty()) {
        let number = word.strip_prefix(letter).and_then(|word| word.parse().ok());
        match (number, to, all.last().copied()) {
            (Some(number), true, Some(from)) => all.extend(from + 1..=number),
            (Some(number), ..) => all.push(number),
            (None, ..) if word == "to" => {}
            (None, ..) => break,
        }
        to = word == "to";
    }
    all
}

/// What is not here says what it comes with; what is here names a test (that it exists, `cargo xtask tidy` holds).
#[test]
fn each_row_names_a_test_or_says_what_it_waits_for() {
    let rows = SYSTEMS
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| theirs"));
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, here, shown] = cells[..] else {
            panic!("three cells: {row}");
        };
        let shows = shown.starts_with('`') && shown.contains('_');
        assert!(shows || (shown == "-" && here.contains("to come")), "{row}");
    }
}
