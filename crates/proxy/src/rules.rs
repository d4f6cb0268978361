//! Owns which rule a request meets: the first, by priority, whose conditions all hold. A pure function of the plan and of
//! what is asked.
//!
//! How it is found, without trying every rule: the rules of the listener, and those of all listeners, stand by host, below
//! each host by path, below each path by method. A host or a path is looked up in a tree of the texts that rules begin or
//! end with (`trie`): exact texts, prefixes and suffixes are decided by the tree alone; a wildcard or an expression
//! stands at the text that surely is in it (`places`) and is tried when a request has that text (`levels`). A rule that asks
//! for more than host, path and method is tried where it stands (`further`). The lowest number found wins, and what cannot be
//! lower is not tried.
//!
//! The tree is walked byte by byte as far as some rule's text goes, and there is no hash: neither long names nor chosen ones
//! make a look-up dearer than the plan's own texts do. What stays linear: wildcards and expressions that share their text,
//! or have none, are tried one by one (`wildcard` says at which price; `config` limits those without a text), and so are
//! rules of the same host and path that ask for more.
//! `conditions` says what each condition means; [`Rules::find_by_trying`] asks only it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_config::plan::RulePlan;
use evenkeel_wire::RequestHead;

use crate::tls::secured::Identity;
use levels::{Hosts, Level as _};
pub use shown::{asks, is_plain_field};

/// What each condition means.
pub mod conditions;

/// Conditions for people.
pub(crate) mod shown;

/// Those beyond host, path and method.
mod further;

/// Patterns with `*` and `?`.
mod wildcard;

/// Under which text a pattern stands, and what is left to try.
mod places;

/// Texts as a tree.
mod trie;

/// Rules by host, path and method.
mod levels;

/// What rules are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The listener's place in the plan.
    pub listener: usize,
    /// Lower case, no port, no trailing dot; may be empty.
    pub host: &'a str,
    /// In the form that goes on.
    pub path: &'a [u8],
    /// As on the wire.
    pub method: &'a [u8],
    /// The rest of the request: its query and its fields.
    pub head: &'a RequestHead,
    /// Where the connection comes from; 127.0.0.1 for a Unix socket, as everywhere.
    pub peer: IpAddr,
    /// The peer, or whom trusted proxies name.
    pub client: IpAddr,
    /// The certificate that the client has shown, which was verified.
    pub certificate: Option<&'a Identity>,
}

impl<'a> Asked<'a> {
    /// What a request asks that came to this listener, without a certificate.
    #[must_use]
    pub fn new(listener: usize, head: &'a RequestHead, peer: IpAddr, client: IpAddr) -> Self {
        Self {
            listener,
            host: head.host(),
            path: head.path(),
            method: head.method(),
            head,
            peer,
            client,
            certificate: None,
        }
    }
}

/// No rule; no plan has so many.
const NONE: u32 = u32::MAX;

/// All rules of a plan.
pub struct Rules {
    everywhere: Hosts,
    /// By listener, the rules that name it.
    listeners: BTreeMap<usize, Hosts>,
}

impl Rules {
    /// An index of rules in order of priority.
    ///
    /// Memory: below 640 bytes for each host of a rule with each of its paths on each listener that it names, texts included,
    /// and 1.5 KB for each expression before it is first searched. A rule with more than 64 such pairs keeps its paths
    /// once. Time: by the length of all texts; 10,000 rules take tens of milliseconds.
    #[must_use]
    pub fn new(rules: &[RulePlan]) -> Self {
        let rules = levels::rules(rules);
        let (mut everywhere, mut listeners) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for rule in &rules {
            if rule.listeners.is_empty() {
                everywhere.push(rule);
            }
            for &listener in rule.listeners {
                listeners.entry(listener).or_default().push(rule);
            }
        }
        Self {
            everywhere: Hosts::new(&everywhere),
            listeners: listeners
                .iter()
                .map(|(&listener, rules)| (listener, Hosts::new(rules)))
                .collect(),
        }
    }

    /// The first rule that holds. Allocates nothing, but for an expression's first searches on a thread.
    ///
    /// Cost: some hundred instructions for host, path and method, whatever the number of rules and the length of what the
    /// client sent (`counts.toml`); more where rules have prefixes of prefixes, once for each that the request has. Added to
    /// that, each wildcard and each expression that is tried: those under a text that the request has, before the best rule
    /// that needs no trial; and of the rules there that ask for more each that comes before it.
    #[must_use]
    pub fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        let mut best = NONE;
        let here = self.listeners.get(&asked.listener);
        if let Some(hosts) = here {
            hosts.sure(asked, &mut best);
        }
        self.everywhere.sure(asked, &mut best);
        if let Some(hosts) = here {
            hosts.tried(asked, &mut best);
        }
        self.everywhere.tried(asked, &mut best);
        (best != NONE).then_some(best as usize)
    }

    /// The first rule that holds, found by trying all in turn: what [`find`](Self::find) must agree with.
    #[must_use]
    pub fn find_by_trying(rules: &[RulePlan], asked: &Asked<'_>) -> Option<usize> {
        rules
            .iter()
            .position(|rule| conditions::unmet(rule, asked).is_none())
    }
}

#[cfg(test)]
mod tests;
