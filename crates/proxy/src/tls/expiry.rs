//! Owns until when a peer that has shown a certificate may come back without showing it again: no longer than it holds.
//!
//! A handshake that is resumed verifies nothing, so that a certificate of an hour would do for as long as its owner keeps coming.
//! Who comes back too late makes a whole handshake, and is judged by what it shows then. Of a chain, all count that held when it
//! was verified: one that was over by then had no part in it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls::time_provider::TimeProvider;
use rustls::{NamedGroup, pki_types::CertificateDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What is asked for the date, since 1970.
pub type Today = fn() -> Duration;

/// The same for the library.
#[derive(Debug)]
pub(super) struct Date(pub(super) Today);

impl TimeProvider for Date {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch((self.0)()))
    }
}

/// As certificates count.
fn seconds(date: Duration) -> i64 {
    i64::try_from(date.as_secs()).unwrap_or(i64::MAX)
}

/// The last second of a chain that was verified `then`; its first is the peer's own. None: it cannot be read.
fn end<'c>(chain: impl IntoIterator<Item = &'c [u8]>, then: i64) -> Option<i64> {
    let mut end = None;
    for certificate in chain {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let last = read.validity().not_after.timestamp();
        end = match end {
            Some(end) if last >= then => Some(last.min(end)),
            None => Some(last),
            end => end,
        };
    }
    end
}

/// Bytes, one part after the other.
struct Parts<'b>(&'b [u8]);

impl<'b> Parts<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        let digits = self.take(bytes)?.iter();
        Some(digits.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// What stands behind its length.
    fn counted(&mut self, bytes: usize) -> Option<&'b [u8]> {
        let length = self.number(bytes)?;
        self.take(length.try_into().ok()?)
    }

    /// What may be left out.
    fn optional(&mut self, bytes: usize) -> Option<Option<&'b [u8]>> {
        match self.number(1)? {
            0 => Some(None),
            _ => self.counted(bytes).map(Some),
        }
    }
}

/// Whether a client may come back by what the library wrote down of its handshake. What cannot be read to its end says nothing, and
/// nobody comes back by it: the form is the library's own, which may change it.
pub(super) fn holds(written: &[u8], now: Duration) -> bool {
    let read = || {
        let mut parts = Parts(written);
        let _name = parts.optional(1)?;
        let _version_and_cipher = parts.take(4)?;
        let _secret = parts.counted(1)?;
        let _extended = parts.take(1)?;
        let shown = parts.optional(3)?;
        let _protocol = parts.optional(1)?;
        let _data = parts.counted(2)?;
        let then = parts.number(8)?;
        let _age = parts.take(4)?;
        parts.0.is_empty().then_some((shown, then))
    };
    let Some((shown, then)) = read() else {
        return false;
    };
    let Some(shown) = shown else {
        return true;
    };
    let (mut rest, mut chain) = (Parts(shown), Vec::new());
    while !rest.0.is_empty() {
        let Some(certificate) = rest.counted(3) else {
            return false;
        };
        chain.push(certificate);
    }
    let end = end(chain, i64::try_from(then).unwrap_or(i64::MAX));
    end.is_some_and(|end| seconds(now) <= end)
}

/// What is kept here for clients of TLS 1.2 that take no ticket.
#[derive(Debug)]
pub(super) struct Kept {
    all: Arc<ServerSessionMemoryCache>,
    today: Today,
}

impl Kept {
    /// Of the last so many.
    pub(super) fn new(most: usize, today: Today) -> Self {
        let all = ServerSessionMemoryCache::new(most);
        Self { all, today }
    }

    fn held(&self, written: Option<Vec<u8>>) -> Option<Vec<u8>> {
        written.filter(|written| holds(written, (self.today)()))
    }
}

impl StoresServerSessions for Kept {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.all.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.held(self.all.get(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.held(self.all.take(key))
    }

    fn can_cache(&self) -> bool {
        self.all.can_cache()
    }
}

/// What is remembered of backends. Which certificate is behind what the library does not tell, so that all is forgotten when the
/// first of them ends: each backend makes one whole handshake then.
#[derive(Debug)]
pub(super) struct Memory {
    since: Mutex<Since>,
    most: usize,
    today: Today,
}

#[derive(Debug)]
struct Since {
    all: ClientSessionMemoryCache,
    /// When the first certificate ends, of those that were shown.
    end: i64,
}

impl Memory {
    /// Of the last so many.
    pub(super) fn new(most: usize, today: Today) -> Self {
        let all = ClientSessionMemoryCache::new(most);
        let since = Since { all, end: i64::MAX };
        Self {
            since: Mutex::new(since),
            most,
            today,
        }
    }

    /// The same, empty.
    pub(super) fn another(&self) -> Self {
        Self::new(self.most, self.today)
    }

    /// Notes what a backend has shown in a handshake that ended well. False: it came back by a certificate that is over.
    pub(super) fn learn(&self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        let now = seconds((self.today)());
        let chain = chain.into_iter().flatten().map(AsRef::as_ref);
        let end = end(chain, now).unwrap_or(i64::MIN);
        let mut since = self.since();
        since.end = since.end.min(end);
        now <= end
    }

    fn since(&self) -> MutexGuard<'_, Since> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, with nothing in it whose time is over.
    fn timely(&self) -> MutexGuard<'_, Since> {
        let mut since = self.since();
        if since.end < seconds((self.today)()) {
            since.all = ClientSessionMemoryCache::new(self.most);
            since.end = i64::MAX;
        }
        since
    }
}

impl ClientSessionStore for Memory {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.since().all.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.since().all.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.since().all.set_tls12_session(name, value);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.timely().all.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.since().all.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.since().all.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.timely().all.take_tls13_ticket(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the library writes it down, without and with so many bytes for a client's certificate.
    fn written(certificate: Option<&[u8]>) -> Vec<u8> {
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes()[1..].to_vec();
        let mut all = vec![1, 1, b'a', 3, 4, 0x13, 1, 2, 7, 7, 1];
        match certificate {
            None => all.push(0),
            Some(bytes) => {
                all.push(1);
                all.extend(length(bytes.len() + 3));
                all.extend(length(bytes.len()));
                all.extend(bytes);
            }
        }
        all.extend([1, 2, b'h', b'2', 0, 0]);
        all.extend([0; 12]);
        all
    }

    #[test]
    fn what_is_not_as_the_library_writes_it_opens_nothing() {
        let now = Duration::from_secs(1);
        let whole = written(None);
        assert!(holds(&whole, now));
        for at in 0..whole.len() {
            assert!(!holds(&whole[..at], now), "{at}");
        }
        assert!(!holds(&[&whole[..], &[0]].concat(), now));
        // A certificate that is none, and none where one is to be.
        assert!(!holds(&written(Some(b"none")), now));
        assert!(!holds(&written(Some(b"")), now));
    }
}
