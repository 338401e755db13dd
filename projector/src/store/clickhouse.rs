//! Usage in `ClickHouse`.
//!
//! `ClickHouse` has no transactions, but an insert of one block into an unpartitioned `MergeTree` is one part, and a part
//! is there or it is not. So everything is in one table, `usage_charges`: the hourly rollups and the position are
//! *projections* of it, which `ClickHouse` keeps inside each part and answers from by itself. No crash can leave an event
//! in a fact and not in its rollup. (A second table of rollups would be a second insert, with a crash window in between;
//! a materialized view is not atomic with its source.)
//!
//! - **Position.** Every row carries its record's place, so the position of record is the highest offset, plus one.
//!   Records without facts do not move it; that they were looked at is remembered in memory, and looking at them again
//!   after a restart is harmless.
//! - **Zombies.** An insert's deduplication token is the position before it, so of several inserts at one position the
//!   first wins, whatever the others hold, and the others see that the position is not where they would have moved it.
//!   `ClickHouse` remembers the last 100,000 tokens, and a projector that was stopped between reading the position and
//!   inserting gives up if that took longer than [`FENCE`], so that a token is not outlived. Token and part are noted under
//!   one lock, so whoever is dropped for a token sees the part of whoever was not.
//! - **Lost tokens.** A server that dies after noting a token and before keeping its part refuses that token for ever. An
//!   insert that was taken and moved nothing is therefore repeated with the next *generation* of the token. Everyone
//!   walks through the generations in the same order, so the first still wins.
//! - **Rebuilds.** Each table has a number of its own, its *epoch*, and every row carries it. An insert that was under way when
//!   the table was dropped and made anew carries the old one, and is refused by the table's own check.
//! - **Repeated events.** Before an insert the batch's event ids are looked up among the facts of earlier records. The
//!   log is immutable and facts before the position are complete, so every projector decides alike.

mod moment;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use clickhouse::sql::Identifier;
use clickhouse::{Client, Compression};
use schemas::api::{Bucket, GroupBy, UsageQuery, UsageRow};
use schemas::{EventId, Offset, PartitionId, config};

use self::rows::{FactRow, Id, StatsRow};
use super::{StoreError, UsageStore, hours, row};
use crate::{Fact, FactBatch, UsageMoment};

/// Each is right to run again. A table of another form is another table, filled from the log's begin: made where it is
/// missing and never changed, so that several projectors that start at once can't disturb each other.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../migrations/clickhouse/0001_usage_charges.sql"),
    include_str!("../../migrations/clickhouse/0002_drop_usage_facts.sql"),
    include_str!("../../migrations/clickhouse/0003_epoch.sql"),
];

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The longest time from reading a position to an insert there.
const FENCE: Duration = Duration::from_mins(1);
/// Tokens tried at one position. Each but the first means that the server died within an insert there.
const GENERATIONS: u32 = 16;
/// Event ids looked up at once: about 100 kB of SQL, where the server takes 256 kB.
const IDS_PER_LOOKUP: usize = 2_000;

const SUMS: &str = "sum(requests) AS requests, sum(prompt_tokens) AS prompt, sum(cached_prompt_tokens) AS cached_prompt, \
                    sum(completion_tokens) AS completion, sum(reasoning_tokens) AS reasoning, sum(cost_usd) AS cost";

/// Usage in a `ClickHouse` database.
pub struct ClickHouseStore {
    client: Client,
    database: String,
    looked_at: Mutex<BTreeMap<PartitionId, LookedAt>>,
    /// The table's epoch when a position was last asked for.
    epoch: Mutex<Option<u64>>,
}

/// Records without facts that follow the position of record.
#[derive(Clone, Copy)]
struct LookedAt {
    /// The position of record; where that is another one, this is out of date.
    position: Offset,
    /// The first record not looked at.
    next: Offset,
}

impl ClickHouseStore {
    /// Connects, making the database and its tables where they are missing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the server can't be reached or refuses.
    pub async fn connect(config: &config::ClickHouse) -> Result<Self, StoreError> {
        Self::with_client(Self::client(config), &config.database).await
    }

