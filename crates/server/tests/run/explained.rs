//! What is explained is what is done: 10,000 random requests over random rules, asked of `explain` and of the running proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_balance::event::Listener;
use evenkeel_balance::time::Instant;
use evenkeel_proxy::explain::{Affinity, Done, Edited, Explained, Forwarded, Instead, Routed};
use evenkeel_proxy::live::Live;
use evenkeel_proxy::reason::Reason;
use fastrand::Rng;
use serde_json::{Value, json};

use crate::evenkeel;
use crate::process::{Evenkeel, Folder};

/// Configurations and requests.
mod drawn;

/// Backends and clients.
mod ends;

use drawn::{Request, SERVICES, SOURCES};
use ends::{Answer, Client};

/// What all is drawn from. Another one is another test.
const SEED: u64 = 20_261_121;

const PLANS: usize = 10;
const REQUESTS: usize = 10_000;

/// Each so many requests, one is asked of the command too.
const BY_COMMAND: usize = 100;

/// Each so many, all rules before are asked why they do not hold.
const BY_CONDITION: usize = 10;

/// What may be seen of what is done, from outside.
#[derive(Debug)]
enum May {
    /// An answer that is made here: the word of its reason, where its body has it.
    Answered {
        status: u16,
        location: Option<String>,
        body: Option<String>,
        word: Option<&'static str>,
    },
    /// One of these backends of a service, and whether it is told where it was.
    Served {
        service: String,
        backends: Vec<String>,
        cookie: Option<String>,
    },
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn answered(status: u16, location: Option<&[u8]>, body: Option<&[u8]>) -> May {
    May::Answered {
        status,
        location: location.map(text),
        body: body.map(text),
        word: None,
    }
}

fn refused(status: u16, reason: Reason) -> May {
    May::Answered {
        status,
        location: None,
        body: None,
        word: Some(reason.word()),
    }
}

/// All that an explanation says may be seen.
fn may(explained: &Explained<'_>) -> Vec<May> {
    let forwarded = match explained.done() {
        Done::Refused { status, reason } => return vec![refused(status, reason)],
        Done::Respond(answer) => return vec![answered(answer.status, None, Some(&answer.body))],
        Done::Redirect { status, location } => {
            return vec![answered(status, Some(&location), None)];
        }
        Done::Forward(forwarded) => forwarded,
    };
    let cookie = match forwarded.affinity {
        Some(Affinity::Cookie { name, .. }) => Some(name.to_owned()),
        _ => None,
    };
    let shares: f64 = forwarded.services.iter().map(|routed| routed.share).sum();
    assert!((shares - 1.0).abs() < 1e-9, "shares of {shares}");
    let each = |routed: &Routed<'_>| {
        let reason = match served(routed, cookie.clone()) {
            Ok(may) => return may,
            Err(reason) => reason,
        };
        match forwarded.instead(routed) {
            None => refused(reason.status(), reason),
            Some(Instead::Forward(other)) => match served(other, None) {
                Ok(may) => may,
                Err(reason) => refused(reason.status(), reason),
            },
            Some(Instead::Respond(answer)) => answered(answer.status, None, Some(&answer.body)),
            Some(Instead::Redirect { status, location }) => answered(*status, Some(location), None),
            Some(Instead::Refused(reason)) => refused(reason.status(), *reason),
        }
    };
    forwarded.services.iter().map(each).collect()
}

fn served(routed: &Routed<'_>, cookie: Option<String>) -> Result<May, Reason> {
    let told = routed.explanation(0, Instant::ZERO);
    let picked = told.result.map_err(Reason::Refused)?;
    let free = told.candidates.iter().filter(|one| one.bar.is_none());
    let backends = match routed.key {
        Some(_) => vec![picked.as_str().to_owned()],
        None => free.map(|one| one.id.as_str().to_owned()).collect(),
    };
    Ok(May::Served {
        service: routed.service.plan.name.to_string(),
        backends,
        cookie,
    })
}

