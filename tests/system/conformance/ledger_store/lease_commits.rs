//! What posts on leases, and what facts from outside do to them.

use ledger::store::Draw;
use schemas::Usd;
use schemas::api::{Funds, LeaseRequest};
use schemas::event::Funding;

use super::commit::{empty, state};
use super::events::{funded, grant, leased, take, usage, usd};
use super::leases::{HERE, closing, funds, held, lease_id, leases, message, opening, renewed, rich};
use super::stage::Stage;

/// What was posted on each lease.
async fn posted(stage: &Stage) -> Vec<String> {
    stage.rows("SELECT {pico:posted_usd} || ' ' || posted_tokens FROM leases ORDER BY lease_id").await
}

pub(super) async fn what_posts_is_reserved_no_more(stage: Stage) {
    let (account, other) = (rich(&stage, 0).await, rich(&stage, 1).await);
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    renewed(&stage, &opening(account, 2, funds("1", 100))).await;
    renewed(&stage, &opening(other, 3, funds("3", 300))).await;
    let one = |id, plan_tokens, completion| leased(account, id, lease_id(1), plan_tokens, completion);
    stage.apply(HERE, &[one(1, 10, 250_000), one(2, 0, 1), leased(other, 3, lease_id(3), 5, 0), one(4, 20, 0)]).await;
    assert_eq!(posted(&stage).await, ["250001000000 30", "0 0", "0 5"]);
    assert_eq!(held(&stage, account).await, [funds("4.749999000001", 970), funds("2.749999", 270), Funds::ZERO]);
    assert_eq!(held(&stage, other).await, [funds("5.000000000001", 995), funds("3", 295), Funds::ZERO]);

    // A repeat posts nothing, and so does what can't post.
    let wrong = Funding { plan_tokens: 0, credit_usd: usd("1") };
    let mut broken = funded(account, 5, lease_id(1), [0, 1_000_000], wrong);
    let at = broken.windows(10).position(|bytes| bytes == b"\"cost_usd\"").unwrap();
    broken.splice(at + 12..at + 13, *b"2");
    let repeat = one(1, 10, 250_000);
    stage.apply(HERE, &[repeat, broken]).await;
    assert_eq!(stage.counts().await[5], 1, "one record in quarantine");
    assert_eq!(posted(&stage).await, ["250001000000 30", "0 0", "0 5"]);

    // What is charged on no lease lowers what there is, and not what is reserved.
    stage.apply(HERE, &[usage(account, 6, 1_000_000, "1")]).await;
    assert_eq!(held(&stage, account).await, [funds("3.750962000001", 0), funds("2.749999", 270), funds("0", 270)]);

    // The rest that may be granted is what is not reserved: 3.750962000001 - 1 - (2 - 0.250001).
    let (spent, ceiling) = (funds("0.250001", 30), funds("2", 200));
    let all = LeaseRequest { need: funds("3.000963000001", 0), ..message(account, 1, 2, spent, ceiling) };
    let (lease, _, view) = renewed(&stage, &all).await;
    assert_eq!((lease.granted, lease.posted), (funds("3.000963000001", 200), spent));
    assert_eq!(view.balance_usd, usd("3.750962000001"));
    assert_eq!(held(&stage, account).await[1], funds("3.750962000001", 270));
}

pub(super) async fn one_request_counts_on_its_own_lease_only(stage: Stage) {
    let (account, other) = (rich(&stage, 0).await, rich(&stage, 1).await);
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    renewed(&stage, &opening(other, 2, funds("2", 200))).await;
    // Another account's lease, and none that there is.
    let records = [leased(account, 1, lease_id(2), 10, 10), leased(account, 2, lease_id(7), 10, 10)];
    stage.apply(HERE, &records).await;
    assert_eq!(posted(&stage).await, ["0 0", "0 0"]);
    assert_eq!(held(&stage, account).await, [funds("4.999980000001", 980), funds("2", 200), Funds::ZERO]);
    assert_eq!(held(&stage, other).await, [funds("5.000000000001", 1_000), funds("2", 200), Funds::ZERO]);
}

pub(super) async fn a_closed_lease_is_gone_when_all_of_it_posted(stage: Stage) {
    let account = rich(&stage, 0).await;
    let check = async |name: &str, leases_left: usize, reserved: Funds| {
        assert_eq!((leases(&stage).await.len(), held(&stage, account).await[1]), (leases_left, reserved), "{name}");
    };
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    renewed(&stage, &opening(account, 2, funds("0.5", 50))).await;
    stage
        .apply(HERE, &[leased(account, 1, lease_id(1), 10, 1_000_000), leased(account, 2, lease_id(2), 50, 500_000)])
        .await;
    check("an open lease stays, all posted or not", 2, funds("1", 190)).await;
    renewed(&stage, &closing(account, 1, 2, funds("1.25", 11))).await;
    check("the rest is given back, what is to post is not", 2, funds("0.25", 1)).await;
    stage.apply(HERE, &[leased(account, 3, lease_id(1), 0, 250_000)]).await;
    check("money is posted, a token is not", 2, funds("0", 1)).await;
    stage.apply(HERE, &[leased(account, 4, lease_id(1), 1, 0)]).await;
    check("all is posted", 1, Funds::ZERO).await;
    renewed(&stage, &closing(account, 2, 2, funds("0.5", 50))).await;
    check("all was posted before it was closed", 0, Funds::ZERO).await;
    assert_eq!(held(&stage, account).await, [funds("3.250000000001", 939), Funds::ZERO, Funds::ZERO]);
}

