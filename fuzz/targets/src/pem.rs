//! Owns the laws of files with certificates and keys: what is found is told, and what can be shown has nothing against it.

use std::time::Duration;

use evenkeel_config::Severity;
use evenkeel_proxy::tls::load::{Part, load};
use evenkeel_proxy::tls::secured::Identity;

use crate::show;

/// 2026-11-21.
const TODAY: Duration = Duration::from_secs(1_795_219_200);

/// Reads it as certificate and key in one file. Taken: it can be shown to clients.
pub fn check(input: &[u8]) -> bool {
    let (loaded, findings) = load(input, input, None, TODAY);
    let error = |part: Option<Part>| {
        findings.iter().any(|finding| {
            finding.severity == Severity::Error && part.is_none_or(|part| finding.part == part)
        })
    };
    assert_eq!(loaded.is_none(), error(None), "{}", show(input));
    let identity = Identity::read(input);
    if !error(Some(Part::Cert)) {
        assert!(identity.is_ok(), "{}", show(input));
    }
    if let Ok(identity) = identity {
        let plain = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        assert!(plain(&identity.subject) && plain(&identity.names));
        assert_eq!(identity.fingerprint.len(), 64);
    }
    // Lines end as they like.
    let unix: Vec<u8> = input
        .iter()
        .copied()
        .filter(|&byte| byte != b'\r')
        .collect();
    if let Some(loaded) = &loaded {
        let (again, _) = load(&unix, &unix, None, TODAY);
        let names = again.map(|again| again.names);
        assert_eq!(names.as_ref(), Some(&loaded.names), "{}", show(input));
    }
    loaded.is_some()
}
