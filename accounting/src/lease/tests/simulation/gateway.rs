//! A gateway that does of the protocol what the messages' documentation demands, and nothing more.

use std::collections::VecDeque;

use schemas::api::{Funds, LeaseRequest};

use super::super::super::Refused;
use super::super::request;
use super::ledger::Record;

/// What a gateway knows of its lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) id: u32,
    /// The last message that was sent.
    pub(super) seq: u64,
    pub(super) spent: Funds,
    /// What running requests may charge at most.
    pub(super) running: Funds,
    /// The most that may be spent on it.
    pub(super) limit: Funds,
    closing: bool,
}

/// A message to the ledger.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "a few messages are on their way at a time")]
pub(super) enum Message {
    Lease { gateway: usize, run: u32, id: u32, request: LeaseRequest },
    Close { gateway: usize, run: u32 },
}

impl Message {
    /// The number of the lease that it is about, if it is about one.
    pub(super) fn lease(&self) -> u32 {
        match self {
            Self::Lease { id, .. } => *id,
            Self::Close { .. } => 0,
        }
    }
}

/// A ledger's answer to a message about a lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) gateway: usize,
    pub(super) id: u32,
    pub(super) seq: u64,
    pub(super) granted: Result<Funds, Refused>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Gateway {
    pub(super) number: usize,
    pub(super) run: u32,
    pub(super) held: Option<Held>,
    /// Events that are durable here, and not in the log.
    pub(super) spool: VecDeque<Record>,
    /// How many of those are of runs before this one.
    pub(super) left_over: usize,
}

impl Gateway {
    /// Asks for a lease, or about the one that is held. `keep` of what is left is kept until the answer is there.
    pub(super) fn ask(&mut self, fresh: u32, keep: Funds, more: Funds) -> Message {
        let opened =
            Held { id: fresh, seq: 0, spent: Funds::ZERO, running: Funds::ZERO, limit: Funds::ZERO, closing: false };
        let held = self.held.get_or_insert(opened);
        held.seq += 1;
        if !held.closing {
            let used = held.spent.plus(held.running).unwrap();
            held.limit = used.plus(keep).unwrap().min(held.limit);
        }
        let need = held.limit.plus(more).unwrap();
        let wish = need.plus(more).unwrap();
        let request = LeaseRequest { close: held.closing, ..request(held.seq, held.spent, held.limit, need, wish) };
        Message::Lease { gateway: self.number, run: self.run, id: held.id, request }
    }

    /// Nothing runs on it any more, and nothing ever will.
    pub(super) fn close(&mut self) -> Option<Message> {
        let held = self.held.as_mut()?;
        if held.running != Funds::ZERO {
            return None;
        }
        (held.closing, held.limit) = (true, held.spent);
        Some(self.ask(0, Funds::ZERO, Funds::ZERO))
    }

    pub(super) fn hear(&mut self, answer: &Answer) {
        let Some(held) = self.held.as_mut().filter(|held| held.id == answer.id) else { return };
        // What an earlier message was told holds no more: this one has promised less.
        if held.seq != answer.seq {
            return;
        }
        match answer.granted {
            // Impossible: it was closed, and forgotten, and a message from its beginning came once more and opened it again.
            Ok(_) | Err(Refused::Impossible) if held.closing => self.held = None,
            Ok(granted) => held.limit = granted,
            Err(Refused::Unknown) => {
                assert!(held.closing || held.limit == Funds::ZERO, "a lease is gone that is being spent: {held:?}");
                self.held = None;
            }
            Err(Refused::Stale) => {}
            Err(Refused::Impossible) => panic!("{held:?} was called impossible"),
        }
    }

    /// Admits a request that may cost up to `most`, as far as the lease pays for that.
    pub(super) fn admit(&mut self, most: Funds) {
        let Some(held) = self.held.as_mut() else { return };
        let free = held.limit.less(held.spent.plus(held.running).unwrap());
        held.running = held.running.plus(most.min(free)).unwrap();
    }

    /// A request ends, and cost `actual` of what was held for it.
    pub(super) fn settle(&mut self, actual: Funds) {
        let Some(held) = self.held.as_mut() else { return };
        let funding = actual.min(held.running);
        held.running = held.running.less(actual.plus(actual).unwrap());
        held.spent = held.spent.plus(funding).unwrap();
        self.spool.push_back(Record::Usage { lease: held.id, funding });
    }

    /// Takes the oldest events out of the spool, for the log.
    pub(super) fn drain(&mut self, records: usize) -> Vec<Record> {
        let records = records.min(self.spool.len());
        self.left_over = self.left_over.saturating_sub(records);
        self.spool.drain(..records).collect()
    }

    /// Dies, and starts again.
    pub(super) fn crash(&mut self) {
        self.run += 1;
        self.held = None;
        self.left_over = self.spool.len();
    }

    /// Once all that the runs before appended is in the log.
    pub(super) fn close_former(&self) -> Option<Message> {
        (self.left_over == 0 && self.run > 0).then_some(Message::Close { gateway: self.number, run: self.run })
    }
}
