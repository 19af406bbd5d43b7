//! The dense index as callers hold it: a sealed segment, blocks that are being sealed, and a head that is written to.

use std::path::Path;
use std::sync::Arc;

use crate::doc_set::{DocId, DocSet};
use crate::error::IndexError;
use crate::kernels::kernels;
use crate::quantize::{Query, check_unit};

use super::build::{SealInput, Source};
use super::live::Tombstones;
use super::rows::{Head, RowView};
use super::scan::Block;
use super::segment::Segment;

/// Largest dimension: int8 dot products of it stay well inside 32 bits.
pub(super) const MAX_DIMENSION: usize = 8192;
/// Most rows of an index: with the most neighbours that options allow, the graph's offsets still fit 32 bits.
pub(super) const MAX_ROWS: usize = 1 << 24;
/// Below this many rows nothing is worth tidying.
const TIDY_ROWS: usize = 1024;
/// Building anew costs the more the larger the segment is: so may be outside of it.
const HEAD_SHARE: usize = 32;

/// How an index is built and searched.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseOptions {
    /// From this many rows on a segment gets a graph; below it, search is exact. Default 25,000.
    pub graph_threshold: usize,
    /// A filter that lets at most about this many rows through is searched exactly. Default 20,000.
    pub exact_filter_rows: usize,
    /// Neighbours of a row on the upper graph layers; twice that on the lowest. 4..=64, default 16.
    pub m: usize,
    /// Rows looked at for the neighbours of a row while a graph is built. 8..=2048, default 128.
    pub ef_construction: usize,
    /// Rows kept during a graph search, at least. 8..=8192, default 128.
    pub ef_search: usize,
    /// Documents re-scored in f32 for each document asked for; never fewer than 64. 1..=64, default 2.
    pub oversample: usize,
    /// Rows outside the sealed segment before sealing is due, where a 32nd of the segment's is not more: every search scans
    /// them all, so they shall cost little beside the walk. Default 8,192.
    pub head_limit: usize,
    /// Part of the rows, in per cent, that may be dead before sealing is due. 1..=100, default 20.
    pub vacuum_percent: usize,
    /// Threads that a build may use. 1..=256, default: all of the machine's.
    pub build_threads: usize,
}

