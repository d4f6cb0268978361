//! Owns the decision whether a failed attempt may be made again, and when.
//!
//! Pure: facts, settings and chance in, a decision out; `Decision::charge` then asks the service's budget. Never sends, waits or
//! chooses a backend. Safety comes before settings: no setting makes a request repeatable that is not (RFC 9110
//! section 9.2.2). Read next: `budget`.

/// How many retries a service may afford.
pub mod budget;

use std::time::Duration;

use crate::ask::ClassId;
use crate::hashing::scale;
use crate::setters::setters;
use crate::verdict::Fault;
use budget::{Budget, BudgetSettings};

/// The most attempts of an exchange that are not counted because they reached nobody: it looks further for somebody who is there, and not
/// through thousands. With them an exchange connects to 11 backends at most by default.
pub const EXCUSED_MOST: u32 = 8;

/// What reaches nobody is known so soon: a port that is closed within a round trip. What took longer cost the client's time, as of a host
/// that is switched off (3 s on Linux), and is an attempt: [`Progress::Unsent`].
pub const UNREACHED_WITHIN: Duration = Duration::from_millis(250);

/// What is known of the attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// What went wrong.
    pub fault: Fault,
    /// Doing it twice is the same as once: by method (RFC 9110 section 9.2.2) or by the operator's word.
    pub idempotent: bool,
    /// How far the exchange got.
    pub progress: Progress,
    /// The request body can be sent again: there is none, or all of it is still held.
    pub replayable: bool,
    /// The connection had carried an earlier exchange, so it may have been closed under the request. Says which
    /// wait is right; it never excuses what is not idempotent.
    pub reused: bool,
    /// Attempts of this exchange so far, the failed one included: 1 or more.
    pub made: u32,
    /// Those of them after which a [`Decision`] said that they are excused.
    pub excused: u32,
    /// Time until the exchange must have its response head; `None` when nothing limits it.
    pub deadline_left: Option<Duration>,
    /// What an attempt usually takes to its response head; zero when unknown: a service then takes the mean of the class.
    pub expected: Duration,
    /// The class of the exchange.
    pub class: ClassId,
    /// A backend that this exchange has not tried may be picked.
    pub untried: bool,
    /// How long the backend asked to be left alone, whatever the fault: `Retry-After`, or gRPC's pushback.
    pub rest: Option<Duration>,
}

impl Attempt {
    /// The first attempt, which failed so: it was sent, can be made again, must not be done twice, and may go to another backend. Nothing
    /// limits its time.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            idempotent: false,
            progress: Progress::Sent,
            replayable: true,
            reused: false,
            made: 1,
            excused: 0,
            deadline_left: None,
            expected: Duration::ZERO,
            class: ClassId(0),
            untried: true,
            rest: None,
        }
    }
}

setters!(Attempt {
    idempotent: bool,
    progress: Progress,
    replayable: bool,
    reused: bool,
    made: u32,
    excused: u32,
    expected: Duration,
    class: ClassId,
    untried: bool,
    ;
    deadline_left: Duration,
    rest: Duration,
});

/// How far the exchange got when the attempt failed. Each step implies those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Nobody took the connection, and that was known within [`UNREACHED_WITHIN`]: it was refused, or there is no way to the address. It
    /// cost no backend anything.
    Unreached,
    /// No byte of the request was written; or the backend vouches that it processed nothing
    /// (`REFUSED_STREAM`, or above the last stream of a `GOAWAY`: RFC 9113 section 8.7).
    Unsent,
    /// A byte of the request was written: the backend may have acted on it.
    Sent,
    /// A byte of the response was passed on to the client.
    Relayed,
}

/// When a service retries, how often and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySettings {
    /// Attempts per exchange, the first included; 1 (or 0) is off.
    pub attempts: u32,
    /// What is worth another attempt.
    pub on: RetryOn,
    /// The longest first wait; it doubles with each retry. Zero never waits.
    pub backoff_base: Duration,
    /// No wait of the doubling is longer.
    pub backoff_max: Duration,
    /// A backend that asks for a longer rest (`Retry-After`) is not waited for.
    pub retry_after_max: Duration,
    /// How many retries the service may afford.
    pub budget: BudgetSettings,
}

