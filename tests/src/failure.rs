//! Failing a test.

/// Fails the test with `reason`, which says what is wrong and what would help.
#[track_caller]
#[expect(clippy::panic, reason = "a test fails by panicking, and this crate is used by nothing else")]
pub(crate) fn or_fail<T>(outcome: Result<T, impl std::fmt::Display>) -> T {
    match outcome {
        Ok(value) => value,
        Err(reason) => panic!("{reason}"),
    }
}
