//! The table of `docs/rules.md`, each row a rule of the shipped binary, each request sent by a real client.

use std::net::SocketAddr;
use std::process::Command;

use crate::evenkeel;
use rcgen::{DistinguishedName, DnType, PKCS_ECDSA_P256_SHA256, SanType};

use crate::process::{Evenkeel, Folder, Server, hold, rest};
use crate::tls::Authority;

/// A row of the table.
struct Row {
    when: String,
    holds: Vec<String>,
    not: Vec<String>,
}

fn rows() -> Vec<Row> {
    let table = include_str!("../../../../docs/rules.md").lines();
    let rows = table.filter(|line| line.starts_with("| `{"));
    let cells = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::to_owned).collect();
        assert_eq!(cells.len(), 6, "{line}");
        cells
    };
    let quoted = |cell: &str| {
        let pieces = cell.split('`').skip(1).step_by(2);
        pieces.map(str::to_owned).collect::<Vec<_>>()
    };
    let row = |line| {
        let cells = cells(line);
        Row {
            when: quoted(&cells[1]).concat(),
            holds: quoted(&cells[2]),
            not: quoted(&cells[3]),
        }
    };
    rows.map(row).collect()
}

/// A listener of its own for each row, so that no rule stands before another.
fn configuration(rows: &[Row], folder: &Folder) -> String {
    let mut text = String::from(
        "admin: { bind: off }\nworkers: 1\nmax_listeners: 100\ntrusted_proxies: [127.0.0.7]\nlisteners:\n",
    );
    for (number, row) in rows.iter().enumerate() {
        let unix = folder.path().join(number.to_string());
        // Whoever shows certificates shows them over TLS.
        let tls = match row.when.contains("client_certificate") {
            true => {
                ", tls: { certificates: [{ cert: site.pem, key: site.key }], client_auth: { ca: clients.ca, mode: request } }"
            }
            false => "",
        };
        text += &format!(
            "  row-{number}: {{ bind: [\"127.0.0.1:0\", \"unix:{}\"]{tls} }}\n",
            unix.display()
        );
    }
    text += "rules:\n";
    for (number, row) in rows.iter().enumerate() {
        text += &format!(
            "- {{ listeners: [row-{number}], when: {}, respond: {{ body: holds }} }}\n",
            row.when
        );
    }
    text + "- { respond: { body: no } }\n"
}

/// What a request of the table is answered.
fn ask(request: &str, address: SocketAddr, unix: &str, folder: &Folder, tls: bool) -> String {
    let mut parts = request.split(" + ");
    let (method, target) = parts.next().unwrap().split_once(' ').unwrap();
    let (host, path) = target.split_once('/').unwrap();
    let (mut from, mut over, mut cert) = (None, false, None);
    let mut fields = Vec::new();
    for part in parts {
        match part.strip_prefix("from ") {
            Some(address) => from = Some(address),
            None if part == "unix" => over = true,
            None => match part.strip_prefix("cert ") {
                Some(name) => cert = Some(name),
                None => fields.push(part),
            },
        }
    }
    if from.is_none() && !over && !tls {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let text = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n"
        );
        return rest(hold(address, &text));
    }
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--include", "--noproxy", "*"]);
    curl.args(["--max-time", "30", "--path-as-is", "-X", method]);
    if let Some(from) = from {
        curl.args(["--interface", from]);
    }
    if over {
        curl.args(["--unix-socket", unix]);
    }
    if let Some(name) = cert {
        for (flag, end) in [("--cert", "pem"), ("--key", "key")] {
            curl.arg(flag)
                .arg(folder.path().join(format!("{name}.{end}")));
        }
    }
    for field in [&*format!("Host: {host}")].iter().chain(&fields) {
        curl.args(["-H", field]);
    }
    let scheme = if tls { "https" } else { "http" };
    let output = curl
        .arg("--insecure")
        .arg(format!("{scheme}://{address}/{path}"))
        .output()
        .unwrap();
    let output = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&output).into_owned()
}

