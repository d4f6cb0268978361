//! Owns what waits to be delivered: bounded, by class, and of one class who came first.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;

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
    pub(crate) id: u64,
    pub(crate) customer: String,
    pub(crate) class: Class,
    pub(crate) body: String,
    /// After that nobody wants it any more.
    pub(crate) until: Instant,
}

impl Message {
    pub(crate) fn new(customer: &str, class: Class, body: &str, ttl: Duration) -> Self {
        Self {
            id: 0,
            customer: customer.to_owned(),
            class,
            body: body.to_owned(),
            until: clock::now() + ttl,
        }
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
    taken: u64,
    waiting: BTreeMap<Class, VecDeque<Message>>,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// Takes it in, and gives it its number: by that the receiver knows a second delivery.
    pub(crate) fn push(&mut self, mut message: Message) -> Result<(), Box<Full>> {
        let limit = self.limit;
        if self.waiting.values().map(VecDeque::len).sum::<usize>() >= limit {
            return Err(Box::new(Full { limit, message }));
        }
        self.taken += 1;
        message.id = self.taken;
        self.waiting
            .entry(message.class)
            .or_default()
            .push_back(message);
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        self.waiting.values_mut().find_map(VecDeque::pop_front)
    }
}
