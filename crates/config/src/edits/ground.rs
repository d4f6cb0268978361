//! Owns texts that edits are laid over, and trees that were read of texts once: of a thousand backends one changes, and the rest is not
//! read again.

use std::sync::{Arc, OnceLock};

use crate::lower::{self, Parsed};
use crate::problem::Source;
use crate::tree::{Node, Value};

/// A configuration's texts. Their trees are kept from the first change on: whoever changes nothing pays nothing.
#[derive(Debug)]
pub struct Ground {
    sources: Arc<[Source]>,
    parsed: OnceLock<Parsed>,
}

impl Ground {
    /// Of texts that were not read yet.
    #[must_use]
    pub fn new(sources: Arc<[Source]>) -> Self {
        Self {
            sources,
            parsed: OnceLock::new(),
        }
    }

    /// The texts.
    #[must_use]
    pub const fn sources(&self) -> &Arc<[Source]> {
        &self.sources
    }

    /// Their trees, and what kept them from being read. `keep`: the next one is to have them too.
    pub(super) fn trees(&self, keep: bool) -> Parsed {
        match self.parsed.get() {
            Some(parsed) => parsed.clone(),
            None if keep => {
                let read = || lower::parsed(&self.sources);
                self.parsed.get_or_init(read).clone()
            }
            None => lower::parsed(&self.sources),
        }
    }
}

/// What one text came to, if it was read. Two edits are the same whether they were read or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree(Option<Arc<Node>>);

impl PartialEq for Tree {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Tree {}

impl Tree {
    pub(super) fn of(node: Option<Node>) -> Self {
        Self(node.map(Arc::new))
    }

    pub(super) const fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// The same, standing in the text of this number: which one it is changes with what is changed beside it.
    pub(super) fn in_file(&self, file: usize) -> Option<Node> {
        let mut node = Node::clone(self.0.as_ref()?);
        stand(&mut node, file);
        Some(node)
    }
}

fn stand(node: &mut Node, file: usize) {
    node.at.file = file;
    match &mut node.value {
        Value::Scalar { .. } => {}
        Value::List(items) => items.iter_mut().for_each(|item| stand(item, file)),
        Value::Map(entries) => {
            for (key, node) in entries {
                key.at.file = file;
                stand(node, file);
            }
        }
    }
}
