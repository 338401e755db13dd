//! Opening an account, in steps that a crash may separate: the next call with the same e-mail goes on where it ended.
//!
//! 1. The contact decides the account's id, so of concurrent calls all mean the same account.
//! 2. `account.opened`, the trial credit and the first key have event ids derived from that id, so each posts once
//!    whoever appends it.
//! 3. The first key is the last step. Only who finds its own key there has opened the account; all others are told that
//!    the e-mail is taken.

use std::collections::BTreeSet;

use schemas::api::{OpenAccount, OpenedAccount, Refusal};
use schemas::catalogue::PlanTerms;
use schemas::event::{AccountOpenedV1, CreditGrantedV1, CreditSource};
use schemas::{AccountId, EventData, EventId, LotId};

use super::commands::GRANT_PRIORITY;
use super::{Ledger, LedgerError, contact};
use crate::outside::fresh_id;

const FIRST_KEY_NAME: &str = "default";

impl Ledger {
    /// Opens an account; returns when the ledger has applied it.
    pub async fn open_account(&self, command: OpenAccount) -> Result<OpenedAccount, LedgerError> {
        let email = contact::email(&command.email)?;
        let plan = self.plan(&command.plan)?;
        let candidate = AccountId(fresh_id(&*self.parts.outside));
        let account_id = self.parts.store.claim_contact(&email, candidate, self.parts.outside.now()).await?;
        let _turn = self.turn(account_id).await;
        let taken = || LedgerError::from(Refusal::EmailTaken { account_id });

        let opened = EventId(account_id.derive("account.opened"));
        let trial = EventId(account_id.derive("credit.granted:trial"));
        let first_key = EventId(account_id.derive("key.issued:first"));
        let done = self.parts.store.load(&BTreeSet::new(), &BTreeSet::from([opened, trial, first_key])).await?.posted;
        if done.contains_key(&first_key) {
            return Err(taken());
        }
        if !done.contains_key(&opened) {
            self.post(opened, account_id, EventData::AccountOpened(AccountOpenedV1 { plan }), "plan").await?;
        }
        // The plan as it was posted: a call that was cut short may have named another.
        let plan = self.stored(account_id).await?.state.plan;
        if plan.trial_credit_usd.is_positive() && !done.contains_key(&trial) {
            let grant = trial_credit(account_id, &plan);
            self.post(trial, account_id, EventData::CreditGranted(grant), "plan").await?;
        }
        let key = self.new_key(FIRST_KEY_NAME.into());
        let hash = key.hash();
        self.post(first_key, account_id, EventData::KeyIssued(key.event), "plan").await?;
        let ours = self.parts.store.key(&hash).await?;
        if ours.is_none_or(|view| view.account.account_id != account_id) {
            return Err(taken());
        }
        Ok(OpenedAccount { account_id, key: key.issued })
    }

    pub(super) fn plan(&self, id: &str) -> Result<PlanTerms, Refusal> {
        let plans = &self.parts.catalogue.plans;
        plans.get(id).cloned().ok_or_else(|| {
            let known = plans.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Refusal::UnknownPlan { plan: id.into(), known }
        })
    }
}

fn trial_credit(account: AccountId, plan: &PlanTerms) -> CreditGrantedV1 {
    CreditGrantedV1 {
        lot_id: LotId(account.derive("lot:trial-credit")),
        source: CreditSource::Trial,
        amount_usd: plan.trial_credit_usd,
        priority: GRANT_PRIORITY,
        reason: "one-time trial credit".into(),
    }
}