/// What a backend tells of itself: its address, and what it got.
fn told(answer: &Answer) -> Option<(&str, Vec<&str>)> {
    let rest = answer.body.strip_prefix("backend ")?;
    let mut lines = rest.split('\n');
    Some((lines.next()?, lines.collect()))
}

impl May {
    fn is(&self, answer: &Answer) -> bool {
        match self {
            Self::Answered {
                status,
                location,
                body,
                word,
            } => {
                let end = word.map(|word| format!(": {word}\n"));
                told(answer).is_none()
                    && *status == answer.status
                    && answer.all("location") == Vec::from_iter(location.as_deref())
                    && body.as_ref().is_none_or(|body| *body == answer.body)
                    && end.is_none_or(|end| answer.body.ends_with(&end))
            }
            Self::Served {
                backends, cookie, ..
            } => {
                let set = answer.all("set-cookie");
                let names = set.iter().map(|set| set.split_once('=').unwrap().0);
                told(answer).is_some_and(|(from, _)| backends.iter().any(|one| one == from))
                    && names.eq(cookie.as_deref())
            }
        }
    }
}

/// What the backend got is what is explained, and so are the fields of the answer.
fn fields_are_explained(explained: &Explained<'_>, answer: &Answer) -> Result<(), String> {
    let edits = explained.answer_fields();
    let own = |name: &str| answer.all(name).into_iter().map(str::to_owned).collect();
    edited(&edits, own, "answer")?;
    let (Some((_, lines)), Done::Forward(forwarded)) = (told(answer), explained.done()) else {
        return Ok(());
    };
    let head = explained.head().ok_or("no head, and served")?;
    let query = forwarded
        .query
        .as_deref()
        .map(|query| format!("?{}", text(query)));
    let (method, path) = (text(head.method()), text(&forwarded.path));
    let line = format!("{method} {path}{} HTTP/1.1", query.unwrap_or_default());
    let got = |name: &str| -> Vec<String> {
        let pairs = lines.iter().filter_map(|line| line.split_once(": "));
        pairs
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .collect()
    };
    if lines.first() != Some(&&*line) {
        return Err(format!("the backend gets {line}"));
    }
    let host = forwarded.host.as_deref().unwrap_or(head.authority());
    if got("host") != [text(host)] {
        return Err(format!("the backend gets host {}", text(host)));
    }
    edited(&forwarded.fields, got, "request")
}

fn edited(edits: &Edited, values: impl Fn(&str) -> Vec<String>, head: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{head} field {what}: {edits:?}"));
    for (name, value) in &edits.set {
        let mut all = vec![value.clone()];
        let beside = edits.add.iter().filter(|(other, _)| other == name);
        all.extend(beside.map(|(_, value)| value.clone()));
        if values(name) != all {
            return wrong(name);
        }
    }
    for (name, value) in &edits.add {
        if !values(name).contains(value) {
            return wrong(name);
        }
    }
    match edits.remove.iter().find(|name| !values(name).is_empty()) {
        Some(name) if !edits.add.iter().any(|(added, _)| *added == **name) => wrong(name),
        _ => Ok(()),
    }
}

/// What was met in all, so that nothing is proved of nothing.
#[derive(Default)]
struct Met {
    kinds: BTreeMap<String, usize>,
    conditions: BTreeMap<String, usize>,
    rules: BTreeSet<(usize, usize)>,
    /// Services that a rule's draws led to.
    drawn: BTreeMap<(usize, usize), BTreeSet<String>>,
}

impl Met {
    fn kind(&mut self, kind: impl Into<String>) {
        *self.kinds.entry(kind.into()).or_default() += 1;
    }

