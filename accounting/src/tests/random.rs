//! Steps of random histories: small domains, so that repeats, unknown ids, debts and closed periods all happen.

use proptest::prelude::*;

use super::naive::Plan;

pub(super) const ACCOUNTS: u32 = 3;

/// Prices, quotas and the length of a period go evenly into each other, so that what is unused is whole cents.
pub(super) const PERIOD: i64 = 1000;

pub(super) const PLANS: [Plan; 6] = [
    Plan { id: "free", price: 0, quota: 0, cap: 0 },
    Plan { id: "small", price: 1000, quota: 1000, cap: 600 },
    Plan { id: "large", price: 2000, quota: 2000, cap: 2000 },
    Plan { id: "uncapped", price: 2000, quota: 1000, cap: 9000 },
    Plan { id: "flat", price: 1000, quota: 0, cap: 100 },
    Plan { id: "gift", price: 0, quota: 500, cap: 0 },
];

#[derive(Clone, Debug)]
pub(super) enum Step {
    Open,
    Suspend,
    Reinstate,
    Close,
    Key(u32),
    RenameKey(u32),
    RevokeKey(u32),
    Grant {
        lot: u32,
        cents: i64,
        priority: u8,
        until: Option<i64>,
        is_v2: bool,
    },
    Give {
        lot: u32,
        cents: i64,
    },
    Take {
        lot: Option<u32>,
        cents: i64,
    },
    Expire {
        lot: u32,
    },
    Use {
        counts: [u64; 3],
        is_v2: bool,
        lie: bool,
    },
    Correct {
        which: usize,
        counts: [u64; 3],
        lot: u32,
        stale: bool,
    },
    Pay {
        payment: u32,
        lot: u32,
        cents: i64,
        fee: i64,
    },
    Fail {
        payment: u32,
    },
    /// Without an amount, of exactly what is left of the payment; so are disputes.
    Refund {
        payment: u32,
        cents: Option<i64>,
        elsewhere: bool,
    },
    Dispute {
        dispute: u32,
        payment: u32,
        cents: Option<i64>,
        suspend: bool,
    },
    Decide {
        dispute: u32,
        payment: Option<u32>,
        won: bool,
        reinstate: bool,
    },
    Start {
        plan: usize,
        payment: Option<u32>,
    },
    Renew {
        plan: usize,
        payment: Option<u32>,
        stale: bool,
    },
    Switch {
        plan: usize,
        at: i64,
        lot: u32,
        stale: bool,
    },
    Plan {
        plan: Decision,
    },
    PastDue {
        stale: bool,
    },
    Cancel {
        at: i64,
        back: Option<u32>,
        stale: bool,
    },
    /// The operator issues an invoice, or opens its own account where it has none.
    Invoice {
        of: u32,
        after: Option<u64>,
        fault: Fault,
    },
    Garbage,
    /// A record of before once more; or its event id, for something else.
    Repeat {
        which: usize,
        reuses: bool,
    },
}

/// What is wrong with an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    CustomersStream,
    OfTheOperator,
    EmptyRange,
    OtherId,
    TooEarly,
}

/// What is decided for the end of a period.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decision {
    Plan(usize),
    End,
    Stay,
}

/// What happens, to which account, and when, by the event's own word.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) account: u32,
    pub(super) time: i64,
    pub(super) step: Step,
}

pub(super) fn moment() -> impl Strategy<Value = Moment> {
    (0..ACCOUNTS, 0..5 * PERIOD, step()).prop_map(|(account, time, step)| Moment { account, time, step })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![6 => of_accounts(), 9 => of_credit(), 22 => of_usage(), 18 => of_payments(), 14 => of_plans(), 4 => of_the_log(), 2 => of_invoices()]
}

fn of_accounts() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => Just(Step::Open),
        2 => Just(Step::Suspend),
        2 => Just(Step::Reinstate),
        1 => Just(Step::Close),
        9 => (0..2_u32).prop_map(Step::Key),
        6 => (0..2_u32).prop_map(Step::RenameKey),
        7 => (0..2_u32).prop_map(Step::RevokeKey),
    ]
}

