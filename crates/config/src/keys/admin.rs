//! Owns the keys of `admin:`, and those of files of tokens.

use super::{Absent, CERTIFICATE, CLIENT_AUTH, Key, Keys, Shape, key};
use crate::limits;

/// `admin:`
pub(crate) static ADMIN: Keys = Keys {
    place: "admin",
    what: "admin",
    keys: &[
        key(
            "bind",
            Shape::Text,
            Absent::Is(|| limits::ADMIN.to_string()),
            "Where all pages are: an address, `unix:/path`, or `off`. Beyond loopback only with `tokens` or `identities`.",
        ),
        key(
            "metrics",
            Shape::Text,
            Absent::No("no second address"),
            "A second address with `/metrics`, `/livez` and `/readyz` only, which asks nobody who it is.",
        ),
        key(
            "socket",
            Shape::Map(&SOCKET),
            Absent::No("its owner alone, who starts the process"),
            "Who may connect where `bind` is a Unix socket: who may, may do everything.",
        ),
        key(
            "hosts",
            Shape::List(&Shape::Text),
            Absent::No("`localhost` and addresses only"),
            "Names that the address answers to beside those, like `keel.example.com`.",
        ),
        key(
            "tls",
            Shape::Map(&ADMIN_TLS),
            Absent::No("not encrypted"),
            "TLS of `bind`.",
        ),
        key(
            "tokens",
            Shape::Text,
            Absent::No("nobody is asked for one"),
            "A file of tokens' digests with what each may do; `evenkeel token create` makes its lines. A relative name begins beside this file.",
        ),
        key(
            "identities",
            Shape::List(&Shape::Map(&IDENTITY)),
            Absent::No("nobody is known by a certificate"),
            "Who is known by the certificate that it shows, and what it may do.",
        ),
        key(
            "audit_decisions",
            Shape::Share,
            Absent::Is(|| "1%".into()),
            "So many of the decisions for other programs are written down; changes and refusals all are.",
        ),
        key(
            "records",
            Shape::Map(&RECORDS),
            Absent::No("no request is recorded"),
            "Which requests are recorded with their decisions, for `/v1/decisions`.",
        ),
    ],
    one_of: &[],
};

/// `records:` of `admin:`
pub(crate) static RECORDS: Keys = Keys {
    place: "admin.records",
    what: "records",
    keys: &[
        key(
            "share",
            Shape::Share,
            Absent::Is(|| "0%".into()),
            "So many of the requests, drawn by chance.",
        ),
        key(
            "header",
            Shape::Boolean,
            Absent::Is(|| "false".into()),
            "Those too that show a token with `decisions:read` in `X-Evenkeel-Explain`.",
        ),
    ],
    one_of: &[],
};

/// `socket:` of `admin:`
pub(crate) static SOCKET: Keys = Keys {
    place: "admin.socket",
    what: "socket",
    keys: &[
        key(
            "mode",
            Shape::Text,
            Absent::Is(|| format!("{:04o}", limits::SOCKET_MODE)),
            "Permissions of its file, like `0660`.",
        ),
        key(
            "user",
            Shape::Text,
            Absent::No("who starts the process"),
            "Whose it is: a name of `/etc/passwd`, or a number.",
        ),
        key(
            "group",
            Shape::Text,
            Absent::No("that of who starts the process"),
            "Its group: a name of `/etc/group`, or a number.",
        ),
    ],
    one_of: &[],
};

/// `tls:` of `admin:`
pub(crate) static ADMIN_TLS: Keys = Keys {
    place: "admin.tls",
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
            "client_auth",
            Shape::WordOr(&["off"], "", &CLIENT_AUTH),
            Absent::Is(|| "off".into()),
            "Whether clients show certificates.",
        ),
    ],
    one_of: &[],
};

const SCOPES: Key = key(
    "scopes",
    Shape::List(&Shape::Text),
    Absent::Never,
    "What it may do: `viewer`, `operator`, `admin`, or single scopes like `backends:write`.",
);

const UNTIL: Key = key(
    "until",
    Shape::Text,
    Absent::No("for ever"),
    "It may no longer from here on: a date like `2027-06-30`, or `2027-06-30T12:00:00Z`.",
);

/// One of `identities:`
pub(crate) static IDENTITY: Keys = Keys {
    place: "admin.identities.*",
    what: "an identity",
    keys: &[
        key(
            "name",
            Shape::Text,
            Absent::Never,
            "The name that logs have of it.",
        ),
        key(
            "subject",
            Shape::Text,
            Absent::Nothing,
            "The subject of its certificate as backends are told it, like `CN=ops,O=Keel`: all of it, as written.",
        ),
        key(
            "san",
            Shape::Text,
            Absent::Nothing,
            "One of its alternative names, like `URI:spiffe://keel/ops`: all of it, of `DNS:` in any case.",
        ),
        key(
            "fingerprint",
            Shape::Text,
            Absent::Nothing,
            "Its SHA-256 in hexadecimal, with or without colons.",
        ),
        SCOPES,
        UNTIL,
    ],
    one_of: &["subject", "san", "fingerprint"],
};

/// A line of a file of tokens.
pub(crate) static TOKEN: Keys = Keys {
    place: "tokens.*",
    what: "a token",
    keys: &[
        key(
            "name",
            Shape::Text,
            Absent::Never,
            "The name that logs have of who has it.",
        ),
        key(
            "sha256",
            Shape::Text,
            Absent::Never,
            "The digest of the token, in hexadecimal.",
        ),
        SCOPES,
        UNTIL,
    ],
    one_of: &[],
};
