//! Appending.

use std::collections::BTreeMap;

use bytes::Bytes;
use eventlog::{AppendError, MAX_PAYLOAD_BYTES, Record};
use schemas::{Offset, PartitionId, Position};

use super::stage::{PARTITIONS, Stage, account, account_in, append, held, partitions};

pub(super) async fn offsets_follow_each_other_in_the_partition_of_the_key(stage: Stage) {
    let log = stage.open().await;
    assert_eq!(log.partitions(), PARTITIONS);
    let mut model: BTreeMap<PartitionId, Vec<String>> = BTreeMap::new();
    for n in 0..60 {
        let key = account(n % 7);
        let partition = eventlog::partition::of(key, PARTITIONS);
        let expected = model.entry(partition).or_default();
        let offset = Offset(expected.len() as u64);
        let payload = format!("event {n}");
        assert_eq!(append(&*log, key, payload.clone()).await, Position { partition, offset });
        expected.push(payload);
    }
    for partition in partitions() {
        let expected = model.remove(&partition).unwrap_or_default();
        assert_eq!(log.end(partition).await.unwrap(), Offset(expected.len() as u64));
        let held = held(&*log, partition).await;
        let found: Vec<_> = held.iter().map(|record| (record.offset.0, record.payload.clone())).collect();
        let expected: Vec<_> = (0..).zip(expected.into_iter().map(Bytes::from)).collect();
        assert_eq!(found, expected, "partition {partition}");
    }
}

pub(super) async fn concurrent_appends_are_all_there_once(stage: Stage) {
    let (one, other) = tokio::join!(stage.open(), stage.open());
    let appends = (0..400).map(|n| {
        let log = if n % 2 == 0 { &one } else { &other };
        async move { (append(&**log, account(n), n.to_string()).await, n.to_string()) }
    });
    let mut appended = futures_util::future::join_all(appends).await;
    appended.sort();
    let mut found = Vec::new();
    for partition in partitions() {
        for record in held(&*one, partition).await {
            let payload = String::from_utf8(record.payload.to_vec()).unwrap();
            found.push((Position { partition, offset: record.offset }, payload));
        }
    }
    assert_eq!(found, appended);
}

pub(super) async fn any_bytes_pass_through(stage: Stage) {
    let log = stage.open().await;
    let payloads: Vec<Bytes> = [
        Vec::new(),
        vec![0],
        (0..=255).collect(),
        b"\xff\xfe\xfd not UTF-8 \xc3\x28".to_vec(),
        b"{\"specversion\":".to_vec(),
        b"'); DROP TABLE records; --\0".to_vec(),
    ]
    .map(Bytes::from)
    .into();
    for payload in &payloads {
        append(&*log, account(1), payload.clone()).await;
    }
    let held = held(&*log, eventlog::partition::of(account(1), PARTITIONS)).await;
    assert_eq!(held.into_iter().map(|record| record.payload).collect::<Vec<_>>(), payloads);
}

pub(super) async fn a_record_that_is_too_large_is_refused_and_the_largest_is_not(stage: Stage) {
    let log = stage.open().await;
    let partition = PartitionId(1);
    let key = account_in(partition);
    let record = |size: usize| Record { key, payload: Bytes::from(vec![b'x'; size]) };
    for size in [MAX_PAYLOAD_BYTES - 1, MAX_PAYLOAD_BYTES] {
        log.append(record(size)).await.unwrap();
    }
    for size in [MAX_PAYLOAD_BYTES + 1, 3 * MAX_PAYLOAD_BYTES] {
        let refused = log.append(record(size)).await.unwrap_err();
        let AppendError::TooLarge { size_bytes, max_bytes } = refused else { panic!("{refused}") };
        assert_eq!((size_bytes, max_bytes), (size, MAX_PAYLOAD_BYTES));
    }
    append(&*log, key, "small").await;
    let sizes: Vec<_> = held(&*log, partition).await.iter().map(|record| record.payload.len()).collect();
    assert_eq!(sizes, [MAX_PAYLOAD_BYTES - 1, MAX_PAYLOAD_BYTES, 5]);
}
