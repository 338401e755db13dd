//! The one implementation of both adapters.

/// [`Snapshot`] on a transaction of either database. The statements are the same; how states are loaded, what an amount of
/// a commodity is, and how amounts are summed up are each one's own.
macro_rules! snapshot {
    ($snapshot:ident, $database:ty, $load:path, $amount:path, $sums:path) => {
        pub(super) struct $snapshot(pub(super) sqlx::Transaction<'static, $database>);

        #[async_trait::async_trait]
        impl Snapshot for $snapshot {
            async fn heads(&mut self) -> Result<BTreeMap<PartitionId, Head>, StoreError> {
                let rows: Vec<PartitionHeadRow> = query_as(HEADS).fetch_all(&mut *self.0).await.map_err(failed)?;
                rows.into_iter().map(PartitionHeadRow::read).collect()
            }

            async fn postings(
                &mut self,
                partition: PartitionId,
                from: Offset,
                to: Offset,
            ) -> Result<Vec<StoredPosting>, StoreError> {
                let range =
                    |statement| query_as(statement).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let rows: Vec<PostingRow> = range(POSTINGS).fetch_all(&mut *self.0).await.map_err(failed)?;
                let range =
                    |statement| query_as(statement).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let transfers: Vec<TransferRow> = range(TRANSFERS).fetch_all(&mut *self.0).await.map_err(failed)?;
                snapshot::postings(rows, transfers, $amount)
            }

            async fn quarantined(
                &mut self,
                partition: PartitionId,
                from: Offset,
                to: Offset,
            ) -> Result<Vec<StoredQuarantine>, StoreError> {
                let rows = query_as(QUARANTINED).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let rows: Vec<QuarantineRow> = rows.fetch_all(&mut *self.0).await.map_err(failed)?;
                rows.into_iter().map(QuarantineRow::read).collect()
            }

            async fn invoices(
                &mut self,
                partition: PartitionId,
                from: Offset,
                to: Offset,
            ) -> Result<Vec<InvoiceRow>, StoreError> {
                let rows = query_as(AUDITED).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let rows: Vec<InvoiceColumns> = rows.fetch_all(&mut *self.0).await.map_err(failed)?;
                rows.iter().map(InvoiceColumns::read).collect()
            }

            async fn accounts(&mut self, after: Option<AccountId>, limit: u32) -> Result<Vec<AccountRows>, StoreError> {
                let after = after.map(|id| id.0);
                let page = query_as(ACCOUNTS).bind(after).bind(i64::from(limit));
                let rows: Vec<AccountRow> = page.fetch_all(&mut *self.0).await.map_err(failed)?;
                let last = rows.last().map(|row| row.account_id);
                let states = $load(&mut self.0, &snapshot::ids(&rows)).await?;
                let lots: Vec<LotRow> =
                    query_as(LOTS).bind(after).bind(last).fetch_all(&mut *self.0).await.map_err(failed)?;
                let keys: Vec<KeyRow> =
                    query_as(KEYS).bind(after).bind(last).fetch_all(&mut *self.0).await.map_err(failed)?;
                snapshot::accounts(&rows, states, lots, keys)
            }

            async fn sums(&mut self) -> Result<BTreeMap<SumKey, Sum>, StoreError> {
                $sums(&mut self.0).await
            }

            async fn counts(&mut self) -> Result<BTreeMap<AccountId, Counts>, StoreError> {
                let rows: Vec<CountsRow> = query_as(COUNTS).fetch_all(&mut *self.0).await.map_err(failed)?;
                rows.iter().map(CountsRow::read).collect()
            }

            async fn strays(&mut self) -> Result<Vec<String>, StoreError> {
                let mut strays = Vec::new();
                for (what, statement) in STRAYS {
                    let ids: Vec<uuid::Uuid> =
                        sqlx::query_scalar(statement).fetch_all(&mut *self.0).await.map_err(failed)?;
                    strays.extend(ids.into_iter().map(|id| format!("{what}: {id}")));
                }
                Ok(strays)
            }

            async fn beyond(&mut self) -> Result<Vec<Position>, StoreError> {
                let rows: Vec<PlaceRow> = query_as(BEYOND).fetch_all(&mut *self.0).await.map_err(failed)?;
                rows.iter().map(PlaceRow::read).collect()
            }
        }
    };
}

pub(in crate::store) use snapshot;
