//! Owns tickets: what of a handshake a client keeps for us, sealed, so that its next one is short.
//!
//! A ticket's key is made of a secret and a scope. Secrets come from chance and turn with time, or from a file that instances
//! share. The scope is what a listener asks of clients' certificates: where another one is asked, a ticket does not open, so that
//! nobody comes in by a listener that asks for less (CVE-2025-23419).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hmac, rand};
use evenkeel_config::plan::tls::{TICKET_KEY, ticket_keys};
use rustls::server::ProducesTickets;

use super::expiry::{self, Today};

/// Bytes that tell which key sealed a ticket.
const NAME: usize = 16;

/// The longest ticket that is opened; TLS allows no longer one.
const TICKET_MOST: usize = 0xffff;

/// A week: no client may keep one longer (RFC 8446 section 4.6.1).
const LIFETIME_MOST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A secret of tickets.
pub type Secret = [u8; TICKET_KEY];

/// Secrets of one listener; the first seals, all open.
pub struct Ring(Mutex<Secrets>);

struct Secrets {
    all: Vec<Secret>,
    /// When the first one began to seal. None: they do not turn.
    turned: Option<Duration>,
}

/// What goes over to another process.
#[derive(Clone, PartialEq, Eq)]
pub struct Carried {
    /// The secrets, the one that seals first.
    pub all: Vec<Secret>,
    /// How long it has.
    pub sealed: Duration,
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carried")
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ring")
    }
}

impl Ring {
    /// One of chance; `now` is since 1970.
    ///
    /// # Errors
    /// The operating system has no chance to give.
    pub fn own(now: Duration) -> Result<Self, String> {
        Ok(Self(Mutex::new(Secrets {
            all: vec![fresh()?],
            turned: Some(now),
        })))
    }

    /// That of a file.
    ///
    /// # Errors
    /// What it holds are no keys.
    pub fn shared(file: &[u8]) -> Result<Self, String> {
        ticket_keys(file)?;
        let (all, _) = file.as_chunks();
        Ok(Self(Mutex::new(Secrets {
            all: all.to_vec(),
            turned: None,
        })))
    }

    /// Puts another secret in front where the first has sealed for `every`, and forgets all but the one before it. Secrets of a
    /// file stay.
    pub fn turn(&self, now: Duration, every: Duration) {
        let mut secrets = self.secrets();
        let due = secrets.turned.is_some_and(|turned| turned + every <= now);
        // Without chance the old one seals on; the next tick asks again.
        if due && let Ok(secret) = fresh() {
            secrets.all.insert(0, secret);
            secrets.all.truncate(2);
            secrets.turned = Some(now);
        }
    }

    /// The secrets of chance, and how long the first has sealed, for another process. None: they are a file's.
    #[must_use]
    pub fn carried(&self, now: Duration) -> Option<Carried> {
        let secrets = self.secrets();
        let sealed = now.saturating_sub(secrets.turned?);
        let all = secrets.all.clone();
        Some(Carried { all, sealed })
    }

