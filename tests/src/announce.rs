//! Naming the engines that the tests run on.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

static NAMED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Writes `engine: NAME DETAILS` to the process's standard error, once for each name.
///
/// The test harness captures what tests print with macros; a direct write goes past it, so the line shows in the
/// output of a passing run too.
pub(crate) fn engine(name: &'static str, details: &str) {
    if NAMED.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
        // Without a standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "engine: {name} {details}");
    }
}
