//! The dense index as callers hold it: parts that are written no more, the main segment first, and a head that is written to.

use std::path::Path;
use std::sync::Arc;

use crate::doc_set::{DocId, DocSet};
use crate::error::IndexError;
use crate::kernels::kernels;
use crate::quantize::{Query, check_unit};

use super::live::Tombstones;
use super::part::{Part, Source};
use super::rows::{Head, RowView};
use super::scan::Block;
use super::sealing::Sealing;
use super::segment::Segment;

/// Largest dimension: int8 dot products of it stay well inside 32 bits.
pub(super) const MAX_DIMENSION: usize = 8192;
/// Most rows of an index: with the most neighbours that options allow, the graph's offsets still fit 32 bits.
pub(super) const MAX_ROWS: usize = 1 << 24;
/// How an index is built and searched.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseOptions {
    /// From this many rows on a segment gets a graph; below it, search is exact. Default 25,000.
    pub graph_threshold: usize,
    /// A filter that lets at most about this many rows through is searched exactly. Default 20,000.
    pub exact_filter_rows: usize,
    /// Neighbours of a row on the upper graph layers; twice that on the lowest. 4..=64, default 32.
    pub m: usize,
    /// Rows looked at for the neighbours of a row while a graph is built. 8..=2048, default 200.
    pub ef_construction: usize,
    /// Rows kept during a graph search, at least. 8..=8192, default 128.
    pub ef_search: usize,
    /// Documents re-scored in f32 for each document asked for; never fewer than 64. 1..=64, default 2.
    pub oversample: usize,
    /// Rows in no segment before sealing what is recent is due: every search scans them all, so they shall cost little
    /// beside the walk. Default 8,192.
    pub head_limit: usize,
    /// Part of the rows, in per cent, that may be dead before sealing is due. 1..=100, default 20.
    pub vacuum_percent: usize,
    /// Threads that a build may use; that of what is recent uses half of them. 1..=256, default: all of the machine's.
    pub build_threads: usize,
}

