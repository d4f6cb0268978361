//! PostgreSQL behind a TCP listener, Debian's own server and `psql`: plain, within TLS, behind TLS that ends here or goes by its name;
//! much both ways, a transaction across a reload, a server that dies.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::process::{Evenkeel, Folder, Server};
use crate::tcp::{row, run, text};
use crate::tls::{Authority, metric};

/// The server refuses to run as root; a number without an entry anywhere is enough for it.
const NOBODY: u32 = 65_534;

/// Lines of what is copied, some 80 bytes each.
const LINES: usize = 200_000;

/// A server of its own data, until its owner ends.
struct Postgres {
    server: Server,
    _folder: Folder,
}

/// One of the server's programs, as somebody whom it serves.
fn program(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("`cargo xtask setup` brings it");
    let newest = versions.map(|one| one.unwrap().path()).max_by_key(|path| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap_or(0)
    });
    let mut command = Command::new(newest.unwrap().join("bin").join(name));
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

impl Postgres {
    /// Known by a database of this name, and with TLS by this certificate where one is given.
    fn start(name: &str, tls: Option<(PathBuf, PathBuf)>) -> Self {
        let folder = Folder::shared(&format!("postgres-{name}"));
        let given = |path: &std::path::Path| {
            if is_root() {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        };
        given(folder.path());
        let data = folder.path().join("data");
        let made = program("initdb")
            .args(["--no-sync", "--no-locale", "--encoding=UTF8"])
            .args(["--auth=trust", "--username=keel", "--pgdata"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut settings = vec!["fsync=off".to_owned(), "max_connections=20".into()];
        if let Some((cert, key)) = tls {
            for (from, to) in [(cert, "server.crt"), (key, "server.key")] {
                let to = data.join(to);
                std::fs::copy(from, &to).unwrap();
                // A key that others may read is refused.
                std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
                given(&to);
            }
            settings.push("ssl=on".into());
        }
        let server = Server::start(|port| {
            let mut command = program("postgres");
            command.arg("-D").arg(&data);
            command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"]);
            command.arg(folder.path());
            for setting in &settings {
                command.args(["-c", setting]);
            }
            command
        });
        let own = Self {
            server,
            _folder: folder,
        };
        // It listens before it serves.
        let create = format!("create database {name}");
        let made = || asked(own.server.address, "dbname=postgres", &create);
        let said = (0..1_000)
            .map(|_| made())
            .find(|said| !said.contains("starting up"));
        assert_eq!(said.as_deref(), Some("CREATE DATABASE\n"));
        own
    }

    /// Ends at once, as it does when another of its processes has crashed: whoever is connected is cut off.
    fn dies(self) {
        drop(self);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Asked kindly it would wait for its clients.
        self.server.signal("-QUIT");
    }
}

/// `psql` as scripts use it: rows alone, errors on standard error.
fn psql(address: SocketAddr, how: &str) -> Command {
    let mut command = Command::new("psql");
    let target = format!(
        "host=db.example hostaddr=127.0.0.1 port={} user=keel connect_timeout=30 {how}",
        address.port()
    );
    command
        .env("LC_ALL", "C")
        .env("HOME", "/nonexistent")
        .args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--dbname",
            &target,
        ]);
    command
}

/// What it prints of one statement.
fn asked(address: SocketAddr, how: &str, statement: &str) -> String {
    let output = psql(address, how)
        .args(["--command", statement])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A `psql` that is told line by line.
struct Story {
    child: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Story {
    fn begin(address: SocketAddr, how: &str) -> Self {
        let mut child = psql(address, how)
            .arg("--quiet")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            asks: child.stdin.take().unwrap(),
            says: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// The row that these statements come to.
    fn row(&mut self, statements: &str) -> String {
        writeln!(self.asks, "{statements}").unwrap();
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// What it says of its last statements before it ends.
    fn ends(mut self, statements: &str) -> String {
        // It may have ended already.
        let _ = writeln!(self.asks, "{statements}");
        drop(self.asks);
        let output = self.child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

const PLAIN: &str = "dbname=postgres sslmode=disable";

#[test]
fn much_is_copied_both_ways_and_a_transaction_outlives_a_reload() {
    let folder = Folder::new("postgres-copy");
    let behind = Postgres::start("old", None);
    let all = [behind.server.address];
    let mut keel = run(&folder, &text("forward: db", &all, ""));
    let lines = |number: usize| format!("{number}\t{:064x}\n", number * 0x9e37_79b9);
    let sent: String = (0..LINES).map(lines).collect();
    let table = "create table much (number int primary key, words text)";
    assert_eq!(asked(keel.address, PLAIN, table), "CREATE TABLE\n");
    let copies = |statement: &str, input: &str| {
        let mut child = psql(keel.address, PLAIN)
            .args(["--quiet", "--command", statement])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{statement}");
        String::from_utf8(output.stdout).unwrap()
    };
    copies("copy much from stdin", &sent);
    let there =
        "select md5(string_agg(number || E'\\t' || words || E'\\n', '' order by number)) from much";
    let mut sums = Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sums.stdin
        .take()
        .unwrap()
        .write_all(sent.as_bytes())
        .unwrap();
    let sum = String::from_utf8(sums.wait_with_output().unwrap().stdout).unwrap();
    let (sum, _) = sum.split_once(' ').unwrap();
    assert_eq!(asked(all[0], PLAIN, there), format!("{sum}\n"), "upwards");
    let back = copies("copy (select * from much order by number) to stdout", "");
    assert!(back == sent, "downwards: {} of {}", back.len(), sent.len());
    metric(&keel, "evenkeel_flows{service=\"db\"} 0");
    // What one has begun goes on where it was begun, while the next goes elsewhere.
    let mut story = Story::begin(keel.address, PLAIN);
    let within = "begin; insert into much values (-1, 'within'); select 'begun';";
    assert_eq!(story.row(within), "begun");
    let other = Postgres::start("new", None);
    let changed = text("forward: db", &[other.server.address], "");
    folder.write("keel.yaml", &changed);
    keel.signal("-HUP");
    keel.until("is removed\n");
    let names = "select datname from pg_database where datname in ('old', 'new')";
    assert_eq!(asked(keel.address, PLAIN, names), "new\n");
    assert_eq!(
        story.row("commit; select datname from pg_database where datname in ('old', 'new');"),
        "old"
    );
    assert_eq!(
        asked(all[0], PLAIN, "select words from much where number < 0"),
        "within\n"
    );
    assert_eq!(story.ends("\\quit"), "");
    row(
        &folder,
        &[
            "\"reason\":\"served\"",
            &format!("\"backend\":\"{}\"", all[0]),
        ],
    );
}

#[test]
fn who_is_connected_to_a_server_that_dies_is_told_and_the_next_goes_on() {
    let folder = Folder::new("postgres-dies");
    let one = Postgres::start("one", None);
    let two = Postgres::start("two", None);
    let all = [one.server.address, two.server.address];
    let keel = run(&folder, &text("forward: db", &all, ""));
    let which = "select datname from pg_database where datname in ('one', 'two');";
    let mut stories: Vec<_> = (0..2)
        .map(|_| {
            let mut story = Story::begin(keel.address, PLAIN);
            (story.row(which), story)
        })
        .collect();
    stories.sort_by(|(one, _), (other, _)| one.cmp(other));
    let [(at_one, first), (at_two, mut second)] = <[_; 2]>::try_from(stories).ok().unwrap();
    assert_eq!((&*at_one, &*at_two), ("one", "two"));
    one.dies();
    let said = first.ends("select 1;");
    assert!(
        said.contains("server closed the connection unexpectedly"),
        "{said}"
    );
    assert_eq!(second.row("select 'still';"), "still");
    for _ in 0..4 {
        assert_eq!(asked(keel.address, PLAIN, which), "two\n");
    }
    let refused = format!(
        "evenkeel_backend_failures_total{{service=\"db\",backend=\"{}\"}} 0\n",
        all[0]
    );
    assert!(!keel.page("/metrics").contains(&refused), "it was tried");
    assert_eq!(second.ends("\\quit"), "");
}

/// What a client and its server agree on within a flow is theirs: TLS too, which begins behind a question of PostgreSQL's own. That
/// question is no hello, so that who asks it cannot be sent on by its name.
#[test]
fn tls_is_the_servers_or_ours() {
    let folder = Folder::new("postgres-tls");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["db.example"]);
    let path = |name: &str| folder.path().join(name);
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let both = folder.write("both.pem", &(read("site.pem") + &read("site.key")));
    let files = (path("site.pem"), path("site.key"));
    let behind = Postgres::start("secure", Some(files));
    let here = behind.server.address;
    let checked = format!(
        "dbname=postgres sslmode=verify-full sslrootcert={}",
        authority.ca.display()
    );
    let ssl = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let asks = |keel: &Evenkeel| asked(keel.address, &checked, ssl);
    let through = run(&folder, &text("forward: db", &[here], ""));
    assert_eq!(
        (asks(&through), asked(through.address, PLAIN, ssl)),
        ("t\n".into(), "f\n".into())
    );
    let by_name = run(&folder, &text("sni: { db.example: db }", &[here], ""));
    let said = asks(&by_name);
    assert!(
        said.contains("server closed the connection unexpectedly")
            || said.contains("Connection reset"),
        "{said}"
    );
    metric(
        &by_name,
        "evenkeel_local_answers_total{listener=\"db\",reason=\"bad_hello\"} 1",
    );
    // Others begin with TLS for who does not: HAProxy, as `sslnegotiation=direct` does from version 17 on.
    let ends = "forward: db, tls: { certificates: [{ cert: site.pem, key: site.key }], alpn: [postgresql] }";
    let ending = run(&folder, &text(ends, &[here], ""));
    let begins = |keel: &Evenkeel, protocol: &str| {
        let ca = authority.ca.display();
        let server = format!(
            "server one {} ssl verify required ca-file {ca} sni str(db.example) verifyhost db.example alpn {protocol}",
            keel.address
        );
        Server::haproxy(&folder, "", &server)
    };
    let front = begins(&ending, "postgresql");
    assert_eq!(asked(front.address, PLAIN, ssl), "f\n");
    let odd = begins(&ending, "h2");
    assert!(
        asked(odd.address, PLAIN, ssl).contains("error"),
        "another protocol"
    );
    let secure = Server::haproxy(
        &folder,
        &format!("ssl crt {} alpn postgresql", both.display()),
        &format!("server one {here}"),
    );
    let passing = run(
        &folder,
        &text(
            "sni: { db.example: { alpn: { postgresql: db } } }",
            &[secure.address],
            "",
        ),
    );
    let front = begins(&passing, "postgresql");
    assert_eq!(asked(front.address, PLAIN, ssl), "f\n");
    row(
        &folder,
        &["\"host\":\"db.example\"", "\"reason\":\"served\""],
    );
    if version() >= 17 {
        let direct = format!("{checked} sslnegotiation=direct");
        assert_eq!(asked(ending.address, &direct, ssl), "f\n");
        // The server that is installed is of the same version.
        let by_name = run(&folder, &text("sni: { db.example: db }", &[here], ""));
        assert_eq!(asked(by_name.address, &direct, ssl), "t\n");
    }
}

/// Of the client: before 17 it does not begin with TLS.
fn version() -> u32 {
    let said = Command::new("psql").arg("--version").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let number = said.split_whitespace().nth(2).unwrap();
    number.split('.').next().unwrap().parse().unwrap()
}
