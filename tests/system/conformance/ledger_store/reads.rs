//! Questions: exact amounts, statements, keys, fates.

use std::collections::BTreeSet;

use ledger::store::Fate;
use schemas::api::{AccountStatus, AccountView, EntryDetail, KeyView};
use schemas::event::{Accuracy, KeyLimits, Outcome};
use schemas::usage::TokenCounts;
use schemas::{Offset, PartitionId, Position, RequestId, Timestamp, Usd};
use uuid::Uuid;

use super::events::{event_id, grant, key, key_hash, key_id, lot_id, open, plan, usage, usd};
use super::stage::{Stage, account_in};

const HERE: PartitionId = PartitionId(5);
const THERE: PartitionId = PartitionId(6);

pub(super) async fn amounts_are_exact_to_the_last_decimal(stage: Stage) {
    let (rich, poor) = (account_in(HERE, 0), account_in(HERE, 1));
    let least = "0.000000000001";
    let dollar = "1000000";
    stage
        .apply(
            HERE,
            &[
                open(rich, 1),
                open(poor, 2),
                grant(rich, 3, 1, usd("8999999.999999999999"), 1),
                grant(rich, 4, 2, usd(least), 255),
                usage(poor, 5, 9_000_000, dollar),
                usage(rich, 6, 1, "0.000001"),
            ],
        )
        .await;
    let loaded = stage.store.load(&BTreeSet::from([rich, poor]), &BTreeSet::new()).await.unwrap();
    let rich_state = &loaded.accounts[&rich].state;
    let lots: Vec<_> = rich_state.lots.iter().map(|lot| (lot.amount, lot.remaining)).collect();
    assert_eq!(
        lots,
        [(usd("8999999.999999999999"), usd("8999999.999999999998")), (usd(least), usd(least))],
        "both lots to the last decimal"
    );
    assert_eq!(rich_state.balance(), Some(usd("8999999.999999999999")));
    assert_eq!(loaded.accounts[&poor].state.debt, usd("9000000"));
    let balances = async |account| {
        let entries = stage.store.entries(account, None, 10).await.unwrap();
        entries.iter().map(|entry| format!("{} {}", entry.amount_usd, entry.balance_usd)).collect::<Vec<_>>()
    };
    assert_eq!(
        balances(rich).await,
        ["8999999.999999999999 8999999.999999999999", "0.000000000001 9000000", "-0.000000000001 8999999.999999999999"]
    );
    assert_eq!(balances(poor).await, ["-9000000 -9000000"]);
    let sum = "SELECT CAST({pico:amount} AS text) FROM transfers ORDER BY {pico:amount}";
    assert_eq!(stage.rows(sum).await, ["1", "1", "8999999999999999999", "9000000000000000000"]);
}

