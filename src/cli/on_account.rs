//! `modelhub admin`: the subcommands that change an account.

use clap::{Args, Subcommand, ValueEnum};
use schemas::api::{Adjustment, Command, CorrectedTokens, OutsideId, When};
use schemas::event::{DisputeOutcome, KeyLimits};
use schemas::{AccountId, EventId, KeyId, LotId, Usd};

use super::limits::Limits;

/// A command on one account.
#[derive(Debug, Subcommand)]
pub(crate) enum OnAccount {
    /// Take an account's access to the API away; its money stays as it is.
    Suspend(Reasoned),
    /// Give an account its access back, whatever had taken it away.
    Reinstate(Reasoned),
    /// Close an account for good: its keys die with it, and its subscription ends with its period.
    CloseAccount(Reasoned),
    /// Give a key another name, other limits, or both.
    UpdateKey {
        /// The account.
        #[arg(long)]
        account: AccountId,
        /// The key's id; `list-keys` tells it.
        #[arg(long)]
        key: KeyId,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// What it may do from now on: all its limits, those that are not given end.
        #[command(flatten)]
        limits: Limits,
        /// It may do everything from now on.
        #[arg(long, conflicts_with = "Limits")]
        no_limits: bool,
    },
    /// Revoke a key for good; it stops working within a second.
    RevokeKey {
        /// The account.
        #[arg(long)]
        account: AccountId,
        /// The key's id; `list-keys` tells it.
        #[arg(long)]
        key: KeyId,
        /// For whoever audits.
        #[arg(long, default_value = "by an operator")]
        reason: String,
    },
    /// Give or take credit to put something right, or close a lot whose time is over.
    Adjust(Adjust),
    /// Put the charge of one request right. Counts that are not given stay as they are.
    CorrectUsage(CorrectUsage),
    /// Record a payment that a processor took: credit that never expires. A repeat is the same payment.
    RecordPayment {
        /// The account.
        #[arg(long)]
        account: AccountId,
        #[command(flatten)]
        payment: Payment,
        #[command(flatten)]
        amount: Amount,
    },
    /// Record that a processor paid all or part of a payment back. A repeat is the same refund.
    Refund {
        /// The account.
        #[arg(long)]
        account: AccountId,
        #[command(flatten)]
        payment: Payment,
        /// The processor's own id of the refund.
        #[arg(long)]
        refund: String,
        #[command(flatten)]
        amount: Amount,
        /// For the statement, and for whoever audits.
        #[arg(long)]
        reason: String,
    },
    /// Record that a customer's bank disputes a payment: what is left of it is frozen.
    Dispute {
        /// The account.
        #[arg(long)]
        account: AccountId,
        #[command(flatten)]
        payment: Payment,
        /// The processor's own id of the dispute.
        #[arg(long)]
        dispute: String,
        #[command(flatten)]
        amount: Amount,
        /// Suspend the account while the dispute is open.
        #[arg(long)]
        suspend: bool,
        /// The processor's code for why.
        #[arg(long)]
        reason: String,
    },
    /// Record how a dispute was decided.
    CloseDispute {
        /// The account.
        #[arg(long)]
        account: AccountId,
        /// The processor's name.
        #[arg(long)]
        processor: String,
        /// The processor's own id of the dispute.
        #[arg(long)]
        dispute: String,
        /// How it ended.
        #[arg(long)]
        outcome: Decision,
        /// End the suspension that the dispute had brought.
        #[arg(long)]
        reinstate: bool,
    },
    /// Subscribe an account to a plan, whose price is charged to its credit.
    Subscribe {
        #[command(flatten)]
        plan: Plan,
        /// The customer's time, in minutes ahead of UTC: by which months are counted.
        #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
        utc_offset_minutes: i16,
    },
    /// Put an account's subscription on another plan.
    ChangePlan {
        #[command(flatten)]
        plan: Plan,
        /// When; where it is not said, a dearer plan takes over now, and any other when the period ends.
        #[arg(long)]
        when: Option<Moment>,
    },
    /// End an account's subscription.
    CancelSubscription {
        /// The account.
        #[arg(long)]
        account: AccountId,
        /// When.
        #[arg(long, default_value = "period-end")]
        when: Moment,
        /// Give the unused part of the price back as credit.
        #[arg(long)]
        give_back_unused: bool,
        /// For whoever audits.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Reasoned {
    /// The account.
    #[arg(long)]
    account: AccountId,
    /// For whoever audits; no personal data.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Adjust {
    /// The account.
    #[arg(long)]
    account: AccountId,
    #[command(flatten)]
    what: Adjusted,
    /// The lot to take from first.
    #[arg(long, requires = "take")]
    lot: Option<LotId>,
    /// For the statement, and for whoever audits.
    #[arg(long)]
    reason: String,
    /// Makes a repeated command the same adjustment.
    #[arg(long)]
    idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Adjusted {
    /// Credit to give, in USD.
    #[arg(long, value_name = "AMOUNT")]
    give: Option<Usd>,
    /// Credit to take, in USD.
    #[arg(long, value_name = "AMOUNT")]
    take: Option<Usd>,
    /// A lot to close because its time is over.
    #[arg(long, value_name = "LOT")]
    expire: Option<LotId>,
}

#[derive(Debug, Args)]
pub(crate) struct CorrectUsage {
    /// The account.
    #[arg(long)]
    account: AccountId,
    /// The event of the request's usage; `statement --json` tells it.
    #[arg(long)]
    event: EventId,
    /// All prompt tokens.
    #[arg(long)]
    prompt_tokens: Option<u64>,
    /// Those of them that were cached.
    #[arg(long)]
    cached_prompt_tokens: Option<u64>,
    /// All completion tokens.
    #[arg(long)]
    completion_tokens: Option<u64>,
    /// Those of them that were reasoning.
    #[arg(long)]
    reasoning_tokens: Option<u64>,
    /// For the statement, and for whoever audits.
    #[arg(long)]
    reason: String,
    /// Makes a repeated command the same correction.
    #[arg(long)]
    idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Payment {
    /// The processor's name.
    #[arg(long)]
    processor: String,
    /// The processor's own id of the payment.
    #[arg(long)]
    payment: String,
}

#[derive(Debug, Args)]
pub(crate) struct Amount {
    /// How much, in USD: 12.50
    #[arg(long)]
    amount: Usd,
    /// What the processor keeps or charges, in USD.
    #[arg(long)]
    fee: Option<Usd>,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The account.
    #[arg(long)]
    account: AccountId,
    /// The plan's id.
    #[arg(long)]
    plan: String,
    /// The processor of a payment that was made for it.
    #[arg(long, requires = "payment")]
    processor: Option<String>,
    /// The processor's own id of that payment: its credit pays first.
    #[arg(long, requires = "processor")]
    payment: Option<String>,
    /// Makes a repeated command the same one.
    #[arg(long)]
    idempotency_key: Option<String>,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Moment {
    /// At once.
    Now,
    /// When the open period ends.
    PeriodEnd,
}

/// How a dispute ended.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Decision {
    /// The payment stands.
    Won,
    /// The customer's bank took the money back.
    Lost,
}

impl OnAccount {
    /// The account and what is to be done to it.
    pub(crate) fn into_command(self) -> (AccountId, Command) {
        match self {
            Self::Suspend(Reasoned { account, reason }) => (account, Command::Suspend { reason }),
            Self::Reinstate(Reasoned { account, reason }) => (account, Command::Reinstate { reason }),
            Self::CloseAccount(Reasoned { account, reason }) => (account, Command::CloseAccount { reason }),
            Self::UpdateKey { account, key, name, limits, no_limits } => {
                let limits = KeyLimits::from(limits);
                let limits = (no_limits || !limits.is_none()).then_some(limits);
                (account, Command::UpdateKey { key_id: key, name, limits })
            }
            Self::RevokeKey { account, key, reason } => (account, Command::RevokeKey { key_id: key, reason }),
            Self::Adjust(adjust) => adjust.into_command(),
            Self::CorrectUsage(correct) => correct.into_command(),
            Self::RecordPayment { account, payment, amount: Amount { amount, fee } } => {
                (account, Command::RecordPayment { payment: payment.into(), amount_usd: amount, fee_usd: fee })
            }
            Self::Refund { account, payment, refund, amount: Amount { amount, fee }, reason } => {
                let (payment, refund_id) = (payment.into(), refund);
                (account, Command::Refund { payment, refund_id, amount_usd: amount, fee_usd: fee, reason })
            }
            Self::Dispute { account, payment, dispute, amount: Amount { amount, fee }, suspend, reason } => {
                let (payment, dispute_id) = (payment.into(), dispute);
                let (amount_usd, fee_usd) = (amount, fee);
                (account, Command::OpenDispute { payment, dispute_id, amount_usd, fee_usd, suspend, reason })
            }
            Self::CloseDispute { account, processor, dispute, outcome, reinstate } => {
                let dispute = OutsideId { processor, id: dispute };
                (account, Command::CloseDispute { dispute, outcome: outcome.into(), reinstate })
            }
            Self::Subscribe {
                plan: Plan { account, plan, processor, payment, idempotency_key },
                utc_offset_minutes,
            } => {
                let payment = outside(processor, payment);
                (account, Command::Subscribe { plan, payment, utc_offset_minutes, idempotency_key })
            }
            Self::ChangePlan { plan: Plan { account, plan, processor, payment, idempotency_key }, when } => {
                let payment = outside(processor, payment);
                (account, Command::ChangePlan { plan, when: when.map(When::from), payment, idempotency_key })
            }
            Self::CancelSubscription { account, when, give_back_unused, reason } => {
                (account, Command::CancelSubscription { when: when.into(), give_back_unused, reason })
            }
        }
    }
}

impl Adjust {
    fn into_command(self) -> (AccountId, Command) {
        let Self { account, what: Adjusted { give, take, expire }, lot, reason, idempotency_key } = self;
        let adjustment = match (give, take, expire) {
            (Some(amount_usd), _, _) => Adjustment::Give { amount_usd },
            (_, _, Some(lot_id)) => Adjustment::Expire { lot_id },
            // One of the three is required, and an amount of zero is refused.
            (_, amount, _) => Adjustment::Take { amount_usd: amount.unwrap_or_default(), lot_id: lot },
        };
        (account, Command::AdjustCredit { adjustment, reason, idempotency_key })
    }
}

impl CorrectUsage {
    fn into_command(self) -> (AccountId, Command) {
        let tokens = CorrectedTokens {
            prompt: self.prompt_tokens,
            cached_prompt: self.cached_prompt_tokens,
            completion: self.completion_tokens,
            reasoning: self.reasoning_tokens,
        };
        let (usage_event_id, reason, idempotency_key) = (self.event, self.reason, self.idempotency_key);
        (self.account, Command::CorrectUsage { usage_event_id, tokens, reason, idempotency_key })
    }
}

fn outside(processor: Option<String>, id: Option<String>) -> Option<OutsideId> {
    Some(OutsideId { processor: processor?, id: id? })
}

impl From<Payment> for OutsideId {
    fn from(payment: Payment) -> Self {
        Self { processor: payment.processor, id: payment.payment }
    }
}

impl From<Moment> for When {
    fn from(moment: Moment) -> Self {
        match moment {
            Moment::Now => Self::Now,
            Moment::PeriodEnd => Self::PeriodEnd,
        }
    }
}

impl From<Decision> for DisputeOutcome {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Won => Self::Won,
            Decision::Lost => Self::Lost,
        }
    }
}
