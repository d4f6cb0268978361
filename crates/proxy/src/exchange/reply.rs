//! Owns answers that are made here: refusals from the table of reasons, a rule's own answers and redirects.

use std::future::poll_fn;
use std::io::Write;
use std::task::Poll;

use evenkeel_config::plan::{RedirectPlan, RespondPlan};
use evenkeel_wire::forward::{Reply, put_connection};
use evenkeel_wire::{Framing, RequestHead, date};

use crate::connection::{Conn, Next, limits_of};
use crate::net::Net;
use crate::reason::{Reason, phrase};
use crate::sock::Sock;
use crate::worker::Desk;

/// The media type of answers that nobody configured.
const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers with the status of a reason, and its word; or with what is configured for that status.
pub(super) async fn refuse<N: Net>(conn: &mut Conn<N>, desk: &mut Desk, reason: Reason) -> Next {
    conn.door.state().counters.answered(reason);
    // A head that was not understood may hold anything; what follows it cannot be read.
    let understood = !matches!(reason, Reason::Malformed(_) | Reason::HeadTimeout);
    if !understood {
        desk.request = RequestHead::new();
    }
    let status = reason.status();
    desk.seen.reason = reason;
    let view = conn.worker.view();
    let plan = conn.door.plan(&view.live, view.version);
    let page = plan.and_then(|(_, plan)| plan.error_pages.get(&status));
    let (content_type, body) = match page {
        Some(page) => (
            &*page.content_type,
            page.body.join(reason.word().as_bytes()),
        ),
        None => {
            let text = format!("{status} {}: {}\n", phrase(status), reason.word());
            (PLAIN, text.into_bytes())
        }
    };
    let mut fields = Vec::new();
    if status == 503 {
        fields.extend_from_slice(b"Retry-After: 1\r\n");
    }
    let answer = Answer {
        status,
        content_type,
        fields: &fields,
        body: &body,
    };
    write(conn, desk, &answer, understood).await
}

/// Answers as a rule says.
pub(super) async fn respond<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    plan: &RespondPlan,
) -> Next {
    conn.door.state().counters.answered(Reason::Rule);
    desk.seen.reason = Reason::Rule;
    let answer = Answer {
        status: plan.status,
        content_type: &plan.content_type,
        fields: &[],
        body: &plan.body,
    };
    write(conn, desk, &answer, true).await
}

/// Sends the client elsewhere.
pub(super) async fn redirect<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    to: &RedirectPlan,
) -> Next {
    conn.door.state().counters.answered(Reason::Rule);
    desk.seen.reason = Reason::Rule;
    let mut fields = b"Location: ".to_vec();
    fields.extend_from_slice(&location(&desk.request, to));
    fields.extend_from_slice(b"\r\n");
    let answer = Answer {
        status: to.status,
        content_type: PLAIN,
        fields: &fields,
        body: b"",
    };
    write(conn, desk, &answer, true).await
}

/// Where a redirect leads. Every part was checked: by the plan, or as part of a head, where no CR or LF can stand.
pub(crate) fn location(request: &RequestHead, to: &RedirectPlan) -> Vec<u8> {
    let scheme = to.scheme.as_deref().unwrap_or("http");
    let host = to.host.as_deref().unwrap_or(request.host());
    // Another scheme means another port, unless one is named.
    let port = match (to.port, &to.scheme) {
        (Some(port), _) => Some(port.get()),
        (None, Some(_)) => None,
        (None, None) => request.port(),
    };
    let standard = if scheme == "https" { 443 } else { 80 };
    let mut location = format!("{scheme}://{host}").into_bytes();
    if let Some(port) = port.filter(|&port| port != standard) {
        let _ = write!(location, ":{port}");
    }
    match &to.path {
        Some(path) => location.extend_from_slice(path.as_bytes()),
        None if request.path() == b"*" => location.push(b'/'),
        None => location.extend_from_slice(request.path()),
    }
    let query = match &to.query {
        Some(query) => Some(query.as_bytes()).filter(|query| !query.is_empty()),
        None => request.query(),
    };
    if let Some(query) = query {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    location
}

struct Answer<'a> {
    status: u16,
    content_type: &'a str,
    fields: &'a [u8],
    body: &'a [u8],
}

impl Answer<'_> {
    /// What stands behind its head. None where nothing can, and no length may be claimed: of a 204 it is forbidden, of a 304 it
    /// would be the length of what is not sent (RFC 9110 section 8.6). A 205 is empty, and says so (section 15.3.6).
    const fn content(&self) -> Option<&[u8]> {
        match self.status {
            204 | 304 => None,
            205 => Some(b""),
            _ => Some(self.body),
        }
    }

    fn put_head(&self, out: &mut Vec<u8>, date: &str) {
        let (status, phrase) = (self.status, phrase(self.status));
        let _ = write!(out, "HTTP/1.1 {status} {phrase}\r\nDate: {date}\r\n");
        if let Some(body) = self.content() {
            let (kind, length) = (self.content_type, body.len());
            let _ = write!(out, "Content-Type: {kind}\r\nContent-Length: {length}\r\n");
        }
        out.extend_from_slice(self.fields);
    }
}

/// Writes an answer. The connection lives on if the request was understood and is used up.
async fn write<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    answer: &Answer<'_>,
    understood: bool,
) -> Next {
    let view = conn.worker.view();
    let limits = limits_of(
        conn.door
            .plan(&view.live, view.version)
            .map(|(_, plan)| plan),
    );
    drop(view);
    let used_up = understood && desk.request.framing() == Framing::Empty;
    let worn = limits
        .requests
        .is_some_and(|most| conn.requests + 1 >= most);
    let keep = used_up
        && desk.request.keeps_connection()
        && !worn
        && !conn.worker.is_closing()
        && !conn.door.is_closing();
    let out = &mut desk.downward;
    out.clear();
    answer.put_head(out, &date::text(conn.worker.net.since_1970()));
    let reply = Reply {
        framing: Framing::Empty,
        version: desk.request.version(),
        keep,
        to_head: desk.request.is_head(),
    };
    put_connection(out, &reply);
    out.extend_from_slice(b"\r\n");
    desk.seen.head_sent = out.len();
    if let Some(body) = answer.content().filter(|_| !desk.request.is_head()) {
        out.extend_from_slice(body);
    }
    desk.seen.status = answer.status;
    desk.seen.sent = (out.len() - desk.seen.head_sent) as u64;
    conn.deadline.set(conn.worker.now() + limits.idle_body);
    if !write_all(conn, &desk.downward).await {
        return Next::Cut;
    }
    conn.deadline.clear();
    match (keep, used_up) {
        (true, _) => Next::Keep,
        (false, true) if !desk.request.keeps_connection() => Next::Close,
        // The client still sends, or its next request may be on its way: it was for us to end it.
        (false, _) => Next::Linger,
    }
}

/// Writes all of it to the client, within the deadline that is set. False: it could not.
pub(super) async fn write_all<N: Net>(conn: &mut Conn<N>, bytes: &[u8]) -> bool {
    let mut left = bytes;
    poll_fn(|cx| {
        while !left.is_empty() {
            match conn.sock.poll_write(cx, left) {
                Poll::Ready(Ok(length)) if length > 0 => left = &left[length..],
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => return conn.deadline.poll_passed(cx).map(|()| false),
            }
        }
        Poll::Ready(true)
    })
    .await
}
