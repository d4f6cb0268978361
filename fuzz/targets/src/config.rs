//! Owns the laws of configurations. The input is the text of a file; a line `# next file` begins another one.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use evenkeel_balance::time::Instant;
use evenkeel_config::plan::{Action, HostPattern, PathPattern};
use evenkeel_config::problem::At;
use evenkeel_config::{Loaded, Plan, Problem, Severity, Source, load, quick, render};
use evenkeel_proxy::live::Live;
use evenkeel_wire::RequestHead;
use evenkeel_wire::http1::request::{self, PathForm};
use evenkeel_wire::http1::{HeadEnd, HeadLimits};

/// What begins another file.
const NEXT: &str = "# next file\n";

/// A value of the environment that no message may show.
const HIDDEN: &str = "hidden-Quux7";

/// Any text gives a plan or problems; every problem stands in one of the files; a plan keeps what the rest of the program
/// builds on; and line ends with CR say the same.
pub fn check(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let sources = sources(&text);
    let loaded = load(&sources, &environment());
    problems_have_places(&loaded, &sources);
    assert_eq!(told(&loaded), told(&load(&sources, &environment())));
    if !text.contains('\r') {
        let other = text.replace('\n', "\r\n");
        let other: Vec<_> = self::sources(&other.replace("# next file\r\n", NEXT));
        let other = load(&other, &environment());
        // YAML's limit of 1,024 characters for a key counts line ends, so that another fault may be the first.
        if is_syntax(&loaded) || is_syntax(&other) {
            assert!(loaded.plan.is_none() && other.plan.is_none());
        } else {
            assert_eq!(told(&loaded), told(&other));
        }
    }
    a_command_line(&text);
    let Some(plan) = loaded.plan else {
        return false;
    };
    keeps_its_word(&plan);
    // The core takes what a checked plan says, at the start and at a reload.
    let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
    let live = Live::join(plan.clone(), None, 1, &events, Instant::ZERO);
    let _next = Live::join(plan, Some(&live), 1, &events, Instant::ZERO);
    true
}

fn sources(text: &str) -> Vec<Source> {
    let texts = text.split(NEXT).take(4).enumerate();
    texts
        .map(|(number, text)| Source {
            name: format!("{number}.yaml"),
            text: text.to_owned(),
        })
        .collect()
}

