//! Owns texts as a tree in which a request's text finds all that it begins, or ends, with in one walk.
//!
//! A node has a label, what stands at its text, and children told apart by their first byte. Nodes lie level by level, so
//! that the children of one are neighbours; those of the back have the same shape, read from the right.

use std::ops::Range;

use super::places::{Beyond, Side};

/// What stands at texts of one side.
pub(super) struct Trie<T> {
    nodes: Box<[Node]>,
    /// For each node, the byte by which it is told from its neighbours; the root has none.
    first_bytes: Box<[u8]>,
    labels: Box<[u8]>,
    values: Box<[(Beyond, T)]>,
}

#[derive(Default)]
struct Node {
    /// What its text has beyond that of the node above and the first byte, as it is written; within the labels.
    label: Range<usize>,
    children: Range<usize>,
    values: Range<usize>,
}

impl<T> Trie<T> {
    /// In time and memory of the order of all texts together.
    pub(super) fn new(side: Side, entries: Vec<(&[u8], Beyond, T)>) -> Self {
        // In the order of reading; written order comes back with the labels.
        let mut entries: Vec<(Vec<u8>, Beyond, T)> = entries
            .into_iter()
            .map(|(text, beyond, value)| match side {
                Side::Front => (text.to_vec(), beyond, value),
                Side::Back => (text.iter().rev().copied().collect(), beyond, value),
            })
            .collect();
        entries.sort_by(|(one, _, _), (other, _, _)| one.cmp(other));
        let (texts, values): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .map(|(text, beyond, value)| (text, (beyond, value)))
            .unzip();

        let mut growing = Growing::default();
        if !texts.is_empty() {
            growing.push(side, &texts, 0..texts.len(), 0);
        }
        let mut at = 0;
        // Not by recursion: texts may lie within texts as deep as they are long.
        while let Some((within, depth)) = growing.open.get(at).cloned() {
            let own = texts[within.clone()].partition_point(|text| text.len() == depth);
            let mut from = within.start + own;
            growing.nodes[at].values = within.start..from;
            let children = growing.nodes.len();
            while from < within.end {
                let byte = texts[from][depth];
                let same = texts[from..within.end].partition_point(|text| text[depth] == byte);
                growing.push(side, &texts, from..from + same, depth);
                from += same;
            }
            growing.nodes[at].children = children..growing.nodes.len();
            at += 1;
        }
        Self {
            nodes: growing.nodes.into(),
            first_bytes: growing.first_bytes.into(),
            labels: growing.labels.into(),
            values: values.into(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter().map(|(_, value)| value)
    }

    /// All that stands at texts with which this one begins, or ends, and beyond which it is as they want.
    #[inline]
    pub(super) fn visit(&self, side: Side, text: &[u8], mut visit: impl FnMut(&T)) {
        let Some(mut node) = self.nodes.first() else {
            return;
        };
        let mut left = text;
        loop {
            let label = &self.labels[node.label.clone()];
            // Most are one byte, which is read already; comparing texts is a call.
            if !label.is_empty() {
                let stripped = match side {
                    Side::Front => left.strip_prefix(label),
                    Side::Back => left.strip_suffix(label),
                };
                let Some(stripped) = stripped else { return };
                left = stripped;
            }
            for (beyond, value) in &self.values[node.values.clone()] {
                if beyond.holds(left) {
                    visit(value);
                }
            }
            if node.children.is_empty() {
                return;
            }
            let next = match side {
                Side::Front => left.split_first(),
                Side::Back => left.split_last(),
            };
            let Some((byte, behind)) = next else { return };
            let children = &self.first_bytes[node.children.clone()];
            let Ok(child) = children.binary_search(byte) else {
                return;
            };
            node = &self.nodes[node.children.start + child];
            left = behind;
        }
    }
}

/// A tree in the making.
#[derive(Default)]
struct Growing {
    nodes: Vec<Node>,
    first_bytes: Vec<u8>,
    labels: Vec<u8>,
    /// For each node, the texts at and below it, and how long its own is.
    open: Vec<(Range<usize>, usize)>,
}

impl Growing {
    /// A node for these texts, which are the same up to `depth` at least; its label is what else they have in common.
    fn push(&mut self, side: Side, texts: &[Vec<u8>], within: Range<usize>, depth: usize) {
        // Sorted: what the first and the last have in common, all have.
        let (first, last) = (&texts[within.start], &texts[within.end - 1]);
        let mut pairs = first.iter().zip(last).skip(depth);
        let to = depth
            + pairs
                .position(|(one, other)| one != other)
                .unwrap_or_else(|| first.len().min(last.len()).saturating_sub(depth));
        let (byte, label) = match first[depth..to].split_first() {
            Some((&byte, label)) if !self.nodes.is_empty() => (byte, label),
            _ => (0, &first[depth..to]),
        };
        let from = self.labels.len();
        match side {
            Side::Front => self.labels.extend(label),
            Side::Back => self.labels.extend(label.iter().rev()),
        }
        self.first_bytes.push(byte);
        self.nodes.push(Node {
            label: from..self.labels.len(),
            ..Node::default()
        });
        self.open.push((within, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(side: Side, texts: &[&'a str], beyond: Beyond, asked: &str) -> Vec<&'a str> {
        let entries = texts.iter().map(|&text| (text.as_bytes(), beyond, text));
        let trie = Trie::new(side, entries.collect());
        let mut found = Vec::new();
        trie.visit(side, asked.as_bytes(), |&text| found.push(text));
        found
    }

    #[test]
    fn all_that_a_text_begins_or_ends_with() {
        let texts = ["", "/a", "/ab", "/abc/d", "/b", "/abc/e"];
        let front = |asked| found(Side::Front, &texts, Beyond::Whatever, asked);
        assert_eq!(front("/abc/d/x"), ["", "/a", "/ab", "/abc/d"]);
        assert_eq!(front("/b"), ["", "/b"]);
        assert_eq!(front("/abc"), ["", "/a", "/ab"]);
        assert_eq!(front(""), [""]);
        assert_eq!(front("x"), [""]);
        let texts = [".b.c", "b.c", "c", "a.b.c", "xb.c"];
        let back = |asked| found(Side::Back, &texts, Beyond::Whatever, asked);
        assert_eq!(back("a.b.c"), ["c", "b.c", ".b.c", "a.b.c"]);
        assert_eq!(back("xb.c"), ["c", "b.c", "xb.c"]);
        assert_eq!(back("d"), [""; 0]);
        assert_eq!(found(Side::Front, &[], Beyond::Whatever, "a"), [""; 0]);
    }

    #[test]
    fn what_stands_beyond() {
        let front = |beyond, asked| !found(Side::Front, &["/a"], beyond, asked).is_empty();
        assert!(front(Beyond::Nothing, "/a") && !front(Beyond::Nothing, "/a/"));
        assert!(front(Beyond::Segments, "/a") && front(Beyond::Segments, "/a/b"));
        assert!(!front(Beyond::Segments, "/ab"));
        assert!(!front(Beyond::Something, "/a") && front(Beyond::Something, "/ab"));
    }

    /// As deep as a program may write them: neither the stack nor the time of building may follow.
    #[test]
    fn texts_within_texts() {
        let texts: Vec<String> = (0..5_000).map(|at| "/a".repeat(at)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let asked = "/a".repeat(6_000);
        assert_eq!(
            found(Side::Front, &texts, Beyond::Whatever, &asked).len(),
            5_000
        );
    }
}