fn of_credit() -> impl Strategy<Value = Step> {
    let until = prop::option::of(0..4 * PERIOD);
    prop_oneof![
        4 => (0..30_u32, -5..500_i64, 98..103_u8, until, any::<bool>())
            .prop_map(|(lot, cents, priority, until, is_v2)| Step::Grant { lot, cents, priority, until, is_v2 }),
        1 => (0..30_u32, -5..500_i64).prop_map(|(lot, cents)| Step::Give { lot, cents }),
        1 => (prop::option::of(0..30_u32), -5..300_i64).prop_map(|(lot, cents)| Step::Take { lot, cents }),
        2 => (0..30_u32).prop_map(|lot| Step::Expire { lot }),
    ]
}

fn of_usage() -> impl Strategy<Value = Step> {
    let counts = || [0..60_u64, 0..20_u64, 0..60_u64];
    prop_oneof![
        20 => (counts(), any::<bool>(), prop::bool::weighted(0.03))
            .prop_map(|(counts, is_v2, lie)| Step::Use { counts, is_v2, lie }),
        3 => (any::<usize>(), counts(), 0..30_u32, prop::bool::weighted(0.1))
            .prop_map(|(which, counts, lot, stale)| Step::Correct { which, counts, lot, stale }),
    ]
}

fn of_payments() -> impl Strategy<Value = Step> {
    let rarely = || prop::bool::weighted(0.05);
    let some_or_all = || prop::option::weighted(0.7, -5..1_200_i64);
    prop_oneof![
        6 => (0..9_u32, 0..30_u32, -5..2_500_i64, 0..3_i64)
            .prop_map(|(payment, lot, cents, fee)| Step::Pay { payment, lot, cents, fee }),
        1 => (0..9_u32).prop_map(|payment| Step::Fail { payment }),
        3 => (0..9_u32, some_or_all(), rarely())
            .prop_map(|(payment, cents, elsewhere)| Step::Refund { payment, cents, elsewhere }),
        5 => (0..4_u32, 0..9_u32, some_or_all(), any::<bool>())
            .prop_map(|(dispute, payment, cents, suspend)| Step::Dispute { dispute, payment, cents, suspend }),
        7 => (0..4_u32, prop::option::weighted(0.05, 0..9_u32), any::<bool>(), any::<bool>())
            .prop_map(|(dispute, payment, won, reinstate)| Step::Decide { dispute, payment, won, reinstate }),
    ]
}

fn of_plans() -> impl Strategy<Value = Step> {
    let plan = || 0..PLANS.len();
    let payment = || prop::option::weighted(0.4, 0..9_u32);
    let rarely = || prop::bool::weighted(0.07);
    prop_oneof![
        5 => (plan(), payment()).prop_map(|(plan, payment)| Step::Start { plan, payment }),
        6 => (plan(), payment(), rarely()).prop_map(|(plan, payment, stale)| Step::Renew { plan, payment, stale }),
        4 => (plan(), -200..PERIOD + 200, 0..30_u32, rarely())
            .prop_map(|(plan, at, lot, stale)| Step::Switch { plan, at, lot, stale }),
        2 => prop_oneof![plan().prop_map(Decision::Plan), Just(Decision::End), Just(Decision::Stay)]
            .prop_map(|plan| Step::Plan { plan }),
        1 => rarely().prop_map(|stale| Step::PastDue { stale }),
        2 => (-200..PERIOD + 200, prop::option::of(0..30_u32), rarely())
            .prop_map(|(at, back, stale)| Step::Cancel { at, back, stale }),
    ]
}

fn of_invoices() -> impl Strategy<Value = Step> {
    let faults = [Fault::CustomersStream, Fault::OfTheOperator, Fault::EmptyRange, Fault::OtherId, Fault::TooEarly];
    let fault = prop_oneof![3 => Just(Fault::None), 2 => prop::sample::select(faults.to_vec())];
    (0..ACCOUNTS, prop::option::of(0..6_u64), fault).prop_map(|(of, after, fault)| Step::Invoice { of, after, fault })
}

fn of_the_log() -> impl Strategy<Value = Step> {
    prop_oneof![1 => Just(Step::Garbage), 4 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(which, reuses)| Step::Repeat { which, reuses })]
}
