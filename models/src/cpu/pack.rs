//! Weight matrices in the order in which products read them.
//!
//! A matrix of `[columns][depth]` (as checkpoints store it: one row an output) becomes panels of 16 columns; within a
//! panel, groups of 4 bytes along the depth, column after column: `[panel][depth / group][16][group]`. One 64-byte line
//! is a register of columns; 16 lines are an AMX tile. All matrices lie one after another in reading order.

use std::sync::Arc;

use memmap2::{Advice, MmapMut};

use super::kernel::Precision;
use super::product::{BLOCK, ColumnScale, Product};

/// Columns of a panel.
pub(super) const PANEL: usize = 16;
/// Where huge pages begin.
const HUGE: usize = 2 << 20;

/// A packed matrix with its bias.
pub(super) struct Matrix {
    arena: Arc<Arena>,
    offset: usize,
    precision: Precision,
    /// Rows along the depth, padding counted.
    depth: usize,
    panels: usize,
    /// `[16 panels]`
    bias: Vec<f32>,
    /// `[blocks][16 panels]`; bytes only.
    scales: Vec<ColumnScale>,
}

impl Matrix {
    pub(super) fn panels(&self) -> usize {
        self.panels
    }

    /// A product by `panels` panels from `panel` on, its input, output and rows still to be set.
    pub(super) fn product(&self, panel: usize, panels: usize) -> Product<'_> {
        assert!(panel + panels <= self.panels);
        let columns = panel * PANEL..(panel + panels) * PANEL;
        Product {
            input: std::ptr::null(),
            input_stride: 0,
            rows: 0,
            weights: self.arena.bytes()[self.offset + panel * PANEL * self.depth * self.precision.bytes()..].as_ptr(),
            depth: self.depth,
            panels,
            bias: &self.bias[columns.clone()],
            output: std::ptr::null_mut(),
            output_stride: 0,
            rows_scale: std::ptr::null(),
            columns_scale: self.scales.get(columns.start..).unwrap_or_default(),
            columns_stride: self.panels * PANEL,
        }
    }
}

/// Packed bytes on huge pages where the system grants them.
pub(super) struct Arena {
    map: MmapMut,
    start: usize,
    length: usize,
}

impl Arena {
    fn new(packed: &[u8]) -> std::io::Result<Self> {
        let length = packed.len();
        let mut map = MmapMut::map_anon(length + HUGE)?;
        // Asked for before the pages are touched; a refusal costs speed only.
        #[cfg(target_os = "linux")]
        drop(map.advise(Advice::HugePage));
        let start = map.as_ptr().align_offset(HUGE).min(HUGE);
        map[start..start + length].copy_from_slice(packed);
        Ok(Self { map, start, length })
    }

    fn bytes(&self) -> &[u8] {
        &self.map[self.start..self.start + self.length]
    }
}

/// Collects matrices, then lays them out.
pub(super) struct Packer {
    precision: Precision,
    packed: Vec<u8>,
    matrices: Vec<Waiting>,
}

/// A matrix whose arena is not there yet.
struct Waiting {
    offset: usize,
    depth: usize,
    panels: usize,
    bias: Vec<f32>,
    scales: Vec<ColumnScale>,
}

/// One column of a matrix: its weights along the depth and its bias. An absent column is zero.
pub(super) type Column<'a> = Option<(&'a [f32], f32)>;

impl Packer {
    pub(super) fn new(precision: Precision) -> Self {
        Self { precision, packed: Vec::new(), matrices: Vec::new() }
    }

    /// Adds the matrix of `columns`; `depth[k]` is the place within a column's weights of what meets the input's value
    /// `k`, `None` for nothing. Matrices come out of [`Packer::finish`] in the order in which they were added.
    pub(super) fn add(&mut self, columns: &[Column<'_>], depth: &[Option<usize>]) {
        let group = self.precision.group();
        let padded = depth.len().next_multiple_of(self.precision.depth_step());
        let panels = columns.len().div_ceil(PANEL);
        let offset = self.packed.len();
        let width = panels * PANEL;
        let mut bias: Vec<f32> = columns.iter().map(|column| column.map_or(0.0, |(_, bias)| bias)).collect();
        bias.resize(width, 0.0);
        let at = |column: usize, k: usize| -> f32 {
            let place = || depth.get(k).copied().flatten();
            columns.get(column).copied().flatten().and_then(|(weights, _)| place().map(|k| weights[k])).unwrap_or(0.0)
        };
        let mut scales = Vec::new();
        if self.precision == Precision::Int8 {
            for block in (0..padded).step_by(BLOCK) {
                for column in 0..width {
                    let of_block = (block..padded.min(block + BLOCK)).map(|k| at(column, k));
                    let greatest = of_block.clone().fold(0.0_f32, |most, weight| most.max(weight.abs()));
                    // Zeros stay zero whatever the step.
                    let step = if greatest > 0.0 { greatest / 127.0 } else { 1.0 };
                    let sum = of_block.map(|weight| f32::from(to_int8(weight, step))).sum::<f32>() * step;
                    scales.push(ColumnScale { step, sum });
                }
            }
        }
        for panel in 0..panels {
            for first in (0..padded).step_by(group) {
                for column in panel * PANEL..(panel + 1) * PANEL {
                    for k in first..first + group {
                        let weight = at(column, k);
                        match self.precision {
                            Precision::F32 => self.packed.extend(weight.to_ne_bytes()),
                            Precision::Bf16 => self.packed.extend(to_bf16(weight).to_ne_bytes()),
                            Precision::Int8 => {
                                let step = scales[k / BLOCK * width + column].step;
                                self.packed.extend(to_int8(weight, step).to_ne_bytes());
                            }
                            Precision::F16 => unreachable!("no kernel multiplies it"),
                        }
                    }
                }
            }
        }
        self.matrices.push(Waiting { offset, depth: padded, panels, bias, scales });
    }

    /// The matrices in their order, and the bytes that they take.
    pub(super) fn finish(self) -> std::io::Result<(Vec<Matrix>, usize)> {
        let arena = Arc::new(Arena::new(&self.packed)?);
        let precision = self.precision;
        let matrices = self
            .matrices
            .into_iter()
            .map(|Waiting { offset, depth, panels, bias, scales }| Matrix {
                arena: Arc::clone(&arena),
                offset,
                precision,
                depth,
                panels,
                bias,
                scales,
            })
            .collect();
        Ok((matrices, self.packed.len()))
    }
}

/// The nearest bfloat16, ties to even; NaN stays NaN.
pub(super) fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let high = (bits >> 16) as u16;
    if value.is_nan() {
        return high | 0x40;
    }
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    (rounded >> 16) as u16
}

/// The nearest of 254 steps about zero, for weights of at most 127 steps.
#[expect(clippy::cast_possible_truncation, reason = "-127..=127 by the step")]
fn to_int8(weight: f32, step: f32) -> i8 {
    (weight / step).round() as i8
}
