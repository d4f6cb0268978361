//! Owns answers that are made here: refusals from the table of reasons, a rule's own answers and redirects.

use std::future::poll_fn;
use std::io::Write;
use std::task::Poll;

use evenkeel_config::plan::{ListenerPlan, RespondPlan};
use evenkeel_wire::altered::{Altered, Location};
use evenkeel_wire::forward::{Reply, put_connection};
use evenkeel_wire::grpc::{CONTENT_TYPE, Status};
use evenkeel_wire::{Framing, RequestHead, date};

use super::call::{is_call, put_status};
use crate::connection::{Conn, Next, SKIP_BYTES, limits_of};
use crate::net::Net;
use crate::reason::{Reason, phrase};
use crate::sock::Sock;
use crate::worker::Desk;

/// The media type of answers that nobody configured.
const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers with the status of a reason, and its word; or with what is configured for that status.
pub(super) async fn refuse<N: Net>(conn: &mut Conn<N>, desk: &mut Desk, reason: Reason) -> Next {
    refuse_as(conn, desk, reason, reason.status()).await
}

/// The same with another status.
pub(super) async fn refuse_as<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    reason: Reason,
    status: u16,
) -> Next {
    conn.door.state().counters.answered(reason);
    // A head that was not understood may hold anything; what follows it cannot be read.
    let understood = !matches!(reason, Reason::Malformed(_) | Reason::HeadTimeout);
    desk.seen.reason = reason;
    if desk.seen.understood && is_call(&desk.request) {
        let grpc = match status == reason.status() {
            // A backend that took its stream back said why.
            true if reason == Reason::BackendReset => desk.seen.grpc.unwrap_or(reason.grpc()),
            true => reason.grpc(),
            // A rule's: it says as much as HTTP's does.
            false => Status::of_http(status),
        };
        return refuse_call(conn, desk, grpc, understood).await;
    }
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
        ends_call: false,
    };
    write(conn, desk, &answer, understood).await
}

/// Answers a call of gRPC with a status and the word of the reason: all in the head ("Trailers-Only").
async fn refuse_call<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    status: Status,
    understood: bool,
) -> Next {
    desk.seen.grpc = Some(status);
    let mut fields = Vec::new();
    put_status(status, desk.seen.reason.word(), &mut fields);
    let answer = Answer {
        status: 200,
        content_type: CONTENT_TYPE,
        fields: &fields,
        body: b"",
        ends_call: true,
    };
    write(conn, desk, &answer, understood).await
}

/// Answers as a rule says.
pub(super) async fn respond<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    plan: &RespondPlan,
    reason: Reason,
) -> Next {
    conn.door.state().counters.answered(reason);
    desk.seen.reason = reason;
    let answer = Answer {
        status: plan.status,
        content_type: &plan.content_type,
        fields: &[],
        body: &plan.body,
        ends_call: false,
    };
    write(conn, desk, &answer, true).await
}

/// Sends the client elsewhere.
pub(super) async fn redirect<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    status: u16,
    to: &Location,
    reason: Reason,
) -> Next {
    conn.door.state().counters.answered(reason);
    desk.seen.reason = reason;
    let fields = [b"Location: ", to.as_bytes(), b"\r\n"].concat();
    let answer = Answer {
        status,
        content_type: PLAIN,
        fields: &fields,
        body: b"",
        ends_call: false,
    };
    write(conn, desk, &answer, true).await
}

struct Answer<'a> {
    status: u16,
    content_type: &'a str,
    /// At most one more, with its line end; those of a call's status stay together.
    fields: &'a [u8],
    body: &'a [u8],
    /// A call of gRPC ends with its head, which then states no length.
    ends_call: bool,
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

    fn put_head(&self, out: &mut Vec<u8>, date: &str, altered: &Altered) {
        let (status, phrase) = (self.status, phrase(self.status));
        let _ = write!(out, "HTTP/1.1 {status} {phrase}\r\nDate: {date}\r\n");
        if let Some(body) = self.content() {
            if !altered.takes_from_response(b"content-type") {
                let _ = write!(out, "Content-Type: {}\r\n", self.content_type);
            }
            if !self.ends_call {
                let _ = write!(out, "Content-Length: {}\r\n", body.len());
            }
        }
        let name = self.fields.split(|&byte| byte == b':').next();
        if name.is_some_and(|name| !altered.takes_from_response(name)) {
            out.extend_from_slice(self.fields);
        }
        out.extend_from_slice(altered.response_lines());
    }
}

/// Has an answer say how many attempts were made for it, where its listener has it say that. A refusal before any says nothing.
pub(super) fn put_attempts(listener: Option<&ListenerPlan>, attempts: u32, altered: &mut Altered) {
    if let Some(name) = listener.and_then(|plan| plan.attempts_header.as_deref())
        && attempts > 0
    {
        // The name was checked, and no other field has it.
        let _ = (altered.response()).set(name.as_bytes(), attempts.to_string().as_bytes());
    }
}

