//! Usage, corrections, payments and disputes.

use schemas::EventData;

use super::super::events::*;
use super::Table;

pub(super) fn usage_and_corrections(table: &mut Table) {
    let granted = [open(), grant(1, usd("5"), 1)];
    let dollars = |completion, cost: &str| usage_at(dollar_price(), tokens(0, 0, completion), usd(cost));
    table.check(&granted, dollars(2, "2.000000000001"), "cost_mismatch");
    table.check(&granted, dollars(9_000_001, "9000000"), "cost_mismatch");
    let beyond = usd("9000000").checked_add(usd("1")).unwrap();
    table.check(&granted, usage_at(dollar_price(), tokens(0, 0, 9_000_001), beyond), "undecodable");
    table.check(&[open(), dollars(9_000_000, "9000000")], dollars(1, "1"), "out_of_range");
    table.check(&granted, dollars(1_000_000_001, "0"), "inconsistent_tokens");
    table.check(&granted, usage_at(dollar_price(), tokens(1, 2, 0), usd("0")), "inconsistent_tokens");
    let mut reasoning = tokens(0, 0, 1);
    reasoning.reasoning = 2;
    table.check(&granted, usage_at(dollar_price(), reasoning, usd("1")), "inconsistent_tokens");

    let recorded = charge(tokens(10, 0, 5), 0, usd("0.40"));
    let used = [open(), usage_v2(cents_price(), recorded.tokens)];
    let correct_first = |before, now, lot| correct(102, cents_price(), before, now, lot);
    let stated = charge(recorded.tokens, 0, usd("0.41"));
    table.check(&used, correct_first(stated, tokens(1, 0, 1), 1), "cost_mismatch");
    let beyond = charge(recorded.tokens, 16, usd("0"));
    table.check(&used, correct_first(beyond, tokens(1, 0, 1), 1), "inconsistent_tokens");
    // Whatever a plan is said to have covered: no tokens come from nowhere.
    let subscribed = [open(), start(plan("p", "0", 10, 0), period(0, 1000), 7, None)];
    for prompt in [1_000_000_001, u64::MAX] {
        let invented = charge(tokens(prompt, 0, 0), prompt, usd("0"));
        table.check(&subscribed, correct(102, cents_price(), invented, tokens(0, 0, 0), 1), "inconsistent_tokens");
    }
    let broken = charge(tokens(1, 2, 0), 0, usd("0"));
    table.check(&used, correct_first(broken, tokens(1, 0, 1), 1), "inconsistent_tokens");
    table.check(&used, correct_first(recorded, tokens(1, 2, 0), 1), "inconsistent_tokens");
    table.check(&used, correct_first(recorded, tokens(0, 0, 450_000_001), 1), "out_of_range");
    let mut corrected = used.to_vec();
    corrected.push(correct_first(recorded, tokens(1, 0, 1), 1));
    table.check(&corrected, correct_first(recorded, tokens(1, 0, 1), 2), "stale_correction");
    let now = charge(tokens(1, 0, 1), 0, usd("0.05"));
    let mut other_model = correct_first(now, tokens(1, 0, 0), 2);
    if let EventData::UsageCorrected(data) = &mut other_model {
        data.model = "dearer".into();
    }
    table.check(&corrected, other_model, "stale_correction");
    let covered =
        [open(), start(plan("p", "0", 99, 0), period(0, 1000), 7, None), usage_v2(cents_price(), tokens(9, 0, 0))];
    let stated = charge(tokens(9, 0, 0), 9, usd("0"));
    let mut once = covered.to_vec();
    once.push(correct(103, cents_price(), stated, tokens(8, 0, 0), 1));
    let stated = charge(tokens(8, 0, 0), 8, usd("0"));
    table.check(&once, correct(103, dollar_price(), stated, tokens(9, 0, 0), 2), "stale_correction");
    let funded = [open(), usage_v2(cents_price(), recorded.tokens), grant(1, usd("5"), 1)];
    table.check(&funded, correct_first(recorded, tokens(1, 0, 1), 1), "lot_exists");
}

pub(super) fn payments_and_disputes(table: &mut Table) {
    let paid = [open(), pay(1, 1, usd("20"), None)];
    table.check(&[open()], pay(1, 1, usd("0.001"), None), "amount_not_cents");
    table.check(&[open()], pay(1, 1, usd("1"), Some(usd("-1"))), "amount_not_positive");
    table.check(&[open()], fail(1, usd("0.001")), "amount_not_cents");
    table.check(&paid, refund(1, "p", usd("0.001")), "amount_not_cents");
    table.check(&paid, dispute(1, 1, usd("0.001"), true), "amount_not_cents");
    table.check(&paid, refund(1, "p", usd("0")), "amount_not_positive");
    table.check(&paid, pay(1, 2, usd("20"), None), "payment_exists");
    table.check(&[open()], refund(1, "p", usd("1")), "unknown_payment");
    table.check(&[open()], dispute(1, 1, usd("1"), true), "unknown_payment");
    table.check(&[open()], start(free(), period(0, 1), 1, Some(1)), "unknown_payment");
    table.check(&paid, refund(1, "q", usd("1")), "other_processor");
    table.check(&paid, refund(1, "p", usd("20.01")), "beyond_payment");
    table.check(&paid, dispute(1, 1, usd("20.01"), true), "beyond_payment");
    let refunded = [open(), pay(1, 1, usd("20"), None), refund(1, "p", usd("15"))];
    table.check(&refunded, refund(1, "p", usd("5.01")), "beyond_payment");
    table.check(&refunded, dispute(1, 1, usd("5.01"), true), "beyond_payment");
    let all = [open(), pay(1, 1, usd("20"), None), refund(1, "p", usd("20"))];
    table.check(&all, refund(1, "p", usd("0.01")), "beyond_payment");
    // A processor tells of a payment again, by another event, when nothing of it is left.
    table.check(&all, pay(1, 2, usd("20"), None), "payment_exists");
    let gone = [open(), pay(1, 1, usd("20"), None), dispute(1, 1, usd("20"), true)];
    table.check(&gone, pay(1, 2, usd("20"), None), "payment_exists");
    let mut lost = gone.to_vec();
    lost.push(decide(1, 1, false, true));
    table.check(&lost, pay(1, 2, usd("20"), None), "payment_exists");
    // And of a dispute, when it is decided.
    for won in [true, false] {
        let decided = [open(), pay(1, 1, usd("20"), None), dispute(1, 1, usd("5"), true), decide(1, 1, won, true)];
        table.check(&decided, dispute(1, 1, usd("5"), true), "dispute_exists");
    }

    let disputed = [open(), pay(1, 1, usd("20"), None), dispute(1, 1, usd("15"), true)];
    table.check(&disputed, dispute(1, 1, usd("1"), true), "dispute_exists");
    table.check(&disputed, refund(1, "p", usd("5.01")), "beyond_payment");
    table.check(&disputed, decide(2, 1, true, true), "unknown_dispute");
    table.check(&disputed, decide(1, 2, true, true), "unknown_dispute");
    let mut lost = disputed.to_vec();
    lost.push(decide(1, 1, false, true));
    table.check(&lost, decide(1, 1, false, true), "unknown_dispute");
    table.check(&lost, refund(1, "p", usd("5.01")), "beyond_payment");
    let rich =
        [open(), pay(1, 1, usd("9000000"), None), dispute(1, 1, usd("9000000"), true), pay(2, 2, usd("9000000"), None)];
    table.check(&rich, decide(1, 1, true, true), "out_of_range");
}
