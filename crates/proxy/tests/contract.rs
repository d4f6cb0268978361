//! What every connection keeps, the one in memory as well as those of the operating system: a simulation kinder than the kernel
//! proves nothing.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use evenkeel_config::plan::tls::Policy;
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::os::OsSock;
use evenkeel_proxy::sock::pipe::Pipe;
use tls_made::{pair, terms};
use tokio::net::{TcpListener, TcpStream, UnixStream};

#[path = "tls/made.rs"]
mod tls_made;

async fn write<S: Sock>(sock: &mut S, bytes: &[u8]) {
    let mut left = bytes;
    while !left.is_empty() {
        let written = poll_fn(|cx| sock.poll_write(cx, left)).await.unwrap();
        left = &left[written..];
    }
}

async fn read<S: Sock>(sock: &mut S, most: usize) -> std::io::Result<Vec<u8>> {
    let mut buffer = vec![0; most];
    let length = poll_fn(|cx| sock.poll_read(cx, &mut buffer)).await?;
    buffer.truncate(length);
    Ok(buffer)
}

async fn exactly<S: Sock>(sock: &mut S, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        let more = read(sock, length - all.len()).await.unwrap();
        assert!(!more.is_empty(), "an end after {} of {length}", all.len());
        all.extend(more);
    }
    all
}

/// Who cannot read is told of a cut, and of nothing else, or of an end, too. `resets`: a cut arrives as a reset.
async fn tells_of_cuts<S: Sock>((mut one, mut other): (S, S), resets: bool) {
    write(&mut other, b"unread").await;
    // The bytes are there: it was not for want of them that nothing is told.
    assert_eq!(exactly(&mut one, 2).await, b"un");
    {
        let mut ended = pin!(one.ended());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(ended.as_mut().poll(cx).is_pending());
        poll_fn(|cx| other.poll_shutdown(cx)).await.unwrap();
        ended.await;
        // It stays so.
        one.ended().await;
    }
    {
        let mut broken = pin!(one.broken());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(broken.as_mut().poll(cx).is_pending());
        if resets {
            other.cut();
            drop(other);
            broken.await;
            // It stays so.
            one.broken().await;
            return;
        }
    }
    assert_eq!(exactly(&mut one, 4).await, b"read");
    assert_eq!(read(&mut one, 1).await.unwrap(), b"");
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(pin!(one.broken()).poll(cx).is_pending());
}