#[test]
fn each_row_of_the_table() {
    let folder = Folder::new("conditions");
    let rows = rows();
    let clients = Authority::new(&folder, "clients");
    clients.make("site", &["a.example"]);
    let uri = |name: &str| SanType::URI(format!("spiffe://keel/{name}").try_into().unwrap());
    clients.make_with("bob", &["bob.example"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.subject_alt_names.push(uri("bob"));
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Keel");
        params.distinguished_name.push(DnType::CommonName, "bob");
    });
    clients.make_with("mallory", &[], &PKCS_ECDSA_P256_SHA256, |params| {
        params.subject_alt_names.push(uri("m,DNS:bob.example"));
        params
            .distinguished_name
            .push(DnType::CommonName, "mallory,O=Keel");
    });
    let file = folder.write("keel.yaml", &configuration(&rows, &folder));
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut asked = 0;
    for (number, row) in rows.iter().enumerate() {
        let mark = format!("listener row-{number} listens on 127.0.0.1:");
        let port = keel.said.lines().find_map(|line| line.split_once(&mark));
        let port = port.unwrap_or_else(|| panic!("{}", keel.said)).1;
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        let unix = folder.path().join(number.to_string());
        let expect = [("holds", &row.holds), ("no", &row.not)];
        for (body, request) in expect
            .iter()
            .flat_map(|(body, all)| all.iter().map(move |one| (*body, one)))
        {
            let answer = {
                let tls = row.when.contains("client_certificate");
                ask(request, address, unix.to_str().unwrap(), &folder, tls)
            };
            let served = ["HTTP/1.1 200 OK\r\n", "HTTP/2 200 \r\n"];
            let is = served.iter().any(|line| answer.starts_with(line))
                && answer.ends_with(&format!("\r\n\r\n{body}"));
            assert!(is, "{}: {request} must meet `{body}`: {answer}", row.when);
            asked += 1;
        }
    }
    // The table was found.
    assert!(asked > 100, "{asked}");
}

/// A hundred thousand hosts in a file, which a reload reads anew; with another host, later rules go on.
#[test]
fn hosts_from_a_file() {
    let folder = Folder::new("hosts");
    folder.write("one/who", "one\n");
    folder.write("two/who", "two\n");
    let one = Server::python(&folder.path().join("one"));
    let two = Server::python(&folder.path().join("two"));
    let mut map = String::from("# made by a program\n*.example.org two\n");
    for at in 0..99_999 {
        map += &format!("h{at}.example.com {}\n", ["one", "two"][at % 2]);
    }
    folder.write("maps/hosts.map", &map);
    let file = folder.write(
        "keel.yaml",
        &format!("admin: {{ bind: off }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ one: {{ backends: [\"{}\"] }}, two: {{ backends: [\"{}\"] }} }}\nrules:\n- {{ name: hosts, host_map: {{ file: maps/hosts.map }}, when: {{ method: GET }} }}\n- {{ respond: {{ body: no }} }}\n", one.address, two.address),
    );
    let path = file.to_str().unwrap();
    let mut keel = Evenkeel::run(&["-c", path]);
    let ask = |keel: &Evenkeel, host: &str| keel.curl(&["-H", &format!("Host: {host}")], "/who");
    assert_eq!(ask(&keel, "h0.example.com"), "one\n");
    assert_eq!(ask(&keel, "H99997.Example.com:8080"), "two\n");
    assert_eq!(ask(&keel, "any.example.org"), "two\n");
    assert_eq!(ask(&keel, "h99999.example.com"), "no");
    assert_eq!(
        keel.curl(&["-X", "POST", "-H", "Host: h0.example.com"], "/who"),
        "no"
    );
    let (code, shown, said) = evenkeel(&["config", "show", path]);
    assert_eq!((code, &*said), (Some(0), ""));
    assert!(shown.contains("file: maps/hosts.map"), "{shown}");
    folder.write("maps/hosts.map", "h0.example.com two\n*.example.com one\n");
    keel.signal("-HUP");
    keel.until("rule hosts changes\n");
    assert_eq!(ask(&keel, "h0.example.com"), "two\n");
    assert_eq!(ask(&keel, "h1.example.com"), "one\n");
    folder.write("maps/hosts.map", "h0.example.com three\n");
    keel.signal("-HUP");
    keel.until("the old one goes on\n");
    assert!(
        keel.said
            .contains("hosts.map:1:16: there is no service `three`"),
        "{}",
        keel.said
    );
    assert_eq!(ask(&keel, "h0.example.com"), "two\n");
}