    fn answer(&mut self, plan: usize, explained: &Explained<'_>, may: &May, answer: &Answer) {
        match may {
            May::Answered {
                word: Some(word), ..
            } => self.kind(format!("{} {word}", answer.status)),
            May::Answered {
                location: Some(_), ..
            } => self.kind("redirected"),
            May::Answered { .. } => self.kind("answered"),
            May::Served { .. } => self.kind("served"),
        }
        let Done::Forward(forwarded) = explained.done() else {
            return;
        };
        let own = |routed: &Routed<'_>| match may {
            May::Served { service, .. } => *service == *routed.service.plan.name,
            May::Answered { .. } => false,
        };
        match &forwarded.fallback {
            Some(fallback) if !forwarded.services.iter().any(own) => self.kind(match fallback {
                Instead::Forward(_) => "fallback to a service",
                Instead::Respond(_) => "fallback answered",
                Instead::Redirect { .. } => "fallback redirected",
                Instead::Refused(_) => "fallback to nowhere",
            }),
            _ => {}
        }
        match forwarded.affinity {
            None if forwarded.services.len() > 1 => self.kind("split"),
            None => {}
            Some(Affinity::Source) => self.kind("split by source"),
            Some(Affinity::Cookie { kept: true, .. }) => self.kind("split, kept by cookie"),
            Some(Affinity::Cookie { kept: false, .. }) => self.kind("split by cookie"),
        }
        if let (Some(rule), May::Served { service, .. }) = (explained.rule(), may)
            && forwarded.services.len() > 1
        {
            let drawn = self.drawn.entry((plan, rule)).or_default();
            drawn.insert(service.clone());
        }
        if !forwarded.fields.is_empty() {
            self.kind("request fields changed");
        }
        self.rewritten(explained, &forwarded);
    }

    fn rewritten(&mut self, explained: &Explained<'_>, forwarded: &Forwarded<'_>) {
        let Some(head) = explained.head() else { return };
        if forwarded.path != head.path() {
            self.kind("path rewritten");
        }
        if forwarded.query.as_deref() != head.query() {
            self.kind("query rewritten");
        }
        if forwarded.host.is_some() {
            self.kind("host rewritten");
        }
    }

    fn told(&self) -> String {
        let (kinds, conditions, rules) = (&self.kinds, &self.conditions, self.rules.len());
        format!("{kinds:#?} {conditions:#?} {rules} rules met")
    }

    fn is_all(&self) {
        let Self {
            kinds,
            conditions,
            rules,
            drawn,
        } = self;
        let several = drawn.values().filter(|services| services.len() > 1).count();
        let rules = rules.len();
        for (kind, least) in [
            ("answered", 500),
            ("redirected", 500),
            ("served", 3_000),
            ("404 no_rule", 100),
            ("403 denied", 20),
            ("451 denied", 20),
            ("503 denied", 30),
            ("503 all_down", 100),
            ("500 rewrite_failed", 30),
            ("500 redirect_failed", 5),
            ("413 body_too_large", 3),
            ("fallback to a service", 50),
            ("fallback answered", 50),
            ("fallback redirected", 50),
            ("split", 100),
            ("split by source", 200),
            ("split by cookie", 200),
            ("split, kept by cookie", 200),
            ("path rewritten", 200),
            ("query rewritten", 50),
            ("host rewritten", 200),
            ("request fields changed", 200),
        ] {
            let got = kinds.get(kind).copied().unwrap_or_default();
            assert!(got >= least, "{got} of `{kind}`");
        }
        let words: Vec<_> = conditions.keys().map(|word| &**word).collect();
        let all = [
            "cookie.tier",
            "cookie.user",
            "header.x-tier",
            "header.x-user",
            "host",
            "listeners",
            "method",
            "not",
            "path",
            "query",
            "source",
            "source.client",
        ];
        assert_eq!(words, all, "a condition that never fails");
        assert!(rules > 300 && several > 20 && kinds.len() > 30);
    }
}

