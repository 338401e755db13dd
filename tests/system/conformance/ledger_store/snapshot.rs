//! What an audit is given: one moment, in parts, whole.

use std::collections::BTreeMap;

use accounting::{Commodity, LedgerAccount};
use ledger::Snapshot;
use ledger::store::snapshot::{Counts, Side, Sum};
use rust_decimal::Decimal;
use schemas::{AccountId, Offset, PartitionId, Position};

use super::commit::{empty, lot, posting, transfer};
use super::events::{event_id, grant, key, key_id, lot_id, open, usage, usd};
use super::stage::{Stage, account_in};

const HERE: PartitionId = PartitionId(8);
const THERE: PartitionId = PartitionId(9);

/// Every row that a snapshot gives of these partitions, as text.
async fn seen(snapshot: &mut dyn Snapshot) -> Vec<String> {
    let mut seen = vec![format!("{:?}", snapshot.heads().await.unwrap())];
    for partition in [HERE, THERE] {
        seen.push(format!("{:?}", snapshot.postings(partition, Offset(0), Offset(1_000)).await.unwrap()));
        seen.push(format!("{:?}", snapshot.quarantined(partition, Offset(0), Offset(1_000)).await.unwrap()));
    }
    seen.push(format!("{:?}", snapshot.accounts(None, 1_000).await.unwrap()));
    seen.push(format!("{:?}", snapshot.sums().await.unwrap()));
    seen.push(format!("{:?}", snapshot.counts().await.unwrap()));
    seen.push(format!("{:?}", snapshot.strays().await.unwrap()));
    seen.push(format!("{:?}", snapshot.beyond().await.unwrap()));
    seen
}

pub(super) async fn nothing_that_is_committed_later_is_in_a_snapshot(stage: Stage) {
    let (here, there) = (account_in(HERE, 0), account_in(THERE, 0));
    stage.apply(HERE, &[open(here, 1), grant(here, 2, 1, usd("5"), 1), b"{".to_vec()]).await;
    // Nothing is asked of the first one before there is more.
    let mut unasked = stage.store.snapshot().await.unwrap();
    let mut asked = stage.store.snapshot().await.unwrap();
    let before = seen(asked.as_mut()).await;
    stage.apply(HERE, &[usage(here, 3, 1_000_000, "1"), key(here, 4, 1, 1), b"}".to_vec()]).await;
    stage.apply(THERE, &[open(there, 5), grant(there, 6, 2, usd("7"), 1), b"{".to_vec()]).await;
    assert_eq!(seen(asked.as_mut()).await, before);
    assert_eq!(seen(unasked.as_mut()).await, before);
    let after = seen(stage.store.snapshot().await.unwrap().as_mut()).await;
    for (before, after) in before.iter().zip(&after).take(7) {
        assert_ne!(before, after);
    }
}

pub(super) async fn rows_come_in_parts_in_log_order(stage: Stage) {
    let (first, second, there) = (account_in(HERE, 0), account_in(HERE, 1), account_in(THERE, 0));
    let records = [
        open(first, 1),
        grant(first, 2, 1, usd("1"), 1),
        b"{".to_vec(),
        grant(first, 3, 2, usd("1"), 1),
        usage(first, 4, 1_500_000, "1"),
        b"}".to_vec(),
        open(second, 5),
        usage(first, 4, 1_500_000, "1"),
        key(second, 6, 1, 1),
    ];
    stage.apply(HERE, &records[..3]).await;
    stage.apply(HERE, &records[3..]).await;
    stage.apply(THERE, &[open(there, 7)]).await;
    let mut snapshot = stage.store.snapshot().await.unwrap();

    let heads = snapshot.heads().await.unwrap();
    assert_eq!(heads, [(HERE, stage.head(HERE).await), (THERE, stage.head(THERE).await)].into());
    let mut check = async |from: u64, to: u64, posted: &[(u64, u128, usize)], quarantined: &[u64]| {
        let rows = snapshot.postings(HERE, Offset(from), Offset(to)).await.unwrap();
        let rows: Vec<_> = rows.iter().map(|row| (row.offset.0, row.event_id, row.transfers.len())).collect();
        let posted: Vec<_> = posted.iter().map(|(at, id, transfers)| (*at, event_id(*id), *transfers)).collect();
        assert_eq!(rows, posted, "{from} to {to}");
        let rows = snapshot.quarantined(HERE, Offset(from), Offset(to)).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.position.offset.0).collect::<Vec<_>>(), quarantined, "{from} to {to}");
    };
    let all = [(0, 1, 0), (1, 2, 1), (3, 3, 1), (4, 4, 2), (6, 5, 0), (8, 6, 0)];
    check(0, 9, &all, &[2, 5]).await;
    check(0, u64::MAX, &all, &[2, 5]).await;
    check(0, 4, &all[..3], &[2]).await;
    check(4, 6, &all[3..4], &[5]).await;
    check(5, 5, &[], &[]).await;
    check(9, 20, &[], &[]).await;

    let used = snapshot.postings(HERE, Offset(4), Offset(5)).await.unwrap().remove(0);
    assert_eq!((used.account_id, used.event_type.as_str()), (first, "usage.recorded"));
    assert_eq!((used.amount, used.balance), (usd("-1.5"), usd("0.5")));
    assert!(used.chain_tag.is_some() && used.detail.is_some());
    let credit = LedgerAccount::CustomerCredit(first).to_string();
    let transfers: Vec<_> = used.transfers.iter().map(|row| (row.index, &row.debit, row.amount, row.lot)).collect();
    let half = Decimal::new(5, 1);
    assert_eq!(transfers, [(0, &credit, Decimal::ONE, Some(lot_id(1))), (1, &credit, half, Some(lot_id(2)))]);

    let mut pages = async |limit: u32| {
        let (mut pages, mut after) = (vec![], None);
        loop {
            let page = snapshot.accounts(after, limit).await.unwrap();
            let Some(last) = page.last() else { return pages };
            after = Some(last.account.state.id);
            pages.push(page);
        }
    };
    let whole = pages(10).await.remove(0);
    let mut ids = [first, second, there];
    ids.sort_unstable();
    assert_eq!(whole.iter().map(|rows| rows.account.state.id).collect::<Vec<_>>(), ids);
    for limit in [1, 2, 3] {
        assert_eq!(pages(limit).await.concat(), whole, "pages of {limit}");
    }
    let of = |id: AccountId| whole.iter().find(|rows| rows.account.state.id == id).unwrap();
    let lots: Vec<_> = of(first).lots.iter().map(|(id, lot)| (*id, lot.amount, lot.remaining)).collect();
    assert_eq!(lots, [(lot_id(2), usd("1"), usd("0.5"))]);
    assert_eq!(of(first).columns.balance, usd("0.5"));
    assert_eq!(of(second).keys.keys().copied().collect::<Vec<_>>(), [key_id(1)]);
    assert_eq!((of(there).account.partition, of(there).lots.len(), of(there).keys.len()), (THERE, 0, 0));
}

