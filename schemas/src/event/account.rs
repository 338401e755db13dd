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

/// An operator took an account's access to the API away. Its money stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountSuspendedV1 {
    /// For whoever audits; no personal data.
    pub reason: String,
}

/// An operator gave an account its access back, whatever had taken it away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountReinstatedV1 {
    /// For whoever audits; no personal data.
    pub reason: String,
}

/// An account was closed for good: its keys die with it. Credit that is left stays owed to the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountClosedV1 {
    /// For whoever audits; no personal data.
    pub reason: String,
}
