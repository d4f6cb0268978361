//! Owns the table of faults: what is done to whom and when, and what must hold then.
//!
//! The targets are those of the project's plan. A fault that others cannot be given (their binary has no such thing) says so.

use crate::names::Mood;
use crate::setup::Wants;

/// One thing that is done. Backends go by their number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Kill(usize),
    Revive(usize),
    Freeze(usize),
    Thaw(usize),
    /// A line to its control line.
    Tell(usize, &'static str),
    TellAll(&'static str),
    /// Of a hundred packets so many are lost.
    Lose(usize, u8),
    LoseNone,
    Reloads(u32),
    Upgrade,
    /// Drains and ends the instance; another is there.
    Term,
    /// One more backend by a reload.
    Join,
    Names(Mood),
    /// Opens so many connections that say nothing.
    Flood(usize),
    Unflood,
    /// The clock on the wall goes there.
    Clock(&'static str),
    /// The log's file system has room again.
    Room,
}

/// What must hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// No idempotent request fails of which no answer had begun. Kept connections may end under a client that has it sent again
    /// where an instance ends.
    NoneFailed { ends: bool },
    /// Those with the fault get under 1 % of picks within so many seconds.
    Out { seconds: f64 },
    /// The 99.9th of a hundred waits for its response head at most so long.
    Tail { ms: f64 },
    /// Attempts at the backends per request, beside the budget's floor of 3 per second and what it keeps: ten seconds of that, one of the
    /// other.
    Amplified { times: f64 },
    /// After so many seconds from healing none fails.
    Normal { seconds: f64 },
    /// Of the idempotent requests at most this share fails.
    Failed { share: f64 },
    /// The newcomer has at most so many times the others' mean in flight.
    InFlight { times: f64 },
}

/// What a fault needs of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    Packets,
    Mounts,
    Faketime,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) does: &'static str,
    pub(crate) backends: usize,
    /// Requests in a second.
    pub(crate) rate: f64,
    pub(crate) service_ms: u64,
    pub(crate) wants: Wants,
    pub(crate) needs: Needs,
    /// Whose picks are watched.
    pub(crate) faulty: &'static [usize],
    /// Milliseconds after the beginning of the fault.
    pub(crate) acts: &'static [(u64, Act)],
    pub(crate) heals: &'static [Act],
    /// Seconds; 0: as always.
    pub(crate) lasts: u64,
    pub(crate) targets: &'static [Target],
    /// Why others are not given it; empty where they are.
    pub(crate) alone: &'static str,
}

/// The defaults of Evenkeel.
const NONE: Wants = Wants::NONE;
const PER_TRY: Wants = Wants {
    per_try: true,
    ..NONE
};
const CHECKED: Wants = Wants {
    per_try: true,
    round_robin: true,
    checks: true,
    ..NONE
};

const LOST_NONE: &[Target] = &[Target::NoneFailed { ends: false }];
/// Per-try 1 s, the backoff's 250 ms at most, and what a busy machine adds.
const STALLED: &[Target] = &[
    Target::NoneFailed { ends: false },
    Target::Out { seconds: 2.0 },
    Target::Tail { ms: 1_300.0 },
];
/// Two checks of a second, each with its second until it has failed.
const STALLED_IN_TURN: &[Target] = &[
    Target::NoneFailed { ends: false },
    Target::Out { seconds: 4.0 },
    Target::Tail { ms: 1_300.0 },
];

/// What most rows are.
const ROW: Fault = Fault {
    name: "",
    does: "",
    backends: 5,
    rate: 500.0,
    service_ms: 5,
    wants: NONE,
    needs: Needs::Nothing,
    faulty: &[0],
    acts: &[],
    heals: &[],
    lasts: 0,
    targets: LOST_NONE,
    alone: "",
};

