//! Which slots of a block of rows still count.

use super::rows::RowView;

/// Tombstones over the slots of one block.
#[derive(Clone, Default)]
pub(super) struct Tombstones {
    bits: Vec<u64>,
    pub(super) dead_docs: usize,
    pub(super) dead_rows: usize,
}

impl Tombstones {
    #[inline]
    pub(super) fn is_dead(&self, slot: u32) -> bool {
        let slot = slot as usize;
        self.bits.get(slot / 64).is_some_and(|word| (word >> (slot % 64)) & 1 == 1)
    }

    /// Marks a slot; true when it was alive.
    pub(super) fn kill(&mut self, view: RowView<'_>, slot: u32) -> bool {
        if self.is_dead(slot) {
            return false;
        }
        let at = slot as usize;
        if self.bits.len() <= at / 64 {
            self.bits.resize(at / 64 + 1, 0);
        }
        self.bits[at / 64] |= 1 << (at % 64);
        self.dead_docs += 1;
        self.dead_rows += view.range(slot).len();
        true
    }
}
