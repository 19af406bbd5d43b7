//! What lies between two products, over one vector register of f32 of whatever width the processor has.
//!
//! [`Simd`] is one register; the functions of [`elementwise`] and [`attention`] are written once over it; each
//! implementation compiles them with its instructions switched on and lists them as [`Routines`].

/// The functions of [`Simd`], each a line of intrinsics that the enclosing function's instructions allow.
macro_rules! lanes {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty { $($body:tt)* })*) => {
        $(
            #[inline(always)]
            unsafe fn $name($($argument: $type),*) -> $result {
                // SAFETY: the caller has the instructions, and the places behind pointers (see `Simd`).
                #[allow(unused_unsafe, reason = "the portable lanes need no intrinsic")]
                unsafe { $($body)* }
            }
        )*
    };
}

/// Compiles the shared functions with instructions switched on and lists them; attention takes `$queries` queries at a time.
macro_rules! routines {
    ($simd:ty, queries $queries:literal $(, #[$enable:meta])?) => {
        pub(in crate::cpu) const ROUTINES: $crate::cpu::simd::Routines = $crate::cpu::simd::Routines {
            add_norm,
            activate,
            attend,
            accumulate,
        };

        $(#[$enable])?
        unsafe fn add_norm(row: *mut f32, addend: *const f32, norm: &$crate::cpu::simd::Norm<'_>) {
            // SAFETY: the caller's promise, passed on.
            unsafe { $crate::cpu::simd::elementwise::add_norm::<$simd>(row, addend, norm) }
        }

        $(#[$enable])?
        unsafe fn activate(row: *mut f32, width: usize, activation: $crate::load::Activation) {
            // SAFETY: the caller's promise, passed on.
            unsafe { $crate::cpu::simd::elementwise::activate::<$simd>(row, width, activation) }
        }

        $(#[$enable])?
        unsafe fn attend(head: &$crate::cpu::simd::Head, scratch: *mut f32) {
            // SAFETY: the caller's promise, passed on.
            unsafe { $crate::cpu::simd::attention::attend::<$simd, $queries>(head, scratch) }
        }

        $(#[$enable])?
        unsafe fn accumulate(sums: *mut f32, row: *const f32, width: usize) {
            // SAFETY: the caller's promise, passed on.
            unsafe { $crate::cpu::simd::elementwise::accumulate::<$simd>(sums, row, width) }
        }
    };
}

mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod elementwise;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

pub(super) use attention::{Attention, Head};
#[cfg(target_arch = "x86_64")]
pub(super) use avx2::{Avx2, ROUTINES as AVX2};
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::{Avx512, ROUTINES as AVX512};
#[cfg(target_arch = "aarch64")]
pub(super) use neon::{Neon, ROUTINES as NEON};
pub(super) use portable::{Portable, ROUTINES as PORTABLE};

use crate::load::Activation;

/// One vector register of f32.
///
/// # Safety
/// Every function needs the implementation's instructions to be available on this processor; `load` and `store` need
/// [`Simd::LANES`] values behind the pointer. No alignment is asked for.
pub(super) trait Simd {
    /// Values in a register; divides 16.
    const LANES: usize;
    /// The register.
    type V: Copy;

    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the processor can.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// To the nearest integer, for magnitudes under 2^22.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `2^n` for an integral `n` in -126..=127.
    unsafe fn power_of_two(n: Self::V) -> Self::V;
    /// The sum of all lanes, in an order that depends on the implementation alone.
    unsafe fn sum(a: Self::V) -> f32;
    /// The greatest of all lanes.
    unsafe fn greatest(a: Self::V) -> f32;
}

/// The functions of one implementation, each compiled with its instructions switched on.
///
/// # Safety
/// Calling one needs the implementation's instructions, and pointers that hold what the function of the same name in
/// [`elementwise`] or [`attention`] asks for.
#[derive(Clone, Copy)]
pub(super) struct Routines {
    /// `row = norm(row + addend) * gain + shift` over `width` values.
    pub(super) add_norm: unsafe fn(row: *mut f32, addend: *const f32, norm: &Norm<'_>),
    /// Applies the activation to `width` values in place.
    pub(super) activate: unsafe fn(row: *mut f32, width: usize, activation: Activation),
    /// Attention of one head over one text, in place of its queries.
    pub(super) attend: unsafe fn(head: &Head, scratch: *mut f32),
    /// `sums += row` over `width` values.
    pub(super) accumulate: unsafe fn(sums: *mut f32, row: *const f32, width: usize),
}

/// The parameters of one layer norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm<'a> {
    /// `[width]`, a multiple of 16.
    pub(super) gain: &'a [f32],
    /// `[width]`
    pub(super) shift: &'a [f32],
    /// Added to the variance.
    pub(super) epsilon: f32,
}
