//! What a batch adds to the hourly rollups.

use std::collections::BTreeMap;

use schemas::{AccountId, KeyId, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{ROWS_PER_STATEMENT, integer, pico};
use crate::Fact;

/// A row's key: account, hour, key and model.
type Key = (AccountId, Timestamp, KeyId, String);

/// The sums of facts that were counted for the first time.
#[derive(Default)]
pub(super) struct Rollup {
    rows: BTreeMap<Key, Added>,
}

/// Requests, then prompt, cached prompt, completion and reasoning tokens.
type Counts = [i64; 5];

#[derive(Default)]
struct Added {
    counts: Counts,
    cost_pico: i128,
}

impl Rollup {
    pub(super) fn add(&mut self, fact: &Fact) -> Result<(), sqlx::Error> {
        let key = (fact.account_id, fact.time.hour(), fact.key_id, fact.model.clone());
        let added = self.rows.entry(key).or_default();
        let tokens = fact.tokens;
        let counts =
            [integer(fact.requests())?, tokens.prompt, tokens.cached_prompt, tokens.completion, tokens.reasoning];
        for (sum, count) in added.counts.iter_mut().zip(counts) {
            *sum = sum.checked_add(count).ok_or_else(|| beyond("tokens"))?;
        }
        added.cost_pico += i128::from(pico(fact)?);
        Ok(())
    }

    pub(super) async fn write(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let mut rows = Vec::with_capacity(self.rows.len());
        for (key, Added { counts, cost_pico }) in self.rows {
            let part = |part| i64::try_from(part).map_err(|_| beyond("costs"));
            rows.push((key, counts, part(cost_pico.div_euclid(1_000_000))?, part(cost_pico.rem_euclid(1_000_000))?));
        }
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            upsert(connection, rows).await?;
        }
        Ok(())
    }
}

async fn upsert(connection: &mut SqliteConnection, rows: &[(Key, Counts, i64, i64)]) -> Result<(), sqlx::Error> {
    let mut upsert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO usage_hours (account_id, hour, key_id, model, requests, prompt_tokens, cached_prompt_tokens, \
         completion_tokens, reasoning_tokens, cost_micro, cost_rest) ",
    );
    upsert.push_values(rows, |mut row, ((account, hour, key, model), counts, cost_micro, cost_rest)| {
        row.push_bind(account.0).push_bind(hour.as_micros()).push_bind(key.0).push_bind(model.clone());
        for count in counts {
            row.push_bind(*count);
        }
        row.push_bind(*cost_micro).push_bind(*cost_rest);
    });
    // A sum beyond 64 bits turns into a float, which a STRICT table's integer column refuses.
    upsert.push(
        " ON CONFLICT (account_id, hour, key_id, model) DO UPDATE SET
            requests = requests + excluded.requests,
            prompt_tokens = prompt_tokens + excluded.prompt_tokens,
            cached_prompt_tokens = cached_prompt_tokens + excluded.cached_prompt_tokens,
            completion_tokens = completion_tokens + excluded.completion_tokens,
            reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
            cost_micro = cost_micro + excluded.cost_micro + (cost_rest + excluded.cost_rest) / 1000000,
            cost_rest = (cost_rest + excluded.cost_rest) % 1000000",
    );
    upsert.build().execute(connection).await.map(drop)
}

fn beyond(what: &str) -> sqlx::Error {
    sqlx::Error::Encode(format!("one batch's {what} are more than 64 bits hold").into())
}
