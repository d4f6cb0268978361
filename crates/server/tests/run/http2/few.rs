//! A backend that may have fewer connections than there are workers: each worker has one in turn, and nobody starves.

use std::net::SocketAddr;
use std::time::Duration;

use super::configuration;
use crate::process::{Evenkeel, Folder};
use crate::upgrade::clients::Crowd;

/// Speaks HTTP/2 and takes its time, so that a connection under load is never idle.
fn busy() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((_, mut answer))) = connection.accept().await {
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(30)).await;
                            let head = http::Response::builder()
                                .header("content-length", "5")
                                .body(())
                                .unwrap();
                            // A client that leaves resets its stream.
                            if let Ok(mut body) = answer.send_response(head, false) {
                                let _ = body.send_data("here\n".into(), true);
                            }
                        });
                    }
                });
            }
        });
    });
    address
}

#[test]
fn one_connection_and_several_workers() {
    let folder = Folder::new("few");
    let one = format!("{{ address: \"{}\", max_connections: 1 }}", busy());
    let text = configuration("", &one, "upstream: { protocol: http2 }");
    let file = folder.write("keel.yaml", &text.replace("workers: 1", "workers: 2"));
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let warned = "`max_connections: 1` of a backend of service api is less than one connection for each of 2 workers";
    assert!(keel.said.contains(warned), "{}", keel.said);
    let crowd = Crowd::begin(keel.address);
    for _ in 0..3 {
        crowd.until_each_is_served();
    }
    let served = crowd.end();
    assert!(served.iter().all(|(_, count)| *count > 9), "{served:?}");
}
