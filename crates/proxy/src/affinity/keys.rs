//! Owns what seals the cookies of affinity: the keys of a file, or one of the process's own.
//!
//! A cookie says the hash of a backend's identity, when it was written, and some chance, so that two clients of one backend do not have
//! the same. All of it is sealed with a synthetic initialization vector: a tag, which is a keyed hash of them and of the service's name,
//! and behind it they themselves, veiled by a keyed hash of the tag. Nobody else can write one, or learn from one where it leads; and were
//! the chance no chance, that would be all that is lost.

use std::fmt;
use std::slice;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::{constant_time, hmac, rand};
use evenkeel_config::Plan;
use evenkeel_config::plan::tls::TICKET_KEY;

use crate::clock::seed;
use crate::live::Live;

/// A key.
pub type Secret = [u8; TICKET_KEY];

/// Begins a cookie of this form: another letter is another form.
const FORM: u8 = b'1';

/// Bytes of the tag, and of what is veiled: an identity, seconds since 1970, and chance.
const TAG: usize = 16;
const PLAIN: usize = 16;

/// Characters of a cookie, its form's included.
pub(super) const LENGTH: usize = 1 + ((TAG + PLAIN) * 8).div_ceil(6);

/// A cookie's value.
pub(super) type Text = [u8; LENGTH];

/// The process's own key: of chance when it is first needed, unless it goes on with another's. What is made of it is made once.
#[derive(Default)]
pub struct Own(OnceLock<Option<Made>>);

struct Made {
    secret: Secret,
    keyed: Keyed,
    row: hmac::Key,
    seed: hmac::Key,
}

impl Made {
    fn new(secret: Secret) -> Self {
        let parent = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Self {
            keyed: Keyed::new(&secret),
            row: derived(&parent, b"affinity row"),
            seed: derived(&parent, b"affinity seed"),
            secret,
        }
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}

impl Own {
    /// Goes on with this key. False: there is one already.
    pub fn take_over(&self, secret: Secret) -> bool {
        self.0.set(Some(Made::new(secret))).is_ok()
    }

    /// The key. None: the system gives no chance.
    #[must_use]
    pub fn secret(&self) -> Option<Secret> {
        self.made().map(|made| made.secret)
    }

    fn made(&self) -> Option<&Made> {
        let made = self.0.get_or_init(|| {
            let mut secret = [0; TICKET_KEY];
            rand::fill(&mut secret).ok().map(|()| Made::new(secret))
        });
        made.as_ref()
    }

    /// The row of a value in the table of a service: nobody can make one up that falls on another's.
    pub(super) fn row(&self, service: &str, value: &[u8]) -> Option<u128> {
        let hash = tag(&self.made()?.row, [service.as_bytes(), value])?;
        Some(u128::from_le_bytes(hash))
    }

    /// Where the places of rows begin.
    pub(crate) fn seed(&self, service: &str) -> u64 {
        let made = self.made();
        let hash = made.and_then(|made| tag(&made.seed, [service.as_bytes(), b""]));
        let half = hash.and_then(|hash| hash.first_chunk().copied());
        half.map_or(0, u64::from_le_bytes)
    }
}

/// Chance that nobody can guess, for a hash that strangers must not foresee.
pub(crate) fn chance() -> [u64; 2] {
    let mut bytes = [0; 16];
    if rand::fill(&mut bytes).is_err() {
        return [seed(), seed()];
    }
    let word = |word: Option<&[u8; 8]>| word.map_or(0, |word| u64::from_le_bytes(*word));
    let (words, _) = bytes.as_chunks();
    [word(words.first()), word(words.last())]
}

/// Which keys seal in a plan.
#[derive(Debug, Default)]
pub struct Rings {
    /// The process's own.
    pub own: Arc<Own>,
    file: Option<Arc<[Keyed]>>,
}

impl Rings {
    /// Those of a plan; the process's own is that of the one before.
    pub(crate) fn of(plan: &Plan, before: Option<&Live>) -> Self {
        let own = before.map_or_else(Arc::default, |before| before.own.clone());
        let file = plan.affinity_keys.as_ref();
        Self::new(own, file.map(|file| &*file.bytes))
    }

    /// Those of a file where there is one, else the process's own.
    #[must_use]
    pub fn new(own: Arc<Own>, file: Option<&[u8]>) -> Self {
        let keyed = |file: &[u8]| file.as_chunks().0.iter().map(Keyed::new).collect();
        Self {
            own,
            file: file.map(keyed),
        }
    }
}

/// What is made of one key.
struct Keyed {
    sign: hmac::Key,
    veil: hmac::Key,
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed")
    }
}

impl Keyed {
    fn new(secret: &Secret) -> Self {
        let parent = hmac::Key::new(hmac::HMAC_SHA256, secret);
        // By the form: what one signs, another does not open.
        Self {
            sign: derived(&parent, &[&b"affinity sign "[..], &[FORM]].concat()),
            veil: derived(&parent, &[&b"affinity veil "[..], &[FORM]].concat()),
        }
    }

    fn veil(&self, tag: &[u8], bytes: &mut [u8; PLAIN]) {
        let veil = hmac::sign(&self.veil, tag);
        for (byte, veil) in bytes.iter_mut().zip(veil.as_ref()) {
            *byte ^= veil;
        }
    }
}