/// Has an answer say what its listener says of HTTPS, unless a rule has its own say. Over TLS only: anybody on the way could say
/// it elsewhere (RFC 6797 section 7.2).
pub(super) fn put_hsts<N: Net>(
    conn: &Conn<N>,
    listener: Option<&ListenerPlan>,
    altered: &mut Altered,
) {
    const NAME: &[u8] = b"Strict-Transport-Security";
    if let Some(said) = listener.and_then(|plan| plan.tls.as_ref()?.hsts.as_deref())
        && conn.sock.secured().is_some()
        && !altered.takes_from_response(NAME)
    {
        // A name and a value of our own.
        let _ = altered.response().set(NAME, said.as_bytes());
    }
}

/// Writes an answer. The connection lives on if the request was understood and is used up, or what is left of it is short.
async fn write<N: Net>(
    conn: &mut Conn<N>,
    desk: &mut Desk,
    answer: &Answer<'_>,
    understood: bool,
) -> Next {
    let view = conn.worker.view();
    let plan = conn.door.plan(&view.live, view.version);
    let plan = plan.map(|(_, plan)| plan);
    put_hsts(conn, plan, &mut desk.altered);
    put_attempts(plan, desk.seen.attempts, &mut desk.altered);
    let limits = limits_of(plan);
    drop(view);
    let nothing = RequestHead::new();
    let request = match understood {
        true => &desk.request,
        false => &nothing,
    };
    let unread = unread(conn, desk).filter(|_| understood);
    let bodyless = understood && request.framing() == Framing::Empty;
    let used_up = bodyless || unread.is_some();
    let worn = limits
        .requests
        .is_some_and(|most| conn.requests + 1 >= most);
    let keep = used_up && request.keeps_connection() && !worn && !conn.is_closing();
    let out = &mut desk.downward;
    out.clear();
    let date = date::text(conn.worker.net.since_1970());
    answer.put_head(out, &date, &desk.altered);
    let reply = Reply {
        framing: Framing::Empty,
        version: request.version(),
        keep,
        to_head: request.is_head(),
    };
    put_connection(out, &reply);
    out.extend_from_slice(b"\r\n");
    desk.seen.head_sent = out.len();
    let body = answer.content().filter(|_| !request.is_head());
    let body = body.unwrap_or_default();
    desk.seen.status = answer.status;
    desk.seen.sent = body.len() as u64;
    conn.deadline.set(conn.worker.now() + limits.idle_body);
    if conn.sock.respond(out, body.is_empty()).is_err() {
        return Next::Cut;
    }
    out.extend_from_slice(body);
    if !write_all(conn, &desk.downward, !keep).await || conn.sock.end(b"").is_err() {
        return Next::Cut;
    }
    conn.deadline.clear();
    // A body that nobody reads may still be on its way: who closes before it answers that with a reset.
    match (keep, bodyless) {
        (true, _) => unread.map_or(Next::Keep, Next::Skip),
        (false, true) if !request.keeps_connection() => Next::Close,
        // The client still sends, or its next request may be on its way: it was for us to end it.
        (false, _) => Next::Linger,
    }
}

/// What is still to come of the request, where that is little and nobody has read of it. Who waits for a word to go on may not send it.
fn unread<N: Net>(conn: &Conn<N>, desk: &Desk) -> Option<u32> {
    let request = &desk.request;
    let untouched = desk.seen.understood && desk.seen.attempts == 0 && !conn.sock.is_stream();
    match request.framing() {
        Framing::Exact(length) if untouched && length <= SKIP_BYTES => {
            let length = u32::try_from(length).ok();
            length.filter(|_| !request.expects_continue())
        }
        _ => None,
    }
}

/// Writes all of it to the client, within the deadline that is set; the connection ends behind it if it is the `last`. False: it could
/// not.
pub(super) async fn write_all<N: Net>(conn: &mut Conn<N>, bytes: &[u8], last: bool) -> bool {
    let mut left = bytes;
    poll_fn(|cx| {
        while !left.is_empty() {
            let written = match last {
                true => conn.sock.poll_write_last(cx, left),
                false => conn.sock.poll_write(cx, left),
            };
            match written {
                Poll::Ready(Ok(length)) if length > 0 => left = &left[length..],
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => return conn.deadline.poll_passed(cx).map(|()| false),
            }
        }
        match conn.sock.poll_flush(cx) {
            Poll::Ready(flushed) => Poll::Ready(flushed.is_ok()),
            Poll::Pending => conn.deadline.poll_passed(cx).map(|()| false),
        }
    })
    .await
}
