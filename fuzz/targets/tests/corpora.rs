//! Every file of every corpus through its target, as libFuzzer would call it.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]
#![expect(clippy::print_stdout, reason = "a broken law names its input")]

use std::fs;
use std::path::{Path, PathBuf};

use evenkeel_fuzz_targets::TARGETS;

/// Bytes and files of all corpora together: they are read by people and by every clone.
const BYTES_MOST: usize = 200 * 1024;
const FILES_MOST: usize = 400;

/// Of each corpus, at least so many inputs are taken, and so many refused.
const OF_EACH_MOST_LEAST: usize = 3;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Shows which file it was when a law is broken.
struct Replayed<'a>(&'a Path);

impl Drop for Replayed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("broken by {}", self.0.display());
        }
    }
}

#[test]
fn every_input_keeps_the_laws() {
    let (mut bytes, mut files) = (0, 0);
    for target in TARGETS {
        let folder = fuzz().join("corpus").join(target.name);
        let (mut taken, mut refused) = (0, 0);
        for name in names(&folder) {
            let path = folder.join(name);
            let input = fs::read(&path).unwrap();
            let _shown = Replayed(&path);
            match (target.check)(&input) {
                true => taken += 1,
                false => refused += 1,
            }
            bytes += input.len();
        }
        assert!(
            taken >= OF_EACH_MOST_LEAST && refused >= 1,
            "{}: {taken} taken, {refused} refused",
            target.name
        );
        println!("{}: {taken} taken, {refused} refused", target.name);
        files += taken + refused;
    }
    assert!(bytes <= BYTES_MOST, "{bytes} bytes");
    assert!(files <= FILES_MOST, "{files} files");
}

/// A target without its program or its corpus, or the other way round, is forgotten work.
#[test]
fn targets_programs_and_corpora_are_the_same() {
    let mut targets: Vec<_> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    targets.sort();
    assert_eq!(names(&fuzz().join("corpus")), targets);
    let programs: Vec<_> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&fuzz().join("fuzz_targets")), programs);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &targets {
        let call = format!("evenkeel_fuzz_targets::{name}::check(input)");
        let program = fuzz().join("fuzz_targets").join(format!("{name}.rs"));
        assert!(
            fs::read_to_string(program).unwrap().contains(&call),
            "{name}"
        );
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
}
