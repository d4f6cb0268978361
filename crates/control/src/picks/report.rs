//! Owns what a report of another program says: of the backend, and whether the attempt is worth another. Pure.

use std::time::Duration;

use evenkeel_balance::retry::{Attempt, Progress};
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_proxy::observation::Decided;

/// What went wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// No connection.
    Connect,
    /// The connection broke.
    Reset,
    /// No answer in time.
    Timeout,
    /// What came was not the protocol.
    Protocol,
    /// The backend says that it has too much to do.
    Overloaded,
    /// The program gave up, or whoever it asks for: nothing is held against the backend.
    Left,
}

/// How an attempt went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The status of the answer. None: there was none, or it has none.
    pub status: Option<u16>,
    /// What went wrong; beside a status, behind the response head.
    pub wrong: Option<Wrong>,
    /// Times and bytes.
    pub figures: Decided,
    /// How long the backend asks to be left alone.
    pub retry_after: Option<Duration>,
    /// It asks whether to try again. None: it does not.
    pub again: Option<Again>,
}

/// What is to be known before an attempt is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Doing it twice is the same as once.
    pub idempotent: bool,
    /// A byte of the request was sent.
    pub sent: bool,
    /// Attempts so far, this one included.
    pub made: u32,
}

impl Report {
    /// What the response head says, if there was one, and how it ended. Without status and fault it went well.
    pub(super) fn ends(&self) -> (Option<Verdict>, Outcome) {
        let said = self.status.map(|status| match Verdict::of_status(status) {
            Verdict::Failure(Fault::Overloaded { .. }) => Verdict::Failure(self.overloaded()),
            verdict => verdict,
        });
        match (self.fault(), self.wrong) {
            (Some(fault), _) => (said, Outcome::Broken(fault)),
            (None, Some(_)) => (said, Outcome::ClientLeft),
            (None, None) => (Some(said.unwrap_or(Verdict::Success)), Outcome::Completed),
        }
    }

    const fn overloaded(&self) -> Fault {
        let retry_after = self.retry_after;
        Fault::Overloaded { retry_after }
    }

    const fn fault(&self) -> Option<Fault> {
        Some(match self.wrong {
            None | Some(Wrong::Left) => return None,
            Some(Wrong::Connect) => Fault::Connect,
            Some(Wrong::Reset) => Fault::Reset,
            Some(Wrong::Timeout) => Fault::Timeout,
            Some(Wrong::Protocol) => Fault::Protocol,
            Some(Wrong::Overloaded) => self.overloaded(),
        })
    }

    /// What failed: before an answer, by it, or behind it. None: nothing did.
    pub(super) fn failure(&self) -> Option<Fault> {
        match self.ends() {
            (Some(Verdict::Failure(fault)), _) | (_, Outcome::Broken(fault)) => Some(fault),
            _ => None,
        }
    }

    /// What is asked before another attempt. None: nothing failed, or nobody asks.
    pub(super) fn attempt(&self) -> Option<Attempt> {
        let (fault, again) = (self.failure()?, self.again?);
        let sent = again.sent && fault != Fault::Connect;
        let progress = if sent {
            Progress::Sent
        } else {
            Progress::Unsent
        };
        let attempt = Attempt::new(fault)
            .idempotent(again.idempotent)
            .progress(progress)
            .made(again.made.max(1));
        Some(match self.retry_after {
            Some(rest) => attempt.rest(rest),
            None => attempt,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        status: Option<u16>,
        wrong: Option<Wrong>,
        expect: (Option<Verdict>, Outcome),
        failed: bool,
    ) {
        let report = Report {
            status,
            wrong,
            ..Report::default()
        };
        assert_eq!(report.ends(), expect);
        assert_eq!(report.failure().is_some(), failed);
        assert_eq!(report.attempt(), None);
        let again = Some(Again {
            idempotent: false,
            sent: true,
            made: 2,
        });
        let attempt = Report { again, ..report }.attempt();
        assert_eq!(attempt.is_some(), failed);
        if let Some(attempt) = attempt {
            let unsent = wrong == Some(Wrong::Connect);
            assert_eq!(attempt.progress == Progress::Unsent, unsent);
            assert_eq!(attempt.made, 2);
        }
    }

    #[test]
    fn a_report_says_what_a_response_would() {
        let (well, failed) = (Some(Verdict::Success), |fault| {
            Some(Verdict::Failure(fault))
        });
        let completed = Outcome::Completed;
        check(None, None, (well, completed), false);
        check(Some(200), None, (well, completed), false);
        check(Some(404), None, (Some(Verdict::Neutral), completed), false);
        let status = failed(Fault::Status(500));
        check(Some(500), None, (status, completed), true);
        let busy = Fault::Overloaded { retry_after: None };
        check(Some(503), None, (failed(busy), completed), true);
        for (wrong, fault) in [
            (Wrong::Connect, Fault::Connect),
            (Wrong::Reset, Fault::Reset),
            (Wrong::Timeout, Fault::Timeout),
            (Wrong::Protocol, Fault::Protocol),
            (Wrong::Overloaded, busy),
        ] {
            let broken = Outcome::Broken(fault);
            check(None, Some(wrong), (None, broken), true);
            // Behind a good head.
            check(Some(200), Some(wrong), (well, broken), true);
        }
        check(None, Some(Wrong::Left), (None, Outcome::ClientLeft), false);
        let left = (well, Outcome::ClientLeft);
        check(Some(200), Some(Wrong::Left), left, false);
    }

    #[test]
    fn how_long_a_backend_wants_its_peace_is_heeded() {
        let rest = Some(Duration::from_secs(7));
        let again = Some(Again {
            idempotent: true,
            sent: true,
            made: 1,
        });
        let report = Report {
            status: Some(503),
            retry_after: rest,
            again,
            ..Report::default()
        };
        let fault = Fault::Overloaded { retry_after: rest };
        assert_eq!(report.failure(), Some(fault));
        assert_eq!(report.attempt().and_then(|attempt| attempt.rest), rest);
    }
}
