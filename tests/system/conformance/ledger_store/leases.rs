//! Gateways' messages about their leases: what is granted, what is refused, what is reserved.

use accounting::lease::{Lease, Refused};
use ledger::store::{Leased, LeasedGateway};
use schemas::api::{AccountView, Funds, LeaseRequest};
use schemas::{AccountId, GatewayId, LeaseId, PartitionId, RunId, Timestamp};
use uuid::Uuid;

use super::events::{grant, leased, open, subscribed, usd};
use super::stage::{Stage, account_in};

pub(super) const HERE: PartitionId = PartitionId(20);

pub(super) fn funds(money: &str, plan_tokens: u64) -> Funds {
    Funds { usd: usd(money), plan_tokens }
}

pub(super) fn lease_id(n: u128) -> LeaseId {
    LeaseId(Uuid::from_u128(0x1ea5e << 64 | n))
}

pub(super) fn gateway_id(n: u128) -> GatewayId {
    GatewayId(Uuid::from_u128(0x6a7e << 64 | n))
}

pub(super) fn run_id(n: u128) -> RunId {
    RunId(Uuid::from_u128(0x9e9 << 64 | n))
}

/// A message of the gateway and run whose number the lease has.
pub(super) fn message(account_id: AccountId, lease: u128, seq: u64, spent: Funds, ceiling: Funds) -> LeaseRequest {
    LeaseRequest {
        account_id,
        lease_id: lease_id(lease),
        gateway_id: gateway_id(lease),
        run_id: run_id(lease),
        seq,
        spent,
        ceiling,
        need: Funds::ZERO,
        wish: Funds::ZERO,
        close: false,
        requests: None,
    }
}

/// A message that opens a lease with exactly this.
pub(super) fn opening(account_id: AccountId, lease: u128, need: Funds) -> LeaseRequest {
    LeaseRequest { need, wish: need, ..message(account_id, lease, 1, Funds::ZERO, Funds::ZERO) }
}

pub(super) fn closing(account_id: AccountId, lease: u128, seq: u64, spent: Funds) -> LeaseRequest {
    LeaseRequest { close: true, ..message(account_id, lease, seq, spent, spent) }
}

/// Sends a message at a moment that its number tells.
pub(super) async fn send(stage: &Stage, request: &LeaseRequest) -> Leased {
    let now = Timestamp::from_micros(1_000 + i64::try_from(request.seq).unwrap_or(0));
    stage.store.lease(request, now).await.unwrap()
}

/// The lease after a message that was carried out, what others may give back, and the account.
pub(super) async fn renewed(stage: &Stage, request: &LeaseRequest) -> (Lease, Funds, AccountView) {
    match send(stage, request).await {
        Leased::Renewed { lease, idle_elsewhere, account, .. } => (lease, idle_elsewhere, *account),
        refused => panic!("{request:?}: {refused:?}"),
    }
}

/// What an account has, what its leases reserve of that, and what of this it does not have.
pub(super) async fn held(stage: &Stage, account: AccountId) -> [Funds; 3] {
    let columns = "{pico:usd} || ' ' || tokens || ' ' || {pico:reserved_usd} || ' ' || reserved_tokens || ' ' || \
                   {pico:short_usd} || ' ' || short_tokens";
    let id = account.0.simple();
    let rows = stage.rows(&format!("SELECT {columns} FROM funds WHERE {{id:account_id}} = '{id}'")).await;
    let row: Vec<i64> = rows[0].split(' ').map(|number| number.parse().unwrap()).collect();
    let funds =
        |at: usize| Funds { usd: schemas::Usd::from_pico(row[at]), plan_tokens: u64::try_from(row[at + 1]).unwrap() };
    [funds(0), funds(2), funds(4)]
}

/// All leases, each with all that is kept of it.
pub(super) async fn leases(stage: &Stage) -> Vec<String> {
    stage
        .rows(
            "SELECT {id:lease_id} || ' ' || {id:account_id} || ' ' || partition_no || ' ' || {id:gateway_id} || ' ' || \
             {id:run_id} || ' ' || seq || ' ' || {pico:granted_usd} || ' ' || granted_tokens || ' ' || \
             {pico:spent_usd} || ' ' || spent_tokens || ' ' || {pico:posted_usd} || ' ' || posted_tokens || ' ' || \
             CASE WHEN closed THEN 'closed' ELSE 'open' END || ' ' || coalesce(ends_at, -1) || ' ' || renewed_at \
             FROM leases ORDER BY lease_id",
        )
        .await
}