    /// Connects, and makes and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the server can't be reached or refuses, or has no usage store.
    pub async fn connect_as_is(config: &config::ClickHouse) -> Result<Self, StoreError> {
        let database = config.database.clone();
        let client = Self::client(config);
        let store = Self {
            client: client.with_database(&database),
            database,
            looked_at: Mutex::default(),
            epoch: Mutex::default(),
        };
        let table = "SELECT count() FROM system.tables WHERE database = ? AND name = 'usage_charges'";
        let query = store.client.clone().with_database("system").query(table).bind(&store.database);
        match store.answer(query.fetch_one::<u64>()).await? {
            0 => Err(store.failed(&"has no usage store: start `modelhub projector` once, which makes it")),
            _ => Ok(store),
        }
    }

    fn client(config: &config::ClickHouse) -> Client {
        let mut client = Client::default().with_url(&config.url).with_compression(Compression::None);
        if let Some(user) = &config.user {
            client = client.with_user(user);
        }
        if let Some(password) = &config.password {
            client = client.with_password(password.expose());
        }
        client
    }

    /// As [`connect`](Self::connect), over a client that the caller made: with settings or a transport of its own.
    pub async fn with_client(client: Client, database: &str) -> Result<Self, StoreError> {
        let store = Self {
            client: client.clone().with_database(database),
            database: database.to_owned(),
            looked_at: Mutex::default(),
            epoch: Mutex::default(),
        };
        store.answer(client.query("CREATE DATABASE IF NOT EXISTS ?").bind(Identifier(database)).execute()).await?;
        store.migrate().await?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        // Of several that make the table at once, one does, and its number holds.
        let fresh = self.answer(self.client.query("SELECT rand64()").fetch_one::<u64>()).await?;
        for migration in MIGRATIONS {
            let migration = migration.replace("{epoch}", &fresh.to_string());
            self.answer(self.client.query(&migration).execute()).await?;
        }
        Ok(())
    }

    /// The epoch of the table as it is now; zero where an earlier build made it.
    async fn read_epoch(&self) -> Result<u64, StoreError> {
        let sql = "SELECT toUInt64OrZero(comment) FROM system.tables WHERE database = ? AND name = 'usage_charges'";
        let epoch = self.answer(self.client.query(sql).bind(&self.database).fetch_one::<u64>()).await?;
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner) = Some(epoch);
        Ok(epoch)
    }

    fn known_epoch(&self) -> Option<u64> {
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer<T>(&self, answer: impl Future<Output = clickhouse::error::Result<T>>) -> Result<T, StoreError> {
        self.answer_within(TIMEOUT, answer).await
    }

    async fn answer_within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => Err(self.failed(&format_args!("no answer within {} s", limit.as_secs()))),
        }
    }

    fn failed(&self, reason: &dyn Display) -> StoreError {
        StoreError::Unavailable(format!("the usage store, ClickHouse's database {}: {reason}", self.database))
    }

    /// The position of record.
    async fn held(&self, partition: PartitionId) -> Result<Offset, StoreError> {
        let sql = "SELECT max(log_offset) FROM usage_charges WHERE log_partition = ? GROUP BY log_partition";
        let highest = self.answer(self.client.query(sql).bind(partition.0).fetch_optional::<u64>()).await?;
        Ok(highest.map_or(Offset(0), |highest| Offset(highest).next()))
    }

    fn looked_at(&self) -> MutexGuard<'_, BTreeMap<PartitionId, LookedAt>> {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resume(&self, partition: PartitionId, held: Offset) -> Offset {
        match self.looked_at().get(&partition) {
            Some(looked_at) if looked_at.position == held => looked_at.next,
            _ => held,
        }
    }

    /// The batch's facts that count: the first of each event, unless an earlier record holds it.
    async fn new_facts<'a>(&self, batch: &'a FactBatch) -> Result<Vec<&'a Fact>, StoreError> {
        let ids: BTreeSet<_> = batch.facts.iter().map(|fact| fact.event_id).collect();
        let ids: Vec<_> = ids.into_iter().map(|EventId(id)| id.as_u128()).collect();
        let mut counted = BTreeSet::new();
        for ids in ids.chunks(IDS_PER_LOOKUP) {
            let sql = "SELECT event_id AS id FROM usage_charges \
                       WHERE log_partition = ? AND toUInt128(event_id) IN ? AND log_offset < ?";
            let query = self.client.query(sql).bind(batch.partition.0).bind(ids).bind(batch.from.0);
            counted.extend(self.answer(query.fetch_all::<Id>()).await?.into_iter().map(|found| EventId(found.id)));
        }
        Ok(batch.facts.iter().filter(|fact| counted.insert(fact.event_id)).collect())
    }

    /// Offers an insert. Whether it was taken or dropped for its token, only the position tells.
    async fn offer(
        &self,
        partition: PartitionId,
        epoch: u64,
        facts: &[&Fact],
        token: String,
    ) -> Result<(), StoreError> {
        let insert = async {
            let mut insert = self
                .client
                .insert::<FactRow<'_>>("usage_charges")
                .await?
                // Several blocks would be several parts, and not atomic.
                .with_setting("max_insert_block_size", (facts.len() + 1).to_string())
                .with_setting("async_insert", "0")
                .with_setting("insert_deduplicate", "1")
                .with_setting("insert_deduplication_token", token);
            for fact in facts {
                insert.write(&FactRow::new(partition, epoch, fact)).await?;
            }
            insert.end().await
        };
        self.answer(insert).await
    }

    async fn fetch_stats(&self, query: &UsageQuery) -> Result<Vec<StatsRow>, StoreError> {
        let bucket = match query.bucket {
            Bucket::None => None,
            Bucket::Hour => Some("hour"),
            // Without its type the literal is unsigned, and a time before the epoch goes wrong.
            Bucket::Day => Some("hour - positiveModulo(hour, toInt64(86400000000))"),
        };
        let group = match query.group_by {
            GroupBy::None => None,
            GroupBy::Model => Some("toString(model)"),
            GroupBy::Key => Some("toString(key_id)"),
        };
        let keys: Vec<_> = [bucket.map(|_| "bucket"), group.map(|_| "name")].into_iter().flatten().collect();
        let keys = keys.join(", ");
        let (bucket, group) = (bucket.unwrap_or("toInt64(0)"), group.unwrap_or("''"));
        let by = if keys.is_empty() { String::new() } else { format!("GROUP BY {keys} ORDER BY {keys}") };
        let sql = format!(
            "SELECT {bucket} AS bucket, {group} AS name, {SUMS} FROM usage_charges \
             WHERE account_id = toUUID(?) AND hour >= ? AND hour < ? {by}"
        );
        let (from, to) = hours(query);
        let query = self.client.query(&sql).bind(query.account_id.to_string()).bind(from).bind(to);
        self.answer(query.fetch_all()).await
    }
}

