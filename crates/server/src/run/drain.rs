//! Owns the last of a process's life: what it serves comes to its end within the drain's time, what does not is cut, and the exit code says which.
//!
//! What asks for the end, and when it may begin, is for `run`; who takes over, for `upgrade`.

use std::net::Shutdown;
use std::process::ExitCode;
use std::time::Duration;

use evenkeel_control::Control;
use tokio::time::Interval;
use tracing::{error, info, warn};

use super::{Instance, Signals};
use crate::admin::Served;
use crate::overlay::Kept;
use crate::upgrade::under_way::{self, Succeeded};

/// Of which part its lines in the log are: of `run`'s, as all that is said of a process's life. Who picks lines out by that need not know where code stands.
const PART: &str = "evenkeel::run";

/// The drain's deadline passed with work unfinished.
const UNFINISHED: u8 = 3;

/// So long what is cut at the drain's deadline has to be said, and workers to count what is left; one that is stuck is not waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Instance {
    /// Drains: by a signal, or as another process serves.
    pub(super) async fn end(
        mut self,
        mut succeeded: Option<Succeeded>,
        mut signals: Signals,
        mut ticks: Interval,
    ) -> ExitCode {
        let drain = self.control.live().plan.drain.within;
        match &mut succeeded {
            Some(succeeded) => {
                let process = succeeded.successor.child.id();
                info!(target: PART, "upgraded: process {process} serves, this one drains, at most {drain:?}");
                self.notify.succeeded_by(process);
                self.control.give_up(&succeeded.unwanted, process);
                self.admin.give_up();
                self.kept.give_up();
                succeeded.reply();
                if self.again {
                    // It may have read what is to be read before that was written.
                    succeeded.hang_up();
                }
                // It hears that it is alone; when this process ends, that.
                let _ = succeeded.successor.told.shutdown(Shutdown::Write);
            }
            None => {
                info!(target: PART, "draining, at most {drain:?}");
                self.control.drain();
            }
        }
        let deadline = ticks.tick().await + drain;
        // Until when what is cut has time to be told.
        let mut last = None;
        // Whoever restarts what has failed must not take this for a good end when nobody serves any more.
        let mut drained = ExitCode::SUCCESS;
        let code = loop {
            tokio::select! {
                now = ticks.tick() => {
                    self.control.preceded_by(self.before.left());
                    self.control.tick();
                    if let Some(one) = succeeded.as_mut().and_then(Succeeded::has_failed) {
                        error!(target: PART, "the process that took over has ended: {one}");
                        (succeeded, drained) = (None, ExitCode::FAILURE);
                    }
                    self.kept.follow(&self.control);
                    match self.control.left() {
                        Some(0) if last.is_some() => break ExitCode::from(UNFINISHED),
                        Some(0) if !self.late.drains() => {
                            info!(target: PART, "drained");
                            break drained;
                        }
                        left => match last {
                            Some(last) if now >= last => break ExitCode::from(UNFINISHED),
                            None if now >= deadline + counted(left) => {
                                last = Some(now + LAST_WORDS);
                                cut(&self.control, left);
                            }
                            _ => {}
                        },
                    }
                }
                _ = signals.reopen.recv() => self.control.reopen(),
                _ = signals.hangup.recv() => under_way::reload_elsewhere(succeeded.as_ref()),
                _ = signals.upgrade.recv() => under_way::refused(None, under_way::ENDS),
                // Who asks twice does not want to wait.
                _ = signals.end.interrupt.recv() => break ExitCode::from(UNFINISHED),
            }
        };
        self.late.end();
        finish((&self.admin, &mut ticks), self.kept, self.control).await;
        code
    }
}

/// Who had asked before another process was there to ask is answered; one that asks nothing is not waited for long.
async fn answered(admin: &Served, ticks: &mut Interval) {
    let last = ticks.tick().await + LAST_WORDS;
    while !admin.has_answered() && ticks.tick().await < last {}
}

/// Nothing is served any more: what is to be kept and told is.
async fn finish((admin, ticks): (&Served, &mut Interval), mut kept: Kept, mut control: Control) {
    answered(admin, ticks).await;
    kept.finish(&control).await;
    control.end_telling().await;
}

/// So long it is waited for a number of those that are left.
fn counted(left: Option<usize>) -> Duration {
    left.map_or(LAST_WORDS, |_| Duration::ZERO)
}

/// Ends what has outstayed the drain.
fn cut(control: &Control, left: Option<usize>) {
    let open = match left {
        None => "connections of a worker that does not answer".into(),
        Some(0) => "connections of the process that had taken over".into(),
        Some(open) => format!("{open} connections"),
    };
    warn!(target: PART, "{open} are cut: the drain's deadline has passed");
    control.cut_all();
}
