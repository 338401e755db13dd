//! Which event ids are posted already (I5): exact, in memory that does not grow with them.
//!
//! The ids that were posted last are in memory, sorted. When there are many, they become a *run*: a sorted temporary file,
//! of which memory keeps the first id of every page. Runs of one size are merged into one of the next, so there are few. A
//! batch's ids are looked up in order, so a page is read at most once a batch. Ids that sort by time (`UUIDv7`) mostly lie
//! beyond all that are posted: they cost one comparison to look up, and to add them is to append them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use schemas::EventId;
use uuid::Uuid;

const ID_BYTES: usize = 16;

/// Ids of a page, the unit of a lookup.
const PAGE: usize = 256;

/// The size of things; tests make them small.
#[derive(Clone, Copy)]
struct Sizes {
    /// Ids in memory before they become a run.
    fresh: usize,
    /// Runs of one level before they become one of the next.
    merge: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { fresh: 1 << 16, merge: 8 }
    }
}

/// The ids that are posted.
#[derive(Default)]
pub(super) struct PostedIds {
    sizes: Sizes,
    /// Those that are in no run yet, sorted.
    fresh: Vec<u128>,
    /// Runs by level.
    levels: Vec<Vec<Run>>,
}

impl PostedIds {
    /// Those of `ids` that are posted.
    pub(super) fn among(&self, ids: &BTreeSet<EventId>) -> io::Result<BTreeSet<EventId>> {
        let last = self.levels.iter().flatten().map(|run| run.last).chain(self.fresh.last().copied()).max();
        let ids: Vec<u128> = ids.iter().map(|id| id.0.as_u128()).take_while(|id| Some(*id) <= last).collect();
        let mut found = ids.iter().copied().filter(|id| self.fresh.binary_search(id).is_ok()).collect();
        for run in self.levels.iter().flatten() {
            run.find(&ids, &mut found)?;
        }
        Ok(found.into_iter().map(|id| EventId(Uuid::from_u128(id))).collect())
    }

    /// More are posted, none of which was before.
    pub(super) fn add(&mut self, ids: impl Iterator<Item = EventId>) -> io::Result<()> {
        let mut ids: Vec<u128> = ids.map(|id| id.0.as_u128()).collect();
        ids.sort_unstable();
        let Some(first) = ids.first() else { return Ok(()) };
        let from = self.fresh.partition_point(|id| id < first);
        self.fresh.append(&mut ids);
        merge(&mut self.fresh[from..]);
        if self.fresh.len() < self.sizes.fresh {
            return Ok(());
        }
        let mut run = Run::write(self.fresh.drain(..).map(Ok))?;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < self.sizes.merge {
                break;
            }
            run = Run::write(Merge::new(std::mem::take(&mut self.levels[level]))?)?;
        }
        Ok(())
    }
}

/// Sorts two sorted sequences that stand one after the other.
#[expect(clippy::stable_sort_primitive, reason = "the stable sort finds the two and merges them, in linear time")]
fn merge(ids: &mut [u128]) {
    ids.sort();
}

/// Sorted ids in a file that goes away with it.
struct Run {
    file: File,
    /// The first id of each page.
    pages: Vec<u128>,
    len: usize,
    last: u128,
}

impl Run {
    fn write(ids: impl Iterator<Item = io::Result<u128>>) -> io::Result<Self> {
        let mut writer = BufWriter::new(tempfile::tempfile()?);
        let (mut pages, mut len, mut last) = (Vec::new(), 0, 0);
        for id in ids {
            last = id?;
            if len % PAGE == 0 {
                pages.push(last);
            }
            writer.write_all(&last.to_be_bytes())?;
            len += 1;
        }
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self { file, pages, len, last })
    }

    /// Adds those of `ids`, which are sorted, that are in the run.
    fn find(&self, ids: &[u128], found: &mut BTreeSet<u128>) -> io::Result<()> {
        let Some(first) = self.pages.first() else { return Ok(()) };
        let from = ids.partition_point(|id| id < first);
        let to = ids.partition_point(|id| *id <= self.last);
        let mut page: Option<(usize, Vec<u128>)> = None;
        for id in &ids[from..to] {
            let number = self.pages.partition_point(|first| first <= id) - 1;
            let content = match &page {
                Some((at, content)) if *at == number => content,
                _ => &page.insert((number, self.page(number)?)).1,
            };
            if content.binary_search(id).is_ok() {
                found.insert(*id);
            }
        }
        Ok(())
    }

    fn page(&self, number: usize) -> io::Result<Vec<u128>> {
        let from = number * PAGE;
        let mut bytes = vec![0; (self.len - from).min(PAGE) * ID_BYTES];
        self.file.read_exact_at(&mut bytes, (from * ID_BYTES) as u64)?;
        Ok(bytes.as_chunks::<ID_BYTES>().0.iter().map(|id| u128::from_be_bytes(*id)).collect())
    }
}

/// Several runs as one.
struct Merge {
    readers: Vec<(BufReader<File>, usize)>,
    heads: BinaryHeap<Reverse<(u128, usize)>>,
}

impl Merge {
    fn new(runs: Vec<Run>) -> io::Result<Self> {
        let mut merge = Self { readers: Vec::new(), heads: BinaryHeap::new() };
        for (number, mut run) in runs.into_iter().enumerate() {
            run.file.seek(SeekFrom::Start(0))?;
            merge.readers.push((BufReader::new(run.file), run.len));
            merge.advance(number)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, number: usize) -> io::Result<()> {
        let (reader, left) = &mut self.readers[number];
        if *left > 0 {
            *left -= 1;
            let mut id = [0; ID_BYTES];
            reader.read_exact(&mut id)?;
            self.heads.push(Reverse((u128::from_be_bytes(id), number)));
        }
        Ok(())
    }
}

impl Iterator for Merge {
    type Item = io::Result<u128>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((id, number)) = self.heads.pop()?;
        Some(self.advance(number).map(|()| id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(ids: &[u128]) -> BTreeSet<EventId> {
        ids.iter().map(|id| EventId(Uuid::from_u128(*id))).collect()
    }

    proptest! {
        /// Against a plain set, over many runs and merges, with ids that repeat and interleave.
        #[test]
        fn it_is_a_set(
            batches in prop::collection::vec(prop::collection::vec(0..4_000_u128, 1..400), 1..40),
            fresh in 1..300_usize,
        ) {
            let mut posted = PostedIds { sizes: Sizes { fresh, merge: 3 }, ..PostedIds::default() };
            let mut model = BTreeSet::new();
            for batch in batches {
                let batch = ids(&batch);
                prop_assert_eq!(posted.among(&batch).unwrap(), batch.intersection(&model).copied().collect());
                let new: Vec<EventId> = batch.into_iter().filter(|id| model.insert(*id)).rev().collect();
                posted.add(new.into_iter()).unwrap();
            }
            prop_assert_eq!(posted.among(&ids(&(0..4_000).collect::<Vec<_>>())).unwrap(), model);
        }
    }
}
