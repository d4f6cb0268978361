//! Owns `explain`: what would be done with a request, by the code that serves, against a configuration.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use evenkeel_balance::event::Listener;
use evenkeel_balance::time::Instant;
use evenkeel_balance::zone::{Zone, ZoneId};
use evenkeel_config::Plan;
use evenkeel_config::limits::FILE_BYTES;
use evenkeel_config::plan::Bind;
use evenkeel_proxy::explain::Explained;
use evenkeel_proxy::explain::written::{self, Written};
use evenkeel_proxy::live::Live;
use evenkeel_proxy::tls::secured::Identity;
use serde_json::json;

use crate::client::At;
use crate::operate::exit;
use crate::table::outline;
use crate::{inputs, json, say};

/// For people.
mod text;

pub(crate) use text::several;

/// For programs.
mod rows;

/// Of a running instance.
mod running;

use rows::Telling;
pub(crate) use running::WORDS;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The method, as on the wire
    method: String,
    /// `http://host/path?query`; or a path, or `*`, with `-H 'Host: NAME'`
    url: String,
    /// A field of the request; may be several
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field)]
    header: Vec<(String, String)>,
    /// The address that connects
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    from: IpAddr,
    /// A PEM file with the certificate that it shows, where the listener asks for one
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The listener that it connects to; else the one with the URL's port, or each in turn
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// A file, or a directory of *.yaml files; may be several. Without it a running instance is asked, which knows how its backends stand
    #[arg(short, long, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// Every rule that was passed over and every backend, not 20 of each
    #[arg(long)]
    all: bool,
    /// The values of request fields that a rule sets or adds: they may be credentials
    #[arg(long)]
    values: bool,
    /// As JSON: an explanation for each listener
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// So many of the rules that were passed over are shown, and of the backends of a service.
const SHOWN: usize = 20;

/// What a pick draws, here: always the same, so that the same question has the same answer.
pub(crate) const CHANCE: u64 = 0x9e37_79b9_7f4a_7c15;

pub(crate) fn explain(arguments: &Arguments) -> ExitCode {
    if arguments.config.is_empty() {
        return exit(asked(arguments));
    }
    let written = match written::bytes(&arguments.method, &arguments.url, &arguments.header) {
        Ok(written) => written,
        Err(error) => return wrong(&error.to_string()),
    };
    let shown = match arguments.cert.as_deref().map(identity).transpose() {
        Ok(shown) => shown,
        Err(error) => return wrong(&error),
    };
    let plan = match plan(&arguments.config, arguments.json) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let live = live(plan);
    let named = match &arguments.listener {
        Some(name) => match listener(&live.plan, name, name) {
            Ok(at) => Some(at),
            Err(error) => return wrong(&error),
        },
        None => None,
    };
    let explained = each(&live, named, arguments.from, shown.as_ref(), &written);
    let most = match arguments.all {
        true => usize::MAX,
        false => SHOWN,
    };
    let rows = explained
        .iter()
        .map(|explained| (explained, nearest(explained, most)));
    if arguments.json {
        let telling = Telling {
            values: arguments.values,
            wants: true,
            now: Instant::ZERO,
        };
        let rows: Vec<_> = rows
            .map(|(explained, passed)| rows::row(&live, explained, &passed, telling))
            .collect();
        json::out(&json!({ "explanations": rows }));
        return ExitCode::SUCCESS;
    }
    if let Some(fragment) = &written.fragment {
        say::log(&format!("`#{fragment}` is not sent: clients keep it"));
    }
    let asked = text::Asked {
        from: arguments.from.to_canonical(),
        most,
        values: arguments.values,
    };
    let texts: Vec<_> = rows
        .map(|(explained, passed)| text::text(&live, explained, &passed, &asked))
        .collect();
    say::out(&texts.join("\n"));
    ExitCode::SUCCESS
}

