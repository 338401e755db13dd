//! `account.*` events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::PlanTerms;

/// An account was opened. Personal data (the e-mail) is not here: it never enters the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountOpenedV1 {
    /// The plan's terms as they were, so that a replay reads no configuration.
    pub plan: PlanTerms,
}
