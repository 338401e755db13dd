//! What the ledger asks of its database about invoices. The statements are the same for both adapters.

use accounting::IssuedInvoice;
use async_trait::async_trait;
use schemas::api::{InvoiceHead, InvoicesQuery};
use schemas::event::InvoiceIssuedV1;
use schemas::{AccountId, EventId, Month, Offset, PartitionId, Position, Timestamp};
use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;
use super::read::{offset, partition, signed, unreadable};
use super::snapshot::Unreadable;

/// An invoice that an event issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvoiceRow {
    /// The event.
    pub event_id: EventId,
    /// The event's place, in the operator's partition.
    pub position: Position,
    /// When it happened.
    pub issued_at: Timestamp,
    /// What it covers, with its number.
    pub invoice: IssuedInvoice,
}

impl InvoiceRow {
    /// What its reader sees of it.
    pub fn head(&self) -> InvoiceHead {
        let IssuedInvoice { number, event } = self.invoice;
        InvoiceHead {
            number,
            event_id: self.event_id,
            account_id: event.account_id,
            month: event.month,
            issued_at: self.issued_at,
            after: event.after,
            through: Position { partition: event.partition, offset: event.through },
        }
    }
}

/// Where an account's invoices have got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invoiced {
    /// The account.
    pub account_id: AccountId,
    /// The partition that holds its records.
    pub partition: PartitionId,
    /// The end and the month of its last invoice; none where it has none.
    pub last: Option<(Offset, Month)>,
    /// When its first entry after that happened; none where there is no such entry.
    pub open_since: Option<Timestamp>,
}

/// Invoices, and cuts of statements.
#[async_trait]
pub trait InvoiceStore {
    /// Where the invoices of accounts have got to: in the order of accounts' ids, after `after`, at most `limit`.
    async fn invoiced(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Invoiced>, StoreError>;

    /// An account's last entry before its first one that happened at `time` or later, of its entries after `after`; none
    /// where no entry is before that.
    async fn cut(
        &self,
        account: AccountId,
        after: Option<Offset>,
        time: Timestamp,
    ) -> Result<Option<Offset>, StoreError>;

    /// The invoice with this number.
    async fn invoice(&self, number: u64) -> Result<Option<InvoiceRow>, StoreError>;

    /// Invoices by number.
    async fn invoices(&self, query: &InvoicesQuery) -> Result<Vec<InvoiceRow>, StoreError>;
}

/// The subqueries of the first part find one row each by index, and so does the one after it.
pub(super) const INVOICED: &str = "\
    WITH page AS (
        SELECT a.account_id, a.partition_no,
            (SELECT max(i.through_offset) FROM invoices i WHERE i.account_id = a.account_id) AS through_offset,
            (SELECT max(i.month) FROM invoices i WHERE i.account_id = a.account_id) AS month
        FROM accounts a WHERE a.account_id >= $1 ORDER BY a.account_id LIMIT $2)
    SELECT page.account_id, page.partition_no, page.through_offset, page.month, (
        SELECT p.event_time FROM postings p
        WHERE p.account_id = page.account_id AND p.detail IS NOT NULL AND p.log_offset > coalesce(page.through_offset, -1)
        ORDER BY p.log_offset LIMIT 1) AS open_since
    FROM page ORDER BY page.account_id";

pub(super) const CUT: &str = "\
    SELECT log_offset FROM postings
    WHERE account_id = $1 AND detail IS NOT NULL AND log_offset > $2 AND log_offset < coalesce((
        SELECT p.log_offset FROM postings p
        WHERE p.account_id = $1 AND p.detail IS NOT NULL AND p.log_offset > $2 AND p.event_time >= $3
        ORDER BY p.log_offset LIMIT 1), 9223372036854775807)
    ORDER BY log_offset DESC LIMIT 1";

pub(super) const INVOICE: &str = "\
    SELECT number, event_id, account_id, month, account_partition, after_offset, through_offset, issued_at, partition_no,
        log_offset
    FROM invoices WHERE number = $1";

pub(super) const INVOICES: &str = "\
    SELECT number, event_id, account_id, month, account_partition, after_offset, through_offset, issued_at, partition_no,
        log_offset
    FROM invoices WHERE number > $1 ORDER BY number LIMIT $2";

pub(super) const INVOICES_OF_ACCOUNT: &str = "\
    SELECT number, event_id, account_id, month, account_partition, after_offset, through_offset, issued_at, partition_no,
        log_offset
    FROM invoices WHERE number > $1 AND account_id = $3 ORDER BY number LIMIT $2";

/// Those of a range of the operator's partition, for an audit.
pub(super) const AUDITED: &str = "\
    SELECT number, event_id, account_id, month, account_partition, after_offset, through_offset, issued_at, partition_no,
        log_offset
    FROM invoices WHERE partition_no = $1 AND log_offset >= $2 AND log_offset < $3 ORDER BY log_offset, number";

/// A row of `invoices`.
#[derive(FromRow)]
pub(super) struct InvoiceColumns {
    number: i64,
    event_id: Uuid,
    account_id: Uuid,
    month: String,
    account_partition: i64,
    after_offset: Option<i64>,
    through_offset: i64,
    issued_at: i64,
    partition_no: i64,
    log_offset: i64,
}

