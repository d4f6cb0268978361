//! Rows of checks that cannot be sent, and of requests as they are sent.

use super::*;

fn refused(change: impl FnOnce(&mut HttpCheck)) -> HttpCheckError {
    let mut check = HttpCheck::default();
    change(&mut check);
    HttpProbe::new(check).expect_err("refused when it is made")
}

#[test]
fn what_would_break_the_request_is_refused_when_the_probe_is_made() {
    type Error = HttpCheckError;
    let inject = "x\r\nEvil: 1";
    assert_eq!(
        refused(|check| check.method = "GET /x HTTP/1.1\r\nA:".into()),
        Error::Method("GET /x HTTP/1.1\r\nA:".into())
    );
    assert_eq!(
        refused(|check| check.method = String::new()),
        Error::Method(String::new())
    );
    assert_eq!(
        refused(|check| check.method = "CONNECT".into()),
        Error::Method("CONNECT".into())
    );
    for path in [
        "",
        "x",
        "/a b",
        "/a\r\nEvil: 1",
        "/a#f",
        "/ä",
        "http://other/",
    ] {
        assert_eq!(
            refused(|check| check.path = Some(path.into())),
            Error::Path(path.into())
        );
    }
    for host in ["", "a b", inject, "a/b", "u@a"] {
        assert_eq!(
            refused(|check| check.host = Some(host.into())),
            Error::Host(host.into())
        );
    }
    assert_eq!(
        refused(|check| check.headers = vec![("X-A".into(), inject.into())]),
        Error::HeaderValue("X-A".into())
    );
    assert_eq!(
        refused(|check| check.headers = vec![("X-A".into(), "a\0".into())]),
        Error::HeaderValue("X-A".into())
    );
    for name in ["", "a b", "a:", "a\r\nb"] {
        assert_eq!(
            refused(|check| check.headers = vec![(name.into(), "x".into())]),
            Error::HeaderName(name.into())
        );
    }
    for name in ["Host", "content-length", "Transfer-Encoding", "Connection"] {
        assert_eq!(
            refused(|check| check.headers = vec![(name.into(), "x".into())]),
            Error::HeaderOwned(name.into())
        );
    }
    assert_eq!(
        refused(|check| check.body = Some(String::new())),
        Error::Body(0)
    );
    assert_eq!(
        refused(|check| check.body = Some("a".repeat(1025))),
        Error::Body(1025)
    );
    assert_eq!(
        refused(|check| {
            check.method = "HEAD".into();
            check.body = Some("a".into());
        }),
        Error::BodyOfHead
    );
    assert!(matches!(
        refused(|check| check.path = Some(format!("/{}", "a".repeat(9000)))),
        Error::TooLong(_)
    ));
}

fn request(check: HttpCheck, address: &str) -> String {
    let probe = HttpProbe::new(check).expect("can be sent");
    probe.asked.request(&address.parse().expect("an address"))
}

#[test]
fn requests_as_they_are_sent() {
    let rest = concat!(
        "\r\nConnection: close\r\nUser-Agent: evenkeel-check/",
        env!("CARGO_PKG_VERSION"),
        "\r\nAccept: */*\r\n\r\n"
    );
    let rows = [
        ("10.0.0.1:80", None, "GET / HTTP/1.1\r\nHost: 10.0.0.1:80"),
        (
            "[::1]:80",
            Some("/h?a=b"),
            "GET /h?a=b HTTP/1.1\r\nHost: [::1]:80",
        ),
        (
            "http://a.b/v1/health",
            None,
            "GET /v1/health HTTP/1.1\r\nHost: a.b",
        ),
        (
            "http://a.b:81/v1",
            Some("/h"),
            "GET /h HTTP/1.1\r\nHost: a.b:81",
        ),
        ("http://a.b?x", None, "GET /?x HTTP/1.1\r\nHost: a.b"),
        (
            "unix:/run/a.sock",
            None,
            "GET / HTTP/1.1\r\nHost: localhost",
        ),
    ];
    for (address, path, expect) in rows {
        let check = HttpCheck {
            path: path.map(String::from),
            ..HttpCheck::default()
        };
        assert_eq!(
            request(check, address),
            format!("{expect}{rest}"),
            "{address}"
        );
    }
    let check = HttpCheck {
        method: "POST".into(),
        host: Some("shop.example".into()),
        headers: vec![
            ("user-agent".into(), "mine".into()),
            ("Accept".into(), "text/plain".into()),
        ],
        ..HttpCheck::default()
    };
    assert_eq!(
        request(check, "10.0.0.1:80"),
        "POST / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nContent-Length: 0\r\nuser-agent: mine\r\nAccept: text/plain\r\n\r\n"
    );
}
