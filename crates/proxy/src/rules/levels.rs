//! Owns the order in which conditions are looked up: by host, then by path, then by method; each level holds the next at its
//! keys. Built once from rules in order of priority; read with `sure`, then with `tried`.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use evenkeel_config::plan::{Further, HostPattern, PathPattern, RulePlan};

use super::places::{Crowds, Key, Place, Side, Test};
use super::trie::Trie;
use super::{Asked, NONE, further};

/// The most pairs of a host and a path, on all its listeners, that one rule stands under apart.
const PAIRS_MOST: usize = 64;

/// A rule as it is entered.
pub(super) struct Rule<'a> {
    number: u32,
    pub(super) listeners: &'a [usize],
    hosts: Vec<Place<'a>>,
    paths: Vec<Place<'a>>,
    methods: &'a [Arc<str>],
    further: &'a Arc<[Further]>,
    /// Its paths and methods, made once, where they would be made too often.
    once: Option<Arc<ByPath>>,
}

/// The rules of a plan, each pattern with its place.
pub(super) fn rules(plan: &[RulePlan]) -> Vec<Rule<'_>> {
    let wild_hosts = plan.iter().flat_map(|rule| &rule.when.hosts);
    let hosts = Crowds::of(wild_hosts.filter_map(|pattern| match pattern {
        HostPattern::Wildcard(wildcard) => Some(wildcard),
        _ => None,
    }));
    let wild_paths = plan.iter().flat_map(|rule| &rule.when.paths);
    let paths = Crowds::of(wild_paths.filter_map(|pattern| match pattern {
        PathPattern::Wildcard(wildcard) => Some(wildcard),
        _ => None,
    }));
    let numbered = (0..NONE).zip(plan);
    numbered
        .map(|(number, rule)| Rule::new(number, rule, &hosts, &paths))
        .collect()
}

impl<'a> Rule<'a> {
    fn new(number: u32, rule: &'a RulePlan, hosts: &Crowds<'_>, paths: &Crowds<'_>) -> Self {
        let RulePlan {
            listeners, when, ..
        } = rule;
        let mut entered = Self {
            number,
            listeners,
            hosts: places(&when.hosts, |pattern| Place::of_host(pattern, hosts)),
            paths: places(&when.paths, |pattern| Place::of_path(pattern, paths)),
            methods: &when.methods,
            further: &when.further,
            once: None,
        };
        let times = entered
            .hosts
            .len()
            .saturating_mul(entered.listeners.len().max(1));
        if times > 1 && times.saturating_mul(entered.paths.len()) > PAIRS_MOST {
            entered.once = Some(Arc::new(ByPath::new(&[&entered])));
        }
        entered
    }
}

fn places<'a, P>(patterns: &'a [P], place: impl Fn(&'a P) -> Place<'a>) -> Vec<Place<'a>> {
    if patterns.is_empty() {
        return vec![Place::EVERYTHING];
    }
    patterns.iter().map(place).collect()
}

/// Rules of which the lowest that holds is wanted. Both ways lower `best` to it if there is one below.
pub(super) trait Level: Sized {
    /// Of rules in order of priority.
    fn new(rules: &[&Rule<'_>]) -> Self;

    /// The lowest rule that has something to try; [`NONE`] if keys decide all.
    fn first_tried(&self) -> u32;

    /// Those that keys alone decide.
    fn sure(&self, asked: &Asked<'_>, best: &mut u32);

    /// The others: asked afterwards, for what cannot be lower is not tried.
    fn tried(&self, asked: &Asked<'_>, best: &mut u32);
}

/// All rules of a listener.
pub(super) type Hosts = Keyed<OfHost, Paths>;

/// The conditions that have places.
pub(super) trait Condition {
    fn places<'r, 'a>(rule: &'r Rule<'a>) -> &'r [Place<'a>];
    fn text<'a>(asked: &Asked<'a>) -> &'a [u8];
}

pub(super) struct OfHost;

impl Condition for OfHost {
    fn places<'r, 'a>(rule: &'r Rule<'a>) -> &'r [Place<'a>] {
        &rule.hosts
    }

    #[inline]
    fn text<'a>(asked: &Asked<'a>) -> &'a [u8] {
        asked.host.as_bytes()
    }
}

