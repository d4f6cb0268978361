//! Owns what waits to be delivered: bounded, by class, and of one class who came first.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::time::Instant;

use crate::{Failure, clock};

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Urgent,
    Normal,
    Low,
}

/// One event for one customer.
#[derive(Debug)]
pub(crate) struct Message {
    /// By this the receiver knows a second delivery, also one after the sender was started anew.
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) class: Class,
    pub(crate) body: String,
    /// After that nobody wants it any more.
    pub(crate) until: Instant,
}

impl Message {
    pub(crate) fn new(
        customer: &str,
        class: Class,
        body: &str,
        ttl: Duration,
    ) -> Result<Self, Failure> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| "no randomness for an id")?;
        Ok(Self {
            id: format!("{:032x}", u128::from_ne_bytes(id)),
            customer: customer.to_owned(),
            class,
            body: body.to_owned(),
            until: clock::now() + ttl,
        })
    }
}

/// There is no room.
#[derive(Debug)]
pub(crate) struct Full {
    limit: usize,
    message: Message,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { customer, body, .. } = &self.message;
        write!(f, "{customer} {body}: refused, {} wait already", self.limit)
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    limit: usize,
    waiting: BTreeMap<Class, VecDeque<Message>>,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            waiting: BTreeMap::new(),
        }
    }

    pub(crate) fn push(&mut self, message: Message) -> Result<(), Box<Full>> {
        let limit = self.limit;
        if self.waiting.values().map(VecDeque::len).sum::<usize>() >= limit {
            return Err(Box::new(Full { limit, message }));
        }
        self.waiting
            .entry(message.class)
            .or_default()
            .push_back(message);
        Ok(())
    }

    /// The first of a customer that may be delivered to now.
    pub(crate) fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<Message> {
        self.waiting.values_mut().find_map(|class| {
            let at = class.iter().position(|message| may(&message.customer))?;
            class.remove(at)
        })
    }
}
