//! Owns a backend: it checks every byte that it gets, and answers, or does one of the things that backends do instead.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::pipe::Pipe;

use super::ledger::Ledger;
use super::link::{Link, Way, shutdown, write_all};
use super::reader::{End, Reader, Stop};
use super::spoken::{Asked, Body, Direction, Framing, Head, on_the_wire};
use super::stage::Stage;
use crate::chance::Chance;

/// What a backend does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Serve,
    /// The answer first, the rest of the request after.
    ServeEarly,
    /// 103 or 100 before the answer.
    Interim,
    /// A byte at a time.
    Slowly,
    /// The answer, and no word of what follows it: the connection ends.
    CloseAfter,
    Status(u16),
    /// A reset in place of an answer.
    Reset,
    /// An end in place of an answer.
    End,
    /// A reset within the request.
    ResetEarly,
    /// Part of a head.
    HalfHead,
    /// The whole head, and an end or reset within the body.
    HalfBody,
    /// Part of the body, and no more.
    Stall,
    /// It reads and says nothing.
    BlackHole,
    Garbage,
}

impl Deed {
    /// Those that another attempt hides, as no byte of the answer has been passed on.
    pub(super) const HIDDEN: [Self; 7] = [
        Self::Reset,
        Self::End,
        Self::ResetEarly,
        Self::HalfHead,
        Self::BlackHole,
        Self::Garbage,
        Self::Status(503),
    ];

    /// All faults.
    pub(super) const FAULTS: [Self; 9] = [
        Self::Reset,
        Self::End,
        Self::ResetEarly,
        Self::HalfHead,
        Self::BlackHole,
        Self::Garbage,
        Self::Status(503),
        Self::HalfBody,
        Self::Stall,
    ];

    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Serve | Self::ServeEarly | Self::Interim => return None,
            Self::Slowly => "answer byte by byte",
            Self::CloseAfter => "closed a kept connection unsaid",
            Self::Status(_) => "status 503",
            Self::Reset => "reset before the answer",
            Self::End => "end before the answer",
            Self::ResetEarly => "reset within the request",
            Self::HalfHead => "killed within the head",
            Self::HalfBody => "killed within the body",
            Self::Stall => "stalled within the body",
            Self::BlackHole => "accepted and never answered",
            Self::Garbage => "garbage",
        })
    }
}

/// How a backend is reached at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Up,
    Refuses,
    /// Connecting never ends.
    Silent,
}

/// The exchange that a connection carries, or carried last.
pub(super) type Carries = Rc<Cell<Option<usize>>>;

/// One backend.
pub(super) struct Backend {
    pub(super) number: usize,
    pub(super) stage: Stage,
    pub(super) ledger: Rc<Ledger>,
    pub(super) way: Way,
    pub(super) reach: Cell<Reach>,
    /// What it does beside serving, and how many in a hundred requests meet it.
    pub(super) deeds: &'static [Deed],
    pub(super) often: usize,
    /// The longest that it keeps a connection without a request.
    pub(super) idle: Duration,
    /// The longest that an answer takes.
    pub(super) thinks: Duration,
    pub(super) links: RefCell<Vec<(Link, Carries)>>,
    pub(super) chance: RefCell<Chance>,
}

/// Counts a connection that a backend holds.
struct Held(Rc<Ledger>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.set(self.0.held.get() - 1);
    }
}

/// A connection to a backend, from its side.
struct Talk {
    backend: Rc<Backend>,
    /// The service whose member it is reached as.
    service: usize,
    end: End,
    carries: Carries,
    chance: Chance,
}

impl Backend {
    /// Serves a connection in a task of its own.
    pub(super) fn accept(self: &Rc<Self>, service: usize, end: Pipe, link: Link) {
        let chance = Chance::new(self.chance.borrow_mut().word(), 13);
        let carries = Carries::default();
        self.links.borrow_mut().push((link, carries.clone()));
        self.ledger.held.set(self.ledger.held.get() + 1);
        let held = Held(self.ledger.clone());
        let talk = Talk {
            backend: self.clone(),
            service,
            end: Rc::new(RefCell::new(Some(end))),
            carries,
            chance,
        };
        self.stage.spawn(async move {
            let _held = held;
            talk.run().await;
        });
    }

