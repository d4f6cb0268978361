//! Maps of hosts to services: what a host finds, and what is said of lines that mean nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::rc::Rc;

use evenkeel_config::plan::Action;
use evenkeel_config::{Files, Loaded, Source, files, load_asking, load_with, render};

fn read(rule: &str, map: &[u8]) -> (Loaded, [Source; 1]) {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices: {{ a: {{ backends: [10.0.0.1:1] }}, b: {{ backends: [10.0.0.1:2] }} }}\nrules:\n- {{ {rule} }}\n"
    );
    let sources = [Source {
        name: "etc/f.yaml".into(),
        text,
    }];
    let environment = BTreeMap::new();
    assert!(files(&sources, &environment).len() <= 1);
    let map = (PathBuf::from("etc/maps/hosts.map"), Ok(map.to_vec()));
    let loaded = load_with(&sources, &environment, Files::from([map]));
    (loaded, sources)
}

#[test]
fn a_file_is_asked_for_once_and_holds_the_same_both_times() {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:8080 }} }}\nservices: {{ a: {{ backends: [10.0.0.1:1] }} }}\nrules:\n- {{ {RULE} }}\n- {{ {RULE}, when: {{ path: /x }} }}\n"
    );
    let sources = [Source {
        name: "etc/f.yaml".into(),
        text,
    }];
    let asked = Rc::new(RefCell::new(Vec::new()));
    let noted = asked.clone();
    let loaded = load_asking(&sources, &BTreeMap::new(), move |path| {
        noted.borrow_mut().push(path.to_path_buf());
        // Another one each time, as when somebody writes it meanwhile.
        Ok(format!("{}.example.com a\n", noted.borrow().len()).into_bytes())
    });
    assert_eq!(*asked.borrow(), [PathBuf::from("etc/maps/hosts.map")]);
    let plan = loaded
        .plan
        .ok_or_else(|| render(&loaded.problems, &sources));
    let plan = plan.expect("what is not loaded says why");
    for rule in &plan.rules {
        let Action::ForwardMap(map, _) = &rule.action else {
            panic!("{:?}", rule.action)
        };
        assert!(map.find("1.example.com").is_some());
    }
}

const RULE: &str = "host_map: { file: maps/hosts.map }";

#[test]
fn what_a_host_finds() {
    let map = "# our hosts\n\nwww.example.com a\r\n*.example.com\tb # all others\n*.eu.example.com a\n  Other.Example.  b\n[::0:1] a\n*.x b\n";
    let (loaded, sources) = read(RULE, map.as_bytes());
    let shown = render(&loaded.problems, &sources);
    let plan = loaded.plan.expect(&shown);
    let Action::ForwardMap(map, services) = &plan.rules[0].action else {
        panic!("{:?}", plan.rules[0].action)
    };
    for (host, expect) in [
        ("www.example.com", Some("a")),
        ("api.example.com", Some("b")),
        ("x.www.example.com", Some("b")),
        ("eu.example.com", Some("b")),
        ("x.eu.example.com", Some("a")),
        ("x.y.eu.example.com", Some("a")),
        ("example.com", None),
        (".example.com", None),
        ("xexample.com", None),
        ("other.example", Some("b")),
        ("x.other.example", None),
        ("[::1]", Some("a")),
        ("a.x", Some("b")),
        ("x", None),
        ("", None),
    ] {
        let found = map.find(host).map(|at| &*plan.services[services[at]].name);
        assert_eq!(found, expect, "{host}");
    }
}

