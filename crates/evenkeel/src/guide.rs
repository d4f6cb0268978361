//! Owns nothing: how the library is used, one chapter for each use, with examples that are tests.
//!
//! | you want to | chapter |
//! |---|---|
//! | know which backend gets a call, and tell how it went | [Pick by hand](#pick-by-hand) |
//! | have a call made again elsewhere when it fails | [Run an exchange](#run-an-exchange) |
//! | not wait for one backend that pauses | [Outrun the slow](#outrun-the-slow) |
//! | choose among some of the backends, by labels or a list | [Choose among some](#choose-among-some) |
//! | keep a client where it was | [Keep clients](#keep-clients) |
//! | let only so many pass | [Limit rates](#limit-rates) |
//! | know who is well | [Check health](#check-health) |
//! | wait instead of being refused | [Wait for room](#wait-for-room) |
//! | see numbers | [Read statistics](#read-statistics) |
//! | know how it does over time, what is wrong and what to do, and have shares follow that | [Watch it](#watch-it) |
//! | hear what happens | [Listen](#listen) |
//! | change things while it runs | [Change it](#change-it) |
//! | have backends say how much they have to do | [Go by load](#go-by-load) |
//! | put it below a stack of tower layers | [Use tower](#use-tower) |
//! | decide otherwise than we do | [Write a policy](#write-a-policy) |
//! | run it without tokio | [Without a runtime](#without-a-runtime) |
//! | know what a drop or a cancelled future does | [Drop and cancel](#drop-and-cancel) |
//! | know what a call costs, and what holds | [Costs](#costs), [Guarantees](#guarantees) |
//! | keep up with new versions | [What may change](#what-may-change) |
//!
//! Examples that run: `choose`, `healthy`, `hyper_client`, `webhook` (a dispatcher that delivers a queue), `nearest` (a policy), `reporting` (backends that say their load).
//! Who comes from another system finds each of its methods in `docs/coverage-systems.md`.
//!
//! # Pick by hand
//! A pick is one attempt's right to one backend. Choosing and counting are one step; whatever happens to the pick, its charge
//! is given back. Say [`answered`](crate::Pick::answered) when the response head comes: that is where latency is measured.
//!
//! ```
//! use evenkeel::{Fault, LoadBalancer, Outcome, ServiceSettings, Verdict};
//!
//! let balancer = LoadBalancer::new();
//! balancer.register("api", ServiceSettings::default(), ["10.0.0.1:80", "10.0.0.2:80"])?;
//!
//! let mut pick = balancer.select("api")?;
//! pick.answered(Verdict::Success);
//! pick.finish(Outcome::Completed);
//!
//! balancer.select("api")?.failed(Fault::Connect); // in short: it failed
//! drop(balancer.select("api")?); // nothing came of it: given back, held against nobody
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! The answer goes on as a body? [`Pick::follow`] ties the charge to it: to its last byte the backend has
//! something to do. On a hot path take a [`ServiceHandle`] once and spare the look-up by name.
//!
//! # Run an exchange
//! [`exchange`](crate::ServiceHandle::exchange) picks, calls you with the target, and does it again on another backend where the
//! service's [`retry`](crate::ServiceSettings) settings and budget allow it. What your error says of the backend is yours to say
//! ([`Failed`]); [`Failure`] wraps errors of somebody else's.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use evenkeel::{Exchange, Failure, LoadBalancer, ServiceSettings};
//! use std::time::Duration;
//! use tokio::net::TcpStream;
//!
//! let balancer = LoadBalancer::new();
//! balancer.register("api", ServiceSettings::default(), ["127.0.0.1:1", "127.0.0.1:2"])?;
//! let terms = Exchange::new()
//!     .idempotent() // may be sent twice; without it only what was not sent is sent again
//!     .per_try(Duration::from_secs(1))
//!     .deadline(Duration::from_secs(5));
//! // A bare io::Error may be of a request that was sent; one of connecting is not.
//! let connect = async |id: &str| TcpStream::connect(id).await.map_err(Failure::connecting);
//! let connected = balancer
//!     .exchange("api", &terms, async |to| connect(to.id.as_str()).await)
//!     .await;
//! let error = connected.expect_err("nobody listens there");
//! assert!(error.attempts >= 2);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Safety comes before settings: what was sent and must not be done twice is not sent again. The first retry goes to another
//! backend at once; later waits double, drawn by chance, up to `backoff_max`; a backend that asks for a rest gets it. A budget of
//! a fifth of the requests and three a second bounds what an outage is asked ([`balance::retry`]).
//!
//! # Outrun the slow
//! Most of a tail is a pause of one backend. Where the settings have a [`hedge`](crate::ServiceSettings), an exchange that is
//! idempotent and later than usual gets a second attempt beside the first, on another backend; the first good result counts, and who
//! was outrun is taken for slow, not for broken. What is usual is measured (`p95` of the answers of a class), or a time is given. Few
//! exchanges have one: 2 % unless said otherwise, within the budget of retries, and none while the service is crowded.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
//! use evenkeel::{Exchange, Fault, HedgeAt, HedgeSettings, LoadBalancer, PolicyChoice, ServiceSettings};
//! use std::time::Duration;
//!
//! let balancer = LoadBalancer::new();
//! let late = HedgeAt::After(Duration::from_millis(50)); // or HedgeAt::Quantile
//! let settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin)
//!     .hedge(HedgeSettings::at(late).most_permille(100));
//! balancer.register("api", settings, ["a:80", "b:80"])?;
//! let service = balancer.service("api").expect("it was registered");
//! let terms = Exchange::new().idempotent();
//! let answer = async |pause| {
//!     let attempt = async |to: evenkeel::Target| {
//!         let pause = if to.attempt == 1 { pause } else { 0 };
//!         tokio::time::sleep(Duration::from_millis(pause)).await;
//!         Ok::<_, Fault>(to.id.to_string())
//!     };
//!     service.exchange(&terms, attempt).await
//! };
//! for _ in 0..20 {
//!     answer(0).await?; // a tenth of them pays for two
//! }
//! tokio::time::sleep(Duration::from_millis(200)).await; // the tick that counts them
//! assert_eq!(answer(60_000).await?, "b:80"); // a:80 pauses for a minute
//! assert_eq!(service.stats().requests.failed, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Choose among some
//! By a list of the caller's, or by labels that the library keeps and never reads:
//!
//! ```
//! use evenkeel::{Ask, BackendId, BackendSpec, LoadBalancer, ServiceSettings};
//!
//! let balancer = LoadBalancer::new();
//! let gpu = BackendSpec::new("a:80").label("gpu", "yes");
//! balancer.register("jobs", ServiceSettings::default(), [gpu, BackendSpec::new("b:80")])?;
//! let jobs = balancer.service("jobs").expect("it was registered");
//!
//! let listed = [BackendId::from("b:80"), BackendId::from("a stranger is passed over")];
//! assert_eq!(jobs.select_with(&Ask::new().subset(&listed))?.id().as_str(), "b:80");
//!
//! let with_gpu = jobs.backends_where(|spec| spec.labels.contains_key("gpu"));
//! assert_eq!(jobs.select_with(&Ask::new().subset(&with_gpu))?.id().as_str(), "a:80");
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! # Tiers, and who is near
//! Backends of a [`tier`](crate::BackendSpec::tier) behind the first serve what those before cannot carry: a tier is taken to carry 1.4
//! times its healthy weight (`overprovision`), and who finds all of it full, or tried, goes to the next one. With `zones` in the settings those of the preferred
//! [`zone`](crate::BackendSpec::zone) come first, as far as they carry it: the program's own zone, or that of the client, by name
//! ([`Ask::zone`](crate::Ask::zone)) or by its address ([`Regions`]).
//!
//! ```
//! use evenkeel::{BackendSpec, LoadBalancer, ServiceSettings, Zone, ZoneSettings};
//!
//! let balancer = LoadBalancer::new();
//! let zones = ZoneSettings::default().local(Zone::from("eu"));
//! let settings = ServiceSettings::default().zones(zones);
//! let near = BackendSpec::new("a:80").zone("eu").max_in_flight(1);
//! let far = BackendSpec::new("b:80").zone("us").max_in_flight(1);
//! let last = BackendSpec::new("c:80").tier(1);
//! balancer.register("api", settings, [far, near, last])?;
//! let picks = [balancer.select("api")?, balancer.select("api")?, balancer.select("api")?];
//! assert_eq!(picks.each_ref().map(|pick| pick.id().to_string()), ["a:80", "b:80", "c:80"]);
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! # Keep clients
//! A hash policy keeps a client where it is by its key alone, in every instance alike, with nothing to remember; a backend that
//! comes or goes moves few others.
//!
//! ```
//! use evenkeel::{Ask, LoadBalancer, PolicyChoice, ServiceSettings, balance::settings::HashMethod};
//!
//! let balancer = LoadBalancer::new();
//! let settings = ServiceSettings::with_policy(PolicyChoice::Hash(HashMethod::Maglev));
//! balancer.register("api", settings, ["a:80", "b:80", "c:80"])?;
//! let first = balancer.select_with("api", &Ask::new().key("user 7"))?;
//! let again = balancer.select_with("api", &Ask::new().key("user 7"))?;
//! assert_eq!(first.id(), again.id());
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! Or by a table of clients, bounded and forgetting, with any policy: [`keep_clients`](crate::ServiceHandle::keep_clients), then
//! [`select_for`](crate::ServiceHandle::select_for) a client. A client moves when its backend may not be picked, once, and stays there.
//!
//! # Limit rates
//! [`balance::rate`] has token buckets by key, exact over all threads: a bounded table, made once, in which a key that is known costs one
//! exchange of a word. Time is an argument, and so is the secret that keeps strangers from making up keys that share a bucket.
//!
//! ```
//! use evenkeel::balance::rate::{Limit, RateSettings, Secret, Together};
//! use evenkeel::balance::time::Instant;
//! use std::num::{NonZeroU32, NonZeroUsize};
//! use std::time::Duration;
//!
//! let number = |number| NonZeroU32::new(number).expect("not zero");
//! let a_second = |allow| RateSettings::new(number(allow), Duration::from_secs(1));
//! let chance = [0x5EED, 0x5A17]; // of the system, in a program
//! let clients = Limit::new(a_second(10).burst(number(2)), Secret::new(chance));
//! let all = Limit::new(a_second(1_000).keys(NonZeroUsize::MIN), Secret::new(chance));
//!
//! let ask = |client: &str, now| {
//!     let mut limits = Together::default();
//!     limits.add(&clients, clients.keying().part(Some(client.as_bytes())).key(), false);
//!     limits.add(&all, all.keying().key(), false);
//!     limits.take(now) // a token of each, or of none
//! };
//! let now = Instant::from_nanos(0);
//! assert!(ask("7", now).passes && ask("7", now).passes && ask("8", now).passes);
//! let refused = ask("7", now);
//! assert!(!refused.passes);
//! let said = refused.said().next().expect("of clients");
//! assert_eq!((said.room.left, said.room.next), (0, Duration::from_millis(100)));
//! assert!(ask("7", now + said.room.next).passes);
//! ```
//!
//! # Check health
//! [`spawn_health_checker`](crate::LoadBalancer::spawn_health_checker) asks each backend, at once and then at its interval, by a
//! [`Probe`]: [`TcpProbe`], [`HttpProbe`] with method, path, statuses and body, or your
//! own. It decides where the settings say so (`health: Some(..)`); dropping its owner stops it.
//! [`check_now`](crate::LoadBalancer::check_now) asks by hand, [`mark_health`](crate::LoadBalancer::mark_health) says so by hand.
//! Without checks, live traffic alone ejects who fails: the breaker is on by default.
//!
//! # Wait for room
//! Limits are exact: of a backend ([`max_in_flight`](crate::BackendSpec::max_in_flight)) and of a service. Who finds it full is refused,
//! or waits in a bounded queue, by class, no longer than its time:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use evenkeel::{BackendSpec, LoadBalancer, QueueSettings, ServiceSettings};
//! use std::time::Duration;
//!
//! let balancer = LoadBalancer::new();
//! let settings = ServiceSettings::default().queue(QueueSettings::default());
//! balancer.register("api", settings, [BackendSpec::new("a:80").max_in_flight(1)])?;
//! let service = balancer.service("api").expect("it was registered");
//! let held = service.select()?;
//! assert!(service.select().is_err());
//! let (pick, ()) = tokio::join!(service.acquire(Duration::from_secs(1)), async { held.succeeded() });
//! pick?.succeeded();
//! # Ok::<(), evenkeel::Error>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where nobody knows the limit, [`adaptive_limit`](crate::ServiceSettings::adaptive_limit) finds one for each backend from how long its
//! answers take.
//!
//! # Read statistics
//! [`stats`](crate::ServiceHandle::stats) tells requests from attempts, of the service and of each backend, with success rates and
//! quantiles; [`stats`] defines each number. [`snapshot`](crate::ServiceHandle::snapshot) has standing, reasons, breakers,
//! shares; [`explain`](crate::ServiceHandle::explain) what a pick would do now, and why.
//!
//! ```
//! use evenkeel::{LoadBalancer, ServiceSettings};
//!
//! let balancer = LoadBalancer::new();
//! let settings = ServiceSettings::default().histograms(true);
//! balancer.register("api", settings, ["a:80"])?;
//! balancer.select("api")?.succeeded();
//! let stats = balancer.stats("api").expect("it was registered");
//! assert_eq!((stats.members, stats.healthy, stats.breakers_open), (1, 1, 0));
//! assert_eq!((stats.attempts.picked, stats.success_rate()), (1, Some(1.0)));
//! assert!(stats.backend("a:80").and_then(|backend| backend.quantile(0.99)).is_some());
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! # Watch it
//! A service that is watched knows how it did over ten seconds to a day. [`monitor_performance`](ServiceHandle::monitor_performance) has figures,
//! trends, and how requests were spread; [`monitor_health`](ServiceHandle::monitor_health) who is healthy, degraded or not; both what is wrong
//! (who stands out among peers or beside the past, limits that you set) and what to do about it. With
//! [`adjust`](crate::WatchingSettings::adjust), what backends get follows their latency and success under policies that look at neither: step by
//! step, between a quarter and twice their weight, and back where a step made it worse.
//!
//! ```
//! use evenkeel::watching::watch::{controller::ControllerSettings, overall::Health, series::Span};
//! use evenkeel::{Ask, LoadBalancer, PolicyChoice, ServiceSettings, WatchingSettings};
//!
//! let balancer = LoadBalancer::new();
//! let settings = ServiceSettings::default().policy(PolicyChoice::RoundRobin);
//! balancer.register("api", settings, ["10.0.0.1:80", "10.0.0.2:80"])?;
//! balancer.watch("api", WatchingSettings::default().adjust(ControllerSettings::default()))?;
//!
//! let balanced = balancer.balance("api", &Ask::new())?; // a pick, and the service beside it
//! assert_eq!(balanced.health().health, Health::Healthy);
//! balanced.pick.succeeded();
//! let seen = balancer.monitor_performance("api")?;
//! let p99 = seen.service.over(Span::Hour).and_then(|hour| hour.p99);
//! assert_eq!(p99, None); // no second is over
//! assert!(balancer.adjust("api")?.step.adjustments.is_empty());
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! # Listen
//! [`on`](crate::LoadBalancer::on) and [`once`](crate::LoadBalancer::once) call a function at events of one name, on the thread where it
//! happened, until its [`Subscription`] is dropped; one that panics harms nobody.
//! [`subscribe`](crate::LoadBalancer::subscribe) is the stream, for tasks: bounded, never waited for, losses counted.
//!
//! ```
//! use evenkeel::{EventKind, EventName, LoadBalancer, ServiceSettings};
//!
//! let balancer = LoadBalancer::new();
//! let opened = balancer.on(EventName::BreakerOpened, |event| {
//!     if let EventKind::BreakerOpened { backend, until, .. } = &event.kind {
//!         println!("{backend} is out until {until:?}");
//!     }
//! })?;
//! balancer.register("api", ServiceSettings::default(), ["a:80"])?;
//! opened.off();
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! # Change it
//! Everything changes while picks go on; whoever stays keeps counters, health, breaker and latency.
//!
//! ```
//! use evenkeel::{Admin, LoadBalancer, PolicyChoice, ServiceSettings, Weight};
//!
//! let balancer = LoadBalancer::new();
//! balancer.register("api", ServiceSettings::default(), ["a:80", "b:80"])?;
//! let service = balancer.service("api").expect("it was registered");
//! service.add_backend("c:80")?;
//! service.set_weights([("a:80", Weight::ONE), ("b:80", Weight::ZERO)])?; // both or neither
//! service.set_admin("c:80", Admin::Draining)?;
//! service.update_settings(|settings| settings.policy = PolicyChoice::LeastConnections)?;
//! service.remove_backend("b:80")?;
//! balancer.stop(); // for good; picks in flight end in peace, who waits for one is refused
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! # Go by load
//! With [`PolicyChoice::WeightedByLoad`](crate::PolicyChoice) shares follow what backends say that they can do. Tell it with the
//! answer ([`Pick::report_load`]) or whenever you hear it ([`ServiceHandle::report_load`]). A backend of your own measures itself with a
//! [`LoadMeter`](crate::load::LoadMeter); the example `reporting` has both sides.
//!
//! ```
//! use evenkeel::{LoadBalancer, LoadReport, PolicyChoice, ServiceSettings};
//!
//! let balancer = LoadBalancer::new();
//! let settings = ServiceSettings::with_policy(PolicyChoice::WeightedByLoad);
//! balancer.register("api", settings, ["10.0.0.1:80", "10.0.0.2:80"])?;
//! let service = balancer.service("api").expect("it was registered");
//! // Half of what it can do, at 120 requests a second: weighed from its tenth second on.
//! let report = LoadReport { cpu: Some(0.5), rps: Some(120.0), ..LoadReport::default() };
//! service.report_load("10.0.0.1:80", &report)?;
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! # Use tower
#![cfg_attr(feature = "tower", doc = include_str!("guide/tower.md"))]
//!
//! # Write a policy
//! Implement [`Policy`](crate::balance::policy::Policy) and set [`PolicyChoice::Custom`]. It is shown only backends
//! that may be picked; one that panics, or names another, is replaced by round robin and reported. The example `nearest` is one.
//!
//! ```
//! use evenkeel::balance::{ask::Ask, policy::{Candidates, Policy}};
//! use evenkeel::{LoadBalancer, PolicyChoice, ServiceSettings};
//! use std::sync::Arc;
//!
//! struct First;
//!
//! impl Policy for First {
//!     fn name(&self) -> &str { "first" }
//!     fn choose(&self, view: &Candidates<'_>, _: &Ask<'_>) -> Option<usize> {
//!         view.iter().next()
//!     }
//! }
//!
//! let balancer = LoadBalancer::new();
//! let settings = ServiceSettings::with_policy(PolicyChoice::Custom(Arc::new(First)));
//! balancer.register("api", settings, ["a:80", "b:80"])?;
//! assert_eq!(balancer.select("api")?.id().as_str(), "a:80");
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! # Without a runtime
//! Picks, statistics and listeners need none. What time does (breakers that close, ramps, budgets) needs a tick: a task where tokio
//! is, else yours, ten times a second.
//!
//! ```
//! use evenkeel::{BalancerSettings, LoadBalancer, ServiceSettings};
//!
//! let balancer = LoadBalancer::with_settings(&BalancerSettings::default().tick_by_hand(true));
//! balancer.register("api", ServiceSettings::default(), ["a:80"])?;
//! balancer.tick();
//! # Ok::<(), evenkeel::Error>(())
//! ```
//! A program with a clock of its own, or a simulator, uses [`balance`] itself: time and chance are arguments there.
//!
//! # Drop and cancel
//! Nothing has to be closed. Each future may be dropped at any time:
//!
//! | dropped | does |
//! |---|---|
//! | [`Pick`](crate::Pick) | gives its charge back, counts as abandoned, teaches nothing |
//! | [`Followed`], before the body's end | ends the attempt: its client left; held against nobody |
//! | the future of [`acquire`](crate::ServiceHandle::acquire) | leaves the queue; a turn that it was given meanwhile goes to the next |
//! | the future of [`exchange`](crate::ServiceHandle::exchange), or of a call by tower | drops the attempt, gives charge and retry back, counts the request as left |
//! | the future of [`Events::recv`](crate::Events::recv) | loses no event |
//! | the future of [`check_now`](crate::LoadBalancer::check_now) | checks that have begun end and count; nobody is told of them here |
//! | [`Subscription`](crate::Subscription) | takes the listener off; `forever()` leaves it on |
//! | [`HealthChecker`] | stops the checks, those under way too; `detach()` lets them run |
//! | the last [`LoadBalancer`](crate::LoadBalancer) and [`ServiceHandle`](crate::ServiceHandle) | ends services and ticker; picks go on, and are given back as ever |
//!
//! All of these may be sent to other threads, and all but futures and streams be used by several at once. Listeners, probes, hooks of
//! policies and attempts run under no lock of ours, and may call what they like. Three run under one, and say so:
//! [`choose`](crate::balance::policy::Policy::choose) of a policy, the function given to
//! [`update_settings`](crate::ServiceHandle::update_settings), and `make` of a `tower::Balance`.
//!
//! # Costs
//! | what | costs |
//! |---|---|
//! | a pick and its finish | no lock, no allocation; 124 ns by name by round robin, 179 by `adaptive`, on the machine of `docs/findings.md` |
//! | a pick of a full service that has a queue | a lock and an allocation while it waits |
//! | an exchange | two clock readings, three counters and a histogram's beyond its picks; a timer where a limit of time is set |
//! | a call by tower | a lock that clones share, a clone of the inner service, the future's allocation |
//! | a pick for a kept client | two keyed hashes of its name, and the lock of a sixteenth of the table |
//! | a listener of service events | nothing on the way of a pick |
//! | a listener or stream of exchange events | three events for each pick, while there is one |
//! | a tick | members, ten times a second; of a service at rest, without traffic and with nobody on the way to another standing or weight, none |
//! | [`backend`](crate::ServiceHandle::backend) | a lock that the writer and other looks share, a look-up and a copy, however many members there are |
//! | [`stats`](crate::ServiceHandle::stats), [`snapshot`](crate::ServiceHandle::snapshot) | the same lock, a copy of every member; 4 KiB for each with `histograms` |
//! | `backend_count`, `healthy_count` | the same lock, a look at every member |
//! | a change of members, weights or settings | the same lock, members; picks go on meanwhile by what was published before |
//! | memory | beyond a backend's counters: 4 KiB each with `histograms`, 4 KiB a service from its first exchange on |
//!
//! # Guarantees
//! - In-flight counts are exact under threads, and limits are never passed.
//! - Each attempt is counted once: `picked = finished + abandoned + in_flight`, and as one success or one failure at most, where a body
//!   that breaks is a failure, whatever its head; each request too: `started = succeeded + failed + left
//!   + under_way`.
//! - A pick gives its charge back however it ends: finish, drop, cancellation, panic.
//! - A change is seen whole or not at all; what cannot be changes nothing.
//! - A no says which no it is ([`Refusal`], [`Reason`](crate::balance::retry::Reason)).
//! - Code of yours that panics (a policy, a listener, a probe, an attempt) takes nothing down with it.
//! - Every queue and table has a limit. Nothing is printed or logged.
//!
//! # What may change
//! - Settings, errors and numbers grow: their types are `#[non_exhaustive]`. Settings begin with `default()` and are told by a method for
//!   each field, or by writing to the fields; errors are matched with a `_`.
//! - Closed lists are part of the API: [`EventKind`], [`Refusal`](crate::Refusal), [`Fault`],
//!   [`Verdict`], [`Outcome`], [`PolicyChoice`](crate::PolicyChoice) and the words of standing. A new entry is
//!   a new minor version before 1.0 and a new major one after, so that who maps them all is told by the compiler.
//! - [`balance`] is part of the API: its version is this one's.
//! - Defaults are decided by measurement and may move with a minor version; the changelog says which. What must not move is set.
//! - The feature `tower` adds and changes nothing else. Rust 1.95 is the oldest that builds it, and a newer one asked for is a minor version.
