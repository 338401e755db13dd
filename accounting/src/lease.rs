//! How much of an account a gateway may spend by itself.
//!
//! What is granted on a lease and not posted yet is *reserved*. A grant never lets the reserved funds of an account's
//! leases exceed what the account has (I6), and no gateway admits beyond its grant, so nothing that was admitted can
//! overspend, whenever it posts: no clock decides that. A lease ends when its gateway says what it has spent on it, or when
//! all that the gateway can ever have appended is folded; never by itself.

mod price;

use schemas::Usd;
use schemas::api::{Funds, LeaseRequest};

pub use self::price::{due, price, set_aside, tokens_count};

/// Of what is left above a request's need, the share that one lease gets at most: the others have customers, too.
const SHARE: u64 = 4;

/// A lease, as the ledger knows it. All amounts from its begin on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Lease {
    /// The number of the last message about it.
    pub seq: u64,
    /// What its gateway may spend on it.
    pub granted: Funds,
    /// What its gateway said it has spent.
    pub spent: Funds,
    /// What events that name it have charged so far.
    pub posted: Funds,
    /// Whether its gateway has closed it: `granted` is then what it spent in all.
    pub closed: bool,
}

impl Lease {
    /// What may still post.
    pub fn reserved(&self) -> Funds {
        self.granted.less(self.posted)
    }

    /// What may come back unspent, as far as its gateway has told.
    pub fn idle(&self) -> Funds {
        self.granted.less(self.spent.max(self.posted))
    }

    /// Whether it is of no use to anybody: closed, and all of it posted.
    pub fn is_done(&self) -> bool {
        self.closed && self.reserved() == Funds::ZERO
    }
}

/// What there is to grant from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pool {
    /// What the account has: credit and plan tokens, as folded.
    pub funds: Funds,
    /// What its other leases reserve.
    pub reserved_elsewhere: Funds,
}

/// Why a message about a lease changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A later message was heard already.
    Stale,
    /// The lease is closed, or was never opened.
    Unknown,
    /// It speaks of more than was granted, or its amounts contradict each other: no gateway of ours says that.
    Impossible,
}

/// What becomes of a lease by its gateway's message; `None` for a lease that is not there, which a message opens that claims
/// nothing of it yet.
///
/// The gateway keeps to `ceiling` from the moment it sent the message, so what it was granted above that is free. Of what is
/// free it gets what it needs, and a share of it at most where it wishes for more. Where there is less than it needs it gets
/// nothing: parts that are too small for a request at each of several gateways would be of use to none of them.
///
/// # Errors
/// The message must not change anything.
pub fn renew(pool: &Pool, lease: Option<&Lease>, request: &LeaseRequest) -> Result<Lease, Refused> {
    // Whatever number its first message that arrives has.
    let opens = request.ceiling == Funds::ZERO && request.spent == Funds::ZERO && !request.close;
    let before = match lease {
        Some(lease) if lease.closed => return Err(Refused::Unknown),
        Some(lease) if request.seq <= lease.seq => return Err(Refused::Stale),
        Some(lease) => *lease,
        None if opens => Lease::default(),
        None => return Err(Refused::Unknown),
    };
    let (spent, ceiling) = (request.spent, request.ceiling);
    let signed = spent.usd < Usd::ZERO || request.need.usd < Usd::ZERO || request.wish.usd < Usd::ZERO;
    if signed || !before.granted.covers(ceiling) || !ceiling.covers(spent) || !spent.covers(before.spent) {
        return Err(Refused::Impossible);
    }
    if request.close {
        if ceiling != spent {
            return Err(Refused::Impossible);
        }
        return Ok(Lease { seq: request.seq, granted: spent, spent, closed: true, ..before });
    }
    let free = pool.funds.less(pool.reserved_elsewhere).less(ceiling.less(before.posted));
    let most = ceiling.plus(free).ok_or(Refused::Impossible)?;
    let fair = ceiling.plus(share(free)).ok_or(Refused::Impossible)?;
    let granted = match most.covers(request.need) {
        true => request.need.max(request.wish.min(fair)).max(ceiling),
        false => ceiling,
    };
    Ok(Lease { seq: request.seq, granted, spent, ..before })
}

/// What is left to grant beside this lease.
pub fn free(pool: &Pool, lease: &Lease) -> Funds {
    pool.funds.less(pool.reserved_elsewhere).less(lease.reserved())
}

fn share(free: Funds) -> Funds {
    let usd = free.usd.to_pico().map(|pico| Usd::from_pico(pico / SHARE.cast_signed()));
    Funds { usd: usd.unwrap_or_default(), plan_tokens: free.plan_tokens / SHARE }
}

#[cfg(test)]
mod tests;
