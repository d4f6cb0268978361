//! Owns `drain:`.

use crate::keys::DRAIN;
use crate::plan::DrainPlan;
use crate::read::Reading;
use crate::tree::{Node, Value};

/// `30s`, or `{ within: 30s, delay: 10s }`
pub(super) fn read(reading: &Reading, node: &Node) -> Option<DrainPlan> {
    let mut plan = DrainPlan::default();
    let Value::Map(_) = node.value else {
        plan.within = reading.duration(node)?;
        return Some(plan);
    };
    let fields = reading.map(node, &DRAIN)?;
    fields.set("within", Reading::duration, &mut plan.within);
    fields.set("delay", Reading::duration, &mut plan.delay);
    fields.set("idle", Reading::duration, &mut plan.idle);
    fields.done();
    Some(plan)
}
