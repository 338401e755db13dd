//! Gateways that ask at once, of several ledgers, while others commit and dead runs' leases end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventlog::{Sink as _, SinkError};
use ledger::store::Leased;
use ledger::{Feed, LedgerSink, PostgresStore, Store};
use schemas::api::{CloseLeases, Funds, LeaseRequest};
use schemas::{AccountId, Offset, RunId, Timestamp, Usd};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::events::{grant, leased, open};
use super::leases::{HERE, gateway_id, held, lease_id, leases, message, run_id};
use super::stage::{PARTITIONS, Stage, account_in, batch};

const SEED: u64 = 7;
const STORES: usize = 3;
const GATEWAYS: u64 = 6;
const ACCOUNTS: usize = 2;
/// What each account has, in 10⁻¹² USD: little, so that it runs out.
const EACH: u64 = 2_000_000_000;
const PATIENCE: Duration = Duration::from_secs(15);

/// The log of [`HERE`], before which nothing else is.
type Log = Arc<Mutex<Vec<Vec<u8>>>>;

/// The same seed, the same numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A gateway's lease on one account, as the gateway knows it. Amounts are tokens at 10⁻⁶ USD each.
#[derive(Clone, Copy, Default)]
struct Held {
    id: u128,
    seq: u64,
    spent: u64,
    granted: u64,
}

struct Gateway {
    number: u64,
    run: u128,
    leases_opened: u128,
    events: u128,
    random: Random,
    store: Arc<dyn Store>,
    log: Log,
    held: [Option<Held>; ACCOUNTS],
}

fn money(tokens: u64) -> Funds {
    Funds { usd: Usd::from_pico(i64::try_from(tokens * 1_000_000).unwrap()), plan_tokens: 0 }
}

impl Gateway {
    async fn step(&mut self) {
        let account = usize::try_from(self.random.below(ACCOUNTS as u64)).unwrap();
        match (self.random.below(20), self.held[account]) {
            (0, _) => self.restart().await,
            (1, Some(held)) => self.close(account, held).await,
            (2..10, Some(held)) => self.renew(account, held).await,
            (_, Some(held)) => self.spend(account, held).await,
            (_, None) => self.open(account).await,
        }
    }

    async fn spend(&mut self, account: usize, held: Held) {
        let tokens = self.random.below(40).min(held.granted - held.spent);
        self.events += 1;
        let id = u128::from(self.number) << 32 | self.events;
        let record = leased(account_in(HERE, account), id, lease_id(held.id), 0, tokens);
        self.log.lock().await.push(record);
        self.held[account] = Some(Held { spent: held.spent + tokens, ..held });
    }

    async fn open(&mut self, account: usize) {
        self.leases_opened += 1;
        let id = u128::from(self.number) << 32 | self.leases_opened;
        self.ask(account, Held { id, ..Held::default() }, 0).await;
    }

    async fn renew(&mut self, account: usize, held: Held) {
        let ceiling = held.spent + self.random.below(held.granted - held.spent + 1);
        self.ask(account, held, ceiling).await;
    }

    async fn ask(&mut self, account: usize, held: Held, ceiling: u64) {
        let held = Held { seq: held.seq + 1, ..held };
        let need = money(ceiling + self.random.below(200));
        let request = LeaseRequest { need, wish: money(ceiling + 400), ..self.message(account, held, ceiling) };
        let lease = self.send(&request).await;
        let granted = lease.granted.usd.to_pico().unwrap() / 1_000_000;
        self.held[account] = Some(Held { granted: u64::try_from(granted).unwrap(), ..held });
    }

    async fn close(&mut self, account: usize, held: Held) {
        let held = Held { seq: held.seq + 1, ..held };
        let request = LeaseRequest { close: true, ..self.message(account, held, held.spent) };
        self.send(&request).await;
        self.held[account] = None;
    }

    /// Everything it ever charged is in the log by now.
    async fn restart(&mut self) {
        self.run += 1;
        self.held = [None; ACCOUNTS];
        let close = CloseLeases { gateway_id: gateway_id(self.number.into()), run_id: self.run_id() };
        let end = Offset(self.log.lock().await.len() as u64);
        let partitions = self.store.partitions_of_runs(&close).await.unwrap();
        let ends: BTreeMap<_, _> = partitions.into_iter().map(|partition| (partition, end)).collect();
        self.store.end_leases(&close, &ends).await.unwrap();
    }

