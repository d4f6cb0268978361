//! Owns what names stand for: the last good answer to each question, what became of the look-ups, and the members of a service
//! that follow. Pure; who asks is not known here.
//!
//! What others say is not believed whole: addresses that can be no backend are left out, an answer that is too large is cut, and
//! one that is no answer changes nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::Weight;
use evenkeel_balance::time::Instant;
use evenkeel_config::limits;
use evenkeel_config::plan::{BackendAddress, BackendPlan, Question, ServicePlan};

/// Why a look-up brought nothing, or not all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The name exists and has no such records, or none that can be a backend.
    Empty,
    /// There is no such name (NXDOMAIN).
    NoName,
    /// No answer in time.
    Timeout,
    /// The server could not tell (SERVFAIL).
    ServFail,
    /// The server would not tell (REFUSED).
    Refused,
    /// What came is no answer.
    Malformed,
    /// No server could be reached.
    Network,
    /// More addresses than a name, or all names, may have.
    TooMany,
    /// The system's configuration names no server, or cannot be read.
    NoServer,
    /// Another answer that is an error.
    Other,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Empty,
        Self::NoName,
        Self::Timeout,
        Self::ServFail,
        Self::Refused,
        Self::Malformed,
        Self::Network,
        Self::TooMany,
        Self::NoServer,
        Self::Other,
    ];

    /// One word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NoName => "nxdomain",
            Self::Timeout => "timeout",
            Self::ServFail => "servfail",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Network => "network",
            Self::TooMany => "too_many",
            Self::NoServer => "no_server",
            Self::Other => "other",
        }
    }

    /// Somebody knows, and there is nothing.
    const fn is_nothing(self) -> bool {
        matches!(self, Self::Empty | Self::NoName)
    }
}

/// One of the questions that a look-up takes: records of one family of one host, at the port that an SRV record names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    pub(crate) host: Arc<str>,
    pub(crate) port: Option<NonZeroU16>,
    pub(crate) v6: bool,
}

/// What a part brought.
#[derive(Clone, Debug)]
pub(crate) struct PartFound {
    pub(crate) part: Part,
    pub(crate) weight: Option<Weight>,
    /// Tiers of records before its own.
    pub(crate) behind: u16,
    pub(crate) addresses: Result<Vec<IpAddr>, Fault>,
}

/// What a look-up brought.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) parts: Vec<PartFound>,
    /// The shortest life of its records.
    pub(crate) lives: Duration,
    /// There was more than may be followed.
    pub(crate) cut: bool,
}

/// Where one backend of a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    address: IpAddr,
    port: Option<NonZeroU16>,
    weight: Option<Weight>,
    behind: u16,
}

impl Place {
    const fn at(&self) -> (IpAddr, Option<NonZeroU16>) {
        (self.address, self.port)
    }
}

/// What is known of one question.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The last good answer, by part.
    parts: BTreeMap<Part, Vec<Place>>,
    /// All of it: sorted, each address and port once.
    pub(crate) places: Vec<Place>,
    /// When it came.
    pub(crate) good_at: Option<Instant>,
    /// What was wrong with the newest look-up.
    pub(crate) fault: Option<Fault>,
    /// Look-ups that brought all, and those that did not by fault.
    pub(crate) counts: (u64, BTreeMap<Fault, u64>),
    /// Addresses that were left out.
    pub(crate) left_out: u64,
    /// Services that ask it.
    asked_by: usize,
}

impl Known {
    const fn backends(&self) -> usize {
        self.places.len() * self.asked_by
    }

    /// Whether a look-up of it has ended, one way or the other.
    pub(crate) fn is_begun(&self) -> bool {
        self.good_at.is_some() || self.fault.is_some()
    }
}

/// What a look-up changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// So long what was found is good; none: nothing was.
    pub(crate) lives: Option<Duration>,
    /// Addresses that joined, and that left.
    pub(crate) moved: (usize, usize),
    /// Places that changed, in their weight perhaps.
    pub(crate) changed: bool,
    /// Addresses that it has now.
    pub(crate) all: usize,
    /// What is wrong, where it was not before.
    pub(crate) failed: Option<Fault>,
    /// What was wrong is so no more.
    pub(crate) mended: bool,
}

/// What all names stand for.
#[derive(Debug, Default)]
pub(crate) struct Book {
    known: BTreeMap<Question, Known>,
    /// Backends that all of it makes, those of all services together.
    backends: usize,
}

