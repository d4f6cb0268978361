//! Owns a client: requests in a row over one connection, at its own pace, and what it makes of the answers.
//!
//! Two tasks share the connection, one that sends and one that reads, as answers may come before requests are whole.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use evenkeel_balance::time::Instant;

use super::ledger::{Ledger, Outcome};
use super::link::{Link, shutdown, write_all};
use super::reader::{End, Reader, Stop};
use super::setting::HEAD_WITHIN;
use super::spoken::{Asked, Body, Direction, Framing, Head, on_the_wire, pattern};
use super::stage::Stage;
use crate::chance::Chance;

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Requests on the way at once.
    pub(super) depth: usize,
    /// It sends so many bytes at a time, and rests between.
    pub(super) pace: Option<(usize, Duration)>,
    /// The longest rest between two requests.
    pub(super) rest: Duration,
    /// It leaves in the middle of what may be; `true`: with a reset.
    pub(super) leaves: Option<(Duration, bool)>,
    /// It closes its direction once everything is sent.
    pub(super) half_closes: bool,
    /// The longest wait before it reads an answer.
    pub(super) dawdles: Duration,
}

/// What both halves of a client know.
pub(super) struct Client {
    pub(super) stage: Stage,
    pub(super) ledger: Rc<Ledger>,
    pub(super) end: End,
    pub(super) link: Link,
    pub(super) asks: Vec<usize>,
    pub(super) habits: Habits,
    /// The proxy takes its leave at some time of this world, so that an end needs no other reason.
    pub(super) closing: Rc<Cell<bool>>,
    /// So long the proxy waits for the next request.
    pub(super) keep_alive: Duration,
    pub(super) state: State,
}

/// Where a client stands.
#[derive(Default)]
pub(super) struct State {
    begun: Cell<usize>,
    sent: Cell<usize>,
    answered: Cell<usize>,
    interim: Cell<usize>,
    over: Cell<bool>,
    left: Cell<bool>,
    /// When the last answer was whole.
    quiet_since: Cell<Instant>,
    waiting: RefCell<Vec<Waker>>,
}

