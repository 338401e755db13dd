//! A partition's loop on the file.

use std::time::Duration;

use async_trait::async_trait;
use schemas::{Offset, PartitionId};
use tokio::sync::watch;

use super::file::Reader;
use crate::run::{ReadError, Source};
use crate::{Batch, Bounds};

/// How long another process's append may go unnoticed.
const POLL: Duration = Duration::from_millis(250);

pub(super) struct EmbeddedSource {
    partition: PartitionId,
    reader: Reader,
    appended: watch::Receiver<()>,
}

impl EmbeddedSource {
    pub(super) fn new(partition: PartitionId, reader: Reader, appended: watch::Receiver<()>) -> Self {
        Self { partition, reader, appended }
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
            tokio::select! {
                _ = self.appended.changed() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    fn applied(&mut self, _next: Offset) {}
}