impl Default for DenseOptions {
    fn default() -> Self {
        Self {
            graph_threshold: 25_000,
            exact_filter_rows: 20_000,
            m: 32,
            ef_construction: 200,
            ef_search: 128,
            oversample: 2,
            head_limit: 8192,
            vacuum_percent: 20,
            build_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

impl DenseOptions {
    fn check(&self) -> Result<(), IndexError> {
        let ranges = [
            ("m", self.m, 4..=64, "4 to 64"),
            ("ef_construction", self.ef_construction, 8..=2048, "8 to 2048"),
            ("ef_search", self.ef_search, 8..=8192, "8 to 8192"),
            ("oversample", self.oversample, 1..=64, "1 to 64"),
            ("vacuum_percent", self.vacuum_percent, 1..=100, "1 to 100"),
            ("build_threads", self.build_threads, 1..=256, "1 to 256"),
        ];
        for (name, value, allowed, range) in ranges {
            if !allowed.contains(&value) {
                return Err(IndexError::Option { name, value: value.to_string(), range });
            }
        }
        Ok(())
    }
}

/// Documents of 1..n unit vectors, searchable by cosine.
///
/// One writer at a time, any number of readers: callers wrap it in a lock. Building a graph takes long and needs no lock:
/// [`DenseIndex::sealing_input`] under the lock, [`SealInput::build`](crate::SealInput::build) without it,
/// [`DenseIndex::install`] under it again; what is written meanwhile is kept.
pub struct DenseIndex {
    dimension: usize,
    options: DenseOptions,
    pub(super) parts: Vec<Part>,
    pub(super) head: Head,
    pub(super) head_tombstones: Tombstones,
    pub(super) sealings: Vec<Sealing>,
    pub(super) next_ticket: u64,
    live_docs: usize,
    live_rows: usize,
}

/// Where a live document stands.
#[derive(Clone, Copy)]
struct Place {
    block: usize,
    slot: u32,
}

impl DenseIndex {
    /// An empty index for vectors of `dimension` numbers, 1..=8192.
    pub fn new(dimension: usize, options: DenseOptions) -> Result<Self, IndexError> {
        options.check()?;
        if !(1..=MAX_DIMENSION).contains(&dimension) {
            let value = dimension.to_string();
            return Err(IndexError::Option { name: "dimension", value, range: "1 to 8192" });
        }
        Ok(Self {
            dimension,
            options,
            parts: Vec::new(),
            head: Head::new(dimension),
            head_tombstones: Tombstones::default(),
            sealings: Vec::new(),
            next_ticket: 0,
            live_docs: 0,
            live_rows: 0,
        })
    }

    /// An index that starts from a segment file; see [`Segment::open`] for what is checked.
    ///
    /// [`IndexError::Mismatch`] when the file holds vectors of another dimension. What the file was made from is told by
    /// [`DenseIndex::stamp`]; the caller brings it up to date by comparing [`DenseIndex::docs`] with its own list.
    pub fn open(path: &Path, dimension: usize, options: DenseOptions) -> Result<Self, IndexError> {
        let mut index = Self::new(dimension, options)?;
        let segment = Segment::open(path)?;
        if segment.dimension() != dimension {
            return Err(IndexError::Mismatch {
                path: path.to_owned(),
                what: "vectors of dimension",
                expected: dimension.to_string(),
                found: segment.dimension().to_string(),
            });
        }
        index.adopt(Part::new(Source::Segment(Arc::new(segment)), Tombstones::default()));
        Ok(index)
    }

    /// Takes a part in whose documents are in no other.
    pub(super) fn adopt(&mut self, part: Part) {
        let (view, tombstones) = (part.source.view(), &part.tombstones);
        self.live_docs += view.slots() - tombstones.dead_docs;
        self.live_rows += view.rows() - tombstones.dead_rows;
        self.parts.push(part);
    }

    /// Writes a document with its facets, over what it had before. Facet `f` of a hit is `facets[f]`.
    ///
    /// facets: 1..=65535 vectors of length 1 within 1e-3, finite; what rounding left over is normalised away. An error
    /// changes nothing.
    pub fn upsert(&mut self, doc: DocId, facets: &[&[f32]]) -> Result<(), IndexError> {
        if facets.is_empty() || facets.len() > usize::from(u16::MAX) {
            return Err(IndexError::FacetCount { doc, count: facets.len() });
        }
        let norms = facets.iter().map(|facet| check_unit(facet, self.dimension)).collect::<Result<Vec<f32>, _>>()?;
        let rows = self.blocks().map(|block| block.rows.rows()).sum::<usize>() + facets.len();
        if rows > MAX_ROWS {
            return Err(IndexError::Full { rows, limit: MAX_ROWS });
        }
        self.remove(doc);
        self.head.push(doc.0, facets.iter().copied().zip(norms));
        self.live_docs += 1;
        self.live_rows += facets.len();
        Ok(())
    }

    /// Takes a document out; true when it was there.
    pub fn remove(&mut self, doc: DocId) -> bool {
        let Some(Place { block, slot }) = self.place_of(doc.0) else {
            return false;
        };
        let facets = if let Some(part) = self.parts.get_mut(block) {
            let view = part.source.view();
            part.tombstones.kill(view, slot);
            if let Some(sealing) = self.sealings.iter_mut().find(|sealing| part.taken == Some(sealing.ticket)) {
                sealing.changed.insert(doc);
            }
            view.range(slot).len()
        } else {
            self.head_tombstones.kill(self.head.rows.view(), slot);
            self.head.rows.view().range(slot).len()
        };
        self.live_docs -= 1;
        self.live_rows -= facets;
        self.tidy_head();
        true
    }

    /// How many documents can be found.
    pub fn len_docs(&self) -> usize {
        self.live_docs
    }

    /// How many vectors can be found.
    pub fn len_rows(&self) -> usize {
        self.live_rows
    }

    /// Whether no document can be found.
    pub fn is_empty(&self) -> bool {
        self.live_docs == 0
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Whether the document can be found.
    pub fn contains(&self, doc: DocId) -> bool {
        self.place_of(doc.0).is_some()
    }

    /// All documents that can be found.
    pub fn docs(&self) -> DocSet {
        let mut docs = DocSet::new();
        for block in self.blocks() {
            let live = (0..super::number(block.rows.slots())).filter(|&slot| !block.tombstones.is_dead(slot));
            docs.extend(live.map(|slot| DocId(block.rows.docs[slot as usize])));
        }
        docs
    }

    /// The caller's bytes of the main segment's file; none without a segment, empty when it was never written.
    pub fn stamp(&self) -> Option<&[u8]> {
        self.parts.first()?.source.segment().map(Segment::stamp)
    }

    /// Whether searches can use a graph.
    pub fn has_graph(&self) -> bool {
        self.main().is_some()
    }

    /// Cosines of one query with the facets of documents that the caller names one after the other.
    ///
    /// query: as for [`DenseIndex::search`].
    pub fn scorer(&self, query: &[f32]) -> Result<FacetScorer<'_>, IndexError> {
        Ok(FacetScorer { index: self, query: Query::new(query, self.dimension)? })
    }

    /// The facets of a document, in order: normalised, each number within 2e-5 of what was written. None when it is not here.
    pub fn facets(&self, doc: DocId) -> Option<Vec<Vec<f32>>> {
        let place = self.place_of(doc.0)?;
        let view = self.block(place.block).rows;
        Some(view.range(place.slot).map(|row| view.vector(row)).collect())
    }

    pub(super) fn options(&self) -> &DenseOptions {
        &self.options
    }

    /// All blocks of rows: the parts by their number, then the head.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        (0..=self.parts.len()).map(|number| self.block(number))
    }

    pub(super) fn block(&self, number: usize) -> Block<'_> {
        match self.parts.get(number) {
            Some(Part { source, tombstones, .. }) => {
                let graph = source.segment().filter(|segment| segment.has_graph());
                Block { number, rows: source.view(), tombstones, graph }
            }
            None => Block { number, rows: self.head.rows.view(), tombstones: &self.head_tombstones, graph: None },
        }
    }

    /// The slot of a document in one block, dead or alive.
    pub(super) fn slot_in(&self, block: usize, doc: u32) -> Option<u32> {
        self.parts.get(block).map_or_else(|| self.head.slot_of(doc), |part| part.source.slot_of(doc))
    }

    fn place_of(&self, doc: u32) -> Option<Place> {
        (0..=self.parts.len()).rev().find_map(|block| {
            let slot = self.slot_in(block, doc)?;
            (!self.block(block).tombstones.is_dead(slot)).then_some(Place { block, slot })
        })
    }
}

/// A query that was checked once, for scoring documents by name. Made by [`DenseIndex::scorer`].
pub struct FacetScorer<'a> {
    index: &'a DenseIndex,
    query: Query,
}

impl FacetScorer<'_> {
    /// Cosine of the query with each facet of a document, in the order they were given; none when it is not here.
    ///
    /// Scores: [facets], cosines within 2e-5, -1..=1.
    pub fn facet_scores(&self, doc: DocId) -> Option<Vec<f32>> {
        let place = self.index.place_of(doc.0)?;
        let view = self.index.block(place.block).rows;
        Some(view.range(place.slot).map(|row| cosine(view, &self.query, row)).collect())
    }
}

/// Cosine of the query with a row, within 2e-5.
pub(super) fn cosine(view: RowView<'_>, query: &Query, row: u32) -> f32 {
    let dot = kernels().dot_fine(&query.vector, view.code(row), view.fine(row));
    (dot * view.scales[row as usize]).clamp(-1.0, 1.0)
}

impl std::fmt::Debug for DenseIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DenseIndex")
            .field("dimension", &self.dimension)
            .field("docs", &self.live_docs)
            .field("rows", &self.live_rows)
            .field("main", &self.main())
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}
