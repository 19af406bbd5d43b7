//! Kernels for AVX-512 with VNNI.
//!
//! `vpdpbusd` multiplies unsigned by signed bytes. The row is made unsigned by adding 128 (flipping its top bit), which
//! adds `128 * sum(query)` to every dot product; that sum is taken off again.

use std::arch::x86_64::{
    __m128i, __m512, __m512i, _mm_loadu_si128, _mm512_add_epi32, _mm512_add_ps, _mm512_cvtepi8_epi32,
    _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_epi8, _mm512_loadu_ps,
    _mm512_reduce_add_epi32, _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_xor_si512,
};

use super::{Kernels, prefetch_row, row_of};

pub(super) static KERNELS: Kernels =
    Kernels { name: "avx512-vnni", dot_i8, dot_i8_range, dot_i8_rows, dot_f32, dot_fine };

fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    // SAFETY: these kernels are handed out by `available` only after AVX-512 F, BW and VNNI were detected.
    unsafe { dot_i8_vnni(a, b) }
}

fn dot_i8_range(query: &[i8], codes: &[i8], out: &mut [i32]) {
    if query.is_empty() {
        out.fill(0);
        return;
    }
    // SAFETY: as in `dot_i8`.
    unsafe { dot_i8_range_vnni(query, codes, out) }
}

fn dot_i8_rows(query: &[i8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
    // SAFETY: as in `dot_i8`.
    unsafe { dot_i8_rows_vnni(query, codes, rows, out) }
}

fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: as in `dot_i8`.
    unsafe { dot_f32_avx512(a, b) }
}

fn dot_fine(query: &[f32], codes: &[i8], fine: &[i8]) -> (f32, f32) {
    // SAFETY: as in `dot_i8`.
    unsafe { dot_fine_avx512(query, codes, fine) }
}

/// 16 codes as floats.
#[expect(clippy::cast_ptr_alignment, reason = "the load is the unaligned one")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn widen(codes: &[i8; 16]) -> __m512 {
    // SAFETY: the pointer comes from a reference to 16 bytes, which is what an unaligned 128-bit load reads.
    let codes = unsafe { _mm_loadu_si128(codes.as_ptr().cast::<__m128i>()) };
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn load_i8(chunk: &[i8; 64]) -> __m512i {
    // SAFETY: the pointer comes from a reference to 64 bytes, which is what an unaligned 512-bit load reads.
    unsafe { _mm512_loadu_epi8(chunk.as_ptr()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn load_f32(chunk: &[f32; 16]) -> __m512 {
    // SAFETY: the pointer comes from a reference to 16 floats, which is what an unaligned 512-bit load reads.
    unsafe { _mm512_loadu_ps(chunk.as_ptr()) }
}

/// `128 * sum(query)`: what the shift of the row to unsigned adds.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn offset_of(query: &[i8]) -> i32 {
    let top_bit = _mm512_set1_epi8(i8::MIN);
    let mut sum = _mm512_setzero_si512();
    for chunk in query.as_chunks::<64>().0 {
        sum = _mm512_dpbusd_epi32(sum, top_bit, load_i8(chunk));
    }
    _mm512_reduce_add_epi32(sum)
}

/// `sum((row + 128) * query)`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn shifted_dot(query: &[i8], row: &[i8]) -> i32 {
    let top_bit = _mm512_set1_epi8(i8::MIN);
    let (query, row) = (query.as_chunks::<64>().0, row.as_chunks::<64>().0);
    let mut even = _mm512_setzero_si512();
    let mut odd = _mm512_setzero_si512();
    let (query_pairs, query_last) = query.as_chunks::<2>();
    let (row_pairs, row_last) = row.as_chunks::<2>();
    for (q, r) in query_pairs.iter().zip(row_pairs) {
        even = _mm512_dpbusd_epi32(even, _mm512_xor_si512(load_i8(&r[0]), top_bit), load_i8(&q[0]));
        odd = _mm512_dpbusd_epi32(odd, _mm512_xor_si512(load_i8(&r[1]), top_bit), load_i8(&q[1]));
    }
    for (q, r) in query_last.iter().zip(row_last) {
        even = _mm512_dpbusd_epi32(even, _mm512_xor_si512(load_i8(r), top_bit), load_i8(q));
    }
    _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot_i8_vnni(a: &[i8], b: &[i8]) -> i32 {
    shifted_dot(a, b).wrapping_sub(offset_of(a))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot_i8_range_vnni(query: &[i8], codes: &[i8], out: &mut [i32]) {
    let offset = offset_of(query);
    for (row, out) in codes.chunks_exact(query.len()).zip(out) {
        *out = shifted_dot(query, row).wrapping_sub(offset);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot_i8_rows_vnni(query: &[i8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
    let stride = query.len();
    for &row in rows.iter().take(4) {
        prefetch_row(codes, stride, row);
    }
    let offset = offset_of(query);
    for (at, (&row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(&ahead) = rows.get(at + 4) {
            prefetch_row(codes, stride, ahead);
        }
        *out = shifted_dot(query, row_of(codes, stride, row)).wrapping_sub(offset);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot_f32_avx512(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.as_chunks::<16>().0, b.as_chunks::<16>().0);
    let (a_quads, a_last) = a.as_chunks::<4>();
    let (b_quads, b_last) = b.as_chunks::<4>();
    let mut sums = [_mm512_setzero_ps(); 4];
    for (a, b) in a_quads.iter().zip(b_quads) {
        for lane in 0..4 {
            sums[lane] = _mm512_fmadd_ps(load_f32(&a[lane]), load_f32(&b[lane]), sums[lane]);
        }
    }
    for (a, b) in a_last.iter().zip(b_last) {
        sums[0] = _mm512_fmadd_ps(load_f32(a), load_f32(b), sums[0]);
    }
    let (left, right) = (_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
    _mm512_reduce_add_ps(_mm512_add_ps(left, right))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot_fine_avx512(query: &[f32], codes: &[i8], fine: &[i8]) -> (f32, f32) {
    let (query, codes, fine) = (query.as_chunks::<16>().0, codes.as_chunks::<16>().0, fine.as_chunks::<16>().0);
    let (query, codes, fine) = (query.as_chunks::<2>().0, codes.as_chunks::<2>().0, fine.as_chunks::<2>().0);
    let mut coarse_sums = [_mm512_setzero_ps(); 2];
    let mut fine_sums = [_mm512_setzero_ps(); 2];
    for ((query, codes), fine) in query.iter().zip(codes).zip(fine) {
        for lane in 0..2 {
            let query = load_f32(&query[lane]);
            coarse_sums[lane] = _mm512_fmadd_ps(query, widen(&codes[lane]), coarse_sums[lane]);
            fine_sums[lane] = _mm512_fmadd_ps(query, widen(&fine[lane]), fine_sums[lane]);
        }
    }
    let sum = |sums: [__m512; 2]| _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
    (sum(coarse_sums), sum(fine_sums))
}