impl Book {
    /// Goes on with these questions; each comes as often as a service asks it.
    pub(crate) fn follow<'q>(&mut self, questions: impl Iterator<Item = &'q Question>) {
        for known in self.known.values_mut() {
            known.asked_by = 0;
        }
        for question in questions {
            self.known.entry(question.clone()).or_default().asked_by += 1;
        }
        self.known.retain(|_, known| known.asked_by > 0);
        self.backends = self.known.values().map(Known::backends).sum();
    }

    /// What is known of a question that is followed.
    pub(crate) fn of(&self, question: &Question) -> Option<&Known> {
        self.known.get(question)
    }

    /// Whether every question has been asked.
    pub(crate) fn is_begun(&self) -> bool {
        self.known.values().all(Known::is_begun)
    }

    /// Takes what a look-up came to. None: nobody asks it any more.
    pub(crate) fn take(
        &mut self,
        question: &Question,
        came: Result<Found, Fault>,
        now: Instant,
    ) -> Option<Taken> {
        let known = self.known.get_mut(question)?;
        let others = self.backends - known.backends();
        let earlier = known.fault;
        let before = known.places.clone();
        let (lives, fault) = match came {
            Ok(found) => known.learn(found, limits::BACKENDS.saturating_sub(others), now),
            Err(fault) => (None, Some(fault)),
        };
        known.fault = fault;
        self.backends = others + known.backends();
        match fault {
            None => known.counts.0 += 1,
            Some(fault) => *known.counts.1.entry(fault).or_default() += 1,
        }
        let (was, is) = (addresses(&before), addresses(&known.places));
        Some(Taken {
            lives,
            moved: (is.difference(&was).count(), was.difference(&is).count()),
            changed: before != known.places,
            all: known.places.len(),
            failed: fault.filter(|_| fault != earlier),
            mended: fault.is_none() && earlier.is_some(),
        })
    }

    /// The members of a service now: those that its plan lists, and behind them those that its names stand for. What is listed
    /// hides what is found at the same address or under the same identity, and an earlier name a later one's.
    pub(crate) fn members(&self, service: &ServicePlan) -> Arc<[BackendPlan]> {
        if service.names.is_empty() {
            return service.backends.clone();
        }
        let mut members = service.backends.to_vec();
        let mut ids: HashSet<_> = members.iter().map(|one| one.spec.id.clone()).collect();
        let listed: HashSet<SocketAddr> = members
            .iter()
            .filter_map(|one| match one.address {
                BackendAddress::Tcp(address) => Some(address),
                BackendAddress::Name(..) | BackendAddress::Unix(_) => None,
            })
            .collect();
        for name in &service.names {
            let places = self.known.get(&name.question);
            for place in places.into_iter().flat_map(|known| &known.places) {
                let Some(port) = place.port.or(name.port) else {
                    continue;
                };
                let address = SocketAddr::new(place.address, port.get());
                let backend = name.backend(address, place.weight, place.behind);
                if !listed.contains(&address) && ids.insert(backend.spec.id.clone()) {
                    members.push(backend);
                }
            }
        }
        members.into()
    }
}

fn addresses(places: &[Place]) -> HashSet<(IpAddr, Option<NonZeroU16>)> {
    places.iter().map(Place::at).collect()
}

impl Known {
    /// Takes an answer as far as it is good: what could not be asked stays as it was, and if nothing was found all does. At most
    /// `room` backends may come of it. How long what was found is good, and what was wrong.
    fn learn(
        &mut self,
        found: Found,
        room: usize,
        now: Instant,
    ) -> (Option<Duration>, Option<Fault>) {
        let mut fault = found.cut.then_some(Fault::TooMany);
        let (mut nothing, mut fresh) = (Fault::Empty, false);
        let mut parts = BTreeMap::new();
        for one in found.parts {
            let places = match one.addresses {
                Ok(all) => {
                    let came = all.len();
                    let places = all.into_iter().filter_map(sensible).map(|address| Place {
                        address,
                        port: one.part.port,
                        weight: one.weight,
                        behind: one.behind,
                    });
                    let places: Vec<_> = places.collect();
                    self.left_out += (came - places.len()) as u64;
                    fresh |= !places.is_empty();
                    places
                }
                Err(why) if why.is_nothing() => {
                    nothing = nothing.max(why);
                    Vec::new()
                }
                Err(why) => {
                    fault = Some(why);
                    // The record itself is known.
                    let (weight, behind) = (one.weight, one.behind);
                    let earlier = self.parts.get(&one.part).into_iter().flatten();
                    let stays = |place: &Place| Place {
                        weight,
                        behind,
                        ..*place
                    };
                    earlier.map(stays).collect()
                }
            };
            parts.insert(one.part, places);
        }
        if !fresh {
            return (None, Some(fault.unwrap_or(nothing)));
        }
        let mut places: Vec<Place> = parts.values().flatten().copied().collect();
        // Of two records of one place, the first tier and the greater weight.
        places.sort_unstable_by_key(|one| {
            let (tier, weight) = (one.behind, Reverse(one.weight));
            (one.address, one.port, tier, weight)
        });
        places.dedup_by_key(|one| (one.address, one.port));
        if places.len() > limits::NAME_ADDRESSES {
            self.left_out += (places.len() - limits::NAME_ADDRESSES) as u64;
            places.sort_by_key(|one| one.behind);
            places.truncate(limits::NAME_ADDRESSES);
            places.sort_unstable();
            for part in parts.values_mut() {
                part.retain(|one| places.binary_search_by_key(&one.at(), Place::at).is_ok());
            }
            fault = fault.or(Some(Fault::TooMany));
        }
        if places.len() * self.asked_by > room {
            self.left_out += places.len() as u64;
            return (None, Some(Fault::TooMany));
        }
        (self.parts, self.places, self.good_at) = (parts, places, Some(now));
        (Some(found.lives), fault)
    }
}

