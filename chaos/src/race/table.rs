//! Owns who races, in what, and what must come of it: the scenarios and thresholds of the project's plan that sockets can show.

use std::time::Duration;

use crate::servers;
use crate::setup::{Choice, Wants, Who};

/// Where a contender races.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Races {
    Everywhere,
    /// Only where policies are compared with each other: it is neither its balancer's default nor the best of its policies there.
    Compared,
    /// Everywhere but where a core has room for the servers of one: another of its balancer's stands for it.
    Roomy,
}

/// One balancer with one of its policies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    pub(crate) who: Who,
    pub(crate) name: &'static str,
    pub(crate) choice: Choice,
    pub(crate) races: Races,
}

/// A balancer as it is by itself.
const fn usual(who: Who, name: &'static str, policy: &'static str) -> Contender {
    let choice = Choice {
        policy,
        plain: true,
        workers: 2,
    };
    Contender {
        who,
        name,
        choice,
        races: Races::Everywhere,
    }
}

/// One with another policy and what its documentation has beside it.
const fn other(who: Who, name: &'static str, policy: &'static str, races: Races) -> Contender {
    let choice = Choice {
        policy,
        plain: false,
        workers: 2,
    };
    Contender {
        who,
        name,
        choice,
        races,
    }
}

/// Envoy has this one among its extensions alone.
const FULL_SCAN: &str = "load_balancing_policy: { policies: [ { typed_extension_config: { name: envoy.load_balancing_policies.least_request, \
     typed_config: { \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest, \
     selection_method: FULL_SCAN } } } ] }";

/// The one that is judged.
pub(crate) const OURS: &str = "adaptive (default)";

/// The same with one worker, where that is the question.
pub(crate) const ALONE: Contender = Contender {
    choice: Choice {
        policy: "adaptive",
        plain: true,
        workers: 1,
    },
    name: "adaptive, 1 worker",
    who: Who::Evenkeel,
    races: Races::Everywhere,
};

/// Each at its default, then what its documentation has beside it.
pub(crate) const CONTENDERS: &[Contender] = &[
    usual(Who::Evenkeel, OURS, "adaptive"),
    usual(Who::Haproxy, "roundrobin (default)", "roundrobin"),
    other(Who::Haproxy, "leastconn", "leastconn", Races::Everywhere),
    other(Who::Haproxy, "random(2)", "random(2)", Races::Roomy),
    usual(Who::Nginx, "round robin (default)", ""),
    other(Who::Nginx, "least_conn", "least_conn;", Races::Everywhere),
    other(
        Who::Nginx,
        "random two least_conn",
        "random two least_conn;",
        Races::Roomy,
    ),
    usual(
        Who::Envoy,
        "ROUND_ROBIN (default)",
        "lb_policy: ROUND_ROBIN",
    ),
    other(
        Who::Envoy,
        "LEAST_REQUEST",
        "lb_policy: LEAST_REQUEST",
        Races::Everywhere,
    ),
    other(
        Who::Envoy,
        "LEAST_REQUEST, full scan",
        FULL_SCAN,
        Races::Compared,
    ),
    usual(Who::Caddy, "random (default)", "random"),
    other(Who::Caddy, "least_conn", "least_conn", Races::Everywhere),
    other(Who::Caddy, "round_robin", "round_robin", Races::Compared),
    usual(Who::Sozu, "ROUND_ROBIN (default)", "ROUND_ROBIN"),
    other(Who::Sozu, "LEAST_LOADED", "LEAST_LOADED", Races::Everywhere),
    other(Who::Sozu, "POWER_OF_TWO", "POWER_OF_TWO", Races::Compared),
    usual(Who::Pingora, "RoundRobin", "round_robin"),
    other(Who::Pingora, "Random", "random", Races::Compared),
];

/// Peers that choose in turn or by chance, whatever servers are like.
pub(crate) const BLIND: &[&str] = &[
    "roundrobin (default)",
    "round robin (default)",
    "ROUND_ROBIN (default)",
    "random (default)",
    "round_robin",
    "RoundRobin",
    "Random",
];

/// Peers that compare two servers drawn at random.
pub(crate) const OF_TWO: &[&str] = &[
    "random(2)",
    "random two least_conn",
    "LEAST_REQUEST",
    "POWER_OF_TWO",
];

/// What of a row is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    P99,
    P999,
}

/// What must hold of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// At most so many times the least of these; of all where none is named.
    Times(f64, Measure, &'static [&'static str]),
    /// At most this share of requests fails.
    Failed(f64),
    /// What the scenario watches beside is at most this.
    Watched(f64),
    /// Two workers have at most so many times the p99 of one.
    Workers(f64),
}