pub(super) struct OfPath;

impl Condition for OfPath {
    fn places<'r, 'a>(rule: &'r Rule<'a>) -> &'r [Place<'a>] {
        &rule.paths
    }

    #[inline]
    fn text<'a>(asked: &Asked<'a>) -> &'a [u8] {
        asked.path
    }
}

/// Rules by the keys of one condition.
pub(super) struct Keyed<C, N> {
    fronts: Trie<Shelf<N>>,
    backs: Trie<Shelf<N>>,
    first_tried: u32,
    condition: PhantomData<C>,
}

/// What stands at one key.
struct Shelf<N> {
    sure: N,
    /// In the order of their first rules.
    tests: Box<[Tested<N>]>,
}

/// The rules that one test is left for.
struct Tested<N> {
    first: u32,
    test: Test,
    next: N,
}

/// The rules at one key, with what is left to try.
type Entered<'r, 'a> = Vec<(Option<&'r Test>, &'r Rule<'a>)>;

impl<C: Condition, N: Level> Level for Keyed<C, N> {
    fn new(rules: &[&Rule<'_>]) -> Self {
        let mut keys = BTreeMap::<Key<'_>, Entered<'_, '_>>::new();
        for rule in rules {
            for place in C::places(rule) {
                let entered = keys.entry(place.key).or_default();
                entered.push((place.test.as_ref(), rule));
            }
        }
        let (mut fronts, mut backs) = (Vec::new(), Vec::new());
        for (key, entered) in keys {
            let side = match key.side {
                Side::Front => &mut fronts,
                Side::Back => &mut backs,
            };
            side.push((key.text, key.beyond, Shelf::new(&entered)));
        }
        let fronts = Trie::new(Side::Front, fronts);
        let backs = Trie::new(Side::Back, backs);
        let shelves = fronts.values().chain(backs.values());
        Self {
            first_tried: shelves.map(Shelf::first_tried).min().unwrap_or(NONE),
            fronts,
            backs,
            condition: PhantomData,
        }
    }

    #[inline]
    fn first_tried(&self) -> u32 {
        self.first_tried
    }

    #[inline]
    fn sure(&self, asked: &Asked<'_>, best: &mut u32) {
        self.visit(asked, |shelf| shelf.sure.sure(asked, best));
    }

    #[inline]
    fn tried(&self, asked: &Asked<'_>, best: &mut u32) {
        if self.first_tried >= *best {
            return;
        }
        self.visit(asked, |shelf| {
            shelf.sure.tried(asked, best);
            for tested in &shelf.tests {
                if tested.first >= *best {
                    break;
                }
                if tested.test.holds(C::text(asked)) {
                    tested.next.sure(asked, best);
                    tested.next.tried(asked, best);
                }
            }
        });
    }
}

impl<C: Condition, N> Keyed<C, N> {
    #[inline]
    fn visit(&self, asked: &Asked<'_>, mut visit: impl FnMut(&Shelf<N>)) {
        let text = C::text(asked);
        if !self.fronts.is_empty() {
            self.fronts.visit(Side::Front, text, &mut visit);
        }
        if !self.backs.is_empty() {
            self.backs.visit(Side::Back, text, &mut visit);
        }
    }
}

impl<N: Level> Shelf<N> {
    fn new(entered: &Entered<'_, '_>) -> Self {
        let mut sure = Vec::new();
        let mut tests = BTreeMap::<_, (&Test, Vec<&Rule<'_>>)>::new();
        for &(test, rule) in entered {
            match test {
                None => sure.push(rule),
                Some(test) => {
                    let same = tests.entry(test.identity());
                    same.or_insert_with(|| (test, Vec::new())).1.push(rule);
                }
            }
        }
        let mut tests: Vec<_> = tests
            .into_values()
            .map(|(test, rules)| Tested {
                first: rules.first().map_or(NONE, |rule| rule.number),
                test: test.clone(),
                next: N::new(&rules),
            })
            .collect();
        tests.sort_by_key(|tested| tested.first);
        Self {
            sure: N::new(&sure),
            tests: tests.into(),
        }
    }

    fn first_tried(&self) -> u32 {
        let tested = self.tests.first().map_or(NONE, |tested| tested.first);
        tested.min(self.sure.first_tried())
    }
}

type ByPath = Keyed<OfPath, Methods>;

/// The rules of one host.
pub(super) struct Paths {
    apart: ByPath,
    /// Rules that other hosts, or other listeners, hold too; in their order.
    once: Box<[(u32, Arc<ByPath>)]>,
    first_tried: u32,
}

impl Level for Paths {
    fn new(rules: &[&Rule<'_>]) -> Self {
        let apart: Vec<_> = rules
            .iter()
            .copied()
            .filter(|rule| rule.once.is_none())
            .collect();
        let apart = ByPath::new(&apart);
        let once: Box<[_]> = rules
            .iter()
            .filter_map(|rule| Some((rule.number, rule.once.clone()?)))
            .collect();
        let tried = once.iter().map(|(_, paths)| paths.first_tried()).min();
        Self {
            first_tried: apart.first_tried().min(tried.unwrap_or(NONE)),
            apart,
            once,
        }
    }

    #[inline]
    fn first_tried(&self) -> u32 {
        self.first_tried
    }

    #[inline]
    fn sure(&self, asked: &Asked<'_>, best: &mut u32) {
        self.apart.sure(asked, best);
        for (number, paths) in &self.once {
            if number >= best {
                break;
            }
            paths.sure(asked, best);
        }
    }

    #[inline]
    fn tried(&self, asked: &Asked<'_>, best: &mut u32) {
        if self.first_tried >= *best {
            return;
        }
        self.apart.tried(asked, best);
        for (number, paths) in &self.once {
            if number >= best {
                break;
            }
            paths.tried(asked, best);
        }
    }
}

/// The rules of one host and one path: the first for every method, and those that come before it for one; and those before
/// it that ask for more, which are tried.
pub(super) struct Methods {
    any: u32,
    /// By name.
    named: Box<[(Arc<str>, u32)]>,
    /// In order.
    further: Box<[Asks]>,
}

/// A rule that asks for more.
struct Asks {
    number: u32,
    /// One of these; empty: any.
    methods: Box<[Arc<str>]>,
    further: Arc<[Further]>,
}

impl Level for Methods {
    fn new(rules: &[&Rule<'_>]) -> Self {
        let sure = |rule: &Rule<'_>| rule.methods.is_empty() && rule.further.is_empty();
        let any = rules.iter().position(|rule| sure(rule));
        // What stands behind a rule for every method is never reached.
        let before = &rules[..any.unwrap_or(rules.len())];
        let (mut named, mut further) = (BTreeMap::new(), Vec::new());
        for rule in before {
            if !rule.further.is_empty() {
                further.push(Asks {
                    number: rule.number,
                    methods: rule.methods.into(),
                    further: rule.further.clone(),
                });
                continue;
            }
            for method in rule.methods {
                named.entry(method.clone()).or_insert(rule.number);
            }
        }
        Self {
            any: any.map_or(NONE, |at| rules[at].number),
            named: named.into_iter().collect(),
            further: further.into(),
        }
    }

    #[inline]
    fn first_tried(&self) -> u32 {
        self.further.first().map_or(NONE, |asks| asks.number)
    }

    #[inline]
    fn sure(&self, asked: &Asked<'_>, best: &mut u32) {
        *best = self.any.min(*best);
        if self.named.is_empty() {
            return;
        }
        let found = self
            .named
            .binary_search_by(|(name, _)| name.as_bytes().cmp(asked.method));
        if let Ok(at) = found {
            *best = self.named[at].1.min(*best);
        }
    }

    fn tried(&self, asked: &Asked<'_>, best: &mut u32) {
        for asks in &self.further {
            if asks.number >= *best {
                return;
            }
            let mut methods = asks.methods.iter();
            let method =
                asks.methods.is_empty() || methods.any(|method| method.as_bytes() == asked.method);
            if method && further::all_hold(&asks.further, asked) {
                *best = asks.number;
                return;
            }
        }
    }
}
