//! Random histories, told to the fold and to the naive reference at once, and compared after every event.
//!
//! `PROPTEST_CASES` sets how many: 10,000 of 200 events and more take about a minute in a release build.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rust_decimal::Decimal;
use schemas::api::{AccountStatus, AtPeriodEnd};
use schemas::catalogue::PlanTerms;
use schemas::event::SubscriptionChange;
use schemas::{Event, EventData, LotId, Usd};

use super::events::*;
use super::memory::Memory;
use super::naive::{Account, AtEnd, NEVER, Plan, price_beyond};
use super::random::{ACCOUNTS, Decision, Fault, Moment, PERIOD, PLANS, Step, moment};
use crate::{LedgerAccount, Outcome};

pub(super) fn cents(cents: i64) -> Usd {
    Usd::from_decimal(Decimal::new(cents, 2)).unwrap()
}

fn terms(of: Plan) -> PlanTerms {
    plan(of.id, &cents(of.price).to_string(), of.quota, of.cap)
}

/// What the reference expects of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Applied,
    Duplicate,
    Quarantined,
}

/// Both sides of a history.
pub(super) struct Telling {
    naive: BTreeMap<u32, Account>,
    /// Accounts and where their invoices begin after; none before the operator's account is open.
    invoices: Option<BTreeSet<(u32, Option<u64>)>>,
    posted: Vec<bool>,
    pub(super) records: Vec<(u32, Vec<u8>)>,
}

impl Telling {
    pub(super) fn new() -> Self {
        Self { naive: BTreeMap::new(), invoices: None, posted: vec![], records: vec![] }
    }

    /// Tells the reference; returns the record and what has to become of it. None where the step makes no sense now.
    fn tell(&mut self, moment: &Moment) -> Option<(u32, Vec<u8>, Expected)> {
        let id = u32::try_from(self.records.len()).unwrap();
        if let Step::Repeat { which, reuses } = moment.step {
            let which = which.checked_rem(self.records.len())?;
            let (account, record) = self.records[which].clone();
            // A repeat of what is in quarantine may post now: the reference can't tell, so it leaves those alone.
            if !self.posted[which] {
                return None;
            }
            if reuses {
                let Event { id, data, .. } = Event::decode(&record).unwrap();
                let other = if data == suspend() { close() } else { suspend() };
                let event = Event { id, ..event_of(account, 0, micros(moment.time), other) };
                let record = event.encode().unwrap();
                self.push(account, record.clone(), false);
                return Some((account, record, Expected::Quarantined));
            }
            self.push(account, record.clone(), true);
            return Some((account, record, Expected::Duplicate));
        }
        if matches!(moment.step, Step::Garbage) {
            let record = vec![b'{', 0xff];
            self.push(moment.account, record.clone(), false);
            return Some((moment.account, record, Expected::Quarantined));
        }
        if let Step::Invoice { of, after, fault } = moment.step {
            return Some(self.tell_invoice(id, moment.time, of, after, fault));
        }
        let (data, applies) = match (&moment.step, self.naive.get_mut(&moment.account)) {
            (Step::Open, None) => {
                self.naive.insert(moment.account, Account::new(PLANS[0]));
                (open(), true)
            }
            (Step::Open, Some(_)) => (open(), false),
            (_, None) => (usage(1), false),
            (step, Some(account)) => {
                let before = account.clone();
                let (data, applies) = tell_account(account, step, id, moment.time)?;
                if !applies {
                    *account = before;
                }
                (data, applies)
            }
        };
        let record = event_of(moment.account, id, micros(moment.time), data).encode().unwrap();
        self.push(moment.account, record.clone(), applies);
        let expected = if applies { Expected::Applied } else { Expected::Quarantined };
        Some((moment.account, record, expected))
    }