/// An account with 5 USD and the smallest amount there is, and 1,000 plan tokens; a batch of three records.
pub(super) async fn rich(stage: &Stage, n: usize) -> AccountId {
    let account = account_in(HERE, n);
    let id = 100 * (n as u128 + 1);
    let records =
        [open(account, id), grant(account, id + 1, id, usd("5.000000000001"), 1), subscribed(account, id + 2, 1_000)];
    stage.apply(HERE, &records).await;
    account
}

pub(super) async fn a_message_is_answered_with_exact_amounts(stage: Stage) {
    let stranger = account_in(HERE, 9);
    assert_eq!(send(&stage, &opening(stranger, 1, funds("1", 1))).await, Leased::NoAccount);
    let account = rich(&stage, 0).await;
    let all = funds("5.000000000001", 1_000);

    let wish = funds("10", 9_000);
    let first = LeaseRequest { wish, ..opening(account, 1, funds("1", 100)) };
    let (lease, idle, view) = renewed(&stage, &first).await;
    let granted = funds("1.25", 250);
    assert_eq!((lease, idle), (Lease { seq: 1, granted, ..Lease::default() }, Funds::ZERO), "a quarter");
    assert_eq!((view.account_id, view.balance_usd, view.version.offset.0), (account, usd("5.000000000001"), 2));
    assert_eq!(held(&stage, account).await, [all, granted, Funds::ZERO]);

    let second = LeaseRequest { wish, ..opening(account, 2, funds("0.5", 0)) };
    let (lease, idle, _) = renewed(&stage, &second).await;
    let granted = funds("0.9375", 187);
    assert_eq!((lease, idle), (Lease { seq: 1, granted, ..Lease::default() }, funds("1.25", 250)));
    assert_eq!(held(&stage, account).await, [all, funds("2.1875", 437), Funds::ZERO]);

    let (spent, ceiling) = (funds("0.25", 50), funds("0.5", 100));
    let more = LeaseRequest { need: funds("4", 0), ..message(account, 1, 7, spent, ceiling) };
    let (lease, idle, _) = renewed(&stage, &more).await;
    let granted = funds("4", 100);
    assert_eq!((lease, idle), (Lease { seq: 7, granted, spent, ..Lease::default() }, funds("0.9375", 187)));
    assert_eq!(held(&stage, account).await, [all, funds("4.9375", 287), Funds::ZERO]);

    let ceiling = funds("0.9375", 7);
    let more = LeaseRequest { need: funds("1.000000000002", 900), ..message(account, 2, 2, Funds::ZERO, ceiling) };
    assert_eq!(renewed(&stage, &more).await.0.granted, ceiling, "all that is needed, or nothing");
    assert_eq!(held(&stage, account).await[1], funds("4.9375", 107));
    let granted = funds("1.000000000001", 900);
    let last = LeaseRequest { need: granted, ..message(account, 2, 3, Funds::ZERO, ceiling) };
    let Leased::Renewed { lease, free, idle_elsewhere: idle, .. } = send(&stage, &last).await else {
        panic!("refused")
    };
    assert_eq!(free, Funds::ZERO);
    assert_eq!((lease, idle), (Lease { seq: 3, granted, ..Lease::default() }, funds("3.75", 50)));
    assert_eq!(held(&stage, account).await, [all, all, Funds::ZERO], "to the last digit, and no more");

    // Another account's funds are another account's.
    let other = rich(&stage, 1).await;
    let (lease, idle, _) = renewed(&stage, &opening(other, 3, all)).await;
    assert_eq!((lease.granted, idle), (all, Funds::ZERO));
    assert_eq!(held(&stage, account).await, [all, all, Funds::ZERO]);
    let row = |n: u128, account: AccountId, rest: &str| {
        let (lease, gateway, run) = (lease_id(n).0.simple(), gateway_id(n).0.simple(), run_id(n).0.simple());
        format!("{lease} {} 20 {gateway} {run} {rest}", account.0.simple())
    };
    let kept = [
        row(1, account, "7 4000000000000 100 250000000000 50 0 0 open -1 1007"),
        row(2, account, "3 1000000000001 900 0 0 0 0 open -1 1003"),
        row(3, other, "1 5000000000001 1000 0 0 0 0 open -1 1001"),
    ];
    assert_eq!(leases(&stage).await, kept);
}

