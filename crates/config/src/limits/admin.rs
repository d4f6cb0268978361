//! Owns the limits of who asks an instance about itself, and of programs that ask it for decisions.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

/// Where the instance is asked about itself: this machine only.
pub const ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9900));

/// Tokens of one file: each that is shown is compared with all, in 20 us.
pub const TOKENS: usize = 1_000;

/// Who is known to the admin address by a certificate.
pub const IDENTITIES: usize = 1_000;

/// Names that the admin address answers to.
pub const ADMIN_HOSTS: usize = 100;

/// Permissions of the admin address's Unix socket: who may write it may do everything, so its owner alone may.
pub const SOCKET_MODE: u32 = 0o600;

/// Decisions for other programs that are written down, of a million: they come by the thousand in a second.
pub const DECISIONS_AUDITED: u32 = 10_000;

/// Exchanges of each worker that are remembered with their decisions, of those that were drawn and of those that were asked for: each takes
/// some 2 KiB, 10 with 64 backends, and 150 if it was tried on sixteen of those.
pub const DECISION_RECORDS: usize = 64;

/// Bytes of those, of each of both: a hundred with 64 backends. The oldest go before so many are exceeded, however few there are.
pub const DECISION_RECORDS_BYTES: usize = 1024 * 1024;

/// Those that a worker has begun and not ended, of each of both: a response that is read for hours holds its record for as long.
pub const RECORDS_UNDER_WAY: usize = 128;

/// Those that a worker begins to record in a second, of each of both: one costs about as much as a request does.
pub const RECORDS_A_SECOND: u32 = 50;

/// Exchanges of each worker that are spans of traces and wait to be told, some 2 KiB each: those that end while so many wait are dropped.
pub const TRACES_WAIT: usize = 2_048;

/// Those that a worker has begun to trace and that have not ended: a response that is read for hours holds its own for as long.
pub const TRACES_OPEN: usize = 4_096;

/// Failures to say who one is that an address, or a network of IPv6 of 64 bits, has at once; one more comes back every 6 s.
pub const FAILURES: u32 = 10;

/// Addresses whose failures are remembered, 100 bytes each; those that find no room have as many as one has, together.
pub const FAILING: usize = 4_096;

/// Picks that other programs have and have not reported yet: each takes some 200 bytes, and is a place in flight on its backend.
pub const PICKS: usize = 65_536;

/// Picks of one ask, and outcomes of one report.
pub const PICKS_AT_ONCE: usize = 1_000;

/// A pick that another program has not reported by then is given back, as one of which nothing is known; an ask may say otherwise.
pub const PICK_EXPIRES: Duration = Duration::from_secs(60);

/// The longest that an ask may say: what a program takes with it that ends without a word is held for so long.
pub const PICK_EXPIRES_MOST: Duration = Duration::from_secs(3_600);

/// The longest that an ask may wait for a full service: a connection to the instance is ended after ten seconds without an answer.
pub const PICK_WAIT_MOST: Duration = Duration::from_secs(5);

/// Bytes of the body of such an ask or report: a thousand outcomes with all that can be said of each.
pub const PICKS_BODY: usize = 512 * 1024;