/// The command says the same as the function that it calls.
fn by_command(
    file: &str,
    listener: &str,
    from: IpAddr,
    request: &Request,
    is: &Explained<'_>,
    live: &Live,
) {
    let fields: Vec<_> = request
        .fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let from = from.to_string();
    let mut arguments = vec!["explain", "--json", "-c", file, "--listener", listener];
    arguments.extend(["--from", &from, "--values", request.method, &request.target]);
    arguments.extend(fields.iter().flat_map(|field| ["-H", field]));
    let (code, out, said) = evenkeel(&arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
    let out: Value = serde_json::from_str(&out).unwrap();
    let row = &out["explanations"][0];
    let same = |pointer: &str, value: Value| {
        assert_eq!(
            row.pointer(pointer),
            Some(&value),
            "{pointer}: {arguments:?}: {row:#}"
        );
    };
    let rule = is.rule().map(|at| &*live.plan.rules[at].name);
    assert_eq!(row["rule"]["name"].as_str(), rule, "{arguments:?}: {row:#}");
    same("/passed_all", is.passed().len().into());
    let fields = |edits: &Edited| {
        let rows = |list: &[(String, String)]| -> Value {
            list.iter()
                .map(|(name, value)| json!({ "name": name, "value": value }))
                .collect()
        };
        json!({ "set": rows(&edits.set), "add": rows(&edits.add), "remove": edits.remove })
    };
    same("/answer_fields", fields(&is.answer_fields()));
    let forwarded = match is.done() {
        Done::Refused { status, reason } => {
            same("/status", status.into());
            return same("/reason", reason.word().into());
        }
        Done::Respond(answer) => return same("/status", answer.status.into()),
        Done::Redirect { location, .. } => return same("/location", text(&location).into()),
        Done::Forward(forwarded) => forwarded,
    };
    same("/forwarded/path", text(&forwarded.path).into());
    same(
        "/forwarded/query",
        forwarded.query.as_deref().map(text).into(),
    );
    same(
        "/forwarded/host",
        forwarded.host.as_deref().map(text).into(),
    );
    same("/forwarded/fields", fields(&forwarded.fields));
    assert_eq!(
        row["services"].as_array().map(Vec::len),
        Some(forwarded.services.len())
    );
    for (at, routed) in forwarded.services.iter().enumerate() {
        same(
            &format!("/services/{at}/service"),
            (*routed.service.plan.name).into(),
        );
        let share = row["services"][at]["share"].as_f64().unwrap();
        assert!((share - routed.share).abs() < 1e-9, "{arguments:?}");
        let falls = forwarded.instead(routed).is_some();
        same(&format!("/services/{at}/falls_back"), falls.into());
        if routed.key.is_some() {
            let backend = routed.explanation(0, Instant::ZERO).result.ok();
            let backend = backend.map(|id| id.as_str().to_owned());
            same(&format!("/services/{at}/backend"), backend.into());
        }
    }
    if let Some(Instead::Forward(routed)) = &forwarded.fallback {
        same(
            "/fallback/service/service",
            (*routed.service.plan.name).into(),
        );
    }
}

/// A running proxy, its plan, and clients from several addresses at each of its listeners.
struct Scene {
    plan: usize,
    live: Live,
    _keel: Evenkeel,
    clients: Vec<Client>,
    text: String,
    file: String,
}

impl Scene {
    fn new(
        plan: usize,
        random: &mut Rng,
        backends: &[std::net::SocketAddr],
        folder: &Folder,
    ) -> Self {
        let text = drawn::configuration(random, backends, folder, &plan.to_string());
        let file = folder.path().join(format!("{plan}.yaml"));
        let file = file.to_str().unwrap().to_owned();
        let (checked, text) = drawn::planned(text, &file);
        folder.write(&format!("{plan}.yaml"), &text);
        let events: Arc<dyn Listener> = Arc::new(());
        let keel = Evenkeel::run(&["-c", &file]);
        let clients = ["one", "two"].into_iter().flat_map(|name| {
            let mark = format!("listener {name} listens on ");
            let line = keel.said.lines().find_map(|line| line.rsplit_once(&*mark));
            let to = line.unwrap().1.parse().unwrap();
            SOURCES.map(|from| Client {
                from: from.parse().unwrap(),
                to,
                stream: None,
            })
        });
        Self {
            plan,
            live: Live::join(checked, None, 1, &events, Instant::ZERO),
            clients: clients.collect(),
            _keel: keel,
            text,
            file,
        }
    }

    /// Asks both, and what they say is one. The answer's cookie.
    fn ask(
        &mut self,
        number: usize,
        who: usize,
        request: &Request,
        met: &mut Met,
    ) -> Option<String> {
        let bytes = request.bytes();
        let (listener, from) = (who / SOURCES.len(), self.clients[who].from);
        let explained = Explained::of(&self.live, listener, from, None, &bytes);
        let passed = explained.passed();
        if let Some(rule) = explained.rule() {
            met.rules.insert((self.plan, rule));
            assert_eq!(passed.len(), rule, "a rule before it holds: {number}");
        }
        if number.is_multiple_of(BY_CONDITION) {
            for one in &passed {
                let unmet = explained.unmet(one.rule).unwrap();
                assert!(!unmet.wants.is_empty(), "{unmet:?}");
                *met.conditions.entry(unmet.condition).or_default() += 1;
            }
        }
        let may = may(&explained);
        let answer = self.clients[who].ask(&bytes);
        let found = may.iter().find(|may| may.is(&answer));
        let fields = fields_are_explained(&explained, &answer);
        let shown = String::from_utf8_lossy(&bytes);
        assert!(
            found.is_some() && fields.is_ok(),
            "seed {SEED}, plan {}, request {number} from {from} at listener {listener}, rule {:?}\n{shown}explained {may:#?} {fields:?}\ndone      {answer:#?}\n{}",
            self.plan,
            explained.rule().map(|at| &self.live.plan.rules[at].name),
            self.text,
        );
        met.answer(self.plan, &explained, found?, &answer);
        // The command would make an absolute URL a path and a field.
        if number.is_multiple_of(BY_COMMAND) && request.target.starts_with(['/', '*']) {
            let listener = ["one", "two"][listener];
            by_command(&self.file, listener, from, request, &explained, &self.live);
        }
        let May::Served {
            cookie: Some(_),
            service,
            ..
        } = found?
        else {
            return None;
        };
        let cookie = answer.all("set-cookie").concat();
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        self.is_kept(who, request, &cookie, service);
        Some(cookie)
    }

    /// Who has the cookie is explained to go where it was, and nowhere else.
    fn is_kept(&self, who: usize, request: &Request, cookie: &str, service: &str) {
        let request = with(request, cookie);
        let (listener, from) = (who / SOURCES.len(), self.clients[who].from);
        let explained = Explained::of(&self.live, listener, from, None, &request.bytes());
        let Done::Forward(forwarded) = explained.done() else {
            return;
        };
        let Some(Affinity::Cookie { kept, .. }) = forwarded.affinity else {
            return;
        };
        let names = forwarded.services.iter().map(|one| &*one.service.plan.name);
        assert!(kept && names.eq([service]), "{cookie} was set by {service}");
    }
}

/// The same request with a cookie before all others.
fn with(request: &Request, cookie: &str) -> Request {
    let mut request = request.clone();
    request.fields.insert(1, ("Cookie", cookie.to_owned()));
    request
}

#[test]
fn ten_thousand_requests_are_done_as_explained() {
    println!("seed {SEED}");
    let mut random = Rng::with_seed(SEED);
    let backends = ends::backends(SERVICES * 3);
    let folder = Folder::new("explained");
    let mut met = Met::default();
    for plan in 0..PLANS {
        let mut scene = Scene::new(plan, &mut random, &backends, &folder);
        for number in 0..REQUESTS / PLANS {
            let request = Request::draw(&mut random);
            let who = random.usize(..scene.clients.len());
            let cookie = scene.ask(number, who, &request, &mut met);
            if let Some(cookie) = cookie {
                scene.ask(number, who, &with(&request, &cookie), &mut met);
            }
        }
    }
    println!("{}", met.told());
    met.is_all();
}
