//! `invoice.*` events. Their subject is the operator's own account, whose stream numbers all invoices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AccountId, EventId, Month, Offset, PartitionId};

/// An invoice was issued. Its number is its place among the operator's; what it says is a function of the log alone: all
/// of the account's postings in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceIssuedV1 {
    /// Whose postings are invoiced.
    pub account_id: AccountId,
    /// The calendar month in UTC that it closes.
    pub month: Month,
    /// The partition that holds the account's records.
    pub partition: PartitionId,
    /// Where the account's invoice before this one ended; absent in its first one. The range begins after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Offset>,
    /// The last record of the range.
    pub through: Offset,
}

impl InvoiceIssuedV1 {
    /// The only id that such an event may have: of the account and of where the range begins. Two invoices of one account
    /// that begin at the same place are one event, whoever issues them, so no posting is invoiced twice.
    pub fn event_id(&self) -> EventId {
        let after = self.after.map_or_else(|| "start".to_owned(), |after| after.to_string());
        EventId(AccountId::OPERATOR.derive(&format!("invoice:{}:after:{after}", self.account_id)))
    }
}
