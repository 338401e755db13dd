//! The list of what can't post.

use schemas::{Offset, PartitionId, Position};

use super::events::{event_id, grant, open, usd};
use super::stage::{Stage, account_in};

const HERE: PartitionId = PartitionId(12);
const THERE: PartitionId = PartitionId(13);

fn at(partition: PartitionId, offset: u64) -> Position {
    Position { partition, offset: Offset(offset) }
}

pub(super) async fn what_cannot_post_is_listed_page_by_page_with_where_it_posted_since(stage: Stage) {
    let (here, there) = (account_in(HERE, 0), account_in(THERE, 0));
    assert_eq!(stage.store.quarantine(None, 10).await.unwrap(), []);
    let early = grant(here, 1, 1, usd("5"), 1);
    stage.apply(THERE, &[b"\xff".to_vec(), open(there, 2), grant(there, 3, 2, usd("-1"), 1)]).await;
    stage.apply(HERE, &[early.clone(), b"{".to_vec(), open(here, 4), early.clone(), open(here, 5)]).await;

    let page = async |after: Option<Position>, limit| {
        let rows = stage.store.quarantine(after, limit).await.unwrap();
        rows.into_iter().map(|(row, posted)| (row.position, row.reason, posted)).collect::<Vec<_>>()
    };
    let all = [
        (at(HERE, 0), "unknown_account", Some(at(HERE, 3))),
        (at(HERE, 1), "undecodable", None),
        (at(HERE, 4), "already_open", None),
        (at(THERE, 0), "undecodable", None),
        (at(THERE, 2), "amount_not_positive", None),
    ];
    let all = all.map(|(position, reason, posted)| (position, reason.to_owned(), posted));
    assert_eq!(page(None, 100).await, all);
    assert_eq!(page(None, 2).await, all[..2]);
    assert_eq!(page(Some(at(HERE, 1)), 2).await, all[2..4]);
    assert_eq!(page(Some(at(HERE, 2)), 2).await, all[2..4], "after a place that is not in quarantine");
    assert_eq!(page(Some(at(THERE, 0)), 2).await, all[4..]);
    assert_eq!(page(Some(at(THERE, 2)), 2).await, []);
    assert_eq!(page(Some(at(PartitionId(u32::MAX), u64::MAX)), 2).await, []);

    let (row, _) = stage.store.quarantine(None, 1).await.unwrap().remove(0);
    assert_eq!((row.event_id, row.account_id), (Some(event_id(1)), Some(here)));
    assert_eq!(row.record, early);
    assert!(!row.detail.is_empty());
    let (garbage, _) = stage.store.quarantine(Some(at(HERE, 4)), 1).await.unwrap().remove(0);
    assert_eq!((garbage.event_id, garbage.account_id, &garbage.record[..]), (None, None, &b"\xff"[..]));
}
