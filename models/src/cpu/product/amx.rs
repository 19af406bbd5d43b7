//! Advanced Matrix Extensions: tiles of 16 rows of 64 bytes (Intel 64 and IA-32 Architectures SDM, volume 1, chapter 18).
//!
//! A packed panel is a column of `B` tiles as it lies; input rows are `A` tiles by their stride. The tile instructions
//! are written as assembly, since their intrinsics are not in stable Rust. Each product configures the tiles and gives
//! them back: a thread that is not multiplying has no tile state for the system to save.

use std::arch::asm;
use std::arch::x86_64::{_mm512_add_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_storeu_ps};

use super::int8::Columns;
use super::{BLOCK, Product};

/// Rows and columns of f32 or i32 in a tile.
const SIDE: usize = 16;

/// Palette 1: eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration([u8; 64]);

static CONFIGURATION: Configuration = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = 16;
        tile += 1;
    }
    Configuration(bytes)
};

/// Makes the functions that multiply one block of tiles over the whole depth, 64 bytes of it a step. `input` is the first `A` tile, `stride` its rows' bytes, `weights` the first `B` tile, `panel` the bytes from
/// one panel to the next.
macro_rules! square {
    ($square:ident, $dot:literal) => {
        /// Two by two tiles: 32 rows, 2 panels.
        #[inline(always)]
        unsafe fn $square(block: &Block) {
            // SAFETY: the tiles are configured; the block's places are there. All eight tile registers are named.
            unsafe {
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{a} + {stride}*1]",
                    "tileloadd tmm6, [{b} + {side}*1]",
                    "tileloadd tmm5, [{below} + {stride}*1]",
                    "tileloadd tmm7, [{next} + {side}*1]",
                    concat!($dot, " tmm0, tmm4, tmm6"),
                    concat!($dot, " tmm1, tmm4, tmm7"),
                    concat!($dot, " tmm2, tmm5, tmm6"),
                    concat!($dot, " tmm3, tmm5, tmm7"),
                    "add {a}, 64", "add {below}, 64", "add {b}, 1024", "add {next}, 1024",
                    "dec {steps}",
                    "jnz 2b",
                    "tilestored [{c} + {out}*1], tmm0",
                    "tilestored [{c} + {out}*1 + 64], tmm1",
                    "tilestored [{d} + {out}*1], tmm2",
                    "tilestored [{d} + {out}*1 + 64], tmm3",
                    a = inout(reg) block.input => _,
                    below = inout(reg) block.input.add(SIDE * block.stride) => _,
                    b = inout(reg) block.weights => _,
                    next = inout(reg) block.weights.add(block.panel) => _,
                    steps = inout(reg) block.steps => _,
                    stride = in(reg) block.stride,
                    side = in(reg) 64_usize,
                    c = in(reg) block.output,
                    d = in(reg) block.output.add(SIDE * block.output_stride),
                    out = in(reg) block.output_stride * 4,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

macro_rules! wide {
    ($wide:ident, $dot:literal) => {
        /// One by four tiles: 16 rows, 4 panels. Asks for the lines `ahead` of those that it reads: with so few rows the
        /// weights' way from memory is what takes the time, and the processor's own prefetching stops at each page.
        #[inline(always)]
        unsafe fn $wide(block: &Block) {
            // SAFETY: as above.
            unsafe {
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{a} + {stride}*1]",
                    "tileloadd tmm5, [{b0} + {side}*1]",
                    concat!($dot, " tmm0, tmm4, tmm5"),
                    "tileloadd tmm6, [{b1} + {side}*1]",
                    concat!($dot, " tmm1, tmm4, tmm6"),
                    "tileloadd tmm7, [{b2} + {side}*1]",
                    concat!($dot, " tmm2, tmm4, tmm7"),
                    "tileloadd tmm5, [{b3} + {side}*1]",
                    concat!($dot, " tmm3, tmm4, tmm5"),
                    ".irp offset,0,64,128,192,256,320,384,448,512,576,640,704,768,832,896,960", "prefetcht1 [{b0} + {ahead}*1 + \\offset]", ".endr",
                    ".irp offset,0,64,128,192,256,320,384,448,512,576,640,704,768,832,896,960", "prefetcht1 [{b1} + {ahead}*1 + \\offset]", ".endr",
                    ".irp offset,0,64,128,192,256,320,384,448,512,576,640,704,768,832,896,960", "prefetcht1 [{b2} + {ahead}*1 + \\offset]", ".endr",
                    ".irp offset,0,64,128,192,256,320,384,448,512,576,640,704,768,832,896,960", "prefetcht1 [{b3} + {ahead}*1 + \\offset]", ".endr",
                    "add {a}, 64",
                    "add {b0}, 1024", "add {b1}, 1024", "add {b2}, 1024", "add {b3}, 1024",
                    "dec {steps}",
                    "jnz 2b",
                    "tilestored [{c} + {out}*1], tmm0",
                    "tilestored [{c} + {out}*1 + 64], tmm1",
                    "tilestored [{c} + {out}*1 + 128], tmm2",
                    "tilestored [{c} + {out}*1 + 192], tmm3",
                    a = inout(reg) block.input => _,
                    b0 = inout(reg) block.weights => _,
                    b1 = inout(reg) block.weights.add(block.panel) => _,
                    b2 = inout(reg) block.weights.add(2 * block.panel) => _,
                    b3 = inout(reg) block.weights.add(3 * block.panel) => _,
                    steps = inout(reg) block.steps => _,
                    stride = in(reg) block.stride,
                    side = in(reg) 64_usize,
                    ahead = in(reg) block.ahead,
                    c = in(reg) block.output,
                    out = in(reg) block.output_stride * 4,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

macro_rules! lone {
    ($lone:ident, $dot:literal) => {
        /// One tile: 16 rows, 1 panel.
        #[inline(always)]
        unsafe fn $lone(block: &Block) {
            // SAFETY: as above.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "2:",
                    "tileloadd tmm4, [{a} + {stride}*1]",
                    "tileloadd tmm5, [{b} + {side}*1]",
                    concat!($dot, " tmm0, tmm4, tmm5"),
                    "add {a}, 64", "add {b}, 1024",
                    "dec {steps}",
                    "jnz 2b",
                    "tilestored [{c} + {out}*1], tmm0",
                    a = inout(reg) block.input => _,
                    b = inout(reg) block.weights => _,
                    steps = inout(reg) block.steps => _,
                    stride = in(reg) block.stride,
                    side = in(reg) 64_usize,
                    c = in(reg) block.output,
                    out = in(reg) block.output_stride * 4,
                    out("tmm0") _, out("tmm4") _, out("tmm5") _,
                    options(nostack),
                );
            }
        }
    };
}

/// Where a block of tiles reads and writes.
#[derive(Clone, Copy)]
struct Block {
    input: *const u8,
    stride: usize,
    weights: *const u8,
    panel: usize,
    /// Tiles along the depth, at least 1.
    steps: usize,
    output: *mut f32,
    /// Values from one row to the next.
    output_stride: usize,
    /// Bytes from a weight to the one that is fetched ahead with it.
    ahead: usize,
}

square!(square_bf16, "tdpbf16ps");
wide!(wide_bf16, "tdpbf16ps");
wide!(wide_int8, "tdpbusd");
lone!(lone_bf16, "tdpbf16ps");
lone!(lone_int8, "tdpbusd");

/// A block of tiles of `product` from `row` and `panel` on, for elements of `bytes`.
///
/// # Safety
/// `row` and `panel` are within the product, whose places reach to the next multiple of 16 rows.
unsafe fn block_at(product: &Product<'_>, row: usize, panel: usize, bytes: usize) -> Block {
    let panel_bytes = product.depth * SIDE * bytes;
    // SAFETY: as promised by the caller.
    unsafe {
        Block {
            input: product.input.add(row * product.input_stride),
            stride: product.input_stride,
            weights: product.weights.add(panel * panel_bytes),
            panel: panel_bytes,
            steps: product.depth * bytes / 64,
            output: product.output.add(row * product.output_stride + panel * SIDE),
            output_stride: product.output_stride,
            // The next four panels; rows after the first tile's find them fetched.
            ahead: if row == 0 { 4 * panel_bytes } else { 0 },
        }
    }
}

/// Walks the tiles of a bfloat16 product in blocks of four, two rows of tiles together where there are two.
///
/// # Safety
/// The tiles are configured; the product's places are there.
unsafe fn walk(product: &Product<'_>) {
    let mut panel = 0;
    while panel < product.panels {
        let panels = match product.panels - panel {
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        let mut row = 0;
        while row < product.rows {
            let pair = row + SIDE < product.rows;
            // SAFETY: the tiles are configured, the blocks lie within the product.
            unsafe {
                let block = |row, panel| block_at(product, row, panel, 2);
                match (pair, panels) {
                    (true, 4) => {
                        square_bf16(&block(row, panel));
                        square_bf16(&block(row, panel + 2));
                    }
                    (true, 2) => square_bf16(&block(row, panel)),
                    (false, 4) => wide_bf16(&block(row, panel)),
                    (pair, panels) => {
                        for panel in panel..panel + panels {
                            lone_bf16(&block(row, panel));
                            if pair {
                                lone_bf16(&block(row + SIDE, panel));
                            }
                        }
                    }
                }
            }
            row += if pair { 2 * SIDE } else { SIDE };
        }
        panel += panels;
    }
}

/// bfloat16 inputs and weights, depth a multiple of 32.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn bf16(product: &Product<'_>) {
    debug_assert!(product.depth.is_multiple_of(32) && product.depth > 0);
    // SAFETY: the kernel was detected: the system lets this process use tiles.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack)) };
    // SAFETY: the tiles are configured; the places are the caller's promise.
    unsafe { walk(product) };
    // SAFETY: as above.
    unsafe { asm!("tilerelease", options(nostack)) };
    for row in 0..product.rows {
        for column in (0..product.panels * SIDE).step_by(SIDE) {
            // SAFETY: the product has these rows and columns, and a bias for each column.
            unsafe {
                let place = product.output.add(row * product.output_stride + column);
                let bias = _mm512_loadu_ps(product.bias.as_ptr().add(column));
                _mm512_storeu_ps(place, _mm512_add_ps(_mm512_loadu_ps(place), bias));
            }
        }
    }
}

/// Unsigned bytes times signed ones, depth a multiple of 64. Sums become values after each block of the depth.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn int8(product: &Product<'_>) {
    const STEPS: usize = BLOCK / 64;
    const WIDE: usize = 4 * SIDE;
    debug_assert!(product.depth.is_multiple_of(64) && product.depth > 0);
    // SAFETY: the kernel was detected: the system lets this process use tiles.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack)) };
    // The sums of 16 rows and four panels, or of 32 and two: whatever a block of tiles leaves.
    let mut sums = [0.0_f32; 2 * SIDE * WIDE];
    let mut panel = 0;
    while panel < product.panels {
        let mut row = 0;
        let panels = if product.panels - panel >= 4 { 4 } else { 1 };
        while row < product.rows {
            // SAFETY: the tiles are configured; the blocks lie within the product, their sums within `sums`; rows that
            // are read from it are the product's own.
            unsafe {
                let whole = block_at(product, row, panel, 1);
                for (stretch, first) in (0..whole.steps).step_by(STEPS).enumerate() {
                    let block = Block {
                        input: whole.input.add(first * 64),
                        weights: whole.weights.add(first * 1024),
                        steps: STEPS.min(whole.steps - first),
                        output: sums.as_mut_ptr(),
                        output_stride: WIDE,
                        ..whole
                    };
                    if panels == 4 {
                        wide_int8(&block);
                    } else {
                        lone_int8(&block);
                    }
                    for tile_column in (0..panels * SIDE).step_by(SIDE) {
                        let column = panel * SIDE + tile_column;
                        let columns = Columns::of(product, stretch, column);
                        for tile_row in 0..SIDE.min(product.rows - row) {
                            let sum = _mm512_loadu_si512(sums.as_ptr().add(tile_row * WIDE + tile_column).cast());
                            let row = row + tile_row;
                            let place = product.output.add(row * product.output_stride + column);
                            let before = if stretch == 0 { product.bias.as_ptr().add(column) } else { place };
                            let before = _mm512_loadu_ps(before);
                            _mm512_storeu_ps(place, columns.add(before, sum, product, stretch, row));
                        }
                    }
                }
            }
            row += SIDE;
        }
        panel += panels;
    }
    // SAFETY: as above.
    unsafe { asm!("tilerelease", options(nostack)) };
}
