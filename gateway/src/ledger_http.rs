//! The ledger over HTTP: its private port, as a gateway and the command line see it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use schemas::api::{
    AccountView, AnswerEnded, Balance, ClaimAnswer, Claimed, CloseLeases, ClosedLeases, Command, Done, EndAnswer,
    GrantCredit, Granted, HoldAnswer, Invoice, InvoiceQuery, Invoices, InvoicesQuery, IssueInvoices, IssueKey,
    IssuedInvoices, IssuedKey, KeyInfo, KeyView, LeaseGrant, LeaseRequest, OpenAccount, OpenedAccount, PostedAmount,
    Refusal, Statement, StatementQuery,
};
use schemas::config::{Secret, without_credentials};
use schemas::event::KeyHash;
use schemas::{AccountId, Offset, PartitionId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::timeout;

use crate::ports::{Ledger, LedgerError};

/// How long a ledger may take to answer; commands wait for the log.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The largest answer: a statement's page.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A ledger on another port.
pub struct HttpLedger {
    base: String,
    authorization: HeaderValue,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// The ledger's address or secret makes no sense.
#[derive(Debug, Error)]
pub enum HttpLedgerError {
    /// The address is not an http URL.
    #[error("ledger.url `{0}` is not an http:// URL, such as http://127.0.0.1:8090")]
    BadUrl(String),
    /// The secret can't be sent in a header.
    #[error("ledger.secret has characters that no HTTP header can carry")]
    BadSecret,
}

impl HttpLedger {
    /// Prepares calls to the ledger at `url`.
    pub fn new(url: &str, secret: &Secret) -> Result<Self, HttpLedgerError> {
        let parsed: Uri = url.parse().map_err(|_| HttpLedgerError::BadUrl(without_credentials(url)))?;
        if parsed.scheme_str() != Some("http") || parsed.authority().is_none() {
            return Err(HttpLedgerError::BadUrl(without_credentials(url)));
        }
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", secret.expose())).map_err(|_| HttpLedgerError::BadSecret)?;
        authorization.set_sensitive(true);
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT_WITHIN));
        http.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(http);
        Ok(Self { base: url.trim_end_matches('/').to_owned(), authorization, client })
    }

    /// What each posted record of a partition from `from` to before `to` changed its account's balance by.
    ///
    /// # Errors
    /// The ledger can't be reached, or has not applied those records yet.
    pub async fn amounts(
        &self,
        partition: PartitionId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<PostedAmount>, LedgerError> {
        self.get(&format!("/internal/v1/partitions/{partition}/amounts?from={from}&to={to}")).await
    }

    async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, LedgerError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    async fn post<A: DeserializeOwned>(&self, path: &str, command: &impl Serialize) -> Result<A, LedgerError> {
        let body = serde_json::to_vec(command).map_err(unavailable)?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<A: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<A, LedgerError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(unavailable)?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(unavailable)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(unavailable)?;
            Ok::<_, LedgerError>((status, body.to_bytes()))
        };
        let (status, body) = timeout(ANSWER_WITHIN, exchange)
            .await
            .map_err(|_| LedgerError::Unavailable(format!("no answer within {ANSWER_WITHIN:?}")))??;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(unavailable);
        }
        Err(match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) if status.is_client_error() => LedgerError::Refused(refusal),
            _ if status == StatusCode::UNAUTHORIZED => LedgerError::Unavailable(
                "it refused the shared secret; set the same ledger.secret on both sides".into(),
            ),
            _ => LedgerError::Unavailable(format!("{status}: {}", String::from_utf8_lossy(&body))),
        })
    }
}

/// A further parameter of a query, where there is one. No value of ours has a character that a URL can't hold.
fn parameter(name: &str, value: Option<impl std::fmt::Display>) -> String {
    value.map(|value| format!("&{name}={value}")).unwrap_or_default()
}

fn unavailable(error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Unavailable(error.to_string())
}

#[async_trait]
impl Ledger for HttpLedger {
    async fn ready(&self) -> Result<(), LedgerError> {
        self.get::<String>("/readyz").await.map(drop)
    }

    async fn find_key(&self, hash: KeyHash) -> Result<Option<KeyView>, LedgerError> {
        self.get(&format!("/internal/v1/keys/{hash}")).await
    }

    async fn account(&self, account: AccountId) -> Result<AccountView, LedgerError> {
        self.get(&format!("/internal/v1/accounts/{account}")).await
    }

    async fn balance(&self, account: AccountId) -> Result<Balance, LedgerError> {
        self.get(&format!("/internal/v1/accounts/{account}/balance")).await
    }

    async fn statement(&self, query: StatementQuery) -> Result<Statement, LedgerError> {
        let StatementQuery { account_id, after, from, to, limit } = query;
        let (after, from, to) = (parameter("after", after), parameter("from", from), parameter("to", to));
        self.get(&format!("/internal/v1/accounts/{account_id}/statement?limit={limit}{after}{from}{to}")).await
    }

    async fn invoice(&self, query: InvoiceQuery) -> Result<Invoice, LedgerError> {
        let whose = query.account_id.map(|account| format!("?account_id={account}")).unwrap_or_default();
        self.get(&format!("/internal/v1/invoices/{}{whose}", query.number)).await
    }

    async fn invoices(&self, query: InvoicesQuery) -> Result<Invoices, LedgerError> {
        let InvoicesQuery { account_id, after, limit } = query;
        let (whose, after) = (parameter("account_id", account_id), parameter("after", after));
        self.get(&format!("/internal/v1/invoices?limit={limit}{whose}{after}")).await
    }

    async fn issue_invoices(&self, command: IssueInvoices) -> Result<IssuedInvoices, LedgerError> {
        self.post("/internal/v1/invoices", &command).await
    }

    async fn open_account(&self, command: OpenAccount) -> Result<OpenedAccount, LedgerError> {
        self.post("/internal/v1/accounts", &command).await
    }

    async fn issue_key(&self, command: IssueKey) -> Result<IssuedKey, LedgerError> {
        self.post(&format!("/internal/v1/accounts/{}/keys", command.account_id), &command).await
    }

    async fn grant_credit(&self, command: GrantCredit) -> Result<Granted, LedgerError> {
        self.post(&format!("/internal/v1/accounts/{}/grants", command.account_id), &command).await
    }

    async fn keys(&self, account: AccountId) -> Result<Vec<KeyInfo>, LedgerError> {
        self.get(&format!("/internal/v1/accounts/{account}/keys")).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<LeaseGrant, LedgerError> {
        self.post("/internal/v1/leases", &request).await
    }

    async fn close_leases(&self, close: CloseLeases) -> Result<ClosedLeases, LedgerError> {
        self.post("/internal/v1/leases/close", &close).await
    }

    async fn execute(&self, account: AccountId, command: Command) -> Result<Done, LedgerError> {
        self.post(&format!("/internal/v1/accounts/{account}/commands"), &command).await
    }

    async fn claim_answer(&self, claim: ClaimAnswer) -> Result<Claimed, LedgerError> {
        self.post("/internal/v1/answers/claim", &claim).await
    }

    async fn hold_answer(&self, hold: HoldAnswer) -> Result<bool, LedgerError> {
        self.post("/internal/v1/answers/hold", &hold).await
    }

    async fn end_answer(&self, end: EndAnswer) -> Result<AnswerEnded, LedgerError> {
        self.post("/internal/v1/answers/end", &end).await
    }
}
