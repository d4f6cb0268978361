//! Owns what needs a kernel's favour: namespaces of network and mounts of our own, packets that are dropped, small file systems.
//!
//! Nothing here touches the machine's own namespaces: without ours, the faults that need them are skipped, with the reason.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The argument by which this program knows that it runs in namespaces of its own.
pub(crate) const MARK: &str = "--isolated";

/// Runs this program anew in namespaces of its own. Err: it cannot be, and why.
pub(crate) fn enter(words: &[String]) -> Result<ExitCode, String> {
    let root = std::env::current_exe().map_err(|error| error.to_string())?;
    let tried = said(
        "unshare",
        &["--net", "--mount", "ip", "link", "set", "lo", "up"],
    );
    tried.map_err(|why| format!("no namespaces ({why})"))?;
    let status = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c"])
        .arg("ip link set lo up && exec \"$0\" \"$@\"")
        .arg(root)
        .args(words)
        .arg(MARK)
        .status()
        .map_err(|error| error.to_string())?;
    Ok(match status.code() {
        Some(0) => ExitCode::SUCCESS,
        Some(2) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    })
}

/// Makes the place for a fleet's rules about packets. Err: it cannot be, and why.
pub(crate) fn can_drop(fleet: &str) -> Result<(), String> {
    nft(&format!("add table inet {fleet}"))?;
    nft(&format!(
        "add chain inet {fleet} in {{ type filter hook input priority 0 ; }}"
    ))
}

/// From now on of a hundred packets to and from there so many are lost.
pub(crate) fn lose(fleet: &str, address: IpAddr, percent: u8) -> Result<(), String> {
    for end in ["daddr", "saddr"] {
        let some = match percent {
            100 => String::new(),
            _ => format!("numgen random mod 100 < {percent} "),
        };
        nft(&format!(
            "add rule inet {fleet} in ip {end} {address} {some}drop"
        ))?;
    }
    Ok(())
}

/// From now on none is.
pub(crate) fn lose_none(fleet: &str) -> Result<(), String> {
    nft(&format!("flush chain inet {fleet} in"))
}

fn nft(rule: &str) -> Result<(), String> {
    said("nft", &rule.split(' ').collect::<Vec<_>>())
}

/// Mounts a file system of so many KiB there, or changes its size.
pub(crate) fn small(place: &Path, kib: u32, anew: bool) -> Result<(), String> {
    std::fs::create_dir_all(place).map_err(|error| error.to_string())?;
    let place = place.display().to_string();
    let size = format!("size={kib}k");
    match anew {
        true => said("mount", &["-t", "tmpfs", "-o", &size, "chaos", &place]),
        false => said("mount", &["-o", &format!("remount,{size}"), &place]),
    }
}

/// Takes it away.
pub(crate) fn unmount(place: &Path) {
    let _ = said("umount", &["-l", &place.display().to_string()]);
}

fn said(program: &str, words: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(words)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", said.lines().next().unwrap_or(""))),
    }
}