    fn tell_invoice(
        &mut self,
        id: u32,
        time: i64,
        of: u32,
        after: Option<u64>,
        fault: Fault,
    ) -> (u32, Vec<u8>, Expected) {
        let Some(issued) = &mut self.invoices else {
            self.invoices = Some(BTreeSet::new());
            let record = event_of(OPERATOR, id, micros(time), open()).encode().unwrap();
            self.push(OPERATOR, record.clone(), true);
            return (OPERATOR, record, Expected::Applied);
        };
        let of_whom = if fault == Fault::OfTheOperator { OPERATOR } else { of };
        let month = if fault == Fault::TooEarly { "1970-01" } else { "1969-12" };
        let through = after.unwrap_or(0) + u64::from(fault != Fault::EmptyRange);
        let after = if fault == Fault::EmptyRange { Some(through) } else { after };
        let event = issue(invoice(of_whom, month, after, through), micros(time));
        let expected = match fault {
            Fault::CustomersStream | Fault::OtherId => Expected::Quarantined,
            _ if issued.contains(&(of_whom, after)) => Expected::Duplicate,
            Fault::None => Expected::Applied,
            Fault::OfTheOperator | Fault::EmptyRange | Fault::TooEarly => Expected::Quarantined,
        };
        if expected == Expected::Applied {
            issued.insert((of, after));
        }
        let (subject, event) = match fault {
            Fault::CustomersStream => (of, event_of(of, id, micros(time), event.data)),
            Fault::OtherId => (OPERATOR, event_of(OPERATOR, id, micros(time), event.data)),
            _ => (OPERATOR, event),
        };
        let record = event.encode().unwrap();
        self.push(subject, record.clone(), expected != Expected::Quarantined);
        (subject, record, expected)
    }

    fn push(&mut self, account: u32, record: Vec<u8>, posts: bool) {
        self.records.push((account, record));
        self.posted.push(posts);
    }

    /// The records alone.
    pub(super) fn records_of(history: &[Moment]) -> Vec<(u32, Vec<u8>)> {
        let mut telling = Self::new();
        for moment in history {
            telling.tell(moment);
        }
        telling.records
    }
}

/// The event that a step is for this account, and whether it applies. The reference has changed already; where the event
/// does not apply, the caller puts it back.
fn tell_account(account: &mut Account, step: &Step, id: u32, now: i64) -> Option<(EventData, bool)> {
    let is_open = !account.closed;
    Some(match *step {
        Step::Open | Step::Garbage | Step::Repeat { .. } | Step::Invoice { .. } => return None,
        Step::Suspend => {
            account.suspended.insert(None);
            (suspend(), is_open)
        }
        Step::Reinstate => {
            account.suspended.clear();
            (reinstate(), is_open)
        }
        Step::Close => {
            account.closed = true;
            account.keys.clear();
            (close(), is_open)
        }
        Step::Key(id) => (key(id), is_open && account.keys.insert(id)),
        Step::RenameKey(id) => (rename_key(id, "renamed"), account.keys.contains(&id)),
        Step::RevokeKey(id) => (revoke_key(id), account.keys.remove(&id)),
        Step::Grant { lot, cents: amount, priority, until, is_v2 } => {
            account.sums.promoted += amount;
            let until = until.filter(|_| is_v2);
            let data = if is_v2 {
                grant_until(lot, cents(amount), priority, until.map(micros))
            } else {
                grant(lot, cents(amount), priority)
            };
            (data, account.earn(lot, amount, priority, until.unwrap_or(NEVER)))
        }
        Step::Give { lot, cents: amount } => {
            account.sums.adjusted += amount;
            (give(lot, cents(amount)), account.earn(lot, amount, PRIORITY, NEVER))
        }
        Step::Take { lot, cents: amount } => {
            account.sums.adjusted -= amount;
            account.spend(amount.max(0), lot);
            (take(lot, cents(amount)), amount > 0)
        }
        Step::Expire { lot } => (expire(lot), account.expire(lot, now)),
        Step::Use { counts, is_v2, lie } => {
            let counted = tokens(counts[0] + counts[1], counts[1], counts[2]);
            let cost = cents(price_beyond(counts, 0) + i64::from(lie));
            account.usage(id, counts);
            if is_v2 && !lie {
                (usage_v2(cents_price(), counted), true)
            } else {
                (usage_at(cents_price(), counted, cost), !lie)
            }
        }
        Step::Correct { which, counts, lot, stale } => return tell_correction(account, which, counts, lot, stale),
        Step::Pay { payment, lot, cents: amount, fee } => {
            let data = pay(payment, lot, cents(amount), (fee > 0).then(|| cents(fee)));
            (data, account.pay(payment, lot, amount, fee))
        }
        Step::Fail { payment } => (fail(payment, cents(100)), true),
        Step::Refund { payment, cents: amount, elsewhere } => {
            let amount = amount.unwrap_or_else(|| account.left_of(payment));
            let data = refund(payment, if elsewhere { "q" } else { "p" }, cents(amount));
            (data, account.refund(payment, amount) && !elsewhere)
        }
        Step::Dispute { dispute: id, payment, cents: amount, suspend } => {
            let amount = amount.unwrap_or_else(|| account.left_of(payment));
            (dispute(id, payment, cents(amount), suspend), account.dispute(id, payment, amount, suspend))
        }
        Step::Decide { dispute: id, payment, won, reinstate } => {
            let payment = payment.or_else(|| Some(account.disputes.get(&id)?.payment)).unwrap_or(0);
            (decide(id, payment, won, reinstate), account.decide(id, payment, won, reinstate))
        }
        Step::Start { .. } | Step::Renew { .. } | Step::Switch { .. } => return tell_period(account, step, id, now),
        Step::Plan { .. } | Step::PastDue { .. } | Step::Cancel { .. } => return tell_plan(account, step),
    })
}

