//! Fitment's own encoder on a processor: weights packed once for the instructions at hand, the whole forward fused.
//!
//! What a text costs is reading the weights and multiplying by them; everything here serves that:
//! - [`kernel`] looks at the processor and chooses instructions and precision,
//! - [`pack`] lays weights out in the order in which they are read, on huge pages where the system grants them,
//! - [`product`] multiplies, [`simd`] does what lies between two products,
//! - [`forward`] is the transformer as a list of steps over ragged batches (no padding, no mask),
//! - [`team`] shares the steps' pieces among threads without ever waiting for a thread that is not running.
//!
//! A vector does not depend on its company, on the number of threads or on who computed which piece: each value is
//! summed in one fixed order. Shapes that cannot be packed go to candle ([`crate::encoder`]), which is also the oracle.
//!
//! All `unsafe` code of the crate is in this module tree: [`simd`] and [`product`] (intrinsics and tiles over raw rows),
//! [`buffer`] (rows that several threads write side by side) and [`forward`], which hands them their places.

#![expect(
    unsafe_code,
    reason = "vector instructions, and buffers of which threads write disjoint rows; each block is argued"
)]
#![expect(
    clippy::inline_always,
    reason = "code that is written once for all instructions must end up within the function that switches them on"
)]

mod buffer;
mod encoder;
mod forward;
mod kernel;
#[cfg(test)]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers in a test")]
mod oracle;
mod pack;
mod parameters;
mod product;
mod simd;
mod sync;
mod team;
#[cfg(test)]
#[path = "cpu/team/model.rs"]
mod team_model;
#[cfg(test)]
#[path = "cpu/team/tests.rs"]
mod team_tests;
mod threads;

pub(crate) use encoder::{CpuEncoder, Refusal};
pub use kernel::{Kernel, Precision};
pub use threads::available_threads;
pub(crate) use threads::{PinFailed, Threads};
