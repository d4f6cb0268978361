//! Owns by which name an address was asked, and from which page: what a browser is led to ask here by pages of others is none of theirs.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};

/// The name that was asked for. Of two, others might go by the other one: that is nobody's.
pub(super) fn host(headers: &HeaderMap) -> &str {
    let mut fields = headers.get_all(header::HOST).iter();
    match (fields.next(), fields.next()) {
        (None, _) => "",
        (Some(host), None) => host.to_str().unwrap_or("?"),
        (Some(_), Some(_)) => "?",
    }
}

/// A page in a browser may ask this address in its own name by rebinding a name to it: whether nobody can have bound this name to it. It
/// is an address, or means this machine by itself (RFC 6761 section 6.3), or the plan has it.
pub(super) fn is_own(host: &str, hosts: &[Arc<str>]) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((within, _)) => within,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let local = name.rsplit('.').next();
    name.is_empty()
        || local.is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
        || name.parse::<std::net::IpAddr>().is_ok()
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Where a browser says from where a page asks (Fetch Metadata Request Headers, W3C): what it may not read it asks without `Origin`.
const SITE: &str = "sec-fetch-site";

/// Whether no page of another origin asks: what such a page may not read, it need not be told either. Where the connection is not
/// encrypted here, it may have been before a proxy.
pub(super) fn is_of_own_origin(headers: &HeaderMap, secure: bool) -> bool {
    let schemes: &[&str] = match secure {
        true => &["https://"],
        false => &["http://", "https://"],
    };
    let own = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or("?");
        let mut names = schemes.iter().map(|scheme| origin.strip_prefix(scheme));
        names.any(|name| name == Some(host(headers)))
    };
    let near = |site: &HeaderValue| site == "same-origin" || site == "none";
    headers.get_all(header::ORIGIN).iter().all(own) && headers.get_all(SITE).iter().all(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_may_bind_are_not_its_own() {
        for (host, own) in [
            ("", true),
            ("localhost", true),
            ("LocalHost:9900", true),
            ("localhost.:9900", true),
            ("keel.localhost:9900", true),
            ("127.0.0.1", true),
            ("127.0.0.1:9900", true),
            ("10.1.2.3:9900", true),
            ("[::1]:9900", true),
            ("[::1]", true),
            ("evil.test", false),
            ("evil.test:9900", false),
            // A search list, or a file of hosts, may lead it here.
            ("keel", false),
            ("keel:9900", false),
            ("localhost.evil.test", false),
            ("evillocalhost", false),
            ("[evil.test]:9900", false),
            ("keel.example", true),
            ("Keel.Example.:9900", true),
            ("a.keel.example", false),
            ("keel.example.evil.test", false),
            ("?", false),
        ] {
            assert_eq!(is_own(host, &["keel.example".into()]), own, "{host}");
        }
    }

    #[test]
    fn of_two_names_neither_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(host(&headers), "");
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert_eq!(host(&headers), "localhost");
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(!is_own(host(&headers), &[]));
    }

    #[test]
    fn pages_of_other_origins_are_told_nothing() {
        let check = |origins: &[&str], secure, expect| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:9900".parse().unwrap());
            for origin in origins {
                headers.append(header::ORIGIN, origin.parse().unwrap());
            }
            let own = is_of_own_origin(&headers, secure);
            assert_eq!(own, expect, "{origins:?}");
        };
        check(&[], false, true);
        check(&["http://127.0.0.1:9900"], false, true);
        check(&["https://127.0.0.1:9900"], true, true);
        check(&["https://127.0.0.1:9900"], false, true);
        for origin in [
            "null",
            "",
            "http://127.0.0.1:9901",
            "http://127.0.0.1",
            "https://127.0.0.1:9901",
            "http://a.test",
            "http://127.0.0.1:9900.a.test",
        ] {
            check(&[origin], false, false);
            check(&["http://127.0.0.1:9900", origin], false, false);
        }
        check(&["http://127.0.0.1:9900"], true, false);
        for (site, own) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(SITE, site.parse().unwrap());
            assert_eq!(is_of_own_origin(&headers, false), own, "{site}");
        }
    }
}
