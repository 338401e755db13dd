//! What the records come to: a second, independent fold, in whole 10⁻¹² USD and whole tokens. It knows no lots: whichever
//! lot pays, a balance is what came in less what went out.

use std::collections::{BTreeMap, BTreeSet};

use schemas::AccountId;

use super::facts::{Fact, PLAN_CENTS, PLAN_ROLLOVER, PLAN_TOKENS, Written, cost};

const PICO_PER_CENT: i128 = 10_000_000_000;

/// All accounts, and how many records ended how.
#[derive(Default)]
pub(super) struct Model {
    pub(super) accounts: BTreeMap<AccountId, Account>,
    posted: BTreeSet<u64>,
    pub(super) quarantined: usize,
    pub(super) repeated: usize,
}

#[derive(Default)]
pub(super) struct Account {
    pub(super) pico: i128,
    /// What of each payment can still come back, in cents.
    payments: BTreeMap<u64, i64>,
    subscription: Option<Subscription>,
}

struct Subscription {
    id: u64,
    period: i64,
    own: u64,
    rolled: u64,
}

impl Model {
    /// The next record of the account.
    pub(super) fn apply(&mut self, record: &Written) {
        if record.fact != Fact::Garbage && self.posted.contains(&record.number) {
            self.repeated += 1;
        } else if self.posts(record) {
            self.posted.insert(record.number);
        } else {
            self.quarantined += 1;
        }
    }

    /// Events that posted.
    pub(super) fn postings(&self) -> usize {
        self.posted.len()
    }

    fn posts(&mut self, record: &Written) -> bool {
        match (record.fact, self.accounts.get_mut(&record.account)) {
            (Fact::Open, None) => {
                self.accounts.insert(record.account, Account::default());
                true
            }
            (Fact::Open | Fact::Garbage, _) | (_, None) => false,
            (fact, Some(account)) => account.posts(record.number, fact),
        }
    }
}

impl Account {
    fn posts(&mut self, number: u64, fact: Fact) -> bool {
        match fact {
            Fact::Open | Fact::Garbage => return false,
            Fact::Key => {}
            Fact::Grant(pico) => self.pico += i128::from(pico),
            Fact::Take(pico) => self.pico -= i128::from(pico),
            Fact::Pay { cents } => {
                self.pico += i128::from(cents) * PICO_PER_CENT;
                self.payments.insert(number, cents);
            }
            Fact::Refund { payment, cents } => {
                let Some(left) = self.payments.get_mut(&payment).filter(|left| **left >= cents) else { return false };
                *left -= cents;
                self.pico -= i128::from(cents) * PICO_PER_CENT;
            }
            Fact::Use(counts) => self.use_tokens(counts),
            Fact::Start => {
                if self.subscription.is_some() {
                    return false;
                }
                self.open(number, 0, 0);
            }
            Fact::Renew { subscription, period } => {
                let Some(ended) = self.end(subscription, period) else { return false };
                self.open(subscription, period + 1, ended.own.min(PLAN_ROLLOVER));
            }
            Fact::Cancel { subscription, period } => return self.end(subscription, period).is_some(),
        }
        true
    }

    fn open(&mut self, id: u64, period: i64, rolled: u64) {
        self.pico -= PLAN_CENTS * PICO_PER_CENT;
        self.subscription = Some(Subscription { id, period, own: PLAN_TOKENS, rolled });
    }

    fn end(&mut self, id: u64, period: i64) -> Option<Subscription> {
        self.subscription.take_if(|live| (live.id, live.period) == (id, period))
    }

    /// The plan covers prompt tokens, the dear ones first, then completion tokens; the rest is paid for.
    fn use_tokens(&mut self, [prompt, cached, completion]: [u64; 3]) {
        let mut counts = [prompt - cached, cached, completion];
        if let Some(live) = &mut self.subscription {
            for count in &mut counts {
                for tokens in [&mut live.rolled, &mut live.own] {
                    let covered = (*count).min(*tokens);
                    *tokens -= covered;
                    *count -= covered;
                }
            }
        }
        self.pico -= cost(counts);
    }

    /// The subscription that is open, and its period.
    pub(super) fn subscription(&self) -> Option<(u64, i64)> {
        self.subscription.as_ref().map(|live| (live.id, live.period))
    }

    /// A payment of which something is left, and what.
    pub(super) fn payment(&self, nth: u64) -> Option<(u64, i64)> {
        let left: Vec<(u64, i64)> =
            self.payments.iter().map(|(id, left)| (*id, *left)).filter(|(_, l)| *l > 0).collect();
        let nth = usize::try_from(nth).ok()?.checked_rem(left.len())?;
        left.get(nth).copied()
    }
}
