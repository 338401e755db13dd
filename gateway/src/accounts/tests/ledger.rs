//! A ledger in memory that leases one account's funds, by the same core as the real one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use accounting::lease::{Lease, Pool, Refused, free, renew};
use accounting::request_shares::RequestShares;
use async_trait::async_trait;
use schemas::api::{
    AnswerEnded, Balance, ClaimAnswer, Claimed, CloseLeases, ClosedLeases, Command, Done, EndAnswer, GrantCredit,
    Granted, HoldAnswer, Invoice, InvoiceQuery, Invoices, InvoicesQuery, IssueInvoices, IssueKey, IssuedInvoices,
    IssuedKey, KeyInfo, LeaseGrant, LeaseRequest, OpenAccount, OpenedAccount, Refusal, Statement, StatementQuery,
};
use schemas::event::KeyLimits;
use schemas::{LeaseId, Timestamp};

use super::*;

const TTL_MS: u64 = 10_000;

pub(super) struct MemoryLedger {
    books: Mutex<Books>,
    away: AtomicBool,
    /// What its clock counts from.
    began: Instant,
    /// How many messages about leases it heard.
    heard: AtomicU64,
}

#[derive(Default)]
struct Books {
    funds: Funds,
    leases: BTreeMap<LeaseId, Lease>,
    shares: RequestShares,
}

impl MemoryLedger {
    pub(super) fn new(balance: &str, plan_tokens: u64) -> Arc<Self> {
        let books = Books { funds: Funds { usd: usd(balance), plan_tokens }, ..Books::default() };
        let (away, heard) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Self { books: Mutex::new(books), away, began: Instant::now(), heard })
    }

    pub(super) fn away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::SeqCst)
    }

    pub(super) fn balance(&self) -> Usd {
        lock(&self.books).funds.usd
    }

    pub(super) fn reserved(&self) -> Funds {
        lock(&self.books).reserved(None)
    }

    pub(super) fn add(&self, amount: &str) {
        let mut books = lock(&self.books);
        books.funds = books.funds.plus(money(amount)).unwrap();
    }

    /// Posts all that gateways have told of as spent.
    pub(super) fn post_all(&self) {
        let mut books = lock(&self.books);
        let Books { funds, leases, .. } = &mut *books;
        for lease in leases.values_mut() {
            let posts = lease.spent.less(lease.posted);
            assert!(funds.covers(posts), "{posts:?} of {funds:?}");
            *funds = funds.less(posts);
            lease.posted = lease.spent;
        }
        leases.retain(|_, lease| !lease.is_done());
    }
}

impl Books {
    fn reserved(&self, but: Option<LeaseId>) -> Funds {
        let others = self.leases.iter().filter(|(id, _)| Some(**id) != but);
        others.fold(Funds::ZERO, |sum, (_, lease)| sum.plus(lease.reserved()).unwrap())
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn lease(&self, request: LeaseRequest) -> Result<LeaseGrant, LedgerError> {
        tokio::time::sleep(Duration::from_millis(2)).await;
        if self.away.load(Ordering::SeqCst) {
            return Err(LedgerError::Unavailable("away".into()));
        }
        self.heard.fetch_add(1, Ordering::SeqCst);
        let now = Timestamp::from_micros(i64::try_from(self.began.elapsed().as_micros()).unwrap());
        let mut books = lock(&self.books);
        let id = request.lease_id;
        let pool = Pool { funds: books.funds, reserved_elsewhere: books.reserved(Some(id)) };
        let refusal = match renew(&pool, books.leases.get(&id), &request) {
            Ok(lease) => {
                books.leases.insert(id, lease);
                assert!(books.funds.covers(books.reserved(None)), "{:?} reserved", books.reserved(None));
                let others = books.leases.iter().filter(|(other, _)| **other != id);
                let idle_elsewhere = others.fold(Funds::ZERO, |sum, (_, lease)| sum.plus(lease.idle()).unwrap());
                let tight = !lease.granted.covers(request.wish);
                let tokens = books.funds.plan_tokens;
                let (granted, account) = (lease.granted, AccountView { plan_tokens: tokens, ..view(7) });
                let lease_id = id;
                let (gateway_id, run_id) = (request.gateway_id, request.run_id);
                let requests = request.requests.and_then(|share| books.shares.renew(now, gateway_id, run_id, &share));
                return Ok(LeaseGrant {
                    lease_id,
                    seq: request.seq,
                    granted,
                    ttl_ms: TTL_MS,
                    tight,
                    free: free(&pool, &lease),
                    idle_elsewhere,
                    account,
                    requests,
                });
            }
            Err(Refused::Unknown) => Refusal::UnknownLease { lease_id: id, account_id: ACCOUNT },
            Err(refused) => panic!("{refused:?}: {request:?} on {:?}", books.leases.get(&id)),
        };
        Err(refusal.into())
    }

    async fn find_key(&self, hash: KeyHash) -> Result<Option<KeyView>, LedgerError> {
        Ok(Some(KeyView {
            key_id: KeyId(Uuid::nil()),
            hash,
            limits: KeyLimits::default(),
            used: None,
            account: view(0),
        }))
    }

    async fn ready(&self) -> Result<(), LedgerError> {
        unreachable!("only leases")
    }

    async fn close_leases(&self, _: CloseLeases) -> Result<ClosedLeases, LedgerError> {
        unreachable!("only leases")
    }

    async fn account(&self, _: AccountId) -> Result<AccountView, LedgerError> {
        unreachable!("only leases")
    }

    async fn balance(&self, _: AccountId) -> Result<Balance, LedgerError> {
        unreachable!("only leases")
    }

    async fn statement(&self, _: StatementQuery) -> Result<Statement, LedgerError> {
        unreachable!("only leases")
    }

    async fn invoice(&self, _: InvoiceQuery) -> Result<Invoice, LedgerError> {
        unreachable!("only leases")
    }

    async fn invoices(&self, _: InvoicesQuery) -> Result<Invoices, LedgerError> {
        unreachable!("only leases")
    }

    async fn issue_invoices(&self, _: IssueInvoices) -> Result<IssuedInvoices, LedgerError> {
        unreachable!("only leases")
    }

    async fn open_account(&self, _: OpenAccount) -> Result<OpenedAccount, LedgerError> {
        unreachable!("only leases")
    }

    async fn issue_key(&self, _: IssueKey) -> Result<IssuedKey, LedgerError> {
        unreachable!("only leases")
    }

    async fn grant_credit(&self, _: GrantCredit) -> Result<Granted, LedgerError> {
        unreachable!("only leases")
    }

    async fn keys(&self, _: AccountId) -> Result<Vec<KeyInfo>, LedgerError> {
        unreachable!("only leases")
    }

    async fn execute(&self, _: AccountId, _: Command) -> Result<Done, LedgerError> {
        unreachable!("only leases")
    }

    async fn claim_answer(&self, _: ClaimAnswer) -> Result<Claimed, LedgerError> {
        unreachable!("only leases")
    }

    async fn hold_answer(&self, _: HoldAnswer) -> Result<bool, LedgerError> {
        unreachable!("only leases")
    }

    async fn end_answer(&self, _: EndAnswer) -> Result<AnswerEnded, LedgerError> {
        unreachable!("only leases")
    }
}
