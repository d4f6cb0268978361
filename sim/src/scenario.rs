//! Owns what a world is like: servers, demand, load, faults. Plain data with a name; nothing runs here.

use std::time::Duration;

use evenkeel_balance::hedge::HedgeSettings;
use evenkeel_balance::settings::{AdaptiveLimit, Overprovision};
use evenkeel_balance::time::Instant;

/// How much work an exchange is, in seconds on a server of speed 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Demand {
    /// Exponential with this mean: the M of M/M/1.
    Exponential(f64),
    /// Always this.
    Fixed(f64),
    /// `mean x .92 (1 + N(0, 1))`, at least a hundredth of the mean: the distribution of the Prequal paper.
    Paper(f64),
    /// One in fifty takes 25 times the mean, the others about half of it.
    Tailed(f64),
}

impl Demand {
    /// Its mean, by which load is measured.
    #[must_use]
    pub const fn mean(self) -> f64 {
        match self {
            Self::Exponential(mean)
            | Self::Fixed(mean)
            | Self::Paper(mean)
            | Self::Tailed(mean) => mean,
        }
    }
}

/// What goes wrong on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connections are refused; what was in flight is reset.
    Kill,
    /// Whatever arrives is never answered.
    BlackHole,
    /// Every request fails after half a millisecond.
    FastErrors,
    /// Nothing moves for so long.
    Stall(Duration),
    /// What was in flight is reset; then it is as new.
    Restart,
    /// It works at so many percent of its speed from now on.
    Pace(u32),
    /// Whatever was wrong is over.
    Back,
}

/// A fault and when it strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strike {
    /// When, after the start of the world.
    pub at: Duration,
    /// The servers from 0 up to this share of all.
    pub share: f64,
    /// What goes wrong.
    pub fault: Fault,
}

/// What a server says of its load that is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Zeros.
    Zero,
    /// No numbers.
    NoNumber,
    /// Nothing any more.
    Silent,
    /// That it has next to nothing to do, whatever it has.
    Idle,
    /// That it can do no more, whatever it has.
    Full,
}

/// Servers that lie, those behind all others, and from when on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lying {
    /// After the start of the world.
    pub from: Duration,
    /// This share of all; one at least.
    pub share: f64,
    /// What they say.
    pub lie: Lie,
}

/// Where a server stands: its tier, and its zone where there are any.
pub type Part = (u16, Option<usize>);

/// A world to try a policy in.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub about: &'static str,
    /// Servers; each is a backend.
    pub servers: usize,
    /// Exchanges that a server works on at once; the rest waits in order of arrival.
    pub slots: usize,
    /// None: who comes beyond the slots waits. Else a server works on all at once, each in its part of the whole, and for each time that the
    /// slots are exceeded so much of a whole is lost: switching, locks, caches.
    pub crowding: Option<f64>,
    /// Work of an exchange, one per route; routes are as likely as each other.
    pub routes: Vec<Demand>,
    /// This share of the servers is slower than the rest.
    pub slow_share: f64,
    /// How fast those are; the rest has speed 1.
    pub slow_speed: f64,
    /// Neighbours take 70 % of a server's speed for 1 s every 5 s on average.
    pub antagonists: bool,
    /// This share of all exchanges fails after its work was done, on every server alike.
    pub errors: f64,
    /// Time from the balancer to a server, and back again.
    pub network: Duration,
    /// Independent balancers in front of the same servers.
    pub instances: usize,
    /// Arriving work as a share of what the servers can do, antagonists and slow ones taken into account.
    pub load: f64,
    /// Exchanges that arrive; the first fifth is warm-up and not counted.
    pub exchanges: usize,
    /// An attempt without an answer for so long has failed.
    pub deadline: Option<Duration>,
    /// Faults.
    pub strikes: Vec<Strike>,
    /// Whether answers say how much of what it can do their server did in the last second, and how many it answered.
    pub reports: bool,
    /// Whose answers say something else.
    pub lying: Option<Lying>,
    /// Whether failed attempts are made again, within the budget.
    pub retries: bool,
    /// Whether the breaker is on.
    pub breaker: bool,
    /// Whether each server has a limit that follows its latency.
    pub limit: Option<AdaptiveLimit>,
    /// Whether a slow attempt gets another beside it.
    pub hedge: Option<HedgeSettings>,
    /// This share of the servers, the last of them, is of the second tier.
    pub behind: f64,
    /// What a tier, or a zone, is taken to carry.
    pub overprovision: Overprovision,
    /// So many zones, each with its part of the servers, in a row; balancers stand in them by turns, and prefer their own. 0: there are none.
    pub zones: usize,
    /// What a server of another zone is farther away than one of the balancer's own, and back again.
    pub across: Duration,
}