pub(super) async fn a_statement_has_what_moved_money_page_by_page(stage: Stage) {
    let (account, other) = (account_in(HERE, 0), account_in(HERE, 1));
    let records = [
        open(account, 1),
        open(other, 2),
        key(account, 3, 1, 1),
        grant(account, 4, 1, usd("5"), 1),
        grant(other, 5, 1, usd("7"), 1),
        usage(account, 6, 10, "0.30"),
        usage(account, 7, 0, "0.30"),
        b"garbage".to_vec(),
        usage(account, 8, 1, "0.30"),
    ];
    stage.apply(HERE, &records).await;

    let page = async |after: Option<u64>, limit| {
        let entries = stage.store.entries(account, after.map(Offset), limit).await.unwrap();
        entries.iter().map(|entry| (entry.offset.0, entry.balance_usd.to_string())).collect::<Vec<_>>()
    };
    let all = [(3, "5"), (5, "4.999997"), (6, "4.999997"), (8, "4.9999967")];
    let all = all.map(|(offset, balance)| (offset, balance.to_owned()));
    assert_eq!(page(None, 100).await, all);
    assert_eq!(page(None, 4).await, all);
    assert_eq!(page(None, 3).await, all[..3]);
    assert_eq!(page(Some(2), 2).await, all[..2]);
    assert_eq!(page(Some(3), 2).await, all[1..3]);
    assert_eq!(page(Some(4), 2).await, all[1..3]);
    assert_eq!(page(Some(6), 2).await, all[3..]);
    assert_eq!(page(Some(8), 2).await, []);
    assert_eq!(page(Some(u64::MAX), 2).await, []);

    for (at, balance) in [(0, "0"), (2, "0"), (3, "5"), (4, "5"), (5, "4.999997"), (8, "4.9999967"), (99, "4.9999967")]
    {
        assert_eq!(stage.store.balance_at(account, Offset(at)).await.unwrap(), usd(balance), "at {at}");
    }
    assert_eq!(stage.store.balance_at(account_in(HERE, 2), Offset(99)).await.unwrap(), Usd::ZERO);

    let entries = stage.store.entries(account, None, 2).await.unwrap();
    assert_eq!((entries[0].event_id, entries[0].amount_usd), (event_id(4), usd("5")));
    assert_eq!(entries[0].time, Timestamp::from_micros(1_700_000_000_000_005));
    assert_eq!(
        entries[0].detail,
        EntryDetail::Credit { lot_id: lot_id(1), reason: "it's \"free\" \\ ✓\n".into(), expires_at: None }
    );
    assert_eq!((entries[1].event_id, entries[1].amount_usd), (event_id(6), usd("-0.000003")));
    let usage = EntryDetail::Usage {
        request_id: RequestId(Uuid::from_u128(6)),
        key_id: key_id(1),
        model: "deepseek-v4-flash".into(),
        outcome: Outcome::Completed,
        accuracy: Accuracy::Measured,
        tokens: TokenCounts { prompt: 7, cached_prompt: 3, completion: 10, reasoning: 5 },
        plan_tokens: 0,
    };
    assert_eq!(entries[1].detail, usage);
}

pub(super) async fn a_key_is_found_by_its_hash(stage: Stage) {
    let (first, second) = (account_in(HERE, 0), account_in(THERE, 0));
    let (lower, higher) = (first.min(second), first.max(second));
    let (lower_home, higher_home) = if lower == first { (HERE, THERE) } else { (THERE, HERE) };
    assert_eq!(stage.store.key(&key_hash(1)).await.unwrap(), None);
    // The higher account claims the hash first: what is found must not depend on which partition was faster.
    stage.apply(higher_home, &[open(higher, 1), key(higher, 2, 1, 1), grant(higher, 3, 1, usd("5"), 1)]).await;
    let view = |account_id, partition, offset, balance| KeyView {
        key_id: key_id(1),
        hash: key_hash(1),
        limits: KeyLimits::default(),
        used: None,
        account: AccountView {
            account_id,
            status: AccountStatus::Active,
            plan: plan(),
            balance_usd: usd(balance),
            plan_tokens: 0,
            paid: false,
            subscription: None,
            version: Position { partition, offset: Offset(offset) },
        },
    };
    assert_eq!(stage.store.key(&key_hash(1)).await.unwrap(), Some(view(higher, higher_home, 2, "5")));
    stage.apply(higher_home, &[usage(higher, 4, 7_000_000, "1")]).await;
    assert_eq!(stage.store.key(&key_hash(1)).await.unwrap(), Some(view(higher, higher_home, 3, "-2")));
    stage.apply(lower_home, &[open(lower, 5), key(lower, 6, 2, 1), key(lower, 7, 1, 1), key(lower, 8, 3, 2)]).await;
    assert_eq!(stage.store.key(&key_hash(1)).await.unwrap(), Some(view(lower, lower_home, 3, "0")));
    assert_eq!(stage.store.key(&key_hash(3)).await.unwrap(), None);
}