    /// Resets all its connections.
    pub(super) fn kill(&self) {
        self.strike();
        for (link, _) in self.links.take() {
            link.tear();
        }
    }

    /// Nothing gets through, in either direction.
    pub(super) fn part(&self) {
        self.strike();
        self.way.parted.set(true);
    }

    /// Whatever its connections carry may show what happens to them.
    fn strike(&self) {
        for (_, carries) in &*self.links.borrow() {
            if let Some(id) = carries.get() {
                self.ledger.struck(id);
            }
        }
    }
}

impl Talk {
    async fn run(mut self) {
        let mut reader = Reader::new(self.end.clone());
        loop {
            let idle = self.backend.idle.mul_f64(0.3 + 0.7 * self.chance.unit());
            let stage = self.backend.stage.clone();
            match within(&stage, idle, reader.head()).await {
                Some(Ok(head)) => {
                    if !self.request(&head, &mut reader).await {
                        return;
                    }
                }
                Some(Err(_)) => return self.backend.ledger.part_seen(reader.come()),
                None => {
                    if !reader.is_empty() {
                        continue;
                    }
                    self.backend.ledger.fault("idle connection closed");
                    return;
                }
            }
        }
    }

    /// One request. True: the connection lives on.
    async fn request(&mut self, head: &[u8], reader: &mut Reader) -> bool {
        let backend = self.backend.clone();
        let Some((id, head)) = backend
            .ledger
            .head_seen((backend.number, self.service), head)
        else {
            return false;
        };
        let Some(asked) = backend.ledger.asked(id) else {
            return false;
        };
        self.carries.set(Some(id));
        let deed = self.choose();
        if let Some(name) = deed.name() {
            backend.ledger.fault(name);
            backend.ledger.struck(id);
        }
        if backend.way.parted.get() {
            backend.ledger.struck(id);
        }
        let expects = head.field("expect").is_some();
        if expects && deed != Deed::ServeEarly && self.chance.below(3) > 0 {
            let _ = write_all(&self.end, b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        if deed == Deed::ResetEarly {
            let _ = within(&backend.stage, Duration::from_millis(2), reader.more()).await;
            return self.reset();
        }
        let early = deed == Deed::ServeEarly && asked.body != Body::None;
        if early {
            backend.ledger.early(id);
        }
        let mut lives = true;
        if early {
            lives = self.answer(id, &asked, deed).await;
            if !lives {
                // The rest is read all the same: to close over it would take the answer away.
                shutdown(&self.end).await;
            }
        }
        if self.body(id, &head, reader).await.is_err() {
            // Who broke it off is judged by what the client sees.
            return false;
        }
        if early {
            return lives;
        }
        self.after_request(id, &asked, deed, reader).await
    }

    async fn after_request(
        &mut self,
        id: usize,
        asked: &Asked,
        deed: Deed,
        reader: &mut Reader,
    ) -> bool {
        let backend = self.backend.clone();
        let thinks = backend.thinks.mul_f64(self.chance.unit());
        backend.stage.sleep(thinks).await;
        match deed {
            Deed::Reset => self.reset(),
            Deed::End => false,
            Deed::BlackHole => {
                while reader.more().await.is_ok() {}
                false
            }
            Deed::Garbage => {
                let _ = write_all(&self.end, b"\x16\x03\x01 what?\r\n\r\n").await;
                shutdown(&self.end).await;
                while reader.more().await.is_ok() {}
                false
            }
            Deed::HalfHead | Deed::HalfBody | Deed::Stall => {
                self.part(id, asked, deed, reader).await
            }
            deed => self.answer(id, asked, deed).await && deed != Deed::CloseAfter,
        }
    }

    fn choose(&mut self) -> Deed {
        if !self.backend.deeds.is_empty() && self.chance.below(100) < self.backend.often {
            return self.backend.deeds[self.chance.below(self.backend.deeds.len())];
        }
        match self.chance.below(20) {
            0 => Deed::Interim,
            1 => Deed::ServeEarly,
            2 => Deed::Slowly,
            _ => Deed::Serve,
        }
    }

    fn reset(&self) -> bool {
        if let Some(pipe) = self.end.borrow_mut().as_mut() {
            pipe.cut();
        }
        false
    }

    async fn body(&self, id: usize, head: &Head, reader: &mut Reader) -> Result<(), Stop> {
        let mut body = Vec::new();
        let Some(framing) = head.framing() else {
            self.backend.ledger.finding(format!(
                "request {id} arrived without a certain end: {head:?}"
            ));
            return Err(Stop::Malformed);
        };
        match framing {
            Framing::Nothing => {}
            Framing::Exact(length) => reader.exactly(length, &mut body).await?,
            Framing::Chunked => reader.chunked(&mut body).await?,
        }
        self.backend.ledger.body_seen(id, &body);
        Ok(())
    }

    /// The whole answer as it goes over the wire, where its body begins, and whether the connection lives on behind it.
    fn wire(&mut self, id: usize, asked: &Asked, deed: Deed) -> (Vec<u8>, usize, bool) {
        let status = match deed {
            Deed::Status(status) => status,
            _ => 200,
        };
        let closes = matches!(asked.answer, Body::UntilClose(_)) || self.chance.below(12) == 0;
        let from = self.backend.number;
        let mut wire = format!("HTTP/1.1 {status} So\r\nX-Exchange: {id}\r\nX-From: {from}\r\n");
        match asked.answer {
            Body::Exact(length) => wire += &format!("Content-Length: {length}\r\n"),
            Body::Chunked(_) => wire += "Transfer-Encoding: chunked\r\n",
            _ => {}
        }
        if closes {
            wire += "Connection: close\r\n";
        }
        let mut wire = (wire + "\r\n").into_bytes();
        if deed == Deed::Interim {
            let mut before = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec();
            before.extend_from_slice(&wire);
            wire = before;
        }
        let head = wire.len();
        if asked.method != "HEAD" {
            wire.extend(on_the_wire(
                asked.answer,
                id,
                Direction::Down(from),
                &mut self.chance,
            ));
        }
        (wire, head, !closes)
    }

    /// Answers. True: the connection lives on.
    async fn answer(&mut self, id: usize, asked: &Asked, deed: Deed) -> bool {
        let (wire, head, lives) = self.wire(id, asked, deed);
        // What is written may be read before the writer runs again.
        self.backend.ledger.served(id);
        let wrote = if deed == Deed::Slowly {
            self.slowly(&wire, head).await
        } else {
            write_all(&self.end, &wire).await
        };
        wrote.is_ok() && lives
    }

    async fn slowly(&self, wire: &[u8], head: usize) -> std::io::Result<()> {
        let one_by_one = wire.len().min(head + 100);
        for byte in &wire[..one_by_one] {
            write_all(&self.end, std::slice::from_ref(byte)).await?;
            self.backend.stage.sleep(Duration::from_millis(2)).await;
        }
        write_all(&self.end, &wire[one_by_one..]).await
    }

    /// Part of the answer.
    async fn part(&mut self, id: usize, asked: &Asked, deed: Deed, reader: &mut Reader) -> bool {
        let (wire, head, _) = self.wire(id, asked, Deed::Serve);
        let body = wire.len() - head;
        // What has no body, or ends with its connection, would be whole.
        let cuttable = body > 0 && !matches!(asked.answer, Body::UntilClose(_));
        let upto = match deed {
            Deed::HalfHead => 1 + self.chance.below(head - 2),
            _ if cuttable => head + self.chance.below(body),
            _ => head - 1,
        };
        let _ = write_all(&self.end, &wire[..upto]).await;
        if deed == Deed::Stall {
            while reader.more().await.is_ok() {}
        } else if self.chance.below(2) == 0 {
            // What was written arrives before the reset does.
            self.backend.stage.sleep(Duration::from_millis(50)).await;
            self.reset();
        }
        false
    }
}

/// What comes of it within this time.
pub(super) async fn within<T>(
    stage: &Stage,
    wait: Duration,
    what: impl Future<Output = T>,
) -> Option<T> {
    let (mut what, mut over) = (pin!(what), pin!(stage.sleep(wait)));
    poll_fn(|cx| match what.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => over.as_mut().poll(cx).map(|()| None),
    })
    .await
}
