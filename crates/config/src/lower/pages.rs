//! Owns `error_pages:`, of the whole and of a listener.

use std::path::Path;
use std::sync::Arc;

use crate::keys::{PAGE, PAGES};
use crate::limits::{PAGE_BYTES, RESPOND_TYPE};
use crate::plan::{ErrorPage, ErrorPages};
use crate::read::Reading;
use crate::tree::{Node, Value};

/// What stands in a body for the reason's word.
const REASON: &[u8] = b"{reason}";

/// `{ 503: "back soon", 502: { file: 502.html } }`
pub(super) fn read(reading: &Reading, node: &Node) -> Option<ErrorPages> {
    let fields = reading.map(node, &PAGES)?;
    let mut pages = ErrorPages::new();
    for key in PAGES.keys {
        let page = fields.with(key.name, page);
        if let (Some(page), Ok(status)) = (page, key.name.parse()) {
            pages.insert(status, page);
        }
    }
    fields.done();
    Some(pages)
}

fn page(reading: &Reading, node: &Node) -> Option<ErrorPage> {
    let Value::Map(_) = node.value else {
        let text = reading.text(node)?;
        return Some(ErrorPage {
            content_type: RESPOND_TYPE.into(),
            body: body(reading, node, text.value().as_bytes())?,
        });
    };
    let map = reading.map(node, &PAGE)?;
    let given = map.with("content_type", media_type);
    let inline = map.get("body").map(|node| {
        let text = reading.text(node)?;
        Some((RESPOND_TYPE, body(reading, node, text.value().as_bytes())?))
    });
    let file = map.get("file").map(|node| {
        let (path, bytes) = reading.file(node)?;
        Some((type_of(&path), body(reading, node, &bytes)?))
    });
    if inline.is_some() == file.is_some() {
        let message = "a page has one of `body` and `file`";
        reading.error(map.at, "page", message);
    }
    map.done();
    let (usual, body) = inline.or(file)??;
    Some(ErrorPage {
        content_type: given.unwrap_or_else(|| usual.into()),
        body,
    })
}

/// A body, parted where the reason's word is to stand.
fn body(reading: &Reading, node: &Node, bytes: &[u8]) -> Option<Vec<Arc<[u8]>>> {
    if bytes.len() > PAGE_BYTES {
        let most = PAGE_BYTES / 1024;
        reading.error(node.at, "range", format!("a page has at most {most} KiB"));
        return None;
    }
    let mut pieces = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(REASON) {
            pieces.push(bytes[begin..at].into());
            at += REASON.len();
            begin = at;
        } else {
            at += 1;
        }
    }
    pieces.push(bytes[begin..].into());
    Some(pieces)
}

/// The media type that the name of a file tells.
fn type_of(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        _ => RESPOND_TYPE,
    }
}

/// A media type that can stand in a field.
pub(super) fn media_type(reading: &Reading, node: &Node) -> Option<Arc<str>> {
    reading.parsed(node, "value", |text| {
        let text = text.value();
        let sound = !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if sound {
            Ok(Arc::from(text))
        } else {
            Err("a media type is plain ASCII".into())
        }
    })
}
