//! How a dense index is made up at this moment.

use super::index::DenseIndex;

/// Sizes of a dense index's parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DenseFigures {
    /// Vectors that can be found.
    pub live_rows: usize,
    /// Sealed segments: the main one, and those of what is recent.
    pub segments: usize,
    /// Vectors in sealed segments, dead ones counted.
    pub segment_rows: usize,
    /// Vectors outside of them, which every search scans, dead ones counted.
    pub head_rows: usize,
    /// Dead vectors that still take their place.
    pub dead_rows: usize,
}

impl DenseIndex {
    /// Sizes of its parts; takes no longer for a larger index.
    pub fn figures(&self) -> DenseFigures {
        let mut figures = DenseFigures { live_rows: self.len_rows(), ..DenseFigures::default() };
        for block in self.blocks() {
            let rows = block.rows.rows();
            if self.parts.get(block.number).is_some_and(|part| part.source.segment().is_some()) {
                figures.segments += 1;
                figures.segment_rows += rows;
            } else {
                figures.head_rows += rows;
            }
            figures.dead_rows += block.tombstones.dead_rows;
        }
        figures
    }
}
