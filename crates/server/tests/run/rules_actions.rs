//! What rules do, through the shipped binary: clients and backends of plain sockets, and what each of them sees.

use std::net::SocketAddr;

use crate::process::{Evenkeel, Folder, hold, rest};

/// A backend that says what it was asked.
pub(crate) mod echo;

use echo::{Client, Echo, Gate, head_of};

/// A running instance over these services and rules.
fn run(folder: &Folder, services: &str, rules: &str) -> Evenkeel {
    let file = folder.write("keel.yaml", &text(services, rules));
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

fn text(services: &str, rules: &str) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\ntrusted_proxies: 127.0.0.2\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nerror_pages: {{ 403: \"<{{reason}}>\" }}\nservices: {{ {services} }}\nrules:\n{rules}\n"
    )
}

fn service(name: &str, address: SocketAddr) -> String {
    format!("{name}: {{ backends: [\"{address}\"] }}, ")
}

/// One that refuses: nobody may be picked.
fn shut(name: &str) -> String {
    format!("{name}: {{ backends: [{{ address: 127.0.0.1:1, state: disabled }}] }}, ")
}

/// An answer to one request on a connection of its own.
fn ask(keel: &Evenkeel, target: &str, fields: &str) -> String {
    rest(hold(
        keel.address,
        &format!(
            "GET {target} HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n{fields}\r\n"
        ),
    ))
}

#[test]
fn a_split_gives_each_service_its_part() {
    let folder = Folder::new("split");
    let (one, two, none) = (Echo::start("one"), Echo::start("two"), Echo::start("none"));
    let services =
        service("one", one.address) + &service("two", two.address) + &service("none", none.address);
    let keel = run(
        &folder,
        &services,
        "  - { priority: 1, when: { path: /all }, forward: { one: 0, two: 1, none: 0 } }\n  - { forward: { one: 90, two: 10, none: 0 } }",
    );
    let mut client = Client::to(keel.address);
    let mut counts = [0_u32; 2];
    for _ in 0..4_000 {
        match client.get("/", "").body.lines().next() {
            Some("one") => counts[0] += 1,
            Some("two") => counts[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    // A tenth of 4,000, and six times the deviation of as many fair draws: sqrt(4000 * 0.1 * 0.9) is 19.
    assert!((286..=514).contains(&counts[1]), "{counts:?}");
    for _ in 0..200 {
        assert!(client.get("/all", "").body.starts_with("two\n"));
    }
}

#[test]
fn a_cookie_keeps_a_client_on_its_side() {
    let folder = Folder::new("kept");
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let services = service("one", one.address) + &service("two", two.address);
    let rule = |weights: &str| {
        format!(
            "  - {{ name: shop, forward: {{ to: {{ {weights} }}, affinity: {{ cookie: {{ name: side, ttl: 2h }} }} }} }}"
        )
    };
    let even = rule("one: 1, two: 1");
    let mut keel = run(&folder, &services, &even);
    let mut client = Client::to(keel.address);
    let first = client.get("/", "");
    let side = first.body.lines().next().unwrap().to_owned();
    let cookie = first.field("Set-Cookie").unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Max-Age=7200; Path=/; HttpOnly; SameSite=Lax");
    let value = pair.strip_prefix("side=").unwrap();
    assert!(
        value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{value}"
    );
    let kept = format!("Cookie: other=1; {pair}; side=later\r\n");
    let stays = |client: &mut Client| {
        for _ in 0..50 {
            let got = client.get("/", &kept);
            assert!(got.body.starts_with(&format!("{side}\n")), "{}", got.body);
            // Told anew with each answer.
            assert_eq!(got.field("Set-Cookie").as_deref(), Some(&*cookie));
        }
    };
    stays(&mut client);
    // Another instance, and one that starts anew, know it as well.
    let other_folder = Folder::new("kept-other");
    let other = run(&other_folder, &services, &even);
    stays(&mut Client::to(other.address));
    drop(keel);
    keel = run(&folder, &services, &even);
    stays(&mut Client::to(keel.address));
    // What is no token is drawn anew: both sides come up.
    let mut client = Client::to(keel.address);
    for forged in [
        "side=0123456789abcdef",
        "side=",
        "side=\"",
        "sides=1",
        &pair.to_uppercase(),
    ] {
        let mut seen = [false; 2];
        while seen != [true; 2] {
            let got = client.get("/", &format!("Cookie: {forged}\r\n"));
            seen[usize::from(got.body.starts_with("two\n"))] = true;
            assert!(got.field("Set-Cookie").unwrap().starts_with("side="));
        }
    }
    // A side without a weight has nobody, whatever the cookie says.
    let rest = match &*side {
        "one" => "one: 0, two: 1",
        _ => "one: 1, two: 0",
    };
    folder.write("keel.yaml", &text(&services, &rule(rest)));
    keel.signal("-HUP");
    keel.until("rule shop changes\n");
    let mut client = Client::to(keel.address);
    for _ in 0..50 {
        let got = client.get("/", &kept);
        assert!(!got.body.starts_with(&format!("{side}\n")), "{}", got.body);
        assert_ne!(got.field("Set-Cookie").as_deref(), Some(&*cookie));
    }
}

/// Whom a trusted peer calls a client of HTTPS gets a cookie for HTTPS only, and redirects that stay there.
#[test]
fn what_a_trusted_peer_says_of_the_scheme_holds() {
    let folder = Folder::new("secure");
    let one = Echo::start("one");
    let rules = "  - { priority: 1, when: { path: /go }, redirect: { path: /gone } }\n  - { forward: { to: { one: 1, two: 1 }, affinity: { cookie: {} } } }";
    let services = service("one", one.address) + &service("two", one.address);
    let file = folder.write(
        "keel.yaml",
        &text(&services, rules).replace("127.0.0.2", "127.0.0.1"),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    for (said, secure, leads) in [
        (
            "X-Forwarded-Proto: https\r\n",
            true,
            "https://www.example.com/gone",
        ),
        (
            "X-Forwarded-Proto: gopher\r\n",
            false,
            "http://www.example.com/gone",
        ),
        ("", false, "http://www.example.com/gone"),
    ] {
        let cookie = head_of(&ask(&keel, "/", said)).field("Set-Cookie").unwrap();
        assert!(cookie.starts_with("keel-split="), "{cookie}");
        assert_eq!(
            cookie.ends_with("; SameSite=Lax; Secure"),
            secure,
            "{cookie}"
        );
        let went = head_of(&ask(&keel, "/go", said)).field("Location");
        assert_eq!(went.as_deref(), Some(leads));
    }
}

#[test]
fn a_source_stays_on_its_side() {
    let folder = Folder::new("source");
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let services = service("one", one.address) + &service("two", two.address);
    let rule = "  - { forward: { to: { one: 1, two: 1 }, affinity: { source: true } } }";
    let file = folder.write(
        "keel.yaml",
        &text(&services, rule).replace("127.0.0.2", "127.0.0.1"),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut client = Client::to(keel.address);
    let mut counts = [0_u32; 2];
    for number in 0..400 {
        let from = format!(
            "X-Forwarded-For: 192.0.{}.{}\r\n",
            2 + number / 200,
            number % 200
        );
        let side = client.get("/", &from).body.starts_with("two\n");
        let again = client.get("/", &from);
        assert_eq!(again.body.starts_with("two\n"), side);
        assert_eq!(again.all("Set-Cookie"), ["own=1"]);
        counts[usize::from(side)] += 1;
    }
    // The same 400 addresses give the same figure each time; fair draws have a deviation of 10.
    assert!((140..=260).contains(&counts[1]), "{counts:?}");
}

#[test]
fn redirects_lead_where_they_say() {
    let folder = Folder::new("redirects");
    let rules = [
        ("/https", "redirect: { scheme: https, status: 308 }"),
        ("/port", "redirect: { scheme: https, port: \"#{port}\" }"),
        ("/host", "redirect: { host: \"new.#{host}\", port: 81 }"),
        ("/path/*", "redirect: { path: \"/moved/#{path}\" }"),
        (
            "/query",
            "redirect: { path: /q, query: \"from=#{path}&#{query}&by=#{protocol}:#{port}\" }",
        ),
        ("/bare", "redirect: { path: /q, query: \"\" }"),
        (
            "{ regex: '^/user/([^/]+)/(.*)$' }",
            "redirect: { host: \"$1.example.com\", path: \"/$2/$$\", query: \"id=$1\" }",
        ),
        ("/dollar", "redirect: { path: \"/a$$1\" }"),
        (
            "{ prefix: /long }",
            "redirect: { path: \"/#{path}#{path}\" }",
        ),
    ];
    let mut text = String::new();
    for (number, (path, action)) in rules.iter().enumerate() {
        text += &format!(
            "  - {{ priority: {}, when: {{ path: {path} }}, {action} }}\n",
            number + 1
        );
    }
    let keel = run(&folder, &shut("api"), &(text + "  - { forward: api }"));
    let mut client = Client::to(keel.address);
    for (target, location) in [
        ("/https?a=b", "https://www.example.com/https?a=b"),
        ("/port", "https://www.example.com:80/port"),
        ("/host?x", "http://new.www.example.com:81/host?x"),
        (
            "/path/a%2fb/../c;d",
            "http://www.example.com/moved/path/c;d",
        ),
        (
            "/path/a%0d%0aX:%20y?z",
            "http://www.example.com/moved/path/a%0D%0AX:%20y?z",
        ),
        (
            "/query?c=d",
            "http://www.example.com/q?from=query&c=d&by=http:80",
        ),
        ("/query", "http://www.example.com/q?from=query&&by=http:80"),
        ("/bare?c=d", "http://www.example.com/q"),
        ("/user/amy/a/b?c", "http://amy.example.com/a/b/$?id=amy"),
        ("/dollar", "http://www.example.com/a$1"),
    ] {
        let got = client.get(target, "");
        let status = if target.starts_with("/https") {
            308
        } else {
            302
        };
        assert_eq!(got.status(), status, "{target}");
        assert_eq!(got.field("Location").as_deref(), Some(location), "{target}");
    }
    // What is no host is not told to anybody, and neither is what is too long; the connection goes on.
    for (target, reason) in [
        ("/user/a%0d%0aX:y/b".to_owned(), "redirect_failed"),
        ("/user/a.b..c/b".to_owned(), "redirect_failed"),
        ("/user/a:80/b".to_owned(), "redirect_failed"),
        (format!("/long/{}", "a".repeat(4_090)), "redirect_too_long"),
    ] {
        let got = client.get(&target, "");
        let told = format!("500 Internal Server Error: {reason}\n");
        assert_eq!((got.status(), &*got.body), (500, &*told), "{target}");
        assert_eq!(got.field("Location"), None);
        let page = keel.page("/metrics");
        let row = format!("evenkeel_local_answers_total{{listener=\"web\",reason=\"{reason}\"}}");
        assert!(page.contains(&row), "{page}");
    }
}

#[test]
fn backends_get_what_a_rule_makes_of_a_request() {
    let folder = Folder::new("rewrites");
    let echo = Echo::start("one");
    let rules = [
        ("v1.test", "prefix: { from: /v1, to: / }"),
        ("v2.test", "prefix: { from: /v1/, to: /new/v2/ }"),
        ("root.test", "prefix: { from: /, to: /app }"),
        (
            "regex.test",
            "regex: { match: '^/v(\\d+)/(.*)$', to: \"/$2?v=$1\" }",
        ),
        ("kept.test", "regex: { match: '/old', to: /new }"),
        (
            "query.test",
            "regex: { match: '^/(.*)$', to: \"/all?path=$1&#{query}\" }",
        ),
        ("bare.test", "regex: { match: '^/a', to: \"/b?\" }"),
        ("dots.test", "regex: { match: '^/(.*)x(.*)$', to: /$1$2 }"),
        ("host.test", "host: inner.test:8080"),
        (
            "*.hosts.test",
            "host: { match: '^([a-z]+)\\.hosts\\.test$', to: $1.internal }",
        ),
    ];
    let mut text = String::new();
    for (number, (host, rewrite)) in rules.iter().enumerate() {
        text += &format!(
            "  - {{ priority: {}, when: {{ host: \"{host}\" }}, forward: one, rewrite: {{ {rewrite} }} }}\n",
            number + 1
        );
    }
    let keel = run(&folder, &service("one", echo.address), &text);
    let mut client = Client::to(keel.address);
    for (host, target, line, arrives) in [
        ("v1.test", "/v1", "/", "v1.test"),
        ("v1.test", "/v1/", "/", "v1.test"),
        ("v1.test", "/v1/x?y=/v1/z", "/x?y=/v1/z", "v1.test"),
        ("v1.test", "/v1//x/../y", "/y", "v1.test"),
        ("v1.test", "/%76%31/x", "/x", "v1.test"),
        ("v1.test", "/v10/x", "/v10/x", "v1.test"),
        ("v1.test", "/x/v1", "/x/v1", "v1.test"),
        ("v2.test", "/v1", "/new/v2", "v2.test"),
        ("v2.test", "/v1/x/", "/new/v2/x/", "v2.test"),
        ("root.test", "/x", "/app/x", "root.test"),
        ("root.test", "/", "/app/", "root.test"),
        ("regex.test:80", "/v3/a/b?c=d", "/a/b?v=3", "regex.test:80"),
        ("regex.test", "/vx/a?c=d", "/vx/a?c=d", "regex.test"),
        ("kept.test", "/a/old/old?c=d", "/a/new/old?c=d", "kept.test"),
        ("query.test", "/a/b?c=d", "/all?path=a/b&c=d", "query.test"),
        ("bare.test", "/a/c?d", "/b/c", "bare.test"),
        ("dots.test", "/axb", "/ab", "dots.test"),
        ("dots.test", "/a/x/b", "/a/b", "dots.test"),
        ("Host.Test:81", "/a", "/a", "inner.test:8080"),
        ("amy.hosts.test:81", "/", "/", "amy.internal"),
        ("a-b.hosts.test:81", "/", "/", "a-b.hosts.test:81"),
    ] {
        let got = client.send(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let seen = got.body.strip_prefix("one\n").unwrap();
        let begin = format!("GET {line} HTTP/1.1\r\nHost: {arrives}\r\n");
        assert!(seen.starts_with(&begin), "{host} {target}: {seen}");
        let told = format!("\r\nX-Forwarded-Host: {host}\r\n");
        assert!(seen.contains(&told), "{seen}");
        assert_eq!(seen.matches("\r\nHost: ").count(), 1, "{seen}");
    }
    // F21: what would be another path once more is refused, and no backend sees it; the connection goes on.
    let before = echo.requests();
    for target in ["/.x./etc", "/a/.x", "/a/..x", "/a/.x/b", "/a/b/.x./c", "/x"] {
        let expect = if target == "/x" { 200 } else { 500 };
        let got = client.send(&format!("GET {target} HTTP/1.1\r\nHost: dots.test\r\n\r\n"));
        assert_eq!(got.status(), expect, "{target}: {}", got.body);
        if expect == 500 {
            assert_eq!(got.body, "500 Internal Server Error: rewrite_failed\n");
        }
    }
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: query.test\r\n\r\n",
        "a".repeat(8_190)
    );
    assert_eq!(client.send(&long).status(), 500);
    assert_eq!(echo.requests() - before, 1);
}

#[test]
fn fields_come_and_go() {
    let folder = Folder::new("fields");
    let echo = Echo::start("one");
    let keel = run(
        &folder,
        &(service("one", echo.address) + &shut("nobody")),
        "  - { priority: 1, when: { path: /in }, forward: one, rewrite: { request_headers: { set: { X-Tier: gold, Cookie: \"a=b\" }, add: { x-more: \"#{client} #{protocol}://#{host}:#{port}/#{path}?#{query}\" }, remove: [x-debug, authorization] } } }
  - { priority: 2, when: { path: /out }, forward: one, rewrite: { response_headers: { set: { X-Frame-Options: DENY, server: keel }, add: { x-powered-by: \"#{path}\" }, remove: set-cookie } } }
  - { priority: 3, when: { path: /here }, respond: { body: here }, rewrite: { response_headers: { set: { content-type: text/html, x-here: \"1\" } } } }
  - { priority: 4, when: { path: /no }, deny: true, rewrite: { response_headers: { set: { x-here: \"1\" } } } }
  - { priority: 5, when: { path: /shut }, forward: nobody, rewrite: { response_headers: { set: { retry-after: \"7\" } } } }
  - { priority: 6, when: { path: /go }, redirect: { path: /gone }, rewrite: { response_headers: { add: { x-here: \"1\" } } } }
  - { forward: one }",
    );
    let mut client = Client::to(keel.address);
    let seen = client
        .get("/in?q", "x-tier: lead\r\nX-Tier: tin\r\nX_Tier: brass\r\nx_debug: 2\r\nX-DEBUG: 1\r\nAuthorization: Basic x\r\nCookie: c=d\r\nConnection: x-tier\r\nX-More: first\r\nX-Kept: yes\r\n")
        .body;
    for (line, times) in [
        ("\r\nx-tier: gold\r\n", 1),
        ("\r\ncookie: a=b\r\n", 1),
        ("\r\nX-More: first\r\n", 1),
        (
            "\r\nx-more: 127.0.0.1 http://www.example.com:80/in?q\r\n",
            1,
        ),
        ("\r\nX-Kept: yes\r\n", 1),
        ("x-tier", 1),
        ("x_tier", 0),
        ("debug", 0),
        ("Basic", 0),
        ("c=d", 0),
    ] {
        let low = seen.to_lowercase();
        assert_eq!(
            low.matches(&line.to_lowercase()).count(),
            times,
            "{line}: {seen}"
        );
    }
    let out = client.get("/out", "");
    assert_eq!(out.all("x-frame-options"), ["DENY"]);
    assert_eq!(out.all("server"), ["keel"]);
    assert_eq!(out.all("x-powered-by"), ["echo", "out"]);
    assert_eq!(out.all("set-cookie"), [""; 0]);
    // Nothing is left over for the next one.
    let plain = client.get("/plain", "");
    assert_eq!(plain.all("server"), ["echo"]);
    assert_eq!(plain.all("set-cookie"), ["own=1"]);
    assert_eq!(plain.all("x-frame-options"), [""; 0]);
    // Answers that are made here are answers too.
    let here = client.get("/here", "");
    assert_eq!((here.status(), &*here.body), (200, "here"));
    assert_eq!(here.all("content-type"), ["text/html"]);
    assert_eq!(here.all("x-here"), ["1"]);
    let no = client.get("/no", "");
    assert_eq!((no.status(), no.all("x-here")), (403, vec!["1".to_owned()]));
    let shut = client.get("/shut", "");
    assert_eq!(
        (shut.status(), shut.all("retry-after")),
        (503, vec!["7".to_owned()])
    );
    let gone = client.get("/go", "");
    assert_eq!(
        (gone.status(), gone.all("x-here")),
        (302, vec!["1".to_owned()])
    );
    let none = client.get("/none", "");
    assert_eq!(none.all("x-here"), [""; 0]);
}

#[test]
fn what_is_denied_is_told_and_the_connection_goes_on() {
    let folder = Folder::new("deny");
    let echo = Echo::start("one");
    let keel = run(
        &folder,
        &service("one", echo.address),
        "  - { priority: 1, when: { path: { prefix: /no } }, deny: true }\n  - { priority: 2, when: { path: /legal }, deny: { status: 451 } }\n  - { forward: one }",
    );
    let mut client = Client::to(keel.address);
    let denied = client.get("/no/entry", "");
    assert_eq!((denied.status(), &*denied.body), (403, "<denied>"));
    let legal = client.get("/legal", "");
    let told = "451 Unavailable For Legal Reasons: denied\n";
    assert_eq!((legal.status(), &*legal.body), (451, told));
    assert_eq!(client.get("/nothing", "").status(), 200);
    // F21: no spelling leads past it.
    for target in ["/%6eo", "/x/../no", "//no", "/no//", "/./no/x", "/no?x"] {
        assert_eq!(client.get(target, "").status(), 403, "{target}");
    }
    assert_eq!(echo.requests(), 1);
    let row = "evenkeel_local_answers_total{listener=\"web\",reason=\"denied\"} 8\n";
    assert!(keel.page("/metrics").contains(row));
}

#[test]
fn trace_goes_on_like_any_method_and_can_be_denied() {
    let folder = Folder::new("trace");
    let echo = Echo::start("one");
    let keel = run(
        &folder,
        &service("one", echo.address),
        "  - { priority: 1, when: { path: /no, method: TRACE }, deny: { status: 405 } }\n  - { forward: one }",
    );
    let mut client = Client::to(keel.address);
    let trace = |target: &str| format!("TRACE {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.send(&trace("/no")).status(), 405);
    assert_eq!(client.get("/no", "").status(), 200);
    let gone_on = client.send(&trace("/yes"));
    assert!(
        gone_on.body.contains("TRACE /yes HTTP/1.1"),
        "{}",
        gone_on.body
    );
    assert_eq!(echo.requests(), 2);
}

#[test]
fn a_fallback_follows_a_refusal_and_nothing_else() {
    let folder = Folder::new("fallback");
    let (one, gate) = (Echo::start("one"), Gate::default());
    let busy = Echo::gated("busy", gate.clone());
    let services = service("one", one.address)
        + &shut("nobody")
        + &shut("nothing")
        + "dead: { backends: [127.0.0.1:1] }, "
        + &format!(
            "small: {{ backends: [{{ address: \"{0}\", max_in_flight: 1 }}] }}, socket: {{ timeouts: {{ connect: 100ms }}, backends: [{{ address: \"{0}\", max_connections: 1 }}] }}, ",
            busy.address
        );
    let keel = run(
        &folder,
        &services,
        "  - { priority: 1, when: { path: /other }, forward: nobody, fallback: { forward: one }, rewrite: { request_headers: { set: { x-a: b } } } }
  - { priority: 2, when: { path: /answer }, forward: nobody, fallback: { respond: { status: 200, body: back soon } } }
  - { priority: 3, when: { path: /away }, forward: nobody, fallback: { redirect: { host: sorry.test } } }
  - { priority: 4, when: { path: /both }, forward: nobody, fallback: { forward: nothing } }
  - { priority: 5, when: { path: /split }, forward: { to: { nobody: 1, one: 0 }, affinity: { cookie: {} } }, fallback: { forward: one } }
  - { priority: 6, when: { path: /stays }, forward: { nobody: 1, one: 0 } }
  - { priority: 7, when: { path: /dead }, forward: dead, fallback: { forward: one } }
  - { priority: 8, when: { path: /small }, forward: small, fallback: { forward: one } }
  - { priority: 9, when: { path: /socket }, forward: socket, fallback: { forward: one } }
  - { forward: one }",
    );
    let mut client = Client::to(keel.address);
    let other = client.send("PUT /other HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(other.status(), 200);
    assert!(
        other.body.starts_with("one\nPUT /other ") && other.body.contains("\r\nx-a: b\r\n"),
        "{}",
        other.body
    );
    assert!(other.body.ends_with("\r\n\r\nbody"), "{}", other.body);
    let answer = client.get("/answer", "");
    assert_eq!((answer.status(), &*answer.body), (200, "back soon"));
    let away = client.get("/away", "");
    assert_eq!(
        away.field("Location").as_deref(),
        Some("http://sorry.test/away")
    );
    // One step, and the refusal that is told is the last one's.
    let both = client.get("/both", "");
    assert_eq!(both.status(), 503);
    // Who fell is not told to come back to where nobody is.
    let split = client.get("/split", "");
    assert!(split.body.starts_with("one\n"), "{}", split.body);
    assert_eq!(split.all("set-cookie"), ["own=1"]);
    // A split alone leads nowhere else (as ALB has it).
    let stays = client.get("/stays", "");
    assert_eq!(stays.status(), 503);
    assert_eq!(stays.all("retry-after"), ["1"]);
    // Who failed has not refused.
    assert_eq!(client.get("/dead", "").status(), 502);
    // All full, and no socket left, while one exchange is held.
    for (path, word) in [("/small", "all_full"), ("/socket", "max_connections")] {
        let mut held = Client::to(keel.address);
        held.write(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        gate.reached();
        let full = client.get(path, "");
        assert!(full.body.starts_with("one\n"), "{path}: {}", full.body);
        gate.open();
        assert!(held.read().body.starts_with("busy\n"));
        let name = path.trim_start_matches('/');
        let row = format!("evenkeel_exchanges_total{{service=\"{name}\",reason=\"{word}\"}} 1\n");
        let page = keel.page("/metrics");
        assert!(page.contains(&row), "{row} {page}");
    }
    let page = keel.page("/metrics");
    // What was tried on the one that refused is not held against who served instead.
    for row in [
        "evenkeel_attempts_total{service=\"one\"} 4\n",
        "evenkeel_attempts_total{service=\"socket\"} 2\n",
    ] {
        assert!(page.contains(row), "{row} {page}");
    }
    let refused = page
        .lines()
        .filter(|line| {
            line.starts_with("evenkeel_exchanges_total{service=\"nobody\"") && !line.ends_with(" 0")
        })
        .collect::<Vec<_>>();
    // Each of the six has the refusal's reason, whoever served it in the end.
    let [only] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert!(only.ends_with(" 6") && !only.contains("served"), "{only}");
    assert!(
        page.contains("evenkeel_requests_total{service=\"nobody\",code=\"2xx\"} 3\n"),
        "{page}"
    );
    assert!(
        page.contains("evenkeel_exchanges_total{service=\"one\",reason=\"served\"} 4\n"),
        "{page}"
    );
}

/// A rule's deadline of one attempt holds in the place of the service's, shorter or longer.
#[test]
fn a_rule_has_deadlines_of_its_own() {
    let folder = Folder::new("deadlines");
    let gate = Gate::default();
    let slow = Echo::gated("slow", gate.clone());
    let keel = run(
        &folder,
        &format!(
            "slow: {{ timeouts: {{ per_try: 200ms }}, backends: [\"{0}\"] }}, patient: {{ timeouts: {{ per_try: 1h, exchange: 1h }}, backends: [\"{0}\"] }}",
            slow.address
        ),
        "  - { priority: 1, when: { path: /long }, timeouts: { per_try: 30s }, forward: slow }\n  - { priority: 2, when: { path: /body }, limits: { body: 3B }, forward: slow }\n  - { priority: 3, when: { path: /all }, timeouts: { exchange: 200ms }, forward: patient }\n  - { forward: slow }",
    );
    let mut long = Client::to(keel.address);
    long.write("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    gate.reached();
    // Asked later, and given up already.
    let short = ask(&keel, "/short", "");
    assert!(
        short.starts_with("HTTP/1.1 504 ") && short.ends_with("backend_timeout\n"),
        "{short}"
    );
    // One with a body is given up as well.
    for body in [
        "Content-Length: 2\r\n\r\nhi",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ] {
        let mut client = Client::to(keel.address);
        let given_up = client.send(&format!("POST /all HTTP/1.1\r\nHost: a\r\n{body}"));
        assert_eq!(given_up.status(), 504, "{body}");
    }
    // All that came so far: four, or more where a connection was late and tried again.
    for _ in 0..100 {
        gate.open();
    }
    assert!(long.read().body.starts_with("slow\n"));
    let large = long.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(large.status(), 413);
}
