//! The demo account: on a fresh machine the first request works without a sign-up.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use ledger::{Ledger, LedgerError};
use schemas::api::{OpenAccount, Refusal};
use schemas::config::Config;

use crate::data_dir::DataDir;

/// `.invalid` can't be anybody's address (RFC 2606).
const EMAIL: &str = "demo@modelhub.invalid";
const FILE: &str = "demo-key";

/// The demo account's key, made at the first start and kept in the data folder. There is none once an upstream is
/// configured: from then on requests cost the operator real money.
pub(crate) async fn key(config: &Config, data: &DataDir, ledger: &Arc<Ledger>) -> Result<Option<String>> {
    if !config.upstreams.is_empty() {
        return Ok(None);
    }
    if let Some(key) = data.read(FILE)? {
        return Ok(Some(key));
    }
    let command = OpenAccount { email: EMAIL.to_owned(), plan: "free".to_owned() };
    match ledger.open_account(command).await {
        Ok(opened) => {
            data.write(FILE, &opened.key.secret)?;
            Ok(Some(opened.key.secret))
        }
        // Opened before, and its key is gone: whoever wants another one issues it.
        Err(LedgerError::Refused(Refusal::EmailTaken { .. })) => Ok(None),
        Err(error) => Err(error).context("opening the demo account"),
    }
}
