//! Who may ask a running instance what: by curl and by hand, with tokens, certificates and a Unix socket, over reloads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::Value;

use crate::evenkeel;
use crate::events::Along;
use crate::process::{Evenkeel, Folder, PATIENCE};
use crate::tls::Authority;

/// Each operation by each scope, role and verb.
mod table;

/// A token for each scope, and for each role, by their words.
struct Tokens {
    folder: Folder,
    all: BTreeMap<&'static str, String>,
    lines: BTreeMap<&'static str, String>,
    /// One whose time is over.
    old: RefCell<String>,
}

const WORDS: [&str; 13] = [
    "viewer",
    "operator",
    "admin",
    "decisions:read",
    "decisions:write",
    "backends:read",
    "backends:write",
    "health:read",
    "health:write",
    "performance:read",
    "performance:write",
    "configuration:read",
    "configuration:write",
];

/// A token and its line, as `token create` prints them.
pub(crate) fn create(arguments: &[&str]) -> (String, String) {
    let (code, out, said) = evenkeel(&[&["token", "create"], arguments].concat());
    assert_eq!((code, &*said), (Some(0), ""));
    let (token, line) = out.trim_end().split_once('\n').unwrap();
    (token.to_owned(), line.to_owned())
}

impl Tokens {
    fn new(name: &str) -> Self {
        let (mut all, mut lines) = (BTreeMap::new(), BTreeMap::new());
        for word in WORDS {
            let name = word.replace(':', "-");
            let (token, line) = create(&["--name", &name, "--scope", word]);
            all.insert(word, token);
            lines.insert(word, line);
        }
        let tokens = Self {
            folder: Folder::new(name),
            all,
            lines,
            old: RefCell::default(),
        };
        tokens.write(&WORDS);
        tokens
    }

    /// The file of tokens has these, and one whose time is over.
    fn write(&self, words: &[&str]) {
        let (token, old) = create(&["--name", "old", "--scope", "admin"]);
        self.old.replace(token);
        let old = old.replace(" }", ", until: 2020-01-01 }");
        let lines = words.iter().map(|word| &*self.lines[*word]);
        let lines: Vec<_> = lines.chain([&*old]).collect();
        self.folder.write("tokens.yaml", &(lines.join("\n") + "\n"));
    }

    fn text(admin: &str) -> String {
        format!(
            "admin: {{ {admin} }}\nworkers: 1\naccess_log: {{ to: ./rows.log }}\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [{{ id: one, address: \"127.0.0.1:1\" }}, {{ id: two, address: \"127.0.0.1:1\" }}] }} }}\n"
        )
    }

    fn run(&self, admin: &str) -> Evenkeel {
        let file = self.folder.write("keel.yaml", &Self::text(admin));
        Evenkeel::run(&["-c", file.to_str().unwrap()])
    }

    fn reload(&self, keel: &mut Evenkeel, admin: &str) {
        self.folder.write("keel.yaml", &Self::text(admin));
        keel.signal("-HUP");
        keel.until_any("reloaded: ");
    }

    /// As the field that says who asks.
    fn bearer(&self, word: &str) -> String {
        format!("Authorization: Bearer {}", self.all[word])
    }
}

/// Status, head and body of an answer.
type Answer = (u16, String, String);

