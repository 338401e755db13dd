//! The one implementation of both adapters.

/// [`LeaseStore`](super::LeaseStore) on a pool of either database. How a transaction that writes begins, and how a row is
/// locked, are each one's own.
///
/// Whoever changes what an account has, or a lease on it, holds the account's row of `funds`; where there is none yet,
/// whoever makes it holds the account's row, as a commit does that changes the account.
macro_rules! lease_store {
    ($store:ty, $database:ty, $pool:ident, $begin:literal, $lock:literal, $share:literal) => {
        #[async_trait::async_trait]
        impl LeaseStore for $store {
            async fn lease(&self, request: &LeaseRequest, now: Timestamp) -> Result<Leased, StoreError> {
                let mut transaction = self.$pool.begin_with($begin).await.map_err(failed)?;
                let account = request.account_id;
                let Pooled { mut funds, stored, next } = match pooled(&mut transaction, account).await? {
                    Found::Pooled(found) => *found,
                    Found::NoAccount => return Ok(Leased::NoAccount),
                    Found::Refolding => return Ok(Leased::Refolding),
                };
                let ghosts = query(leases::FORGET_GHOSTS)
                    .bind(account.0)
                    .bind(request.run_id.0)
                    .bind(request.lease_id.0)
                    .bind(Money(Usd::ZERO));
                ghosts.execute(&mut *transaction).await.map_err(failed)?;
                let (own, others) = open(&mut transaction, account, request.lease_id).await?;
                if own.is_none() && is_over(&mut transaction, request).await? {
                    return Ok(Leased::RunIsOver);
                }
                let (reserved_elsewhere, idle_elsewhere) = leases::sum_up(&others)?;
                let pool = Pool { funds: funds.has, reserved_elsewhere };
                let lease = match renew(&pool, own.as_ref(), request) {
                    Ok(lease) => lease,
                    Err(refused) => return Ok(Leased::Refused(refused, own.map(|lease| lease.seq))),
                };
                if !keep(&mut transaction, request, stored.partition, &lease, now).await? {
                    return Ok(Leased::Refused(Refused::Impossible, None));
                }
                let reserved = reserved_elsewhere.plus(lease.reserved()).ok_or_else(leases::beyond)?;
                funds.short = funds.short.min(reserved.less(funds.has));
                reserve(&mut transaction, account, reserved, funds.short).await?;
                let requests = match &request.requests {
                    Some(share) => renew_share(&mut transaction, request, share, now).await?,
                    None => None,
                };
                transaction.commit().await.map_err(failed)?;
                let balance = stored.state.balance().ok_or_else(leases::beyond)?;
                let mut account = view(stored.partition, &stored.state, balance);
                // As of the last record that is folded, whether it changed the account or not.
                account.version.offset = Offset(u64::try_from(next).unwrap_or(0).saturating_sub(1));
                let (free, account) = (free(&pool, &lease), Box::new(account));
                Ok(Leased::Renewed { lease, free, idle_elsewhere, account, requests })
            }

            async fn end_runs(&self, close: &CloseLeases) -> Result<(), StoreError> {
                if close.run_id == leases::AFTER_ALL {
                    return Ok(());
                }
                let raise = query(leases::RAISE).bind(close.gateway_id.0).bind(close.run_id.0);
                raise.execute(&self.$pool).await.map(drop).map_err(failed)
            }

            async fn partitions_of_runs(&self, close: &CloseLeases) -> Result<Vec<PartitionId>, StoreError> {
                let partitions = query_scalar(leases::PARTITIONS_OF_RUNS).bind(close.gateway_id.0).bind(close.run_id.0);
                let partitions: Vec<i64> = partitions.fetch_all(&self.$pool).await.map_err(failed)?;
                partitions.into_iter().map(read::partition).collect()
            }

            async fn end_leases(
                &self,
                close: &CloseLeases,
                ends: &BTreeMap<PartitionId, Offset>,
            ) -> Result<u64, StoreError> {
                self.end_runs(close).await?;
                let mut ended = 0;
                for (partition, end) in ends {
                    ended += end_in(&self.$pool, close, *partition, *end).await?;
                }
                // Of those partitions that are folded that far, no commit may come for long.
                let accounts = query_scalar(leases::ENDED_ALREADY).bind(close.gateway_id.0);
                let accounts: Vec<Uuid> = accounts.fetch_all(&self.$pool).await.map_err(failed)?;
                for account in accounts.into_iter().map(AccountId) {
                    let mut transaction = self.$pool.begin_with($begin).await.map_err(failed)?;
                    if let Some(funds) = locked(&mut transaction, account).await? {
                        release(&mut transaction, account, funds.has).await?;
                    }
                    transaction.commit().await.map_err(failed)?;
                }
                Ok(ended)
            }

            async fn floor(&self, ends: &[(PartitionId, Offset)]) -> Result<(), StoreError> {
                for (partition, end) in ends {
                    let floor = query(leases::FLOOR_OF_NEW).bind(i64::from(partition.0)).bind(signed(*end));
                    floor.execute(&self.$pool).await.map_err(failed)?;
                }
                Ok(())
            }

            async fn refolding(&self) -> Result<Option<PartitionId>, StoreError> {
                let first: Option<i64> =
                    query_scalar(leases::REFOLDING).fetch_optional(&self.$pool).await.map_err(failed)?;
                first.map(read::partition).transpose()
            }

            async fn gateways(&self) -> Result<Vec<LeasedGateway>, StoreError> {
                let rows: Vec<GatewayRow> = query_as(leases::GATEWAYS)
                    .bind(GatewayId::LEDGER.0)
                    .fetch_all(&self.$pool)
                    .await
                    .map_err(failed)?;
                GatewayRow::sum_up(&rows)
            }
        }

        const POSITION_LOCKED: &str = concat!("SELECT next_offset FROM positions WHERE partition_no = $1", $lock);

        /// Whose leases end: locked in one order, and before any lease is, as a commit does it.
        const FUNDS_OF_RUNS_LOCKED: &str = concat!(
            "SELECT account_id FROM funds WHERE account_id IN (
                SELECT account_id FROM leases
                WHERE gateway_id = $1 AND run_id < $2 AND partition_no = $3 AND ends_at IS NULL)
            ORDER BY account_id",
            $lock
        );

        const ACCOUNT: &str = "SELECT account_id, partition_no, state FROM accounts WHERE account_id = $1";
        const ACCOUNT_LOCKED: &str =
            concat!("SELECT account_id, partition_no, state FROM accounts WHERE account_id = $1", $lock);
        const FUNDS_LOCKED: &str =
            concat!("SELECT usd, tokens, short_usd, short_tokens FROM funds WHERE account_id = $1", $lock);

        type Connection = <$database as sqlx::Database>::Connection;

        /// What there is to grant from: an account as folded, what it has, its row locked, and its partition's position.
        struct Pooled {
            funds: HeldFunds,
            stored: StoredAccount,
            next: i64,
        }

        enum Found {
            Pooled(Box<Pooled>),
            NoAccount,
            Refolding,
        }

        /// Finds it, and locks what an account has.
        async fn pooled(connection: &mut Connection, account: AccountId) -> Result<Found, StoreError> {
            let Some(funds) = locked(connection, account).await? else {
                // Whether it is there is not known before all is folded again.
                let refolding: Option<i64> =
                    query_scalar(leases::REFOLDING).fetch_optional(&mut *connection).await.map_err(failed)?;
                return Ok(refolding.map_or(Found::NoAccount, |_| Found::Refolding));
            };
            let row: Option<AccountRow> =
                query_as(ACCOUNT).bind(account.0).fetch_optional(&mut *connection).await.map_err(failed)?;
            let Some(stored) = row.map(|row| row.read()).transpose()? else { return Ok(Found::Refolding) };
            let next = position(connection, leases::POSITION, stored.partition).await?;
            if next < position(connection, leases::FLOOR, stored.partition).await? {
                return Ok(Found::Refolding);
            }
            Ok(Found::Pooled(Box::new(Pooled { funds, stored, next })))
        }

        /// What an account has, its row locked; none where there is no account.
        async fn locked(connection: &mut Connection, account: AccountId) -> Result<Option<HeldFunds>, StoreError> {
            let funds = query_as(FUNDS_LOCKED).bind(account.0);
            let funds: Option<FundsRow> = funds.fetch_optional(&mut *connection).await.map_err(failed)?;
            if let Some(row) = funds {
                return row.read().map(Some);
            }
            let stored: Option<AccountRow> =
                query_as(ACCOUNT_LOCKED).bind(account.0).fetch_optional(&mut *connection).await.map_err(failed)?;
            let Some(stored) = stored else { return Ok(None) };
            let has = leases::has(&stored.read()?.state)?;
            let insert = query(leases::NO_FUNDS)
                .bind(account.0)
                .bind(Money(has.usd))
                .bind(leases::tokens(has.plan_tokens))
                .bind(Money(Usd::ZERO));
            insert.execute(&mut *connection).await.map_err(failed)?;
            let funds = query_as(FUNDS_LOCKED).bind(account.0);
            let row: FundsRow = funds.fetch_one(&mut *connection).await.map_err(failed)?;
            row.read().map(Some)
        }

        /// Lets leases end in one partition. A commit there that is under way does not see that, and no other one may come:
        /// it is over when the position is locked, and what it folded is known to whoever asks next.
        async fn end_in(
            pool: &sqlx::Pool<$database>,
            close: &CloseLeases,
            partition: PartitionId,
            end: Offset,
        ) -> Result<u64, StoreError> {
            let mut transaction = pool.begin_with($begin).await.map_err(failed)?;
            let position = query_scalar(POSITION_LOCKED).bind(i64::from(partition.0));
            let position: Option<i64> = position.fetch_optional(&mut *transaction).await.map_err(failed)?;
            if position.is_none() {
                query(POSITIONS_LOCKED).execute(&mut *transaction).await.map_err(failed)?;
            }
            let of_runs =
                |statement| query(statement).bind(close.gateway_id.0).bind(close.run_id.0).bind(i64::from(partition.0));
            of_runs(FUNDS_OF_RUNS_LOCKED).execute(&mut *transaction).await.map_err(failed)?;
            let ended = of_runs(leases::END).bind(signed(end)).execute(&mut *transaction).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            Ok(ended.rows_affected())
        }

        async fn position(
            connection: &mut Connection,
            statement: &'static str,
            partition: PartitionId,
        ) -> Result<i64, StoreError> {
            let position = query_scalar(statement).bind(i64::from(partition.0));
            let position: Option<i64> = position.fetch_optional(connection).await.map_err(failed)?;
            Ok(position.unwrap_or(0))
        }

        /// The lease with this id, and all others of the account.
        async fn open(
            connection: &mut Connection,
            account: AccountId,
            id: LeaseId,
        ) -> Result<(Option<Lease>, Vec<Lease>), StoreError> {
            let rows: Vec<LeaseRow> =
                query_as(leases::LEASES).bind(account.0).fetch_all(connection).await.map_err(failed)?;
            let (mut own, mut others) = (None, Vec::new());
            for row in &rows {
                match row.read()? {
                    (lease_id, lease) if lease_id == id => own = Some(lease),
                    (_, lease) => others.push(lease),
                }
            }
            Ok((own, others))
        }

        const EARLIEST_LOCKED: &str = concat!("SELECT earliest FROM gateway_runs WHERE gateway_id = $1", $share);

        /// Whether a gateway's run is one before those that may still open leases; until the transaction's end nobody says
        /// that it is.
        async fn is_over(connection: &mut Connection, request: &LeaseRequest) -> Result<bool, StoreError> {
            let meet = query(leases::MEET).bind(request.gateway_id.0).bind(Uuid::nil());
            meet.execute(&mut *connection).await.map_err(failed)?;
            let earliest = query_scalar(EARLIEST_LOCKED).bind(request.gateway_id.0);
            let earliest: Uuid = earliest.fetch_one(connection).await.map_err(failed)?;
            Ok(request.run_id.0 < earliest)
        }

        /// Whether the lease could be kept: not where its id is of another account's.
        async fn keep(
            connection: &mut Connection,
            request: &LeaseRequest,
            partition: PartitionId,
            lease: &Lease,
            now: Timestamp,
        ) -> Result<bool, StoreError> {
            if lease.is_done() {
                let forget = query(leases::FORGET).bind(request.lease_id.0).bind(request.account_id.0);
                return forget.execute(connection).await.map(|_| true).map_err(failed);
            }
            let upsert = query(leases::UPSERT)
                .bind(request.lease_id.0)
                .bind(request.account_id.0)
                .bind(i64::from(partition.0))
                .bind(request.gateway_id.0)
                .bind(request.run_id.0)
                .bind(leases::tokens(lease.seq))
                .bind(Money(lease.granted.usd))
                .bind(leases::tokens(lease.granted.plan_tokens))
                .bind(Money(lease.spent.usd))
                .bind(leases::tokens(lease.spent.plan_tokens))
                .bind(Money(lease.posted.usd))
                .bind(leases::tokens(lease.posted.plan_tokens))
                .bind(lease.closed)
                .bind(now.as_micros());
            upsert.execute(connection).await.map(|done| done.rows_affected() == 1).map_err(failed)
        }

        /// Decides on a gateway's share of the account's requests. Whoever reads and writes it holds the account's funds.
        async fn renew_share(
            connection: &mut Connection,
            request: &LeaseRequest,
            share: &ShareRequest,
            now: Timestamp,
        ) -> Result<Option<ShareGrant>, StoreError> {
            let account = request.account_id.0;
            let stored = query_scalar(leases::SHARES).bind(account);
            let stored: Option<String> = stored.fetch_optional(&mut *connection).await.map_err(failed)?;
            let mut shares = match stored {
                Some(document) => RequestShares::from_document(&document)
                    .map_err(|error| read::unreadable("the shares of requests", error))?,
                None => RequestShares::default(),
            };
            let Some(grant) = shares.renew(now, request.gateway_id, request.run_id, share) else { return Ok(None) };
            if shares.is_empty() {
                let forget = query(leases::FORGET_SHARES).bind(account);
                forget.execute(connection).await.map_err(failed)?;
                return Ok(Some(grant));
            }
            let document = shares.to_document().map_err(|error| read::unreadable("the shares of requests", error))?;
            let upsert = query(leases::UPSERT_SHARES).bind(account).bind(document);
            upsert.execute(connection).await.map_err(failed)?;
            Ok(Some(grant))
        }

        async fn reserve(
            connection: &mut Connection,
            account: AccountId,
            reserved: Funds,
            short: Funds,
        ) -> Result<(), StoreError> {
            let reserve = query(leases::RESERVE)
                .bind(account.0)
                .bind(Money(reserved.usd))
                .bind(leases::tokens(reserved.plan_tokens))
                .bind(Money(short.usd))
                .bind(leases::tokens(short.plan_tokens));
            reserve.execute(connection).await.map(drop).map_err(failed)
        }

        /// Drops the leases that nothing can post on any more, and reserves what the others need.
        async fn release(connection: &mut Connection, account: AccountId, has: Funds) -> Result<(), StoreError> {
            query(leases::FORGET_DONE).bind(account.0).execute(&mut *connection).await.map_err(failed)?;
            let (_, left) = open(connection, account, LeaseId(Uuid::nil())).await?;
            let (reserved, _) = leases::sum_up(&left)?;
            reserve(connection, account, reserved, reserved.less(has)).await
        }
    };
}

pub(in crate::store) use lease_store;
