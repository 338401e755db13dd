//! Plans' prices that the ledger sets aside before their events are appended.

use ledger::store::{Leased, PlanCharge, SetAside};
use schemas::api::{Funds, LeaseRequest};
use schemas::catalogue::PlanTerms;
use schemas::event::{BillingAnchor, Period, SubscriptionStartedV1};
use schemas::{AccountId, Event, EventData, SubscriptionId, Timestamp};
use uuid::Uuid;

use super::events::{event_id, grant, leased, lot_id, open, plan, record, usd};
use super::leases::{HERE, funds, held, lease_id, message, opening, renewed, send};
use super::stage::{Stage, account_in};

/// The event that starts a plan at a price, and its record.
fn started(account: AccountId, id: u128, price: &str) -> (Event, Vec<u8>) {
    let (start, end) = (Timestamp::from_micros(1_700_000_000_000_000), Timestamp::from_micros(1_702_592_000_000_000));
    let plan = PlanTerms { price_usd: usd(price), tokens_per_month: 100, rollover_tokens: 0, ..plan() };
    let data = SubscriptionStartedV1 {
        subscription_id: SubscriptionId(Uuid::from_u128(id)),
        plan,
        period: Period { start, end },
        anchor: BillingAnchor { at: start, utc_offset_minutes: 0 },
        token_lot_id: lot_id(0x700 << 32 | id),
        payment_id: None,
    };
    let record = record(account, id, EventData::SubscriptionStarted(Box::new(data)));
    (Event::decode(&record).unwrap(), record)
}

/// An account with 5 USD and the smallest amount there is, and no plan; a batch of two records.
async fn with_credit(stage: &Stage, n: usize) -> AccountId {
    let account = account_in(HERE, n);
    let id = 100 * (n as u128 + 1);
    stage.apply(HERE, &[open(account, id), grant(account, id + 1, id, usd("5.000000000001"), 1)]).await;
    account
}

async fn set_aside(stage: &Stage, (event, _): &(Event, Vec<u8>), at: i64) -> SetAside {
    stage.store.set_aside(event, Timestamp::from_micros(at)).await.unwrap()
}

async fn release(stage: &Stage, id: u128, account: AccountId, until: i64) {
    stage.store.release_charge(event_id(id), account, Timestamp::from_micros(until)).await.unwrap();
}

fn too_little(due: &str, reserved: &str) -> SetAside {
    SetAside::TooLittle { due: usd(due), credit: usd("5.000000000001"), reserved: usd(reserved) }
}

async fn left(stage: &Stage, before: i64) -> Vec<PlanCharge> {
    stage.store.charges_before(Timestamp::from_micros(before), 9).await.unwrap()
}

pub(super) async fn a_price_is_set_aside_until_its_event_posts(stage: Stage) {
    let all = funds("5.000000000001", 0);
    let account = with_credit(&stage, 0).await;
    let charge = started(account, 900, "3");
    renewed(&stage, &opening(account, 1, funds("2.000000000002", 0))).await;
    assert_eq!(set_aside(&stage, &charge, 10).await, too_little("3", "2.000000000002"));
    assert_eq!((held(&stage, account).await[1], left(&stage, 99).await), (funds("2.000000000002", 0), vec![]));
    let less = message(account, 1, 2, Funds::ZERO, funds("2.000000000001", 0));
    renewed(&stage, &less).await;
    for at in [10, 20] {
        assert_eq!(set_aside(&stage, &charge, at).await, SetAside::Done, "once, however often");
        assert_eq!(held(&stage, account).await, [all, all, Funds::ZERO]);
    }
    let expected = PlanCharge { event_id: event_id(900), account_id: account };
    assert_eq!((left(&stage, 20).await, left(&stage, 21).await), (vec![], vec![expected]));
    let more = LeaseRequest { need: all, ..message(account, 1, 3, Funds::ZERO, funds("2.000000000001", 0)) };
    assert_eq!(renewed(&stage, &more).await.0.granted, funds("2.000000000001", 0), "nothing of the price is granted");
    assert_eq!(
        set_aside(&stage, &started(account, 901, "0.000000000001"), 30).await,
        too_little("0.000000000001", "5.000000000001")
    );

    stage.apply(HERE, std::slice::from_ref(&charge.1)).await;
    assert_eq!(held(&stage, account).await, [funds("2.000000000001", 100), funds("2.000000000001", 0), Funds::ZERO]);
    stage.apply(HERE, &[leased(account, 1, lease_id(1), 0, 2_000_000)]).await;
    assert_eq!(held(&stage, account).await, [funds("0.000000000001", 100), funds("0.000000000001", 0), Funds::ZERO]);
    release(&stage, 900, account, 20).await;
    assert_eq!((left(&stage, 99).await, held(&stage, account).await[1]), (vec![], funds("0.000000000001", 0)));
}