fn tell_correction(
    account: &mut Account,
    which: usize,
    counts: [u64; 3],
    lot: u32,
    stale: bool,
) -> Option<(EventData, bool)> {
    let which = which.checked_rem(account.usage.len())?;
    let (&event, &before) = account.usage.iter().nth(which)?;
    let counted = |counts: [u64; 3]| tokens(counts[0] + counts[1], counts[1], counts[2]);
    let mut stated = charge(counted(before.counts), before.covered, cents(before.cents));
    if stale {
        stated.funding.credit_usd = cents(before.cents + 1);
    }
    let data = correct(event, cents_price(), stated, counted(counts), lot);
    Some((data, account.correct(event, counts, lot, PRIORITY) && !stale))
}

fn tell_period(account: &mut Account, step: &Step, id: u32, now: i64) -> Option<(EventData, bool)> {
    let token_lot = 10_000 + id;
    match *step {
        Step::Start { plan, payment } => {
            let data = start(terms(PLANS[plan]), period(now, now + PERIOD), token_lot, payment);
            let applies = !account.closed
                && account.sub.is_none()
                && account.open_period(PLANS[plan], now, now + PERIOD, 0, payment);
            Some((data, applies))
        }
        Step::Renew { plan, payment, stale } => {
            let sub = account.sub?;
            let closes = period(sub.start - i64::from(stale), sub.end);
            let data = renew(closes, terms(PLANS[plan]), period(sub.end, sub.end + PERIOD), token_lot, payment);
            let as_decided = match sub.at_end {
                AtEnd::Renewal => true,
                AtEnd::Plan(decided) => decided == PLANS[plan].id,
                AtEnd::Nothing => false,
            };
            let rolled = account.end_period(true);
            let opened = account.open_period(PLANS[plan], sub.end, sub.end + PERIOD, rolled, payment);
            Some((data, opened && as_decided && !account.closed && !stale))
        }
        Step::Switch { plan, at, lot, stale } => {
            let sub = account.sub?;
            let closes = period(sub.start, sub.end + i64::from(stale));
            let at = sub.start + at;
            let back = unused(cents(sub.price), lot);
            let data = change_at_once(switch(closes, back, terms(PLANS[plan]), period(at, at + PERIOD), token_lot));
            let carried = account.end_early(at, lot, true);
            let opened = carried.is_some_and(|rolled| account.open_period(PLANS[plan], at, at + PERIOD, rolled, None));
            Some((data, opened && !account.closed && !stale))
        }
        _ => None,
    }
}

