//! Dot products of int8 and f32 rows, chosen once for the processor at hand.
//!
//! Every variant gives the same int8 results bit for bit; f32 sums differ in the last bits between variants, since the
//! order of addition differs. int8 rows are padded to [`CODE_ALIGN`] elements and f32 rows to [`VECTOR_ALIGN`] with zeros,
//! so no kernel has a tail.

#![expect(unsafe_code, reason = "SIMD loads and prefetches go through raw pointers; each block argues its bounds")]

use std::sync::OnceLock;

use crate::quantize::FINE_STEPS;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// int8 rows are padded to a multiple of this many elements: one AVX-512 register.
pub(crate) const CODE_ALIGN: usize = 64;
/// f32 rows are padded to a multiple of at least this many elements: one AVX-512 register.
const VECTOR_ALIGN: usize = 16;

/// `query`: one row of f32; `codes`, `fine`: one row each of its length. The sums of `query * code` and of `query * fine`.
type DotFine = fn(query: &[f32], codes: &[i8], fine: &[i8]) -> (f32, f32);
type DotRows = fn(query: &[i8], codes: &[i8], rows: &[u32], out: &mut [i32]);

/// One family of kernels. All slices are padded as the constants above say; lengths that do not fit are a programming
/// error and panic.
pub(crate) struct Kernels {
    pub(crate) name: &'static str,
    /// `a`, `b`: one row each, of equal length.
    dot_i8: fn(a: &[i8], b: &[i8]) -> i32,
    /// `codes`: [`out.len()` * `query.len()`], rows next to each other.
    dot_i8_range: fn(query: &[i8], codes: &[i8], out: &mut [i32]),
    /// `codes`: all rows; `rows`: [`out.len()`] row numbers into it.
    dot_i8_rows: DotRows,
    /// `a`, `b`: one row each, of equal length.
    dot_f32: fn(a: &[f32], b: &[f32]) -> f32,
    dot_fine: DotFine,
}

impl Kernels {
    /// Dot product of two int8 rows of equal, padded length.
    pub(crate) fn dot_i8(&self, a: &[i8], b: &[i8]) -> i32 {
        assert!(a.len() == b.len() && a.len().is_multiple_of(CODE_ALIGN), "int8 rows are padded and of one length");
        (self.dot_i8)(a, b)
    }

    /// Dot products of `query` with `out.len()` rows that lie next to each other.
    pub(crate) fn dot_i8_range(&self, query: &[i8], codes: &[i8], out: &mut [i32]) {
        assert!(query.len().is_multiple_of(CODE_ALIGN), "int8 rows are padded");
        assert_eq!(codes.len(), query.len() * out.len(), "one output for each row");
        (self.dot_i8_range)(query, codes, out);
    }

    /// Dot products of `query` with the rows numbered in `rows`.
    pub(crate) fn dot_i8_rows(&self, query: &[i8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
        assert!(query.len().is_multiple_of(CODE_ALIGN), "int8 rows are padded");
        assert_eq!(rows.len(), out.len(), "one output for each row");
        (self.dot_i8_rows)(query, codes, rows, out);
    }

    /// Dot product of two f32 rows of equal, padded length.
    pub(crate) fn dot_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        assert!(a.len() == b.len() && a.len().is_multiple_of(VECTOR_ALIGN), "f32 rows are padded and of one length");
        (self.dot_f32)(a, b)
    }

    /// Dot product of an f32 row with a coded one, in units of the coded row's scale. All are of one, padded length.
    pub(crate) fn dot_fine(&self, query: &[f32], codes: &[i8], fine: &[i8]) -> f32 {
        assert!(
            query.len() == codes.len() && codes.len() == fine.len() && query.len().is_multiple_of(CODE_ALIGN),
            "rows are padded and of one length"
        );
        let (coarse, fine) = (self.dot_fine)(query, codes, fine);
        coarse + fine / FINE_STEPS
    }
}

/// The fastest kernels that this processor can run, found out once.
pub(crate) fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().remove(0))
}

/// Name of the kernels in use on this machine: `avx512-vnni`, `avx2` or `portable`.
pub fn kernel_name() -> &'static str {
    kernels().name
}

/// Dot product of two vectors of the same length, by the fastest kernel here.
///
/// # Panics
/// When the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one length");
    let whole = a.len() - a.len() % VECTOR_ALIGN;
    let rest: f32 = a[whole..].iter().zip(&b[whole..]).map(|(a, b)| a * b).sum();
    kernels().dot_f32(&a[..whole], &b[..whole]) + rest
}