impl Scenario {
    /// Twenty equal servers, demand of 20 ms, one balancer, no faults, retries and breaker off.
    #[must_use]
    pub fn plain(name: &'static str, about: &'static str, load: f64) -> Self {
        Self {
            name,
            about,
            servers: 20,
            slots: 4,
            crowding: None,
            routes: vec![Demand::Paper(0.02)],
            slow_share: 0.0,
            slow_speed: 0.5,
            antagonists: false,
            errors: 0.0,
            network: Duration::from_micros(250),
            instances: 1,
            load,
            exchanges: 60_000,
            deadline: Some(Duration::from_secs(5)),
            strikes: Vec::new(),
            reports: false,
            lying: None,
            retries: false,
            breaker: false,
            limit: None,
            hedge: None,
            behind: 0.0,
            overprovision: Overprovision::DEFAULT,
            zones: 0,
            across: Duration::ZERO,
        }
    }

    /// The same with a third of the servers slow and neighbours on all of them.
    #[must_use]
    pub fn uneven(self) -> Self {
        Self {
            slow_share: 0.3,
            antagonists: true,
            ..self
        }
    }

    /// The same with a fault.
    #[must_use]
    pub fn strike(mut self, at: Duration, share: f64, fault: Fault) -> Self {
        self.strikes.push(Strike { at, share, fault });
        self
    }

    /// What this server says that is not so, if anything.
    #[must_use]
    pub fn lie_of(&self, server: usize, now: Instant) -> Option<Lie> {
        let lying = self.lying?;
        let honest = self.servers - self.servers_of(lying.share).max(1);
        (server >= honest && now >= Instant::ZERO + lying.from).then_some(lying.lie)
    }

    /// Where a server stands; those of one part stand beside each other.
    #[must_use]
    pub fn part_of(&self, server: usize) -> Part {
        let tier = u16::from(server >= self.servers_of(1.0 - self.behind));
        let zone = (self.zones > 0).then(|| server * self.zones / self.servers);
        (tier, zone)
    }

    /// The zone of a balancer.
    #[must_use]
    pub fn zone_of(&self, instance: usize) -> Option<usize> {
        (self.zones > 0).then(|| instance % self.zones)
    }

    /// Whether a pick there is one behind the first tier, or out of the balancer's zone.
    #[must_use]
    pub fn spills(&self, instance: usize, server: usize) -> bool {
        let (tier, zone) = self.part_of(server);
        tier > 0 || zone != self.zone_of(instance)
    }

    /// The time from a balancer to a server, and back again.
    #[must_use]
    pub fn way(&self, instance: usize, server: usize) -> Duration {
        match self.part_of(server).1 == self.zone_of(instance) {
            true => self.network,
            false => self.network + self.across,
        }
    }

