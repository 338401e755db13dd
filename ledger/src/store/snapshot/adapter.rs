//! The one implementation of both adapters.

/// [`Snapshot`] on a transaction of either database. The statements are the same; what an amount of a commodity is, and how
/// amounts are summed up are each one's own.
macro_rules! snapshot {
    ($snapshot:ident, $database:ty, $amount:path, $sums:path) => {
        pub(super) struct $snapshot {
            transaction: sqlx::Transaction<'static, $database>,
            unreadable: BTreeSet<Unreadable>,
        }

        impl $snapshot {
            pub(super) fn new(transaction: sqlx::Transaction<'static, $database>) -> Self {
                Self { transaction, unreadable: BTreeSet::new() }
            }

            /// What the rows hold, one by one. Of one that holds something else, its place and account are looked for.
            fn decode<T>(
                &mut self,
                table: &'static str,
                partition: Option<PartitionId>,
                rows: &[<$database as sqlx::Database>::Row],
            ) -> Vec<T>
            where
                T: for<'r> sqlx::FromRow<'r, <$database as sqlx::Database>::Row>,
            {
                let decoded = rows.iter().map(|row| {
                    T::from_row(row).map_err(|error| {
                        let offset = row.try_get::<i64, _>("log_offset").ok().and_then(|at| u64::try_from(at).ok());
                        let at = |partition| offset.map(|offset| Position { partition, offset: Offset(offset) });
                        let account = row.try_get::<uuid::Uuid, _>("account_id").ok().map(AccountId);
                        Unreadable { table, position: partition.and_then(at), account, why: error.to_string() }
                    })
                });
                snapshot::keep(decoded, &mut self.unreadable)
            }
        }

        #[async_trait::async_trait]
        impl Snapshot for $snapshot {
            async fn heads(&mut self) -> Result<BTreeMap<PartitionId, Head>, StoreError> {
                let rows = query(HEADS).fetch_all(&mut *self.transaction).await.map_err(failed)?;
                let rows: Vec<PartitionHeadRow> = self.decode("positions", None, &rows);
                let heads = snapshot::keep(rows.into_iter().map(PartitionHeadRow::read), &mut self.unreadable);
                Ok(heads.into_iter().collect())
            }

            async fn postings(
                &mut self,
                partition: PartitionId,
                from: Offset,
                to: Offset,
            ) -> Result<Vec<StoredPosting>, StoreError> {
                let range =
                    |statement| query(statement).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let rows = range(POSTINGS).fetch_all(&mut *self.transaction).await.map_err(failed)?;
                let rows: Vec<PostingRow> = self.decode("postings", Some(partition), &rows);
                let range =
                    |statement| query(statement).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let transfers = range(TRANSFERS).fetch_all(&mut *self.transaction).await.map_err(failed)?;
                let transfers: Vec<TransferRow> = self.decode("transfers", Some(partition), &transfers);
                Ok(snapshot::postings(partition, rows, transfers, $amount, &mut self.unreadable))
            }

            async fn posted(&mut self, event: EventId) -> Result<Option<PostedEvent>, StoreError> {
                let row = sqlx::query_as::<_, PostedEventRow>(POSTED_EVENT).bind(event.0);
                let row = row.fetch_optional(&mut *self.transaction).await.map_err(failed)?;
                row.map(PostedEventRow::read).transpose()
            }

            async fn quarantined(
                &mut self,
                partition: PartitionId,
                from: Offset,
                to: Offset,
            ) -> Result<Vec<StoredQuarantine>, StoreError> {
                let rows = query(QUARANTINED).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let rows = rows.fetch_all(&mut *self.transaction).await.map_err(failed)?;
                let rows: Vec<QuarantineRow> = self.decode("quarantine", Some(partition), &rows);
                rows.into_iter().map(QuarantineRow::read).collect()
            }

            async fn invoices(
                &mut self,
                partition: PartitionId,
                from: Offset,
                to: Offset,
            ) -> Result<Vec<InvoiceRow>, StoreError> {
                let rows = query(AUDITED).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let rows = rows.fetch_all(&mut *self.transaction).await.map_err(failed)?;
                let rows: Vec<InvoiceColumns> = self.decode("invoices", Some(partition), &rows);
                let read = rows.iter().map(InvoiceColumns::audited);
                Ok(snapshot::keep(read, &mut self.unreadable))
            }

            async fn accounts(&mut self, after: Option<AccountId>, limit: u32) -> Result<Vec<AccountRows>, StoreError> {
                let mut from = snapshot::follows(after);
                // A page on which nothing can be read is not the end.
                while let Some(first) = from {
                    let page = query(ACCOUNTS).bind(first).bind(i64::from(limit));
                    let rows = page.fetch_all(&mut *self.transaction).await.map_err(failed)?;
                    let ids = rows.iter().filter_map(|row| row.try_get::<uuid::Uuid, _>("account_id").ok());
                    let Some(last) = ids.last() else { break };
                    let rows: Vec<AccountRow> = self.decode("accounts", None, &rows);
                    let beside = |statement| query(statement).bind(first).bind(last);
                    let lots = beside(LOTS).fetch_all(&mut *self.transaction).await.map_err(failed)?;
                    let lots: Vec<LotRow> = self.decode("lots", None, &lots);
                    let beside = |statement| query(statement).bind(first).bind(last);
                    let keys = beside(KEYS).fetch_all(&mut *self.transaction).await.map_err(failed)?;
                    let keys: Vec<KeyRow> = self.decode("keys", None, &keys);
                    let accounts = snapshot::accounts(&rows, lots, keys, &mut self.unreadable);
                    if !accounts.is_empty() {
                        return Ok(accounts);
                    }
                    from = snapshot::follows(Some(AccountId(last)));
                }
                Ok(Vec::new())
            }

            async fn sums(&mut self) -> Result<BTreeMap<SumKey, Sum>, StoreError> {
                $sums(&mut self.transaction).await
            }

            async fn counts(&mut self) -> Result<BTreeMap<AccountId, Counts>, StoreError> {
                let rows = query(COUNTS).fetch_all(&mut *self.transaction).await.map_err(failed)?;
                let rows: Vec<CountsRow> = self.decode("postings", None, &rows);
                rows.iter().map(CountsRow::read).collect()
            }

            async fn strays(&mut self) -> Result<Vec<String>, StoreError> {
                let mut strays = Vec::new();
                for (what, statement) in STRAYS {
                    let rows = query(statement).fetch_all(&mut *self.transaction).await.map_err(failed)?;
                    let id = |row: &_| {
                        sqlx::Row::try_get::<uuid::Uuid, _>(row, "id")
                            .map_or_else(|_| "its id can't be read".to_owned(), |id| id.to_string())
                    };
                    strays.extend(rows.iter().map(|row| format!("{what}: {}", id(row))));
                }
                Ok(strays)
            }

            async fn beyond(&mut self) -> Result<Vec<Position>, StoreError> {
                let rows: Vec<PlaceRow> =
                    sqlx::query_as(BEYOND).fetch_all(&mut *self.transaction).await.map_err(failed)?;
                Ok(snapshot::keep(rows.iter().map(PlaceRow::read), &mut self.unreadable))
            }

            fn unreadable(&self) -> &BTreeSet<Unreadable> {
                &self.unreadable
            }
        }
    };
}

pub(in crate::store) use snapshot;
