//! Random histories against a list.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::rig::*;
use crate::spool::disk::Step;
use crate::spool::*;

/// What a random history does next.
#[derive(Clone, Debug)]
enum Do {
    Append(usize, usize),
    /// Lets the log take some.
    Drain(usize),
    Restart,
    /// Appends while syncs fail for a moment.
    Trouble(usize),
}

fn history() -> impl Strategy<Value = Vec<Do>> {
    let step = prop_oneof![
        4 => (1_usize..40, 1_usize..6_000).prop_map(|(count, bytes)| Do::Append(count, bytes)),
        2 => (0_usize..60).prop_map(Do::Drain),
        2 => Just(Do::Restart),
        1 => (1_usize..4).prop_map(Do::Trouble),
    ];
    prop::collection::vec(step, 1..25)
}

/// The spool against a list: what was acknowledged gets into the log, in order, and repeats are the only excess.
async fn check(history: Vec<Do>) -> Result<(), TestCaseError> {
    let folder = TempDir::new().unwrap();
    let switch = Switch::default();
    let (mut spool, _) = open_with(folder.path(), &switch);
    let log = FakeLog::new(0);
    let (mut model, mut refused) = (Vec::new(), 0);
    for step in history {
        match step {
            Do::Append(count, bytes) => {
                for _ in 0..count {
                    let record = sized(model.len(), bytes);
                    match spool.reserve(bytes).await {
                        Ok(reservation) => {
                            spool.append(reservation, record.clone()).await.unwrap();
                            model.push(record);
                        }
                        Err(_) => refused += 1,
                    }
                }
            }
            Do::Drain(count) => {
                log.permits.add_permits(count);
                let told = Arc::new(Told::default());
                let draining = spool.drain(log.clone(), told, CancellationToken::new());
                let _ = tokio::time::timeout(Duration::from_millis(10), draining).await;
                log.permits.forget_permits(Semaphore::MAX_PERMITS);
            }
            Do::Restart => {
                drop(spool);
                let (again, waiting) = open_with(folder.path(), &switch);
                prop_assert!(model.ends_with(&waiting), "{} of {} wait", waiting.len(), model.len());
                spool = again;
            }
            Do::Trouble(count) => {
                let mut writing = Vec::new();
                for _ in 0..count {
                    writing.extend(spool.reserve(200).await.ok());
                }
                switch.set(Step::Sync, true);
                let heal = async {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    switch.set(Step::Sync, false);
                };
                let write = async {
                    for reservation in writing {
                        let record = record(model.len());
                        spool.append(reservation, record.clone()).await.unwrap();
                        model.push(record);
                    }
                };
                tokio::join!(heal, write);
                switch.set(Step::Sync, false);
            }
        }
    }
    drop(spool);
    let (spool, _) = open(folder.path());
    log.permits.add_permits(1_000_000);
    drain(&spool, &log).await;
    // A repeat is the same event: the first of each counts.
    let mut seen = std::collections::BTreeSet::new();
    let once: Vec<_> = log.records().into_iter().filter(|record| seen.insert(record.payload.clone())).collect();
    prop_assert_eq!(once.len(), model.len(), "{} refused", refused);
    prop_assert!(once == model);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_lose_nothing(history in history()) {
        tokio::runtime::Runtime::new().unwrap().block_on(check(history))?;
    }
}