fn ask_over(mut stream: impl Read + Write, method: &str, path: &str, fields: &[&str]) -> Answer {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nX-Evenkeel: 1\r\nIf-Match: *\r\nConnection: close\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn ask(at: SocketAddr, method: &str, path: &str, fields: &[&str]) -> Answer {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask_over(
        stream,
        method,
        path,
        &[&["Host: localhost"], fields].concat(),
    )
}

fn reason(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body["reason"].as_str().unwrap_or_default().to_owned()
}

const WITH_TOKENS: &str = "bind: \"127.0.0.1:0\", tokens: tokens.yaml";

const ONE: &str = "/v1/services/api/backends/one";

/// Each operation, of what the tests here have.
fn operations() -> impl Iterator<Item = (&'static str, String)> {
    let named = |path: &str| {
        let path = path
            .replace("{service}", "api")
            .replace("{checked}", "api")
            .replace("{backend}", "one");
        let path = path
            .replace("{listener}", "web")
            .replace("{reason}", "query");
        path.replace(['{', '}'], "")
    };
    table::ROWS.iter().map(move |row| (row.0, named(row.1)))
}

/// What anybody has whose token counts.
const KNOWN: &str = "known";

/// What the word of a token allows.
fn allows(word: &str, scope: &str) -> bool {
    match word {
        _ if scope == KNOWN => true,
        "admin" => true,
        "operator" => !matches!(scope, "performance:write" | "configuration:write"),
        "viewer" => scope.ends_with(":read"),
        word => word == scope,
    }
}

#[test]
fn who_is_not_known_is_told_what_is_missing() {
    let tokens = Tokens::new("access-unknown");
    let mut keel = tokens.run(WITH_TOKENS);
    let (admin, viewer) = (tokens.bearer("admin"), tokens.bearer("viewer"));
    let wrong = format!("{viewer}0");
    let bearer = "www-authenticate: bearer realm=\"evenkeel\"";
    let invalid = "error=\"invalid_token\"";
    let rows: &[(&[&str], &str, &str)] = &[
        (&[], "no_credentials", bearer),
        (
            &["Authorization: Basic YTpi"],
            "malformed_token",
            "invalid_request",
        ),
        (&[&admin, &admin], "malformed_token", "invalid_request"),
        (&[&wrong], "unknown_token", invalid),
        (&["Authorization: Bearer x"], "unknown_token", invalid),
    ];
    for (fields, word, challenge) in rows {
        let (status, head, body) = ask(keel.admin, "GET", "/v1/version", fields);
        assert_eq!((status, &*reason(&body)), (401, *word), "{fields:?}");
        assert!(head.contains(challenge), "{head}");
    }
    // What there is not is told to who is known.
    let (status, _, body) = ask(keel.admin, "GET", "/v1/none", &[]);
    assert_eq!((status, &*reason(&body)), (401, "no_credentials"));
    let (status, _, body) = ask(keel.admin, "GET", "/v1/none", &[&viewer]);
    assert_eq!((status, &*reason(&body)), (404, "no_page"));
    let (status, head, body) = ask(keel.admin, "PUT", "/v1/version", &[&admin]);
    assert_eq!((status, &*reason(&body)), (405, "method"));
    assert!(head.contains("allow: get,head"), "{head}");
    let (status, _, body) = ask(keel.admin, "HEAD", "/v1/version", &[&viewer]);
    assert_eq!((status, &*body), (200, ""));
    // Six of ten have failed: four more, and it is too often. Who is known passes all the same.
    let fails = || ask(keel.admin, "GET", "/v1/version", &[&wrong]);
    let more: Vec<_> = (0..8).map(|_| fails().0).collect();
    assert_eq!(more[..4], [401; 4]);
    // On a slow machine one may have come back meanwhile.
    assert_eq!(more.last(), Some(&429), "{more:?}");
    let (status, head, body) = fails();
    assert_eq!((status, &*reason(&body)), (429, "too_many_failures"));
    assert!(head.contains("retry-after: "), "{head}");
    let (status, _, metrics) = ask(keel.admin, "GET", "/metrics", &[&viewer]);
    assert_eq!(status, 200);
    let counted = |word: &str| {
        let line = format!("evenkeel_admin_denied_total{{reason=\"{word}\"}} ");
        let mut lines = metrics.lines();
        let count = lines.find_map(|one| one.strip_prefix(&line)).unwrap();
        count.parse::<u64>().unwrap()
    };
    assert_eq!(
        (counted("malformed_token"), counted("no_credentials")),
        (2, 2)
    );
    assert!(counted("unknown_token") >= 6 && counted("too_many_failures") >= 2);
    // Names and origins that a page's author may have led here.
    for (field, status, word) in [
        ("Host: keel.test", 421, "not_your_host"),
        ("Origin: http://a.test", 403, "cross_site"),
        ("Origin: null", 403, "cross_site"),
        ("Origin: https://a.test", 403, "cross_site"),
        ("Sec-Fetch-Site: cross-site", 403, "cross_site"),
    ] {
        let stream = TcpStream::connect(keel.admin).unwrap();
        let host = if field.starts_with("Host") {
            "X: y"
        } else {
            "Host: localhost"
        };
        let (got, _, body) = ask_over(stream, "GET", "/v1/version", &[host, field, &admin]);
        assert_eq!((got, &*reason(&body)), (status, word), "{field}");
    }
    // Before a proxy it may have been encrypted.
    for own in [
        "Origin: http://localhost",
        "Origin: https://localhost",
        "Sec-Fetch-Site: same-origin",
    ] {
        assert_eq!(
            ask(keel.admin, "GET", "/v1/version", &[own, &admin]).0,
            200,
            "{own}"
        );
    }
    tokens.reload(&mut keel, &format!("{WITH_TOKENS}, hosts: [keel.test]"));
    let stream = TcpStream::connect(keel.admin).unwrap();
    let named = ["Host: Keel.test:9900", &admin];
    assert_eq!(ask_over(stream, "GET", "/v1/version", &named).0, 200);
}

#[test]
fn a_reload_changes_who_is_known_at_once_on_open_connections_too() {
    let tokens = Tokens::new("access-reload");
    let mut keel = tokens.run(WITH_TOKENS);
    let mut open = TcpStream::connect(keel.admin).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut on_it = |word: &str| {
        let field = tokens.bearer(word);
        let request = format!("GET /v1/rules HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n");
        open.write_all(request.as_bytes()).unwrap();
        let head = crate::process::until(&mut open, "\r\n\r\n").to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        open.read_exact(&mut vec![0; length]).unwrap();
        head.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    assert_eq!([on_it("viewer"), on_it("admin")], [200, 200]);
    tokens.write(&["admin", "operator"]);
    // Not before it is told.
    assert_eq!(on_it("viewer"), 200);
    keel.signal("-HUP");
    keel.until_any("reloaded: admin changes");
    assert_eq!([on_it("viewer"), on_it("admin")], [401, 200]);
    // By the API as by the signal.
    tokens.write(&["viewer", "admin"]);
    let bearer = tokens.bearer("admin");
    let fields = [
        "-X",
        "POST",
        "-H",
        "X-Evenkeel: 1",
        "-H",
        "If-Match: *",
        "-H",
        &bearer,
    ];
    let taken = keel.asked(&fields, "/v1/reload");
    assert!(taken.contains("admin changes"), "{taken}");
    assert_eq!([on_it("viewer"), on_it("operator")], [200, 401]);
    tokens.write(&["admin", "operator"]);
    keel.signal("-HUP");
    keel.until_any("reloaded: admin changes");
    // What is wrong changes nothing.
    tokens.folder.write("tokens.yaml", "- { name: a }\n");
    keel.signal("-HUP");
    keel.until_any("not reloaded");
    assert!(keel.said.contains("tokens.yaml:1:3: "), "{}", keel.said);
    assert_eq!([on_it("viewer"), on_it("operator")], [401, 200]);
}

#[test]
fn who_reads_events_along_does_so_as_long_as_it_may() {
    let tokens = Tokens::new("access-along");
    let mut keel = tokens.run(WITH_TOKENS);
    let along = |word: &str| Along::new(&keel, &[&tokens.bearer(word)], "");
    let (mut viewer, mut admin) = (along("viewer"), along("admin"));
    tokens.write(&["admin"]);
    keel.signal("-HUP");
    keel.until_any("reloaded: admin changes");
    let (_, _, event) = admin.event();
    assert_eq!(event["kind"], "reloaded", "{event}");
    assert_eq!(viewer.next(), None);
}

/// A page of everything is work that the control plane does not wait for; who has no such address has no such thread.
#[test]
fn pages_have_a_thread_of_their_own() {
    for (admin, expect) in [("127.0.0.1:0", 1), ("off", 0)] {
        let keel = Evenkeel::run(&["--admin", admin, "--listen", "127.0.0.1:0", "--to", "a:1"]);
        let threads = fs::read_dir(format!("/proc/{}/task", keel.id())).unwrap();
        let name = |thread: io::Result<fs::DirEntry>| {
            fs::read_to_string(thread.unwrap().path().join("comm")).unwrap()
        };
        let found = threads.map(name).filter(|name| name == "admin\n").count();
        assert_eq!(found, expect, "{admin}");
    }
}

#[test]
fn an_address_beyond_loopback_is_never_open() {
    let tokens = Tokens::new("access-beyond");
    let file = tokens
        .folder
        .write("open.yaml", &Tokens::text("bind: \"0.0.0.0:9900\""));
    let (code, _, said) = evenkeel(&["check", file.to_str().unwrap()]);
    let caret =
        "    1 | admin: { bind: \"0.0.0.0:9900\" }\n      |                ^^^^^^^^^^^^^^\n";
    assert!(
        code == Some(1) && said.contains("[admin_open]") && said.contains(caret),
        "{said}"
    );
    let (code, _, said) = evenkeel(&[
        "run",
        "--listen",
        "127.0.0.1:0",
        "--to",
        "127.0.0.1:1",
        "--admin",
        "0.0.0.0:0",
    ]);
    assert!(
        code == Some(1) && said.contains("anybody could change everything"),
        "{said}"
    );
    let mut keel = tokens.run("bind: \"0.0.0.0:0\", metrics: \"127.0.0.1:0\", tokens: tokens.yaml");
    assert!(keel.said.contains("unencrypted"), "{}", keel.said);
    let at = SocketAddr::from(([127, 0, 0, 1], keel.admin.port()));
    assert_eq!(ask(at, "GET", "/v1/version", &[]).0, 401);
    assert_eq!(
        ask(at, "GET", "/v1/version", &[&tokens.bearer("viewer")]).0,
        200
    );
    // The second address is for who scrapes, whoever that is, and has nothing else.
    let said = keel
        .said
        .lines()
        .find_map(|line| line.split_once(" metrics is at "))
        .unwrap();
    let metrics: SocketAddr = said.1.parse().unwrap();
    for (path, status) in [
        ("/metrics", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/v1/version", 404),
    ] {
        assert_eq!(ask(metrics, "GET", path, &[]).0, status, "{path}");
    }
    // Another address takes another start. Until then nobody is let in who would be at that one.
    tokens.reload(&mut keel, "bind: \"127.0.0.1:0\"");
    let admin = tokens.bearer("admin");
    let rows: [&[&str]; 2] = [&[], &[&admin]];
    for fields in rows {
        let (status, _, body) = ask(at, "GET", "/v1/version", fields);
        assert_eq!((status, &*reason(&body)), (403, "not_local"));
    }
    assert_eq!(ask(at, "GET", "/livez", &[]).0, 200);
}

#[test]
fn a_unix_socket_is_for_who_may_write_its_file() {
    let tokens = Tokens::new("access-unix");
    let socket = tokens.folder.path().join("a.sock");
    let bind = format!("bind: \"unix:{}\", tokens: tokens.yaml", socket.display());
    let mut keel = tokens.run(&bind);
    let mode = |socket: &std::path::Path| fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode(&socket) & 0o777, 0o600);
    let over = |method: &str, path: &str, fields: &[&str]| {
        ask_over(UnixStream::connect(&socket).unwrap(), method, path, fields)
    };
    // No name leads to it, and who may connect need not say who it is.
    assert_eq!(over("GET", "/v1/version", &["Host: a.test"]).0, 200);
    assert_eq!(
        over(
            "GET",
            "/v1/version",
            &["Host: a.test", "Authorization: Basic x"]
        )
        .0,
        200
    );
    assert_eq!(
        over("POST", "/v1/services/api/backends/one/drain", &["Host: a"]).0,
        200
    );
    keel.until_any("audit ");
    let user = Command::new("id").arg("-u").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    let line = format!(
        "audit who=user-{0} by=socket from=unix:user-{0} method=POST path={ONE}/drain status=200 result=done",
        user.trim()
    );
    assert!(keel.said.contains(&line), "{}", keel.said);
    drop(keel);
    let keel = tokens.run(&format!("{bind}, socket: {{ mode: 0660, group: 0 }}"));
    assert_eq!(mode(&socket) & 0o777, 0o660);
    drop(keel);
    let file = tokens.folder.write(
        "keel.yaml",
        &Tokens::text(&format!("{bind}, socket: {{ user: nobody-there }}")),
    );
    let (code, _, said) = evenkeel(&["run", file.to_str().unwrap()]);
    assert!(
        code == Some(1) && said.contains("there is no user nobody-there"),
        "{said}"
    );
}

#[test]
fn a_certificate_says_who_asks() {
    let tokens = Tokens::new("access-mtls");
    let ours = Authority::new(&tokens.folder, "ours");
    ours.make("site", &["localhost"]);
    ours.make("ops", &["ops.example"]);
    ours.make("guest", &["guest.example"]);
    let theirs = Authority::new(&tokens.folder, "theirs");
    theirs.make("stranger", &["ops.example"]);
    let keel = tokens.run(
        "bind: \"127.0.0.1:0\", tokens: tokens.yaml, tls: { certificates: { cert: site.pem, key: site.key }, client_auth: { ca: ours.ca, mode: request } }, identities: [{ name: ops, san: \"DNS:ops.example\", scopes: operator }]",
    );
    let folder = tokens.folder.path();
    let port = keel.admin.port();
    let curl = |certificate: Option<&str>, arguments: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "*",
        ]);
        command.args([
            "--resolve",
            &format!("localhost:{port}:127.0.0.1"),
            "--cacert",
        ]);
        command.arg(folder.join("ours.ca")).args(arguments);
        if let Some(name) = certificate {
            command
                .arg("--cert")
                .arg(folder.join(format!("{name}.pem")));
            command.arg("--key").arg(folder.join(format!("{name}.key")));
        }
        let output = command
            .arg(format!("https://localhost:{port}{path}"))
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        out + &String::from_utf8_lossy(&output.stderr)
    };
    // One that never says a word of its handshake holds nobody up.
    let silent = TcpStream::connect(keel.admin).unwrap();
    let drain = format!("{ONE}/drain");
    let post = ["-X", "POST", "-H", "X-Evenkeel: 1", "-H", "If-Match: *"];
    assert!(curl(Some("ops"), &post, &drain).contains("\"state\":\"draining\""));
    let refused = curl(Some("ops"), &post, "/v1/listeners/web/drain");
    assert!(
        refused.contains("\"scope\":\"configuration:write\""),
        "{refused}"
    );
    assert_eq!(
        reason(&curl(Some("guest"), &[], "/v1/version")),
        "unknown_certificate"
    );
    assert_eq!(reason(&curl(None, &[], "/v1/version")), "no_credentials");
    let token = tokens.bearer("viewer");
    let version = curl(None, &["-H", &token], "/v1/version");
    assert!(version.contains("\"process\":"), "{version}");
    // A token is what counts of who shows both.
    let refused = curl(Some("ops"), &[&post[..], &["-H", &token]].concat(), &drain);
    assert_eq!(reason(&refused), "not_allowed", "{refused}");
    let broken = curl(Some("stranger"), &[], "/v1/version");
    assert!(
        !broken.contains("process") && broken.starts_with("curl: ("),
        "{broken}"
    );
    let plain = keel.page("/v1/version");
    assert!(!plain.contains("process"), "{plain}");
    drop(silent);
}

