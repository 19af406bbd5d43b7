//! Rows: the facets of documents as int8 codes, coarse and fine, document after document.
//!
//! A *slot* is the place of a document in a block of rows, a *row* the place of one facet. The rows of a document lie
//! next to each other, so facet `f` of slot `s` is row `starts[s] + f`.

use rustc_hash::FxHashMap;

use crate::kernels::CODE_ALIGN;
use crate::quantize::{decode, encode};

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
    /// [rows * code stride], what the codes leave over; touched to re-score only.
    pub(super) fine: &'a [i8],
}

impl<'a> RowView<'a> {
    pub(super) fn code_stride(&self) -> usize {
        self.dimension.next_multiple_of(CODE_ALIGN)
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

    pub(super) fn fine(&self, row: u32) -> &'a [i8] {
        let stride = self.code_stride();
        &self.fine[row as usize * stride..][..stride]
    }

    /// The vector of a row, within 2e-5 of what it was: [dimension].
    pub(super) fn vector(&self, row: u32) -> Vec<f32> {
        let (code, fine) = (&self.code(row)[..self.dimension], &self.fine(row)[..self.dimension]);
        decode(code, fine, self.scales[row as usize])
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
    pub(super) fine: Vec<i8>,
}

impl Rows {
    pub(super) fn new(dimension: usize) -> Self {
        Self { dimension, starts: vec![0], ..Self::default() }
    }

    /// Empty rows with room for what is announced.
    pub(super) fn with_capacity(dimension: usize, docs: usize, rows: usize) -> Self {
        let mut empty = Self::new(dimension);
        let stride = empty.view().code_stride();
        empty.docs.reserve_exact(docs);
        empty.starts.reserve_exact(docs);
        empty.codes.reserve_exact(rows * stride);
        empty.fine.reserve_exact(rows * stride);
        empty.scales.reserve_exact(rows);
        empty
    }

    pub(super) fn view(&self) -> RowView<'_> {
        RowView {
            dimension: self.dimension,
            docs: &self.docs,
            starts: &self.starts,
            codes: &self.codes,
            scales: &self.scales,
            fine: &self.fine,
        }
    }

    /// Appends a document whose facets were checked, each with its length; returns its slot.
    pub(super) fn push<'v>(&mut self, doc: u32, facets: impl IntoIterator<Item = (&'v [f32], f32)>) -> u32 {
        let stride = self.view().code_stride();
        let mut unit = Vec::with_capacity(self.dimension);
        for (facet, norm) in facets {
            unit.clear();
            unit.extend(facet.iter().map(|x| x / norm));
            let at = self.codes.len();
            self.codes.resize(at + stride, 0);
            self.fine.resize(at + stride, 0);
            self.scales.push(encode(&unit, &mut self.codes[at..], &mut self.fine[at..]));
        }
        self.finish(doc)
    }

    /// Appends a document as it stands in other rows, codes and all.
    pub(super) fn copy(&mut self, from: RowView<'_>, slot: u32) {
        let rows = from.range(slot);
        let (start, end) = (rows.start as usize, rows.end as usize);
        let codes = start * from.code_stride()..end * from.code_stride();
        self.codes.extend_from_slice(&from.codes[codes.clone()]);
        self.fine.extend_from_slice(&from.fine[codes]);
        self.scales.extend_from_slice(&from.scales[start..end]);
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