fn tell_plan(account: &mut Account, step: &Step) -> Option<(EventData, bool)> {
    match *step {
        Step::Plan { plan } => {
            let (decided, at_end) = match plan {
                Decision::Plan(plan) => {
                    (SubscriptionChange::AtPeriodEnd(terms(PLANS[plan])), AtEnd::Plan(PLANS[plan].id))
                }
                Decision::End => (SubscriptionChange::EndAtPeriodEnd, AtEnd::Nothing),
                Decision::Stay => (SubscriptionChange::StayAsItIs, AtEnd::Renewal),
            };
            let applies = account.sub.is_some() && !account.closed;
            if let Some(sub) = &mut account.sub {
                sub.at_end = at_end;
            }
            Some((change(decided), applies))
        }
        Step::PastDue { stale } => {
            let sub = account.sub.as_mut()?;
            sub.past_due = true;
            Some((past_due(period(sub.start + i64::from(stale), sub.end), micros(1)), !stale))
        }
        Step::Cancel { at, back, stale } => {
            let sub = account.sub?;
            let at = sub.start + at;
            let closes = period(sub.start - i64::from(stale), sub.end);
            let data = cancel(closes, micros(at), back.map(|lot| unused(cents(sub.price), lot)));
            let ended = match back {
                Some(lot) => account.end_early(at, lot, false).is_some(),
                None => account.end_period(false) == 0,
            };
            account.plan = PLANS[0];
            Some((data, ended && !stale))
        }
        _ => None,
    }
}

/// Everything that the reference knows of an account.
fn compare(memory: &Memory, number: u32, naive: &Account) {
    let id = account_id(number);
    let state = &memory.accounts[&id];
    let book = |account: LedgerAccount| memory.book(&account);
    let coins = i64::try_from(naive.coins.len()).unwrap();
    assert_eq!(state.balance(), Some(cents(naive.balance())));
    assert_eq!(
        (state.debt, state.credit(), state.frozen()),
        (cents(naive.debt), Some(cents(coins)), Some(cents(naive.frozen())))
    );
    assert_eq!(state.plan_tokens(), naive.tokens());
    assert_eq!((state.paid, state.plan.id.as_str()), (naive.paid, naive.plan.id));
    let status = match (naive.closed, naive.suspended.is_empty()) {
        (true, _) => AccountStatus::Closed,
        (false, true) => AccountStatus::Active,
        (false, false) => AccountStatus::Suspended,
    };
    assert_eq!(
        (state.status(), state.keys.len(), state.decided_disputes.len()),
        (status, naive.keys.len(), naive.decided.len())
    );
    let left: Vec<_> = state.payments.iter().map(|(id, payment)| (*id, payment.left)).collect();
    let expected: Vec<_> = naive.payments.iter().map(|(id, payment)| (payment_id(*id), cents(payment.left))).collect();
    assert_eq!(left, expected);
    // Which lot has what, in the order in which they are spent.
    let mut spent_next: Vec<(LotId, i64)> = vec![];
    for coin in &naive.coins {
        match spent_next.last_mut() {
            Some((lot, count)) if *lot == lot_id(coin.label) => *count += 1,
            _ => spent_next.push((lot_id(coin.label), 1)),
        }
    }
    let lots: Vec<_> = state.lots.iter().map(|lot| (lot.id, lot.remaining)).collect();
    let expected: Vec<_> = spent_next.into_iter().map(|(lot, count)| (lot, cents(count))).collect();
    assert_eq!(lots, expected);

    // What is funded, posted and left agrees with the operator's books, and is never below zero (I6).
    assert_eq!(book(LedgerAccount::CustomerCredit(id)), -cents(coins).as_decimal());
    assert_eq!(book(LedgerAccount::FrozenCredit(id)), -cents(naive.frozen()).as_decimal());
    assert_eq!(book(LedgerAccount::CustomerDebt(id)), cents(naive.debt).as_decimal());
    assert_eq!(book(LedgerAccount::TokensHeld(id)), -Decimal::from(naive.tokens()));
    assert!(naive.debt >= 0 && (naive.debt == 0 || coins == 0));
    let frozen = state.disputes.values().flat_map(|dispute| &dispute.frozen);
    assert!(state.lots.iter().chain(frozen).all(|lot| lot.remaining.is_positive() && lot.remaining <= lot.amount));

    let deferred = naive.sub.map_or(0, |sub| sub.price);
    assert_eq!(book(LedgerAccount::DeferredPlanRevenue(id)), -cents(deferred).as_decimal());
    let Some(sub) = &naive.sub else {
        assert_eq!(state.subscription, None);
        return;
    };
    let live = state.subscription.as_ref().unwrap();
    assert_eq!((live.period, live.deferred), (period(sub.start, sub.end), cents(sub.price)));
    let at_end = match sub.at_end {
        AtEnd::Renewal => AtPeriodEnd::Renew,
        AtEnd::Plan(plan) => AtPeriodEnd::Change { plan: plan.into() },
        AtEnd::Nothing => AtPeriodEnd::End,
    };
    assert_eq!(live.at_period_end, at_end);
    let is_past_due = matches!(live.standing, schemas::api::Standing::PastDue { .. });
    let of =
        |rolled_over| live.tokens.iter().filter(|lot| lot.rolled_over == rolled_over).map(|lot| lot.remaining).sum();
    let (own, rolled): (u64, u64) = (of(false), of(true));
    assert_eq!((own, rolled, is_past_due), (sub.own, sub.rolled, sub.past_due));
    assert!(live.tokens.iter().all(|lot| lot.remaining > 0 && lot.remaining <= lot.granted));
}