    fn run_id(&self) -> RunId {
        run_id(u128::from(self.number) << 32 | self.run)
    }

    fn message(&self, account: usize, held: Held, ceiling: u64) -> LeaseRequest {
        let (spent, ceiling) = (money(held.spent), money(ceiling));
        let gateway_id = gateway_id(self.number.into());
        let request = message(account_in(HERE, account), held.id, held.seq, spent, ceiling);
        LeaseRequest { gateway_id, run_id: self.run_id(), ..request }
    }

    async fn send(&self, request: &LeaseRequest) -> accounting::lease::Lease {
        match self.store.lease(request, Timestamp::from_micros(1)).await.unwrap() {
            Leased::Renewed { lease, .. } => lease,
            refused => panic!("{request:?}: {refused:?}"),
        }
    }
}

/// Folds what is in the log, a few records at a time, against another that does the same.
async fn fold(store: Arc<dyn Store>, log: Log, mut random: Random) {
    let sink = LedgerSink::new(Arc::clone(&store), Arc::new(Feed::default()), PARTITIONS);
    loop {
        let from = store.head(HERE).await.unwrap().next;
        let at = usize::try_from(from.0).unwrap();
        let most = 1 + usize::try_from(random.below(12)).unwrap();
        let records: Vec<_> = log.lock().await.iter().skip(at).take(most).cloned().collect();
        if records.is_empty() {
            sleep(Duration::from_millis(2)).await;
            continue;
        }
        match sink.apply(batch(HERE, from, &records)).await {
            Ok(()) | Err(SinkError::Moved) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_of_gateways_overspends_nothing_and_strands_nothing() {
    let stage = Stage::postgres().await;
    let accounts: [AccountId; ACCOUNTS] = std::array::from_fn(|n| account_in(HERE, n));
    let log = Log::default();
    for (n, account) in (0..).zip(accounts) {
        let credit = Usd::from_pico(i64::try_from(EACH).unwrap());
        let opened = [open(account, 0xf00 + 2 * n), grant(account, 0xf01 + 2 * n, 1, credit, 1)];
        stage.apply(HERE, &opened).await;
        log.lock().await.extend(opened);
    }
    let mut stores: Vec<Arc<dyn Store>> = vec![];
    for _ in 0..STORES {
        stores.push(Arc::new(PostgresStore::open(stage.url()).await.unwrap()));
    }
    let mut folds = JoinSet::new();
    for (n, store) in (100..).zip(&stores[..2]) {
        folds.spawn(fold(Arc::clone(store), Arc::clone(&log), Random(SEED + n)));
    }
    let until = Instant::now() + PATIENCE;
    let mut gateways = JoinSet::new();
    for number in 0..GATEWAYS {
        let store = Arc::clone(&stores[usize::try_from(number).unwrap() % STORES]);
        let (random, log) = (Random(SEED + number), Arc::clone(&log));
        let mut gateway =
            Gateway { number, run: 1, leases_opened: 0, events: 0, random, store, log, held: [None; ACCOUNTS] };
        gateways.spawn(async move {
            for _ in 0..400 {
                if Instant::now() > until {
                    break;
                }
                gateway.step().await;
            }
            for account in 0..ACCOUNTS {
                if let Some(held) = gateway.held[account] {
                    gateway.close(account, held).await;
                }
            }
            gateway.events
        });
    }
    let mut events = 0;
    while let Some(done) = gateways.join_next().await {
        events += done.unwrap();
    }
    assert!(events > 100, "{events} requests are no crowd");
    while stage.head(HERE).await.next.0 < log.lock().await.len() as u64 {
        assert!(folds.try_join_next().is_none_or(|fold| fold.is_ok()), "a fold failed");
        sleep(Duration::from_millis(10)).await;
    }
    folds.shutdown().await;
    assert_eq!(leases(&stage).await, [] as [String; 0], "everything is closed, and folded");
    let loaded = stage.store.load(&accounts.into(), &[].into()).await.unwrap();
    for account in accounts {
        let state = &loaded.accounts[&account].state;
        assert_eq!(state.debt, Usd::ZERO, "overspent");
        let has = Funds { usd: state.credit().unwrap(), plan_tokens: 0 };
        assert_eq!(held(&stage, account).await, [has, Funds::ZERO, Funds::ZERO]);
    }
}