#[test]
fn the_command_line_says_who_asks_and_changes_are_written_down() {
    let tokens = Tokens::new("access-cli");
    let mut keel = tokens.run(WITH_TOKENS);
    let at = keel.admin.to_string();
    let run = |token: Option<&str>, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command
            .args(arguments)
            .args(["--admin", &at])
            .env_remove("EVENKEEL_TOKEN");
        if let Some(token) = token {
            command.env("EVENKEEL_TOKEN", token);
        }
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout) + &text(&output.stderr),
        )
    };
    let (code, said) = run(None, &["status"]);
    assert!(code == Some(1) && said.contains("say who asks"), "{said}");
    let (code, said) = run(Some(&tokens.all["viewer"]), &["status", "--json"]);
    assert!(code == Some(0) && said.contains("\"services\""), "{said}");
    let drain = ["backends", "drain", "api", "one"];
    let (code, said) = run(Some(&tokens.all["viewer"]), &drain);
    assert!(
        code == Some(1) && said.contains("`backends:write`"),
        "{said}"
    );
    assert_eq!(run(Some(&tokens.all["operator"]), &drain).0, Some(0));
    let path = format!("path={ONE}/drain");
    keel.until_any("status=200");
    for line in [
        format!("WARN audit who=viewer by=token from=127.0.0.1:@ method=POST {path} status=403 result=not_allowed"),
        format!("INFO audit who=operator by=token from=127.0.0.1:@ method=POST {path} status=200 result=done"),
        "WARN audit who=- by=nothing from=127.0.0.1:@ method=GET path=/v1/status status=401 result=no_credentials".into(),
    ] {
        let (before, behind) = line.split_once('@').unwrap();
        let has = |one: &str| one.contains(before) && one.contains(behind);
        assert!(keel.said.lines().any(has), "{line} in {}", keel.said);
    }
    // Looks are not written down.
    assert_eq!(keel.said.matches(" audit ").count(), 3, "{}", keel.said);
}

