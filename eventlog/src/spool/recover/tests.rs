//! A folder at a start: what is damaged is named, what never counted is put away.

use std::fs;
use std::path::{Path, PathBuf};

use schemas::AccountId;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::spool::disk::NoFaults;
use crate::spool::frame;

fn record(n: u8) -> Record {
    Record { key: AccountId(Uuid::from_u128(1)), payload: vec![n; 10].into() }
}

/// Writes a segment with one group for each of `records`; gives its end.
fn write(folder: &Path, number: u64, previous: u64, previous_end: u32, records: &[u8]) -> u32 {
    let mut file = Header { number, previous, previous_end }.encode().to_vec();
    for (n, record_no) in records.iter().enumerate() {
        let at = u32::try_from(file.len()).unwrap();
        frame::encode(&mut file, number, if n == 0 { 0 } else { at }, at, &record(*record_no));
    }
    let end = file.len();
    file.resize(end + 100, 0);
    fs::write(path(folder, number), file).unwrap();
    u32::try_from(end).unwrap()
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.segment"))
}

fn start(folder: &Path) -> (Result<Recovered, String>, Vec<u8>) {
    let disk = Disk::take(folder, Box::new(NoFaults)).unwrap().unwrap();
    let mut waiting = Vec::new();
    let recovered = recover(&disk, |record| waiting.push(record.payload[0])).map_err(|error| error.to_string());
    (recovered, waiting)
}

fn note(folder: &Path, place: Place) {
    fs::write(folder.join("drained"), place.encode()).unwrap();
}

fn flip(folder: &Path, number: u64, byte: usize) {
    let mut file = fs::read(path(folder, number)).unwrap();
    file[byte] ^= 1;
    fs::write(path(folder, number), file).unwrap();
}

/// Three segments in a row: records 1 and 2, 3, 4 and 5.
fn three() -> (TempDir, [u32; 3]) {
    let folder = TempDir::new().unwrap();
    let one = write(folder.path(), 1, 0, 0, &[1, 2]);
    let two = write(folder.path(), 2, 1, one, &[3]);
    let five = write(folder.path(), 5, 2, two, &[4, 5]);
    (folder, [one, two, five])
}

#[test]
fn everything_waits_where_nothing_is_drained() {
    let (folder, [one, two, five]) = three();
    for _ in 0..2 {
        let (recovered, waiting) = start(folder.path());
        assert_eq!(waiting, [1, 2, 3, 4, 5]);
        let segments = [(1, one), (2, two), (5, five)].map(|(number, end)| Left { number, end });
        let expected = Recovered {
            segments: segments.to_vec(),
            newest: Place { segment: 5, at: five },
            drained: Place { segment: 1, at: HEADER_BYTES },
            next_number: 6,
        };
        assert_eq!(recovered.unwrap(), expected);
        assert_eq!(fs::metadata(path(folder.path(), 5)).unwrap().len(), u64::from(five), "not cut");
    }
}

#[test]
fn what_is_drained_is_put_away() {
    let check = |segment, at: fn([u32; 3]) -> u32, expected: &[u8], files: &[u64]| {
        let (folder, ends) = three();
        note(folder.path(), Place { segment, at: at(ends) });
        let (recovered, waiting) = start(folder.path());
        assert_eq!(waiting, expected);
        let left: Vec<_> = [1, 2, 5].into_iter().filter(|number| path(folder.path(), *number).exists()).collect();
        assert_eq!(left, files);
        assert_eq!(recovered.unwrap().next_number, 6);
        // Once more, after another start.
        assert_eq!(start(folder.path()).1, expected);
    };
    check(1, |_| HEADER_BYTES, &[1, 2, 3, 4, 5], &[1, 2, 5]);
    check(1, |[one, ..]| HEADER_BYTES + (one - HEADER_BYTES) / 2, &[2, 3, 4, 5], &[1, 2, 5]);
    check(1, |[one, ..]| one, &[3, 4, 5], &[2, 5]);
    check(1, |_| WHOLE, &[3, 4, 5], &[2, 5]);
    check(2, |_| HEADER_BYTES, &[3, 4, 5], &[2, 5]);
    check(5, |_| HEADER_BYTES, &[4, 5], &[5]);
    check(5, |[.., five]| five, &[], &[]);
}

#[test]
fn damage_is_named_and_nothing_is_touched() {
    let check = |damage: fn(&Path, [u32; 3]), expected: &str| {
        let (folder, ends) = three();
        note(folder.path(), Place { segment: 1, at: HEADER_BYTES });
        damage(folder.path(), ends);
        let files = || -> Vec<_> {
            let all = [1, 2, 5].map(|number| fs::read(path(folder.path(), number)).ok());
            all.into_iter().collect()
        };
        let before = files();
        let (recovered, _) = start(folder.path());
        let error = recovered.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert_eq!(files(), before);
    };
    check(|folder, _| flip(folder, 1, 60), "segment 0000000000000001: it is damaged at byte 40");
    check(|folder, _| flip(folder, 2, 60), "segment 0000000000000002: it is damaged at byte 40");
    check(|folder, [one, ..]| flip(folder, 1, one as usize - 1), "segment 0000000000000001: it is damaged at byte 78");
    check(|folder, _| flip(folder, 5, 60), "segment 0000000000000005: it is damaged at byte 40");
    check(|folder, _| flip(folder, 5, 9), "segment 0000000000000005: it is damaged at byte 0");
    check(|folder, _| flip(folder, 2, 9), "segment 0000000000000002 is missing, or not readable");
    check(|folder, _| fs::remove_file(path(folder, 2)).unwrap(), "segment 0000000000000002 is missing");
    check(|folder, _| fs::remove_file(path(folder, 1)).unwrap(), "segment 0000000000000001 is missing");
}

#[test]
fn what_never_counted_is_put_away() {
    let (folder, [.., five]) = three();
    // A spare, one that a failed write left behind, and one whose first write was cut short.
    fs::write(path(folder.path(), 7), [0; 300]).unwrap();
    write(folder.path(), 4, 2, 60, &[9]);
    let cut = Header { number: 6, previous: 5, previous_end: five }.encode();
    fs::write(path(folder.path(), 6), &cut[..20]).unwrap();
    let (recovered, waiting) = start(folder.path());
    assert_eq!(waiting, [1, 2, 3, 4, 5]);
    assert_eq!(recovered.unwrap().next_number, 8);
    assert!([4, 6, 7].iter().all(|number| !path(folder.path(), *number).exists()));
}

#[test]
fn what_a_failed_write_left_behind_its_successor_leaves_out() {
    let folder = TempDir::new().unwrap();
    let one = write(folder.path(), 1, 0, 0, &[1, 2]);
    // Segment 2 says that only the first record of segment 1 was durable; it has the second one again.
    let half = HEADER_BYTES + (one - HEADER_BYTES) / 2;
    write(folder.path(), 2, 1, half, &[2, 3]);
    assert_eq!(start(folder.path()).1, [1, 2, 3]);
}

#[test]
fn without_a_readable_note_it_starts_at_the_oldest_there_is() {
    let (folder, _) = three();
    fs::remove_file(path(folder.path(), 1)).unwrap();
    fs::write(folder.path().join("drained"), [1; 16]).unwrap();
    assert_eq!(start(folder.path()).1, [3, 4, 5]);
}

#[test]
fn an_empty_folder_is_a_fresh_spool() {
    let folder = TempDir::new().unwrap();
    let (recovered, waiting) = start(&folder.path().join("new/spool"));
    assert_eq!((recovered.unwrap().next_number, waiting), (1, Vec::new()));
}
