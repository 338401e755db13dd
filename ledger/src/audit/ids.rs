//! Which event ids are posted already (I5), each with the tag of its fact: exact, in memory that does not grow with them.
//!
//! The ids that were posted last are in memory, sorted. When there are many, they become a *run*: a sorted temporary file,
//! of which memory keeps the first id of every page. Runs of one size are merged into one of the next, so there are few. A
//! batch's ids are looked up in order, so a page is read at most once a batch. Ids that sort by time (`UUIDv7`) mostly lie
//! beyond all that are posted: they cost one comparison to look up, and to add them is to append them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use accounting::FactTag;
use schemas::EventId;
use uuid::Uuid;

/// An id and its tag, as runs hold them.
type Posted = (u128, FactTag);

const POSTED_BYTES: usize = 20;

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
    fresh: Vec<Posted>,
    /// Runs by level.
    levels: Vec<Vec<Run>>,
}

impl PostedIds {
    /// Those of `ids` that are posted, with their tags.
    pub(super) fn among(&self, ids: &BTreeSet<EventId>) -> io::Result<BTreeMap<EventId, FactTag>> {
        let fresh = self.fresh.last().map(|(id, _)| *id);
        let last = self.levels.iter().flatten().map(|run| run.last).chain(fresh).max();
        let ids: Vec<u128> = ids.iter().map(|id| id.0.as_u128()).take_while(|id| Some(*id) <= last).collect();
        let known = |id: &u128| Some(self.fresh[self.fresh.binary_search_by_key(id, |(id, _)| *id).ok()?]);
        let mut found: BTreeMap<u128, FactTag> = ids.iter().filter_map(known).collect();
        for run in self.levels.iter().flatten() {
            run.find(&ids, &mut found)?;
        }
        Ok(found.into_iter().map(|(id, tag)| (EventId(Uuid::from_u128(id)), tag)).collect())
    }

    /// More are posted, none of which was before.
    pub(super) fn add(&mut self, ids: impl Iterator<Item = (EventId, FactTag)>) -> io::Result<()> {
        let mut ids: Vec<Posted> = ids.map(|(id, tag)| (id.0.as_u128(), tag)).collect();
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

/// Sorts two sorted sequences that stand one after the other: the stable sort finds the two and merges them, in linear time.
fn merge(ids: &mut [Posted]) {
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
    fn write(ids: impl Iterator<Item = io::Result<Posted>>) -> io::Result<Self> {
        let mut writer = BufWriter::new(tempfile::tempfile()?);
        let (mut pages, mut len, mut last) = (Vec::new(), 0, 0);
        for id in ids {
            let tag;
            (last, tag) = id?;
            if len % PAGE == 0 {
                pages.push(last);
            }
            writer.write_all(&last.to_be_bytes())?;
            writer.write_all(&tag.0.to_be_bytes())?;
            len += 1;
        }
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self { file, pages, len, last })
    }

    /// Adds those of `ids`, which are sorted, that are in the run.
    fn find(&self, ids: &[u128], found: &mut BTreeMap<u128, FactTag>) -> io::Result<()> {
        let Some(first) = self.pages.first() else { return Ok(()) };
        let from = ids.partition_point(|id| id < first);
        let to = ids.partition_point(|id| *id <= self.last);
        let mut page: Option<(usize, Vec<Posted>)> = None;
        for id in &ids[from..to] {
            let number = self.pages.partition_point(|first| first <= id) - 1;
            let content = match &page {
                Some((at, content)) if *at == number => content,
                _ => &page.insert((number, self.page(number)?)).1,
            };
            if let Ok(place) = content.binary_search_by_key(id, |(id, _)| *id) {
                found.insert(*id, content[place].1);
            }
        }
        Ok(())
    }

    fn page(&self, number: usize) -> io::Result<Vec<Posted>> {
        let from = number * PAGE;
        let mut bytes = vec![0; (self.len - from).min(PAGE) * POSTED_BYTES];
        self.file.read_exact_at(&mut bytes, (from * POSTED_BYTES) as u64)?;
        Ok(bytes.as_chunks().0.iter().map(posted).collect())
    }
}

/// An id and its tag, both big-endian.
fn posted(bytes: &[u8; POSTED_BYTES]) -> Posted {
    let id = bytes.first_chunk().map_or(0, |id| u128::from_be_bytes(*id));
    (id, FactTag(bytes.last_chunk().map_or(0, |tag| u32::from_be_bytes(*tag))))
}

/// Several runs as one.
struct Merge {
    readers: Vec<(BufReader<File>, usize)>,
    heads: BinaryHeap<Reverse<(Posted, usize)>>,
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
            let mut bytes = [0; POSTED_BYTES];
            reader.read_exact(&mut bytes)?;
            self.heads.push(Reverse((posted(&bytes), number)));
        }
        Ok(())
    }
}

impl Iterator for Merge {
    type Item = io::Result<Posted>;

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
        /// Against a plain map, over many runs and merges, with ids that repeat and interleave.
        #[test]
        fn it_is_a_map(
            batches in prop::collection::vec(prop::collection::vec(0..4_000_u128, 1..400), 1..40),
            fresh in 1..300_usize,
        ) {
            let mut posted = PostedIds { sizes: Sizes { fresh, merge: 3 }, ..PostedIds::default() };
            let tag = |id: EventId| FactTag(!u32::try_from(id.0.as_u128()).unwrap());
            let mut model = BTreeMap::new();
            for batch in batches {
                let batch = ids(&batch);
                let known = batch.iter().filter_map(|id| Some((*id, *model.get(id)?))).collect();
                prop_assert_eq!(posted.among(&batch).unwrap(), known);
                let new = batch.into_iter().filter(|id| model.insert(*id, tag(*id)).is_none()).rev();
                let new: Vec<_> = new.map(|id| (id, tag(id))).collect();
                posted.add(new.into_iter()).unwrap();
            }
            prop_assert_eq!(posted.among(&ids(&(0..4_000).collect::<Vec<_>>())).unwrap(), model);
        }
    }
}
