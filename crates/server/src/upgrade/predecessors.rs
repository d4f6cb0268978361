//! Owns what a process knows of those before it: which of them have not ended, and serve what was begun with them.
//!
//! Each has kept its end of the connection over which it handed over, and lets go of it by ending: the kernel says so. The other ends
//! go on from heir to heir, since the last of a line may begin while the first still drains.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::heir::Heir;

/// Those that have not ended.
#[derive(Default)]
pub(crate) struct Predecessors(Vec<OwnedFd>);

impl Predecessors {
    /// Those that the process before this one knew of, at the other ends of these, and that one.
    ///
    /// # Errors
    /// No descriptor left.
    pub(crate) fn of(mut ends: Vec<OwnedFd>, heir: Option<&Heir>) -> io::Result<Self> {
        if let Some(heir) = heir {
            ends.push(heir.predecessor()?);
        }
        Ok(Self(ends))
    }

    /// How many there are now. Cost: a system call for each.
    pub(crate) fn left(&mut self) -> usize {
        self.0.retain(has_not_ended);
        self.0.len()
    }

    /// The same ends, for the process that comes next.
    ///
    /// # Errors
    /// No descriptor left.
    pub(crate) fn hand_over(&self) -> io::Result<Vec<OwnedFd>> {
        self.0.iter().map(OwnedFd::try_clone).collect()
    }
}

fn has_not_ended(end: &OwnedFd) -> bool {
    let mut looks = [PollFd::new(end, PollFlags::empty())];
    // One that cannot be looked at is looked at again.
    let looked = poll(&mut looks, Some(&Timespec::default()));
    let gone = |look: &PollFd<'_>| look.revents().contains(PollFlags::HUP);
    looked.is_err() || !looks.iter().any(gone)
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn one_that_has_said_its_last_has_not_ended() {
        let pairs = [(); 2].map(|()| UnixStream::pair().unwrap());
        let [(one, its), (two, others)] = pairs;
        let mut all = Predecessors::of(vec![its.into(), others.into()], None).unwrap();
        assert_eq!(all.left(), 2);
        let mut handed = Predecessors::of(all.hand_over().unwrap(), None).unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all.left(), 2, "it has left the service, and drains");
        drop(one);
        assert_eq!((all.left(), handed.left()), (1, 1));
        drop(two);
        assert_eq!((all.left(), handed.left()), (0, 0));
    }
}
