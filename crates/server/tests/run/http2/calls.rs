//! Calls as a backend of HTTP/2 sees them, frame by frame: who leaves is told of at once, and what is told of a time is less than
//! was given.

use super::backends::{Between, OK, asked};
use super::frames::*;
use super::metric;

const CALL: &[(&str, &str)] = &[("content-type", "application/grpc"), ("te", "trailers")];

/// Nothing is under way there.
fn rests(between: &Between) {
    let id = between.behind.local_addr().unwrap();
    metric(
        &between.keel,
        &format!("evenkeel_backend_in_flight{{service=\"api\",backend=\"{id}\"}} 0"),
    );
}

/// A client that leaves while its backend takes no more of its body: nothing of it is read, and it is noticed all the same.
#[test]
fn who_leaves_an_upload_that_is_stuck_is_told_of() {
    let between = Between::new(
        "stuck-upload",
        "timeouts: { per_try: 1h, exchange: 1h, idle_body: 1h }",
    );
    for (answers, closes) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut client = between.client();
        let stream = client.ask(0, &asks("POST", "/a.B/C", CALL));
        let mut behind = between.accept(&[]);
        behind.feeds = false;
        let own = asked(&mut behind, 1)[0];
        if answers {
            behind.write(&headers(own, 0, OK));
            assert!(client.until(|own| own.streams.contains_key(&stream)));
        }
        client.send(stream, &[0; 200 * 1024], false);
        // All that its window has.
        assert!(behind.until(|all| all.streams[&own].body.len() == 65_535));
        match closes {
            true => drop(client),
            false => client.write(&reset(stream, CANCEL)),
        }
        assert!(behind.until(|all| all.streams[&own].reset == Some(CANCEL)));
        rests(&between);
    }
}
