//! Subscriptions.

use schemas::event::{BillingAnchor, SubscriptionChange};
use schemas::{EventData, SubscriptionId};

use super::super::events::*;
use super::Table;

pub(super) fn subscriptions(table: &mut Table) {
    let small = plan("small", "10", 1000, 600);
    let first = period(0, 1000);
    let running = [open(), start(small.clone(), first, 7, None)];
    let next = period(1000, 2000);
    table.check(&running, start(small.clone(), next, 8, None), "subscription_exists");
    let about_it = [
        renew(first, small.clone(), next, 8, None),
        change(SubscriptionChange::StayAsItIs),
        change_at_once(switch(first, unused(usd("10"), 9), small.clone(), next, 8)),
        past_due(first, micros(1)),
        cancel(first, micros(1), None),
    ];
    for mut data in about_it {
        table.check(&[open()], data.clone(), "unknown_subscription");
        let other: SubscriptionId = subscription_id(2);
        match &mut data {
            EventData::SubscriptionRenewed(data) => data.subscription_id = other,
            EventData::SubscriptionChanged(data) => data.subscription_id = other,
            EventData::SubscriptionPastDue(data) => data.subscription_id = other,
            EventData::SubscriptionCanceled(data) => data.subscription_id = other,
            _ => unreachable!(),
        }
        table.check(&running, data, "unknown_subscription");
    }
    let stale = period(0, 999);
    for data in [
        renew(stale, small.clone(), period(999, 2000), 8, None),
        change_at_once(switch(stale, unused(usd("10"), 9), small.clone(), next, 8)),
        past_due(stale, micros(1)),
        cancel(stale, micros(1), None),
    ] {
        table.check(&running, data, "other_period");
    }
    table.check(&[open()], start(small.clone(), period(5, 5), 7, None), "invalid_period");
    table.check(&[open()], start(small.clone(), period(5, 4), 7, None), "invalid_period");
    table.check(&running, renew(first, small.clone(), period(1000, 1000), 8, None), "invalid_period");
    table.check(&running, renew(first, small.clone(), period(1001, 2000), 8, None), "invalid_period");
    table.check(
        &running,
        change_at_once(switch(first, unused(usd("10"), 9), small.clone(), period(5, 5), 8)),
        "invalid_period",
    );
    let day = 24 * 60 * 60 * 1_000_000;
    let long_before = -day - 1;
    let before = change_at_once(switch(first, unused(usd("10"), 9), small.clone(), period(long_before, 900), 8));
    table.check(&running, before, "invalid_period");
    table.check(&running, cancel(first, micros(long_before), None), "invalid_period");
    table.check(&running, cancel(first, micros(long_before), Some(unused(usd("10"), 9))), "invalid_period");
    let decided = |change_: SubscriptionChange| [running.to_vec(), vec![change(change_)]].concat();
    let again = renew(first, small.clone(), next, 8, None);
    table.check(&decided(SubscriptionChange::EndAtPeriodEnd), again.clone(), "decided_otherwise");
    table.check(&decided(SubscriptionChange::AtPeriodEnd(free())), again, "decided_otherwise");
    let long = period(0, day + 2);
    let begun = [open(), start(small.clone(), long, 7, None)];
    let soon = renew(long, small.clone(), period(day + 2, 2 * day), 8, None);
    table.check(&begun, soon, "too_early");
    let mut zone = start(small.clone(), first, 7, None);
    if let EventData::SubscriptionStarted(data) = &mut zone {
        data.anchor = BillingAnchor { at: micros(0), utc_offset_minutes: 841 };
    }
    table.check(&[open()], zone, "invalid_period");
    let stated = unused(usd("9.99"), 9);
    table.check(&running, change_at_once(switch(first, stated, small.clone(), next, 8)), "price_mismatch");
    table.check(&running, cancel(first, micros(1), Some(stated)), "price_mismatch");
    let mut funded = running.to_vec();
    funded.extend([grant(1, usd("20"), 1), grant(9, usd("1"), 1)]);
    let into_taken = change_at_once(switch(first, unused(usd("10"), 9), small.clone(), period(500, 900), 8));
    table.check(&funded, into_taken, "lot_exists");
    table.check(&running, renew(first, small.clone(), next, 7, None), "lot_exists");
    let huge = 1_000_000_000_000_001;
    let terms = [
        (plan("x", "-1", 0, 0), "amount_not_positive"),
        (plan("x", "1", huge, 0), "out_of_range"),
        (plan("x", "1", 0, huge), "out_of_range"),
    ];
    for (terms, code) in terms {
        table.check(&[open()], start(terms.clone(), first, 7, None), code);
        table.check(&running, renew(first, terms.clone(), next, 8, None), code);
        table.check(&running, change(SubscriptionChange::AtPeriodEnd(terms)), code);
    }
}
