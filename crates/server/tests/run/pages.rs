//! Error pages from files, as an operator configures them and curl gets them.

use std::process::Command;

use crate::process::{Evenkeel, Folder};

#[test]
fn pages_from_files_are_read_checked_and_replaced() {
    let folder = Folder::new("pages");
    folder.write("pages/404.html", "<p>{reason}</p>\n");
    let text = |page: &str| {
        format!(
            "admin: {{ bind: off }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [127.0.0.1:1] }} }}\nrules: [{{ when: {{ host: none }}, forward: api }}]\nerror_pages: {{ 404: {{ file: {page} }} }}\n"
        )
    };
    let file = folder.write("keel.yaml", &text("pages/404.html"));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let got = keel.curl(&["--include"], "/");
    assert!(
        got.starts_with("HTTP/1.1 404 Not Found\r\n")
            && got.contains("Content-Type: text/html; charset=utf-8\r\n")
            && got.ends_with("\r\n\r\n<p>no_rule</p>\n"),
        "{got}"
    );
    let head = keel.curl(&["--head"], "/");
    assert!(head.contains("Content-Length: 15\r\n"), "{head}");
    // A reload reads the files anew.
    folder.write("pages/404.html", "<p>new</p>\n");
    keel.signal("-HUP");
    keel.until("listener web changes\n");
    assert_eq!(keel.curl(&[], "/"), "<p>new</p>\n");
    // One that is missing is an error of its place, and nothing changes.
    folder.write("keel.yaml", &text("pages/gone.html"));
    let checked = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .arg("check")
        .arg(&file)
        .output()
        .unwrap();
    let shown = [checked.stdout, checked.stderr].concat();
    let shown = String::from_utf8_lossy(&shown);
    assert_eq!(checked.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains("gone.html: No such file or directory (os error 2) [file]\n")
            && shown.contains("^^^^^^^^^^^^^^^\n"),
        "{shown}"
    );
    keel.signal("-HUP");
    keel.until("the old one goes on\n");
    assert_eq!(keel.curl(&[], "/"), "<p>new</p>\n");
}
