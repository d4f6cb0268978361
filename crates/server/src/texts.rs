//! Owns what the control plane is given to read configurations with: the command line's files, the environment, and what checks them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evenkeel_config::edits::{Change, Edits, Ground};
use evenkeel_config::effective::{Kind, Origin};
use evenkeel_config::limits::FILE_BYTES;
use evenkeel_config::{Plan, Source};
use evenkeel_control::texts::{Read, Texts, Value};

use crate::inputs::{self, Arguments, composed, environment};

/// Reads what the command line names.
pub(crate) struct Reader(pub(crate) Arguments);

impl Texts for Reader {
    fn read(&self) -> Result<Vec<Source>, String> {
        self.0.sources()
    }

    fn compose(
        &self,
        ground: &Ground,
        edits: &Edits,
        change: Option<&Change>,
        known: Option<&Plan>,
    ) -> Read {
        let composed = composed(ground, edits, change, files(known));
        Read {
            sources: match composed.loaded.problems.is_empty() {
                true => Vec::new(),
                false => composed.sources(),
            },
            plan: composed.loaded.plan,
            problems: composed.loaded.problems,
            edits: composed.edits,
            dropped: composed.dropped,
        }
    }

    fn effective(
        &self,
        texts: &[Source],
        edits: &Edits,
        known: Option<&Plan>,
    ) -> Option<Vec<Value>> {
        let ground = Ground::new(texts.into());
        let composed = composed(&ground, edits, None, files(known));
        let entry = composed.effective(&environment())?;
        let rows = entry.rows().into_iter();
        let value = rows.map(|row| {
            let hidden = matches!(row.leaf.kind, Kind::Veiled);
            let (from, place) = match &row.leaf.origin {
                Origin::Default => ("default", None),
                Origin::Operator(_) => ("operator", None),
                Origin::Text(at, _) if at.file >= texts.len() => ("operator", None),
                Origin::Text(at, names) => {
                    let name = texts.get(at.file).map(|one| one.name.clone());
                    let from = if names.is_empty() {
                        "file"
                    } else {
                        "environment"
                    };
                    (from, name.map(|name| (name, at.line)))
                }
            };
            Value {
                path: row.path,
                shown: (!hidden).then(|| row.leaf.text().to_owned()),
                from,
                place,
            }
        });
        Some(value.collect())
    }
}

/// What files hold: of those that a plan has read already, what it has of them, so that a change takes nothing up that lies half
/// written on the disk; of others what they hold now.
fn files(known: Option<&Plan>) -> impl Fn(&Path) -> Result<Vec<u8>, String> + use<> {
    let known: HashMap<PathBuf, Arc<[u8]>> = known.map_or_else(HashMap::new, |plan| {
        let tokens = plan.admin.tokens.iter().map(|tokens| &tokens.file);
        let all = plan.materials().into_iter().chain(tokens);
        all.map(|one| (one.path.clone(), one.bytes.clone()))
            .collect()
    });
    move |path| match known.get(path) {
        Some(bytes) => Ok(bytes.to_vec()),
        None => inputs::content(path, FILE_BYTES),
    }
}
