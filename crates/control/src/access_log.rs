//! Owns the access log: a thread of its own that encodes what workers saw and writes it down.
//!
//! A worker never waits for it: between them lies an [`Outlet`] that drops and counts what finds no room. Nor does the control
//! plane: it leaves orders (another plan, reopen, end) that the thread follows between two writes. Rows that cannot be written
//! are kept and tried again; meanwhile the outlet fills and drops. Read next: `row`.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_config::plan::{AccessLogPlan, LogTarget};
use evenkeel_proxy::outlet::{Outlet, Told};
use tracing::{error, info, warn};

/// A record as a line.
mod row;
pub(crate) use row::{address, protocol, status};

/// What of it is not shown.
mod redact;
pub(crate) use redact::{hides, put_query};

/// Where lines go.
mod sink;

pub(crate) use sink::Opened;
use sink::{Sink, Wrote, open};

/// From a write that failed to the next try.
const AGAIN: Duration = Duration::from_secs(1);

/// At the end, so many looks at a reader that does not read, ten a second.
const LOOKS: u32 = 20;

/// At the end, the thread is waited for so long: a write may hang in the kernel.
const LAST: Duration = Duration::from_secs(5);

/// Ticks from one word about rows that are lost to the next: a minute.
const TICKS: u32 = 600;

/// What became of rows, for whoever counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    written: AtomicU64,
    failed: AtomicU64,
}

/// What the thread is to do.
#[derive(Debug, Default)]
struct Orders {
    /// Another plan, and where its rows go if that is somewhere else.
    plan: Option<(AccessLogPlan, Option<Opened>)>,
    reopen: bool,
    end: bool,
}

#[derive(Debug, Default)]
struct Shared {
    orders: Mutex<Orders>,
    ordered: Condvar,
    counts: Arc<Counts>,
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access log of an instance, whether or not it has one now.
#[derive(Debug)]
pub(crate) struct AccessLog {
    outlet: Arc<Outlet>,
    shared: Arc<Shared>,
    /// For the thread, which begins with the first plan that wants it.
    told: Option<Receiver<Told>>,
    /// Says when the thread has ended.
    ended: Option<Receiver<()>>,
    /// What it writes by.
    plan: Option<AccessLogPlan>,
    /// Lost rows that were said, and ticks until the next word.
    said: (u64, u32),
}

impl AccessLog {
    pub(crate) fn new() -> Self {
        let (outlet, told) = Outlet::open();
        Self {
            outlet,
            shared: Arc::default(),
            told: Some(told),
            ended: None,
            plan: None,
            said: (0, 0),
        }
    }

    /// Opens where the rows of this plan go, if that is not open already.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(crate) fn open(&self, plan: Option<&AccessLogPlan>) -> io::Result<Option<Opened>> {
        let now = self.plan.as_ref().map(|plan| &plan.to);
        match plan {
            Some(plan) if now != Some(&plan.to) => open(&plan.to).map(Some),
            _ => Ok(None),
        }
    }

    /// Goes by this plan from now on, with what [`open`](Self::open) opened for it. Where workers are to write: none, if nowhere.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn follow(
        &mut self,
        plan: Option<&AccessLogPlan>,
        opened: Option<Opened>,
    ) -> io::Result<Option<Arc<Outlet>>> {
        // Without a plan, what workers still hold goes where rows went before.
        let Some(plan) = plan else { return Ok(None) };
        if self.plan.as_ref() != Some(plan) {
            match (self.told.take(), opened) {
                (Some(told), Some(opened)) => self.start(plan.clone(), told, opened)?,
                // There was none for the plan before, and what it was to read is gone.
                _ if self.ended.is_none() => return Err(io::ErrorKind::OutOfMemory.into()),
                (_, opened) => self.order(|orders| orders.plan = Some((plan.clone(), opened))),
            }
            self.plan = Some(plan.clone());
        }
        Ok(Some(self.outlet.clone()))
    }

    fn start(
        &mut self,
        plan: AccessLogPlan,
        told: Receiver<Told>,
        opened: Opened,
    ) -> io::Result<()> {
        let (ends, ended) = sync_channel(0);
        let writer = Writer {
            outlet: self.outlet.clone(),
            shared: self.shared.clone(),
            told,
            sink: Sink::new(opened),
            plan,
            rows: Vec::new(),
            written: 0,
            failing: false,
        };
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(&ends))?;
        self.ended = Some(ended);
        Ok(())
    }

    fn order(&self, order: impl FnOnce(&mut Orders)) {
        order(&mut self.shared.orders());
        self.shared.ordered.notify_one();
        self.outlet.wake();
    }

    /// Opens its file anew, so that another one can take the old one away.
    pub(crate) fn reopen(&self) {
        self.order(|orders| orders.reopen = true);
    }

    /// Says now and then that rows are lost.
    pub(crate) fn tick(&mut self) {
        let (said, left) = &mut self.said;
        *left = left.saturating_sub(1);
        let lost = self.outlet.dropped();
        if *left == 0 && lost > *said {
            warn!(
                rows = lost - *said,
                "the access log is slower than the exchanges: rows are dropped"
            );
            self.said = (lost, TICKS);
        }
    }

    /// Rows that were written, rows that were dropped, writes that failed.
    pub(crate) fn counts(&self) -> (Arc<Counts>, Arc<Outlet>) {
        (self.shared.counts.clone(), self.outlet.clone())
    }
}

