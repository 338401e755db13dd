//! The fold as a whole: every event type and every reason by table, rollover by table, and random histories against a
//! reference that knows no lots.

mod batches;
mod events;
mod histories;
mod invoices;
mod keys;
mod memory;
mod naive;
mod plan_price;
mod posted;
mod quarantined;
mod random;
mod rollover;
mod saga;
