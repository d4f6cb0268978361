//! Owns trees into a plan: the top of the files, and what all their parts share. What stands below is in `lower/`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use evenkeel_balance::policy::named::Policies;
use evenkeel_balance::zone::Zone;
use ipnet::IpNet;

use crate::check;
use crate::keys::{LISTENER, SERVICE, TOP};
use crate::limits;
use crate::lower::named::named;
use crate::plan::tls::Material;
use crate::plan::{
    AccessLogPlan, AdminPlan, AlertsPlan, Bind, DrainPlan, ErrorPages, ListenerPlan, Plan,
    RegionPlan, ResolverPlan, RulePlan, ServicePlan, TracesPlan, Workers,
};
use crate::problem::{At, Problem, Severity, Source};
use crate::read::{Ask, Fields, Files, Reading, Scalar, UNREAD};
use crate::tree::{self, Node};

/// Addresses.
pub(crate) mod address;

/// `access_log:`
mod access_log;

/// `admin:`
mod admin;

/// Workers, user and group, and the zone.
mod process;

/// `drain:`
mod drain;

/// `resolver:`
mod resolver;

/// Maps of names.
mod named;

/// `listeners:`
mod listeners;

/// `forward:` and `sni:` of a TCP listener.
mod flows;

/// Names and where they stand in the plan.
mod places;

/// `error_pages:`
mod pages;

/// `rules:`
mod rules;

/// `host_map:` of a rule.
mod host_map;

/// `path:` of a rule's conditions.
mod paths;

/// `services:`
mod services;

/// `policy:` of a service.
mod policy;

/// `on_all_down:` and `min_healthy:` of a service.
mod on_all_down;

/// `rate:` of a rule and of a listener.
mod rates;

/// `retry:`
mod retry;

/// `load:` of a service.
mod load;

/// `affinity:` of a service, and its keys.
mod affinity;

/// `backends:` of a service.
mod backends;

/// `tiers:` of a service.
mod tiers;

/// Zones, and whose clients are near them.
mod zones;

/// `tls:`
mod tls;

/// `monitoring:` and `adjust:` of a service.
mod monitoring;

/// `alerts:`
mod alerts;

/// `load_balancer:`
pub(crate) mod load_balancer;

/// `traces:`
mod traces;

/// `proxy_protocol:`, of a listener and to backends.
mod proxy_protocol;

/// `health:` of a service.
mod health;

/// What became of the texts.
#[derive(Debug)]
pub struct Loaded {
    /// None: there are errors.
    pub plan: Option<Plan>,
    /// Errors and warnings, in the order of the texts.
    pub problems: Vec<Problem>,
}

use places::{Places, found, places, resolve};
pub(crate) use rules::is_split;
use services::Noted;

/// A part of the plan with the place of its name.
pub(crate) struct Placed<T> {
    pub(crate) at: At,
    pub(crate) part: T,
}

/// A rule that names services and listeners still by name.
pub(crate) struct RawRule {
    pub(crate) rule: RulePlan,
    /// Its name, for messages.
    pub(crate) shown: String,
    /// Those that it names; its action says which by their number here.
    pub(crate) services: Vec<(At, Scalar)>,
    pub(crate) map: Option<host_map::Raw>,
    pub(crate) listeners: Vec<(At, Scalar)>,
    /// Whether all its conditions could be read: else it holds for less than it seems.
    pub(crate) whole: bool,
    /// Paths that only a listener with `path: as_is` can see, and why.
    pub(crate) unusual: Vec<(At, String)>,
}

/// By key, the names that stand below it.
pub(crate) type Names = BTreeMap<&'static str, BTreeSet<String>>;

/// An address as it is, as it is written, and of which listener or service it is.
pub(crate) struct Written<T> {
    pub(crate) at: At,
    pub(crate) shown: Scalar,
    pub(crate) of: Arc<str>,
    pub(crate) address: T,
}

/// All parts, of all files.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) listeners: Vec<Placed<ListenerPlan>>,
    pub(crate) rules: Vec<Placed<RawRule>>,
    pub(crate) services: Vec<Placed<ServicePlan>>,
    /// Every name that stands there, also of what could not be read: that is not missing.
    pub(crate) names: Names,
    /// Every address to listen on, by listener.
    pub(crate) binds: Vec<Written<Bind>>,
    /// Services that listeners name; their flows say which by their number here.
    pub(crate) flows: Vec<(At, Scalar)>,
    pub(crate) noted: Noted,
    admin: Option<AdminPlan>,
    trusted_proxies: Option<Vec<IpNet>>,
    access_log: Option<AccessLogPlan>,
    traces: Option<TracesPlan>,
    alerts: Option<AlertsPlan>,
    workers: Option<Workers>,
    drain: Option<DrainPlan>,
    user: Option<Arc<str>>,
    group: Option<(At, Arc<str>)>,
    resolver: Option<ResolverPlan>,
    affinity_keys: Option<Material>,
    error_pages: Option<ErrorPages>,
    zone: Option<(At, Zone)>,
    regions: Vec<Placed<RegionPlan>>,
    pub(crate) listeners_most: Option<usize>,
}

