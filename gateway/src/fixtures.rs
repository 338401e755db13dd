//! What several of this crate's tests need.

use schemas::api::{AccountStatus, AccountView};
use schemas::catalogue::PlanTerms;
use schemas::{AccountId, Offset, PartitionId, Position, Usd};
use uuid::Uuid;

/// The account of the view.
pub(crate) const ACCOUNT: AccountId = AccountId(Uuid::from_u128(1));

/// An active account on a small plan, as of this offset.
pub(crate) fn view(version: u64) -> AccountView {
    AccountView {
        account_id: ACCOUNT,
        status: AccountStatus::Active,
        plan: PlanTerms {
            id: "free".into(),
            price_usd: Usd::ZERO,
            tokens_per_month: 0,
            rollover_tokens: 0,
            requests_per_minute: 10,
            max_in_flight: 2,
            max_keys: None,
            trial_credit_usd: Usd::ZERO,
        },
        balance_usd: Usd::ZERO,
        plan_tokens: 0,
        paid: false,
        subscription: None,
        version: Position { partition: PartitionId(0), offset: Offset(version) },
    }
}
