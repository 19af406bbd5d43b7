//! Memory in whole cache lines that several threads write side by side.

use std::cell::UnsafeCell;
use std::ops::Range;

/// One cache line, the alignment that tiles and registers like best.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

const LINE: usize = 64;

/// Bytes, zero at first, on a cache line's boundary.
///
/// Threads take places of it by pointer; who writes which is the business of [`super::forward`], which gives each piece
/// of a step its own rows or columns.
pub(super) struct Buffer(Box<[UnsafeCell<Line>]>);

// SAFETY: the cells are plain bytes. All access goes through `at` and `read`, whose callers promise that no place is
// written while another thread reads or writes it.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `bytes` zero bytes, rounded up to whole lines.
    pub(super) fn new(bytes: usize) -> Self {
        Self((0..bytes.div_ceil(LINE)).map(|_| UnsafeCell::new(Line([0; LINE]))).collect())
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.0.len() * LINE
    }

    /// Grows to at least `bytes`; what was in it is gone, and all is zero, if it grows.
    pub(super) fn reserve(&mut self, bytes: usize) {
        if self.len() < bytes {
            *self = Self::new(bytes);
        }
    }

    /// The place of byte `offset`.
    ///
    /// # Safety
    /// `offset` is within the buffer, and whoever goes through the pointer keeps the rule of this type.
    pub(super) unsafe fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset < self.len());
        // SAFETY: the offset is within the allocation, whose cells allow writing through a shared reference.
        unsafe { self.0.as_ptr().cast_mut().cast::<u8>().add(offset) }
    }

    /// The place of the `index`th f32.
    ///
    /// # Safety
    /// As [`Buffer::at`].
    pub(super) unsafe fn value(&self, index: usize) -> *mut f32 {
        // SAFETY: as promised by the caller.
        unsafe { self.at(index * 4).cast() }
    }

    /// The f32 values of `range`.
    ///
    /// # Safety
    /// Nobody writes them for as long as the slice lives.
    pub(super) unsafe fn values(&self, range: Range<usize>) -> &[f32] {
        assert!(range.start <= range.end && range.end * 4 <= self.len());
        // SAFETY: within the buffer, and nobody writes; any bytes are f32.
        unsafe { std::slice::from_raw_parts(self.value(0).add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_aligned_and_grows() {
        let mut buffer = Buffer::new(100);
        assert_eq!(buffer.len(), 128);
        // SAFETY: within the buffer, one thread, and no slice outlives the next write.
        unsafe {
            assert_eq!(buffer.at(0).addr() % 64, 0);
            *buffer.value(31) = 1.5;
            assert_eq!(buffer.values(30..32), [0.0, 1.5]);
            buffer.reserve(64);
            assert_eq!(buffer.values(31..32), [1.5]);
            buffer.reserve(129);
            assert_eq!(buffer.values(0..48), [0.0; 48]);
        }
    }
}