/// The address as it is connected to. None: it can be no backend's.
fn sensible(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    let is = match address {
        IpAddr::V4(v4) => v4.octets()[0] != 0 && !v4.is_multicast() && !v4.is_broadcast(),
        // What is local to a link cannot be reached without the link's name.
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local(),
    };
    is.then_some(address)
}

#[cfg(test)]
mod tests {
    use evenkeel_config::{Source, load};

    use super::*;

    fn question() -> Question {
        Question::Addresses("a".into())
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn part(v6: bool, addresses: Result<&[&str], Fault>) -> PartFound {
        let parsed = |all: &[&str]| all.iter().map(|one| one.parse().unwrap()).collect();
        PartFound {
            part: Part {
                host: "a".into(),
                port: None,
                v6,
            },
            weight: None,
            behind: 0,
            addresses: addresses.map(parsed),
        }
    }

    fn found(v4: Result<&[&str], Fault>, v6: Result<&[&str], Fault>) -> Result<Found, Fault> {
        Ok(Found {
            parts: vec![part(false, v4), part(true, v6)],
            lives: Duration::ZERO,
            cut: false,
        })
    }

    fn book() -> Book {
        let mut book = Book::default();
        book.follow([&question()].into_iter());
        book
    }

    fn shown(book: &Book) -> String {
        let known = book.of(&question()).unwrap();
        let places = known.places.iter().map(|one| one.address.to_string());
        places.collect::<Vec<_>>().join(" ")
    }

    /// One answer after another: what stays known, and what is wrong.
    #[track_caller]
    fn check(answers: &[(Result<Found, Fault>, &str, Option<Fault>)]) -> Book {
        let mut book = book();
        for (number, (came, expect, fault)) in answers.iter().enumerate() {
            book.take(&question(), came.clone(), at(number as u64));
            assert_eq!(&shown(&book), expect, "answer {number}");
            assert_eq!(book.of(&question()).unwrap().fault, *fault, "{number}");
        }
        book
    }

    const NONE: Result<&[&str], Fault> = Err(Fault::Empty);

    #[test]
    fn a_failure_of_any_kind_keeps_the_last_good_answer() {
        let good = || found(Ok(&["10.0.0.2", "10.0.0.1"]), Ok(&["2001:db8::1"]));
        let all = "10.0.0.1 10.0.0.2 2001:db8::1";
        for fault in Fault::ALL {
            check(&[
                (Err(fault), "", Some(fault)),
                (good(), all, None),
                (Err(fault), all, Some(fault)),
                (found(Err(fault), Err(fault)), all, Some(fault)),
                (good(), all, None),
            ]);
        }
        let (empty, no_name) = (Some(Fault::Empty), Some(Fault::NoName));
        check(&[
            (good(), all, None),
            (found(Ok(&[]), Ok(&[])), all, empty),
            (found(NONE, Err(Fault::NoName)), all, no_name),
            (found(Ok(&["0.0.0.0"]), NONE), all, empty),
            // One family is known, the other was not told.
            (
                found(Ok(&["10.0.0.3"]), Err(Fault::Timeout)),
                "10.0.0.3 2001:db8::1",
                Some(Fault::Timeout),
            ),
            (found(Ok(&["10.0.0.3"]), NONE), "10.0.0.3", None),
        ]);
    }

    #[test]
    fn addresses_that_make_no_sense_are_left_out_and_counted() {
        let senseless = [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "10.0.0.1",
        ];
        let senseless_too = [
            "::",
            "ff02::1",
            "fe80::1",
            "::ffff:0.0.0.0",
            "::ffff:10.0.0.1",
            "::1",
        ];
        let book = check(&[(
            found(Ok(&senseless), Ok(&senseless_too)),
            "10.0.0.1 ::1",
            None,
        )]);
        assert_eq!(book.of(&question()).unwrap().left_out, 8);
    }

    #[test]
    fn an_order_is_no_change() {
        let mut book = book();
        let one = book.take(
            &question(),
            found(Ok(&["10.0.0.1", "10.0.0.2"]), NONE),
            at(0),
        );
        let one = one.unwrap();
        assert!(one.changed && one.moved == (2, 0) && one.all == 2);
        assert_eq!(one.lives, Some(Duration::ZERO));
        let other = found(Ok(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]), NONE);
        let other = book.take(&question(), other, at(1)).unwrap();
        assert!(!other.changed && other.moved == (0, 0));
        let next = book.take(
            &question(),
            found(Ok(&["10.0.0.2", "10.0.0.3"]), NONE),
            at(2),
        );
        assert_eq!(next.unwrap().moved, (1, 1));
        // One family that is never told does not keep the other from its own pace.
        let half = found(Ok(&["10.0.0.2"]), Err(Fault::ServFail));
        let half = book.take(&question(), half, at(3)).unwrap();
        let expect = (Some(Duration::ZERO), Some(Fault::ServFail));
        assert_eq!((half.lives, half.failed), expect);
        // Said when it begins and when it ends, and not each time.
        let mut said = |came| {
            let taken = book.take(&question(), came, at(3)).unwrap();
            (taken.failed, taken.mended)
        };
        assert_eq!(said(Err(Fault::Timeout)), (Some(Fault::Timeout), false));
        assert_eq!(said(Err(Fault::Timeout)), (None, false));
        assert_eq!(said(Err(Fault::NoName)), (Some(Fault::NoName), false));
        assert_eq!(said(found(Ok(&["10.0.0.2"]), NONE)), (None, true));
    }

