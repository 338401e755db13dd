//! Why an event can't post.

use std::fmt;

use schemas::api::AtPeriodEnd;
use schemas::event::Period;
use schemas::{DisputeId, EventId, KeyId, LotId, Month, Offset, PaymentId, SubscriptionId, Timestamp, Usd};

/// Why an event can't post. Its text names what is wrong; `code` is for tables and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The record is not an event that this build knows.
    Undecodable(String),
    /// The event's account belongs to another partition. Its states are kept there, and nowhere else.
    Misrouted,
    /// The event's id is posted already, as another fact: of another account, of another type, or in other words (see
    /// [`crate::FactTag`]).
    IdReused,
    /// A text holds U+0000, which not every store can keep.
    NulCharacter {
        /// Which text.
        field: &'static str,
    },
    /// The account was never opened.
    UnknownAccount,
    /// The account is open already, by another event.
    AlreadyOpen,
    /// The account was closed, and what the event says needs an open one.
    AccountClosed,
    /// The key exists already, by another event.
    KeyExists(KeyId),
    /// No live key has this id.
    UnknownKey(KeyId),
    /// The lot exists already, by another event.
    LotExists(LotId),
    /// Credit of this kind never expires.
    NeverExpires(LotId),
    /// The lot's time is not over when the event happens, or it has no end.
    NotExpired(LotId),
    /// A part of the lot is frozen by a dispute, which has to be decided first.
    LotFrozen(LotId),
    /// An amount that must be above zero is not.
    AmountNotPositive(Usd),
    /// A payment's amount has more than two decimals.
    AmountNotCents(Usd),
    /// An amount, or the balance it leads to, is beyond what is kept exactly.
    OutOfRange,
    /// Token counts contradict each other, or are beyond plausible.
    InconsistentTokens,
    /// The event's cost is not its tokens at its price.
    CostMismatch {
        /// As the event states it.
        stated: Usd,
        /// As rated from its own tokens and price.
        rated: Usd,
    },
    /// A correction of a charge that another correction has changed already, or at another price, or for another model.
    StaleCorrection(EventId),
    /// The payment exists already, by another event.
    PaymentExists(PaymentId),
    /// No payment has this id.
    UnknownPayment(PaymentId),
    /// The payment was taken by another processor.
    OtherProcessor(PaymentId),
    /// More than is left of the payment.
    BeyondPayment {
        /// What the event asks for.
        asked: Usd,
        /// What can still be refunded or disputed.
        left: Usd,
    },
    /// The dispute exists already, open or decided, by another event.
    DisputeExists(DisputeId),
    /// No open dispute of this payment has this id.
    UnknownDispute(DisputeId),
    /// The account has a live subscription already.
    SubscriptionExists(SubscriptionId),
    /// The account has no live subscription of this id.
    UnknownSubscription(SubscriptionId),
    /// The event is about a period that is not the open one: it was closed already, or never opened.
    OtherPeriod {
        /// As the event states it.
        stated: Period,
        /// The one that is open.
        open: Period,
    },
    /// The event's period has no length, does not follow the one before, or its calendar means nothing.
    InvalidPeriod(Period),
    /// A renewal that is not what was decided for the period's end: no renewal, or one with another plan.
    DecidedOtherwise(AtPeriodEnd),
    /// A renewal long before the period's end.
    TooEarly {
        /// The period.
        period: Period,
        /// When the event happened.
        at: Timestamp,
    },
    /// The stated price of the open period is not what was charged for it.
    PriceMismatch {
        /// As the event states it.
        stated: Usd,
        /// As it was charged.
        charged: Usd,
    },
    /// Invoices are issued by the operator's own account.
    NotTheOperator,
    /// The operator's own account holds nothing but the numbers of invoices, and is never invoiced.
    OperatorAccount,
    /// The invoice's range holds no record.
    EmptyRange {
        /// Where it begins after.
        after: Offset,
        /// Its last record.
        through: Offset,
    },
    /// The event's id is not the one of its account and range, so the range could be invoiced twice.
    OtherInvoice {
        /// The event's id.
        stated: EventId,
        /// What its range's is.
        derived: EventId,
    },
    /// The invoiced month was not over when the event happened.
    MonthNotOver(Month),
}

