//! Takes the dashboard into the program, where `cargo xtask web` has built it: every packed file of `web/dist`, with its path and what it is.
//! Without it the program has a page that says how to build it.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells by it where to write"
)]
fn main() -> io::Result<()> {
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        return Err(io::Error::other("cargo runs this"));
    };
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    let dist = web.join("dist");
    let mut files = Vec::new();
    if dist.is_dir() {
        println!("cargo::rerun-if-changed={}", dist.display());
        packed(&dist, &dist, &mut files)?;
    } else {
        // Until it is there: what is not there counts as changed each time.
        println!("cargo::rerun-if-changed={}", web.display());
    }
    files.sort();
    let mut text = String::from("static FILES: &[File] = &[\n");
    for (path, file) in files {
        let tag = sum(&fs::read(&file)?);
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "    File {{ path: {path:?}, packed: include_bytes!({:?}), tag: \"\\\"{tag:016x}\\\"\" }},",
            file.canonicalize()?
        );
    }
    text.push_str("];\n");
    fs::write(out.join("dashboard.rs"), text)
}

/// The files below a folder that are packed, by their path without the mark of it.
fn packed(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            packed(root, &path, files)?;
        } else if let Ok(below) = path.strip_prefix(root)
            && let Some(below) = below.to_str().and_then(|below| below.strip_suffix(".gz"))
        {
            files.push((format!("/{below}"), path.clone()));
        }
    }
    Ok(())
}

/// FNV-1a, by which a file is known again.
fn sum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
