//! Cut a segment anywhere, or change any bit of it: no record is ever changed, invented or silently lost.

use proptest::prelude::*;
use schemas::AccountId;
use uuid::Uuid;

use super::*;

const NUMBER: u64 = 7;

fn record(n: usize) -> Record {
    let payload = format!("{{\"event\":{n},\"text\":\"{}\"}}", "x".repeat(n * 5 % 60));
    Record { key: AccountId(Uuid::from_u128(n as u128 % 3 + 1)), payload: payload.into_bytes().into() }
}

/// A file, its records with their places, where each record ends, and where each group begins.
type Written = (Vec<u8>, Vec<(u32, Record)>, Vec<usize>, Vec<u32>);

/// A segment of groups of these sizes, in a file with room left.
fn segment(groups: &[usize], zeros: usize) -> Written {
    let mut file = Header { number: NUMBER, previous: 4, previous_end: 99 }.encode().to_vec();
    let (mut records, mut ends, mut begins) = (Vec::new(), Vec::new(), Vec::new());
    for (n, size) in groups.iter().enumerate() {
        let group = if n == 0 { 0 } else { u32::try_from(file.len()).unwrap() };
        begins.push(group);
        for _ in 0..*size {
            let (at, record) = (u32::try_from(file.len()).unwrap(), record(records.len()));
            frame::encode(&mut file, NUMBER, group, at, &record);
            records.push((at, record));
            ends.push(file.len());
        }
    }
    file.resize(file.len() + zeros, 0);
    (file, records, ends, begins)
}

/// What a start would do with the newest file: its records, or why not.
fn read(file: Vec<u8>) -> Result<Scan, Damage> {
    let file = Bytes::from(file);
    match start(&file, NUMBER) {
        Start::Header(_) => newest(&file, NUMBER),
        Start::Unused => Ok(Scan { records: Vec::new(), end: 0, torn_bytes: 0 }),
        Start::Broken => Ok(Scan { records: Vec::new(), end: 0, torn_bytes: torn(&file, NUMBER, 0)? }),
    }
}

#[test]
fn what_was_written_is_read() {
    let (file, records, ends, _) = segment(&[1, 3, 2], 100);
    let scan = read(file.clone()).unwrap();
    let end = u32::try_from(ends[5]).unwrap();
    assert_eq!(scan, Scan { records: records.clone(), end, torn_bytes: 0 });
    assert_eq!(sealed(&file.into(), NUMBER, end).unwrap().records, records);
}

#[test]
fn bytes_of_another_file_or_place_are_no_records() {
    let (file, _, ends, _) = segment(&[1, 1], 0);
    assert_eq!(start(&file, NUMBER + 1), Start::Broken);
    let file = Bytes::from(file);
    assert_eq!(frames(&file, NUMBER + 1).0, []);
    // The second record once more, where a third would be.
    let mut again = file.to_vec();
    again.extend_from_slice(&file[ends[0]..ends[1]]);
    let scan = read(again).unwrap();
    assert_eq!((scan.records.len(), scan.torn_bytes), (2, ends[1] - ends[0]));
}

#[test]
fn cut_at_every_byte_it_keeps_every_whole_record() {
    let (file, records, ends, _) = segment(&[1, 3, 2], 0);
    let last_nonzero = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let header = last_nonzero(&file[..40]);
    for cut in 0..=file.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let expected = records.get(..whole).unwrap();
        // The file ends there, as where it was never longer, or zeros follow, as they were there before.
        let mut zeros = file[..cut].to_vec();
        assert_eq!(read(zeros.clone()).unwrap().records, expected, "cut at {cut}");
        zeros.resize(file.len() + 10, 0);
        let scan = read(zeros).unwrap();
        assert_eq!(scan.records, expected, "zeros from {cut}");
        let known = ends.get(whole.wrapping_sub(1)).copied().unwrap_or(40);
        let nonzero = last_nonzero(&file[..cut]);
        let torn = nonzero > known || (1..header).contains(&nonzero);
        assert_eq!(scan.torn_bytes > 0, torn, "zeros from {cut}: {scan:?}");
    }
}

/// A flip in what was durable is damage. In the last write it can't be told from a write that was cut short, so that is
/// told as torn, and the records before it are kept.
fn flip(groups: &[usize], bit: usize) {
    let (mut file, records, ends, begins) = segment(groups, 64);
    let byte = bit / 8;
    file[byte] ^= 1 << (bit % 8);
    let last = *begins.last().unwrap() as usize;
    match read(file) {
        Err(_) => assert!(byte < last, "bit {bit}"),
        Ok(scan) => {
            let whole = ends.iter().filter(|end| **end <= byte).count();
            assert!(byte >= last, "bit {bit} of a durable group is taken for the end");
            assert!(scan.torn_bytes > 0, "bit {bit} went unseen");
            let whole = if byte < 40 { 0 } else { whole };
            assert_eq!(scan.records, records[..whole], "bit {bit}");
        }
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    for groups in [&[1][..], &[2, 1], &[1, 2, 2]] {
        let bits = segment(groups, 64).0.len() * 8;
        for bit in 0..bits {
            flip(groups, bit);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_sealed_segment_is_damage() {
    let (file, _, ends, _) = segment(&[2, 2], 32);
    let end = u32::try_from(*ends.last().unwrap()).unwrap();
    for bit in 40 * 8..end as usize * 8 {
        let mut file = file.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(sealed(&file.into(), NUMBER, end).is_err(), "bit {bit}");
    }
    for cut in 0..end as usize {
        assert!(sealed(&Bytes::from(file[..cut].to_vec()), NUMBER, end).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_last_write_that_reached_the_disk_out_of_order_is_torn() {
    let (mut file, records, ends, _) = segment(&[2, 3], 32);
    // The middle record of the last group never arrived; the one after it did.
    file[ends[2]..ends[3]].fill(0);
    let scan = read(file).unwrap();
    assert_eq!(scan.records, records[..3]);
    assert_eq!(scan.torn_bytes, ends[4] - ends[2]);
}

proptest! {
    #[test]
    fn random_segments(groups in prop::collection::vec(1_usize..6, 1..6), at in 0.0..1.0_f64, bit in 0.0..1.0_f64) {
        let (file, records, ends, _) = segment(&groups, 0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place")]
        let place = |of: usize, part: f64| (of as f64 * part) as usize;
        let cut = place(file.len(), at);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        prop_assert_eq!(&read(file[..cut].to_vec()).unwrap().records[..], &records[..whole]);
        flip(&groups, place(file.len() * 8, bit));
    }
}