pub(super) async fn a_message_that_must_not_count_changes_nothing(stage: Stage) {
    let (account, other) = (rich(&stage, 0).await, rich(&stage, 1).await);
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    let (spent, ceiling) = (funds("0.5", 50), funds("1", 100));
    renewed(&stage, &message(account, 1, 3, spent, ceiling)).await;
    renewed(&stage, &opening(other, 2, funds("1", 10))).await;
    let before = (leases(&stage).await, held(&stage, account).await, held(&stage, other).await);
    let check = async |request: LeaseRequest, refused: Refused, last: Option<u64>| {
        assert_eq!(send(&stage, &request).await, Leased::Refused(refused, last), "{request:?}");
        let after = (leases(&stage).await, held(&stage, account).await, held(&stage, other).await);
        assert_eq!(after, before, "{request:?}");
    };
    let fine = message(account, 1, 4, spent, ceiling);
    check(LeaseRequest { seq: 3, ..fine }, Refused::Stale, Some(3)).await;
    check(opening(account, 1, funds("1", 1)), Refused::Stale, Some(3)).await;
    check(message(account, 8, 2, Funds::ZERO, funds("1", 0)), Refused::Unknown, None).await;
    check(LeaseRequest { ceiling: funds("1.000000000001", 100), ..fine }, Refused::Impossible, Some(3)).await;
    check(LeaseRequest { spent: funds("0.5", 49), ..fine }, Refused::Impossible, Some(3)).await;
    check(LeaseRequest { need: funds("-1", 0), ..fine }, Refused::Impossible, Some(3)).await;
    check(LeaseRequest { close: true, ..fine }, Refused::Impossible, Some(3)).await;
    // A lease's id with another account: it is not open there, and can't be opened there.
    check(LeaseRequest { account_id: other, ..fine }, Refused::Unknown, None).await;
    check(LeaseRequest { account_id: other, ..opening(account, 1, funds("1", 1)) }, Refused::Impossible, None).await;

    // What is closed, and still to post, stays closed.
    renewed(&stage, &closing(account, 1, 4, spent)).await;
    let rows = leases(&stage).await;
    assert_eq!(send(&stage, &message(account, 1, 5, spent, spent)).await, Leased::Refused(Refused::Unknown, Some(4)));
    assert_eq!(leases(&stage).await, rows);
    assert_eq!(held(&stage, account).await[1], spent);
}

pub(super) async fn a_lease_that_spent_nothing_is_gone_when_it_is_closed(stage: Stage) {
    let (account, other) = (rich(&stage, 0).await, rich(&stage, 1).await);
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    renewed(&stage, &opening(account, 2, funds("1", 0))).await;
    let (lease, idle, _) = renewed(&stage, &closing(account, 1, 2, Funds::ZERO)).await;
    assert_eq!((lease.granted, lease.closed, idle), (Funds::ZERO, true, funds("1", 0)));
    assert_eq!(held(&stage, account).await, [funds("5.000000000001", 1_000), funds("1", 0), Funds::ZERO]);
    assert_eq!(leases(&stage).await.len(), 1);
    // With another account's name nothing of that one is forgotten.
    let others = LeaseRequest { account_id: other, ..closing(account, 2, 2, Funds::ZERO) };
    assert_eq!(send(&stage, &others).await, Leased::Refused(Refused::Unknown, None));
    assert_eq!(leases(&stage).await.len(), 1);
    assert_eq!(send(&stage, &closing(account, 1, 3, Funds::ZERO)).await, Leased::Refused(Refused::Unknown, None));
}

