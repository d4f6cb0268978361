//! Owns the gate, which whoever wants a page passes: by which name the address was asked, who asks, and whether that may be. What is asked
//! of whom is a table, `access::table`; what was refused, and what was changed, is for `audit` to write down.
//!
//! A reload brings another [`Admission`], by which the next request is judged, on connections that are open too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use evenkeel_config::plan::admin::{AdminPlan, Role, Scopes};
use evenkeel_control::clock::Clock;
use evenkeel_control::secure::Terms;
use evenkeel_control::since_1970;

use crate::access::failures::Failures;
use crate::access::table::{Need, methods, need, unlisted};
use crate::access::{Access, By, Denied, Shown, lacks};
use crate::audit::{Line, Sampler, Written, written};
use crate::contract::problem::{Problem, Reason};
use crate::guests::{Counts, Peer};
use crate::pages::routes;

/// Where an address can be reached from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Through a Unix socket.
    Socket,
    /// From this machine only.
    Here,
    Anywhere,
}

/// What is asked of who comes, by a plan.
#[derive(Debug)]
struct Admission {
    /// Who is known. None: nobody is asked who comes from this machine, and nobody else may come.
    access: Option<Access>,
    /// Names of its own beside `localhost`.
    hosts: Vec<Arc<str>>,
    /// Its TLS.
    terms: Option<Arc<Terms>>,
    decisions_audited: u32,
}

impl Admission {
    fn of(plan: &AdminPlan, before: Option<&Self>) -> Result<Self, String> {
        let before = before.and_then(|before| before.terms.as_ref());
        let terms = |tls| Terms::new(tls, before, since_1970());
        Ok(Self {
            access: plan.has_credentials().then(|| Access::of(plan)),
            hosts: plan.hosts.clone(),
            terms: plan.tls.as_ref().map(terms).transpose()?,
            decisions_audited: plan.decisions_audited,
        })
    }
}

/// What the addresses of a process have in common.
pub struct Gate {
    admission: Mutex<Arc<Admission>>,
    failures: Mutex<Failures>,
    sampler: Sampler,
    clock: Clock,
    pub(crate) counts: Arc<Counts>,
}

impl Gate {
    /// By a plan.
    ///
    /// # Errors
    /// Its TLS cannot be loaded, or there is a page of which nobody has said who may ask for it; in words.
    pub fn new(plan: &AdminPlan) -> Result<Arc<Self>, String> {
        if let Some(why) = unlisted(&routes()) {
            return Err(why);
        }
        Ok(Arc::new(Self {
            admission: Mutex::new(Arc::new(Admission::of(plan, None)?)),
            failures: Mutex::default(),
            sampler: Sampler::default(),
            clock: Clock::start(),
            counts: Arc::default(),
        }))
    }

    /// Takes another plan, by which the next request is judged.
    ///
    /// # Errors
    /// Its TLS cannot be loaded, in words; then what held goes on.
    pub fn follow(&self, plan: &AdminPlan) -> Result<(), String> {
        let next = Admission::of(plan, Some(&self.admission()))?;
        *self
            .admission
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    fn admission(&self) -> Arc<Admission> {
        let admission = self.admission.lock();
        admission.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What connections are held to from now on. None: they are not encrypted.
    pub(crate) fn terms(&self) -> Option<Arc<Terms>> {
        self.admission().terms.clone()
    }
}

/// Who asks, for who answers.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The name that logs have of it.
    pub(crate) name: Arc<str>,
    pub(crate) by: By,
    /// What it may do.
    pub(crate) scopes: Scopes,
}

impl Caller {
    /// Somebody who may do everything.
    fn trusted(name: String, by: By) -> Self {
        Self {
            name: name.into(),
            by,
            scopes: Role::Admin.scopes(),
        }
    }
}

/// The gate of one address.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) gate: Arc<Gate>,
    pub(crate) from: From,
}

/// Why somebody does not pass.
struct Stopped {
    caller: Option<Caller>,
    response: Response,
    /// It is worth a line of the log.
    told: bool,
}

/// Lets pass who may, and writes down what has to be.
pub(crate) async fn pass(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let admission = door.gate.admission();
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let peer = peer.map(|info| info.0.clone()).unwrap_or_default();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    match door.admits(&admission, &request, &peer) {
        Ok((caller, need)) => {
            let line = door.is_written(&admission, need);
            let line = line.then(|| line_of(&peer, &method, &uri, caller.as_ref()));
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            let Some(line) = line else {
                return next.run(request).await;
            };
            // In a task of its own: who leaves has changed something all the same, and is to be found.
            let done = tokio::spawn(async move {
                let response = next.run(request).await;
                line.write(&response);
                response
            });
            let failed = |_| StatusCode::INTERNAL_SERVER_ERROR.into_response();
            done.await.unwrap_or_else(failed)
        }
        Err(stopped) => {
            if let Some(reason) = stopped.response.extensions().get::<Reason>() {
                door.gate.counts.deny(*reason);
            }
            if stopped.told {
                let line = line_of(&peer, &method, &uri, stopped.caller.as_ref());
                line.write(&stopped.response);
            }
            stopped.response
        }
    }
}