pub(super) async fn the_fate_of_an_event_is_known_once_it_is_applied(stage: Stage) {
    let account = account_in(HERE, 0);
    let fate = async |id, partition, offset| {
        let position = Position { partition, offset: Offset(offset) };
        stage.store.fate(event_id(id), position).await.unwrap()
    };
    assert_eq!(fate(2, HERE, 1).await, None);
    stage.apply(HERE, &[open(account, 1), grant(account, 2, 1, usd("5"), 1), grant(account, 3, 1, usd("6"), 1)]).await;
    let posted = Some(Fate::Posted { account, amount: usd("5"), balance: usd("5") });
    assert_eq!(fate(2, HERE, 1).await, posted);
    assert_eq!(fate(2, HERE, 77).await, posted, "a repeat is appended elsewhere");
    let Some(Fate::Quarantined { reason, detail }) = fate(3, HERE, 2).await else { panic!("not in quarantine") };
    assert_eq!(reason, "lot_exists");
    assert!(detail.contains(&lot_id(1).to_string()), "{detail}");
    assert_eq!(fate(3, HERE, 1).await, None);
    assert_eq!(fate(3, THERE, 2).await, None);
    assert_eq!(fate(4, HERE, 2).await, None, "another event's quarantine");
}

pub(super) async fn nothing_asked_is_nothing_found(stage: Stage) {
    let none = stage.store.load(&BTreeSet::new(), &BTreeSet::new()).await.unwrap();
    assert_eq!((none.accounts.len(), none.posted.len()), (0, 0));
    let strangers = BTreeSet::from([account_in(HERE, 0)]);
    let none = stage.store.load(&strangers, &BTreeSet::from([event_id(1)])).await.unwrap();
    assert_eq!((none.accounts.len(), none.posted.len()), (0, 0));
    stage.store.ping().await.unwrap();
    stage.store.close().await;
    stage.store.ping().await.expect_err("closed");
}

pub(super) async fn amounts_are_told_record_by_record(stage: Stage) {
    let account = account_in(HERE, 0);
    assert_eq!(stage.store.amounts(HERE, Offset(0), Offset(1)).await.unwrap(), None, "nothing is applied");
    let records = [
        open(account, 1),
        grant(account, 2, 1, usd("5"), 1),
        b"garbage".to_vec(),
        usage(account, 3, 1, "0.30"),
        usage(account, 3, 1, "0.30"),
        usage(account, 4, 0, "0.30"),
    ];
    stage.apply(HERE, &records).await;
    stage.apply(THERE, &[open(account_in(THERE, 0), 5)]).await;
    let check = async |from: u64, to: u64, expected: Option<&[(u64, &str)]>| {
        let amounts = stage.store.amounts(HERE, Offset(from), Offset(to)).await.unwrap();
        let expected = expected.map(|amounts| amounts.iter().map(|(at, amount)| (Offset(*at), usd(amount))).collect());
        assert_eq!(amounts, expected, "{from} to {to}");
    };
    check(0, 6, Some(&[(0, "0"), (1, "5"), (3, "-0.0000003"), (5, "0")])).await;
    check(1, 4, Some(&[(1, "5"), (3, "-0.0000003")])).await;
    check(2, 3, Some(&[])).await;
    check(0, 7, None).await;
    stage.store.reset().await.unwrap();
    check(0, 6, None).await;
}

pub(super) async fn a_posted_event_is_known_with_its_place(stage: Stage) {
    let account = account_in(HERE, 0);
    let records = [open(account, 1), grant(account, 2, 1, usd("5"), 1), usage(account, 3, 1, "0.30"), b"x".to_vec()];
    stage.apply(HERE, &records).await;
    assert_eq!(stage.store.posted(event_id(9)).await.unwrap(), None);
    let opened = stage.store.posted(event_id(1)).await.unwrap().unwrap();
    assert_eq!((opened.account, opened.amount, opened.detail), (account, usd("0"), None));
    let used = stage.store.posted(event_id(3)).await.unwrap().unwrap();
    assert_eq!(used.position, Position { partition: HERE, offset: Offset(2) });
    assert_eq!((used.amount, used.balance), (usd("-0.0000003"), usd("4.9999997")));
    assert!(matches!(used.detail, Some(EntryDetail::Usage { tokens, .. }) if tokens.completion == 1));
}
