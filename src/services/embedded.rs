//! `modelhub serve`: everything in one process, on embedded stores in one data folder.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use eventlog::embedded::EmbeddedLog;
use eventlog::{EventLog, LogError};
use ledger::{Feed, Ledger, LedgerSink, Renewals, System};
use projector::{ProjectorSink, UsageStore};
use schemas::GatewayId;
use schemas::catalogue::Catalogue;
use schemas::config::Secret;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::shared;
use crate::adapters::{InProcessLedger, InProcessPostings, StoreStats};
use crate::config::Loaded;
use crate::data_dir::{Control, DataDir, fresh_secret};
use crate::metrics::{Batches, Lag, Leased, LedgerPositions, Metrics, Positions, UsagePositions};
use crate::{demo_account, outside, run_id, shutdown};

/// One file, one writer: a single partition keeps the log in one order.
pub(crate) const PARTITIONS: u32 = 1;

/// The one gateway of a data folder.
const GATEWAY: GatewayId = GatewayId(Uuid::from_u128(1));

/// The embedded stores, with their consumers running.
pub(crate) struct Embedded {
    pub(crate) ledger: Arc<Ledger>,
    usage: Arc<projector::SqliteStore>,
    log: Arc<EmbeddedLog>,
    pub(crate) key_pepper: Secret,
    consumer: JoinHandle<Result<(), LogError>>,
    stop: CancellationToken,
    projector: JoinHandle<Result<(), LogError>>,
    projector_stop: CancellationToken,
    /// Cancelled where the log can't be gone on with.
    pub(crate) lost: CancellationToken,
}

impl Embedded {
    /// Opens the stores of a data folder and starts to fold its log. Returns when the ledger has all that is in it: what
    /// was charged right before a crash must be in the first balance that anybody sees.
    pub(crate) async fn start(
        data: &DataDir,
        catalogue: Catalogue,
        key_pepper: Option<Secret>,
        metrics: &mut Metrics,
    ) -> Result<Self> {
        let key_pepper = match key_pepper {
            Some(pepper) => pepper,
            None => data.secret("key-pepper")?,
        };
        let log = Arc::new(EmbeddedLog::open(&data.file("log.sqlite"), PARTITIONS).await.context("log.sqlite")?);
        let store = Arc::new(ledger::SqliteStore::open(&data.file("ledger.sqlite")).await.context("ledger.sqlite")?);
        let usage = Arc::new(projector::SqliteStore::open(&data.file("usage.sqlite")).await.context("usage.sqlite")?);
        let feed = Arc::new(Feed::default());
        let stop = CancellationToken::new();
        let lost = CancellationToken::new();
        let ledger_sink =
            LedgerSink::new(Arc::<ledger::SqliteStore>::clone(&store), Arc::clone(&feed), log.partitions());
        let batches = Batches::new(&metrics.registry)?;
        let ledger_sink = batches.of("ledger", ledger_sink.counting(ledger::Metrics::new(&metrics.registry)?));
        let ledger_positions: Arc<dyn Positions> = Arc::new(LedgerPositions(store.clone()));
        let usage_positions: Arc<dyn Positions> = Arc::new(UsagePositions(usage.clone()));
        let positions = vec![("ledger", ledger_positions), ("projector", usage_positions)];
        metrics.probe(Lag::new(&metrics.registry, log.clone(), positions)?);
        let ledger = Arc::new(Ledger::new(ledger::Parts {
            store,
            log: log.clone(),
            feed,
            catalogue,
            pepper: key_pepper.clone(),
            outside: Arc::new(System),
            apply_timeout: ledger::APPLY_TIMEOUT,
            lease_ttl: ledger::LEASE_TTL,
        }));
        metrics.probe(Leased::new(&metrics.registry, ledger.clone())?);
        ledger.is_of_its_log().await.context("log.sqlite and ledger.sqlite")?;
        let group = "ledger".to_owned();
        let mut consumer = shared::consumer(log.clone(), group, ledger_sink, stop.clone(), lost.clone());
        tokio::select! {
            caught_up = ledger.catch_up() => caught_up.context("folding the log")?,
            () = lost.cancelled() => (&mut consumer).await.context("the ledger's consumer")?.context("log.sqlite")?,
        }
        let postings = Arc::new(InProcessPostings(Arc::clone(&ledger)));
        let usage_sink = batches.of("projector", ProjectorSink::new(usage.clone() as Arc<dyn UsageStore>, postings));
        let (projector_stop, group) = (CancellationToken::new(), "projector".to_owned());
        let projector = shared::consumer(log.clone(), group, usage_sink, projector_stop.clone(), lost.clone());
        Ok(Self { ledger, usage, log, key_pepper, consumer, stop, projector, projector_stop, lost })
    }

