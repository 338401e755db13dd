//! Requests that two gateways charged, or one gateway told twice.

use ledger::store::{Draw, Repeat, record_tag};
use schemas::api::{Funds, LeaseRequest};
use schemas::event::Funding;
use schemas::{Event, EventId};

use super::events::{event_id, funded, leased, usd};
use super::leases::{HERE, funds, held, lease_id, leases, message, opening, renewed, rich};
use super::stage::Stage;

async fn repeats(stage: &Stage) -> Vec<Repeat> {
    stage.store.repeats(99).await.unwrap()
}

pub(super) async fn a_second_charge_of_a_request_is_drawn_from_its_lease_once(stage: Stage) {
    let account = rich(&stage, 0).await;
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    renewed(&stage, &opening(account, 2, funds("1", 100))).await;
    let first = leased(account, 7, lease_id(1), 10, 250_000);
    let second = leased(account, 7, lease_id(2), 20, 500_000);
    // A derived id names the fact by itself: whoever words it anew tells a repeat.
    let derived = |record: &[u8]| {
        let mut event = Event::decode(record).unwrap();
        event.id = EventId(account.derive("usage"));
        event.encode().unwrap()
    };
    let (first, second) = (derived(&first), derived(&second));
    stage.apply(HERE, &[first.clone(), second.clone()]).await;
    let has = funds("4.750000000001", 990);
    assert_eq!(held(&stage, account).await, [has, funds("2.75", 290), Funds::ZERO], "one posted, and one waits");
    // The records again, as a spool tells them after a crash.
    stage.apply(HERE, &[second.clone(), first.clone()]).await;
    let id = EventId(account.derive("usage"));
    let of = |lease, record: &[u8], drawn| Repeat {
        event_id: id,
        record_tag: record_tag(record),
        draw: Draw { lease_id: lease_id(lease), account_id: account, funds: drawn },
    };
    let (same, other) = (of(1, &first, funds("0.25", 10)), of(2, &second, funds("0.5", 20)));
    let mut expected = vec![same, other];
    expected.sort_by_key(|repeat| repeat.record_tag);
    assert_eq!(repeats(&stage).await, expected);

    stage.store.settle_repeat(&same, false).await.unwrap();
    assert_eq!((repeats(&stage).await, held(&stage, account).await[1]), (vec![other], funds("2.75", 290)));
    for _ in 0..2 {
        stage.store.settle_repeat(&other, true).await.unwrap();
        stage.apply(HERE, &[second.clone(), first.clone()]).await;
        assert_eq!((repeats(&stage).await, held(&stage, account).await[1]), (vec![], funds("2.25", 270)), "once");
    }
    assert_eq!(held(&stage, account).await[0], has);

    // A store that is folded again draws it again, and once.
    stage.store.reset().await.unwrap();
    assert_eq!(repeats(&stage).await, []);
    rich(&stage, 0).await;
    let told = [&first, &second, &second, &first, &second, &first, &second, &first].map(Clone::clone);
    stage.apply(HERE, &told).await;
    assert_eq!(held(&stage, account).await[1], funds("2.75", 290));
    stage.store.settle_repeat(&same, false).await.unwrap();
    stage.store.settle_repeat(&other, true).await.unwrap();
    assert_eq!((repeats(&stage).await, held(&stage, account).await[1]), (vec![], funds("2.25", 270)));

    // With its lease, all that is known of it is gone.
    let close = LeaseRequest { close: true, ..message(account, 2, 2, funds("0.5", 20), funds("0.5", 20)) };
    renewed(&stage, &close).await;
    assert_eq!((leases(&stage).await.len(), held(&stage, account).await[1]), (1, funds("1.75", 190)));
    assert_eq!(
        (repeats(&stage).await, stage.rows("SELECT {id:event_id} FROM repeated_charges").await.len()),
        (vec![], 1)
    );
    stage.apply(HERE, &[second]).await;
    assert_eq!(repeats(&stage).await, [], "no lease, nothing to draw from");
}

pub(super) async fn a_repeat_draws_no_more_than_its_lease_has(stage: Stage) {
    let account = rich(&stage, 0).await;
    renewed(&stage, &opening(account, 1, funds("0.5", 5))).await;
    renewed(&stage, &opening(account, 2, funds("0.5", 5))).await;
    let wild = Funding { plan_tokens: u64::MAX, credit_usd: usd("9000000") };
    let told = funded(account, 9, lease_id(1), [10, 900_000], wild);
    stage.apply(HERE, &[told.clone(), told]).await;
    assert_eq!(held(&stage, account).await[1], funds("0.5", 5));
    let [repeat] = repeats(&stage).await[..] else { panic!("one repeat") };
    assert_eq!((repeat.event_id, repeat.draw.funds), (event_id(9), funds("0.90001", 900_010)));
    stage.store.settle_repeat(&repeat, true).await.unwrap();
    assert_eq!(held(&stage, account).await[1], funds("0.5", 5), "the other lease's is as it was");
    // Of what nobody noted, nothing is drawn.
    let unknown = Repeat { record_tag: 1, draw: Draw { lease_id: lease_id(2), ..repeat.draw }, ..repeat };
    stage.store.settle_repeat(&unknown, true).await.unwrap();
    assert_eq!(held(&stage, account).await[1], funds("0.5", 5));
}
