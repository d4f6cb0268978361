//! Owns the lines behind a body: those for its reader, and those that are kept from him.

use crate::load::is_line;

#[derive(Debug, Default)]
pub(super) struct Trailers {
    /// What is told, and behind it what is not.
    lines: Vec<u8>,
    told: usize,
    /// What is said of load is not told.
    pub(super) hides_load: bool,
}

impl Trailers {
    /// Takes what came.
    pub(super) fn take(&mut self, lines: &[u8]) {
        if !self.hides_load {
            self.lines.extend_from_slice(lines);
            self.told = self.lines.len();
            return;
        }
        each(lines, false, &mut self.lines);
        self.told = self.lines.len();
        each(lines, true, &mut self.lines);
    }

    /// The same where they go on among bytes.
    pub(super) fn pass(&mut self, lines: &[u8], into: &mut Vec<u8>) {
        if !self.hides_load {
            return into.extend_from_slice(lines);
        }
        each(lines, false, into);
        each(lines, true, &mut self.lines);
    }

    /// For the reader.
    pub(super) fn told(&self) -> &[u8] {
        &self.lines[..self.told]
    }

    /// All that came, but for what went on among bytes.
    pub(super) fn all(&self) -> &[u8] {
        &self.lines
    }
}

/// Lines that say something of load, or the others.
fn each(lines: &[u8], of_load: bool, into: &mut Vec<u8>) {
    let all = lines.split_inclusive(|&byte| byte == b'\n');
    all.filter(|line| is_line(line) == of_load)
        .for_each(|line| into.extend_from_slice(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[u8] =
        b"a: b\r\nEndpoint-Load-Metrics: x\r\ngrpc-status: 0\r\nendpoint-load-metrics-bin: y\r\n";

    #[test]
    fn who_is_told_what() {
        for (hides_load, told) in [(false, LINES), (true, b"a: b\r\ngrpc-status: 0\r\n")] {
            let mut taken = Trailers {
                hides_load,
                ..Trailers::default()
            };
            taken.take(LINES);
            assert_eq!(taken.told(), told);
            assert_eq!(taken.all().len(), LINES.len());
            let (mut passed, mut bytes) = (Trailers::default(), Vec::new());
            passed.hides_load = hides_load;
            passed.pass(&[LINES, b"\r\n"].concat(), &mut bytes);
            assert_eq!(bytes, [told, b"\r\n"].concat());
            assert!(passed.told().is_empty());
            assert_eq!(passed.all().is_empty(), !hides_load);
        }
    }
}
