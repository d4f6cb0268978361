//! What `cargo xtask reasons` prints into `docs/reasons.md`.
#![expect(clippy::print_stdout, reason = "the page is its output")]

mod table;

fn main() {
    print!("{}", table::page());
}
