//! Questions.

use std::collections::BTreeSet;

use schemas::api::{AccountView, Balance, KeyView, LotView, Refusal, Statement, StatementQuery, TokenLotView};
use schemas::event::KeyHash;
use schemas::{AccountId, Offset, Position, Usd};

use super::{Ledger, LedgerError};
use crate::sink::view;
use crate::store::StoredAccount;

/// The most entries of one page.
const MAX_ENTRIES: u32 = 1_000;

impl Ledger {
    /// The live key with this hash, and its account.
    pub async fn find_key(&self, hash: KeyHash) -> Result<Option<KeyView>, LedgerError> {
        Ok(self.parts.store.key(&hash).await?)
    }

    /// An account as of now.
    pub async fn account(&self, account: AccountId) -> Result<AccountView, LedgerError> {
        let stored = self.stored(account).await?;
        let balance = balance_of(&stored)?;
        Ok(view(stored.partition, &stored.state, balance))
    }

    /// An account's balance and lots.
    pub async fn balance(&self, account: AccountId) -> Result<Balance, LedgerError> {
        let stored = self.stored(account).await?;
        let lots = stored.state.lots.iter().map(|lot| LotView {
            lot_id: lot.id,
            source: lot.source,
            amount_usd: lot.amount,
            remaining_usd: lot.remaining,
            expires_at: lot.expires_at,
        });
        let subscription = stored.state.subscription.as_ref();
        let token_lots = subscription.iter().flat_map(|subscription| &subscription.tokens).map(|lot| TokenLotView {
            lot_id: lot.id,
            granted: lot.granted,
            remaining: lot.remaining,
            rolled_over: lot.rolled_over,
        });
        Ok(Balance {
            account_id: account,
            balance_usd: balance_of(&stored)?,
            debt_usd: stored.state.debt,
            frozen_usd: stored.state.frozen().ok_or_else(beyond)?,
            lots: lots.collect(),
            subscription: subscription.map(accounting::Subscription::view),
            token_lots: token_lots.collect(),
            version: Position { partition: stored.partition, offset: stored.state.version },
        })
    }

    /// A page of an account's statement.
    pub async fn statement(&self, query: StatementQuery) -> Result<Statement, LedgerError> {
        let account = query.account_id;
        check_limit(query.limit)?;
        self.stored(account).await?;
        let before = match query.from {
            Some(from) => self.parts.store.cut(account, None, from).await?,
            None => None,
        };
        let last = match query.to {
            // Where no entry is before that time, the last one is the one before the statement's begin.
            Some(to) => Some(self.parts.store.cut(account, before, to).await?.or(before)),
            None => None,
        };
        let after = query.after.max(before);
        // One more than asked for tells whether there is a next page.
        let mut entries = self.parts.store.entries(account, after, query.limit + 1).await?;
        if let Some(last) = last {
            entries.retain(|entry| Some(entry.offset) <= last);
        }
        let more = entries.len() > query.limit as usize;
        entries.truncate(query.limit as usize);
        let opening_usd = match (entries.first(), after) {
            (Some(first), _) => first.balance_usd.checked_sub(first.amount_usd).ok_or_else(beyond)?,
            (None, Some(after)) => self.parts.store.balance_at(account, after).await?,
            (None, None) => Usd::ZERO,
        };
        Ok(Statement {
            account_id: account,
            opening_usd,
            closing_usd: entries.last().map_or(opening_usd, |last| last.balance_usd),
            next: entries.last().map(|last| last.offset).filter(|_: &Offset| more),
            entries,
        })
    }

    /// An account with all that the log made of it.
    pub(super) async fn stored(&self, account: AccountId) -> Result<StoredAccount, LedgerError> {
        let mut loaded = self.parts.store.load(&BTreeSet::from([account]), &BTreeSet::new()).await?;
        let unknown = || Refusal::UnknownAccount { account: account.to_string() };
        Ok(loaded.accounts.remove(&account).ok_or_else(unknown)?)
    }
}

pub(super) fn balance_of(stored: &StoredAccount) -> Result<Usd, LedgerError> {
    stored.state.balance().ok_or_else(beyond)
}

/// Refuses a page without entries, or of too many.
pub(super) fn check_limit(limit: u32) -> Result<(), Refusal> {
    if (1..=MAX_ENTRIES).contains(&limit) {
        return Ok(());
    }
    let detail = format!("{limit} entries; a page has 1 to {MAX_ENTRIES}");
    Err(Refusal::Invalid { field: "limit".into(), detail })
}

/// No account that the fold made gets there.
pub(super) fn beyond() -> LedgerError {
    LedgerError::Unavailable("a balance is beyond exact money; run `modelhub audit`".into())
}
