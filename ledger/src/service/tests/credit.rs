//! Credit, balances and statements.

use schemas::api::{EntryDetail, GrantCredit, LotSource, LotView, Refusal, Statement, StatementQuery};
use schemas::{AccountId, Offset};

use super::{done, open, refusal, stranger, usd};
use crate::rig::Rig;

fn grant(account_id: AccountId, amount: &str, key: Option<&str>) -> GrantCredit {
    let idempotency_key = key.map(str::to_owned);
    GrantCredit { account_id, amount_usd: usd(amount), reason: "goodwill".into(), idempotency_key }
}

#[tokio::test]
async fn credit_is_there_when_the_command_returns() {
    let rig = Rig::new().await;
    let account = done(rig.ledger.open_account(open("ann@example.com", "free")).await).account_id;
    let granted = done(rig.ledger.grant_credit(grant(account, "0.000000000001", None)).await);
    assert_eq!(granted.balance_usd, usd("5.000000000001"));
    let balance = done(rig.ledger.balance(account).await);
    assert_eq!((balance.balance_usd, balance.debt_usd), (usd("5.000000000001"), usd("0")));
    let promotion = LotView {
        lot_id: granted.lot_id,
        source: LotSource::Promotion,
        amount_usd: usd("0.000000000001"),
        remaining_usd: usd("0.000000000001"),
        expires_at: None,
    };
    assert_eq!((balance.lots.len(), balance.lots[0].source, &balance.lots[1]), (2, LotSource::Trial, &promotion));
    assert_eq!(balance.version, done(rig.ledger.account(account).await).version);
    let again = done(rig.ledger.grant_credit(grant(account, "0.000000000001", None)).await);
    assert_ne!(again.lot_id, granted.lot_id);
    assert_eq!(again.balance_usd, usd("5.000000000002"));
}

#[tokio::test]
async fn a_repeated_grant_is_the_same_grant() {
    let rig = Rig::new().await;
    let account = done(rig.ledger.open_account(open("ann@example.com", "free")).await).account_id;
    let other = done(rig.ledger.open_account(open("bob@example.com", "free")).await).account_id;
    let first = done(rig.ledger.grant_credit(grant(account, "1", Some("ticket 1"))).await);
    done(rig.ledger.grant_credit(grant(account, "2", Some("ticket 2"))).await);
    let repeat = done(rig.ledger.grant_credit(grant(account, "1", Some("ticket 1"))).await);
    assert_eq!(repeat, first, "with the balance of then");
    assert_eq!(done(rig.ledger.account(account).await).balance_usd, usd("8"));
    let changed = refusal(rig.ledger.grant_credit(grant(account, "3", Some("ticket 1"))).await).to_string();
    assert_eq!(changed, "idempotency_key: it was used for a grant of 1 USD before; use another one");
    let elsewhere = done(rig.ledger.grant_credit(grant(other, "1", Some("ticket 1"))).await);
    assert_eq!(elsewhere.balance_usd, usd("6"));
}

#[tokio::test]
async fn what_cannot_be_granted_is_refused() {
    let rig = Rig::new().await;
    let account = done(rig.ledger.open_account(open("ann@example.com", "free")).await).account_id;
    let check = async |command: GrantCredit, expected: &str| {
        assert_eq!(refusal(rig.ledger.grant_credit(command).await).to_string(), expected);
    };
    let range = "a grant is above zero and at most 9000000 USD";
    check(grant(account, "0", None), &format!("amount_usd: 0 USD; {range}")).await;
    check(grant(account, "-1", None), &format!("amount_usd: -1 USD; {range}")).await;
    let huge = GrantCredit { amount_usd: schemas::Usd::from_pico(i64::MAX), ..grant(account, "1", None) };
    check(huge, &format!("amount_usd: 9223372.036854775807 USD; {range}")).await;
    check(GrantCredit { reason: "\n".into(), ..grant(account, "1", None) }, "reason: is empty; give it some text")
        .await;
    check(grant(account, "1", Some("")), "idempotency_key: is empty; give it some text").await;
    let unknown = Refusal::UnknownAccount { account: stranger().to_string() };
    assert_eq!(refusal(rig.ledger.grant_credit(grant(stranger(), "1", None)).await), unknown);
    assert_eq!(rig.logged().await.0.len(), 3, "nothing was appended");
    let beyond =
        "amount_usd: the event was quarantined as out_of_range: an amount or the balance would be beyond 9000000 USD";
    check(grant(account, "9000000", None), beyond).await;
    assert_eq!(done(rig.ledger.account(account).await).balance_usd, usd("5"));
}

#[tokio::test]
async fn statements_add_up_page_by_page() {
    let rig = Rig::new().await;
    let account_id = done(rig.ledger.open_account(open("ann@example.com", "free")).await).account_id;
    for amount in ["1", "2", "3"] {
        done(rig.ledger.grant_credit(grant(account_id, amount, None)).await);
    }
    let page = |after, limit| rig.ledger.statement(StatementQuery { account_id, after, from: None, to: None, limit });
    let shown = |statement: &Statement| {
        let amounts: Vec<_> = statement.entries.iter().map(|entry| entry.amount_usd.to_string()).collect();
        (statement.opening_usd.to_string(), amounts.join(" "), statement.closing_usd.to_string())
    };
    let check = async |after: Option<Offset>, limit, opening: &str, amounts: &str, closing: &str, more: bool| {
        let statement = done(page(after, limit).await);
        assert_eq!(shown(&statement), (opening.into(), amounts.into(), closing.into()), "{after:?} {limit}");
        assert_eq!(statement.next.is_some(), more, "{after:?} {limit}");
        let mut balance = statement.opening_usd;
        for entry in &statement.entries {
            balance = balance.checked_add(entry.amount_usd).unwrap();
            assert_eq!(entry.balance_usd, balance);
        }
        statement.entries.last().map(|entry| entry.offset)
    };
    let last = check(None, 1_000, "0", "5 1 2 3", "11", false).await;
    check(None, 4, "0", "5 1 2 3", "11", false).await;
    let second = check(None, 2, "0", "5 1", "6", true).await;
    check(second, 2, "6", "2 3", "11", false).await;
    let third = check(second, 1, "6", "2", "8", true).await;
    check(third, 1, "8", "3", "11", false).await;
    check(last, 1, "11", "", "11", false).await;
    check(Some(Offset(0)), 1, "0", "5", "5", true).await;

    let all = done(page(None, 10).await);
    assert!(matches!(&all.entries[1].detail, EntryDetail::Credit { reason, .. } if reason == "goodwill"));
    for (limit, expected) in
        [(0, "limit: 0 entries; a page has 1 to 1000"), (1_001, "limit: 1001 entries; a page has 1 to 1000")]
    {
        assert_eq!(refusal(page(None, limit).await).to_string(), expected);
    }
    let query = StatementQuery { account_id: stranger(), after: None, from: None, to: None, limit: 1 };
    let unknown = Refusal::UnknownAccount { account: stranger().to_string() };
    assert_eq!(refusal(rig.ledger.statement(query).await), unknown);
    let paid = done(rig.ledger.open_account(open("bob@example.com", "paid")).await).account_id;
    let empty = done(
        rig.ledger.statement(StatementQuery { account_id: paid, after: None, from: None, to: None, limit: 1 }).await,
    );
    assert_eq!((shown(&empty), empty.next), (("0".into(), String::new(), "0".into()), None));
}
