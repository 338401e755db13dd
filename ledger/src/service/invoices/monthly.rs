//! The monthly trigger.

use std::time::Duration;

use schemas::Month;
use schemas::api::IssueInvoices;
use tokio::time::sleep;
use tracing::{info, warn};

use super::due;
use crate::service::{Ledger, LedgerError};

/// Between two looks at the calendar, and before what failed is tried again.
const CHECK_EVERY: Duration = Duration::from_mins(1);

/// Issues each month's invoices when it is over, and at the start whatever is due already. Never ends; it may be dropped
/// at any moment, and several may run at once.
pub async fn monthly(ledger: &Ledger) {
    let mut done: Option<Month> = None;
    loop {
        if let Some(over) = due::last_over(ledger.parts.outside.now()).filter(|over| Some(*over) > done) {
            match issue_all(ledger, over).await {
                Ok(issued) => {
                    info!(through = %over, issued, "invoices are issued");
                    done = Some(over);
                }
                Err(error) => warn!(through = %over, %error, "invoices could not be issued; trying again"),
            }
        }
        sleep(CHECK_EVERY).await;
    }
}

async fn issue_all(ledger: &Ledger, through: Month) -> Result<u64, LedgerError> {
    let (mut issued, mut after) = (0, None);
    loop {
        let page = ledger.issue_invoices(IssueInvoices { through, after }).await?;
        issued += page.issued;
        after = page.next;
        if after.is_none() {
            return Ok(issued);
        }
    }
}
