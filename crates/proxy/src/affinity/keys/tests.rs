use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

fn file(keys: &[u8]) -> Vec<u8> {
    keys.iter()
        .flat_map(|&key| (0..32).map(move |at| key ^ at))
        .collect()
}

fn sealer(service: &str, keys: &[u8]) -> Sealer {
    let rings = Rings::new(Arc::default(), Some(&file(keys)));
    Sealer::new(&rings, &service.into())
}

fn open(sealer: &Sealer, text: &[u8]) -> Option<Opened> {
    Sealed::parse(text).and_then(|sealed| sealer.open(&sealed))
}

#[test]
fn who_has_the_keys_reads_what_was_sealed() {
    let (sealed, says) = sealer("api", &[1]).seal(77, 5, 9).unwrap();
    assert_eq!((sealed.len(), sealed[0]), (44, b'1'));
    let check = |service: &str, keys: &[u8], expect: Option<bool>| {
        let opened = open(&sealer(service, keys), &sealed);
        let expect = expect.map(|newest| Opened { newest, ..says });
        assert_eq!(opened, expect, "{service} {keys:?}");
    };
    check("api", &[1], Some(true));
    // Another comes to seal, and the old one goes on to open.
    check("api", &[2, 1], Some(false));
    check("api", &[3, 2, 1], Some(false));
    check("api", &[2], None);
    check("apj", &[1], None);
    check("ap", &[1], None);
    assert_eq!((says.backend, says.issued), (77, 5));
    // Another form is none that we know.
    let mut other = sealed;
    other[0] += 1;
    assert_eq!(open(&sealer("api", &[1]), &other), None);
}

/// Whoever is on the same backend since the same second has another cookie, and is another client.
#[test]
fn no_two_are_alike() {
    let sealer = sealer("api", &[1]);
    let all = (0..100).map(|chance| sealer.seal(77, 5, chance).unwrap());
    let (texts, clients): (BTreeSet<_>, BTreeSet<_>) =
        all.map(|(text, says)| (text, says.client)).unzip();
    assert_eq!((texts.len(), clients.len()), (100, 100));
    assert!(clients.iter().all(|client| *client != 0));
}

#[test]
fn the_own_key_is_one_key_and_another_in_each_process() {
    let own = Arc::new(Own::default());
    let of = |own: &Arc<Own>| Sealer::new(&Rings::new(own.clone(), None), &"api".into());
    let (sealed, _) = of(&own).seal(1, 2, 3).unwrap();
    assert!(open(&of(&own), &sealed).is_some());
    assert!(open(&of(&Arc::default()), &sealed).is_none());
    // One that goes on with it.
    let next = Arc::new(Own::default());
    assert!(next.take_over(own.secret().unwrap()));
    assert!(!next.take_over([1; TICKET_KEY]));
    assert!(open(&of(&next), &sealed).is_some());
    assert_eq!(next.seed("api"), own.seed("api"));
    assert_ne!(own.seed("api"), own.seed("apj"));
    assert_eq!(next.row("api", b"x"), own.row("api", b"x"));
    assert_ne!(own.row("api", b"x"), own.row("ap", b"ix"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, rng_seed: RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

    /// What was sealed opens as it was, and with any change not at all: there is one text for each.
    #[test]
    fn no_other_text_opens(backend: u64, issued: u32, chance: u32, at in 0..LENGTH, letter in any::<u8>(), cut in 0..LENGTH) {
        let sealer = sealer("api", &[1, 2]);
        let (sealed, says) = sealer.seal(backend, issued, chance).unwrap();
        prop_assert_eq!(open(&sealer, &sealed), Some(says));
        prop_assert_eq!((says.backend, says.issued, says.newest), (backend, issued, true));
        let mut other = sealed;
        other[at] = letter;
        prop_assert_eq!(open(&sealer, &other).is_some(), other == sealed);
        prop_assert_eq!(open(&sealer, &sealed[..cut]), None);
        prop_assert_eq!(open(&sealer, &[&sealed[..], &[letter]].concat()), None);
    }

    /// Any bytes may come.
    #[test]
    fn hostile_texts_open_nothing(text in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        "1[A-Za-z0-9_-]{43}".prop_map(String::into_bytes),
    ]) {
        prop_assert_eq!(open(&sealer("api", &[1, 2, 3]), &text), None);
    }

    /// Neither who nor when can be seen: two of one backend and one time have nothing in common, whatever chance there was.
    #[test]
    fn it_is_opaque(backend: u64, issued: u32, chance in 0..u32::MAX) {
        let sealer = sealer("api", &[1]);
        let sealed = |chance| bytes(&sealer.seal(backend, issued, chance).unwrap().0).unwrap();
        let (one, two) = (sealed(chance), sealed(chance + 1));
        let same = one.iter().zip(&two).filter(|(one, two)| one == two).count();
        prop_assert!(same < 6, "{} bytes of 32 are the same", same);
    }
}
