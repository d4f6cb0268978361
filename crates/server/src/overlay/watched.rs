//! Owns what is watched beside the overlay: alerts, silences, figures and what was learned of weights by the process before, read once at a start, and the writing of them,
//! once a minute, when another process is to take over, and at the end.
//!
//! A thread copies and writes; what cannot be read keeps nobody from starting.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use evenkeel_control::Control;
use evenkeel_control::monitor::KEPT_MOST;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tracing::{info, warn};

use super::{Kept, NO_THREAD, held, put};

pub(super) const NAME: &str = "watched.bin";

/// Ticks from a write to the next: a minute.
const EVERY: u32 = 600;

type Outcome = Result<(), String>;

/// The file of an instance that runs.
pub(super) struct Watched {
    /// None: it is kept nowhere.
    place: Option<PathBuf>,
    /// Ticks until it is written.
    rest: u32,
    writing: Option<oneshot::Receiver<Outcome>>,
    failed: bool,
}

impl Kept {
    /// Takes over what the process before has seen. To be called before the first look.
    pub(crate) fn remember(&self, control: &Control) {
        if let Some(place) = &self.watched.place {
            remember(place, control);
        }
    }

    /// Has what is watched written now; what is returned ends when that is done, or is not to be waited for.
    pub(crate) fn hurry(&mut self, control: &Control) -> Receiver<()> {
        let (writes, written) = sync_channel(0);
        match self.watched.writing {
            // It has all but the last moments.
            Some(_) => self.watched.rest = 0,
            None => self.watched.begin(control, Some(writes)),
        }
        written
    }
}

fn remember(place: &Path, control: &Control) {
    let read = held(place, KEPT_MOST).and_then(|bytes| {
        let known = |bytes: Vec<u8>| control.monitor().remember(&control.adjuster(), &bytes);
        let came = bytes.map(known);
        came.transpose().map_err(str::to_owned)
    });
    let place = place.display();
    match read {
        Ok(None) => {}
        Ok(Some(came)) => {
            let (services, alerts, learned) = (came.services, came.alerts, came.controllers);
            info!(
                "{place} has what was seen of {services} services, {alerts} alerts, and what was learned of the weights of {learned}"
            );
            if came.refused + came.strange > 0 {
                warn!(
                    "{place}: {} parts are not understood, and {} are of a later binary; they are left out",
                    came.refused, came.strange
                );
            }
        }
        Err(why) => {
            warn!("{place}: {why}; what is watched begins anew, and this is written over");
        }
    }
}

impl Watched {
    /// Beside the overlay, wherever that is.
    pub(super) fn at(overlay: Option<&Path>) -> Self {
        Self {
            place: overlay.map(|place| place.with_file_name(NAME)),
            rest: EVERY,
            writing: None,
            failed: false,
        }
    }

    /// Leaves it to another process.
    pub(super) fn give_up(&mut self) {
        self.place = None;
    }

    /// Has it written when that is due, once a tick.
    pub(super) fn follow(&mut self, control: &Control) {
        self.rest = self.rest.saturating_sub(1);
        if let Some(outcome) = &mut self.writing {
            let outcome = match outcome.try_recv() {
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Closed) => Err(NO_THREAD.into()),
                Ok(outcome) => outcome,
            };
            self.writing = None;
            self.wrote(outcome);
        }
        if self.rest == 0 {
            self.begin(control, None);
        }
    }

    /// Has it written a last time.
    pub(super) async fn finish(&mut self, control: &Control) {
        if let Some(writing) = self.writing.take() {
            // The next has more.
            let _ = writing.await;
        }
        self.begin(control, None);
        if let Some(writing) = self.writing.take() {
            let outcome = writing.await.unwrap_or_else(|_| Err(NO_THREAD.into()));
            self.wrote(outcome);
        }
    }

    /// `writes` lives as long as that takes.
    fn begin(&mut self, control: &Control, writes: Option<SyncSender<()>>) {
        self.rest = EVERY;
        let Some(place) = self.place.clone() else {
            return;
        };
        let (sender, outcome) = oneshot::channel();
        let (monitor, adjuster) = (control.monitor(), control.adjuster());
        // Without a thread the sender is dropped, and that is heard.
        let _ = std::thread::Builder::new()
            .name("watched".into())
            .spawn(move || {
                let bytes = monitor.memory(&adjuster).to_bytes();
                // Who takes over writes a minute later.
                let mine = super::mine();
                let outcome = put(&place, NAME, &bytes, &mine);
                drop(writes);
                // Nobody may wait for it any more.
                let _ = sender.send(outcome);
            });
        self.writing = Some(outcome);
    }

    /// What a write came to; a failure is said once.
    fn wrote(&mut self, outcome: Outcome) {
        let Some(place) = &self.place else { return };
        let place = place.display();
        match outcome {
            Ok(()) if std::mem::take(&mut self.failed) => {
                info!("what is watched is kept in {place} again");
            }
            Ok(()) => {}
            Err(why) => {
                if !std::mem::replace(&mut self.failed, true) {
                    warn!(
                        "what is watched is not kept in {place}, and is lost by a restart: {why}"
                    );
                }
            }
        }
    }
}
