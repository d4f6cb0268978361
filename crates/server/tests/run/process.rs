//! Owns running processes of a test: the shipped binary, and the real programs before and behind it. Each ends with its
//! owner, by its process id.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use evenkeel_config::limits;

/// So long a test waits for what must come; never decides a test that passes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An address that nobody else takes before it is bound, nor between two who bind it: of a part of this machine's own that is of this process,
/// with a port that no kernel gives to who asks for any.
pub(crate) fn nobodys() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let port = GIVEN.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, 64 + high % 64, middle, low], port))
}

/// A folder of one test's own.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// One that other users can reach.
    pub(crate) fn shared(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("evenkeel-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The shipped binary, running.
pub(crate) struct Evenkeel {
    child: Child,
    /// What it says, in lines.
    says: Receiver<String>,
    pub(crate) said: String,
    pub(crate) address: SocketAddr,
    /// Where it is asked about itself.
    pub(crate) admin: SocketAddr,
}

impl Evenkeel {
    /// Starts it and waits until it is ready.
    pub(crate) fn run(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.arg("run").args(arguments);
        Self::started(command)
    }

    /// The same, with a limit as `ulimit` has it.
    pub(crate) fn run_limited(limit: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        let limited = format!("ulimit {limit} && exec \"$0\" run \"$@\"");
        command
            .args(["-c", &limited, env!("CARGO_BIN_EXE_evenkeel")])
            .args(arguments);
        Self::started(command)
    }

    /// The same, with its standard output there.
    pub(crate) fn run_to(out: Stdio, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.arg("run").args(arguments).stdout(out);
        Self::started(command)
    }

    /// The same, started by this.
    pub(crate) fn started(mut command: Command) -> Self {
        command.env("EVENKEEL_LOG_FORMAT", "human");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let says = lines(child.stderr.take().unwrap());
        let mut running = Self {
            child,
            says,
            said: String::new(),
            address: ([0, 0, 0, 0], 0).into(),
            admin: ([0, 0, 0, 0], 0).into(),
        };
        running.until(" ready\n");
        let said = |mark: &str| {
            let line = running.said.lines().find_map(|line| line.rsplit_once(mark));
            line.map(|(_, address)| address.parse().unwrap())
        };
        let (address, admin) = (said(" listens on "), said(" admin is at "));
        running.address = address.unwrap();
        running.admin = admin.unwrap_or(running.admin);
        // Of two checkouts that are tested at once, one would find it taken.
        let fixed = limits::ADMIN.port();
        assert_ne!(running.admin.port(), fixed, "the test has no free port");
        running
    }

    /// Waits until it says something that ends so. Fails with what was said when it ends, or is silent for long.
    pub(crate) fn until(&mut self, end: &str) {
        self.until_within(end, PATIENCE);
    }

    /// The same, where silence is long after so much.
    pub(crate) fn until_within(&mut self, end: &str, patience: Duration) {
        loop {
            let line = self.next(patience);
            assert!(line.is_some(), "it ended, and said {}", self.said);
            if line.is_some_and(|line| line.ends_with(end)) {
                return;
            }
        }
    }

    /// Reads on until a line holds this.
    pub(crate) fn until_any(&mut self, part: &str) {
        loop {
            let line = self.next(PATIENCE);
            assert!(line.is_some(), "it ended, and said {}", self.said);
            if line.is_some_and(|line| line.contains(part)) {
                return;
            }
        }
    }

    /// The next line. None: it said its last.
    fn next(&mut self, patience: Duration) -> Option<String> {
        match self.says.recv_timeout(patience) {
            Ok(line) => {
                self.said.push_str(&line);
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it is silent, and said {}", self.said),
        }
    }

    /// Where the listener of this name was said to listen.
    pub(crate) fn addresses_of(&self, listener: &str) -> SocketAddr {
        let mark = format!(" listener {listener} listens on ");
        let mut lines = self.said.lines();
        let address = lines.find_map(|line| Some(line.split_once(&mark)?.1));
        address.unwrap().parse().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        while self.next(PATIENCE).is_some() {}
        (self.child.wait().unwrap(), std::mem::take(&mut self.said))
    }

    /// What curl prints of a page about this instance.
    pub(crate) fn page(&self, path: &str) -> String {
        curl(self.admin, &[], path)
    }

    /// What curl prints with these arguments and a page about this instance.
    pub(crate) fn asked(&self, arguments: &[&str], path: &str) -> String {
        curl(self.admin, arguments, path)
    }

    /// What curl prints with these arguments and a path of this instance.
    pub(crate) fn curl(&self, arguments: &[&str], path: &str) -> String {
        curl(self.address, arguments, path)
    }
}

/// Lines that wait for the test; a process that says more waits too, as it would for a full pipe.
const LINES: usize = 10_000;

/// What a process says, line by line, read beside the test so that waiting for it can end.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(LINES);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = String::new();
        while from.read_line(&mut line).is_ok_and(|length| length > 0) {
            if sender.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    lines
}

pub(crate) fn curl(address: SocketAddr, arguments: &[&str], path: &str) -> String {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "*",
        ])
        .args(arguments)
        .arg(format!("http://{}{path}", address))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

impl Drop for Evenkeel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A real server behind.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Python's own server over a folder; HTTP/1.0.
    pub(crate) fn python(folder: &Path) -> Self {
        Self::start(|port| {
            let mut command = Command::new("python3");
            command
                .args([
                    "-m",
                    "http.server",
                    "--bind",
                    "127.0.0.1",
                    &port.to_string(),
                ])
                .current_dir(folder);
            command
        })
    }

    /// nginx with this configuration.
    pub(crate) fn nginx(folder: &Folder, server: &str) -> Self {
        Self::nginx_listening(folder, "", server)
    }

    /// The same over TLS, with this certificate and key of the folder.
    pub(crate) fn nginx_tls(folder: &Folder, certificate: &str, server: &str) -> Self {
        let root = folder.path().display();
        let server = format!(
            "ssl_certificate {root}/{certificate}.pem; ssl_certificate_key {root}/{certificate}.key; {server}"
        );
        Self::nginx_listening(folder, "ssl", &server)
    }

    /// The same, with this behind the address that it listens on.
    pub(crate) fn nginx_listening(folder: &Folder, how: &str, server: &str) -> Self {
        Self::start(|port| {
            let root = folder.path().display();
            let text = format!(
                "user root; daemon off; worker_processes 1; pid {root}/nginx-{port}.pid; error_log {root}/nginx-{port}.log;\n\
                 events {{ worker_connections 256; }}\n\
                 http {{ access_log off; client_body_temp_path {root}/temp-body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;\n\
                 uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
                 server {{ listen 127.0.0.1:{port} {how}; root {root}; {server} }} }}\n"
            );
            let configuration = folder.write(&format!("nginx-{port}.conf"), &text);
            let mut command = Command::new("/usr/sbin/nginx");
            command.arg("-c").arg(configuration);
            command
        })
    }

    /// nginx with these connections handed on; `PORT` in it is its port.
    pub(crate) fn nginx_stream(folder: &Folder, server: &str) -> Self {
        Self::start(|port| {
            let root = folder.path().display();
            let text = format!(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
                 user root; daemon off; worker_processes 1; pid {root}/nginx-{port}.pid; error_log {root}/nginx-{port}.log;\n\
                 events {{ worker_connections 256; }}\n\
                 stream {{ server {{ listen 127.0.0.1:{port}; {server} }} }}\n"
            );
            let configuration = folder.write(&format!("nginx-{port}.conf"), &text);
            let mut command = Command::new("/usr/sbin/nginx");
            command.arg("-c").arg(configuration);
            command
        })
    }

    /// HAProxy with this behind the address that it listens on, and behind that line.
    pub(crate) fn haproxy(folder: &Folder, how: &str, rest: &str) -> Self {
        Self::start(|port| {
            let text = format!(
                "global\n  maxconn 200\ndefaults\n  timeout connect 30s\n  timeout client 30s\n  timeout server 30s\n\
                 listen one\n  bind 127.0.0.1:{port} {how}\n  {rest}\n"
            );
            let configuration = folder.write(&format!("haproxy-{port}.conf"), &text);
            let mut command = Command::new("/usr/sbin/haproxy");
            command.arg("-db").arg("-f").arg(configuration);
            command
        })
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Starts what listens on a port that was free, and waits until it answers. Another process may take the port first: then
    /// it ends, and the next port is tried.
    pub(crate) fn start(command: impl Fn(u16) -> Command) -> Self {
        for _ in 0..10 {
            let address = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let mut child = command(address.port())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut ended = false;
            // A minute or more of a machine that has nothing else to do.
            for _ in 0..3_000_000 {
                ended = child.try_wait().unwrap().is_some();
                if ended {
                    break;
                }
                // Whoever took the port meanwhile would answer too.
                if TcpStream::connect_timeout(&address, PATIENCE).is_ok()
                    && listens(child.id(), address.port())
                {
                    return Self { child, address };
                }
                std::thread::yield_now();
            }
            if !ended {
                let _ = child.kill();
                panic!("it runs, and never listened on {address}");
            }
        }
        panic!("no server could be started");
    }
}