/// A method for the log: whoever asks may have made one up, of any length.
fn cut(method: &Method) -> String {
    method.as_str().chars().take(32).collect()
}

fn line_of(peer: &Peer, method: &Method, uri: &Uri, caller: Option<&Caller>) -> Line {
    let mut line = Line::new(peer.to_string(), cut(method), uri.path());
    if let Some(caller) = caller {
        line.who = Some(caller.name.to_string());
        line.by = caller.by.word();
    }
    line
}

impl Door {
    fn is_written(&self, admission: &Admission, need: Need) -> bool {
        match written(need) {
            Written::All => true,
            Written::Some => self.gate.sampler.takes(admission.decisions_audited),
            Written::Nothing => false,
        }
    }

    /// Who asks, and what that takes. A page that is open asks nobody.
    fn admits(
        &self,
        admission: &Admission,
        request: &Request,
        peer: &Peer,
    ) -> Result<(Option<Caller>, Need), Box<Stopped>> {
        let headers = request.headers();
        let stopped = |problem: Problem, caller: Option<Caller>| {
            // Nobody who is not known fills the log.
            let told = caller.is_some() || self.fails(peer).is_none();
            let response = problem.into_response();
            Box::new(Stopped {
                caller,
                response,
                told,
            })
        };
        if self.from != From::Socket && !is_own(host(headers), &admission.hosts) {
            let why = "this address answers to `localhost`, to addresses and to the names of `admin: { hosts }`, and to no other name";
            return Err(stopped(Problem::new(Reason::NotYourHost, why), None));
        }
        let method = request.method().as_str();
        let path = request.extensions().get::<MatchedPath>();
        let path = path.map(MatchedPath::as_str);
        let need = match path.map(|path| (path, need(method, path))) {
            Some((_, Some(Need::Open))) => return Ok((None, Need::Open)),
            Some((_, Some(need))) => need,
            Some((path, None)) => {
                let response = other_method(path);
                return Err(Box::new(Stopped {
                    caller: None,
                    response,
                    told: false,
                }));
            }
            // There is no such page, which is told to whom it is known.
            None => Need::All(&[]),
        };
        let secure = admission.terms.is_some() && self.from != From::Socket;
        if !is_of_own_origin(headers, secure) {
            let why = "a page of another origin is told nothing, and changes nothing";
            return Err(stopped(Problem::new(Reason::CrossSite, why), None));
        }
        let caller = self.caller(admission, headers, peer)?;
        if let Some(scope) = lacks(caller.scopes, need) {
            let has = caller.scopes;
            let why = format!("this takes `{scope}`, and {} has `{has}`", caller.name);
            let problem = Problem::new(Reason::NotAllowed, why).lacking(scope);
            return Err(stopped(problem, Some(caller)));
        }
        Ok((Some(caller), need))
    }