impl State {
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        poll_fn(|cx| {
            if holds(self) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn ring(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// What came instead of an answer.
struct Broke {
    stop: Stop,
    started: bool,
}

impl Client {
    /// Sends and leaves, in tasks of their own, and reads until all is over. What was not begun is handed back.
    pub(super) async fn run(self, chance: &mut Chance) -> Vec<usize> {
        let this = Rc::new(self);
        this.state.quiet_since.set(this.stage.now());
        let sender = (this.clone(), Chance::new(chance.word(), 12));
        this.stage
            .spawn(async move { sender.0.send(sender.1).await });
        if let Some((after, cut)) = this.habits.leaves {
            let leaver = this.clone();
            this.stage.spawn(async move {
                leaver.stage.sleep(after).await;
                leaver.leave(cut);
            });
        }
        this.read(chance).await;
        this.state.over.set(true);
        this.state.ring();
        this.end.borrow_mut().take();
        let (answered, begun) = (this.state.answered.get(), this.state.begun.get());
        for &id in &this.asks[answered..begun.max(answered)] {
            this.ledger.ended(id, Outcome::Nothing);
        }
        this.asks[begun.max(answered)..].to_vec()
    }

    fn leave(&self, cut: bool) {
        if self.state.over.get() {
            return;
        }
        self.ledger.fault("client left");
        self.state.left.set(true);
        let gone = self.end.borrow_mut().take();
        if let Some(mut gone) = gone
            && cut
        {
            evenkeel_proxy::sock::Sock::cut(&mut gone);
        }
    }

    async fn send(&self, mut chance: Chance) {
        let state = &self.state;
        for (number, &id) in self.asks.iter().enumerate() {
            state
                .until(|state| {
                    state.over.get() || number < state.answered.get() + self.depth(number)
                })
                .await;
            let rest = self.habits.rest.mul_f64(chance.unit());
            self.stage.sleep(rest).await;
            let Some(asked) = self.ledger.asked(id).filter(|_| !state.over.get()) else {
                return;
            };
            state.begun.set(number + 1);
            state.ring();
            if self
                .send_one(id, &asked, number, &mut chance)
                .await
                .is_err()
            {
                return;
            }
            state.sent.set(number + 1);
            state.ring();
            if asked.close {
                break;
            }
        }
        if self.habits.half_closes {
            shutdown(&self.end).await;
        }
    }

    /// How many requests may be on the way once this one is: nothing is sent behind one of HTTP/1.0 before it is answered.
    fn depth(&self, number: usize) -> usize {
        let before = number
            .checked_sub(1)
            .and_then(|at| self.ledger.asked(self.asks[at]));
        match before {
            Some(before) if before.old => 1,
            _ => self.habits.depth,
        }
    }

    async fn send_one(
        &self,
        id: usize,
        asked: &Asked,
        number: usize,
        chance: &mut Chance,
    ) -> std::io::Result<()> {
        let mut bytes = asked.head(id).into_bytes();
        if asked.expects {
            self.paced(&bytes).await?;
            bytes.clear();
            self.go_ahead(number).await;
        }
        bytes.extend(on_the_wire(asked.body, id, Direction::Up, chance));
        self.paced(&bytes).await
    }

    /// Waits for `100 Continue` or an answer, as long as one does (RFC 9110 section 10.1.1).
    async fn go_ahead(&self, number: usize) {
        let until = self.stage.now() + Duration::from_secs(1);
        while self.stage.now() < until
            && self.state.interim.get() <= number
            && self.state.answered.get() <= number
        {
            self.stage.sleep(Duration::from_millis(50)).await;
        }
    }

    async fn paced(&self, bytes: &[u8]) -> std::io::Result<()> {
        let Some((piece, rest)) = self.habits.pace else {
            return write_all(&self.end, bytes).await;
        };
        for part in bytes.chunks(piece.max(bytes.len() / 50)) {
            write_all(&self.end, part).await?;
            self.stage.sleep(rest).await;
        }
        Ok(())
    }

    async fn read(&self, chance: &mut Chance) {
        let mut reader = Reader::new(self.end.clone());
        for (number, &id) in self.asks.iter().enumerate() {
            match self.begun(number, &mut reader).await {
                Err(stop) => {
                    let started = false;
                    return self.stopped(number, id, &Broke { stop, started });
                }
                Ok(true) => {}
                Ok(false) => {
                    let come = String::from_utf8_lossy(reader.come());
                    let what = format!("bytes that nobody asked for before {id}: {come:.200}");
                    return self.ledger.finding(what);
                }
            }
            let dawdle = self.habits.dawdles.mul_f64(chance.unit());
            self.stage.sleep(dawdle).await;
            match self.answer(number, id, &mut reader).await {
                Ok(true) => {}
                Ok(false) => return self.ends(&mut reader, true).await,
                Err(broke) => return self.stopped(number, id, &broke),
            }
        }
        self.ends(&mut reader, false).await;
    }

    /// Waits until a request is begun. False: bytes come before it is; an end may come as well.
    async fn begun(&self, number: usize, reader: &mut Reader) -> Result<bool, Stop> {
        let state = &self.state;
        let mut come = None;
        if reader.is_empty() {
            let mut more = pin!(reader.more());
            poll_fn(|cx| {
                if let Poll::Ready(read) = more.as_mut().poll(cx) {
                    come = Some(read);
                    return Poll::Ready(());
                }
                pin!(state.until(|state| state.begun.get() > number)).poll(cx)
            })
            .await;
        }
        come.transpose()?;
        Ok(state.begun.get() > number)
    }

    /// After the last answer: nothing more may come. `told`: the proxy has said that it will close.
    async fn ends(&self, reader: &mut Reader, told: bool) {
        self.state.over.set(true);
        self.state.ring();
        if !told {
            shutdown(&self.end).await;
        }
        if reader.is_empty() {
            let _ = reader.more().await;
        }
        if !reader.is_empty() {
            self.ledger.finding(format!(
                "bytes behind the last answer: {:?}",
                String::from_utf8_lossy(&reader.come()[..reader.come().len().min(200)])
            ));
        }
    }

    /// Reads one answer. True: the connection lives on.
    async fn answer(&self, number: usize, id: usize, reader: &mut Reader) -> Result<bool, Broke> {
        let Some(asked) = self.ledger.asked(id) else {
            return Ok(false);
        };
        let (head, status) = loop {
            let head = reader.head().await.map_err(|stop| Broke {
                stop,
                started: !reader.is_empty(),
            })?;
            let parsed = Head::parse(&head).and_then(|head| {
                let status = head.first.split(' ').nth(1)?.parse::<u16>().ok()?;
                Some((head, status))
            });
            let Some((head, status)) = parsed else {
                self.ledger.finding(format!(
                    "request {id} got a head that is none: {:?}",
                    String::from_utf8_lossy(&head)
                ));
                return Ok(false);
            };
            if status >= 200 {
                break (head, status);
            }
            self.state.interim.set(number + 1);
        };
        let from = head.id();
        if from.is_some_and(|from| from != id) {
            self.ledger
                .finding(format!("request {id} got the answer of {from:?}"));
        }
        let mut body = Vec::new();
        let bodyless = asked.method == "HEAD";
        let read = match head.framing() {
            _ if bodyless => Ok(()),
            Some(Framing::Exact(length)) => reader.exactly(length, &mut body).await,
            Some(Framing::Chunked) if asked.old => Err(Stop::Malformed),
            Some(Framing::Chunked) => reader.chunked(&mut body).await,
            Some(Framing::Nothing) => reader.until_close(&mut body).await,
            None => Err(Stop::Malformed),
        };
        if read == Err(Stop::Malformed) {
            self.ledger
                .finding(format!("request {id} got an answer without form: {head:?}"));
        }
        self.ledger
            .got
            .set(self.ledger.got.get() + body.len() as u64);
        if from.is_some() {
            self.check(id, &asked, (head.from(), &body), read.is_ok());
        }
        read.map_err(|stop| Broke {
            stop,
            started: true,
        })?;
        let reason = (from.is_none()).then(|| match bodyless {
            true => String::new(),
            false => reason_of(&body, status),
        });
        self.ledger.answered(id, status, reason.as_deref());
        self.state.answered.set(number + 1);
        self.state.quiet_since.set(self.stage.now());
        self.state.ring();
        Ok(self.lives_on(&head, &asked))
    }

    fn lives_on(&self, head: &Head, asked: &Asked) -> bool {
        let told = head.field("connection").map(str::to_ascii_lowercase);
        let unbounded = head.framing() == Some(Framing::Nothing) && asked.method != "HEAD";
        match (told.as_deref(), asked.old) {
            (Some("close"), _) => false,
            (told, true) => told == Some("keep-alive") && !unbounded,
            _ => !unbounded,
        }
    }

    /// The body is this exchange's and no other's, and all of it where it looks whole.
    fn check(&self, id: usize, asked: &Asked, (from, body): (Option<usize>, &[u8]), whole: bool) {
        let Some(from) = from else {
            let what = format!("request {id} got an answer of two backends, or of none");
            return self.ledger.finding(what);
        };
        let length = match asked.answer {
            _ if asked.method == "HEAD" => 0,
            Body::Exact(length) | Body::Chunked(length) | Body::UntilClose(length) => length,
            Body::None | Body::Broken(_) => 0,
        };
        let expected = pattern(id, Direction::Down(from), length);
        if !expected.starts_with(body) {
            self.ledger
                .finding(format!("the answer of request {id} is not its own"));
        } else if whole && body.len() != length {
            self.ledger.finding(format!(
                "the answer of request {id} looks whole after {} of {length} bytes",
                body.len()
            ));
        }
    }

    /// Whether an answer so far came before its request was whole: what follows it nobody can know.
    fn early(&self, number: usize) -> bool {
        self.asks[..=number]
            .iter()
            .any(|&id| self.ledger.is_early(id))
    }

    /// The connection ended before the answer did: is there a reason?
    fn stopped(&self, number: usize, id: usize, broke: &Broke) {
        let state = &self.state;
        if broke.started {
            self.ledger.ended(id, Outcome::Cut);
            state.answered.set(number + 1);
        }
        if !self.is_excused(number, broke) {
            let begun = state.begun.get() > number;
            self.ledger.finding(format!(
                "request {id} met an end for no reason: {:?}, answer begun: {}, begun: {begun}, sent: {}, {:?} after the last \
                 answer; {:?} {:?}",
                broke.stop,
                broke.started,
                state.sent.get() > number,
                self.stage.now().since(state.quiet_since.get()),
                self.ledger.asked(id),
                self.habits,
            ));
        }
    }

    fn is_excused(&self, number: usize, broke: &Broke) -> bool {
        let state = &self.state;
        if state.left.get() || self.link.is_torn() {
            return true;
        }
        // A connection that is quiet ends after a time, or when all is to end. The proxy counts from when it wrote, and several
        // answers may have waited here.
        let least = match number {
            0 => self.keep_alive.min(HEAD_WITHIN),
            _ => self.keep_alive,
        };
        let quiet = self.stage.now().since(state.quiet_since.get());
        let waited = self.habits.dawdles.saturating_mul(4);
        let margin = Duration::from_millis(500) + waited;
        let may_end = self.closing.get() || quiet + margin >= least || self.early(number);
        if !broke.started && may_end {
            return true;
        }
        // A reset takes with it what is still on its way of the answers before, so that any request behind may be the reason. A
        // clean end is no way to tell of a backend's fault before an answer.
        let shows = broke.started || broke.stop == Stop::Reset;
        self.asks[number..].iter().any(|&id| {
            self.ledger.asked(id).is_some_and(|asked| asked.is_odd())
                || (shows && self.ledger.is_struck(id))
        })
    }
}

/// The word of the reason, out of an answer that the proxy made.
fn reason_of(body: &[u8], status: u16) -> String {
    let text = String::from_utf8_lossy(body);
    match text.trim_end().rsplit_once(": ") {
        Some((_, word)) => word.to_owned(),
        None => format!("{status} without a word"),
    }
}
