//! Invoices, in PostgreSQL.

use schemas::api::InvoicesQuery;
use schemas::{AccountId, Offset, Timestamp};
use sqlx::{PgConnection, query, query_as, query_scalar};
use uuid::Uuid;

use super::PostgresStore;
use crate::store::invoices::{
    self, CUT, INVOICE, INVOICED, INVOICES, INVOICES_OF_ACCOUNT, InvoiceColumns, InvoiceRow, InvoiceStore, Invoiced,
    InvoicedColumns, failed, invoice_store,
};
use crate::store::read::{self, signed};
use crate::store::{Commit, StoreError};

const INSERT: &str = "\
    INSERT INTO invoices (partition_no, number, event_id, account_id, month, account_partition, after_offset,
        through_offset, issued_at, log_offset)
    SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
        $9::bigint[], $10::bigint[])";

/// The invoices of a batch, in its transaction.
pub(super) async fn write(connection: &mut PgConnection, commit: &Commit) -> Result<(), sqlx::Error> {
    let rows = &commit.invoices;
    if rows.is_empty() {
        return Ok(());
    }
    let events = || rows.iter().map(|row| &row.invoice.event);
    let insert = query(INSERT)
        .bind(i64::from(commit.partition.0))
        .bind(rows.iter().map(|row| invoices::number(row.invoice.number)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.event_id.0).collect::<Vec<Uuid>>())
        .bind(events().map(|event| event.account_id.0).collect::<Vec<Uuid>>())
        .bind(events().map(|event| event.month.to_string()).collect::<Vec<_>>())
        .bind(events().map(|event| i64::from(event.partition.0)).collect::<Vec<_>>())
        .bind(events().map(|event| event.after.map(signed)).collect::<Vec<_>>())
        .bind(events().map(|event| signed(event.through)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.issued_at.as_micros()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| signed(row.position.offset)).collect::<Vec<_>>());
    insert.execute(connection).await.map(drop)
}

invoice_store!(PostgresStore, pool);
