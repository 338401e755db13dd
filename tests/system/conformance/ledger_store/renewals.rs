//! Which subscriptions' periods are over.

use schemas::event::{
    BillingAnchor, Period, SubscriptionCanceledV1, SubscriptionPastDueV1, SubscriptionRenewedV1, SubscriptionStartedV1,
};
use schemas::{AccountId, EventData, LotId, PartitionId, SubscriptionId, Timestamp};
use uuid::Uuid;

use super::events::{event_id, open, plan, record};
use super::stage::{Stage, account_in};

const HERE: PartitionId = PartitionId(5);
const THERE: PartitionId = PartitionId(6);

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn period(start: i64, end: i64) -> Period {
    Period { start: at(start), end: at(end) }
}

fn free() -> schemas::catalogue::PlanTerms {
    schemas::catalogue::PlanTerms { price_usd: schemas::Usd::ZERO, tokens_per_month: 10, ..plan() }
}

fn subscription(account: AccountId) -> SubscriptionId {
    SubscriptionId(account.0)
}

fn started(account: AccountId, id: u128, end: i64) -> Vec<u8> {
    let data = SubscriptionStartedV1 {
        subscription_id: subscription(account),
        plan: free(),
        period: period(0, end),
        anchor: BillingAnchor { at: at(0), utc_offset_minutes: 0 },
        token_lot_id: LotId(event_id(id).0),
        payment_id: None,
    };
    record(account, id, EventData::SubscriptionStarted(Box::new(data)))
}

pub(super) async fn what_is_over_is_due_until_it_is_renewed_or_ended(stage: Stage) {
    let accounts = [account_in(HERE, 0), account_in(HERE, 1), account_in(THERE, 0), account_in(HERE, 2)];
    let [early, late, elsewhere, without] = accounts;
    let here = [open(early, 1), open(late, 2), started(early, 3, 10), started(late, 4, 20), open(without, 5)];
    stage.apply(HERE, &here).await;
    stage.apply(THERE, &[open(elsewhere, 6), started(elsewhere, 7, 10)]).await;
    let check = async |now: i64, expected: &[AccountId]| {
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(stage.store.due(at(now), None, 10).await.unwrap(), expected, "{now}");
        let mut paged = vec![];
        while let [account] = stage.store.due(at(now), paged.last().copied(), 1).await.unwrap()[..] {
            paged.push(account);
        }
        assert_eq!(paged, expected, "{now}, one by one");
    };
    check(9, &[]).await;
    check(10, &[early, elsewhere]).await;
    check(20, &[early, late, elsewhere]).await;

    let past_due = SubscriptionPastDueV1 {
        subscription_id: subscription(early),
        period: period(0, 10),
        due_usd: schemas::Usd::ZERO,
        grace_until: at(15),
    };
    stage.apply(HERE, &[record(early, 8, EventData::SubscriptionPastDue(past_due))]).await;
    check(10, &[early, elsewhere]).await;
    let renewed = SubscriptionRenewedV1 {
        subscription_id: subscription(early),
        closes: period(0, 10),
        plan: free(),
        period: period(10, 30),
        token_lot_id: LotId(Uuid::from_u128(9)),
        payment_id: None,
    };
    let canceled = SubscriptionCanceledV1 {
        subscription_id: subscription(late),
        closes: period(0, 20),
        at: at(20),
        unused: None,
        plan_after: free(),
        reason: "r".into(),
    };
    let both = [
        record(early, 9, EventData::SubscriptionRenewed(Box::new(renewed))),
        record(late, 10, EventData::SubscriptionCanceled(Box::new(canceled))),
    ];
    stage.apply(HERE, &both).await;
    check(29, &[elsewhere]).await;
    check(30, &[early, elsewhere]).await;
    let stage = stage.reopened().await;
    assert_eq!(stage.store.due(at(29), None, 10).await.unwrap(), [elsewhere]);
}