impl Default for DenseOptions {
    fn default() -> Self {
        Self {
            graph_threshold: 25_000,
            exact_filter_rows: 20_000,
            m: 16,
            ef_construction: 128,
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

/// Why an index wants to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealReason {
    /// Large enough for a graph and without one.
    NoGraph,
    /// More rows outside the sealed segment than `head_limit` allows.
    HeadFull,
    /// More dead rows than `vacuum_percent` allows.
    Dead,
}

struct Sealed {
    segment: Arc<Segment>,
    tombstones: Tombstones,
}

struct Frozen {
    head: Arc<Head>,
    tombstones: Tombstones,
}

/// What a sealing under way will replace.
struct Sealing {
    ticket: u64,
    /// How many frozen blocks, oldest first, went into it.
    frozen: usize,
    /// Documents in it that were removed or rewritten since.
    changed: DocSet,
}

/// Documents of 1..n unit vectors, searchable by cosine.
///
/// One writer at a time, any number of readers: callers wrap it in a lock. Building a graph takes long and needs no lock:
/// [`DenseIndex::sealing_input`] under the lock, [`SealInput::build`] without it, [`DenseIndex::install`] under it again;
/// what is written meanwhile is kept.
pub struct DenseIndex {
    dimension: usize,
    options: DenseOptions,
    sealed: Option<Sealed>,
    frozen: Vec<Frozen>,
    head: Head,
    head_tombstones: Tombstones,
    sealing: Option<Sealing>,
    next_ticket: u64,
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
            sealed: None,
            frozen: Vec::new(),
            head: Head::new(dimension),
            head_tombstones: Tombstones::default(),
            sealing: None,
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
        index.live_docs = segment.len_docs();
        index.live_rows = segment.len_rows();
        index.sealed = Some(Sealed { segment: Arc::new(segment), tombstones: Tombstones::default() });
        Ok(index)
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
        let frozen = self.frozen.len();
        let (view, tombstones) = if block == frozen + 1 {
            (self.head.rows.view(), &mut self.head_tombstones)
        } else if block > 0 {
            let frozen = &mut self.frozen[block - 1];
            (frozen.head.rows.view(), &mut frozen.tombstones)
        } else {
            let sealed = self.sealed.as_mut().expect("a document was found in the sealed segment");
            (sealed.segment.view(), &mut sealed.tombstones)
        };
        let facets = view.range(slot).len();
        tombstones.kill(view, slot);
        if let Some(sealing) = self.sealing.as_mut().filter(|sealing| block <= sealing.frozen) {
            sealing.changed.insert(doc);
        }
        self.live_docs -= 1;
        self.live_rows -= facets;
        self.tidy_head();
        true
    }

    /// Drops dead rows of the head once they are more than half of it.
    fn tidy_head(&mut self) {
        let (rows, dead) = (self.head.rows.scales.len(), self.head_tombstones.dead_rows);
        if dead < TIDY_ROWS || dead * 2 < rows {
            return;
        }
        let mut head = Head::new(self.dimension);
        for slot in 0..super::number(self.head.rows.docs.len()) {
            if !self.head_tombstones.is_dead(slot) {
                head.copy(self.head.rows.view(), slot);
            }
        }
        self.head = head;
        self.head_tombstones = Tombstones::default();
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

    /// The caller's bytes of the sealed segment's file; none without a segment, empty when it was never written.
    pub fn stamp(&self) -> Option<&[u8]> {
        self.sealed.as_ref().map(|sealed| sealed.segment.stamp())
    }

    /// Whether searches can use a graph.
    pub fn has_graph(&self) -> bool {
        self.sealed.as_ref().is_some_and(|sealed| sealed.segment.has_graph())
    }

    /// Cosines of one query with the facets of documents that the caller names one after the other.
    ///
    /// query: as for [`DenseIndex::search`].
    pub fn scorer(&self, query: &[f32]) -> Result<FacetScorer<'_>, IndexError> {
        Ok(FacetScorer { index: self, query: Query::new(query, self.dimension)? })
    }

    /// The facets of a document as they are kept (normalised), in order; none when it is not here.
    pub fn facets(&self, doc: DocId) -> Option<Vec<&[f32]>> {
        let place = self.place_of(doc.0)?;
        let view = self.block(place.block).rows;
        Some(view.range(place.slot).map(|row| &view.vector(row)[..self.dimension]).collect())
    }

    /// Whether sealing is due, and why. It stays due while a sealing is under way.
    pub fn needs_seal(&self) -> Option<SealReason> {
        let dead: usize = self.blocks().map(|block| block.tombstones.dead_rows).sum();
        let total = self.live_rows + dead;
        let sealed_rows = self.sealed.as_ref().map_or(0, |sealed| sealed.segment.len_rows());
        if self.live_rows >= self.options.graph_threshold {
            if !self.has_graph() {
                return Some(SealReason::NoGraph);
            }
            if total - sealed_rows > self.options.head_limit.max(sealed_rows / HEAD_SHARE) {
                return Some(SealReason::HeadFull);
            }
        }
        let due = dead >= TIDY_ROWS && dead * 100 >= total * self.options.vacuum_percent;
        due.then_some(SealReason::Dead)
    }

    /// Freezes what is here and hands it out for building; what is written from now on goes to a new head. Cheap: nothing
    /// is copied but the tombstones. A later call makes the segments of earlier ones stale.
    pub fn sealing_input(&mut self) -> SealInput {
        let head = std::mem::replace(&mut self.head, Head::new(self.dimension));
        let tombstones = std::mem::take(&mut self.head_tombstones);
        if !head.rows.docs.is_empty() {
            self.frozen.push(Frozen { head: Arc::new(head), tombstones });
        }
        self.next_ticket += 1;
        self.sealing = Some(Sealing { ticket: self.next_ticket, frozen: self.frozen.len(), changed: DocSet::new() });
        let sealed =
            self.sealed.iter().map(|sealed| (Source::Segment(Arc::clone(&sealed.segment)), sealed.tombstones.clone()));
        let frozen =
            self.frozen.iter().map(|frozen| (Source::Head(Arc::clone(&frozen.head)), frozen.tombstones.clone()));
        SealInput {
            dimension: self.dimension,
            options: self.options.clone(),
            ticket: self.next_ticket,
            rows: self.live_rows,
            sources: sealed.chain(frozen).collect(),
        }
    }

    /// Takes a built segment into use. What was written or removed since its input was taken stays written or removed.
    ///
    /// [`IndexError::StaleSegment`] when it was built from anything but the latest input.
    pub fn install(&mut self, segment: Segment) -> Result<(), IndexError> {
        let current = self.sealing.as_ref().is_some_and(|sealing| segment.ticket == Some(sealing.ticket));
        let Some(sealing) = self.sealing.take_if(|_| current) else {
            return Err(IndexError::StaleSegment);
        };
        let mut tombstones = Tombstones::default();
        for doc in sealing.changed.iter() {
            if let Some(slot) = segment.slot_of(doc.0) {
                tombstones.kill(segment.view(), slot);
            }
        }
        self.frozen.drain(..sealing.frozen);
        self.sealed = Some(Sealed { segment: Arc::new(segment), tombstones });
        Ok(())
    }

    pub(super) fn options(&self) -> &DenseOptions {
        &self.options
    }

    /// The sealed segment, which is block 0.
    pub(super) fn sealed(&self) -> Option<&Segment> {
        self.sealed.as_ref().map(|sealed| sealed.segment.as_ref())
    }

    /// All blocks of rows: the sealed segment is number 0, then the frozen blocks, then the head.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        let sealed = self.sealed.iter().map(|sealed| (0, sealed.segment.view(), &sealed.tombstones));
        let frozen =
            self.frozen.iter().enumerate().map(|(at, frozen)| (at + 1, frozen.head.rows.view(), &frozen.tombstones));
        let head = std::iter::once((self.frozen.len() + 1, self.head.rows.view(), &self.head_tombstones));
        sealed.chain(frozen).chain(head).map(|(number, rows, tombstones)| Block { number, rows, tombstones })
    }

