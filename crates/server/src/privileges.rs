//! Owns `user` and `group`: whom the process becomes once everything is bound, and that there is no way back.

use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::fchown;

use evenkeel_config::Plan;
use rustix::process::{getegid, geteuid};

/// Where names of users are looked up: `name:password:uid:gid:...`. No directory service is asked.
const USERS: &str = "/etc/passwd";

/// Where names of groups are looked up: `name:password:gid:...`.
const GROUPS: &str = "/etc/group";

/// Whom the process becomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As written, for messages.
    pub(crate) user: String,
    uid: u32,
    gid: u32,
}

impl Target {
    /// Whom a plan names. None: the process stays who it is. One that `succeeds` another may be whom that one had become.
    ///
    /// # Errors
    /// A user or group that is not known, or one that cannot be become, in words.
    pub(crate) fn of(plan: &Plan, succeeds: bool) -> Result<Option<Self>, String> {
        let Some(user) = &plan.user else {
            return Ok(None);
        };
        let read = |path| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let group = plan.group.as_deref();
        let groups = group.map_or(Ok(String::new()), |_| read(GROUPS))?;
        let target = find(user, group, &read(USERS)?, &groups)?;
        let may = geteuid().is_root() || succeeds && target.is_become();
        if !may {
            return Err(format!(
                "only root can become user {user}: start as root, or leave `user` out"
            ));
        }
        Ok(Some(target))
    }

    /// Whether this process is it already: the one before it was, which started this one.
    fn is_become(&self) -> bool {
        geteuid().as_raw() == self.uid && getegid().as_raw() == self.gid
    }

    /// Gives a file that was made as root to it, so that it can be opened again.
    ///
    /// # Errors
    /// What the system refuses, in words.
    pub(crate) fn own(&self, made: Option<BorrowedFd<'_>>) -> Result<(), String> {
        made.map_or(Ok(()), |made| fchown(made, Some(self.uid), Some(self.gid)))
            .map_err(|error| format!("cannot give the access log to user {}: {error}", self.user))
    }

    /// Becomes it. To be called while there is but one thread.
    ///
    /// # Errors
    /// What the system refuses, in words; then the process must end.
    pub(crate) fn drop_privileges(&self) -> Result<(), String> {
        if self.is_become() {
            return Ok(());
        }
        become_it(self.uid, self.gid)
            .map_err(|why| format!("cannot become user {}: {why}", self.user))
    }
}

/// Group, no other groups, user, in this order; and makes sure that it is so. Linux keeps these per thread, and threads that start
/// later take them over: with one thread there is none that has to be told, which a C library does by signals.
#[cfg(target_os = "linux")]
fn become_it(uid: u32, gid: u32) -> Result<(), String> {
    use rustix::process::{Gid, Uid, getgroups};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(format!("{threads} threads run already"));
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let said = |error: rustix::io::Errno| error.to_string();
    set_thread_groups(&[]).map_err(said)?;
    set_thread_res_gid(gid, gid, gid).map_err(said)?;
    set_thread_res_uid(uid, uid, uid).map_err(said)?;
    let back = set_thread_res_uid(None, Uid::ROOT, None).is_ok();
    if back || geteuid() != uid || getgroups().is_ok_and(|groups| !groups.is_empty()) {
        return Err("privileges are not gone".into());
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn become_it(_: u32, _: u32) -> Result<(), String> {
    Err("it is built for Linux only; leave `user` out".into())
}

/// Looks up names and numbers.
fn find(user: &str, group: Option<&str>, users: &str, groups: &str) -> Result<Target, String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX);
    let known = rows(users).find(|row| row.first() == Some(&user));
    // A number is one, unless a user is called so.
    let known = known.or_else(|| {
        let id = number(user)?;
        rows(users).find(|row| row.get(2).and_then(|uid| number(uid)) == Some(id))
    });
    let uid = match &known {
        Some(row) => row.get(2).and_then(|uid| number(uid)),
        None => number(user),
    };
    let uid = uid.ok_or_else(|| format!("there is no user {user} in {USERS}"))?;
    let gid = match group {
        Some(group) => rows(groups)
            .find(|row| row.first() == Some(&group))
            .and_then(|row| row.get(2).and_then(|gid| number(gid)))
            .or_else(|| number(group))
            .ok_or_else(|| format!("there is no group {group} in {GROUPS}"))?,
        None => known
            .and_then(|row| row.get(3).and_then(|gid| number(gid)))
            .ok_or_else(|| format!("user {user} is not in {USERS}: name a `group` too"))?,
    };
    if uid == 0 {
        return Err(format!("user {user} has all privileges: leave `user` out"));
    }
    Ok(Target {
        user: user.to_owned(),
        uid,
        gid,
    })
}

/// Whose a file is to be, by numbers. None: nobody else's.
///
/// # Errors
/// A user or a group that is not known, in words.
pub(crate) fn socket_owner(
    user: Option<&str>,
    group: Option<&str>,
) -> Result<(Option<u32>, Option<u32>), String> {
    let find = |name: Option<&str>, what: &str, file: &str| {
        let Some(name) = name else { return Ok(None) };
        let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        let number = || name.parse().ok().filter(|id| *id != u32::MAX);
        let id = id_of(name, &text).or_else(number);
        id.map(Some).ok_or_else(|| {
            format!(
                "there is no {what} {name} in {file}, whose the file of the admin address is to be"
            )
        })
    };
    Ok((find(user, "user", USERS)?, find(group, "group", GROUPS)?))
}

/// The number of a name: both files have it in the third place.
fn id_of(name: &str, text: &str) -> Option<u32> {
    let row = rows(text).find(|row| row.first() == Some(&name))?;
    row.get(2)?.parse().ok()
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::{find, id_of};

    #[test]
    fn names_of_either_file_have_numbers() {
        let text = "root:x:0:\nadm:x:4:syslog,admin\nbad:x:y:\nshort:x\n";
        assert_eq!(id_of("adm", text), Some(4));
        for name in ["bad", "short", "syslog", "", "ad"] {
            assert_eq!(id_of(name, text), None, "{name}");
        }
    }

    #[test]
    fn rows() {
        let users = "root:x:0:0:root:/:/bin/sh\nweb:x:33:34::/:\n77:x:78:79::/:\nbad:x:y\n";
        let groups = "root:x:0:\nweb:x:35:a,b\n";
        for (user, group, expect) in [
            ("web", None, Some((33, 34))),
            ("web", Some("web"), Some((33, 35))),
            ("web", Some("99"), Some((33, 99))),
            ("33", None, Some((33, 34))),
            ("77", None, Some((78, 79))),
            ("99", Some("web"), Some((99, 35))),
            ("99", None, None),
            ("4294967295", Some("web"), None),
            ("web", Some("other"), None),
            ("other", None, None),
            ("bad", None, None),
            ("root", None, None),
            ("0", Some("web"), None),
        ] {
            let found = find(user, group, users, groups).ok();
            assert_eq!(
                found.map(|one| (one.uid, one.gid)),
                expect,
                "{user} {group:?}"
            );
        }
    }
}