/// What is looked at beside latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Nothing,
    /// Seconds until the silent server is asked less than 1 % of all over a second.
    Isolated,
    /// Seconds from the end of the first stall until its server is asked half of an equal share over a second.
    Fair,
    /// The most that those who came back have under way over a second, in means of the others.
    InFlight,
}

impl Watch {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Isolated => "isolated after s",
            Self::Fair => "fair share after s",
            Self::InFlight => "most in flight, x mean",
        }
    }
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) does: &'static str,
    /// Whether servers compute, all of a contender on one core, rather than wait.
    pub(crate) computes: bool,
    /// Servers of half speed.
    pub(crate) slow: usize,
    pub(crate) neighbours: bool,
    /// Arriving work as a share of what servers can do.
    pub(crate) load: f64,
    pub(crate) wants: Wants,
    /// Milliseconds from the end of the warm-up, and a line to the servers' control line.
    pub(crate) acts: &'static [(u64, &'static str)],
    pub(crate) watch: Watch,
    /// Seconds that count; in a quick run at most a third.
    pub(crate) lasts: u64,
    pub(crate) quick: u64,
    /// Whether one worker races, too.
    pub(crate) alone: bool,
    /// Whether all policies of each peer race.
    pub(crate) compares: bool,
    pub(crate) targets: &'static [Target],
}

impl Scenario {
    /// Peers are judged here, so that each has as many runs as ours.
    pub(crate) fn every_heat(&self) -> bool {
        let mut targets = self.targets.iter();
        targets.any(|target| matches!(target, Target::Times(..)))
    }

    pub(crate) fn servers(&self) -> usize {
        if self.computes {
            SERVERS_OF_A_CORE
        } else {
            SERVERS
        }
    }

    pub(crate) fn mean(&self) -> Duration {
        if self.computes { MEAN_COMPUTED } else { MEAN }
    }

    /// Requests in a second that make its load.
    pub(crate) fn rate(&self) -> f64 {
        let (slow, mean) = (self.slow as f64, self.mean().as_secs_f64());
        let full = (self.servers() - self.slow) as f64;
        if self.computes {
            // One core, whoever asks for it; the load is that of all servers asked alike.
            let each = mean * (full + slow / servers::SLOW) / (full + slow);
            return self.load / each;
        }
        let full = full + slow * servers::SLOW;
        let idle = servers::IDLE / (servers::IDLE + servers::BUSY);
        let speed = match self.neighbours {
            true => idle + (1.0 - idle) * servers::DISTURBED,
            false => 1.0,
        };
        full * speed * servers::SLOTS as f64 / mean * self.load
    }
}

/// Servers of each contender.
pub(crate) const SERVERS: usize = 20;

/// Where they share a core: so few that its kernel need not choose among many, so many that there is a choice.
const SERVERS_OF_A_CORE: usize = 4;

/// Work of an exchange on a server of full speed, on average: so much that no balancer is what limits, at rates that show a tail; and where it is
/// computed, in steps of a millisecond.
const MEAN: Duration = Duration::from_millis(40);
const MEAN_COMPUTED: Duration = Duration::from_millis(1);

/// All are checked each second, those that can be.
const CHECKED: Wants = Wants {
    checks: true,
    ..Wants::NONE
};
const PER_TRY: Wants = Wants {
    per_try: true,
    ..CHECKED
};

const PLAIN: Scenario = Scenario {
    name: "",
    does: "",
    computes: false,
    slow: 0,
    neighbours: false,
    load: 0.7,
    wants: CHECKED,
    acts: &[],
    watch: Watch::Nothing,
    lasts: 30,
    quick: 8,
    alone: false,
    compares: false,
    targets: &[],
};

const FIRST_TEN_REFUSE: [(u64, &str); 22] = [
    (0, "refuse 19"),
    (3_000, "listen 19"),
    (12_000, "refuse 0"),
    (12_000, "refuse 1"),
    (12_000, "refuse 2"),
    (12_000, "refuse 3"),
    (12_000, "refuse 4"),
    (12_000, "refuse 5"),
    (12_000, "refuse 6"),
    (12_000, "refuse 7"),
    (12_000, "refuse 8"),
    (12_000, "refuse 9"),
    (15_000, "listen 0"),
    (15_000, "listen 1"),
    (15_000, "listen 2"),
    (15_000, "listen 3"),
    (15_000, "listen 4"),
    (15_000, "listen 5"),
    (15_000, "listen 6"),
    (15_000, "listen 7"),
    (15_000, "listen 8"),
    (15_000, "listen 9"),
];

