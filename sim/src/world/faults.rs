//! Owns what goes wrong with servers of a world: neighbours that come and go, and strikes.

use std::time::Duration;

use evenkeel_balance::verdict::{Fault as Failure, Verdict};

use super::World;
use crate::arrivals::APART;
use crate::happening::Happening;
use crate::scenario::Fault;

impl World<'_> {
    pub(super) fn crowd(&mut self, server: usize) {
        let crowded = !self.servers[server].crowded;
        self.servers[server].crowded = crowded;
        let mean = if crowded { 1.0 } else { APART };
        let wait = Duration::from_secs_f64(self.streams.neighbours.exponential(mean));
        self.after(wait, Happening::Crowd(server));
    }

    pub(super) fn strike(&mut self, which: usize) {
        let strike = self.scenario.strikes[which];
        for server in 0..self.scenario.servers_of(strike.share).max(1) {
            self.recorder.struck(server, self.now);
            match strike.fault {
                Fault::Stall(wait) => {
                    self.servers[server].stalled_until =
                        self.now + u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
                }
                Fault::Kill | Fault::Restart => {
                    for attempt in self.servers[server].reset() {
                        self.answer(attempt, Duration::ZERO, Verdict::Failure(Failure::Reset));
                    }
                    self.servers[server].fault =
                        (strike.fault == Fault::Kill).then_some(strike.fault);
                }
                Fault::BlackHole => {
                    self.servers[server].reset();
                    self.servers[server].fault = Some(strike.fault);
                }
                Fault::FastErrors | Fault::Pace(_) => {
                    self.servers[server].fault = Some(strike.fault);
                }
                Fault::Back => self.servers[server].fault = None,
            }
        }
    }
}
