//! Rows times packed weights.
//!
//! A weight matrix lies in panels of 16 columns (see [`super::pack`]); a product takes two registers of columns and a
//! block of rows at a time, adds up over the whole depth in registers, and finishes with scale and bias. The order of
//! the sums depends on the depth alone: a row's result does not change with the rows beside it.
//!
//! [`Dot`] is what one kind of instruction does to one register; [`tile`] is written once over it. AMX multiplies whole
//! tiles and has its own loop.

/// Makes a struct's `dot` functions, each a line of intrinsics.
macro_rules! dot {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty { $($body:tt)* })*) => {
        $(
            #[inline(always)]
            unsafe fn $name($($argument: $type),*) -> $result {
                // SAFETY: the caller has the instructions, and the places behind pointers (see `Dot`).
                #[allow(unused_unsafe, reason = "some lines need no intrinsic")]
                unsafe { $($body)* }
            }
        )*
    };
}

/// Compiles [`tile`] with instructions switched on: `multiply`, for rows in blocks of at most `$rows`, `$pair` registers
/// of columns at a time (and `$single` for a last lone panel).
macro_rules! multiply {
    ($name:ident, $dot:ty, rows $rows:literal [$($block:literal)*], columns $pair:literal $single:literal
     $(, #[$enable:meta])?) => {
        $(#[$enable])?
        pub(in crate::cpu) unsafe fn $name(product: &$crate::cpu::product::Product<'_>) {
            const PANELS: usize = $pair * <$dot as $crate::cpu::product::Dot>::LANES / 16;
            let blocks = product.rows.div_ceil($rows);
            let mut panel = 0;
            while panel < product.panels {
                let whole = panel + PANELS <= product.panels;
                let mut row = 0;
                for block in 0..blocks {
                    // Blocks of like size: 16 rows are 8 and 8, not 12 and 4.
                    let rows = (product.rows - row).div_ceil(blocks - block);
                    // SAFETY: the caller's promise; `row + rows <= product.rows` and the panels exist.
                    unsafe {
                        match rows {
                            $($block if whole => {
                                $crate::cpu::product::tile::<$dot, $block, $pair>(product, row, panel);
                            }
                            $block => $crate::cpu::product::tile::<$dot, $block, $single>(product, row, panel),)*
                            _ => unreachable!("a block has 1 to {} rows", $rows),
                        }
                    }
                    row += rows;
                }
                panel += if whole { PANELS } else { 1 };
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod bf16;
mod f32;
#[cfg(target_arch = "x86_64")]
mod int8;
mod trial;

use super::kernel::Kernel;
use super::simd::Simd;
pub(super) use trial::Trial;

/// `output[rows][16 panels] = input[rows][depth] * weights[depth][16 panels] + bias`.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only x86-64 has kernels of bytes"))]
pub(super) struct Product<'a> {
    /// Rows of the weights' element type, `depth` values and then zeros up to the type's group.
    pub(super) input: *const u8,
    /// Bytes from one row to the next.
    pub(super) input_stride: usize,
    /// At least 1. AMX reads, and writes, up to the next multiple of 16.
    pub(super) rows: usize,
    /// The first panel that is multiplied by.
    pub(super) weights: *const u8,
    /// Rows of a panel as it is packed.
    pub(super) depth: usize,
    pub(super) panels: usize,
    /// `[16 panels]`, added.
    pub(super) bias: &'a [f32],
    pub(super) output: *mut f32,
    /// Values from one row to the next.
    pub(super) output_stride: usize,
    /// `[rows][blocks]` of [`BLOCK`] values; bytes only.
    pub(super) rows_scale: *const RowScale,
    /// `[blocks][columns_stride]` from the first panel's first column on; bytes only.
    pub(super) columns_scale: &'a [ColumnScale],
    /// Columns of the whole packed matrix.
    pub(super) columns_stride: usize,
}

/// Values along the depth that share a scale when they are held as bytes: a multiple of a tile's 64.
pub(super) const BLOCK: usize = 128;

/// A column's block of bytes `q` stands for `step * q`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct ColumnScale {
    pub(super) step: f32,
    /// The sum of the block's bytes, times `step`.
    pub(super) sum: f32,
}

/// A row's block of bytes `b` stands for `least + step * b`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct RowScale {
    pub(super) step: f32,
    pub(super) least: f32,
}

/// A product's function and its input's encoder.
#[derive(Clone, Copy)]
pub(super) struct Multiplier {
    /// # Safety
    /// The kernel's instructions, and a [`Product`] whose places are there.
    pub(super) multiply: unsafe fn(&Product<'_>),
    /// Writes a row of `width` f32 values in the input's type, and the scales of its blocks when these are bytes.
    ///
    /// # Safety
    /// The kernel's instructions; `width`, a multiple of 16, values behind `from` and places behind `to`; bytes: a place
    /// for each block behind `scales`.
    pub(super) encode: unsafe fn(from: *const f32, width: usize, to: *mut u8, scales: *mut RowScale),
}

impl Multiplier {
    /// The functions of `kernel`, which must have been detected on this processor.
    pub(super) fn of(kernel: Kernel) -> Self {
        match kernel {
            Kernel::PortableF32 => Self { multiply: f32::portable, encode: f32::encode },
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2F32 => Self { multiply: f32::avx2, encode: f32::encode },
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512F32 => Self { multiply: f32::avx512, encode: f32::encode },
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Bf16 => Self { multiply: bf16::avx512, encode: bf16::encode },
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Int8 => Self { multiply: int8::avx512, encode: int8::encode },
            #[cfg(target_arch = "x86_64")]
            Kernel::AmxBf16 => Self { multiply: amx::bf16, encode: bf16::encode },
            #[cfg(target_arch = "x86_64")]
            Kernel::AmxInt8 => Self { multiply: amx::int8, encode: int8::encode },
            #[cfg(target_arch = "aarch64")]
            Kernel::NeonF32 => Self { multiply: f32::neon, encode: f32::encode },
            #[allow(unreachable_patterns, reason = "each target lists its own kernels")]
            other => unreachable!("kernel {other} was never offered on this target"),
        }
    }
}

/// One kind of multiply-and-add over a register of columns.
///
/// # Safety
/// Every function needs the instructions; pointers hold a register of weights or one group of an input.
pub(super) trait Dot {
    /// Columns in a register; divides 16.
    const LANES: usize;
    /// Rows of the depth that one step multiplies.
    const GROUP: usize;
    /// Bytes of a weight and of an input value.
    const BYTES: usize;
    /// Rows of the depth after which sums become values.
    const FLUSH: usize;
    type Sum: Copy;
    type Register: Copy;
    /// What the sums of a register of columns need to become values.
    type Scale: Copy;
    /// The register that results leave in.
    type Out: Simd;

    /// Asks for a line of weights that is read soon. It may lie anywhere.
    #[inline(always)]
    fn prefetch(line: *const u8) {
        let _ = line;
    }

    unsafe fn zero() -> Self::Sum;
    unsafe fn weights(from: *const u8) -> Self::Register;
    unsafe fn broadcast(from: *const u8) -> Self::Register;
    unsafe fn dot(sum: Self::Sum, input: Self::Register, weights: Self::Register) -> Self::Sum;
    /// Of the columns from `column` on and one stretch of [`Dot::FLUSH`].
    unsafe fn scale(product: &Product<'_>, stretch: usize, column: usize) -> Self::Scale;
    /// `before` and the sums of one stretch as values; `row` counts from the product's own.
    unsafe fn finish(
        before: <Self::Out as Simd>::V,
        sum: Self::Sum,
        scale: Self::Scale,
        product: &Product<'_>,
        stretch: usize,
        row: usize,
    ) -> <Self::Out as Simd>::V;
}

/// `ROWS` rows from `row` times `REGISTERS` registers of columns from `panel` on.
///
/// # Safety
/// The instructions of `D`; the product's places are there.
#[inline(always)]
unsafe fn tile<D: Dot, const ROWS: usize, const REGISTERS: usize>(product: &Product<'_>, row: usize, panel: usize) {
    let step = 16 * D::GROUP * D::BYTES;
    let panel_bytes = product.depth * 16 * D::BYTES;
    // SAFETY: groups up to `depth` are packed for each panel and there in each row; results go to rows and columns that
    // the product has.
    unsafe {
        let input = product.input.add(row * product.input_stride);
        let weights = product.weights.add(panel * panel_bytes);
        let place = |register: usize| {
            let column = register * D::LANES;
            column / 16 * panel_bytes + column % 16 * D::GROUP * D::BYTES
        };
        // The first rows that meet a panel fetch the panels after it: the processor's own prefetching stops at each page.
        let ahead = if row == 0 { (REGISTERS * D::LANES).div_ceil(16) * panel_bytes } else { 0 };
        for (stretch, first) in (0..product.depth).step_by(D::FLUSH).enumerate() {
            let mut sums = [[D::zero(); REGISTERS]; ROWS];
            for group in first / D::GROUP..first.saturating_add(D::FLUSH).min(product.depth) / D::GROUP {
                let at = weights.add(group * step);
                let columns: [D::Register; REGISTERS] = std::array::from_fn(|register| {
                    D::prefetch(at.wrapping_add(ahead + place(register)));
                    D::weights(at.add(place(register)))
                });
                for (index, sums) in sums.iter_mut().enumerate() {
                    let value = D::broadcast(input.add(index * product.input_stride + group * D::GROUP * D::BYTES));
                    for (sum, &columns) in sums.iter_mut().zip(&columns) {
                        *sum = D::dot(*sum, value, columns);
                    }
                }
            }
            for register in 0..REGISTERS {
                let column = panel * 16 + register * D::LANES;
                let scale = D::scale(product, stretch, column);
                for (index, sums) in sums.iter().enumerate() {
                    let output = product.output.add((row + index) * product.output_stride + column);
                    let before = if first == 0 { product.bias.as_ptr().add(column) } else { output };
                    let before = D::Out::load(before);
                    D::Out::store(output, D::finish(before, sums[register], scale, product, stretch, row + index));
                }
            }
        }
    }
}

/// Whether `kernel` multiplies a small matrix as plain arithmetic does: a check that an instruction which the processor
/// claims to have does what is expected of it.
pub(super) fn agrees(kernel: Kernel) -> bool {
    // Two whole tiles and a part of a third; four panels and three, so that each way of walking them is taken.
    let trial = Trial::new(kernel, 37, 150, 7 * 16 - 5, |n| {
        f32::from(u8::try_from(n * 37 % 255).unwrap_or_default()) / 127.5 - 1.0
    });
    trial.worst_error() < trial.tolerance()
}
