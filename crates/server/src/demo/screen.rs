//! Owns the terminal while the demo draws on it, and gives it back on every way out: the end, an interrupt, a panic.

use std::io::{self, IsTerminal, Write};

use super::view::Line;

/// Another screen, no cursor, no wrapping.
const TAKE: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";

/// What it was before.
const GIVE_BACK: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Columns and rows.
pub(crate) type Size = (usize, usize);

/// Where the demo draws.
pub(crate) struct Screen<W: Write> {
    out: W,
    /// None: as the terminal says, each time.
    fixed: Option<Size>,
    colours: bool,
}

impl Screen<io::Stdout> {
    /// The terminal that standard output is, or one of a size that was said. None: lines are wanted.
    pub(crate) fn take(fixed: Option<Size>) -> Option<Self> {
        let out = io::stdout();
        let dumb = environment("TERM").is_some_and(|term| term == "dumb");
        if fixed.is_none() && (!out.is_terminal() || dumb) {
            return None;
        }
        if out.is_terminal() {
            // What a panic says is to be read; without the hook it would go with the other screen.
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                let _ = io::stdout().write_all(GIVE_BACK.as_bytes());
                before(panic);
            }));
        }
        let colours = environment("NO_COLOR").is_none_or(|value| value.is_empty());
        Some(Self::on(out, fixed, colours))
    }
}

impl<W: Write> Screen<W> {
    fn on(mut out: W, fixed: Option<Size>, colours: bool) -> Self {
        let _ = out.write_all(TAKE.as_bytes());
        Self {
            out,
            fixed,
            colours,
        }
    }

    /// How large it is now.
    pub(crate) fn size(&self) -> Size {
        const USUAL: Size = (80, 24);
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => USUAL,
        }
    }

    /// Replaces what is there, for this size. A terminal that has gone is no error: its end comes as a signal.
    pub(crate) fn draw(&mut self, lines: &[Line], (columns, rows): Size) {
        let mut text = String::from("\x1b[H");
        for (at, line) in lines.iter().take(rows).enumerate() {
            if at > 0 {
                text.push_str("\r\n");
            }
            line.write(&mut text, columns, self.colours);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        let _ = self.out.write_all(GIVE_BACK.as_bytes());
        let _ = self.out.flush();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the process reads its environment"
)]
fn environment(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_gives_the_terminal_back() {
        let mut out = Vec::new();
        let drawn = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut screen = Screen::on(&mut out, Some((20, 2)), false);
            let lines = ["one", "two", "three"].map(Line::plain);
            screen.draw(&lines, screen.size());
            panic!("as a test wants it");
        }));
        assert!(drawn.is_err());
        let said = String::from_utf8(out).unwrap();
        let body = said
            .strip_prefix(TAKE)
            .and_then(|rest| rest.strip_suffix(GIVE_BACK));
        assert_eq!(body, Some("\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J"));
    }
}
