//! Owns the keys of `tls:`, of a listener and of `upstream:`.

use super::{Absent, Keys, Shape, key, written};
use crate::limits;

/// `tls:` of a listener.
pub(crate) static TLS: Keys = Keys {
    place: "listeners.*.tls",
    what: "tls",
    keys: &[
        key(
            "policy",
            Shape::Words(&["modern", "intermediate"]),
            Absent::Is(|| "intermediate".into()),
            "Versions and ciphers as Mozilla recommends; `modern`: TLS 1.3 only, `intermediate`: TLS 1.2 too.",
        ),
        key(
            "certificates",
            Shape::List(&Shape::Map(&CERTIFICATE)),
            Absent::Never,
            "Certificates by the names that stand in them; the first is for clients that ask for no other's name.",
        ),
        key(
            "alpn",
            Shape::List(&Shape::Text),
            Absent::No("not agreed on"),
            "With `protocol: tcp`: what is agreed on with clients that offer protocols, best first, like `postgresql`; who offers none of these is refused.",
        ),
        key(
            "client_auth",
            Shape::WordOr(&["off"], "", &CLIENT_AUTH),
            Absent::Is(|| "off".into()),
            "Whether clients show certificates.",
        ),
        key(
            "tickets",
            Shape::WordOr(&["on", "off"], "on", &TICKETS),
            Absent::Defaults,
            "How clients come back without a whole handshake.",
        ),
        key(
            "hsts",
            Shape::Short(Some("max_age"), &HSTS),
            Absent::No("nothing is said"),
            "Answers over TLS tell browsers to come by HTTPS alone for so long (`Strict-Transport-Security`); 0 takes it back.",
        ),
    ],
    one_of: &[],
};

/// One of `certificates:`
pub(crate) static CERTIFICATE: Keys = Keys {
    place: "listeners.*.tls.certificates.*",
    what: "a certificate",
    keys: &[
        key(
            "cert",
            Shape::Text,
            Absent::Never,
            "A PEM file with the certificate and those of its issuers; a relative name begins beside this file.",
        ),
        key(
            "key",
            Shape::Text,
            Absent::Never,
            "A PEM file with its key: PKCS#8, SEC1 or PKCS#1, not encrypted.",
        ),
        key(
            "ocsp",
            Shape::Text,
            Absent::No("nothing is stapled"),
            "A DER file with its issuer's OCSP answer, stapled to handshakes.",
        ),
    ],
    one_of: &[],
};

/// `client_auth:`
pub(crate) static CLIENT_AUTH: Keys = Keys {
    place: "listeners.*.tls.client_auth",
    what: "client_auth",
    keys: &[
        key(
            "ca",
            Shape::Text,
            Absent::Never,
            "A PEM file with the issuers of clients' certificates.",
        ),
        key(
            "crl",
            Shape::Text,
            Absent::No("what was revoked is taken all the same"),
            "A PEM file with the lists of what these issuers revoked, one for each issuer at least.",
        ),
        key(
            "mode",
            Shape::Words(&["request", "require", "off"]),
            Absent::Is(|| "require".into()),
            "`require`: no connection without one; `request`: none will do, a wrong one will not.",
        ),
    ],
    one_of: &[],
};

/// `tickets:`
pub(crate) static TICKETS: Keys = Keys {
    place: "listeners.*.tls.tickets",
    what: "tickets",
    keys: &[
        key(
            "rotate",
            Shape::Wait,
            Absent::Is(|| written::duration(limits::TICKETS_ROTATE)),
            "A new key this often; a ticket holds for two of these. Not with `file`.",
        ),
        key(
            "file",
            Shape::Text,
            Absent::No("keys of this instance's own"),
            "A file of 1 to 3 keys of 32 random bytes, shared between instances: the first seals, all open.",
        ),
    ],
    one_of: &[],
};

/// `hsts:`
pub(crate) static HSTS: Keys = Keys {
    place: "listeners.*.tls.hsts",
    what: "hsts",
    keys: &[
        key(
            "max_age",
            Shape::Duration,
            Absent::Never,
            "For how long; whole seconds.",
        ),
        key(
            "subdomains",
            Shape::Boolean,
            Absent::Is(|| "false".into()),
            "For every name below the host's too.",
        ),
        key(
            "preload",
            Shape::Boolean,
            Absent::Is(|| "false".into()),
            "Consents to stand in the lists that browsers come with; they want `subdomains` and a year.",
        ),
    ],
    one_of: &[],
};

/// `tls:` of `upstream:`
pub(crate) static UPSTREAM_TLS: Keys = Keys {
    place: "services.*.upstream.tls",
    what: "tls",
    keys: &[
        key(
            "ca",
            Shape::Text,
            Absent::No("the system's"),
            "A PEM file with the issuers that are trusted.",
        ),
        key(
            "sni",
            Shape::Text,
            Absent::No("the backend's host"),
            "The name that is asked for and that the certificate must have.",
        ),
        key(
            "verify",
            Shape::Words(&["on", "off"]),
            Absent::Is(|| "on".into()),
            "`off`: any certificate will do, so that anybody can be the backend.",
        ),
        key(
            "cert",
            Shape::Text,
            Absent::No("none is shown"),
            "A PEM file with the certificate that is shown to backends that ask.",
        ),
        key(
            "key",
            Shape::Text,
            Absent::Nothing,
            "A PEM file with its key.",
        ),
    ],
    one_of: &[],
};
