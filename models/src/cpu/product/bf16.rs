//! bfloat16 values, summed in f32, with `AVX512_BF16`.

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, __m512i, _MM_HINT_T1, _mm_prefetch, _mm256_storeu_si256, _mm512_add_ps,
    _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps,
};
use std::mem::transmute;

use super::super::simd::Avx512;
use super::{Dot, Product, RowScale};

/// `VDPBF16PS`: two products a lane and step, rounded to nearest even, subnormals as zero.
struct Pairs;

impl Dot for Pairs {
    const LANES: usize = 16;
    const GROUP: usize = 2;
    const BYTES: usize = 2;
    const FLUSH: usize = usize::MAX;
    type Sum = __m512;
    type Register = __m512i;
    type Scale = ();
    type Out = Avx512;

    #[inline(always)]
    fn prefetch(line: *const u8) {
        // SAFETY: every x86-64 processor has the instruction, and it faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
    }

    dot! {
        zero() -> __m512 { _mm512_setzero_ps() }
        weights(from: *const u8) -> __m512i { _mm512_loadu_si512(from.cast()) }
        broadcast(from: *const u8) -> __m512i { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
        dot(sum: __m512, input: __m512i, weights: __m512i) -> __m512 {
            _mm512_dpbf16_ps(sum, transmute::<__m512i, __m512bh>(input), transmute::<__m512i, __m512bh>(weights))
        }
        scale(_product: &Product<'_>, _stretch: usize, _column: usize) -> () {}
        finish(
            before: __m512, sum: __m512, _scale: (), _product: &Product<'_>, _stretch: usize, _row: usize
        ) -> __m512 { _mm512_add_ps(before, sum) }
    }
}

multiply!(
    avx512, Pairs, rows 12 [1 2 3 4 5 6 7 8 9 10 11 12], columns 2 1,
    #[target_feature(enable = "avx512f,avx512bf16")]
);

/// Rounded to the nearest bfloat16.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn encode(from: *const f32, width: usize, to: *mut u8, _scales: *mut RowScale) {
    debug_assert!(width.is_multiple_of(16));
    for at in (0..width).step_by(16) {
        // SAFETY: `at + 16 <= width`, of which the caller holds values and places (two bytes each); both types are 32
        // plain bytes.
        unsafe {
            let values = _mm512_cvtneps_pbh(_mm512_loadu_ps(from.add(at)));
            _mm256_storeu_si256(to.add(2 * at).cast(), transmute::<__m256bh, __m256i>(values));
        }
    }
}
