//! Invoices, in the embedded store.

use schemas::api::InvoicesQuery;
use schemas::{AccountId, Offset, Timestamp};
use sqlx::{SqliteConnection, query, query_as, query_scalar};

use super::SqliteStore;
use crate::store::invoices::{
    self, CUT, INVOICE, INVOICED, INVOICES, INVOICES_OF_ACCOUNT, InvoiceColumns, InvoiceRow, InvoiceStore, Invoiced,
    InvoicedColumns, failed, invoice_store,
};
use crate::store::read::{self, signed};
use crate::store::{Commit, StoreError};

const INSERT: &str = "\
    INSERT INTO invoices (number, event_id, account_id, month, account_partition, after_offset, through_offset,
        issued_at, partition_no, log_offset)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// The invoices of a batch, in its transaction. There are few: a row at a time will do.
pub(super) async fn write(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), sqlx::Error> {
    for row in &commit.invoices {
        let event = &row.invoice.event;
        let insert = query(INSERT)
            .bind(invoices::number(row.invoice.number))
            .bind(row.event_id.0)
            .bind(event.account_id.0)
            .bind(event.month.to_string())
            .bind(i64::from(event.partition.0))
            .bind(event.after.map(signed))
            .bind(signed(event.through))
            .bind(row.issued_at.as_micros())
            .bind(i64::from(commit.partition.0))
            .bind(signed(row.position.offset));
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

invoice_store!(SqliteStore, readers);
