//! Kernels in plain Rust: the reference of the others, and what runs where there is no SIMD that we know.

use super::{Kernels, row_of};

pub(super) static KERNELS: Kernels = Kernels { name: "portable", dot_i8, dot_i8_range, dot_i8_rows, dot_f32, dot_fine };

fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum()
}

fn dot_i8_range(query: &[i8], codes: &[i8], out: &mut [i32]) {
    if query.is_empty() {
        out.fill(0);
        return;
    }
    for (row, out) in codes.chunks_exact(query.len()).zip(out) {
        *out = dot_i8(query, row);
    }
}

fn dot_i8_rows(query: &[i8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
    for (&row, out) in rows.iter().zip(out) {
        *out = dot_i8(query, row_of(codes, query.len(), row));
    }
}

fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    // 16 independent sums, so that the compiler may use what vector registers there are.
    let mut sums = [0f32; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for ((sum, &x), &y) in sums.iter_mut().zip(a).zip(b) {
            *sum += x * y;
        }
    }
    sums.iter().sum()
}

fn dot_fine(query: &[f32], codes: &[i8], fine: &[i8]) -> (f32, f32) {
    // As in `dot_f32`.
    let mut sums = [(0f32, 0f32); 16];
    for ((query, codes), fine) in query.chunks_exact(16).zip(codes.chunks_exact(16)).zip(fine.chunks_exact(16)) {
        for (((sum, &x), &code), &fine) in sums.iter_mut().zip(query).zip(codes).zip(fine) {
            sum.0 += x * f32::from(code);
            sum.1 += x * f32::from(fine);
        }
    }
    sums.iter().fold((0.0, 0.0), |all, sum| (all.0 + sum.0, all.1 + sum.1))
}
