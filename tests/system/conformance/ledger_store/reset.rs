//! Dropping what the log can give again.

use std::collections::BTreeSet;

use ledger::store::Head;
use schemas::{PartitionId, Timestamp};

use super::events::{event_id, grant, key, key_hash, open, usage, usd};
use super::stage::{Stage, account_in};

const HERE: PartitionId = PartitionId(10);
const THERE: PartitionId = PartitionId(11);

pub(super) async fn a_reset_keeps_contacts_and_the_log_gives_the_rest_again(stage: Stage) {
    let (here, there) = (account_in(HERE, 0), account_in(THERE, 0));
    let records = [
        open(here, 1),
        grant(here, 2, 1, usd("5"), 1),
        b"{".to_vec(),
        usage(here, 3, 1_000_000, "1"),
        key(here, 4, 1, 1),
        grant(there, 5, 2, usd("1"), 1),
    ];
    stage.apply(HERE, &records).await;
    stage.apply(THERE, &[open(there, 6)]).await;
    stage.store.claim_contact("a@b.co", here, Timestamp::from_micros(7)).await.unwrap();
    let ids: BTreeSet<_> = (1..=6).map(event_id).collect();
    let seen = async |stage: &Stage| {
        let loaded = stage.store.load(&BTreeSet::from([here, there]), &ids).await.unwrap();
        let heads = [stage.head(HERE).await, stage.head(THERE).await];
        let entries = stage.store.entries(here, None, 100).await.unwrap();
        let quarantined = stage.store.quarantine(None, 100).await.unwrap();
        (loaded, heads, entries, quarantined, stage.counts().await)
    };
    let before = seen(&stage).await;
    assert_eq!(before.4, [2, 1, 1, 5, 2, 2, 1, 2]);
    // A table of somebody else in the same database is no business of a reset; each of the ledger's own is.
    let own = stage.tables().await;
    let known = [
        "accounts",
        "answers",
        "contacts",
        "funds",
        "gateway_runs",
        "invoices",
        "keys",
        "lease_floors",
        "leases",
        "log",
        "lots",
        "plan_charges",
        "positions",
        "postings",
        "quarantine",
        "renewals",
        "repeated_charges",
        "request_shares",
        "transfers",
    ];
    assert_eq!(own, known, "a new table is either made anew by a reset, or kept: say which");
    stage.run("CREATE TABLE somebodys (n integer)").await;

    // Also where there is nothing to drop any more, and by who opens the store anew.
    for _ in 0..2 {
        stage.store.reset().await.unwrap();
        let (loaded, heads, entries, quarantined, counts) = seen(&stage).await;
        assert_eq!((loaded.accounts.len(), loaded.posted.len()), (0, 0));
        assert_eq!(heads, [Head::START; 2]);
        assert_eq!((entries.len(), quarantined.len()), (0, 0));
        assert_eq!(counts, [0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(stage.store.key(&key_hash(1)).await.unwrap(), None);
        assert_eq!(stage.store.contact("a@b.co").await.unwrap(), Some(here));
    }
    let mut after = stage.tables().await;
    after.retain(|table| table != "somebodys");
    assert_eq!((after, stage.tables().await.len()), (own, known.len() + 1));
    let stage = stage.reopened().await;
    stage.apply(THERE, &[open(there, 6)]).await;
    for record in &records {
        stage.apply(HERE, std::slice::from_ref(record)).await;
    }
    assert_eq!(seen(&stage).await, before);
    assert_eq!(stage.store.contact("a@b.co").await.unwrap(), Some(here));
}
