//! HTTP/2 as its attackers and its users speak it, to the shipped binary: raw frames from both sides, curl, nghttp and h2load.
//! What must hold under attack: others are answered, what a flood costs is bounded, and the flood's connection ends.

pub(crate) mod backends;
mod calls;
mod clients;
mod ends;
mod few;
mod floods;
pub(crate) mod frames;
pub(crate) mod hpack;
pub(crate) mod known;
pub(crate) mod recorder;
mod refused;
mod tunnels;
mod websocket;
mod windows;

use crate::process::{Evenkeel, Folder};
use frames::{Connection, Got};
use recorder::Recorder;

/// The shipped binary before one backend, and what it is asked through.
pub(crate) struct Scene {
    pub(crate) keel: Evenkeel,
    pub(crate) backend: Recorder,
    _folder: Folder,
}

impl Scene {
    /// `listener` stands beside the address of the listener, `service` beside the backend.
    pub(crate) fn new(name: &str, listener: &str, service: &str) -> Self {
        Self::before(Recorder::start(), name, listener, service)
    }

    pub(crate) fn before(backend: Recorder, name: &str, listener: &str, service: &str) -> Self {
        let folder = Folder::new(name);
        let text = configuration(listener, &backend.address.to_string(), service);
        let file = folder.write("keel.yaml", &text);
        Self {
            keel: Evenkeel::run(&["-c", file.to_str().unwrap()]),
            backend,
            _folder: folder,
        }
    }

    /// A connection of a client's, with settings that it has of itself.
    pub(crate) fn client(&self) -> Connection {
        Connection::to(self.keel.address, &[])
    }

    /// What one request on a connection of its own comes to.
    pub(crate) fn get(&self, path: &str) -> Got {
        self.client().get(path)
    }

    /// Waits until nothing is under way at the backend.
    pub(crate) fn rests(&self) {
        let id = self.backend.address;
        let row = format!("evenkeel_backend_in_flight{{service=\"api\",backend=\"{id}\"}} 0");
        metric(&self.keel, &row);
    }
}

pub(crate) fn configuration(listener: &str, backends: &str, service: &str) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\", {listener} }} }}\nservices: {{ api: {{ backends: [{backends}], {service} }} }}\n"
    )
}

/// Waits until the metrics have this line.
pub(crate) fn metric(keel: &Evenkeel, line: &str) {
    let mut page = String::new();
    for _ in 0..1_000 {
        page = keel.page("/metrics");
        if page.lines().any(|one| one == line) {
            return;
        }
    }
    panic!("no {line} in {page}");
}

/// What a process has used: ticks of its processors, KiB of memory.
pub(crate) fn used(keel: &Evenkeel) -> (u64, u64) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", keel.id())).unwrap();
    let stat = read("stat");
    // Behind the name, which may hold anything: its state is the first field, its ticks the 12th and 13th.
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    let status = read("status");
    let row = status.lines().find_map(|row| row.strip_prefix("VmRSS:"));
    let memory = row.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    (ticks(11) + ticks(12), memory)
}
