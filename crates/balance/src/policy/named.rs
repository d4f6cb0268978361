//! Owns the names of policies: what each is called here, what other systems call it, and the policies that a program registers
//! under names of its own.
//!
//! One table for all: configurations, the simulator and programs read it, and say the same of a name that is none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::policy::Policy;
use crate::settings::{HashMethod, LoadBound, PolicyChoice};

/// Names of each policy, ours first. Read without regard to case, and to `-`, `_` and spaces: `RoundRobin`, `round-robin` and
/// `ROUND_ROBIN` are one.
///
/// Where a system's word means something else than elsewhere, it has that system's meaning only if nobody else has it: weighted round
/// robin rotates here, though one of them draws by weight under that name.
static NAMES: [(PolicyChoice, &[&str]); 15] = [
    (PolicyChoice::Adaptive, &["adaptive", "default", "auto"]),
    (PolicyChoice::PeakEwma, &["peak_ewma", "p2c_peak_ewma"]),
    (
        PolicyChoice::LeastTime,
        &[
            "least_time",
            "ewma",
            "response_time",
            "least_response_time",
            "lowest_latency",
            "least_latency",
            "fastest_response",
        ],
    ),
    (
        PolicyChoice::HealthBased,
        &["health_based", "health", "anomaly_mitigation"],
    ),
    (
        PolicyChoice::WeightedByLoad,
        &[
            "weighted_by_load",
            "client_side_weighted_round_robin",
            "orca",
            "orca_wrr",
            "orca_weighted_round_robin",
            "backend_reported_load",
        ],
    ),
    (
        PolicyChoice::LeastConnections,
        &[
            "least_connections",
            "weighted_least_connections",
            "least_outstanding_requests",
            "least_request",
            "least_requests",
            "least_conn",
            "weighted_least_conn",
            "weighted_least_request",
            "least_loaded",
            "fewest_connections",
        ],
    ),
    (
        PolicyChoice::PowerOfTwo,
        &["power_of_two", "power_of_two_choices", "p2c", "random_two"],
    ),
    (
        PolicyChoice::RoundRobin,
        &[
            "round_robin",
            "weighted_round_robin",
            "smooth_weighted_round_robin",
            "static_rr",
            "wrr",
            "rr",
        ],
    ),
    (
        PolicyChoice::Random,
        &["random", "weighted_random", "weighted"],
    ),
    (
        PolicyChoice::Hash(HashMethod::Maglev),
        &[
            "maglev",
            "hash",
            "ip_hash",
            "source",
            "source_hash",
            "source_ip",
            "source_ip_hash",
            "client_ip_hash",
            "consistent_hash",
            "consistent_hashing",
        ],
    ),
    (
        PolicyChoice::Hash(HashMethod::Ring),
        &["ring", "ring_hash", "ketama"],
    ),
    (
        PolicyChoice::Hash(HashMethod::Rendezvous),
        &[
            "rendezvous",
            "rendezvous_hash",
            "hrw",
            "highest_random_weight",
        ],
    ),
    (
        PolicyChoice::Bounded(HashMethod::Maglev, LoadBound::DEFAULT),
        &["maglev_bounded", "bounded_hash", "bounded_load"],
    ),
    (
        PolicyChoice::Bounded(HashMethod::Ring, LoadBound::DEFAULT),
        &["ring_bounded"],
    ),
    (
        PolicyChoice::Bounded(HashMethod::Rendezvous, LoadBound::DEFAULT),
        &["rendezvous_bounded"],
    ),
];

/// No name is longer.
const NAME_MOST: usize = 64;

/// The policy of the core's own with this name, in any spelling of the table. Cost: names times their length.
#[must_use]
pub fn built_in(name: &str) -> Option<PolicyChoice> {
    // Separators may stand between all letters.
    if name.len() > 2 * NAME_MOST {
        return None;
    }
    let known = |names: &&[&str]| names.iter().any(|known| letters(known).eq(letters(name)));
    let found = NAMES.iter().find(|(_, names)| known(names));
    found.map(|(choice, _)| choice.clone())
}

