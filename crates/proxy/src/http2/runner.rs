//! Owns the tasks that serve streams, each one stream after another.

use std::rc::Rc;

use super::front::Open;
use crate::carrier::Carrier;
use crate::connection::{Conn, Next};
use crate::exchange;
use crate::net::Net;
use crate::runner::{Runner, Runners};
use crate::worker::Worker;

/// A stream that is to be served.
pub(crate) type Work<N> = (Conn<N>, Open<N>);

/// A worker's tasks for streams.
pub(crate) type Streams<N> = Runners<Work<N>>;

/// Has a stream served beside the others.
pub(super) fn serve<N: Net>(worker: &Worker<N>, conn: Conn<N>, open: Open<N>) {
    if let Some(runner) = worker.streams.hand((conn, open)) {
        worker.net.spawn(run(runner));
    }
}

async fn run<N: Net>(runner: Rc<Runner<Work<N>>>) {
    while let Some((mut conn, open)) = runner.next().await {
        let worker = conn.worker.clone();
        exchange::serve(&mut conn).await;
        conn.go_on().await;
        if conn.next != Next::Cut || had_its_time(&conn) {
            open.answered();
        }
        // Its connection looks once the stream is let go of.
        drop(conn);
        drop(open);
        worker.streams.rests(&runner);
    }
}

/// Whether the client gave it its time before it took it back.
fn had_its_time<N: Net>(conn: &Conn<N>) -> bool {
    match &conn.sock {
        Carrier::Client(stream) => stream.had_its_time(conn.worker.now()),
        Carrier::Whole(_) | Carrier::Stream(_) => false,
    }
}
