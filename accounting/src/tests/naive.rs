//! A reference written apart from the fold, which knows no lots, no decimals and no transfers. Credit is a bag of one-cent
//! coins, plan tokens are two numbers, and money is counted in cents. Slow, obvious, and right.

use std::collections::{BTreeMap, BTreeSet};

/// A cent of credit. Where it is from decides when it is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Coin {
    pub(super) priority: u8,
    pub(super) expires_at: i64,
    pub(super) age: u64,
    pub(super) label: u32,
}

/// Coins without an end.
pub(super) const NEVER: i64 = i64::MAX;

#[derive(Clone, Debug, Default)]
pub(super) struct Payment {
    pub(super) left: i64,
    pub(super) label: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Dispute {
    pub(super) payment: u32,
    pub(super) label: u32,
    pub(super) amount: i64,
    pub(super) frozen: Vec<Coin>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) id: &'static str,
    pub(super) price: i64,
    pub(super) quota: u64,
    pub(super) cap: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sub {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) price: i64,
    pub(super) own: u64,
    pub(super) rolled: u64,
    pub(super) past_due: bool,
    pub(super) at_end: AtEnd,
}

/// What is decided for a period's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtEnd {
    Renewal,
    Plan(&'static str),
    Nothing,
}

/// Tokens of a request by what they cost: prompt, cached prompt, completion at three, one and two cents.
pub(super) type Counts = [u64; 3];

/// What a request took: its tokens, those that the plan covered, and cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charged {
    pub(super) counts: Counts,
    pub(super) covered: u64,
    pub(super) cents: i64,
}

/// What finance would add up over time, in cents and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) promoted: i64,
    pub(super) adjusted: i64,
    pub(super) usage_revenue: i64,
    pub(super) plan_revenue: i64,
    pub(super) cleared: i64,
    pub(super) fees: i64,
    pub(super) disputed: i64,
    pub(super) issued: u64,
    pub(super) used: i64,
    pub(super) lapsed: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) coins: Vec<Coin>,
    pub(super) ages: u64,
    pub(super) debt: i64,
    pub(super) plan: Plan,
    pub(super) sub: Option<Sub>,
    pub(super) payments: BTreeMap<u32, Payment>,
    pub(super) disputes: BTreeMap<u32, Dispute>,
    pub(super) decided: BTreeSet<u32>,
    pub(super) keys: BTreeSet<u32>,
    pub(super) closed: bool,
    pub(super) suspended: BTreeSet<Option<u32>>,
    pub(super) paid: bool,
    pub(super) usage: BTreeMap<u32, Charged>,
    pub(super) sums: Sums,
}

/// What one token of each kind costs, in cents.
const PRICES: [i64; 3] = [3, 1, 2];

/// The price of what is not covered, token by token: prompt tokens first, the dearer before the cheaper.
pub(super) fn price_beyond(counts: Counts, covered: u64) -> i64 {
    let each = |kind: usize| std::iter::repeat_n(PRICES[kind], usize::try_from(counts[kind]).unwrap());
    let tokens = each(0).chain(each(1)).chain(each(2));
    tokens.skip(usize::try_from(covered).unwrap()).sum()
}

fn count(coins: &[Coin]) -> i64 {
    i64::try_from(coins.len()).unwrap()
}