impl Default for RetrySettings {
    /// 3 attempts on connect, reset, timeout, overload, 502, 503, 504 and gRPC `UNAVAILABLE`; 25 ms doubling to 250 ms
    /// (Envoy's figures); 300 s (linkerd's).
    fn default() -> Self {
        Self {
            attempts: 3,
            on: RetryOn::default(),
            backoff_base: Duration::from_millis(25),
            backoff_max: Duration::from_millis(250),
            retry_after_max: Duration::from_secs(300),
            budget: BudgetSettings::default(),
        }
    }
}

setters!(RetrySettings {
    attempts: u32,
    on: RetryOn,
    backoff_base: Duration,
    backoff_max: Duration,
    retry_after_max: Duration,
    budget: BudgetSettings,
    ;
});

/// The faults and statuses that are worth another attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryOn {
    /// No connection came about.
    pub connect: bool,
    /// The connection broke.
    pub reset: bool,
    /// No response head in time.
    pub timeout: bool,
    /// The answer was not the protocol.
    pub protocol: bool,
    /// The backend said that it has too much to do.
    pub overloaded: bool,
    /// HTTP statuses.
    pub statuses: Vec<u16>,
    /// gRPC statuses.
    pub grpc: Vec<u8>,
}

impl RetryOn {
    /// Nothing is worth another attempt.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            connect: false,
            reset: false,
            timeout: false,
            protocol: false,
            overloaded: false,
            statuses: Vec::new(),
            grpc: Vec::new(),
        }
    }

    fn names(&self, fault: Fault) -> bool {
        match fault {
            Fault::Connect => self.connect,
            Fault::Reset => self.reset,
            Fault::Timeout => self.timeout,
            Fault::Protocol => self.protocol,
            Fault::Overloaded { .. } => self.overloaded,
            Fault::Status(status) => self.statuses.contains(&status),
            Fault::Grpc(status) => self.grpc.contains(&status),
        }
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        Self {
            connect: true,
            reset: true,
            timeout: true,
            protocol: false,
            overloaded: true,
            statuses: vec![502, 503, 504],
            grpc: vec![14],
        }
    }
}

setters!(RetryOn {
    connect: bool,
    reset: bool,
    timeout: bool,
    protocol: bool,
    overloaded: bool,
    statuses: Vec<u16>,
    grpc: Vec<u8>,
    ;
});

/// May the attempt be made again.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, after this wait.
    Again {
        /// Zero when nothing speaks for waiting.
        after: Duration,
        /// The attempt that failed reached nobody: it is not counted, nor does the next one cost the budget anything.
        excused: bool,
    },
    /// No, and why: the first of these reasons that holds.
    No(Reason),
}

/// Why an attempt is not made again, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client has part of a response.
    ResponseStarted,
    /// The backend may have acted on a request that must not be done twice.
    NotSafe,
    /// Part of the request body is gone.
    NotReplayable,
    /// The settings do not name this fault.
    NotRetryable,
    /// As many attempts as the settings allow.
    AttemptsExhausted,
    /// Only backends that asked for a rest are left, and it is longer than the settings honour.
    RetryAfterTooLong,
    /// The wait and a usual response do not fit into what is left of the deadline.
    DeadlineTooClose,
    /// The service has no retries left: more load would not help it.
    BudgetExhausted,
}

impl Reason {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::ResponseStarted,
        Self::NotSafe,
        Self::NotReplayable,
        Self::NotRetryable,
        Self::AttemptsExhausted,
        Self::RetryAfterTooLong,
        Self::DeadlineTooClose,
        Self::BudgetExhausted,
    ];

    /// The word for logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ResponseStarted => "response_started",
            Self::NotSafe => "not_safe",
            Self::NotReplayable => "not_replayable",
            Self::NotRetryable => "not_retryable",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::RetryAfterTooLong => "retry_after_too_long",
            Self::DeadlineTooClose => "deadline_too_close",
            Self::BudgetExhausted => "budget_exhausted",
        }
    }
}