pub(super) async fn sums_and_counts_are_of_everything(stage: Stage) {
    let (here, there) = (account_in(HERE, 0), account_in(THERE, 0));
    let least = usd("0.000000000001");
    stage
        .apply(
            HERE,
            &[open(here, 1), grant(here, 2, 1, usd("8999999"), 1), usage(here, 3, 3, "0.000001"), b"{".to_vec()],
        )
        .await;
    stage.apply(THERE, &[open(there, 4), grant(there, 5, 2, usd("8999999"), 1), grant(there, 6, 4, least, 1)]).await;
    let mut snapshot = stage.store.snapshot().await.unwrap();
    let counts = |postings, transfers| Counts { postings, transfers };
    assert_eq!(snapshot.counts().await.unwrap(), [(here, counts(3, 2)), (there, counts(3, 2))].into());

    let sum = |transfers, total: &str| Sum { transfers, total: total.parse().unwrap() };
    let key = |side, account: LedgerAccount| (side, account.to_string(), Commodity::Usd.as_str().to_owned());
    let expected = BTreeMap::from([
        (key(Side::Debit, LedgerAccount::PromotionalExpense), sum(3, "17999998.000000000001")),
        (key(Side::Credit, LedgerAccount::CustomerCredit(here)), sum(1, "8999999")),
        (key(Side::Debit, LedgerAccount::CustomerCredit(here)), sum(1, "0.000000000003")),
        (key(Side::Credit, LedgerAccount::CustomerCredit(there)), sum(2, "8999999.000000000001")),
        (key(Side::Credit, LedgerAccount::UsageRevenue("deepseek-v4-flash".into())), sum(1, "0.000000000003")),
    ]);
    assert_eq!(snapshot.sums().await.unwrap(), expected);
}

pub(super) async fn rows_that_belong_to_nothing_are_told(stage: Stage) {
    let (account, nobody) = (account_in(HERE, 0), account_in(HERE, 1));
    stage.apply(HERE, &[open(account, 1), grant(account, 2, 1, usd("5"), 1), b"{".to_vec()]).await;
    let mut snapshot = stage.store.snapshot().await.unwrap();
    assert_eq!((snapshot.strays().await.unwrap(), snapshot.beyond().await.unwrap()), (vec![], vec![]));
    drop(snapshot);

    let mut commit = empty(HERE, 3, 4);
    commit.from_chain = stage.head(HERE).await.chain;
    commit.lots = vec![(nobody, lot(usd("1"), usd("1")))];
    let key = accounting::Key {
        hash: super::events::key_hash(1),
        name: "k".into(),
        hint: "h".into(),
        limits: schemas::event::KeyLimits::default(),
        used: None,
    };
    commit.keys = vec![(nobody, key_id(1), key)];
    let revenue = LedgerAccount::UsageRevenue("m".into());
    commit.transfers = vec![transfer(77, usd("1"), revenue, LedgerAccount::CustomerDebt(account))];
    commit.postings = vec![posting(account, 10, 3), posting(account, 11, 4), posting(account, 12, 9)];
    stage.store.commit(&commit).await.unwrap();
    let mut snapshot = stage.store.snapshot().await.unwrap();
    let strays = [
        format!("a lot of no account: {}", lot_id(1)),
        format!("a key of no account: {}", key_id(1)),
        format!("a transfer of no posting: {}", event_id(77)),
    ];
    assert_eq!(snapshot.strays().await.unwrap(), strays);
    let mut beyond = snapshot.beyond().await.unwrap();
    beyond.sort_unstable();
    let at = |offset| Position { partition: HERE, offset: Offset(offset) };
    assert_eq!(beyond, [at(4), at(9)]);
}
