//! One product beside plain arithmetic.

use super::super::buffer::Buffer;
use super::super::kernel::{Kernel, Precision};
use super::super::pack::{Column, PANEL, Packer};
use super::{BLOCK, Multiplier, Product, RowScale};

/// A product that was computed both ways.
pub(in crate::cpu) struct Trial {
    kernel: Kernel,
    depth: usize,
    columns: usize,
    /// `[rows][columns]` in f64.
    expected: Vec<f64>,
    /// `[rows][columns]`.
    pub(in crate::cpu) actual: Vec<f32>,
}

impl Trial {
    /// `rows` by `depth` inputs times `depth` by `columns` weights, all from `value`, which gives -1..=1 for any number.
    pub(in crate::cpu) fn new(
        kernel: Kernel,
        rows: usize,
        depth: usize,
        columns: usize,
        value: impl Fn(usize) -> f32,
    ) -> Self {
        let inputs: Vec<f32> = (0..rows * depth).map(&value).collect();
        let weights: Vec<f32> = (0..columns * depth).map(|n| value(n + 7919)).collect();
        let bias: Vec<f32> = (0..columns).map(|n| value(n + 104_729)).collect();
        let expected = (0..rows * columns)
            .map(|place| {
                let (row, column) = (place / columns, place % columns);
                let products = inputs[row * depth..][..depth].iter().zip(&weights[column * depth..][..depth]);
                f64::from(bias[column]) + products.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum::<f64>()
            })
            .collect();

        let mut packer = Packer::new(kernel.precision());
        let packed: Vec<Column<'_>> =
            (0..columns).map(|column| Some((&weights[column * depth..][..depth], bias[column]))).collect();
        let padded = depth.next_multiple_of(PANEL);
        packer.add(&packed, &(0..padded).map(|k| (k < depth).then_some(k)).collect::<Vec<_>>());
        let Ok((matrices, _)) = packer.finish() else {
            return Self { kernel, depth, columns, expected, actual: Vec::new() };
        };
        let matrix = &matrices[0];

        let multiplier = Multiplier::of(kernel);
        let tiled = rows.next_multiple_of(16);
        let stride = padded.next_multiple_of(kernel.precision().depth_step()) * kernel.precision().bytes();
        let blocks = padded.next_multiple_of(kernel.precision().depth_step()).div_ceil(BLOCK);
        let (encoded, scales) = (Buffer::new(tiled * stride), Buffer::new(tiled * blocks * size_of::<RowScale>()));
        let width = matrix.panels() * PANEL;
        let output = Buffer::new(tiled * width * 4);
        // SAFETY: the kernel's instructions are there, since it is asked for after they were seen; all places are within
        // buffers that only this thread knows.
        let all = unsafe {
            for row in 0..rows {
                // Past a row's end lies nothing: short rows are copied to be as wide as they are read.
                let mut wide = inputs[row * depth..][..depth].to_vec();
                wide.resize(padded, 0.0);
                let scales = scales.at(row * blocks * size_of::<RowScale>()).cast();
                (multiplier.encode)(wide.as_ptr(), padded, encoded.at(row * stride), scales);
            }
            // In two halves, as threads do.
            let half = matrix.panels() / 2;
            for panels in [0..half, half..matrix.panels()] {
                if panels.is_empty() {
                    continue;
                }
                (multiplier.multiply)(&Product {
                    input: encoded.at(0),
                    input_stride: stride,
                    rows,
                    output: output.value(panels.start * PANEL),
                    output_stride: width,
                    rows_scale: scales.at(0).cast(),
                    ..matrix.product(panels.start, panels.len())
                });
            }
            output.values(0..rows * width)
        };
        let actual = all.chunks_exact(width).flat_map(|row| &row[..columns]).copied().collect();
        Self { kernel, depth, columns, expected, actual }
    }

    /// The greatest difference from plain arithmetic; infinite when there is no result.
    pub(in crate::cpu) fn worst_error(&self) -> f64 {
        if self.actual.len() != self.expected.len() || self.columns == 0 {
            return f64::INFINITY;
        }
        let errors =
            self.actual.iter().zip(&self.expected).map(|(&actual, expected)| (f64::from(actual) - expected).abs());
        // A NaN is never the greater one: look for it by itself.
        if self.actual.iter().any(|value| !value.is_finite()) { f64::INFINITY } else { errors.fold(0.0, f64::max) }
    }

    /// What rounding explains for values of -1..=1: one unit of the type in each factor, summed as a random walk of
    /// `depth` steps, six deviations wide.
    pub(in crate::cpu) fn tolerance(&self) -> f64 {
        let unit: f64 = match self.kernel.precision() {
            Precision::F32 => 1e-6,
            Precision::Bf16 => 1.0 / 256.0,
            Precision::F16 => 1.0 / 2048.0,
            Precision::Int8 => 1.0 / 127.0,
        };
        #[expect(clippy::cast_precision_loss, reason = "a depth is far under 2^52")]
        let steps = (self.depth as f64).sqrt();
        6.0 * unit * (steps + 1.0)
    }
}