pub(super) async fn a_price_that_is_not_charged_is_given_back(stage: Stage) {
    let account = with_credit(&stage, 0).await;
    let (first, second) = (started(account, 900, "3"), started(account, 901, "2"));
    assert_eq!(set_aside(&stage, &first, 10).await, SetAside::Done);
    assert_eq!(set_aside(&stage, &second, 11).await, SetAside::Done, "each by itself");
    assert_eq!(held(&stage, account).await[1], funds("5", 0));
    // The first one posts, and the other one can't any more: of it nothing is drawn.
    stage.apply(HERE, &[first.1.clone(), second.1.clone(), first.1.clone()]).await;
    assert_eq!(held(&stage, account).await, [funds("2.000000000001", 100), funds("2", 0), Funds::ZERO]);
    // A ledger that stood still sets aside what is charged already.
    assert_eq!(set_aside(&stage, &first, 12).await, too_little_of(&stage, account, "3").await);
    // Nor is it given back by whoever saw it before it was set aside again.
    assert_eq!(set_aside(&stage, &second, 20).await, SetAside::Done);
    release(&stage, 901, account, 19).await;
    assert_eq!(held(&stage, account).await, [funds("2.000000000001", 100), funds("2", 0), Funds::ZERO]);
    release(&stage, 901, account, 20).await;
    assert_eq!(held(&stage, account).await, [funds("2.000000000001", 100), Funds::ZERO, Funds::ZERO]);
    let ids: Vec<_> = left(&stage, 99).await.into_iter().map(|charge| charge.event_id).collect();
    assert_eq!(ids, [event_id(900)]);
}

/// As refused now: what the account has and what is reserved of it are read from the store.
async fn too_little_of(stage: &Stage, account: AccountId, due: &str) -> SetAside {
    let [has, reserved, _] = held(stage, account).await;
    SetAside::TooLittle { due: usd(due), credit: has.usd, reserved: reserved.usd }
}

pub(super) async fn no_price_is_set_aside_of_what_is_not_known(stage: Stage) {
    let stranger = started(account_in(HERE, 9), 900, "1");
    assert_eq!(set_aside(&stage, &stranger, 1).await, SetAside::NoAccount);
    let account = with_credit(&stage, 0).await;
    let charge = started(account, 901, "3");
    assert_eq!(set_aside(&stage, &charge, 1).await, SetAside::Done);
    stage.store.reset().await.unwrap();
    for refused in [&charge, &stranger] {
        assert_eq!(set_aside(&stage, refused, 2).await, SetAside::Refolding);
    }
    // Whether an account is there is not known either, and a gateway is not told that there is none.
    assert_eq!(send(&stage, &opening(account_in(HERE, 9), 1, funds("1", 0))).await, Leased::Refolding);
    let id = 100;
    stage.apply(HERE, &[open(account, id), grant(account, id + 1, id, usd("5.000000000001"), 1)]).await;
    assert_eq!(held(&stage, account).await, [funds("5.000000000001", 0), funds("3", 0), Funds::ZERO], "kept");
    assert_eq!(send(&stage, &opening(account_in(HERE, 9), 1, funds("1", 0))).await, Leased::NoAccount);
    stage.apply(HERE, &[charge.1]).await;
    assert_eq!(held(&stage, account).await, [funds("2.000000000001", 100), Funds::ZERO, Funds::ZERO]);
    let free = started(account, 902, "0");
    assert_eq!(set_aside(&stage, &free, 3).await, SetAside::Done, "what costs nothing takes nothing");
    assert_eq!(left(&stage, 99).await.len(), 1);
    assert_eq!(stage.store.gateways().await.unwrap(), []);
}