    #[test]
    fn an_answer_without_end_is_cut_and_the_backends_of_all_names_are_so_many() {
        let addresses = |first: u8, count: usize| -> Vec<String> {
            let one = |at: usize| format!("10.{first}.{}.{}", at / 250, at % 250 + 1);
            (0..count).map(one).collect()
        };
        let many = addresses(1, limits::NAME_ADDRESSES + 7);
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let mut book = Book::default();
        book.follow([&question()].into_iter());
        book.take(&question(), found(Ok(&many), NONE), at(0));
        let known = book.of(&question()).unwrap();
        assert_eq!(
            (known.places.len(), known.left_out),
            (limits::NAME_ADDRESSES, 7)
        );
        assert_eq!(known.fault, Some(Fault::TooMany));
        // A service more for each, up to what all may have together.
        let users = limits::BACKENDS / limits::NAME_ADDRESSES;
        let all = vec![question(); users];
        let other = Question::Srv("b".into());
        book.follow(all.iter().chain([&other]));
        let refused = book
            .take(&other, found(Ok(&["10.0.0.1"]), NONE), at(1))
            .unwrap();
        assert_eq!((refused.failed, refused.all), (Some(Fault::TooMany), 0));
        book.follow(all[1..].iter().chain([&other]));
        let taken = book
            .take(&other, found(Ok(&["10.0.0.1"]), NONE), at(2))
            .unwrap();
        assert_eq!((taken.failed, taken.all), (None, 1));
    }

    /// Members of a service with these backends, where `a` has three addresses.
    #[track_caller]
    fn members(backends: &str, expect: &[&str]) {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:1 }} }}\nservices: {{ api: {{ backends: [{backends}] }} }}\n"
        );
        let source = Source {
            name: "f.yaml".into(),
            text,
        };
        let plan = load(&[source], &BTreeMap::new()).plan.unwrap();
        let mut book = book();
        let came = found(Ok(&["10.0.0.2", "10.0.0.1"]), Ok(&["2001:db8::1"]));
        book.take(&question(), came, at(0));
        let all = book.members(&plan.services[0]);
        let ids: Vec<_> = all.iter().map(|one| one.spec.id.as_str()).collect();
        assert_eq!(ids, expect);
    }

    #[test]
    fn members_are_those_listed_and_those_found_each_once() {
        members(
            "x:1, { dns: a:9 }",
            &["x:1", "10.0.0.1:9", "10.0.0.2:9", "[2001:db8::1]:9"],
        );
        // The same place: what is listed stands, under its own identity.
        members(
            "{ address: 10.0.0.1:9, id: one }, { dns: a:9 }",
            &["one", "10.0.0.2:9", "[2001:db8::1]:9"],
        );
        // The same identity, too.
        members(
            "{ address: 10.9.9.9:9, id: 10.0.0.1:9 }, { dns: A:9 }, { dns: a:9, id: i }",
            &[
                "10.0.0.1:9",
                "10.0.0.2:9",
                "[2001:db8::1]:9",
                "i@10.0.0.1:9",
                "i@10.0.0.2:9",
                "i@[2001:db8::1]:9",
            ],
        );
        members("{ dns: unknown:9 }", &[]);
    }
}
