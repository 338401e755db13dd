//! Double entry (I2): money only ever moves from one account of the ledger to another.

use std::fmt;

use schemas::{AccountId, LotId, Usd};

/// An account of the operator's books. The text forms are what finance sees in the `transfers` table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// Liability: credit that a customer may still use.
    CustomerCredit(AccountId),
    /// Asset: usage that no credit covered; the customer's next credit settles it first.
    CustomerDebt(AccountId),
    /// Revenue: usage of a model.
    UsageRevenue(String),
    /// Expense: credit given away.
    PromotionalExpense,
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CustomerCredit(account) => write!(f, "liability:customer-credit:{account}"),
            Self::CustomerDebt(account) => write!(f, "asset:customer-debt:{account}"),
            Self::UsageRevenue(model) => write!(f, "revenue:usage:{model}"),
            Self::PromotionalExpense => f.write_str("expense:promotion"),
        }
    }
}

/// What is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Commodity {
    /// US dollars.
    Usd,
}

impl Commodity {
    /// Its name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "USD",
        }
    }
}

/// Why it is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Credit given without a payment.
    Grant,
    /// Usage paid from a credit lot.
    Usage,
    /// Usage that no lot covered.
    UsageOnDebt,
    /// New credit that settles a debt.
    DebtSettled,
}

impl Code {
    /// Its name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Usage => "usage",
            Self::UsageOnDebt => "usage_on_debt",
            Self::DebtSettled => "debt_settled",
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
    /// What is moved.
    pub commodity: Commodity,
    /// How much; above zero.
    pub amount: Usd,
    /// Why.
    pub code: Code,
    /// The credit lot that was opened or drawn, where one was.
    pub lot: Option<LotId>,
}
