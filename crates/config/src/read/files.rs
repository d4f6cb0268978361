//! Owns the files that a configuration names: where their names begin, and what they hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Reading;
use crate::tree::Node;

/// What the files hold that a configuration names, or why one could not be read.
pub type Files = BTreeMap<PathBuf, Result<Vec<u8>, String>>;

/// Asked for what one file holds. It opens it; nothing here does.
pub(crate) type Ask = Box<dyn Fn(&Path) -> Result<Vec<u8>, String>>;

/// Why a file is missing that nobody brought.
pub(crate) const UNREAD: &str = "it was not read";

/// What a file holds, or why it cannot be read.
pub(super) type Content = Result<Rc<[u8]>, String>;

impl Reading {
    /// Where a text stands: relative names in it begin there.
    pub(crate) fn folder(&self, node: &Node) -> &Path {
        let folder = self.folders.get(node.at.file);
        folder.map_or(Path::new(""), |path| path)
    }

    /// Whether this stands in what is changed beside the configuration, not in one of its texts.
    pub(crate) fn is_beside(&self, node: &Node) -> bool {
        node.at.file >= self.folders.len() && !self.folders.is_empty()
    }

    /// Name and content of a file that is named here; a relative name begins where the text stands.
    pub(crate) fn file(&self, node: &Node) -> Option<(PathBuf, Rc<[u8]>)> {
        let text = self.text(node)?;
        if self.is_beside(node) {
            let message = "what is changed beside the configuration names no file: whoever may change it need not be who may read this machine's files";
            self.error(node.at, "file", message);
            return None;
        }
        let folder = self.folder(node);
        let path = folder.join(text.value());
        let mut files = self.files.borrow_mut();
        let asked = files.entry(path.clone());
        let error = match asked.or_insert_with(|| (self.ask)(&path).map(Rc::from)) {
            Ok(bytes) => return Some((path, bytes.clone())),
            Err(error) => error,
        };
        let shown = folder.join(text.to_string());
        self.error(node.at, "file", format!("{}: {error}", shown.display()));
        None
    }
}