impl Decision {
    /// Takes a yes out of the budget; a no costs nothing. Give it back with [`Budget::refund`] when the retry is not made after all.
    pub fn charge(self, budget: &Budget) -> Self {
        match self {
            Self::Again { excused: false, .. } if !budget.withdraw() => {
                Self::No(Reason::BudgetExhausted)
            }
            decision => decision,
        }
    }
}

/// Decides all but the budget. `chance` is a uniformly random word.
pub fn decide(attempt: &Attempt, settings: &RetrySettings, chance: u64) -> Decision {
    if attempt.progress == Progress::Relayed {
        return Decision::No(Reason::ResponseStarted);
    }
    if attempt.progress == Progress::Sent && !attempt.idempotent {
        return Decision::No(Reason::NotSafe);
    }
    if !attempt.replayable {
        return Decision::No(Reason::NotReplayable);
    }
    if !settings.on.names(attempt.fault) {
        return Decision::No(Reason::NotRetryable);
    }
    let excused = is_excused(attempt, settings);
    if !excused && counted(attempt) >= settings.attempts {
        return Decision::No(Reason::AttemptsExhausted);
    }
    let rest = rest(attempt);
    if rest > settings.retry_after_max {
        return Decision::No(Reason::RetryAfterTooLong);
    }
    let after = match excused {
        true => Duration::ZERO,
        false => rest.saturating_add(jitter(longest_wait(attempt, settings), chance)),
    };
    match attempt.deadline_left {
        Some(left) if after.saturating_add(attempt.expected) >= left => {
            Decision::No(Reason::DeadlineTooClose)
        }
        _ => Decision::Again { after, excused },
    }
}

/// Whether the attempt is not counted: it reached nobody, and another backend may be there. Where retries are off they are off.
fn is_excused(attempt: &Attempt, settings: &RetrySettings) -> bool {
    attempt.progress == Progress::Unreached
        && attempt.untried
        && attempt.excused < EXCUSED_MOST
        && settings.attempts > 1
}

/// Attempts that count, the failed one included.
const fn counted(attempt: &Attempt) -> u32 {
    attempt.made.saturating_sub(attempt.excused)
}

/// How long the backend asked to be left alone. It speaks for itself alone: an untried backend owes it nothing.
fn rest(attempt: &Attempt) -> Duration {
    let said = match attempt.fault {
        Fault::Overloaded { retry_after } => retry_after,
        _ => None,
    };
    match attempt.untried {
        true => Duration::ZERO,
        false => said.max(attempt.rest).unwrap_or_default(),
    }
}

/// The bound of the wait: none before the first retry when that goes to another backend, or when only a connection was
/// stale; else doubling from the base, up to the maximum.
fn longest_wait(attempt: &Attempt, settings: &RetrySettings) -> Duration {
    let stale = attempt.reused && attempt.fault == Fault::Reset;
    let made = counted(attempt);
    if made <= 1 && (attempt.untried || stale) {
        return Duration::ZERO;
    }
    let doublings = made.saturating_sub(1);
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    settings
        .backoff_base
        .saturating_mul(factor)
        .min(settings.backoff_max)
}