impl Account {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            coins: vec![],
            ages: 0,
            debt: 0,
            plan,
            sub: None,
            payments: BTreeMap::new(),
            disputes: BTreeMap::new(),
            decided: BTreeSet::new(),
            keys: BTreeSet::new(),
            closed: false,
            suspended: BTreeSet::new(),
            paid: false,
            usage: BTreeMap::new(),
            sums: Sums::default(),
        }
    }

    pub(super) fn balance(&self) -> i64 {
        count(&self.coins) - self.debt
    }

    pub(super) fn frozen(&self) -> i64 {
        self.disputes.values().map(|dispute| count(&dispute.frozen)).sum()
    }

    pub(super) fn tokens(&self) -> u64 {
        self.sub.map_or(0, |sub| sub.own + sub.rolled)
    }

    fn knows(&self, label: u32) -> bool {
        let frozen = self.disputes.values().flat_map(|dispute| &dispute.frozen);
        self.coins.iter().chain(frozen).any(|coin| coin.label == label)
    }

    /// New coins; a debt swallows the first of them.
    pub(super) fn earn(&mut self, label: u32, cents: i64, priority: u8, expires_at: i64) -> bool {
        if cents <= 0 || self.knows(label) {
            return false;
        }
        let coin = Coin { priority, expires_at, age: self.ages, label };
        self.ages += 1;
        self.put(&vec![coin; usize::try_from(cents).unwrap()]);
        true
    }

    fn put(&mut self, coins: &[Coin]) {
        let swallowed = self.debt.min(count(coins));
        self.debt -= swallowed;
        self.coins.extend(&coins[usize::try_from(swallowed).unwrap()..]);
        self.coins.sort_unstable();
    }

    /// Takes coins out of the bag: those of a label first, then in the order in which they are spent. Returns them; what
    /// is missing is the caller's business.
    fn draw(&mut self, cents: i64, first: Option<u32>) -> Vec<Coin> {
        let wanted = usize::try_from(cents).unwrap();
        let is_first = |coin: &Coin| Some(coin.label) == first;
        let (mut preferred, mut others): (Vec<Coin>, Vec<Coin>) = self.coins.iter().partition(|coin| is_first(coin));
        let from_preferred = preferred.len().min(wanted);
        let mut drawn: Vec<Coin> = preferred.drain(..from_preferred).collect();
        let from_others = others.len().min(wanted - from_preferred);
        drawn.extend(others.drain(..from_others));
        others.extend(preferred);
        others.sort_unstable();
        self.coins = others;
        drawn
    }

    /// Takes coins for good; what is missing becomes debt.
    pub(super) fn spend(&mut self, cents: i64, first: Option<u32>) {
        self.debt += cents - count(&self.draw(cents, first));
    }

    pub(super) fn expire(&mut self, label: u32, now: i64) -> bool {
        if self.disputes.values().flat_map(|dispute| &dispute.frozen).any(|coin| coin.label == label) {
            return false;
        }
        let mine: Vec<Coin> = self.coins.iter().filter(|coin| coin.label == label).copied().collect();
        if mine.iter().any(|coin| coin.expires_at > now) {
            return false;
        }
        self.coins.retain(|coin| coin.label != label);
        self.sums.promoted -= count(&mine);
        true
    }

    /// Uses plan tokens, those that rolled over first.
    fn use_tokens(&mut self, tokens: u64) {
        if let Some(sub) = &mut self.sub {
            let rolled = tokens.min(sub.rolled);
            sub.rolled -= rolled;
            sub.own -= tokens - rolled;
            self.sums.used += i64::try_from(tokens).unwrap();
        }
    }

    pub(super) fn usage(&mut self, event: u32, counts: Counts) {
        let covered = counts.iter().sum::<u64>().min(self.tokens());
        let cents = price_beyond(counts, covered);
        self.use_tokens(covered);
        self.spend(cents, None);
        self.sums.usage_revenue += cents;
        self.usage.insert(event, Charged { counts, covered, cents });
    }

    pub(super) fn correct(&mut self, event: u32, counts: Counts, label: u32, priority: u8) -> bool {
        let before = self.usage[&event];
        let (total_before, total) = (before.counts.iter().sum::<u64>(), counts.iter().sum::<u64>());
        let kept = before.covered.min(total);
        let more = total.saturating_sub(total_before).min(self.tokens());
        let cents = price_beyond(counts, kept + more);
        let back = before.cents - cents;
        if back > 0 && self.knows(label) {
            return false;
        }
        self.use_tokens(more);
        if let Some(sub) = &mut self.sub {
            sub.own += before.covered - kept;
            let beyond = sub.own.saturating_sub(self.plan.quota);
            sub.own -= beyond;
            sub.rolled += beyond;
            self.sums.used -= i64::try_from(before.covered - kept).unwrap();
        }
        if back > 0 {
            self.earn(label, back, priority, NEVER);
        } else {
            self.spend(-back, None);
        }
        self.sums.usage_revenue -= back;
        self.usage.insert(event, Charged { counts, covered: kept + more, cents });
        true
    }

    pub(super) fn pay(&mut self, payment: u32, label: u32, cents: i64, fee: i64) -> bool {
        if self.payments.contains_key(&payment) || !self.earn(label, cents, super::events::PRIORITY, NEVER) {
            return false;
        }
        self.payments.insert(payment, Payment { left: cents, label });
        self.paid = true;
        self.sums.cleared += cents - fee;
        self.sums.fees += fee;
        true
    }

    /// What is left of a payment; nothing of one that never was.
    pub(super) fn left_of(&self, payment: u32) -> i64 {
        self.payments.get(&payment).map_or(0, |found| found.left)
    }

    /// The payment's label, where so much of it is left.
    fn use_up(&mut self, payment: u32, cents: i64) -> Option<u32> {
        let found = self.payments.get_mut(&payment).filter(|found| cents > 0 && cents <= found.left)?;
        found.left -= cents;
        Some(found.label)
    }

    pub(super) fn refund(&mut self, payment: u32, cents: i64) -> bool {
        let Some(label) = self.use_up(payment, cents) else { return false };
        self.spend(cents, Some(label));
        self.sums.cleared -= cents;
        true
    }

    pub(super) fn dispute(&mut self, dispute: u32, payment: u32, cents: i64, suspend: bool) -> bool {
        if self.disputes.contains_key(&dispute) || self.decided.contains(&dispute) {
            return false;
        }
        let Some(label) = self.use_up(payment, cents) else { return false };
        let frozen = self.draw(cents, Some(label));
        self.disputes.insert(dispute, Dispute { payment, label, amount: cents, frozen });
        if suspend {
            self.suspended.insert(Some(dispute));
        }
        self.sums.cleared -= cents;
        self.sums.disputed += cents;
        true
    }

    pub(super) fn decide(&mut self, id: u32, payment: u32, won: bool, reinstate: bool) -> bool {
        if self.disputes.get(&id).is_none_or(|dispute| dispute.payment != payment) {
            return false;
        }
        let Dispute { payment, label, amount, frozen } = self.disputes.remove(&id).unwrap();
        self.sums.disputed -= amount;
        self.decided.insert(id);
        if won {
            self.sums.cleared += amount;
            self.put(&frozen);
            self.payments.get_mut(&payment).unwrap().left += amount;
        } else {
            self.spend(amount - count(&frozen), Some(label));
        }
        if reinstate {
            self.suspended.remove(&Some(id));
        }
        true
    }

    /// A period begins.
    pub(super) fn open_period(&mut self, plan: Plan, start: i64, end: i64, rolled: u64, payment: Option<u32>) -> bool {
        if start >= end || payment.is_some_and(|payment| !self.payments.contains_key(&payment)) {
            return false;
        }
        let first = payment.map(|payment| self.payments[&payment].label);
        self.spend(plan.price, first);
        self.plan = plan;
        self.sub = Some(Sub {
            start,
            end,
            price: plan.price,
            own: plan.quota,
            rolled,
            past_due: false,
            at_end: AtEnd::Renewal,
        });
        self.sums.issued += plan.quota;
        true
    }

    /// A period ends with nothing coming back. Returns what rolls over.
    pub(super) fn end_period(&mut self, rolls_over: bool) -> u64 {
        let sub = self.sub.take().unwrap();
        let rolled = if rolls_over { sub.own.min(self.plan.cap) } else { 0 };
        self.sums.plan_revenue += sub.price;
        self.sums.lapsed += sub.own + sub.rolled - rolled;
        rolled
    }

    /// A period ends early, and the unused part of its price comes back. Returns what carries over.
    pub(super) fn end_early(&mut self, at: i64, label: u32, goes_on: bool) -> Option<u64> {
        let sub = self.sub.unwrap();
        let (left, whole) = (sub.end - at.clamp(sub.start, sub.end), sub.end - sub.start);
        let quota = i64::try_from(self.plan.quota).unwrap();
        let own = i64::try_from(sub.own).unwrap();
        let by_time = (sub.price * left, whole, quota * left / whole);
        let by_tokens = (sub.price * own, quota, own);
        let (price, over, tokens) = match quota {
            0 => by_time,
            _ if left * quota > own * whole => by_tokens,
            _ => by_time,
        };
        assert_eq!(price % over, 0, "the histories keep to whole cents");
        let back = price / over;
        if back > 0 && !self.earn(label, back, super::events::PRIORITY, NEVER) {
            return None;
        }
        self.sub = None;
        self.sums.plan_revenue += sub.price - back;
        let kept = sub.own - u64::try_from(tokens).unwrap() + sub.rolled;
        let carried = if goes_on { kept.min(self.plan.cap) } else { 0 };
        self.sums.lapsed += sub.own + sub.rolled - carried;
        Some(carried)
    }
}