impl Counts {
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Drop for AccessLog {
    /// Has the rest written; the workers have ended. Who does not read is not waited for.
    fn drop(&mut self) {
        let Some(ended) = self.ended.take() else {
            return;
        };
        let before = self.outlet.dropped();
        self.order(|orders| orders.end = true);
        let hangs = matches!(ended.recv_timeout(LAST), Err(RecvTimeoutError::Timeout));
        let lost = self.outlet.dropped() - before;
        if hangs || lost > 0 {
            warn!(
                rows = lost,
                "the last rows of the access log are not written"
            );
        }
    }
}

/// The thread's own.
struct Writer {
    outlet: Arc<Outlet>,
    shared: Arc<Shared>,
    told: Receiver<Told>,
    sink: Sink,
    plan: AccessLogPlan,
    /// Rows of one batch, encoded.
    rows: Vec<u8>,
    /// So many bytes of them are written.
    written: usize,
    /// The last write failed, and that was said.
    failing: bool,
}

impl Writer {
    /// Works until it is told to end. What it drops then tells that it has.
    fn run(mut self, _ends: &SyncSender<()>) {
        while !self.obey() {
            if !self.rows.is_empty() {
                if matches!(self.write(), Wrote::Failed(_)) {
                    self.rest();
                }
                continue;
            }
            match self.told.recv() {
                Ok(told) => self.take(told),
                Err(_) => return,
            }
        }
        self.end();
    }

    /// Does what was ordered. True: it is to end.
    fn obey(&mut self) -> bool {
        let Orders { plan, reopen, end } = {
            let mut orders = self.shared.orders();
            let end = orders.end;
            let taken = std::mem::take(&mut *orders);
            orders.end = end;
            taken
        };
        if let Some((plan, opened)) = plan {
            // What is encoded belongs to the plan before, if that can be written.
            while !self.rows.is_empty() && matches!(self.write(), Wrote::Bytes(_)) {}
            self.plan = plan;
            if let Some(opened) = opened {
                self.go_to(opened);
            }
        }
        if reopen && let LogTarget::File(path) = &self.plan.to {
            match open(&self.plan.to) {
                Ok(opened) => {
                    info!(path = %path.display(), "the access log is reopened");
                    self.go_to(opened);
                }
                Err(error) => error!(
                    path = %path.display(),
                    %error,
                    "the access log is not reopened: rows go on to the file that is open"
                ),
            }
        }
        end
    }

    /// A row that is written in part is written whole there.
    fn go_to(&mut self, opened: Opened) {
        self.sink = Sink::new(opened);
        let before = self.rows.get(..self.written).unwrap_or_default();
        let begin = before.iter().rposition(|&byte| byte == b'\n');
        self.rows.drain(..begin.map_or(0, |end| end + 1));
        self.written = 0;
    }

    fn take(&mut self, told: Told) {
        if let Told::Rows(batch) = told {
            for record in batch.records() {
                row::put(&record, &self.plan, &mut self.rows);
            }
            self.outlet.give_back(batch);
        }
    }

    fn write(&mut self) -> Wrote {
        let rows = self.rows.get(self.written..).unwrap_or_default();
        let wrote = self.sink.write(rows);
        match &wrote {
            Wrote::Bytes(length) => {
                let ends = rows[..*length].iter().filter(|&&byte| byte == b'\n');
                let ends = ends.count() as u64;
                self.shared
                    .counts
                    .written
                    .fetch_add(ends, Ordering::Relaxed);
                self.written += length;
                if self.written == self.rows.len() {
                    self.rows.clear();
                    self.written = 0;
                }
                if std::mem::take(&mut self.failing) {
                    info!("the access log is written again");
                }
            }
            Wrote::Waits => {}
            Wrote::Failed(error) => {
                self.shared.counts.failed.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    error!(%error, "the access log cannot be written: rows wait, then are dropped");
                }
            }
        }
        wrote
    }

    /// Until the next try, or the next order.
    fn rest(&self) {
        let orders = self.shared.orders();
        let none = |orders: &mut Orders| !orders.end && !orders.reopen && orders.plan.is_none();
        let _ = self.shared.ordered.wait_timeout_while(orders, AGAIN, none);
    }

    /// Writes what is left, as far as it is taken, and counts the rest.
    fn end(&mut self) {
        let mut looks = LOOKS;
        let mut left = self.outlet.take_left().into_iter();
        loop {
            while !self.rows.is_empty() && looks > 0 {
                match self.write() {
                    Wrote::Bytes(_) => {}
                    Wrote::Waits => looks -= 1,
                    Wrote::Failed(_) => looks = 0,
                }
            }
            let lost = self.rows.iter().filter(|&&byte| byte == b'\n').count();
            let before = self.rows[..self.written].iter();
            let written = before.filter(|&&byte| byte == b'\n').count();
            self.outlet.drop_rows(lost - written);
            self.rows.clear();
            self.written = 0;
            let next = self.told.try_recv().ok();
            match next.or_else(|| left.next().map(Told::Rows)) {
                Some(told) => self.take(told),
                None => return,
            }
        }
    }
}
