//! A ledger that folds one account, naively.

use std::collections::BTreeMap;

use super::super::super::{Lease, Pool, Refused, renew};
use super::{funds, pico};
use schemas::api::{Funds, LeaseRequest};

/// What a plan token that is not there any more costs instead, in 10⁻¹² USD.
const LIST_PRICE: i64 = 3;

/// A record of the account's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A request, on a lease.
    Usage { lease: u32, funding: Funds },
    /// Credit, or plan tokens.
    Given(Funds),
    /// A refund, or a period's end.
    Taken(Funds),
}

/// A lease, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) gateway: usize,
    pub(super) run: u32,
    pub(super) lease: Lease,
    pub(super) ends_at: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) log: Vec<Record>,
    /// How much of the log is folded.
    pub(super) next: usize,
    /// How much was folded before it was dropped.
    pub(super) floor: usize,
    /// In 10⁻¹² USD; a debt is below zero.
    pub(super) balance: i64,
    pub(super) plan_tokens: u64,
    pub(super) leases: BTreeMap<u32, Row>,
}

impl Ledger {
    pub(super) fn has(&self) -> Funds {
        funds(self.balance.max(0), self.plan_tokens)
    }

    pub(super) fn reserved(&self) -> Funds {
        self.reserved_but(None)
    }

    fn reserved_but(&self, but: Option<u32>) -> Funds {
        let others = self.leases.iter().filter(|(id, _)| Some(**id) != but);
        others.fold(Funds::ZERO, |sum, (_, row)| sum.plus(row.lease.reserved()).unwrap())
    }

    /// `None` while it is being folded anew.
    pub(super) fn lease(
        &mut self,
        id: u32,
        gateway: usize,
        run: u32,
        request: &LeaseRequest,
    ) -> Option<Result<Funds, Refused>> {
        if self.next < self.floor {
            return None;
        }
        let before = self.leases.clone();
        // An earlier lease of the run that was never used was opened by a message that came too late.
        self.leases.retain(|other, row| {
            let unused = row.lease.spent == Funds::ZERO && row.lease.posted == Funds::ZERO && !row.lease.closed;
            !(*other < id && (row.gateway, row.run) == (gateway, run) && unused)
        });
        let pool = Pool { funds: self.has(), reserved_elsewhere: self.reserved_but(Some(id)) };
        let own = self.leases.get(&id).copied();
        let lease = match renew(&pool, own.as_ref().map(|row| &row.lease), request) {
            Ok(lease) => lease,
            Err(refused) => {
                self.leases = before;
                return Some(Err(refused));
            }
        };
        let ends_at = own.and_then(|row| row.ends_at);
        self.leases.insert(id, Row { gateway, run, lease, ends_at });
        self.forget();
        Some(Ok(lease.granted))
    }

    /// All that runs of the gateway before this one ever spent is in the log.
    pub(super) fn close_leases(&mut self, gateway: usize, run: u32) {
        let end = self.log.len();
        for row in self.leases.values_mut().filter(|row| row.gateway == gateway && row.run < run) {
            row.ends_at = row.ends_at.or(Some(end));
        }
        self.forget();
    }

    pub(super) fn fold(&mut self, records: usize) {
        for _ in 0..records {
            let Some(record) = self.log.get(self.next).copied() else { break };
            self.next += 1;
            match record {
                Record::Usage { lease, funding } => self.usage(lease, funding),
                Record::Given(given) => {
                    self.balance += pico(given);
                    self.plan_tokens += given.plan_tokens;
                }
                Record::Taken(taken) => {
                    self.balance -= pico(taken);
                    self.plan_tokens = self.plan_tokens.saturating_sub(taken.plan_tokens);
                }
            }
        }
        self.forget();
    }

    fn usage(&mut self, id: u32, funding: Funds) {
        let covered = self.plan_tokens.min(funding.plan_tokens);
        self.plan_tokens -= covered;
        let uncovered = i64::try_from(funding.plan_tokens - covered).unwrap();
        self.balance -= pico(funding) + uncovered * LIST_PRICE;
        if let Some(row) = self.leases.get_mut(&id) {
            row.lease.posted = row.lease.posted.plus(funding).unwrap();
        }
    }

    fn forget(&mut self) {
        let next = self.next;
        self.leases.retain(|_, row| !row.lease.is_done() && row.ends_at.is_none_or(|end| end > next));
    }

    pub(super) fn reset(&mut self) {
        self.floor = self.floor.max(self.next);
        (self.next, self.balance, self.plan_tokens) = (0, 0, 0);
        self.leases.values_mut().for_each(|row| row.lease.posted = Funds::ZERO);
    }
}