/// All faults, in the order in which they run.
pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "none",
        does: "no fault: what the machine itself adds",
        faulty: &[],
        ..ROW
    },
    Fault {
        name: "kill",
        does: "SIGKILL of one of 5",
        acts: &[(0, Act::Kill(0))],
        heals: &[Act::Revive(0)],
        ..ROW
    },
    Fault {
        name: "refused",
        does: "one of 5 closes its listener and what waits",
        acts: &[(0, Act::Tell(0, "refuse"))],
        heals: &[Act::Tell(0, "listen")],
        ..ROW
    },
    Fault {
        name: "rst",
        does: "one of 5 resets each request",
        acts: &[(0, Act::Tell(0, "mode reset 0"))],
        heals: &[Act::Tell(0, "mode fine 0")],
        ..ROW
    },
    Fault {
        name: "cut",
        does: "one of 5 resets within large answers",
        acts: &[(0, Act::Tell(0, "mode cut 0"))],
        heals: &[Act::Tell(0, "mode fine 0")],
        ..ROW
    },
    Fault {
        name: "stop",
        does: "SIGSTOP of one of 5; per-try 1 s",
        wants: PER_TRY,
        acts: &[(0, Act::Freeze(0))],
        heals: &[Act::Thaw(0)],
        targets: STALLED,
        ..ROW
    },
    Fault {
        name: "stop-rr",
        does: "the same by round robin with checks each second",
        wants: CHECKED,
        acts: &[(0, Act::Freeze(0))],
        heals: &[Act::Thaw(0)],
        targets: STALLED_IN_TURN,
        ..ROW
    },
    Fault {
        name: "silent",
        does: "one of 5 accepts, reads and says nothing; per-try 1 s",
        wants: PER_TRY,
        acts: &[(0, Act::Tell(0, "mode silent 0"))],
        heals: &[Act::Tell(0, "mode fine 0")],
        targets: STALLED,
        ..ROW
    },
    Fault {
        name: "dropped",
        does: "all packets of one of 5 are dropped; per-try 1 s",
        wants: PER_TRY,
        needs: Needs::Packets,
        acts: &[(0, Act::Lose(0, 100))],
        heals: &[Act::LoseNone],
        targets: STALLED,
        ..ROW
    },
    Fault {
        name: "dropped-rr",
        does: "the same by round robin with checks each second",
        wants: CHECKED,
        needs: Needs::Packets,
        acts: &[(0, Act::Lose(0, 100))],
        heals: &[Act::LoseNone],
        targets: STALLED_IN_TURN,
        ..ROW
    },
    Fault {
        name: "loss",
        does: "5 % of the packets of one of 5 are dropped",
        needs: Needs::Packets,
        acts: &[(0, Act::Lose(0, 5))],
        heals: &[Act::LoseNone],
        ..ROW
    },
    Fault {
        name: "slow",
        does: "one of 5 takes 10 times as long",
        acts: &[(0, Act::Tell(0, "mode slow 10"))],
        heals: &[Act::Tell(0, "mode fine 0")],
        ..ROW
    },
    Fault {
        name: "errors",
        does: "one of 10 answers 500 in 0.5 ms; 500 is tried again",
        backends: 10,
        wants: Wants {
            retry_500: true,
            ..NONE
        },
        acts: &[(0, Act::Tell(0, "mode error 500"))],
        heals: &[Act::Tell(0, "mode fine 0")],
        targets: &[Target::Failed { share: 0.0001 }],
        ..ROW
    },
    Fault {
        name: "errors-503",
        does: "one of 10 answers 503 in 0.5 ms, which is tried again by default",
        backends: 10,
        acts: &[(0, Act::Tell(0, "mode error 503"))],
        heals: &[Act::Tell(0, "mode fine 0")],
        targets: &[Target::Failed { share: 0.0001 }],
        ..ROW
    },
    Fault {
        name: "flapping",
        does: "one of 5 refuses every other second",
        acts: &[
            (0, Act::Tell(0, "refuse")),
            (1_000, Act::Tell(0, "listen")),
            (2_000, Act::Tell(0, "refuse")),
            (3_000, Act::Tell(0, "listen")),
            (4_000, Act::Tell(0, "refuse")),
        ],
        heals: &[Act::Tell(0, "listen")],
        ..ROW
    },
    Fault {
        name: "degraded",
        does: "2 of 5 take 3 times as long and fail 20 %",
        faulty: &[0, 1],
        acts: &[
            (0, Act::Tell(0, "mode degraded 20")),
            (0, Act::Tell(1, "mode degraded 20")),
        ],
        heals: &[Act::Tell(0, "mode fine 0"), Act::Tell(1, "mode fine 0")],
        ..ROW
    },
    Fault {
        name: "all-down",
        does: "all of 5 answer 503 for 30 s",
        rate: 200.0,
        faulty: &[],
        acts: &[(0, Act::TellAll("mode error 503"))],
        heals: &[Act::TellAll("mode fine 0")],
        lasts: 30,
        targets: &[
            Target::Amplified { times: 1.2 },
            Target::Normal { seconds: 2.0 },
        ],
        ..ROW
    },
    Fault {
        name: "dns",
        does: "the name server is silent, then fails; backends by name",
        wants: Wants {
            names: true,
            ..NONE
        },
        faulty: &[],
        acts: &[
            (0, Act::Names(Mood::Silent)),
            (2_500, Act::Names(Mood::Fails)),
        ],
        heals: &[Act::Names(Mood::Answers)],
        alone: "nginx 1.22 looks names of a group up at its start only; HAProxy's resolvers are not configured here",
        ..ROW
    },
    Fault {
        name: "descriptors",
        does: "400 silent connections where 256 descriptors are allowed",
        rate: 200.0,
        wants: Wants {
            descriptors: Some(256),
            ..NONE
        },
        faulty: &[],
        acts: &[(0, Act::Flood(400))],
        heals: &[Act::Unflood],
        targets: &[Target::Normal { seconds: 2.0 }],
        ..ROW
    },
    Fault {
        name: "log-full",
        does: "the access log's file system is full",
        wants: Wants { log: true, ..NONE },
        needs: Needs::Mounts,
        faulty: &[],
        heals: &[Act::Room],
        alone: "HAProxy sends its log away instead of writing files; nginx's is not configured here",
        ..ROW
    },
    Fault {
        name: "clock",
        does: "the clock on the wall goes back by two hours",
        wants: Wants {
            faked_clock: true,
            ..NONE
        },
        needs: Needs::Faketime,
        faulty: &[],
        acts: &[(0, Act::Clock("-7200"))],
        heals: &[Act::Clock("+0")],
        ..ROW
    },
    Fault {
        name: "reload",
        does: "100 reloads, one after another",
        faulty: &[],
        acts: &[(0, Act::Reloads(100))],
        ..ROW
    },
    Fault {
        name: "upgrade",
        does: "a new process takes over (SIGUSR2)",
        faulty: &[],
        acts: &[(0, Act::Upgrade)],
        targets: &[Target::NoneFailed { ends: true }],
        ..ROW
    },
    Fault {
        name: "term",
        does: "SIGTERM; clients go to a second instance when refused",
        faulty: &[],
        acts: &[(0, Act::Term)],
        targets: &[Target::NoneFailed { ends: true }],
        ..ROW
    },
    Fault {
        name: "join",
        does: "a new backend comes by a reload",
        service_ms: 20,
        faulty: &[],
        acts: &[(0, Act::Join)],
        targets: &[
            Target::NoneFailed { ends: false },
            Target::InFlight { times: 2.0 },
        ],
        ..ROW
    },
    Fault {
        name: "kill+slow",
        does: "SIGKILL of one of 5 while another takes 10 times as long",
        acts: &[(0, Act::Tell(1, "mode slow 10")), (1_000, Act::Kill(0))],
        heals: &[Act::Revive(0), Act::Tell(1, "mode fine 0")],
        ..ROW
    },
    Fault {
        name: "stop+reload",
        does: "SIGSTOP of one of 5, then 5 reloads; per-try 1 s",
        wants: PER_TRY,
        acts: &[(0, Act::Freeze(0)), (1_000, Act::Reloads(5))],
        heals: &[Act::Thaw(0)],
        targets: STALLED,
        ..ROW
    },
    Fault {
        name: "kill+kill",
        does: "SIGKILL of two of 5 at once",
        faulty: &[0, 1],
        acts: &[(0, Act::Kill(0)), (0, Act::Kill(1))],
        heals: &[Act::Revive(0), Act::Revive(1)],
        ..ROW
    },
];
