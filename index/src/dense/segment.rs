//! A segment: rows that no longer change, sorted by document, with a graph over them once there are many.

use std::path::Path;

use memmap2::Mmap;

use crate::error::IndexError;
use crate::quantize::Query;

use super::build::coarse_m;
use super::format::{self, Layout};
use super::graph::{BaseView, GraphView, Level, ScratchPool, Walk};
use super::number;
use super::rows::{RowView, Rows};
use super::sealing::SealScope;

/// How a graph was built, kept beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct GraphParameters {
    /// Most neighbours that building gives a row on the upper layers; twice that on layer 0.
    pub(super) m: u32,
    pub(super) ef_construction: u32,
}

/// The layers above the lowest, and where a search enters.
#[derive(Debug, PartialEq)]
pub(super) struct Top {
    pub(super) entry: u32,
    /// Layers 1.., lowest first.
    pub(super) levels: Vec<Level>,
    pub(super) parameters: GraphParameters,
}

impl Top {
    /// Of so many rows of a layer one is in the next as well: as many as `hnsw_rs` makes links.
    fn layer_share(&self) -> usize {
        coarse_m(self.parameters.m as usize)
    }
}

/// Where the large arrays lie.
pub(super) enum Storage {
    Owned { rows: Rows, offsets: Vec<u32>, neighbors: Vec<u32> },
    Mapped { map: Mmap, layout: Layout },
}

/// Rows of documents, frozen: sorted by document, searchable, and the same in memory as on disk.
///
/// Made by [`SealInput::build`](crate::SealInput::build) or [`Segment::open`]; searched once installed in a
/// [`DenseIndex`](crate::DenseIndex).
pub struct Segment {
    dimension: usize,
    storage: Storage,
    top: Option<Top>,
    /// [rows], slot of each row.
    row_slots: Vec<u32>,
    stamp: Vec<u8>,
    /// Which sealing input it was built from; none when it was read from a file.
    pub(super) ticket: Option<u64>,
    /// What it was built of; what is read from a file is a main segment.
    pub(super) scope: SealScope,
    /// What a look at its graph after the build found; none without a graph, and when it was read from a file.
    pub(super) self_recall: Option<f32>,
    pub(super) scratch: ScratchPool,
}

impl Segment {
    /// Puts a segment together from parts that were built or validated.
    pub(super) fn assemble(dimension: usize, storage: Storage, top: Option<Top>, stamp: Vec<u8>) -> Self {
        let mut segment = Self {
            dimension,
            storage,
            top,
            row_slots: Vec::new(),
            stamp,
            ticket: None,
            scope: SealScope::All,
            self_recall: None,
            scratch: ScratchPool::default(),
        };
        let view = segment.view();
        let mut row_slots = Vec::with_capacity(view.rows());
        for (slot, range) in view.starts.windows(2).enumerate() {
            row_slots.resize(row_slots.len() + (range[1] - range[0]) as usize, number(slot));
        }
        segment.row_slots = row_slots;
        segment
    }

    /// Writes the segment to `path` and maps it from there, so that its rows no longer take private memory.
    ///
    /// `stamp`: the caller's own bytes, at most 256, read back by [`Segment::stamp`]; by convention what the rows were
    /// made from. The file appears under its name only when it is complete and on disk (temporary file, fsync, rename,
    /// fsync of the folder).
    pub fn persist(self, path: &Path, stamp: &[u8]) -> Result<Self, IndexError> {
        self.write_to(path, stamp)?;
        let mut mapped = Self::open(path)?;
        (mapped.ticket, mapped.scope, mapped.self_recall) = (self.ticket, self.scope, self.self_recall);
        Ok(mapped)
    }

    /// Writes the segment to `path` as [`Segment::persist`] does, and leaves this one in memory.
    pub fn write_to(&self, path: &Path, stamp: &[u8]) -> Result<(), IndexError> {
        format::write(self, path, stamp)
    }