/// What a running instance says of it. For people it is an outline of what programs get.
fn asked(arguments: &Arguments) -> Result<ExitCode, String> {
    if arguments.cert.is_some() || arguments.all || arguments.values {
        return Err("`--cert`, `--all` and `--values` are for a configuration: give its file with `--config`".into());
    }
    let fields = arguments.header.iter();
    let fields: Vec<_> = fields
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let question = json!({
        "method": arguments.method, "url": arguments.url, "headers": fields, "from": arguments.from, "listener": arguments.listener,
    });
    let answer = arguments
        .at
        .admin()
        .send("POST", "/v1/explain", &question)?;
    match arguments.json {
        true => json::out(&answer),
        false => say::out(&outline(&answer["explanations"])),
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of a zone that a service prefers: the instance's, or a region's.
fn zone_name(plan: &Plan, zone: ZoneId) -> Option<&str> {
    let regions = plan.regions.iter().map(|region| &region.zone);
    let mut known = plan.zone.iter().chain(regions);
    known.find(|known| known.id() == zone).map(Zone::name)
}

/// `Name: value` of a flag.
fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a field is written `Name: value`")?;
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

/// Whom the certificate of a file makes of who shows it.
///
/// # Errors
/// It cannot be read, in words.
pub(crate) fn identity(file: &Path) -> Result<Identity, String> {
    let bytes = inputs::content(file, FILE_BYTES);
    bytes
        .and_then(|bytes| Identity::read(&bytes))
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// Wrong usage that only the values show.
fn wrong(error: &str) -> ExitCode {
    say::log(error);
    ExitCode::from(2)
}

/// The plan of a configuration; of one without, how to end. What is wrong is said.
fn plan(paths: &[PathBuf], as_json: bool) -> Result<Plan, ExitCode> {
    let problems = match inputs::read(paths) {
        Ok(read) => {
            if let Some(plan) = read.loaded.plan {
                return Ok(plan);
            }
            if !as_json {
                say::problems(&read.shown);
            }
            json::problems(&read.loaded.problems, &read.sources)
        }
        Err(error) => {
            if !as_json {
                say::log(&error);
            }
            json::unreadable(&error)
        }
    };
    if as_json {
        json::out(&json!({ "problems": problems }));
    }
    Err(ExitCode::FAILURE)
}

/// A plan as it is when it starts: no socket is opened, no backend was asked.
pub(crate) fn live(plan: Plan) -> Live {
    let events: Arc<dyn Listener> = Arc::new(());
    Live::join(plan, None, 1, &events, Instant::ZERO)
}

/// A listener of this name that asks rules, by its place; `shown` is the name for messages.
///
/// # Errors
/// There is none, in words.
pub(crate) fn listener(plan: &Plan, name: &str, shown: &str) -> Result<usize, String> {
    let mut listeners = plan.listeners.iter();
    let found = listeners.position(|listener| *listener.name == *name);
    let at = found.ok_or_else(|| {
        let names = plan.listeners.iter().map(|listener| &*listener.name);
        let names: Vec<_> = names.take(NAMES_SHOWN).collect();
        format!(
            "no listener is called `{shown}`; there are {}",
            names.join(", ")
        )
    })?;
    match plan
        .listeners
        .get(at)
        .is_some_and(|one| one.flows.is_some())
    {
        true => Err(format!(
            "listener `{shown}` speaks TCP, for which rules are not asked"
        )),
        false => Ok(at),
    }
}

/// So many names are listed in a message.
const NAMES_SHOWN: usize = 20;

/// A request at the listener that is named, or at each that it may come in by.
pub(crate) fn each<'l>(
    live: &'l Live,
    named: Option<usize>,
    from: IpAddr,
    shown: Option<&'l Identity>,
    written: &Written,
) -> Vec<Explained<'l>> {
    let listeners = match named {
        Some(at) => vec![at],
        None => candidates(&live.plan, written.port),
    };
    let explain = |at| Explained::of(live, at, from, shown, &written.bytes);
    listeners.into_iter().map(explain).collect()
}

/// The listeners that have this port; all, if none has. Nothing says that what stands in front leaves ports as they are.
fn candidates(plan: &Plan, port: Option<u16>) -> Vec<usize> {
    let has = |&at: &usize| {
        let binds = plan.listeners.get(at).map(|listener| &*listener.binds);
        let tcp = |bind: &Bind| matches!(bind, Bind::Tcp(address) if Some(address.port()) == port);
        binds.is_some_and(|binds| binds.iter().any(tcp))
    };
    // Those that speak TCP ask no rules.
    let speaks_http = |at: &usize| {
        plan.listeners
            .get(*at)
            .is_some_and(|one| one.flows.is_none())
    };
    let all = || (0..plan.listeners.len()).filter(speaks_http);
    let with_port: Vec<_> = all().filter(has).collect();
    match with_port.is_empty() {
        true => all().collect(),
        false => with_port,
    }
}

/// Rules that were passed over.
struct Passed {
    /// How many they are.
    all: usize,
    /// The nearest of them, in their order.
    rules: Vec<usize>,
}

/// Those that came furthest before a condition did not hold, and of these the last.
fn nearest(explained: &Explained<'_>, most: usize) -> Passed {
    let mut passed = explained.passed();
    let all = passed.len();
    if all > most {
        passed.sort_by_key(|one| (one.reached, one.rule));
        passed.drain(..all - most);
        passed.sort_by_key(|one| one.rule);
    }
    Passed {
        all,
        rules: passed.into_iter().map(|one| one.rule).collect(),
    }
}
