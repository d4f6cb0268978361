//! The process: flags, files and signals. Decides nothing about traffic.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// `check`
mod check;

/// `demo`
mod demo;

/// `explain`
mod explain;

/// Texts of configurations, from files or flags.
mod inputs;

/// The admin address.
mod admin;

/// Asking a running instance.
mod client;

/// What is said to programs.
mod json;

/// `backends`, `services` and `listeners`
mod operate;

/// Whom the process becomes.
mod privileges;

/// `run`
mod run;

/// Its configuration, read again.
mod reload;

/// Reading configurations for the control plane.
mod texts;

/// How many files it may have open.
mod files;

/// `config show` and `schema`
mod show;

/// `status`
mod status;

/// `services list`, `backends show`, `certs`; what `status` and `top` show
mod look;
/// `token`
mod token;

/// `top`
mod top;

/// `completions`
mod completions;

/// Rows and columns.
mod table;

/// The system's clock.
mod clock;

/// What the system's manager of services is told.
mod notify;

/// Sockets that it has bound.
mod activation;

/// What operators want, beyond one process.
mod overlay;

/// What is warned of at a start.
mod warned;

/// Another process in this one's place.
mod upgrade;

/// Files that change.
mod watch;

/// What the process says to people.
mod say;

/// What a running instance says.
mod log;

/// A load balancer.
#[derive(Parser)]
#[command(name = "evenkeel", version, arg_required_else_help = true)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve, by a configuration or by addresses given here
    ///
    /// SIGHUP reloads, SIGUSR1 opens the access log anew, SIGUSR2 upgrades, SIGTERM drains. Exit code: 0 drained, 1 could not start, or the process that took over has failed, 2 wrong usage, 3 cut what was left when the drain's
    /// deadline had passed.
    Run(run::Flags),
    /// Say everything that is wrong with a configuration
    ///
    /// A rule that is never reached is said where that is certain. Not found: a pattern that only several other patterns fill
    /// together, an expression within another, and what comes after four million comparisons (some 2,000 rules).
    ///
    /// With `--expect FILE`, a list of requests is tried too: `- { request: GET https://api.example.com/v1/x, rule: api }`.
    ///
    /// Exit code: 0 nothing but warnings, and every case holds; 1 errors, a file that cannot be read or a case that does not hold;
    /// 2 wrong usage.
    Check(check::Arguments),
    /// Say what would be done with a request, and why
    ///
    /// By the code that serves, without serving: the rule that it meets and why those before it do not hold, the answer or the
    /// service, every backend with its standing and score, and whom a pick takes. Of a malformed request, the reason.
    ///
    /// Exit code: 0 explained, 1 the configuration has errors or cannot be read, 2 wrong usage.
    Explain(explain::Arguments),
    /// Show the proxy over backends and clients of its own: what each gets, how it stands and why
    ///
    /// Five backends of different speeds on loopback, of which one fails, refuses connections and recovers on a schedule. On a
    /// terminal a live view, elsewhere a line a second; a summary at the end, after Ctrl-C too. NO_COLOR is honoured.
    ///
    /// Exit code: 0, 1 it cannot run here, or with `--once` it has not seen the recovery within two minutes, 2 wrong usage.
    Demo(demo::Arguments),
    /// Look at configurations
    #[command(subcommand)]
    Config(Config),
    /// Print the JSON Schema of configurations (draft 2020-12), for editors
    Schema,
    /// Show how a running instance stands: listeners, services, and backends that do not serve
    ///
    /// Exit code: 0, 1 it cannot be asked, 2 wrong usage.
    Status(status::Arguments),
    /// Watch a running instance: requests, attempts and failures per second, in flight, latency
    ///
    /// On a terminal until Ctrl-C; elsewhere a table for each look. Exit code: 0, 1 it cannot be asked, 2 wrong usage.
    Top(top::Arguments),
    /// Show what happened to a running instance, and what happens
    ///
    /// Exit code: 0, 1 it cannot be asked, 2 wrong usage.
    Events(look::events::Arguments),
    /// Show what a running instance sees that is wrong with it, or was
    ///
    /// Exit code: 0, 1 it cannot be asked, 2 wrong usage.
    Alerts(look::alerts::Arguments),
    /// Show what a running instance would have changed by what it sees, or have it changed
    ///
    /// Exit code: 0, 1 it cannot be asked, recommends no such thing or refuses, 2 wrong usage.
    Recommendations(look::recommendations::Arguments),
    /// Show requests of a running instance that failed, or one of them with its attempts
    ///
    /// Exit code: 0, 1 it cannot be asked or remembers no such request, 2 wrong usage.
    Requests(look::requests::Arguments),
    /// Drain, enable, disable, list and show backends of a running instance; add, remove and weigh them
    #[command(subcommand)]
    Backends(operate::Backends),
    /// Drain, enable, check and list services of a running instance
    #[command(subcommand)]
    Services(operate::Services),
    /// Steer clients away from listeners of a running instance, and back
    #[command(subcommand)]
    Listeners(operate::Listeners),
    /// Show the certificates of a running instance, and until when each holds
    ///
    /// Exit code: 0, 1 it cannot be asked, 2 wrong usage.
    Certs(look::Arguments),
    /// Have a running instance replaced by a new process, without losing a connection
    ///
    /// The binary is found anew by the path that the instance was started with. The new process takes all sockets, reads its
    /// configuration, and serves before the old one drains; one that does not serve in time changes nothing. SIGUSR2 does the same.
    ///
    /// Exit code: 0 the new process serves, 1 it does not, and the old one goes on, 2 wrong usage.
    Upgrade(upgrade::command::Arguments),
    /// Make credentials for the admin address
    #[command(subcommand)]
    Token(token::Token),
    /// Print a script that completes commands and flags in a shell
    ///
    /// `source <(evenkeel completions bash)`; for fish, to `~/.config/fish/completions/evenkeel.fish`. Exit code: 0, 2 wrong usage.
    Completions(completions::Arguments),
    /// Print the version
    Version,
}