/// The operator's side, over all accounts.
fn compare_books(memory: &Memory, naive: &BTreeMap<u32, Account>) {
    assert!(memory.is_balanced());
    let usd =
        |of: fn(&super::naive::Sums) -> i64| cents(naive.values().map(|account| of(&account.sums)).sum()).as_decimal();
    let count = |of: fn(&super::naive::Sums) -> i64| {
        Decimal::from(naive.values().map(|account| of(&account.sums)).sum::<i64>())
    };
    let sum = |wanted: fn(&LedgerAccount) -> bool| memory.sum(wanted);
    let p = || "p".into();
    assert_eq!(memory.book(&LedgerAccount::PromotionalExpense), usd(|sums| sums.promoted));
    assert_eq!(memory.book(&LedgerAccount::AdjustmentExpense), usd(|sums| sums.adjusted));
    assert_eq!(memory.book(&LedgerAccount::UsageRevenue("m".into())), -usd(|sums| sums.usage_revenue));
    assert_eq!(sum(|account| matches!(account, LedgerAccount::PlanRevenue(_))), -usd(|sums| sums.plan_revenue));
    assert_eq!(memory.book(&LedgerAccount::ProcessorClearing(p())), usd(|sums| sums.cleared));
    assert_eq!(memory.book(&LedgerAccount::ProcessorFees(p())), usd(|sums| sums.fees));
    assert_eq!(memory.book(&LedgerAccount::Disputed(p())), usd(|sums| sums.disputed));
    assert_eq!(memory.book(&LedgerAccount::Refunds(p())), Decimal::ZERO);
    assert_eq!(
        sum(|account| matches!(account, LedgerAccount::TokensIssued(_))),
        count(|sums| sums.issued.cast_signed())
    );
    assert_eq!(memory.book(&LedgerAccount::TokensUsed("m".into())), -count(|sums| sums.used));
    assert_eq!(
        sum(|account| matches!(account, LedgerAccount::TokensLapsed(_))),
        -count(|sums| sums.lapsed.cast_signed())
    );
}

proptest! {
    #[test]
    fn the_fold_agrees_with_a_reference_that_knows_no_lots(history in prop::collection::vec(moment(), 220..300)) {
        let mut telling = Telling::new();
        let mut memory = Memory::default();
        // Nothing happens before an account is open, so all but a few are opened at once.
        let opened = (1..ACCOUNTS).map(|account| Moment { account, time: 0, step: Step::Open });
        for moment in opened.chain(history) {
            let Some((account, record, expected)) = telling.tell(&moment) else { continue };
            let entry = memory.take(0, &[record]).remove(0);
            let outcome = match &entry.outcome {
                Outcome::Applied(_) => Expected::Applied,
                Outcome::Duplicate => Expected::Duplicate,
                Outcome::Quarantined(_) => Expected::Quarantined,
            };
            prop_assert_eq!(outcome, expected, "{:?}: {:?}", moment, entry);
            if let Some(naive) = telling.naive.get(&account) {
                compare(&memory, account, naive);
            }
            compare_books(&memory, &telling.naive);
        }
        if let Some(issued) = &telling.invoices {
            let operator = &memory.accounts[&account_id(OPERATOR)];
            prop_assert_eq!(operator.invoices_issued, issued.len() as u64);
        }
        for (account, naive) in &telling.naive {
            compare(&memory, *account, naive);
        }
    }
}
