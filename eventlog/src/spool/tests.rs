//! The spool against a log that a test holds in its hands: nothing acknowledged is lost, changed, reordered or written
//! without having been promised room.

mod faults;
mod histories;
mod order;
mod rig;
mod room;
