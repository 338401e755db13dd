//! A statement's entry in one line.

use schemas::api::{AdjustmentKind, EntryDetail, PlanEntry, PlanEntryKind};

pub(super) fn describe(detail: &EntryDetail) -> String {
    match detail {
        EntryDetail::Credit { reason, .. } => format!("credit: {reason}"),
        EntryDetail::Adjustment { kind, reason, .. } => {
            let kind = match kind {
                AdjustmentKind::Given => "credit given",
                AdjustmentKind::Taken => "credit taken back",
                AdjustmentKind::Expired => "credit expired",
            };
            format!("{kind}: {reason}")
        }
        EntryDetail::Usage { model, tokens, outcome, accuracy, plan_tokens, .. } => format!(
            "{model}: {} + {} tokens, {plan_tokens} by plan, {}, {}",
            tokens.prompt,
            tokens.completion,
            outcome.as_str(),
            accuracy.as_str()
        ),
        EntryDetail::Correction(correction) => {
            format!("correction of request {}: {}", correction.request_id, correction.reason)
        }
        EntryDetail::Payment { processor, payment_id, .. } => format!("payment {payment_id}, {processor}"),
        EntryDetail::Refund { processor, payment_id, reason } => {
            format!("refund of payment {payment_id}, {processor}: {reason}")
        }
        EntryDetail::Dispute { payment_id, disputed_usd, .. } => {
            format!("payment {payment_id} is disputed for {disputed_usd} USD")
        }
        EntryDetail::DisputeClosed { payment_id, outcome, .. } => {
            format!("dispute of payment {payment_id} {}", outcome.as_str())
        }
        EntryDetail::Plan(plan) => of_plan(plan),
    }
}

fn of_plan(plan: &PlanEntry) -> String {
    let kind = match plan.kind {
        PlanEntryKind::Started => "started",
        PlanEntryKind::Changed => "changed",
        PlanEntryKind::Renewed => "renewed",
        PlanEntryKind::Canceled => "ended",
    };
    let mut text = format!("plan {kind}");
    if let Some(closed) = &plan.closed {
        let (unused, carried, lapsed) = (closed.unused_usd, closed.carried_tokens, closed.lapsed_tokens);
        text += &format!("; {} closed: {unused} USD unused, {carried} tokens carried, {lapsed} lapsed", closed.plan);
    }
    if let Some(opened) = &plan.opened {
        text += &format!("; {} until {}: {} tokens", opened.plan, opened.period.end, opened.granted_tokens);
    }
    text
}