/// A row of [`INVOICED`].
#[derive(FromRow)]
pub(super) struct InvoicedColumns {
    account_id: Uuid,
    partition_no: i64,
    through_offset: Option<i64>,
    month: Option<String>,
    open_since: Option<i64>,
}

/// An invoice's number as databases keep it: it counts invoices, and stays far from a signed integer's end.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The least id after an account's; none after the greatest. A page that begins at an id is found by index, which one that
/// may begin anywhere is not.
pub(super) fn first_after(after: Option<AccountId>) -> Option<Uuid> {
    let first = after.map_or(Some(0), |after| after.0.as_u128().checked_add(1))?;
    Some(Uuid::from_u128(first))
}

/// The place after which a range begins, as databases look for it.
pub(super) fn after(after: Option<Offset>) -> i64 {
    after.map_or(-1, signed)
}

fn month(text: &str) -> Result<Month, StoreError> {
    text.parse().map_err(|error| unreadable("invoices.month", error))
}

impl InvoiceColumns {
    pub(super) fn read(&self) -> Result<InvoiceRow, StoreError> {
        let event = InvoiceIssuedV1 {
            account_id: AccountId(self.account_id),
            month: month(&self.month)?,
            partition: partition(self.account_partition)?,
            after: self.after_offset.map(offset).transpose()?,
            through: offset(self.through_offset)?,
        };
        let number = u64::try_from(self.number).map_err(|error| unreadable("invoices.number", error))?;
        Ok(InvoiceRow {
            event_id: EventId(self.event_id),
            position: Position { partition: partition(self.partition_no)?, offset: offset(self.log_offset)? },
            issued_at: Timestamp::from_micros(self.issued_at),
            invoice: IssuedInvoice { number, event },
        })
    }

    /// The same for an audit, which goes on where a row means nothing.
    pub(super) fn audited(&self) -> Result<InvoiceRow, Unreadable> {
        self.read().map_err(|error| {
            let place = (partition(self.partition_no), offset(self.log_offset));
            let position = match place {
                (Ok(partition), Ok(offset)) => Some(Position { partition, offset }),
                _ => None,
            };
            let account = Some(AccountId(self.account_id));
            Unreadable { table: "invoices", position, account, why: format!("number {}: {error}", self.number) }
        })
    }
}

impl InvoicedColumns {
    pub(super) fn read(&self) -> Result<Invoiced, StoreError> {
        let last = match (self.through_offset, &self.month) {
            (Some(through), Some(last)) => Some((offset(through)?, month(last)?)),
            _ => None,
        };
        Ok(Invoiced {
            account_id: AccountId(self.account_id),
            partition: partition(self.partition_no)?,
            last,
            open_since: self.open_since.map(Timestamp::from_micros),
        })
    }
}

/// [`InvoiceStore`] on a pool of either database; only the pool differs.
macro_rules! invoice_store {
    ($store:ty, $pool:ident) => {
        #[async_trait::async_trait]
        impl InvoiceStore for $store {
            async fn invoiced(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Invoiced>, StoreError> {
                let Some(first) = invoices::first_after(after) else { return Ok(Vec::new()) };
                let page = query_as(INVOICED).bind(first).bind(i64::from(limit));
                let rows: Vec<InvoicedColumns> = page.fetch_all(&self.$pool).await.map_err(failed)?;
                rows.iter().map(InvoicedColumns::read).collect()
            }

            async fn cut(
                &self,
                account: AccountId,
                after: Option<Offset>,
                time: Timestamp,
            ) -> Result<Option<Offset>, StoreError> {
                let cut = query_scalar(CUT).bind(account.0).bind(invoices::after(after)).bind(time.as_micros());
                let cut: Option<i64> = cut.fetch_optional(&self.$pool).await.map_err(failed)?;
                cut.map(read::offset).transpose()
            }

            async fn invoice(&self, number: u64) -> Result<Option<InvoiceRow>, StoreError> {
                let invoice = query_as(INVOICE).bind(invoices::number(number));
                let row: Option<InvoiceColumns> = invoice.fetch_optional(&self.$pool).await.map_err(failed)?;
                row.as_ref().map(InvoiceColumns::read).transpose()
            }

            async fn invoices(&self, query: &InvoicesQuery) -> Result<Vec<InvoiceRow>, StoreError> {
                let after = invoices::number(query.after.unwrap_or(0));
                let statement = if query.account_id.is_some() { INVOICES_OF_ACCOUNT } else { INVOICES };
                let mut page = query_as(statement).bind(after).bind(i64::from(query.limit));
                if let Some(account) = query.account_id {
                    page = page.bind(account.0);
                }
                let rows: Vec<InvoiceColumns> = page.fetch_all(&self.$pool).await.map_err(failed)?;
                rows.iter().map(InvoiceColumns::read).collect()
            }
        }
    };
}

pub(super) use invoice_store;

pub(super) fn failed(error: sqlx::Error) -> StoreError {
    StoreError::unavailable("read invoices", error)
}