/// Full jitter: uniform from zero up to the bound. Least work of the variants compared in "Exponential Backoff And Jitter"
/// (AWS, 2015).
fn jitter(bound: Duration, chance: u64) -> Duration {
    Duration::from_nanos(scale(
        chance,
        u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX),
    ))
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    /// A plain GET that met a reset on a fresh connection, with another backend at hand.
    const GET: Attempt = Attempt {
        fault: Fault::Reset,
        idempotent: true,
        progress: Progress::Sent,
        replayable: true,
        reused: false,
        made: 1,
        excused: 0,
        deadline_left: None,
        expected: Duration::ZERO,
        class: ClassId(0),
        untried: true,
        rest: None,
    };
    const POST: Attempt = Attempt {
        idempotent: false,
        ..GET
    };
    /// The same, with no other backend at hand.
    const ALONE: Attempt = Attempt {
        untried: false,
        ..GET
    };
    const NOW: Decision = Decision::Again {
        after: Duration::ZERO,
        excused: false,
    };

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn check(attempt: Attempt, expect: Decision) {
        assert_eq!(
            decide(&attempt, &RetrySettings::default(), 0),
            expect,
            "{attempt:?}"
        );
    }

    fn refuses(attempt: Attempt, reason: Reason) {
        check(attempt, Decision::No(reason));
    }

    #[test]
    fn safety() {
        check(GET, NOW);
        check(
            Attempt {
                progress: Progress::Unsent,
                ..GET
            },
            NOW,
        );
        refuses(
            Attempt {
                progress: Progress::Relayed,
                ..GET
            },
            Reason::ResponseStarted,
        );
        refuses(POST, Reason::NotSafe);
        check(
            Attempt {
                progress: Progress::Unsent,
                ..POST
            },
            NOW,
        );
        check(
            Attempt {
                progress: Progress::Unsent,
                fault: Fault::Connect,
                ..POST
            },
            NOW,
        );
        // A reused connection that failed after a write is no excuse.
        refuses(
            Attempt {
                reused: true,
                ..POST
            },
            Reason::NotSafe,
        );
        check(
            Attempt {
                reused: true,
                ..GET
            },
            NOW,
        );
        // Neither is an answer that sounds as if nothing was done.
        refuses(
            Attempt {
                fault: Fault::Status(503),
                ..POST
            },
            Reason::NotSafe,
        );
        refuses(
            Attempt {
                fault: Fault::Overloaded { retry_after: None },
                ..POST
            },
            Reason::NotSafe,
        );
        refuses(
            Attempt {
                replayable: false,
                ..GET
            },
            Reason::NotReplayable,
        );
        refuses(
            Attempt {
                replayable: false,
                progress: Progress::Unsent,
                ..POST
            },
            Reason::NotReplayable,
        );
    }

    #[test]
    fn what_is_worth_it() {
        for (fault, by_default) in [
            (Fault::Connect, true),
            (Fault::Reset, true),
            (Fault::Timeout, true),
            (Fault::Protocol, false),
            (Fault::Overloaded { retry_after: None }, true),
            (Fault::Status(502), true),
            (Fault::Status(503), true),
            (Fault::Status(504), true),
            (Fault::Status(500), false),
            (Fault::Grpc(14), true),
            (Fault::Grpc(13), false),
        ] {
            let attempt = Attempt { fault, ..GET };
            check(
                attempt,
                if by_default {
                    NOW
                } else {
                    Decision::No(Reason::NotRetryable)
                },
            );
            let none = RetrySettings {
                on: RetryOn::none(),
                ..RetrySettings::default()
            };
            assert_eq!(
                decide(&attempt, &none, 0),
                Decision::No(Reason::NotRetryable),
                "{fault:?}, none named"
            );
        }
        let only = |on| RetrySettings {
            on,
            ..RetrySettings::default()
        };
        let protocol = only(RetryOn {
            protocol: true,
            ..RetryOn::none()
        });
        assert_eq!(
            decide(
                &Attempt {
                    fault: Fault::Protocol,
                    ..GET
                },
                &protocol,
                0
            ),
            NOW
        );
        let teapot = only(RetryOn {
            statuses: vec![418],
            ..RetryOn::none()
        });
        assert_eq!(
            decide(
                &Attempt {
                    fault: Fault::Status(418),
                    ..GET
                },
                &teapot,
                0
            ),
            NOW
        );
        assert_eq!(decide(&GET, &teapot, 0), Decision::No(Reason::NotRetryable));
    }

    #[test]
    fn attempts() {
        check(Attempt { made: 2, ..GET }, NOW); // chance 0 waits 0
        refuses(Attempt { made: 3, ..GET }, Reason::AttemptsExhausted);
        refuses(
            Attempt {
                made: u32::MAX,
                ..GET
            },
            Reason::AttemptsExhausted,
        );
        let off = |attempts| RetrySettings {
            attempts,
            ..RetrySettings::default()
        };
        assert_eq!(
            decide(&GET, &off(1), 0),
            Decision::No(Reason::AttemptsExhausted)
        );
        assert_eq!(
            decide(&GET, &off(0), 0),
            Decision::No(Reason::AttemptsExhausted)
        );
    }

    /// Whoever reached nobody has had no attempt: while there are others, up to a bound, and neither counted nor paid.
    #[test]
    fn who_reaches_nobody_looks_further() {
        let nobody = Attempt {
            fault: Fault::Connect,
            progress: Progress::Unreached,
            ..GET
        };
        let further = Decision::Again {
            after: Duration::ZERO,
            excused: true,
        };
        let after = |made, excused| Attempt {
            made,
            excused,
            ..nobody
        };
        check(nobody, further);
        for made in 1..=EXCUSED_MOST {
            assert_eq!(
                decide(&after(made, made - 1), &RetrySettings::default(), u64::MAX),
                further
            );
        }
        // Then they count, as do those that reached somebody.
        check(after(EXCUSED_MOST + 1, EXCUSED_MOST), NOW);
        check(after(EXCUSED_MOST + 2, EXCUSED_MOST), NOW);
        refuses(
            after(EXCUSED_MOST + 3, EXCUSED_MOST),
            Reason::AttemptsExhausted,
        );
        check(after(3, 0), further);
        check(
            Attempt {
                progress: Progress::Sent,
                ..after(3, 1)
            },
            NOW,
        );
        refuses(
            Attempt {
                progress: Progress::Unsent,
                ..after(4, 1)
            },
            Reason::AttemptsExhausted,
        );
        // Those that were tried already are no others, and what is off is off.
        check(
            Attempt {
                untried: false,
                ..nobody
            },
            NOW,
        );
        refuses(
            Attempt {
                untried: false,
                ..after(3, 0)
            },
            Reason::AttemptsExhausted,
        );
        refuses(
            Attempt {
                deadline_left: Some(ms(1)),
                expected: ms(1),
                ..nobody
            },
            Reason::DeadlineTooClose,
        );
        let off = RetrySettings {
            attempts: 1,
            ..RetrySettings::default()
        };
        assert_eq!(
            decide(&nobody, &off, 0),
            Decision::No(Reason::AttemptsExhausted)
        );
        let unnamed = RetrySettings {
            on: RetryOn::none(),
            ..RetrySettings::default()
        };
        assert_eq!(
            decide(&nobody, &unnamed, 0),
            Decision::No(Reason::NotRetryable)
        );
        // The first retry of one that was there is its first.
        waits_up_to(
            Attempt {
                progress: Progress::Sent,
                ..after(4, 3)
            },
            ms(0),
        );
        waits_up_to(
            Attempt {
                progress: Progress::Sent,
                ..after(5, 3)
            },
            ms(50),
        );
        // Nobody pays for it.
        let none = Budget::new(&BudgetSettings {
            floor_per_second: 0,
            ..BudgetSettings::default()
        });
        assert_eq!(further.charge(&none), further);
        assert_eq!(NOW.charge(&none), Decision::No(Reason::BudgetExhausted));
    }

    /// The longest wait before retry number `made`, within a microsecond.
    fn waits_up_to(attempt: Attempt, longest: Duration) {
        let many = RetrySettings {
            attempts: 100,
            ..RetrySettings::default()
        };
        let after = |chance| match decide(&attempt, &many, chance) {
            Decision::Again { after, .. } => after,
            Decision::No(reason) => unreachable!("{reason:?} for {attempt:?}"),
        };
        let close = |chance, expect: Duration| {
            assert!(
                after(chance).abs_diff(expect) < Duration::from_micros(1),
                "{:?}, not {expect:?}: {attempt:?}",
                after(chance)
            );
        };
        close(0, Duration::ZERO);
        close(1 << 63, longest / 2);
        close(u64::MAX, longest);
    }

    #[test]
    fn backoff() {
        // R1 of the TypeScript load balancer: "exponential backoff" made attempts at 0, 40, 80 and 120 ms.
        waits_up_to(Attempt { made: 1, ..ALONE }, ms(25));
        waits_up_to(Attempt { made: 2, ..ALONE }, ms(50));
        waits_up_to(Attempt { made: 3, ..ALONE }, ms(100));
        waits_up_to(Attempt { made: 4, ..ALONE }, ms(200));
        waits_up_to(Attempt { made: 5, ..ALONE }, ms(250)); // capped
        waits_up_to(Attempt { made: 99, ..ALONE }, ms(250));
        // The first retry on another backend needs none; from the second on, several backends fail.
        waits_up_to(Attempt { made: 1, ..GET }, ms(0));
        waits_up_to(Attempt { made: 2, ..GET }, ms(50));
        waits_up_to(Attempt { made: 3, ..GET }, ms(100));
        // A stale connection says nothing about the backend: once, at once.
        waits_up_to(
            Attempt {
                reused: true,
                ..ALONE
            },
            ms(0),
        );
        waits_up_to(
            Attempt {
                reused: true,
                made: 2,
                ..ALONE
            },
            ms(50),
        );
        waits_up_to(
            Attempt {
                reused: true,
                fault: Fault::Timeout,
                ..ALONE
            },
            ms(25),
        );
    }

    #[test]
    fn retry_after() {
        let asks = |rest| Fault::Overloaded {
            retry_after: Some(rest),
        };
        let after = |after| Decision::Again {
            after,
            excused: false,
        };
        check(
            Attempt {
                fault: asks(ms(2_000)),
                ..ALONE
            },
            after(ms(2_000)),
        );
        check(
            Attempt {
                fault: asks(ms(300_000)),
                ..ALONE
            },
            after(ms(300_000)),
        );
        refuses(
            Attempt {
                fault: asks(ms(300_001)),
                ..ALONE
            },
            Reason::RetryAfterTooLong,
        );
        refuses(
            Attempt {
                fault: asks(Duration::MAX),
                ..ALONE
            },
            Reason::RetryAfterTooLong,
        );
        // So does an answer that says it beside another fault.
        let resting = Attempt {
            fault: Fault::Status(502),
            rest: Some(ms(2_000)),
            ..ALONE
        };
        check(resting, after(ms(2_000)));
        check(
            Attempt {
                untried: true,
                ..resting
            },
            NOW,
        );
        // It is a floor: the jitter comes on top, so that those who were told the same do not return together.
        let top = decide(
            &Attempt {
                fault: asks(ms(2_000)),
                ..ALONE
            },
            &RetrySettings::default(),
            1 << 63,
        );
        assert_eq!(top, after(ms(2_000) + ms(25) / 2));
        // Another backend asked for nothing.
        check(
            Attempt {
                fault: asks(ms(2_000)),
                ..GET
            },
            NOW,
        );
        check(
            Attempt {
                fault: asks(Duration::MAX),
                ..GET
            },
            NOW,
        );
        // The client is not kept for a rest that its deadline does not allow.
        let hurried = Attempt {
            deadline_left: Some(ms(1_000)),
            ..ALONE
        };
        refuses(
            Attempt {
                fault: asks(ms(2_000)),
                ..hurried
            },
            Reason::DeadlineTooClose,
        );
    }

    #[test]
    fn deadline() {
        let left = |left, expected| Attempt {
            deadline_left: Some(ms(left)),
            expected: ms(expected),
            ..GET
        };
        check(left(1_000, 999), NOW);
        refuses(left(1_000, 1_000), Reason::DeadlineTooClose);
        refuses(left(0, 0), Reason::DeadlineTooClose);
        check(left(1, 0), NOW);
        check(
            Attempt {
                expected: Duration::MAX,
                ..GET
            },
            NOW,
        ); // no deadline
        let waiting = Attempt {
            untried: false,
            ..left(30, 10)
        };
        assert_eq!(
            decide(&waiting, &RetrySettings::default(), u64::MAX),
            Decision::No(Reason::DeadlineTooClose)
        );
        check(waiting, NOW);
    }

    #[test]
    fn only_a_yes_is_charged() {
        let settings = BudgetSettings {
            ratio_permille: 0,
            floor_per_second: 1,
            keep: Duration::from_secs(1),
            ..BudgetSettings::default()
        };
        let budget = Budget::new(&settings);
        assert_eq!(
            Decision::No(Reason::NotSafe).charge(&budget),
            Decision::No(Reason::NotSafe)
        );
        assert_eq!(NOW.charge(&budget), NOW);
        assert_eq!(NOW.charge(&budget), Decision::No(Reason::BudgetExhausted));
        assert_eq!(
            Decision::No(Reason::NotSafe).charge(&budget),
            Decision::No(Reason::NotSafe)
        );
    }
}