/// Every name that [`built_in`] reads, ours of each policy first.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().flat_map(|(_, names)| names.iter().copied())
}

/// What of a name counts.
fn letters(name: &str) -> impl Iterator<Item = char> {
    let counts = |letter: &char| !matches!(letter, '-' | '_' | ' ');
    name.chars()
        .filter(counts)
        .map(|letter| letter.to_ascii_lowercase())
}

/// Why a name is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It is empty, longer than 64 bytes, or has other characters than `A-Z a-z 0-9 . _ -`.
    NotAName,
    /// It is a name of the core's own.
    BuiltIn,
    /// The program registered another under it.
    Taken,
    /// There are [`Policies::MOST`] already.
    TooMany,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAName => "a name of a policy has 1 to 64 letters, digits, dots, `_` and `-`",
            Self::BuiltIn => "the name is one of a built-in policy",
            Self::Taken => "another policy is registered under this name",
            Self::TooMany => "as many policies are registered as may be",
        })
    }
}

impl std::error::Error for NameError {}

/// What makes a service's policy.
type Make = Arc<dyn Fn() -> Arc<dyn Policy> + Send + Sync>;

/// The policies of a program's own, by name, so that a configuration can name them. Cheap to clone.
///
/// ```
/// use std::sync::Arc;
/// use evenkeel_balance::{ask::Ask, policy::{Candidates, Policy, named::Policies}};
///
/// struct First;
/// impl Policy for First {
///     fn name(&self) -> &str { "first" }
///     fn choose(&self, view: &Candidates<'_>, _: &Ask<'_>) -> Option<usize> { view.iter().next() }
/// }
///
/// let mut policies = Policies::default();
/// policies.register("first", || Arc::new(First))?;
/// assert_eq!(policies.own("first").map(|choice| choice.name().to_owned()), Some("first".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Policies(BTreeMap<Arc<str>, Make>);

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Policies {
    /// The most policies of a program's own.
    pub const MOST: usize = 64;

    /// Registers what `make` makes under a name: each service that names it has one of its own, made when its settings are.
    /// The policy's own [`name`](Policy::name) is its word in events and statistics; let them be alike.
    ///
    /// # Errors
    /// [`NameError`]: the name is none, a built-in policy's in any spelling, or taken; or there are too many.
    pub fn register(
        &mut self,
        name: &str,
        make: impl Fn() -> Arc<dyn Policy> + Send + Sync + 'static,
    ) -> Result<(), NameError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > NAME_MOST || !name.bytes().all(letter) {
            return Err(NameError::NotAName);
        }
        if built_in(name).is_some() {
            return Err(NameError::BuiltIn);
        }
        if self.0.contains_key(name) {
            return Err(NameError::Taken);
        }
        if self.0.len() >= Self::MOST {
            return Err(NameError::TooMany);
        }
        self.0.insert(name.into(), Arc::new(make));
        Ok(())
    }

    /// One of the program's own, by the very name that it was registered under.
    #[must_use]
    pub fn own(&self, name: &str) -> Option<PolicyChoice> {
        self.0.get(name).map(|make| PolicyChoice::Custom(make()))
    }

    /// One of the core's own, in any spelling, or one of the program's.
    #[must_use]
    pub fn choice(&self, name: &str) -> Option<PolicyChoice> {
        built_in(name).or_else(|| self.own(name))
    }

    /// The names of the program's own, in order.
    pub fn own_names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::ask::Ask;
    use crate::policy::Candidates;

    /// What each of the systems that we stand in for calls them, as its own texts and code spell it.
    #[test]
    fn spellings_of_other_systems() {
        let check = |written: &str, expect: &str| {
            let read = built_in(written).map(|choice| choice.name().to_owned());
            assert_eq!(read.as_deref(), Some(expect), "{written}");
        };
        // k-msg
        check("round-robin", "round_robin");
        check("least-connections", "least_connections");
        check("weighted", "random");
        check("random", "random");
        // kOS; its other sketches
        check("round_robin", "round_robin");
        check("weighted_round_robin", "round_robin");
        check("least_connections", "least_connections");
        check("weighted_least_connections", "least_connections");
        check("response_time", "least_time");
        check("health_based", "health_based");
        check("lowest-latency", "least_time");
        check("least-loaded", "least_connections");
        // zlayer
        check("RoundRobin", "round_robin");
        check("LeastConnections", "least_connections");
        // The TypeScript load balancer
        check("weighted-round-robin", "round_robin");
        check("ip-hash", "maglev");
        // AWS
        check("least_outstanding_requests", "least_connections");
        check("weighted_random", "random");
        // Proxies that operators come from
        check("leastconn", "least_connections");
        check("least_conn", "least_connections");
        check("LEAST_REQUEST", "least_connections");
        check("ROUND_ROBIN", "round_robin");
        check("RING_HASH", "ring");
        check("MAGLEV", "maglev");
        check("PowerOfTwoChoices", "power_of_two");
        check("HRW", "rendezvous");
        check("peak_ewma", "peak_ewma");
        check("ewma", "least_time"); // ingress-nginx's, APISIX's and Kong's is a plain mean
        check("ketama", "ring");
        check("Least Time", "least_time");
        // Envoy's, of which gRPC makes `weighted_round_robin`: that rotates here.
        check("CLIENT_SIDE_WEIGHTED_ROUND_ROBIN", "weighted_by_load");
        check("orca-wrr", "weighted_by_load");
    }

    #[test]
    fn no_spelling() {
        let check = |written: &str| assert!(built_in(written).is_none(), "{written}");
        check("");
        check("-");
        check("custom");
        check("fastest");
        check("round.robin");
        check("round_robins");
        check(&"round_robin".repeat(20));
    }

    #[test]
    fn each_name_is_of_one_policy_and_ours_is_first() {
        let mut seen = std::collections::BTreeSet::new();
        for name in names() {
            assert!(
                seen.insert(letters(name).collect::<String>()),
                "{name} twice"
            );
        }
        for ((choice, names), built_in) in NAMES.iter().zip(PolicyChoice::BUILT_IN) {
            assert_eq!(names.first(), Some(&choice.name()));
            assert!(
                PolicyChoice::BUILT_IN
                    .iter()
                    .any(|one| one.name() == choice.name())
            );
            assert!(super::built_in(built_in.name()).is_some(), "{built_in:?}");
        }
    }

    struct Nobody;

    impl Policy for Nobody {
        fn name(&self) -> &'static str {
            "nobody"
        }

        fn choose(&self, _: &Candidates<'_>, _: &Ask<'_>) -> Option<usize> {
            None
        }
    }

    #[test]
    fn a_programs_own() {
        let mut policies = Policies::default();
        let mut check = |name: &str, expect| {
            assert_eq!(
                policies.register(name, || Arc::new(Nobody)),
                expect,
                "{name}"
            );
        };
        check("nobody", Ok(()));
        check("nobody", Err(NameError::Taken));
        check("Nobody", Ok(())); // names of one's own are as they are written
        check("Round-Robin", Err(NameError::BuiltIn));
        check("", Err(NameError::NotAName));
        check("no body", Err(NameError::NotAName));
        check(&"n".repeat(65), Err(NameError::NotAName));
        for at in 2..Policies::MOST {
            check(&format!("nobody-{at}"), Ok(()));
        }
        check("one-more", Err(NameError::TooMany));
        assert_eq!(policies.own_names().next(), Some("Nobody"));
        assert!(policies.choice("p2c").is_some() && policies.choice("nobody").is_some());
        assert!(policies.own("p2c").is_none() && policies.choice("one-more").is_none());
    }
}
