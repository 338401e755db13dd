//! `modelhub ledger`: folds Kafka's log into PostgreSQL, and answers on the private port.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use eventlog::EventLog as _;
use ledger::{Feed, Ledger, LedgerError, LedgerSink, PostgresStore, Renewals, System};
use tokio_util::sync::CancellationToken;

use super::shared;
use crate::config::Loaded;
use crate::metrics::{Batches, Lag, Leased, LedgerPositions, Metrics};
use crate::shutdown;

const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(loaded: Loaded) -> Result<()> {
    let Loaded { config, catalogue } = loaded;
    let stop = shutdown::on_signal()?;
    let secret = shared::required(config.ledger.secret.as_ref(), "ledger.secret")?.clone();
    let key_pepper = shared::required(config.key_pepper.as_ref(), "key_pepper")?.clone();
    let postgres = shared::required(config.postgres.as_ref(), "postgres.url")?;
    let store = Arc::new(PostgresStore::open(postgres.url.expose()).await.context("postgres.url")?);
    let log = shared::kafka(&config, "modelhub-ledger").await?;
    let feed = Arc::new(Feed::default());
    let mut metrics = Metrics::new("ledger")?;
    let sink = LedgerSink::new(store.clone(), feed.clone(), log.partitions());
    let sink = sink.counting(ledger::Metrics::new(&metrics.registry)?);
    let sink = Batches::new(&metrics.registry)?.of("ledger", sink);
    let positions = Arc::new(LedgerPositions(store.clone()));
    metrics.probe(Lag::new(&metrics.registry, log.clone(), vec![("ledger", positions)])?);
    let consuming = CancellationToken::new();
    let service = Arc::new(Ledger::new(ledger::Parts {
        store,
        log: log.clone(),
        feed,
        catalogue,
        pepper: key_pepper,
        outside: Arc::new(System),
        apply_timeout: ledger::APPLY_TIMEOUT,
        lease_ttl: Duration::from_millis(config.leases.ttl_ms.into()),
    }));
    let Some(own) = stop.run_until_cancelled(is_of_its_log(&service)).await else { return Ok(()) };
    let topic = config.kafka.as_ref().map_or_else(String::new, |kafka| format!("kafka.topic {:?}", kafka.topic));
    own.with_context(|| format!("postgres.url and {topic}"))?;
    metrics.probe(Leased::new(&metrics.registry, service.clone())?);
    metrics.serve(&config, stop.clone()).await?;
    let group = shared::group(&config, "ledger");
    let consumer = shared::consumer(log, group, sink, consuming.clone(), stop.clone());
    let renewals = Renewals::new(service.clone());
    let until = stop.clone();
    let renewing = tokio::spawn(async move { renewals.run(until).await });
    shared::invoices(&config, &service, &stop);
    shared::sweep_answers(&service, &stop);
    let listener = shared::listen(&config.ledger.listen, "ledger.listen").await?;
    tracing::info!(address = %listener.local_addr().context("ledger.listen")?, "ledger listens");
    // Commands wait for the consumer, so that goes last.
    gateway::server::serve(listener, ledger::http::router(service, secret), stop).await;
    renewing.await.context("renewals")?;
    consuming.cancel();
    consumer.await.context("the ledger's consumer")?.context(topic)?;
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the log can be asked whether the store is its own.
async fn is_of_its_log(service: &Ledger) -> Result<(), LedgerError> {
    loop {
        match service.is_of_its_log().await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_of_the_log() => return Err(error),
            Err(error) => tracing::warn!(%error, "the log can't be asked yet whether it is the store's; asking again"),
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}