    /// Maps a segment file after checking all of it: header, bounds, checksums, order of documents and every neighbour.
    ///
    /// [`IndexError::Damaged`] and [`IndexError::Mismatch`] mean: rebuild.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        format::read(path)
    }

    /// The caller's bytes that the file was written with; empty for a segment that was never written.
    pub fn stamp(&self) -> &[u8] {
        &self.stamp
    }

    /// Part of its rows that a walk with their own codes finds, 0..=1, by a sample of a thousand, taken after it was built; none
    /// without a graph, and for one that was read from a file.
    pub fn self_recall(&self) -> Option<f32> {
        self.self_recall
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How many documents it holds.
    pub fn len_docs(&self) -> usize {
        self.view().slots()
    }

    /// How many vectors it holds.
    pub fn len_rows(&self) -> usize {
        self.row_slots.len()
    }

    /// Whether it holds a graph; small segments are searched exactly and have none.
    pub fn has_graph(&self) -> bool {
        self.top.is_some()
    }

    /// About how many rows its upper layers were made for; 0 without a graph.
    pub(super) fn rows_under_upper_layers(&self) -> usize {
        let Some(top) = &self.top else { return 0 };
        top.levels.first().map_or(0, |lowest| lowest.nodes.len()) * top.layer_share()
    }

    /// The rows of a segment that lies in memory.
    pub(super) fn into_rows(self) -> Rows {
        match self.storage {
            Storage::Owned { rows, .. } => rows,
            Storage::Mapped { .. } => unreachable!("only what was just built is taken apart"),
        }
    }

    pub(super) fn view(&self) -> RowView<'_> {
        match &self.storage {
            Storage::Owned { rows, .. } => rows.view(),
            Storage::Mapped { map, layout } => layout.rows(map, self.dimension),
        }
    }

    pub(super) fn base(&self) -> BaseView<'_> {
        match &self.storage {
            Storage::Owned { offsets, neighbors, .. } => BaseView { offsets, neighbors },
            Storage::Mapped { map, layout } => layout.base(map),
        }
    }

    pub(super) fn top(&self) -> Option<&Top> {
        self.top.as_ref()
    }

    pub(super) fn slot_of_row(&self, row: u32) -> u32 {
        self.row_slots[row as usize]
    }

    pub(super) fn slot_of(&self, doc: u32) -> Option<u32> {
        slot_of(self.view().docs, doc)
    }

    /// Walks the graph; none when there is no graph.
    pub(super) fn walk(&self, query: &Query, ef: usize, budget: usize, accept: impl Fn(u32) -> bool) -> Option<Walk> {
        let top = self.top.as_ref()?;
        let graph = GraphView { entry: top.entry, base: &self.base(), upper: &top.levels };
        Some(self.scratch.with(|scratch| {
            graph.search(self.view(), query, ef, budget, scratch, |row| accept(self.row_slots[row as usize]))
        }))
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("dimension", &self.dimension)
            .field("docs", &self.len_docs())
            .field("rows", &self.len_rows())
            .field("graph", &self.has_graph())
            .field("mapped", &matches!(self.storage, Storage::Mapped { .. }))
            .finish_non_exhaustive()
    }
}

/// The place of a document in ascending numbers. Few are missing between them as a rule, and no more than those can lie
/// between a number and its place: a catalogue that nothing was deleted from is not searched at all.
fn slot_of(docs: &[u32], doc: u32) -> Option<u32> {
    let (&first, &last) = (docs.first()?, docs.last()?);
    if doc < first || doc > last {
        return None;
    }
    let missing = (last - first) as usize - (docs.len() - 1);
    let most = ((doc - first) as usize).min(docs.len() - 1);
    let least = ((doc - first) as usize).saturating_sub(missing);
    docs.get(least..=most)?.binary_search(&doc).ok().map(|at| number(least + at))
}

#[cfg(test)]
mod tests {
    use super::slot_of;

    #[test]
    fn slots_are_those_of_a_search_over_all() {
        let sparse: Vec<u32> = (0..500u32).map(|at| 7 + at * at % 11 + at * 5).collect();
        for docs in
            [vec![], vec![0], vec![u32::MAX], (3..90).collect(), vec![0, 1, 2, 50, 51, 900], vec![0, u32::MAX], sparse]
        {
            let mut docs = docs;
            docs.sort_unstable();
            docs.dedup();
            for doc in (0..3000).chain([u32::MAX - 1, u32::MAX]) {
                let expect = docs.binary_search(&doc).ok().map(super::number);
                assert_eq!(slot_of(&docs, doc), expect, "{doc} in {docs:?}");
            }
        }
    }
}