/// A message that opens a lease may be heard when its run has given up waiting for the answer, and uses another one.
pub(super) async fn a_lease_that_is_opened_too_late_takes_nothing_away(stage: Stage) {
    let account = rich(&stage, 0).await;
    let of_run = |request: LeaseRequest| LeaseRequest { gateway_id: gateway_id(7), run_id: run_id(7), ..request };
    let (late, used) = (of_run(opening(account, 1, funds("1", 100))), of_run(opening(account, 2, funds("2", 200))));
    renewed(&stage, &used).await;
    renewed(&stage, &late).await;
    assert_eq!(held(&stage, account).await[1], funds("3", 300), "what is in use stays reserved");
    let (lease, idle, _) = renewed(&stage, &LeaseRequest { seq: 2, ceiling: used.need, ..used }).await;
    assert_eq!((lease.granted, idle), (funds("2", 200), Funds::ZERO));
    assert_eq!(held(&stage, account).await[1], funds("2", 200), "what came too late is gone");

    // What something was spent on, or posted, or that is another run's, is not.
    let spent = LeaseRequest { seq: 3, spent: funds("0", 1), ceiling: used.need, ..used };
    renewed(&stage, &spent).await;
    renewed(&stage, &of_run(opening(account, 3, funds("0.5", 0)))).await;
    renewed(&stage, &LeaseRequest { run_id: run_id(8), ..of_run(opening(account, 4, funds("0.25", 0))) }).await;
    assert_eq!(held(&stage, account).await[1], funds("2.75", 200));
    stage.apply(HERE, &[leased(account, 1, lease_id(3), 0, 1)]).await;
    renewed(&stage, &of_run(opening(account, 5, funds("0.125", 0)))).await;
    assert_eq!((leases(&stage).await.len(), held(&stage, account).await[1]), (4, funds("2.874999", 200)));
}

/// Whatever a ledger computes, the database itself does not let more be reserved than there is (I6).
pub(super) async fn no_statement_reserves_more_than_there_is(stage: Stage) {
    let account = rich(&stage, 0).await;
    renewed(&stage, &opening(account, 1, funds("5.000000000001", 1_000))).await;
    let before = held(&stage, account).await;
    let check = async |constraint: &str, sql| {
        let said = stage.refuses(sql).await;
        assert!(said.contains(constraint), "{sql}: {said}");
        assert_eq!(held(&stage, account).await, before, "{sql}");
    };
    check("no_overspend_of_money", "UPDATE funds SET reserved_usd = reserved_usd + 1").await;
    check("no_overspend_of_tokens", "UPDATE funds SET reserved_tokens = reserved_tokens + 1").await;
    check("no_overspend_of_money", "UPDATE funds SET usd = usd - 1").await;
    check("no_overspend_of_tokens", "UPDATE funds SET tokens = tokens - 1").await;
    check("short_usd", "UPDATE funds SET short_usd = -1, reserved_usd = 0").await;
    check("short_tokens", "UPDATE funds SET short_tokens = -1, reserved_tokens = 0").await;
}

pub(super) async fn gateways_are_told_with_what_they_reserve(stage: Stage) {
    assert_eq!(stage.store.gateways().await.unwrap(), []);
    let (one, two) = (rich(&stage, 0).await, rich(&stage, 1).await);
    let of_one = |request: LeaseRequest| LeaseRequest { gateway_id: gateway_id(1), ..request };
    renewed(&stage, &opening(one, 1, funds("2", 200))).await;
    renewed(&stage, &of_one(opening(two, 2, funds("0.000000000001", 1)))).await;
    renewed(&stage, &opening(two, 3, funds("1", 10))).await;
    renewed(&stage, &of_one(message(two, 2, 5, Funds::ZERO, funds("0.000000000001", 1)))).await;
    let gateway = |n, leases, reserved, renewed_at| LeasedGateway {
        gateway_id: gateway_id(n),
        leases,
        reserved,
        renewed_at: Timestamp::from_micros(renewed_at),
    };
    let told = [gateway(1, 2, funds("2.000000000001", 201), 1_005), gateway(3, 1, funds("1", 10), 1_001)];
    assert_eq!(stage.store.gateways().await.unwrap(), told);
}
