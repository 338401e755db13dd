//! Gateways' shares of an account's requests, which travel with messages about leases.

use accounting::lease::Refused;
use ledger::store::Leased;
use schemas::api::{Funds, LeaseRequest, Leaving, RequestLimits, Share, ShareClaim, ShareGrant, ShareRequest};
use schemas::{AccountId, Timestamp};

use super::leases::{funds, message, opening, rich};
use super::stage::Stage;

const LIMITS: RequestLimits = RequestLimits { per_minute: 10, at_once: 4 };

/// A share that is kept of each limit, what is needed, and what is wished for.
fn share(seq: u64, per_minute: (u32, u32, u32), at_once: (u32, u32, u32)) -> ShareRequest {
    let claim = |(keep, need, wish)| ShareClaim { keep, need, wish };
    let mut leaving = Leaving::NONE;
    leaving.add(60_000, per_minute.0);
    let (per_minute, at_once) = (claim(per_minute), claim(at_once));
    ShareRequest { seq, limits: LIMITS, per_minute, at_once, leaving, rests: false }
}

async fn send(stage: &Stage, seconds: i64, request: &LeaseRequest) -> Leased {
    stage.store.lease(request, Timestamp::from_micros(seconds * 1_000_000)).await.unwrap()
}

async fn granted(stage: &Stage, seconds: i64, request: &LeaseRequest, share: &ShareRequest) -> Option<ShareGrant> {
    match send(stage, seconds, &LeaseRequest { requests: Some(*share), ..*request }).await {
        Leased::Renewed { requests, .. } => requests,
        refused => panic!("{request:?}: {refused:?}"),
    }
}

/// A lease without funds, of the gateway and run whose number it has.
fn of(account: AccountId, lease: u128, seq: u64) -> LeaseRequest {
    LeaseRequest { seq, ..opening(account, lease, Funds::ZERO) }
}

async fn documents(stage: &Stage) -> Vec<String> {
    stage.rows("SELECT {id:account_id} || ' ' || shares FROM request_shares ORDER BY account_id").await
}

pub(super) async fn shares_of_requests_never_exceed_the_limits(stage: Stage) {
    let (account, other) = (rich(&stage, 0).await, rich(&stage, 1).await);
    let most = |grant: Option<ShareGrant>| grant.map(|grant| (grant.per_minute.most, grant.at_once.most));
    let first = granted(&stage, 100, &of(account, 1, 1), &share(1, (0, 1, 6), (0, 1, 1))).await;
    assert_eq!(most(first), Some((6, 1)));
    let second = granted(&stage, 101, &of(account, 2, 1), &share(1, (0, 1, 9), (0, 1, 9))).await;
    assert_eq!(most(second), Some((2, 1)), "a part of what is left");
    let second = granted(&stage, 102, &of(account, 2, 2), &share(2, (2, 5, 5), (1, 3, 3))).await.expect("an answer");
    assert_eq!((second.per_minute, second.at_once), (Share { most: 2, fair: None }, Share { most: 3, fair: None }));
    assert_eq!((second.valid_ms, second.retry_after_ms), (10_000, 1_000));
    // The other account's are its own.
    let others = granted(&stage, 102, &of(other, 3, 1), &share(1, (0, 10, 10), (0, 4, 4))).await;
    assert_eq!(most(others), Some((10, 4)));
    // What the first gives back, the second gets.
    let first = granted(&stage, 103, &of(account, 1, 2), &share(2, (3, 3, 3), (0, 0, 0))).await.expect("an answer");
    assert_eq!(first.per_minute, Share { most: 3, fair: Some(5) });
    let second = granted(&stage, 104, &of(account, 2, 3), &share(3, (2, 7, 7), (3, 4, 4))).await.expect("an answer");
    assert_eq!((second.per_minute.most, second.at_once.most, second.elsewhere), (7, 4, 3));
}

pub(super) async fn a_message_that_must_not_count_changes_no_share(stage: Stage) {
    let account = rich(&stage, 0).await;
    granted(&stage, 100, &of(account, 1, 1), &share(7, (0, 6, 6), (0, 4, 4))).await.expect("an answer");
    let before = documents(&stage).await;
    assert_eq!(before.len(), 1);
    // Heard late, on a lease that takes it.
    assert_eq!(granted(&stage, 101, &of(account, 1, 2), &share(6, (0, 0, 0), (0, 0, 0))).await, None);
    // In order, on a lease that does not.
    for (seq, ceiling, refused) in [(2, Funds::ZERO, Refused::Stale), (3, funds("1", 0), Refused::Impossible)] {
        let requests = Some(share(8, (0, 0, 0), (0, 0, 0)));
        let message = LeaseRequest { requests, ..message(account, 1, seq, Funds::ZERO, ceiling) };
        assert_eq!(send(&stage, 102, &message).await, Leased::Refused(refused, Some(2)));
    }
    // Or says nothing of requests.
    assert!(matches!(send(&stage, 103, &of(account, 1, 3)).await, Leased::Renewed { requests: None, .. }));
    assert_eq!(documents(&stage).await, before);
}

pub(super) async fn shares_end_by_the_clock_and_outlast_a_reset(stage: Stage) {
    let account = rich(&stage, 0).await;
    granted(&stage, 100, &of(account, 1, 1), &share(1, (0, 10, 10), (0, 4, 4))).await.expect("an answer");
    let before = documents(&stage).await;
    stage.store.reset().await.unwrap();
    assert_eq!(documents(&stage).await, before, "a reset keeps them");
    rich(&stage, 0).await;
    let check = async |seconds: i64, lease: u128, most: (u32, u32)| {
        let all = share(1, (0, 10, 10), (0, 4, 4));
        let grant = granted(&stage, seconds, &of(account, lease, 1), &all).await.expect("an answer");
        assert_eq!((grant.per_minute.most, grant.at_once.most), most, "{seconds} s");
    };
    check(169, 2, (0, 0)).await;
    check(170, 3, (10, 4)).await;
    // When nothing counts any more, nothing is kept.
    let rests = ShareRequest { rests: true, ..share(2, (0, 0, 0), (0, 0, 0)) };
    granted(&stage, 240, &of(account, 3, 2), &rests).await.expect("an answer");
    assert_eq!(documents(&stage).await, Vec::<String>::new());
}