fn environment() -> BTreeMap<String, String> {
    let pairs = [("PORT", "9000"), ("HIDDEN", HIDDEN)];
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// All that came of it.
fn told(loaded: &Loaded) -> String {
    format!("{loaded:?}")
}

fn is_syntax(loaded: &Loaded) -> bool {
    let mut problems = loaded.problems.iter();
    problems.any(|problem| problem.word == "syntax")
}

fn problems_have_places(loaded: &Loaded, sources: &[Source]) {
    let problems = &loaded.problems;
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    assert_eq!(loaded.plan.is_none(), errors > 0, "{problems:?}");
    assert!(problems.is_sorted_by_key(|problem| problem.at));
    let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
    assert!(problems.len() <= 4 * bytes + 16);
    let lines: Vec<Vec<&str>> = sources
        .iter()
        .map(|source| source.text.lines().collect())
        .collect();
    for problem in problems {
        stands_in(problem.at, &lines, problem);
        if let Some(also) = problem.also {
            stands_in(also, &lines, problem);
        }
        assert!(problem.message.len() <= bytes + 4096, "{problem:?}");
    }
    let own = |text: &str| text.to_ascii_lowercase().contains("quux7");
    if !sources.iter().any(|source| own(&source.text)) {
        let shown = problems.iter().find(|problem| own(&problem.message));
        assert_eq!(shown, None, "the environment shows");
    }
    let rendered = render(problems, sources);
    assert!(rendered.lines().count() >= problems.len());
}

fn stands_in(at: At, lines: &[Vec<&str>], problem: &Problem) {
    let lines = &lines[at.file];
    assert!(at.line >= 1 && at.column >= 1 && at.length >= 1);
    // Behind the last line is where something is missing.
    assert!(at.line <= lines.len() + 1, "{problem:?}");
    let line = lines.get(at.line - 1).copied().unwrap_or_default();
    let width = line.chars().count();
    assert!(
        at.column <= width + 1 && at.column + at.length <= width + 2,
        "{problem:?} in {line:?}"
    );
}

/// What the rest of the program builds on.
fn keeps_its_word(plan: &Plan) {
    assert!(!plan.listeners.is_empty() && !plan.rules.is_empty());
    let once = |names: Vec<&Arc<str>>| names.iter().collect::<HashSet<_>>().len() == names.len();
    assert!(once(plan.listeners.iter().map(|part| &part.name).collect()));
    assert!(once(plan.services.iter().map(|part| &part.name).collect()));
    assert!(once(plan.rules.iter().map(|part| &part.name).collect()));
    assert!(plan.rules.is_sorted_by_key(|rule| rule.priority));
    for listener in &plan.listeners {
        assert!(!listener.binds.is_empty());
        assert!(listener.limits.connections > 0 && listener.limits.head > 0);
    }
    for service in &plan.services {
        let members = service.backends.len() + service.names.len();
        assert!(members > 0);
        let backends = service.backends.iter().map(|backend| &backend.spec.id);
        let names = service.names.iter().map(|name| &name.spec.id);
        let ids: HashSet<_> = backends.chain(names).collect();
        assert_eq!(ids.len(), members);
        let resolver = &plan.resolver;
        let often = resolver.ttl_floor..=resolver.ttl_ceiling;
        assert!(
            service
                .names
                .iter()
                .all(|name| often.contains(&name.refresh))
        );
    }
    for rule in &plan.rules {
        assert!((1..=50_000).contains(&rule.priority));
        let known = |&listener: &usize| listener < plan.listeners.len();
        assert!(rule.listeners.iter().all(known));
        let services: Vec<usize> = match &rule.action {
            Action::Forward(service) => vec![*service],
            Action::Split(split) => split.sides.iter().map(|side| side.service).collect(),
            Action::ForwardMap(_, services) => services.to_vec(),
            Action::Redirect(_) | Action::Respond(_) | Action::Deny(_) => Vec::new(),
        };
        assert!(
            services
                .iter()
                .all(|&service| service < plan.services.len())
        );
        for host in &rule.when.hosts {
            if let HostPattern::Exact(host) = host {
                let head = ask("/", host);
                let seen = head.as_ref().map(RequestHead::host);
                assert_eq!(seen, Some(&**host), "no request has this host");
            }
        }
        for path in &rule.when.paths {
            let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = path else {
                continue;
            };
            let path = if path.is_empty() { "/" } else { path };
            let head = ask(path, "a");
            let seen = head.as_ref().map(RequestHead::path);
            assert_eq!(seen, Some(path.as_bytes()), "no request has this path");
        }
    }
}

/// What rules see of a request for this path and host. None: it is refused.
fn ask(path: &str, host: &str) -> Option<RequestHead> {
    let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
    let limits = HeadLimits {
        bytes: 1 << 20,
        target: 1 << 20,
        ..HeadLimits::default()
    };
    let form = PathForm::Normalize;
    request::parse(text.as_bytes(), &mut end, &limits, form, &mut head).ok()??;
    Some(head)
}

/// Arguments of a command line mean addresses, whatever stands in them.
fn a_command_line(text: &str) {
    let mut words = text.lines().take(3).map(str::to_owned);
    let (listen, to, admin) = (words.next(), words.next(), words.next());
    let listen: Vec<_> = listen.into_iter().collect();
    let to: Vec<_> = to.into_iter().collect();
    let source = quick::source(&listen, &to, admin.as_deref());
    let sources = [source];
    let loaded = load(&sources, &environment());
    problems_have_places(&loaded, &sources);
    if let Some(plan) = &loaded.plan {
        assert_eq!((plan.listeners.len(), plan.services.len()), (1, 1));
        assert_eq!(plan.services[0].backends.len(), 1);
    } else {
        let structure = [
            "syntax",
            "documents",
            "alias",
            "key",
            "duplicate_key",
            "duplicate_name",
            "unknown_key",
            "not_yet",
            "too_deep",
        ];
        let other = |problem: &&Problem| structure.contains(&problem.word);
        let other = loaded.problems.iter().find(other);
        assert_eq!(other, None, "an argument became more than an address");
    }
}