/// Reads texts into a plan, or into everything that is wrong with them. `environment` is what `${NAME}` reads. A text that names
/// a file is refused; see [`load_with`].
#[must_use]
pub fn load(sources: &[Source], environment: &BTreeMap<String, String>) -> Loaded {
    load_with(sources, environment, Files::new())
}

/// The same with what the files hold that the texts name, which [`files`] tells.
#[must_use]
pub fn load_with(
    sources: &[Source],
    environment: &BTreeMap<String, String>,
    files: Files,
) -> Loaded {
    load_for(sources, environment, files, &Policies::default())
}

/// The same for a program with policies of its own, which `policy: { custom: name }` names.
#[must_use]
pub fn load_for(
    sources: &[Source],
    environment: &BTreeMap<String, String>,
    files: Files,
    policies: &Policies,
) -> Loaded {
    let given = move |path: &Path| files.get(path).cloned();
    let given = move |path: &Path| given(path).unwrap_or(Err(UNREAD.to_owned()));
    lower(sources, environment, Box::new(given), policies)
}

/// The same where each file is asked for, once, as it is come to: the texts are not read twice.
#[must_use]
pub fn load_asking(
    sources: &[Source],
    environment: &BTreeMap<String, String>,
    ask: impl Fn(&Path) -> Result<Vec<u8>, String> + 'static,
) -> Loaded {
    lower(sources, environment, Box::new(ask), &Policies::default())
}

/// The files that texts name: what [`load_with`] wants to be given. A relative name begins in the folder of its text.
#[must_use]
pub fn files(sources: &[Source], environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let named = Rc::<RefCell<Vec<PathBuf>>>::default();
    let noted = named.clone();
    let _ = load_asking(sources, environment, move |path| {
        noted.borrow_mut().push(path.into());
        Err(UNREAD.into())
    });
    named.take()
}

fn lower(
    sources: &[Source],
    environment: &BTreeMap<String, String>,
    ask: Ask,
    policies: &Policies,
) -> Loaded {
    let Parsed { trees, problems } = parsed(sources);
    of_trees(&trees, problems, sources, (environment, ask, policies))
}

/// Texts as trees, with what kept them from being read.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    pub(crate) trees: Vec<Node>,
    pub(crate) problems: Vec<Problem>,
}

pub(crate) fn parsed(sources: &[Source]) -> Parsed {
    let mut problems = Vec::new();
    let trees = sources
        .iter()
        .enumerate()
        .filter_map(|(file, source)| tree::parse(file, &source.text, &mut problems))
        .filter(|tree| !tree.is_null())
        .collect();
    Parsed { trees, problems }
}

/// Trees into a plan; what came of these texts may name files.
pub(crate) fn of_trees(
    trees: &[Node],
    problems: Vec<Problem>,
    sources: &[Source],
    (environment, ask, policies): (&BTreeMap<String, String>, Ask, &Policies),
) -> Loaded {
    let unread = problems
        .iter()
        .any(|problem| problem.word != "duplicate_key");
    let folders = sources.iter().map(|source| {
        let folder = Path::new(&source.name).parent();
        folder.map(Path::to_path_buf).unwrap_or_default()
    });
    let reading = Reading::new(problems, environment.clone())
        .over(folders.collect(), ask)
        .knowing(policies.clone());
    let mut parts = Parts::default();
    let mut seen = HashMap::new();
    let trees = load_balancer::expanded(trees, &reading);
    for tree in trees.iter() {
        if let Some(fields) = reading.map(tree, &TOP) {
            top(fields, &mut parts, &mut seen);
        }
    }
    let begin = At {
        file: 0,
        line: 1,
        column: 1,
        length: 1,
    };
    // What stands in a text that could not be read is not missing.
    let plan = (!unread).then(|| assemble(parts, &reading, begin));
    let problems = reading.into_problems();
    let broken = problems
        .iter()
        .any(|problem| problem.severity == Severity::Error);
    Loaded {
        plan: plan.filter(|_| !broken),
        problems,
    }
}

