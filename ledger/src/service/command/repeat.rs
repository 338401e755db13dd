//! What a repeated command is answered with.

use bytes::Bytes;
use eventlog::Bounds;
use schemas::api::Done;
use schemas::{AccountId, Event, EventData, EventId, Position};

use super::invalid;
use crate::service::{Ledger, LedgerError};
use crate::store::PostedEvent;

impl Ledger {
    /// What became of the event, where its id is posted already.
    ///
    /// # Errors
    /// A refusal of `field` where it is another account's, or says something else: `is_same` looks at what the command gave,
    /// not at what the ledger resolved.
    pub(super) async fn repeat(
        &self,
        id: EventId,
        account: AccountId,
        field: &str,
        is_same: impl Fn(&EventData) -> bool + Send,
    ) -> Result<Option<Done>, LedgerError> {
        let Some(posted) = self.parts.store.posted(id).await? else { return Ok(None) };
        if posted.account != account {
            let detail = format!("was used for account {} before; nothing was changed", posted.account);
            return Err(invalid(field, detail).into());
        }
        if !is_same(&self.event_at(posted.position).await?.data) {
            let detail = format!("was used before for something else: event {id}; nothing was changed");
            return Err(invalid(field, detail).into());
        }
        let PostedEvent { amount, balance, .. } = posted;
        Ok(Some(Done { event_id: Some(id), amount_usd: amount, balance_usd: balance }))
    }

    /// The event at a place of the log where one was posted.
    pub(super) async fn event_at(&self, position: Position) -> Result<Event, LedgerError> {
        let record = self.record_at(position).await?;
        Event::decode(&record).map_err(|error| {
            LedgerError::Unavailable(format!(
                "the record at {position}, which was posted: {error}; run `modelhub audit`"
            ))
        })
    }

    /// The record at a place of the log where one was posted.
    pub(in crate::service) async fn record_at(&self, position: Position) -> Result<Bytes, LedgerError> {
        let one = Bounds { records: 1, bytes: 0 };
        let batch = self.parts.log.read(position.partition, position.offset, one).await;
        let batch = batch.map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        let record = batch.records.first().filter(|record| record.offset == position.offset);
        record.map(|record| record.payload.clone()).ok_or_else(|| {
            LedgerError::Unavailable(format!(
                "the log has no record at {position}, where one posted; run `modelhub audit`"
            ))
        })
    }
}