    /// Stops folding, after the batches that are under way. The projector goes first: its batch waits for the ledger.
    ///
    /// # Errors
    /// The log could not be gone on with.
    pub(crate) async fn stop(self) -> Result<()> {
        self.projector_stop.cancel();
        let projector = self.projector.await.context("the projector's consumer")?;
        self.stop.cancel();
        self.consumer.await.context("the ledger's consumer")?.context("log.sqlite and ledger.sqlite")?;
        projector.context("log.sqlite and usage.sqlite")
    }
}

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(loaded: Loaded) -> Result<()> {
    let Loaded { config, catalogue } = loaded;
    let data = DataDir::take(&config.data_dir)?.with_context(|| {
        format!("{} is in use by another modelhub process; stop that, or set data_dir", config.data_dir.display())
    })?;
    let stop = shutdown::on_signal()?;
    let mut metrics = Metrics::new("serve")?;
    let start = Embedded::start(&data, catalogue.clone(), config.key_pepper.clone(), &mut metrics);
    // A long log takes its time, and a stop does not wait for it: what is not folded now is folded at the next start.
    let Some(embedded) = stop.run_until_cancelled(start).await.transpose()? else { return Ok(()) };
    let (lost, process) = (embedded.lost.clone(), stop.clone());
    tokio::spawn(async move {
        lost.cancelled().await;
        process.cancel();
    });
    shared::invoices(&config, &embedded.ledger, &stop);
    shared::sweep_answers(&embedded.ledger, &stop);
    let in_process = Arc::new(InProcessLedger(embedded.ledger.clone()));

    let control_secret = Secret::new(fresh_secret());
    let control = shared::listen("127.0.0.1:0", "the private port").await?;
    data.publish_control(&Control {
        url: format!("http://{}", control.local_addr()?),
        secret: control_secret.expose().to_owned(),
    })?;
    let control_routes = ledger::http::router(embedded.ledger.clone(), control_secret);
    let renewals = Renewals::new(embedded.ledger.clone());
    let renewals_stop = CancellationToken::new();
    let until = renewals_stop.clone();
    let renewing = tokio::spawn(async move { renewals.run(until).await });
    // The private port outlives the public one: running requests may still ask.
    let after_gateway = CancellationToken::new();
    let control = tokio::spawn(gateway::server::serve(control, control_routes, after_gateway.clone()));

    let upstreams = shared::upstreams(&config, &catalogue, &after_gateway).await?;
    let demo_key = demo_account::key(&config, &data, &embedded.ledger).await?;
    let gateway = gateway::build(gateway::Parts {
        catalogue,
        upstreams,
        ledger: in_process,
        stats: Arc::new(StoreStats(embedded.usage.clone())),
        usage_log: gateway::UsageLog::Direct(embedded.log.clone()),
        identity: gateway::Identity { gateway_id: GATEWAY, run_id: run_id::next(&config.data_dir)? },
        key_pepper: embedded.key_pepper.clone(),
        idempotency: config.idempotency,
        source: "/modelhub/embedded".to_owned(),
        context: outside::gateway(),
        registry: metrics.registry.clone(),
    })?;
    metrics.probe(gateway.refresh);
    metrics.serve(&config, after_gateway.clone()).await?;
    let keeper = Arc::new(gateway.keeper);
    let keep = Arc::clone(&keeper);
    // Whatever an earlier run recorded is in the log: that is a file of this folder.
    let keeping = tokio::spawn(async move { tokio::join!(keep.keep(), keep.close_earlier()) });
    let listener = shared::listen(&config.listen, "listen").await?;
    greet(listener.local_addr()?, demo_key.as_deref());
    gateway::server::serve(listener, gateway.routes, stop).await;

    gateway.requests.close();
    gateway.requests.wait().await;
    keeping.abort();
    keeper.close().await;
    after_gateway.cancel();
    control.await.context("the private port")?;
    renewals_stop.cancel();
    renewing.await.context("renewals")?;
    embedded.stop().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Tells where it listens, and a first request to paste.
fn greet(address: std::net::SocketAddr, demo_key: Option<&str>) {
    let mut text = format!("ModelHub listens on http://{address} (OpenAI-compatible API: http://{address}/v1)\n");
    if let Some(key) = demo_key {
        text += &format!(include_str!("embedded/try_it.txt"), address = address, key = key);
    }
    // Without a standard output there is nobody to greet.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventlog::Record;
    use schemas::event::{AccountOpenedV1, CreditGrantedV1, CreditSource};
    use schemas::{AccountId, Event, EventData, EventId, LotId, Timestamp, Usd};
    use uuid::Uuid;

    /// Whoever asks for a balance after a kill -9 sees all that the log has, however little of it was folded before.
    #[tokio::test]
    async fn a_start_folds_what_is_in_the_log_before_anything_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::take(folder.path()).unwrap().unwrap();
        let catalogue = crate::config::load(None).unwrap().catalogue;
        let account = AccountId(Uuid::from_u128(1));
        let grant = |lot| CreditGrantedV1 {
            lot_id: LotId(Uuid::from_u128(lot)),
            source: CreditSource::Promotion,
            amount_usd: "0.01".parse().unwrap(),
            priority: 100,
            reason: "r".into(),
        };
        let opened = AccountOpenedV1 { plan: catalogue.plans["free"].clone() };
        let events = std::iter::once(EventData::AccountOpened(opened))
            .chain((1..500).map(|lot| EventData::CreditGranted(grant(lot))));
        let log = EmbeddedLog::open(&data.file("log.sqlite"), PARTITIONS).await.unwrap();
        for (id, data) in (1..).zip(events) {
            let time = Timestamp::from_micros(1);
            let event =
                Event { id: EventId(Uuid::from_u128(id)), source: "/test".into(), subject: account, time, data };
            log.append(Record { key: account, payload: event.encode().unwrap().into() }).await.unwrap();
        }
        drop(log);
        let embedded = Embedded::start(&data, catalogue, None, &mut Metrics::new("test").unwrap()).await.unwrap();
        let balance = embedded.ledger.balance(account).await.unwrap();
        assert_eq!(balance.balance_usd, "4.99".parse::<Usd>().unwrap());
        embedded.stop().await.unwrap();
    }
}