/// Each row: a map, and what is said behind its name, with the case.
#[test]
fn lines_that_mean_nothing() {
    for (map, expect) in [
        ("", &["there is no host in it [empty]"][..]),
        ("# none\n", &["there is no host in it [empty]"]),
        (
            "a.b\n",
            &["1:1: a line is a host and a service; the service is missing [map]"],
        ),
        (
            "a.b a b\n",
            &["1:7: a line is a host and a service, and no more [map]"],
        ),
        (
            "a.b a\n\n  A.B.  b\n",
            &["3:3: `A.B.` stands in line 1 already [map]"],
        ),
        (
            "*.b a\n*.B b\n",
            &["2:1: `*.B` stands in line 1 already [map]"],
        ),
        (
            "a*.b a\n",
            &["1:1: `a*.b`: a map holds names and `*.example.com`, no other pattern [map]"],
        ),
        (
            "a.b:80 a\n",
            &["1:1: a host is matched without its port: `a.b:80` [map]"],
        ),
        (
            "a.b a\nc.d nobody\ne.f nobody\n",
            &["2:5: there is no service `nobody` [unknown_service]"],
        ),
        (
            "x a\n\u{fc} a\n",
            &[
                "2:1: `\u{fc}` is no host; names beyond ASCII are written in their `xn--` form [map]",
            ],
        ),
    ] {
        let (loaded, sources) = read(RULE, map.as_bytes());
        let shown = render(&loaded.problems, &sources);
        let said = loaded
            .problems
            .iter()
            .filter(|one| one.word != "unused_service");
        let said: Vec<_> = said
            .map(|one| {
                let place = (one.at.line, one.at.column, one.at.length);
                assert_eq!(place, (4, 23, 14), "{shown}");
                let rest = one
                    .message
                    .strip_prefix("etc/maps/hosts.map:")
                    .expect(&shown);
                format!("{} [{}]", rest.trim_start(), one.word)
            })
            .collect();
        assert_eq!(said, expect, "{map:?}");
        assert!(loaded.plan.is_none());
    }
    let (loaded, _) = read(RULE, b"x a\n\xff a\n");
    assert!(
        loaded
            .problems
            .iter()
            .any(|one| one.message.ends_with(":2:1: the line is not UTF-8"))
    );
}

#[test]
fn a_map_has_a_limit_and_few_of_many_problems_are_told() {
    let lines = |count: usize| {
        (0..count).fold(String::new(), |mut text, at| {
            let _ = writeln!(text, "h{at}.example.com {}", ["a", "b"][at % 2]);
            text
        })
    };
    assert!(read(RULE, lines(100_000).as_bytes()).0.plan.is_some());
    let problems = read(RULE, lines(100_001).as_bytes()).0.problems;
    let said = "etc/maps/hosts.map:100001:1: more than 100000 hosts in one map";
    assert!(problems.iter().any(|one| one.message == said));
    let problems = read(RULE, "x\n".repeat(1_000).as_bytes()).0.problems;
    let said: Vec<_> = problems.iter().filter(|one| one.word == "map").collect();
    assert_eq!(said.len(), 11);
    assert!(
        said.iter()
            .any(|one| one.message.ends_with("and 990 more lines"))
    );
}

#[test]
fn one_action_and_no_shadow() {
    let said = |rule: &str| {
        let problems = read(rule, b"a.b a\nc.d b\n").0.problems;
        let said = problems
            .iter()
            .map(|one| format!("{}:{} {}", one.at.line, one.at.column, one.word));
        said.collect::<Vec<_>>()
    };
    assert_eq!(said(RULE), [""; 0]);
    // A map is a condition: what comes after it is reached.
    assert_eq!(said(&format!("{RULE} }}\n- {{ forward: a")), [""; 0]);
    assert_eq!(
        said(&format!("forward: a }}\n- {{ {RULE}")),
        ["5:3 unreachable_rule"]
    );
    assert_eq!(said(&format!("{RULE}, forward: a")), ["4:41 two_actions"]);
    assert_eq!(
        said("host_map: {}"),
        ["2:13 unused_service", "2:44 unused_service", "4:15 missing"]
    );
    assert_eq!(
        said("host_map: { file: maps/none.map }"),
        ["2:13 unused_service", "2:44 unused_service", "4:23 file"]
    );
}
