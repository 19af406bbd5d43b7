//! f32 values, on any processor.

#[cfg(target_arch = "aarch64")]
use super::super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::super::simd::{Avx2, Avx512};
use super::super::simd::{Portable, Simd};
use super::{Dot, Product, RowScale};

/// Multiplies and adds with the registers of `S`.
struct Float<S>(S);

impl<S: Simd> Dot for Float<S> {
    const LANES: usize = S::LANES;
    const GROUP: usize = 1;
    const BYTES: usize = 4;
    const FLUSH: usize = usize::MAX;
    type Sum = S::V;
    type Register = S::V;
    type Scale = ();
    type Out = S;

    #[inline(always)]
    fn prefetch(line: *const u8) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 processor has the instruction, and it faults nowhere.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(line.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }

    dot! {
        zero() -> S::V { S::splat(0.0) }
        weights(from: *const u8) -> S::V { S::load(from.cast()) }
        broadcast(from: *const u8) -> S::V { S::splat(from.cast::<f32>().read_unaligned()) }
        dot(sum: S::V, input: S::V, weights: S::V) -> S::V { S::fma(input, weights, sum) }
        scale(_product: &Product<'_>, _stretch: usize, _column: usize) -> () {}
        finish(
            before: S::V, sum: S::V, _scale: (), _product: &Product<'_>, _stretch: usize, _row: usize
        ) -> S::V { S::add(before, sum) }
    }
}

multiply!(portable, Float<Portable>, rows 4 [1 2 3 4], columns 2 2);
#[cfg(target_arch = "x86_64")]
multiply!(avx2, Float<Avx2>, rows 6 [1 2 3 4 5 6], columns 2 2, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
multiply!(avx512, Float<Avx512>, rows 12 [1 2 3 4 5 6 7 8 9 10 11 12], columns 2 1, #[target_feature(enable = "avx512f")]);
#[cfg(target_arch = "aarch64")]
multiply!(neon, Float<Neon>, rows 6 [1 2 3 4 5 6], columns 4 4, #[target_feature(enable = "neon")]);

/// As they are.
pub(super) unsafe fn encode(from: *const f32, width: usize, to: *mut u8, _scales: *mut RowScale) {
    // SAFETY: the caller holds `width` values and places; they are of different buffers.
    unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), to, width * 4) };
}
