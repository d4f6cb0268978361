//! Owns `docs/reasons.md` as a text: every reason with what it means, from the lists in code.

use std::fmt::Write as _;

use evenkeel_balance::pick::Refusal;
use evenkeel_balance::standing::{Reason as Why, Standing};
use evenkeel_proxy::reason::Reason;

const HEAD: &str = "# Reasons

`cargo xtask reasons` writes this page from the lists in code; a test fails when it is stale. The same words stand in the access
log (`reason`), in metrics (`reason=\"...\"`), in `/v1/status` and in answers that are made here (`{reason}` of `error_pages`).

## Why an exchange ended as it did

`status` answers it where an answer is made here; what a backend answered keeps its own. 499 is told to nobody: the client has
gone or was cut, and the log says so (AWS's load balancer writes 460). `fault`: whose it is. `operator` means that configuration or capacity is short.

`gRPC` answers a call of gRPC instead ([grpc.md](grpc.md)).

| reason | status | gRPC | fault | meaning |
|---|---|---|---|---|
";

/// The page.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for reason in Reason::all() {
        let (word, status, blame) = (reason.word(), reason.status(), reason.blame().word());
        let status = match reason {
            Reason::Served | Reason::Rule => "its own".to_owned(),
            _ => status.to_string(),
        };
        let grpc = match reason {
            Reason::Served | Reason::Rule => "its own",
            _ => reason.grpc().name(),
        };
        let sent = match reason {
            Reason::BackendMalformed(_) => "In the backend's response. ",
            _ => "",
        };
        let meaning = reason.meaning();
        // Writing to a text does not fail.
        let _ = writeln!(
            page,
            "| `{word}` | {status} | {grpc} | {blame} | {sent}{meaning} |"
        );
    }
    page.push_str("\n## Why no backend was picked\n\nThey are reasons of exchanges too, above.\n\n| refusal | meaning |\n|---|---|\n");
    for refusal in Refusal::ALL {
        let _ = writeln!(page, "| `{}` | {} |", refusal.word(), refusal.meaning());
    }
    page.push_str("\n## Why a backend's standing is what it is\n\nStandings, worst first:");
    for standing in [
        Standing::Disabled,
        Standing::Draining,
        Standing::Down,
        Standing::Ejected,
        Standing::Probing,
        Standing::Unproven,
        Standing::Serving,
    ] {
        let _ = write!(page, " `{}`", standing.word());
    }
    page.push_str(".\n\n| reason | meaning |\n|---|---|\n");
    for why in Why::ALL {
        let _ = writeln!(page, "| `{}` | {} |", why.word(), why.meaning());
    }
    page
}
