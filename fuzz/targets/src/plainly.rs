//! Owns a second reading of heads: split at CR LF, split at the first colon, nothing else. Slow, and plain to see through.

/// The first line and the fields of a head.
pub(crate) struct Plainly<'a> {
    pub(crate) line: &'a [u8],
    pub(crate) fields: Vec<(&'a [u8], &'a [u8])>,
}

pub(crate) fn read(text: &[u8]) -> Plainly<'_> {
    let text = text
        .strip_suffix(b"\r\n\r\n")
        .unwrap_or_else(|| panic!("a head that was taken has no end"));
    let mut lines = lines(text).into_iter();
    let line = lines.next().unwrap_or_default();
    Plainly {
        line,
        fields: lines.map(field).collect(),
    }
}

/// Name and value of one line.
pub(crate) fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line
        .iter()
        .position(|&byte| byte == b':')
        .unwrap_or_else(|| panic!("a line that was taken has no colon: {}", crate::show(line)));
    (&line[..colon], trimmed(&line[colon + 1..]))
}

pub(crate) fn lines(mut text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(end) = text.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&text[..end]);
        text = &text[end + 2..];
    }
    lines.push(text);
    lines
}

fn trimmed(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte));
    let end = value.iter().rposition(|byte| !blank(byte));
    match (start, end) {
        (Some(start), Some(end)) => &value[start..=end],
        _ => &[],
    }
}

impl Plainly<'_> {
    /// The values of all fields of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = |field: &&(&[u8], &[u8])| field.0.eq_ignore_ascii_case(name.as_bytes());
        self.fields
            .iter()
            .filter(named)
            .map(|field| field.1)
            .collect()
    }

    /// The options of `Connection`, in lower case.
    pub(crate) fn connection(&self) -> Vec<Vec<u8>> {
        self.all("connection")
            .iter()
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(|option| trimmed(option).to_ascii_lowercase())
            .filter(|option| !option.is_empty())
            .collect()
    }

    /// Where the body ends by RFC 9112, for a head without doubt about it.
    pub(crate) fn length(&self) -> Length {
        match (
            &self.all("content-length")[..],
            &self.all("transfer-encoding")[..],
        ) {
            ([], []) => Length::Unsaid,
            ([length], []) => Length::Bytes(
                std::str::from_utf8(length)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or_else(|| panic!("a length that was taken is none")),
            ),
            ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Length::Chunks,
            _ => panic!("a head that was taken says two things about its body"),
        }
    }
}

/// What a head says of its body's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Unsaid,
    Bytes(u64),
    Chunks,
}
