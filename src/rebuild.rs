//! `modelhub rebuild`: drops a store and folds the log into it again.
//!
//! Cut short, the store is one that has not read the log to its end yet. Running it again begins anew; starting the
//! service instead goes on from where it ended.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use ledger::{Feed, LedgerSink};
use projector::ProjectorSink;

use crate::adapters::StoredPostings;
use crate::cli::Rebuild;
use crate::config::Loaded;
use crate::{print, stores};

/// Rebuilds one store.
pub(crate) async fn run(loaded: Loaded, what: Rebuild) -> Result<()> {
    let config = &loaded.config;
    let _alone = stores::alone(config, what.service()).await?;
    let log = stores::log(config).await?;
    let begun = Instant::now();
    let records = match what {
        Rebuild::Ledger => {
            let store = stores::ledger(config).await?;
            store.reset().await?;
            store.log_partitions(log.partitions()).await?;
            let sink = LedgerSink::new(Arc::clone(&store), Arc::new(Feed::default()), log.partitions());
            let records = stores::fold(&*log, &sink).await.context("folding the log into the ledger's store")?;
            store.close().await;
            records
        }
        Rebuild::Usage => {
            let store = stores::usage(config).await?;
            store.reset().await?;
            let ledger = stores::ledger(config).await?;
            if !stores::is_distributed(config) {
                // Nobody else runs on the data folder, so the ledger gets where the log ends here.
                let sink = LedgerSink::new(Arc::clone(&ledger), Arc::new(Feed::default()), log.partitions());
                stores::fold(&*log, &sink).await.context("folding the log into the ledger's store")?;
            }
            let sink = ProjectorSink::new(store, Arc::new(StoredPostings(ledger)));
            stores::fold(&*log, &sink).await.context("folding the log into the usage store")?
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    print::out(&format!("{} rebuilt from {records} records in {seconds:.1} s\n", what.name()))
}
