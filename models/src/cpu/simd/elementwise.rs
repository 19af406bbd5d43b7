//! Functions of single values and of rows.

use super::{Norm, Simd};
use crate::load::Activation;

/// Beyond this the error function's part of GELU is flat in f32.
const GELU_EDGE: f32 = 5.4;

/// `(Phi(x) - 1/2) / x` as a polynomial in `t = 2 (x / 5.4)^2 - 1`, lowest power first; Phi is the normal distribution's
/// cumulative function. Fitted by least squares on 4,000 Chebyshev nodes, weighted for `x Phi(x)`.
const PHI: [f32; 15] = [
    1.309_281_1e-1,
    -6.532_805e-2,
    4.849_948_4e-2,
    -3.920_714_6e-2,
    3.211_849_6e-2,
    -2.574_357_6e-2,
    1.963_286_5e-2,
    -1.397_392_5e-2,
    9.688_595e-3,
    -6.696_551e-3,
    3.600_914_5e-3,
    -1.202_249_3e-3,
    9.192_441_4e-4,
    -1.023_270_4e-3,
    3.796_396_5e-4,
];

/// `e^x`, relative error under 3e-7 for -87..=88; clamped outside. Cody and Waite's reduction, then a Taylor
/// polynomial on half an octave.
#[inline(always)]
pub(in crate::cpu) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller has the instructions of `S`.
    unsafe {
        let x = S::min(S::max(x, S::splat(-87.0)), S::splat(88.0));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let minus_n = S::sub(S::splat(0.0), n);
        let r = S::fma(minus_n, S::splat(0.693_359_4), x);
        let r = S::fma(minus_n, S::splat(-2.121_944_4e-4), r);
        let mut p = S::splat(1.0 / 720.0);
        for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = S::fma(p, r, S::splat(c));
        }
        S::mul(p, S::power_of_two(n))
    }
}

/// GELU with the exact error function: `x Phi(x)`, absolute error under 1e-6 for |x| <= 8 and under 2e-7 |x| beyond.
#[inline(always)]
pub(in crate::cpu) unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller has the instructions of `S`.
    unsafe {
        let c = S::min(S::max(x, S::splat(-GELU_EDGE)), S::splat(GELU_EDGE));
        let t = S::fma(S::mul(c, c), S::splat(2.0 / (GELU_EDGE * GELU_EDGE)), S::splat(-1.0));
        let mut p = S::splat(PHI[14]);
        let mut power = 14;
        while power > 0 {
            power -= 1;
            p = S::fma(p, t, S::splat(PHI[power]));
        }
        S::mul(x, S::fma(c, p, S::splat(0.5)))
    }
}

/// GELU with the tanh approximation, `x / (1 + e^(-2u))` with `u = sqrt(2/pi) (x + 0.044715 x^3)`; relative error under
/// 1e-6.
#[inline(always)]
pub(in crate::cpu) unsafe fn gelu_tanh<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller has the instructions of `S`.
    unsafe {
        let cubic = S::fma(S::mul(x, x), S::splat(0.044_715), S::splat(1.0));
        let minus_two_u = S::mul(S::mul(x, S::splat(-1.595_769)), cubic);
        S::div(x, S::add(S::splat(1.0), exp::<S>(minus_two_u)))
    }
}

/// Applies `activation` to `row[..width]`; `width` is a multiple of 16.
#[inline(always)]
pub(super) unsafe fn activate<S: Simd>(row: *mut f32, width: usize, activation: Activation) {
    let mut at = 0;
    while at < width {
        // SAFETY: `at + LANES <= width`, since LANES divides 16; the caller holds `width` values.
        unsafe {
            let x = S::load(row.add(at));
            let y = match activation {
                Activation::Gelu => gelu::<S>(x),
                Activation::GeluTanh => gelu_tanh::<S>(x),
                Activation::Relu => S::max(x, S::splat(0.0)),
            };
            S::store(row.add(at), y);
        }
        at += S::LANES;
    }
}

/// `row = (x - mean(x)) / sqrt(var(x) + epsilon) * gain + shift` with `x = row + addend`; all of `norm.gain.len()`
/// values, a multiple of 16. Mean and variance in two passes.
#[inline(always)]
pub(super) unsafe fn add_norm<S: Simd>(row: *mut f32, addend: *const f32, norm: &Norm<'_>) {
    let width = norm.gain.len();
    debug_assert!(width.is_multiple_of(16) && norm.shift.len() == width);
    // SAFETY: the caller holds `width` values behind both pointers, and LANES divides `width`.
    unsafe {
        let mut sum = S::splat(0.0);
        let mut at = 0;
        while at < width {
            let x = S::add(S::load(row.add(at)), S::load(addend.add(at)));
            S::store(row.add(at), x);
            sum = S::add(sum, x);
            at += S::LANES;
        }
        #[expect(clippy::cast_precision_loss, reason = "a hidden size is far under 2^24")]
        let count = width as f32;
        let mean = S::splat(S::sum(sum) / count);
        let mut squares = S::splat(0.0);
        at = 0;
        while at < width {
            let d = S::sub(S::load(row.add(at)), mean);
            squares = S::fma(d, d, squares);
            at += S::LANES;
        }
        let scale = S::splat(1.0 / (S::sum(squares) / count + norm.epsilon).sqrt());
        at = 0;
        while at < width {
            let d = S::mul(S::sub(S::load(row.add(at)), mean), scale);
            let y = S::fma(d, S::load(norm.gain.as_ptr().add(at)), S::load(norm.shift.as_ptr().add(at)));
            S::store(row.add(at), y);
            at += S::LANES;
        }
    }
}

/// `sums += row`; `width` is a multiple of 16.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd>(sums: *mut f32, row: *const f32, width: usize) {
    let mut at = 0;
    while at < width {
        // SAFETY: as in `activate`.
        unsafe { S::store(sums.add(at), S::add(S::load(sums.add(at)), S::load(row.add(at)))) };
        at += S::LANES;
    }
}