#[async_trait]
impl UsageStore for ClickHouseStore {
    async fn position(&self, partition: PartitionId) -> Result<Offset, StoreError> {
        // The epoch first: a position of a later table is then refused, and never the other way round.
        self.read_epoch().await?;
        Ok(self.resume(partition, self.held(partition).await?))
    }

    async fn insert(&self, batch: FactBatch) -> Result<(), StoreError> {
        let began = Instant::now();
        let epoch = match self.known_epoch() {
            Some(epoch) => epoch,
            None => self.read_epoch().await?,
        };
        let held = self.held(batch.partition).await?;
        if self.resume(batch.partition, held) != batch.from {
            return Err(StoreError::Moved);
        }
        let facts = self.new_facts(&batch).await?;
        let Some(last) = facts.last() else {
            self.looked_at().insert(batch.partition, LookedAt { position: held, next: batch.next });
            return Ok(());
        };
        let moved = last.offset.next();
        for generation in 0..GENERATIONS {
            if began.elapsed() > FENCE {
                let late = format_args!("more than {} s have passed since the position was read", FENCE.as_secs());
                return Err(self.failed(&late));
            }
            self.offer(batch.partition, epoch, &facts, format!("{}:{held}:{generation}", batch.partition)).await?;
            let found = self.held(batch.partition).await?;
            if found == moved {
                self.looked_at().insert(batch.partition, LookedAt { position: found, next: batch.next });
                return Ok(());
            }
            if found != held {
                return Err(StoreError::Moved);
            }
        }
        Err(self.failed(&format_args!(
            "partition {}: {GENERATIONS} inserts at offset {held} were taken and none is there; \
             rebuild the usage store",
            batch.partition
        )))
    }

    async fn stats(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        let found = self.fetch_stats(query).await?;
        found.into_iter().map(|found| row(query, found.bucket, found.name.clone(), &found.sums())).collect()
    }

    async fn reset(&self) -> Result<(), StoreError> {
        // The tokens of its inserts go with the table: the same inserts are to be taken once more.
        self.answer(self.client.query("DROP TABLE IF EXISTS usage_charges").execute()).await?;
        self.looked_at().clear();
        self.migrate().await
    }

    async fn moment(&self) -> Result<UsageMoment, StoreError> {
        moment::read(self).await
    }
}