#[test]
fn the_command_line_asks_over_tls_and_believes_nobody_else() {
    let tokens = Tokens::new("access-cli-tls");
    let ours = Authority::new(&tokens.folder, "ours");
    ours.make("site", &["localhost"]);
    ours.make("ops", &["ops.example"]);
    Authority::new(&tokens.folder, "theirs");
    let keel = tokens.run(
        "bind: \"127.0.0.1:0\", tokens: tokens.yaml, tls: { certificates: { cert: site.pem, key: site.key }, client_auth: { ca: ours.ca, mode: request } }, identities: [{ name: ops, san: \"DNS:ops.example\", scopes: operator }]",
    );
    let port = keel.admin.port();
    let file = |name: &str| tokens.folder.path().join(name).display().to_string();
    let run = |host: &str, token: Option<&str>, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        let at = format!("{host}:{port}");
        command.args(arguments).args(["--admin", &at]);
        command.env_remove("EVENKEEL_TOKEN");
        if let Some(token) = token {
            command.env("EVENKEEL_TOKEN", token);
        }
        let output = command.output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr);
        (output.status.code(), out + &err)
    };
    let (ca, theirs) = (file("ours.ca"), file("theirs.ca"));
    let viewer = Some(&*tokens.all["viewer"]);
    let (code, said) = run(
        "https://localhost",
        viewer,
        &["status", "--json", "--admin-ca", &ca],
    );
    assert!(code == Some(0) && said.contains("\"services\""), "{said}");
    // By a certificate, without a token.
    let (certificate, key) = (file("ops.pem"), file("ops.key"));
    let mut drain = vec!["backends", "drain", "api", "one", "--admin-ca", &ca];
    let (code, said) = run("https://localhost", None, &drain);
    assert!(code == Some(1) && said.contains("say who asks"), "{said}");
    drain.extend(["--admin-cert", &certificate, "--admin-key", &key]);
    let (code, said) = run("https://localhost", None, &drain);
    assert!(code == Some(0) && said.contains("draining"), "{said}");
    // Another issuer, another name, and no TLS at all.
    for (host, issuers, why) in [
        ("https://localhost", &theirs, "UnknownIssuer"),
        ("https://127.0.0.1", &ca, "not valid for name"),
        ("http://127.0.0.1", &ca, "127.0.0.1"),
    ] {
        let (code, said) = run(host, viewer, &["status", "--admin-ca", issuers]);
        assert!(code == Some(1) && said.contains(why), "{host}: {said}");
    }
    let (code, said) = run(
        "https://localhost",
        None,
        &["status", "--admin-cert", &certificate],
    );
    assert!(code == Some(2) && said.contains("--admin-key"), "{said}");
}

