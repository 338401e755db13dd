//! What the service takes from the world outside: time and randomness. Tests pass fixed ones.

use std::time::{SystemTime, UNIX_EPOCH};

use schemas::Timestamp;
use uuid::{Builder, Uuid};

/// Time and randomness.
pub trait Outside: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Fills `bytes` with randomness fit for secrets.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Outside for System {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn fill(&self, bytes: &mut [u8]) {
        rand::Rng::fill_bytes(&mut rand::rng(), bytes);
    }
}

/// A fresh `UUIDv7`.
pub(crate) fn fresh_id(outside: &dyn Outside) -> Uuid {
    let mut random = [0; 10];
    outside.fill(&mut random);
    let millis = u64::try_from(outside.now().as_micros() / 1_000).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}
