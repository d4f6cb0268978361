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
    let sealed = sealer("api", &[1]).seal(77, 5).unwrap();
    assert_eq!(sealed.len(), LENGTH);
    let check = |service: &str, keys: &[u8], expect: Option<bool>| {
        let opened = open(&sealer(service, keys), sealed.as_bytes());
        let expect = expect.map(|newest| Opened {
            backend: 77,
            issued: 5,
            newest,
        });
        assert_eq!(opened, expect, "{service} {keys:?}");
    };
    check("api", &[1], Some(true));
    // Another comes to seal, and the old one goes on to open.
    check("api", &[2, 1], Some(false));
    check("api", &[3, 2, 1], Some(false));
    check("api", &[2], None);
    check("apj", &[1], None);
    check("ap", &[1], None);
}

#[test]
fn the_own_key_is_one_key_and_another_in_each_process() {
    let own = Arc::new(Own::default());
    let of = |own: &Arc<Own>| Sealer::new(&Rings::new(own.clone(), None), &"api".into());
    let sealed = of(&own).seal(1, 2).unwrap();
    assert!(open(&of(&own), sealed.as_bytes()).is_some());
    assert!(open(&of(&Arc::default()), sealed.as_bytes()).is_none());
    // One that goes on with it.
    let next = Arc::new(Own::default());
    assert!(next.take_over(own.secret().unwrap()));
    assert!(!next.take_over([1; TICKET_KEY]));
    assert!(open(&of(&next), sealed.as_bytes()).is_some());
    assert_eq!(next.seed("api"), own.seed("api"));
    assert_ne!(own.seed("api"), own.seed("apj"));
    assert_eq!(next.row("api", b"x"), own.row("api", b"x"));
    assert_ne!(own.row("api", b"x"), own.row("ap", b"ix"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, rng_seed: RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

    /// What was sealed opens as it was, and with any change not at all: there is one text for each.
    #[test]
    fn no_other_text_opens(backend: u64, issued: u32, at in 0..LENGTH, letter in any::<u8>(), cut in 0..LENGTH) {
        let sealer = sealer("api", &[1, 2]);
        let sealed = sealer.seal(backend, issued).unwrap().into_bytes();
        prop_assert_eq!(open(&sealer, &sealed), Some(Opened { backend, issued, newest: true }));
        let mut other = sealed.clone();
        other[at] = letter;
        prop_assert_eq!(open(&sealer, &other).is_some(), other == sealed);
        prop_assert_eq!(open(&sealer, &sealed[..cut]), None);
        prop_assert_eq!(open(&sealer, &[&sealed[..], &[letter]].concat()), None);
    }

    /// Any bytes may come.
    #[test]
    fn hostile_texts_open_nothing(text in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        "[A-Za-z0-9_-]{38}".prop_map(String::into_bytes),
    ]) {
        prop_assert_eq!(open(&sealer("api", &[1, 2, 3]), &text), None);
    }

    /// Neither who nor when can be seen: two of one backend have nothing in common, nor have two of one time.
    #[test]
    fn it_is_opaque(backend: u64, issued in 0..u32::MAX) {
        let sealer = sealer("api", &[1]);
        let one = bytes(sealer.seal(backend, issued).unwrap().as_bytes()).unwrap();
        let two = bytes(sealer.seal(backend, issued + 1).unwrap().as_bytes()).unwrap();
        let same = one.iter().zip(&two).filter(|(one, two)| one == two).count();
        prop_assert!(same < 6, "{} bytes of 28 are the same", same);
    }
}