/// Whether a socket that listens on this port of 127.0.0.1 is open in this process.
fn listens(process: u32, port: u16) -> bool {
    let here = format!("0100007F:{port:04X}");
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let listening = sockets.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // Its address, its state (0A listens) and its number.
        (fields.get(1) == Some(&&*here) && fields.get(3) == Some(&"0A"))
            .then(|| format!("socket:[{}]", fields[9]))
    });
    let listening: Vec<_> = listening.collect();
    // It may have ended.
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    open.filter_map(|one| std::fs::read_link(one.ok()?.path()).ok())
        .any(|one| listening.iter().any(|socket| one.as_os_str() == &**socket))
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx ends its workers when it is asked to end.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

/// One exchange over a connection of one's own.
pub(crate) fn hold(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

pub(crate) fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

/// What comes, up to and with `mark`.
pub(crate) fn until(stream: &mut TcpStream, mark: &str) -> String {
    let mut come = Vec::new();
    while !come.ends_with(mark.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        come.push(byte[0]);
    }
    String::from_utf8_lossy(&come).into_owned()
}

/// A program of the tests that is told things over HTTP: each comes as a line of JSON. Its first line is its port.
pub(crate) struct Hearer {
    child: Child,
    says: BufReader<ChildStdout>,
    pub(crate) port: u16,
}

impl Hearer {
    /// One of those beside the tests, in Python.
    pub(crate) fn start(script: &str, arguments: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(root.join("../../target/python/bin/python"))
            .arg(root.join("tests/run").join(script))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        says.read_line(&mut port).unwrap();
        Self {
            child,
            says,
            port: port.trim().parse().unwrap(),
        }
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"))
    }
}

impl Drop for Hearer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
