//! Exact search: every allowed document of a block is scored on its codes, the best are kept.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::doc_set::{DocId, DocSet};
use crate::kernels::kernels;
use crate::quantize::{Query, approximate};

use super::live::Tombstones;
use super::number;
use super::rows::RowView;
use super::segment::Segment;

/// Rows scored between two looks at the results; the codes of one batch stay in the second-level cache.
const BATCH_ROWS: usize = 512;

/// A document found by its codes.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Approximate cosine of its best facet.
    pub(super) score: f32,
    pub(super) doc: u32,
    /// Which block of the index holds it.
    pub(super) block: usize,
    pub(super) slot: u32,
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Greater is better: a higher score, then a lower document.
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(other.doc.cmp(&self.doc))
    }
}

/// The best `limit` candidates offered so far.
pub(super) struct Best {
    limit: usize,
    heap: BinaryHeap<Reverse<Candidate>>,
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::with_capacity(limit.min(4096) + 1) }
    }

    #[inline]
    pub(super) fn offer(&mut self, candidate: Candidate) {
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(candidate));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate > worst.0
        {
            *worst = Reverse(candidate);
        }
    }

    pub(super) fn into_vec(self) -> Vec<Candidate> {
        self.heap.into_iter().map(|candidate| candidate.0).collect()
    }
}

/// One block as a scan sees it.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) number: usize,
    pub(super) rows: RowView<'a>,
    pub(super) tombstones: &'a Tombstones,
    /// The segment that these are the rows of, where it has a graph.
    pub(super) graph: Option<&'a Segment>,
}

/// Scores all live documents of the block that `allowed` lets through; returns how many rows were scored.
pub(super) fn scan(block: Block<'_>, query: &Query, allowed: Option<&DocSet>, best: &mut Best) -> usize {
    let mut dots = vec![0i32; BATCH_ROWS];
    let mut scored = 0;
    let slots = number(block.rows.slots());
    let mut from = 0;
    while from < slots {
        let first_row = block.rows.starts[from as usize];
        let mut to = from + 1;
        while to < slots && (block.rows.starts[to as usize + 1] - first_row) as usize <= BATCH_ROWS {
            to += 1;
        }
        let rows = first_row as usize..block.rows.starts[to as usize] as usize;
        dots.resize(rows.len().max(BATCH_ROWS), 0);
        let stride = block.rows.code_stride();
        kernels().dot_i8_range(
            &query.codes,
            &block.rows.codes[rows.start * stride..rows.end * stride],
            &mut dots[..rows.len()],
        );
        scored += rows.len();
        for slot in from..to {
            let doc = block.rows.docs[slot as usize];
            if block.tombstones.is_dead(slot) || allowed.is_some_and(|allowed| !allowed.contains(DocId(doc))) {
                continue;
            }
            let range = block.rows.range(slot);
            let dots = &dots[range.start as usize - rows.start..range.end as usize - rows.start];
            let scales = &block.rows.scales[range.start as usize..range.end as usize];
            best.offer(Candidate { score: best_facet(query, dots, scales), doc, block: block.number, slot });
        }
        from = to;
    }
    scored
}

/// Scores the given live slots of the block and nothing else; returns how many rows were scored.
pub(super) fn scan_slots(
    block: Block<'_>,
    query: &Query,
    slots: impl IntoIterator<Item = u32>,
    best: &mut Best,
) -> usize {
    let mut batch = Batch::default();
    let mut scored = 0;
    for slot in slots {
        batch.slots.push(slot);
        batch.rows.extend(block.rows.range(slot));
        if batch.rows.len() >= BATCH_ROWS {
            scored += batch.flush(block, query, best);
        }
    }
    scored + batch.flush(block, query, best)
}

#[derive(Default)]
struct Batch {
    slots: Vec<u32>,
    rows: Vec<u32>,
    dots: Vec<i32>,
}

impl Batch {
    fn flush(&mut self, block: Block<'_>, query: &Query, best: &mut Best) -> usize {
        self.dots.resize(self.rows.len(), 0);
        kernels().dot_i8_rows(&query.codes, block.rows.codes, &self.rows, &mut self.dots);
        let mut at = 0;
        for &slot in &self.slots {
            let range = block.rows.range(slot);
            let dots = &self.dots[at..at + range.len()];
            at += range.len();
            let scales = &block.rows.scales[range.start as usize..range.end as usize];
            let doc = block.rows.docs[slot as usize];
            best.offer(Candidate { score: best_facet(query, dots, scales), doc, block: block.number, slot });
        }
        let scored = self.rows.len();
        self.slots.clear();
        self.rows.clear();
        scored
    }
}

#[inline]
fn best_facet(query: &Query, dots: &[i32], scales: &[f32]) -> f32 {
    dots.iter().zip(scales).map(|(&dot, &scale)| approximate(dot, query.scale, scale)).fold(f32::NEG_INFINITY, f32::max)
}
