//! Owns the gate, which whoever wants a page passes: by which name the address was asked, who asks, and whether that may be. What is asked
//! of whom is a table, `access::table`; what was refused, and what was changed, is for `audit` to write down.
//!
//! Each request is judged by the plan that runs as it comes, on connections that are open too: nobody tells the gate of another.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use evenkeel_config::plan::admin::{AdminPlan, Role, Scopes};
use evenkeel_control::clock::Clock;
use evenkeel_control::secure::Terms;
use evenkeel_control::{Watch, since_1970};
use tracing::error;

use crate::access::failures::Failures;
use crate::access::table::{Need, methods, need, unlisted};
use crate::access::{Access, Denied, Proof, Shown, lacks, proof};
use crate::audit::{Line, Sampler, Written, written};
use crate::contract::problem::{Problem, Reason};
use crate::dashboard;
use crate::guests::{Counts, Peer};
use crate::pages::routes;

/// By which name it was asked, and from where.
mod origin;

use origin::{host, is_of_own_origin, is_own};

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

/// What follows from the plan that was looked at last.
struct Judged {
    /// Of what was published. None: the plan of the start, before anything was.
    version: Option<u64>,
    plan: AdminPlan,
    admission: Arc<Admission>,
}

impl Judged {
    /// Goes on with what is published now, if that is another plan. One whose TLS cannot be loaded leaves it as it was.
    fn follow(&mut self, watch: &Watch) {
        // Before the plan is read: what is published in between is seen by who asks next.
        let version = Some(watch.version());
        if self.version == version {
            return;
        }
        self.version = version;
        let live = watch.live().0;
        let plan = &live.plan.admin;
        if self.plan == *plan {
            return;
        }
        match Admission::of(plan, Some(&self.admission)) {
            Ok(next) => (self.plan, self.admission) = (plan.clone(), Arc::new(next)),
            Err(why) => error!("who may ask the instance stays as it was: {why}"),
        }
    }
}

/// What the addresses of a process have in common.
pub struct Gate {
    judged: Mutex<Judged>,
    failures: Mutex<Failures>,
    sampler: Sampler,
    clock: Clock,
    pub(crate) counts: Arc<Counts>,
}

impl Gate {
    /// What becomes of connections.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// By the plan of the start.
    ///
    /// # Errors
    /// Its TLS cannot be loaded, or there is a page of which nobody has said who may ask for it; in words.
    pub fn new(plan: &AdminPlan) -> Result<Arc<Self>, String> {
        if let Some(why) = unlisted(&routes()) {
            return Err(why);
        }
        let judged = Judged {
            version: None,
            plan: plan.clone(),
            admission: Arc::new(Admission::of(plan, None)?),
        };
        Ok(Arc::new(Self {
            judged: Mutex::new(judged),
            failures: Mutex::default(),
            sampler: Sampler::default(),
            clock: Clock::start(),
            counts: Arc::default(),
        }))
    }

    fn admission(&self, watch: &Watch) -> Arc<Admission> {
        let judged = self.judged.lock();
        let mut judged = judged.unwrap_or_else(PoisonError::into_inner);
        judged.follow(watch);
        judged.admission.clone()
    }

    /// What connections are held to from now on. None: they are not encrypted.
    pub(crate) fn terms(&self, watch: &Watch) -> Option<Arc<Terms>> {
        self.admission(watch).terms.clone()
    }
}

/// Who asks, for who answers.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The name that logs have of it.
    pub(crate) name: Arc<str>,
    pub(crate) by: Proof,
    /// What it may do.
    pub(crate) scopes: Scopes,
}

impl Caller {
    /// Somebody who may do everything.
    fn trusted(name: String, by: Proof) -> Self {
        Self {
            name: name.into(),
            by,
            scopes: Role::Admin.scopes(),
        }
    }
}

/// The gate of one address.
pub(crate) struct Door {
    pub(crate) gate: Arc<Gate>,
    pub(crate) from: From,
    pub(crate) watch: Watch,
}

/// What somebody was let in by, for what goes on after it was.
#[derive(Clone)]
pub(crate) struct Right {
    door: Arc<Door>,
    by: Proof,
    peer: Peer,
    need: Need,
}

impl Right {
    /// Whether it would be let in now.
    pub(crate) fn holds(&self) -> bool {
        let admission = self.door.gate.admission(&self.door.watch);
        let caller = self.door.known(&admission, self.by, &self.peer);
        caller.is_ok_and(|caller| lacks(caller.scopes, self.need).is_none())
    }
}

/// Why somebody does not pass.
struct Stopped {
    caller: Option<Caller>,
    response: Response,
    /// It is worth a line of the log.
    told: bool,
}

/// Lets pass who may, and writes down what has to be.
pub(crate) async fn pass(
    State(door): State<Arc<Door>>,
    mut request: Request,
    next: Next,
) -> Response {
    let admission = door.gate.admission(&door.watch);
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let peer = peer.map(|info| info.0.clone()).unwrap_or_default();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    match door.admits(&admission, &request, &peer) {
        Ok((caller, need)) => {
            let line = door.is_written(&admission, need);
            let line = line.then(|| line_of(&peer, &method, &uri, caller.as_ref()));
            if let Some(caller) = caller {
                let (door, by) = (door.clone(), caller.by);
                let right = Right {
                    door,
                    by,
                    peer,
                    need,
                };
                request.extensions_mut().insert(right);
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
            None if dashboard::has(request.method(), request.uri().path()) => {
                return Ok((None, Need::Open));
            }
            None => Need::Known,
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
        let fields = headers.get_all(header::AUTHORIZATION).iter();
        let fields = fields.map(HeaderValue::as_bytes);
        let proof = match (self.from, &admission.access) {
            (From::Socket, _) => Ok(Proof::Socket),
            (From::Here, None) => Ok(Proof::Loopback),
            (From::Anywhere, None) => {
                let why = "this address is bound beyond loopback, and the configuration that runs has neither `tokens` nor `identities`: nothing else is told there";
                let told = self.fails(peer).is_none();
                return refused(Problem::new(Reason::NotLocal, why), told);
            }
            (_, Some(_)) => proof(fields, shown(peer).is_some()),
        };
        match proof.and_then(|proof| self.known(admission, proof, peer)) {
            Ok(caller) => Ok(caller),
            Err(denied) => match self.fails(peer) {
                Some(wait) => refused(too_many(wait), false),
                None => refused(unknown(denied), true),
            },
        }
    }

    /// Who is known by this proof now.
    fn known(&self, admission: &Admission, proof: Proof, peer: &Peer) -> Result<Caller, Denied> {
        match (self.from, &admission.access) {
            (From::Socket, _) => {
                let user = peer.user.map(|user| format!("user-{user}"));
                let name = user.unwrap_or_else(|| "socket".into());
                Ok(Caller::trusted(name, Proof::Socket))
            }
            (From::Here, None) => Ok(Caller::trusted("loopback".into(), Proof::Loopback)),
            (From::Anywhere, None) => Err(Denied::Nothing),
            (_, Some(access)) => {
                let holder = access.whose(proof, shown(peer), since_1970())?;
                Ok(Caller {
                    name: holder.name.clone(),
                    by: proof,
                    scopes: holder.scopes,
                })
            }
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

/// By what certificate somebody is there.
fn shown(peer: &Peer) -> Option<Shown<'_>> {
    let identity = peer.shown.get()?;
    Some(Shown {
        subject: &identity.subject,
        names: &identity.names,
        fingerprint: &identity.fingerprint,
    })
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