#[derive(Subcommand)]
enum Config {
    /// Show every value that holds, defaults too, and where it comes from
    ///
    /// Values of the environment are shown by name. Exit code: 0, 1 errors or a file that cannot be read, 2 wrong usage.
    Show(show::Arguments),
    /// Say what a reload from one configuration to another would do; or, with `--from`, what lies between two revisions of a running instance
    ///
    /// Exit code: 0 compared, whether or not they differ, 1 errors, a file that cannot be read or an instance that cannot be asked, 2
    /// wrong usage.
    Diff(check::DiffArguments),
    /// Show which configuration a running instance runs by, and which it ran by before
    ///
    /// Exit code: 0, 1 it cannot be asked, 2 wrong usage.
    History(look::history::History),
    /// Have a running instance go back to a revision that it remembers
    ///
    /// Exit code: 0, 1 it cannot be asked or refuses, 2 wrong usage.
    Rollback(look::history::Rollback),
    /// Have a running instance read its configuration again, and say what came of it
    ///
    /// Exit code: 0 it was taken, 1 it cannot be asked, or there are errors and the old one goes on, 2 wrong usage.
    Reload(look::history::Reload),
}

fn main() -> ExitCode {
    match Flags::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Config(Config::Show(arguments)) => show::show(&arguments),
        Command::Schema => show::print_schema(),
        Command::Config(Config::Diff(arguments)) => check::diff(&arguments),
        Command::Config(Config::History(arguments)) => look::history::history(&arguments),
        Command::Config(Config::Rollback(arguments)) => look::history::rollback(&arguments),
        Command::Config(Config::Reload(arguments)) => look::history::reload(&arguments),
        Command::Events(arguments) => look::events::events(&arguments),
        Command::Alerts(arguments) => look::alerts::alerts(&arguments),
        Command::Recommendations(arguments) => look::recommendations::recommendations(&arguments),
        Command::Requests(arguments) => look::requests::requests(&arguments),
        Command::Status(arguments) => status::status(&arguments),
        Command::Top(arguments) => top::top(&arguments),
        Command::Certs(arguments) => look::certs(&arguments),
        Command::Completions(arguments) => completions::completions(&arguments, Flags::command()),
        Command::Backends(command) => operate::backends(&command),
        Command::Services(command) => operate::services(&command),
        Command::Listeners(command) => operate::listeners(&command),
        Command::Upgrade(arguments) => upgrade::command::upgrade(&arguments),
        Command::Token(command) => token::token(&command),
        Command::Version => {
            say::out(concat!("evenkeel ", env!("CARGO_PKG_VERSION"), "\n"));
            ExitCode::SUCCESS
        }
    }
}
