//! Owns what an answer says of its backend's load: read from its head or its trailers, and kept from the client.

use evenkeel_config::plan::{LoadPlan, LoadSource};
use evenkeel_wire::load::{self, FIELD, FIELD_BIN, Report, Unread};

use super::Try;
use crate::load::report;
use crate::net::Net;

impl<N: Net> Try<'_, '_, N> {
    /// Whether trailers may say it, and clients are not to hear of it.
    #[inline]
    pub(super) fn hides_load(&self) -> bool {
        let load = self.exchange.seat.live.plan.load.as_ref();
        load.is_some_and(|load| !load.keeps)
    }

    /// Takes in what the head that is here says. Cost where the service does not go by it: one look.
    #[inline]
    pub(super) fn hear_load(&mut self) {
        let exchange = self.exchange;
        if let Some(load) = &exchange.seat.live.plan.load {
            self.hear_head(load);
        }
    }

    /// The same of trailers, given as lines.
    #[inline]
    pub(super) fn hear_load_behind(&self, lines: &[u8]) {
        let load = self.exchange.seat.live.plan.load.as_ref();
        if let Some(load) = load.filter(|_| !lines.is_empty()) {
            self.hear_lines(load, lines);
        }
    }

    #[cold]
    fn hear_head(&mut self, load: &LoadPlan) {
        let (mut said, mut named) = (None, [false; 2]);
        for field in self.desk.response.fields() {
            // Of two fields the first counts; a server says one.
            let read = load::of_field(field.name, field.value, &load.metrics);
            if read.is_some() {
                named[usize::from(field.name.len() > FIELD.len())] = true;
                said = said.or(read);
            }
        }
        for (field, named) in [FIELD, FIELD_BIN].into_iter().zip(named) {
            if named && !load.keeps {
                let removed = self.desk.altered.response().remove(field);
                debug_assert!(removed.is_ok(), "it is a field that may go");
            }
        }
        self.take_load(load, said);
    }

    #[cold]
    fn hear_lines(&self, load: &LoadPlan, lines: &[u8]) {
        let said = lines.split(|&byte| byte == b'\n').find_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let value = line[colon + 1..].trim_ascii();
            load::of_field(&line[..colon], value, &load.metrics)
        });
        self.take_load(load, said);
    }

    fn take_load(&self, load: &LoadPlan, said: Option<Result<Report, Unread>>) {
        let Some(said) = said.filter(|_| load.from == LoadSource::Header) else {
            return;
        };
        let worker = &self.conn.worker;
        if let Ok(read) = &said {
            (self.pick.backend()).report_load(&report(read), worker.now());
        }
        self.exchange.seat.reported(worker.index, said.err());
    }
}
