//! Owns `host_map:` of a rule: a file of hosts and services, a line each; and the places of its services in the plan.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::keys::HOST_MAP;
use crate::limits;
use crate::lower::rules::host;
use crate::lower::{Parts, Places};
use crate::plan::{Action, HostMap, HostPattern};
use crate::problem::{At, clipped};
use crate::read::{Reading, Scalar};
use crate::tree::Node;

/// Problems of one file that are told; who mends them sees the rest.
const TOLD_MOST: usize = 10;

/// A map that names services still by name.
pub(crate) struct Raw {
    pub(crate) at: At,
    /// Its file.
    pub(crate) name: String,
    /// For each of its services the first line that names it.
    pub(crate) services: Vec<Line>,
    pub(crate) map: Arc<HostMap>,
}

/// Where a word stands in a map.
pub(crate) struct Line {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// `{ file: maps/hosts.map }`
pub(super) fn read(reading: &Reading, node: &Node) -> Option<Raw> {
    let map = reading.map(node, &HOST_MAP)?;
    let file = map.get("file");
    if file.is_none() {
        reading.error(map.at, "missing", "a map of hosts is read from a `file`");
    }
    let read = file.and_then(|node| {
        let (path, bytes) = reading.file(node)?;
        lines(reading, node, &path, &bytes)
    });
    map.done();
    read
}

/// Puts places in the plan where its names stood.
pub(super) fn resolve(
    map: &Raw,
    parts: &Parts,
    services: &Places<'_>,
    reading: &Reading,
) -> Action {
    let names = map.map.services().iter().zip(&map.services);
    let place = |(name, at): (&Arc<str>, &Line)| {
        let found = services.get(&**name).copied();
        if found.is_none() && !parts.stands("services", Some(name)) {
            let message = format!(
                "{}:{}:{}: there is no service `{}`",
                map.name,
                at.line,
                at.column,
                clipped(name)
            );
            reading.error(map.at, "unknown_service", message);
        }
        found.unwrap_or(usize::MAX)
    };
    Action::ForwardMap(map.map.clone(), names.map(place).collect())
}

/// Where a word stands, and what is wrong with it.
type Fault = (usize, usize, String);

fn lines(reading: &Reading, node: &Node, path: &Path, bytes: &[u8]) -> Option<Raw> {
    let name = path.display().to_string();
    if bytes.len() > limits::FILE_BYTES {
        let most = limits::FILE_BYTES / 1024 / 1024;
        reading.error(
            node.at,
            "range",
            format!("{name}: a map has at most {most} MiB"),
        );
        return None;
    }
    let mut map = HostMap::default();
    let (mut places, mut seen) = (HashMap::new(), HashMap::<String, usize>::new());
    let (mut faults, mut services) = (Vec::<Fault>::new(), Vec::new());
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let number = number + 1;
        let entry = match entry(line) {
            Ok(None) => continue,
            Ok(Some(entry)) => entry,
            Err((column, message)) => {
                faults.push((number, column, message));
                continue;
            }
        };
        let at = entry.host.0;
        if seen.len() >= limits::MAP_HOSTS {
            let most = limits::MAP_HOSTS;
            faults.push((number, at, format!("more than {most} hosts in one map")));
            break;
        }
        let whole = entry.whole();
        if let Some(earlier) = seen.insert(whole, number) {
            faults.push((
                number,
                at,
                format!(
                    "`{}` stands in line {earlier} already",
                    clipped(entry.host.1)
                ),
            ));
            continue;
        }
        let place = map.service(&mut places, entry.service.1);
        if place as usize == services.len() {
            services.push(Line {
                line: number,
                column: entry.service.0,
            });
        }
        match entry.suffix {
            true => map.insert_suffix(&entry.key, place),
            false => map.insert_exact(&entry.key, place),
        }
    }
    if seen.is_empty() && faults.is_empty() {
        reading.error(node.at, "empty", format!("{name}: there is no host in it"));
        return None;
    }
    tell(reading, node, &name, &faults);
    faults.is_empty().then(|| Raw {
        at: node.at,
        name,
        services,
        map: Arc::new(map),
    })
}

fn tell(reading: &Reading, node: &Node, name: &str, faults: &[Fault]) {
    for (line, column, message) in faults.iter().take(TOLD_MOST) {
        reading.error(node.at, "map", format!("{name}:{line}:{column}: {message}"));
    }
    if let Some(more) = faults.len().checked_sub(TOLD_MOST).filter(|more| *more > 0) {
        reading.error(node.at, "map", format!("{name}: and {more} more lines"));
    }
}

/// A word and its column.
type Word<'t> = (usize, &'t str);

/// What a line says.
struct Entry<'t> {
    host: Word<'t>,
    service: Word<'t>,
    /// The host as rules see it, or what follows `*.`.
    key: Arc<str>,
    suffix: bool,
}

impl Entry<'_> {
    /// By what equal hosts are known.
    fn whole(&self) -> String {
        match self.suffix {
            true => format!("*.{}", self.key),
            false => self.key.to_string(),
        }
    }
}

/// None: there is nothing in the line, or a comment.
fn entry(line: &[u8]) -> Result<Option<Entry<'_>>, (usize, String)> {
    let Some([host, service]) = words(line)? else {
        return Ok(None);
    };
    let (key, suffix) = host_of(host.1).map_err(|message| (host.0, message))?;
    Ok(Some(Entry {
        host,
        service,
        key,
        suffix,
    }))
}

/// The two words of a line.
fn words(line: &[u8]) -> Result<Option<[Word<'_>; 2]>, (usize, String)> {
    let text = std::str::from_utf8(line).map_err(|_| (1, "the line is not UTF-8".to_owned()))?;
    let mut words = text.split_ascii_whitespace().map(|word| {
        // Both are of this line: how far one stands behind the other.
        let before = word.as_ptr().addr() - text.as_ptr().addr();
        (
            text.get(..before)
                .map_or(0, |before| before.chars().count())
                + 1,
            word,
        )
    });
    let mut words = words
        .by_ref()
        .take_while(|(_, word)| !word.starts_with('#'));
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(None),
        (Some(host), Some(service), None) => Ok(Some([host, service])),
        (Some((at, _)), None, _) => Err((
            at,
            "a line is a host and a service; the service is missing".into(),
        )),
        (_, _, Some((at, _))) => Err((at, "a line is a host and a service, and no more".into())),
    }
}

/// A host as rules see it, and whether it is what follows `*.`.
fn host_of(text: &str) -> Result<(Arc<str>, bool), String> {
    match host(&Scalar::plain(text))? {
        HostPattern::Exact(name) => Ok((name, false)),
        HostPattern::Suffix(suffix) => Ok((suffix.trim_start_matches('.').into(), true)),
        HostPattern::Wildcard(_) => Err(format!(
            "`{}`: a map holds names and `*.example.com`, no other pattern",
            clipped(text)
        )),
    }
}
