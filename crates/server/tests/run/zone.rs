//! A DNS server of one test's own: real messages on real sockets, UDP and TCP, with records that the test changes as it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use crate::process::PATIENCE;

/// What is answered to questions for one name.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These records, those of the type that is asked for, which live so many seconds.
    Records(u32, Vec<RData>),
    /// The same, but over UDP nothing of it fits.
    Long(u32, Vec<RData>),
    /// An error.
    Code(ResponseCode),
    /// None.
    Silence,
}

/// Addresses in this order.
pub(crate) fn addresses(lives: u32, all: &[&str]) -> Answer {
    Answer::Records(lives, all.iter().map(|one| address(one)).collect())
}

pub(crate) fn address(one: &str) -> RData {
    match one.parse().unwrap() {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}

/// A record as priority, weight, port and target.
pub(crate) fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    let target = Name::from_ascii(target).unwrap();
    RData::SRV(SRV::new(priority, weight, port, target))
}

/// A question: a name without its last dot, and the type of records.
type Asked = (String, RecordType);

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    /// How often each was asked, over UDP and over TCP.
    counts: BTreeMap<Asked, [usize; 2]>,
    /// No answer is given until it is released.
    held: bool,
    /// Those that wait for that.
    waiting: BTreeSet<Asked>,
}

/// The server; its threads end with the process.
pub(crate) struct Zone {
    pub(crate) address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Zone {
    pub(crate) fn new() -> Self {
        let shared = Arc::<(Mutex<State>, Condvar)>::default();
        // The same port twice: another process may have one of them.
        let (udp, tcp) = std::iter::repeat_with(|| {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let tcp = TcpListener::bind(udp.local_addr().unwrap());
            tcp.ok().map(|tcp| (udp, tcp))
        })
        .take(100)
        .flatten()
        .next()
        .unwrap();
        let address = udp.local_addr().unwrap();
        let seen = shared.clone();
        std::thread::spawn(move || over_udp(&Arc::new(udp), &seen));
        let seen = shared.clone();
        std::thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || over_tcp(stream, &seen));
            }
        });
        Self { address, shared }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    /// What is answered for a name from now on. A name without an answer does not exist.
    pub(crate) fn set(&self, name: &str, answer: Answer) {
        self.state().answers.insert(name.to_owned(), answer);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.state().answers.remove(name);
    }

    /// Questions for this name so far: over UDP, over TCP.
    pub(crate) fn asked(&self, name: &str) -> [usize; 2] {
        let state = self.state();
        let counts = state.counts.iter().filter(|((of, _), _)| of == name);
        counts.fold([0, 0], |sum, (_, count)| {
            [sum[0] + count[0], sum[1] + count[1]]
        })
    }

    /// Questions so far.
    pub(crate) fn all_asked(&self) -> usize {
        self.state().counts.values().flatten().sum()
    }

    /// Waits until a name was asked for so many times more, over UDP.
    pub(crate) fn asked_again(&self, name: &str, times: usize) {
        let goal = self.asked(name)[0] + times;
        self.wait(|state| {
            let counts = state.counts.iter().filter(|((of, _), _)| of == name);
            counts.map(|(_, count)| count[0]).sum::<usize>() >= goal
        });
    }

    /// Answers nothing until it is released.
    pub(crate) fn hold(&self) {
        self.state().held = true;
    }

    /// Waits until so many questions wait. How many did.
    pub(crate) fn waiting(&self, count: usize) -> usize {
        self.wait(|state| state.waiting.len() >= count);
        self.state().waiting.len()
    }

    pub(crate) fn release(&self) {
        self.state().held = false;
        self.shared.1.notify_all();
    }

    fn wait(&self, until: impl Fn(&State) -> bool) {
        let state = self.state();
        let changed = &self.shared.1;
        let (state, ended) = changed
            .wait_timeout_while(state, PATIENCE, |state| !until(state))
            .unwrap();
        assert!(!ended.timed_out(), "asked so far: {:?}", state.counts);
    }
}

fn over_udp(socket: &Arc<UdpSocket>, shared: &Arc<(Mutex<State>, Condvar)>) {
    let mut bytes = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        let Ok(question) = Message::from_vec(&bytes[..length]) else {
            continue;
        };
        let held = note(&question, 0, shared);
        let (shared, socket) = (shared.clone(), socket.clone());
        let answer = move || {
            if let Some(answer) = answer(&question, true, &shared) {
                let _ = socket.send_to(&answer, from);
            }
        };
        // Who waits for the release does not keep the others.
        if held {
            std::thread::spawn(answer);
        } else {
            answer();
        }
    }
}

fn over_tcp(mut stream: TcpStream, shared: &Arc<(Mutex<State>, Condvar)>) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut bytes).is_err() {
            return;
        }
        let Ok(question) = Message::from_vec(&bytes) else {
            return;
        };
        note(&question, 1, shared);
        if let Some(answer) = answer(&question, false, shared) {
            let length = u16::try_from(answer.len()).unwrap();
            let _ = stream.write_all(&[&length.to_be_bytes()[..], &answer].concat());
        }
    }
}

fn asked(question: &Message) -> Asked {
    let query = &question.queries[0];
    let name = query.name().to_ascii().to_ascii_lowercase();
    (name.trim_end_matches('.').to_owned(), query.query_type())
}

/// Counts a question. Whether its answer is held.
fn note(question: &Message, way: usize, shared: &(Mutex<State>, Condvar)) -> bool {
    let mut state = shared.0.lock().unwrap();
    let asked = asked(question);
    state.counts.entry(asked.clone()).or_default()[way] += 1;
    let held = state.held;
    if held {
        state.waiting.insert(asked);
    }
    shared.1.notify_all();
    held
}

fn answer(question: &Message, short: bool, shared: &(Mutex<State>, Condvar)) -> Option<Vec<u8>> {
    let state = shared.0.lock().unwrap();
    let mut state = shared.1.wait_while(state, |state| state.held).unwrap();
    let (name, records) = asked(question);
    state.waiting.remove(&(name.clone(), records));
    let mut message = Message::response(question.metadata.id, OpCode::Query);
    message.add_queries(question.queries.iter().cloned());
    let nothing = Answer::Code(ResponseCode::NXDomain);
    let (lives, all) = match state.answers.get(&name).unwrap_or(&nothing) {
        Answer::Silence => return None,
        Answer::Code(code) => {
            message.metadata.response_code = *code;
            (0, &Vec::new())
        }
        Answer::Long(..) if short => {
            message.metadata.truncation = true;
            (0, &Vec::new())
        }
        Answer::Records(lives, all) | Answer::Long(lives, all) => (*lives, all),
    };
    let query = &question.queries[0];
    let fitting = all.iter().filter(|one| one.record_type() == records);
    message.add_answers(
        fitting.map(|data| Record::from_rdata(query.name().clone(), lives, data.clone())),
    );
    message.to_vec().ok()
}