/// Wherever a token is sent, and whatever is asked: neither it nor its digest stands in a log, in an answer or on a page.
#[test]
fn no_secret_is_told_anywhere() {
    let tokens = Tokens::new("access-secrets");
    let mut keel = tokens.run(WITH_TOKENS);
    let strange = format!("keel_{}", "c0ffee5ec3e7".repeat(5) + "c0ff");
    let mut seen = keel.curl(&["-H", &tokens.bearer("admin")], "/x");
    for (method, path) in operations() {
        for token in [&tokens.all["admin"], &tokens.all["viewer"], &strange] {
            let bearer = format!("Authorization: Bearer {token}");
            let (_, head, body) = ask(keel.admin, method, &path, &[&bearer]);
            seen += &(head + &body);
            // In the wrong places, by somebody who may and by nobody.
            for field in [&*bearer, "X: y"] {
                for path in [
                    format!("{path}?access_token={token}"),
                    format!("/v1/{token}"),
                    "/v1/none".into(),
                ] {
                    let (_, head, body) = ask(keel.admin, method, &path, &[field]);
                    seen += &(head + &body);
                }
            }
        }
    }
    let token = &tokens.all["admin"];
    for field in [
        format!("Authorization: {token}"),
        format!("Authorization: Basic {token}"),
        format!("Host: {token}"),
        format!("Origin: http://{token}"),
    ] {
        let (_, head, body) = ask(keel.admin, "POST", &format!("{ONE}/drain"), &[&field]);
        seen += &(head + &body);
    }
    let file = tokens.folder.path().join("keel.yaml");
    let file = file.to_str().unwrap();
    for arguments in [
        &["config", "show", file][..],
        &["config", "show", "--json", file],
        &["check", file],
        &["config", "diff", file, file],
    ] {
        let (_, out, said) = evenkeel(arguments);
        seen += &(out + &said);
    }
    tokens.write(&["admin"]);
    keel.signal("-HUP");
    keel.until_any("reloaded: ");
    keel.signal("-TERM");
    let (_, said) = keel.wait();
    assert!(
        said.contains(" audit ") && said.contains("keel_(not shown)"),
        "{said}"
    );
    seen += &said;
    seen += &fs::read_to_string(tokens.folder.path().join("rows.log")).unwrap();
    assert!(seen.len() > 100_000, "{}", seen.len());
    let seen = seen.to_ascii_lowercase();
    for word in WORDS {
        let secret = tokens.all[word].trim_start_matches("keel_");
        assert!(!seen.contains(secret), "the token for {word} is told");
        let digest = tokens.lines[word].split('"').nth(3).unwrap();
        assert!(!seen.contains(digest), "the digest for {word} is told");
    }
    assert!(
        !seen.contains("c0ffee5ec3e7"),
        "a token that nobody has is told"
    );
}