/// All of them, by their numbers in the plan.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "1-even",
        does: "equal servers, load .9",
        load: 0.9,
        compares: true,
        lasts: 12,
        targets: &[
            Target::Times(0.70, Measure::P99, BLIND),
            Target::Times(0.95, Measure::P99, OF_TWO),
            Target::Times(1.02, Measure::P99, &[]),
        ],
        ..PLAIN
    },
    Scenario {
        name: "2-uneven",
        does: "six of twenty servers of half speed; neighbours take 70 % of a server's speed for 1 s every 5 s on average; load .7; 5: two workers against one",
        slow: 6,
        neighbours: true,
        alone: true,
        compares: true,
        lasts: 25,
        targets: &[
            Target::Times(0.10, Measure::P99, BLIND),
            Target::Times(0.70, Measure::P99, OF_TWO),
            Target::Workers(1.10),
        ],
        ..PLAIN
    },
    Scenario {
        name: "3-uneven-busy",
        does: "the same, load .9",
        slow: 6,
        neighbours: true,
        load: 0.9,
        compares: true,
        lasts: 15,
        targets: &[
            Target::Times(0.65, Measure::P99, OF_TWO),
            Target::Failed(0.0),
        ],
        ..PLAIN
    },
    Scenario {
        name: "2-uneven-computed",
        does: "the honesty check: four servers that compute, on one core that is theirs; two need twice as many steps for the same request; load .8 if all are asked alike",
        computes: true,
        slow: 2,
        load: 0.8,
        lasts: 6,
        quick: 3,
        targets: &[
            // Where the machine is the limit a policy wins little. What is asked is that it loses nothing, either.
            Target::Times(1.10, Measure::P99, &[]),
            Target::Failed(0.0),
        ],
        ..PLAIN
    },
    Scenario {
        name: "7-sinkhole",
        does: "two of twenty servers answer 500 at once, checks find them well; nothing is tried again",
        wants: Wants {
            once: true,
            ..CHECKED
        },
        acts: &[(0, "errors 18"), (0, "errors 19")],
        lasts: 10,
        targets: &[Target::Failed(0.005)],
        ..PLAIN
    },
    Scenario {
        name: "7-sinkhole-again",
        does: "the same; 500 is tried elsewhere",
        wants: Wants {
            retry_500: true,
            ..CHECKED
        },
        acts: &[(0, "errors 18"), (0, "errors 19")],
        lasts: 10,
        targets: &[Target::Failed(0.0001)],
        ..PLAIN
    },
    Scenario {
        name: "8-blackhole",
        does: "one of twenty servers takes requests and says nothing, to checks neither; an attempt has 1 s",
        wants: PER_TRY,
        acts: &[(0, "silent 19")],
        watch: Watch::Isolated,
        lasts: 10,
        targets: &[Target::Watched(2.0)],
        ..PLAIN
    },
    Scenario {
        name: "9-stall",
        does: "one of twenty servers stands still for 5 s every 30 s; an attempt has 1 s",
        wants: PER_TRY,
        acts: &[(0, "stand 19 5000")],
        watch: Watch::Fair,
        lasts: 30,
        quick: 16,
        targets: &[
            Target::Times(0.5, Measure::P999, BLIND),
            Target::Watched(5.0),
        ],
        ..PLAIN
    },
    Scenario {
        name: "10-restart",
        does: "one server ends softly and is back after 3 s; 12 s later ten of them do; load .4",
        load: 0.4,
        wants: PER_TRY,
        acts: &FIRST_TEN_REFUSE,
        watch: Watch::InFlight,
        lasts: 26,
        quick: 24,
        targets: &[Target::Failed(0.0), Target::Watched(2.0)],
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_make_the_load_that_is_said() {
        let check = |name: &str, wanted: f64| {
            let scenario = SCENARIOS.iter().find(|one| one.name == name).unwrap();
            let rate = scenario.rate();
            assert!((rate - wanted).abs() < 0.5, "{name}: {rate}");
        };
        // Eighty slots of 40 ms.
        check("1-even", 0.9 * 2_000.0);
        // Seventeen servers' worth, a fifth of the time at three tenths.
        check("2-uneven", 0.7 * 1_700.0 * 0.86);
        // Asked alike a request takes 1.5 ms of the core.
        check("2-uneven-computed", 0.8 / 0.0015);
    }
}
