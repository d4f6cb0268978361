//! What stands in `deploy/`, as far as it can be tried without a service manager and without containers.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Folder;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn deployed(name: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(name)).unwrap()
}

/// Said, so that a green run is not taken for more than it shows.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// systemd's version. None: it is not here.
fn systemd() -> Option<u32> {
    let output = Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn systemd_understands_the_units_and_finds_them_closed() {
    let Some(version) = systemd() else {
        return skipped("systemd-analyze is not installed");
    };
    let folder = Folder::new("units");
    let service = deployed("evenkeel.service");
    let installed = "/usr/local/bin/evenkeel";
    assert!(service.contains(&format!("ExecStart={installed} run ")));
    // It would be a second signal beside that of `notify-reload`.
    let reloads = service
        .lines()
        .filter(|line| line.starts_with("ExecReload"));
    assert_eq!(reloads.count(), 0, "{service}");
    let service = service.replace(installed, env!("CARGO_BIN_EXE_evenkeel"));
    let service = folder.write("evenkeel.service", &service);
    let socket = folder.write("evenkeel.socket", &deployed("evenkeel.socket"));
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .args([&service, &socket])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let known = "Failed to parse service type, ignoring: notify-reload";
    let of_ours = said.lines().filter(|line| line.contains("evenkeel"));
    let unknown: Vec<_> = of_ours
        .filter(|line| version >= 253 || !line.ends_with(known))
        .collect();
    assert!(unknown.is_empty() && output.status.success(), "{said}");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold=20"])
        .arg(&service)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "more exposed than 2.0 of 10: {said}"
    );
}

/// The socket unit binds what the listeners of its comment bind, no more and no less, and those are listeners.
#[test]
fn the_sockets_are_those_of_the_listeners_beside_them() {
    let unit = deployed("evenkeel.socket");
    let streams = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ListenStream="));
    let comment: String = unit.lines().filter(|line| line.starts_with('#')).collect();
    let binds: Vec<&str> = comment
        .split('`')
        .filter(|text| text.starts_with("bind: ["))
        .collect();
    let listeners = binds.iter().enumerate();
    let listeners = listeners.map(|(at, bind)| format!("l{at}: {{ {bind} }}"));
    let text = format!(
        "listeners: {{ {} }}\nservices: {{ api: {{ backends: [127.0.0.1:1] }} }}\n",
        listeners.collect::<Vec<_>>().join(", ")
    );
    let folder = Folder::new("socket-unit");
    let file = folder.write("keel.yaml", &text);
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["config", "show"])
        .arg(file)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{shown}");
    let named = binds
        .iter()
        .flat_map(|bind| bind.split('"').skip(1).step_by(2));
    let (mut streams, mut named): (Vec<_>, Vec<_>) = (streams.collect(), named.collect());
    streams.sort_unstable();
    named.sort_unstable();
    assert!(
        streams.len() == 4 && streams == named,
        "{streams:?} {named:?}"
    );
    for stream in streams {
        assert!(shown.contains(stream), "{stream}: {shown}");
    }
}

#[test]
fn the_image_is_made_as_the_readme_says_from_what_is_there() {
    skipped("there is no engine for containers here: the Dockerfile is read, not built");
    let text = deployed("Dockerfile").replace("\\\n", " ");
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .collect();
    let of = |word: &str| -> Vec<&str> {
        let all = lines.iter().filter(|(is, _)| *is == word);
        all.map(|(_, rest)| rest.trim()).collect()
    };
    let installs = include_str!("../../../../README.md")
        .lines()
        .find(|line| line.starts_with("cargo install "))
        .unwrap();
    assert_eq!(of("RUN")[0], format!("{installs} --root /out"));
    let toolchain = include_str!("../../../../Cargo.toml");
    let version = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let version = version.unwrap().trim_matches('"');
    assert_eq!(of("FROM").len(), 2);
    assert!(of("FROM")[0].starts_with(&format!("rust:{version}-")));
    assert_eq!(
        of("COPY"),
        [
            ". .",
            "--from=build /out/bin/evenkeel /usr/local/bin/evenkeel"
        ]
    );
    let user = of("USER")[0]
        .split(':')
        .map(|id| id.parse::<u32>().unwrap());
    assert!(user.into_iter().all(|id| id > 0));
    assert_eq!(of("STOPSIGNAL"), ["SIGTERM"]);
    // Without a shell, which would not hand signals on.
    let words = |text: &str| -> Vec<String> { serde_json::from_str(text).unwrap() };
    let entry = words(of("ENTRYPOINT")[0]);
    assert_eq!(entry, ["/usr/local/bin/evenkeel"]);
    let health = of("HEALTHCHECK")[0].split_once(" CMD ").unwrap().1;
    for arguments in [words(of("CMD")[0]), words(health)[1..].to_vec()] {
        let verb = &arguments[0];
        let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args([verb, "--help"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{verb}");
    }
    let ignored = std::fs::read_to_string(root().join(".dockerignore")).unwrap();
    assert!(ignored.lines().any(|line| line == "target"), "{ignored}");
}