impl Reason {
    /// The name of [`Reason::IdReused`], for whoever finds it in a store.
    pub const ID_REUSED: &'static str = "id_reused";

    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Undecodable(_) => "undecodable",
            Self::Misrouted => "misrouted",
            Self::IdReused => Self::ID_REUSED,
            Self::NulCharacter { .. } => "nul_character",
            Self::UnknownAccount => "unknown_account",
            Self::AlreadyOpen => "already_open",
            Self::AccountClosed => "account_closed",
            Self::KeyExists(_) => "key_exists",
            Self::UnknownKey(_) => "unknown_key",
            Self::LotExists(_) => "lot_exists",
            Self::NeverExpires(_) => "never_expires",
            Self::NotExpired(_) => "not_expired",
            Self::LotFrozen(_) => "lot_frozen",
            Self::AmountNotPositive(_) => "amount_not_positive",
            Self::AmountNotCents(_) => "amount_not_cents",
            Self::OutOfRange => "out_of_range",
            Self::InconsistentTokens => "inconsistent_tokens",
            Self::CostMismatch { .. } => "cost_mismatch",
            Self::StaleCorrection(_) => "stale_correction",
            Self::PaymentExists(_) => "payment_exists",
            Self::UnknownPayment(_) => "unknown_payment",
            Self::OtherProcessor(_) => "other_processor",
            Self::BeyondPayment { .. } => "beyond_payment",
            Self::DisputeExists(_) => "dispute_exists",
            Self::UnknownDispute(_) => "unknown_dispute",
            Self::SubscriptionExists(_) => "subscription_exists",
            Self::UnknownSubscription(_) => "unknown_subscription",
            Self::OtherPeriod { .. } => "other_period",
            Self::InvalidPeriod(_) => "invalid_period",
            Self::DecidedOtherwise(_) => "decided_otherwise",
            Self::TooEarly { .. } => "too_early",
            Self::PriceMismatch { .. } => "price_mismatch",
            Self::NotTheOperator => "not_the_operator",
            Self::OperatorAccount => "operator_account",
            Self::EmptyRange { .. } => "empty_range",
            Self::OtherInvoice { .. } => "other_invoice",
            Self::MonthNotOver(_) => "month_not_over",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable(detail) => write!(f, "undecodable: {detail}"),
            Self::Misrouted => f.write_str("the event's account belongs to another partition"),
            Self::IdReused => f.write_str(
                "the event's id is posted already, as another fact: another account's, of another type, or in other words",
            ),
            Self::NulCharacter { field } => write!(f, "{field} holds the character U+0000"),
            Self::UnknownAccount => f.write_str("the account was never opened"),
            Self::AlreadyOpen => f.write_str("the account is open already, by another event"),
            Self::AccountClosed => f.write_str("the account was closed"),
            Self::KeyExists(key) => write!(f, "key {key} exists already, by another event"),
            Self::UnknownKey(key) => write!(f, "the account has no live key {key}"),
            Self::LotExists(lot) => write!(f, "lot {lot} exists already, by another event"),
            Self::NeverExpires(lot) => write!(f, "lot {lot} is given an end, but trial credit never expires"),
            Self::NotExpired(lot) => write!(f, "lot {lot} has no end before this event's time"),
            Self::LotFrozen(lot) => write!(f, "a part of lot {lot} is frozen by a dispute: decide that first"),
            Self::AmountNotPositive(amount) => write!(f, "the amount {amount} is not above zero"),
            Self::AmountNotCents(amount) => write!(f, "the amount {amount} has more than two decimals"),
            Self::OutOfRange => write!(f, "an amount or the balance would be beyond {} USD", schemas::money::MAX_USD),
            Self::InconsistentTokens => f.write_str("token counts contradict each other or are beyond plausible"),
            Self::CostMismatch { stated, rated } => {
                write!(f, "cost {stated} is stated, but the tokens at the event's own price cost {rated}")
            }
            Self::StaleCorrection(usage) => {
                write!(
                    f,
                    "usage {usage} was corrected before, and the charge that this event starts from is not the one now"
                )
            }
            Self::PaymentExists(payment) => write!(f, "payment {payment} exists already, by another event"),
            Self::UnknownPayment(payment) => {
                write!(f, "the account has no payment {payment}")
            }
            Self::OtherProcessor(payment) => write!(f, "payment {payment} was taken by another processor"),
            Self::BeyondPayment { asked, left } => write!(f, "{asked} USD of a payment of which {left} USD are left"),
            Self::DisputeExists(dispute) => write!(f, "dispute {dispute} exists already, by another event"),
            Self::UnknownDispute(dispute) => write!(f, "the account has no open dispute {dispute} of that payment"),
            Self::SubscriptionExists(subscription) => write!(f, "subscription {subscription} is live already"),
            Self::UnknownSubscription(subscription) => write!(f, "the account has no live subscription {subscription}"),
            Self::OtherPeriod { stated, open } => write!(
                f,
                "the period from {} to {} is not the open one, from {} to {}",
                stated.start, stated.end, open.start, open.end
            ),
            Self::InvalidPeriod(period) => write!(
                f,
                "the period from {} to {} has no length, does not follow the one before, or is of no calendar",
                period.start, period.end
            ),
            Self::DecidedOtherwise(AtPeriodEnd::Change { plan }) => {
                write!(f, "the next period was decided to be of plan `{plan}`")
            }
            Self::DecidedOtherwise(_) => f.write_str("it was decided that there is no next period"),
            Self::TooEarly { period, at } => {
                write!(f, "the period until {} is renewed at {at} already, more than a day before its end", period.end)
            }
            Self::PriceMismatch { stated, charged } => {
                write!(f, "the open period's price is stated as {stated} USD, but {charged} USD were charged")
            }
            Self::NotTheOperator => f.write_str("only the operator's own account issues invoices"),
            Self::OperatorAccount => f.write_str("the operator's own account only numbers invoices of others"),
            Self::EmptyRange { after, through } => write!(f, "no record is after {after} and not after {through}"),
            Self::OtherInvoice { stated, derived } => {
                write!(f, "an invoice of that account and range has the event id {derived}, not {stated}")
            }
            Self::MonthNotOver(month) => write!(f, "{month} was not over yet"),
        }
    }
}