/// All that both kinds keep. `resets`: a cut arrives as a reset.
async fn keeps<S: Sock>(pairs: [(S, S); 4], resets: bool) {
    let [
        (mut one, mut other),
        (mut cut, mut left),
        (mut full, mut slow),
        told,
    ] = pairs;
    tells_of_cuts(told, resets).await;
    // Nothing to be read is waited for, and says so without waiting.
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(one.poll_read(cx, &mut [0; 8]).is_pending());
    assert!(!one.has_input());
    // Bytes arrive in order, however they were written.
    write(&mut one, b"first ").await;
    let parts = [
        IoSlice::new(b"sec"),
        IoSlice::new(b""),
        IoSlice::new(b"ond"),
    ];
    let written = poll_fn(|cx| one.poll_write_vectored(cx, &parts))
        .await
        .unwrap();
    assert_eq!(written, 6, "small parts go as one");
    assert_eq!(exactly(&mut other, 12).await, b"first second");
    assert!(!other.has_input(), "all was read");
    // One direction ends, the other goes on.
    poll_fn(|cx| one.poll_shutdown(cx)).await.unwrap();
    assert_eq!(read(&mut other, 8).await.unwrap(), b"");
    write(&mut other, b"still").await;
    assert_eq!(exactly(&mut one, 5).await, b"still");
    assert!(other.has_input(), "an end is something to be read");
    // What is written last arrives with the end, whatever waits for what.
    let last = poll_fn(|cx| other.poll_write_last(cx, b"last")).await;
    assert_eq!(last.unwrap(), 4);
    drop(other);
    assert_eq!(exactly(&mut one, 4).await, b"last");
    assert_eq!(read(&mut one, 8).await.unwrap(), b"");
    // A cut is no clean end.
    if resets {
        write(&mut cut, b"half").await;
        cut.cut();
        drop(cut);
        let end = loop {
            match read(&mut left, 2).await {
                Ok(bytes) => assert!(!bytes.is_empty(), "a clean end"),
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(end, ErrorKind::ConnectionReset);
    }
    // Who waits is woken by bytes that come.
    let (mut room, mut waits) = ([0; 8], false);
    let came = poll_fn(|cx| {
        let read = slow.poll_read(cx, &mut room);
        if read.is_pending() && !std::mem::replace(&mut waits, true) {
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(full.poll_write(cx, b"awake").is_ready());
        }
        read
    });
    assert_eq!((came.await.unwrap(), waits), (5, true));
    // Who does not read holds the writer up, and nothing is lost meanwhile.
    let piece = vec![7; 4096];
    let mut sent = 0;
    loop {
        let cx = &mut Context::from_waker(Waker::noop());
        match full.poll_write(cx, &piece) {
            Poll::Ready(written) => sent += written.unwrap(),
            Poll::Pending => break,
        }
    }
    assert!(sent > 0);
    let mut came = 0;
    while came < sent {
        // What is held goes on as the peer reads.
        poll_fn(|cx| {
            let _ = full.poll_flush(cx);
            Poll::Ready(())
        })
        .await;
        let most = sent - came;
        came += read(&mut slow, most).await.unwrap().len();
    }
    write(&mut full, b"more").await;
    assert_eq!(exactly(&mut slow, 4).await, b"more");
    // A peer that is gone is noticed by who writes.
    drop(slow);
    let gone = loop {
        if let Err(error) = poll_fn(|cx| full.poll_write(cx, &piece)).await {
            break error.kind();
        }
    };
    assert!(
        matches!(gone, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{gone:?}"
    );
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

#[test]
fn pipes() {
    run(keeps(std::array::from_fn(|_| Pipe::pair(10_000)), true));
}

#[test]
fn tls_over_pipes() {
    run(async {
        for policy in [Policy::Modern, Policy::Intermediate] {
            let terms = terms(policy);
            let pair = async || pair(&terms, Pipe::pair(10_000)).await;
            Box::pin(keeps(
                [pair().await, pair().await, pair().await, pair().await],
                true,
            ))
            .await;
            // The other way round: what the server says of its own accord is nothing to be read.
            let pair = async || {
                let (one, other) = pair().await;
                (other, one)
            };
            Box::pin(keeps(
                [pair().await, pair().await, pair().await, pair().await],
                true,
            ))
            .await;
        }
    });
}

#[test]
fn tls_over_tcp() {
    run(async {
        let terms = terms(Policy::Modern);
        let pair = async || pair(&terms, tcp().await).await;
        Box::pin(keeps(
            [pair().await, pair().await, pair().await, pair().await],
            true,
        ))
        .await;
    });
}

async fn tcp() -> (OsSock, OsSock) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (other, _) = listener.accept().await.unwrap();
    (OsSock::Tcp(one), OsSock::Tcp(other))
}

#[test]
fn tcp_sockets() {
    run(async { keeps([tcp().await, tcp().await, tcp().await, tcp().await], true).await });
}

async fn fresh() -> (OsSock, OsSock) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    let fresh = [one, other].map(|sock| {
        sock.set_nonblocking(true).unwrap();
        OsSock::fresh(sock)
    });
    fresh.into()
}

#[test]
fn tcp_sockets_that_no_runtime_knows() {
    run(async {
        keeps(
            [fresh().await, fresh().await, fresh().await, fresh().await],
            true,
        )
        .await;
    });
    // It is known from when it is waited for, or told to be.
    run(async {
        let ((mut one, other), mut byte) = (fresh().await, [0]);
        assert!(one.is_fresh() && other.is_fresh());
        assert!(!one.has_input() && one.is_fresh());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(one.poll_read(cx, &mut byte).is_pending() && !one.is_fresh());
        let (mut one, mut other) = fresh().await;
        write(&mut one, b"here").await;
        assert_eq!(exactly(&mut other, 4).await, b"here");
        assert!(one.is_fresh() && other.is_fresh(), "nobody has waited");
        other.watch();
        assert!(!other.is_fresh());
    });
}

#[test]
fn unix_sockets() {
    let pair = || {
        let (one, other) = UnixStream::pair().unwrap();
        (OsSock::Unix(one), OsSock::Unix(other))
    };
    // A Unix socket knows no reset: a cut is an end like any other.
    run(async { keeps([pair(), pair(), pair(), pair()], false).await });
}
