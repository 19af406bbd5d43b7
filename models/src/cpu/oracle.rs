//! Every kernel against plain arithmetic in f64, over shapes that no model has.

use proptest::prelude::*;

use super::kernel::Kernel;
use super::parameters::NormParameters;
use super::product::Trial;
use super::simd::{Attention, Head, Norm, Routines};
use crate::load::Activation;

/// A number of -1..=1 for any other.
fn noise(n: usize) -> f32 {
    let bits = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    bits as f32 / (1 << 23) as f32 - 1.0
}

fn each_kernel() -> impl Iterator<Item = (Kernel, Routines)> {
    Kernel::available().iter().map(|kernel| (*kernel, kernel.routines()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn products_of_any_shape(rows in 1_usize..70, depth in 1_usize..300, columns in 1_usize..130, seed in 0_usize..1000) {
        for (kernel, _) in each_kernel() {
            let trial = Trial::new(kernel, rows, depth, columns, |n| noise(n + seed * 1_000_003));
            let error = trial.worst_error();
            prop_assert!(error < trial.tolerance(), "{kernel}: {error} over {}", trial.tolerance());
        }
    }

    /// A row's result is the same to the bit in any company.
    #[test]
    fn products_of_a_row_do_not_depend_on_the_others(rows in 2_usize..70, depth in 1_usize..200) {
        for (kernel, _) in each_kernel() {
            let columns = 48;
            let all = Trial::new(kernel, rows, depth, columns, noise);
            // The first row alone: inputs begin with it, weights and bias are numbered on their own.
            let alone = Trial::new(kernel, 1, depth, columns, noise);
            prop_assert_eq!(&all.actual[..columns], &alone.actual[..], "{}", kernel);
        }
    }

    #[test]
    fn attention_of_any_shape(tokens in 1_usize..70, blocks in 1_usize..6, biased: bool, loud in 1_u8..20) {
        let size = 16 * blocks;
        let stride = 3 * size;
        let value = |n: usize| noise(n) * f32::from(loud);
        let rows: Vec<f32> = (0..tokens * stride).map(value).collect();
        let bias: Vec<f32> = (0..2 * tokens + 16).map(|n| noise(n + 77)).collect();
        // Scores round in f32, and softmax turns what they lose into relative errors.
        let loud = f64::from(loud);
        let tolerance = loud * (1e-6 + 3e-7 * size as f64 * loud * loud);
        let expected = attention(&rows, tokens, size, biased.then_some(&bias[..]));
        for (kernel, routines) in each_kernel() {
            let mut rows = rows.clone();
            let mut scratch = vec![0.0; Attention::scratch(tokens, size)];
            let head = Head {
                rows: rows.as_mut_ptr(),
                stride,
                tokens,
                size,
                bias: if biased { bias[tokens..].as_ptr() } else { std::ptr::null() },
            };
            // SAFETY: the kernel is available; rows, bias and scratch are as large as is asked for.
            unsafe { (routines.attend)(&head, scratch.as_mut_ptr()) };
            for token in 0..tokens {
                for d in 0..size {
                    let (actual, expected) = (f64::from(rows[token * stride + d]), expected[token * size + d]);
                    prop_assert!((actual - expected).abs() < tolerance, "{kernel}: {actual} {expected}");
                }
            }
        }
    }

    #[test]
    fn norms_of_any_width(blocks in 1_usize..40, offset in -10.0_f32..10.0) {
        let width = 16 * blocks;
        let row: Vec<f32> = (0..width).map(|n| noise(n) + offset).collect();
        let addend: Vec<f32> = (0..width).map(|n| noise(n + 5000)).collect();
        let norm = NormParameters {
            gain: (0..width).map(|n| noise(n + 9000)).collect(),
            shift: (0..width).map(|n| noise(n + 12_000)).collect(),
        };
        let x: Vec<f64> = row.iter().zip(&addend).map(|(&a, &b)| f64::from(a) + f64::from(b)).collect();
        let mean = x.iter().sum::<f64>() / width as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        for (kernel, routines) in each_kernel() {
            let mut actual = row.clone();
            let parameters = Norm { gain: &norm.gain, shift: &norm.shift, epsilon: 1e-12 };
            // SAFETY: the kernel is available; both rows have the width.
            unsafe { (routines.add_norm)(actual.as_mut_ptr(), addend.as_ptr(), &parameters) };
            for at in 0..width {
                let expected = (x[at] - mean) / (variance + 1e-12).sqrt() * f64::from(norm.gain[at])
                    + f64::from(norm.shift[at]);
                prop_assert!((f64::from(actual[at]) - expected).abs() < 1e-4, "{kernel}: {} {expected}", actual[at]);
            }
        }
    }
}

/// Softmax of scores, then the blend of the values, in f64.
fn attention(rows: &[f32], tokens: usize, size: usize, bias: Option<&[f32]>) -> Vec<f64> {
    let part = |token: usize, part: usize, d: usize| f64::from(rows[token * 3 * size + part * size + d]);
    let mut result = Vec::new();
    for query in 0..tokens {
        let scores: Vec<f64> = (0..tokens)
            .map(|key| {
                let product: f64 = (0..size).map(|d| part(query, 0, d) * part(key, 1, d)).sum();
                product + bias.map_or(0.0, |bias| f64::from(bias[tokens + key - query]))
            })
            .collect();
        let greatest = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - greatest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        result.extend((0..size).map(|d| (0..tokens).map(|key| weights[key] / sum * part(key, 2, d)).sum::<f64>()));
    }
    result
}

fn activated(routines: Routines, values: &[f32], activation: Activation) -> Vec<f32> {
    let mut padded = values.to_vec();
    padded.resize(values.len().next_multiple_of(16), 0.0);
    // SAFETY: the caller takes an available kernel's routines; the row is padded.
    unsafe { (routines.activate)(padded.as_mut_ptr(), padded.len(), activation) };
    padded.truncate(values.len());
    padded
}

/// The bounds that the functions state, on a fine grid and at the edges.
#[test]
fn activations_keep_their_stated_errors() {
    let grid: Vec<f32> = (-80_000..=80_000).map(|n| n as f32 / 10_000.0).collect();
    let far = [-1e30_f32, -1000.0, -87.5, -20.0, -5.4, 5.4, 20.0, 88.5, 1000.0, 1e30];
    for (kernel, routines) in each_kernel() {
        for (x, y) in grid.iter().zip(activated(routines, &grid, Activation::Gelu)) {
            let x = f64::from(*x);
            let expected = x * normal_cumulative(x);
            assert!((f64::from(y) - expected).abs() < 1e-6, "{kernel}: gelu({x}) = {y}, not {expected}");
        }
        for (x, y) in far.iter().zip(activated(routines, &far, Activation::Gelu)) {
            let expected = f64::from(*x) * normal_cumulative(f64::from(*x));
            assert!((f64::from(y) - expected).abs() <= 2e-7 * f64::from(x.abs()).max(5.0), "{kernel}: gelu({x}) = {y}");
        }
        for (x, y) in
            grid.iter().chain(&far).zip(activated(routines, &[&grid[..], &far[..]].concat(), Activation::GeluTanh))
        {
            let wide = f64::from(*x);
            let u = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3));
            let expected = wide / (1.0 + (-2.0 * u).exp());
            let error = (f64::from(y) - expected).abs();
            assert!(error <= 2e-6 * expected.abs().max(1.0), "{kernel}: gelu_tanh({x}) = {y}, not {expected}");
        }
        let relu = activated(routines, &far, Activation::Relu);
        assert!(far.iter().zip(relu).all(|(x, y)| y.to_bits() == x.max(0.0).to_bits()), "{kernel}");
    }
}

/// The normal distribution's cumulative function: composite Simpson's rule over its density, good to 1e-11.
fn normal_cumulative(x: f64) -> f64 {
    const STEPS: usize = 400;
    let x = x.clamp(-12.0, 12.0);
    let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let step = x / STEPS as f64;
    let inside: f64 = (1..STEPS).map(|n| density(step * n as f64) * if n % 2 == 1 { 4.0 } else { 2.0 }).sum();
    0.5 + (density(0.0) + inside + density(x)) * step / 3.0
}