fn top<'t>(fields: Fields<'t>, parts: &mut Parts, seen: &mut HashMap<&'static str, At>) {
    let reading = fields.reading;
    let mut once = |key: &'static str| -> Option<&'t Node> {
        let (entry, node) = fields.entry(key)?;
        if let Some(earlier) = seen.insert(key, entry.at) {
            reading.error_with(
                entry.at,
                "set_twice",
                format!("`{key}` is set in two files; leave one of them"),
                earlier,
            );
        }
        Some(node)
    };
    if let Some(node) = once("admin") {
        parts.admin = admin::read(reading, node);
    }
    if let Some(node) = once("trusted_proxies") {
        parts.trusted_proxies = Some(address::networks(reading, node));
    }
    told(reading, parts, &mut once);
    process::read(&fields, parts, &mut once);
    if let Some(node) = once("drain") {
        parts.drain = drain::read(reading, node);
    }
    if let Some(node) = once("resolver") {
        parts.resolver = resolver::read(reading, node);
    }
    if let Some(node) = once("affinity_keys") {
        parts.affinity_keys = affinity::keys(reading, node);
    }
    if let Some(node) = once("error_pages") {
        parts.error_pages = pages::read(reading, node);
    }
    if let Some(node) = once("regions") {
        parts.regions = zones::regions(reading, node);
    }
    // What it says stands in services already.
    once("load_balancer");
    once("max_listeners");
    parts.listeners_most = fields.number("max_listeners").or(parts.listeners_most);
    let names = &mut parts.names;
    named(
        &fields,
        "listeners",
        &LISTENER,
        names,
        &mut parts.listeners,
        |name, at, fields| listeners::read(name, at, fields, &mut parts.binds, &mut parts.flows),
    );
    named(
        &fields,
        "services",
        &SERVICE,
        names,
        &mut parts.services,
        |name, at, fields| services::read(name, at, fields, &mut parts.noted),
    );
    if let Some(node) = fields.get("rules") {
        names.entry("rules").or_default();
        rules::read(reading, node, &mut parts.rules);
    }
    fields.done();
}

/// Who is told of what.
fn told<'t>(
    reading: &Reading,
    parts: &mut Parts,
    once: &mut impl FnMut(&'static str) -> Option<&'t Node>,
) {
    if let Some(node) = once("access_log") {
        parts.access_log = access_log::read(reading, node);
    }
    if let Some(node) = once("traces") {
        parts.traces = traces::read(reading, node);
    }
    if let Some(node) = once("alerts") {
        parts.alerts = alerts::read(reading, node);
    }
}

/// Joins names to what they name, and checks what only the whole can say.
fn assemble(mut parts: Parts, reading: &Reading, begin: At) -> Plan {
    // A file with one service and no rules means that service.
    if !parts.stands("rules", None)
        && !parts.is_tcp_only()
        && let [only] = &parts.services[..]
    {
        let rule = rules::everything(&only.part.name);
        parts.rules.push(Placed {
            at: only.at,
            part: rule,
        });
    }
    let resolver = parts.resolver.take().unwrap_or_default();
    resolver::settle(&mut parts.services, &resolver, reading);
    let (zone, services) = (parts.zone.as_ref(), &mut parts.services);
    zones::settle(services, zone, &parts.regions, reading);
    check::whole(&parts, reading, begin);
    if let (None, Some((at, _))) = (&parts.user, &parts.group) {
        reading.error(*at, "group", "`group` goes with `user`, which is absent");
    }
    let mut rules = Vec::new();
    let raw = std::mem::take(&mut parts.rules);
    let (listeners, services) = (places(&parts.listeners), places(&parts.services));
    let found = found(&parts.flows, &parts, &services, reading);
    for mut placed in raw {
        resolve(&mut placed.part, &parts, (&listeners, &services), reading);
        rules.push(placed.part.rule);
    }
    for listener in &mut parts.listeners {
        if let Some(flows) = &mut listener.part.flows {
            flows.place_services(&found);
        }
    }
    // A listener's own come first.
    for (status, page) in parts.error_pages.iter().flatten() {
        for listener in &mut parts.listeners {
            let pages = &mut listener.part.error_pages;
            pages.entry(*status).or_insert_with(|| page.clone());
        }
    }
    // Stable: rules of one priority stay in the order of the text.
    rules.sort_by_key(|rule| rule.priority);
    Plan {
        admin: parts.admin.unwrap_or_else(admin::default),
        trusted_proxies: parts.trusted_proxies.unwrap_or_default(),
        access_log: parts.access_log,
        traces: parts.traces,
        alerts: parts.alerts.unwrap_or_default(),
        workers: parts.workers.unwrap_or_default(),
        drain: parts.drain.unwrap_or_default(),
        user: parts.user,
        group: parts.group.map(|(_, group)| group),
        resolver,
        affinity_keys: parts.affinity_keys,
        zone: parts.zone.map(|(_, zone)| zone),
        regions: parts.regions.into_iter().map(|one| one.part).collect(),
        listeners: parts
            .listeners
            .into_iter()
            .map(|placed| placed.part)
            .collect(),
        rules,
        services: parts
            .services
            .into_iter()
            .map(|placed| placed.part)
            .collect(),
    }
}

impl Parts {
    /// Whether nobody speaks HTTP, as far as listeners could be read: rules are for nobody then.
    pub(crate) fn is_tcp_only(&self) -> bool {
        let all = self.names.get("listeners").map_or(0, BTreeSet::len);
        let tcp = |placed: &&Placed<ListenerPlan>| placed.part.flows.is_some();
        all > 0 && self.listeners.iter().filter(tcp).count() == all
    }

    /// Whether a part of this name stands in the text, read or not.
    pub(crate) fn stands(&self, key: &str, name: Option<&str>) -> bool {
        let names = self.names.get(key);
        names.is_some_and(|names| name.is_none_or(|name| names.contains(name)))
    }
}

pub(crate) const fn listeners_most(parts: &Parts) -> usize {
    match parts.listeners_most {
        Some(most) => most,
        None => limits::LISTENERS,
    }
}
