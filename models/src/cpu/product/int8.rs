//! Bytes: each block of a row's values in 255 steps from its least to its greatest, each block of a column's weights in
//! 254 about zero.
//!
//! With `x = least + step b` and `w = scale q`, `sum x w = scale (step sum b q + least sum q)`; the last sum is packed
//! with the weights. Quantisation of a row when it is met ("dynamic") needs no calibration texts; blocks keep one great
//! value from coarsening its whole row.

use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm_storeu_si128, _mm512_add_epi32, _mm512_cvtepi32_epi8,
    _mm512_cvtepi32_ps, _mm512_cvtps_epi32, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_permutex2var_ps, _mm512_reduce_max_ps, _mm512_reduce_min_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi32, _mm512_setzero_si512, _mm512_sub_ps,
};

use super::super::simd::Avx512;
use super::{BLOCK, ColumnScale, Dot, Product, RowScale};

/// `VPDPBUSD`: four products of an unsigned and a signed byte a lane and step, exact in i32.
struct Quads;

impl Dot for Quads {
    const LANES: usize = 16;
    const GROUP: usize = 4;
    const BYTES: usize = 1;
    const FLUSH: usize = BLOCK;
    type Sum = __m512i;
    type Register = __m512i;
    type Scale = Columns;
    type Out = Avx512;

    #[inline(always)]
    fn prefetch(line: *const u8) {
        // SAFETY: every x86-64 processor has the instruction, and it faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
    }

    dot! {
        zero() -> __m512i { _mm512_setzero_si512() }
        weights(from: *const u8) -> __m512i { _mm512_loadu_si512(from.cast()) }
        broadcast(from: *const u8) -> __m512i { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
        dot(sum: __m512i, input: __m512i, weights: __m512i) -> __m512i { _mm512_dpbusd_epi32(sum, input, weights) }
        scale(product: &Product<'_>, stretch: usize, column: usize) -> Columns { Columns::of(product, stretch, column) }
        finish(
            before: __m512, sum: __m512i, scale: Columns, product: &Product<'_>, stretch: usize, row: usize
        ) -> __m512 { scale.add(before, sum, product, stretch, row) }
    }
}

multiply!(
    avx512, Quads, rows 12 [1 2 3 4 5 6 7 8 9 10 11 12], columns 2 1,
    #[target_feature(enable = "avx512f,avx512vnni")]
);

/// The `stretch`th block of 16 columns.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    steps: __m512,
    sums: __m512,
}

impl Columns {
    /// # Safety
    /// A byte product, which has a scale for each block of each column from its first on.
    #[inline(always)]
    pub(super) unsafe fn of(product: &Product<'_>, stretch: usize, column: usize) -> Self {
        // SAFETY: as promised by the caller.
        unsafe {
            let scales: *const ColumnScale =
                product.columns_scale.as_ptr().add(stretch * product.columns_stride + column);
            // Steps and sums lie in turn: two registers hold both of 16 columns.
            let (low, high) = (_mm512_loadu_ps(scales.cast()), _mm512_loadu_ps(scales.add(8).cast()));
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
            Self { steps: _mm512_permutex2var_ps(low, even, high), sums: _mm512_permutex2var_ps(low, odd, high) }
        }
    }

    /// `before + step (scale sum b q) + least (scale sum q)`, of the `stretch`th block of a row.
    ///
    /// # Safety
    /// A byte product, which has a scale for each block of each row.
    #[inline(always)]
    pub(super) unsafe fn add(
        self,
        before: __m512,
        sum: __m512i,
        product: &Product<'_>,
        stretch: usize,
        row: usize,
    ) -> __m512 {
        // SAFETY: as promised by the caller.
        unsafe {
            let RowScale { step, least } = *product.rows_scale.add(row * product.depth.div_ceil(BLOCK) + stretch);
            let products = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), self.steps);
            let shifted = _mm512_fmadd_ps(_mm512_set1_ps(least), self.sums, before);
            _mm512_fmadd_ps(_mm512_set1_ps(step), products, shifted)
        }
    }
}

/// Rounded to the nearest of 255 steps between a block's least and greatest value.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn encode(from: *const f32, width: usize, to: *mut u8, scales: *mut RowScale) {
    debug_assert!(width.is_multiple_of(16));
    for (block, start) in (0..width).step_by(BLOCK).enumerate() {
        let columns = || (start..width.min(start + BLOCK)).step_by(16);
        // SAFETY: `at + 16 <= width`, of which the caller holds values and places, and a place for each block's scale.
        unsafe {
            let (mut least, mut greatest) = (_mm512_set1_ps(f32::MAX), _mm512_set1_ps(f32::MIN));
            for at in columns() {
                let values = _mm512_loadu_ps(from.add(at));
                least = _mm512_min_ps(least, values);
                greatest = _mm512_max_ps(greatest, values);
            }
            let (least, greatest) = (_mm512_reduce_min_ps(least), _mm512_reduce_max_ps(greatest));
            // Equal values leave no step: any positive one gives byte 0, which stands for `least`.
            let step = ((greatest - least) / 255.0).max(f32::MIN_POSITIVE);
            let (offset, scale) = (_mm512_set1_ps(least), _mm512_set1_ps(1.0 / step));
            for at in columns() {
                let steps = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(from.add(at)), offset), scale);
                let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_min_ps(steps, _mm512_set1_ps(255.0))));
                _mm_storeu_si128(to.add(at).cast(), bytes);
            }
            *scales.add(block) = RowScale { step, least };
        }
    }
}
