//! The OpenAPI document in `docs/` is that of the program.
//!
//! `cargo xtask openapi` runs this test with `EVENKEEL_WRITE_OPENAPI` set; then the document is written instead of compared.

use std::path::Path;

#[test]
#[expect(clippy::disallowed_methods, reason = "how a test is told to write")]
fn the_document_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let text = evenkeel_admin::openapi();
    if std::env::var_os("EVENKEEL_WRITE_OPENAPI").is_some() {
        std::fs::write(path, text).unwrap();
        return;
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = stands.lines().zip(text.lines()).find(|(is, be)| is != be);
    assert!(
        stands == text,
        "docs/openapi.json is stale; `cargo xtask openapi` writes it anew. First: {differs:?}"
    );
}
