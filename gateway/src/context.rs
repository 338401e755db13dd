//! Time and ids, handed in: nothing below reads a clock or a random source by itself.

use std::fmt;
use std::sync::Arc;

use schemas::Timestamp;
use uuid::Uuid;

/// Where time and fresh ids come from.
#[derive(Clone)]
pub struct Context {
    /// The wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// A fresh `UUIDv7`.
    pub new_id: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

impl Context {
    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(crate) fn new_id(&self) -> Uuid {
        (self.new_id)()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}