    pub(super) fn block(&self, number: usize) -> Block<'_> {
        self.blocks().find(|block| block.number == number).expect("block numbers come from the index itself")
    }

    /// The slot of a document in one block, dead or alive.
    pub(super) fn slot_in(&self, block: usize, doc: u32) -> Option<u32> {
        match block {
            0 => self.sealed.as_ref()?.segment.slot_of(doc),
            number => self.frozen.get(number - 1).map_or(&self.head, |frozen| &frozen.head).slot_of(doc),
        }
    }

    fn place_of(&self, doc: u32) -> Option<Place> {
        let blocks = self.frozen.len() + 2;
        (0..blocks).rev().find_map(|block| {
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
    /// Scores: [facets], exact f32 cosines, -1..=1.
    pub fn facet_scores(&self, doc: DocId) -> Option<Vec<f32>> {
        let place = self.index.place_of(doc.0)?;
        let view = self.index.block(place.block).rows;
        Some(view.range(place.slot).map(|row| cosine(view, &self.query, row)).collect())
    }
}

/// Exact cosine of the query with a row.
pub(super) fn cosine(view: RowView<'_>, query: &Query, row: u32) -> f32 {
    kernels().dot_f32(&query.vector, view.vector(row)).clamp(-1.0, 1.0)
}

impl std::fmt::Debug for DenseIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DenseIndex")
            .field("dimension", &self.dimension)
            .field("docs", &self.live_docs)
            .field("rows", &self.live_rows)
            .field("sealed", &self.sealed())
            .field("frozen", &self.frozen.len())
            .finish_non_exhaustive()
    }
}
