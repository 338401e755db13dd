//! One account's story, told event by event.

use schemas::api::EntryDetail;
use schemas::{Event, EventData, Timestamp};

use super::events::{account_id, event, micros};
use super::memory::Memory;
use crate::{AccountState, Outcome, Posting};

pub(super) struct Saga {
    pub(super) memory: Memory,
    next_id: u32,
}

impl Saga {
    /// Everything in it has to post.
    pub(super) fn of(history: &[EventData]) -> Self {
        let mut saga = Self { memory: Memory::default(), next_id: 100 };
        for data in history {
            saga.posts(data.clone());
        }
        saga
    }

    pub(super) fn state(&self) -> &AccountState {
        &self.memory.accounts[&account_id(1)]
    }

    pub(super) fn deliver(&mut self, event: &Event) -> Outcome {
        self.memory.take(0, &[event.encode().unwrap()]).remove(0).outcome
    }

    /// Tells an event that happens at `time`, under an id of its own.
    pub(super) fn tell(&mut self, time: Timestamp, data: EventData) -> Outcome {
        self.next_id += 1;
        self.deliver(&event(self.next_id, time, data))
    }

    #[track_caller]
    pub(super) fn posts_at(&mut self, time: Timestamp, data: EventData) -> Posting {
        let shown = format!("{data:?}");
        match self.tell(time, data) {
            Outcome::Applied(posting) => posting,
            other => panic!("{other:?}: {shown}"),
        }
    }

    #[track_caller]
    pub(super) fn posts(&mut self, data: EventData) -> Posting {
        self.posts_at(micros(1), data)
    }
}

/// The period that an entry closed, briefly: what came back, tokens carried, tokens lapsed.
pub(super) fn closed(posting: &Posting) -> (String, u64, u64) {
    let Some(EntryDetail::Plan(entry)) = &posting.detail else { panic!("{posting:?}") };
    let closed = entry.closed.as_ref().unwrap();
    (closed.unused_usd.to_string(), closed.carried_tokens, closed.lapsed_tokens)
}
