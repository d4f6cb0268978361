//! Owns the keys of `error_pages:`, of the whole and of a listener.

use super::{Absent, Key, Keys, Shape, key};

/// A page per status that is answered here.
pub(crate) static PAGES: Keys = Keys {
    place: "error_pages",
    what: "error_pages",
    keys: &[
        page("400"),
        page("403"),
        page("404"),
        page("408"),
        page("413"),
        page("414"),
        page("417"),
        page("421"),
        page("429"),
        page("431"),
        page("500"),
        page("501"),
        page("502"),
        page("503"),
        page("504"),
        page("505"),
    ],
    one_of: &[],
};

/// One page.
pub(crate) static PAGE: Keys = Keys {
    place: "error_pages.*",
    what: "a page",
    keys: &[
        key(
            "body",
            Shape::Text,
            Absent::Nothing,
            "What is answered; `{reason}` in it becomes the reason's word.",
        ),
        key(
            "file",
            Shape::Text,
            Absent::Nothing,
            "A file that holds it, read when the configuration is; a relative name begins beside this file.",
        ),
        key(
            "content_type",
            Shape::Text,
            Absent::No("by the file's name; a text is plain"),
            "The media type.",
        ),
    ],
    one_of: &["body", "file"],
};

const fn page(status: &'static str) -> Key {
    key(
        status,
        Shape::Short(Some("body"), &PAGE),
        Absent::No("a line with the status and the reason's word"),
        "What this status is answered with.",
    )
}
