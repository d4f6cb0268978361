//! Owns how long names are looked up, and how long what came of it holds.

use std::time::Duration;

use crate::plan::ResolverPlan;

impl Default for ResolverPlan {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            // A server near by answers in milliseconds; one lost packet costs this.
            timeout: Duration::from_secs(2),
            attempts: 2,
            // Records of 0 s are common with clouds' load balancers, and mean "now", not "always".
            ttl_floor: Duration::from_secs(1),
            // Who moves a name with a TTL of a day is followed all the same.
            ttl_ceiling: Duration::from_secs(300),
        }
    }
}
