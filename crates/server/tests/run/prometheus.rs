//! What Prometheus itself makes of an instance: it reads the page, evaluates the rules of `deploy/`, sees errors, and answers whatever
//! the dashboard of `deploy/` asks.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::process::{Evenkeel, Folder};

/// How often something is looked for that comes with a next scrape; each look is a process of its own.
const LOOKS: usize = 2_000;

/// One that reads each second.
struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    fn start(folder: &Folder, keel: &Evenkeel) -> Self {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../deploy/prometheus/evenkeel.rules.yml")
            .canonicalize()
            .unwrap();
        let text = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 200ms }}
rule_files: [\"{}\"]
scrape_configs: [{{ job_name: evenkeel, static_configs: [{{ targets: [\"{}\"] }}] }}]
",
            rules.display(),
            keel.admin
        );
        let file = folder.write("prometheus.yml", &text);
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("`cargo xtask setup`? prometheus: {error}"));
        let says = BufReader::new(child.stderr.take().unwrap());
        let mut lines = says.lines().map(Result::unwrap);
        let bound = lines.find_map(|line| {
            let (_, address) = line.split_once("msg=\"Listening on\" address=")?;
            Some(address.to_owned())
        });
        let address = bound.expect("it said where it listens");
        // Who is not read stops writing, and then all else.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// The answer to a query of its API. None: it is not ready.
    fn asked(&self, path: &str, query: Option<&str>) -> Option<Value> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--get"]);
        if let Some(query) = query {
            curl.args(["--data-urlencode", &format!("query={query}")]);
        }
        let output = curl
            .arg(format!("http://{}{path}", self.address))
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Looks until it has what is looked for.
    fn until<T>(
        &self,
        path: &str,
        query: Option<&str>,
        mut find: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        let mut last = None;
        for _ in 0..LOOKS {
            last = self.asked(path, query);
            if let Some(found) = last.as_ref().and_then(&mut find) {
                return found;
            }
        }
        panic!("{path} {query:?} never has it: {last:?}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All rules that it has.
fn rules(answer: &Value) -> Vec<&Value> {
    let groups = answer["data"]["groups"].as_array().into_iter().flatten();
    let rules = groups.filter_map(|group| group["rules"].as_array());
    rules.flatten().collect()
}

/// What the dashboard asks, with its variables as a person has them who has chosen all.
fn asked_by_the_dashboard() -> Vec<String> {
    let text = include_str!("../../../../deploy/grafana/evenkeel.json");
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let asked = targets
        .flatten()
        .filter_map(|target| target["expr"].as_str());
    asked
        .map(|text| {
            text.replace("$__rate_interval", "5m")
                .replace("$instance", ".*")
                .replace("$service", ".*")
        })
        .collect()
}

#[test]
fn prometheus_reads_the_page_and_sees_errors_by_our_rules() {
    let (folder, data) = (Folder::new("prometheus"), Folder::new("prometheus-data"));
    let text = "admin: { bind: \"127.0.0.1:0\" }
workers: 1
listeners: { web: { bind: \"127.0.0.1:0\" } }
services: { api: { breaker: off, backends: [{ id: dead, address: \"127.0.0.1:1\" }] } }
";
    let file = folder.write("keel.yaml", text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let prometheus = Prometheus::start(&data, &keel);
    prometheus.until("/api/v1/targets", None, |answer| {
        (answer["data"]["activeTargets"][0]["health"] == "up").then_some(())
    });
    // Errors that go on are seen as such; nothing else of them is.
    let errors = "EvenkeelErrors";
    let (all, seen) = prometheus.until("/api/v1/rules", None, |answer| {
        assert!(keel.curl(&[], "/").contains("502"));
        let rules = rules(answer);
        for rule in &rules {
            assert_ne!(rule["health"], "err", "{rule}");
        }
        let judged = !rules.is_empty() && rules.iter().all(|rule| rule["health"] == "ok");
        let active = |rule: &&&Value| {
            rule["state"]
                .as_str()
                .is_some_and(|state| state != "inactive")
        };
        let seen: Vec<_> = rules
            .iter()
            .filter(active)
            .map(|rule| rule["name"].to_string())
            .collect();
        let found = judged && seen.iter().any(|name| name.contains(errors));
        found.then_some((rules.len(), seen))
    });
    assert_eq!((all, seen), (17, vec![format!("\"{errors}\"")]));
    // What it counts is what was sent, once a scrape has come behind the last.
    let query = "sum(evenkeel_requests_total{service=\"api\",code=\"5xx\"})";
    let page = keel.page("/metrics");
    let row = "evenkeel_requests_total{service=\"api\",code=\"5xx\"} ";
    let sent = page
        .lines()
        .find_map(|line| line.strip_prefix(row))
        .unwrap();
    prometheus.until("/api/v1/query", Some(query), |answer| {
        (answer["data"]["result"][0]["value"][1] == sent).then_some(())
    });
    let asked = asked_by_the_dashboard();
    assert_eq!(asked.len(), 39);
    let answered = asked.iter().filter(|query| {
        let answer = prometheus.asked("/api/v1/query", Some(query)).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"]
            .as_array()
            .is_some_and(|rows| !rows.is_empty())
    });
    let answered = answered.count();
    assert!(answered > 20, "{answered} of its queries have an answer");
}