/// The account's last digit, granted on one lease, and taken away.
pub(super) async fn what_a_fact_takes_from_under_leases_is_short_until_it_is_made_up(stage: Stage) {
    let account = rich(&stage, 0).await;
    renewed(&stage, &opening(account, 1, funds("3", 0))).await;
    renewed(&stage, &opening(account, 2, funds("1", 0))).await;
    stage.apply(HERE, &[take(account, 1, usd("3.500000000001"))]).await;
    assert_eq!(held(&stage, account).await, [funds("1.5", 1_000), funds("4", 0), funds("2.5", 0)]);
    let asked = async |lease, seq, ceiling: Funds| {
        // The least that there is, for whoever has it.
        let need = ceiling.plus(funds("0.000000000001", 0)).unwrap();
        let request = LeaseRequest { need, ..message(account, lease, seq, Funds::ZERO, ceiling) };
        let (lease, _, _) = renewed(&stage, &request).await;
        (lease.granted, held(&stage, account).await)
    };
    // Nobody gets more, and whoever gives back makes up for it.
    assert_eq!(
        asked(2, 2, funds("1", 0)).await,
        (funds("1", 0), [funds("1.5", 1_000), funds("4", 0), funds("2.5", 0)])
    );
    assert_eq!(
        asked(1, 2, funds("2", 0)).await,
        (funds("2", 0), [funds("1.5", 1_000), funds("3", 0), funds("1.5", 0)])
    );
    assert_eq!(renewed(&stage, &opening(account, 3, funds("0.000000000001", 0))).await.0.granted, Funds::ZERO);
    // What was spent posts, whatever is left, and leaves a debt.
    stage.apply(HERE, &[leased(account, 2, lease_id(1), 0, 2_000_000)]).await;
    assert_eq!(held(&stage, account).await, [funds("0", 1_000), funds("1", 0), funds("1", 0)]);
    stage.apply(HERE, &[take(account, 3, usd("0.5"))]).await;
    assert_eq!(held(&stage, account).await, [funds("0", 1_000), funds("1", 0), funds("1", 0)]);
    // Credit pays the debt of 1, then makes up, and what is above that can be granted.
    stage.apply(HERE, &[grant(account, 4, 4, usd("1.25"), 1)]).await;
    assert_eq!(held(&stage, account).await, [funds("0.25", 1_000), funds("1", 0), funds("0.75", 0)]);
    assert_eq!(asked(2, 3, funds("0.5", 0)).await.0, funds("0.5", 0));
    stage.apply(HERE, &[grant(account, 5, 6, usd("1"), 1)]).await;
    let all = funds("1.25", 1_000);
    assert_eq!(held(&stage, account).await, [all, funds("0.5", 0), Funds::ZERO]);
    assert_eq!(
        asked(2, 4, funds("0.5", 0)).await,
        (funds("0.500000000001", 0), [all, funds("0.500000000001", 0), Funds::ZERO])
    );
}

/// A gateway that is out of its mind must not stop the fold (I3): an event takes from its lease at most what there is.
pub(super) async fn no_funding_stops_a_commit(stage: Stage) {
    let account = rich(&stage, 0).await;
    let (one, two) = (lease_id(1), lease_id(2));
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    renewed(&stage, &opening(account, 2, funds("1", 100))).await;
    let most: Usd = "9000000".parse().unwrap();
    let records = [
        funded(account, 1, one, [10, 10], Funding { plan_tokens: u64::MAX, credit_usd: most }),
        funded(account, 2, one, [10, 10], Funding { plan_tokens: u64::MAX, credit_usd: most }),
        funded(account, 3, two, [0, 10], Funding { plan_tokens: 0, credit_usd: usd("-1") }),
    ];
    for record in records {
        stage.apply(HERE, &[record]).await;
    }
    assert_eq!(posted(&stage).await, ["40000000 40", "0 0"], "no more than the requests are worth");
    assert_eq!(held(&stage, account).await[1..], [funds("2.99996", 260), Funds::ZERO]);
    assert_eq!(stage.counts().await[5], 0, "the requests themselves are charged");

    // Nor does a sum that no store can keep.
    let before = stage.head(HERE).await;
    let most = Funds { usd: Usd::from_pico(i64::MAX), plan_tokens: u64::MAX };
    for next in [7, 8] {
        let mut commit = empty(HERE, next - 1, next);
        commit.from_chain = stage.head(HERE).await.chain;
        commit.accounts = vec![state(account, Usd::ZERO)];
        commit.draws = vec![Draw { lease_id: one, account_id: account, funds: most }];
        stage.store.commit(&commit).await.unwrap();
        assert_eq!(posted(&stage).await, ["2000000000000 200", "0 0"], "all that was granted");
    }
    assert_eq!((before.next.0, held(&stage, account).await[1]), (6, funds("1", 100)));
}
