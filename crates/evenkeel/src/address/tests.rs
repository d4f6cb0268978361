//! Rows of texts that are addresses, and of texts that are none.

use super::*;

fn endpoint(text: &str) -> String {
    match text.parse::<Address>() {
        Ok(address) => {
            assert_eq!(address.to_string(), text, "kept as written");
            let end = match address.endpoint() {
                Endpoint::Socket(socket) => format!("socket {socket}"),
                Endpoint::Name { host, port } => format!("name {host} {port}"),
                Endpoint::Unix(path) => format!("unix {}", path.display()),
            };
            let path = address.path().unwrap_or("-");
            format!("{end} | {} | {path}", address.authority())
        }
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn texts_that_are_addresses() {
    let rows = [
        ("10.0.0.1:80", "socket 10.0.0.1:80 | 10.0.0.1:80 | -"),
        ("[::1]:8080", "socket [::1]:8080 | [::1]:8080 | -"),
        ("localhost:1", "name localhost 1 | localhost:1 | -"),
        (
            "api_1.Example:65535",
            "name api_1.Example 65535 | api_1.Example:65535 | -",
        ),
        ("http://a.b", "name a.b 80 | a.b | -"),
        ("HTTP://a.b/", "name a.b 80 | a.b | /"),
        (
            "https://a.b:8443/x?y=1",
            "name a.b 8443 | a.b:8443 | /x?y=1",
        ),
        ("https://a.b", "name a.b 443 | a.b | -"),
        ("http://[::1]:81/h", "socket [::1]:81 | [::1]:81 | /h"),
        ("http://[::1]", "socket [::1]:80 | [::1] | -"),
        ("http://10.0.0.1/h", "socket 10.0.0.1:80 | 10.0.0.1 | /h"),
        ("http://a?q", "name a 80 | a | ?q"),
        ("http://a/x@y", "name a 80 | a | /x@y"),
        ("unix:/run/a.sock", "unix /run/a.sock | localhost | -"),
    ];
    for (text, expect) in rows {
        assert_eq!(endpoint(text), expect, "{text}");
    }
}

#[test]
fn texts_that_are_none() {
    let long_host = format!("{}:1", "a".repeat(254));
    let long_unix = format!("unix:/{}", "a".repeat(103));
    let long = "a".repeat(2049);
    let rows = [
        ("", "Empty"),
        (long.as_str(), "TooLong"),
        ("a b:1", "Character"),
        ("a:1\r\nX: y", "Character"),
        ("bücher.example:80", "Character"),
        ("localhost", "Port"),
        ("localhost:", "Port"),
        ("localhost:0", "Port"),
        ("localhost:+1", "Port"),
        ("localhost:65536", "Port"),
        ("10.0.0.1:0", "Port"),
        (":80", "Host"),
        ("::1:80", "Host"),
        ("[::1]", "Port"),
        ("[::1]x:80", "Host"),
        ("[a]:80", "Host"),
        ("a/b:80", "Host"),
        (long_host.as_str(), "Host"),
        ("ftp://a", "Scheme"),
        ("http://", "Host"),
        ("http://u:p@a/", "UserInfo"),
        ("http://a/#f", "Fragment"),
        ("unix:run/a", "UnixPath"),
        ("unix:", "UnixPath"),
        (long_unix.as_str(), "UnixPath"),
    ];
    for (text, expect) in rows {
        assert_eq!(endpoint(text), expect, "{text}");
    }
}

#[test]
fn a_label_stands_before_the_identity() {
    let mut backend = BackendSpec::new("10.0.0.1:80");
    assert_eq!(Address::of(&backend).unwrap().as_str(), "10.0.0.1:80");
    backend
        .labels
        .insert(ADDRESS_LABEL.into(), "unix:/run/b".into());
    assert_eq!(Address::of(&backend).unwrap().as_str(), "unix:/run/b");
    backend.labels.insert(ADDRESS_LABEL.into(), "b".into());
    assert_eq!(Address::of(&backend), Err(AddressError::Port));
}

#[test]
fn random_text_never_panics_and_what_parses_parses_again() {
    let mut random = fastrand::Rng::with_seed(7);
    let parts = [
        "http", "s", "://", "[", "]", "::1", ":", "80", "/", "?", "@", "#", "a", ".", "unix:", "é",
    ];
    for _ in 0..20_000 {
        let text: String = (0..random.usize(0..8))
            .map(|_| parts[random.usize(0..parts.len())])
            .collect();
        if let Ok(address) = text.parse::<Address>() {
            let _ = (address.endpoint(), address.authority(), address.path());
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}
