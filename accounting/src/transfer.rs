//! Double entry (I2): value only ever moves from one account of the ledger to another of the same commodity.
//!
//! `docs/CHART_OF_ACCOUNTS.md` says what each account means to finance.

use std::fmt;
use std::sync::Arc;

use rust_decimal::Decimal;
use schemas::{AccountId, LotId, Usd};

/// A part of an account's name, shared between the transfers that carry it.
pub type Name = Arc<str>;

/// An account of the operator's books. The text forms are what finance sees in the `transfers` table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// Liability: credit that a customer may still use.
    CustomerCredit(AccountId),
    /// Liability: credit that open disputes hold back.
    FrozenCredit(AccountId),
    /// Liability: the price of a customer's open period, not earned yet.
    DeferredPlanRevenue(AccountId),
    /// Asset: what no credit covered; the customer's next credit settles it first.
    CustomerDebt(AccountId),
    /// Asset: what a processor holds for us, by its name.
    ProcessorClearing(Name),
    /// Asset: what a processor holds back until a dispute is decided.
    Disputed(Name),
    /// Passed through: what a processor paid back, from the customer's side to the processor's.
    Refunds(Name),
    /// Revenue: usage of a model beyond plans.
    UsageRevenue(Name),
    /// Revenue: periods of a plan that were closed.
    PlanRevenue(Name),
    /// Expense: credit given away.
    PromotionalExpense,
    /// Expense: credit given or taken by an operator to put something right.
    AdjustmentExpense,
    /// Expense: what a processor keeps for itself.
    ProcessorFees(Name),
    /// Plan tokens given out by a plan: the other side of all that were ever there.
    TokensIssued(Name),
    /// Plan tokens that a customer may still use.
    TokensHeld(AccountId),
    /// Plan tokens that covered usage of a model.
    TokensUsed(Name),
    /// Plan tokens of a plan that lapsed.
    TokensLapsed(Name),
}

impl LedgerAccount {
    /// What it holds. A transfer's two accounts hold the same.
    pub fn commodity(&self) -> Commodity {
        match self {
            Self::TokensIssued(_) | Self::TokensHeld(_) | Self::TokensUsed(_) | Self::TokensLapsed(_) => {
                Commodity::PlanTokens
            }
            Self::CustomerCredit(_)
            | Self::FrozenCredit(_)
            | Self::DeferredPlanRevenue(_)
            | Self::CustomerDebt(_)
            | Self::ProcessorClearing(_)
            | Self::Disputed(_)
            | Self::Refunds(_)
            | Self::UsageRevenue(_)
            | Self::PlanRevenue(_)
            | Self::PromotionalExpense
            | Self::AdjustmentExpense
            | Self::ProcessorFees(_) => Commodity::Usd,
        }
    }
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CustomerCredit(account) => write!(f, "liability:customer-credit:{account}"),
            Self::FrozenCredit(account) => write!(f, "liability:frozen-credit:{account}"),
            Self::DeferredPlanRevenue(account) => write!(f, "liability:deferred-plan-revenue:{account}"),
            Self::CustomerDebt(account) => write!(f, "asset:customer-debt:{account}"),
            Self::ProcessorClearing(processor) => write!(f, "asset:processor-clearing:{processor}"),
            Self::Disputed(processor) => write!(f, "asset:disputed:{processor}"),
            Self::Refunds(processor) => write!(f, "clearing:refunds:{processor}"),
            Self::UsageRevenue(model) => write!(f, "revenue:usage:{model}"),
            Self::PlanRevenue(plan) => write!(f, "revenue:plan:{plan}"),
            Self::PromotionalExpense => f.write_str("expense:promotion"),
            Self::AdjustmentExpense => f.write_str("expense:adjustment"),
            Self::ProcessorFees(processor) => write!(f, "expense:processor-fees:{processor}"),
            Self::TokensIssued(plan) => write!(f, "tokens:issued:{plan}"),
            Self::TokensHeld(account) => write!(f, "tokens:held:{account}"),
            Self::TokensUsed(model) => write!(f, "tokens:used:{model}"),
            Self::TokensLapsed(plan) => write!(f, "tokens:lapsed:{plan}"),
        }
    }
}

/// What is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Commodity {
    /// US dollars.
    Usd,
    /// Tokens that a plan includes.
    PlanTokens,
}

impl Commodity {
    /// Its name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "USD",
            Self::PlanTokens => "PLAN_TOKENS",
        }
    }
}

/// How much of which commodity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Amount {
    /// US dollars.
    Usd(Usd),
    /// Whole plan tokens.
    PlanTokens(u64),
}

impl Amount {
    /// Of what.
    pub fn commodity(self) -> Commodity {
        match self {
            Self::Usd(_) => Commodity::Usd,
            Self::PlanTokens(_) => Commodity::PlanTokens,
        }
    }

    /// How much, exactly.
    pub fn as_decimal(self) -> Decimal {
        match self {
            Self::Usd(amount) => amount.as_decimal(),
            Self::PlanTokens(tokens) => Decimal::from(tokens),
        }
    }
}

/// Why it is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Credit given without a payment.
    Grant,
    /// Credit whose time is over.
    CreditExpired,
    /// Credit given or taken by an operator.
    Adjustment,
    /// Usage paid from a credit lot.
    Usage,
    /// Usage that no lot covered.
    UsageOnDebt,
    /// Usage charged wrongly.
    UsageCorrected,
    /// New credit that settles a debt.
    DebtSettled,
    /// A customer's payment.
    Payment,
    /// What a processor keeps for itself.
    ProcessorFee,
    /// What a customer was paid back.
    Refund,
    /// What a processor holds back, or returns, for a dispute.
    Dispute,
    /// Credit held back for a dispute.
    CreditFrozen,
    /// Credit free again after a dispute.
    CreditReleased,
    /// What a lost dispute cost the customer.
    DisputeLost,
    /// The price of a period.
    PlanPrice,
    /// The unused part of a period's price.
    PlanUnused,
    /// The price of a period that is over.
    PlanEarned,
    /// Tokens of a period.
    TokensGranted,
    /// Tokens that covered usage.
    TokensUsed,
    /// Tokens given back.
    TokensReturned,
    /// Tokens that lapsed.
    TokensLapsed,
}

impl Code {
    /// Its name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::CreditExpired => "credit_expired",
            Self::Adjustment => "adjustment",
            Self::Usage => "usage",
            Self::UsageOnDebt => "usage_on_debt",
            Self::UsageCorrected => "usage_corrected",
            Self::DebtSettled => "debt_settled",
            Self::Payment => "payment",
            Self::ProcessorFee => "processor_fee",
            Self::Refund => "refund",
            Self::Dispute => "dispute",
            Self::CreditFrozen => "credit_frozen",
            Self::CreditReleased => "credit_released",
            Self::DisputeLost => "dispute_lost",
            Self::PlanPrice => "plan_price",
            Self::PlanUnused => "plan_unused",
            Self::PlanEarned => "plan_earned",
            Self::TokensGranted => "tokens_granted",
            Self::TokensUsed => "tokens_used",
            Self::TokensReturned => "tokens_returned",
            Self::TokensLapsed => "tokens_lapsed",
        }
    }
}

/// One posting: `amount` leaves `credit` and arrives at `debit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The account debited.
    pub debit: LedgerAccount,
    /// The account credited.
    pub credit: LedgerAccount,
    /// How much of what; above zero.
    pub amount: Amount,
    /// Why.
    pub code: Code,
    /// The lot that was opened or drawn, where one was.
    pub lot: Option<LotId>,
}
