//! A consumer of the log whose batches are measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use eventlog::{Batch, Sink, SinkError};
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, Registry, register_histogram_vec_with_registry,
    register_int_counter_vec_with_registry,
};
use schemas::{Offset, PartitionId};

/// Bounds of a batch's time, in seconds.
const SECONDS: [f64; 11] = [0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What is measured of all consumers of a process.
pub(crate) struct Batches {
    seconds: HistogramVec,
    records: IntCounterVec,
    refused: IntCounterVec,
}

impl Batches {
    pub(crate) fn new(registry: &Registry) -> Result<Self> {
        Ok(Self {
            seconds: register_histogram_vec_with_registry!(
                "modelhub_batch_seconds",
                "From a batch of the log to its commit.",
                &["consumer"],
                SECONDS.to_vec(),
                registry
            )?,
            records: register_int_counter_vec_with_registry!(
                "modelhub_batch_records_total",
                "Records of the log that this process applied.",
                &["consumer"],
                registry
            )?,
            refused: register_int_counter_vec_with_registry!(
                "modelhub_batches_refused_total",
                "Batches that were not applied: the position had moved, or the store did not take them.",
                &["consumer", "why"],
                registry
            )?,
        })
    }

    /// The sink, measured under this name.
    pub(crate) fn of(&self, consumer: &str, sink: impl Sink) -> Arc<dyn Sink> {
        Arc::new(Measured {
            sink,
            seconds: self.seconds.with_label_values(&[consumer]),
            records: self.records.with_label_values(&[consumer]),
            moved: self.refused.with_label_values(&[consumer, "moved"]),
            unavailable: self.refused.with_label_values(&[consumer, "unavailable"]),
        })
    }
}

/// A sink that is measured.
struct Measured<S> {
    sink: S,
    seconds: Histogram,
    records: IntCounter,
    moved: IntCounter,
    unavailable: IntCounter,
}

#[async_trait]
impl<S: Sink> Sink for Measured<S> {
    async fn position(&self, partition: PartitionId) -> Result<Offset, SinkError> {
        self.sink.position(partition).await
    }

    async fn apply(&self, batch: Batch) -> Result<(), SinkError> {
        let (records, began) = (batch.records.len() as u64, Instant::now());
        let applied = self.sink.apply(batch).await;
        match &applied {
            Ok(()) => {
                self.seconds.observe(began.elapsed().as_secs_f64());
                self.records.inc_by(records);
            }
            Err(SinkError::Moved) => self.moved.inc(),
            Err(SinkError::Unavailable(_)) => self.unavailable.inc(),
        }
        applied
    }

    async fn prepare(&self, batch: &Batch) {
        self.sink.prepare(batch).await;
    }

    fn pace(&self) -> Duration {
        self.sink.pace()
    }

    fn leave(&self, partition: PartitionId) {
        self.sink.leave(partition);
    }
}