    fn caller(
        &self,
        admission: &Admission,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Caller, Box<Stopped>> {
        let refused = |problem: Problem, told| {
            let response = problem.into_response();
            Err(Box::new(Stopped {
                caller: None,
                response,
                told,
            }))
        };
        let access = match (self.from, &admission.access) {
            (From::Socket, _) => {
                let user = peer
                    .user
                    .map_or("socket".into(), |user| format!("user-{user}"));
                return Ok(Caller::trusted(user, By::Socket));
            }
            (From::Here, None) => return Ok(Caller::trusted("loopback".into(), By::Loopback)),
            (From::Anywhere, None) => {
                let why = "this address is bound beyond loopback, and the configuration that runs has neither `tokens` nor `identities`: nothing else is told there";
                let told = self.fails(peer).is_none();
                return refused(Problem::new(Reason::NotLocal, why), told);
            }
            (_, Some(access)) => access,
        };
        let shown = peer.shown.get();
        let shown = shown.map(|identity| Shown {
            subject: &identity.subject,
            names: &identity.names,
            fingerprint: &identity.fingerprint,
        });
        let fields = headers.get_all(header::AUTHORIZATION).iter();
        let fields = fields.map(HeaderValue::as_bytes);
        match access.who(fields, shown, since_1970()) {
            Ok((holder, by)) => Ok(Caller {
                name: holder.name.clone(),
                by,
                scopes: holder.scopes,
            }),
            Err(denied) => match self.fails(peer) {
                Some(wait) => refused(too_many(wait), false),
                None => refused(unknown(denied), true),
            },
        }
    }

    /// How long until this client may fail again. None: now.
    fn fails(&self, peer: &Peer) -> Option<Duration> {
        let from = peer.address?.ip();
        let now = self.gate.clock.uptime();
        let failures = self.gate.failures.lock();
        failures
            .unwrap_or_else(PoisonError::into_inner)
            .note(from, now)
    }
}

fn too_many(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let why = format!(
        "too many requests from this address have not said who asks: say it, or ask again in {seconds} s"
    );
    Problem::new(Reason::TooManyFailures, why).again_after(seconds)
}

fn unknown(denied: Denied) -> Problem {
    let (reason, why) = match denied {
        Denied::Nothing => (
            Reason::NoCredentials,
            "say who asks: send `Authorization: Bearer` and a token of `evenkeel token create`, or show a certificate",
        ),
        Denied::Malformed => (
            Reason::MalformedToken,
            "one field `Authorization: Bearer` with one token is taken, and nothing else",
        ),
        Denied::Unknown => (
            Reason::UnknownToken,
            "nobody has this token; a new one counts once its line stands in the file of `admin: { tokens }` and the instance has reloaded",
        ),
        Denied::Stranger => (
            Reason::UnknownCertificate,
            "nobody of `admin: { identities }` is known by this certificate",
        ),
        Denied::Expired => (Reason::Expired, "its time, `until`, is over"),
    };
    Problem::new(reason, why)
}

/// Says which methods there are: that nothing else is taken follows from the table alone.
fn other_method(path: &str) -> Response {
    let methods = methods(path);
    let why = format!("this address takes {methods}");
    let mut response = Problem::new(Reason::Method, why).into_response();
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

/// The name that was asked for. Of two, others might go by the other one: that is nobody's.
fn host(headers: &HeaderMap) -> &str {
    let mut fields = headers.get_all(header::HOST).iter();
    match (fields.next(), fields.next()) {
        (None, _) => "",
        (Some(host), None) => host.to_str().unwrap_or("?"),
        (Some(_), Some(_)) => "?",
    }
}

/// A page in a browser may ask this address in its own name by rebinding a name to it: whether nobody can have bound this name to it. It
/// is an address, or means this machine by itself (RFC 6761 section 6.3), or the plan has it.
fn is_own(host: &str, hosts: &[Arc<str>]) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((within, _)) => within,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let local = name.rsplit('.').next();
    name.is_empty()
        || local.is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
        || name.parse::<std::net::IpAddr>().is_ok()
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Where a browser says from where a page asks (Fetch Metadata Request Headers, W3C): what it may not read it asks without `Origin`.
const SITE: &str = "sec-fetch-site";

/// Whether no page of another origin asks: what such a page may not read, it need not be told either. Where the connection is not
/// encrypted here, it may have been before a proxy.
fn is_of_own_origin(headers: &HeaderMap, secure: bool) -> bool {
    let schemes: &[&str] = match secure {
        true => &["https://"],
        false => &["http://", "https://"],
    };
    let own = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or("?");
        let mut names = schemes.iter().map(|scheme| origin.strip_prefix(scheme));
        names.any(|name| name == Some(host(headers)))
    };
    let near = |site: &HeaderValue| site == "same-origin" || site == "none";
    headers.get_all(header::ORIGIN).iter().all(own) && headers.get_all(SITE).iter().all(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_may_bind_are_not_its_own() {
        for (host, own) in [
            ("", true),
            ("localhost", true),
            ("LocalHost:9900", true),
            ("localhost.:9900", true),
            ("keel.localhost:9900", true),
            ("127.0.0.1", true),
            ("127.0.0.1:9900", true),
            ("10.1.2.3:9900", true),
            ("[::1]:9900", true),
            ("[::1]", true),
            ("evil.test", false),
            ("evil.test:9900", false),
            // A search list, or a file of hosts, may lead it here.
            ("keel", false),
            ("keel:9900", false),
            ("localhost.evil.test", false),
            ("evillocalhost", false),
            ("[evil.test]:9900", false),
            ("keel.example", true),
            ("Keel.Example.:9900", true),
            ("a.keel.example", false),
            ("keel.example.evil.test", false),
            ("?", false),
        ] {
            assert_eq!(is_own(host, &["keel.example".into()]), own, "{host}");
        }
    }

    #[test]
    fn of_two_names_neither_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(host(&headers), "");
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert_eq!(host(&headers), "localhost");
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(!is_own(host(&headers), &[]));
    }

    #[test]
    fn pages_of_other_origins_are_told_nothing() {
        let check = |origins: &[&str], secure, expect| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:9900".parse().unwrap());
            for origin in origins {
                headers.append(header::ORIGIN, origin.parse().unwrap());
            }
            let own = is_of_own_origin(&headers, secure);
            assert_eq!(own, expect, "{origins:?}");
        };
        check(&[], false, true);
        check(&["http://127.0.0.1:9900"], false, true);
        check(&["https://127.0.0.1:9900"], true, true);
        check(&["https://127.0.0.1:9900"], false, true);
        for origin in [
            "null",
            "",
            "http://127.0.0.1:9901",
            "http://127.0.0.1",
            "https://127.0.0.1:9901",
            "http://a.test",
            "http://127.0.0.1:9900.a.test",
        ] {
            check(&[origin], false, false);
            check(&["http://127.0.0.1:9900", origin], false, false);
        }
        check(&["http://127.0.0.1:9900"], true, false);
        for (site, own) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(SITE, site.parse().unwrap());
            assert_eq!(is_of_own_origin(&headers, false), own, "{site}");
        }
    }
}
