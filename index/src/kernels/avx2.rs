//! Kernels for AVX2 and FMA.
//!
//! int8 is widened to int16 before it is multiplied: `vpmaddubsw` would saturate.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadl_epi64, _mm_loadu_si128, _mm_shuffle_epi32,
    _mm256_add_epi32, _mm256_add_ps, _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_madd_epi16,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_storeu_ps,
};

use super::{Kernels, prefetch_row, row_of};

pub(super) static KERNELS: Kernels = Kernels { name: "avx2", dot_i8, dot_i8_range, dot_i8_rows, dot_f32, dot_fine };

fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    // SAFETY: these kernels are handed out by `available` only after AVX2 and FMA were detected.
    unsafe { dot_i8_avx2(a, b) }
}

fn dot_i8_range(query: &[i8], codes: &[i8], out: &mut [i32]) {
    if query.is_empty() {
        out.fill(0);
        return;
    }
    for (row, out) in codes.chunks_exact(query.len()).zip(out) {
        // SAFETY: as in `dot_i8`.
        *out = unsafe { dot_i8_avx2(query, row) };
    }
}

fn dot_i8_rows(query: &[i8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
    let stride = query.len();
    for &row in rows.iter().take(2) {
        prefetch_row(codes, stride, row);
    }
    for (at, (&row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(&ahead) = rows.get(at + 2) {
            prefetch_row(codes, stride, ahead);
        }
        // SAFETY: as in `dot_i8`.
        *out = unsafe { dot_i8_avx2(query, row_of(codes, stride, row)) };
    }
}

fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: as in `dot_i8`.
    unsafe { dot_f32_avx2(a, b) }
}

fn dot_fine(query: &[f32], codes: &[i8], fine: &[i8]) -> (f32, f32) {
    // SAFETY: as in `dot_i8`.
    unsafe { dot_fine_avx2(query, codes, fine) }
}

/// 16 int8 products, summed into 8 int32.
#[expect(clippy::cast_ptr_alignment, reason = "the loads are the unaligned ones")]
#[target_feature(enable = "avx2,fma")]
fn madd16(a: &[i8; 16], b: &[i8; 16]) -> __m256i {
    // SAFETY: both pointers come from references to 16 bytes, which is what an unaligned 128-bit load reads.
    let (a, b) =
        unsafe { (_mm_loadu_si128(a.as_ptr().cast::<__m128i>()), _mm_loadu_si128(b.as_ptr().cast::<__m128i>())) };
    _mm256_madd_epi16(_mm256_cvtepi8_epi16(a), _mm256_cvtepi8_epi16(b))
}

#[target_feature(enable = "avx2,fma")]
fn dot_i8_avx2(a: &[i8], b: &[i8]) -> i32 {
    let mut even = _mm256_setzero_si256();
    let mut odd = _mm256_setzero_si256();
    for (a, b) in a.as_chunks::<32>().0.iter().zip(b.as_chunks::<32>().0) {
        let (a, b) = (a.as_chunks::<16>().0, b.as_chunks::<16>().0);
        even = _mm256_add_epi32(even, madd16(&a[0], &b[0]));
        odd = _mm256_add_epi32(odd, madd16(&a[1], &b[1]));
    }
    let sum = _mm256_add_epi32(even, odd);
    let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b00_00_11_10>(sum));
    _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b00_00_00_01>(sum)))
}

/// `sum + a * b` over 8 floats.
#[target_feature(enable = "avx2,fma")]
fn fma8(a: &[f32; 8], b: &[f32; 8], sum: __m256) -> __m256 {
    // SAFETY: both pointers come from references to 8 floats, which is what an unaligned 256-bit load reads.
    let (a, b) = unsafe { (_mm256_loadu_ps(a.as_ptr()), _mm256_loadu_ps(b.as_ptr())) };
    _mm256_fmadd_ps(a, b, sum)
}

#[target_feature(enable = "avx2,fma")]
fn dot_f32_avx2(a: &[f32], b: &[f32]) -> f32 {
    let mut even = _mm256_setzero_ps();
    let mut odd = _mm256_setzero_ps();
    for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
        let (a, b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
        even = fma8(&a[0], &b[0], even);
        odd = fma8(&a[1], &b[1], odd);
    }
    sum(_mm256_add_ps(even, odd))
}

#[target_feature(enable = "avx2,fma")]
fn sum(floats: __m256) -> f32 {
    let mut lanes = [0f32; 8];
    // SAFETY: `lanes` has room for the 8 floats that the store writes.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), floats) };
    lanes.iter().sum()
}

/// `sum + query * codes` over 8 codes.
#[expect(clippy::cast_ptr_alignment, reason = "the loads are the unaligned ones")]
#[target_feature(enable = "avx2,fma")]
fn fma_codes(query: &[f32; 8], codes: &[i8; 8], sum: __m256) -> __m256 {
    // SAFETY: the pointers come from references to 8 floats and to 8 bytes, which is what the unaligned loads read.
    let (query, codes) =
        unsafe { (_mm256_loadu_ps(query.as_ptr()), _mm_loadl_epi64(codes.as_ptr().cast::<__m128i>())) };
    _mm256_fmadd_ps(query, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)), sum)
}

#[target_feature(enable = "avx2,fma")]
fn dot_fine_avx2(query: &[f32], codes: &[i8], fine: &[i8]) -> (f32, f32) {
    let (query, codes, fine) = (query.as_chunks::<8>().0, codes.as_chunks::<8>().0, fine.as_chunks::<8>().0);
    let mut coarse_sum = _mm256_setzero_ps();
    let mut fine_sum = _mm256_setzero_ps();
    for ((query, codes), fine) in query.iter().zip(codes).zip(fine) {
        coarse_sum = fma_codes(query, codes, coarse_sum);
        fine_sum = fma_codes(query, fine, fine_sum);
    }
    (sum(coarse_sum), sum(fine_sum))
}