#[test]
fn a_token_is_made_once_and_its_line_is_taken() {
    let (token, line) = create(&[
        "--name",
        "ci",
        "--scope",
        "viewer",
        "--scope",
        "backends:write",
        "--for",
        "90d",
    ]);
    assert!(token.starts_with("keel_") && token.len() == 69 && !line.contains(&token[5..]));
    let digest = Command::new("sh")
        .args(["-c", "printf %s \"$0\" | sha256sum", &token])
        .output()
        .unwrap();
    let digest = String::from_utf8(digest.stdout).unwrap();
    assert!(line.contains(digest.split(' ').next().unwrap()), "{line}");
    assert!(
        line.starts_with("- { name: \"ci\", sha256: \"")
            && line.contains(", scopes: [viewer, backends:write], until: 20"),
        "{line}"
    );
    let (code, out, _) = evenkeel(&[
        "token", "create", "--name", "x", "--scope", "admin", "--json",
    ]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(0));
    assert!(
        out["line"]
            .as_str()
            .unwrap()
            .contains(out["sha256"].as_str().unwrap())
    );
    for wrong in [
        &["--name", "a b", "--scope", "admin"][..],
        &["--name", "a", "--scope", "root"],
        &["--name", "a"],
        &["--scope", "admin"],
        &["--name", "a", "--scope", "admin", "--for", "soon"],
    ] {
        let (code, out, _) = evenkeel(&[&["token", "create"], wrong].concat());
        assert_eq!((code, &*out), (Some(2), ""), "{wrong:?}");
    }
}
