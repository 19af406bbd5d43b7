//! Rows: the facets of documents, as f32 vectors and as int8 codes, document after document.
//!
//! A *slot* is the place of a document in a block of rows, a *row* the place of one facet. The rows of a document lie
//! next to each other, so facet `f` of slot `s` is row `starts[s] + f`.

use rustc_hash::FxHashMap;

use crate::kernels::{CODE_ALIGN, VECTOR_ALIGN};
use crate::quantize::encode;

use super::number;

/// Borrowed rows, whether they lie in memory or in a mapped file.
#[derive(Clone, Copy)]
pub(super) struct RowView<'a> {
    pub(super) dimension: usize,
    /// [slots], document of each slot.
    pub(super) docs: &'a [u32],
    /// [slots + 1], first row of each slot, and the number of rows at the end.
    pub(super) starts: &'a [u32],
    /// [rows * code stride].
    pub(super) codes: &'a [i8],
    /// [rows], scale of each row's codes.
    pub(super) scales: &'a [f32],
    /// [rows * vector stride].
    pub(super) vectors: &'a [f32],
}

impl<'a> RowView<'a> {
    pub(super) fn code_stride(&self) -> usize {
        self.dimension.next_multiple_of(CODE_ALIGN)
    }

    pub(super) fn vector_stride(&self) -> usize {
        self.dimension.next_multiple_of(VECTOR_ALIGN)
    }

    pub(super) fn rows(&self) -> usize {
        self.scales.len()
    }

    pub(super) fn slots(&self) -> usize {
        self.docs.len()
    }

    /// The rows of a slot.
    pub(super) fn range(&self, slot: u32) -> std::ops::Range<u32> {
        self.starts[slot as usize]..self.starts[slot as usize + 1]
    }

    pub(super) fn code(&self, row: u32) -> &'a [i8] {
        let stride = self.code_stride();
        &self.codes[row as usize * stride..][..stride]
    }

    /// Padded vector of a row.
    pub(super) fn vector(&self, row: u32) -> &'a [f32] {
        let stride = self.vector_stride();
        &self.vectors[row as usize * stride..][..stride]
    }
}

/// Rows in memory, in the order of arrival; append only.
#[derive(Clone, Default)]
pub(super) struct Rows {
    pub(super) dimension: usize,
    pub(super) docs: Vec<u32>,
    pub(super) starts: Vec<u32>,
    pub(super) codes: Vec<i8>,
    pub(super) scales: Vec<f32>,
    pub(super) vectors: Vec<f32>,
}

impl Rows {
    pub(super) fn new(dimension: usize) -> Self {
        Self { dimension, starts: vec![0], ..Self::default() }
    }

    /// Empty rows with room for what is announced.
    pub(super) fn with_capacity(dimension: usize, docs: usize, rows: usize) -> Self {
        let mut empty = Self::new(dimension);
        let (code_stride, vector_stride) = (empty.view().code_stride(), empty.view().vector_stride());
        empty.docs.reserve_exact(docs);
        empty.starts.reserve_exact(docs);
        empty.codes.reserve_exact(rows * code_stride);
        empty.scales.reserve_exact(rows);
        empty.vectors.reserve_exact(rows * vector_stride);
        empty
    }

    pub(super) fn view(&self) -> RowView<'_> {
        RowView {
            dimension: self.dimension,
            docs: &self.docs,
            starts: &self.starts,
            codes: &self.codes,
            scales: &self.scales,
            vectors: &self.vectors,
        }
    }

    /// Appends a document whose facets were checked, each with its length; returns its slot.
    pub(super) fn push<'v>(&mut self, doc: u32, facets: impl IntoIterator<Item = (&'v [f32], f32)>) -> u32 {
        let (code_stride, vector_stride) = (self.view().code_stride(), self.view().vector_stride());
        for (facet, norm) in facets {
            let start = self.vectors.len();
            self.vectors.extend(facet.iter().map(|x| x / norm));
            let at = self.codes.len();
            self.codes.resize(at + code_stride, 0);
            self.scales.push(encode(&self.vectors[start..], &mut self.codes[at..]));
            self.vectors.resize(start + vector_stride, 0.0);
        }
        self.finish(doc)
    }

    /// Appends a document as it stands in other rows, codes and all.
    pub(super) fn copy(&mut self, from: RowView<'_>, slot: u32) {
        let rows = from.range(slot);
        let (start, end) = (rows.start as usize, rows.end as usize);
        self.codes.extend_from_slice(&from.codes[start * from.code_stride()..end * from.code_stride()]);
        self.scales.extend_from_slice(&from.scales[start..end]);
        self.vectors.extend_from_slice(&from.vectors[start * from.vector_stride()..end * from.vector_stride()]);
        self.finish(from.docs[slot as usize]);
    }

    fn finish(&mut self, doc: u32) -> u32 {
        self.docs.push(doc);
        self.starts.push(number(self.scales.len()));
        number(self.docs.len() - 1)
    }
}

/// Rows with a map from document to slot: what is written to. The latest slot of a document wins.
#[derive(Default)]
pub(super) struct Head {
    pub(super) rows: Rows,
    slots: FxHashMap<u32, u32>,
}

impl Head {
    pub(super) fn new(dimension: usize) -> Self {
        Self { rows: Rows::new(dimension), slots: FxHashMap::default() }
    }

    pub(super) fn push<'v>(&mut self, doc: u32, facets: impl IntoIterator<Item = (&'v [f32], f32)>) {
        let slot = self.rows.push(doc, facets);
        self.slots.insert(doc, slot);
    }

    /// Copies a document out of other rows, over whatever was there.
    pub(super) fn copy(&mut self, from: RowView<'_>, slot: u32) {
        self.rows.copy(from, slot);
        self.slots.insert(from.docs[slot as usize], number(self.rows.docs.len() - 1));
    }

    pub(super) fn slot_of(&self, doc: u32) -> Option<u32> {
        self.slots.get(&doc).copied()
    }
}
