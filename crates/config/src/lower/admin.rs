//! Owns `admin:`.

use super::address;
use crate::keys::ADMIN;
use crate::limits;
use crate::plan::{AdminPlan, Bind};
use crate::read::Reading;
use crate::tree::Node;

/// `{ bind: 127.0.0.1:9900, metrics: 0.0.0.0:9901 }`
pub(super) fn read(reading: &Reading, node: &Node) -> Option<AdminPlan> {
    let fields = reading.map(node, &ADMIN)?;
    let bind = match fields.get("bind") {
        Some(node) if reading.text(node).is_some_and(|text| text.value() == "off") => None,
        Some(node) => {
            let bind = reading.parsed(node, "address", address::bind);
            if let Some(Bind::Tcp(address)) = &bind
                && !address.ip().is_loopback()
            {
                reading.error(node.at, "admin_open", "the admin address has no access control yet: bind it to 127.0.0.1 or to a Unix socket");
            }
            bind
        }
        None => default().bind,
    };
    let metrics = fields.with("metrics", |reading, node| {
        reading.parsed(node, "address", address::bind)
    });
    fields.done();
    Some(AdminPlan { bind, metrics })
}

/// This machine only.
pub(super) fn default() -> AdminPlan {
    AdminPlan {
        bind: Some(Bind::Tcp(limits::ADMIN)),
        metrics: None,
    }
}
