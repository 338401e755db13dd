//! A partition's loop on the file.

use std::sync::Arc;

use async_trait::async_trait;
use schemas::{Offset, PartitionId};
use tokio::sync::watch;

use super::file::Reader;
use crate::run::{ReadError, Source};
use crate::{Batch, Bounds};

pub(super) struct EmbeddedSource {
    partition: PartitionId,
    reader: Reader,
    /// Kept, so that waiting for the next append never ends early.
    _appender: Arc<watch::Sender<()>>,
    appended: watch::Receiver<()>,
}

impl EmbeddedSource {
    pub(super) fn new(partition: PartitionId, reader: Reader, appender: &Arc<watch::Sender<()>>) -> Self {
        Self { partition, reader, _appender: Arc::clone(appender), appended: appender.subscribe() }
    }
}

#[async_trait]
impl Source for EmbeddedSource {
    async fn batch(&mut self, from: Offset, bounds: Bounds) -> Result<Batch, ReadError> {
        loop {
            // Before the read, so that an append right after it is not missed.
            self.appended.mark_unchanged();
            let batch = self.reader.read(self.partition, from, bounds).await?;
            if !batch.records.is_empty() {
                return Ok(batch);
            }
            if self.appended.changed().await.is_err() {
                return Err(ReadError::Passing("nobody appends to the log any more".to_owned()));
            }
        }
    }

    fn applied(&mut self, _next: Offset) {}
}