fn derived(parent: &hmac::Key, label: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(parent, label).as_ref())
}

/// The first bytes of a keyed hash; the length of the first part is hashed too, so that no two pairs look alike.
fn tag(key: &hmac::Key, parts: [&[u8]; 2]) -> Option<[u8; TAG]> {
    let mut context = hmac::Context::with_key(key);
    context.update(&(parts[0].len() as u64).to_le_bytes());
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().first_chunk().copied()
}

/// What a cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// The identity of a backend.
    pub(super) backend: u64,
    /// Seconds since 1970.
    pub(super) issued: u32,
    /// By the key that seals today.
    pub(super) newest: bool,
    /// Of the tag: what this cookie has and no other.
    pub(super) client: u64,
}

/// What looks like a cookie of ours.
pub(super) struct Sealed([u8; TAG + PLAIN]);

impl Sealed {
    /// None: it is none. Cost: no hash.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        bytes(value).map(Self)
    }
}

/// Seals and opens the cookies of one service. Cost of either: two keyed hashes of some 50 bytes, about 1 us.
#[derive(Debug)]
pub(super) struct Sealer {
    service: Arc<str>,
    file: Option<Arc<[Keyed]>>,
    own: Arc<Own>,
}

impl Sealer {
    pub(super) fn new(rings: &Rings, service: &Arc<str>) -> Self {
        Self {
            service: service.clone(),
            file: rings.file.clone(),
            own: rings.own.clone(),
        }
    }

    fn keys(&self) -> &[Keyed] {
        match &self.file {
            Some(file) => file,
            None => {
                let made = self.own.made();
                made.map_or(&[][..], |made| slice::from_ref(&made.keyed))
            }
        }
    }

    /// A cookie's value, and what opening it will say. None: there is no key.
    pub(super) fn seal(&self, backend: u64, issued: u32, chance: u32) -> Option<(Text, Opened)> {
        let key = self.keys().first()?;
        let mut plain = [0; PLAIN];
        plain[..8].copy_from_slice(&backend.to_le_bytes());
        plain[8..12].copy_from_slice(&issued.to_le_bytes());
        plain[12..].copy_from_slice(&chance.to_le_bytes());
        let tag = tag(&key.sign, [self.service.as_bytes(), &plain])?;
        key.veil(&tag, &mut plain);
        let mut sealed = [0; TAG + PLAIN];
        sealed[..TAG].copy_from_slice(&tag);
        sealed[TAG..].copy_from_slice(&plain);
        let says = Opened {
            backend,
            issued,
            newest: true,
            client: client(&tag),
        };
        Some((text(&sealed), says))
    }

    /// What a cookie says. None: it is none of ours. A wrong one costs as much for each key, and tells nothing by its time.
    pub(super) fn open(&self, sealed: &Sealed) -> Option<Opened> {
        let (told, veiled) = sealed.0.split_first_chunk::<TAG>()?;
        let veiled: &[u8; PLAIN] = veiled.try_into().ok()?;
        self.keys().iter().enumerate().find_map(|(at, key)| {
            let mut plain = *veiled;
            key.veil(told, &mut plain);
            let tag = tag(&key.sign, [self.service.as_bytes(), &plain])?;
            constant_time::verify_slices_are_equal(&tag, told).ok()?;
            let (backend, rest) = plain.split_first_chunk::<8>()?;
            let (issued, _chance) = rest.split_first_chunk::<4>()?;
            Some(Opened {
                backend: u64::from_le_bytes(*backend),
                issued: u32::from_le_bytes(*issued),
                newest: at == 0,
                client: client(told),
            })
        })
    }
}

fn client(tag: &[u8; TAG]) -> u64 {
    tag.first_chunk()
        .map_or(0, |half| u64::from_le_bytes(*half))
}

/// Base64 as addresses have it, without padding (RFC 4648 section 5): nothing in it needs quotes in a cookie.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn text(sealed: &[u8; TAG + PLAIN]) -> Text {
    let mut out = [FORM; LENGTH];
    for (three, four) in sealed.chunks(3).zip(out[1..].chunks_mut(4)) {
        let at = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let all = at(0) << 16 | at(1) << 8 | at(2);
        for (place, letter) in four.iter_mut().enumerate() {
            *letter = LETTERS[(all >> (18 - 6 * place)) as usize & 63];
        }
    }
    out
}

/// The other way. One text for each value, and no other: what is left over must be nothing.
fn bytes(text: &[u8]) -> Option<[u8; TAG + PLAIN]> {
    let text = text.strip_prefix(&[FORM])?;
    if text.len() != LENGTH - 1 {
        return None;
    }
    let mut out = [0; TAG + PLAIN];
    let (mut bits, mut held, mut at) = (0_u32, 0, 0);
    for letter in text {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        (bits, held) = (bits << 6 | u32::from(value), held + 6);
        if held >= 8 {
            held -= 8;
            let [.., byte] = (bits >> held).to_be_bytes();
            *out.get_mut(at)? = byte;
            at += 1;
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0 && at == out.len()).then_some(out)
}

#[cfg(test)]
mod tests;