    /// Goes on with those of another process: its first seals, all open. Those of a file stay.
    pub fn take_over(&self, carried: &Carried, now: Duration) {
        let mut secrets = self.secrets();
        if secrets.turned.is_some() && !carried.all.is_empty() {
            secrets.all.clone_from(&carried.all);
            secrets.all.truncate(2);
            secrets.turned = Some(now.saturating_sub(carried.sealed));
        }
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh() -> Result<Secret, String> {
    let mut secret = [0; TICKET_KEY];
    rand::fill(&mut secret).map_err(|_| "the system gives no random bytes".to_owned())?;
    Ok(secret)
}

/// Seals and opens the tickets of one listener.
pub(super) struct Sealer {
    ring: Arc<Ring>,
    scope: Vec<u8>,
    lifetime: Duration,
    /// Where clients show certificates, tickets open while these hold.
    judged: Option<Today>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// Tickets open under the same scope only, and where there is a date, while the certificate in them holds.
    pub(super) fn new(
        ring: Arc<Ring>,
        scope: Vec<u8>,
        lifetime: Duration,
        judged: Option<Today>,
    ) -> Self {
        Self {
            ring,
            scope,
            lifetime: lifetime.min(LIFETIME_MOST),
            judged,
        }
    }

    /// Name and key of a secret, for this scope. Cost: two short digests and a key schedule, some 2 us; a handshake has 300.
    fn key(&self, secret: &Secret) -> Option<([u8; NAME], RandomizedNonceKey)> {
        let parent = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |label: &[u8]| {
            let mut context = hmac::Context::with_key(&parent);
            context.update(label);
            context.update(&self.scope);
            context.sign()
        };
        let name = *derived(b"name").as_ref().first_chunk()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, derived(b"key").as_ref()).ok()?;
        Some((name, key))
    }
}

impl ProducesTickets for Sealer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let secret = *self.ring.secrets().all.first()?;
        let (name, key) = self.key(&secret)?;
        let mut sealed = plain.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(name), &mut sealed)
            .ok()?;
        Some([&name[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if sealed.len() > TICKET_MOST {
            return None;
        }
        let secrets = self.ring.secrets().all.clone();
        let keys = secrets.iter().filter_map(|secret| self.key(secret));
        let (_, key) = keys.into_iter().find(|(known, _)| known == name)?;
        let mut opened = sealed.to_vec();
        let length = key
            .open_in_place(Nonce::from(nonce), Aad::from(*name), &mut opened)
            .ok()?
            .len();
        opened.truncate(length);
        let holds = self
            .judged
            .is_none_or(|today| expiry::holds(&opened, today()));
        holds.then_some(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn sealer(ring: &Arc<Ring>, scope: &str) -> Sealer {
        Sealer::new(ring.clone(), scope.into(), HOUR, None)
    }

    #[test]
    fn tickets_open_under_their_scope_and_no_other() {
        let ring = Arc::new(Ring::own(HOUR).unwrap());
        let (one, other) = (sealer(&ring, "require ca"), sealer(&ring, "off"));
        let ticket = one.encrypt(b"plain").unwrap();
        assert_eq!(one.decrypt(&ticket).unwrap(), b"plain");
        assert_eq!(other.decrypt(&ticket), None);
        assert_ne!(one.encrypt(b"plain").unwrap(), ticket, "no nonce twice");
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(one.decrypt(&changed), None, "{at}");
            assert_eq!(one.decrypt(&ticket[..at]), None, "{at}");
        }
    }

    #[test]
    fn secrets_turn_with_time_and_hold_for_two_turns() {
        let ring = Arc::new(Ring::own(HOUR).unwrap());
        let one = sealer(&ring, "");
        let first = one.encrypt(b"1").unwrap();
        ring.turn(HOUR * 2 - Duration::from_secs(1), HOUR);
        assert_eq!(ring.secrets().all.len(), 1, "not due");
        ring.turn(HOUR * 2, HOUR);
        let second = one.encrypt(b"2").unwrap();
        assert_ne!(first[..NAME], second[..NAME]);
        assert!(one.decrypt(&first).is_some() && one.decrypt(&second).is_some());
        ring.turn(HOUR * 3, HOUR);
        assert!(one.decrypt(&first).is_none() && one.decrypt(&second).is_some());
    }

    #[test]
    fn instances_that_share_a_file_open_each_others_while_keys_change() {
        let key = |number: &u8| -> Secret {
            let mut key = [0; TICKET_KEY];
            key[7] = *number;
            key
        };
        let keys = |numbers: &[u8]| -> Arc<Ring> {
            let file: Vec<u8> = numbers.iter().flat_map(key).collect();
            Arc::new(Ring::shared(&file).unwrap())
        };
        // One has the new file already, whose first key the other knows as the next.
        let (old, new) = (sealer(&keys(&[1, 2]), ""), sealer(&keys(&[2, 1, 3]), ""));
        for (from, to) in [(&old, &new), (&new, &old)] {
            let ticket = from.encrypt(b"plain").unwrap();
            assert_eq!(to.decrypt(&ticket).unwrap(), b"plain");
        }
        let stranger = sealer(&keys(&[4]), "");
        assert_eq!(stranger.decrypt(&old.encrypt(b"plain").unwrap()), None);
        let ring = keys(&[1]);
        ring.turn(HOUR * 1000, HOUR);
        assert_eq!(ring.secrets().all, [key(&1)], "a file's stay");
        let file: Vec<u8> = (0..128).collect();
        for (length, fits) in [
            (0, false),
            (31, false),
            (32, true),
            (33, false),
            (96, true),
            (128, false),
        ] {
            assert_eq!(Ring::shared(&file[..length]).is_ok(), fits, "{length}");
        }
        assert!(Ring::shared(&[&file[..32], &[0; 32]].concat()).is_err());
    }

    #[test]
    fn another_process_goes_on_with_the_same_secrets_and_turns_them_in_time() {
        let hour = Duration::from_secs(3600);
        let (one, two) = (
            Arc::new(Ring::own(hour).unwrap()),
            Arc::new(Ring::own(9 * hour).unwrap()),
        );
        let sealer = |ring: &Arc<Ring>| Sealer::new(ring.clone(), b"off".to_vec(), hour, None);
        let ticket = sealer(&one).encrypt(b"plain").unwrap();
        assert_eq!(sealer(&two).decrypt(&ticket), None);
        let carried = one.carried(hour + hour / 2).unwrap();
        two.take_over(&carried, 9 * hour);
        assert_eq!(sealer(&two).decrypt(&ticket).unwrap(), b"plain");
        assert_eq!(format!("{carried:?}"), "Carried", "secrets are not shown");
        // Half an hour of the hour is over.
        two.turn(9 * hour + hour / 4, hour);
        assert!(
            two.carried(9 * hour)
                == Some(Carried {
                    sealed: hour / 2,
                    ..carried.clone()
                })
        );
        two.turn(9 * hour + hour / 2, hour);
        assert_eq!(two.carried(10 * hour).unwrap().all[1..], carried.all);
        let none = Carried {
            all: Vec::new(),
            ..carried
        };
        two.take_over(&none, 10 * hour);
        assert_eq!(
            sealer(&two).decrypt(&ticket).unwrap(),
            b"plain",
            "nothing is no secret"
        );
        let file = Ring::shared(b"12345678901234567890123456789012").unwrap();
        assert!(file.carried(hour).is_none());
    }
}
