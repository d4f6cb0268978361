//! The page of reasons says what the code says.

#[path = "../examples/reasons/table.rs"]
mod table;

#[test]
fn the_page_of_reasons_is_not_stale() {
    let document = include_str!("../../../docs/reasons.md");
    assert!(
        document == table::page(),
        "docs/reasons.md is stale; `cargo xtask reasons` writes it anew"
    );
}