/// All kernels that this processor can run, fastest first. The portable ones are always last.
pub(crate) fn available() -> Vec<&'static Kernels> {
    let mut found: Vec<&'static Kernels> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
        {
            found.push(&avx512::KERNELS);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            found.push(&avx2::KERNELS);
        }
    }
    found.push(&portable::KERNELS);
    found
}

/// One row of `codes`, bounds checked.
#[inline]
fn row_of(codes: &[i8], stride: usize, row: u32) -> &[i8] {
    &codes[row as usize * stride..][..stride]
}

/// Asks the processor to fetch row `row` of `codes` soon.
#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch_row(codes: &[i8], stride: usize, row: u32) {
    prefetch(row_of(codes, stride, row));
}

/// Asks the processor to fetch `items` soon. A hint: no effect on results, and none outside the slice.
#[inline]
pub(crate) fn prefetch<T>(items: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE_BYTES: usize = 64;
        for line in items.chunks((LINE_BYTES / size_of::<T>()).max(1)) {
            // SAFETY: `line` is a live, non-empty slice, so its pointer is valid; a prefetch reads nothing into the program.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = items;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_i8(a: &[i8], b: &[i8]) {
        let expected: i32 = a.iter().zip(b).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum();
        let rows: Vec<i8> = [b, a, b].concat();
        let self_dot: i32 = a.iter().map(|&x| i32::from(x) * i32::from(x)).sum();
        for kernels in available() {
            assert_eq!(kernels.dot_i8(a, b), expected, "{}", kernels.name);
            let mut out = [0; 3];
            kernels.dot_i8_range(a, &rows, &mut out);
            assert_eq!(out, [expected, self_dot, expected], "{}", kernels.name);
            let mut out = [0; 4];
            kernels.dot_i8_rows(a, &rows, &[2, 1, 0, 1], &mut out);
            assert_eq!(out, [expected, self_dot, expected, self_dot], "{}", kernels.name);
        }
    }

    fn check_f32(a: &[f32], b: &[f32]) {
        let expected: f64 = a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
        let magnitude: f64 = a.iter().zip(b).map(|(&x, &y)| (f64::from(x) * f64::from(y)).abs()).sum();
        for kernels in available() {
            let got = f64::from(kernels.dot_f32(a, b));
            assert!((got - expected).abs() <= magnitude * 1e-5 + 1e-9, "{}: {got} for {expected}", kernels.name);
        }
    }

    fn check_fine(query: &[f32], codes: &[i8], fine: &[i8]) {
        let terms = |codes: &[i8], steps: f32| -> (f64, f64) {
            let terms = query.iter().zip(codes).map(|(&x, &y)| f64::from(x) * f64::from(y) / f64::from(steps));
            terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
        };
        let (coarse, fine_part) = (terms(codes, 1.0), terms(fine, FINE_STEPS));
        for kernels in available() {
            let got = f64::from(kernels.dot_fine(query, codes, fine));
            let (expected, size) = (coarse.0 + fine_part.0, coarse.1 + fine_part.1);
            assert!((got - expected).abs() <= size * 1e-5 + 1e-9, "{}: {got} for {expected}", kernels.name);
        }
    }

    #[test]
    fn int8_edges_do_not_saturate() {
        for length in [64, 128, 384, 768, 4096] {
            for (x, y) in [(127, 127), (-128, -128), (-128, 127), (127, -128), (0, -128), (-1, 1)] {
                check_i8(&vec![x; length], &vec![y; length]);
            }
        }
        check_i8(&[], &[]);
    }

    #[test]
    fn f32_edges() {
        for length in [0, 16, 48, 64, 80, 384] {
            check_f32(&vec![1.0; length], &vec![-1.0; length]);
            check_f32(&vec![1e-20; length], &vec![1e-20; length]);
        }
    }

    #[test]
    fn portable_is_always_there() {
        assert_eq!(available().last().map(|kernels| kernels.name), Some("portable"));
        assert_eq!(kernel_name(), available()[0].name);
    }

    proptest! {
        #[test]
        fn variants_agree_on_int8(chunks in 1usize..13, seed in any::<u64>()) {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                i8::from_le_bytes([(state >> 56).to_le_bytes()[0]])
            };
            let a: Vec<i8> = (0..chunks * CODE_ALIGN).map(|_| next()).collect();
            let b: Vec<i8> = (0..chunks * CODE_ALIGN).map(|_| next()).collect();
            check_i8(&a, &b);
            let query: Vec<f32> = b.iter().rev().map(|&x| f32::from(x) / 100.0).collect();
            check_fine(&query, &a, &b);
        }

        #[test]
        fn variants_agree_on_f32(
            pairs in (1usize..50).prop_flat_map(|n| prop::collection::vec((-1f32..1.0, -1f32..1.0), n * VECTOR_ALIGN))
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            check_f32(&a, &b);
        }
    }
}
