//! The world outside, for the services: the clock, and ids.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use schemas::Timestamp;
use uuid::Uuid;

/// The system's clock, to the microsecond.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Time and ids for a gateway.
pub(crate) fn gateway() -> gateway::Context {
    gateway::Context { now: Arc::new(now), new_id: Arc::new(Uuid::now_v7) }
}