    /// How many servers a share means.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a small count"
    )]
    pub fn servers_of(&self, share: f64) -> usize {
        (self.servers as f64 * share).round() as usize
    }

    /// All scenarios of the table.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Self::in_peace()
            .into_iter()
            .chain([Self::reported()])
            .chain(Self::with_faults())
            .chain([Self::tiers(), Self::tiers_back(), Self::zones()])
            .collect()
    }

    fn in_peace() -> Vec<Self> {
        let eight = |scenario: Self| Self {
            instances: 8,
            ..scenario
        };
        vec![
            Self::plain("even-90", "equal servers, load .9", 0.9),
            Self::plain(
                "uneven-70",
                "30 % slow servers and antagonists, load .7",
                0.7,
            )
            .uneven(),
            Self::plain(
                "uneven-90",
                "30 % slow servers and antagonists, load .9",
                0.9,
            )
            .uneven(),
            Self::mixed(),
            eight(Self::plain(
                "even-90-by-8",
                "equal servers, load .9, eight independent balancers",
                0.9,
            )),
            eight(
                Self::plain(
                    "uneven-90-by-8",
                    "uneven servers, load .9, eight independent balancers",
                    0.9,
                )
                .uneven(),
            ),
            Self {
                servers: 100,
                exchanges: 150_000,
                ..Self::plain("uneven-70-of-100", "100 uneven servers, load .7", 0.7).uneven()
            },
            Self {
                errors: 0.05,
                ..Self::plain(
                    "errors-90",
                    "equal servers that all fail 5 % of the exchanges, load .9",
                    0.9,
                )
            },
            Self {
                slow_share: 0.95,
                slow_speed: 0.9,
                routes: vec![Demand::Fixed(0.02)],
                ..Self::plain(
                    "idle-02",
                    "one server is 10 % faster, always, load .02",
                    0.02,
                )
            },
        ]
    }

    /// Half of the servers has half of the speed, and each says how much it has to do; sixteen balancers send to them, each of which sees
    /// a sixteenth of what is in flight. Long enough for what is reported to count.
    #[must_use]
    pub fn reported() -> Self {
        Self {
            slow_share: 0.5,
            slots: 8,
            instances: 16,
            reports: true,
            exchanges: 300_000,
            ..Self::plain(
                "reported-70-by-16",
                "half of the servers is slow, all report their load, load .7, sixteen independent balancers",
                0.7,
            )
        }
    }

    fn with_faults() -> Vec<Self> {
        // The warm-up is over by then.
        let soon = Duration::from_secs(8);
        let stall = Fault::Stall(Duration::from_secs(5));
        let at_70 = |name, about| Self::plain(name, about, 0.7);
        let careful = |scenario: Self| Self {
            retries: true,
            breaker: true,
            ..scenario
        };
        let silent = at_70(
            "black-hole-70",
            "two servers fall silent, load .7, breaker, retries, 1 s per try",
        );
        vec![
            at_70(
                "sinkhole-70",
                "10 % of the servers fail in 0.5 ms, load .7, no retries, no breaker",
            )
            .strike(Duration::ZERO, 0.1, Fault::FastErrors),
            Self {
                slots: 40,
                exchanges: 200_000,
                ..Self::plain(
                    "deep-sinkhole-35",
                    "half of the servers fail in 0.5 ms, the rest works on 40 at once, load .35, no retries, no breaker",
                    0.35,
                )
            }
            .strike(Duration::ZERO, 0.5, Fault::FastErrors),
            Self {
                servers: 200,
                exchanges: 150_000,
                ..Self::plain(
                    "sinkhole-35-of-200",
                    "the first half of 200 servers fails in 0.5 ms, load .35, no retries, no breaker",
                    0.35,
                )
            }
            .strike(Duration::ZERO, 0.5, Fault::FastErrors),
            at_70("restart-70", "one server restarts, load .7").strike(soon, 0.05, Fault::Restart),
            at_70("stall-70", "one server stalls for 5 s, load .7").strike(soon, 0.05, stall),
            careful(
                at_70(
                    "kill-70",
                    "two servers are killed, load .7, breaker and retries",
                )
                .strike(soon, 0.1, Fault::Kill),
            ),
            careful(
                Self {
                    deadline: Some(Duration::from_secs(1)),
                    ..silent
                }
                .strike(soon, 0.1, Fault::BlackHole),
            ),
        ]
    }

    /// Two tiers of ten, of which the first has work for six. Five of that are killed: alone, the rest would be asked for more than it can do.
    #[must_use]
    pub fn tiers() -> Self {
        Self {
            behind: 0.5,
            retries: true,
            breaker: true,
            ..Self::plain(
                "tiers-60",
                "half of the first of two tiers is killed, load .6 of that tier, breaker and retries",
                0.3,
            )
        }
        .strike(Duration::from_secs(8), 0.25, Fault::Kill)
    }

    /// Two such tiers, of which the first is lost altogether, and comes back.
    #[must_use]
    pub fn tiers_back() -> Self {
        Self {
            name: "tiers-60-back",
            about: "the first of two tiers is killed and comes back after 10 s, load .6 of that tier, breaker and retries",
            strikes: Vec::new(),
            ..Self::tiers()
        }
        .strike(Duration::from_secs(12), 0.5, Fault::Kill)
        .strike(Duration::from_secs(22), 0.5, Fault::Back)
    }

    /// Two zones of ten, each with a balancer to which half of the clients come: work for six. Five of the first are killed: alone, the rest
    /// would be asked for more than it can do.
    #[must_use]
    pub fn zones() -> Self {
        Self {
            zones: 2,
            instances: 2,
            across: Duration::from_millis(5),
            retries: true,
            breaker: true,
            ..Self::plain(
                "zones-60-by-2",
                "half of one of two zones is killed, 5 ms apart, half of the clients and a balancer in each, load .6, breaker and retries",
                0.6,
            )
        }
        .strike(Duration::from_secs(8), 0.25, Fault::Kill)
    }

    /// Two routes, one a hundred times as expensive as the other, mixed at random over equal servers.
    #[must_use]
    pub fn mixed() -> Self {
        let routes = vec![Demand::Paper(0.005), Demand::Paper(0.5)];
        let deadline = None;
        Self {
            routes,
            deadline,
            exchanges: 200_000,
            ..Self::plain(
                "mixed-70",
                "routes of 5 ms and 500 ms at random, load .7",
                0.7,
            )
        }
    }

    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all()
            .into_iter()
            .find(|scenario| scenario.name == name)
    }
}
