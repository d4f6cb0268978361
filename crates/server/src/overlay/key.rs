//! Owns the key of affinity beside the overlay: made by the first process that needs one, read by those after it, so that cookies of
//! clients hold over a restart.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use evenkeel_control::Control;
use evenkeel_control::control::handover::AffinityKey;
use rustix::fs::OFlags;
use tracing::warn;

use super::{Flags, Kept, held};

const NAME: &str = "affinity.key";

impl Flags {
    /// The key of the process before, at a start. What cannot be read is said: clients are then told anew where they are kept.
    pub(crate) fn affinity_key(&self) -> Option<AffinityKey> {
        let place = self.place()?.with_file_name(NAME);
        read(&place).unwrap_or_else(|why| {
            warn!(
                "{}: {why}; cookies that were set before this start count as nothing",
                place.display()
            );
            None
        })
    }
}

impl Kept {
    /// Keeps the key of this process, where there is none yet and a service needs one. To be called when it begins and after reloads;
    /// it waits for the disk, once.
    pub(crate) fn keep_affinity_key(&self, control: &Control) {
        let place = self.place.as_ref().map(|place| place.with_file_name(NAME));
        let Some((place, key)) = place.zip(control.affinity_key()) else {
            return;
        };
        if fs::symlink_metadata(&place).is_ok() {
            return;
        }
        if let Err(why) = write(&place, &key) {
            warn!(
                "{}: the key of affinity is not kept, and is lost by a restart: {why}",
                place.display()
            );
        }
    }
}

fn read(place: &Path) -> Result<Option<AffinityKey>, String> {
    let length = size_of::<AffinityKey>();
    let Some(bytes) = held(place, length)? else {
        return Ok(None);
    };
    let key = bytes
        .try_into()
        .map_err(|_| format!("it is no key: it has not {length} bytes"))?;
    Ok(Some(key))
}

/// Whole, or not at all; whoever was first stays.
fn write(place: &Path, key: &AffinityKey) -> std::io::Result<()> {
    let fresh = place.with_file_name(format!("{NAME}.{}", std::process::id()));
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&fresh)?;
    let written = file.write_all(key).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&fresh, place));
    // Its name is one too many, whatever came of it.
    let _ = fs::remove_file(&fresh);
    linked
}
