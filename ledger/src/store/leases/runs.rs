//! The earliest run of each gateway that may still open leases: of those before it, all is known to be in the log.

use schemas::RunId;
use uuid::Uuid;

/// No run: it stands for all that a gateway ever had, where an operator gives up its spool. One that comes back after all may
/// open leases again.
pub const AFTER_ALL: RunId = RunId(Uuid::max());

/// Ids of runs are in their order, and it never goes back.
pub(in crate::store) const RAISE: &str = "\
    INSERT INTO gateway_runs (gateway_id, earliest) VALUES ($1, $2)
    ON CONFLICT (gateway_id) DO UPDATE SET earliest = excluded.earliest
    WHERE gateway_runs.earliest < excluded.earliest";

/// A row to lock: whoever raises it waits for those who open a lease at the same time, and finds what they opened.
pub(in crate::store) const MEET: &str = "\
    INSERT INTO gateway_runs (gateway_id, earliest) VALUES ($1, $2) ON CONFLICT (gateway_id) DO NOTHING";
